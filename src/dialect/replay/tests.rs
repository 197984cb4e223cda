//! Properties of every [`Replay`], and what the tests of each format share.

use super::{Replay, Verdict};
use crate::dialect::Dialect;
use crate::dialect::anthropic::messages::Messages;
use crate::dialect::call::Call;
use crate::dialect::openai::audio::TRANSCRIPTIONS;
use crate::dialect::openai::chat::Chat;
use crate::dialect::openai::completions::Completions;
use crate::dialect::openai::embeddings::Embeddings;
use crate::dialect::openai::responses::Responses;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const DIALECTS: &[&dyn Dialect] = &[
    &Chat,
    &Completions,
    &Responses,
    &Messages,
    &TRANSCRIPTIONS,
    &Embeddings,
];

pub(super) fn replay_of(dialect: &dyn Dialect) -> &'static dyn Replay {
    dialect.replay().unwrap()
}

/// Returns the whole answer of a stream of these data, as `data` lines.
pub(super) fn assemble(dialect: &dyn Dialect, stream: &str) -> Option<Value> {
    let answer = replay_of(dialect).assemble(stream.as_bytes())?;
    Some(serde_json::from_slice(&answer).unwrap())
}

pub(super) fn judge(dialect: &dyn Dialect, answer: &Value) -> Verdict {
    replay_of(dialect).judge(answer.to_string().as_bytes())
}

/// Returns the data of the events that `answer` is written as.
pub(super) fn events(dialect: &dyn Dialect, answer: &Value, wants_usage: bool) -> Vec<Value> {
    let text = answer.to_string();
    let stream = replay_of(dialect).stream(text.as_bytes(), wants_usage);
    let stream = String::from_utf8(stream.unwrap()).unwrap();
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or(data.into()))
        .collect()
}

/// Checks that an answer comes back from its stream, whatever its lines end in, and that both are metered
/// alike.
pub(super) fn comes_back(dialect: &dyn Dialect, answer: &Value) {
    let text = answer.to_string();
    let stream = replay_of(dialect).stream(text.as_bytes(), true).unwrap();
    let stream = String::from_utf8(stream).unwrap();

    assert_eq!(
        assemble(dialect, &stream).as_ref(),
        Some(answer),
        "{stream}"
    );
    assert_eq!(
        assemble(dialect, &stream.replace('\n', "\r\n")).as_ref(),
        Some(answer)
    );
    is_metered_alike(dialect, answer, &stream);
}

/// Checks that a stream and its whole answer report the same usage and deliver as much text.
pub(super) fn is_metered_alike(dialect: &dyn Dialect, answer: &Value, stream: &str) {
    let call = Call {
        wants_usage: true,
        sound_second: 50,
        ..Call::default()
    };
    let whole = dialect.meter(&call, answer.to_string().as_bytes());
    let mut meter = dialect.stream(&call);
    let mut passed = meter.feed(stream.as_bytes());
    passed.extend(meter.finish());
    let streamed = meter.reading();

    assert_eq!(passed, stream.as_bytes());
    assert_eq!(streamed.claim, whole.claim, "{stream}");
    assert_eq!(streamed.usage(), whole.usage());
    assert_eq!(streamed.delivered.bytes, whole.delivered.bytes, "{stream}");
    assert_eq!(streamed.served, whole.served);
    let ends = (streamed.complete, streamed.failed, streamed.overran);
    assert_eq!(ends, (true, false, false), "{stream}");
}

/// Returns the beginnings of a stream that ends too early: each is a prefix that lacks whole events.
pub(super) fn beginnings(stream: &str) -> Vec<String> {
    let ends = stream.match_indices("\n\n").map(|(at, _)| at + 2);
    let mut beginnings: Vec<_> = ends.map(|end| stream[..end].to_owned()).collect();
    beginnings.pop();
    beginnings
}

pub(super) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<String>(),
        "[a-z \"\\\\\n\r\u{2028}é{}]{0,12}",
    ]
}

