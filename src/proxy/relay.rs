//! Passes an answer on, past its meter, and settles before its last byte is out.
//!
//! A stream is passed on chunk by chunk as it arrives. A plain answer is read whole first, so that
//! what its client reads next, its balance included, already knows of it.

use super::error::GatewayError;
use super::exchange::Exchange;
use super::pipeline::Pipeline;
use super::reply;
use super::upstream::Answer;
use super::watch::{Ends, client_leaves};
use crate::dialect::call::{Call, Reading};
use crate::dialect::{Dialect, Meter};
use crate::rules::amount::Tokens;
use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use std::time::{Duration, Instant};

/// The longest plain answer.
const LONGEST_ANSWER: usize = 64 << 20;

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

/// How much a crash may take from what is known of a stream.
const NOTE_EVERY: Duration = Duration::from_millis(100);

const EVENT_STREAM: &str = "text/event-stream";

impl Pipeline {
    pub(super) async fn relay(
        &self,
        session: &mut ServerSession,
        exchange: &mut Exchange,
        answer: Answer<'_>,
        dialect: &dyn Dialect,
        call: &Call,
        ends: Ends<'_>,
    ) -> Result<(), GatewayError> {
        passable(exchange, &answer).inspect_err(|_| exchange.accepted = false)?;
        let kind = content_type(&answer);
        let is_stream = speaks_events(&answer);
        let is_sound = kind.is_some_and(|kind| kind.starts_with("audio/"));
        if answer.head.status.is_success() && is_sound {
            // Nothing to meter: what it costs is known from the call.
            return self
                .stream(
                    session,
                    exchange,
                    answer,
                    Box::new(Through::default()),
                    ends,
                )
                .await;
        }
        if answer.head.status.is_success() && is_stream {
            self.stream(session, exchange, answer, dialect.stream(call), ends)
                .await
        } else {
            self.plain(session, exchange, answer, dialect, call, ends)
                .await
        }
    }

    async fn plain(
        &self,
        session: &mut ServerSession,
        exchange: &mut Exchange,
        mut answer: Answer<'_>,
        dialect: &dyn Dialect,
        call: &Call,
        mut ends: Ends<'_>,
    ) -> Result<(), GatewayError> {
        let mut body = BytesMut::new();
        loop {
            let next = next(session, &mut answer, ends.as_mut()).await;
            // Of an answer that broke off its client has nothing.
            exchange.accepted &= !matches!(next, Err(GatewayError::Upstream(_)));
            let Some(bytes) = next? else { break };
            if body.len() + bytes.len() > LONGEST_ANSWER {
                return Err(GatewayError::Upstream(format!(
                    "{} answered without end",
                    exchange.endpoint
                )));
            }
            body.extend_from_slice(&bytes);
        }
        if answer.head.status == StatusCode::TOO_MANY_REQUESTS && is_out_of_credit(&body) {
            let text = format!("{} has no credit left", exchange.endpoint);
            return Err(GatewayError::UpstreamRefused(text));
        }
        exchange.count(&dialect.meter(call, &body));
        if let Some(left) = self.settle(exchange).await {
            exchange.left = Some(left);
        }
        let mut head = head(exchange, &answer).map_err(unwritable)?;
        head.insert_header(header::CONTENT_LENGTH, body.len())
            .map_err(unwritable)?;
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
        mut meter: Box<dyn Meter>,
        mut ends: Ends<'_>,
    ) -> Result<(), GatewayError> {
        let mut head = head(exchange, &answer).map_err(unwritable)?;
        for (name, value) in [
            ("cache-control", "no-cache, no-transform"),
            ("x-accel-buffering", "no"),
        ] {
            head.insert_header(name, value).map_err(unwritable)?;
        }
        // What is older than chunks ends with its connection.
        if session.req_header().version >= Version::HTTP_11 {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")
                .map_err(unwritable)?;
        }
        exchange.status = head.status.as_u16();
        exchange.speaks_events = speaks_events(&answer);
        session
            .write_response_header(Box::new(head))
            .await
            .map_err(|_| GatewayError::ClientGone)?;
        loop {
            let (bytes, ended) = match next(session, &mut answer, ends.as_mut()).await {
                Ok(Some(bytes)) => (meter.feed(&bytes), false),
                Ok(None) => (meter.finish(), true),
                Err(GatewayError::ClientGone) => {
                    exchange.count(meter.reading());
                    return Err(GatewayError::ClientGone);
                }
                // It said itself that it was complete; how it was closed does not matter.
                Err(GatewayError::Upstream(_)) if exchange.complete => (Vec::new(), true),
                Err(error) => {
                    exchange.count(meter.reading());
                    return self.break_off(session, exchange, error).await;
                }
            };
            exchange.read(meter.reading());
            self.note(exchange);
            if exchange.exceeds_its_hold() {
                let error = GatewayError::Upstream(format!(
                    "{} sends more than it was asked for",
                    exchange.endpoint
                ));
                return self.break_off(session, exchange, error).await;
            }
            if exchange.complete || ended {
                exchange.count(meter.reading());
                self.settle(exchange).await;
            }
            let written = session.write_response_body(Bytes::from(bytes), false).await;
            if written.is_err() {
                exchange.count(meter.reading());
                return Err(GatewayError::ClientGone);
            }
            if ended && exchange.complete {
                let end = session.write_response_body(Bytes::new(), true).await;
                return end.map_err(|_| GatewayError::ClientGone);
            }
            if ended {
                self.metrics.truncated_streams.add(1);
                let error = GatewayError::Upstream(format!(
                    "{} ended its stream too early",
                    exchange.endpoint
                ));
                return self.break_off(session, exchange, error).await;
            }
        }
    }

