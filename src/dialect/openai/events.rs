//! Meters streams of typed events: images, speech, transcripts. Each event is relayed byte for byte; the last
//! one ends the stream and reports its `usage`.

use super::{said, sound};
use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::Reading;
use crate::dialect::failure;
use crate::dialect::stream::{Event, EventStream, Events};
use crate::json::{self, Value};

/// Types of the events that end a stream.
const FINAL_EVENTS: &[&str] = &[
    "image_generation.completed",
    "image_edit.completed",
    "speech.audio.done",
    "transcript.text.done",
];

/// Members of an event that are known and hold no generated text.
const FRAME: &[&str] = &[
    "type",
    "sequence_number",
    "item_id",
    "output_index",
    "content_index",
    "partial_image_index",
    "created_at",
    "size",
    "quality",
    "background",
    "output_format",
    "logprobs",
    "obfuscation",
    "id",
    "object",
    "created",
    "model",
    "segment_id",
];

pub(crate) type EventMeter = EventStream<TypedEvents>;

/// Reader of typed events, for [`EventStream`].
#[derive(Debug, Default)]
pub(crate) struct TypedEvents {
    /// Tokens of a second of sound, for a `usage` in seconds.
    sound_second: u64,
}

impl EventMeter {
    pub fn new(sound_second: u64) -> EventMeter {
        EventStream::of(TypedEvents { sound_second })
    }
}

impl Events for TypedEvents {
    fn pass(&mut self, event: &Event<'_>, reading: &mut Reading, out: &mut Vec<u8>) {
        out.extend_from_slice(event.bytes);
        // Servers that stream a transcript as `choices` end it with `[DONE]`.
        if event.data.trim_ascii() == b"[DONE]" {
            reading.complete = true;
        } else {
            self.take(event, reading);
        }
    }
}

impl TypedEvents {
    fn take(&self, event: &Event<'_>, reading: &mut Reading) {
        let data = &event.data;
        let (kind, _) = event.kind();
        // These events repeat the text of the deltas: whole, or in segments.
        let is_repeated = kind == "transcript.text.segment"
            || (kind == "transcript.text.done" && reading.delivered.bytes > 0);
        let whole = json::each_member(data, |name, value| match name {
            "usage" => reading.reports(sound::usage(value, self.sound_second)),
            "error" if value != b"null" => failure::reported(value, reading),
            "choices" => {
                Value::of(value).elements(|choice| {
                    let claim = said::choice(choice, &mut reading.delivered).claim;
                    reading.reports(claim);
                });
            }
            "delta" | "text" if !is_repeated => said::text(value, &mut reading.delivered),
            "delta" | "text" => {}
            "audio" => reading.delivered.base64_sound(&json::text(value)),
            // An image before the last event is a preview of the final one.
            "b64_json" | "url" if FINAL_EVENTS.contains(&kind.as_str()) => {
                reading.delivered.images += 1;
            }
            "b64_json" | "url" => {}
            "model" if is_frame(FRAME, name, value) => reading.served.take(value),
            name if is_frame(FRAME, name, value) => {}
            _ => unsure(value, &mut reading.delivered),
        });
        if !whole {
            reading.delivered.malformed(data);
        }
        if kind == "transcript.text.done" {
            sound::raise(reading, self.sound_second);
        }
        reading.failed |= kind == "error";
        reading.complete |= reading.failed || FINAL_EVENTS.contains(&kind.as_str());
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
