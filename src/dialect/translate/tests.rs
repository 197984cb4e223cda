//! Translations: golden calls and answers in each direction, and what must hold for all of them.

use super::conversation::{
    ContentPart, Conversation, Format, Input, Json, Media, Speaker, Takes, Tool, ToolCall,
    ToolChoice, ToolResult,
};
use super::*;
use crate::dialect::openai::responses::Responses;
use crate::dialect::stream::pieces as split;
use proptest::prelude::*;
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

#[test]
fn chat_is_written_as_messages() {
    let (body, translated) = translate(
        &Chat,
        Kind::Anthropic,
        &json!({
            "model": "asked", "stream": true, "max_completion_tokens": 50, "temperature": 0.70, "stop": "END",
            "parallel_tool_calls": false, "tool_choice": "required", "reasoning_effort": "low", "user": "u",
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": weather()}},
            "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": weather(), "strict": true}}],
            "messages": [
                {"role": "system", "content": "Be brief"},
                {"role": "developer", "content": [{"type": "text", "text": "Be kind"}]},
                {"role": "user", "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image_url", "image_url": {"url": format!("data:image/PNG;base64,{PIXEL}"), "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
                ]},
                {"role": "assistant", "content": "One moment", "tool_calls": [
                    {"id": "call 1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Rome\"}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": ""}},
                ]},
                {"role": "tool", "tool_call_id": "call 1", "content": "sunny"},
                {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "rain"}]},
                {"role": "user", "content": "Thanks"},
            ],
        }),
    );
    let odd = body["messages"][1]["content"][1]["id"].clone();
    assert!(odd.as_str().unwrap().starts_with("toolu_"), "{odd}");
    assert_eq!(
        body,
        json!({
            "model": "m", "max_tokens": 50, "stream": true, "temperature": 0.7, "stop_sequences": ["END"],
            "system": [{"type": "text", "text": "Be brief"}, {"type": "text", "text": "Be kind"}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "output_config": {"format": {"type": "json_schema", "schema": weather()}},
            "tools": [{"name": "weather", "description": "d", "input_schema": weather(), "strict": true}],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
                    {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
                ]},
                {"role": "assistant", "content": [
                    {"type": "text", "text": "One moment"},
                    {"type": "tool_use", "id": odd, "name": "weather", "input": {"city": "Rome"}},
                    {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": odd, "content": [{"type": "text", "text": "sunny"}]},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "rain"}]},
                    {"type": "text", "text": "Thanks"},
                ]},
            ],
        })
    );
    assert_eq!(
        translated.removed,
        [
            "messages.content.image_url.detail",
            "reasoning_effort",
            "user"
        ]
    );
    assert_eq!(translated.limit, Some(50));
}

#[test]
fn schemas_inputs_and_numbers_leave_as_they_came() {
    let schema = r#"{ "type":"object", "maximum": 12345678901234567890123, "x": 1.0E+2 }"#;
    let body = format!(
        r#"{{"model":"m","temperature":0.70,"messages":[{{"role":"assistant","tool_calls":[{{"id":"c","type":"function","function":{{"name":"f","arguments":"{{ \"a\":1.50 }}"}}}}]}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
    );
    let translated = request(&Chat, body.as_bytes(), &target(Kind::Anthropic)).unwrap();
    let text = String::from_utf8(translated.body).unwrap();
    assert!(text.contains("\"temperature\":0.70"), "{text}");
    assert!(
        text.contains(&format!("\"input_schema\":{schema}")),
        "{text}"
    );
    assert!(text.contains(r#""input":{ "a":1.50 }"#), "{text}");
}

#[test]
fn messages_are_written_as_chat() {
    let (body, translated) = translate(
        &Messages,
        Kind::OpenAi,
        &json!({
            "model": "asked", "max_tokens": 50, "stream": true, "top_k": 5, "top_p": 0.5, "stop_sequences": ["END"],
            "system": [{"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Be kind"}],
            "thinking": {"type": "enabled", "budget_tokens": 1024}, "metadata": {"user_id": "u"},
            "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
            "tools": [{"name": "weather", "description": "d", "input_schema": weather(), "cache_control": {"type": "ephemeral"}}],
            "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": true},
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "Once"}},
                ]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "s"},
                    {"type": "text", "text": "One moment"},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    ]},
                    {"type": "text", "text": "Thanks"},
                ]},
            ],
        }),
    );
    let image = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PIXEL}")}});
    assert_eq!(
        body,
        json!({
            "model": "m", "max_completion_tokens": 50, "stream": true, "stream_options": {"include_usage": true},
            "top_p": 0.5, "stop": ["END"], "parallel_tool_calls": false,
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": weather()}}],
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be brief"}, {"type": "text", "text": "Be kind"}]},
                {"role": "user", "content": [{"type": "text", "text": "Look"}, image, {"type": "text", "text": "Once"}]},
                {"role": "assistant", "content": "One moment", "tool_calls": [
                    {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}},
                ]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": "see"},
                {"role": "user", "content": [{"type": "text", "text": "Shown by the tool call toolu_1:"}, image, {"type": "text", "text": "Thanks"}]},
            ],
        })
    );
    assert_eq!(
        translated.removed,
        [
            "messages.cache_control",
            "tools.cache_control",
            "context_management",
            "metadata",
            "thinking",
            "messages.content.title",
            "messages.content.thinking",
            "messages.content.is_error",
            "top_k",
        ]
        .map(|name| match name {
            "messages.cache_control" => "messages.content.cache_control",
            name => name,
        })
    );
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

