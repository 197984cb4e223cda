//! The lease budget ([`LeaseBudget`]): an instance's side of a lease, from which it admits requests without asking
//! the store.
//!
//! Requests are held against the budget by the rules of the account itself. Their cost is reported to the
//! store in numbered commands, one at a time; a command is kept until it is answered and repeated unchanged.
//! The store's answers set the size of the budget, and it must never promise more than that.
//! `now` is the instance's own monotonic clock.

use super::account::{Admit, Grant, Reported};
use super::amount::{Millis, Tokens};
use super::posting::{ReportLine, ReportLines};
use super::window::Pace;
use std::collections::HashMap;
use std::sync::Arc;

/// Most tokens that [`Admit::open`] may take from a lease budget: no model's answer is longer.
const MAX_OPEN_TOKENS: u64 = 131_072;

/// Seconds of recent spending that a lease is sized for.
const SECONDS_OF_SPENDING: u64 = 4;
/// Time without a request after which the whole budget is given back.
pub const IDLE_TIMEOUT: Millis = Millis(2_000);
/// Number of the largest recent requests that a lease is sized for in addition, so that a new budget fits
/// some.
const LARGEST_REQUESTS_COVERED: u64 = 4;
/// Time during which every request asks the store, after a grant below `LeaseBudget::needed`.
const BYPASS_AFTER_SMALL_GRANT: Millis = Millis(10_000);
/// Longest time before a failover from which the new server may lack commands; older ones are taken as
/// replicated.
pub const MAX_REPLICATION_LOSS: Millis = Millis(60_000);
/// Slots are leased only while the window has at least this many times more remaining.
const MIN_SLOTS_RATIO: u64 = 20;

/// One request's part of a lease budget.
#[derive(Clone, Copy, Debug)]
struct Hold {
    max: Tokens,
    /// End of the hold's cover. A later lease does not revive a hold past it; see [`LeaseBudget::renew`].
    until: Millis,
}

/// Command to the store. It stays under way until it is answered, and is repeated unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Charges `spent` to the lease and gives `back` unused balance. `ends`: no request is held any more.
    Report {
        number: u64,
        spent: Tokens,
        back: Tokens,
        ends: bool,
    },
    /// Asks for more balance, and for rate limit slots.
    Ask {
        number: u64,
        tokens: Tokens,
        slots: u64,
    },
}

/// Lease budget of one account at one instance.
#[derive(Clone, Debug, Default)]
pub struct LeaseBudget {
    /// Amount of the lease by the store's last answer.
    reserved: Tokens,
    /// The store has a lease for this budget, even if its amount is zero.
    is_open: bool,
    /// Send time of the command that opened the lease.
    opened: Millis,
    /// Total spending that was reported and acknowledged.
    told: Tokens,
    /// Value of `told` when the lease last ended.
    told_at_end: Tokens,
    /// The store failed over and may have forgotten this lease; no request is admitted until a report is
    /// answered.
    is_uncertain: bool,
    /// The command under way was sent after the failover that set `is_uncertain`, so its answer clears the
    /// flag.
    sent_after_failover: bool,
    holds: HashMap<String, Hold>,
    /// Sum of the `holds`.
    held: Tokens,
    /// Settled here, but not in any report yet.
    spent: Tokens,
    /// What `spent` is the sum of.
    lines: ReportLines,
    /// What the report under way is the sum of.
    reported_lines: Arc<[ReportLine]>,
    /// Number of the latest command.
    number: u64,
    under_way: Option<Command>,
    /// Time at which `under_way` was first sent.
    sent: Millis,
    /// The store may have executed `under_way` already.
    repeats: bool,
    /// End of the time in which the budget may be spent. The lease itself lives one hold longer.
    fresh_until: Millis,
    /// Rate limit slots of the current slice, until `slots_until`.
    slots: u64,
    slots_until: Millis,
    /// Least grant that shows that the balance is large enough for a lease; less sets `bypass_until`.
    needed: Tokens,
    /// End of the time in which every request asks the store, because the balance is small against the
    /// traffic.
    bypass_until: Millis,
    left: Tokens,
    pace: Option<Pace>,
    /// Length of the window's slices, after which slots lapse.
    slice: Millis,
    /// The account no longer exists, and neither does its lease.
    is_gone: bool,
    busy: Busy,
}

/// Recent traffic, from which the size of the lease is computed.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    /// Start of the current period of at least one second.
    since: Millis,
    /// Time of the latest request.
    latest: Millis,
    /// Largest request in the current period.
    largest: Tokens,
    /// Most tokens that were held at once in the current period.
    peak: Tokens,
    spent: Tokens,
    requests: u64,
    /// Tokens of requests that were not covered since the last [`Command::Ask`].
    missed: Tokens,
    /// Peak of the last period; the two rates below are also the last period's, per second.
    last_peak: Tokens,
    spent_a_second: Tokens,
    requests_a_second: u64,
}

