//! A stream of events as it passes: cut once here, read by the calls' own readers.
//!
//! Nothing passes after the event that ends an answer, and nothing that is no event: what another
//! reader could take for more of the answer would be served unseen.

use super::call::Reading;
use super::{Meter, sse};
use crate::json;
use std::borrow::Cow;

/// A whole event: its bytes as they came, and its data.
pub struct Event<'a> {
    pub bytes: &'a [u8],
    pub data: Cow<'a, [u8]>,
}

impl Event<'_> {
    /// The event's `type`, and whether its data is a JSON object to its end.
    pub fn kind(&self) -> (String, bool) {
        let mut kind = String::new();
        let whole = json::each_member(&self.data, |name, value| {
            if name == "type" {
                kind = json::text(value).into_owned();
            }
        });
        (kind, whole)
    }
}

/// Reads a stream event by event.
pub trait Events {
    /// Takes an event that has data, and gives what of it is passed on.
    fn pass(&mut self, event: &Event<'_>, reading: &mut Reading, out: &mut Vec<u8>);
}

/// Events are passed on whole, so that one of the gateway's own can follow any.
#[derive(Debug, Default)]
pub struct EventStream<E> {
    splitter: sse::Splitter,
    reader: Reader<E>,
}

#[derive(Debug, Default)]
struct Reader<E> {
    events: E,
    reading: Reading,
    /// The first event was read, which alone may begin with a mark of its byte order.
    has_begun: bool,
}

impl<E> EventStream<E> {
    pub fn of(events: E) -> EventStream<E> {
        EventStream {
            splitter: sse::Splitter::default(),
            reader: Reader {
                events,
                reading: Reading::default(),
                has_begun: false,
            },
        }
    }
}

impl<E: Events> Reader<E> {
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let text = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
            Some(rest) if !self.has_begun => rest,
            _ => bytes,
        };
        self.has_begun = true;
        let event = sse::read(text);
        let reading = &mut self.reading;
        if reading.complete || reading.overran {
            // Some servers say twice that they are done.
            let is_end = event
                .data
                .as_deref()
                .is_none_or(|data| data.trim_ascii() == b"[DONE]");
            if is_end && event.strays == 0 && reading.complete {
                out.extend_from_slice(bytes);
            } else {
                reading.overran = true;
            }
            return;
        }
        reading.delivered.unsure(event.strays);
        match event.data {
            Some(data) if !json::is_flat(&data, json::DEEPEST) => {
                self.reading.delivered.unreadable(&data);
                out.extend_from_slice(bytes);
            }
            Some(data) => self
                .events
                .pass(&Event { bytes, data }, &mut self.reading, out),
            None => out.extend_from_slice(bytes),
        }
    }
}

impl<E: Events + Send> Meter for EventStream<E> {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let reader = &mut self.reader;
        let fits = self
            .splitter
            .feed(bytes, |event| reader.pass(event, &mut out));
        reader.reading.overran |= !fits;
        out
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let reader = &mut self.reader;
        self.splitter.finish(|event| reader.pass(event, &mut out));
        out
    }

    fn reading(&self) -> &Reading {
        &self.reader.reading
    }

    fn withheld(&self) -> usize {
        self.splitter.pending()
    }

    fn forget_text(&mut self) {
        self.reader.reading.delivered.forget_text();
    }
}

/// The bytes cut at these places, in whatever order they are named.
#[cfg(test)]
pub fn pieces(bytes: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for cut in cuts {
        let cut = cut.min(bytes.len());
        pieces.push(&bytes[start..cut]);
        start = cut;
    }
    pieces.push(&bytes[start..]);
    pieces
}
