//! The [`Bill`] of one admitted call: its hold, its terms, the meter's reading and the charge.
//!
//! A bill is opened by admission and settled once, on every way out. Its fields are private: relay and
//! settlement report events to it, and only it decides what is charged.

use crate::dialect::call::{Claim, Delivered, HostedCalls, Reading, Served, Usage};
use crate::proxy::admission::terms::{self, Terms};
use crate::proxy::cache::tap::Ended;
use crate::proxy::settlement::receipt::{Labels, Receipt};
use crate::proxy::settlement::texts::{Counted, InlineBound, Texts, Uncounted};
use crate::rules::amount::Tokens;
use crate::rules::charge::{self, Basis, Bound, Charge, End, Evidence};
use crate::rules::money::Amount;
use crate::rules::price::Rate;
use crate::store::leases::Lease;
use crate::store::name::AccountName;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Interval at which the known cost of a stream is written to the journal: a crash loses at most 100 ms of
/// it.
const NOTE_INTERVAL: Duration = Duration::from_millis(100);

/// Balance that is held for one call. It has one end: [`super::settle::Settlement::settle`].
#[must_use]
pub struct Hold {
    pub account: AccountName,
    pub id: String,
    pub held: Tokens,
    /// Lease of this instance that covers the hold. `None`: the hold is in the store.
    pub lease: Option<Arc<Lease>>,
}

/// An attempt that failed, as the usage record tells of it.
pub(crate) struct FailedAttempt {
    pub endpoint: Arc<str>,
    pub model: Option<Arc<str>>,
    /// Word of `resullm_provider_answers_total`.
    pub outcome: &'static str,
    pub cost: Tokens,
}

/// Attempts that failed before the present one, and what they have cost.
struct Setbacks {
    attempts: Vec<FailedAttempt>,
    cost: Tokens,
    usage: Usage,
    basis: Basis,
    amount: Amount,
    /// Whether no attempt followed the last of them.
    is_over: bool,
}

/// Part of the meter's [`Reading`] that charging needs.
#[derive(Default)]
struct Observed {
    claim: Claim,
    is_absurd: bool,
    is_final: bool,
    failed: bool,
    has_content: bool,
    is_malformed: bool,
    /// Models that the answer names (`model`).
    served: Served,
    /// Calls of tools that the provider ran itself.
    hosted_calls: HostedCalls,
    /// Bytes of generated text.
    bytes: u64,
    least: Tokens,
}

pub(crate) struct Bill {
    labels: Labels,
    /// `None` once settled.
    hold: Option<Hold>,
    taken: Instant,
    terms: Arc<Terms>,
    /// Whether the provider has the request: only then the call may cost anything.
    accepted: bool,
    seen: Observed,
    complete: bool,
    /// Charge of the present attempt, once its answer has ended.
    charge: Option<Charge>,
    setbacks: Setbacks,
    /// Charge of the whole call, once the hold has ended.
    settled: Option<Charge>,
    /// What the ledger and the usage record tell of the call, once the hold has ended.
    receipt: Option<Receipt>,
    /// Amount of an answer from the cache.
    cached_amount: Option<Amount>,
    /// Number of calls that wait for the answer of this one.
    waiters: Option<Arc<AtomicUsize>>,
    /// Texts of an ended answer that `TokenCounter` must count,
    /// because they are too long for a request thread.
    uncounted: Option<Uncounted>,
    /// Time of the last note of the known cost in the journal.
    noted: Instant,
}

impl Bill {
    /// Boxed: a bill is moved several times, and is larger than a pointer.
    pub fn open(hold: Hold, taken: Instant, terms: Arc<Terms>, labels: Labels) -> Box<Bill> {
        Box::new(Bill {
            taken,
            noted: taken,
            labels,
            hold: Some(hold),
            terms,
            accepted: false,
            seen: Observed::default(),
            complete: false,
            charge: None,
            setbacks: Setbacks {
                attempts: Vec::new(),
                cost: Tokens::ZERO,
                usage: Usage::default(),
                basis: Basis::Nothing,
                amount: Amount::ZERO,
                is_over: false,
            },
            settled: None,
            receipt: None,
            cached_amount: None,
            waiters: None,
            uncounted: None,
        })
    }

