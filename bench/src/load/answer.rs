//! Validates a response while it arrives: status, usage, and the events of a stream.

use std::time::Instant;

use memchr::memmem;

use crate::wire::Events;

/// Minimum number of events of a forwarded stream: 20 chunks and `[DONE]`. The provider also sends a usage event, which
/// a gateway may drop.
pub const LEAST_EVENTS: u64 = 21;

/// Requirements for a response to count as valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    /// A second accepted status.
    pub or: Option<u16>,
    pub stream: bool,
    /// Minimum number of events of a stream.
    pub events: u64,
}

/// Validator of one response; `content` is a buffer reused between responses.
pub struct Answer<'a> {
    status: u16,
    expected: Expected,
    content: &'a mut Vec<u8>,
    events: Events,
    first_event: Option<Instant>,
}

impl Answer<'_> {
    pub fn new(status: u16, expected: Expected, content: &mut Vec<u8>) -> Answer<'_> {
        content.clear();
        Answer {
            status,
            expected,
            content,
            events: Events::default(),
            first_event: None,
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.expected.stream || self.status != self.expected.status {
            self.content.extend_from_slice(bytes);
            return;
        }
        self.events.feed(bytes);
        if self.first_event.is_none() && self.events.count() > 0 {
            self.first_event = Some(Instant::now());
        }
    }

    /// Validates the complete response. Returns the time of the first event of a stream, or an error text.
    pub fn end(self) -> Result<Option<Instant>, String> {
        let (status, expected) = (self.status, self.expected);
        if status != expected.status && Some(status) != expected.or {
            let text = String::from_utf8_lossy(&self.content[..self.content.len().min(200)]);
            return Err(format!("status {status}: {text}"));
        }
        if status != 200 {
            return Ok(None);
        }
        let length = self.content.len();
        let has_usage = || memmem::find(self.content, b"\"usage\"").is_some();
        match expected.stream {
            false if self.content.ends_with(b"}") && has_usage() => Ok(None),
            false => Err(format!("an answer of {length} bytes without usage")),
            true if self.events.count() < expected.events => {
                Err(format!("a stream of {} events", self.events.count()))
            }
            true if !self.events.ended_with_done() => Err("a stream without [DONE]".to_owned()),
            true => Ok(self.first_event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Expected = Expected {
        status: 200,
        or: None,
        stream: false,
        events: LEAST_EVENTS,
    };
    const STREAM: Expected = Expected {
        status: 200,
        or: None,
        stream: true,
        events: LEAST_EVENTS,
    };

    fn verdict(status: u16, bytes: &[u8], expected: Expected) -> Result<Option<Instant>, String> {
        let mut content = b"of the answer before".to_vec();
        let mut answer = Answer::new(status, expected, &mut content);
        answer.feed(bytes);
        answer.end()
    }

    fn events(count: usize, done: bool) -> Vec<u8> {
        let mut text = b"data: {}\n\n".repeat(count);
        if done {
            text.extend_from_slice(b"data: [DONE]\n\n");
        }
        text
    }

    #[test]
    fn only_a_whole_answer_with_usage_counts() {
        assert!(verdict(200, br#"{"usage":{}}"#, PLAIN).is_ok());
        assert!(verdict(200, br#"{"usage":{"#, PLAIN).is_err());
        assert!(verdict(200, b"{}", PLAIN).is_err());
        assert!(verdict(500, br#"{"usage":{}}"#, PLAIN).is_err());
    }

    #[test]
    fn only_a_stream_with_every_event_and_its_end_counts() {
        assert!(matches!(
            verdict(200, &events(20, true), STREAM),
            Ok(Some(_))
        ));
        assert!(verdict(200, &events(21, true), STREAM).is_ok());
        assert!(verdict(200, &events(19, true), STREAM).is_err());
        assert!(verdict(200, &events(30, false), STREAM).is_err());
    }

    #[test]
    fn an_expected_refusal_counts() {
        let refused = Expected {
            status: 402,
            or: Some(429),
            ..PLAIN
        };
        assert!(verdict(402, b"{}", refused).is_ok());
        assert!(verdict(429, b"{}", refused).is_ok());
        assert!(verdict(401, b"{}", refused).is_err());
        assert!(verdict(200, br#"{"usage":{}}"#, refused).is_err());
    }
}
