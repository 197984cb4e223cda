//! Read buffer of an HTTP/1.1 connection: parses heads, and feeds body bytes to a [`Body`].

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::body::{Body, Framing};

/// Initial buffer size in bytes: small, so that thousands of idle connections do not fill the memory.
const FIRST: usize = 4 * 1024;
/// Maximum buffer size in bytes, and so of a head.
const LARGEST: usize = 256 * 1024;
/// Maximum number of headers in a head.
const HEADERS: usize = 64;

/// Read buffer; `bytes[start..end]` is unread.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub framing: Framing,
    pub close: bool,
}

#[derive(Debug)]
pub struct Request {
    pub get: bool,
    pub path: String,
    pub framing: Framing,
    pub close: bool,
    pub expects_continue: bool,
}

impl Inbox {
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Reads once from the stream; returns `false` at EOF.
    async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end == self.bytes.len() {
                let more = (self.bytes.len() * 2).clamp(FIRST, LARGEST);
                if more <= self.bytes.len() {
                    return Err(wrong("a head without end"));
                }
                self.bytes.resize(more, 0);
            }
        }
        let count = stream.read(&mut self.bytes[self.end..]).await?;
        self.end += count;
        Ok(count > 0)
    }

    /// Reads the head of the next response. `None`: EOF before its first byte.
    pub async fn response(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<Response>> {
        loop {
            if let Some((used, response)) = parse_response(self.unread())? {
                self.start += used;
                // Skip interim responses such as `100 Continue`.
                if response.status >= 200 {
                    return Ok(Some(response));
                }
            } else if !self.fill(stream).await? {
                return if self.is_empty() {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Reads the head of the next request. `None`: the client closed the connection.
    pub async fn request(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<Request>> {
        loop {
            if let Some((used, request)) = parse_request(self.unread())? {
                self.start += used;
                return Ok(Some(request));
            }
            if !self.fill(stream).await? {
                return Ok(None);
            }
        }
    }

    /// Decodes the next piece of a body: at most one read, and at most one call of `sink` per run of content.
    pub async fn piece(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        body: &mut Body,
        sink: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        if self.is_empty() {
            // The last read filled the buffer: double it, because long bodies are cheaper in long reads.
            if self.bytes.len() < LARGEST && self.end == self.bytes.len() {
                self.bytes
                    .resize((self.bytes.len() * 2).clamp(FIRST, LARGEST), 0);
            }
            if !self.fill(stream).await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let used = body.feed(&self.bytes[self.start..self.end], sink)?;
        self.start += used;
        Ok(())
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

fn parse_response(bytes: &[u8]) -> io::Result<Option<(usize, Response)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head
        .parse(bytes)
        .map_err(|error| wrong(&error.to_string()))?;
    let httparse::Status::Complete(used) = parsed else {
        return Ok(None);
    };
    let status = head.code.unwrap_or_default();
    let fields = Fields::read(head.headers)?;
    let empty = status < 200 || status == 204 || status == 304;
    let framing = match (empty, fields.framing) {
        (true, _) => Framing::Length(0),
        (false, framing) => framing.unwrap_or(Framing::UntilClose),
    };
    let close = fields.close || head.version == Some(0) || framing == Framing::UntilClose;
    let response = Response {
        status,
        framing,
        close,
    };
    Ok(Some((used, response)))
}

fn parse_request(bytes: &[u8]) -> io::Result<Option<(usize, Request)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let parsed = head
        .parse(bytes)
        .map_err(|error| wrong(&error.to_string()))?;
    let httparse::Status::Complete(used) = parsed else {
        return Ok(None);
    };
    let fields = Fields::read(head.headers)?;
    let request = Request {
        get: head.method == Some("GET"),
        path: head.path.unwrap_or_default().to_owned(),
        framing: fields.framing.unwrap_or(Framing::Length(0)),
        close: fields.close || head.version == Some(0),
        expects_continue: fields.expects_continue,
    };
    Ok(Some((used, request)))
}

/// The headers that matter for framing and connection reuse.
#[derive(Default)]
struct Fields {
    framing: Option<Framing>,
    close: bool,
    expects_continue: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> io::Result<Fields> {
        let mut fields = Fields::default();
        for header in headers {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| wrong("a content-length that is no number"))?;
                fields.framing.get_or_insert(Framing::Length(length));
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                fields.framing = Some(Framing::Chunked);
            } else if header.name.eq_ignore_ascii_case("connection") {
                fields.close |= value.eq_ignore_ascii_case(b"close");
            } else if header.name.eq_ignore_ascii_case("expect") {
                fields.expects_continue = true;
            }
        }
        Ok(fields)
    }
}