    /// Sets the count of calls that wait for this one's answer: while there are any, it is read to its end.
    pub(crate) fn set_waiters(&mut self, waiters: Arc<AtomicUsize>) {
        self.waiters = Some(waiters);
    }

    /// Whether other calls wait for the answer of this one.
    pub(crate) fn is_awaited(&self) -> bool {
        let waiters = self.waiters.as_ref();
        waiters.is_some_and(|waiters| waiters.load(Ordering::Relaxed) > 0)
    }

    /// Returns the amount of the call, once it is settled. `None`: its tenant has no price for the model, or what was
    /// used is not known.
    pub(crate) fn amount(&self) -> Option<Amount> {
        let basis = self.settled.as_ref()?.basis;
        let amount = self.amount_by(basis)?;
        Some(amount.plus(self.setbacks.amount))
    }

    /// Returns the value of `x-resullm-cost`: tokens of the balance, and the amount where there is a price.
    pub(crate) fn cost_line(&self) -> String {
        let cost = self.decided().map_or(Tokens::ZERO, |charge| charge.cost);
        match (self.amount(), self.currency()) {
            (Some(amount), Some(currency)) => {
                format!("{cost}; amount={amount}; currency={currency}")
            }
            _ => cost.to_string(),
        }
    }

    /// Returns the currency of [`Bill::amount`].
    pub(crate) fn currency(&self) -> Option<&str> {
        let prices = self.terms.tenant.config.prices.as_ref()?;
        Some(&prices.currency)
    }

    /// Returns the amount of the present attempt, by the basis of its charge.
    fn amount_by(&self, basis: Basis) -> Option<Amount> {
        if basis == Basis::Cached {
            return self.cached_amount;
        }
        let prices = self.terms.tenant.config.prices.as_ref()?;
        let (_, endpoint) = self.terms.prices_at(&self.labels.endpoint)?;
        let price = |model| prices.price(endpoint, model);
        let own = price(self.labels.model.as_deref())?;
        let usage = match (basis, self.terms.unreported) {
            (Basis::Reported, _) => self.seen.claim.usage(),
            (Basis::Counted, Some(unreported)) => unreported,
            (Basis::Nothing, _) => return Some(Amount::ZERO),
            (Basis::Counted | Basis::Held | Basis::Cached, _) => return None,
        };
        let others = self.seen.claim.others.iter();
        let others =
            others.map(|(model, usage)| Amount::of(usage, price(Some(model)).unwrap_or(own)));
        Some(Amount::of(&usage, own).plus(others.sum()))
    }

    /// Decides the charge of an answer from the cache. `amount`: its fee in money. `endpoint`: the one that gave it.
    pub(crate) fn serve_cached(&mut self, fee: Tokens, amount: Option<Amount>, endpoint: &str) {
        if *self.labels.endpoint != *endpoint {
            self.labels.endpoint = endpoint.into();
        }
        self.accepted = true;
        self.cached_amount = amount;
        self.charge = Some(Charge {
            cost: fee,
            basis: Basis::Cached,
            doubt: None,
            counted: None,
        });
    }

