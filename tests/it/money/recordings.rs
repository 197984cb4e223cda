//! Transcripts of every format are charged: by the tokens or seconds that the provider reports, or else by the
//! length of the recording itself.

use crate::harness::{
    Gateway, Provider, Response, Script, Setup, balance, eventually, mint, sample,
};
use serde_json::{Value, json};
use std::time::Duration;

const GRANT: u64 = 100_000_000;
/// Tokens of a second of sound.
const SECOND: u64 = 50;
/// Share of the first price that the answer from the cache costs.
const FEE_PERCENT: u64 = 20;

macro_rules! sound {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sounds/", $name)).as_slice(),
        )
    };
}

const TALK: (&str, &[u8]) = sound!("talk.mp3");

/// Provider that answers with the response whose kind the form's `prompt` names.
fn provider() -> Provider {
    Provider::start(|request| {
        let form = request.text();
        let text = "Good day to all of you.";
        let usage =
            json!({"type": "tokens", "input_tokens": 31, "output_tokens": 9, "total_tokens": 40});
        let seconds = |seconds: f64| json!({"type": "duration", "seconds": seconds});
        let segment = json!({"type": "transcript.text.segment", "id": "seg_0", "start": 0.0, "end": 2.9,
            "text": text, "speaker": "A"});
        let plain = |body: &str| {
            Script::new()
                .head(200, &[("content-type", "text/plain")])
                .bytes(body.to_owned())
        };
        let events = |segment: Option<&Value>, usage: Option<&Value>| {
            let mut done = json!({"type": "transcript.text.done", "text": text});
            if let Some(usage) = usage {
                done["usage"] = usage.clone();
            }
            let deltas = ["Good day", " to all", " of you."];
            let deltas =
                deltas.map(|delta| json!({"type": "transcript.text.delta", "delta": delta}));
            let events = deltas.iter().chain(segment).chain([&done]);
            let body: String = events.map(|event| format!("data: {event}\n\n")).collect();
            Script::new()
                .head(200, &[("content-type", "text/event-stream")])
                .bytes(body)
        };
        let kind = form
            .split("\r\n\r\nkind-")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next());
        match kind.unwrap() {
            "tokens" => Script::json(200, &json!({"text": text, "usage": usage})),
            "seconds" => Script::json(200, &json!({"text": text, "usage": seconds(7.2)})),
            "silent" => Script::json(200, &json!({"text": text})),
            "verbose" => Script::json(
                200,
                &json!({"task": "transcribe", "duration": 5.5, "language": "en",
                "text": text, "segments": [{"id": 0, "start": 0.0, "end": 5.5, "text": text, "tokens": [1, 2]}]}),
            ),
            "diarized" => Script::json(
                200,
                &json!({"task": "transcribe", "duration": 3.0, "text": text,
                "segments": [segment], "usage": usage}),
            ),
            "diarized-seconds" => Script::json(
                200,
                &json!({"task": "transcribe", "duration": 99.0, "text": text,
                "segments": [segment], "usage": seconds(3.0)}),
            ),
            "events" => events(None, Some(&usage)),
            "segment-events" => events(Some(&segment), Some(&usage)),
            "silent-events" => events(None, None),
            "text" => plain(&format!("{text}\n")),
            "srt" => plain(&format!("1\n00:00:00,000 --> 00:00:02,900\n{text}\n\n")),
            "vtt" => plain(&format!("WEBVTT\n\n00:00.000 --> 00:02.900\n{text}\n\n")),
            "low-seconds" => Script::json(
                200,
                &json!({"text": "word ".repeat(2_000), "usage": seconds(1.0)}),
            ),
            "low-tokens" => Script::json(
                200,
                &json!({"text": "word ".repeat(2_000),
                "usage": {"type": "tokens", "input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}),
            ),
            "lies" => plain(r#"{"text":"Hi","usage":{"type":"duration","seconds":0.1}}"#),
            other => panic!("{other}"),
        }
    })
}

fn ask(gateway: &Gateway, key: &str, kind: &str, format: &str, file: (&str, &[u8])) -> Response {
    let field = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let (name, sound) = file;
    let mut form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
    )
    .into_bytes();
    form.extend(sound);
    form.extend(b"\r\n");
    let streams = if kind.ends_with("events") {
        "true"
    } else {
        "false"
    };
    let fields = [
        field("model", "gpt-4o-transcribe"),
        field("prompt", &format!("kind-{kind}")),
        field("response_format", format),
        field("stream", streams),
    ];
    form.extend(fields.concat().bytes());
    form.extend(b"--b--\r\n");
    let request = gateway
        .client()
        .request("POST", "/abc/v1/audio/transcriptions");
    let request = request
        .bearer(key)
        .header("content-type", "multipart/form-data; boundary=b");
    let answer = request.body(form).send();
    assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    answer
}

/// Waits until a call is settled, and returns its cost.
fn cost(gateway: &Gateway, key: &str, before: u64) -> u64 {
    eventually(Duration::from_secs(10), "the call is settled", || {
        let (left, free) = balance(gateway, key);
        (left == free && left < before).then_some(before - left)
    })
}

fn start(provider: &Provider) -> (Gateway, String) {
    let config = sample(provider)
        .server("openai", "openai")
        .tokens(GRANT)
        .caching(FEE_PERCENT);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    (gateway, key)
}

#[test]
fn a_transcript_of_any_format_is_charged_and_kept() {
    let provider = provider();
    let (gateway, key) = start(&provider);
    let mut left = GRANT;
    let length = 4 * SECOND;
    for (kind, format, expected) in [
        ("tokens", "json", 40),
        ("seconds", "json", 8 * SECOND),
        ("silent", "json", length),
        ("verbose", "verbose_json", 6 * SECOND),
        ("diarized", "diarized_json", 40),
        ("diarized-seconds", "diarized_json", 3 * SECOND),
        ("events", "json", 40),
        ("silent-events", "json", length),
        ("text", "text", length),
        ("srt", "srt", length),
        ("vtt", "vtt", length),
        ("lies", "text", length),
    ] {
        let first = ask(&gateway, &key, kind, format, TALK);
        let price = cost(&gateway, &key, left);
        assert_eq!(price, expected, "{kind}");
        left -= price;
        let again = eventually(Duration::from_secs(10), "the transcript is kept", || {
            let answer = ask(&gateway, &key, kind, format, TALK);
            let paid = cost(&gateway, &key, left);
            left -= paid;
            let is_hit = answer.header("x-resullm-cache") == Some("hit");
            is_hit.then_some((answer, paid))
        });
        let (answer, fee) = again;
        assert_eq!(fee, (price * FEE_PERCENT).div_ceil(100), "{kind}");
        let kind_of = |answer: &Response| {
            let kind = answer.header("content-type").expect("a type");
            kind.split(';').next().map(str::to_owned)
        };
        assert_eq!(kind_of(&answer), kind_of(&first), "{kind}");
        if kind != "events" && kind != "silent-events" {
            assert_eq!(answer.body, first.body, "{kind}");
        }
    }
}

#[test]
fn a_transcript_without_usage_is_charged_by_the_length_of_its_recording() {
    let provider = provider();
    let (gateway, key) = start(&provider);
    let mut left = GRANT;
    for (file, seconds) in [
        (sound!("talk.wav"), 1),
        (sound!("talk.mp3"), 4),
        (sound!("talk.m4a"), 4),
        (sound!("talk.ogg"), 3),
        (sound!("talk.opus"), 4),
        (sound!("talk.flac"), 1),
        (sound!("talk_live.webm"), 4),
        (sound!("quiet.flac"), 30),
        (sound!("quiet.m4a"), 31),
        (sound!("quiet.webm"), 31),
        // No container: as long as the tightest codec would make it.
        (("odd.bin", [7; 5_001].as_slice()), 1_001),
    ] {
        ask(&gateway, &key, "text", "text", file);
        let price = cost(&gateway, &key, left);
        assert_eq!(price, seconds * SECOND, "{}", file.0);
        left -= price;
    }
}

#[test]
fn a_transcript_costs_no_less_than_its_text_proves() {
    let provider = provider();
    let (gateway, key) = start(&provider);
    let mut left = GRANT;
    for kind in ["low-seconds", "low-tokens"] {
        ask(&gateway, &key, kind, "json", TALK);
        let price = cost(&gateway, &key, left);
        assert!(price >= 1_000, "{kind}: {price}");
        left -= price;
    }
}
