//! Meters a response of `responses`, whole or as a stream of output items.
//!
//! The same text comes up to three times: in deltas, in the finished item, and in the response that ends the
//! stream. It must count only once, by the longest copy.

use super::{said, usage};
use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::{Delivered, HostedCalls, Reading};
use crate::dialect::failure;
use crate::dialect::stream::{Event, EventStream, Events};
use crate::json::{self, Value};

/// Members of an output item that hold generated text.
const TEXT: &[&str] = &[
    "content",
    "name",
    "arguments",
    "input",
    "action",
    "operation",
    "code",
];

/// Members of an output item that hold no generated text. `summary` is in neither list and so counts in the
/// upper bound alone: another model writes it, about reasoning that is billed but not shown.
const ITEM_FRAME: &[&str] = &[
    "type",
    "id",
    "call_id",
    "role",
    "status",
    "namespace",
    "encrypted_content",
    "created_by",
    "agent",
    "phase",
    "container_id",
    "environment",
];

/// Types of the events that repeat the text of others, or report progress.
const REPEATING_EVENTS: &[&str] = &[
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.done",
    "response.output_text.annotation.added",
    "response.refusal.done",
    "response.reasoning_text.done",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done",
    "response.reasoning_summary_text.done",
    "response.function_call_arguments.done",
    "response.custom_tool_call_input.done",
    "response.audio.done",
    "response.output_audio.done",
    "keepalive",
];

/// Types of the events that end a stream.
const FINAL_EVENTS: &[&str] = &[
    "response.completed",
    "response.incomplete",
    "response.cancelled",
    "response.failed",
    "error",
];

/// Counts one output item into `delivered`.
fn item(item: &[u8], delivered: &mut Delivered) {
    delivered.frame();
    let mut is_image = false;
    let whole = json::each_member(item, |name, value| match name {
        "type" => {
            let kind = json::text(value);
            is_image = kind == "image_generation_call";
            delivered.hosted.add(&kind);
        }
        name if TEXT.contains(&name) => said::text(value, delivered),
        name if is_frame(ITEM_FRAME, name, value) => {}
        "result" => delivered.images += u64::from(value.len() > 2),
        _ => unsure(value, delivered),
    });
    if !whole {
        said::text(item, delivered);
    }
    delivered.images += u64::from(is_image && delivered.images == 0);
}

/// Reads a `response` object, finished or not. `None`: it is not a complete JSON object.
fn response(response: &[u8], reading: &mut Reading) -> Option<Response> {
    let mut seen = Response::default();
    let whole = json::each_member(response, |name, value| match name {
        "status" => seen.status = json::text(value).into_owned(),
        "model" => reading.served.take(value),
        "usage" => reading.reports(usage::read(&Value::of(value))),
        "error" if value != b"null" => {
            seen.has_error = true;
            failure::count_generated(value, &mut seen.output);
        }
        "output" if json::each_element(value, |value| item(value, &mut seen.output)) => {}
        "output" => said::text(value, &mut seen.output),
        _ => {}
    });
    whole.then_some(seen)
}

/// Status and output of a `response` object.
#[derive(Default)]
struct Response {
    status: String,
    has_error: bool,
    output: Delivered,
}

/// Meters a whole response. Bytes that are not a complete JSON object count as text.
pub fn meter(answer: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let Some(seen) = response(answer, &mut reading) else {
        reading.delivered.malformed(answer);
        return reading;
    };
    let statuses = ["completed", "incomplete", "failed", "cancelled"];
    reading.complete = statuses.contains(&seen.status.as_str());
    reading.failed = seen.status == "failed" || (seen.has_error && !reading.complete);
    reading.delivered = seen.output;
    reading
}

pub(crate) type StreamMeter = EventStream<Items>;

/// Reader of the events of a `responses` stream, for [`EventStream`].
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// Bytes of text that came in deltas, and not yet in a finished item.
    in_deltas: u64,
}

