//! HTTP/1.1 on a socket, for both the client and the scripted provider: heads, body framings, disconnects.
//!
//! The wire hides nothing: a truncated body is an error, a chunk stays a chunk.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LONGEST_HEAD: usize = 1 << 20;

pub type Headers = Vec<(String, String)>;

/// First header with this name, in any case.
pub fn header<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Whether a list header contains this word.
pub fn lists(headers: &Headers, name: &str, word: &str) -> bool {
    headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .flat_map(|(_, value)| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

#[derive(Debug)]
pub struct Head {
    /// Request line or status line.
    pub first: String,
    pub headers: Headers,
}

pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    deadline: Option<Instant>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> io::Result<Wire> {
        // No Nagle delay: tests check arrival times.
        stream.set_nodelay(true)?;
        Ok(Wire {
            stream,
            unread: Vec::new(),
            deadline: None,
        })
    }

    /// Makes reads and writes fail with `TimedOut` after the deadline; `None` removes it.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write_all(bytes).map_err(timed_out)
    }

    /// Reads the next head; `None` if the other side closed before it.
    pub fn read_head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if self.unread.len() > LONGEST_HEAD {
                return Err(malformed("a head without an end"));
            }
            if self.fill()? == 0 {
                return match self.unread.len() {
                    0 => Ok(None),
                    _ => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
        };
        let bytes: Vec<u8> = self.unread.drain(..end).collect();
        let text = String::from_utf8(bytes).map_err(|_| malformed("a head that is not UTF-8"))?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| match line.split_once(':') {
                Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
                None => Err(malformed("a header line without a colon")),
            })
            .collect::<io::Result<_>>()?;
        Ok(Some(Head { first, headers }))
    }

    /// Reads at most `most` bytes; empty if the other side closed.
    pub fn read_some(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if self.unread.is_empty() {
            self.fill()?;
        }
        let taken = most.min(self.unread.len());
        Ok(self.unread.drain(..taken).collect())
    }

    fn read_exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).take(at).collect();
                return String::from_utf8(line).map_err(|_| malformed("a line not in UTF-8"));
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether the other side has closed or reset, without waiting.
    pub fn peer_has_gone(&self) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = self.stream.peek(&mut [0]);
        let restored = self.stream.set_nonblocking(false);
        match peeked {
            Ok(count) => count == 0 || restored.is_err(),
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error)),
            }
        }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline {
            None => Ok(None),
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                // A timeout of zero would mean no timeout.
                Some(left) if !left.is_zero() => Ok(Some(left)),
                _ => Err(ErrorKind::TimedOut.into()),
            },
        }
    }
}

/// Framing and remaining part of a body.
#[derive(Debug)]
pub enum Body {
    Length(usize),
    Chunked,
    ToClose,
    Done,
}

impl Body {
    pub fn of_request(headers: &Headers) -> io::Result<Body> {
        Ok(Body::framed(headers)?.unwrap_or(Body::Done))
    }

    pub fn of_response(headers: &Headers) -> io::Result<Body> {
        Ok(Body::framed(headers)?.unwrap_or(Body::ToClose))
    }

    fn framed(headers: &Headers) -> io::Result<Option<Body>> {
        if lists(headers, "transfer-encoding", "chunked") {
            return Ok(Some(Body::Chunked));
        }
        let Some(length) = header(headers, "content-length") else {
            return Ok(None);
        };
        match length.parse() {
            Ok(0) => Ok(Some(Body::Done)),
            Ok(length) => Ok(Some(Body::Length(length))),
            Err(_) => Err(malformed("a content-length that is no number")),
        }
    }

    /// Reads the next piece: a chunk, or the result of one read. `None` at the end; `UnexpectedEof` if the
    /// other side closed before it.
    pub fn next(&mut self, wire: &mut Wire) -> io::Result<Option<Vec<u8>>> {
        match self {
            Body::Done => Ok(None),
            Body::ToClose => {
                let piece = wire.read_some(usize::MAX)?;
                if piece.is_empty() {
                    *self = Body::Done;
                    return Ok(None);
                }
                Ok(Some(piece))
            }
            Body::Length(left) => {
                let piece = wire.read_some(*left)?;
                if piece.is_empty() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                *left -= piece.len();
                if *left == 0 {
                    *self = Body::Done;
                }
                Ok(Some(piece))
            }
            Body::Chunked => {
                let line = wire.read_line()?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16)
                    .map_err(|_| malformed("a chunk size that is no number"))?;
                if size == 0 {
                    // Skips trailers up to the empty line.
                    while !wire.read_line()?.is_empty() {}
                    *self = Body::Done;
                    return Ok(None);
                }
                let piece = wire.read_exact(size)?;
                if wire.read_exact(2)? != b"\r\n" {
                    return Err(malformed("a chunk longer than it said"));
                }
                Ok(Some(piece))
            }
        }
    }
}

/// Encodes a chunk; an empty one is omitted, because it would end the body.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}

pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Maps `WouldBlock`, which the system returns for a socket timeout.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}
