//! Meters answers of `generateContent`, whole or streamed.
//!
//! Every event of a stream has the shape of a whole answer with a piece of its content, and counts that are running
//! totals. No event ends a stream: it is complete if its candidates had given their reason when the provider closed it.

use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::{Call, Claim, Delivered, Reading, Usage};
use crate::dialect::claim::{Count, number};
use crate::dialect::ends::{self, Ends};
use crate::dialect::failure;
use crate::dialect::stream::{Event, EventStream, Events};
use crate::json;
use crate::rules::amount::Tokens;

/// Members of an answer that no model generates.
const ANSWER: &[&str] = &[
    "modelVersion",
    "responseId",
    "createTime",
    "modelStatus",
    "promptFeedback",
    "usageMetadata",
];

/// Members of a candidate that no model generates.
const CANDIDATE: &[&str] = &[
    "index",
    "finishReason",
    "finishMessage",
    "safetyRatings",
    "citationMetadata",
    "groundingMetadata",
    "groundingAttributions",
    "avgLogprobs",
    "logprobsResult",
    "tokenCount",
    "urlContextMetadata",
];

/// Members of a part that no model generates.
const PART: &[&str] = &["thought", "thoughtSignature", "partMetadata"];

/// Counts of an answer. `thoughts` are not among `candidates`, nor is `tool_use` among `prompt`.
#[derive(Clone, Copy, Debug, Default)]
struct ContentCounts {
    prompt: Count,
    tool_use: Count,
    cached: Count,
    candidates: Count,
    thoughts: Count,
    total: Count,
}

impl ContentCounts {
    fn read(usage: &[u8]) -> ContentCounts {
        let mut counts = ContentCounts::default();
        json::each_member(usage, |name, value| match name {
            "promptTokenCount" => counts.prompt.take(number(value)),
            "toolUsePromptTokenCount" => counts.tool_use.take(number(value)),
            "cachedContentTokenCount" => counts.cached.take(number(value)),
            "candidatesTokenCount" => counts.candidates.take(number(value)),
            "thoughtsTokenCount" => counts.thoughts.take(number(value)),
            "totalTokenCount" => counts.total.take(number(value)),
            _ => {}
        });
        counts
    }

    /// `None`: nothing is counted. What the total has beyond the other counts is output.
    fn claim(&self) -> Option<Claim> {
        let said = [self.prompt, self.candidates, self.thoughts, self.total];
        if said.iter().all(|count| count.0.is_none()) {
            return None;
        }
        let input = self.prompt.tokens().plus(self.tool_use.tokens());
        let cached = self.cached.credible().tokens().min(input);
        let output = self.candidates.tokens().plus(self.thoughts.tokens());
        let total = self.total.credible();
        let rest = total.0.map(|total| Tokens::new(total).minus(input));
        let is_counted = self.candidates.0.or(self.thoughts.0).is_some();
        let output = match (is_counted, rest) {
            (true, rest) => Some(output.max(rest.unwrap_or_default())),
            (false, rest) => rest.filter(|_| self.prompt.0.is_some()),
        };
        Some(Claim {
            input: self.prompt.0.map(|_| Usage {
                uncached_input: input.minus(cached),
                cache_read: cached,
                ..Usage::default()
            }),
            output,
            others: Vec::new(),
        })
    }
}

/// Members of an answer, or of an event, beside its content.
#[derive(Default)]
struct Told {
    claim: Option<Claim>,
    /// Places of the candidates that are shown, with whether they have given the reason of their end.
    candidates: Vec<(u64, bool)>,
    /// Whether the prompt was blocked, so that there are no candidates.
    is_blocked: bool,
}

/// Meters a whole answer or an event. Returns whether it was read to its end, and what it tells.
fn read(answer: &[u8], reading: &mut Reading) -> (bool, Told) {
    let mut told = Told::default();
    let whole = json::each_member(answer, |name, value| match name {
        "usageMetadata" => told.claim = ContentCounts::read(value).claim(),
        "modelVersion" => reading.served.take(value),
        "promptFeedback" => {
            json::each_member(value, |name, value| {
                told.is_blocked |= name == "blockReason" && value != b"null";
            });
        }
        "error" if value != b"null" => failure::reported(value, reading),
        "candidates" => {
            let listed = json::each_element(value, |value| {
                told.candidates
                    .push(candidate(value, &mut reading.delivered));
            });
            if !listed {
                reading.delivered.unreadable(value);
            }
        }
        name if is_frame(ANSWER, name, value) => {}
        _ => unsure(value, &mut reading.delivered),
    });
    (whole, told)
}

