//! An HTTP/1.1 connection of the load generator: sends a request, reads and validates the whole response.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt;

use super::answer::{Answer, Expected};
use super::protocol::{Dialer, Socket};
use crate::wire::{Body, Inbox};

/// A keep-alive connection that reconnects when needed.
pub struct Connection {
    dialer: Arc<Dialer>,
    stream: Option<Box<dyn Socket>>,
    inbox: Inbox,
    content: Vec<u8>,
    pub reconnects: u64,
}

impl Connection {
    pub async fn open(dialer: &Arc<Dialer>) -> io::Result<Connection> {
        Ok(Connection {
            dialer: dialer.clone(),
            stream: Some(dialer.open().await?),
            inbox: Inbox::default(),
            content: Vec::new(),
            reconnects: 0,
        })
    }

    /// Sends a request and validates the response. Returns the time of the first event of a stream. After an
    /// error the connection is closed, and the next request opens a new one.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        expected: Expected,
    ) -> Result<Option<Instant>, String> {
        let kept = self.stream.is_some();
        for last in [!kept, true] {
            match self.once(request, expected).await {
                // The server closed a keep-alive connection between two requests, which is allowed: retry
                // once, and count it in `reconnects`.
                Ok(None) if !last => self.close(),
                Ok(None) => return Err("closed before an answer".to_owned()),
                Ok(Some(result)) => {
                    if result.is_err() {
                        self.close();
                    }
                    return result;
                }
                Err(error) => {
                    self.close();
                    return Err(error.to_string());
                }
            }
        }
        Err("no attempt was made".to_owned())
    }

    fn close(&mut self) {
        self.stream = None;
        self.inbox = Inbox::default();
    }

    /// Makes one attempt. `None`: the connection closed before the response began.
    async fn once(
        &mut self,
        request: &[u8],
        expected: Expected,
    ) -> io::Result<Option<Result<Option<Instant>, String>>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                self.reconnects += 1;
                none.insert(self.dialer.open().await?)
            }
        };
        let sent = send(stream, request).await;
        let response = match (sent, self.inbox.response(stream).await) {
            (_, Ok(Some(response))) => response,
            (Err(_), _) | (_, Ok(None)) => return Ok(None),
            (Ok(()), Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(None);
            }
            (Ok(()), Err(error)) => return Err(error),
        };
        let mut body = Body::new(response.framing);
        let mut answer = Answer::new(response.status, expected, &mut self.content);
        while !body.is_done() {
            let read = self
                .inbox
                .piece(stream, &mut body, |bytes| answer.feed(bytes));
            match read.await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && body.may_end() => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let verdict = answer.end();
        if response.close || !self.inbox.is_empty() {
            self.close();
        }
        Ok(Some(verdict))
    }
}

/// Writes a request and flushes, because a TLS stream buffers.
pub async fn send(stream: &mut Box<dyn Socket>, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await
}
