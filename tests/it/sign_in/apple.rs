//! Sign-in with Apple in the browser: it comes back with a form, and its client secret is a JWT.

use super::flow::{Begun, VERIFIER, app_code, redeem, start_query};
use super::{setup, tenant};
use crate::harness::Gateway;
use crate::harness::issuer::{CLIENT_ID, Issuer, TestKey, field};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const PUBLIC: &str = "https://gateway.example/llm";

fn world() -> (Issuer, Gateway) {
    let issuer = Issuer::start();
    issuer.set_secret(None);
    let client = json!({
        "client_id": CLIENT_ID, "team_id": "TEAM", "key_id": "KEY", "private_key": TestKey::P256Two.pem(),
        "redirect_uris": [super::APP],
    });
    let config = tenant().set("auth.apple_oauth", client);
    let gateway = Gateway::start(
        setup(&issuer)
            .env("RESULLM__SERVER__PUBLIC_URL", PUBLIC)
            .tenant("abc", config),
    );
    (issuer, gateway)
}

#[test]
fn apple_comes_back_with_a_form() {
    let (issuer, gateway) = world();
    let path = format!("/abc/auth/apple/start?{}", start_query(&[]));
    let begun = Begun::of(&gateway.client().get(&path), &issuer);
    let flags = "Path=/llm/abc/auth/apple/callback; Max-Age=600; HttpOnly; SameSite=None; Secure";
    assert!(begun.set_cookie.ends_with(flags), "{}", begun.set_cookie);
    let page = begun.at_issuer(&issuer);
    assert_eq!(
        page.header("x-form-action"),
        Some(format!("{PUBLIC}/abc/auth/apple/callback").as_str())
    );

    let back = gateway.client().request("POST", "/abc/auth/apple/callback");
    let back = back
        .header("origin", "https://appleid.apple.com")
        .header("cookie", &begun.cookie);
    let back = back.header("content-type", "application/x-www-form-urlencoded");
    let ended = back.body(page.body).send();

    let answer = redeem(&gateway, "abc", &app_code(&ended), VERIFIER);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let form = issuer.forms()[0].text();
    let secret = field(&form, "client_secret").unwrap();
    let parts: Vec<Value> = secret
        .split('.')
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(
        (&parts[0]["alg"], &parts[0]["kid"]),
        (&json!("ES256"), &json!("KEY"))
    );
    assert_eq!(
        (&parts[1]["iss"], &parts[1]["sub"]),
        (&json!("TEAM"), &json!(CLIENT_ID))
    );
    let life = parts[1]["exp"].as_u64().unwrap() - parts[1]["iat"].as_u64().unwrap();
    assert!(life <= 3_600, "{life}");
    assert!(issuer.revoked().is_empty(), "a sign-in ends nothing");
}

#[test]
fn apple_without_https_is_400() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(setup(&issuer).tenant("abc", super::signing_in(&issuer)));

    let answer = gateway
        .client()
        .get(&format!("/abc/auth/apple/start?{}", start_query(&[])));

    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("needs https"), "{}", answer.text());
}
