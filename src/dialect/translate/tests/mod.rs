//! Translations: calls and answers in each direction, and what must hold for all of them.

mod answer_tests;
mod body_tests;
mod property_tests;

use super::*;
use crate::dialect::call::Body;
use crate::dialect::openai::responses::Responses;
use crate::dialect::stream::pieces as split;
use serde_json::{Value, json};

fn target(kind: Kind) -> TargetEndpoint<'static> {
    TargetEndpoint {
        kind,
        model: Some("m"),
        limit_name: "max_completion_tokens",
        most_output: Some(9_000),
        default_limit: 4_096,
        now: 1_700_000_000,
    }
}

fn translate(client: &dyn Dialect, kind: Kind, body: &Value) -> (Value, Translated) {
    let translated = request(client, body.to_string().as_bytes(), &target(kind));
    let translated = translated.unwrap_or_else(|Unreadable(why)| panic!("{why}: {body}"));
    (
        serde_json::from_slice(&translated.body).unwrap(),
        translated,
    )
}

fn refused(client: &dyn Dialect, kind: Kind, body: &Value) -> String {
    let translated = request(client, body.to_string().as_bytes(), &target(kind));
    translated.expect_err("refused").0
}

const PIXEL: &str = "iVBORw0KGgo=";

fn weather() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

fn agent_call() -> Value {
    json!({
        "model": "asked", "instructions": "Be brief", "stream": true, "store": false, "parallel_tool_calls": true,
        "tool_choice": "auto", "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
        "reasoning": {"effort": "high", "summary": "auto"}, "text": {"verbosity": "low"},
        "tools": [
            {"type": "function", "name": "shell", "description": "d", "strict": false, "parameters": weather()},
            {"type": "custom", "name": "patch", "description": "Edits", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
            {"type": "namespace", "name": "files", "description": "f", "tools": [{"type": "function", "name": "read", "parameters": weather()}]},
            {"type": "web_search"},
        ],
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind"}]},
            {"role": "user", "content": "Fix it"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
            {"type": "message", "role": "assistant", "id": "m", "status": "completed", "content": [{"type": "output_text", "text": "So", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "shell", "arguments": "{\"city\":\"x\"}", "status": "completed"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "*** \"Begin\""},
            {"type": "function_call", "call_id": "c3", "namespace": "files", "name": "read", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "ok"}]},
            {"type": "function_call_output", "call_id": "c3", "output": ""},
        ],
    })
}

/// The same answer in both APIs of endpoints, whole and as a stream.
fn chat_answer() -> (String, String) {
    let usage = json!({"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27,
        "prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 2}});
    let call = |n: u64, city: &str| {
        json!({"id": format!("call_{n}"), "type": "function",
        "function": {"name": "weather", "arguments": format!("{{\"city\": \"{city}\"}}")}})
    };
    let whole = json!({"id": "a1", "object": "chat.completion", "created": 1, "model": "m1", "choices": [{"index": 0,
        "message": {"role": "assistant", "reasoning_content": "Hm", "content": "Let me see", "tool_calls": [call(1, "Rome"), call(2, "Oslo")]},
        "finish_reason": "tool_calls"}], "usage": usage});
    let chunk = |delta: Value, reason: Option<&str>| {
        json!({"id": "a1", "object": "chat.completion.chunk", "created": 1, "model": "m1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
    };
    let piece = |n: u64, text: &str| {
        chunk(
            json!({"tool_calls": [{"index": n - 1, "function": {"arguments": text}}]}),
            None,
        )
    };
    let begin = |n: u64| {
        chunk(
            json!({"tool_calls": [{"index": n - 1, "id": format!("call_{n}"), "type": "function",
        "function": {"name": "weather", "arguments": ""}}]}),
            None,
        )
    };
    let events = [
        chunk(json!({"role": "assistant", "content": ""}), None),
        chunk(json!({"reasoning_content": "Hm"}), None),
        chunk(json!({"content": "Let me"}), None),
        chunk(json!({"content": " see"}), None),
        begin(1),
        piece(1, "{\"city\":"),
        piece(1, " \"Rome\"}"),
        begin(2),
        piece(2, "{\"city\":"),
        piece(2, " \"Oslo\"}"),
        chunk(json!({}), Some("tool_calls")),
        json!({"id": "a1", "choices": [], "usage": usage}),
    ];
    let mut stream: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    stream.push_str("data: [DONE]\n\n");
    (whole.to_string(), stream)
}

fn messages_answer() -> (String, String) {
    let usage = json!({"input_tokens": 15, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 7});
    let whole = json!({"id": "a1", "type": "message", "role": "assistant", "model": "m1", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "s"},
            {"type": "text", "text": "Let me see"},
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
            {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Oslo"}},
        ], "usage": usage});
    let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let start = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let tool = |n: u64| json!({"type": "tool_use", "id": format!("call_{n}"), "name": "weather", "input": {}});
    let events = [
        json!({"type": "message_start", "message": {"id": "a1", "type": "message", "role": "assistant", "model": "m1", "content": [], "usage": {"input_tokens": 15, "cache_read_input_tokens": 5, "output_tokens": 1}}}),
        start(0, json!({"type": "thinking", "thinking": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "s"})),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Let me"})),
        json!({"type": "ping"}),
        delta(1, json!({"type": "text_delta", "text": " see"})),
        stop(1),
        start(2, tool(1)),
        delta(
            2,
            json!({"type": "input_json_delta", "partial_json": "{\"city\":"}),
        ),
        delta(
            2,
            json!({"type": "input_json_delta", "partial_json": "\"Rome\"}"}),
        ),
        stop(2),
        start(3, tool(2)),
        delta(
            3,
            json!({"type": "input_json_delta", "partial_json": "{\"city\":\"Oslo\"}"}),
        ),
        stop(3),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 7}}),
        json!({"type": "message_stop"}),
    ];
    let name = |event: &Value| event["type"].as_str().unwrap().to_owned();
    let stream = events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", name(event)))
        .collect();
    (whole.to_string(), stream)
}

fn gemini_answer() -> (String, String) {
    let usage = json!({"promptTokenCount": 20, "cachedContentTokenCount": 5, "candidatesTokenCount": 5,
        "thoughtsTokenCount": 2, "totalTokenCount": 27});
    let call = |n: u64, city: &str| json!({"functionCall": {"id": format!("call_{n}"), "name": "weather", "args": {"city": city}}});
    let answer = |parts: Value, reason: Option<&str>, usage: Option<&Value>| {
        let mut answer = json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}],
            "modelVersion": "m1", "responseId": "a1"});
        if let Some(reason) = reason {
            answer["candidates"][0]["finishReason"] = reason.into();
        }
        if let Some(usage) = usage {
            answer["usageMetadata"] = usage.clone();
        }
        answer
    };
    let thought = json!({"text": "Hm", "thought": true});
    let parts = json!([thought, {"text": "Let me see"}, call(1, "Rome"), call(2, "Oslo")]);
    let whole = answer(parts, Some("STOP"), Some(&usage));
    let early = json!({"promptTokenCount": 20, "totalTokenCount": 20});
    let events = [
        answer(json!([thought]), None, Some(&early)),
        answer(json!([{"text": "Let me"}]), None, None),
        answer(json!([{"text": " see"}, call(1, "Rome")]), None, None),
        answer(json!([call(2, "Oslo")]), None, None),
        answer(
            json!([{"text": "", "thoughtSignature": "AAAA"}]),
            Some("STOP"),
            Some(&usage),
        ),
    ];
    let stream = events.iter().map(|event| format!("data: {event}\r\n\r\n"));
    (whole.to_string(), stream.collect())
}

