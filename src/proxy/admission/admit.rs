//! Admit: rate limit, balance and hold, in one atomic step of the ledger.
//!
//! The most that a call can cost is held before it is forwarded, and the provider is never asked for more
//! than the hold pays for. This file decides a 402.

use super::estimate::Estimate;
use super::terms::likely;
use super::token_counter::{INLINE_BYTES, TokenCounter};
use crate::dialect::{prompt, translate};
use crate::outbox::sending::Outbox;
use crate::proxy::downstream::reply::{Offer, ReplyContext};
use crate::proxy::error::GatewayError;
use crate::proxy::limits::refused_work::Work;
use crate::proxy::request_id;
use crate::proxy::settlement::bill::{Bill, Hold};
use crate::proxy::settlement::deliver::Delivery;
use crate::proxy::settlement::receipt::{self, Labels};
use crate::rules::account::{Admit, Verdict};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::choice;
use crate::rules::config::Endpoint;
use crate::rules::date::rfc3339;
use crate::rules::entry::Caller;
use crate::rules::issued_key::IssuedKey;
use crate::rules::window::{Limits, Pace};
use crate::store::carries::Carries;
use crate::store::directory::Newcomers;
use crate::store::leases::{Covered, Lease};
use crate::store::name::{AccountName, KeyName};
use crate::store::tenants::Tenant;
use crate::store::{Clock, KeyAdmission, Ledger, StoreError};
use crate::telemetry::fields::About;
use crate::telemetry::metrics::Metrics;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fewest output tokens that a hold must pay for: OpenAI's Responses API takes no smaller limit.
const MIN_OUTPUT_TOKENS: u64 = 16;
/// Output limit in tokens of a call that sets none (`max_tokens`), where the balance covers it.
const DEFAULT_OUTPUT_TOKENS: u64 = 4_096;
/// Most bytes of a usual token. A prompt that is too expensive even at this ratio is refused without
/// counting.
const MAX_USUAL_BYTES_PER_TOKEN: u64 = 12;

pub struct Admission {
    pub store: Arc<dyn Ledger>,
    pub newcomers: Newcomers,
    /// Balances on their way to people's accounts.
    pub carries: Arc<Carries>,
    pub delivery: Arc<Delivery>,
    pub counter: Arc<TokenCounter>,
    pub metrics: Arc<Metrics>,
    /// Events for the app.
    pub outbox: Arc<Outbox>,
    /// `accounts.hold_ttl`.
    pub hold_ttl: Duration,
}

/// A hold granted by the ledger, against an account or one of its leases.
struct Granted {
    account: AccountName,
    label: String,
    group: Arc<str>,
    issued: Option<Arc<IssuedKey>>,
    held: Tokens,
    lease: Option<Arc<Lease>>,
}

