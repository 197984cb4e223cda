//! Fixtures and properties of `responses` bodies and streams, as the provider sends them.

use super::*;
use crate::dialect::Meter;
use crate::dialect::stream::pieces;
use crate::rules::amount::Tokens;
use proptest::prelude::*;

const PLAIN: &str = r#"{"id":"resp_1","status":"completed","error":null,"output":[
 {"type":"reasoning","summary":[{"type":"summary_text","text":"Hm. "}],"encrypted_content":"xxxx"},
 {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hé\"llo","annotations":[]},{"type":"refusal","refusal":" no"}]},
 {"type":"function_call","name":"f","arguments":"{\"a\":1}"},
 {"type":"custom_tool_call","name":"c","input":"ls"},
 {"type":"local_shell_call","action":{"command":["ls"]}},
 {"type":"image_generation_call","result":"AAAA"}, 7],
 "usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":14}}"#;

#[test]
fn usage_counts_a_cached_part_once_and_absent_is_not_zero() {
    let reading = meter(PLAIN.as_bytes());
    let usage = reading.usage().unwrap();
    assert_eq!(
        (
            usage.uncached_input.count(),
            usage.cache_read.count(),
            usage.output.count()
        ),
        (5, 4, 5)
    );
    assert_eq!(usage.total(), Tokens::new(14));
    assert_eq!(reading.delivered.kept, "Hé\"llo nof{\"a\":1}clsls");
    assert_eq!(meter(b"{}").usage(), None);
    assert_eq!(meter(br#"{"usage":null}"#).usage(), None);
    assert_eq!(meter(br#"{"usage":{}}"#).usage(), None);
    let nought = meter(br#"{"usage":{"input_tokens":0,"output_tokens":0}}"#);
    assert_eq!(nought.usage().unwrap().total(), Tokens::ZERO);
    // An unexpected type of another member does not hide `usage`.
    let odd = meter(br#"{"output":7,"status":1,"usage":{"input_tokens":1,"output_tokens":2,"input_tokens_details":null}}"#);
    assert_eq!(odd.usage().unwrap().total(), Tokens::new(3));
}

#[test]
fn an_answer_says_itself_that_it_is_complete() {
    for (status, complete) in [
        ("completed", true),
        ("incomplete", true),
        ("failed", true),
        ("cancelled", true),
        ("in_progress", false),
        ("queued", false),
    ] {
        let answer = format!(r#"{{"status":"{status}","output":[]}}"#);
        assert_eq!(meter(answer.as_bytes()).complete, complete, "{status}");
    }
    let broken = meter(b"{\"status\":\"completed\",");
    assert!(!broken.complete && broken.delivered.bytes > 0);
}

const STREAM: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"status\":\"in_progress\",\"usage\":null}}\n\n",
    ": keep-alive\n\n",
    "event: response.reasoning_summary_text.delta\ndata: {\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"Hm\"}\n\n",
    "event: response.reasoning_text.delta\ndata: {\"type\":\"response.reasoning_text.delta\",\"delta\":\".\"}\n\n",
    "event: response.output_text.delta\r\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hé\\\"\",\"obfuscation\":\"zzzz\"}\r\n\r\n",
    "data: {\"type\":\"response.output_text.done\",\"text\":\"Hé\\\"\"}\n\n",
    "data: {\"type\":\"response.refusal.delta\",\"delta\":\"no\"}\n\n",
    "data: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{}\"}\n\n",
    "data: {\"type\":\"response.function_call_arguments.done\",\"arguments\":\"{}\"}\n\n",
    "data: {\"type\":\"response.custom_tool_call_input.delta\",\"delta\":\"ls\"}\n\n",
    "data: {\"type\":\"response.shell_call_output_content.delta\",\"delta\":{\"stdout\":\"x\"}}\n\n",
    "data: {\"type\":\"response.audio.delta\",\"delta\":\"AAAA\"}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\",\"arguments\":\"{}\"}}\n\n",
    "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"local_shell_call\",\"action\":{}}}\n\n",
    "data: {\"type\":\"response.something.new\",\"x\":1}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"text\":\"Hé\"}]}],\"usage\":{\"input_tokens\":9,\"output_tokens\":5}}}\n\n",
);

const TEXT: &str = ".Hé\"no{}ls";

fn streamed(pieces: &[&[u8]]) -> (Vec<u8>, Reading) {
    let mut meter = StreamMeter::default();
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(meter.feed(piece));
    }
    out.extend(meter.finish());
    (out, meter.reading().clone())
}

#[test]
fn a_stream_ends_with_its_last_word_or_an_error() {
    for (event, complete, total) in [
        (
            r#"{"type":"response.incomplete","response":{"usage":{"input_tokens":1,"output_tokens":2}}}"#,
            true,
            Some(3),
        ),
        (
            r#"{"type":"response.failed","response":{"usage":null,"error":{"code":"x"}}}"#,
            true,
            None,
        ),
        (r#"{"type":"error","code":"x","message":"y"}"#, true, None),
        (r#"{"error":{"message":"y"}}"#, true, None),
        ("[DONE]", true, None),
        (
            r#"{"type":"response.in_progress","response":{"usage":{"input_tokens":0,"output_tokens":0}}}"#,
            false,
            None,
        ),
        ("not JSON", false, None),
    ] {
        let (_, reading) = streamed(&[format!("data: {event}\n\n").as_bytes()]);
        assert_eq!(reading.complete, complete, "{event}");
        let read = reading.usage().map(|usage| usage.total().count());
        assert_eq!(read.filter(|total| *total > 0), total, "{event}");
    }
}

#[test]
fn text_counts_once_however_often_it_passes() {
    let item = r#"{"type":"message","content":[{"type":"output_text","text":"one two three"}]}"#;
    let delta = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"one two three\"}\n\n";
    let done = format!("data: {{\"type\":\"response.output_item.done\",\"item\":{item}}}\n\n");
    let last = format!(
        "data: {{\"type\":\"response.completed\",\"response\":{{\"output\":[{item}]}}}}\n\n"
    );
    for events in [
        [delta, &*done, &*last].concat(),
        [delta, &*last].concat(),
        [&*done, &*last].concat(),
        last.clone(),
        done.clone(),
    ] {
        let (_, reading) = streamed(&[events.as_bytes()]);
        assert_eq!(reading.delivered.bytes, 13, "{events}");
    }
}

#[test]
fn nothing_passes_after_the_end() {
    let late = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"late\"}\n\n";
    let (out, reading) = streamed(&[STREAM.as_bytes(), b"data: [DONE]\n\n", late.as_bytes()]);
    assert_eq!(out, [STREAM.as_bytes(), b"data: [DONE]\n\n"].concat());
    assert!(reading.overran && reading.complete);
}

proptest! {
    #[test]
    fn stream_reading_is_independent_of_chunk_boundaries(
        cuts in proptest::collection::vec(0usize..STREAM.len(), 0..12),
    ) {
        let pieces = pieces(STREAM.as_bytes(), cuts);
        let (out, reading) = streamed(&pieces);
        prop_assert_eq!(out, STREAM.as_bytes());
        prop_assert_eq!(reading.usage().unwrap().total(), Tokens::new(14));
        prop_assert_eq!((reading.delivered.kept.as_str(), reading.delivered.bytes), (TEXT, TEXT.len() as u64));
        prop_assert!(reading.complete);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = meter(&bytes);
        prop_assert!(bytes.starts_with(&streamed(&[&bytes]).0));
    }
}

/// Text that comes whole counts, and counts once.
#[test]
fn text_that_comes_in_no_delta_counts() {
    let delivered = |events: &[&str]| {
        let mut meter = StreamMeter::default();
        for event in events {
            meter.feed(format!("data: {event}\n\n").as_bytes());
        }
        meter.finish();
        meter.reading().delivered.bytes
    };
    let delta = r#"{"type":"response.output_text.delta","delta":"one "}"#;
    let text = r#"{"type":"response.output_text.done","text":"one two"}"#;
    let part = r#"[{"type":"output_text","text":"one two"}]"#;
    let added = format!(
        r#"{{"type":"response.output_item.added","item":{{"type":"message","content":{part}}}}}"#
    );
    let done = added.replace("added", "done");
    for events in [
        &[text][..],
        &[delta, text],
        &[added.as_str()],
        &[added.as_str(), delta, text, done.as_str()],
        &[delta, text, done.as_str()],
        &[delta, done.as_str()],
        &[done.as_str()],
    ] {
        let bytes = delivered(events);
        assert!((7..=11).contains(&bytes), "{bytes}: {events:?}");
    }
    let call = r#"{"type":"response.function_call_arguments.done","arguments":"{\"a\":1}"}"#;
    assert_eq!(delivered(&[call]), 7);
}
