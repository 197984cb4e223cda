//! Splits a stream of server-sent events into events, wherever the network split its bytes.
//!
//! An event keeps its exact bytes, so that it is forwarded as received. It ends at an empty line; lines end
//! in LF, CR LF or CR. The buffer must never grow beyond `MAX_EVENT_BYTES`.

use std::borrow::Cow;

/// Maximum size of one event in bytes. No provider sends as much.
const MAX_EVENT_BYTES: usize = 32 << 20;

#[derive(Debug, Default)]
pub struct Splitter {
    pending: Vec<u8>,
    /// Number of bytes at the front of `pending` that were searched and hold no end of an event.
    searched: usize,
}

impl Splitter {
    /// Takes the next bytes and calls `event` with every event that is now complete, in order. Returns
    /// `false` if an event exceeds `MAX_EVENT_BYTES`; its bytes are dropped.
    pub fn feed(&mut self, bytes: &[u8], mut event: impl FnMut(&[u8])) -> bool {
        self.pending.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = end_of_event(&self.pending, start, self.searched.max(start)) {
            event(&self.pending[start..end]);
            start = end;
            self.searched = end;
        }
        self.pending.drain(..start);
        self.searched = self.pending.len().saturating_sub(3);
        let fits = self.pending.len() <= MAX_EVENT_BYTES;
        if !fits {
            self.pending = Vec::new();
            self.searched = 0;
        }
        fits
    }

    /// Returns the number of buffered bytes of an incomplete event.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Calls `event` with the incomplete event that is left when the stream ends.
    pub fn finish(&mut self, mut event: impl FnMut(&[u8])) {
        if !self.pending.is_empty() {
            event(&std::mem::take(&mut self.pending));
        }
        self.searched = 0;
    }
}

/// Returns the offset behind the empty line that ends the event starting at `start`. A CR as the last byte
/// may be the first half of CR LF, so it decides nothing yet.
fn end_of_event(bytes: &[u8], start: usize, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'\n', b'\r', bytes.get(at..)?)?;
        let after = after_line_end(bytes, at)?;
        let line_is_empty = at == start;
        if line_is_empty {
            return Some(after);
        }
        match bytes.get(after) {
            Some(b'\n' | b'\r') => return after_line_end(bytes, after),
            Some(_) => at = after,
            None => return None,
        }
    }
}

fn after_line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', None) => None,
        (b'\r', Some(b'\n')) => Some(at + 2),
        _ => Some(at + 1),
    }
}

/// Parsed lines of one event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines<'a> {
    /// Values of its `data` lines, joined by LF.
    pub data: Option<Cow<'a, [u8]>>,
    /// Bytes of lines that are neither a field of the format nor a comment.
    pub strays: usize,
}

/// Parses an event into [`Lines`].
pub fn read(event: &[u8]) -> Lines<'_> {
    let mut lines = Lines::default();
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let Some(value) = line.strip_prefix(b"data:") else {
            if !is_known(line) {
                lines.strays += line.len();
            }
            continue;
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut lines.data {
            None => lines.data = Some(Cow::Borrowed(value)),
            Some(joined) => {
                let joined = joined.to_mut();
                joined.push(b'\n');
                joined.extend_from_slice(value);
            }
        }
    }
    lines
}

fn is_known(line: &[u8]) -> bool {
    let starts = [&b":"[..], b"event:", b"id:", b"retry:"];
    line.is_empty() || starts.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::stream::pieces;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |event| events.push(event.to_vec()));
        }
        splitter.finish(|event| events.push(event.to_vec()));
        events
    }

    #[test]
    fn events_end_at_empty_lines_of_every_kind() {
        let events = split(&[b"data: a\n\nevent: b\r\ndata: c\r\n\r\n: d\r\rdata: e"]);
        let texts: Vec<_> = events
            .iter()
            .map(|e| String::from_utf8_lossy(e).into_owned())
            .collect();
        assert_eq!(
            texts,
            [
                "data: a\n\n",
                "event: b\r\ndata: c\r\n\r\n",
                ": d\r\r",
                "data: e"
            ]
        );
    }

    #[test]
    fn data_lines_are_joined() {
        let lines = read(b"event: x\ndata: a\ndata:b\n\n");
        assert_eq!(
            (lines.data.as_deref(), lines.strays),
            (Some(&b"a\nb"[..]), 0)
        );
        assert_eq!(read(b": ping\nid: 1\nretry: 2\n\n"), Lines::default());
        assert_eq!(read(b"Data: a\n data: b\n\n").strays, 7 + 8);
    }

    #[test]
    fn an_event_without_end_is_dropped() {
        let mut splitter = Splitter::default();
        let mut events = 0;
        let piece = vec![b'a'; MAX_EVENT_BYTES / 2];
        assert!(splitter.feed(&piece, |_| events += 1));
        assert!(splitter.feed(&piece, |_| events += 1));
        assert!(!splitter.feed(b"a", |_| events += 1));
        splitter.finish(|_| events += 1);
        assert_eq!((events, splitter.pending()), (0, 0));
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same_events(
            text in "(data: [a-c]{0,3}|:|\n|\r\n|\r|event: x){0,20}",
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let bytes = text.as_bytes();
            let whole = split(&[bytes]);
            prop_assert_eq!(whole.concat(), bytes);
            let pieces = pieces(bytes, cuts);
            prop_assert_eq!(split(&pieces), whole);
        }
    }
}
