//! Asks the endpoints of a call in turn, and relays the first answer.

use super::turns::Turns;
use super::watch::Watch;
use crate::proxy::admission::admit;
use crate::proxy::admission::estimate::Estimate;
use crate::proxy::cache::tap::Tap;
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::relay::request::{NextAttempt, Relay, RelayedCall, private_host};
use crate::proxy::relay::{head, relay};
use crate::proxy::settlement::settle::Settlement;
use crate::proxy::upstream::forward::{Forward, Outgoing};
use crate::proxy::upstream::lifetime::{Lifetime, Lifetimes};
use crate::proxy::upstream::request::{self, Caller};
use crate::rules::redact::Credentials;
use crate::store::name::KeyName;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::throttle::Throttle;
use log::Level;

/// Parts of the proxy that attempts need.
pub(crate) struct Attempts<'a> {
    pub lifetimes: &'a Lifetimes,
    pub forward: &'a Forward,
    pub settlement: &'a Settlement,
    pub metrics: &'a Metrics,
}

/// Asks the endpoints of a call in turn, and relays the first answer.
pub(crate) async fn answer_by_any(
    parts: &Attempts<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    key: &KeyName,
    mut estimates: Vec<Estimate<'_>>,
    tap: Option<&Tap>,
) -> Result<(), GatewayError> {
    // The hold may be for less than the dearest endpoint, which is then not asked.
    let held = call.bill.held();
    let mut nth = 0;
    estimates.retain(|estimate| {
        nth += 1;
        nth == 1 || admit::least(estimate) <= held
    });
    Watch::put_passed_over_last(&mut estimates, call);
    let timer = std::mem::take(&mut session.lifetime_timer);
    let mut lifetime = parts.lifetimes.start(key, call.bill.taken(), timer);
    let mut turns = Turns::new(estimates, call.timing.started);
    let outcome = ask_in_turn(parts, session, call, &mut turns, tap, &mut lifetime).await;
    session.lifetime_timer = lifetime.timer;
    match outcome {
        Err(error) if error != GatewayError::ClientGone && !call.outcome.is_committed => {
            end_begun_stream(parts, session, call, error).await
        }
        outcome => outcome,
    }
}

/// Ends a stream that has had keep-alives and no content with an error event; passes any other error on.
async fn end_begun_stream(
    parts: &Attempts<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    error: GatewayError,
) -> Result<(), GatewayError> {
    if session.answered().is_none() {
        return Err(error);
    }
    parts.settlement.settle(call).await;
    call.note(&error);
    let written = reply::break_off(session, call.reply, &error).await;
    written.map_err(|_| GatewayError::ClientGone)
}

async fn ask_in_turn(
    parts: &Attempts<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    turns: &mut Turns<'_>,
    tap: Option<&Tap>,
    lifetime: &mut Lifetime<'_>,
) -> Result<(), GatewayError> {
    loop {
        let turn = Turn {
            key: turns.take_key(call),
            next: turns.next(),
            tap,
        };
        let Some(estimate) = turns.present() else {
            return Err(GatewayError::UnknownCall);
        };
        let error = match attempt(parts, session, call, estimate, &turn, lifetime).await {
            Err(error) if error.is_providers() && !call.outcome.is_committed => error,
            outcome => return outcome,
        };
        let outcome = call.outcome_with(Some(&error));
        let is_for_key =
            outcome.fault.is_none() && outcome.provider_status.is_some_and(head::is_keys_fault);
        let word = outcome.provider_word();
        let is_over = lifetime.is_draining() || call.bill.hold().is_none();
        if is_over || !turn.next.may_begin(is_for_key) {
            return Err(error);
        }
        let failed = (estimate.tenant, estimate.endpoint);
        call.bill.fail_attempt(word);
        if !turns.advance(is_for_key, call) {
            call.bill.end_attempts();
            return Err(error);
        }
        if let Some(beside) = failed.0.beside(failed.1) {
            beside.series.count_failover();
        }
        log_failed(call, &error, word);
    }
}

