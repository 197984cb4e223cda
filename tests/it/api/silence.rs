//! Streams with long pauses, as reasoning models send them.

use crate::harness::{Gateway, Provider, Script, Setup, Step, chat, mint, sample};
use serde_json::{Value, json};
use std::time::Duration;

const THINKING: Duration = Duration::from_secs(18);

fn call() -> Value {
    json!({"model": "m", "max_tokens": 100, "stream": true,
        "messages": [{"role": "user", "content": "Hi"}]})
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// Load balancers close connections that are silent for about a minute.
#[test]
fn silent_stream_sends_heartbeats_between_events() {
    let first = json!({"choices": [{"index": 0, "delta": {"content": "one"}}]});
    let second = json!({"choices": [{"index": 0, "delta": {"content": "two"}}]});
    let last = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}});
    let provider = Provider::start(move |_| {
        Script::sse([first.to_string()])
            .wait(THINKING)
            .bytes(format!(
                "data: {second}\n\ndata: {last}\n\ndata: [DONE]\n\n"
            ))
    });
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");

    let text = chat(&gateway, "abc", &key, &call()).text().to_string();

    let places = ["one", ": keep-alive\n\n", "two", "[DONE]"].map(|part| text.find(part));
    assert!(places.is_sorted() && places[0].is_some(), "{text}");
    assert_eq!(text.matches("keep-alive").count(), 1, "{text}");
}

/// The gateway does not wait for the provider to close after the last event.
#[test]
fn stream_ends_at_done_while_the_provider_stalls() {
    let only =
        json!({"choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": "stop"}]});
    let last = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}});
    let provider = Provider::start(move |_| {
        Script::sse([only.to_string(), last.to_string(), "[DONE]".to_owned()]).after(3, Step::Stall)
    });
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");

    let answer = chat(&gateway, "abc", &key, &call());

    let text = answer.text();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[test]
fn anthropic_streams_use_ping_events() {
    let delta = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let (first, second) = (delta("one"), delta("two"));
    let end = json!({"type": "message_delta", "delta": {}, "usage": {"input_tokens": 9, "output_tokens": 2}});
    let provider = Provider::start(move |_| {
        Script::sse_named([("content_block_delta", first.clone())])
            .wait(THINKING)
            .bytes(event("content_block_delta", &second))
            .bytes(event("message_delta", &end))
            .bytes(event("message_stop", &json!({"type": "message_stop"})))
    });
    let url = provider.url("/v1/messages");
    let config = sample(&provider).endpoint("anthropic", &url, "claude-sonnet-4-5");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let client = gateway.client();
    let request = client.request("POST", "/abc/v1/messages").bearer(&key);

    let text = request.json(&call()).send().text().to_string();

    let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
    let places = ["one", ping, "two", "message_stop"].map(|part| text.find(part));
    assert!(places.is_sorted() && places[0].is_some(), "{text}");
}
