//! Incremental decoder of HTTP/1.1 body framing: `content-length`, chunked, or until the connection closes.
//!
//! The result must not depend on how the input is split.

use std::io::{self, ErrorKind};

/// Framing of a body: how its end is recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Decoder state; `Size` to `Trailer` belong to chunked coding.
#[derive(Debug)]
enum State {
    Plain(u64),
    Size { value: u64, digits: u8 },
    Extension { value: u64 },
    Data(u64),
    DataEnd { cr: bool },
    Trailer { empty: bool },
    UntilClose,
    Done,
}

/// Decoder of one body.
#[derive(Debug)]
pub struct Body(State);

impl Body {
    pub fn new(framing: Framing) -> Body {
        Body(match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(count) => State::Plain(count),
            Framing::Chunked => State::Size {
                value: 0,
                digits: 0,
            },
            Framing::UntilClose => State::UntilClose,
        })
    }

    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Whether EOF is valid now: the body is complete, or ends when the connection closes.
    pub fn may_end(&self) -> bool {
        matches!(self.0, State::Done | State::UntilClose)
    }

    /// Passes the decoded content of `input` to `sink`; returns the number of bytes of `input` that belong to
    /// this body.
    pub fn feed(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut at = 0;
        while at < input.len() && !self.is_done() {
            let rest = &input[at..];
            let (used, next) = match self.0 {
                State::Plain(left) => {
                    let (count, left) = give(rest, left, &mut sink);
                    (
                        count,
                        if left == 0 {
                            State::Done
                        } else {
                            State::Plain(left)
                        },
                    )
                }
                State::UntilClose => {
                    sink(rest);
                    (rest.len(), State::UntilClose)
                }
                State::Data(left) => {
                    let (count, left) = give(rest, left, &mut sink);
                    let end = State::DataEnd { cr: false };
                    (count, if left == 0 { end } else { State::Data(left) })
                }
                _ => (1, self.step(rest[0])?),
            };
            at += used;
            self.0 = next;
        }
        Ok(at)
    }

    /// Advances by one byte outside of chunk data: chunk sizes, extensions, line ends, trailers.
    fn step(&self, byte: u8) -> io::Result<State> {
        let wrong = || io::Error::new(ErrorKind::InvalidData, "broken chunked coding");
        Ok(match (&self.0, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() && *digits < 15 => {
                let digit = char::from(byte).to_digit(16).ok_or_else(wrong)?;
                State::Size {
                    value: value * 16 + u64::from(digit),
                    digits: digits + 1,
                }
            }
            (State::Size { value, digits }, b'\r' | b';' | b' ') if *digits > 0 => {
                State::Extension { value: *value }
            }
            (State::Extension { value: 0 }, b'\n') => State::Trailer { empty: true },
            (State::Extension { value }, b'\n') => State::Data(*value),
            (State::Extension { value }, _) => State::Extension { value: *value },
            (State::DataEnd { cr: false }, b'\r') => State::DataEnd { cr: true },
            (State::DataEnd { cr: true }, b'\n') => State::Size {
                value: 0,
                digits: 0,
            },
            (State::Trailer { empty: true }, b'\n') => State::Done,
            (State::Trailer { .. }, b'\n') => State::Trailer { empty: true },
            (State::Trailer { empty }, b'\r') => State::Trailer { empty: *empty },
            (State::Trailer { .. }, _) => State::Trailer { empty: false },
            _ => return Err(wrong()),
        })
    }
}

/// Passes at most `left` bytes to `sink`; returns the bytes used and those still missing.
fn give(rest: &[u8], left: u64, sink: &mut impl FnMut(&[u8])) -> (usize, u64) {
    let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    sink(&rest[..count]);
    (count, left - count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> io::Result<(Vec<u8>, bool)> {
        let mut body = Body::new(Framing::Chunked);
        let mut content = Vec::new();
        for piece in pieces {
            body.feed(piece, |bytes| content.extend_from_slice(bytes))?;
        }
        Ok((content, body.is_done()))
    }

    #[test]
    fn a_chunked_body_is_the_same_wherever_it_is_cut() {
        let whole = b"5\r\nhello\r\n10;a=b\r\n0123456789abcdef\r\n0\r\nx: y\r\n\r\n";
        for cut in 0..=whole.len() {
            let (content, done) = decode(&[&whole[..cut], &whole[cut..]]).unwrap();
            assert_eq!(content, b"hello0123456789abcdef");
            assert!(done);
        }
    }

    #[test]
    fn a_body_without_its_last_chunk_is_not_done() {
        let (content, done) = decode(&[b"5\r\nhello\r\n"]).unwrap();
        assert_eq!((content.as_slice(), done), (b"hello".as_slice(), false));
    }

    #[test]
    fn malformed_chunk_size_is_an_error() {
        assert!(decode(&[b"data: x\n\n"]).is_err());
        assert!(decode(&[b"5\r\nhelloX"]).is_err());
    }

    #[test]
    fn bytes_behind_a_body_are_left_unread() {
        let mut body = Body::new(Framing::Length(3));
        assert_eq!(body.feed(b"abcHTTP", |_| {}).unwrap(), 3);
        assert!(body.is_done());
    }
}
