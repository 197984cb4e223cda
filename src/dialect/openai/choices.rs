//! Reads and meters responses made of `choices`: those of `chat/completions` and of `completions`.
//!
//! The gateway asks every stream for its usage (`stream_options.include_usage`). A client that did not ask
//! for it does not get it; everything else is relayed byte for byte.

use super::{said, usage};
use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::{Call, Reading, Unreadable};
use crate::dialect::ends::Ends;
use crate::dialect::failure;
use crate::dialect::object::{Edit, Object};
use crate::dialect::stream::{Event, EventStream, Events};
use crate::dialect::unknown_members::UnknownMembers;
use crate::json::{self, Value};
use serde_json::value::RawValue;
use std::ops::Range;

/// Whether the client itself set `stream_options.include_usage`.
pub fn wants_usage(body: &Object<'_>) -> Result<bool, Unreadable> {
    match body.value("stream_options") {
        Some(options) => stream_options(options)?.flag("include_usage"),
        None => Ok(false),
    }
}

/// Sets `stream_options.include_usage` and leaves the other options as they came.
pub(crate) fn ask_for_usage(body: &Object<'_>, edit: &mut Edit<'_>) -> Result<(), Unreadable> {
    let asked = match body.value("stream_options") {
        None => "{\"include_usage\":true}".to_owned(),
        Some(value) => {
            let options = stream_options(value)?;
            let mut edit = Edit::new(&options);
            edit.set("include_usage", "true");
            String::from_utf8_lossy(&edit.apply()).into_owned()
        }
    };
    edit.set("stream_options", &asked);
    Ok(())
}

/// Records the unknown members of `stream_options` in `unknown_members`.
pub(crate) fn record_unknown_stream_options(
    body: &Object<'_>,
    unknown_members: &mut UnknownMembers,
) -> Result<(), Unreadable> {
    if let Some(options) = body.value("stream_options") {
        let known = &["include_usage", "include_obfuscation"];
        Object::read(options.get(), "stream_options", known, |name, value| {
            unknown_members.record_unless_null("stream_options", name, value);
        })?;
    }
    Ok(())
}

fn stream_options(value: &RawValue) -> Result<Object<'_>, Unreadable> {
    Object::read(value.get(), "stream_options", &["include_usage"], |_, _| {})
}

/// Members of a response beside `choices` that hold no generated text.
const FRAME: &[&str] = &[
    "id",
    "object",
    "created",
    "model",
    "provider",
    "service_tier",
    "system_fingerprint",
    "obfuscation",
    "timings",
    "prompt_logprobs",
    "prompt_token_ids",
    "prompt_filter_results",
    "kv_transfer_params",
];

