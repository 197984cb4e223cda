//! HTTP/1.1 connection to a provider: sends a request, reads the head of its answer, then raw body bytes.
//!
//! An answer may begin before the whole request is sent. The rest is then never sent, and the connection is
//! not reused.

use crate::dial::dialer::Wire;
use crate::http1::head::{self, Response};
use crate::proxy::lazy_timer::LazyTimer;
use crate::proxy::read_buffer;
use bytes::BytesMut;
use futures_util::task::noop_waker_ref;
use http::StatusCode;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;

/// Serialized request. A short body is appended to `head` already, and `body` is empty.
pub(crate) struct ProviderRequest {
    pub head: BytesMut,
    pub body: Vec<u8>,
}

/// Progress of an exchange, for the caller to read while it waits.
#[derive(Default)]
pub(crate) struct Progress {
    /// Whether sending has ended: the provider has the request.
    pub is_sent: AtomicBool,
    /// Whether the first-byte timeout has passed. The exchange still waits for an answer, for
    /// `upstream.drain`.
    pub is_late: AtomicBool,
}

/// Connection to a provider, with its read buffer and timer.
pub struct Connection {
    wire: Box<dyn Wire>,
    /// Bytes read and not yet consumed.
    pub unread: BytesMut,
    /// Read timeout, set by [`Connection::set_read_timeout`].
    timer: LazyTimer,
    /// Whether any byte of the current request was sent.
    sent_any: bool,
}

/// Reason why an exchange failed. In log lines its text follows the provider's host.
pub(crate) enum ExchangeError {
    /// The connection broke before any byte of the request was sent: a retry is safe.
    Unsent(String),
    /// The connection broke later.
    Wrong(String),
    /// The head of the answer is malformed.
    Malformed(String),
    /// The read timeout passed.
    TooSlow,
}

impl Connection {
    pub fn new(wire: Box<dyn Wire>) -> Connection {
        Connection {
            wire,
            unread: BytesMut::new(),
            timer: LazyTimer::new(Duration::ZERO),
            sent_any: false,
        }
    }

    /// Whether an idle connection is still usable: neither a byte nor the end of the stream has arrived.
    pub(crate) fn is_reusable(&mut self) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        read_buffer::poll_read(&mut self.wire, &mut cx, &mut self.unread).is_pending()
    }

    /// Sets the read timeout: the next bytes must arrive within `span`.
    pub fn set_read_timeout(&mut self, span: Duration) {
        self.timer.set(span);
    }

    /// Reads into `unread`. Returns the number of bytes, 0 at the end of the stream.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ExchangeError>> {
        match read_buffer::poll_read(&mut self.wire, cx, &mut self.unread) {
            Poll::Ready(read) => Poll::Ready(read.map_err(|error| self.broken(&error))),
            Poll::Pending => {
                ready!(self.timer.poll_elapsed(cx));
                Poll::Ready(Err(ExchangeError::TooSlow))
            }
        }
    }

    /// Closes the sending side (TLS: with a `close_notify`). Reading goes on.
    pub(crate) fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Ignored: a connection that cannot be half-closed is broken, and reading tells.
        Pin::new(&mut self.wire).poll_shutdown(cx).map(|_| ())
    }

    /// Classifies an I/O error by whether any byte was sent.
    fn broken(&self, error: &io::Error) -> ExchangeError {
        let why = format!("broke the connection: {error}");
        if self.sent_any {
            ExchangeError::Wrong(why)
        } else {
            ExchangeError::Unsent(why)
        }
    }

    /// Sends a request and waits for the head of its answer: for `timeout`, then, marked as
    /// [`Progress::is_late`], for `more`.
    pub(crate) async fn exchange(
        &mut self,
        request: &ProviderRequest,
        timeout: Duration,
        more: Duration,
        progress: &Progress,
    ) -> Result<Response, ExchangeError> {
        self.timer.set(timeout);
        self.sent_any = false;
        let parts = [&request.head[..], &request.body];
        let mut sent = Ok(true);
        for part in parts {
            if matches!(sent, Ok(true)) {
                sent = self.send(part).await;
            }
        }
        let whole = match sent {
            Ok(whole) => whole,
            // The provider may have sent an error answer before it stopped reading.
            Err(ExchangeError::Wrong(_)) => false,
            Err(broken) => return Err(broken),
        };
        progress.is_sent.store(true, Ordering::Relaxed);
        let head = match self.head().await {
            Err(ExchangeError::TooSlow) => {
                progress.is_late.store(true, Ordering::Relaxed);
                self.timer.set(more);
                self.head().await
            }
            head => head,
        };
        let mut head = head?;
        head.keeps &= whole;
        Ok(head)
    }

    /// Sends bytes. False: the answer began before all of them were sent.
    async fn send(&mut self, bytes: &[u8]) -> Result<bool, ExchangeError> {
        let mut rest = bytes;
        poll_fn(|cx| {
            while !rest.is_empty() {
                match Pin::new(&mut self.wire).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => {
                        let error = io::Error::from(io::ErrorKind::WriteZero);
                        return Poll::Ready(Err(self.broken(&error)));
                    }
                    Poll::Ready(Ok(length)) => {
                        self.sent_any = true;
                        rest = &rest[length..];
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(&error))),
                    Poll::Pending => return self.poll_fill(cx).map_ok(|_| false),
                }
            }
            match Pin::new(&mut self.wire).poll_flush(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(true)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(self.broken(&error))),
                Poll::Pending => self.poll_fill(cx).map_ok(|_| false),
            }
        })
        .await
    }

    /// Reads until the head of a final response is complete.
    async fn head(&mut self) -> Result<Response, ExchangeError> {
        let mut searched = 0;
        loop {
            let taken = head::take_response(&mut self.unread, searched);
            match taken.map_err(|why| ExchangeError::Malformed(why.to_owned()))? {
                // Interim responses (1xx) are skipped.
                Some(head) if is_interim(head.status) => searched = 0,
                Some(head) => return Ok(head),
                None => {
                    searched = self.unread.len();
                    if poll_fn(|cx| self.poll_fill(cx)).await? == 0 {
                        let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                        return Err(self.broken(&error));
                    }
                }
            }
        }
    }
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