pub(super) fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    proptest::option::of(value)
}

/// Returns an object without the members that are `None`.
pub(super) fn members<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members = members.into_iter();
    let members = members.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(members.collect())
}

/// Names and words of the formats, so that arbitrary trees come near to answers.
const WORDS: &[&str] = &[
    "choices",
    "index",
    "message",
    "delta",
    "content",
    "role",
    "assistant",
    "finish_reason",
    "stop",
    "tool_calls",
    "function",
    "arguments",
    "logprobs",
    "usage",
    "object",
    "text_completion",
    "chat.completion.chunk",
    "text",
    "type",
    "output",
    "status",
    "completed",
    "response",
    "response.completed",
    "response.output_item.done",
    "message_start",
    "content_block",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "tool_use",
    "thinking",
    "input",
    "input_json_delta",
    "partial_json",
    "stop_reason",
    "end_turn",
    "transcript.text.delta",
    "transcript.text.done",
    "summary",
    "reasoning",
    "error",
    "x_groq",
];

fn word() -> impl Strategy<Value = String> {
    proptest::sample::select(WORDS).prop_map(str::to_owned)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0u64..3).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
        "[{}a]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((word(), inner), 0..7)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Replaces one value of an answer, or takes it out. `at` counts the values of the tree.
fn spoil(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| spoil(value, at, with)),
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(_, value)| spoil(value, at, with)),
        _ => {}
    }
}

/// Runs everything on `bytes`. Streams that are written must be readable to meters.
fn is_survived(bytes: &[u8]) {
    for dialect in DIALECTS {
        let replay = replay_of(*dialect);
        let verdict = replay.judge(bytes);
        if let Some(stream) = replay.stream(bytes, true) {
            let mut meter = dialect.stream(&Call::default());
            meter.feed(&stream);
            assert!(meter.reading().complete && !meter.reading().overran);
            if verdict == Verdict::Whole && dialect.path() != "audio/transcriptions" {
                assert!(replay.assemble(&stream).is_some());
            }
        }
        if let Some(answer) = replay.assemble(bytes) {
            assert!(
                serde_json::from_slice::<Value>(&answer)
                    .unwrap()
                    .is_object()
            );
        }
    }
}

fn one_of_each() -> Vec<Value> {
    vec![
        json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant",
            "content": "a", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
            "logprobs": {"content": [{"logprob": -0.5}]}, "finish_reason": "stop"}], "usage": {"total_tokens": 3}}),
        json!({"object": "text_completion", "choices": [{"index": 0, "text": "a", "finish_reason": "stop"}]}),
        json!({"status": "completed", "output": [{"type": "message", "id": "m", "status": "completed",
            "content": [{"type": "output_text", "text": "a", "annotations": [{}], "logprobs": []}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "b"}]},
            {"type": "function_call", "arguments": "{}"}]}),
        json!({"type": "message", "content": [{"type": "text", "text": "a", "citations": [{}]},
            {"type": "thinking", "thinking": "b", "signature": "c"},
            {"type": "tool_use", "input": {"a": 1}}],
            "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}}),
        json!({"text": "a", "usage": {"type": "duration", "seconds": 3}}),
    ]
}

proptest! {
    #[test]
    fn nothing_panics_on_any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        is_survived(&bytes);
    }

    #[test]
    fn nothing_panics_on_any_json(tree in any_json()) {
        is_survived(tree.to_string().as_bytes());
    }

    #[test]
    fn nothing_panics_on_any_events(events in vec(any_json(), 0..6), ends in ".{0,3}") {
        let events: Vec<_> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        is_survived(format!("{}{ends}", events.concat()).as_bytes());
    }

    #[test]
    fn nothing_panics_on_answers_with_one_strange_value(which in 0usize..5, at in 0usize..40, with in any_json()) {
        let mut answer = one_of_each().swap_remove(which);
        spoil(&mut answer, &mut { at }, &with);
        is_survived(answer.to_string().as_bytes());
    }

    #[test]
    fn nothing_panics_on_streams_with_one_strange_value(which in 0usize..5, event in 0usize..30, at in 0usize..12, with in any_json()) {
        let answer = one_of_each().swap_remove(which);
        let mut events = events(DIALECTS[which], &answer, true);
        let place = event % events.len();
        spoil(&mut events[place], &mut { at }, &with);
        let events: Vec<_> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        is_survived(events.concat().as_bytes());
    }
}

