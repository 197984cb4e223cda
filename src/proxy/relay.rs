//! Passes an answer on, past its meter, and settles before its last byte is out.
//!
//! A stream is passed on chunk by chunk as it arrives. A plain answer is read whole first, so that
//! what its client reads next, its balance included, already knows of it.

use super::error::GatewayError;
use super::exchange::Exchange;
use super::forward::{API, Ends};
use super::pipeline::Pipeline;
use super::reply;
use super::upstream::Answer;
use crate::dialect::openai::chat::{self, StreamMeter};
use crate::rules::window::Pace;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

/// The longest plain answer.
const LONGEST_ANSWER: usize = 256 << 20;

/// Response headers of a provider that clients may see. Its limits, its organisation and its cookies
/// are the operator's own affair.
const PASSED: &[&str] = &[
    "content-type",
    "cache-control",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

/// What the client is told about its request.
pub(super) struct Told<'a> {
    pub endpoint: &'a str,
    pub pace: Option<Pace>,
    pub wants_usage: bool,
}

/// Returns when the client has closed its side, or sent what it should not.
pub(super) async fn client_leaves(session: &mut ServerSession) -> GatewayError {
    match session.read_body_or_idle(true).await {
        Ok(_) => std::future::pending().await,
        Err(error) => {
            session.set_keepalive(None);
            match error.etype() {
                // The next request, sent before this one is answered: not an end.
                pingora::ErrorType::ConnectError => std::future::pending().await,
                _ => GatewayError::ClientGone,
            }
        }
    }
}