    /// Returns the answer of the present attempt for the cache, once its cost is decided. `None` also for one without
    /// content.
    pub(crate) fn ended(&self) -> Option<Ended<'_>> {
        let charge = self.decided()?;
        let before = self.settled.as_ref().map(|_| self.setbacks.cost);
        if !self.seen.has_content && !self.terms.no_text {
            return None;
        }
        Some(Ended {
            endpoint: &self.labels.endpoint,
            model: self.labels.model.as_deref(),
            cost: charge.cost.minus(before.unwrap_or_default()),
            amount: self.amount_by(charge.basis),
            currency: self.currency(),
        })
    }

    /// Begins an attempt at another endpoint, or at the first one.
    pub(crate) fn begin_attempt(
        &mut self,
        endpoint: Arc<str>,
        model: Option<Arc<str>>,
        terms: Arc<Terms>,
    ) {
        (self.labels.endpoint, self.labels.model) = (endpoint, model);
        self.terms = terms;
    }

    /// Ends the present attempt, of which nothing was passed on. It costs what its provider has reported, or generated
    /// in an error: nobody was served by anything else.
    pub(crate) fn fail_attempt(&mut self, outcome: &'static str) {
        let charge = match self.charge.take() {
            _ if !self.accepted || self.terms.free => Charge::NOTHING,
            Some(charge) if charge.basis != Basis::Held => charge,
            _ => self.reported(),
        };
        let amount = self.amount_by(charge.basis).unwrap_or_default();
        let setbacks = &mut self.setbacks;
        setbacks.amount = setbacks.amount.plus(amount);
        setbacks.attempts.push(FailedAttempt {
            endpoint: self.labels.endpoint.clone(),
            model: self.labels.model.clone(),
            outcome,
            cost: charge.cost,
        });
        setbacks.cost = setbacks.cost.plus(charge.cost);
        if charge.basis != Basis::Nothing {
            setbacks.basis = charge.basis;
            setbacks.usage = setbacks.usage.plus(self.seen.claim.usage());
        }
        self.seen = Observed::default();
        self.uncounted = None;
        (self.accepted, self.complete) = (false, false);
    }

    /// Returns the charge by the provider's claim alone.
    fn reported(&self) -> Charge {
        let others = self.seen.claim.others.iter();
        let others: Tokens = others
            .map(|(model, usage)| self.rate_of(model).cost(usage))
            .sum();
        let cost = self.rate().cost(&self.seen.claim.usage()).plus(others);
        match cost.is_zero() {
            true => Charge::NOTHING,
            false => Charge {
                cost,
                basis: Basis::Reported,
                doubt: None,
                counted: None,
            },
        }
    }

    /// Notes that no attempt follows the one that has failed.
    pub(crate) fn end_attempts(&mut self) {
        self.setbacks.is_over = true;
    }

    /// Returns the attempts that failed, and whether they are all.
    pub(crate) fn failed_attempts(&self) -> (&[FailedAttempt], bool) {
        (&self.setbacks.attempts, self.setbacks.is_over)
    }

    /// Returns the tokens of the hold that are left for the present attempt.
    pub(crate) fn held(&self) -> Tokens {
        let held = self.hold.as_ref().map_or(Tokens::ZERO, |hold| hold.held);
        held.minus(self.setbacks.cost)
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// `None` once settled.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Returns when the hold was asked for: `accounts.hold_ttl` is measured from just before.
    pub(crate) fn taken(&self) -> Instant {
        self.taken
    }

    /// Returns the tokens of the hold for prompt and answer, without the part for [`Terms::hosted`] tools.
    pub(crate) fn held_for_text(&self) -> Tokens {
        self.held().minus(self.terms.hosted.held)
    }

    /// Sets whether the provider has the request. A call with `accepted` false costs nothing.
    pub(crate) fn set_accepted(&mut self, accepted: bool) {
        self.accepted = accepted;
    }

    /// Whether the answer said itself that it is complete ([`Reading::complete`]).
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns the [`Charge`]. `None`: neither decided nor settled yet.
    pub fn decided(&self) -> Option<&Charge> {
        self.settled.as_ref().or(self.charge.as_ref())
    }

    /// Returns what the ledger and the usage record tell of the call, once the hold has ended.
    pub(crate) fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    pub(crate) fn set_receipt(&mut self, receipt: Receipt) {
        self.receipt = Some(receipt);
    }

    /// Ends the hold with its charge. `None`: it was settled before.
    pub fn close(&mut self) -> Option<(Hold, Charge)> {
        let mut charge = self.charge();
        charge.cost = charge.cost.plus(self.setbacks.cost);
        if charge.basis == Basis::Nothing {
            charge.basis = self.setbacks.basis;
        }
        let hold = self.hold.take()?;
        self.settled = Some(charge.clone());
        Some((hold, charge))
    }

    /// Returns the hold's ID and the known cost if a note in the journal is due (`NOTE_INTERVAL`).
    pub(crate) fn due_note(&mut self) -> Option<(&str, Tokens)> {
        if self.hold.is_none() || self.noted.elapsed() <= NOTE_INTERVAL {
            return None;
        }
        self.noted = Instant::now();
        let known = self.known_cost();
        self.hold.as_ref().map(|hold| (hold.id.as_str(), known))
    }

    /// Copies what charging needs from the meter's [`Reading`] so far.
    pub(crate) fn observe(&mut self, reading: &Reading) {
        self.complete = reading.complete;
        let (claim, is_absurd) = reading.claim.clone().credible();
        let mut served = std::mem::take(&mut self.seen.served);
        if self.terms.has_rates() && served != reading.served {
            served.clone_from(&reading.served);
        }
        self.seen = Observed {
            served,
            claim,
            is_absurd,
            is_final: reading.is_final || reading.complete,
            failed: reading.failed,
            has_content: !reading.delivered.is_empty() || reading.delivered.unsure > 0,
            is_malformed: reading.delivered.is_malformed,
            hosted_calls: reading.hosted_calls.max(reading.delivered.hosted),
            bytes: reading.delivered.bytes,
            least: reading.delivered.least(),
        };
    }

    /// Returns the [`Usage`] that the providers of all attempts have reported so far.
    pub fn usage(&self) -> Usage {
        self.setbacks.usage.plus(self.seen.claim.usage())
    }

    /// Whether the answer has nothing for the client: it is a failure without content, or cannot be read.
    pub(crate) fn is_unusable(&self) -> bool {
        self.seen.is_malformed || (self.seen.failed && !self.seen.has_content)
    }

    /// Whether the provider reported a failure, by its status (`is_success`) or within the answer.
    pub(crate) fn has_failed(&self, is_success: bool) -> bool {
        !is_success || self.seen.failed
    }

    /// Returns the cost of the output and the size of the hold, if the cost certainly exceeds the hold: the
    /// provider sends more than `output_limit` allows. `None`: it does not.
    pub(crate) fn exceeds_its_hold(&self) -> Option<(Tokens, Tokens)> {
        let output = self.seen.claim.usage().output.max(self.seen.least);
        let certain = self.rate().for_output(output);
        self.hold.as_ref()?;
        let held = self.held();
        (certain > held).then_some((certain, held))
    }

    /// Whether the provider can be cut off without losing count: `shows_all` of the output, and the prompt
    /// can be counted.
    pub(crate) fn may_be_cut(&self) -> bool {
        let terms = &self.terms;
        if self.is_awaited() {
            return false;
        }
        let knows_prompt = terms.text.is_some() || self.seen.claim.input.is_some();
        terms.free || (terms.shows_all && terms.unreported.is_none() && knows_prompt)
    }

    /// Whether the reported usage covers the whole answer, so that nothing more need be read.
    pub(crate) fn is_accounted_for(&self) -> bool {
        self.complete || (self.seen.is_final && self.seen.claim.output.is_some())
    }

    /// Ends the answer with its last reading and decides the charge, unless the hold is settled already.
    pub(crate) fn conclude(&mut self, reading: &Reading) {
        self.observe(reading);
        self.decide(&reading.delivered);
    }

    /// Ends an answer that the provider broke off: a failure, unless it had content or reported usage.
    pub(crate) fn broke_off(&mut self, reading: &Reading) {
        self.observe(reading);
        self.seen.failed |= !self.seen.has_content && self.seen.claim.total().is_zero();
        self.decide(&reading.delivered);
    }

    fn decide(&mut self, delivered: &Delivered) {
        if self.hold.is_none() {
            return;
        }
        let bound = InlineBound::new(Texts::of(&self.terms, Some(delivered)));
        let charge = self.compute_charge(true, &bound);
        let uncounted = bound.uncounted();
        self.charge = Some(charge);
        self.uncounted = uncounted;
    }

    /// Takes the texts that must be counted before the charge is final.
    pub(crate) fn take_uncounted(&mut self) -> Option<Uncounted> {
        self.uncounted.take()
    }

    /// Makes the charge final with the counts of [`Bill::take_uncounted`].
    pub(crate) fn set_counted(&mut self, counted: &Counted) {
        self.charge = Some(self.compute_charge(true, counted));
    }

    /// Returns the charge of the present attempt by what is known now. An answer without [`Bill::conclude`] counts as cut
    /// ([`End::Cut`]).
    pub fn charge(&self) -> Charge {
        match &self.charge {
            _ if !self.accepted || self.terms.free => Charge::NOTHING,
            Some(charge) => charge.clone(),
            None => self.compute_charge(false, &Texts::of(&self.terms, None).count()),
        }
    }

    /// `is_over`: everything that was delivered has been metered.
    fn compute_charge(&self, is_over: bool, bound: &impl Bound) -> Charge {
        let (terms, seen) = (&self.terms, &self.seen);
        let end = match () {
            () if seen.failed => End::Failed,
            () if seen.is_final && is_over => End::Whole,
            () => End::Cut,
        };
        let evidence = Evidence {
            claim: Some(&seen.claim),
            end,
            // Some servers report the usage of one answer of several: the claim must cover all of them.
            least: match terms.unreported {
                // `unreported` is charged, whatever text the answer has.
                Some(_) => Tokens::ZERO,
                None => seen.least.times(1 + u64::from(terms.has_many)),
            },
            has_content: seen.has_content,
            has_prompt: !terms.prompt.is_zero(),
            shows_all: terms.shows_all && is_over,
            reports_one: terms.reports_one,
            is_absurd: seen.is_absurd,
            unreported: terms.unreported,
        };
        let rate_of = |model: &str| self.rate_of(model);
        let mut charge = charge::charge(&evidence, self.held(), self.rate(), rate_of, bound);
        if matches!(charge.basis, Basis::Reported | Basis::Counted) {
            charge.cost = charge.cost.plus(self.hosted_cost());
        }
        charge
    }

    /// Returns the [`Rate`] of a model that took part in the call.
    fn rate_of(&self, model: &str) -> Rate {
        let terms = &self.terms;
        terms
            .prices_at(&self.labels.endpoint)
            .map_or(terms.rate, |(text, endpoint)| {
                text.rate(endpoint, Some(model))
            })
    }

    /// Returns the higher [`Rate`] of the requested model and the model that answered. Providers vary the
    /// spelling of names, so the latter counts only if the config names its rate.
    pub(crate) fn rate(&self) -> Rate {
        let mut rate = self.terms.rate;
        if !self.seen.served.is_empty()
            && let Some((text, endpoint)) = self.terms.prices_at(&self.labels.endpoint)
        {
            let served = self.seen.served.iter();
            let named = served.filter_map(|model| text.named_rate(endpoint.server, model));
            rate = named.fold(rate, Rate::dearest);
        }
        rate
    }

    /// Returns the cost of hosted tools' calls ([`Terms::hosted`]), less the cost of the text that they added
    /// to the prompt.
    fn hosted_cost(&self) -> Tokens {
        let (terms, seen) = (&self.terms, &self.seen);
        if terms.hosted.prices.is_empty() {
            return Tokens::ZERO;
        }
        let calls = |name: &str| match name {
            "web_search" => seen
                .hosted_calls
                .searches
                .max(terms.hosted.has_unshown_call),
            _ => seen.hosted_calls.fetches,
        };
        let prices = terms.hosted.prices.iter();
        let all: Tokens = prices.map(|(name, price)| price.times(calls(name))).sum();
        let read = seen.claim.input.unwrap_or_default();
        let rate = self.rate();
        let more = rate.cost(&read).minus(rate.most_for_prompt(terms.prompt));
        // The request bounds the calls, whatever the answer claims.
        all.min(terms.hosted.held).minus(more)
    }

    /// Returns the cost known by now. The journal keeps it, to be charged if this process crashes.
    pub(crate) fn known_cost(&self) -> Tokens {
        let (terms, seen) = (&self.terms, &self.seen);
        let before = self.setbacks.cost;
        if !self.accepted || terms.free {
            return before;
        }
        if let Some(unreported) = terms.unreported {
            return before.plus(self.rate().cost(&unreported));
        }
        let input = seen.claim.input.unwrap_or(Usage {
            uncached_input: terms::likely(terms.prompt),
            ..Usage::default()
        });
        let output = terms::likely(Tokens::new(seen.bytes)).max(seen.claim.usage().output);
        before.plus(self.rate().cost(&Usage { output, ..input }))
    }
}

#[cfg(test)]
#[path = "bill_tests.rs"]
mod tests;
