//! Writes answers and refusals to the client.
//!
//! A reply that is sent before the request's body was read drains what is small and closes after
//! what is not: leftover bytes must never be taken for the next request.

use super::error::GatewayError;
use super::exchange::Exchange;
use crate::dialect::call::Api;
use crate::dialect::error::{self, Shape};
use crate::local::answer::{self, Answer};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use std::time::Duration;

/// How long an unread body is read for a reply's sake.
const DRAIN_TIME: Duration = Duration::from_secs(2);

pub type Written = Result<(), Box<pingora::Error>>;

pub async fn refuse(
    session: &mut ServerSession,
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
    if said.is_final {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    send(session, exchange, answer).await
}

/// Sends a whole answer.
pub async fn send(session: &mut ServerSession, exchange: &mut Exchange, answer: Answer) -> Written {
    let (head, body) = answer.into_parts();
    let mut response = ResponseHeader::build(head.status, Some(head.headers.len() + 4))?;
    for (name, value) in &head.headers {
        response.append_header(name, value)?;
    }
    response.insert_header(header::CONTENT_LENGTH, body.len())?;
    tell(&mut response, exchange)?;
    exchange.status = head.status.as_u16();
    let unread = !session.is_body_done();
    if unread {
        session.set_keepalive(None);
    }
    session.write_response_header(Box::new(response)).await?;
    session.write_response_body(body, true).await?;
    if unread {
        // The client may still be sending: closing now could take the reply away from it.
        let _ = tokio::time::timeout(DRAIN_TIME, drain(session)).await;
    }
    Ok(())
}

async fn drain(session: &mut ServerSession) {
    while let Ok(Some(_)) = session.read_request_body().await {}
}

/// What every reply says of its request. Anthropic's SDK reads a header of its own for the ID.
pub fn tell(response: &mut ResponseHeader, exchange: &Exchange) -> Written {
    response.insert_header("x-request-id", exchange.request_id.as_str())?;
    if exchange.api == Some(Api::Anthropic) {
        response.insert_header("request-id", exchange.request_id.as_str())?;
    }
    if !exchange.endpoint.is_empty() {
        response.insert_header("x-resullm-endpoint", exchange.endpoint.as_str())?;
    }
    if let Some(left) = exchange.left {
        response.insert_header("x-resullm-tokens-left", left.to_string())?;
    }
    if let Some(pace) = exchange.pace {
        response.insert_header("x-ratelimit-limit-requests", pace.limit.to_string())?;
        response.insert_header("x-ratelimit-remaining-requests", pace.remaining.to_string())?;
        response.insert_header("x-ratelimit-reset-requests", format!("{}ms", pace.reset.0))?;
    }
    Ok(())
}

/// Ends a stream that cannot go on: an event that SDKs raise on, and no clean end.
pub async fn break_off(
    session: &mut ServerSession,
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
    session.set_keepalive(None);
    session
        .write_response_body(Bytes::from(error::event(api, shape)), true)
        .await
}
