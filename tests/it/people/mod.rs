//! People: their accounts, keys, sessions, refills, and the balance of the key that they used before.

mod carry;
mod keys;
mod refill;
mod retention;
mod sessions;

use crate::harness::http::Response;
use crate::harness::{Gateway, Provider, Sample, sample};
use serde_json::{Value, json};

/// A tenant with the group `google_logged_in` beside `anonymous`.
fn config(provider: &Provider) -> Sample {
    sample(provider)
        .tokens(100)
        .set("user_groups.google_logged_in", json!({"tokens": 1000}))
        .set("user_groups.paid", json!({"tokens": 5000}))
}

fn post(gateway: &Gateway, path: &str, key: &str, body: &Value) -> Response {
    let request = gateway.client().request("POST", path);
    request.bearer(key).json(body).send()
}

/// Opens a session as the app's backend.
fn session(gateway: &Gateway, body: &Value) -> Response {
    post(gateway, "/abc/auth/sessions", gateway.admin_token(), body)
}

fn key_of(answer: &Response) -> String {
    answer.json()["apiKey"].as_str().unwrap().to_owned()
}

fn me(gateway: &Gateway, key: &str) -> Response {
    let request = gateway.client().request("GET", "/abc/auth/me");
    request.bearer(key).send()
}
