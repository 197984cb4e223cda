//! Stage of a call between admission and its attempts: the answer is given from the cache, waited for, or asked for.

use super::entry::KeptAnswer;
use super::flights::{Flights, Landing, Lead, Seat, Wait};
use super::plan::{Plan, Treatment, treat};
use super::tap::Tap;
use crate::proxy::admission::estimate::Estimate;
use crate::proxy::attempts::in_turn::{Attempts, answer_by_any};
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::relay::head;
use crate::proxy::relay::stream::keep_alive;
use crate::proxy::upstream::lifetime::Lifetime;
use crate::settings;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::store::{NewAnswer, Shelf, Store};
use crate::telemetry::metrics::Metrics;
use bytes::Bytes;
use http::StatusCode;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use tokio::sync::Semaphore;

/// Answers that are being written to the store at a time; further ones are not kept.
const MAX_WRITES: usize = 64;

/// Calls that a call waits for one after the other, if they fail; then it goes its own way.
const MAX_FAILED_LEADERS: u32 = 1;

/// Values of `x-resullm-cache`.
const HIT: &str = "hit";
const MISS: &str = "miss";
const BYPASS: &str = "bypass";

pub struct Cache {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    bounds: settings::Cache,
    flights: Arc<Flights>,
    writes: Arc<Semaphore>,
}

/// Whether a kept answer was given.
enum Given {
    Yes,
    /// It costs more than the hold, or cannot be written in the form that was asked for.
    No,
}

/// Event of a call that waits for another one's answer.
enum Waited {
    Landed(Landing),
    Silence,
}

/// A call on its way through the stage.
struct Passage<'s, 'p, 'e> {
    parts: &'s Attempts<'s>,
    key: &'p KeyName,
    estimates: Vec<Estimate<'e>>,
}

