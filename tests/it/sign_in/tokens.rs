//! ID tokens, good and bad, at all three kinds of sign-in.

use super::{KINDS, assert_refused, post, setup, sign_in, signing_in, tenant};
use crate::harness::issuer::{CLIENT_ID, Issuer, TestKey, encode, message, now};
use crate::harness::{Gateway, me};
use serde_json::{Value, json};

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

#[test]
fn good_tokens_sign_in_everywhere() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(setup(&issuer).tenant("abc", signing_in(&issuer)));

    for kind in KINDS {
        let group = if kind == "oidc/own" {
            "members"
        } else {
            "google_logged_in"
        };
        for key in [TestKey::RsaOne, TestKey::P256One, TestKey::Ed25519One] {
            let answer = sign_in(&gateway, kind, &key.token(&issuer.claims("somebody")));
            assert_eq!(answer.status, 200, "{kind} {key:?}: {}", answer.text());
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let signed_in = answer.json();
            assert_eq!(signed_in["group"], group);
            let key = signed_in["apiKey"].as_str().unwrap();
            assert!(key.starts_with("user_"), "{key}");
            assert_eq!(me(&gateway, key)["tokensLeft"], 1000);
        }
    }
    // Google writes its issuer with the scheme and without.
    let bare = issuer.name().replace("http://", "");
    let token = TestKey::RsaOne.token(&with(&issuer.claims("somebody"), "iss", json!(bare)));
    assert_eq!(sign_in(&gateway, "google", &token).status, 200);
    assert_refused(
        &sign_in(&gateway, "apple", &token),
        "apple without a scheme",
    );
}

/// Bad tokens with what is wrong with them, and the word of the log.
fn bad_tokens(issuer: &Issuer) -> Vec<(&'static str, String, &'static str)> {
    let (one, two) = (TestKey::RsaOne, TestKey::RsaTwo);
    let good = issuer.claims("somebody");
    let claimed = |name: &str, value: Value| one.token(&with(&good, name, value));
    let headed = |name: &str, value: Value| {
        let header = json!({"alg": "RS256", "kid": "rsa-one"});
        one.token_with(&with(&header, name, value), &good)
    };
    let none = message(&json!({"alg": "none", "kid": "rsa-one"}), &good);
    let shared = message(&json!({"alg": "HS256", "kid": "rsa-one"}), &good);
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &one.public());
    let mac = encode(ring::hmac::sign(&secret, shared.as_bytes()).as_ref());
    let whole = issuer.token("somebody");
    let stolen = message(
        &json!({"alg": "RS256", "kid": "rsa-one"}),
        &with(&good, "sub", json!("other")),
    );
    let signature = whole.rsplit('.').next().unwrap();
    vec![
        ("alg none", format!("{none}."), "other_algorithm"),
        (
            "HS256 with the public key",
            format!("{shared}.{mac}"),
            "other_algorithm",
        ),
        (
            "another key under the same kid",
            two.token_with(&json!({"alg": "RS256", "kid": "rsa-one"}), &good),
            "wrong_signature",
        ),
        (
            "another algorithm than the key's",
            TestKey::P256One.token_with(&json!({"alg": "ES256", "kid": "rsa-one"}), &good),
            "other_algorithm",
        ),
        ("an unknown kid", two.token(&good), "unknown_kid"),
        (
            "no kid",
            one.token_with(&json!({"alg": "RS256"}), &good),
            "missing_kid",
        ),
        (
            "a signature of another token",
            format!("{stolen}.{signature}"),
            "wrong_signature",
        ),
        (
            "no signature",
            whole.rsplit_once('.').unwrap().0.to_owned() + ".",
            "wrong_signature",
        ),
        (
            "jku",
            headed("jku", json!(issuer.url("/keys"))),
            "header_not_allowed",
        ),
        (
            "x5u",
            headed("x5u", json!(issuer.url("/keys"))),
            "header_not_allowed",
        ),
        ("x5c", headed("x5c", json!(["AA"])), "header_not_allowed"),
        ("jwk", headed("jwk", two.jwk()), "header_not_allowed"),
        ("crit", headed("crit", json!(["exp"])), "header_not_allowed"),
        ("at+jwt", headed("typ", json!("at+jwt")), "other_type"),
        (
            "logout+jwt",
            headed("typ", json!("logout+jwt")),
            "other_type",
        ),
        (
            "another issuer",
            claimed("iss", json!("https://evil.example")),
            "other_issuer",
        ),
        (
            "the issuer with a slash",
            claimed("iss", json!(issuer.url("/"))),
            "other_issuer",
        ),
        (
            "another audience",
            claimed("aud", json!("another-tenant's")),
            "other_audience",
        ),
        ("no audience", claimed("aud", Value::Null), "other_audience"),
        (
            "two audiences without azp",
            claimed("aud", json!([CLIENT_ID, "x"])),
            "other_party",
        ),
        ("expired", claimed("exp", json!(now() - 61)), "expired"),
        ("no exp", claimed("exp", Value::Null), "expired"),
        (
            "issued in the future",
            claimed("iat", json!(now() + 120)),
            "not_yet_valid",
        ),
        (
            "not yet valid",
            claimed("nbf", json!(now() + 120)),
            "not_yet_valid",
        ),
        (
            "issued too long ago",
            claimed("iat", json!(now() - 3_700)),
            "too_old",
        ),
        ("no iat", claimed("iat", Value::Null), "too_old"),
        ("no subject", claimed("sub", Value::Null), "invalid_subject"),
        (
            "a long subject",
            claimed("sub", json!("a".repeat(256))),
            "invalid_subject",
        ),
        (
            "a long token",
            claimed("x", json!("a".repeat(20_000))),
            "too_long",
        ),
        ("nonsense", "a.b.c".to_owned(), "malformed"),
        ("nothing", String::new(), "malformed"),
    ]
}

