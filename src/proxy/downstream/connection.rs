//! A client's connection of HTTP/1.1: heads and bodies read, answers written.
//!
//! Strict about what it reads. Nothing is read into a buffer of its own until there is something to read, so that a
//! connection that waits costs next to nothing. What was read beyond a request is kept for the next one. It knows
//! nothing of what is asked; [`crate::proxy::downstream::http1::Http1`] shows it to Pingora, one request at a time.

use crate::http1::body::{Decoder, Framing};
use crate::http1::head::{self, Refused, Request};
use crate::http1::write;
use crate::proxy::lazy_timer::Patience;
use crate::proxy::scratch;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{Digest, Stream};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// The first bytes of a connection of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Idle timeout of a connection between two requests.
const IDLE: Duration = Duration::from_secs(75);
/// The same where places for connections are few.
const IDLE_IN_A_CROWD: Duration = Duration::from_secs(5);
/// A client that reads nothing for so long has left.
const UNREAD: Duration = Duration::from_secs(30);
/// And so has one that, on the average after that time, reads less than this in a second.
const LEAST_READ: u64 = 1 << 10;
/// A body up to this length leaves in one write with its head.
const SMALL: usize = 16 << 10;
/// Bytes of later requests that may come before this one is answered.
const PIPELINED: usize = 64 << 10;
/// Time in which a refused client may go on sending.
const LINGER: Duration = Duration::from_secs(1);
/// Buffers that once were larger are let go.
const KEPT_BUFFER: usize = 64 << 10;

pub struct Connection {
    stream: Stream,
    digest: Arc<Digest>,
    /// Read, and not yet taken.
    unread: BytesMut,
    body: Decoder,
    /// The client speaks HTTP/1.1, not 1.0.
    is_current: bool,
    /// The client has not been told yet that its body is wanted.
    expects: bool,
    /// Not yet written.
    out: BytesMut,
    ending: Ending,
    keeps: bool,
    patience: Patience,
    limits: Limits,
    /// Nothing was ever asked on this connection.
    is_new: bool,
    /// Its first bytes may say that it is HTTP/2.
    may_be_http2: bool,
    /// Lent to each request, which gives it back.
    pub reusables: Reusables,
}

/// Timers of a request and a buffer for its answer's headers, reused from request to request.
#[derive(Default)]
pub struct Reusables {
    pub body: Patience,
    pub watch: Patience,
    pub lines: BytesMut,
}

/// An answer's headers as lines, except for `content-length` and `connection`.
pub struct HeaderLines {
    pub lines: BytesMut,
    pub length: Option<usize>,
    pub closes: bool,
}

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for a whole head, however it dribbles.
    pub head: Duration,
    /// Time that a write may be blocked, where that is less than usual.
    pub write: Duration,
}

/// How an answer's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// By its length, or there is no body.
    Length,
    Chunks,
    Close,
    /// The socket speaks another protocol from here on.
    Upgraded,
}

/// Why there is no next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRequest {
    /// The client speaks HTTP/2.
    Http2,
    /// The client has nothing more to say, or said half a head and no more.
    Gone,
    Refused(Refused),
    TooSlow,
}

/// Reason why a body stops before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Gone,
    Unframed,
}