impl Pipeline {
    pub(super) async fn relay(
        &self,
        session: &mut ServerSession,
        exchange: &mut Exchange,
        answer: Answer<'_>,
        told: Told<'_>,
        ends: Ends<'_>,
    ) -> Result<(), GatewayError> {
        let status = answer.head.status;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(GatewayError::UpstreamRefused(format!(
                "{} answered {status}",
                told.endpoint
            )));
        }
        let kind = answer
            .head
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if status.is_success()
            && kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
        {
            self.stream(session, exchange, answer, &told, ends).await
        } else {
            self.plain(session, exchange, answer, &told, ends).await
        }
    }

    async fn plain(
        &self,
        session: &mut ServerSession,
        exchange: &mut Exchange,
        mut answer: Answer<'_>,
        told: &Told<'_>,
        mut ends: Ends<'_>,
    ) -> Result<(), GatewayError> {
        let mut body = BytesMut::new();
        while let Some(bytes) = next(session, &mut answer, ends.as_mut()).await? {
            if body.len() + bytes.len() > LONGEST_ANSWER {
                return Err(GatewayError::Upstream(format!(
                    "{} answered without end",
                    told.endpoint
                )));
            }
            body.extend_from_slice(&bytes);
        }
        exchange.read(chat::meter(&body));
        let left = self.settle(exchange).await;
        let mut head = self.head(exchange, &answer, told)?;
        if let Some(left) = left {
            insert(&mut head, "x-resullm-tokens-left", left.count())?;
        }
        insert(&mut head, "content-length", body.len() as u64)?;
        exchange.status = head.status.as_u16();
        let written = async {
            session.write_response_header(Box::new(head)).await?;
            session.write_response_body(body.freeze(), true).await
        };
        written.await.map_err(|_| GatewayError::ClientGone)
    }

    async fn stream(
        &self,
        session: &mut ServerSession,
        exchange: &mut Exchange,
        mut answer: Answer<'_>,
        told: &Told<'_>,
        mut ends: Ends<'_>,
    ) -> Result<(), GatewayError> {
        let mut head = self.head(exchange, &answer, told)?;
        if let Some(hold) = &exchange.hold {
            insert(&mut head, "x-resullm-tokens-left", hold.left.count())?;
        }
        for (name, value) in [
            ("cache-control", "no-cache, no-transform"),
            ("x-accel-buffering", "no"),
        ] {
            head.insert_header(name, value)
                .map_err(|_| GatewayError::ClientGone)?;
        }
        head.insert_header(header::TRANSFER_ENCODING, "chunked")
            .map_err(|_| GatewayError::ClientGone)?;
        exchange.status = head.status.as_u16();
        session
            .write_response_header(Box::new(head))
            .await
            .map_err(|_| GatewayError::ClientGone)?;
        let mut meter = StreamMeter::new(told.wants_usage);
        loop {
            let next = next(session, &mut answer, ends.as_mut()).await;
            let (bytes, ended) = match next {
                Ok(Some(bytes)) => (meter.feed(&bytes), false),
                Ok(None) => (meter.finish(), true),
                Err(GatewayError::ClientGone) => return Err(GatewayError::ClientGone),
                Err(error) => return self.break_off(session, exchange, error).await,
            };
            exchange.read(meter.reading());
            if exchange.reading.complete || ended {
                self.settle(exchange).await;
            }
            if ended && !exchange.reading.complete {
                self.write(session, bytes).await?;
                self.metrics.truncated_streams.add(1);
                let error =
                    GatewayError::Upstream(format!("{} ended its stream too early", told.endpoint));
                return self.break_off(session, exchange, error).await;
            }
            self.write(session, bytes).await?;
            if ended {
                let end = session.write_response_body(Bytes::new(), true).await;
                return end.map_err(|_| GatewayError::ClientGone);
            }
        }
    }

    async fn write(&self, session: &mut ServerSession, bytes: Vec<u8>) -> Result<(), GatewayError> {
        let written = session.write_response_body(Bytes::from(bytes), false).await;
        written.map_err(|_| GatewayError::ClientGone)
    }

    /// The stream's head is out, so its end has to say what went wrong.
    async fn break_off(
        &self,
        session: &mut ServerSession,
        exchange: &mut Exchange,
        error: GatewayError,
    ) -> Result<(), GatewayError> {
        self.settle(exchange).await;
        if let Some((level, text)) = error.logged() {
            log::log!(level, "{text}");
        }
        let written = reply::break_off(session, exchange, API, &error).await;
        written.map_err(|_| GatewayError::ClientGone)
    }

    /// Ends the hold, if it is still there.
    pub(super) async fn settle(
        &self,
        exchange: &mut Exchange,
    ) -> Option<crate::rules::amount::Tokens> {
        let hold = exchange.hold.take()?;
        self.settler.settle(hold, exchange.due()).await
    }

    fn head(
        &self,
        exchange: &Exchange,
        answer: &Answer<'_>,
        told: &Told<'_>,
    ) -> Result<ResponseHeader, GatewayError> {
        let impossible = |error: Box<pingora::Error>| GatewayError::Upstream(error.to_string());
        let mut head = ResponseHeader::build(answer.head.status, Some(12)).map_err(impossible)?;
        for name in PASSED {
            for value in answer.head.headers.get_all(*name) {
                head.append_header(*name, value).map_err(impossible)?;
            }
        }
        reply::name_request(&mut head, exchange).map_err(impossible)?;
        let endpoint = HeaderValue::from_str(told.endpoint)
            .map_err(|error| GatewayError::Upstream(error.to_string()))?;
        head.insert_header("x-resullm-endpoint", endpoint)
            .map_err(impossible)?;
        if let Some(pace) = told.pace {
            insert(&mut head, "x-ratelimit-limit-requests", pace.limit)?;
            insert(&mut head, "x-ratelimit-remaining-requests", pace.remaining)?;
            let reset = format!("{}ms", pace.reset.0);
            head.insert_header("x-ratelimit-reset-requests", reset)
                .map_err(impossible)?;
        }
        Ok(head)
    }
}

/// The provider's next bytes, unless something ends the request first.
async fn next(
    session: &mut ServerSession,
    answer: &mut Answer<'_>,
    mut ends: Ends<'_>,
) -> Result<Option<Bytes>, GatewayError> {
    tokio::select! {
        biased;
        chunk = answer.chunk() => Ok(chunk?),
        gone = client_leaves(session) => Err(gone),
        ended = &mut ends => Err(ended),
    }
}

fn insert(head: &mut ResponseHeader, name: &'static str, value: u64) -> Result<(), GatewayError> {
    head.insert_header(name, value.to_string())
        .map_err(|error| GatewayError::Upstream(error.to_string()))
}
