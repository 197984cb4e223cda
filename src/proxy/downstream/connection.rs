//! A client's HTTP/1.1 connection: parses heads, decodes bodies, writes responses.
//!
//! The parser is strict (`crate::http1::head`). An idle connection holds no read buffer: [`read_buffer`]
//! copies bytes into `unread` only after they have arrived.
//! Bytes behind a request (pipelining) stay in `unread` for the next one.
//! This file never interprets a request; [`crate::proxy::downstream::http1::Http1`] presents the connection
//! to Pingora, one request at a time.

use crate::http1::body::{Decoder, Framing};
use crate::http1::head::{self, Refused, Request};
use crate::http1::write;
use crate::proxy::lazy_timer::LazyTimer;
use crate::proxy::{http_date, read_buffer};
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

/// HTTP/2 client connection preface (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Idle timeout of a connection between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Idle timeout while `Connections::is_nearly_full`.
const IDLE_TIMEOUT_NEARLY_FULL: Duration = Duration::from_secs(5);
/// Write timeout: a client whose socket stays unwritable for this long counts as [`Gone`].
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Least average read rate of a client in bytes per second, enforced once a write has lasted [`WRITE_TIMEOUT`].
const MIN_READ_BYTES_PER_SECOND: u64 = 1 << 10;
/// Longest body, in bytes, that is copied behind its head so that both leave in one `write`.
const MAX_JOINED_BODY_BYTES: usize = 16 << 10;
/// Bytes of pipelined requests that are read while the current request is answered; then reading pauses.
const MAX_PIPELINED_BYTES: usize = 64 << 10;
/// Time for which [`Connection::linger`] reads on after a refusal.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest capacity in bytes of an `out` buffer that is kept for the next write; a larger one is freed.
const MAX_KEPT_BUFFER_BYTES: usize = 64 << 10;

/// HTTP/1.1 connection of a client, with its buffers, timer and keep-alive state.
pub struct Connection {
    stream: Stream,
    digest: Arc<Digest>,
    /// Bytes read from `stream` and not yet consumed.
    unread: BytesMut,
    body: Decoder,
    /// Whether the request is HTTP/1.1; false for 1.0.
    is_current: bool,
    /// Whether the client sent `expect: 100-continue` and still waits for the `100`.
    expects: bool,
    /// Bytes to be written by the next [`Connection::flush`].
    out: BytesMut,
    ending: Ending,
    /// Whether the connection stays open after the current request (keep-alive).
    keeps: bool,
    timer: LazyTimer,
    limits: ConnectionTimeouts,
    /// Whether no request head has been parsed on this connection yet.
    is_new: bool,
    /// Whether the first bytes may still turn out to be the HTTP/2 [`PREFACE`].
    may_be_http2: bool,
    /// Lent to each request by `Http1::new`, and returned when that session is dropped.
    pub(crate) reusables: Reusables,
}

/// Timers of a request and a buffer for its response headers, reused from request to request to save
/// allocations.
#[derive(Default)]
pub(crate) struct Reusables {
    pub body: LazyTimer,
    pub lifetime_timer: LazyTimer,
    pub lines: BytesMut,
}

/// Response headers in wire format, without `content-length` and `connection`, which `Connection` adds.
pub(crate) struct HeaderLines {
    pub lines: BytesMut,
    /// Value of `content-length`. `None`: the body is chunked.
    pub length: Option<usize>,
    /// Whether the response says `connection: close`.
    pub closes: bool,
}

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionTimeouts {
    /// `server.header_timeout`: deadline for a whole head, counted from its first byte, so that dribbling
    /// does not extend it.
    pub head: Duration,
    /// Write timeout where it is below `WRITE_TIMEOUT`; see `SessionLimits::write`.
    pub write: Duration,
}

/// Framing of the response body: how the client finds its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// `content-length`, or no body at all.
    Length,
    /// `transfer-encoding: chunked`.
    Chunks,
    /// The end of the connection, for HTTP/1.0 clients.
    Close,
    /// `101 Switching Protocols` was sent: bytes pass unframed from now on.
    Upgraded,
}

/// Reason why [`Connection::next`] returned no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRequest {
    /// The client sent the HTTP/2 `PREFACE`.
    Http2,
    /// The client closed or broke the connection, possibly within a head, or the idle timeout passed.
    Gone,
    /// The head is malformed or exceeds a limit.
    Refused(Refused),
    /// `ConnectionTimeouts::head` passed before a head that had begun was complete (408).
    TooSlow,
}