/// Meters a candidate. Returns its place, and whether it has given the reason of its end.
fn candidate(candidate: &[u8], delivered: &mut Delivered) -> (u64, bool) {
    let (mut place, mut has_ended) = (0, false);
    let whole = json::each_member(candidate, |name, value| match name {
        "content" => content(value, delivered),
        "index" => place = number(value).unwrap_or(0),
        "finishReason" if is_frame(CANDIDATE, name, value) => has_ended = ends::is_reason(value),
        name if is_frame(CANDIDATE, name, value) => {}
        _ => unsure(value, delivered),
    });
    if !whole {
        delivered.unreadable(candidate);
    }
    (place, has_ended)
}

fn content(content: &[u8], delivered: &mut Delivered) {
    let whole = json::each_member(content, |name, value| match name {
        "parts" => {
            if !json::each_element(value, |value| part(value, delivered)) {
                delivered.unreadable(value);
            }
        }
        "role" if is_frame(&["role"], name, value) => {}
        _ => unsure(value, delivered),
    });
    if !whole && content != b"null" {
        delivered.unreadable(content);
    }
}

fn part(part: &[u8], delivered: &mut Delivered) {
    let whole = json::each_member(part, |name, value| match name {
        "text" if value.starts_with(b"\"") => delivered.text(&json::text(value)),
        "inlineData" => media(value, delivered),
        // The result of code that the provider ran.
        "codeExecutionResult" | "toolResponse" => delivered.unsure(value.len()),
        name if is_frame(PART, name, value) => {}
        "functionCall" => {
            delivered.frame();
            delivered.unreadable(value);
        }
        _ if matches!(value, b"null" | b"true" | b"false") => {}
        _ => delivered.unreadable(value),
    });
    if !whole {
        delivered.unreadable(part);
    }
}

fn media(data: &[u8], delivered: &mut Delivered) {
    let (mut kind, mut bytes) = (String::new(), String::new());
    json::each_member(data, |name, value| match name {
        "mimeType" => kind = json::text(value).to_ascii_lowercase(),
        "data" => bytes = json::text(value).into_owned(),
        _ => unsure(value, delivered),
    });
    match kind.split_once('/') {
        Some(("image", _)) => delivered.images += 1,
        Some(("audio", _)) => delivered.base64_sound(&bytes),
        _ => delivered.text(&bytes),
    }
}

/// Meters a whole answer. One that is truncated or malformed counts with all of its bytes.
pub(super) fn meter(answer: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let (whole, told) = read(answer, &mut reading);
    reading.reports(told.claim);
    if !whole {
        reading.delivered = Delivered::default();
        reading.delivered.malformed(answer);
    }
    reading.complete = whole;
    reading
}

pub(super) type CandidateStream = EventStream<Candidates>;

/// Parser of a stream's events.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Number of candidates that were asked for.
    answers: u64,
    ends: Ends,
    is_blocked: bool,
}

impl CandidateStream {
    pub(crate) fn new(call: &Call) -> CandidateStream {
        EventStream::of(Candidates {
            answers: call.answers,
            ..Candidates::default()
        })
    }
}

impl Events for Candidates {
    fn pass(&mut self, event: &Event<'_>, reading: &mut Reading, out: &mut Vec<u8>) {
        out.extend_from_slice(event.bytes);
        let (whole, told) = read(&event.data, reading);
        if !whole {
            match event.data.trim_ascii() == b"[DONE]" {
                true => reading.complete = true,
                false => reading.delivered.malformed(&event.data),
            }
            return;
        }
        for (place, has_ended) in told.candidates {
            self.ends.see(place, has_ended);
        }
        self.is_blocked |= told.is_blocked;
        if told.claim.is_some() {
            reading.is_final = self.has_ended();
            reading.reports(told.claim);
        }
        reading.complete |= reading.failed;
    }

    fn end(&mut self, reading: &mut Reading) {
        reading.complete |= self.has_ended();
    }
}

impl Candidates {
    fn has_ended(&self) -> bool {
        self.ends.are_all(self.answers) || (self.ends.is_empty() && self.is_blocked)
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