#[test]
fn responses_are_written_as_both() {
    let patch = json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": false});
    let told = "Edits\n\nThe input must match this lark grammar:\nstart: X";
    let (body, _) = translate(&Responses, Kind::OpenAi, &agent_call());
    assert_eq!(
        body,
        json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true},
            "tools": [
                {"type": "function", "function": {"name": "shell", "description": "d", "parameters": weather(), "strict": false}},
                {"type": "function", "function": {"name": "patch", "description": told, "parameters": patch}},
                {"type": "function", "function": {"name": "files__read", "parameters": weather()}},
            ],
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be brief"}, {"type": "text", "text": "Be kind"}]},
                {"role": "user", "content": "Fix it"},
                {"role": "assistant", "content": "So", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "shell", "arguments": "{\"city\":\"x\"}"}},
                    {"id": "c2", "type": "function", "function": {"name": "patch", "arguments": "{\"input\":\"*** \\\"Begin\\\"\"}"}},
                    {"id": "c3", "type": "function", "function": {"name": "files__read", "arguments": "{}"}},
                ]},
                {"role": "tool", "tool_call_id": "c1", "content": "done"},
                {"role": "tool", "tool_call_id": "c2", "content": "ok"},
                {"role": "tool", "tool_call_id": "c3", "content": ""},
            ],
        })
    );
    let (body, _) = translate(&Responses, Kind::Anthropic, &agent_call());
    assert_eq!(body["max_tokens"], 4_096);
    assert_eq!(
        body["tools"][1],
        json!({"name": "patch", "description": told, "input_schema": patch})
    );
    assert_eq!(
        body["messages"][1]["content"][2]["input"],
        json!({"input": "*** \"Begin\""})
    );
    assert_eq!(
        body["messages"][2]["content"][2],
        json!({"type": "tool_result", "tool_use_id": "c3"})
    );
}

/// Adds a member to each object of a body in turn, and says where.
fn with_unknown(value: &Value, each: &mut dyn FnMut(Value)) {
    fn within(whole: &Value, path: &mut Vec<String>, at: &Value, each: &mut dyn FnMut(Value)) {
        let changed = |path: &[String]| {
            let mut changed = whole.clone();
            let place = changed.pointer_mut(
                &path
                    .iter()
                    .map(|name| format!("/{name}"))
                    .collect::<String>(),
            );
            place.unwrap()["unknown"] = json!("x");
            changed
        };
        match at {
            Value::Object(members) => {
                // The content of these is carried as it is.
                let opaque = [
                    "schema",
                    "parameters",
                    "input_schema",
                    "input",
                    "metadata",
                    "cache_control",
                    "thinking",
                    "reasoning",
                    "edits",
                    "summary",
                ];
                each(changed(path));
                for (name, value) in members
                    .iter()
                    .filter(|(name, value)| !opaque.contains(&name.as_str()) || value.is_array())
                {
                    path.push(name.clone());
                    within(whole, path, value, each);
                    path.pop();
                }
            }
            Value::Array(elements) => {
                for (index, value) in elements.iter().enumerate() {
                    path.push(index.to_string());
                    within(whole, path, value, each);
                    path.pop();
                }
            }
            _ => {}
        }
    }
    within(value, &mut Vec::new(), value, each);
}

