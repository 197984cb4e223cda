//! The client's side of a request: its head and body read, its answer written.
//!
//! HTTP/1.1 over a Pingora stream. Nothing is read into a buffer of its own until there is something
//! to read, so that a connection that waits costs next to nothing. What was read beyond a request is
//! kept for the next one.

use super::patience::Patience;
use super::scratch;
use crate::http1::body::{Decoder, Framing};
use crate::http1::fields::Fields;
use crate::http1::head::{self, Refused, Request};
use crate::http1::write::{self, Unwritable};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, StatusCode};
use pingora::protocols::Stream;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a kept connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(75);
/// The same where places for connections are few.
const IDLE_IN_A_CROWD: Duration = Duration::from_secs(5);
/// What a body brings in this time may be as little as it likes.
const BODY_GRACE: Duration = Duration::from_secs(10);
/// The longest silence inside a body.
const BODY_SILENCE: Duration = Duration::from_secs(30);
/// A client that reads nothing for so long has left.
const UNREAD: Duration = Duration::from_secs(30);
/// And so has one that, on the average after that time, reads less than this in a second.
const LEAST_READ: u64 = 1 << 10;
/// A body up to this length leaves in one write with its head.
const SMALL: usize = 16 << 10;
/// A body is not believed to be longer than twice what has come of it, or by more than this.
const AHEAD: usize = 1 << 20;
const FIRST_AHEAD: usize = 64 << 10;
/// So much of the next requests may come before this one is answered.
const PIPELINED: usize = 64 << 10;
/// How long a refused client may go on sending.
const LINGER: Duration = Duration::from_secs(1);
/// Buffers that once were larger are let go.
const KEPT_BUFFER: usize = 64 << 10;

pub struct Session {
    stream: Stream,
    pub peer: Option<SocketAddr>,
    /// Read, and not yet taken.
    unread: BytesMut,
    request: Request,
    body: Decoder,
    /// The client has not been told yet that its body is wanted.
    expects: bool,
    /// Not yet written.
    out: BytesMut,
    answered: Option<StatusCode>,
    ending: Ending,
    keeps: bool,
    patience: Patience,
    limits: Limits,
    /// Nothing was ever asked on this connection.
    is_new: bool,
    /// For whatever watches over a request: lent to it, and kept from one to the next.
    pub watch: Patience,
}

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A head is there after so long, however it dribbles.
    pub head: Duration,
    /// The least that a body brings in a second.
    pub body_rate: u64,
    /// How long a write may be blocked, where that is less than usual.
    pub write: Duration,
}

/// How an answer's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// By its length, or there is no body.
    Length,
    Chunks,
    Close,
}

/// Why there is no next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRequest {
    /// The client has nothing more to say, or said half a head and no more.
    Gone,
    Refused(Refused),
    TooSlow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBody {
    Gone,
    TooSlow,
    TooLong,
    /// It would not fit beside what others send.
    NoRoom,
    Unframed,
}

