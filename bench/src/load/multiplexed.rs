//! An HTTP/2 connection shared by many callers, each with one stream at a time.

use std::io;
use std::time::Instant;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{RecvStream, client};
use http::Request;

use super::answer::{Answer, Expected};
use super::protocol::Dialer;

/// Flow-control windows in bytes, per stream and per connection: large enough that no server ever waits.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// One caller's handle to the connection.
pub struct Shared {
    requests: SendRequest<Bytes>,
    content: Vec<u8>,
}

impl Shared {
    /// Connects. A background task drives the connection until all its handles are dropped.
    pub async fn open(dialer: &Dialer) -> io::Result<Shared> {
        let socket = dialer.open().await?;
        let mut builder: Builder = client::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false);
        let (requests, connection) = builder.handshake(socket).await.map_err(io::Error::other)?;
        tokio::spawn(async move {
            // The callers get the error too.
            let _ = connection.await;
        });
        Ok(Shared {
            requests,
            content: Vec::new(),
        })
    }

    /// Returns another handle to the same connection.
    pub fn another(&self) -> Shared {
        Shared {
            requests: self.requests.clone(),
            content: Vec::new(),
        }
    }

    /// Sends a request and validates the response. Returns the time of the first event of a stream.
    pub async fn exchange(
        &mut self,
        request: (Request<()>, Bytes),
        expected: Expected,
    ) -> Result<Option<Instant>, String> {
        let (status, mut body) = self
            .send(request)
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = Answer::new(status, expected, &mut self.content);
        while let Some(piece) = next(&mut body).await.map_err(|error| error.to_string())? {
            answer.feed(&piece);
        }
        answer.end()
    }

    /// Sends a request; returns the status and the unread body.
    pub async fn send(
        &mut self,
        (request, body): (Request<()>, Bytes),
    ) -> Result<(u16, RecvStream), h2::Error> {
        std::future::poll_fn(|context| self.requests.poll_ready(context)).await?;
        let (response, mut sending) = self.requests.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            sending.send_data(body, true)?;
        }
        let response = response.await?;
        Ok((response.status().as_u16(), response.into_body()))
    }
}

/// Reads the next piece of a body and returns its flow-control capacity; `None` at the end.
pub async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let Some(piece) = body.data().await.transpose()? else {
        return Ok(None);
    };
    body.flow_control().release_capacity(piece.len())?;
    Ok(Some(piece))
}