#[test]
fn member_that_is_not_known_is_refused_wherever_it_stands() {
    let mut chat = json!({"model": "m", "messages": [
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://a/x"}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}});
    let messages = json!({"model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "x"}], "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://a/x"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}]}],
        "tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "auto"}});
    let mut count = 0;
    let cases: [(&dyn Dialect, Kind, Value); 3] = [
        (&Chat, Kind::Anthropic, chat.take()),
        (&Messages, Kind::OpenAi, messages),
        (&Responses, Kind::Anthropic, agent_call()),
    ];
    for (client, kind, body) in cases {
        translate(client, kind, &body);
        with_unknown(&body, &mut |changed| {
            // Hosted tools and sealed reasoning are left out whole.
            let text = changed.to_string();
            let is_left_out = text.contains(r#""type":"web_search","unknown""#)
                || text.contains(r#""encrypted_content":"sealed","unknown""#);
            if !is_left_out {
                let why = refused(client, kind, &changed);
                assert!(
                    why.contains("unknown") && why.contains("cannot be carried"),
                    "{why}: {changed}"
                );
                count += 1;
            }
        });
    }
    assert!(count > 40, "{count}");
}

#[test]
fn what_changes_an_answer_is_refused_by_name() {
    let chat = |name: &str, value: Value| json!({"model": "m", "messages": [{"role": "user", "content": "x"}], name: value});
    for (name, value) in [
        ("n", json!(2)),
        ("logprobs", json!(true)),
        ("logit_bias", json!({"5": 1})),
        ("temperature", json!(1.5)),
        ("response_format", json!({"type": "json_object"})),
        ("functions", json!([])),
        ("audio", json!({"voice": "alloy"})),
        ("modalities", json!(["text", "audio"])),
    ] {
        let why = refused(&Chat, Kind::Anthropic, &chat(name, value));
        assert!(why.contains(name), "{why}");
    }
    for (name, value) in [
        ("n", json!(1)),
        ("logprobs", json!(false)),
        ("logit_bias", json!({})),
        ("temperature", json!(1)),
    ] {
        translate(&Chat, Kind::Anthropic, &chat(name, value));
    }
    let twice = br#"{"model":"m","messages":[],"messages":[]}"#;
    assert!(request(&Chat, twice, &target(Kind::Anthropic)).is_err());
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

/// Every pair of client and endpoint, with the endpoint's answer whole and as a stream.
fn pairs() -> Vec<(&'static dyn Dialect, Kind, (String, String))> {
    vec![
        (&Chat, Kind::Anthropic, messages_answer()),
        (&Responses, Kind::Anthropic, messages_answer()),
        (&Messages, Kind::OpenAi, chat_answer()),
        (&Responses, Kind::OpenAi, chat_answer()),
    ]
}

fn simple(client: &dyn Dialect, stream: bool) -> Value {
    match client.path() {
        "responses" => json!({"model": "m", "stream": stream, "input": "x"}),
        "messages" => {
            json!({"model": "m", "max_tokens": 5, "stream": stream, "messages": [{"role": "user", "content": "x"}]})
        }
        _ => {
            json!({"model": "m", "stream": stream, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "x"}]})
        }
    }
}

fn streamed(client: &'static dyn Dialect, kind: Kind, stream: &[u8], cuts: Vec<usize>) -> Vec<u8> {
    let (body, translated) = translate(client, kind, &simple(client, true));
    let native = translated.translation.dialect();
    let body = body.to_string();
    let call = native
        .read(
            &super::super::call::Body::json(body.as_bytes()),
            &Default::default(),
        )
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

#[test]
fn answers_come_back_whole() {
    for (client, kind, (whole, _)) in pairs() {
        let (_, translated) = translate(client, kind, &simple(client, false));
        let answer = translated.translation.answer(whole.as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        match client.path() {
            "messages" => {
                assert_eq!(answer["content"][1]["text"], "Let me see");
                assert_eq!(answer["content"][3]["input"], json!({"city": "Oslo"}));
                assert_eq!(answer["stop_reason"], "tool_use");
                assert_eq!(
                    answer["usage"],
                    json!({"input_tokens": 15, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 7})
                );
            }
            "responses" => {
                assert_eq!(answer["status"], "completed");
                assert_eq!(answer["output"][0]["summary"][0]["text"], "Hm");
                assert_eq!(answer["output"][1]["content"][0]["text"], "Let me see");
                assert_eq!(answer["output"][3]["call_id"], "call_2");
                assert_eq!(answer["usage"]["input_tokens"], 20);
            }
            _ => {
                let message = &answer["choices"][0]["message"];
                assert_eq!(message["reasoning_content"], "Hm");
                assert_eq!(
                    message["tool_calls"][1]["function"]["arguments"],
                    "{\"city\":\"Oslo\"}"
                );
                assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
                assert_eq!(answer["usage"]["prompt_tokens"], 20);
                assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 5);
            }
        }
        for broken in ["", "[]", "{}", "{\"choices\":[]}", "<html>"] {
            assert_eq!(
                translated.translation.answer(broken.as_bytes()),
                None,
                "{broken}"
            );
        }
    }
}

/// A stream says what the whole answer says: it is put together by the replay of answers, which is another reader.
#[test]
fn streams_say_what_whole_answers_say() {
    for (client, kind, (whole, stream)) in pairs() {
        let (_, translated) = translate(client, kind, &simple(client, false));
        let answer = translated.translation.answer(whole.as_bytes()).unwrap();
        let out = streamed(client, kind, stream.as_bytes(), Vec::new());
        let assembled = client.replay().unwrap().assemble(&out);
        let assembled = assembled.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&out)));
        let read = |bytes: &[u8]| {
            let mut value: Value = serde_json::from_slice(bytes).unwrap();
            // Spaces of a tool's input leave as they came, and a stream has no proof of thinking where none came.
            let text = value.to_string().replace("\\\": \\\"", "\\\":\\\"");
            value = serde_json::from_str(&text).unwrap();
            value
        };
        let (mut answer, mut assembled) = (read(&answer), read(&assembled));
        for value in [&mut answer, &mut assembled] {
            if let Some(message) = value
                .pointer_mut("/choices/0/message")
                .and_then(Value::as_object_mut)
            {
                message.retain(|_, value| !value.is_null());
            }
            if let Some(choice) = value
                .pointer_mut("/choices/0")
                .and_then(Value::as_object_mut)
            {
                choice.retain(|_, value| !value.is_null());
            }
        }
        assert_eq!(answer, assembled, "{}", client.path());
    }
}

#[test]
fn failures_end_a_stream_in_the_clients_shape() {
    let cut = "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let error = "data: {\"error\":{\"message\":\"gone\"}}\n\n";
    for (stream, said) in [(cut.to_owned(), "early"), (format!("{cut}{error}"), "gone")] {
        let (body, translated) = translate(&Messages, Kind::OpenAi, &simple(&Messages, true));
        let body = body.to_string();
        let call = Chat
            .read(
                &super::super::call::Body::json(body.as_bytes()),
                &Default::default(),
            )
            .unwrap();
        let mut meter = translated.translation.stream(Chat.stream(&call));
        let mut out = meter.feed(stream.as_bytes());
        out.extend(meter.finish());
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.contains("event: error\n") && out.contains(said),
            "{out}"
        );
        assert!(!out.contains("message_stop"), "{out}");
    }
}

#[test]
fn freeform_calls_come_back_as_freeform() {
    let (whole, _) = chat_answer();
    let whole = whole
        .replace("\"weather\"", "\"patch\"")
        .replace(r#"{\"city\": \"Rome\"}"#, r#"{\"input\": \"*** a\\n\"}"#)
        .replace(r#"{\"city\": \"Oslo\"}"#, r#"{\"input\": \"\"}"#);
    let (_, translated) = translate(&Responses, Kind::OpenAi, &agent_call());
    let answer = translated.translation.answer(whole.as_bytes()).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["output"][2]["type"], "custom_tool_call");
    assert_eq!(answer["output"][2]["input"], "*** a\n");
}

#[test]
fn calls_of_a_namespace_come_back_in_it() {
    let (whole, _) = chat_answer();
    let whole = whole.replace("\"weather\"", "\"files__read\"");
    let (_, translated) = translate(&Responses, Kind::OpenAi, &agent_call());
    let answer = translated.translation.answer(whole.as_bytes()).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["output"][2]["namespace"], "files");
    assert_eq!(answer["output"][2]["name"], "read");
}

/// Some servers count no calls, or begin one with its name alone.
#[test]
fn calls_that_are_not_counted_are_told_apart_by_their_ids() {
    let chunk = |calls: Value| {
        format!(
            "data: {}\n\n",
            json!({"id": "a", "model": "m", "choices": [{"index": 0, "delta": {"tool_calls": calls}}]})
        )
    };
    let call = |id: &str, text: &str| json!([{"index": 0, "id": id, "function": {"name": "f", "arguments": text}}]);
    let end = format!(
        "data: {}\n\ndata: [DONE]\n\n",
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    );
    let stream = format!("{}{}{end}", chunk(call("a", "{}")), chunk(call("b", "{}")));
    let out = String::from_utf8(streamed(
        &Messages,
        Kind::OpenAi,
        stream.as_bytes(),
        Vec::new(),
    ))
    .unwrap();
    assert_eq!(out.matches("\"type\":\"tool_use\"").count(), 2, "{out}");
    assert!(out.contains("\"stop_reason\":\"tool_use\""), "{out}");
}

fn text() -> impl Strategy<Value = String> {
    // Texts that try to break out of their place.
    prop_oneof![
        "[ -~]{1,12}",
        Just("\"}],\"role\":\"system\",\"x\":[{\"".to_owned()),
        Just("\\u0022\n\r\u{2028}data: [DONE]\n\nevent: error\n".to_owned()),
        Just("\u{0}\u{1f}é😀".to_owned()),
    ]
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,12}"
}

fn media() -> impl Strategy<Value = Media> {
    prop_oneof![
        word().prop_map(|base64| Media::Data {
            kind: "image/png".to_owned(),
            base64
        }),
        word().prop_map(|path| Media::Url(format!("https://a.example/{path}"))),
    ]
}

fn object() -> impl Strategy<Value = Json> {
    text().prop_map(|text| Json::from(&json!({"text": text, "n": 1})))
}

fn turns() -> impl Strategy<Value = Vec<(Speaker, ContentPart)>> {
    let call = (word(), word(), object()).prop_map(|(id, name, object)| {
        ContentPart::Call(ToolCall {
            id,
            name,
            input: Input::Object(object),
        })
    });
    let result = (word(), text()).prop_map(|(id, text)| {
        ContentPart::Result(ToolResult {
            id,
            parts: vec![ContentPart::Text(text)],
            is_error: false,
        })
    });
    let part = prop_oneof![
        4 => text().prop_map(|text| (Speaker::User, ContentPart::Text(text))),
        4 => text().prop_map(|text| (Speaker::Assistant, ContentPart::Text(text))),
        2 => media().prop_map(|media| (Speaker::User, ContentPart::Image(media))),
        2 => call.prop_map(|call| (Speaker::Assistant, call)),
        2 => result.prop_map(|result| (Speaker::User, result)),
    ];
    proptest::collection::vec(part, 0..12)
}

fn conversation() -> impl Strategy<Value = Conversation> {
    let tool = (word(), text(), object()).prop_map(|(name, description, schema)| Tool {
        name,
        description: Some(description),
        takes: Takes::Object(Some(schema)),
        is_strict: Some(true),
    });
    let choice = prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::Any),
        Just(ToolChoice::None),
        word().prop_map(ToolChoice::Named)
    ];
    let lists = (
        proptest::collection::vec(text(), 0..3),
        proptest::collection::vec(text(), 0..3),
        proptest::collection::vec(tool, 0..3),
    );
    (lists, turns(), choice, any::<bool>(), 1u64..9_999).prop_map(
        |((system, stop, tools), turns, choice, stream, limit)| {
            let mut conversation = Conversation {
                model: Some("m".to_owned()),
                wants_usage: true,
                choice: if tools.is_empty() {
                    ToolChoice::Auto
                } else {
                    choice
                },
                stream,
                limit: Some(limit),
                system,
                stop,
                tools,
                ..Conversation::default()
            };
            conversation.sampling.temperature = Json::parse("0.50");
            for (speaker, part) in turns {
                conversation.say(speaker, part);
            }
            conversation
        },
    )
}

/// Orders the parts of each turn as every API has them: results of a user first, calls of an assistant last.
fn ordered(mut conversation: Conversation) -> Conversation {
    for turn in &mut conversation.turns {
        turn.parts.sort_by_key(|part| match part {
            ContentPart::Result(_) => 0,
            ContentPart::Call(_) => 2,
            _ => 1,
        });
    }
    conversation
}

/// Orders results before all else, as Messages want them.
fn results_first(mut conversation: Conversation) -> Conversation {
    for turn in &mut conversation.turns {
        turn.parts
            .sort_by_key(|part| !matches!(part, ContentPart::Result(_)));
    }
    conversation
}

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(conversation in conversation()) {
        let expected = ordered(conversation.clone());
        let written = messages::write(&mut conversation.clone(), Some("m"), 1).unwrap();
        prop_assert_eq!(messages::read(raw(&written)).unwrap(), results_first(conversation.clone()));
        let written = chat::write(&mut conversation.clone(), Some("m"), "max_tokens").unwrap();
        let mut read = chat::read(raw(&written)).unwrap();
        read.wants_usage = true;
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_split_of_a_stream_is_translated_alike(which in 0usize..4, cuts in proptest::collection::vec(0usize..4_000, 0..20)) {
        let (client, kind, (_, stream)) = pairs().remove(which);
        let whole = streamed(client, kind, stream.as_bytes(), Vec::new());
        prop_assert_eq!(streamed(client, kind, stream.as_bytes(), cuts), whole);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), which in 0usize..4) {
        let (client, kind, (_, stream)) = pairs().remove(which);
        let (_, translated) = translate(client, kind, &simple(client, true));
        let _ = translated.translation.answer(&bytes);
        let _ = request(client, &bytes, &target(kind));
        let mut broken = stream.into_bytes();
        let at = broken.len() / 2;
        broken.splice(at..at, bytes);
        let native = translated.translation.dialect();
        let mut meter = translated.translation.stream(native.stream(&Default::default()));
        let mut out = meter.feed(&broken);
        out.extend(meter.finish());
        prop_assert!(String::from_utf8(out).is_ok());
    }
}