/// Outcome of [`LeaseBudget::admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub held: Tokens,
    pub left: Tokens,
    pub pace: Option<Pace>,
}

impl LeaseBudget {
    /// Returns the part of the lease that is neither held, nor spent, nor on its way back.
    pub fn free(&self) -> Tokens {
        let claimed = self.held.plus(self.spent).plus(self.unanswered());
        self.reserved.minus(claimed)
    }

    /// Returns the tokens of a report that has no answer yet.
    fn unanswered(&self) -> Tokens {
        match self.under_way {
            Some(Command::Report { spent, back, .. }) => spent.plus(back),
            _ => Tokens::ZERO,
        }
    }

    /// Returns the account's balance as far as this instance knows it.
    pub fn left(&self) -> Tokens {
        let told = match self.under_way {
            Some(Command::Report { spent, .. }) => spent,
            _ => Tokens::ZERO,
        };
        self.left.minus(told).minus(self.spent)
    }

    /// Returns the window's state, with the slots held here counted as remaining.
    fn pace(&self) -> Option<Pace> {
        self.pace.map(|pace| Pace {
            remaining: pace.remaining.saturating_add(self.slots),
            ..pace
        })
    }

    /// Holds a request if the budget covers all of it. `None`: the store must be asked.
    pub fn admit(&mut self, now: Millis, ask: &Admit<'_>, windowed: bool) -> Option<Held> {
        let Busy { latest, .. } = self.busy;
        self.busy.latest = latest.max(now);
        self.busy.requests += 1;
        if self.is_gone || self.is_uncertain || now < self.bypass_until {
            return None;
        }
        let open = ask.open.min(Tokens::new(MAX_OPEN_TOKENS));
        let held = ask.most.max(ask.least).max(open);
        self.busy.largest = self.busy.largest.max(held);
        let has_slot = !windowed || (self.slots > 0 && now < self.slots_until);
        if now >= self.fresh_until || !has_slot || self.free() < held {
            self.busy.missed = self.busy.missed.plus(held);
            return None;
        }
        if self.holds.contains_key(ask.id) {
            return None;
        }
        let hold = Hold {
            max: held,
            until: now.plus(ask.ttl),
        };
        self.holds.insert(ask.id.to_owned(), hold);
        self.held = self.held.plus(held);
        self.busy.peak = self.busy.peak.max(self.held);
        if windowed {
            self.slots -= 1;
        }
        Some(Held {
            held,
            left: self.left(),
            pace: if windowed { self.pace() } else { None },
        })
    }

    /// Extends a live request's hold by `cover` (the heartbeat). False: its cover ends, and the request must
    /// be ended.
    pub fn renew(&mut self, now: Millis, id: &str, cover: Millis) -> bool {
        let Some(hold) = self.holds.get_mut(id) else {
            return false;
        };
        let is_covered = !self.is_gone && now < self.fresh_until && now < hold.until;
        if is_covered {
            hold.until = now.plus(cover);
        }
        is_covered
    }

    /// Ends a hold, records `used` as spent, and returns the balance left. `note` goes into the ledger.
    pub fn settle(&mut self, id: &str, used: Tokens, note: &str) -> Tokens {
        if let Some(hold) = self.holds.remove(id) {
            self.held = self.held.minus(hold.max);
            self.spent = self.spent.plus(used);
            self.lines.add(id, used, note);
            self.busy.spent = self.busy.spent.plus(used);
        }
        self.left()
    }

