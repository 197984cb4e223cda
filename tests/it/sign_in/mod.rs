//! Who somebody is: sign-in with Google, Apple and other issuers, by ID tokens and by the code flow.

mod accounts;
mod apple;
mod browser;
mod code_flow;
pub mod flow;
mod keys;
mod shapes;
mod tokens;

use crate::harness::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use crate::harness::{Gateway, Response, Sample, Setup, sample_at};
use serde_json::{Value, json};

/// Redirect URI of the test app.
const APP: &str = "https://app.example/done";

/// A tenant without a provider, with the groups of people.
fn tenant() -> Sample {
    let group = json!({"tokens": 1000});
    sample_at("https://provider.example/v1/chat/completions")
        .set("user_groups.google_logged_in", group.clone())
        .set("user_groups.members", group)
}

/// The tenant with all three kinds of sign-in at one issuer.
fn signing_in(issuer: &Issuer) -> Sample {
    signing_in_to(tenant(), issuer)
}

/// Adds all three kinds of sign-in at one issuer to a tenant, and their groups.
pub fn signing_in_to(config: Sample, issuer: &Issuer) -> Sample {
    let group = json!({"tokens": 1000});
    let client = json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": [APP, "http://127.0.0.1:*/done", "app.example:/done"]});
    let mut oidc = client.clone();
    oidc["issuer"] = json!(issuer.name());
    oidc["group"] = json!("members");
    config
        .set("user_groups.google_logged_in", group.clone())
        .set("user_groups.members", group)
        .set("auth.google_oauth", client.clone())
        .set("auth.apple_oauth", client)
        .set("auth.oidc.own", oidc)
}

/// Settings that take this issuer for Google and Apple.
pub fn setup(issuer: &Issuer) -> Setup {
    let mut setup = Setup::new();
    for kind in ["GOOGLE", "APPLE"] {
        for (name, path) in [
            ("ISSUER", ""),
            ("JWKS_URL", "/keys"),
            ("AUTHORIZE_URL", "/authorize"),
            ("TOKEN_URL", "/token"),
            ("REVOKE_URL", "/revoke"),
        ] {
            let variable = format!("RESULLM__IDENTITY__{kind}__{name}");
            if kind == "APPLE" || name != "REVOKE_URL" {
                setup = setup.env(&variable, &issuer.url(path));
            }
        }
    }
    setup
}

/// Paths of the three kinds.
const KINDS: [&str; 3] = ["google", "apple", "oidc/own"];

/// Sends an ID token to `/abc/auth/<kind>`.
fn sign_in(gateway: &Gateway, kind: &str, token: &str) -> Response {
    post(
        gateway,
        &format!("/abc/auth/{kind}"),
        &json!({"idToken": token}),
    )
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> Response {
    gateway.client().request("POST", path).json(body).send()
}

#[track_caller]
fn assert_refused(answer: &Response, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    assert_eq!(
        answer.text(),
        r#"{"error":"The sign-in was refused"}"#,
        "{what}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}
