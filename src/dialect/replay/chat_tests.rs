//! Fixtures and properties of streams of `chat/completions` and their whole answers, as providers send them.

use super::*;
use crate::dialect::openai::chat::Chat;
use crate::dialect::replay::tests::{
    any_text, assemble, beginnings, comes_back, events, is_metered_alike, judge, maybe, members,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn stream_of(chunks: &[Value]) -> String {
    let chunks = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    chunks.collect::<String>() + "data: [DONE]\n\n"
}

/// Returns a chunk of one choice without a frame.
fn chunk(index: u64, delta: Value, reason: Value) -> Value {
    json!({"choices": [{"index": index, "delta": delta, "finish_reason": reason}]})
}

#[test]
fn every_choice_is_judged_and_the_worst_verdict_wins() {
    let said = |message: Value, reason: &str| json!({"message": message, "finish_reason": reason});
    let text = json!({"role": "assistant", "content": "a", "refusal": null, "tool_calls": [], "audio": null});
    let call = json!({"content": null, "tool_calls": [{"id": "1"}]});
    let refusal = json!({"content": null, "refusal": "no"});
    for (choices, verdict) in [
        (vec![said(text.clone(), "stop")], Verdict::Whole),
        (vec![said(text.clone(), "tool_calls")], Verdict::CallsTools),
        (
            vec![said(text.clone(), "function_call")],
            Verdict::CallsTools,
        ),
        (vec![said(call.clone(), "stop")], Verdict::CallsTools),
        (
            vec![said(json!({"function_call": {"name": "f"}}), "stop")],
            Verdict::CallsTools,
        ),
        (
            vec![said(json!({"executed_tools": [{}]}), "stop")],
            Verdict::CallsTools,
        ),
        (
            vec![said(text.clone(), "length"), said(call, "stop")],
            Verdict::Truncated,
        ),
        (
            vec![said(text.clone(), "stop"), said(refusal.clone(), "stop")],
            Verdict::Refused,
        ),
        (
            vec![
                said(text.clone(), "content_filter"),
                said(text.clone(), "length"),
            ],
            Verdict::Refused,
        ),
        (
            vec![said(refusal, "stop"), said(text.clone(), "eos")],
            Verdict::Unfit,
        ),
        (
            vec![json!({"message": text, "finish_reason": null})],
            Verdict::Unfit,
        ),
        (vec![json!({"message": text})], Verdict::Unfit),
        (
            vec![json!({"message": text, "finish_reason": "stop", "error": {"code": 502}})],
            Verdict::Unfit,
        ),
        (vec![json!({"finish_reason": "stop"})], Verdict::Unfit),
        (
            vec![said(json!({"content": [{"type": "text"}]}), "stop")],
            Verdict::Unfit,
        ),
        (
            vec![said(json!({"content": "a", "audio": {"id": "x"}}), "stop")],
            Verdict::Unfit,
        ),
        (
            vec![said(json!({"content": "a", "tool_calls": {}}), "stop")],
            Verdict::Unfit,
        ),
        (
            vec![said(json!({"content": "a", "role": "user"}), "stop")],
            Verdict::Unfit,
        ),
        (vec![json!(1)], Verdict::Unfit),
        (vec![], Verdict::Unfit),
    ] {
        assert_eq!(
            judge(&Chat, &json!({"choices": choices})),
            verdict,
            "{choices:?}"
        );
    }
}

#[test]
fn a_stream_of_openai_gives_its_whole_answer() {
    let stream = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt-x","service_tier":"default","system_fingerprint":null,"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":{"content":[],"refusal":null},"finish_reason":null}],"usage":null,"obfuscation":"p"}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt-x","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":{"content":[{"token":"Hello","logprob":-0.1,"bytes":[72],"top_logprobs":[]}],"refusal":null},"finish_reason":null}],"usage":null,"obfuscation":"pad"}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt-x","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"!"},"logprobs":{"content":[{"token":"!","logprob":-0.2,"bytes":[33],"top_logprobs":[]}],"refusal":null},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt-x","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt-x","service_tier":"default","system_fingerprint":"fp","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":4}}}

data: [DONE]

