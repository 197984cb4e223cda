//! Calls and answers in the providers' wire formats.

use super::cut;
use resullm::dialect::call::{Body, Bounds, Call, Changes, Limit, Reading};
use resullm::dialect::openai::multipart::Form;
use resullm::dialect::sse::Splitter;
use resullm::dialect::{Dialect, table};
use serde_json::Value;

const CALLS: &[&[&str]] = &[
    &["chat", "completions"],
    &["responses"],
    &["completions"],
    &["embeddings"],
    &["moderations"],
    &["images", "generations"],
    &["images", "edits"],
    &["images", "variations"],
    &["audio", "transcriptions"],
    &["audio", "translations"],
    &["audio", "speech"],
    &["messages"],
    &["messages", "count_tokens"],
];

fn dialects() -> impl Iterator<Item = &'static dyn Dialect> {
    CALLS
        .iter()
        .map(|words| table::find(words).expect("a served call"))
}

/// SSE events: independent of read boundaries, and every byte is in one event.
pub fn sse(bytes: &[u8]) {
    let (pieces, whole) = cut(bytes);
    let split = |pieces: &[&[u8]]| {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |event| events.push(event.to_vec()));
        }
        splitter.finish(|event| events.push(event.to_vec()));
        events
    };
    let events = split(&[whole]);
    assert_eq!(events.concat(), whole);
    assert_eq!(events, split(&pieces));
}

/// Meters: forwarded bytes and charge are independent of read boundaries.
pub fn meters(bytes: &[u8]) {
    let (pieces, whole) = cut(bytes);
    for dialect in dialects() {
        for wants_usage in [false, true] {
            let call = Call {
                stream: true,
                wants_usage,
                answers: 1,
                sound_second: 50,
                ..Call::default()
            };
            let metered = |pieces: &[&[u8]]| -> (Vec<u8>, Reading) {
                let mut meter = dialect.stream(&call);
                let mut out = Vec::new();
                for piece in pieces {
                    out.extend(meter.feed(piece));
                }
                out.extend(meter.finish());
                (out, meter.reading().clone())
            };
            let one = metered(&[whole]);
            assert_eq!(one, metered(&pieces), "{}", dialect.path());
            assert!(one.0.len() <= whole.len(), "{}", dialect.path());
            if wants_usage {
                // Nothing passes after the end of an answer.
                assert!(whole.starts_with(&one.0), "{}", dialect.path());
            }
            let plain = resullm::dialect::meter(dialect, &call, whole);
            assert!(plain.delivered.kept.len() as u64 <= plain.delivered.bytes);
        }
    }
}

/// JSON bodies: a rewrite changes the requested members only.
pub fn calls(bytes: &[u8]) {
    let Some((always, body)) = bytes.split_first() else {
        return;
    };
    let body = Body::json(body);
    for dialect in dialects().filter(|dialect| !dialect.is_form()) {
        let path = dialect.path();
        let Ok(call) = dialect.read(&body, &Bounds::default()) else {
            continue;
        };
        let limit = Limit {
            tokens: 7,
            name: "max_tokens",
            always: always % 2 == 1,
        };
        let changes = Changes {
            model: Some("m\"\n"),
            limit: call.answer.is_none().then_some(limit),
            ..Changes::default()
        };
        let written = dialect.rewrite(&body, &changes).expect("what was read");
        // Some calls have their model in the path.
        let again = Body {
            model: changes.model,
            ..Body::json(&written)
        };
        let again = dialect
            .read(&again, &Bounds::default())
            .expect("what was written");
        assert_eq!(again.model.as_deref(), Some("m\"\n"), "{path}");
        assert_eq!(again.stream, call.stream, "{path}");
        assert_eq!(again.answers, call.answers, "{path}");
        if changes.limit.is_some() && !call.free {
            assert_eq!(again.limit, Some(7), "{path}");
        }
        others_stay(body.bytes, &written, path);
        let kept = dialect
            .rewrite(&body, &Changes::default())
            .expect("what was read");
        others_stay(body.bytes, &kept, path);
        if call.can_pass_unchanged {
            assert_eq!(kept, body.bytes, "{path}");
        }
        if call.extras.forced.is_empty() {
            nothing_extra_is_left(dialect, &body, &call);
        }
    }
}

/// With all extras removed, a second read of the body finds none.
fn nothing_extra_is_left(dialect: &dyn Dialect, body: &Body<'_>, call: &Call) {
    let hosted = call.extras.hosted.iter().map(|(name, _)| name.clone());
    let removed: Vec<String> = hosted
        .chain(call.extras.surcharged.iter().cloned())
        .collect();
    let changes = Changes {
        removed: &removed,
        ..Changes::default()
    };
    let written = dialect.rewrite(body, &changes).expect("what was read");
    let again = dialect
        .read(&Body::json(&written), &Bounds::default())
        .expect("what was written");
    let extras = again.extras;
    assert!(
        extras.hosted.is_empty() && extras.surcharged.is_empty(),
        "{extras:?}"
    );
}

/// Members that a rewrite may set.
const SET: &[&str] = &[
    "model",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "stream_options",
    "n_predict",
    "store",
    "generationConfig",
    "generation_config",
];

fn others_stay(before: &[u8], after: &[u8], path: &str) {
    let members = |bytes: &[u8]| {
        let mut value: Value = serde_json::from_slice(bytes).expect("JSON");
        let members = value.as_object_mut().expect("an object");
        members.retain(|name, _| !SET.contains(&name.as_str()));
        value
    };
    // Numbers beyond every parser's range are kept as text and are not comparable.
    if serde_json::from_slice::<Value>(before).is_ok() {
        assert_eq!(members(before), members(after), "{path}");
    }
}

/// Multipart forms: read unambiguously, and changed in one field only.
pub fn multipart(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (kind, bytes) = bytes.split_at(end.map_or(0, |end| end + 1));
    let Ok(kind) = std::str::from_utf8(kind.trim_ascii_end()) else {
        return;
    };
    let body = Body {
        bytes,
        content_type: Some(kind),
        model: None,
    };
    let known = &["model", "n", "stream"];
    if let Ok(form) = Form::read(&body, known, &["file"]) {
        let files: Vec<&[u8]> = form.files().collect();
        let written = form.with_model(Some("m")).expect("a plain model");
        let again = Body {
            bytes: &written,
            content_type: Some(kind),
            model: None,
        };
        let again = Form::read(&again, known, &["file"]).expect("what was written");
        assert_eq!(again.field("model"), Ok(Some("m")));
        assert_eq!(again.files().collect::<Vec<_>>(), files);
        assert_eq!(again.field("n"), form.field("n"));
        assert_eq!(form.with_model(None).expect("no change"), bytes);
    }
    for dialect in dialects().filter(|dialect| dialect.is_form()) {
        if dialect.read(&body, &Bounds::default()).is_ok() {
            let changes = Changes {
                model: Some("m"),
                ..Changes::default()
            };
            let written = dialect.rewrite(&body, &changes).expect("what was read");
            let again = Body {
                bytes: &written,
                content_type: Some(kind),
                model: None,
            };
            let again = dialect
                .read(&again, &Bounds::default())
                .expect("what was written");
            assert_eq!(again.model.as_deref(), Some("m"));
        }
    }
}
