//! Writes answers and refusals to the client.
//!
//! A reply that is sent before the request's body was read drains what is small and closes after
//! what is not: leftover bytes must never be taken for the next request.

use crate::dialect::call::Api;
use crate::dialect::error::{self, Shape};
use crate::local::answer::{self, Answer};
use crate::proxy::downstream::connection::Gone;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use http::header::{self, HeaderValue};
use std::time::Duration;

/// How long an unread body is read for a reply's sake.
const DRAIN_TIME: Duration = Duration::from_secs(2);

pub type Written = Result<(), Gone>;

pub async fn refuse(
    session: &mut Session<'_>,
    exchange: &mut Exchange,
    error: GatewayError,
) -> Written {
    let said = error.said();
    let allowed = match &error {
        GatewayError::OtherMethods(methods) => HeaderValue::from_str(methods).ok(),
        _ => None,
    };
    let mut answer = match (error, exchange.api) {
        (GatewayError::Local(refusal), None) => refusal.into_answer(),
        // These two have one body everywhere.
        (GatewayError::InvalidTenant, _) => answer::text(400, r#"{"error":"Invalid tenant ID"}"#),
        (_, _) if said.status == 500 => answer::text(500, r#"{"error":"Internal Server Error"}"#),
        (_, Some(api)) => {
            let message = said.message.as_str();
            let request_id = exchange.request_id.as_str();
            let shape = Shape {
                status: said.status,
                code: said.code,
                message,
                request_id,
            };
            answer::text(said.status, error::body(api, shape))
        }
        (_, None) => answer::json(said.status, &serde_json::json!({"error": said.message})),
    };
    let headers = answer.headers_mut();
    if let Some(seconds) = said.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if said.status == 401 && !headers.contains_key(header::WWW_AUTHENTICATE) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(methods) = allowed {
        headers.insert(header::ALLOW, methods);
    }
    if said.status == 426 {
        headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if said.is_final {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    send(session, exchange, answer).await
}

/// Sends a whole answer.
pub async fn send(session: &mut Session<'_>, exchange: &mut Exchange, answer: Answer) -> Written {
    let (head, body) = answer.into_parts();
    session.skip_body();
    let unread = !session.is_body_read();
    if unread {
        session.close_after();
    }
    exchange.status = head.status.as_u16();
    session.begin_head(head.status);
    for (name, value) in &head.headers {
        // A header value is one line.
        let _ = session.header_of(name, value.as_bytes());
    }
    tell(session, exchange);
    session.whole(body).await?;
    if unread {
        // The client may still be sending: closing now could take the reply away from it.
        let _ = tokio::time::timeout(DRAIN_TIME, session.drain()).await;
    }
    Ok(())
}

/// What every reply says of its request. Anthropic's SDK reads a header of its own for the ID.
pub fn tell(session: &mut Session<'_>, exchange: &Exchange) {
    // The caller's ID was checked, a name that is not one line is left out.
    let mut say = |name: &'static str, value: &str| {
        let _ = session.header(name, value.as_bytes());
    };
    say("x-request-id", &exchange.request_id);
    if exchange.api == Some(Api::Anthropic) {
        say("request-id", &exchange.request_id);
    }
    if !exchange.endpoint.is_empty() {
        say("x-resullm-endpoint", &exchange.endpoint);
    }
    if !exchange.removed.is_empty() {
        say("x-resullm-removed", &exchange.removed.join(", "));
    }
    if let Some(left) = exchange.left {
        session.header_number("x-resullm-tokens-left", left.count());
    }
    if let Some(pace) = exchange.pace {
        session.header_number("x-ratelimit-limit-requests", pace.limit);
        session.header_number("x-ratelimit-remaining-requests", pace.remaining);
        let _ = session.header(
            "x-ratelimit-reset-requests",
            format!("{}ms", pace.reset.0).as_bytes(),
        );
    }
    if let Some(grant) = &exchange.cors {
        grant.write(session);
    }
}

/// Ends a stream that cannot go on: an event that SDKs raise on, and no clean end.
pub async fn break_off(
    session: &mut Session<'_>,
    exchange: &Exchange,
    error: &GatewayError,
) -> Written {
    let api = exchange.api.unwrap_or(Api::OpenAi);
    let said = error.said();
    let (message, request_id) = (said.message.as_str(), exchange.request_id.as_str());
    let shape = Shape {
        status: said.status,
        code: said.code,
        message,
        request_id,
    };
    session.close_after();
    let event = error::event(api, shape);
    session.stream(event.into(), true).await
}
