//! Responses and errors of the local routes. Always JSON; an error is always `{"error": sentence}`.
//!
//! An error text must never quote the client's body, which may contain a secret.

use crate::api;
use crate::rules::amount::Millis;
use crate::store::StoreError;
use crate::tables::Fault;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;

/// A complete response.
pub type Answer = Response<Bytes>;

/// Returns a JSON response.
pub fn json<T: Serialize>(status: u16, value: &T) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => text(status, body),
        // Only a map whose keys are no texts cannot be written.
        Err(_) => text(500, r#"{"error":"Internal Server Error"}"#),
    }
}

/// Returns an error with its sentence.
pub fn error(status: u16, sentence: &str) -> Answer {
    let error = sentence.to_owned();
    json(status, &api::Error { error })
}

/// Returns a response whose body is already JSON text.
pub fn text(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// Returns a redirect. Where it came from is told to nobody.
pub(super) fn redirect(status: u16, to: &str) -> Result<Answer, Refusal> {
    let location = HeaderValue::from_str(to);
    // Addresses are checked when a config is read, and what is added is percent-encoded.
    let location = location.map_err(|_| Refusal::Bad("The address is no header".to_owned()))?;
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    answer.headers_mut().insert(header::LOCATION, location);
    Ok(answer)
}

/// An error of a local route; [`Refusal::into_answer`] maps it to a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotFound,
    /// 405; holds the `Allow` header.
    MethodNotAllowed(String),
    Unauthorized,
    /// The end user's key is missing or unknown (401).
    UnknownKey,
    /// An ID token, a code or its verifier is wrong (401). Only the log says which.
    SignInRefused,
    /// An issuer's keys or addresses cannot be had (503).
    IssuerUnavailable,
    /// The address has begun too many sign-ins (429).
    TooManySignIns {
        wait: Millis,
    },
    /// Stripe, or the tenant's key for it, is of no use now (503).
    BillingUnavailable,
    /// Stripe refuses what it was asked (502); the text is Stripe's.
    BillingRefused(String),
    /// The account has begun too many checkouts (429).
    TooManyCheckouts {
        wait: Millis,
    },
    /// Invalid request (400); the sentence says what is wrong and where.
    Bad(String),
    /// Invalid tenant config (400); each fault has its path.
    InvalidConfig(Vec<Fault>),
    Forbidden(String),
    Conflict(String),
    /// The config changed since the caller read it (412).
    PreconditionFailed,
    /// Mint limit reached (429); `wait` becomes `Retry-After`.
    RateLimited {
        wait: Millis,
    },
    /// The tenant's config is invalid, so none of its other routes work (503).
    TenantUnusable,
    /// The gateway is shutting down (503).
    Draining,
    Store(StoreError),
    /// The store did not confirm a credit: it may or may not be applied, or may still be lost in a failover
    /// (503). The client repeats it with the same `id`.
    Unconfirmed {
        id: String,
    },
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

impl Refusal {
    /// Returns the status, and a code for the metrics and the log. The answer itself has no code.
    pub fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Refusal::NotFound => (404, "not_found"),
            Refusal::MethodNotAllowed(_) => (405, "method_not_allowed"),
            Refusal::Unauthorized => (401, "unauthorized"),
            Refusal::UnknownKey => (401, "invalid_api_key"),
            Refusal::SignInRefused => (401, "sign_in_refused"),
            Refusal::IssuerUnavailable => (503, "issuer_unavailable"),
            Refusal::TooManySignIns { .. } => (429, "too_many_sign_ins"),
            Refusal::BillingUnavailable => (503, "billing_unavailable"),
            Refusal::BillingRefused(_) => (502, "billing_refused"),
            Refusal::TooManyCheckouts { .. } => (429, "too_many_checkouts"),
            Refusal::Bad(_) => (400, "bad_request"),
            Refusal::InvalidConfig(_) => (400, "invalid_config"),
            Refusal::Forbidden(_) => (403, "forbidden"),
            Refusal::Conflict(_) => (409, "conflict"),
            Refusal::PreconditionFailed => (412, "precondition_failed"),
            Refusal::RateLimited { .. } => (429, "too_many_mints"),
            Refusal::TenantUnusable => (503, "broken_config"),
            Refusal::Draining => (503, "draining"),
            Refusal::Unconfirmed { .. } => (503, "unconfirmed"),
            Refusal::Store(StoreError::Damaged { .. }) => (500, "internal_error"),
            Refusal::Store(StoreError::Full) => (503, "store_full"),
            Refusal::Store(_) => (503, "store_unavailable"),
        }
    }

    /// Returns the response for this error.
    pub fn into_answer(self) -> Answer {
        match self {
            Refusal::NotFound => error(404, "Not found"),
            Refusal::MethodNotAllowed(methods) => {
                with(error(405, "Method not allowed"), header::ALLOW, &methods)
            }
            Refusal::Unauthorized => unauthorized("Unauthorized"),
            Refusal::UnknownKey => unauthorized("Unknown API key"),
            Refusal::SignInRefused => unauthorized("The sign-in was refused"),
            Refusal::IssuerUnavailable => later(
                503,
                "The issuer of this sign-in cannot be asked; try again",
                SOON,
            ),
            Refusal::TooManySignIns { wait } => {
                let why = "Too many sign-ins were begun from this address; try again later";
                later(429, why, wait)
            }
            Refusal::BillingUnavailable => later(
                503,
                "Payments cannot be made at the moment; try again",
                SOON,
            ),
            Refusal::BillingRefused(text) => error(502, &format!("Stripe refuses: {text}")),
            Refusal::TooManyCheckouts { wait } => {
                let why = "This account was too often on its way to Stripe within the hour; try again later";
                later(429, why, wait)
            }
            Refusal::Bad(text) => error(400, &text),
            Refusal::InvalidConfig(faults) => json(400, &api::InvalidConfig::new(faults)),
            Refusal::Forbidden(text) => error(403, &text),
            Refusal::Conflict(text) => error(409, &text),
            Refusal::PreconditionFailed => error(412, "The config has changed; read it again"),
            Refusal::RateLimited { wait } => {
                let why = "Too many keys were minted from this address; try again later";
                later(429, why, wait)
            }
            Refusal::TenantUnusable => error(503, "The tenant's config cannot be used"),
            Refusal::Draining => with(error(503, "Shutting down"), header::RETRY_AFTER, "1"),
            Refusal::Unconfirmed { id } => with(
                error(
                    503,
                    &format!("The credit is not confirmed; repeat it with the id {id}"),
                ),
                header::RETRY_AFTER,
                "1",
            ),
            Refusal::Store(StoreError::Damaged { .. }) => error(500, "Internal Server Error"),
            Refusal::Store(_) => with(
                error(503, "The store is unavailable; try again"),
                header::RETRY_AFTER,
                "1",
            ),
        }
    }
}

