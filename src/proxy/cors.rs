//! Cross-origin requests of browsers (CORS): who may read an answer, and the preflights before a request.
//!
//! Credentials of the browser's own, cookies and the like, are never allowed: keys are sent by the page.

use super::error::GatewayError;
use super::exchange::Exchange;
use super::pipeline::Pipeline;
use super::reply;
use super::session::Session;
use crate::http1::fields::Fields;
use crate::local::answer::{Answer, Refusal};
use crate::rules::config::Cors;
use crate::rules::origin::WebOrigin;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

/// Response headers that pages may read. Browsers take no `x-resullm-*` for all that begin so.
const EXPOSED: &[u8] = b"x-request-id, request-id, x-resullm-endpoint, x-resullm-tokens-left, \
    x-resullm-cache, x-resullm-removed, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, \
    x-ratelimit-reset-requests, retry-after, retry-after-ms, x-should-retry, etag";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// Seconds for which a browser need not ask again.
const MAX_AGE: &str = "600";
const REQUESTED_METHOD: &str = "access-control-request-method";
const REQUESTED_HEADERS: &str = "access-control-request-headers";

/// What an answer of a tenant with `cors` says to browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The origin that may read it. None: nobody asked, or someone who may not.
    origin: Option<String>,
}

impl Grant {
    pub fn of(cors: &Cors, fields: &Fields) -> Grant {
        let mut origins = fields.all("origin");
        let origin = match (origins.next(), origins.next()) {
            (Some(origin), None) => std::str::from_utf8(origin).ok(),
            _ => None,
        };
        let allowed = origin.filter(|origin| {
            // To any origin belongs `null` too: a page in a sandbox, or from a file.
            cors.is_any() || WebOrigin::parse(origin).is_some_and(|origin| cors.allows(&origin))
        });
        let granted = |origin: &str| if cors.is_any() { "*" } else { origin }.to_owned();
        Grant {
            origin: allowed.map(granted),
        }
    }

    /// The headers that every such answer has, errors and streams included.
    pub fn write(&self, session: &mut Session) {
        // Each is one line: an origin was one when it came.
        let _ = session.header("vary", b"origin");
        if let Some(origin) = &self.origin {
            let _ = session.header("access-control-allow-origin", origin.as_bytes());
            let _ = session.header("access-control-expose-headers", EXPOSED);
        }
    }
}

/// A browser asks what it may ask.
pub fn is_preflight(method: &Method, fields: &Fields) -> bool {
    *method == Method::OPTIONS && fields.has("origin") && fields.has(REQUESTED_METHOD)
}

impl Pipeline {
    /// Answers a preflight: before anyone is known, for a preflight never carries a key.
    pub(super) async fn preflight(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<(), GatewayError> {
        let is_granted = exchange
            .cors
            .as_ref()
            .is_some_and(|grant| grant.origin.is_some());
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
