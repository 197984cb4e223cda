//! Anthropic's Messages API for the demo provider: parses requests, formats responses and SSE events.
//!
//! Pure: JSON in, JSON or event text out. The caller supplies the IDs.

use super::answer::{Answer, pieces};
use super::call::{self, CONTENT, Call, Refusal, field, positive, text_of};
use serde_json::{Value, json};

/// Parses a `POST /v1/messages` body; `max_tokens` is required, as in the real API.
pub(super) fn read(body: &Value) -> Result<Call, Refusal> {
    let call = read_prompt(body)?;
    let limit = positive(body, "max_tokens", u64::MAX)?
        .ok_or_else(|| Refusal::new("max_tokens", "is required"))?;
    Ok(Call {
        limit_tokens: Some(limit),
        ..call
    })
}

/// Parses a `count_tokens` body, which needs no `max_tokens`.
pub(super) fn read_prompt(body: &Value) -> Result<Call, Refusal> {
    let system = text_of(field(body, "system")).ok_or_else(|| Refusal::new("system", CONTENT))?;
    call::read(body, &system)
}

/// Formats a response that is not streamed.
pub(super) fn whole(call: &Call, answer: &Answer, id: &str) -> Value {
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [{ "type": "text", "text": answer.text }],
        "stop_reason": stop_reason(answer),
        "stop_sequence": null,
        "usage": usage(call, answer.tokens)
    })
}

/// Formats the response of `count_tokens`.
pub(super) fn counted(call: &Call) -> Value {
    json!({ "input_tokens": call.prompt_tokens })
}

/// Formats a stream as a list of steps; the events of one step are sent in one chunk.
pub(super) fn stream(call: &Call, answer: &Answer, id: &str) -> Vec<String> {
    let start = json!({ "type": "message_start", "message": {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage(call, 1)
    } });
    let block = json!({
        "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" }
    });
    let delta = |piece| {
        json!({
            "type": "content_block_delta", "index": 0,
            "delta": { "type": "text_delta", "text": piece }
        })
    };
    // Usage in `message_delta` is cumulative and replaces that of `message_start`.
    let end = json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(answer), "stop_sequence": null },
        "usage": { "output_tokens": answer.tokens }
    });
    let mut steps = vec![
        event("message_start", &start),
        event("content_block_start", &block) + &event("ping", &json!({ "type": "ping" })),
    ];
    steps.extend(pieces(&answer.text).map(|piece| event("content_block_delta", &delta(piece))));
    steps.push(event(
        "content_block_stop",
        &json!({ "type": "content_block_stop", "index": 0 }),
    ));
    steps.push(event("message_delta", &end));
    steps.push(event("message_stop", &json!({ "type": "message_stop" })));
    steps
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.cut { "max_tokens" } else { "end_turn" }
}

fn usage(call: &Call, output_tokens: u64) -> Value {
    json!({
        "input_tokens": call.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard"
    })
}

pub(super) fn models() -> Value {
    json!({
        "data": [{
            "type": "model", "id": "demo", "display_name": "Demo",
            "created_at": "1970-01-01T00:00:00Z"
        }],
        "has_more": false,
        "first_id": "demo",
        "last_id": "demo"
    })
}

pub(super) fn error(kind: &str, message: &str, request_id: &str) -> Value {
    json!({
        "type": "error",
        "error": { "type": kind, "message": message },
        "request_id": request_id
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::answer::answer;

    fn body() -> Value {
        json!({
            "model": "m", "max_tokens": 100,
            "system": [{ "type": "text", "text": "Be brief." }],
            "messages": [{ "role": "user", "content": "hi" }]
        })
    }

    #[test]
    fn a_limit_is_required_except_for_counting() {
        let mut body = body();
        body["max_tokens"] = Value::Null;
        assert_eq!(read(&body).unwrap_err().field, "max_tokens");
        let call = read_prompt(&body).unwrap();
        assert_eq!(
            counted(&call),
            json!({ "input_tokens": 11_u64.div_ceil(4) + 3 })
        );
        body["system"] = json!(3);
        assert_eq!(read_prompt(&body).unwrap_err().field, "system");
    }

    #[test]
    fn a_stream_tells_the_same_as_the_whole() {
        let call = read(&body()).unwrap();
        let answer = answer(&call);
        let whole = whole(&call, &answer, "msg_1");
        let mut names = Vec::new();
        let mut text = String::new();
        let mut output = Value::Null;
        for event in stream(&call, &answer, "msg_1")
            .concat()
            .split_terminator("\n\n")
        {
            let (name, data) = event.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(data["type"], name);
            match name {
                "content_block_delta" => text += data["delta"]["text"].as_str().unwrap(),
                "message_start" => {
                    let usage = &data["message"]["usage"];
                    assert_eq!(usage["input_tokens"], whole["usage"]["input_tokens"]);
                }
                "message_delta" => {
                    assert_eq!(data["delta"]["stop_reason"], whole["stop_reason"]);
                    output = data["usage"]["output_tokens"].clone();
                }
                _ => {}
            }
            if names.last() != Some(&name.to_owned()) {
                names.push(name.to_owned());
            }
        }
        assert_eq!(
            names,
            [
                "message_start",
                "content_block_start",
                "ping",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
            ]
        );
        assert_eq!(text, whole["content"][0]["text"]);
        assert_eq!(output, whole["usage"]["output_tokens"]);
    }
}
