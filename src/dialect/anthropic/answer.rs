//! Meters answers of `messages`, whole or streamed.
//!
//! A stream reports its input at the start and its output at the end. Every byte is forwarded as received and
//! event by event, so that the gateway's own last event never lands in the middle of another.

use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::{Claim, Delivered, HostedCalls, Reading, Usage};
use crate::dialect::claim::{Count, Parts, number, numbers};
use crate::dialect::failure;
use crate::dialect::stream::{Event, EventStream, Events};
use crate::json::{self, Value};
use crate::rules::amount::Tokens;

/// Counts of one run of a model. They do not overlap, and only `input_tokens` is always reported.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    input: Count,
    cache_read: Count,
    cache_write: Count,
    /// Sum of `cache_creation`, which lists the cache writes by time to live. It equals `cache_write`.
    cache_writes: u64,
    output: Count,
    /// Calls of hosted tools, from `server_tool_use`.
    hosted: HostedCalls,
}

impl Counts {
    fn take(&mut self, name: &str, value: &[u8]) {
        match name {
            "input_tokens" => self.input.take(number(value)),
            "cache_read_input_tokens" => self.cache_read.take(number(value)),
            "cache_creation_input_tokens" => self.cache_write.take(number(value)),
            "cache_creation" => {
                let mut sum = 0u64;
                numbers(&Value::of(value), |_, tokens| {
                    sum = sum.saturating_add(tokens);
                });
                self.cache_writes = self.cache_writes.max(sum);
            }
            "output_tokens" => self.output.take(number(value)),
            "server_tool_use" => {
                let mut said = HostedCalls::default();
                numbers(&Value::of(value), |name, calls| match name {
                    "web_search_requests" => said.searches = calls,
                    "web_fetch_requests" => said.fetches = calls,
                    _ => {}
                });
                self.hosted = self.hosted.max(said);
            }
            _ => {}
        }
    }

    fn input(&self) -> Option<Usage> {
        let said = [self.input, self.cache_read, self.cache_write];
        said.iter().any(|count| count.0.is_some()).then(|| Usage {
            uncached_input: self.input.tokens(),
            cache_read: self.cache_read.credible().tokens(),
            cache_write: self
                .cache_write
                .credible()
                .tokens()
                .max(Tokens::new(self.cache_writes)),
            output: Tokens::ZERO,
        })
    }

    /// Merges two reports. Counts are totals, so a later count replaces an earlier one, unless it is 0: some
    /// servers report 0 where they do not count.
    fn over(self, earlier: Counts) -> Counts {
        let over = |later: Count, earlier: Count| {
            let said = later.0.filter(|count| *count > 0);
            Count(said.or(earlier.0).or(later.0))
        };
        Counts {
            input: over(self.input, earlier.input),
            cache_read: over(self.cache_read, earlier.cache_read),
            cache_write: over(self.cache_write, earlier.cache_write),
            cache_writes: self.cache_writes.max(earlier.cache_writes),
            output: over(self.output, earlier.output),
            hosted: self.hosted.max(earlier.hosted),
        }
    }

    fn claim(&self, parts: Parts) -> Claim {
        parts.over(Claim {
            input: self.input(),
            output: self.output.0.map(Tokens::new),
            others: Vec::new(),
        })
    }

    fn usage(&self) -> Usage {
        Usage {
            output: self.output.tokens(),
            ..self.input().unwrap_or_default()
        }
    }
}

/// Parses a `usage` object. Its totals omit compactions and turns of other models; `iterations` lists all of
/// them.
fn read(usage: &[u8]) -> (Counts, Parts) {
    let mut counts = Counts::default();
    let mut parts = Parts::default();
    json::each_member(usage, |name, value| {
        if name == "iterations" {
            json::each_element(value, |part| {
                let mut counts = Counts::default();
                let mut model = None;
                json::each_member(part, |name, value| match name {
                    "model" if value.starts_with(b"\"") => {
                        model = Some(json::text(value).into_owned());
                    }
                    _ => counts.take(name, value),
                });
                parts.add(model, counts.usage());
            });
        } else {
            counts.take(name, value);
        }
    });
    (counts, parts)
}

/// Members of a block, or of a `delta`, that no model generates.
const FRAME: &[&str] = &[
    "type",
    "id",
    "tool_use_id",
    "signature",
    "citations",
    "citation",
    "caller",
];

/// Types of blocks that hosted tools fill. No model generates their content.
const HOSTED_RESULT_BLOCKS: &[&str] = &[
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_result",
];

/// Members of an answer beside `content` that no model generates.
const ANSWER: &[&str] = &[
    "id",
    "type",
    "role",
    "model",
    "stop_reason",
    "stop_sequence",
    "stop_details",
    "container",
    "context_management",
    "service_tier",
];