/// Nobody reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Connection {
    pub fn new(stream: Stream, limits: Limits, may_be_http2: bool) -> Connection {
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: Vec::new(),
            proxy_digest: None,
            socket_digest: stream.get_socket_digest(),
        });
        Connection {
            stream,
            digest,
            unread: BytesMut::new(),
            body: Decoder::new(Framing::Length(0)),
            is_current: true,
            expects: false,
            out: BytesMut::new(),
            ending: Ending::Length,
            keeps: false,
            patience: Patience::new(IDLE),
            limits: Limits {
                write: limits.write.min(UNREAD),
                ..limits
            },
            is_new: true,
            may_be_http2,
            reusables: Reusables::default(),
        }
    }

    /// What is known of the socket.
    pub fn digest(&self) -> Arc<Digest> {
        self.digest.clone()
    }

    /// Nothing of a next request has come.
    pub fn is_idle(&self) -> bool {
        self.unread.is_empty()
    }

    /// Waits for the next request's head, for less long where there `is_crowd`.
    pub async fn next(&mut self, is_crowd: bool) -> Result<Request, NoRequest> {
        let mut searched = 0;
        self.body = Decoder::new(Framing::Length(0));
        self.is_current = true;
        self.expects = false;
        self.ending = Ending::Length;
        self.keeps = false;
        let mut begun = !self.unread.is_empty();
        // Whoever connects has something to say.
        self.patience.set(match begun || self.is_new {
            true => self.limits.head,
            false => idle_timeout(is_crowd),
        });
        loop {
            if self.is_new && self.may_be_http2 && begun {
                let seen = self.unread.len().min(PREFACE.len());
                if self.unread[..seen] != PREFACE[..seen] {
                    self.may_be_http2 = false;
                } else if seen == PREFACE.len() {
                    return Err(NoRequest::Http2);
                }
            }
            // Half a preface is no head yet.
            if !(self.may_be_http2 && self.is_new)
                && let Some(request) =
                    head::take_request(&mut self.unread, searched).map_err(NoRequest::Refused)?
            {
                self.body = Decoder::new(request.framing);
                self.expects = request.expects;
                self.is_current = request.is_current;
                self.keeps = request.keeps;
                self.is_new = false;
                return Ok(request);
            }
            searched = self.unread.len();
            match poll_fn(|cx| self.poll_fill_patiently(cx)).await {
                Ok(0) | Err(Stalled::Broken) => return Err(NoRequest::Gone),
                Ok(_) => {}
                Err(Stalled::TooSlow) if begun => return Err(NoRequest::TooSlow),
                Err(Stalled::TooSlow) => return Err(NoRequest::Gone),
            }
            if !begun {
                begun = true;
                self.patience.set(self.limits.head);
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        scratch::poll_read(&mut self.stream, cx, &mut self.unread)
    }

    fn poll_fill_patiently(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Stalled>> {
        match self.poll_fill(cx) {
            Poll::Ready(Ok(length)) => Poll::Ready(Ok(length)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Stalled::Broken)),
            Poll::Pending => {
                ready!(self.patience.poll_over(cx));
                Poll::Ready(Err(Stalled::TooSlow))
            }
        }
    }

    pub fn is_body_read(&self) -> bool {
        self.body.is_done()
    }

    /// The next piece of the body; `None` at its end. A client that waits to be told that it is wanted is told.
    pub async fn body(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.ending == Ending::Upgraded {
            return self.raw().await;
        }
        if self.body.is_done() {
            return Ok(None);
        }
        if std::mem::take(&mut self.expects) && self.unread.is_empty() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.flush().await.map_err(|Gone| Broken::Gone)?;
        }
        loop {
            if let Some(piece) = self.take_piece()? {
                return Ok(Some(piece));
            }
            if self.body.is_done() {
                return Ok(None);
            }
            match poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(0) | Err(_) => return Err(Broken::Gone),
                Ok(_) => {}
            }
        }
    }

    /// What has come of the body. Where its length is known, it stays where it was read.
    fn take_piece(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.unread.is_empty() {
            return Ok(None);
        }
        if let Some(remaining) = self.body.remaining() {
            let here = usize::try_from(remaining).unwrap_or(usize::MAX);
            let piece = self.unread.split_to(here.min(self.unread.len())).freeze();
            self.body.skip(piece.len() as u64);
            return Ok((!piece.is_empty()).then_some(piece));
        }
        let mut piece = BytesMut::new();
        let decoded = self.body.decode(&mut self.unread, &mut piece);
        decoded.map_err(|_| Broken::Unframed)?;
        Ok((!piece.is_empty()).then(|| piece.freeze()))
    }

    /// What the client sends after an upgrade; `None`: nothing more.
    async fn raw(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.unread.is_empty() {
            let read = poll_fn(|cx| self.poll_fill(cx)).await;
            read.map_err(|_| Broken::Gone)?;
        }
        let bytes = self.unread.split().freeze();
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Reads on and throws away, until the body is over or nothing more comes.
    pub async fn drain(&mut self) {
        let mut ignored = BytesMut::new();
        while self.body.decode(&mut self.unread, &mut ignored).is_ok() && !self.body.is_done() {
            ignored.clear();
            match poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Returns when the client has closed its side. What it sends meanwhile is kept for later.
    pub fn poll_leaves(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.unread.len() > PIPELINED {
                return Poll::Pending;
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => {
                    self.keeps = false;
                    return Poll::Ready(());
                }
                Ok(_) => {}
            }
        }
    }

    /// The head of an answer. It leaves with the first bytes of its body, or with the next [`Connection::flush`].
    pub fn write_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        write::status_line(&mut self.out, status);
        scratch::with_date(|date| self.out.extend_from_slice(date));
        let mut is_length_known = status == StatusCode::NO_CONTENT;
        for (name, value) in headers {
            if *name == header::CONTENT_LENGTH {
                // What has no content has no length either.
                if status == StatusCode::NO_CONTENT {
                    continue;
                }
                is_length_known = true;
            } else if *name == header::CONNECTION {
                self.keeps &= !value.as_bytes().eq_ignore_ascii_case(b"close");
                continue;
            } else if *name == header::TRANSFER_ENCODING || *name == header::DATE {
                continue;
            }
            // It was checked when it became a header's value.
            let _ = write::header(&mut self.out, name.as_str(), value.as_bytes());
        }
        self.end_head(is_length_known);
    }

    /// The same with headers that are lines already; the buffer is emptied.
    pub fn write_header_lines(&mut self, status: StatusCode, head: &mut HeaderLines) {
        write::status_line(&mut self.out, status);
        scratch::with_date(|date| self.out.extend_from_slice(date));
        self.out.extend_from_slice(&head.lines);
        head.lines.clear();
        self.keeps &= !head.closes;
        if let Some(length) = head.length
            && status != StatusCode::NO_CONTENT
        {
            write::number(&mut self.out, "content-length", length as u64);
        }
        self.end_head(head.length.is_some());
    }

    fn end_head(&mut self, is_length_known: bool) {
        self.ending = if is_length_known {
            Ending::Length
        } else if self.is_current {
            self.out
                .extend_from_slice(b"transfer-encoding: chunked\r\n");
            Ending::Chunks
        } else {
            // What is older than chunks ends with its connection.
            self.keeps = false;
            Ending::Close
        };
        if !self.keeps {
            self.out.extend_from_slice(b"connection: close\r\n");
        } else if !self.is_current {
            self.out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Agrees to speak another protocol from here on.
    pub fn upgrade(&mut self, headers: &HeaderMap) {
        write::status_line(&mut self.out, StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in headers {
            let _ = write::header(&mut self.out, name.as_str(), value.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        self.ending = Ending::Upgraded;
        self.keeps = false;
    }

    pub fn is_upgraded(&self) -> bool {
        self.ending == Ending::Upgraded
    }

    /// The next bytes of an answer, and its end where it is whole. What is small leaves in one write with its head.
    pub async fn send(&mut self, bytes: &[u8], is_whole: bool) -> Result<(), Gone> {
        match self.ending {
            Ending::Chunks => {
                write::chunk(&mut self.out, bytes);
                if is_whole {
                    self.out.extend_from_slice(write::LAST_CHUNK);
                }
            }
            _ if bytes.len() <= SMALL => self.out.extend_from_slice(bytes),
            _ => {
                self.flush().await?;
                return self.write(bytes).await;
            }
        }
        self.flush().await
    }

    /// Writes what is there to be written.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.out);
        let written = self.write(&out).await;
        out.clear();
        if out.capacity() <= KEPT_BUFFER {
            self.out = out;
        }
        written
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let mut rest = bytes;
        let mut blocked = false;
        let mut due = None;
        let written = poll_fn(|cx| {
            while !rest.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, rest) {
                    Poll::Ready(Ok(length @ 1..)) => {
                        rest.advance(length);
                        blocked = false;
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(Gone)),
                    Poll::Pending => {
                        if !std::mem::replace(&mut blocked, true) {
                            let slow =
                                || Instant::now() + UNREAD + at_rate(bytes.len(), LEAST_READ);
                            let rest = due.get_or_insert_with(slow).duration_since(Instant::now());
                            self.patience.set(rest.min(self.limits.write));
                        }
                        ready!(self.patience.poll_over(cx));
                        return Poll::Ready(Err(Gone));
                    }
                }
            }
            Poll::Ready(Ok(()))
        });
        let written = written.await;
        if written.is_err() {
            self.keeps = false;
        }
        written
    }

    /// The connection ends with this request.
    pub fn close_after(&mut self) {
        self.keeps = false;
    }

    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Lets a client read why it was refused: closing on what it still sends could take that away.
    pub async fn linger(&mut self) {
        let quiet = async {
            loop {
                self.unread.clear();
                match poll_fn(|cx| self.poll_fill(cx)).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, quiet).await;
    }

    /// The socket with what was read of it before it, where it is one without TLS.
    pub fn into_stream(self) -> Option<Stream> {
        let mut socket = self.stream.into_any().downcast::<Socket>().ok()?;
        socket.rewind(&self.unread);
        Some(socket)
    }

    /// Nothing more is read or written.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(self.limits.write, self.stream.shutdown()).await;
    }
}

/// Idle timeout of a connection, shorter where there `is_crowd`.
pub fn idle_timeout(is_crowd: bool) -> Duration {
    if is_crowd { IDLE_IN_A_CROWD } else { IDLE }
}

/// Time that `bytes` take at a `rate` in bytes a second.
pub fn at_rate(bytes: usize, rate: u64) -> Duration {
    match rate {
        0 => Duration::from_secs(u64::from(u32::MAX)),
        rate => Duration::from_millis((bytes as u64).saturating_mul(1_000) / rate),
    }
}

enum Stalled {
    Broken,
    TooSlow,
}
