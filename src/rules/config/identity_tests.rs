//! Tests of the sign-in tables: configs that are read, and faults and doubts with their places.

use super::super::{Audience, CarryOver, doubts, read};
use super::*;
use crate::rules::identity::redirect::RedirectUri;

fn config(auth: Value) -> Value {
    json!({"auth": auth, "user_groups": {"google_logged_in": {"tokens": 1}, "members": {"tokens": 1}}})
}

fn oidc(change: impl FnOnce(&mut Value)) -> Value {
    let mut client = json!({"issuer": "https://a.example/", "client_id": "c", "group": "members"});
    change(&mut client);
    config(json!({"oidc": {"own": client}}))
}

fn faults(config: &Value) -> Vec<String> {
    let faults = read(config).unwrap_err();
    faults.into_iter().map(|fault| fault.path).collect()
}

#[test]
fn clients_are_read_with_their_defaults() {
    let read = read(&oidc(|_| {})).unwrap();
    let client = &read.auth.oidc["own"];
    assert_eq!(client.issuer.text, "https://a.example/");
    assert_eq!(client.audience, Audience::Client);
    assert!(client.require.is_empty() && client.redirect_uris.is_empty());
    assert_eq!(
        (read.auth.require_nonce, read.auth.max_token_age_seconds),
        (false, 3_600)
    );
    assert_eq!(read.auth.carry_over, CarryOver::All);
}

#[test]
fn carry_over_is_a_word_or_a_number() {
    for (value, meant) in [
        (json!("all"), CarryOver::All),
        (json!("none"), CarryOver::None),
        (json!(50), CarryOver::Most(50)),
    ] {
        assert_eq!(
            read(&config(json!({"carry_over": value})))
                .unwrap()
                .auth
                .carry_over,
            meant
        );
    }
    for value in [json!("some"), json!(-1), json!(true), json!({})] {
        assert_eq!(
            faults(&config(json!({"carry_over": value}))),
            ["auth.carry_over"]
        );
    }
}

#[test]
fn clients_that_cannot_be_meant_are_faults_at_their_places() {
    let place = "auth.oidc.own";
    let with = |name: &'static str, value: Value| oidc(move |client| client[name] = value);
    for (config, path) in [
        (with("audience", Value::Null), format!("{place}.audience")),
        (
            with("issuer", json!("a.example")),
            format!("{place}.issuer"),
        ),
        (
            with("issuer", json!("https://a.example/?x")),
            format!("{place}.issuer"),
        ),
        (
            with("redirect_uris", json!(["https://a", "javascript:x"])),
            format!("{place}.redirect_uris.1"),
        ),
        (
            with("require", json!({"a": {"b": 1}})),
            format!("{place}.require.a"),
        ),
        (with("group", Value::Null), format!("{place}.group")),
        (with("client_id", json!("")), format!("{place}.client_id")),
    ] {
        assert_eq!(faults(&config), [path], "{config}");
    }
    for name in [
        "google",
        "apple",
        "Own",
        "-a",
        "a.b",
        "a234567890123456789012345678901234",
    ] {
        let client = json!({"issuer": "https://a.example", "client_id": "c", "group": "members"});
        assert_eq!(
            faults(&config(json!({"oidc": {name: client}}))),
            [format!("auth.oidc.{name}")]
        );
    }
    let both = json!({"client_id": "a", "team_id": "t", "client_secret": "s"});
    let missing =
        ["key_id", "private_key", "client_secret"].map(|name| format!("auth.apple_oauth.{name}"));
    assert_eq!(faults(&config(json!({"apple_oauth": both}))), missing);
    let key = json!({"client_id": "a", "team_id": "t", "key_id": "k", "private_key": "no PEM"});
    assert_eq!(
        faults(&config(json!({"apple_oauth": key}))),
        ["auth.apple_oauth.private_key"]
    );
}

#[test]
fn audience_may_be_null_beside_authorized_parties() {
    let read = read(&oidc(|client| {
        client["audience"] = Value::Null;
        client["authorized_parties"] = json!(["https://app.example"]);
        client["redirect_uris"] = json!(["http://127.0.0.1:*/x"]);
    }))
    .unwrap();
    let client = &read.auth.oidc["own"];
    assert_eq!(client.audience, Audience::Unchecked);
    assert!(matches!(
        client.redirect_uris[0],
        RedirectUri::AnyPort { .. }
    ));
}

#[test]
fn sign_ins_that_will_not_work_are_doubted() {
    let doubted = |config: Value, allows_private| {
        let config = read(&config).unwrap();
        let doubts = doubts(&config, allows_private).into_iter();
        doubts.map(|doubt| doubt.path).collect::<Vec<String>>()
    };
    let none = Vec::<String>::new();
    assert_eq!(doubted(oidc(|_| {}), false), none);
    let group = oidc(|client| client["group"] = json!("nobody"));
    assert_eq!(doubted(group, false), ["auth.oidc.own.group"]);
    let inside = || oidc(|client| client["issuer"] = json!("http://127.0.0.1:1"));
    assert_eq!(doubted(inside(), false), ["auth.oidc.own.issuer"]);
    assert_eq!(doubted(inside(), true), none);
    let plain = oidc(|client| client["jwks_url"] = json!("http://a.example/keys"));
    assert_eq!(doubted(plain, true), ["auth.oidc.own.jwks_url"]);
    let google =
        json!({"google_oauth": {"client_id": "a", "redirect_uris": ["https://a.example/"]}});
    assert_eq!(
        doubted(config(google), false),
        ["auth.google_oauth.client_secret"]
    );
    let bare = json!({"auth": {"apple_oauth": {"client_id": "a"}}});
    assert_eq!(doubted(bare, false), ["auth.apple_oauth"]);
}

#[test]
fn a_tenant_has_few_issuers() {
    let many = |count: usize| {
        let client = oidc(|_| {})["auth"]["oidc"]["own"].clone();
        let clients: serde_json::Map<String, Value> = (0..count)
            .map(|at| (format!("i{at}"), client.clone()))
            .collect();
        read(&config(json!({ "oidc": clients })))
    };
    assert!(many(20).is_ok());
    let faults = many(21).unwrap_err();
    assert_eq!(faults[0].path, "auth.oidc");
}