"#;
    let answer = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 17, "model": "gpt-x",
        "service_tier": "default", "system_fingerprint": "fp",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!", "refusal": null},
            "logprobs": {"content": [
                {"token": "Hello", "logprob": -0.1, "bytes": [72], "top_logprobs": []},
                {"token": "!", "logprob": -0.2, "bytes": [33], "top_logprobs": []}], "refusal": null},
            "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 4}}});
    assert_eq!(assemble(&Chat, stream).as_ref(), Some(&answer));
    assert_eq!(
        assemble(&Chat, &stream.replace('\n', "\r")).as_ref(),
        Some(&answer)
    );
    is_metered_alike(&Chat, &answer, stream);
    assert_eq!(judge(&Chat, &answer), Verdict::Whole);
    comes_back(&Chat, &answer);
    // Servers that leave `[DONE]` out must have ended all choices.
    let whole = beginnings(stream)
        .into_iter()
        .map(|cut| assemble(&Chat, &cut));
    let whole: Vec<_> = whole.map(|answer| answer.is_some()).collect();
    assert_eq!(whole, [false, false, false, true, true]);
    let cut = &stream[..stream.len() - 2];
    assert_eq!(assemble(&Chat, cut).as_ref(), Some(&answer));
    assert_eq!(assemble(&Chat, &cut[..cut.len() - 2]), None);
}

#[test]
fn servers_that_imitate_openai_are_understood() {
    // LocalAI and vLLM report usage in every chunk, OpenRouter sends comments, Groq has its own place.
    let stream = r#": OPENROUTER PROCESSING

: OPENROUTER PROCESSING
data: {"id":"g","provider":"P","model":"m","object":"chat.completion.chunk","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"Hm","reasoning_details":[{"type":"reasoning.text","text":"Hm","format":"f","index":0}]},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"usage":{"prompt_tokens":5,"completion_tokens":0,"total_tokens":5}}

data: {"id":"g","provider":"P","model":"m","object":"chat.completion.chunk","created":6,"choices":[{"index":0,"delta":{"role":"assistant","content":"Yes","reasoning":"m.","reasoning_details":[{"type":"reasoning.text","text":"m.","format":"f","index":0}]},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}

event: ping

data: {"id":"g","provider":"P","model":"m","object":"chat.completion.chunk","created":7,
data: "choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop","native_finish_reason":"end","logprobs":null}],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}

data: [DONE]

data: [DONE]

"#;
    let answer = json!({"id": "g", "provider": "P", "model": "m", "object": "chat.completion", "created": 5,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes", "reasoning": "Hmm.",
            "reasoning_details": [{"type": "reasoning.text", "text": "Hmm.", "format": "f", "index": 0}]},
            "native_finish_reason": "end", "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}});
    assert_eq!(assemble(&Chat, stream).as_ref(), Some(&answer));
    is_metered_alike(&Chat, &answer, stream);
    comes_back(&Chat, &answer);

    let groq = stream_of(&[
        json!({"x_groq": {"id": "r"}, "choices": [{"index": 0, "delta": {"content": "a"}}]}),
        json!({"x_groq": {"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    ]);
    let answer = assemble(&Chat, &groq).unwrap();
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": 1, "completion_tokens": 2})
    );
    assert_eq!(answer["x_groq"], json!({"id": "r"}));
    is_metered_alike(&Chat, &answer, &groq);
}

#[test]
fn first_chunk_of_azure_has_no_choices() {
    let filter = json!({"hate": {"filtered": false, "severity": "safe"}});
    let stream = stream_of(&[
        json!({"choices": [], "created": 0, "id": "", "model": "", "object": "",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filter}]}),
        json!({"choices": [{"content_filter_results": {}, "delta": {"content": "", "role": "assistant"},
            "finish_reason": null, "index": 0, "logprobs": null}],
            "created": 9, "id": "c", "model": "m", "object": "chat.completion.chunk"}),
        json!({"choices": [{"content_filter_results": filter, "delta": {"content": "Hi"},
            "finish_reason": null, "index": 0, "logprobs": null}],
            "created": 9, "id": "c", "model": "m", "object": "chat.completion.chunk"}),
        json!({"choices": [{"content_filter_results": {}, "delta": {}, "finish_reason": "stop", "index": 0}],
            "created": 9, "id": "c", "model": "m", "object": "chat.completion.chunk"}),
        json!({"choices": [{"content_filter_offsets": {"check_offset": 5}, "finish_reason": null, "index": 0}],
            "created": 0, "id": "", "model": "", "object": ""}),
    ]);
    let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"},
            "content_filter_results": filter, "content_filter_offsets": {"check_offset": 5},
            "logprobs": null, "finish_reason": "stop"}],
        "created": 9, "id": "c", "model": "m", "object": "chat.completion",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filter}]});
    assert_eq!(assemble(&Chat, &stream), Some(answer));
}

