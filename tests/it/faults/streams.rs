//! Truncated streams.

use super::case;
use crate::harness::{Gateway, Provider, Script, Setup, balance, mint, sample};
use serde_json::{Value, json};

const GRANT: u64 = 100_000;

/// An API: its path, its events in order, and the text that only a complete stream has.
struct Api {
    path: &'static str,
    events: fn() -> Vec<String>,
    end: &'static str,
    error: &'static str,
}

fn unnamed(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn named(value: &Value) -> String {
    let kind = value["type"].as_str().unwrap();
    format!("event: {kind}\ndata: {value}\n\n")
}

fn words() -> impl Iterator<Item = String> {
    (0..16).map(|number| format!(" word{number}"))
}

fn chat() -> Vec<String> {
    let choice = |delta: Value, reason: Value| {
        unnamed(&json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}))
    };
    let mut events = vec![choice(
        json!({"role": "assistant", "content": ""}),
        Value::Null,
    )];
    events.extend(words().map(|word| choice(json!({"content": word}), Value::Null)));
    events.push(choice(json!({}), json!("stop")));
    events.push(unnamed(&json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 32, "total_tokens": 37}})));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn completions() -> Vec<String> {
    let choice = |text: &str, reason: Value| {
        unnamed(&json!({"choices": [{"index": 0, "text": text, "finish_reason": reason}]}))
    };
    let mut events: Vec<String> = words().map(|word| choice(&word, Value::Null)).collect();
    events.push(choice("", json!("stop")));
    events.push(unnamed(&json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 32, "total_tokens": 37}})));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn responses() -> Vec<String> {
    let mut events = vec![named(
        &json!({"type": "response.created", "response": {"id": "r", "status": "in_progress"}}),
    )];
    events.extend(words().map(|word| {
        named(&json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": word}))
    }));
    events.push(named(
        &json!({"type": "response.completed", "response": {"id": "r", "status": "completed",
        "usage": {"input_tokens": 5, "output_tokens": 32, "total_tokens": 37}}}),
    ));
    events
}

fn messages() -> Vec<String> {
    let mut events = vec![
        named(
            &json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 5, "output_tokens": 1}}}),
        ),
        named(
            &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
    ];
    events.extend(words().map(|word| {
        named(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}))
    }));
    events.push(named(&json!({"type": "content_block_stop", "index": 0})));
    events.push(named(&json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 32}})));
    events.push(named(&json!({"type": "message_stop"})));
    events
}

const APIS: [Api; 4] = [
    Api {
        path: "chat/completions",
        events: chat,
        end: "[DONE]",
        error: "event: error",
    },
    Api {
        path: "completions",
        events: completions,
        end: "[DONE]",
        error: "event: error",
    },
    Api {
        path: "responses",
        events: responses,
        end: "response.completed",
        error: "event: error",
    },
    Api {
        path: "messages",
        events: messages,
        end: "message_stop",
        error: "event: error",
    },
];

#[test]
fn stream_cut_after_any_event_is_charged_what_came() {
    let provider = Provider::start(|request| {
        let api = APIS
            .iter()
            .find(|api| request.path == format!("/v1/{}", api.path))
            .unwrap();
        let asked = request.json();
        // Anthropic calls have `metadata`, the others `user`.
        let after = asked["user"]
            .as_str()
            .or(asked["metadata"]["user_id"].as_str())
            .unwrap();
        let (after, how) = after.split_once('-').unwrap();
        let events = (api.events)();
        let head = Script::new().head(200, &[("content-type", "text/event-stream")]);
        let script = events[..after.parse().unwrap()]
            .iter()
            .fold(head, |script, event| script.bytes(event.as_str()));
        if how == "cut" { script.cut() } else { script }
    });
    let config = sample(&provider)
        .tokens(GRANT)
        .rate_limit(1_000_000, 60)
        .endpoint("claude", &provider.url("/v1/messages"), "claude-3-opus")
        .server("openai", "openai")
        .server("claude", "anthropic");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));

    for api in &APIS {
        case(
            &format!("stream: {} ends after k of its events", api.path),
            || {
                let whole = (api.events)();
                let mut broken = 0;
                for how in ["end", "cut"] {
                    for after in 0..=whole.len() {
                        let key = mint(&gateway, "abc");
                        let mark = format!("{after}-{how}");
                        let call = match api.path {
                            "messages" => {
                                json!({"model": "claude-3-opus", "stream": true, "max_tokens": 100,
                            "messages": [], "metadata": {"user_id": mark}})
                            }
                            "responses" => json!({"stream": true, "input": "", "user": mark}),
                            _ => {
                                json!({"stream": true, "messages": [], "prompt": "", "user": mark})
                            }
                        };
                        let path = format!("/abc/v1/{}", api.path);
                        let client = gateway.client();
                        let stream = client
                            .request("POST", &path)
                            .bearer(&key)
                            .json(&call)
                            .send_streaming();
                        let status = stream.status;
                        let text = stream
                            .into_response()
                            .map(|answer| answer.text())
                            .unwrap_or_default();
                        let (left, free) = balance(&gateway, &key);
                        let charged = GRANT - left;
                        assert_eq!(left, free, "nothing is held");
                        let sent = whole[..after].concat();
                        // The end of a chat's stream may be missing, if nothing else is.
                        let is_all = api.end.contains("[DONE]") && sent.contains("\"usage\":{");
                        let is_whole = sent.contains(api.end) || (is_all && how == "end");
                        if is_whole {
                            assert!(
                                (text.contains(api.end) || is_all) && !text.contains(api.error),
                                "{mark}: {text}"
                            );
                            assert_eq!(charged, 37, "{mark}");
                            continue;
                        }
                        broken += 1;
                        let said = text.contains(api.error) || status == 502;
                        assert!(said && !text.contains(api.end), "{mark}: {status} {text}");
                        let words = sent.matches(" word").count() as u64;
                        // A word and its number are two tokens.
                        assert!(
                            charged >= words && charged <= 80 + 3 * words,
                            "{mark}: {charged} for {words} words"
                        );
                    }
                }
                format!(
                    "{broken} times broken, an error in band each time, never a clean end, what came is charged"
                )
            },
        );
    }
}
