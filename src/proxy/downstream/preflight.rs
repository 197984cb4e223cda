//! Preflights: a browser asks whether a page may send a request, before it sends it.
//!
//! They are answered before anyone is known, and grant nothing but the sending.

use crate::http1::fields::Fields;
use crate::local::answer::{Answer, Refusal};
use crate::proxy::downstream::cors::Grant;
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// Seconds for which a browser need not ask again.
const MAX_AGE: &str = "600";
const REQUESTED_METHOD: &str = "access-control-request-method";
const REQUESTED_HEADERS: &str = "access-control-request-headers";

/// A browser asks what it may ask.
pub fn is_preflight(method: &Method, fields: &Fields) -> bool {
    *method == Method::OPTIONS && fields.has("origin") && fields.has(REQUESTED_METHOD)
}

/// Answers a preflight: before anyone is known, for a preflight never carries a key.
pub async fn answer(
    session: &mut Session<'_>,
    exchange: &mut Exchange,
) -> Result<(), GatewayError> {
    let is_granted = exchange.cors.as_ref().is_some_and(Grant::is_given);
    if !is_granted {
        // It asks for no provider's API, whatever will follow it.
        exchange.api = None;
        let why = "This origin is not in the tenant's cors.origins";
        return Err(Refusal::Forbidden(why.to_owned()).into());
    }
    let answer = permission(&session.request().fields);
    let written = reply::send(session, exchange, answer).await;
    written.map_err(|_| GatewayError::ClientGone)
}

/// Whatever headers a page wants to send: what they mean is decided when they come.
fn permission(fields: &Fields) -> Answer {
    let mut answer = Answer::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let is_list = |value: &&[u8]| {
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(byte);
        !value.is_empty() && value.iter().all(known)
    };
    for value in fields.all(REQUESTED_HEADERS).filter(is_list) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, value);
        }
    }
    answer
}