/// Every pair of client and endpoint, with the endpoint's answer whole and as a stream.
fn pairs() -> Vec<(&'static dyn Dialect, Kind, (String, String))> {
    vec![
        (&Chat, Kind::Anthropic, messages_answer()),
        (&Responses, Kind::Anthropic, messages_answer()),
        (&Messages, Kind::OpenAi, chat_answer()),
        (&Responses, Kind::OpenAi, chat_answer()),
        (&GENERATE, Kind::OpenAi, chat_answer()),
        (&GENERATE, Kind::Anthropic, messages_answer()),
        (&Chat, Kind::Gemini, gemini_answer()),
        (&Messages, Kind::Gemini, gemini_answer()),
        (&Responses, Kind::Gemini, gemini_answer()),
    ]
}

fn simple(client: &dyn Dialect, stream: bool) -> Value {
    match client.path() {
        "responses" => json!({"model": "m", "stream": stream, "input": "x"}),
        "messages" => {
            json!({"model": "m", "max_tokens": 5, "stream": stream, "messages": [{"role": "user", "content": "x"}]})
        }
        "chat/completions" => {
            json!({"model": "m", "stream": stream, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "x"}]})
        }
        _ => json!({"contents": [{"parts": [{"text": "x"}]}]}),
    }
}

fn streamed(client: &'static dyn Dialect, kind: Kind, stream: &[u8], cuts: Vec<usize>) -> Vec<u8> {
    let client: &dyn Dialect = match client.path() == GENERATE.path() {
        true => &STREAM,
        false => client,
    };
    let (body, translated) = translate(client, kind, &simple(client, true));
    let native = translated.translation.dialect();
    let body = body.to_string();
    let call = native
        .read(&Body::json(body.as_bytes()), &Default::default())
        .unwrap();
    let mut meter = translated.translation.stream(native.stream(&call));
    let mut out = Vec::new();
    for piece in split(stream, cuts) {
        out.extend(meter.feed(piece));
    }
    out.extend(meter.finish());
    assert!(meter.reading().complete);
    out
}

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}
