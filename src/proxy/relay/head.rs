//! The head of an answer: whether it may pass, and which of its headers do.

use crate::proxy::downstream::reply::ReplyContext;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::outcome::ProviderFault;
use crate::proxy::upstream::client::ProviderAnswer;
use crate::rules::redact::Credentials;
use http::StatusCode;
use httpdate::parse_http_date;
use std::time::{Duration, SystemTime};

/// Response headers that pass. Rate limits (`x-ratelimit-*`), organisation and cookies of the provider
/// concern the operator alone.
const PASSED: &[&str] = &[
    "content-type",
    "cache-control",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

const EVENT_STREAM: &str = "text/event-stream";

/// Refuses answers that tell of the operator's account (a wrong key, no credit, a moved address), and those
/// that cannot be metered.
pub(crate) fn check(endpoint: &str, answer: &ProviderAnswer<'_>) -> Result<(), GatewayError> {
    let status = answer.head.status;
    let text = || format!("{endpoint} answered {status}");
    let invalid = |why| GatewayError::ProviderFailed(ProviderFault::Invalid, why);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PAYMENT_REQUIRED => {
            Err(GatewayError::ProviderRefused(text()))
        }
        // No content, or a part of an answer that was not asked for in parts.
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT => {
            Err(invalid(text()))
        }
        _ if status.is_informational() || status.is_redirection() => Err(invalid(text())),
        _ => {
            let mut codings = answer.head.fields.all("content-encoding");
            if codings.all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
                return Ok(());
            }
            Err(invalid(format!(
                "{endpoint} answered in a coding it was not asked for"
            )))
        }
    }
}

/// Returns the time after which the provider wants to be asked again: `retry-after-ms`, else `retry-after`.
pub(crate) fn retry_after(answer: &ProviderAnswer<'_>) -> Option<Duration> {
    let field = |name| answer.head.fields.get(name).map(str::trim);
    let span = |text: &str, unit: f64| {
        let number: f64 = text.parse().ok()?;
        Duration::try_from_secs_f64(number * unit).ok()
    };
    let millis = field("retry-after-ms").and_then(|text| span(text, 0.001));
    millis.or_else(|| {
        let text = field("retry-after")?;
        let date = || {
            parse_http_date(text)
                .ok()?
                .duration_since(SystemTime::now())
                .ok()
        };
        span(text, 1.0).or_else(date)
    })
}

/// Whether an error of this status may be another one at another provider, or with another key: it tells of the
/// provider or of the tenant's account there, and not of the request.
pub(crate) fn is_worth_another_attempt(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401..=403 | 408 | 409 | 429) || status.is_server_error()
}

/// Whether an error of this status may be another one with another of the endpoint's keys.
pub(crate) fn is_keys_fault(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401..=403 | 429)
}

/// Whether the answer is a stream of server-sent events, by its `content-type`.
pub(crate) fn is_event_stream(answer: &ProviderAnswer<'_>) -> bool {
    let kind = answer.head.fields.get("content-type");
    let start = kind.and_then(|kind| kind.get(..EVENT_STREAM.len()));
    start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

/// Begins the reply with the answer's status and the headers that pass.
pub(crate) fn begin(
    session: &mut Session<'_>,
    reply: &ReplyContext,
    answer: &ProviderAnswer<'_>,
    credentials: &Credentials,
) {
    session.begin_head(answer.head.status);
    for name in PASSED {
        let values = answer.head.fields.all(name);
        for value in values.filter(|value| !credentials.are_in(value)) {
            // Cannot fail: the value was a valid header line when it arrived.
            let _ = session.header(name, value);
        }
    }
    reply.write_headers(session);
}

/// Writes the headers that every stream has, so that nobody on its way changes or withholds it.
pub(crate) fn write_stream_headers(session: &mut Session<'_>) {
    // Cannot fail: valid header values.
    let _ = session.header("cache-control", b"no-cache, no-transform");
    let _ = session.header("x-accel-buffering", b"no");
}