/// Reason why a request body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The client closed or broke the connection.
    Gone,
    /// The chunk framing is malformed.
    Unframed,
}

/// Error of a write: the client has disconnected, or reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Connection {
    pub(crate) fn new(
        stream: Stream,
        limits: ConnectionTimeouts,
        may_be_http2: bool,
    ) -> Connection {
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
            timer: LazyTimer::new(IDLE_TIMEOUT),
            limits: ConnectionTimeouts {
                write: limits.write.min(WRITE_TIMEOUT),
                ..limits
            },
            is_new: true,
            may_be_http2,
            reusables: Reusables::default(),
        }
    }

    /// Returns Pingora's [`Digest`] of the socket: addresses and TLS.
    pub fn digest(&self) -> Arc<Digest> {
        self.digest.clone()
    }

    /// Whether no byte of a next request has been read.
    pub fn is_idle(&self) -> bool {
        self.unread.is_empty()
    }

    /// Waits for the next request head and parses it. `is_nearly_full` shortens the idle timeout, see
    /// [`idle_timeout`].
    pub(crate) async fn next(&mut self, is_nearly_full: bool) -> Result<Request, NoRequest> {
        let mut searched = 0;
        self.body = Decoder::new(Framing::Length(0));
        self.is_current = true;
        self.expects = false;
        self.ending = Ending::Length;
        self.keeps = false;
        let mut begun = !self.unread.is_empty();
        // A new connection gets `header_timeout` instead of the longer idle timeout: clients connect in order
        // to send.
        self.timer.set(match begun || self.is_new {
            true => self.limits.head,
            false => idle_timeout(is_nearly_full),
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
            // While the bytes may still become the preface, they are not parsed as an HTTP/1.1 head.
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
                self.timer.set(self.limits.head);
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        read_buffer::poll_read(&mut self.stream, cx, &mut self.unread)
    }

    /// Reads into `unread` until `timer` fires. Returns the number of bytes, 0 at the end of the stream.
    fn poll_fill_patiently(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Stalled>> {
        match self.poll_fill(cx) {
            Poll::Ready(Ok(length)) => Poll::Ready(Ok(length)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Stalled::Broken)),
            Poll::Pending => {
                ready!(self.timer.poll_elapsed(cx));
                Poll::Ready(Err(Stalled::TooSlow))
            }
        }
    }

    pub(crate) fn is_body_read(&self) -> bool {
        self.body.is_done()
    }

    /// Reads the next piece of the body; `None` at its end. Sends `100 Continue` first if the client waits
    /// for it.
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

    /// Takes the body bytes that are in `unread`. With a `content-length` they are split off without copying;
    /// chunks are decoded into a new buffer.
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

    /// Reads bytes of an upgraded connection; `None` at the end of the stream.
    async fn raw(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.unread.is_empty() {
            let read = poll_fn(|cx| self.poll_fill(cx)).await;
            read.map_err(|_| Broken::Gone)?;
        }
        let bytes = self.unread.split().freeze();
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Reads the rest of the body and discards it, until its end or the end of the connection.
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

    /// Ready when the client has closed its side. Pipelined bytes that arrive meanwhile are kept, up to
    /// `MAX_PIPELINED_BYTES`.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.unread.len() > MAX_PIPELINED_BYTES {
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

    /// Buffers a response head. It leaves with the first bytes of the body, or with the next
    /// [`Connection::flush`].
    pub(crate) fn write_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        write::status_line(&mut self.out, status);
        http_date::with_date(|date| self.out.extend_from_slice(date));
        let mut is_length_known = status == StatusCode::NO_CONTENT;
        for (name, value) in headers {
            if *name == header::CONTENT_LENGTH {
                // RFC 9110 forbids `content-length` in a 204.
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
            // A `HeaderValue` is valid already, so this cannot fail.
            let _ = write::header(&mut self.out, name.as_str(), value.as_bytes());
        }
        self.end_head(is_length_known);
    }

    /// Like [`Connection::write_head`] with headers in wire format. Empties `head.lines`.
    pub(crate) fn write_header_lines(&mut self, status: StatusCode, head: &mut HeaderLines) {
        write::status_line(&mut self.out, status);
        http_date::with_date(|date| self.out.extend_from_slice(date));
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

    /// Chooses the body framing, writes `connection` and ends the head.
    fn end_head(&mut self, is_length_known: bool) {
        self.ending = if is_length_known {
            Ending::Length
        } else if self.is_current {
            self.out
                .extend_from_slice(b"transfer-encoding: chunked\r\n");
            Ending::Chunks
        } else {
            // HTTP/1.0 has no chunked coding: closing the connection ends the body.
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

    /// Buffers `101 Switching Protocols`: from now on both directions pass unframed.
    pub fn upgrade(&mut self, headers: &HeaderMap) {
        write::status_line(&mut self.out, StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in headers {
            let _ = write::header(&mut self.out, name.as_str(), value.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        self.ending = Ending::Upgraded;
        self.keeps = false;
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.ending == Ending::Upgraded
    }

    /// Sends the next bytes of a response body, and its end if `is_whole`. Up to `MAX_JOINED_BODY_BYTES` bytes leave in one
    /// write with the head.
    pub async fn send(&mut self, bytes: &[u8], is_whole: bool) -> Result<(), Gone> {
        match self.ending {
            Ending::Chunks => {
                write::chunk(&mut self.out, bytes);
                if is_whole {
                    self.out.extend_from_slice(write::LAST_CHUNK);
                }
            }
            _ if bytes.len() <= MAX_JOINED_BODY_BYTES => self.out.extend_from_slice(bytes),
            _ => {
                self.flush().await?;
                return self.write(bytes).await;
            }
        }
        self.flush().await
    }

    /// Writes the buffered bytes of `out`.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.out);
        let written = self.write(&out).await;
        out.clear();
        if out.capacity() <= MAX_KEPT_BUFFER_BYTES {
            self.out = out;
        }
        written
    }

    /// Writes all `bytes`. Fails if the socket stays blocked for [`WRITE_TIMEOUT`], or if the whole write falls
    /// behind [`MIN_READ_BYTES_PER_SECOND`].
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
                            let slow = || {
                                Instant::now()
                                    + WRITE_TIMEOUT
                                    + time_at_rate(bytes.len(), MIN_READ_BYTES_PER_SECOND)
                            };
                            let rest = due.get_or_insert_with(slow).duration_since(Instant::now());
                            self.timer.set(rest.min(self.limits.write));
                        }
                        ready!(self.timer.poll_elapsed(cx));
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

    /// Closes the connection after the current request (no keep-alive).
    pub(crate) fn close_after(&mut self) {
        self.keeps = false;
    }

    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Reads and discards input for `LINGER_TIMEOUT` before a close: closing with unread input sends a TCP reset,
    /// which can discard the refusal before the client reads it.
    pub(crate) async fn linger(&mut self) {
        let quiet = async {
            loop {
                self.unread.clear();
                match poll_fn(|cx| self.poll_fill(cx)).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        let _ = tokio::time::timeout(LINGER_TIMEOUT, quiet).await;
    }

    /// Returns the socket with the bytes already read put back in front. `None` for a TLS connection.
    pub(crate) fn into_stream(self) -> Option<Stream> {
        let mut socket = self.stream.into_any().downcast::<Socket>().ok()?;
        socket.rewind(&self.unread);
        Some(socket)
    }

    /// Shuts the connection down, within `ConnectionTimeouts::write`.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(self.limits.write, self.stream.shutdown()).await;
    }
}

/// Returns the idle timeout: 75 s, or 5 s if `is_nearly_full`.
pub fn idle_timeout(is_nearly_full: bool) -> Duration {
    if is_nearly_full {
        IDLE_TIMEOUT_NEARLY_FULL
    } else {
        IDLE_TIMEOUT
    }
}

/// Returns the time that `bytes` take at `rate` bytes per second; practically unlimited for a rate of 0.
pub(crate) fn time_at_rate(bytes: usize, rate: u64) -> Duration {
    match rate {
        0 => Duration::from_secs(u64::from(u32::MAX)),
        rate => Duration::from_millis((bytes as u64).saturating_mul(1_000) / rate),
    }
}

/// Reason why [`Connection::poll_fill_patiently`] read nothing.
enum Stalled {
    Broken,
    TooSlow,
}
