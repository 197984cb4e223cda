//! Answers as they come back, whole and as streams.

use super::*;

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
                // Agents send it back, and refuse to without its content.
                assert!(answer["output"][0]["encrypted_content"].is_string());
                assert_eq!(answer["output"][1]["content"][0]["text"], "Let me see");
                assert_eq!(answer["output"][3]["call_id"], "call_2");
                assert_eq!(answer["usage"]["input_tokens"], 20);
            }
            "chat/completions" => {
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
            _ => {
                let candidate = &answer["candidates"][0];
                let parts = &candidate["content"]["parts"];
                assert_eq!(parts[0], json!({"text": "Hm", "thought": true}));
                assert_eq!(parts[1], json!({"text": "Let me see"}));
                assert_eq!(parts[3]["functionCall"]["args"], json!({"city": "Oslo"}));
                assert_eq!(candidate["finishReason"], "STOP");
                let usage = &answer["usageMetadata"];
                assert_eq!(
                    (
                        usage["promptTokenCount"].clone(),
                        usage["totalTokenCount"].clone()
                    ),
                    (20.into(), 27.into())
                );
                assert_eq!(usage["cachedContentTokenCount"], 5);
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
            .read(&Body::json(body.as_bytes()), &Default::default())
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

#[test]
fn a_failure_is_a_line_of_json_for_a_client_of_gemini() {
    let cut = "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let (_, translated) = translate(&STREAM, Kind::OpenAi, &simple(&STREAM, true));
    let mut meter = translated
        .translation
        .stream(Chat.stream(&Default::default()));
    let mut out = meter.feed(cut.as_bytes());
    out.extend(meter.finish());
    let out = String::from_utf8(out).unwrap();
    let last = out.lines().last().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], 502);
    assert!(!out.contains("finishReason"), "{out}");
}

/// A model that thinks signs its calls, and wants the signature back.
#[test]
fn a_signature_of_gemini_goes_out_and_comes_back_with_thinking() {
    let (whole, stream) = gemini_answer();
    let sign = |text: &str| {
        let mut parts = text.splitn(2, "{\"functionCall\"");
        let (before, after) = (parts.next().unwrap(), parts.next().unwrap());
        format!("{before}{{\"thoughtSignature\":\"c2ln\",\"functionCall\"{after}")
    };
    let (_, translated) = translate(&Messages, Kind::Gemini, &simple(&Messages, false));
    let answer = translated
        .translation
        .answer(sign(&whole).as_bytes())
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let proof = &answer["content"][2];
    assert_eq!(
        proof,
        &json!({"type": "thinking", "thinking": "", "signature": "gemini.c2ln"})
    );
    let out = streamed(
        &Messages,
        Kind::Gemini,
        sign(&stream).as_bytes(),
        Vec::new(),
    );
    assert!(String::from_utf8(out).unwrap().contains("gemini.c2ln"));
    let body = json!({"model": "m", "max_tokens": 5, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "call_2", "content": "rain"},
        ]},
    ]});
    let (body, _) = translate(&Messages, Kind::Gemini, &body);
    let parts = &body["contents"][1]["parts"];
    assert_eq!(parts[1]["thoughtSignature"], "c2ln");
    assert_eq!(parts[2].get("thoughtSignature"), None);
}

