//! `POST chat/completions`: forwarding, metering, charging, and errors in the shape that SDKs expect.

mod admission;
mod bodies;
mod failures;
mod forwarding;

use crate::harness::{Gateway, Provider, Setup, balance, mint, sample};
use serde_json::{Value, json};

fn hi() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]})
}

fn left(gateway: &Gateway, key: &str) -> u64 {
    let (left, free) = balance(gateway, key);
    assert_eq!(left, free, "no hold is left");
    left
}

fn start(provider: &Provider, tokens: u64) -> (Gateway, String) {
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(provider).tokens(tokens)));
    let key = mint(&gateway, "abc");
    (gateway, key)
}
