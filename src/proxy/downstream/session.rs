//! The client's side of a request, whatever protocol it came by: its head and body read, its answer written.
//!
//! All of it goes through Pingora's session. What HTTP/1.1 and HTTP/2 differ in is settled here and in the sessions
//! below, so that nobody who answers a request asks which it is.

use crate::http1::body::Framing;
use crate::http1::head::Request;
use crate::http1::write::{self, Unwritable};
use crate::proxy::downstream::connection::{Gone, HeaderLines, Reusables, at_rate};
use crate::proxy::downstream::http1::{Handoff, HeadFault};
use crate::proxy::downstream::http2;
use crate::proxy::lazy_timer::Patience;
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

/// Time in which a body may bring less than `server.body_rate` asks for.
const BODY_GRACE: Duration = Duration::from_secs(10);
/// The longest silence inside a body.
const BODY_SILENCE: Duration = Duration::from_secs(30);
/// A body of this length needs no accounting.
const SMALL_BODY: u64 = 64 << 10;
/// Bytes of a long answer that a slow client of HTTP/2 has one write's time for.
const PIECE: usize = 64 << 10;
/// Headers of an answer: a dozen of ours, and what providers say.
const USUAL_HEADERS: usize = 24;
/// Bytes of them as lines.
const USUAL_LINES: usize = 1 << 10;

pub struct Session<'a> {
    down: &'a mut ServerSession,
    over: Over,
    /// There is no request, for this reason.
    pub fault: Option<HeadFault>,
    pub peer: Option<SocketAddr>,
    answered: Option<StatusCode>,
    is_head_written: bool,
    ending: Ending,
    limits: Limits,
    patience: Patience,
    /// Timer of the watch over a request.
    pub watch: Patience,
}

/// The request as its protocol brought it, and the headers of the answer as that writes them.
enum Over {
    /// The request is shared with its connection.
    Http1 {
        handoff: Arc<Handoff>,
        lines: BytesMut,
    },
    Http2 {
        request: Box<Request>,
        table: HeaderMap,
    },
}

/// Fate of the connection, or of the stream on it, after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Kept,
    /// The connection ends with this request, whose answer is whole.
    Closes,
    /// The answer must not be taken for whole.
    Torn,
}

/// Limits of a request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The least that a body brings in a second.
    pub body_rate: u64,
    /// Time that a write may be blocked.
    pub write: Duration,
}

/// Reason why a body cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBody {
    Gone,
    TooSlow,
    TooLong,
    /// It would not fit beside what others send.
    NoRoom,
    Unframed,
}