#[test]
fn an_answer_of_gemini_without_use_is_no_answer() {
    let (_, translated) = translate(&Chat, Kind::Gemini, &simple(&Chat, false));
    let answer = |candidate: Value| {
        let answer = json!({"candidates": [candidate]}).to_string();
        translated.translation.answer(answer.as_bytes())
    };
    for reason in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER"] {
        let parts = json!([{"text": "a"}]);
        let candidate = json!({"content": {"parts": parts}, "finishReason": reason});
        assert_eq!(answer(candidate), None, "{reason}");
    }
    let image = json!({"inlineData": {"mimeType": "image/png", "data": PIXEL}});
    assert_eq!(
        answer(json!({"content": {"parts": [image]}, "finishReason": "STOP"})),
        None
    );
    let blocked = br#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}"#;
    let blocked: Value =
        serde_json::from_slice(&translated.translation.answer(blocked).unwrap()).unwrap();
    assert_eq!(blocked["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(blocked["usage"]["prompt_tokens"], 4);
}

/// Agents that speak Responses send sealed reasoning back.
#[test]
fn a_signature_of_gemini_comes_back_with_sealed_reasoning() {
    let body = json!({"model": "m", "input": [
        {"role": "user", "content": "x"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gemini.c2ln"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
    ]});
    let (body_of_gemini, _) = translate(&Responses, Kind::Gemini, &body);
    let part = &body_of_gemini["contents"][1]["parts"][0];
    assert_eq!(part["thoughtSignature"], "c2ln");
    let (body_of_claude, translated) = translate(&Responses, Kind::Anthropic, &body);
    assert!(!body_of_claude.to_string().contains("c2ln"));
    assert_eq!(translated.removed, ["messages.content.thinking"]);
}

/// Mistral's models think in parts of the content.
#[test]
fn thinking_in_parts_of_the_content_is_carried() {
    let thinking = json!({"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]});
    let parts = json!([thinking, {"type": "text", "text": "Yes"}]);
    let whole = json!({"id": "a", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": parts}}]});
    let (_, translated) = translate(&Messages, Kind::OpenAi, &simple(&Messages, false));
    let answer = translated.translation.answer(whole.to_string().as_bytes());
    let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    assert_eq!(answer["content"][0]["thinking"], "Hm");
    assert_eq!(answer["content"][1]["text"], "Yes");
    // The usage may stand in a choice, and a stream may end without `[DONE]`.
    let chunk = json!({"id": "a", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "delta": {"content": parts}, "usage": {"prompt_tokens": 4, "completion_tokens": 2}}]});
    let stream = format!("data: {chunk}\n\n");
    let out = streamed(&Messages, Kind::OpenAi, stream.as_bytes(), Vec::new());
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.contains(r#""thinking":"Hm""#) && out.contains(r#""text":"Yes""#),
        "{out}"
    );
    assert!(out.contains(r#""output_tokens":2"#), "{out}");
}

/// Some servers begin all calls before they write the input of any.
#[test]
fn calls_whose_inputs_come_by_turns_are_told_whole() {
    let chunk = |call: Value| {
        let delta = json!({"tool_calls": [call]});
        format!(
            "data: {}\n\n",
            json!({"id": "a", "model": "m", "choices": [{"index": 0, "delta": delta}]})
        )
    };
    let begin = |at: u64| {
        chunk(
            json!({"index": at, "id": format!("c{at}"), "function": {"name": "f", "arguments": ""}}),
        )
    };
    let more = |at: u64, text: &str| chunk(json!({"index": at, "function": {"arguments": text}}));
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let turns = [
        begin(0),
        begin(1),
        more(1, "{\"y\":"),
        more(0, "{\"x\""),
        more(1, "2}"),
        more(0, ":1}"),
    ];
    let stream = format!("{}{end}", turns.concat());
    let out = streamed(&Messages, Kind::OpenAi, stream.as_bytes(), Vec::new());
    let whole = Messages.replay().unwrap().assemble(&out).unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["content"][0]["input"], json!({"x": 1}));
    assert_eq!(whole["content"][1]["input"], json!({"y": 2}));
    assert_eq!(whole["content"][1]["id"], "c1");
    let out = streamed(&GENERATE, Kind::OpenAi, stream.as_bytes(), Vec::new());
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.contains(r#""args":{"x":1}"#) && out.contains(r#""args":{"y":2}"#),
        "{out}"
    );
}

#[test]
fn parts_that_say_nothing_break_no_answer_of_gemini() {
    let event = |candidates: Value| format!("data: {}\n\n", json!({"candidates": candidates}));
    let part = |part: Value| event(json!([{"content": {"parts": [part]}}]));
    let stream = [
        part(json!({"text": "Hi"})),
        part(json!({"thoughtSignature": "c2ln"})),
        part(json!({})),
        event(Value::Null),
        event(json!([{"content": {"parts": null}, "finishReason": "FINISH_REASON_UNSPECIFIED"}])),
        event(json!([{"finishReason": "STOP"}])),
    ];
    let out = streamed(&Chat, Kind::Gemini, stream.concat().as_bytes(), Vec::new());
    let whole = Chat.replay().unwrap().assemble(&out).unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "Hi");
}

#[test]
fn a_call_in_the_old_form_is_not_lost_in_silence() {
    let call = json!({"name": "f", "arguments": "{}"});
    let whole = json!({"choices": [{"index": 0, "finish_reason": "function_call",
        "message": {"role": "assistant", "content": null, "function_call": call}}]});
    let (_, translated) = translate(&Messages, Kind::OpenAi, &simple(&Messages, false));
    let answer = translated.translation.answer(whole.to_string().as_bytes());
    assert_eq!(answer, None);
    let chunk = json!({"choices": [{"index": 0, "delta": {"function_call": call}}]});
    let mut meter = translated
        .translation
        .stream(Chat.stream(&Default::default()));
    let out = meter.feed(format!("data: {chunk}\n\n").as_bytes());
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.contains("event: error") && out.contains("function_call"),
        "{out}"
    );
}