#[test]
fn choices_may_come_in_turns_and_tool_calls_in_pieces() {
    let call = |index: u64, piece: Value| {
        let mut call = json!({"index": index});
        call.as_object_mut()
            .unwrap()
            .extend(piece.as_object().unwrap().clone());
        json!({"tool_calls": [call]})
    };
    let arguments = |text: &str| json!({"function": {"arguments": text}});
    let begun = |name: &str| json!({"id": name, "type": "function", "function": {"name": name, "arguments": ""}});
    let null = Value::Null;
    let stream = stream_of(&[
        chunk(
            1,
            json!({"role": "assistant", "content": null}),
            null.clone(),
        ),
        chunk(
            0,
            json!({"role": "assistant", "content": "A"}),
            null.clone(),
        ),
        chunk(1, call(0, begun("f")), null.clone()),
        chunk(1, call(0, arguments("{\"a")), null.clone()),
        chunk(0, json!({"content": "B"}), null.clone()),
        chunk(1, call(1, begun("g")), null.clone()),
        chunk(1, call(0, arguments("\":1}")), null.clone()),
        // Some servers repeat names, or write them empty.
        chunk(
            1,
            call(
                1,
                json!({"id": "", "type": "function", "function": {"name": "g", "arguments": "{}"}}),
            ),
            null.clone(),
        ),
        chunk(0, json!({}), json!("stop")),
        chunk(1, json!({}), json!("tool_calls")),
    ]);
    let answer = json!({"object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "AB"}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": null, "tool_calls": [
            {"id": "f", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
            {"id": "g", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
            "finish_reason": "tool_calls"}]});
    assert_eq!(assemble(&Chat, &stream).as_ref(), Some(&answer));
    assert_eq!(judge(&Chat, &answer), Verdict::CallsTools);
    comes_back(&Chat, &answer);
}

#[test]
fn streams_that_could_mean_two_things_are_not_kept() {
    let end = || chunk(0, json!({}), json!("stop"));
    let text = || chunk(0, json!({"content": "a"}), Value::Null);
    assert!(assemble(&Chat, &stream_of(&[text(), end()])).is_some());
    for odd in [
        chunk(0, json!({"audio": {"data": "x"}}), Value::Null),
        chunk(0, json!({"content": ["a"]}), Value::Null),
        chunk(0, json!("a"), Value::Null),
        chunk(0, json!({"tool_calls": [{"id": "no index"}]}), Value::Null),
        chunk(0, json!({"tool_calls": [1]}), Value::Null),
        chunk(
            0,
            json!({"reasoning_details": [{"text": "a"}]}),
            Value::Null,
        ),
        chunk(0, json!({"function_call": "f"}), Value::Null),
        chunk(0, json!({}), json!("length")),
        chunk(2, json!({}), json!("stop")),
        json!({"choices": [{"index": -1, "delta": {}}]}),
        json!({"choices": [{"index": 0, "message": {"content": "a"}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "error": {"code": 1}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "logprobs": []}]}),
        json!({"choices": {}}),
        json!({"choices": [1]}),
        json!({"usage": 3}),
        json!({"object": "error"}),
    ] {
        assert_eq!(
            assemble(&Chat, &stream_of(&[text(), odd.clone(), end()])),
            None,
            "{odd}"
        );
    }
    for (one, other) in [
        (json!({"id": "a"}), json!({"id": "b"})),
        (json!({"model": "a"}), json!({"model": "b"})),
        (json!({"x": "a"}), json!({"x": "b"})),
        (json!({"x": "a"}), json!({"x": 1})),
        (json!({"x": ["a"]}), json!({"x": ["a", "b"]})),
        (
            chunk(0, json!({"x": "a"}), Value::Null),
            chunk(0, json!({"x": "b"}), Value::Null),
        ),
    ] {
        let stream =
            |pair: [&Value; 2]| stream_of(&[text(), pair[0].clone(), pair[1].clone(), end()]);
        assert!(assemble(&Chat, &stream([&one, &one])).is_some(), "{one}");
        assert_eq!(
            assemble(&Chat, &stream([&one, &other])),
            None,
            "{one} {other}"
        );
    }
    assert_eq!(assemble(&Chat, "data: [DONE]\n\n"), None);
    assert_eq!(assemble(&Chat, ""), None);
}

#[test]
fn a_choice_is_a_chunk_with_its_message_and_one_with_its_end() {
    let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "prompt_filter_results": [],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": null,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            "logprobs": {"content": []}, "finish_reason": "tool_calls", "stop_reason": 7}],
        "usage": {"total_tokens": 3}});
    let frame = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"});
    let with = |members: Value| {
        let mut chunk = frame.clone();
        chunk
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        chunk
    };
    let expected = [
        with(
            json!({"prompt_filter_results": [], "usage": null, "choices": [{"index": 0, "delta":
            {"role": "assistant", "content": "Hi", "refusal": null, "tool_calls": [{"index": 0, "id": "1",
            "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            "logprobs": {"content": []}, "finish_reason": null}]}),
        ),
        with(
            json!({"usage": null, "choices": [{"index": 0, "delta": {}, "logprobs": null,
            "finish_reason": "tool_calls", "stop_reason": 7}]}),
        ),
        with(json!({"choices": [], "usage": {"total_tokens": 3}})),
        json!("[DONE]"),
    ];
    assert_eq!(events(&Chat, &answer, true), expected);
    let without = events(&Chat, &answer, false);
    assert_eq!(without.len(), 3);
    assert!(without.iter().all(|event| event.get("usage").is_none()));
}

#[test]
fn answers_that_are_not_understood_are_not_streamed() {
    for choice in [
        json!({"index": 0, "message": {"content": "a"}}),
        json!({"index": 0, "message": {"content": "a"}, "finish_reason": null}),
        json!({"index": 1, "message": {"content": "a"}, "finish_reason": "stop"}),
        json!({"index": 0, "message": {"content": []}, "finish_reason": "stop"}),
        json!({"index": 0, "message": {"content": "a", "audio": {}}, "finish_reason": "stop"}),
        json!({"index": 0, "message": {"tool_calls": [1]}, "finish_reason": "stop"}),
        json!({"index": 0, "finish_reason": "stop"}),
    ] {
        let answer = json!({"choices": [choice]}).to_string();
        assert_eq!(
            ChatAnswers.stream(answer.as_bytes(), true),
            None,
            "{answer}"
        );
    }
}

fn any_message() -> impl Strategy<Value = Value> {
    let text = || any_text().prop_map(Value::from);
    let call = (any_text(), any_text(), any_text()).prop_map(|(id, name, arguments)| {
        json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
    });
    let content = prop_oneof![Just(Value::Null), text()];
    let calls = maybe(vec(call, 0..4).prop_map(Value::from));
    let refusal = maybe(prop_oneof![Just(Value::Null), text()]);
    let notes = maybe(Just(
        json!([{"type": "url_citation", "url_citation": {"url": "u"}}]),
    ));
    (content, calls, refusal, maybe(text()), notes).prop_map(
        |(content, tool_calls, refusal, reasoning, annotations)| {
            members([
                ("role", Some("assistant".into())),
                ("content", Some(content)),
                ("reasoning_content", reasoning),
                ("refusal", refusal),
                ("annotations", annotations),
                ("tool_calls", tool_calls),
            ])
        },
    )
}

pub(super) fn any_usage() -> impl Strategy<Value = Value> {
    (
        0u64..99,
        0u64..99,
        0u64..99,
        maybe((0u64..50).prop_map(Value::from)),
    )
        .prop_map(|(input, output, more, cached)| {
            json!({"prompt_tokens": input, "completion_tokens": output,
                "total_tokens": input + output + more,
                "prompt_tokens_details": members([("cached_tokens", cached)])})
        })
}

proptest! {
    #[test]
    fn chats_come_back_from_their_streams(
        choices in vec(
            (any_message(), maybe(Just(json!({"content": [{"token": "a", "logprob": -0.25}], "refusal": null}))),
                proptest::sample::select(vec!["stop", "length", "tool_calls", "content_filter"])),
            1..4,
        ),
        usage in maybe(any_usage()),
        tier in maybe(Just(Value::Null)),
    ) {
        let choices = choices.into_iter().enumerate().map(|(index, (message, logprobs, reason))| members([
            ("index", Some(index.into())),
            ("message", Some(message)),
            ("logprobs", logprobs),
            ("finish_reason", Some(reason.into())),
        ]));
        let answer = members([
            ("id", Some("chatcmpl-1".into())),
            ("object", Some("chat.completion".into())),
            ("created", Some(1_700_000_000.into())),
            ("model", Some("m".into())),
            ("choices", Some(choices.collect())),
            ("usage", usage),
            ("service_tier", tier),
        ]);
        comes_back(&Chat, &answer);
    }
}
