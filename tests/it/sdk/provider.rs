//! A scripted provider with all three APIs, and a gateway in front of it.
//!
//! The path selects the answer, the model name the failure: `status-429` answers 429, `cut` breaks a stream
//! off, `short` omits its last event.

use serde_json::{Value, json};

use super::official::{PLENTY, TENANT};
use crate::harness::provider::Received;
use crate::harness::{Gateway, Provider, Sample, Script, Setup, Step, sample};

pub const TEXT: &str = "Hello, world";
pub const PIECES: [&str; 3] = ["Hello", ", ", "world"];
pub const VECTOR: [f64; 3] = [0.5, -1.5, 0.25];
pub const IMAGE: &str = "aW1hZ2U=";
/// Error message of the provider.
pub const EXCUSE: &str = "The provider has its own troubles";
const CREATED: u64 = 1_700_000_000;

pub fn sound() -> Vec<u8> {
    (0..=255).rev().collect()
}

/// Every endpoint has a full URL, which determines its kind.
#[track_caller]
pub fn start() -> (Provider, Gateway) {
    start_with(|config| config)
}

/// The same, with changes to the tenant's config.
#[track_caller]
pub fn start_with(change: impl FnOnce(Sample) -> Sample) -> (Provider, Gateway) {
    start_scripted(answer, change)
}

/// A gateway with an endpoint of each API, which this provider serves.
#[track_caller]
pub fn start_scripted(
    answer: fn(&Received) -> Script,
    change: impl FnOnce(Sample) -> Sample,
) -> (Provider, Gateway) {
    let provider = Provider::start(answer);
    let config = sample(&provider)
        .endpoint(
            "anthropic",
            &provider.url("/v1/messages"),
            "claude-sonnet-4-5",
        )
        .endpoint("gemini", &provider.url(GEMINI), "gemini-2.5-flash")
        .tokens(PLENTY);
    let gateway = Gateway::start(Setup::new().tenant(TENANT, change(config)));
    (provider, gateway)
}

fn answer(request: &Received) -> Script {
    let path = request.path.split('?').next().unwrap_or_default();
    let call: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let streams = call["stream"] == true;
    let model = model_of(path)
        .or(call["model"].as_str())
        .unwrap_or_default();
    if let Some(status) = model.strip_prefix("status-") {
        return failure(path, status.parse().expect("a status"));
    }
    let script = match path {
        "/v1/chat/completions" if streams => Script::chat_stream(&PIECES, 9, 5),
        "/v1/chat/completions" => Script::chat(TEXT, 9, 5),
        "/v1/responses" if streams => responses_stream(),
        "/v1/responses" => Script::json(200, &response("completed")),
        "/v1/completions" if streams => completions_stream(),
        "/v1/completions" => Script::json(200, &completion(TEXT, &json!("stop"), true)),
        "/v1/embeddings" => embeddings(&call),
        "/v1/moderations" => moderations(),
        "/v1/images/generations" => images(),
        "/v1/audio/transcriptions" => transcription(&request.text()),
        "/v1/audio/speech" => whole("audio/mpeg", &sound()),
        "/v1/messages" if streams => Script::message_stream(&PIECES, 11, 5),
        "/v1/messages" => message(),
        "/v1/messages/count_tokens" => Script::json(200, &json!({"input_tokens": 17})),
        path if path.ends_with(":streamGenerateContent") => Script::content_stream(&PIECES, 9, 5),
        path if path.ends_with(":generateContent") => Script::content(TEXT, 9, 5),
        path if path.ends_with(":countTokens") => Script::json(200, &json!({"totalTokens": 17})),
        _ => Script::json(404, &json!({"error": {"message": "No such path"}})),
    };
    match model {
        "cut" if path == "/v1/audio/speech" => Script::new()
            .head(200, &[("content-type", "audio/mpeg")])
            .bytes(sound())
            .cut(),
        // Cuts after the first texts.
        "cut" => script.after(failing(path), Step::Cut),
        "short" => Script {
            steps: script.steps.into_iter().take(1 + failing(path)).collect(),
        },
        _ => script,
    }
}

/// Main call of a model of Gemini's.
pub const GEMINI: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

/// Model in the path of a call of Gemini's.
fn model_of(path: &str) -> Option<&str> {
    let (model, _) = path.strip_prefix("/v1beta/models/")?.split_once(':')?;
    Some(model)
}

/// Number of events before the failure: up to the first two texts.
fn failing(path: &str) -> usize {
    match path {
        "/v1/responses" => 6,
        "/v1/messages" => 4,
        "/v1/completions" => 2,
        path if path.starts_with("/v1beta") => 2,
        _ => 3,
    }
}