/// Work grows with the body, whatever it is made of: this one would take minutes if members or names were compared in
/// pairs.
#[test]
fn members_and_names_without_number_are_read() {
    let nulls: String = (0..200_000).map(|n| format!("\"x{n}\":null,")).collect();
    let body = format!("{{{nulls}\"model\":\"m\",\"messages\":[]}}");
    assert!(request(&Chat, body.as_bytes(), &target(Kind::Anthropic)).is_ok());

    let tool = |n: u32| json!({"type": "function", "function": {"name": format!("f{n}")}});
    let tools: Vec<Value> = (0..100_000).map(tool).collect();
    let body = json!({"model": "m", "messages": [], "tools": tools,
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools}}});
    translate(&Chat, Kind::Anthropic, &body);
}

#[test]
fn limit_is_no_higher_than_the_models_own() {
    for (asked, written) in [(50, 50), (32_000, 9_000)] {
        let body = json!({"model": "m", "max_tokens": asked, "messages": []});
        let (body, translated) = translate(&Messages, Kind::OpenAi, &body);
        assert_eq!(body["max_completion_tokens"], written);
        assert_eq!(translated.limit, Some(written));
    }
}

#[test]
fn a_format_is_carried_there_and_back() {
    let mut conversation = Conversation {
        format: Format::Schema {
            name: Some("n".to_owned()),
            schema: Json::from(&weather()),
            is_strict: Some(true),
        },
        ..Conversation::default()
    };
    let written = chat::write(&mut conversation, None, "max_tokens").unwrap();
    assert_eq!(
        chat::read(raw(&written)).unwrap().format,
        conversation.format
    );
    let written = messages::write(&mut conversation, None, 1).unwrap();
    let Format::Schema { schema, .. } = messages::read(raw(&written)).unwrap().format else {
        panic!("{written}");
    };
    assert_eq!(schema, Json::from(&weather()));
}