impl Cache {
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, bounds: settings::Cache) -> Cache {
        Cache {
            store,
            metrics,
            bounds,
            flights: Arc::default(),
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
        }
    }

    /// Answers an admitted call from the cache, or by its endpoints.
    pub(crate) async fn answer(
        &self,
        parts: &Attempts<'_>,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        key: &KeyName,
        estimates: Vec<Estimate<'_>>,
    ) -> Result<(), GatewayError> {
        let account = &call.bill.labels().account;
        let treatment = treat(session.request(), &estimates[0], account)?;
        let passage = Passage {
            parts,
            key,
            estimates,
        };
        let plan = match treatment {
            Treatment::Cached(plan) => plan,
            Treatment::Off => return passage.ask(session, call, None).await,
            Treatment::Bypass => {
                self.metrics.cache_bypasses.add(1);
                set_cache(call, BYPASS);
                return passage.ask(session, call, None).await;
            }
        };
        self.answer_by(plan, passage, session, call).await
    }

    async fn answer_by(
        &self,
        plan: Box<Plan>,
        passage: Passage<'_, '_, '_>,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
    ) -> Result<(), GatewayError> {
        // An answer of now is not one that was asked for before.
        let flight = match plan.reads {
            true => plan.key,
            false => plan.key.inverted(),
        };
        let mut failures = 0;
        loop {
            let entry = match self.flights.join(flight) {
                Seat::Lead(lead) => {
                    let (kept, shelf) = self.look(&plan, &passage).await;
                    let Some(entry) = kept else {
                        let lead = (lead, shelf);
                        return self.lead(plan, passage, session, call, lead).await;
                    };
                    lead.land(Landing::Answer(entry.clone()));
                    entry
                }
                Seat::Wait(wait) => match passage.wait(session, call, wait).await? {
                    Landing::Answer(entry) => entry,
                    Landing::Failed if failures < MAX_FAILED_LEADERS => {
                        failures += 1;
                        continue;
                    }
                    Landing::Failed | Landing::Unfit => break,
                },
            };
            match self.give(&plan, &entry, &passage, session, call).await? {
                Given::Yes => return Ok(()),
                Given::No => break,
            }
        }
        self.metrics.cache_misses.add(1);
        set_cache(call, MISS);
        passage.ask(session, call, None).await
    }

    /// Returns the kept answer of a call, and the shelf for its own answer. No shelf: the store cannot be asked, and
    /// nothing is kept.
    async fn look(
        &self,
        plan: &Plan,
        passage: &Passage<'_, '_, '_>,
    ) -> (Option<Arc<KeptAnswer>>, Option<Shelf>) {
        let tenant = &passage.estimates[0].tenant.id;
        let Ok(found) = self.store.find_answer(tenant, &plan.key).await else {
            self.metrics.cache_errors.add(1);
            return (None, None);
        };
        let answer = found.answer.filter(|_| plan.reads);
        let answer = answer.and_then(|answer| KeptAnswer::decode(&answer));
        (answer.map(Arc::new), Some(found.shelf))
    }

    /// Asks the provider, for this call and for those that wait.
    async fn lead(
        &self,
        plan: Box<Plan>,
        passage: Passage<'_, '_, '_>,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        (lead, shelf): (Lead, Option<Shelf>),
    ) -> Result<(), GatewayError> {
        self.metrics.cache_misses.add(1);
        set_cache(call, MISS);
        call.bill.set_waiters(lead.waiters());
        let first = &passage.estimates[0];
        let tenant = first.tenant.clone();
        let tap = Tap {
            plan,
            lead,
            takes_text: first.dialect.is_form(),
            most_bytes: usize::try_from(self.bounds.per_answer).unwrap_or(usize::MAX),
            taken: OnceLock::new(),
        };
        let asked = passage.ask(session, call, Some(&tap)).await;
        if tap.taken.get().is_none() && is_for_its_client_alone(call) {
            tap.lead.land(Landing::Unfit);
        }
        if let Some(shelf) = shelf {
            self.keep(tap, tenant, &call.bill.labels().account, shelf);
        }
        asked
    }

    /// Keeps the answer that was taken. The flight lasts until it is kept, so that no equal call asks the provider in
    /// between.
    fn keep(&self, tap: Tap, tenant: Arc<Tenant>, owner: &str, shelf: Shelf) {
        let Tap {
            plan, lead, taken, ..
        } = tap;
        let Some(entry) = taken.into_inner() else {
            return;
        };
        let Ok(permit) = self.writes.clone().try_acquire_owned() else {
            return;
        };
        let (store, metrics) = (self.store.clone(), self.metrics.clone());
        let flights = self.flights.clone();
        let (owner, most_bytes) = (owner.to_owned(), self.bounds.per_tenant);
        tokio::spawn(async move {
            // An answer that was asked for before is written before.
            let turn = match plan.reads {
                true => None,
                false => Some(flights.lead_next(plan.key).await),
            };
            let answer = NewAnswer {
                owner: &owner,
                bytes: entry.encode(),
                life: plan.life,
                most_bytes,
                // Nothing is kept of an account or a tenant that was deleted meanwhile.
                shelf: Some(shelf),
            };
            if store
                .keep_answer(&tenant.id, &plan.key, &answer)
                .await
                .is_err()
            {
                metrics.cache_errors.add(1);
            }
            drop((permit, lead, turn));
        });
    }

    /// Gives a kept answer, as JSON or as a stream, for its fee.
    async fn give(
        &self,
        plan: &Plan,
        entry: &KeptAnswer,
        passage: &Passage<'_, '_, '_>,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
    ) -> Result<Given, GatewayError> {
        let fee = entry.about.cost.percent_up(plan.fee_percentage);
        let asked = &passage.estimates[0].call;
        let is_stream = asked.stream && entry.is_json();
        let body = match is_stream {
            true => plan
                .replay
                .stream(&entry.body, asked.wants_usage)
                .map(Bytes::from),
            false => Some(entry.body.clone()),
        };
        let has_begun = session.answered().is_some();
        let Some(body) = body.filter(|_| fee <= call.bill.held() && (is_stream || !has_begun))
        else {
            return Ok(Given::No);
        };
        self.metrics.cache_hits.add(1);
        set_cache(call, HIT);
        let removed = &passage.estimates[0].extras.removed;
        call.reply.set_removed(removed.clone());
        call.reply
            .set_endpoint(entry.about.endpoint.as_str().into());
        let amount = entry.about.amount_in(call.bill.currency());
        call.bill.serve_cached(
            fee,
            amount.map(|amount| amount.percent_up(plan.fee_percentage)),
            &entry.about.endpoint,
        );
        if let Some(left) = passage.parts.settlement.settle(call).await {
            call.reply.set_balance(left);
        }
        call.reply.set_cost(|| call.bill.cost_line());
        call.outcome.is_committed = true;
        let written = match is_stream {
            true => {
                begin_stream(session, call);
                session.stream(body, true).await
            }
            false => {
                session.begin_head(StatusCode::OK);
                // Cannot fail: the value was a valid header line when it arrived.
                let _ = session.header("content-type", entry.about.content_type.as_bytes());
                call.reply.write_headers(session);
                session.whole(body).await
            }
        };
        written.map_err(|_| GatewayError::ClientGone)?;
        Ok(Given::Yes)
    }
}

