//! A stream of events as it passes: cut once here, read by the calls' own readers.

use super::call::Reading;
use super::{Meter, sse};

/// Reads a stream event by event.
pub trait Events {
    /// Takes a whole event, and gives what of it is passed on.
    fn pass(&mut self, event: &[u8], out: &mut Vec<u8>);

    fn reading(&self) -> &Reading;
}

/// Events are passed on whole, so that one of the gateway's own can follow any.
#[derive(Debug, Default)]
pub struct EventStream<E> {
    splitter: sse::Splitter,
    events: E,
}

impl<E> EventStream<E> {
    pub fn of(events: E) -> EventStream<E> {
        EventStream {
            splitter: sse::Splitter::default(),
            events,
        }
    }
}

impl<E: Events + Send> Meter for EventStream<E> {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let events = &mut self.events;
        self.splitter
            .feed(bytes, |event| events.pass(event, &mut out));
        out
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let events = &mut self.events;
        self.splitter.finish(|event| events.pass(event, &mut out));
        out
    }

    fn reading(&self) -> &Reading {
        self.events.reading()
    }

    fn withheld(&self) -> usize {
        self.splitter.pending()
    }
}
