//! Fixtures and properties of streams of `responses` and their whole answers.

use super::*;
use crate::dialect::openai::responses::Responses;
use crate::dialect::replay::tests::{
    any_text, assemble, beginnings, comes_back, events, is_metered_alike, judge, maybe, members,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn text(text: &str) -> Value {
    json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]})
}

fn response(status: &str, output: Value) -> Value {
    json!({"id": "resp_1", "object": "response", "status": status, "error": null, "incomplete_details": null,
        "model": "m", "output": output, "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}})
}

#[test]
fn status_and_every_item_are_judged() {
    let refusal = json!({"type": "message", "content": [{"type": "refusal", "refusal": "no"}]});
    let reasoning = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}], "content": null});
    for (output, verdict) in [
        (json!([reasoning, text("a")]), Verdict::Whole),
        (
            json!([text("a"), {"type": "function_call"}]),
            Verdict::CallsTools,
        ),
        (
            json!([{"type": "web_search_call", "status": "completed"}, text("a")]),
            Verdict::CallsTools,
        ),
        (
            json!([{"type": "mcp_approval_request"}]),
            Verdict::CallsTools,
        ),
        (
            json!([{"type": "message", "status": "incomplete", "content": []}]),
            Verdict::Truncated,
        ),
        (
            json!([refusal, {"type": "function_call"}]),
            Verdict::Refused,
        ),
        (json!([refusal, {"type": "new"}]), Verdict::Unfit),
        (
            json!([{"type": "message", "content": [{"type": "new"}]}]),
            Verdict::Unfit,
        ),
        (json!([{"type": "message", "content": "a"}]), Verdict::Unfit),
        (
            json!([{"type": "message", "status": "in_progress", "content": []}]),
            Verdict::Unfit,
        ),
        (
            json!([{"type": "reasoning", "summary": [{"type": "new"}]}]),
            Verdict::Unfit,
        ),
        (json!([{"type": "reasoning", "content": 1}]), Verdict::Unfit),
        (json!([1]), Verdict::Unfit),
        (json!({}), Verdict::Unfit),
    ] {
        assert_eq!(
            judge(&Responses, &response("completed", output.clone())),
            verdict,
            "{output}"
        );
    }
    for (status, reason, verdict) in [
        (
            "incomplete",
            json!({"reason": "max_output_tokens"}),
            Verdict::Truncated,
        ),
        (
            "incomplete",
            json!({"reason": "content_filter"}),
            Verdict::Refused,
        ),
        ("incomplete", json!({"reason": "new"}), Verdict::Unfit),
        ("incomplete", Value::Null, Verdict::Unfit),
        (
            "completed",
            json!({"reason": "max_output_tokens"}),
            Verdict::Unfit,
        ),
        ("cancelled", Value::Null, Verdict::Refused),
        ("failed", Value::Null, Verdict::Unfit),
        ("queued", Value::Null, Verdict::Unfit),
    ] {
        let mut answer = response(status, json!([text("a")]));
        answer["incomplete_details"] = reason;
        assert_eq!(judge(&Responses, &answer), verdict, "{answer}");
    }
}

#[test]
fn a_stream_gives_the_response_of_its_last_event() {
    let answer = response("completed", json!([text("Hi")]));
    let stream = format!(
        "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"status\":\"in_progress\"}}}}\n\n\
         event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}}\n\n\
         event: keepalive\ndata: {{\"type\":\"keepalive\"}}\n\n\
         event: response.output_item.done\ndata: {{\"type\":\"response.output_item.done\",\"item\":{{}}}}\n\n\
         event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{answer}}}\n\n",
    );
    assert_eq!(assemble(&Responses, &stream).as_ref(), Some(&answer));
    is_metered_alike(&Responses, &answer, &stream);
    assert!(assemble(&Responses, &format!("{stream}data: [DONE]\n\n")).is_some());
    let cut_off = stream.replace("response.completed", "response.incomplete");
    assert!(assemble(&Responses, &cut_off).is_some());
    for cut in beginnings(&stream) {
        assert_eq!(assemble(&Responses, &cut), None);
    }
    for bad in [
        format!("{stream}{stream}"),
        format!("{stream}data: {{\"type\":\"keepalive\"}}\n\n"),
        stream.replace("response.completed", "response.failed"),
        stream.replace("\"error\":null", "\"error\":{\"code\":\"x\"}"),
        stream.replace("keepalive", "error"),
        stream.replace("\"type\":\"keepalive\"", "\"kind\":\"keepalive\""),
        // An item is missing from the last event.
        stream.replace("keepalive", "response.output_item.done"),
        stream.replace("\"output\":[", "\"input\":["),
    ] {
        assert_eq!(assemble(&Responses, &bad), None, "{bad}");
    }
}

