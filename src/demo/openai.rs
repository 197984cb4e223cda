//! OpenAI's Chat Completions API for the demo provider: parses requests, formats responses and SSE events.
//!
//! Pure: JSON in, JSON or event text out. The caller supplies the IDs and the time.

use super::answer::{Answer, pieces};
use super::call::{self, Call, Refusal, field, positive, yes};
use serde_json::{Value, json};

/// Maximum of `n`, as in the real API.
const MOST_CHOICES: u64 = 128;

/// Parses a `POST /v1/chat/completions` body.
pub(super) fn read(body: &Value) -> Result<Call, Refusal> {
    let shared = call::read(body, "")?;
    // Compatible servers accept both names; the smaller one satisfies both limits.
    let limits = [
        positive(body, "max_completion_tokens", u64::MAX)?,
        positive(body, "max_tokens", u64::MAX)?,
    ];
    let include_usage = match field(body, "stream_options") {
        None => false,
        Some(options) if options.is_object() => yes(options, "include_usage")?,
        Some(_) => return Err(Refusal::new("stream_options", "must be an object")),
    };
    Ok(Call {
        limit_tokens: limits.into_iter().flatten().min(),
        choices: positive(body, "n", MOST_CHOICES)?.unwrap_or(1),
        include_usage,
        ..shared
    })
}

/// Members that are the same in every chunk of one answer: `id` and `created`.
pub(super) struct Stamp {
    pub id: String,
    pub created_seconds: u64,
}

/// Formats a response that is not streamed, with `n` equal choices.
pub(super) fn whole(call: &Call, answer: &Answer, stamp: &Stamp) -> Value {
    let choice = |index: u64| {
        json!({
            "index": index,
            "message": { "role": "assistant", "content": answer.text, "refusal": null },
            "logprobs": null,
            "finish_reason": finish_reason(answer)
        })
    };
    json!({
        "id": stamp.id,
        "object": "chat.completion",
        "created": stamp.created_seconds,
        "model": call.model,
        "choices": (0..call.choices).map(choice).collect::<Vec<Value>>(),
        "usage": usage(call, answer)
    })
}

/// Formats a stream as a list of steps; the events of one step, for all choices, are sent in one HTTP chunk.
pub(super) fn stream(call: &Call, answer: &Answer, stamp: &Stamp) -> Vec<String> {
    let step = |delta: Value, finish_reason: Value| -> String {
        (0..call.choices)
            .map(|index| {
                let choice = json!({
                    "index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason
                });
                chunk(call, stamp, json!([choice]), Value::Null)
            })
            .collect()
    };
    let mut steps = vec![step(
        json!({ "role": "assistant", "content": "" }),
        Value::Null,
    )];
    steps.extend(pieces(&answer.text).map(|piece| step(json!({ "content": piece }), Value::Null)));
    steps.push(step(json!({}), finish_reason(answer).into()));
    if call.include_usage {
        steps.push(chunk(call, stamp, json!([]), usage(call, answer)));
    }
    steps.push("data: [DONE]\n\n".to_owned());
    steps
}

/// Formats one `chat.completion.chunk`. With `stream_options.include_usage`, every chunk has a `usage`
/// member, `null` in all but the last.
fn chunk(call: &Call, stamp: &Stamp, choices: Value, usage: Value) -> String {
    let mut chunk = json!({
        "id": stamp.id,
        "object": "chat.completion.chunk",
        "created": stamp.created_seconds,
        "model": call.model,
        "choices": choices
    });
    if call.include_usage {
        chunk["usage"] = usage;
    }
    format!("data: {chunk}\n\n")
}

fn finish_reason(answer: &Answer) -> &'static str {
    if answer.cut { "length" } else { "stop" }
}

fn usage(call: &Call, answer: &Answer) -> Value {
    let completion_tokens = answer.tokens * call.choices;
    json!({
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": call.prompt_tokens + completion_tokens,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0
        }
    })
}

pub(super) fn models() -> Value {
    json!({
        "object": "list",
        "data": [{ "id": "demo", "object": "model", "created": 0, "owned_by": "demo" }]
    })
}

pub(super) fn error(message: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({ "error": {
        "message": message, "type": "invalid_request_error", "param": param, "code": code
    } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::answer::answer;

    fn call(more: &Value) -> Result<Call, Refusal> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        read(&body)
    }

    fn stamp() -> Stamp {
        Stamp {
            id: "chatcmpl-1".to_owned(),
            created_seconds: 7,
        }
    }

    #[test]
    fn the_smaller_of_both_limits_counts() {
        let limit = |more| call(&more).unwrap().limit_tokens;
        assert_eq!(
            limit(json!({ "max_tokens": 9, "max_completion_tokens": 5 })),
            Some(5)
        );
        assert_eq!(
            limit(json!({ "max_tokens": 9, "max_completion_tokens": null })),
            Some(9)
        );
        assert_eq!(limit(json!({})), None);
        for (name, value) in [
            ("max_tokens", json!(0)),
            ("n", json!(129)),
            ("stream_options", json!(true)),
        ] {
            assert_eq!(call(&json!({ name: value })).unwrap_err().field, name);
        }
    }

    #[test]
    fn every_choice_is_paid_for() {
        let call = call(&json!({ "n": 3, "max_tokens": 2 })).unwrap();
        let body = whole(&call, &answer(&call), &stamp());
        assert_eq!(body["choices"].as_array().unwrap().len(), 3);
        assert_eq!(body["choices"][2]["finish_reason"], "length");
        assert_eq!(body["usage"]["completion_tokens"], 6);
        assert_eq!(body["usage"]["total_tokens"], 6 + call.prompt_tokens);
    }

    #[test]
    fn a_stream_has_usage_only_where_it_was_asked_for() {
        let chunks = |more| -> Vec<Value> {
            let call = call(&more).unwrap();
            let text = stream(&call, &answer(&call), &stamp()).concat();
            let text = text.strip_suffix("data: [DONE]\n\n").unwrap();
            text.split_terminator("\n\n")
                .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
                .collect()
        };
        let without = chunks(json!({}));
        assert!(without.iter().all(|chunk| chunk.get("usage").is_none()));
        assert_eq!(without[0]["choices"][0]["delta"]["role"], "assistant");
        let last = &without[without.len() - 1]["choices"][0];
        assert_eq!(
            (&last["delta"], &last["finish_reason"]),
            (&json!({}), &json!("stop"))
        );

        let with = chunks(json!({ "n": 2, "stream_options": { "include_usage": true } }));
        let (last, others) = with.split_last().unwrap();
        assert_eq!(last["choices"], json!([]));
        assert!(last["usage"]["completion_tokens"].as_u64().unwrap() > 1);
        assert!(others.iter().all(|chunk| chunk["usage"].is_null()));
        assert!(others.iter().all(|chunk| chunk.get("usage").is_some()));
        assert_eq!(with.len(), 2 * without.len() + 1);
    }
}
