//! A blocking HTTP/1.1 client with control over the bytes sent, the socket used, and the arrival time of each
//! piece.
//!
//! The client adds `host` and body framing unless given, and nothing else. It never follows redirects, retries or
//! decompresses. Every operation times out after 30 s.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::wait::within;
use super::wire::{Body, Headers, LAST_CHUNK, Wire, chunk, header, lists};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A server address; each request opens its own socket.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    addr: SocketAddr,
    timeout: Duration,
}

impl Client {
    pub fn new(addr: SocketAddr) -> Client {
        Client {
            addr,
            timeout: TIMEOUT,
        }
    }

    pub fn timeout(self, timeout: Duration) -> Client {
        Client { timeout, ..self }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn request(&self, method: &str, path: &str) -> Request<'static> {
        Request::new(Route::Fresh(*self), method, path)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path).send()
    }

    /// Opens a socket for several requests.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        match self.try_connect() {
            Ok(connection) => connection,
            Err(error) => panic!("cannot connect to {}: {error}", self.addr),
        }
    }

    pub fn try_connect(&self) -> io::Result<Connection> {
        Ok(Connection {
            wire: Wire::new(TcpStream::connect_timeout(&self.addr, self.timeout)?)?,
            host: self.addr.to_string(),
            timeout: self.timeout,
            usable: true,
        })
    }
}

/// One socket, for keep-alive and partial requests.
pub struct Connection {
    wire: Wire,
    host: String,
    timeout: Duration,
    usable: bool,
}

impl Connection {
    pub fn request(&mut self, method: &str, path: &str) -> Request<'_> {
        Request::new(Route::Kept(self), method, path)
    }

    /// Sends raw bytes, such as an incomplete request; `read_answer` reads the response.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.renew();
        self.wire.write(bytes).expect("the server takes the bytes");
    }

    /// Reads the response to raw bytes.
    pub fn read_answer(&mut self) -> io::Result<Response> {
        self.renew();
        let answer = self.read_final_head()?.ok_or(ErrorKind::UnexpectedEof)?;
        streaming(answer, Held::Borrowed(self), false)?.into_response()
    }

    /// Whether the socket can take another request, as far as known now.
    pub fn is_open(&self) -> bool {
        self.usable && !self.wire.peer_has_gone()
    }

    /// Whether the server closes within this time.
    pub fn closes_within(&self, timeout: Duration) -> bool {
        within(timeout, || self.wire.peer_has_gone().then_some(())).is_some()
    }

    /// Local port, to find the connection in logs.
    pub fn local_port(&self) -> u16 {
        let address = self.wire.stream().local_addr();
        address.expect("a connected socket").port()
    }

    fn renew(&mut self) {
        self.wire.set_deadline(Some(Instant::now() + self.timeout));
    }

    fn read_final_head(&mut self) -> io::Result<Option<Answer>> {
        let mut continued = false;
        while let Some(answer) = self.read_answer_head()? {
            match answer.status {
                // 101 ends HTTP on this socket; other 1xx responses precede the final one.
                100 => continued = true,
                102..200 => {}
                _ => {
                    let continued = continued || answer.continued;
                    return Ok(Some(Answer {
                        continued,
                        ..answer
                    }));
                }
            }
        }
        Ok(None)
    }

    fn read_answer_head(&mut self) -> io::Result<Option<Answer>> {
        let Some(head) = self.wire.read_head()? else {
            return Ok(None);
        };
        let status = head
            .first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, head.first.clone()))?;
        Ok(Some(Answer {
            status,
            headers: head.headers,
            continued: false,
        }))
    }

    fn exchange(&mut self, request: &Parts) -> io::Result<Answer> {
        self.renew();
        let (head, body) = request.bytes(&self.host);
        if request.expects_continue() {
            self.wire.write(&head)?;
            let first = self.read_answer_head()?.ok_or(ErrorKind::UnexpectedEof)?;
            if first.status != 100 {
                // Refused before the body was sent: the socket cannot be reused.
                self.usable = false;
                return Ok(first);
            }
            let sent = self.wire.write(&body);
            let answer = self.answer_after(sent)?;
            return Ok(Answer {
                continued: true,
                ..answer
            });
        }
        let sent = self.wire.write(&[head, body].concat());
        self.answer_after(sent)
    }

    /// Reads a response even after a failed write: a server may respond and close early.
    fn answer_after(&mut self, sent: io::Result<()>) -> io::Result<Answer> {
        let answer = self.read_final_head();
        match (sent, answer) {
            (_, Ok(Some(answer))) => Ok(answer),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(()), Ok(None)) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

struct Answer {
    status: u16,
    headers: Headers,
    continued: bool,
}

enum Route<'c> {
    Fresh(Client),
    Kept(&'c mut Connection),
}

/// A request builder; `send` or `send_streaming` sends it.
#[must_use]
pub struct Request<'c> {
    route: Route<'c>,
    parts: Parts,
}