    /// Returns the tokens that are settled here but in no report yet.
    pub fn unreported(&self) -> Tokens {
        self.spent
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Returns whether nothing is held, unreported or unanswered, so that the budget can be dropped.
    pub fn is_empty(&self) -> bool {
        // Spending of an account that no longer exists cannot be reported.
        let owes =
            !self.spent.is_zero() || self.under_way.is_some() || self.is_open || self.is_uncertain;
        self.holds.is_empty() && (self.is_gone || !owes)
    }

    /// Returns whether no request is held and none has come for [`IDLE_TIMEOUT`].
    pub fn is_idle(&self, now: Millis) -> bool {
        self.holds.is_empty() && now >= self.busy.latest.plus(IDLE_TIMEOUT)
    }

    /// Returns the next command, or `None` if there is nothing to send. An unanswered command is repeated
    /// first. `renew_after`: time before `fresh_until` at which the lease is renewed by an empty report.
    pub fn command(&mut self, now: Millis, renew_after: Millis) -> Option<Command> {
        if self.is_gone {
            return None;
        }
        if self.under_way.is_none() {
            self.under_way = self.next(now, renew_after);
            self.repeats = false;
        }
        self.under_way
    }

    /// Decides the next command: report, give back, fill or renew.
    fn next(&mut self, now: Millis, renew_after: Millis) -> Option<Command> {
        self.busy.turn(now);
        if !self.spent.is_zero() || self.is_uncertain {
            return Some(self.report(Tokens::ZERO));
        }
        if self.is_idle(now) {
            return self.is_open.then(|| self.end());
        }
        let free = self.free();
        if now < self.bypass_until {
            return (!free.is_zero()).then(|| self.report(free));
        }
        let wanted = self.busy.wanted();
        if free > wanted.times(4) && self.busy.missed.is_zero() {
            return Some(self.report(free.minus(wanted.times(2))));
        }
        self.fill(now).or_else(|| {
            (now >= self.fresh_until.minus(renew_after)).then(|| self.report(Tokens::ZERO))
        })
    }

    /// Asks for more if the budget is below half of what is wanted, a request was not covered, or slots run
    /// low. Never if the window has less than [`MIN_SLOTS_RATIO`] times the slots remaining.
    fn fill(&mut self, now: Millis) -> Option<Command> {
        let (wanted, slots) = (self.busy.wanted(), self.busy.slots(self.slice));
        let has_slots = self.pace.is_none() || (self.slots >= slots / 2 && now < self.slots_until);
        let is_wide = self
            .pace()
            .is_none_or(|pace| pace.remaining >= slots * MIN_SLOTS_RATIO);
        let is_short = self.free() < wanted.share(2) || !self.busy.missed.is_zero();
        ((is_short || !has_slots) && is_wide).then(|| self.ask(wanted, slots, has_slots))
    }

    /// Returns a [`Command::Ask`] without waiting for the next report, if the budget is short.
    pub fn ask_at_once(&mut self, now: Millis) -> Option<Command> {
        let is_waiting = self.is_uncertain || self.under_way.is_some();
        if self.is_gone || is_waiting || now < self.bypass_until || self.is_idle(now) {
            return None;
        }
        self.busy.turn(now);
        self.repeats = false;
        self.under_way = self.fill(now);
        self.under_way
    }

    /// Asks for what is wanted and for the requests that were not covered.
    fn ask(&mut self, wanted: Tokens, slots: u64, has_slots: bool) -> Command {
        self.number += 1;
        self.needed = wanted.minus(self.free());
        Command::Ask {
            number: self.number,
            tokens: self.needed.plus(std::mem::take(&mut self.busy.missed)),
            slots: if has_slots { 0 } else { slots },
        }
    }

    /// Builds a report of everything spent, which gives `back` unused balance.
    fn report(&mut self, back: Tokens) -> Command {
        self.number += 1;
        self.reported_lines = self.lines.take().into();
        Command::Report {
            number: self.number,
            spent: std::mem::take(&mut self.spent),
            back,
            ends: false,
        }
    }

    /// Gives back everything that no request holds. The lease ends with it if no request is held.
    pub fn give_back(&mut self) -> Option<Command> {
        if self.under_way.is_none() && !self.is_gone {
            self.repeats = false;
            if !self.spent.is_zero() || self.is_uncertain {
                let free = self.free();
                self.under_way = Some(self.report(free));
            } else if self.is_open && (self.holds.is_empty() || !self.free().is_zero()) {
                self.under_way = Some(self.end());
            }
        }
        self.under_way
    }

    /// Builds a report without spending that gives back what is free.
    fn end(&mut self) -> Command {
        self.number += 1;
        self.reported_lines = Arc::default();
        Command::Report {
            number: self.number,
            spent: Tokens::ZERO,
            back: self.free(),
            ends: self.holds.is_empty(),
        }
    }

    /// Returns what the report under way is the sum of.
    pub fn reported_lines(&self) -> Arc<[ReportLine]> {
        self.reported_lines.clone()
    }

    /// Returns the command that is to be sent, or was sent and not answered.
    pub fn under_way(&self) -> Option<Command> {
        self.under_way
    }

    /// Marks the lease as uncertain after a failover: the new server may have forgotten the latest commands.
    pub fn mark_uncertain(&mut self) {
        self.sent_after_failover = false;
        self.is_uncertain = self.is_open || self.under_way.is_some() || !self.told.is_zero();
    }

    /// Returns the total spending that was reported and acknowledged.
    pub fn told(&self) -> Tokens {
        self.told
    }

    /// Returns the part of [`LeaseBudget::told`] that belongs to the current lease, if that is uncertain and
    /// younger than [`MAX_REPLICATION_LOSS`], so that the store may have forgotten it.
    pub fn begun(&self, now: Millis) -> Option<Tokens> {
        let is_young = now < self.opened.plus(MAX_REPLICATION_LOSS);
        (self.is_uncertain && is_young).then(|| self.told.minus(self.told_at_end))
    }

    /// Returns the number of the latest command.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the command to send at `now`, and whether the store may have executed it before.
    pub fn say(&mut self, now: Millis) -> Option<(Command, bool)> {
        let is_repeat = self.repeats;
        self.sent_after_failover = self.is_uncertain;
        // A repeat does not extend the cover: it counts from the first time the command was sent.
        if !is_repeat {
            self.sent = now;
        }
        self.repeats = true;
        self.under_way.map(|command| (command, is_repeat))
    }

    /// Notes that the command was certainly not executed, so that the next try is no retry.
    pub fn not_executed(&mut self) {
        self.repeats = false;
    }

    /// Applies the answer to a [`Command::Ask`]. `fresh`: time from sending during which the budget may be
    /// spent.
    pub fn granted(&mut self, fresh: Millis, grant: &Grant) {
        let sent = self.sent;
        self.under_way = None;
        if !std::mem::replace(&mut self.is_open, true) {
            self.opened = sent;
        }
        self.reserved = grant.reserved;
        self.left = grant.left;
        self.pace = grant.pace;
        self.fresh_until = self.fresh_until.max(sent.plus(fresh));
        if grant.slots > 0 {
            let until = sent.plus(grant.slots_for);
            // All slots lapse with the first slice that ends; those of an earlier slice have lapsed already.
            if sent < self.slots_until {
                self.slots += grant.slots;
                self.slots_until = until.min(self.slots_until);
            } else {
                self.slots = grant.slots;
                self.slots_until = until;
            }
        }
        if grant.tokens < self.needed {
            self.bypass_until = sent.plus(BYPASS_AFTER_SMALL_GRANT);
        }
    }

    /// Takes over the balance and the window's state from an admission by the store.
    pub fn record_admission(&mut self, left: Tokens, pace: Option<Pace>, slice: Millis) {
        self.left = left;
        self.pace = pace;
        self.slice = slice;
    }

    /// Applies the answer to a [`Command::Report`]. `fresh` is as in [`LeaseBudget::granted`].
    pub fn reported(&mut self, fresh: Millis, reported: &Reported) {
        let sent = self.sent;
        if let Some(Command::Report { spent, ends, .. }) = self.under_way {
            self.told = self.told.plus(spent);
            if ends {
                self.told_at_end = self.told;
                self.is_open = false;
            }
        }
        if std::mem::take(&mut self.sent_after_failover) {
            self.is_uncertain = false;
        }
        self.under_way = None;
        self.reserved = reported.reserved;
        self.left = reported.settlement.left;
        self.fresh_until = self.fresh_until.max(sent.plus(fresh));
    }

    /// Notes that the account no longer exists.
    pub fn lost(&mut self) {
        self.under_way = None;
        self.is_gone = true;
    }
}

impl Busy {
    /// Begins a new period once the current one has lasted a second.
    fn turn(&mut self, now: Millis) {
        let span = now.minus(self.since).0;
        if span < 1_000 {
            return;
        }
        let a_second = |count: u64| count.saturating_mul(1_000) / span;
        self.last_peak = self.peak.max(self.largest);
        self.spent_a_second = Tokens::new(a_second(self.spent.count()));
        self.requests_a_second = a_second(self.requests);
        self.since = now;
        self.largest = Tokens::ZERO;
        self.peak = Tokens::ZERO;
        self.spent = Tokens::ZERO;
        self.requests = 0;
    }

    /// Returns the tokens likely to be needed at once and in the next [`SECONDS_OF_SPENDING`].
    fn wanted(&self) -> Tokens {
        let peak = self.peak.max(self.last_peak);
        let spent = self.spent.max(self.spent_a_second);
        let first = self.largest.times(LARGEST_REQUESTS_COVERED);
        peak.times(2)
            .plus(spent.times(SECONDS_OF_SPENDING))
            .plus(first)
    }

    /// Returns twice the requests likely in a slice, or in one second of a longer slice, plus 8.
    fn slots(&self, slice: Millis) -> u64 {
        let a_second = self.requests.max(self.requests_a_second);
        2 * a_second.saturating_mul(slice.0.min(1_000)) / 1_000 + 8
    }
}

#[cfg(test)]
#[path = "lease_budget_tests.rs"]
mod tests;
