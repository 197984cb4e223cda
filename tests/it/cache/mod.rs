//! The cache of answers: hits and their fee, what shares an answer and what does not, equal calls at once.

mod flights;
mod forgotten;
mod hits;
mod keys;

use crate::harness::{Gateway, Provider, Response, Sample, Setup, balance, chat, mint, sample};
use serde_json::{Value, json};
use std::time::Duration;

const GRANT: u64 = 1_000_000;
/// Longest time that an answer takes to be kept.
const SOON: Duration = Duration::from_secs(10);

fn cached(provider: &Provider) -> Sample {
    sample(provider).caching(20).tokens(GRANT)
}

fn start(config: Sample) -> (Gateway, String) {
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    (gateway, key)
}

fn hi() -> Value {
    json!({"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]})
}

fn streamed(call: &Value) -> Value {
    let mut call = call.clone();
    call["stream"] = json!(true);
    call
}

fn spent(gateway: &Gateway, key: &str) -> u64 {
    let (left, free) = balance(gateway, key);
    assert_eq!(left, free, "a hold is left");
    GRANT - left
}

fn ask(gateway: &Gateway, key: &str, call: &Value) -> Response {
    let answer = chat(gateway, "abc", key, call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Asks, and returns `x-resullm-cache`.
fn result_of(gateway: &Gateway, key: &str, call: &Value) -> String {
    let answer = ask(gateway, key, call);
    answer
        .header("x-resullm-cache")
        .unwrap_or("none")
        .to_owned()
}