/// One attempt.
struct Turn<'a> {
    /// Index of the endpoint's key that it goes out with.
    key: Option<usize>,
    next: NextAttempt,
    tap: Option<&'a Tap>,
}

/// Makes one attempt.
async fn attempt(
    parts: &Attempts<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    estimate: &mut Estimate<'_>,
    turn: &Turn<'_>,
    lifetime: &mut Lifetime<'_>,
) -> Result<(), GatewayError> {
    let endpoint = estimate.endpoint;
    call.outcome.begin_attempt();
    if call.reply.endpoint() != endpoint.name {
        call.reply.set_endpoint(endpoint.name.as_str().into());
    }
    call.bill.begin_attempt(
        call.reply.shared_endpoint(),
        estimate.model.clone(),
        estimate.terms.clone(),
    );
    let beside = estimate.tenant.beside(endpoint);
    let watch = Watch::begin(estimate, turn.key, call);
    let asked = ask(parts, session, call, estimate, turn, lifetime).await;
    watch.end(call, asked.as_ref().err());
    if let Some(beside) = beside {
        let outcome = call.outcome_with(asked.as_ref().err());
        beside.series.count_answer(outcome.provider_word());
        if let Some(first_byte) = outcome.first_byte {
            beside.series.record_first_byte(first_byte);
        }
    }
    asked
}

/// Sends a call to its provider and relays the answer.
async fn ask(
    parts: &Attempts<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    estimate: &mut Estimate<'_>,
    turn: &Turn<'_>,
    lifetime: &mut Lifetime<'_>,
) -> Result<(), GatewayError> {
    let outgoing = prepare(parts, session, call, estimate, turn).await?;
    let endpoint = estimate.endpoint;
    let found;
    let asked = RelayedCall {
        dialect: estimate.dialect,
        call: &estimate.call,
        host: private_host(endpoint),
        credentials: match estimate.tenant.beside(endpoint) {
            Some(beside) => &beside.credentials,
            None => {
                found = Credentials::of(endpoint);
                &found
            }
        },
        next: turn.next,
        tap: turn.tap,
        api: estimate.client_dialect().api(),
        translation: estimate.translated.as_ref().map(|call| &call.translation),
    };
    let answer = parts
        .forward
        .send(session, call, outgoing, lifetime)
        .await?;
    let relaying = Relay {
        settlement: parts.settlement,
        metrics: parts.metrics,
    };
    relay(&relaying, session, call, answer, &asked, lifetime).await
}

/// Looks up the provider's address and writes the request as it leaves.
async fn prepare(
    parts: &Attempts<'_>,
    session: &Session<'_>,
    call: &mut Admitted<'_, '_>,
    estimate: &mut Estimate<'_>,
    turn: &Turn<'_>,
) -> Result<Outgoing, GatewayError> {
    let client = session.request();
    let content_type = client.fields.get("content-type");
    let caller = Caller {
        tenant: call.tenant,
        account: &call.bill.labels().account,
    };
    let body = request::rewrite_body(estimate, call.bill, content_type, &caller)?;
    if !turn.next.exists() {
        // Frees the body now: a stream would keep it in memory to its end.
        estimate.drop_body();
    }
    call.reply.set_removed(estimate.extras.removed.clone());
    let endpoint = estimate.endpoint;
    let to = parts.forward.destination(endpoint).await?;
    let key = turn.key.and_then(|index| endpoint.keys().nth(index));
    Ok(Outgoing {
        request: request::write(estimate, &to, client, &caller, key, body)?,
        to,
        timeouts: parts.forward.client.timeouts(endpoint),
        next: turn.next,
    })
}

/// Logs a failed attempt that another one follows: one line a second.
fn log_failed(call: &Admitted<'_, '_>, error: &GatewayError, outcome: &'static str) {
    static FAILED: Throttle = Throttle::new();
    let outcome = [("outcome", outcome.into())];
    let line = format_args!(
        "An attempt failed, the next endpoint is asked: {}",
        error.in_line()
    );
    let about = call.about();
    about.log_throttled(&FAILED, module_path!(), Level::Warn, &outcome, line);
}
