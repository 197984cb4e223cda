//! Bodies as they are written for the other APIs.

use super::*;

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
                    "args",
                    "response",
                    "parametersJsonSchema",
                    "responseJsonSchema",
                    "thinkingConfig",
                    "safetySettings",
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
    let cases: [(&dyn Dialect, Kind, Value); 4] = [
        (&Chat, Kind::Anthropic, chat.take()),
        (&Messages, Kind::OpenAi, messages),
        (&Responses, Kind::Anthropic, agent_call()),
        (&GENERATE, Kind::OpenAi, gemini_call()),
    ];
    for (client, kind, body) in cases {
        translate(client, kind, &body);
        with_unknown(&body, &mut |changed| {
            // Hosted tools, sealed reasoning and filters are left out whole.
            let text = changed.to_string();
            let is_left_out = text.contains(r#""type":"web_search","unknown""#)
                || text.contains(r#""encrypted_content":"sealed","unknown""#)
                || text.contains(r#""threshold":"BLOCK_NONE","unknown""#);
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

#[test]
fn limit_is_no_higher_than_the_models_own() {
    for (asked, written) in [(50, 50), (32_000, 9_000)] {
        let body = json!({"model": "m", "max_tokens": asked, "messages": []});
        let (body, translated) = translate(&Messages, Kind::OpenAi, &body);
        assert_eq!(body["max_completion_tokens"], written);
        assert_eq!(translated.limit, Some(written));
    }
}

fn gemini_call() -> Value {
    json!({
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief"}, {"text": "Be kind"}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "Look"},
                {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                {"inlineData": {"mimeType": "text/plain", "data": "T25jZQ=="}},
                {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/x.png"}},
            ]},
            {"role": "model", "parts": [
                {"text": "Hm", "thought": true},
                {"text": "One moment"},
                {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "weather", "response": {"output": "sunny"}}},
                {"functionResponse": {"name": "weather", "response": {"result": 5}}},
                {"text": "Thanks"},
            ]},
        ],
        "tools": [{"functionDeclarations": [{"name": "weather", "description": "d", "parametersJsonSchema": weather()}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "generationConfig": {
            "maxOutputTokens": 50, "temperature": 0.70, "topK": 5, "seed": 1, "stopSequences": ["END"],
            "responseMimeType": "application/json", "responseJsonSchema": weather(),
            "thinkingConfig": {"thinkingBudget": 0}, "candidateCount": 1, "responseModalities": ["TEXT"],
        },
    })
}

#[test]
fn gemini_is_written_as_chat() {
    let (body, translated) = translate(&GENERATE, Kind::OpenAi, &gemini_call());
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let function = json!({"name": "weather", "description": "d", "parameters": weather()});
    let call = |id: &str, city: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": format!("{{\"city\":\"{city}\"}}")}});
    assert_eq!(
        body,
        json!({
            "model": "m", "max_completion_tokens": 50, "temperature": 0.7, "seed": 1, "stop": ["END"],
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": weather()}},
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be brief"}, {"type": "text", "text": "Be kind"}]},
                {"role": "user", "content": [
                    {"type": "text", "text": "Look"}, image(&format!("data:image/png;base64,{PIXEL}")),
                    {"type": "text", "text": "Once"}, image("https://a.example/x.png"),
                ]},
                {"role": "assistant", "content": "One moment", "tool_calls": [call("call_0", "Rome"), call("call_1", "Oslo")]},
                {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
                {"role": "tool", "tool_call_id": "call_1", "content": "{\"result\":5}"},
                {"role": "user", "content": "Thanks"},
            ],
        })
    );
    assert_eq!(
        translated.removed,
        [
            "contents.parts.thought",
            "contents.parts.thoughtSignature",
            "generationConfig.thinkingConfig",
            "safetySettings",
            "top_k",
        ]
    );
    assert_eq!(translated.limit, Some(50));
}

#[test]
fn gemini_is_read_in_either_spelling() {
    let snake = json!({
        "system_instruction": {"parts": {"text": "Be brief"}},
        "contents": {"parts": [{"text": "Look"}, {"inline_data": {"mime_type": "image/png", "data": PIXEL}}]},
        "tools": {"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}}}]},
        "generation_config": {"max_output_tokens": 50, "stop_sequences": "END"},
    });
    let (body, _) = translate(&STREAM, Kind::Anthropic, &snake);
    assert_eq!(
        body,
        json!({
            "model": "m", "max_tokens": 50, "stream": true, "stop_sequences": ["END"],
            "system": [{"type": "text", "text": "Be brief"}],
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            ]}],
            "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}],
        })
    );
    for body in [
        json!({"contents": [], "generationConfig": {"maxOutputTokens": 5, "max_output_tokens": 900}}),
        json!({"contents": [], "tools": [{"functionDeclarations": [{"name": "f", "parameters": {}, "parametersJsonSchema": {}}]}]}),
        json!({"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}),
        json!({"contents": [], "generationConfig": {"responseModalities": ["IMAGE"]}}),
        json!({"contents": [], "generationConfig": {"candidateCount": 2}}),
        json!({"contents": [{"role": "system", "parts": []}]}),
    ] {
        assert!(
            !refused(&GENERATE, Kind::OpenAi, &body).is_empty(),
            "{body}"
        );
    }
}

#[test]
fn chat_is_written_as_gemini() {
    let (body, translated) = translate(
        &Chat,
        Kind::Gemini,
        &json!({
            "model": "asked", "stream": true, "max_completion_tokens": 50, "temperature": 1.50, "seed": 1, "stop": "END",
            "parallel_tool_calls": false, "tool_choice": "required", "presence_penalty": 0.5,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": weather()}},
            "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": weather(), "strict": true}}],
            "messages": [
                {"role": "system", "content": "Be brief"},
                {"role": "user", "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image_url", "image_url": {"url": format!("data:image/PNG;base64,{PIXEL}")}},
                    {"type": "image_url", "image_url": {"url": "https://a.example/x.JPG?size=1"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                ]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Rome\"}"}},
                    {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": ""}},
                ]},
                {"role": "tool", "tool_call_id": "c2", "content": "rain"},
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
                {"role": "user", "content": "Thanks"},
            ],
        }),
    );
    assert_eq!(
        body,
        json!({
            "systemInstruction": {"parts": [{"text": "Be brief"}]},
            "contents": [
                {"role": "user", "parts": [
                    {"text": "Look"},
                    {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                    {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a.example/x.JPG?size=1"}},
                    {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0=", "displayName": "a.pdf"}},
                    {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
                ]},
                {"role": "model", "parts": [
                    {"functionCall": {"id": "c1", "name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "skip_thought_signature_validator"},
                    {"functionCall": {"id": "c2", "name": "weather", "args": {}}},
                ]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "c2", "name": "weather", "response": {"output": "rain"}}},
                    {"functionResponse": {"id": "c1", "name": "weather", "response": {"output": "sunny"}}},
                    {"text": "Thanks"},
                ]},
            ],
            "tools": [{"functionDeclarations": [{"name": "weather", "description": "d", "parametersJsonSchema": weather()}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
            "generationConfig": {
                "stopSequences": ["END"], "temperature": 1.5, "seed": 1, "presencePenalty": 0.5, "maxOutputTokens": 50,
                "responseMimeType": "application/json", "responseJsonSchema": weather(),
            },
        })
    );
    assert_eq!(
        translated.removed,
        [
            "parallel_tool_calls",
            "tools.strict",
            "response_format.strict"
        ]
    );
    assert_eq!(translated.translation.dialect().path(), STREAM.path());
    let asked =
        |content: Value| json!({"model": "m", "messages": [{"role": "user", "content": content}]});
    let nameless = json!([{"type": "image_url", "image_url": {"url": "https://a.example/x"}}]);
    assert!(refused(&Chat, Kind::Gemini, &asked(nameless)).contains(".png"));
    let orphan =
        json!({"model": "m", "messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]});
    assert!(refused(&Chat, Kind::Gemini, &orphan).contains("without its call"));
    let stops = json!({"model": "m", "messages": [], "stop": ["1", "2", "3", "4", "5", "6"]});
    assert!(refused(&Chat, Kind::Gemini, &stops).contains("stop sequences"));
}

/// A call in the user's turn, a result in the model's, and one of them without the other are refused.
#[test]
fn calls_and_results_of_gemini_stand_where_they_belong() {
    let call = |id: &str, name: &str| json!({"functionCall": {"id": id, "name": name}});
    let result = |id: &str, name: &str| json!({"functionResponse": {"id": id, "name": name, "response": {}}});
    let content = |role: &str, parts: Value| json!({"role": role, "parts": parts});
    for contents in [
        json!([content("user", json!([call("a", "f")]))]),
        json!([content("model", json!([call("a", "f"), result("a", "f")]))]),
        json!([content("model", json!([call("a", "f"), call("a", "g")]))]),
        json!([
            content("model", json!([call("a", "f")])),
            content("user", json!([result("a", "g")]))
        ]),
        json!([
            content("model", json!([call("a", "f")])),
            content("user", json!([result("a", "f"), result("a", "f")]))
        ]),
    ] {
        let body = json!({"contents": contents});
        assert!(
            !refused(&GENERATE, Kind::OpenAi, &body).is_empty(),
            "{body}"
        );
    }
    let forced = json!({"contents": [], "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["x", "y"]}}});
    assert!(refused(&GENERATE, Kind::OpenAi, &forced).contains("tool_choice"));
    let required = json!({"model": "m", "messages": [], "tool_choice": "required"});
    assert!(refused(&Chat, Kind::Gemini, &required).contains("tool_choice"));
    let two = json!({"contents": [], "generationConfig": {"responseMimeType": "application/json",
        "responseJsonSchema": {}, "_responseJsonSchema": {}}});
    assert!(refused(&GENERATE, Kind::OpenAi, &two).contains("more than one schema"));
    for kind in [
        "local_shell",
        "apply_patch",
        "computer_use_preview",
        "shell",
    ] {
        let body = json!({"model": "m", "input": "x", "tools": [{"type": kind}]});
        assert!(
            refused(&Responses, Kind::Gemini, &body).contains(kind),
            "{kind}"
        );
    }
}
