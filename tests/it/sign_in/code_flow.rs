//! The code flow of browser apps: the whole way, and every way to end a sign-in that is not one's own.

use super::flow::{
    Begun, VERIFIER, app_code, callback_path, code, come_back, other_verifier, redeem, split,
    start, start_query,
};
use super::{APP, assert_refused, setup, signing_in};
use crate::harness::issuer::{CLIENT_SECRET, Issuer, field};
use crate::harness::{Gateway, me};
use serde_json::json;
use std::time::Duration;

fn world() -> (Issuer, Gateway) {
    let issuer = Issuer::start();
    let config = signing_in(&issuer);
    let gateway = Gateway::start(
        setup(&issuer)
            .tenant("abc", config.clone())
            .tenant("xyz", config),
    );
    (issuer, gateway)
}

#[test]
fn a_browser_signs_in_and_its_app_gets_a_key() {
    let (issuer, gateway) = world();
    for kind in ["google", "oidc/own"] {
        let begun = start(&gateway, &issuer, kind, &[]);
        assert!(
            begun.set_cookie.contains("; HttpOnly; SameSite=Lax"),
            "{}",
            begun.set_cookie
        );
        let path = format!("; Path=/abc/auth/{kind}/callback;");
        assert!(begun.set_cookie.contains(&path), "{}", begun.set_cookie);
        let back = callback_path(&begun.at_issuer(&issuer), &gateway);
        let ended = come_back(&gateway, &back, Some(&begun.cookie));
        let (uri, query) = split(ended.header("location").unwrap());
        assert_eq!(
            (uri, field(query, "state").as_deref()),
            (APP, Some("the app's"))
        );
        assert!(ended.header("set-cookie").unwrap().contains("Max-Age=0"));

        let answer = redeem(&gateway, "abc", &app_code(&ended), VERIFIER);

        assert_eq!(answer.status, 200, "{}", answer.text());
        let key = answer.json()["apiKey"].as_str().unwrap().to_owned();
        assert_eq!(me(&gateway, &key)["tokensLeft"], 1000);
    }
    let forms = issuer.forms();
    assert_eq!(
        field(&forms[0].text(), "client_secret").as_deref(),
        Some(CLIENT_SECRET)
    );
    // Its discovery document names no other way.
    assert!(
        forms[1]
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
    let log = gateway.logs().join("\n");
    for secret in ["user_", CLIENT_SECRET, VERIFIER, "resullm_tx_"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn a_code_works_once_for_its_app_at_its_tenant() {
    let (issuer, gateway) = world();

    let good = code(&gateway, &issuer, "google");
    assert_eq!(redeem(&gateway, "abc", &good, VERIFIER).status, 200);
    assert_refused(&redeem(&gateway, "abc", &good, VERIFIER), "used twice");

    let tried = code(&gateway, &issuer, "google");
    assert_refused(
        &redeem(&gateway, "abc", &tried, &other_verifier()),
        "another verifier",
    );
    assert_refused(
        &redeem(&gateway, "abc", &tried, VERIFIER),
        "gone with the first try",
    );

    let elsewhere = code(&gateway, &issuer, "google");
    assert_refused(
        &redeem(&gateway, "xyz", &elsewhere, VERIFIER),
        "another tenant",
    );
    assert_refused(
        &redeem(&gateway, "abc", &elsewhere, VERIFIER),
        "gone with the first try",
    );
    assert_refused(&redeem(&gateway, "abc", "no-code", VERIFIER), "no code");
}

#[test]
fn a_code_outlives_a_crash_and_a_used_one_does_not_come_back() {
    let (issuer, gateway) = world();
    let used = code(&gateway, &issuer, "google");
    let unused = code(&gateway, &issuer, "google");
    assert_eq!(redeem(&gateway, "abc", &used, VERIFIER).status, 200);
    gateway.kill9();
    gateway.wait_exit(Duration::from_secs(10));

    let next = Gateway::start(gateway.setup().clone());

    assert_refused(
        &redeem(&next, "abc", &used, VERIFIER),
        "used before the crash",
    );
    assert_eq!(redeem(&next, "abc", &unused, VERIFIER).status, 200);
}

#[test]
fn nobody_ends_a_sign_in_in_another_browser() {
    let (issuer, gateway) = world();
    let attacker = start(&gateway, &issuer, "google", &[]);
    let victim = start(&gateway, &issuer, "google", &[]);
    let back = callback_path(&attacker.at_issuer(&issuer), &gateway);

    // The victim follows a link that the attacker made of its own sign-in.
    let followed = come_back(&gateway, &back, Some(&victim.cookie));

    assert_eq!(followed.status, 400, "{}", followed.text());
    assert_eq!(followed.header("location"), None);
    let again = come_back(&gateway, &back, Some(&attacker.cookie));
    assert_eq!(again.status, 400, "a transaction works once");
    let back = callback_path(&victim.at_issuer(&issuer), &gateway);
    assert_eq!(
        come_back(&gateway, &back, None).status,
        400,
        "without its cookie"
    );
    for (from, to) in [("/abc/", "/xyz/"), ("/google/", "/oidc/own/")] {
        let begun = start(&gateway, &issuer, "google", &[]);
        let back = callback_path(&begun.at_issuer(&issuer), &gateway).replace(from, to);
        assert_eq!(
            come_back(&gateway, &back, Some(&begun.cookie)).status,
            400,
            "{to}"
        );
    }
    for path in [
        "/abc/auth/google/callback",
        "/abc/auth/google/callback?state=x&code=y",
    ] {
        assert_eq!(come_back(&gateway, path, None).status, 400, "{path}");
    }
    assert_eq!(issuer.forms().len(), 0, "no code was exchanged");
}

#[test]
fn a_start_that_could_lead_elsewhere_is_400() {
    let (_issuer, gateway) = world();
    let long = "a".repeat(1025);
    for (name, value) in [
        ("redirect_uri", "https://evil.example/done"),
        ("redirect_uri", "https://app.example/done/"),
        ("redirect_uri", "https://app.example/done?x"),
        ("redirect_uri", "https://app.example@evil.example/done"),
        ("redirect_uri", "HTTPS://app.example/done"),
        ("redirect_uri", "//evil.example"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", ""),
        ("redirect_uri", "http://127.0.0.1:80@evil.example/done"),
        ("redirect_uri", "http://127.0.0.1:x/done"),
        ("code_challenge", "short"),
        ("code_challenge", ""),
        ("code_challenge_method", "plain"),
        ("code_challenge_method", ""),
        ("state", long.as_str()),
    ] {
        let path = format!("/abc/auth/google/start?{}", start_query(&[(name, value)]));
        let answer = gateway.client().get(&path);
        assert_eq!(answer.status, 400, "{name} {value}: {}", answer.text());
        assert_eq!(answer.header("location"), None);
    }
    for uri in ["http://127.0.0.1:8765/done", "app.example:/done"] {
        let path = format!(
            "/abc/auth/google/start?{}",
            start_query(&[("redirect_uri", uri)])
        );
        assert_eq!(gateway.client().get(&path).status, 302, "{uri}");
    }
    let twice = format!("{}&redirect_uri=https://evil.example/", start_query(&[]));
    assert_eq!(
        gateway
            .client()
            .get(&format!("/abc/auth/google/start?{twice}"))
            .status,
        400
    );
}

#[test]
fn state_of_an_app_comes_back_as_it_was_and_breaks_nothing() {
    let (issuer, gateway) = world();
    for state in [
        "a b+c&code=stolen#x",
        "\r\nset-cookie: a=b\r\n\r\n<script>",
        "ä€😀",
        "%0d%0a",
        "",
    ] {
        let begun = start(&gateway, &issuer, "google", &[("state", state)]);
        let back = callback_path(&begun.at_issuer(&issuer), &gateway);
        let ended = come_back(&gateway, &back, Some(&begun.cookie));

        let location = ended.header("location").unwrap();
        assert!(
            location.bytes().all(|byte| byte.is_ascii_graphic()),
            "{location}"
        );
        let (uri, query) = split(location);
        assert_eq!((uri, field(query, "state").as_deref()), (APP, Some(state)));
        let cookies = ended
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        assert_eq!(cookies.count(), 1);
        assert_eq!(
            redeem(&gateway, "abc", &app_code(&ended), VERIFIER).status,
            200
        );
    }
}

#[test]
fn failures_at_the_issuer_go_to_the_app_as_error() {
    let (issuer, gateway) = world();
    let come = |change: &dyn Fn(&str, &str) -> String| {
        let begun = start(&gateway, &issuer, "oidc/own", &[]);
        let back = callback_path(&begun.at_issuer(&issuer), &gateway);
        let (path, query) = split(&back);
        let state = field(query, "state").unwrap();
        let ended = come_back(
            &gateway,
            &format!("{path}?{}", change(query, &state)),
            Some(&begun.cookie),
        );
        assert_eq!(ended.status, 303, "{}", ended.text());
        let (uri, query) = split(ended.header("location").unwrap());
        assert_eq!(
            (uri, field(query, "state").as_deref()),
            (APP, Some("the app's"))
        );
        assert_eq!(field(query, "code"), None);
        field(query, "error").unwrap()
    };

    assert_eq!(
        come(&|_, state| format!("state={state}&error=access_denied")),
        "access_denied"
    );
    assert_eq!(
        come(&|_, state| format!("state={state}&error=%0d%0a<x>")),
        "server_error"
    );
    assert_eq!(
        come(&|_, state| format!("state={state}")),
        "invalid_request"
    );
    assert_eq!(
        come(&|_, state| format!("state={state}&code=made-up")),
        "server_error"
    );
    assert_eq!(
        come(&|query, _| query.replace("&iss=", "&iss=x")),
        "invalid_request"
    );
    issuer.set_claims(json!({"nonce": "another sign-in's"}));
    assert_eq!(come(&|query, _| query.to_owned()), "access_denied");
    gateway.wait_log("its ID token is other_nonce");
    issuer.set_claims(json!({"aud": "another client"}));
    assert_eq!(come(&|query, _| query.to_owned()), "access_denied");
    issuer.set_secret(Some("changed"));
    assert_eq!(come(&|query, _| query.to_owned()), "server_error");
    gateway.wait_log("A code of an issuer was not exchanged");
}

#[test]
fn an_address_has_a_hundred_open_sign_ins() {
    let (issuer, gateway) = world();
    let path = format!("/abc/auth/google/start?{}", start_query(&[]));
    for _ in 0..100 {
        Begun::of(&gateway.client().get(&path), &issuer);
    }

    let answer = gateway.client().get(&path);

    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn host_that_a_client_makes_up_is_no_address_of_ours() {
    let (_issuer, gateway) = world();
    let path = format!("/abc/auth/google/start?{}", start_query(&[]));
    let start = |host: &str| {
        gateway
            .client()
            .request("GET", &path)
            .header("host", host)
            .send()
    };

    assert_eq!(start("evil.example").status, 400);
    let local = start("localhost:1234");
    let location = local.header("location").unwrap();
    let callback = field(split(location).1, "redirect_uri");
    assert_eq!(
        callback.as_deref(),
        Some("http://localhost:1234/abc/auth/google/callback")
    );
}
