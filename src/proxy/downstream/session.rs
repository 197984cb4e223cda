//! The client's side of one request over HTTP/1.1 or HTTP/2: reads head and body, writes the response.
//!
//! All I/O goes through Pingora's [`ServerSession`]. Differences between the protocols end here and in the
//! sessions beneath, so callers never ask for the version.

use crate::http1::body::Framing;
use crate::http1::head::Request;
use crate::http1::write::{self, InvalidHeaderValue};
use crate::proxy::downstream::connection::{Gone, HeaderLines, Reusables, time_at_rate};
use crate::proxy::downstream::http1::{Handoff, HeadFault};
use crate::proxy::downstream::http2;
use crate::proxy::lazy_timer::LazyTimer;
use crate::proxy::side::Side;
use crate::settings::Settings;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Grace period before `server.body_rate` is enforced.
const BODY_GRACE: Duration = Duration::from_secs(10);
/// Timeout of one read of a body.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest unread body in bytes that [`Session::discard_body`] discards; `BodyMemory` does not count one this
/// short.
const MAX_DISCARDED_BODY_BYTES: u64 = 64 << 10;
/// Bytes of a long response in one HTTP/2 write: the write timeout applies to each such piece.
const HTTP2_WRITE_BYTES: usize = 64 << 10;
/// Capacity of a response's [`HeaderMap`]: about twelve headers of ours, and the provider's.
const TYPICAL_HEADERS: usize = 24;
/// Capacity in bytes of the response's header lines on HTTP/1.1.
const TYPICAL_HEADER_BYTES: usize = 1 << 10;

/// One request of a client, with the state of its response.
pub struct Session<'a> {
    down: &'a mut ServerSession,
    over: Protocol,
    /// Reason why the head could not be parsed. `None`: [`Session::request`] is valid.
    pub(crate) fault: Option<HeadFault>,
    pub peer: Option<SocketAddr>,
    /// [`Side`] of the listener that the request came in by.
    pub(crate) side: Side,
    /// Status of the response. `None`: none has begun.
    answered: Option<StatusCode>,
    is_head_written: bool,
    ending: Ending,
    limits: SessionLimits,
    /// Read timeout of the body.
    body_timer: LazyTimer,
    /// Timer of the call's `Lifetime`, kept here so that the connection can reuse it.
    pub(crate) lifetime_timer: LazyTimer,
}

/// Request and response headers in the form that each protocol has for them.
enum Protocol {
    /// `handoff` shares the request with its `Http1` session; `lines` are the response headers in wire
    /// format.
    Http1 {
        handoff: Arc<Handoff>,
        lines: BytesMut,
    },
    Http2 {
        request: Box<Request>,
        table: HeaderMap,
    },
}

/// Fate of the connection, or of its HTTP/2 stream, after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Keep-alive.
    Kept,
    /// The response is complete, and the connection closes after it.
    Closes,
    /// The response is truncated: the connection is cut or the stream reset, so that the client notices.
    Truncated,
}

/// Bounds on how slowly a client may send and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    /// `server.body_rate`: least bytes per second of a body.
    pub body_rate: u64,
    /// Write timeout: a quarter of `accounts.hold_ttl`, because no hold is renewed while a write blocks.
    pub write: Duration,
}

impl SessionLimits {
    pub fn of(settings: &Settings) -> SessionLimits {
        SessionLimits {
            body_rate: settings.server.body_rate,
            write: settings.accounts.hold_ttl / 4,
        }
    }
}

/// Reason why [`Session::body`] returned no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The client closed or broke the connection.
    Gone,
    TooSlow,
    TooLong,
    /// `server.max_buffered` is used up by bodies of other requests.
    NoMemory,
    /// The chunk framing is malformed.
    Unframed,
}