#[test]
fn bad_tokens_are_refused_alike_and_the_log_says_why() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(setup(&issuer).tenant("abc", signing_in(&issuer)));

    for kind in KINDS {
        for (what, token, _) in bad_tokens(&issuer) {
            assert_refused(&sign_in(&gateway, kind, &token), &format!("{kind}: {what}"));
        }
        assert_eq!(
            sign_in(&gateway, kind, &issuer.token("somebody")).status,
            200
        );
    }
    for (_, _, reason) in bad_tokens(&issuer) {
        gateway.wait_log(&format!("its ID token is {reason}"));
    }
    let log = gateway.logs().join("\n");
    for secret in [
        issuer.token("somebody").rsplit('.').next().unwrap(),
        "somebody",
    ] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn nonce_and_age_are_as_the_config_says() {
    let issuer = Issuer::start();
    let config = signing_in(&issuer)
        .set("auth.require_nonce", json!(true))
        .set("auth.max_token_age", json!(7200));
    let gateway = Gateway::start(setup(&issuer).tenant("abc", config));
    let token = |nonce: &str| {
        let claims = with(&issuer.claims("somebody"), "nonce", json!(nonce));
        TestKey::P256One.token(&with(&claims, "iat", json!(now() - 7_000)))
    };
    let hashed = hex::encode(ring::digest::digest(&ring::digest::SHA256, b"raw"));

    for (token, nonce, status) in [
        (token("raw"), json!("raw"), 200),
        (token(&hashed), json!("raw"), 200),
        (token("other"), json!("raw"), 401),
        (token("raw"), Value::Null, 401),
        (issuer.token("somebody"), json!("raw"), 401),
    ] {
        for kind in KINDS {
            let body = json!({"idToken": token, "nonce": nonce});
            let answer = post(&gateway, &format!("/abc/auth/{kind}"), &body);
            assert_eq!(answer.status, status, "{kind} {nonce}: {}", answer.text());
        }
    }
}

#[test]
fn sign_in_is_only_where_it_is_configured_and_its_group_exists() {
    let issuer = Issuer::start();
    let config = signing_in(&issuer).set("auth.oidc.own.group", json!("nobody"));
    let other = tenant().set("auth.google_oauth", json!({"client_id": "another-client"}));
    let setup = setup(&issuer).tenant("abc", config).tenant("xyz", other);
    let gateway = Gateway::start(setup);
    gateway.wait_log("there is no group nobody in user_groups");

    let refused = sign_in(&gateway, "oidc/own", &issuer.token("somebody"));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let body = json!({"idToken": issuer.token("somebody")});
    for (path, status) in [
        ("/xyz/auth/google", 401),
        ("/xyz/auth/apple", 404),
        ("/abc/auth/oidc/nobody", 404),
        ("/abc/auth/oidc/google", 404),
        ("/abc/auth/oidc/", 404),
    ] {
        assert_eq!(post(&gateway, path, &body).status, status, "{path}");
    }
    for body in [
        json!({}),
        json!({"idToken": 1}),
        json!({"idToken": "a", "x": 1}),
        json!([]),
    ] {
        assert_eq!(
            post(&gateway, "/abc/auth/google", &body).status,
            400,
            "{body}"
        );
    }
}

#[test]
fn page_of_another_origin_signs_nobody_in() {
    let issuer = Issuer::start();
    let config = signing_in(&issuer).set("cors.origins", json!(["https://app.example"]));
    let gateway = Gateway::start(setup(&issuer).tenant("abc", config));
    let from = |origin: &str| {
        let request = gateway.client().request("POST", "/abc/auth/oidc/own");
        let request = request.header("origin", origin);
        request
            .json(&json!({"idToken": issuer.token("somebody")}))
            .send()
    };

    assert_eq!(from("https://evil.example").status, 403);
    let welcome = from("https://app.example");
    assert_eq!(welcome.status, 200);
    assert_eq!(
        welcome.header("access-control-allow-origin"),
        Some("https://app.example")
    );
}

#[test]
fn wrong_tokens_count_as_failures_of_the_address() {
    let issuer = Issuer::start();
    let setup = setup(&issuer).env("RESULLM__ACCOUNTS__FAILURES_PER_ADDRESS", "5");
    let gateway = Gateway::start(setup.tenant("abc", signing_in(&issuer)));
    for _ in 0..5 {
        assert_refused(&sign_in(&gateway, "google", "a.b.c"), "nonsense");
    }

    let answer = sign_in(&gateway, "google", &issuer.token("somebody"));

    assert_eq!(answer.status, 429, "{}", answer.text());
}
