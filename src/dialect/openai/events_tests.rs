//! Event streams as fixtures: their bytes, and the usage and text that they report.

use super::*;
use crate::dialect::Meter;
use crate::dialect::stream::pieces;
use proptest::prelude::*;

struct Fixture {
    stream: &'static str,
    tokens: Option<u64>,
    text: &'static str,
    complete: bool,
}

const FIXTURES: &[Fixture] = &[
    Fixture {
        stream: concat!(
            "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAAA\"}\n\n",
            "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AAAA\",\"usage\":{\"input_tokens\":50,\"output_tokens\":100,\"total_tokens\":150}}\n\n",
        ),
        tokens: Some(150),
        text: "",
        complete: true,
    },
    Fixture {
        stream: "data: {\"type\":\"image_edit.completed\",\"usage\":null}\r\n\r\n",
        tokens: None,
        text: "",
        complete: true,
    },
    Fixture {
        stream: concat!(
            "data: {\"type\":\"speech.audio.delta\",\"audio\":\"UklG\"}\n\n",
            "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n",
        ),
        tokens: Some(115),
        text: "",
        complete: true,
    },
    Fixture {
        stream: concat!(
            "data: {\"type\":\"transcript.text.delta\",\"delta\":\"I s\\u00e9e\"}\n\n: ping\n\n",
            "event: transcript.text.delta\ndata: {\"type\":\"transcript.text.delta\",\"delta\":\" you\"}\n\n",
            "data: {\"type\":\"transcript.text.segment\",\"text\":\"I s\\u00e9e you\"}\n\n",
            "data: {\"type\":\"transcript.text.done\",\"text\":\"I s\\u00e9e you\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14},\"output_tokens\":5,\"total_tokens\":19}}\n\n",
        ),
        tokens: Some(19),
        text: "I sée you",
        complete: true,
    },
    Fixture {
        stream: "data: {\"type\":\"transcript.text.done\",\"text\":\"All\",\"usage\":{\"type\":\"duration\",\"seconds\":2.1}}\n\n",
        tokens: Some(150),
        text: "All",
        complete: true,
    },
    Fixture {
        stream: concat!(
            "data: {\"object\":\"transcription.chunk\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
            "data: [DONE]\n\n",
        ),
        tokens: Some(9),
        text: "Hi",
        complete: true,
    },
    Fixture {
        stream: "data: {\"type\":\"transcript.text.delta\",\"delta\":\"I\"}\n\n",
        tokens: None,
        text: "I",
        complete: false,
    },
    Fixture {
        stream: "event: error\ndata: {\"error\":{\"message\":\"no\"}}\n\n",
        tokens: None,
        text: "",
        complete: true,
    },
    Fixture {
        stream: "data: {\"type\":\"error\",\"code\":\"x\",\"message\":\"no\"}\n\n",
        tokens: None,
        text: "",
        complete: true,
    },
];

fn metered(pieces: &[&[u8]]) -> (Vec<u8>, Reading) {
    let mut meter = EventMeter::new(50);
    let mut out: Vec<u8> = pieces.iter().flat_map(|piece| meter.feed(piece)).collect();
    out.extend(meter.finish());
    (out, meter.reading().clone())
}

proptest! {
    #[test]
    fn stream_reading_is_independent_of_chunk_boundaries(
        at in 0..FIXTURES.len(),
        cuts in proptest::collection::vec(0usize..700, 0..9),
    ) {
        let fixture = &FIXTURES[at];
        let bytes = fixture.stream.as_bytes();
        let pieces = pieces(bytes, cuts);
        let (out, reading) = metered(&pieces);
        prop_assert_eq!(out, bytes);
        prop_assert_eq!(reading.usage().map(|usage| usage.total().count()), fixture.tokens);
        prop_assert_eq!(reading.delivered.kept.as_str(), fixture.text);
        prop_assert_eq!(reading.complete, fixture.complete);
    }

    #[test]
    fn any_bytes_pass_unchanged(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(bytes.starts_with(&metered(&[&bytes]).0));
    }
}