struct Parts {
    method: String,
    path: String,
    headers: Headers,
    body: Option<Vec<u8>>,
    chunks: Option<Vec<Vec<u8>>>,
}

impl<'c> Request<'c> {
    fn new(route: Route<'c>, method: &str, path: &str) -> Request<'c> {
        let parts = Parts {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            chunks: None,
        };
        Request { route, parts }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        let header = (name.to_owned(), value.to_owned());
        self.parts.headers.push(header);
        self
    }

    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.parts.body = Some(bytes.into());
        self
    }

    pub fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(value.to_string())
    }

    /// A chunked body.
    pub fn chunked(mut self, chunks: &[&[u8]]) -> Self {
        self.parts.chunks = Some(chunks.iter().map(|bytes| bytes.to_vec()).collect());
        self
    }

    /// Sends the body only after `100 Continue`.
    pub fn expect_continue(self) -> Self {
        self.header("expect", "100-continue")
    }

    #[track_caller]
    pub fn send(self) -> Response {
        let what = format!("{} {}", self.parts.method, self.parts.path);
        match self.try_send() {
            Ok(response) => response,
            Err(error) => panic!("{what}: no whole answer: {error}"),
        }
    }

    /// Sends it; an error if the server refused, closed early or timed out.
    pub fn try_send(self) -> io::Result<Response> {
        self.try_send_streaming()?.into_response()
    }

    /// Sends it and returns after the response head; the body is read piece by piece.
    #[track_caller]
    pub fn send_streaming(self) -> Streaming<'c> {
        let what = format!("{} {}", self.parts.method, self.parts.path);
        match self.try_send_streaming() {
            Ok(streaming) => streaming,
            Err(error) => panic!("{what}: no answer: {error}"),
        }
    }

    pub fn try_send_streaming(self) -> io::Result<Streaming<'c>> {
        let mut held = match self.route {
            Route::Fresh(client) => Held::Owned(Box::new(client.try_connect()?)),
            Route::Kept(connection) => Held::Borrowed(connection),
        };
        let answer = held.connection().exchange(&self.parts)?;
        streaming(answer, held, self.parts.method == "HEAD")
    }
}

impl Parts {
    fn expects_continue(&self) -> bool {
        lists(&self.headers, "expect", "100-continue")
    }

    /// Head and body as sent.
    fn bytes(&self, host: &str) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let mut add = |name: &str, value: &str| head += &format!("{name}: {value}\r\n");
        if header(&self.headers, "host").is_none() {
            add("host", host);
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        let mut body = self.body.clone().unwrap_or_default();
        let framed = header(&self.headers, "content-length").is_some()
            || header(&self.headers, "transfer-encoding").is_some();
        if let Some(chunks) = &self.chunks {
            body = chunks.iter().flat_map(|bytes| chunk(bytes)).collect();
            body.extend_from_slice(LAST_CHUNK);
            if !framed {
                add("transfer-encoding", "chunked");
            }
        } else if !framed && (self.body.is_some() || matches!(&*self.method, "POST" | "PUT")) {
            add("content-length", &body.len().to_string());
        }
        head += "\r\n";
        (head.into_bytes(), body)
    }
}

enum Held<'c> {
    Owned(Box<Connection>),
    Borrowed(&'c mut Connection),
}

