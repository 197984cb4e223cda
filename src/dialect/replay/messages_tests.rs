//! Fixtures and properties of streams of `messages` and their whole answers, as the provider sends them.

use super::*;
use crate::dialect::anthropic::messages::Messages;
use crate::dialect::replay::tests::{
    any_text, assemble, beginnings, comes_back, events, is_metered_alike, judge, maybe, members,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn stop_reason_and_every_block_are_judged() {
    let text = json!({"type": "text", "text": "a"});
    for (reason, blocks, verdict) in [
        (
            json!("end_turn"),
            json!([text, {"type": "thinking", "thinking": "b"}, {"type": "redacted_thinking"}]),
            Verdict::Whole,
        ),
        (json!("stop_sequence"), json!([text]), Verdict::Whole),
        (json!("tool_use"), json!([text]), Verdict::CallsTools),
        (
            json!("end_turn"),
            json!([text, {"type": "server_tool_use"}]),
            Verdict::CallsTools,
        ),
        (
            json!("end_turn"),
            json!([text, {"type": "mcp_tool_use"}, text]),
            Verdict::CallsTools,
        ),
        (
            json!("end_turn"),
            json!([{"type": "web_search_tool_result"}]),
            Verdict::CallsTools,
        ),
        (
            json!("max_tokens"),
            json!([{"type": "tool_use"}]),
            Verdict::Truncated,
        ),
        (
            json!("model_context_window_exceeded"),
            json!([text]),
            Verdict::Truncated,
        ),
        (json!("pause_turn"), json!([text]), Verdict::Truncated),
        (json!("refusal"), json!([text]), Verdict::Refused),
        (json!("refusal"), json!([{"type": "new"}]), Verdict::Unfit),
        (json!("end_turn"), json!([{"type": "text"}]), Verdict::Unfit),
        (json!("end_turn"), json!([1]), Verdict::Unfit),
        (json!("end_turn"), json!("a"), Verdict::Unfit),
        (json!("new"), json!([text]), Verdict::Unfit),
        (Value::Null, json!([text]), Verdict::Unfit),
    ] {
        let answer = json!({"type": "message", "content": blocks, "stop_reason": reason});
        assert_eq!(judge(&Messages, &answer), verdict, "{answer}");
    }
    let error = json!({"type": "error", "error": {"type": "overloaded_error"}});
    assert_eq!(judge(&Messages, &error), Verdict::Unfit);
}

const STREAM: &str = r#"event: message_start
data: {"type":"message_start","message":{"model":"claude-x","id":"msg_1","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me "}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"see."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":"","citations":[]}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hel"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"char_location","start_char_index":0}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"lo"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"redacted_thinking","data":"xyz"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"a\": "}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"[1.0]}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":0,"output_tokens":89,"server_tool_use":{"web_search_requests":1}}}

event: message_stop
data: {"type":"message_stop"}

"#;

fn whole() -> Value {
    json!({"model": "claude-x", "id": "msg_1", "type": "message", "role": "assistant", "content": [
            {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB"},
            {"type": "text", "text": "Hello", "citations": [{"type": "char_location", "start_char_index": 0}]},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1.0]}}],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 0}, "output_tokens": 89, "service_tier": "standard",
            "server_tool_use": {"web_search_requests": 1}}})
}

#[test]
fn blocks_and_usage_of_a_stream_are_put_together() {
    assert_eq!(assemble(&Messages, STREAM), Some(whole()));
    assert_eq!(
        assemble(&Messages, &STREAM.replace('\n', "\r\n")),
        Some(whole())
    );
    assert_eq!(
        assemble(&Messages, &format!("{STREAM}data: [DONE]\n\n")),
        Some(whole())
    );
    comes_back(&Messages, &whole());
    for cut in beginnings(STREAM) {
        assert_eq!(assemble(&Messages, &cut), None);
    }
    let text_alone = STREAM.replace(
        r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{}}"#,
        r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{"b":1}}"#,
    );
    assert_eq!(assemble(&Messages, &text_alone), None);
}

#[test]
fn streams_and_whole_messages_are_metered_alike() {
    // A tool's input is metered with the spaces that it was written with.
    let stream = STREAM.replace("{\\\"a\\\": ", "{\\\"a\\\":");
    is_metered_alike(&Messages, &whole(), &stream);
}