/// Wait after a failure of another service.
const SOON: Millis = Millis(10_000);

/// Returns an error that a repeat after `wait` may not meet.
fn later(status: u16, sentence: &str, wait: Millis) -> Answer {
    let seconds = wait.seconds_up().max(1).to_string();
    with(error(status, sentence), header::RETRY_AFTER, &seconds)
}

fn unauthorized(sentence: &str) -> Answer {
    with(error(401, sentence), header::WWW_AUTHENTICATE, "Bearer")
}

fn with(mut answer: Answer, name: header::HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Parses a JSON body into `T`; an empty body counts as `{}`. The error says where parsing failed.
pub fn body<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Refusal> {
    let text = if bytes.is_empty() { b"{}" } else { bytes };
    // serde would accept a list as the members of a struct in order, which is not part of the API.
    if let Some(other) = not_an_object(text) {
        let why = format!("The body must be a JSON object, not {other}");
        return Err(Refusal::Bad(why));
    }
    serde_json::from_slice(text)
        .map_err(|error| Refusal::Bad(format!("The body cannot be read: {}", told(&error))))
}

/// Kind of a JSON text by its first byte. `None`: an object, or no JSON.
fn not_an_object(text: &[u8]) -> Option<&'static str> {
    match text.trim_ascii_start().first()? {
        b'[' => Some("a list"),
        b'"' => Some("a string"),
        b'-' | b'0'..=b'9' => Some("a number"),
        b't' | b'f' => Some("a boolean"),
        b'n' => Some("null"),
        _ => None,
    }
}

/// Formats a parse error without the text that `serde_json` quotes: it may be a token in the wrong place.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let repeats = [
        "invalid type: string",
        "invalid value: string",
        "unknown field",
        "unknown variant",
    ];
    let Some(start) = repeats.iter().find(|start| text.starts_with(**start)) else {
        return text;
    };
    let rest = text.rfind(", expected ").map_or("", |at| &text[at..]);
    format!("{start}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Call {
        tokens: Vec<String>,
        life: Option<u64>,
    }

    #[test]
    fn body_errors_do_not_repeat_the_body() {
        for (text, part) in [
            (
                r#"{"tokens":"s3cret, expected much"}"#,
                "invalid type: string, expected a sequence at line 1",
            ),
            (
                r#"{"tokens":[],"life":"s3cret"}"#,
                "invalid type: string, expected u64",
            ),
            (
                r#"{"s3cret":1}"#,
                "unknown field, expected `tokens` or `life`",
            ),
            (
                r#"{"tokens":["s3cret" 1]}"#,
                "expected `,` or `]` at line 1",
            ),
            ("{}", "missing field `tokens`"),
        ] {
            let Refusal::Bad(told) = body::<Call>(text.as_bytes()).unwrap_err() else {
                panic!("{text}");
            };
            assert!(told.contains(part) && !told.contains("s3cret"), "{told}");
        }
    }
}