impl Held<'_> {
    fn connection(&mut self) -> &mut Connection {
        match self {
            Held::Owned(connection) => connection,
            Held::Borrowed(connection) => connection,
        }
    }
}

fn streaming(answer: Answer, mut held: Held<'_>, is_head: bool) -> io::Result<Streaming<'_>> {
    let body = match answer.status {
        _ if is_head => Body::Done,
        100..200 | 204 | 304 => Body::Done,
        _ => Body::of_response(&answer.headers)?,
    };
    if matches!(body, Body::ToClose) || lists(&answer.headers, "connection", "close") {
        held.connection().usable = false;
    }
    Ok(Streaming {
        status: answer.status,
        headers: answer.headers,
        continued: answer.continued,
        body,
        held,
        cut: None,
    })
}

/// One piece of a streamed response and its arrival time.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    pub at: Instant,
}

/// A response whose head has arrived. Dropping it early closes its socket.
pub struct Streaming<'c> {
    pub status: u16,
    pub headers: Headers,
    /// Whether `100 Continue` preceded it.
    pub continued: bool,
    body: Body,
    held: Held<'c>,
    cut: Option<io::Error>,
}

impl Streaming<'_> {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Whether the body is complete by its framing.
    pub fn is_whole(&self) -> bool {
        matches!(self.body, Body::Done) && self.cut.is_none()
    }

    /// Reads until the text contains `needle`; returns the text so far.
    #[track_caller]
    pub fn wait_for(&mut self, needle: &str) -> String {
        let mut seen = Vec::new();
        let begun = Instant::now();
        let timeout = self.held.connection().timeout;
        for chunk in self.by_ref() {
            seen.extend(chunk.bytes);
            let text = String::from_utf8_lossy(&seen);
            if text.contains(needle) {
                return text.into_owned();
            }
            // Heartbeats do not extend the timeout.
            let waited = begun.elapsed();
            assert!(waited < timeout, "no {needle:?} within {waited:?}: {text}");
        }
        let text = String::from_utf8_lossy(&seen);
        panic!("the stream ended without {needle:?}: {text}")
    }

    /// Reads the rest of the body; an error if it is truncated.
    pub fn into_response(mut self) -> io::Result<Response> {
        let mut body = Vec::new();
        for chunk in &mut self {
            body.extend(chunk.bytes);
        }
        match self.cut.take() {
            Some(error) => Err(error),
            None => Ok(Response {
                status: self.status,
                headers: std::mem::take(&mut self.headers),
                continued: self.continued,
                body,
            }),
        }
    }
}

/// Ends with the body or where it was cut; `is_whole` distinguishes them.
impl Iterator for Streaming<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.cut.is_some() {
            return None;
        }
        let connection = self.held.connection();
        connection.renew();
        match self.body.next(&mut connection.wire) {
            Ok(piece) => piece.map(|bytes| Chunk {
                bytes,
                at: Instant::now(),
            }),
            Err(error) => {
                self.cut = Some(error);
                None
            }
        }
    }
}

impl Drop for Streaming<'_> {
    fn drop(&mut self) {
        if !self.is_whole() {
            let connection = self.held.connection();
            connection.usable = false;
            let _ = connection.wire.stream().shutdown(std::net::Shutdown::Both);
        }
    }
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    pub continued: bool,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{} with no JSON ({error}): {}", self.status, self.text()),
        }
    }
}

/// Sends raw bytes and returns everything received until the server closes or the timeout passes.
pub fn raw(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    raw_for(addr, bytes, TIMEOUT)
}

pub fn raw_for(addr: SocketAddr, bytes: &[u8], timeout: Duration) -> Vec<u8> {
    let stream = TcpStream::connect_timeout(&addr, timeout).expect("the server accepts");
    let mut wire = Wire::new(stream).expect("a connected socket");
    wire.set_deadline(Some(Instant::now() + timeout));
    // A server that refuses early may reset the connection during the write.
    let _ = wire.write(bytes);
    let mut answer = Vec::new();
    while let Ok(piece) = wire.read_some(usize::MAX) {
        if piece.is_empty() {
            break;
        }
        answer.extend(piece);
    }
    answer
}
