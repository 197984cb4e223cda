//! Fixtures and properties of transcripts, as JSON, as text and as streams.

use super::*;
use crate::dialect::openai::audio::TRANSCRIPTIONS;
use crate::dialect::replay::tests::{
    any_text, assemble, comes_back, events, is_metered_alike, judge, maybe, members,
};
use proptest::prelude::*;

#[test]
fn transcripts_as_json_or_as_plain_text_are_whole() {
    for (answer, verdict) in [
        (r#"{"text":"a"}"#, Verdict::Whole),
        (
            r#"{"text":"a","segments":[],"duration":1.5}"#,
            Verdict::Whole,
        ),
        ("WEBVTT\n\n00:00.000 --> 00:01.000\nHello", Verdict::Whole),
        ("Hello.\n", Verdict::Whole),
        (r#"{"text":null}"#, Verdict::Unfit),
        (r#"{"error":{"message":"no"}}"#, Verdict::Unfit),
        (r#"{"text":"a""#, Verdict::Unfit),
        ("<html>", Verdict::Unfit),
        (" \n", Verdict::Unfit),
        ("", Verdict::Unfit),
    ] {
        assert_eq!(
            TranscriptAnswers.judge(answer.as_bytes()),
            verdict,
            "{answer}"
        );
    }
    assert_eq!(TranscriptAnswers.judge(b"\xFF"), Verdict::Unfit);
}

#[test]
fn a_stream_gives_its_last_text_and_usage() {
    let done = r#"data: {"type":"transcript.text.done","text":"I see","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"total_tokens":59}}"#;
    let deltas = "event: transcript.text.delta\r\ndata: {\"type\":\"transcript.text.delta\",\"delta\":\"I\",\"logprobs\":[]}\r\n\r\ndata: {\"type\":\"transcript.text.delta\",\"delta\":\" see\",\"obfuscation\":\"xx\"}\n\n";
    let answer = json!({"text": "I see", "usage": {"type": "tokens", "input_tokens": 14,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 14}, "output_tokens": 45, "total_tokens": 59}});
    for stream in [
        format!("{deltas}{done}\n\n"),
        format!("{done}\n\n"),
        format!("{deltas}{done}\n\ndata: [DONE]\n\n"),
    ] {
        assert_eq!(assemble(&TRANSCRIPTIONS, &stream).as_ref(), Some(&answer));
        is_metered_alike(&TRANSCRIPTIONS, &answer, &stream);
    }
    for bad in [
        deltas.to_owned(),
        format!("{deltas}{deltas}{done}\n\n"),
        format!("{done}\n\n{done}\n\n"),
        format!("{done}\n\n{deltas}"),
        format!("data: {{\"type\":\"transcript.text.segment\",\"text\":\"I\"}}\n\n{done}\n\n"),
        format!("data: {{\"choices\":[]}}\n\n{done}\n\n"),
        done.replace("\"usage\"", "\"segments\""),
    ] {
        assert_eq!(assemble(&TRANSCRIPTIONS, &bad), None, "{bad}");
    }
}

#[test]
fn a_transcript_is_one_delta_and_its_end() {
    let answer = json!({"text": "Hi", "usage": {"type": "duration", "seconds": 2}});
    let expected = [
        json!({"type": "transcript.text.delta", "delta": "Hi"}),
        json!({"type": "transcript.text.done", "text": "Hi", "usage": {"type": "duration", "seconds": 2}}),
    ];
    assert_eq!(events(&TRANSCRIPTIONS, &answer, false), expected);
    for bad in [
        "Hi",
        "",
        r#"{"text":1}"#,
        r#"{"text":"a","segments":[]}"#,
        r#"{"text":"a","words":[{"word":"a"}]}"#,
    ] {
        assert_eq!(
            TranscriptAnswers.stream(bad.as_bytes(), true),
            None,
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn transcripts_come_back_from_their_streams(
        text in any_text(),
        usage in maybe((1u64..99, 0u64..99).prop_map(|(input, output)| {
            json!({"type": "tokens", "input_tokens": input, "output_tokens": output, "total_tokens": input + output})
        })),
        logprobs in maybe(Just(json!([{"token": "a", "logprob": -0.25, "bytes": [97]}]))),
    ) {
        let answer = members([("text", Some(text.into())), ("logprobs", logprobs), ("usage", usage)]);
        comes_back(&TRANSCRIPTIONS, &answer);
        prop_assert_eq!(judge(&TRANSCRIPTIONS, &answer), Verdict::Whole);
    }
}