impl<'a> Session<'a> {
    pub fn new(down: &'a mut ServerSession, limits: Limits) -> Session<'a> {
        let peer = down.client_addr().and_then(|peer| peer.as_inet().copied());
        let handoff = down.req_header().extensions.get::<Arc<Handoff>>().cloned();
        let (over, fault, body, watch) = match handoff {
            Some(handoff) => {
                let Reusables { body, watch, lines } = handoff.take_reusables();
                let fault = handoff.fault;
                (Over::Http1 { handoff, lines }, fault, body, watch)
            }
            None => {
                let read = http2::request(down);
                let fault = read.as_ref().err().copied().map(HeadFault::Refused);
                let over = Over::Http2 {
                    request: Box::new(read.unwrap_or_else(|_| Request::nothing())),
                    table: HeaderMap::new(),
                };
                (over, fault, Patience::default(), Patience::default())
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
            answered: None,
            is_head_written: false,
            ending: Ending::Kept,
            limits,
            patience: body,
            watch,
        }
    }

    pub fn request(&self) -> &Request {
        match &self.over {
            Over::Http1 { handoff, .. } => &handoff.request,
            Over::Http2 { request, .. } => request,
        }
    }

    /// The client asks to speak another protocol on its socket.
    pub fn is_upgrade(&self) -> bool {
        self.down.is_upgrade_req()
    }

    /// The body's length, where the client has said it.
    pub fn body_length(&self) -> Option<u64> {
        match self.request().framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    pub fn is_body_read(&mut self) -> bool {
        self.down.is_body_done()
    }

    /// The body is so short that it need not be accounted for.
    pub fn is_body_small(&self) -> bool {
        self.body_length()
            .is_some_and(|length| length <= SMALL_BODY)
    }

    /// The whole body, if it is not longer than `most` and what is kept of it always `fits`.
    pub async fn body(
        &mut self,
        most: u64,
        mut fits: impl FnMut(usize) -> bool,
    ) -> Result<Bytes, NoBody> {
        if self.body_length().is_some_and(|length| length > most) {
            return Err(NoBody::TooLong);
        }
        if self.down.is_body_done() {
            return Ok(Bytes::new());
        }
        let mut body = Gathered::default();
        let mut begun = None;
        loop {
            match self.piece(body.len(), &mut begun).await? {
                Some(piece) => body.add(piece),
                None => return Ok(body.whole()),
            }
            if body.len() as u64 > most {
                return Err(NoBody::TooLong);
            }
            if !fits(body.capacity()) {
                return Err(NoBody::NoRoom);
            }
            if self.down.is_body_done() {
                return Ok(body.whole());
            }
        }
    }

    /// The next piece of a body of which `here` bytes have come. The wait for it is bounded by the rate, from when
    /// the first wait `begun`.
    async fn piece(
        &mut self,
        here: usize,
        begun: &mut Option<Instant>,
    ) -> Result<Option<Bytes>, NoBody> {
        let (down, patience) = (&mut *self.down, &mut self.patience);
        let body_rate = self.limits.body_rate;
        let mut is_waited_for = false;
        let mut read = pin!(down.read_request_body());
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = read.as_mut().poll(cx) {
                return Poll::Ready(Some(read));
            }
            if !std::mem::replace(&mut is_waited_for, true) {
                let due = BODY_GRACE + at_rate(here, body_rate);
                let waited = begun.get_or_insert_with(Instant::now).elapsed();
                patience.set(due.saturating_sub(waited).min(BODY_SILENCE));
            }
            patience.poll_over(cx).map(|()| None)
        });
        match read.await {
            None => Err(NoBody::TooSlow),
            Some(Ok(piece)) => Ok(piece),
            Some(Err(error)) if error.etype == pingora::ErrorType::InvalidHTTPHeader => {
                Err(NoBody::Unframed)
            }
            Some(Err(_)) => Err(NoBody::Gone),
        }
    }

    /// Throws away what has come of a body that nobody reads. A client that waits to be told that it is wanted is
    /// not told.
    pub fn skip_body(&mut self) {
        if !self.down.is_body_done() && self.is_body_small() {
            let _ = self.down.drain_request_body().now_or_never();
        }
    }

    /// Reads on and throws away, until the body is over or nothing more comes. On HTTP/2 as well: a stream that is
    /// reset without an error behind its answer takes the answer away from some clients (curl 7.88).
    pub async fn drain(&mut self) {
        let _ = self.down.drain_request_body().await;
    }

    /// Returns when the client has left. What it sends meanwhile is kept for later.
    pub fn poll_leaves(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // It keeps nothing between two polls.
        let left = pin!(self.down.read_body_or_idle(true));
        let _ = ready!(left.poll(cx));
        Poll::Ready(())
    }

    pub fn answered(&self) -> Option<StatusCode> {
        self.answered
    }

    /// Begins an answer. Its headers follow.
    pub fn begin_head(&mut self, status: StatusCode) {
        self.answered = Some(status);
        match &mut self.over {
            Over::Http1 { lines, .. } => {
                lines.clear();
                lines.reserve(USUAL_LINES);
            }
            Over::Http2 { table, .. } => *table = HeaderMap::with_capacity(USUAL_HEADERS),
        }
        // What is JSON is never taken for a page or a script.
        let _ = self.header("x-content-type-options", b"nosniff");
    }

    pub fn header(&mut self, name: &'static str, value: &[u8]) -> Result<(), Unwritable> {
        match &mut self.over {
            Over::Http1 { lines, .. } => write::header(lines, name, value),
            Over::Http2 { .. } => self.header_of(&HeaderName::from_static(name), value),
        }
    }

    pub fn header_of(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Unwritable> {
        match &mut self.over {
            Over::Http1 { lines, .. } => write::header(lines, name.as_str(), value),
            Over::Http2 { table, .. } => {
                let value = HeaderValue::from_bytes(value).map_err(|_| Unwritable)?;
                table.append(name, value);
                Ok(())
            }
        }
    }

    pub fn header_number(&mut self, name: &'static str, value: u64) {
        match &mut self.over {
            Over::Http1 { lines, .. } => write::number(lines, name, value),
            Over::Http2 { table, .. } => {
                table.append(HeaderName::from_static(name), HeaderValue::from(value));
            }
        }
    }

    /// The rest of a plain answer, in one write where it is small.
    pub async fn whole(&mut self, body: Bytes) -> Result<(), Gone> {
        self.write_head(Some(body.len())).await?;
        if self.request().method == Method::HEAD {
            return self.write(Bytes::new(), true).await;
        }
        self.write(body, true).await
    }

    /// The head of a stream leaves, whether there is anything of it yet or not.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        self.write_head(None).await?;
        let flushed = self.down.response_duplex_vec(Vec::new()).await;
        flushed.map(drop).map_err(|_| Gone)
    }

    /// The next bytes of a stream, and its end where it is whole.
    pub async fn stream(&mut self, bytes: Bytes, is_whole: bool) -> Result<(), Gone> {
        self.write_head(None).await?;
        self.write(bytes, is_whole).await
    }

    /// `length`: of the answer's body, where it is known.
    async fn write_head(&mut self, length: Option<usize>) -> Result<(), Gone> {
        if std::mem::replace(&mut self.is_head_written, true) {
            return Ok(());
        }
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = self.answered.unwrap_or_default();
        match &mut self.over {
            Over::Http1 { handoff, lines } => handoff.set_header_lines(HeaderLines {
                lines: std::mem::take(lines),
                length,
                closes: self.ending != Ending::Kept,
            }),
            Over::Http2 { table, .. } => {
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
        while self.down.is_http2() && bytes.len() > PIECE {
            let piece = self.down.write_response_body(bytes.split_to(PIECE), false);
            piece.await.map_err(|_| Gone)?;
        }
        let written = self.down.write_response_body(bytes, is_whole).await;
        written.map_err(|_| Gone)
    }

    /// The connection ends with this answer.
    pub fn close_after(&mut self) {
        if self.ending == Ending::Kept {
            self.ending = Ending::Closes;
        }
    }

    /// The answer was not finished, and nobody may think so.
    pub fn tear(&mut self) {
        self.ending = Ending::Torn;
    }

    /// The request is over.
    pub async fn end(mut self) {
        // HTTP/2 ends a stream and not its connection, which says itself when it goes.
        if self.ending == Ending::Torn || (self.ending == Ending::Closes && !self.down.is_http2()) {
            self.down.shutdown().await;
        }
        if let Over::Http1 { handoff, .. } = &self.over {
            let lines = handoff.take_header_lines().map(|head| head.lines);
            handoff.give_back(Reusables {
                body: std::mem::take(&mut self.patience),
                watch: std::mem::take(&mut self.watch),
                lines: lines.unwrap_or_default(),
            });
        }
    }
}

/// A body's pieces. One alone stays where it was read.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

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