/// Members of an event beside its payload.
const EVENT: &[&str] = &["type", "index", "context_management"];

/// Meters a whole message, or the part of it in `message_start`. Returns whether it was read to its end, and
/// its usage.
fn message(message: &[u8], reading: &mut Reading) -> (bool, Option<(Counts, Parts)>) {
    let mut counted = None;
    let whole = json::each_member(message, |name, value| match name {
        "usage" => counted = Some(read(value)),
        "error" if value != b"null" => failure::reported(value, reading),
        "content" => {
            let listed = json::each_element(value, |block| {
                reading.delivered.frame();
                piece(block, &mut reading.delivered);
            });
            if !listed {
                content(value, &mut reading.delivered);
            }
        }
        "model" if is_frame(ANSWER, name, value) => reading.served.take(value),
        name if is_frame(ANSWER, name, value) => {}
        _ => unsure(value, &mut reading.delivered),
    });
    (whole, counted)
}

/// Meters the generated text of a block or a `delta`. An empty `input` at the start of a block is a
/// placeholder for the one in its deltas.
fn piece(piece: &[u8], delivered: &mut Delivered) {
    let (mut kind, mut tool) = (String::new(), String::new());
    json::each_member(piece, |name, value| match name {
        "type" => kind = json::text(value).into_owned(),
        "name" => tool = json::text(value).into_owned(),
        _ => {}
    });
    if kind == "server_tool_use" {
        delivered.hosted.add(&tool);
    }
    if HOSTED_RESULT_BLOCKS.contains(&kind.as_str()) {
        return;
    }
    let whole = json::each_member(piece, |name, value| match name {
        name if is_frame(FRAME, name, value) => {}
        "input" if value == b"{}" => {}
        // Encrypted thinking, which only the provider can read.
        "data" => delivered.unsure(value.len()),
        _ => content(value, delivered),
    });
    if !whole {
        delivered.unreadable(piece);
    }
}

fn content(value: &[u8], delivered: &mut Delivered) {
    match value.first() {
        Some(b'"') => delivered.text(&json::text(value)),
        Some(b'[') if json::each_element(value, |part| content(part, delivered)) => {}
        Some(b'[') => delivered.unreadable(value),
        // The `input` of a tool: its member names are generated too.
        Some(b'{') => delivered.unreadable(value),
        _ => {}
    }
}

/// Meters a whole answer. One that is truncated or malformed counts with all of its bytes.
pub fn meter(answer: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let (whole, counted) = message(answer, &mut reading);
    if let Some((counts, parts)) = counted {
        reading.hosted_calls = counts.hosted;
        reading.reports(Some(counts.claim(parts)));
    }
    if !whole {
        reading.delivered = Delivered::default();
        reading.delivered.malformed(answer);
    }
    reading.complete = whole;
    reading
}

pub(crate) type StreamMeter = EventStream<Blocks>;

/// Parser of a stream's events. Its counts are merged over all `usage` reports.
#[derive(Debug, Default)]
pub struct Blocks {
    counts: Counts,
}

impl Events for Blocks {
    fn pass(&mut self, event: &Event<'_>, reading: &mut Reading, out: &mut Vec<u8>) {
        out.extend_from_slice(event.bytes);
        let (kind, whole) = event.kind();
        if !whole {
            if event.data.trim_ascii() == b"[DONE]" {
                reading.complete = true;
            } else {
                reading.delivered.malformed(&event.data);
            }
            return;
        }
        let mut counted = None;
        json::each_member(&event.data, |name, value| match name {
            "usage" => counted = Some(read(value)),
            "message" => {
                let (_, told) = message(value, reading);
                counted = told.or(counted.take());
            }
            "content_block" => {
                reading.delivered.frame();
                piece(value, &mut reading.delivered);
            }
            "delta" if kind == "message_delta" => {
                json::each_member(value, |name, value| {
                    if !is_frame(ANSWER, name, value) {
                        unsure(value, &mut reading.delivered);
                    }
                });
            }
            "delta" => piece(value, &mut reading.delivered),
            "error" if value != b"null" => failure::reported(value, reading),
            name if is_frame(EVENT, name, value) => {}
            _ => unsure(value, &mut reading.delivered),
        });
        if let Some((mut counts, parts)) = counted {
            if kind == "message_start" {
                // The output count in `message_start` is only that of the beginning.
                counts.output = Count(None);
            }
            reading.is_final |= kind == "message_delta" && counts.output.0.is_some();
            self.counts = counts.over(self.counts);
            reading.reports(Some(self.counts.claim(parts)));
        }
        reading.hosted_calls = self.counts.hosted;
        match kind.as_str() {
            "message_stop" => reading.complete = true,
            "error" => reading.failed = true,
            _ => {}
        }
        reading.complete |= reading.failed;
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
