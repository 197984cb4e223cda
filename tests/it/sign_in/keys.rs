//! The keys of an issuer: fetched when needed, kept, never fetched from where they may not be.

use super::{assert_refused, setup, sign_in, signing_in, tenant};
use crate::harness::issuer::{CLIENT_ID, Issuer, TestKey};
use crate::harness::{Gateway, Script, Setup, Step, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

/// Within this, a new key of an issuer is seen.
const ROTATION: Duration = Duration::from_secs(75);

#[test]
fn concurrent_callers_share_one_fetch() {
    let issuer = Issuer::start();
    issuer.set_documents(|| {
        let keys = json!({"keys": [TestKey::RsaOne.jwk()]});
        Script::json(200, &keys).first(Step::Wait(Duration::from_millis(400)))
    });
    let gateway = Gateway::start(setup(&issuer).tenant("abc", signing_in(&issuer)));

    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                assert_eq!(
                    sign_in(&gateway, "oidc/own", &issuer.token("somebody")).status,
                    200
                );
            });
        }
    });

    assert_eq!(issuer.asked("/keys"), 1);
    assert_eq!(issuer.asked("/.well-known/openid-configuration"), 1);
}

#[test]
fn rubbish_does_not_hide_a_new_key_and_floods_nobody() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(setup(&issuer).tenant("abc", signing_in(&issuer)));
    assert_eq!(
        sign_in(&gateway, "google", &issuer.token("somebody")).status,
        200
    );
    let begun = Instant::now();
    issuer.set_keys(&[TestKey::RsaTwo]);
    let rotated = TestKey::RsaTwo.token(&issuer.claims("somebody"));

    eventually(ROTATION, "the new key is seen", || {
        let rubbish = json!({"alg": "RS256", "kid": format!("{:?}", begun.elapsed())});
        let rubbish = TestKey::RsaTwo.token_with(&rubbish, &issuer.claims("somebody"));
        assert_refused(&sign_in(&gateway, "google", &rubbish), "rubbish");
        (sign_in(&gateway, "google", &rotated).status == 200).then_some(())
    });

    assert_eq!(issuer.asked("/keys"), 2);
    let old = sign_in(&gateway, "google", &issuer.token("somebody"));
    assert_refused(&old, "a key that the issuer has withdrawn");
}

#[test]
fn bad_answers_of_an_issuer_are_503_and_keep_nobody_waiting() {
    for (what, script) in [
        ("an error", Script::json(500, &json!({}))),
        (
            "a redirect",
            Script::new().head(
                302,
                &[
                    ("location", "/.well-known/openid-configuration"),
                    ("content-length", "0"),
                ],
            ),
        ),
        ("no JSON", Script::new().head(200, &[]).bytes("<html>")),
        ("no keys", Script::json(200, &json!({"keys": []}))),
        (
            "too much",
            Script::new().head(200, &[]).bytes(vec![b' '; 300 << 10]),
        ),
        ("a stall", Script::new().head(200, &[]).bytes("{").stall()),
    ] {
        let issuer = Issuer::start();
        issuer.set_documents(move || script.clone());
        let gateway = Gateway::start(setup(&issuer).tenant("abc", signing_in(&issuer)));
        let begun = Instant::now();

        let answer = sign_in(&gateway, "google", &issuer.token("somebody"));

        assert_eq!(answer.status, 503, "{what}: {}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{what}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{what}");
        gateway.wait_log("An issuer of sign-in cannot be asked");
        // At once from now on, without another fetch.
        assert_eq!(
            sign_in(&gateway, "google", &issuer.token("somebody")).status,
            503
        );
        assert_eq!(issuer.asked("/keys"), 1, "{what}");
    }
}

#[test]
fn issuer_on_a_private_address_is_not_asked() {
    let issuer = Issuer::start();
    let https = issuer.name().replace("http:", "https:");
    let client = |name: &str| json!({"issuer": name, "client_id": CLIENT_ID, "group": "members"});
    let mut by_url = client("https://issuer.example");
    by_url["jwks_url"] = json!(https.clone() + "/keys");
    let config = tenant()
        .set("auth.oidc.plain", client(&issuer.name()))
        .set("auth.oidc.tls", client(&https))
        .set("auth.oidc.url", by_url)
        .set(
            "auth.oidc.name",
            client(&https.replace("127.0.0.1", "localhost")),
        );
    let gateway = Gateway::start(Setup::new().allow_private(false).tenant("abc", config));
    gateway.wait_log("leads to a private address: it is not asked");

    for kind in ["oidc/plain", "oidc/tls", "oidc/url", "oidc/name"] {
        let answer = sign_in(&gateway, kind, &issuer.token("somebody"));
        assert_eq!(answer.status, 503, "{kind}: {}", answer.text());
    }

    assert_eq!(
        issuer.asked("/keys") + issuer.asked("/.well-known/openid-configuration"),
        0
    );
}

#[test]
fn issuer_that_calls_itself_something_else_is_not_believed() {
    let issuer = Issuer::start();
    let client = json!({"issuer": issuer.url("/"), "client_id": CLIENT_ID, "group": "members"});
    let gateway =
        Gateway::start(setup(&issuer).tenant("abc", tenant().set("auth.oidc.own", client)));

    let mut claims = issuer.claims("somebody");
    claims["iss"] = json!(issuer.url("/"));
    let answer = sign_in(&gateway, "oidc/own", &TestKey::RsaOne.token(&claims));

    assert_eq!(answer.status, 503, "{}", answer.text());
    gateway.wait_log("names another issuer");
}

#[test]
fn keys_of_one_address_verify_nothing_at_another() {
    let (honest, other) = (Issuer::start(), Issuer::start());
    other.set_keys(&[TestKey::RsaTwo]);
    let client = |keys: &str| json!({"issuer": honest.name(), "client_id": CLIENT_ID, "group": "members", "jwks_url": keys});
    let one = tenant().set("auth.oidc.own", client(&honest.url("/keys")));
    let two = tenant().set("auth.oidc.own", client(&other.url("/keys")));
    let gateway = Gateway::start(Setup::new().tenant("abc", one).tenant("xyz", two));
    let token = TestKey::RsaTwo.token(&honest.claims("somebody"));

    let body = json!({"idToken": token});
    assert_eq!(
        super::post(&gateway, "/xyz/auth/oidc/own", &body).status,
        200
    );
    assert_refused(
        &sign_in(&gateway, "oidc/own", &token),
        "the other tenant's key",
    );
}
