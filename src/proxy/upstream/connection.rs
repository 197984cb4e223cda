//! One connection to a provider: a request out, the head of its answer in, then its bytes.
//!
//! An answer may begin before the request is all out: then the rest is not sent, and the connection is
//! not used again.

use crate::http1::head::{self, Response};
use crate::proxy::lazy_timer::Patience;
use crate::proxy::scratch;
use bytes::BytesMut;
use futures_util::task::noop_waker_ref;
use http::StatusCode;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// A request as it leaves: its head, and its body, which may stand behind the head already.
pub struct Request {
    pub head: BytesMut,
    pub body: Vec<u8>,
}

/// How far a request has come while its answer is waited for.
#[derive(Default)]
pub struct Progress {
    /// The provider has all of it.
    pub is_sent: AtomicBool,
    /// The answer should have begun. It is waited for all the same, for as long as an answer is read on.
    pub is_late: AtomicBool,
}

/// A socket, with or without TLS.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub struct Connection {
    wire: Box<dyn Wire>,
    /// Read, and not yet taken.
    pub unread: BytesMut,
    patience: Patience,
    /// A part of the request that is being sent has left.
    has_sent: bool,
}

/// What ended an exchange, in words that follow the provider's name.
pub enum Broken {
    /// Not a byte of the request left.
    Unsent(String),
    Wrong(String),
    TooSlow,
}

impl Connection {
    pub fn new(wire: Box<dyn Wire>) -> Connection {
        Connection {
            wire,
            unread: BytesMut::new(),
            patience: Patience::new(Duration::ZERO),
            has_sent: false,
        }
    }

    /// Nothing has come while it waited, its end included.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        scratch::poll_read(&mut self.wire, &mut cx, &mut self.unread).is_pending()
    }

    /// The next bytes must come within so long.
    pub fn expect_within(&mut self, span: Duration) {
        self.patience.set(span);
    }

    /// Reads what there is. Nought at the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        match scratch::poll_read(&mut self.wire, cx, &mut self.unread) {
            Poll::Ready(read) => Poll::Ready(read.map_err(|error| self.broken(&error))),
            Poll::Pending => {
                ready!(self.patience.poll_over(cx));
                Poll::Ready(Err(Broken::TooSlow))
            }
        }
    }

    fn broken(&self, error: &io::Error) -> Broken {
        let why = format!("broke the connection: {error}");
        if self.has_sent {
            Broken::Wrong(why)
        } else {
            Broken::Unsent(why)
        }
    }

    /// Sends a request and waits for the head of its answer: until `timeout`, and for `more` after that.
    pub async fn exchange(
        &mut self,
        request: &Request,
        timeout: Duration,
        more: Duration,
        progress: &Progress,
    ) -> Result<Response, Broken> {
        self.patience.set(timeout);
        self.has_sent = false;
        let parts = [&request.head[..], &request.body];
        let mut sent = Ok(true);
        for part in parts {
            if matches!(sent, Ok(true)) {
                sent = self.send(part).await;
            }
        }
        let whole = match sent {
            Ok(whole) => whole,
            // It may have said why before it stopped listening.
            Err(Broken::Wrong(_)) => false,
            Err(broken) => return Err(broken),
        };
        progress.is_sent.store(true, Ordering::Relaxed);
        let head = match self.head().await {
            Err(Broken::TooSlow) => {
                progress.is_late.store(true, Ordering::Relaxed);
                self.patience.set(more);
                self.head().await
            }
            head => head,
        };
        let mut head = head?;
        head.keeps &= whole;
        Ok(head)
    }

    /// False: an answer came before all of it was out.
    async fn send(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        let mut rest = bytes;
        poll_fn(|cx| {
            while !rest.is_empty() {
                match Pin::new(&mut self.wire).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => {
                        let error = io::Error::from(io::ErrorKind::WriteZero);
                        return Poll::Ready(Err(self.broken(&error)));
                    }
                    Poll::Ready(Ok(length)) => {
                        self.has_sent = true;
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

    async fn head(&mut self) -> Result<Response, Broken> {
        let mut searched = 0;
        loop {
            let taken = head::take_response(&mut self.unread, searched);
            match taken.map_err(|why| Broken::Wrong(why.to_owned()))? {
                // It says that it goes on, which it may.
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
