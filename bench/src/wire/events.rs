//! Counts the `data:` lines of an SSE stream and remembers whether the last one was `[DONE]`.

/// Bytes kept of each line: enough to recognize `data: [DONE]`.
const KEPT: usize = 16;

#[derive(Debug, Default)]
pub struct Events {
    count: u64,
    last_is_done: bool,
    line: [u8; KEPT],
    length: usize,
}

impl Events {
    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn ended_with_done(&self) -> bool {
        self.last_is_done
    }

    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.length).min(bytes.len());
        if room > 0 {
            self.line[self.length..self.length + room].copy_from_slice(&bytes[..room]);
        }
        self.length += bytes.len();
    }

    fn end_line(&mut self) {
        let kept = &self.line[..self.length.min(KEPT)];
        if let Some(data) = kept.strip_prefix(b"data:") {
            self.count += 1;
            self.last_is_done = self.length <= KEPT && data.trim_ascii() == b"[DONE]";
        }
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"data: {\"a\":1}\n\n: comment\nevent: x\ndata: {\"b\":\"a long line indeed\"}\r\n\r\ndata: [DONE]\n\n";

    #[test]
    fn events_are_counted_wherever_the_stream_is_cut() {
        for cut in 0..=STREAM.len() {
            let mut events = Events::default();
            events.feed(&STREAM[..cut]);
            events.feed(&STREAM[cut..]);
            assert_eq!((events.count(), events.ended_with_done()), (3, true));
        }
    }

    #[test]
    fn a_stream_that_goes_on_after_done_did_not_end_with_it() {
        let mut events = Events::default();
        events.feed(STREAM);
        events.feed(b"data: [DONE] and more\n\n");
        assert!(!events.ended_with_done());
    }
}