fn failure(path: &str, status: u16) -> Script {
    let kind = match status {
        400 => "invalid_request_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let body = if path.starts_with("/v1/messages") {
        json!({"type": "error", "error": {"type": kind, "message": EXCUSE}, "request_id": "req_1"})
    } else if path.starts_with("/v1beta") {
        json!({"error": {"code": status, "message": EXCUSE, "status": "UNAVAILABLE"}})
    } else {
        json!({"error": {"message": EXCUSE, "type": kind, "param": null, "code": "its_code"}})
    };
    Script::json(status, &body).header("retry-after", "7")
}

fn whole(kind: &str, bytes: &[u8]) -> Script {
    let length = bytes.len().to_string();
    let headers = [("content-type", kind), ("content-length", length.as_str())];
    Script::new().head(200, &headers).bytes(bytes)
}

fn response(status: &str) -> Value {
    let item = json!({
        "id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}],
    });
    let usage = json!({
        "input_tokens": 20, "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 27,
    });
    let is_whole = status == "completed";
    json!({
        "id": "resp_1", "object": "response", "created_at": CREATED, "status": status,
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {},
        "model": "gpt-4o", "output": if is_whole { json!([item]) } else { json!([]) },
        "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "usage": if is_whole { usage } else { Value::Null },
    })
}

fn responses_stream() -> Script {
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let item = |status: &str, content: Value| {
        json!({
            "id": "msg_1", "type": "message", "status": status, "role": "assistant",
            "content": content,
        })
    };
    let place = || json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
    let started = response("in_progress");
    let mut events = vec![
        ("response.created", json!({"response": started})),
        ("response.in_progress", json!({"response": started})),
        (
            "response.output_item.added",
            json!({"output_index": 0, "item": item("in_progress", json!([]))}),
        ),
    ];
    let mut add = |name, mut data: Value, member: &str, value: Value| {
        data[member] = value;
        events.push((name, data));
    };
    add("response.content_part.added", place(), "part", part(""));
    for text in PIECES {
        add("response.output_text.delta", place(), "delta", json!(text));
    }
    add("response.output_text.done", place(), "text", json!(TEXT));
    add("response.content_part.done", place(), "part", part(TEXT));
    events.push((
        "response.output_item.done",
        json!({"output_index": 0, "item": item("completed", json!([part(TEXT)]))}),
    ));
    events.push((
        "response.completed",
        json!({"response": response("completed")}),
    ));
    let numbered = events.into_iter().enumerate().map(|(number, event)| {
        let (name, mut data) = event;
        data["type"] = json!(name);
        data["sequence_number"] = json!(number);
        (name, data)
    });
    Script::sse_named(numbered)
}

fn completion(text: &str, reason: &Value, is_last: bool) -> Value {
    let usage = json!({"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9});
    json!({
        "id": "cmpl-1", "object": "text_completion", "created": CREATED,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": reason}],
        "usage": if is_last { usage } else { Value::Null },
    })
}

fn completions_stream() -> Script {
    let mut events: Vec<String> = PIECES
        .iter()
        .map(|text| completion(text, &Value::Null, false).to_string())
        .collect();
    let mut last = completion("", &json!("stop"), true);
    last["choices"] = json!([]);
    events.push(completion("", &json!("stop"), false).to_string());
    events.push(last.to_string());
    events.push("[DONE]".to_owned());
    Script::sse(events)
}

/// The same vector of three numbers, as floats or as base64.
fn embeddings(call: &Value) -> Script {
    let vector = match call["encoding_format"].as_str() {
        Some("base64") => json!("AAAAPwAAwL8AAIA+"),
        _ => json!(VECTOR),
    };
    let answer = json!({
        "object": "list", "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    });
    Script::json(200, &answer)
}

fn moderations() -> Script {
    let result = json!({
        "flagged": true, "categories": {"violence": true}, "category_scores": {"violence": 0.9},
        "category_applied_input_types": {"violence": ["text"]},
    });
    let answer = json!({"id": "modr-1", "model": "omni-moderation-latest", "results": [result]});
    Script::json(200, &answer)
}

fn images() -> Script {
    let answer = json!({
        "created": CREATED, "data": [{"b64_json": IMAGE}],
        "usage": {
            "input_tokens": 10, "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
            "output_tokens": 40, "total_tokens": 50,
        },
    });
    Script::json(200, &answer)
}

/// Only the JSON format has usage.
fn transcription(form: &str) -> Script {
    // Value of the form field, below its head.
    if form.contains("\r\n\r\ntext\r\n") {
        return whole("text/plain; charset=utf-8", format!("{TEXT}\n").as_bytes());
    }
    let answer = json!({
        "text": TEXT,
        "usage": {
            "type": "tokens", "input_tokens": 14,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
            "output_tokens": 4, "total_tokens": 18,
        },
    });
    Script::json(200, &answer)
}

/// Usage with three disjoint parts of the input.
fn message() -> Script {
    let answer = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {
            "input_tokens": 11, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3,
            "output_tokens": 5,
        },
    });
    Script::json(200, &answer)
}
