//! Reads a request's body, whole and bounded.

use super::error::GatewayError;
use super::pipeline::Pipeline;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora::protocols::http::ServerSession;
use std::time::Duration;

/// The longest silence inside a body.
const SILENCE: Duration = Duration::from_secs(30);

impl Pipeline {
    pub(super) async fn intake(
        &self,
        session: &mut ServerSession,
        most: u64,
    ) -> Result<Bytes, GatewayError> {
        tokio::select! {
            biased;
            body = intake(session, most) => body,
            () = self.traffic.is_cut() => Err(GatewayError::Ended("The gateway is shutting down")),
        }
    }
}

async fn intake(session: &mut ServerSession, most: u64) -> Result<Bytes, GatewayError> {
    let too_large = || GatewayError::BodyTooLarge { most };
    let headers = &session.req_header().headers;
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    if headers.contains_key(header::EXPECT) {
        session
            .write_continue_response()
            .await
            .map_err(|_| GatewayError::ClientGone)?;
    }
    session.set_read_timeout(Some(SILENCE));
    let mut body = Body::default();
    while let Some(bytes) = read(session).await? {
        if body.length() as u64 + bytes.len() as u64 > most {
            return Err(too_large());
        }
        body.take(bytes, length);
    }
    Ok(body.whole())
}

async fn read(session: &mut ServerSession) -> Result<Option<Bytes>, GatewayError> {
    session
        .read_request_body()
        .await
        .map_err(|error| match error.etype() {
            pingora::ErrorType::ReadTimedout => GatewayError::BodyTimeout,
            pingora::ErrorType::InvalidHTTPHeader => {
                GatewayError::BadRequest("The body's framing is wrong".to_owned())
            }
            _ => GatewayError::ClientGone,
        })
}

/// Most bodies are one piece; those are never copied.
#[derive(Default)]
struct Body {
    first: Bytes,
    rest: BytesMut,
}

impl Body {
    fn length(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn take(&mut self, bytes: Bytes, expected: Option<u64>) {
        if self.length() == 0 {
            self.first = bytes;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(
                usize::try_from(expected.unwrap_or(0))
                    .unwrap_or(0)
                    .max(2 * self.first.len()),
            );
            self.rest
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&bytes);
    }

    fn whole(self) -> Bytes {
        if self.rest.is_empty() {
            self.first
        } else {
            self.rest.freeze()
        }
    }
}
