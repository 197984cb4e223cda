//! Meters a stream of server-sent events: split once here, parsed by each call's own [`Events`].
//!
//! No bytes are forwarded behind the event that ends an answer, and none that are no event. A client could
//! take them for more of the answer, which would be served unmetered.

use super::call::Reading;
use super::{Meter, sse};
use crate::json;
use std::borrow::Cow;

/// A complete event: its bytes as received, and the value of its `data` lines.
pub struct Event<'a> {
    pub bytes: &'a [u8],
    pub data: Cow<'a, [u8]>,
}

impl Event<'_> {
    /// Returns the event's `type`, and whether its data is one whole JSON object.
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

/// Parser of one call's events.
pub trait Events {
    /// Meters an event that has data, and appends to `out` the part of it to forward.
    fn pass(&mut self, event: &Event<'_>, reading: &mut Reading, out: &mut Vec<u8>);

    /// Ends the metering when the provider has closed the stream, for APIs without an event that ends an answer.
    fn end(&mut self, _: &mut Reading) {}
}

/// [`Meter`] of a stream of events. Events are forwarded whole, so that an event of the gateway's own can
/// follow any of them.
#[derive(Debug, Default)]
pub(crate) struct EventStream<E> {
    splitter: sse::Splitter,
    reader: Reader<E>,
}

#[derive(Debug, Default)]
struct Reader<E> {
    events: E,
    reading: Reading,
    /// Whether the first event was read. Only that event may begin with a byte order mark.
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
            // Some servers send `[DONE]` twice.
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
            Some(data) if !json::is_flat(&data, json::MAX_DEPTH) => {
                self.reading.delivered.malformed(&data);
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
        reader.events.end(&mut reader.reading);
        out
    }

    fn reading(&self) -> &Reading {
        &self.reader.reading
    }

    fn withheld(&self) -> usize {
        self.splitter.pending()
    }

    fn drop_kept_text(&mut self) {
        self.reader.reading.delivered.drop_kept_text();
    }
}

/// Splits `bytes` at the offsets `cuts`, which may be in any order.
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
