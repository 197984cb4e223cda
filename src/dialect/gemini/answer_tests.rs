//! Tests of the meters of whole answers and of streams.

use super::*;
use crate::dialect::Meter;
use crate::dialect::stream::pieces;
use proptest::prelude::*;

const STREAM: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}],\"role\":\"model\"},\"index\":0}],",
    "\"usageMetadata\":{\"promptTokenCount\":9,\"totalTokenCount\":9},\"modelVersion\":\"gemini-x\"}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}],\"role\":\"model\"},\"index\":0}]}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],",
    "\"usageMetadata\":{\"promptTokenCount\":9,\"cachedContentTokenCount\":4,\"candidatesTokenCount\":2,",
    "\"thoughtsTokenCount\":30,\"totalTokenCount\":41}}\r\n\r\n",
);

fn stream(events: &str) -> Reading {
    let mut meter = CandidateStream::default();
    assert_eq!(meter.feed(events.as_bytes()), events.as_bytes());
    meter.finish();
    meter.reading().clone()
}

fn usage(counts: &str) -> Option<(u64, u64, u64)> {
    let answer = format!(r#"{{"candidates":[],"usageMetadata":{counts}}}"#);
    let usage = meter(answer.as_bytes()).usage()?;
    let counts = [usage.uncached_input, usage.cache_read, usage.output].map(Tokens::count);
    Some((counts[0], counts[1], counts[2]))
}

#[test]
fn thoughts_are_output_and_what_the_total_has_beyond_is_too() {
    for (counts, expected) in [
        (
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15}"#,
            Some((10, 0, 5)),
        ),
        (
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":22}"#,
            Some((10, 0, 12)),
        ),
        (
            r#"{"promptTokenCount":10,"cachedContentTokenCount":8,"toolUsePromptTokenCount":3,"candidatesTokenCount":5}"#,
            Some((5, 8, 5)),
        ),
        (
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":40}"#,
            Some((10, 0, 30)),
        ),
        (
            r#"{"promptTokenCount":10,"totalTokenCount":10}"#,
            Some((10, 0, 0)),
        ),
        (
            r#"{"promptTokenCount":10,"totalTokenCount":25}"#,
            Some((10, 0, 15)),
        ),
        (r#"{"promptTokenCount":10}"#, None),
        (r#"{"totalTokenCount":10}"#, None),
        ("{}", None),
    ] {
        assert_eq!(usage(counts), expected, "{counts}");
    }
}

#[test]
fn a_stream_is_complete_when_its_candidates_have_ended() {
    let reading = stream(STREAM);
    assert!(reading.complete && reading.is_final && !reading.failed);
    let usage = reading.usage().unwrap();
    assert_eq!(usage.total().count(), 41);
    assert_eq!(reading.delivered.kept, "Hello");
    assert_eq!(reading.served.iter().collect::<Vec<_>>(), ["gemini-x"]);
    let end = STREAM.rfind("data:").unwrap();
    let reading = stream(&STREAM[..end]);
    assert!(!reading.complete && !reading.is_final);
    let other = STREAM.replace(
        "\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"totalTokenCount\":9}",
        "\"index\":1}]",
    );
    assert!(!stream(&other).complete);
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":9,\"totalTokenCount\":9}}\n\n";
    let reading = stream(blocked);
    assert!(reading.complete && reading.usage().unwrap().output.is_zero());
}

#[test]
fn content_after_a_reason_is_metered_too() {
    let twice = format!("{STREAM}{STREAM}");
    let reading = stream(&twice);
    assert!(reading.complete && !reading.overran);
    assert_eq!(reading.delivered.kept, "HelloHello");
}

#[test]
fn what_a_model_makes_counts_by_its_kind() {
    let of = |part: &str| {
        let answer = format!(r#"{{"candidates":[{{"content":{{"parts":[{part}]}}}}]}}"#);
        meter(answer.as_bytes()).delivered
    };
    assert_eq!(of(r#"{"text":"abc","thought":true}"#).kept, "abc");
    assert!(
        of(r#"{"functionCall":{"name":"f","args":{"a":1}}}"#)
            .kept
            .contains("args")
    );
    assert_eq!(
        of(r#"{"inlineData":{"mimeType":"image/png","data":"AAAA"}}"#).images,
        1
    );
    assert_eq!(
        of(r#"{"inlineData":{"mimeType":"audio/L16","data":"AAAAAAAA"}}"#).sound,
        6
    );
    assert_eq!(
        of(r#"{"inlineData":{"mimeType":"x/y","data":"abcd"}}"#).kept,
        "abcd"
    );
    assert!(
        of(r#"{"executableCode":{"code":"abc"}}"#)
            .kept
            .contains("abc")
    );
    assert!(of(r#"{"anything":"abc"}"#).kept.contains("abc"));
    assert_eq!(of(r#"{"text":"a","thoughtSignature":"AAAA"}"#).unsure, 0);
}

#[test]
fn a_failure_in_a_stream_ends_it() {
    let failed =
        "data: {\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\n\n";
    let reading = stream(failed);
    assert!(reading.failed && reading.complete);
    assert!(meter(b"{\"candidates\":[").delivered.is_malformed);
}

proptest! {
    #[test]
    fn any_split_reads_alike(cuts in proptest::collection::vec(0..STREAM.len(), 0..6)) {
        let mut meter = CandidateStream::default();
        let mut out = Vec::new();
        for piece in pieces(STREAM.as_bytes(), cuts) {
            out.extend(meter.feed(piece));
        }
        out.extend(meter.finish());
        prop_assert_eq!(out, STREAM.as_bytes());
        prop_assert_eq!(meter.reading(), &stream(STREAM));
    }
}
