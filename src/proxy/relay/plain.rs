//! A plain answer: read whole, metered, settled, and then passed on in one piece.

use super::head;
use super::next::{Next, next};
use super::request::{Relay, RelayedCall};
use crate::dialect::call::{Api, Reading};
use crate::dialect::error::{self, Shape};
use crate::dialect::translate::Translation;
use crate::dialect::{self, failure};
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::limits::gate;
use crate::proxy::outcome::{ProviderFault, Refused};
use crate::proxy::upstream::client::ProviderAnswer;
use crate::proxy::upstream::drain::refuse_and_drain;
use crate::proxy::upstream::lifetime::Lifetime;
use crate::telemetry::fields::About;
use crate::telemetry::throttle::Throttle;
use bytes::Bytes;
use http::StatusCode;
use log::Level;

/// Longest plain answer in bytes that is relayed.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Code of a provider's 429 as the client gets it.
const RATE_LIMITED: &str = "provider_rate_limited";

/// Code of any other error of a provider of another API.
const PROVIDER_ERROR: &str = "provider_error";

/// Answer as the client gets it.
struct Passed {
    body: Bytes,
    /// Whether its error is the gateway's wording, [`RATE_LIMITED`].
    is_rate_limited: bool,
}

pub(crate) async fn relay(
    relay: &Relay<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    mut answer: ProviderAnswer<'_>,
    asked: &RelayedCall<'_>,
    lifetime: &mut Lifetime<'_>,
) -> Result<(), GatewayError> {
    read_whole(relay, session, call, &mut answer, asked, lifetime).await?;
    let passed = meter(call, &mut answer, asked)?;
    if !lifetime.is_draining() {
        give_up(call, &answer, asked)?;
    }
    if let Some(left) = relay.settlement.settle(call).await {
        call.reply.set_balance(left);
    }
    call.reply.set_cost(|| call.bill.cost_line());
    if let (Some(tap), StatusCode::OK, Some(ended)) =
        (asked.tap, answer.head.status, call.bill.ended())
        && !call.bill.is_unusable()
    {
        let kind = answer.head.fields.get("content-type").unwrap_or_default();
        tap.take_whole(kind, &passed.body, &ended);
    }
    if lifetime.is_draining() {
        return Err(GatewayError::ClientGone);
    }
    let status = answer.head.status;
    if session.answered().is_some() {
        // A keep-alive has begun a stream, which this answer is not.
        return Err(GatewayError::ProviderError(status));
    }
    call.outcome.is_committed = true;
    if passed.is_rate_limited {
        let (status, code) = (status.as_u16(), RATE_LIMITED);
        call.outcome.note(Some(Refused { status, code }), None);
    }
    if !status.is_success() {
        log_error(call, status);
    }
    head::begin(session, call.reply, &answer, asked.credentials);
    let written = session.whole(passed.body).await;
    written.map_err(|_| GatewayError::ClientGone)
}

/// Gives up a failed answer where another attempt may follow.
fn give_up(
    call: &mut Admitted<'_, '_>,
    answer: &ProviderAnswer<'_>,
    asked: &RelayedCall<'_>,
) -> Result<(), GatewayError> {
    let status = answer.head.status;
    let endpoint = call.reply.endpoint();
    let error = match status.is_success() {
        true if call.bill.is_unusable() => {
            let why = format!("{endpoint} answered {status} with an error or what cannot be read");
            GatewayError::ProviderFailed(ProviderFault::Invalid, why)
        }
        false if head::is_worth_another_attempt(status) => GatewayError::ProviderError(status),
        _ => return Ok(()),
    };
    match asked.next.may_begin(head::is_keys_fault(status)) {
        true => Err(error),
        false => Ok(()),
    }
}

/// Reads until all of the answer is in [`ProviderAnswer::content`].
async fn read_whole(
    relay: &Relay<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    answer: &mut ProviderAnswer<'_>,
    asked: &RelayedCall<'_>,
    lifetime: &mut Lifetime<'_>,
) -> Result<(), GatewayError> {
    loop {
        match next(session, answer, lifetime, call).await {
            Ok(Next::Bytes | Next::Silence) => {}
            Ok(Next::End) => return Ok(()),
            Err(error) => {
                if broke_off_at_once(&error, answer) {
                    call.bill.set_accepted(false);
                }
                let may_move = asked.next.may_begin(false) && !lifetime.is_draining();
                let is_timeout = matches!(error, GatewayError::ProviderTimeout(_));
                if may_move && error.is_providers() {
                    return match whole_reading(answer, asked) {
                        Some(_) => Ok(()),
                        None => Err(error),
                    };
                }
                // After a timeout the rest of the answer may still arrive, with its usage.
                if lifetime.is_draining() || !is_timeout {
                    conclude_if_whole(call, answer, asked);
                    return Err(error);
                }
                refuse_and_drain(session, call, error, lifetime).await;
            }
        }
        if !call.body_memory.grow_to(answer.content.len()) {
            return Err(gate::no_memory(relay.metrics));
        }
        if answer.content.len() > MAX_ANSWER_BYTES {
            let why = format!("{} answered without end", call.reply.endpoint());
            return Err(GatewayError::ProviderFailed(ProviderFault::Excess, why));
        }
    }
}