#[test]
fn items_and_parts_are_announced_brought_and_ended() {
    let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "S"}]});
    let mut message = text("Hi");
    message["content"][0]["annotations"] = json!([{"type": "url_citation"}]);
    message["content"][0]["logprobs"] = json!([{"token": "Hi"}]);
    let call = json!({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"});
    let answer = response("completed", json!([reasoning, message, call]));
    let events = events(&Responses, &answer, false);
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(kinds, expected);
    assert!(
        events
            .iter()
            .enumerate()
            .all(|(number, event)| event["sequence_number"] == number)
    );
    let begun = &events[0]["response"];
    assert_eq!(
        (&begun["status"], &begun["output"], &begun["usage"]),
        (&json!("in_progress"), &json!([]), &Value::Null)
    );
    assert_eq!(
        events[8]["item"],
        json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []})
    );
    assert_eq!(
        events[9]["part"],
        json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
    );
    assert_eq!(
        events[10],
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1,
        "content_index": 0, "delta": "Hi", "logprobs": [{"token": "Hi"}], "sequence_number": 10})
    );
    assert_eq!(
        events[12],
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 1,
        "content_index": 0, "text": "Hi", "logprobs": [{"token": "Hi"}], "sequence_number": 12})
    );
    assert_eq!(events[13]["part"], message["content"][0]);
    assert_eq!(
        events[17],
        json!({"type": "response.function_call_arguments.done", "item_id": "fc_1",
        "output_index": 2, "arguments": "{}", "sequence_number": 17})
    );
    assert_eq!(events[19]["response"], answer);
    comes_back(&Responses, &answer);
}

#[test]
fn responses_that_are_not_understood_are_not_streamed() {
    for (status, output) in [
        ("failed", json!([])),
        ("in_progress", json!([])),
        ("completed", json!({})),
        ("completed", json!([{"type": "web_search_call"}])),
        ("completed", json!([{"type": "message", "content": "a"}])),
        (
            "completed",
            json!([{"type": "message", "content": [{"type": "summary_text", "text": "a"}]}]),
        ),
        ("completed", json!([{"type": "function_call"}])),
    ] {
        let answer = response(status, output).to_string();
        assert_eq!(
            ResponseAnswers.stream(answer.as_bytes(), true),
            None,
            "{answer}"
        );
    }
}

fn any_item() -> impl Strategy<Value = Value> {
    let part = (
        any_text(),
        maybe(Just(json!([{"type": "url_citation", "url": "u"}]))),
    )
        .prop_map(|(text, notes)| {
            members([
                ("type", Some("output_text".into())),
                ("text", Some(text.into())),
                ("annotations", notes),
            ])
        });
    let refusal = any_text().prop_map(|text| json!({"type": "refusal", "refusal": text}));
    let parts = vec(prop_oneof![part, refusal], 0..3);
    let texts = |kind: &'static str| {
        let text = any_text().prop_map(move |text| json!({"type": kind, "text": text}));
        maybe(vec(text, 0..3).prop_map(Value::from))
    };
    prop_oneof![
        parts.prop_map(
            |parts| json!({"type": "message", "id": "m", "status": "completed",
            "role": "assistant", "content": parts})
        ),
        (texts("summary_text"), texts("reasoning_text")).prop_map(|(summary, content)| members([
            ("type", Some("reasoning".into())),
            ("id", Some("r".into())),
            ("summary", summary),
            ("content", content),
        ])),
        any_text().prop_map(
            |text| json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": text})
        ),
        any_text().prop_map(
            |text| json!({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": text})
        ),
    ]
}

proptest! {
    #[test]
    fn responses_come_back_from_their_streams(
        items in vec(any_item(), 0..4),
        is_cut in any::<bool>(),
        usage in maybe((0u64..99, 0u64..99, 0u64..50).prop_map(|(input, output, cached)| json!({
            "input_tokens": input, "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": output, "total_tokens": input + output,
        }))),
    ) {
        let mut answer = response("completed", items.into());
        if is_cut {
            answer["status"] = "incomplete".into();
            answer["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        answer["usage"] = usage.unwrap_or_default();
        comes_back(&Responses, &answer);
    }
}