impl Events for Items {
    fn pass(&mut self, event: &Event<'_>, reading: &mut Reading, out: &mut Vec<u8>) {
        out.extend_from_slice(event.bytes);
        if event.data.trim_ascii() == b"[DONE]" {
            reading.complete = true;
            return;
        }
        let (kind, whole) = event.kind();
        if !whole {
            reading.delivered.malformed(&event.data);
            return;
        }
        json::each_member(&event.data, |name, value| {
            self.member(&kind, name, value, reading);
        });
        reading.failed |= matches!(kind.as_str(), "error" | "response.failed");
        reading.complete |= reading.failed || FINAL_EVENTS.contains(&kind.as_str());
    }
}

impl Items {
    fn member(&mut self, kind: &str, name: &str, value: &[u8], reading: &mut Reading) {
        match name {
            "usage" => reading.reports(usage::read(&Value::of(value))),
            "error" if value != b"null" => failure::reported(value, reading),
            "response" => {
                let seen = response(value, reading).unwrap_or_default();
                if FINAL_EVENTS.contains(&kind) {
                    self.whole(seen.output, reading.delivered.bytes, reading);
                }
            }
            "item" if kind == "response.output_item.done" => {
                let mut output = Delivered::default();
                item(value, &mut output);
                output.hosted = reading.delivered.hosted.plus(output.hosted);
                let before = self.in_deltas;
                self.in_deltas = before.saturating_sub(output.bytes);
                self.whole(output, before, reading);
            }
            "delta" => self.delta(kind, value, reading),
            // Some servers send at once what others send in deltas.
            "item" if kind == "response.output_item.added" => {
                let mut output = Delivered::default();
                item(value, &mut output);
                self.at_once(output, reading);
            }
            "text" | "refusal" | "arguments" | "input"
                if kind.ends_with(".done") && !kind.contains("summary") =>
            {
                let mut output = Delivered::default();
                said::text(value, &mut output);
                self.at_once(output, reading);
            }
            "partial_image_b64" => {}
            _ if REPEATING_EVENTS.contains(&kind) || FINAL_EVENTS.contains(&kind) => {}
            "type" | "sequence_number" | "item_id" | "output_index" | "content_index"
            | "summary_index" | "logprobs" | "obfuscation" | "stream_id" => {}
            _ => unsure(value, &mut reading.delivered),
        }
    }

    fn delta(&mut self, kind: &str, value: &[u8], reading: &mut Reading) {
        let delivered = &mut reading.delivered;
        match kind {
            "response.audio.delta" | "response.output_audio.delta" => {
                delivered.base64_sound(&json::text(value));
            }
            // A tool's output, which no model generated.
            "response.shell_call_output_content.delta" => {}
            // A summary or a transcript repeats what was generated, so it counts in the upper bound alone.
            _ if kind.contains("summary") || kind.contains("transcript") => {
                unsure(value, delivered);
            }
            // The delta types are an open set: an unknown one counts as text.
            _ => {
                let before = delivered.bytes;
                said::text(value, delivered);
                self.in_deltas += delivered.bytes - before;
            }
        }
    }

    /// Counts text that came whole, beyond what came in deltas before.
    fn at_once(&mut self, mut output: Delivered, reading: &mut Reading) {
        output.frames = 0;
        output.images = 0;
        output.hosted = HostedCalls::default();
        let before = reading.delivered.bytes;
        self.whole(output, self.in_deltas, reading);
        self.in_deltas += reading.delivered.bytes - before;
    }

    /// Counts a whole item or response, beyond the `counted` bytes of text that its deltas brought.
    fn whole(&mut self, output: Delivered, counted: u64, reading: &mut Reading) {
        let delivered = &mut reading.delivered;
        delivered.images = delivered.images.max(output.images);
        delivered.hosted = delivered.hosted.max(output.hosted);
        delivered.frames = delivered.frames.max(output.frames) + u64::from(output.frames == 1);
        let counted = usize::try_from(counted).unwrap_or(usize::MAX);
        if output.kept.len() > counted {
            let at = output.kept.floor_char_boundary(counted);
            delivered.text(&output.kept[at..]);
        }
        delivered.unsure = delivered.unsure.max(output.unsure);
    }
}

#[cfg(test)]
#[path = "items_tests.rs"]
mod tests;
