//! Several endpoints behind one tenant: choice, failover, circuit breaker.

mod attempts;
mod breaker;
mod choice;
mod streams;

use crate::harness::{Gateway, Provider, Response, Sample, Setup, balance, chat, mint, sample};
use serde_json::{Value, json};

const GRANT: u64 = 1_000_000;

/// A tenant whose default endpoint `openai` is the first provider, with the second one, `live`, as its fallback.
fn config(first: &Provider, live: &Provider) -> Sample {
    sample(first)
        .endpoint("live", &live.url("/v1/chat/completions"), "gpt-4o")
        .fallbacks(&["live"])
        .tokens(GRANT)
}

fn start(config: Sample) -> (Gateway, String) {
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    (gateway, key)
}

fn hi(stream: bool) -> Value {
    json!({"model": "gpt-4o", "max_tokens": 50, "stream": stream,
        "messages": [{"role": "user", "content": "Hi"}]})
}

fn ask(gateway: &Gateway, key: &str, stream: bool) -> Response {
    chat(gateway, "abc", key, &hi(stream))
}

fn spent(gateway: &Gateway, key: &str) -> u64 {
    let (left, free) = balance(gateway, key);
    assert_eq!(left, free, "a hold is left");
    GRANT - left
}

/// The latest usage record of tenant `abc`, once it is written.
fn record(gateway: &Gateway) -> Value {
    crate::harness::eventually(std::time::Duration::from_secs(10), "a usage record", || {
        let path = "/abc/admin/usage?limit=1";
        let answer = gateway
            .client()
            .request("GET", path)
            .bearer(gateway.admin_token())
            .send();
        answer.json()["events"].get(0).cloned()
    })
}
