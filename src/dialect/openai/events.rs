//! Streams of typed events: images, speech, transcripts. Each is passed on byte for byte; one of
//! them ends the stream and brings its usage.

use super::choices::{self, Choice};
use super::sound;
use crate::dialect::call::Reading;
use crate::dialect::sse;
use crate::dialect::stream::{EventStream, Events};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The events that say that all is there.
const LAST: &[&str] = &[
    "image_generation.completed",
    "image_edit.completed",
    "speech.audio.done",
    "transcript.text.done",
];

/// Members whose values matter only in some events stay unread: in others they are megabytes.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
}

pub type EventMeter = EventStream<TypedEvents>;

#[derive(Debug, Default)]
pub struct TypedEvents {
    sound_second: u64,
    reading: Reading,
}

impl EventMeter {
    pub fn new(sound_second: u64) -> EventMeter {
        EventStream::of(TypedEvents {
            sound_second,
            ..TypedEvents::default()
        })
    }
}

impl Events for TypedEvents {
    fn pass(&mut self, event: &[u8], out: &mut Vec<u8>) {
        note(event, self.sound_second, &mut self.reading);
        out.extend_from_slice(event);
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}

fn note(event: &[u8], sound_second: u64, reading: &mut Reading) {
    let data = sse::data(event).unwrap_or_default();
    // Servers that stream transcripts as choices end them so.
    if data.trim_ascii() == b"[DONE]" {
        reading.complete = true;
    }
    let text = std::str::from_utf8(&data).unwrap_or_default();
    let Ok(event) = serde_json::from_str::<Event<'_>>(text) else {
        return;
    };
    let kind = event.kind.as_deref().unwrap_or_default();
    let counted = event
        .usage
        .and_then(|raw| sound::usage(raw.get(), sound_second));
    reading.usage = counted.or(reading.usage);
    reading.complete |= event.error.is_some() || kind == "error" || LAST.contains(&kind);
    choices::collect(&event.choices.unwrap_or_default(), &mut reading.text);
    let said = match kind {
        "transcript.text.delta" => event.delta,
        // The whole transcript, of which the deltas were the parts.
        "transcript.text.done" if reading.text.bytes == 0 => event.text,
        _ => None,
    };
    if let Some(said) = said.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok()) {
        reading.text.push(&said);
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