    /// Tells the journal what a stream is known to have cost, now and then.
    fn note(&self, exchange: &mut Exchange) {
        if let Some(hold) = &exchange.hold
            && exchange.noted.elapsed() > NOTE_EVERY
        {
            self.settler.journal.know(&hold.id, exchange.due());
            exchange.noted = Instant::now();
        }
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
        if !exchange.speaks_events {
            // In sound there is no place for words: without a clean end it is not taken for whole.
            return Err(GatewayError::Torn);
        }
        let written = reply::break_off(session, exchange, &error).await;
        written.map_err(|_| GatewayError::ClientGone)
    }

    /// Ends the hold, if it is still there.
    pub(super) async fn settle(&self, exchange: &mut Exchange) -> Option<Tokens> {
        let hold = exchange.hold.take()?;
        let cost = exchange.due();
        exchange.cost = Some(cost);
        self.settler.settle(hold, cost).await
    }
}

/// What a provider says to us is not for our clients: that our key is wrong, that our credit is gone,
/// that the address has moved.
fn passable(exchange: &Exchange, answer: &Answer<'_>) -> Result<(), GatewayError> {
    let (status, endpoint) = (answer.head.status, &exchange.endpoint);
    let text = format!("{endpoint} answered {status}");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PAYMENT_REQUIRED => {
            Err(GatewayError::UpstreamRefused(text))
        }
        _ if status.is_informational() || status.is_redirection() => {
            Err(GatewayError::Upstream(text))
        }
        _ => match answer.head.headers.get(header::CONTENT_ENCODING) {
            Some(coding) if coding != "identity" => Err(GatewayError::Upstream(format!(
                "{endpoint} answered in a coding it was not asked for"
            ))),
            _ => Ok(()),
        },
    }
}

fn content_type<'a>(answer: &'a Answer<'_>) -> Option<&'a str> {
    answer.head.headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

fn speaks_events(answer: &Answer<'_>) -> bool {
    let start = content_type(answer).and_then(|kind| kind.get(..EVENT_STREAM.len()));
    start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

/// Passes bytes on as they come. Their end is their end.
#[derive(Default)]
struct Through(Reading);

impl Meter for Through {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn finish(&mut self) -> Vec<u8> {
        self.0.complete = true;
        Vec::new()
    }

    fn reading(&self) -> &Reading {
        &self.0
    }
}

/// Providers say with the status of "too fast" that the operator's credit with them is gone. The
/// caller must not take that for its own balance, nor try again.
fn is_out_of_credit(body: &[u8]) -> bool {
    const CODES: [&str; 5] = [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    ];
    let text = String::from_utf8_lossy(body);
    CODES
        .iter()
        .any(|code| text.contains(&format!("\"{code}\"")))
}

fn unwritable(error: Box<pingora::Error>) -> GatewayError {
    GatewayError::Upstream(format!("an answer that cannot be passed on: {error}"))
}

fn head(exchange: &Exchange, answer: &Answer<'_>) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build(answer.head.status, Some(12))?;
    for name in PASSED {
        for value in answer.head.headers.get_all(*name) {
            head.append_header(*name, value)?;
        }
    }
    reply::tell(&mut head, exchange)?;
    Ok(head)
}

/// The provider's next bytes, unless something ends the request first.
async fn next(
    session: &mut ServerSession,
    answer: &mut Answer<'_>,
    mut ends: Ends<'_>,
) -> Result<Option<Bytes>, GatewayError> {
    tokio::select! {
        biased;
        ended = &mut ends => Err(ended),
        chunk = answer.chunk() => Ok(chunk?),
        gone = client_leaves(session) => Err(gone),
    }
}