/// Meters a whole answer, and returns its body with the operator's keys and names redacted.
fn meter(
    call: &mut Admitted<'_, '_>,
    answer: &mut ProviderAnswer<'_>,
    asked: &RelayedCall<'_>,
) -> Result<Passed, GatewayError> {
    let status = answer.head.status;
    let mut is_rate_limited = false;
    let mut body = answer.content.split().freeze();
    if status == StatusCode::TOO_MANY_REQUESTS && is_out_of_credit(&body) {
        call.bill.set_accepted(false);
        let text = format!("{} has no credit left", call.reply.endpoint());
        return Err(GatewayError::ProviderRefused(text));
    }
    if status.is_success() {
        let reading = dialect::meter(asked.dialect, asked.call, &body);
        call.bill.conclude(&reading);
    } else {
        let is_stream = head::is_event_stream(answer);
        let failure = failure::read(asked.dialect, asked.call, is_stream, &body);
        call.bill.conclude(&failure.reading);
        if let Some(passed) = failure.passed {
            body = passed.into();
        }
        if status == StatusCode::TOO_MANY_REQUESTS && failure.reading.delivered.is_empty() {
            is_rate_limited = true;
            let request_id = call.reply.request_id();
            body = rate_limited(request_id, asked.api, &body).into();
        }
    }
    if let Some(translation) = asked.translation
        && !is_rate_limited
    {
        body = translated(call, translation, asked.api, status, &body)?;
    }
    if call.bill.has_failed(status.is_success())
        && let Some(nameless) = failure::redact_account_names(&body, asked.host)
    {
        body = nameless.into();
    }
    if let Some(redacted) = asked.credentials.redact(&body) {
        body = redacted.into();
    }
    Ok(Passed {
        body,
        is_rate_limited,
    })
}

/// Translates an answer, or an error, to the client's API.
fn translated(
    call: &Admitted<'_, '_>,
    translation: &Translation,
    api: Api,
    status: StatusCode,
    body: &[u8],
) -> Result<Bytes, GatewayError> {
    if status.is_success() {
        let answer = translation.answer(body);
        let Some(answer) = answer.filter(|_| !call.bill.is_unusable()) else {
            let endpoint = call.reply.endpoint();
            let why =
                format!("{endpoint} answered with what cannot be carried to the client's API");
            return Err(GatewayError::ProviderFailed(ProviderFault::Invalid, why));
        };
        return Ok(answer.into());
    }
    let given = failure::message(body);
    let error = Shape {
        status: status.as_u16(),
        code: PROVIDER_ERROR,
        message: given
            .as_deref()
            .unwrap_or("The provider answered with an error"),
        request_id: call.reply.request_id(),
    };
    Ok(error::body(api, error).into())
}

/// Logs an error that the provider answered: of each kind one line a second. Its text is not logged: it may quote the
/// prompt.
fn log_error(call: &Admitted<'_, '_>, status: StatusCode) {
    static LIMITED: Throttle = Throttle::new();
    static REFUSED: Throttle = Throttle::new();
    static FAILED: Throttle = Throttle::new();
    let status = status.as_u16();
    // What a provider refuses is most often its caller's fault.
    let (kind, level) = match status {
        429 => (&LIMITED, Level::Warn),
        400..=499 => (&REFUSED, Level::Info),
        _ => (&FAILED, Level::Warn),
    };
    let about = About {
        status: Some(status),
        ..call.about()
    };
    let outcome = [("outcome", call.outcome.provider_word().into())];
    let line = format_args!("Provider answered {status}, which was passed on");
    about.log_throttled(kind, module_path!(), level, &outcome, line);
}

/// Concludes an answer whose content is whole, although the end of its framing (last chunk) is missing.
fn conclude_if_whole(
    call: &mut Admitted<'_, '_>,
    answer: &ProviderAnswer<'_>,
    asked: &RelayedCall<'_>,
) {
    if let Some(reading) = whole_reading(answer, asked) {
        call.bill.conclude(&reading);
    }
}

/// Meters an answer whose content is whole, although the end of its framing is missing. `None`: it is not whole.
fn whole_reading(answer: &ProviderAnswer<'_>, asked: &RelayedCall<'_>) -> Option<Reading> {
    if !answer.head.status.is_success() || asked.dialect.answers_with_sound() {
        return None;
    }
    let reading = dialect::meter(asked.dialect, asked.call, &answer.content);
    let is_whole = reading.complete && reading.claim.output.is_some();
    is_whole.then_some(reading)
}

/// Whether the provider broke off before the first byte of its body.
fn broke_off_at_once(error: &GatewayError, answer: &ProviderAnswer<'_>) -> bool {
    matches!(error, GatewayError::ProviderFailed(..)) && answer.content.is_empty()
}

/// Whether the body of a 429 says that the operator's credit is spent. The client must neither take that for
/// its own balance nor retry.
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

/// Builds the error body for a 429 by the operator's rate limit at the provider, which is not the client's
/// own limit.
fn rate_limited(request_id: &str, api: Api, body: &[u8]) -> String {
    let given = failure::message(body).unwrap_or_default();
    let message = format!("The provider is asked too much by this gateway. {given}");
    let error = Shape {
        status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
        code: RATE_LIMITED,
        message: message.trim_end(),
        request_id,
    };
    error::body(api, error)
}