/// Nobody reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Session {
    pub fn new(stream: Stream, peer: Option<SocketAddr>, limits: Limits) -> Session {
        Session {
            stream,
            peer,
            unread: BytesMut::new(),
            request: nothing(),
            body: Decoder::new(Framing::Length(0)),
            expects: false,
            out: BytesMut::new(),
            answered: None,
            ending: Ending::Length,
            keeps: false,
            patience: Patience::new(IDLE),
            limits: Limits {
                write: limits.write.min(UNREAD),
                ..limits
            },
            is_new: true,
            watch: Patience::new(IDLE),
        }
    }

    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Nothing of a next request has come.
    pub fn is_idle(&self) -> bool {
        self.unread.is_empty()
    }

    /// Waits for the next request's head, for less long where there `is_crowd`.
    pub async fn next(&mut self, is_crowd: bool) -> Result<(), NoRequest> {
        let mut searched = 0;
        self.request = nothing();
        self.body = Decoder::new(Framing::Length(0));
        self.answered = None;
        self.keeps = false;
        let mut begun = !self.unread.is_empty();
        // Whoever connects has something to say.
        self.patience.set(match (begun || self.is_new, is_crowd) {
            (true, _) => self.limits.head,
            (false, true) => IDLE_IN_A_CROWD,
            (false, false) => IDLE,
        });
        loop {
            if let Some(request) =
                head::take_request(&mut self.unread, searched).map_err(NoRequest::Refused)?
            {
                self.body = Decoder::new(request.framing);
                self.expects = request.expects;
                self.keeps = request.keeps;
                self.request = request;
                self.is_new = false;
                return Ok(());
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

    /// The body's length, where the client has said it.
    pub fn body_length(&self) -> Option<u64> {
        match self.request.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    pub fn is_body_read(&self) -> bool {
        self.body.is_done()
    }

    /// Nothing of the body has to be waited for.
    pub fn is_body_here(&self) -> bool {
        self.body
            .remaining()
            .is_some_and(|remaining| remaining <= self.unread.len() as u64)
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
        if self.body.is_done() {
            return Ok(Bytes::new());
        }
        if std::mem::take(&mut self.expects) && self.unread.is_empty() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.flush().await.map_err(|Gone| NoBody::Gone)?;
        }
        let mut body = BytesMut::new();
        let mut begun = None;
        loop {
            self.body
                .decode(&mut self.unread, &mut body)
                .map_err(|_| NoBody::Unframed)?;
            if body.len() as u64 > most {
                return Err(NoBody::TooLong);
            }
            if !fits(body.capacity()) {
                return Err(NoBody::NoRoom);
            }
            if self.body.is_done() {
                return Ok(body.freeze());
            }
            let due = BODY_GRACE + at_rate(body.len(), self.limits.body_rate);
            let rest = due.saturating_sub(begun.get_or_insert_with(Instant::now).elapsed());
            self.patience.set(rest.min(BODY_SILENCE));
            let read = match self.body.remaining() {
                Some(remaining) if self.unread.is_empty() => {
                    self.read_into(&mut body, remaining).await
                }
                _ => poll_fn(|cx| self.poll_fill_patiently(cx)).await,
            };
            match read {
                Ok(0) | Err(Stalled::Broken) => return Err(NoBody::Gone),
                Err(Stalled::TooSlow) => return Err(NoBody::TooSlow),
                Ok(_) => {}
            }
        }
    }

    /// Reads what belongs to the body straight to where it stays.
    async fn read_into(&mut self, body: &mut BytesMut, remaining: u64) -> Result<usize, Stalled> {
        let believed = body.len().clamp(FIRST_AHEAD, AHEAD);
        let ahead = usize::try_from(remaining)
            .unwrap_or(usize::MAX)
            .min(believed);
        if body.capacity() - body.len() < ahead.min(SMALL) {
            body.reserve(ahead);
        }
        let mut room = body.limit(ahead);
        let read = self.stream.read_buf(&mut room);
        let patience = poll_fn(|cx| self.patience.poll_over(cx));
        let length = tokio::select! {
            biased;
            read = read => read.map_err(|_| Stalled::Broken)?,
            () = patience => return Err(Stalled::TooSlow),
        };
        self.body.skip(length as u64);
        Ok(length)
    }

    /// Throws away a body that is all here already.
    pub fn skip_body(&mut self) {
        if self.is_body_here() {
            // It is as long as it says.
            let _ = self.body.decode(&mut self.unread, &mut BytesMut::new());
        }
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

    pub fn answered(&self) -> Option<StatusCode> {
        self.answered
    }

    /// Begins an answer. Its headers follow, then [`Session::end_head`].
    pub fn begin_head(&mut self, status: StatusCode) {
        self.answered = Some(status);
        write::status_line(&mut self.out, status);
        scratch::with_date(|date| self.out.extend_from_slice(date));
        // What is JSON is never taken for a page or a script.
        self.out
            .extend_from_slice(b"x-content-type-options: nosniff\r\n");
    }

    pub fn header(&mut self, name: &str, value: &[u8]) -> Result<(), Unwritable> {
        write::header(&mut self.out, name, value)
    }

    pub fn header_number(&mut self, name: &str, value: u64) {
        write::number(&mut self.out, name, value);
    }

    /// `length`: of the body, where it is known.
    fn end_head(&mut self, length: Option<usize>) {
        self.ending = match length {
            Some(length) => {
                // What has no content has no length either.
                if self.answered != Some(StatusCode::NO_CONTENT) {
                    write::number(&mut self.out, "content-length", length as u64);
                }
                Ending::Length
            }
            // What is older than chunks ends with its connection.
            None if self.request.is_current => {
                self.out
                    .extend_from_slice(b"transfer-encoding: chunked\r\n");
                Ending::Chunks
            }
            None => {
                self.keeps = false;
                Ending::Close
            }
        };
        if !self.keeps {
            self.out.extend_from_slice(b"connection: close\r\n");
        } else if !self.request.is_current {
            self.out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// The rest of a plain answer, in one write where it is small.
    pub async fn whole(&mut self, body: Bytes) -> Result<(), Gone> {
        self.end_head(Some(body.len()));
        if self.request.method == Method::HEAD {
            return self.flush().await;
        }
        if body.len() <= SMALL {
            self.out.extend_from_slice(&body);
            return self.flush().await;
        }
        self.flush().await?;
        self.write(&body).await
    }

    /// The head of a stream. It leaves with the first bytes, or with the next [`Session::flush`].
    pub fn begin_stream(&mut self) {
        self.end_head(None);
    }

    /// The next bytes of a stream, and its end where it is whole.
    pub async fn stream(&mut self, bytes: &[u8], is_whole: bool) -> Result<(), Gone> {
        match self.ending {
            Ending::Chunks => {
                write::chunk(&mut self.out, bytes);
                if is_whole {
                    self.out.extend_from_slice(write::LAST_CHUNK);
                }
            }
            Ending::Length | Ending::Close => self.out.extend_from_slice(bytes),
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

    /// The connection ends with this answer.
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

    /// Nothing more is read or written.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(self.limits.write, self.stream.shutdown()).await;
    }
}

/// How long so many bytes take.
fn at_rate(bytes: usize, rate: u64) -> Duration {
    match rate {
        0 => Duration::from_secs(u64::from(u32::MAX)),
        rate => Duration::from_millis((bytes as u64).saturating_mul(1_000) / rate),
    }
}

/// Between two requests.
fn nothing() -> Request {
    Request {
        method: Method::GET,
        target: Bytes::new(),
        is_current: true,
        fields: Fields::default(),
        framing: Framing::Length(0),
        keeps: false,
        expects: false,
    }
}

enum Stalled {
    Broken,
    TooSlow,
}