impl<'a> Session<'a> {
    /// Wraps Pingora's session. A [`Handoff`] in the extensions marks HTTP/1.1; otherwise the HTTP/2 head is
    /// parsed here.
    pub(crate) fn new(
        down: &'a mut ServerSession,
        limits: SessionLimits,
        side: Side,
    ) -> Session<'a> {
        let peer = down.client_addr().and_then(|peer| peer.as_inet().copied());
        let handoff = down.req_header().extensions.get::<Arc<Handoff>>().cloned();
        let (over, fault, body, lifetime_timer) = match handoff {
            Some(handoff) => {
                let Reusables {
                    body,
                    lifetime_timer,
                    lines,
                } = handoff.take_reusables();
                let fault = handoff.fault;
                (
                    Protocol::Http1 { handoff, lines },
                    fault,
                    body,
                    lifetime_timer,
                )
            }
            None => {
                let read = http2::request(down);
                let fault = read.as_ref().err().copied().map(HeadFault::Refused);
                let over = Protocol::Http2 {
                    request: Box::new(read.unwrap_or_else(|_| Request::nothing())),
                    table: HeaderMap::new(),
                };
                (over, fault, LazyTimer::default(), LazyTimer::default())
            }
        };
        if down.is_http2() {
            down.set_write_timeout(Some(limits.write));
        }
        Session {
            down,
            over,
            fault,
            peer,
            side,
            answered: None,
            is_head_written: false,
            ending: Ending::Kept,
            limits,
            body_timer: body,
            lifetime_timer,
        }
    }

    pub fn request(&self) -> &Request {
        match &self.over {
            Protocol::Http1 { handoff, .. } => &handoff.request,
            Protocol::Http2 { request, .. } => request,
        }
    }

    /// Whether the connection is TLS.
    pub(crate) fn is_tls(&self) -> bool {
        let digest = self.down.digest();
        digest.is_some_and(|digest| digest.ssl_digest.is_some())
    }

    /// Whether the client asks for an `upgrade` of its connection, as to a WebSocket.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.down.is_upgrade_req()
    }

    /// Returns the body's `content-length` in bytes, 0 without a body. `None`: it is chunked.
    pub(crate) fn body_length(&self) -> Option<u64> {
        match self.request().framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    pub(crate) fn is_body_read(&mut self) -> bool {
        self.down.is_body_done()
    }

    /// Whether the body is known to be at most `MAX_DISCARDED_BODY_BYTES` long.
    pub(crate) fn is_body_small(&self) -> bool {
        self.body_length()
            .is_some_and(|length| length <= MAX_DISCARDED_BODY_BYTES)
    }

    /// Reads the whole body, of at most `most` bytes. After each piece `fits` gets the buffer's size in
    /// bytes; false ends in [`BodyError::NoMemory`].
    pub(crate) async fn body(
        &mut self,
        most: u64,
        mut fits: impl FnMut(usize) -> bool,
    ) -> Result<Bytes, BodyError> {
        if self.body_length().is_some_and(|length| length > most) {
            return Err(BodyError::TooLong);
        }
        if self.down.is_body_done() {
            return Ok(Bytes::new());
        }
        let mut body = BodyBuffer::default();
        let mut begun = None;
        loop {
            match self.piece(body.len(), &mut begun).await? {
                Some(piece) => body.add(piece),
                None => return Ok(body.whole()),
            }
            if body.len() as u64 > most {
                return Err(BodyError::TooLong);
            }
            if !fits(body.capacity()) {
                return Err(BodyError::NoMemory);
            }
            if self.down.is_body_done() {
                return Ok(body.whole());
            }
        }
    }

    /// Reads the next piece of a body of which `here` bytes have arrived. The deadline is [`BODY_GRACE`] plus
    /// the time for `here` bytes at `body_rate`, counted from the first wait (`begun`), and at most
    /// [`BODY_READ_TIMEOUT`] from now.
    async fn piece(
        &mut self,
        here: usize,
        begun: &mut Option<Instant>,
    ) -> Result<Option<Bytes>, BodyError> {
        let (down, body_timer) = (&mut *self.down, &mut self.body_timer);
        let body_rate = self.limits.body_rate;
        let mut is_waited_for = false;
        let mut read = pin!(down.read_request_body());
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = read.as_mut().poll(cx) {
                return Poll::Ready(Some(read));
            }
            if !std::mem::replace(&mut is_waited_for, true) {
                let due = BODY_GRACE + time_at_rate(here, body_rate);
                let waited = begun.get_or_insert_with(Instant::now).elapsed();
                body_timer.set(due.saturating_sub(waited).min(BODY_READ_TIMEOUT));
            }
            body_timer.poll_elapsed(cx).map(|()| None)
        });
        match read.await {
            None => Err(BodyError::TooSlow),
            Some(Ok(piece)) => Ok(piece),
            Some(Err(error)) if error.etype == pingora::ErrorType::InvalidHTTPHeader => {
                Err(BodyError::Unframed)
            }
            Some(Err(_)) => Err(BodyError::Gone),
        }
    }

    /// Discards a short unread body as far as it has arrived, without waiting. Sends no `100 Continue`.
    pub(crate) fn discard_body(&mut self) {
        if !self.down.is_body_done() && self.is_body_small() {
            let _ = self.down.drain_request_body().now_or_never();
        }
    }

    /// Reads and discards the rest of the body, until its end or the end of the connection. On HTTP/2 as
    /// well: a `RST_STREAM` with `NO_ERROR` behind the response makes some clients lose the response (curl
    /// 7.88).
    pub async fn drain(&mut self) {
        let _ = self.down.drain_request_body().await;
    }

    /// Ready when the client has disconnected. Bytes that it pipelines meanwhile are kept.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The future holds no state, so a new one for each poll loses nothing.
        let left = pin!(self.down.read_body_or_idle(true));
        let _ = ready!(left.poll(cx));
        Poll::Ready(())
    }

    /// Returns the status passed to [`Session::begin_head`]. `None`: no response has begun.
    pub fn answered(&self) -> Option<StatusCode> {
        self.answered
    }

    /// Returns the status of the response for metrics and records, 0 where none has begun.
    pub(crate) fn status(&self) -> u16 {
        self.answered.map_or(0, |status| status.as_u16())
    }

    /// Begins a response. Its headers follow by [`Session::header`].
    pub(crate) fn begin_head(&mut self, status: StatusCode) {
        self.answered = Some(status);
        match &mut self.over {
            Protocol::Http1 { lines, .. } => {
                lines.clear();
                lines.reserve(TYPICAL_HEADER_BYTES);
            }
            Protocol::Http2 { table, .. } => *table = HeaderMap::with_capacity(TYPICAL_HEADERS),
        }
        // Keeps browsers from sniffing JSON as a page or a script.
        let _ = self.header("x-content-type-options", b"nosniff");
    }

    pub fn header(&mut self, name: &'static str, value: &[u8]) -> Result<(), InvalidHeaderValue> {
        match &mut self.over {
            Protocol::Http1 { lines, .. } => write::header(lines, name, value),
            Protocol::Http2 { .. } => self.header_of(&HeaderName::from_static(name), value),
        }
    }

    pub(crate) fn header_of(
        &mut self,
        name: &HeaderName,
        value: &[u8],
    ) -> Result<(), InvalidHeaderValue> {
        match &mut self.over {
            Protocol::Http1 { lines, .. } => write::header(lines, name.as_str(), value),
            Protocol::Http2 { table, .. } => {
                let value = HeaderValue::from_bytes(value).map_err(|_| InvalidHeaderValue)?;
                table.append(name, value);
                Ok(())
            }
        }
    }

    pub(crate) fn header_number(&mut self, name: &'static str, value: u64) {
        match &mut self.over {
            Protocol::Http1 { lines, .. } => write::number(lines, name, value),
            Protocol::Http2 { table, .. } => {
                table.append(HeaderName::from_static(name), HeaderValue::from(value));
            }
        }
    }

    /// Sends a whole response body with its `content-length`, in one write with the head where it is small.
    /// `HEAD` gets the head alone.
    pub async fn whole(&mut self, body: Bytes) -> Result<(), Gone> {
        self.write_head(Some(body.len())).await?;
        if self.request().method == Method::HEAD {
            return self.write(Bytes::new(), true).await;
        }
        self.write(body, true).await
    }

    /// Sends the head of a streamed response now, before any byte of its body.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        self.write_head(None).await?;
        let flushed = self.down.response_duplex_vec(Vec::new()).await;
        flushed.map(drop).map_err(|_| Gone)
    }

    /// Sends the next bytes of a streamed response, and its end if `is_whole`.
    pub async fn stream(&mut self, bytes: Bytes, is_whole: bool) -> Result<(), Gone> {
        self.write_head(None).await?;
        self.write(bytes, is_whole).await
    }

    /// Writes the head, once. `length`: value of `content-length`, where it is known.
    async fn write_head(&mut self, length: Option<usize>) -> Result<(), Gone> {
        if std::mem::replace(&mut self.is_head_written, true) {
            return Ok(());
        }
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = self.answered.unwrap_or_default();
        match &mut self.over {
            Protocol::Http1 { handoff, lines } => handoff.set_header_lines(HeaderLines {
                lines: std::mem::take(lines),
                length,
                closes: self.ending != Ending::Kept,
            }),
            Protocol::Http2 { table, .. } => {
                parts.headers = std::mem::take(table);
                if let Some(length) = length {
                    let length = HeaderValue::from(length);
                    parts.headers.insert(header::CONTENT_LENGTH, length);
                }
            }
        }
        let head = Box::new(ResponseHeader::from(parts));
        let written = self.down.write_response_header(head).await;
        written.map_err(|_| Gone)
    }

    async fn write(&mut self, mut bytes: Bytes, is_whole: bool) -> Result<(), Gone> {
        while self.down.is_http2() && bytes.len() > HTTP2_WRITE_BYTES {
            let piece = self
                .down
                .write_response_body(bytes.split_to(HTTP2_WRITE_BYTES), false);
            piece.await.map_err(|_| Gone)?;
        }
        let written = self.down.write_response_body(bytes, is_whole).await;
        written.map_err(|_| Gone)
    }

    /// Closes the connection after this response. No effect on HTTP/2.
    pub(crate) fn close_after(&mut self) {
        if self.ending == Ending::Kept {
            self.ending = Ending::Closes;
        }
    }

    /// Marks the response as truncated: [`Session::end`] cuts the connection or resets the stream.
    pub(crate) fn mark_truncated(&mut self) {
        self.ending = Ending::Truncated;
    }

    /// Ends the request: closes what must be closed, and returns [`Reusables`] to an HTTP/1.1 connection.
    pub async fn end(mut self) {
        // `Closes` needs nothing on HTTP/2: it concerns a stream, and its connection sends its own `GOAWAY`.
        if self.ending == Ending::Truncated
            || (self.ending == Ending::Closes && !self.down.is_http2())
        {
            self.down.shutdown().await;
        }
        if let Protocol::Http1 { handoff, .. } = &self.over {
            let lines = handoff.take_header_lines().map(|head| head.lines);
            handoff.give_back(Reusables {
                body: std::mem::take(&mut self.body_timer),
                lifetime_timer: std::mem::take(&mut self.lifetime_timer),
                lines: lines.unwrap_or_default(),
            });
        }
    }
}

/// Buffer for the pieces of a body. A single piece is kept without copying.
#[derive(Default)]
struct BodyBuffer {
    first: Bytes,
    all: BytesMut,
}

impl BodyBuffer {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Bytes of memory in use.
    fn capacity(&self) -> usize {
        self.first.len() + self.all.capacity()
    }

    fn add(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.all.extend_from_slice(&first);
        }
        self.all.extend_from_slice(&piece);
    }

    fn whole(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}
