//! Fixtures and properties of answers of `messages`, whole and streamed.

use super::*;
use crate::dialect::Meter;
use crate::dialect::stream::pieces;
use proptest::prelude::*;

fn tokens(usage: Usage) -> [u64; 4] {
    [
        usage.uncached_input.count(),
        usage.cache_read.count(),
        usage.cache_write.count(),
        usage.output.count(),
    ]
}

fn text(reading: &Reading) -> &str {
    &reading.delivered.kept
}

#[test]
fn usage_counts_what_came_from_the_cache_beside_the_input() {
    let reading = meter(
        br#"{"type":"message","content":[{"type":"thinking","thinking":"Hm","signature":"c2ln"},{"type":"text","text":"H\u00e9","citations":[{"cited_text":"no"}]},{"type":"tool_use","id":"t","name":"n","input":{"a": 1}},{"type":"web_search_tool_result","content":[{"title":"no"}]}],"stop_reason":"tool_use","usage":{"input_tokens":9,"cache_read_input_tokens":4,"cache_creation_input_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":2},"output_tokens":5,"output_tokens_details":{"thinking_tokens":3}}}"#,
    );
    assert_eq!(reading.usage().map(tokens), Some([9, 4, 2, 5]));
    assert_eq!(reading.claim.input.map(tokens), Some([9, 4, 2, 0]));
    assert_eq!(reading.usage().unwrap().total(), Tokens::new(20));
    assert_eq!(text(&reading), "HmHén{\"a\": 1}");
    assert!(reading.complete);
}

#[test]
fn absent_usage_is_not_zero() {
    for (usage, expected) in [
        ("null", None),
        ("{}", None),
        (r#"{"input_tokens":1}"#, None),
        (r#"{"output_tokens":1}"#, Some([0, 0, 0, 1])),
        (
            r#"{"input_tokens":"1","output_tokens":1.0}"#,
            Some([1, 0, 0, 1]),
        ),
        (
            r#"{"input_tokens":0,"output_tokens":0}"#,
            Some([0, 0, 0, 0]),
        ),
        (
            r#"{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":null}"#,
            Some([1, 0, 0, 2]),
        ),
    ] {
        let answer = format!(r#"{{"content":[],"usage":{usage}}}"#);
        assert_eq!(
            meter(answer.as_bytes()).usage().map(tokens),
            expected,
            "{usage}"
        );
    }
}

#[test]
fn an_answer_of_an_unknown_kind_is_read_as_far_as_it_goes() {
    let odd = meter(
        br#"{"content":[7,{"text":{"x":1}},{"text":"a\ud83d"},{"text":"b"}],"usage":{"input_tokens":1,"output_tokens":2}}"#,
    );
    assert_eq!(odd.usage().map(tokens), Some([1, 0, 0, 2]));
    assert_eq!(text(&odd), "7{\"x\":1}a\u{fffd}b");
    let broken = meter(b"{\"content\":[{\"text\":\"Hel");
    assert_eq!((broken.usage(), broken.complete), (None, false));
    assert!(broken.delivered.bytes > 0);
}

const STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":9,\"cache_read_input_tokens\":4,\"cache_creation_input_tokens\":2,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Hm\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hé\"}}\r\n\r\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"citations_delta\",\"citation\":{\"cited_text\":\"no\"}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":\"}}\n\n",
    ": a comment\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\" 1}\"}}\n\n",
    "event: a_new_kind\ndata: {\"type\":\"a_new_kind\",\"text\":\"no\"}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":3}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"input_tokens\":30,\"output_tokens\":5}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

fn streamed(pieces: &[&[u8]]) -> (Vec<u8>, Reading) {
    let mut meter = StreamMeter::default();
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(meter.feed(piece));
    }
    out.extend(meter.finish());
    (out, meter.reading().clone())
}

/// Returns the reading after the part of `STREAM` before `end`.
fn until(end: &str) -> Reading {
    let at = STREAM.find(end).unwrap();
    streamed(&[&STREAM.as_bytes()[..at]]).1
}

#[test]
fn a_stream_that_ends_early_is_known_by_its_input_and_its_text() {
    let nothing = until("event: message_start");
    assert_eq!((nothing.claim.input, nothing.usage()), (None, None));
    let started = until("event: ping");
    assert_eq!(started.claim.input.map(tokens), Some([9, 4, 2, 0]));
    assert_eq!((started.usage(), started.delivered.bytes), (None, 0));
    let under_way = until("event: a_new_kind");
    assert_eq!(under_way.usage(), None);
    assert_eq!(text(&under_way), "HmHén{\"a\": 1}");
    let counted = until("event: message_stop");
    assert!(!counted.complete);
    assert_eq!(counted.usage().map(tokens), Some([30, 4, 2, 5]));
    assert_eq!(counted.claim.input.map(tokens), Some([30, 4, 2, 0]));
}

#[test]
fn counts_are_totals_and_a_later_one_counts() {
    let first = until(
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"input",
    );
    assert_eq!(first.usage().map(tokens), Some([9, 4, 2, 3]));
    let without = streamed(&[b"data: {\"type\":\"message_delta\",\"usage\":{}}\n\n"]).1;
    assert_eq!((without.usage(), without.claim.input), (None, None));
    let late = streamed(&[
        b"data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}}\n\n",
    ])
    .1;
    assert_eq!(late.claim.total(), Tokens::ZERO);
    assert_eq!(late.usage(), None);
}

#[test]
fn a_stream_that_says_that_it_failed_is_complete() {
    let error = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"\"}}\n\n";
    let (out, reading) = streamed(&[error]);
    assert_eq!(out, error);
    assert!(reading.complete);
}

#[test]
fn usage_iterations_add_to_the_totals() {
    // Example from Anthropic's documentation.
    let usage = r#"{"input_tokens":23000,"output_tokens":1000,"iterations":[
        {"type":"compaction","input_tokens":180000,"output_tokens":3500},
        {"type":"message","input_tokens":23000,"output_tokens":1000}]}"#;
    let answer = format!(r#"{{"content":[],"usage":{usage}}}"#);
    assert_eq!(meter(answer.as_bytes()).claim.total(), Tokens::new(207_500));
    let event = format!(
        "data: {{\"type\":\"message_delta\",\"usage\":{}}}\n\n",
        usage.replace('\n', " ")
    );
    let reading = streamed(&[event.as_bytes()]).1;
    assert_eq!(reading.claim.total(), Tokens::new(207_500));
    assert!(reading.is_final);
}