#[test]
fn answers_nested_too_deeply_are_unfit_and_not_streamed() {
    for (dialect, answer) in DIALECTS.iter().zip(one_of_each()) {
        for depth in [60, 110, 125, 200, 100_000] {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let answer =
                answer
                    .to_string()
                    .replacen('{', &format!("{{\"usage_of_x\":{nested},"), 1);
            is_survived(answer.as_bytes());
            is_survived(format!("data: {answer}\n\n").as_bytes());
            if depth > 128 {
                let replay = replay_of(*dialect);
                assert_eq!(replay.judge(answer.as_bytes()), Verdict::Unfit);
                assert_eq!(replay.stream(answer.as_bytes(), true), None);
                assert_eq!(
                    replay.assemble(format!("data: {answer}\n\n").as_bytes()),
                    None
                );
            }
        }
    }
}

#[test]
fn errors_and_numbers_that_would_change_are_unfit() {
    for (dialect, answer) in DIALECTS.iter().zip(one_of_each()) {
        let judge = |member: &str| {
            let text = answer.to_string().replacen('{', &format!("{{{member},"), 1);
            replay_of(*dialect).judge(text.as_bytes())
        };
        let fit = judge(r#""error":null"#);
        assert_ne!(fit, Verdict::Unfit);
        assert_eq!(
            judge(r#""x":18446744073709551615,"y":"123456789012345678901""#),
            fit
        );
        for unfit in [
            r#""error":{"message":"no"}"#,
            r#""error":"no""#,
            r#""error":{}"#,
            r#""x":18446744073709551616"#,
            r#""x":-9223372036854775809"#,
            r#""x":1e999"#,
        ] {
            assert_eq!(judge(unfit), Verdict::Unfit, "{unfit}");
        }
    }
}

#[test]
fn streams_with_an_error_or_strange_bytes_are_not_kept() {
    for (dialect, answer) in DIALECTS.iter().zip(one_of_each()) {
        let text = answer.to_string();
        let stream = replay_of(*dialect).stream(text.as_bytes(), true).unwrap();
        let stream = String::from_utf8(stream).unwrap();
        assert_eq!(assemble(*dialect, &stream), Some(answer));
        assert!(assemble(*dialect, &format!("\u{feff}: hello\n\n{stream}: bye\n\n")).is_some());
        for strange in [
            "data: {\"error\":{\"message\":\"no\"}}\n\n",
            "event: error\ndata: {}\n\n",
            "event:error\n\n",
            "data: 1\n\n",
            "data: {\n\n",
            "data: \n\n",
            "dota: {}\n\n",
            "<html>\n\n",
        ] {
            assert_eq!(
                assemble(*dialect, &format!("{strange}{stream}")),
                None,
                "{strange}"
            );
            assert_eq!(
                assemble(*dialect, &format!("{stream}{strange}")),
                None,
                "{strange}"
            );
        }
        let twice = format!("{stream}{stream}");
        assert_eq!(assemble(*dialect, &twice), None);
    }
}

#[test]
fn streams_never_repeat_a_long_text_in_every_event() {
    let long = "x".repeat(5_000);
    let mut answers = one_of_each();
    answers[0]["id"] = long.clone().into();
    answers[1]["model"] = long.clone().into();
    answers[2]["output"][0]["id"] = long.into();
    for (dialect, answer) in DIALECTS.iter().zip(&answers[..3]) {
        let text = answer.to_string();
        assert_eq!(replay_of(*dialect).stream(text.as_bytes(), true), None);
    }
}
