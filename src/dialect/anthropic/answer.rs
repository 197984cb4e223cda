//! What an answer of `messages` says of itself, whole or as a stream.
//!
//! A stream tells its input at the start and its output at the end. Every byte of it passes on as it
//! came, event by event, so that the gateway's own last event never lands in the middle of another.

use crate::dialect::call::{Generated, Reading, Usage};
use crate::dialect::sse;
use crate::dialect::stream::{EventStream, Events};
use crate::rules::amount::Tokens;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Only one of the three counts of the input is always there. The counts do not overlap.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Counted {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Counted {
    fn read(raw: Option<&RawValue>) -> Counted {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }

    /// Counts are totals: a later one stands in for an earlier one.
    fn over(self, earlier: Counted) -> Counted {
        Counted {
            input_tokens: self.input_tokens.or(earlier.input_tokens),
            cache_read_input_tokens: self
                .cache_read_input_tokens
                .or(earlier.cache_read_input_tokens),
            cache_creation_input_tokens: self
                .cache_creation_input_tokens
                .or(earlier.cache_creation_input_tokens),
            output_tokens: self.output_tokens.or(earlier.output_tokens),
        }
    }

    fn input_side(&self) -> Option<Usage> {
        let tokens = |count: Option<u64>| Tokens::new(count.unwrap_or(0));
        Some(Usage {
            uncached_input: Tokens::new(self.input_tokens?),
            cache_read: tokens(self.cache_read_input_tokens),
            cache_write: tokens(self.cache_creation_input_tokens),
            output: Tokens::ZERO,
        })
    }

    /// The input as known. No prompt is empty: nought is a server that will count later.
    fn input(&self) -> Option<Usage> {
        self.input_side().filter(|input| !input.total().is_zero())
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            output: Tokens::new(self.output_tokens?),
            ..self.input_side()?
        })
    }
}

/// What a block, or a delta of one, holds of what the model generated.
#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

impl Piece<'_> {
    fn push(&self, text: &mut Generated) {
        let strings = [self.text, self.thinking, self.partial_json];
        for raw in strings.into_iter().flatten() {
            // Half of a surrogate pair is generated text too, though no Rust string.
            let raw = raw.get();
            match serde_json::from_str::<String>(raw) {
                Ok(string) => text.push(&string),
                Err(_) => text.push(raw.trim_matches('"')),
            }
        }
        if let Some(input) = self.input {
            text.push(input.get());
        }
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

pub fn meter(answer: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(answer) else {
        reading.text.push(&String::from_utf8_lossy(answer));
        return reading;
    };
    let counted = Counted::read(answer.usage);
    reading.input = counted.input();
    reading.usage = counted.usage();
    reading.complete = true;
    let content = answer.content.map_or("[]", RawValue::get);
    let blocks: Vec<&RawValue> = serde_json::from_str(content).unwrap_or_default();
    for block in blocks {
        if let Ok(piece) = serde_json::from_str::<Piece<'_>>(block.get()) {
            piece.push(&mut reading.text);
        }
    }
    reading
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

pub type StreamMeter = EventStream<Read>;

#[derive(Debug, Default)]
pub struct Read {
    counted: Counted,
    reading: Reading,
}

impl Events for Read {
    fn pass(&mut self, event: &[u8], out: &mut Vec<u8>) {
        self.event(event);
        out.extend_from_slice(event);
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}

impl Read {
    fn event(&mut self, event: &[u8]) {
        let data = sse::data(event).unwrap_or_default();
        let data = String::from_utf8_lossy(&data);
        let Ok(event) = serde_json::from_str::<Event<'_>>(&data) else {
            return;
        };
        match event.r#type.as_deref() {
            Some("message_start") => {
                let message = event.message.map_or("{}", RawValue::get);
                if let Ok(Answer { usage, .. }) = serde_json::from_str(message) {
                    self.counted = Counted::read(usage);
                    self.reading.input = self.counted.input();
                }
            }
            Some("content_block_start") => self.piece(event.content_block, true),
            Some("content_block_delta") => self.piece(event.delta, false),
            Some("message_delta") => {
                let counted = Counted::read(event.usage);
                self.counted = counted.over(self.counted);
                self.reading.input = self.counted.input();
                // The count at the start is that of a beginning; only this one is of an answer.
                if counted.output_tokens.is_some() {
                    self.reading.usage = self.counted.usage();
                }
            }
            Some("message_stop" | "error") => self.reading.complete = true,
            _ => {}
        }
    }

    fn piece(&mut self, raw: Option<&RawValue>, starts: bool) {
        let Some(Ok(mut piece)) = raw.map(|raw| serde_json::from_str::<Piece<'_>>(raw.get()))
        else {
            return;
        };
        // An empty input stands in for the one that the deltas will bring.
        if starts && piece.input.is_some_and(|input| input.get() == "{}") {
            piece.input = None;
        }
        piece.push(&mut self.reading.text);
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
