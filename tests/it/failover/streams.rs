//! Streams that fail before their first content move on; later ones do not.

use super::{ask, config, hi, record, spent, start};
use crate::harness::{Provider, Script, Step, chat_streaming};
use serde_json::{Value, json};
use std::time::Duration;

fn live() -> Provider {
    Provider::start(|_| Script::chat_stream(&["from ", "live"], 9, 2))
}

fn chunk(delta: &Value) -> String {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
        "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
    .to_string()
}

fn role() -> String {
    chunk(&json!({"role": "assistant", "content": ""}))
}

fn event_stream() -> Script {
    Script::new().head(200, &[("content-type", "text/event-stream")])
}

fn data(text: &str) -> String {
    format!("data: {text}\n\n")
}

type Failing = fn() -> Script;

const EARLY: [(&str, Failing); 8] = [
    ("broken", || event_stream().cut()),
    ("broken", || event_stream().bytes(data(&role())).cut()),
    ("timed_out", || event_stream().bytes(data(&role())).stall()),
    ("invalid", || {
        event_stream().bytes(data("{\"choices\": [{\"del"))
    }),
    ("invalid", || {
        event_stream().bytes(data(&role())).bytes(data("<html>"))
    }),
    ("invalid", || {
        let error = json!({"error": {"message": "overloaded", "type": "server_error"}});
        event_stream()
            .bytes(data(&role()))
            .bytes(data(&error.to_string()))
            .stall()
    }),
    ("broken", || event_stream().bytes(data(&role()))),
    ("broken", || event_stream()),
];

#[test]
fn stream_that_fails_before_its_first_content_moves_on() {
    for (outcome, failing) in EARLY {
        let (first, live) = (Provider::start(move |_| failing()), live());
        let config = config(&first, &live).set(
            "providers.text.endpoints.openai.timeouts.idle",
            json!("300ms"),
        );
        let (gateway, key) = start(config);

        let answer = ask(&gateway, &key, true);

        assert_eq!(answer.status, 200, "{outcome}: {}", answer.text());
        assert_eq!(answer.header("x-resullm-endpoint"), Some("live"));
        let text = answer.text();
        assert!(
            text.ends_with("data: [DONE]\n\n") && !text.contains("error"),
            "{text}"
        );
        assert!(!text.contains("<html>"), "{text}");
        assert_eq!(spent(&gateway, &key), 11, "{outcome}");
        assert_eq!(record(&gateway)["attempts"][0]["outcome"], outcome);
    }
}

#[test]
fn stream_that_breaks_after_its_first_content_ends_with_an_error() {
    let first = Provider::start(|_| {
        let content = chunk(&json!({"content": "Hello"}));
        event_stream()
            .bytes(data(&role()))
            .bytes(data(&content))
            .cut()
    });
    let live = live();
    let (gateway, key) = start(config(&first, &live));
    let answer = ask(&gateway, &key, true);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-resullm-endpoint"), Some("openai"));
    assert!(answer.text().contains("Hello") && answer.text().contains("event: error"));
    assert_eq!(live.requests().len(), 0);
    assert!(spent(&gateway, &key) > 0);
}

#[test]
fn events_before_the_first_content_come_with_it() {
    let first = Provider::start(|_| {
        Script::chat_stream(&["one ", "two"], 9, 2).after(1, Step::Wait(Duration::from_millis(300)))
    });
    let live = live();
    let (gateway, key) = start(config(&first, &live));
    let answer = ask(&gateway, &key, true);
    assert_eq!(answer.header("x-resullm-endpoint"), Some("openai"));
    let text = answer.text();
    assert!(
        text.contains("\"role\":\"assistant\"") && text.contains("two"),
        "{text}"
    );
    assert_eq!(spent(&gateway, &key), 11);
}

/// A keep-alive begins the stream; its content still comes from whoever has some.
#[test]
fn silent_stream_is_kept_alive_and_still_moves_on() {
    let (first, live) = (
        Provider::start(|_| event_stream().bytes(data(&role())).stall()),
        live(),
    );
    let config = config(&first, &live).set(
        "providers.text.endpoints.openai.timeouts.idle",
        json!("17s"),
    );
    let (gateway, key) = start(config);
    let mut stream = chat_streaming(&gateway, "abc", &key, &hi(true));
    let begun = stream.wait_for(": keep-alive");
    assert!(!begun.contains("data:"), "{begun}");
    let answer = stream.into_response().unwrap();
    assert!(answer.text().contains("from ") && answer.text().ends_with("data: [DONE]\n\n"));
    assert!(!answer.text().contains("error"), "{}", answer.text());
    assert_eq!(spent(&gateway, &key), 11);
}

#[test]
fn stream_that_was_kept_alive_ends_with_an_error_event_when_nobody_answers() {
    let stalling = || Provider::start(|_| event_stream().bytes(data(&role())).stall());
    let (first, second) = (stalling(), Provider::start(|_| Script::new().cut()));
    let config = config(&first, &second).set(
        "providers.text.endpoints.openai.timeouts.idle",
        json!("16s"),
    );
    let (gateway, key) = start(config);
    let mut stream = chat_streaming(&gateway, "abc", &key, &hi(true));
    stream.wait_for(": keep-alive");
    let answer = stream.into_response().unwrap();
    assert!(answer.text().contains("event: error"), "{}", answer.text());
    assert!(
        answer.text().contains("provider_failed"),
        "{}",
        answer.text()
    );
    assert_eq!(spent(&gateway, &key), 0);
}

#[test]
fn prompt_that_a_broken_stream_has_reported_is_charged_beside_the_answer() {
    let start_event = json!({"type": "message_start", "message": {"id": "m", "type": "message",
        "role": "assistant", "model": "claude-sonnet-4-5", "content": [], "stop_reason": null,
        "usage": {"input_tokens": 40, "output_tokens": 1}}});
    let first = Provider::start(move |_| {
        event_stream()
            .bytes(format!("event: message_start\ndata: {start_event}\n\n"))
            .cut()
    });
    let live = Provider::start(|_| Script::message_stream(&["from ", "live"], 9, 2));
    let config = config(&first, &live)
        .set(
            "providers.text.endpoints.openai.url",
            json!(first.url("/v1/messages")),
        )
        .set(
            "providers.text.endpoints.live.url",
            json!(live.url("/v1/messages")),
        );
    let (gateway, key) = start(config);
    let call = json!({"model": "claude-sonnet-4-5", "max_tokens": 500, "stream": true,
        "messages": [{"role": "user", "content": "Hi"}]});
    let request = gateway
        .client()
        .request("POST", "/abc/v1/messages")
        .json(&call);
    let answer = request.header("x-api-key", &key).send();
    assert_eq!(
        answer.header("x-resullm-endpoint"),
        Some("live"),
        "{}",
        answer.text()
    );
    assert_eq!(spent(&gateway, &key), 40 + 11);
}

#[test]
fn client_that_leaves_before_the_first_content_ends_the_call() {
    let (first, live) = (
        Provider::start(|_| event_stream().bytes(data(&role())).stall()),
        live(),
    );
    let config = config(&first, &live).server("openai", "openai");
    let (gateway, key) = start(config);
    let connection = gateway.client().connect();
    let mut connection = connection;
    let body = hi(true).to_string();
    connection.write(
        format!(
            "POST /abc/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: \
             application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    first.wait_requests(1);
    drop(connection);
    first.wait_left(0);
    assert_eq!(live.requests().len(), 0);
}