impl Admission {
    /// Takes the hold and opens the call's [`Bill`] for the first of its estimates; the hold covers the dearest. A prompt is first bounded by its bytes; before a call is
    /// refused because of that bound, [`TokenCounter`] counts its tokens.
    pub(crate) async fn admit(
        &self,
        key: &KeyName,
        estimates: &mut [Estimate<'_>],
        reply: &mut ReplyContext,
        work: &mut Work,
    ) -> Result<Box<Bill>, GatewayError> {
        let refused = match self.ask(key, estimates, reply).await {
            Err(refused @ (GatewayError::InsufficientTokens | GatewayError::TokensHeld)) => refused,
            admitted => return admitted,
        };
        let first = &estimates[0];
        let Some(counted) = self.count_prompt(first, reply.balance(), work).await else {
            return Err(refused);
        };
        // The count holds wherever the same vocabulary is assumed.
        let is_exact = first.terms.is_exact;
        for estimate in estimates.iter_mut() {
            if estimate.terms.is_exact == is_exact {
                let terms = Arc::make_mut(&mut estimate.terms);
                terms.prompt = terms.prompt.min(counted.plus(terms.beyond));
            }
        }
        self.ask(key, estimates, reply).await
    }

    /// Counts the tokens of the prompt's text, a closer bound than its bytes. `None`: that could not make the call
    /// affordable.
    async fn count_prompt(
        &self,
        estimate: &Estimate<'_>,
        balance: Option<Tokens>,
        work: &mut Work,
    ) -> Option<Tokens> {
        let (terms, bytes) = (&estimate.terms, &estimate.body);
        if estimate.call.answer.is_some()
            || terms.prompt.share(MAX_USUAL_BYTES_PER_TOKEN) > balance?
            || bytes.len() > prompt::LONGEST_COUNTED_BYTES
        {
            return None;
        }
        work.counted_bytes = bytes.len() as u64;
        let is_exact = terms.is_exact;
        let counted = if bytes.len() <= INLINE_BYTES {
            prompt::counted(bytes, is_exact)
        } else {
            let bytes = bytes.to_vec();
            let count = move || prompt::counted(&bytes, is_exact);
            let tenant = estimate.tenant.id.as_str();
            self.counter.run_patiently(tenant, count).await.flatten()
        };
        let counted = counted?;
        (counted.plus(terms.beyond) < terms.prompt).then_some(counted)
    }

    /// Asks the ledger once: a lease of this instance, or the store.
    async fn ask(
        &self,
        key: &KeyName,
        estimates: &[Estimate<'_>],
        reply: &mut ReplyContext,
    ) -> Result<Box<Bill>, GatewayError> {
        let estimate = &estimates[0];
        let id = request_id::new_id().simple().to_string();
        let ask = hold_request(estimates, &id, self.hold_ttl.into());
        let caller = Caller {
            tenant: estimate.tenant.id.as_str(),
            key: key.as_str(),
            groups: &estimate.tenant.groups,
        };
        // The hold's lifetime is measured by this process's clock, from before the hold was asked for.
        let taken = Instant::now();
        let granted = match self.delivery.leases.admit(key, caller, &ask) {
            Some(covered) => self.granted_by_lease(covered, reply),
            None => self.ask_books(key, caller, &ask, estimates, reply).await?,
        };
        let labels = Labels {
            account: granted.label,
            key: key.id(),
            group: granted.group,
            issued: granted.issued,
            endpoint: reply.shared_endpoint(),
            model: estimate.model.clone(),
            call: estimate.client_dialect().path(),
        };
        let context = receipt::context(&estimate.tenant.id, &labels, reply.request_id());
        self.delivery.journal.context(&id, &context);
        let hold = Hold {
            account: granted.account,
            id,
            held: granted.held,
            lease: granted.lease,
        };
        Ok(Bill::open(hold, taken, estimate.terms.clone(), labels))
    }

    /// Builds the hold that a lease of this instance covers, without asking the store.
    fn granted_by_lease(&self, covered: Covered, reply: &mut ReplyContext) -> Granted {
        let Covered {
            lease,
            group,
            issued,
            held,
        } = covered;
        self.metrics.admissions_leased.add(1);
        reply.set_balance(held.left);
        reply.set_window(held.pace);
        Granted {
            account: lease.account.clone(),
            label: lease.id.clone(),
            group,
            issued,
            held: held.held,
            lease: Some(lease),
        }
    }

    async fn ask_books(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        ask: &Admit<'_>,
        estimates: &[Estimate<'_>],
        reply: &mut ReplyContext,
    ) -> Result<Granted, GatewayError> {
        let estimate = &estimates[0];
        let leases = &self.delivery.leases;
        let mut entry = self.ask_store(key, caller, ask, reply).await?;
        if is_short(&entry) && leases.has(key) {
            // A lease of this instance may contain the missing tokens: return it and ask the store again.
            leases.give_back(key).await?;
            entry = self.ask_store(key, caller, ask, reply).await?;
        }
        if self.bring(estimate, &entry).await {
            entry = self.ask_store(key, caller, ask, reply).await?;
        }
        let KeyAdmission::Known {
            account,
            standing,
            admission,
            is_new,
            ..
        } = entry
        else {
            leases.invalidate(key);
            return Err(GatewayError::UnknownKey);
        };
        self.newcomers.note(&estimate.tenant.id, key, is_new);
        leases.record_admission(key, caller, &account, &standing, &admission);
        let (left, window) = balance_and_window(&admission);
        reply.set_balance(left);
        reply.set_window(window);
        let held = match granted(admission) {
            Ok(held) => held,
            Err(refused) => {
                let group = &standing.group;
                self.tell_spent(&refused, estimate.tenant, &account, group, key, reply);
                check_groups(estimates, group)?;
                return Err(refused);
            }
        };
        self.metrics.admissions_stored.add(1);
        self.delivery.journal.begin(&account, ask.id, ask.known);
        Ok(Granted {
            label: standing.label.unwrap_or_else(|| account.id()),
            account,
            group: Arc::from(standing.group),
            issued: standing.issued.map(Arc::from),
            held,
            lease: None,
        })
    }

    /// Says what fills a balance that is spent, and tells the app of a key that is.
    fn tell_spent(
        &self,
        refused: &GatewayError,
        tenant: &Tenant,
        account: &AccountName,
        group: &str,
        key: &KeyName,
        reply: &mut ReplyContext,
    ) {
        match refused {
            GatewayError::InsufficientTokens => reply.set_offer(offer(tenant, group)),
            GatewayError::KeyLimit => self.outbox.key_spent(tenant, account, key.id()),
            _ => {}
        }
    }

    /// Brings the balance of an earlier key that has not all arrived. True: it was waited for, because the account is
    /// short of tokens.
    async fn bring(&self, estimate: &Estimate<'_>, entry: &KeyAdmission) -> bool {
        let KeyAdmission::Known {
            account,
            carry: Some(carry),
            ..
        } = entry
        else {
            return false;
        };
        let tenant = &estimate.tenant.id;
        let is_short = is_short(entry);
        if is_short {
            // Ignored: what has not arrived is asked for again with the next request.
            let _ = self.carries.step(tenant, account, carry).await;
        }
        self.carries.finish(tenant, account, carry.clone());
        is_short
    }

    /// Asks the store. If its answer is lost, asks again with the same ID, so that one hold is taken at most
    /// (idempotent).
    async fn ask_store(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        ask: &Admit<'_>,
        reply: &ReplyContext,
    ) -> Result<KeyAdmission, GatewayError> {
        let mut entry = self.store.admit(key, caller, ask).await;
        if matches!(entry, Err(StoreError::Unknown(_))) {
            entry = self.store.admit(key, caller, ask).await;
            if entry.is_err() {
                let account = key.account().id();
                let about = About {
                    tenant: Some(caller.tenant),
                    request: Some(reply.request_id()),
                    account: Some(&account),
                    endpoint: Some(reply.endpoint()),
                    ..About::default()
                };
                let id = ask.id.to_owned();
                self.delivery.release_later(key.clone(), id, about);
            }
        }
        Ok(entry.inspect_err(|_| self.metrics.store_errors.add(1))?)
    }
}

/// Refuses a model that is not in the `models` of the account's group.
/// Returns what was held, or why nothing was.
fn granted(admission: Verdict) -> Result<Tokens, GatewayError> {
    match admission {
        Verdict::Granted { held, .. } => Ok(held),
        Verdict::Spent { .. } => Err(GatewayError::InsufficientTokens),
        Verdict::KeySpent { .. } => Err(GatewayError::KeyLimit),
        Verdict::Held { .. } => Err(GatewayError::TokensHeld),
        Verdict::Suspended { .. } => Err(GatewayError::AccountBlocked),
        Verdict::TooManyInFlight { .. } => Err(GatewayError::TooManyInFlight),
        Verdict::RateLimited { wait, .. } => Err(GatewayError::RateLimited { wait }),
    }
}

/// Returns what fills the balance of an account of this group.
fn offer(tenant: &Tenant, group: &str) -> Offer {
    let config = &tenant.config;
    let refill = tenant.groups.limits(group).refill;
    let refills_at = refill.map(|refill| rfc3339(refill.every.next(Clock::Store.now())));
    let stripe = config.auth.stripe.as_ref();
    let mut groups = config.groups.values();
    let sells = stripe.is_some_and(|stripe| {
        !stripe.top_ups.is_empty() || groups.any(|group| group.stripe_price.is_some())
    });
    Offer {
        refills_at,
        plans: sells.then(|| format!("/{}/billing/plans", tenant.id)),
    }
}

fn check_group(estimate: &Estimate<'_>, group: &str) -> Result<(), GatewayError> {
    let group = estimate.tenant.config.group(group);
    let models = group.and_then(|group| group.models.as_ref());
    if models.is_none_or(|models| is_listed(estimate, models)) {
        return Ok(());
    }
    Err(GatewayError::ModelNotServed {
        model: estimate.model.as_deref().map(str::to_owned),
    })
}

/// Refuses a call that the group may have answered at none of its endpoints: 404 for a model is more useful than 402.
fn check_groups(estimates: &[Estimate<'_>], group: &str) -> Result<(), GatewayError> {
    let mut checked = estimates.iter().map(|each| check_group(each, group));
    match checked.clone().any(|each| each.is_ok()) {
        true => Ok(()),
        false => checked.next().unwrap_or(Ok(())),
    }
}

/// Keeps the endpoints that a key of a group may be served by: first one whose model it may ask for there, then others
/// that have the same model, or one that it may ask for too. Fails if there is none.
pub(crate) fn check_models(
    estimates: &mut Vec<Estimate<'_>>,
    group: &str,
    key: Option<&IssuedKey>,
    address: impl Fn() -> IpAddr,
) -> Result<(), GatewayError> {
    let check = |estimate: &Estimate<'_>| {
        check_group(estimate, group)?;
        check_key(estimate, key, &address)
    };
    let Some(first) = estimates
        .iter()
        .position(|estimate| check(estimate).is_ok())
    else {
        return check(&estimates[0]);
    };
    estimates[..=first].rotate_right(1);
    let model = estimates[0].model.clone();
    estimates.retain(|estimate| estimate.model == model || check(estimate).is_ok());
    Ok(())
}

/// Refuses a model or an address that the key itself is not for.
fn check_key(
    estimate: &Estimate<'_>,
    key: Option<&IssuedKey>,
    address: impl FnOnce() -> IpAddr,
) -> Result<(), GatewayError> {
    let Some(key) = key else { return Ok(()) };
    if key.addresses.is_some() && !key.is_for(address()) {
        return Err(GatewayError::AddressNotAllowed);
    }
    match &key.models {
        Some(models) if !is_listed(estimate, models) => Err(GatewayError::ModelNotAllowed),
        _ => Ok(()),
    }
}

/// Whether a list, as an admin writes it, has the model of the call.
fn is_listed(estimate: &Estimate<'_>, models: &[String]) -> bool {
    let Some(providers) = &estimate.tenant.config.providers.text else {
        return true;
    };
    let way = |endpoint: &Endpoint| translate::way(estimate.client_dialect(), endpoint);
    let model = estimate.model.as_deref();
    choice::is_among(providers, models, estimate.endpoint, model, way)
}

/// Amounts of a hold, as one endpoint needs them.
struct Amounts {
    least: Tokens,
    most: Tokens,
    open: Tokens,
}

/// Computes the amounts of an [`Admit`]: the most that the call can cost at any of its endpoints, and the least with
/// which forwarding it to the first still makes sense.
fn hold_request<'a>(estimates: &[Estimate<'_>], id: &'a str, ttl: Millis) -> Admit<'a> {
    let terms = &estimates[0].terms;
    let amounts: Vec<Amounts> = estimates.iter().map(|estimate| amounts(estimate)).collect();
    let dearest = |amount: fn(&Amounts) -> Tokens| amounts.iter().map(amount).max();
    let least = amounts[0].least;
    Admit {
        id,
        least,
        most: dearest(|amounts| amounts.most).unwrap_or_default(),
        open: dearest(|amounts| amounts.open).unwrap_or_default(),
        known: terms.rate.most_for_prompt(likely(terms.prompt)).min(least),
        limits: Limits::default(),
        ttl,
        key: None,
        created: Millis(0),
    }
}

/// Returns the fewest tokens with which forwarding a call still makes sense.
pub(crate) fn least(estimate: &Estimate<'_>) -> Tokens {
    amounts(estimate).least
}

fn amounts(estimate: &Estimate<'_>) -> Amounts {
    let (call, terms) = (&estimate.call, &estimate.terms);
    let rate = terms.rate;
    let max_output = estimate.max_output.unwrap_or(u64::MAX);
    let output = call.limit.unwrap_or(DEFAULT_OUTPUT_TOKENS.min(max_output));
    let prompt = rate.most_for_prompt(terms.prompt).plus(terms.hosted.held);
    let with_output =
        |tokens: u64| prompt.plus(rate.for_output(Tokens::new(tokens).times(call.answers)));
    // An answer of a fixed size, or none, cannot be made smaller.
    let fixed = match call.free {
        true => Some(Tokens::ZERO),
        false => call
            .answer
            .map(|answer| prompt.plus(rate.for_output(answer))),
    };
    let least = fixed.unwrap_or_else(|| with_output(output.min(MIN_OUTPUT_TOKENS)));
    Amounts {
        least,
        most: fixed.unwrap_or_else(|| with_output(output)),
        open: match (call.limit, fixed) {
            (None, None) => with_output(max_output),
            _ => Tokens::ZERO,
        },
    }
}

fn is_short(entry: &KeyAdmission) -> bool {
    let KeyAdmission::Known { admission, .. } = entry else {
        return false;
    };
    matches!(admission, Verdict::Spent { .. } | Verdict::Held { .. })
}

fn balance_and_window(verdict: &Verdict) -> (Tokens, Option<Pace>) {
    match *verdict {
        Verdict::Granted { left, pace, .. }
        | Verdict::Spent { left, pace }
        | Verdict::KeySpent { left, pace }
        | Verdict::Suspended { left, pace }
        | Verdict::Held { left, pace }
        | Verdict::TooManyInFlight { left, pace } => (left, pace),
        Verdict::RateLimited { left, pace, .. } => (left, Some(pace)),
    }
}
