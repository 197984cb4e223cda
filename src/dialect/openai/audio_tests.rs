//! Fixtures of `audio/transcriptions`, `audio/translations` and `audio/speech`.

use super::*;

fn form(bytes: &[u8]) -> Body<'_> {
    Body {
        bytes,
        content_type: Some("multipart/form-data; boundary=\"b\""),
        model: None,
    }
}

/// A form whose `model` comes after its `file`: fields have no fixed order.
fn recording(length: usize) -> Vec<u8> {
    let sound = "x".repeat(length);
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n{sound}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nNames\r\n\
         --b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\nTrue\r\n\
         --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
         --b--\r\n"
    )
    .into_bytes()
}

#[test]
fn a_recording_is_bounded_by_its_bytes() {
    let bytes = recording(8_000);
    let call = TRANSCRIPTIONS.read(&form(&bytes), &Bounds::default());
    let call = call.unwrap();
    assert_eq!(
        (call.model.as_deref(), call.stream),
        (Some("whisper-1"), true)
    );
    assert_eq!(call.prompt, Tokens::new(1_600 * 50 + 5 + 8));
    assert_eq!(call.answer, Some(Tokens::new(1_600 * 10 + 200)));
    assert_eq!(
        call.unreported.map(|usage| usage.total()),
        Some(Tokens::new(1_600 * 50))
    );
    assert_eq!(call.sound_second, 50);
    assert_eq!(
        call,
        TRANSLATIONS
            .read(&form(&bytes), &Bounds::default())
            .unwrap()
    );
    assert!(
        TRANSCRIPTIONS
            .read(&Body::json(b"{}"), &Bounds::default())
            .is_err()
    );
}

#[test]
fn only_the_model_of_a_recording_is_changed() {
    let bytes = recording(10);
    let changes = Changes {
        model: Some("other"),
        limit: None,
        ..Changes::default()
    };
    let out = TRANSCRIPTIONS.rewrite(&form(&bytes), &changes).unwrap();
    let expected = String::from_utf8(bytes.clone())
        .unwrap()
        .replace("whisper-1", "other");
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let out = TRANSLATIONS.rewrite(&form(&bytes), &Changes::default());
    assert_eq!(out.unwrap(), bytes);
}

#[test]
fn a_transcript_is_read_in_every_format() {
    let call = Call {
        sound_second: 50,
        ..Call::default()
    };
    for (answer, tokens, text) in [
        (
            r#"{"text":"Hi","usage":{"type":"tokens","input_tokens":14,"output_tokens":4,"total_tokens":18}}"#,
            Some(18),
            "Hi",
        ),
        (
            r#"{"text":"Hi","duration":99,"usage":{"type":"duration","seconds":2.5}}"#,
            Some(150),
            "Hi",
        ),
        (r#"{"text":"Hi","duration":"8.47"}"#, Some(450), "Hi"),
        (r#"{"text":"Hi","duration":"long"}"#, None, "Hi"),
        (r#"{"text":"Hi"}"#, None, "Hi"),
        (
            "1\n00:00:00,000 --> 00:00:01,000\nHi\n",
            None,
            "1\n00:00:00,000 --> 00:00:01,000\nHi\n",
        ),
        ("42", None, "42"),
        ("[]", None, "[]"),
    ] {
        for dialect in [&TRANSCRIPTIONS as &dyn Dialect, &TRANSLATIONS] {
            let reading = dialect.meter(&call, answer.as_bytes());
            assert_eq!(
                reading.usage().map(|u| u.total().count()),
                tokens,
                "{answer}"
            );
            assert_eq!(reading.delivered.kept, text);
            assert!(reading.complete);
        }
    }
}

#[test]
fn usage_in_a_transcript_without_a_place_for_it_is_the_speakers_text() {
    for (format, is_text) in [
        ("text", true),
        ("srt", true),
        ("vtt", true),
        ("Text", true),
        ("other", true),
        ("json", false),
        ("verbose_json", false),
        ("diarized_json", false),
        ("", false),
    ] {
        let form = String::from_utf8(recording(8_000)).unwrap();
        let field = format!(
            "--b\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\n{format}\r\n--b--"
        );
        let bytes = form.replace("--b--", &field).into_bytes();
        let call = TRANSCRIPTIONS.read(&self::form(&bytes), &Bounds::default());
        let call = call.unwrap();
        assert_eq!(call.answers_in_text, is_text, "{format}");
        let answer = br#"{"text":"Hi","usage":{"type":"duration","seconds":0.1}}"#;
        let reading = TRANSCRIPTIONS.meter(&call, answer);
        assert_eq!(reading.claim.is_empty(), is_text, "{format}");
        assert!(reading.complete && !reading.delivered.kept.is_empty());
    }
}

#[test]
fn speech_is_bounded_by_its_text() {
    let body = Body::json(
        r#"{"model":"tts","input":"Hé\u00e9","voice":"alloy","instructions":"Slowly","stream_format":"sse"}"#
            .as_bytes(),
    );
    let call = Speech.read(&body, &Bounds::default()).unwrap();
    assert_eq!((call.model.as_deref(), call.stream), (Some("tts"), true));
    assert_eq!(call.answer, Some(Tokens::new(5 * 20)));
    assert_eq!(
        call.unreported.map(|usage| usage.total()),
        Some(Tokens::new(3 + 2))
    );
    // `input` (11 bytes) and `instructions` (8) as written, with quotes and escapes, and 8 framing tokens.
    assert_eq!(call.prompt, Tokens::new(11 + 8 + 8));
    let out = Speech.rewrite(&body, &Changes::default()).unwrap();
    assert_eq!(out, body.bytes);
    let odd = Speech.read(&Body::json(br#"{"input":["a"]}"#), &Bounds::default());
    assert!(odd.is_err());
}

#[test]
fn sound_bytes_are_not_parsed_as_usage() {
    let reading = Speech.meter(&Call::default(), b"{\"usage\":{\"input_tokens\":5}}");
    let expected = Reading {
        complete: true,
        is_final: true,
        ..Reading::default()
    };
    assert_eq!(reading, expected);
}