#[test]
fn streams_that_are_out_of_order_are_not_kept() {
    let events: Vec<_> = STREAM
        .split_inclusive("\n\n")
        .filter(|event| !event.contains("ping"))
        .collect();
    for taken in 0..events.len() {
        let mut fewer = events.clone();
        fewer.remove(taken);
        let is_delta = events[taken].contains("content_block_delta");
        let answer = assemble(&Messages, &fewer.concat());
        assert!(is_delta || answer.is_none(), "{}", events[taken]);
        let mut more = events.clone();
        more.insert(taken, events[taken]);
        let answer = assemble(&Messages, &more.concat());
        let may_repeat = is_delta || events[taken].contains("message_delta");
        assert!(may_repeat || answer.is_none(), "{}", events[taken]);
    }
    for (old, new) in [
        (
            r#""type":"text_delta","text":"Hel""#,
            r#""type":"text_delta","text":1"#,
        ),
        (
            r#""type":"text_delta","text":"Hel""#,
            r#""type":"new_delta","text":"Hel""#,
        ),
        (
            r#""type":"text_delta","text":"Hel""#,
            r#""type":"text_delta","text":"Hel","more":"x""#,
        ),
        (
            r#""type":"text_delta","text":"Hel""#,
            r#""type":"thinking_delta","thinking":"Hel""#,
        ),
        (r#""partial_json":"[1.0]}""#, r#""partial_json":"[1.0]""#),
        (r#""type":"redacted_thinking""#, r#""type":"new_thinking""#),
        (r#""stop_reason":"tool_use""#, r#""stop_reason":null"#),
        (r#""output_tokens":89,"#, ""),
        (
            r#""content":[]"#,
            r#""content":[{"type":"text","text":"a"}]"#,
        ),
        (
            r#"{"type":"message_stop"}"#,
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
        ),
        (r#"{"type": "ping"}"#, r#"{"type": "new"}"#),
    ] {
        assert!(STREAM.contains(old), "{old}");
        assert_eq!(
            assemble(&Messages, &STREAM.replace(old, new)),
            None,
            "{new}"
        );
    }
}

#[test]
fn a_message_begins_empty_and_ends_with_its_usage() {
    let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "x",
        "content": [{"type": "text", "text": "Hi"}], "stop_reason": "stop_sequence", "stop_sequence": ".",
        "usage": {"input_tokens": 3, "output_tokens": 4, "iterations": []}});
    let expected = [
        json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "x",
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 3, "output_tokens": 0}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "."},
            "usage": {"input_tokens": 3, "output_tokens": 4, "iterations": []}}),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(events(&Messages, &answer, false), expected);
    let stream = MessageAnswers
        .stream(answer.to_string().as_bytes(), false)
        .unwrap();
    assert!(stream.starts_with(b"event: message_start\ndata: {\"type\":\"message_start\","));
    for bad in [
        json!({"content": [], "stop_reason": null}),
        json!({"content": [{"type": "new"}], "stop_reason": "end_turn"}),
        json!({"content": [{"type": "text"}], "stop_reason": "end_turn"}),
        json!({"content": [{"type": "tool_use", "input": []}], "stop_reason": "end_turn"}),
        json!({"content": [], "stop_reason": "end_turn", "usage": 1}),
    ] {
        assert_eq!(
            MessageAnswers.stream(bad.to_string().as_bytes(), true),
            None,
            "{bad}"
        );
    }
}

fn any_block() -> impl Strategy<Value = Value> {
    let citations = maybe(prop_oneof![
        Just(Value::Null),
        vec(
            Just(json!({"type": "char_location", "cited_text": "a"})),
            0..3
        )
        .prop_map(Value::from),
    ]);
    prop_oneof![
        (any_text(), citations).prop_map(|(text, citations)| members([
            ("type", Some("text".into())),
            ("text", Some(text.into())),
            ("citations", citations),
        ])),
        (any_text(), maybe(any_text().prop_map(Value::from))).prop_map(
            |(text, signature)| members([
                ("type", Some("thinking".into())),
                ("thinking", Some(text.into())),
                ("signature", signature),
            ])
        ),
        any_text().prop_map(|data| json!({"type": "redacted_thinking", "data": data})),
        (
            any_text(),
            maybe(any_text().prop_map(Value::from)),
            any::<i64>()
        )
            .prop_map(|(id, text, number)| {
                let input = members([("a b", text), ("n", (number > 0).then(|| number.into()))]);
                json!({"type": "tool_use", "id": id, "name": "f", "input": input})
            }),
    ]
}

proptest! {
    #[test]
    fn messages_come_back_from_their_streams(
        blocks in vec(any_block(), 0..5),
        (input, output, read) in (0u64..99, 0u64..99, maybe((0u64..99).prop_map(Value::from))),
        // From 1: to a meter a count of 0 is none, and one in `iterations` does not replace that of `message_start`.
        iterations in maybe(vec((1u64..50, 1u64..50), 0..3).prop_map(|parts| {
            let parts = parts.into_iter().map(|(input, output)| json!({"input_tokens": input, "output_tokens": output}));
            parts.collect()
        })),
        details in maybe(prop_oneof![Just(Value::Null), Just(json!({"type": "refusal"}))]),
    ) {
        let usage = members([
            ("input_tokens", Some(input.into())),
            ("cache_read_input_tokens", read),
            ("output_tokens", Some(output.into())),
            ("iterations", iterations),
        ]);
        let answer = members([
            ("id", Some("msg_1".into())),
            ("type", Some("message".into())),
            ("role", Some("assistant".into())),
            ("model", Some("m".into())),
            ("content", Some(blocks.into())),
            ("stop_reason", Some("end_turn".into())),
            ("stop_sequence", Some(Value::Null)),
            ("stop_details", details),
            ("usage", Some(usage)),
        ]);
        comes_back(&Messages, &answer);
    }
}