impl Passage<'_, '_, '_> {
    /// Asks the endpoints of the call in turn.
    async fn ask(
        self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        tap: Option<&Tap>,
    ) -> Result<(), GatewayError> {
        answer_by_any(self.parts, session, call, self.key, self.estimates, tap).await
    }

    /// Waits for the answer of an equal call, with keep-alives where a stream was asked for.
    async fn wait(
        &self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        mut wait: Wait,
    ) -> Result<Landing, GatewayError> {
        let timer = std::mem::take(&mut session.lifetime_timer);
        let lifetimes = self.parts.lifetimes;
        let mut lifetime = lifetimes.start(self.key, call.bill.taken(), timer);
        let estimate = &self.estimates[0];
        if estimate.call.stream && !estimate.dialect.answers_with_sound() {
            lifetime.watch_silence();
        }
        let begun = std::time::Instant::now();
        let landing = {
            let mut landing = pin!(wait.landing());
            loop {
                let waited = poll_fn(|cx| {
                    if let Poll::Ready(ended) = lifetime.poll_ended(cx, call.bill) {
                        return Poll::Ready(Err(ended));
                    }
                    if let Poll::Ready(landing) = landing.as_mut().poll(cx) {
                        return Poll::Ready(Ok(Waited::Landed(landing)));
                    }
                    if lifetime.takes_keep_alive() {
                        return Poll::Ready(Ok(Waited::Silence));
                    }
                    match session.poll_closed(cx) {
                        Poll::Ready(()) => Poll::Ready(Err(GatewayError::ClientGone)),
                        Poll::Pending => Poll::Pending,
                    }
                });
                match waited.await {
                    Ok(Waited::Landed(landing)) => break Ok(landing),
                    Ok(Waited::Silence) => {
                        if send_keep_alive(session, call, estimate, &mut lifetime)
                            .await
                            .is_err()
                        {
                            break Err(GatewayError::ClientGone);
                        }
                    }
                    Err(error) => break Err(error),
                }
            }
        };
        session.lifetime_timer = lifetime.timer;
        call.timing.waited += begun.elapsed();
        landing
    }
}

async fn send_keep_alive(
    session: &mut Session<'_>,
    call: &Admitted<'_, '_>,
    estimate: &Estimate<'_>,
    lifetime: &mut Lifetime<'_>,
) -> Result<(), GatewayError> {
    begin_stream(session, call);
    lifetime.break_silence();
    let event = keep_alive(estimate.client_dialect().api());
    let written = session.stream(event.into(), false).await;
    written.map_err(|_| GatewayError::ClientGone)
}

/// Whether the provider's answer is none for those who wait: it is whole, or about the request itself, and was not taken.
fn is_for_its_client_alone(call: &Admitted<'_, '_>) -> bool {
    call.outcome
        .provider_status
        .is_some_and(|status| match status {
            StatusCode::OK => call.bill.is_complete(),
            status => status.is_client_error() && !head::is_worth_another_attempt(status),
        })
}

/// Begins a stream of events, unless a keep-alive has begun it.
fn begin_stream(session: &mut Session<'_>, call: &Admitted<'_, '_>) {
    if session.answered().is_some() {
        return;
    }
    session.begin_head(StatusCode::OK);
    // Cannot fail: a valid header value.
    let _ = session.header("content-type", b"text/event-stream; charset=utf-8");
    head::write_stream_headers(session);
    call.reply.write_headers(session);
}

fn set_cache(call: &mut Admitted<'_, '_>, cache: &'static str) {
    call.reply.set_cache(cache);
    call.outcome.cache = Some(cache);
}