/// Summary of one response or chunk, to decide what of it is relayed.
#[derive(Default)]
struct Seen {
    choices: usize,
    usage: Reported,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Reported {
    #[default]
    Nothing,
    Null,
    Counts,
}

/// Reads a whole response or one stream chunk into `reading`, and which answers have ended into `ends`. `None`: it is not a complete JSON object.
fn take(answer: &[u8], reading: &mut Reading, ends: &mut Ends) -> Option<Seen> {
    let mut seen = Seen::default();
    let answer = Value::of(answer);
    let whole = answer.members(|name, value| match name {
        "choices" => choices(value, &mut seen, reading, ends),
        "usage" if value.bytes() == b"null" => seen.usage = seen.usage.max(Reported::Null),
        "usage" => {
            seen.usage = Reported::Counts;
            reading.reports(usage::read(value));
        }
        // Groq reports the `usage` of a stream in here, in its last chunk.
        "x_groq" => {
            value.members(|name, value| {
                if name == "usage" {
                    reading.reports(usage::read(value));
                }
            });
        }
        "error" if value.bytes() != b"null" => failure::reported(value.bytes(), reading),
        "model" if is_frame(FRAME, name, value.bytes()) => reading.served.take(value.bytes()),
        name if is_frame(FRAME, name, value.bytes()) => {}
        _ => unsure(value.bytes(), &mut reading.delivered),
    });
    (whole && answer.is_all()).then_some(seen)
}

fn choices(list: &Value<'_>, seen: &mut Seen, reading: &mut Reading, ends: &mut Ends) {
    let listed = list.elements(|choice| {
        seen.choices += 1;
        let told = said::choice(choice, &mut reading.delivered);
        reading.reports(told.claim);
        ends.see(told.place, told.has_ended);
    });
    let list = list.bytes();
    if !listed && list != b"null" {
        reading.delivered.unreadable(list);
    }
}

/// Meters a whole response. Bytes that are not a complete JSON object count as text.
pub fn meter(answer: &[u8]) -> Reading {
    let mut reading = Reading::default();
    if take(answer, &mut reading, &mut Ends::default()).is_some() {
        reading.complete = true;
    } else {
        reading.delivered = Default::default();
        reading.delivered.malformed(answer);
    }
    reading
}

/// Meters a stream while it is relayed, and removes the usage that the client did not ask for.
pub(crate) type StreamMeter = EventStream<Chunks>;

/// Reader of stream chunks, for [`EventStream`].
#[derive(Debug, Default)]
pub struct Chunks {
    wants_usage: bool,
    /// Number of choices that were asked for.
    answers: u64,
    ends: Ends,
}

impl StreamMeter {
    pub fn new(call: &Call) -> StreamMeter {
        EventStream::of(Chunks {
            wants_usage: call.wants_usage,
            answers: call.answers,
            ends: Ends::default(),
        })
    }
}

impl Events for Chunks {
    fn pass(&mut self, event: &Event<'_>, reading: &mut Reading, out: &mut Vec<u8>) {
        if event.data.trim_ascii() == b"[DONE]" {
            reading.complete = true;
            out.extend_from_slice(event.bytes);
            return;
        }
        let before = reading.delivered.mark();
        let Some(seen) = take(&event.data, reading, &mut self.ends) else {
            reading.delivered.reset(before);
            reading.delivered.malformed(&event.data);
            out.extend_from_slice(event.bytes);
            return;
        };
        reading.complete |= reading.failed;
        // `usage` without choices is that of the last chunk; beside choices it is a running count.
        reading.is_final = seen.choices == 0 && seen.usage == Reported::Counts;
        if self.wants_usage || seen.usage == Reported::Nothing {
            out.extend_from_slice(event.bytes);
        } else if reading.is_final {
            // The gateway asked for this chunk, not the client, whose code may index into its empty
            // `choices`: drop it.
        } else if let Some(range) = null_usage(event.bytes) {
            out.extend_from_slice(&event.bytes[..range.start]);
            out.extend_from_slice(&event.bytes[range.end..]);
        } else {
            out.extend_from_slice(event.bytes);
        }
    }

    /// Some servers send no `[DONE]`. One that has said all but the usage may have broken off before it.
    fn end(&mut self, reading: &mut Reading) {
        reading.complete |= self.ends.are_all(self.answers) && reading.claim.output.is_some();
    }
}

/// Returns the range of `"usage":null` and its comma in an event of one `data` line.
fn null_usage(event: &[u8]) -> Option<Range<usize>> {
    let text = std::str::from_utf8(event).ok()?;
    let start = text.find('{')?;
    let (members, _) = json::members(&text[start..])?;
    let at = members.iter().position(|member| member.name == "usage")?;
    let member = &members[at];
    if &text[start..][member.value.clone()] != "null" {
        return None;
    }
    let range = match at.checked_sub(1) {
        Some(before) => members[before].whole.end..member.whole.end,
        None => {
            member.whole.start
                ..members
                    .get(1)
                    .map_or(member.whole.end, |next| next.whole.start)
        }
    };
    Some(start + range.start..start + range.end)
}
