//! CORS preflights: `OPTIONS` requests with which a browser asks whether a page may send a request.
//!
//! A preflight carries no key, so it is answered before authentication. It grants the sending and nothing
//! else.

use crate::http1::fields::Fields;
use crate::local::answer::{Answer, Refusal};
use crate::proxy::downstream::cors::CorsGrant;
use crate::proxy::downstream::reply::{self, ReplyContext};
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// `access-control-max-age`: seconds for which a browser may cache the answer.
const MAX_AGE: &str = "600";
const REQUESTED_METHOD: &str = "access-control-request-method";
const REQUESTED_HEADERS: &str = "access-control-request-headers";

/// Whether a request is a preflight: `OPTIONS` with `origin` and `access-control-request-method`.
pub(crate) fn is_preflight(method: &Method, fields: &Fields) -> bool {
    *method == Method::OPTIONS && fields.has("origin") && fields.has(REQUESTED_METHOD)
}

/// Answers a preflight by the grant in its [`ReplyContext`].
pub(crate) async fn answer(
    session: &mut Session<'_>,
    reply: &mut ReplyContext,
) -> Result<(), GatewayError> {
    let is_granted = reply.cors().is_some_and(CorsGrant::is_granted);
    if !is_granted {
        // The refusal has the gateway's own shape: no API was called yet.
        reply.set_api(None);
        let why = "This origin is not in the tenant's cors.origins";
        return Err(Refusal::Forbidden(why.to_owned()).into());
    }
    let answer = permission(&session.request().fields);
    let written = reply::send(session, reply, answer).await;
    written.map_err(|_| GatewayError::ClientGone)
}

/// Builds the 204. It allows every header that the page announces: each is validated when it comes.
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