#[test]
fn another_models_part_has_its_own_rate() {
    let answer = br#"{"content":[],"usage":{"input_tokens":10,"output_tokens":5,"iterations":[
        {"type":"message","input_tokens":10,"output_tokens":5},
        {"type":"advisor_message","model":"claude-opus-4-6","input_tokens":100,"output_tokens":50}]}}"#;
    let claim = meter(answer).claim;
    assert_eq!(claim.usage().total(), Tokens::new(15));
    let (model, usage) = &claim.others[0];
    assert_eq!(
        (model.as_str(), usage.total()),
        ("claude-opus-4-6", Tokens::new(150))
    );
}

proptest! {
    #[test]
    fn stream_reading_is_independent_of_chunk_boundaries(
        cuts in proptest::collection::vec(0usize..STREAM.len(), 0..12),
    ) {
        let pieces = pieces(STREAM.as_bytes(), cuts);
        let (out, reading) = streamed(&pieces);
        prop_assert_eq!(out, STREAM.as_bytes());
        prop_assert_eq!(reading.usage().map(tokens), Some([30, 4, 2, 5]));
        prop_assert_eq!(text(&reading), "HmHén{\"a\": 1}");
        prop_assert_eq!(reading.delivered.bytes, 14);
        prop_assert!(reading.complete);
    }

    #[test]
    fn any_bytes_pass_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (out, _) = streamed(&[&bytes]);
        prop_assert!(bytes.starts_with(&out));
        let _ = meter(&bytes);
    }
}

#[test]
fn text_in_places_that_nobody_expects_counts() {
    let started = r#"{"type":"message_start","message":{"id":"m","content":[{"type":"text","text":"one"}],"usage":{"input_tokens":3}}}"#;
    let mut meter = StreamMeter::default();
    meter.feed(format!("data: {started}\n\n").as_bytes());
    assert_eq!(text(meter.reading()), "one");
    assert_eq!(meter.reading().claim.input.map(tokens), Some([3, 0, 0, 0]));
    let odd =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta"},"say":"two"}"#;
    meter.feed(format!("data: {odd}\n\n").as_bytes());
    assert_eq!(meter.reading().delivered.unsure, 5);
    let found =
        super::meter(br#"{"content":[{"type":"x_tool_result","content":"one"}],"note":"two"}"#);
    assert_eq!((text(&found), found.delivered.unsure), ("one", 5));
    let id = "x".repeat(500);
    let long = super::meter(format!(r#"{{"id":"{id}","content":[]}}"#).as_bytes());
    assert_eq!(long.delivered.unsure, 502);
    let failed = super::meter(
        format!(
            r#"{{"type":"error","error":{{"message":"{}"}}}}"#,
            "word ".repeat(400)
        )
        .as_bytes(),
    );
    assert!(failed.failed && failed.delivered.bytes >= 2_000);
}
