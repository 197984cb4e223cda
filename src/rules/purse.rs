//! What an instance holds of an account's balance, and spends without asking.
//!
//! A purse is the instance's side of a lease. Requests are held against it by the rules of the account
//! itself; what they cost is told to the store in numbered reports, one command at a time, and what a
//! command was is kept until it is answered. The store's answers say what the purse holds; nothing is
//! promised beyond that. `now` is the instance's own clock, which only ever goes forward.

use super::account::{Admit, Grant, Reported};
use super::amount::{Millis, Tokens};
use super::window::Pace;
use std::collections::HashMap;

/// A call without a limit of its own may use so much from a purse: no model's answer is longer.
const ROOMY: u64 = 131_072;

/// A purse is filled for what so many seconds will take.
const SECONDS: u64 = 4;
/// So long without a request, and all of it goes back.
pub const IDLE: Millis = Millis(2_000);
/// So many of its largest requests fit into a purse from the beginning.
const FIRST_REQUESTS: u64 = 4;
/// A balance that did not fill a purse is left alone for so long.
const POOR: Millis = Millis(10_000);
/// A server that was replaced has forgotten the last moments; nothing is believed to be forgotten for longer.
pub const REMEMBERED: Millis = Millis(60_000);
/// Slots are taken only where the window has this many times more.
const WIDE: u64 = 20;

/// One request's part of a purse.
#[derive(Clone, Copy, Debug)]
struct Hold {
    max: Tokens,
    /// Covered until then. A later lease does not cover it.
    until: Millis,
}

/// What the store is asked or told. It stays until it is answered, and is repeated as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Report {
        number: u64,
        spent: Tokens,
        back: Tokens,
        ends: bool,
    },
    Ask {
        number: u64,
        tokens: Tokens,
        slots: u64,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Purse {
    /// What the store has set aside, by its last answer.
    reserved: Tokens,
    /// The store has a lease of it, be it empty.
    is_open: bool,
    opened: Millis,
    /// All that was reported and answered, and how much of it when the lease last ended.
    told: Tokens,
    told_at_end: Tokens,
    /// The server behind the store was replaced: what it knows of the lease, a report will say. And the
    /// command under way was sent knowing that.
    is_doubted: bool,
    asks_doubting: bool,
    holds: HashMap<String, Hold>,
    held: Tokens,
    /// Settled here, and not in any report yet.
    spent: Tokens,
    number: u64,
    under_way: Option<Command>,
    /// When it was sent first, and that the store may have done it already.
    sent: Millis,
    repeats: bool,
    /// Until then it may be spent from: the lease itself lives a request's time longer.
    fresh_until: Millis,
    slots: u64,
    slots_until: Millis,
    /// The part of what was asked for without which the balance is not large.
    needed: Tokens,
    /// The balance is not large against what goes on: until then every request asks the store.
    poor_until: Millis,
    left: Tokens,
    pace: Option<Pace>,
    /// How long slots last.
    slice: Millis,
    /// The account is gone, and what was set aside of it.
    is_gone: bool,
    busy: Busy,
}

/// How much goes on, for the size of the purse.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    since: Millis,
    latest: Millis,
    /// The largest request, the most that was held at once, and what was spent, since then.
    largest: Tokens,
    peak: Tokens,
    spent: Tokens,
    requests: u64,
    /// What was not covered since the store was last asked.
    missed: Tokens,
    /// The same, by the second, of the last stretch.
    last_peak: Tokens,
    spent_a_second: Tokens,
    requests_a_second: u64,
}

/// What a request is told of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub held: Tokens,
    pub left: Tokens,
    pub pace: Option<Pace>,
}

impl Purse {
    /// What nothing here has a claim on.
    pub fn free(&self) -> Tokens {
        let claimed = self.held.plus(self.spent).plus(self.unanswered());
        self.reserved.minus(claimed)
    }

    fn unanswered(&self) -> Tokens {
        match self.under_way {
            Some(Command::Report { spent, back, .. }) => spent.plus(back),
            _ => Tokens::ZERO,
        }
    }

    /// What is left of the balance, as far as is known here.
    pub fn left(&self) -> Tokens {
        let told = match self.under_way {
            Some(Command::Report { spent, .. }) => spent,
            _ => Tokens::ZERO,
        };
        self.left.minus(told).minus(self.spent)
    }

    fn pace(&self) -> Option<Pace> {
        self.pace.map(|pace| Pace {
            remaining: pace.remaining.saturating_add(self.slots),
            ..pace
        })
    }

    /// Holds a request, if all of it is covered. `None`: the store must be asked.
    pub fn admit(&mut self, now: Millis, ask: &Admit<'_>, windowed: bool) -> Option<Held> {
        let Busy { latest, .. } = self.busy;
        self.busy.latest = latest.max(now);
        self.busy.requests += 1;
        if self.is_gone || self.is_doubted || now < self.poor_until {
            return None;
        }
        let open = ask.open.min(Tokens::new(ROOMY));
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

    /// A live request's heartbeat. False: its cover ends, and so must it.
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

    /// Ends a hold. What is left after it.
    pub fn settle(&mut self, id: &str, used: Tokens) -> Tokens {
        if let Some(hold) = self.holds.remove(id) {
            self.held = self.held.minus(hold.max);
            self.spent = self.spent.plus(used);
            self.busy.spent = self.busy.spent.plus(used);
        }
        self.left()
    }

    /// Settled, and in no report yet.
    pub fn unreported(&self) -> Tokens {
        self.spent
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Nothing here is owed to anyone any more.
    pub fn is_empty(&self) -> bool {
        // What was spent of an account that is gone is owed to nobody.
        let owes =
            !self.spent.is_zero() || self.under_way.is_some() || self.is_open || self.is_doubted;
        self.holds.is_empty() && (self.is_gone || !owes)
    }

    pub fn is_idle(&self, now: Millis) -> bool {
        self.holds.is_empty() && now >= self.busy.latest.plus(IDLE)
    }

    /// The next command, if there is anything to say. One that has no answer is said again first.
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

    fn next(&mut self, now: Millis, renew_after: Millis) -> Option<Command> {
        self.busy.turn(now);
        if !self.spent.is_zero() || self.is_doubted {
            return Some(self.report(Tokens::ZERO));
        }
        if self.is_idle(now) {
            return self.is_open.then(|| self.end());
        }
        let free = self.free();
        if now < self.poor_until {
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

    /// Asks for more, if less than half of what is wanted is there.
    fn fill(&mut self, now: Millis) -> Option<Command> {
        let (wanted, slots) = (self.busy.wanted(), self.busy.slots(self.slice));
        let has_slots = self.pace.is_none() || (self.slots >= slots / 2 && now < self.slots_until);
        let is_wide = self
            .pace()
            .is_none_or(|pace| pace.remaining >= slots * WIDE);
        let is_short = self.free() < wanted.share(2) || !self.busy.missed.is_zero();
        ((is_short || !has_slots) && is_wide).then(|| self.ask(wanted, slots, has_slots))
    }

    /// Asks without waiting for the next report, if there is need.
    pub fn ask_at_once(&mut self, now: Millis) -> Option<Command> {
        let is_waiting = self.is_doubted || self.under_way.is_some();
        if self.is_gone || is_waiting || now < self.poor_until || self.is_idle(now) {
            return None;
        }
        self.busy.turn(now);
        self.repeats = false;
        self.under_way = self.fill(now);
        self.under_way
    }

    /// Asks for what is wanted and for what was just missed.
    fn ask(&mut self, wanted: Tokens, slots: u64, has_slots: bool) -> Command {
        self.number += 1;
        self.needed = wanted.minus(self.free());
        Command::Ask {
            number: self.number,
            tokens: self.needed.plus(std::mem::take(&mut self.busy.missed)),
            slots: if has_slots { 0 } else { slots },
        }
    }

    /// A report of all that was spent, and what goes back with it.
    fn report(&mut self, back: Tokens) -> Command {
        self.number += 1;
        Command::Report {
            number: self.number,
            spent: std::mem::take(&mut self.spent),
            back,
            ends: false,
        }
    }

    /// Gives everything back that no request holds. The lease ends with it, if none does.
    pub fn give_back(&mut self) -> Option<Command> {
        if self.under_way.is_none() && !self.is_gone {
            self.repeats = false;
            if !self.spent.is_zero() || self.is_doubted {
                let free = self.free();
                self.under_way = Some(self.report(free));
            } else if self.is_open && (self.holds.is_empty() || !self.free().is_zero()) {
                self.under_way = Some(self.end());
            }
        }
        self.under_way
    }

    fn end(&mut self) -> Command {
        self.number += 1;
        Command::Report {
            number: self.number,
            spent: Tokens::ZERO,
            back: self.free(),
            ends: self.holds.is_empty(),
        }
    }

    /// What is to be said, or was said and not answered.
    pub fn under_way(&self) -> Option<Command> {
        self.under_way
    }

    /// The server behind the store was replaced, and may have forgotten the latest commands.
    pub fn doubt(&mut self) {
        self.asks_doubting = false;
        self.is_doubted = self.is_open || self.under_way.is_some() || !self.told.is_zero();
    }

    /// All that was reported and answered.
    pub fn told(&self) -> Tokens {
        self.told
    }

    /// How much of that was of this very lease, where it is so young that the store may have forgotten it.
    pub fn begun(&self, now: Millis) -> Option<Tokens> {
        let is_young = now < self.opened.plus(REMEMBERED);
        (self.is_doubted && is_young).then(|| self.told.minus(self.told_at_end))
    }

    /// The number of the latest command.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What is said now, and whether it may have been done before.
    pub fn say(&mut self, now: Millis) -> Option<(Command, bool)> {
        let is_repeat = self.repeats;
        self.asks_doubting = self.is_doubted;
        // A repeat renews nothing: what an answer is good for counts from the first time.
        if !is_repeat {
            self.sent = now;
        }
        self.repeats = true;
        self.under_way.map(|command| (command, is_repeat))
    }

    /// It was not done, for certain.
    pub fn unheard(&mut self) {
        self.repeats = false;
    }

    /// `fresh`: how long the purse may be spent from after the command was sent.
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
            // All of them lapse with the first slice that ends; those of an earlier one have already.
            if sent < self.slots_until {
                self.slots += grant.slots;
                self.slots_until = until.min(self.slots_until);
            } else {
                self.slots = grant.slots;
                self.slots_until = until;
            }
        }
        if grant.tokens < self.needed {
            self.poor_until = sent.plus(POOR);
        }
    }

    /// What the store said of the account when it was asked about a request.
    pub fn saw(&mut self, left: Tokens, pace: Option<Pace>, slice: Millis) {
        self.left = left;
        self.pace = pace;
        self.slice = slice;
    }

    pub fn reported(&mut self, fresh: Millis, reported: &Reported) {
        let sent = self.sent;
        if let Some(Command::Report { spent, ends, .. }) = self.under_way {
            self.told = self.told.plus(spent);
            if ends {
                self.told_at_end = self.told;
                self.is_open = false;
            }
        }
        if std::mem::take(&mut self.asks_doubting) {
            self.is_doubted = false;
        }
        self.under_way = None;
        self.reserved = reported.reserved;
        self.left = reported.settlement.left;
        self.fresh_until = self.fresh_until.max(sent.plus(fresh));
    }

    /// The account is gone.
    pub fn lost(&mut self) {
        self.under_way = None;
        self.is_gone = true;
    }
}

impl Busy {
    /// Begins a new stretch after every second.
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

    /// What is likely to be needed at once and in the next seconds.
    fn wanted(&self) -> Tokens {
        let peak = self.peak.max(self.last_peak);
        let spent = self.spent.max(self.spent_a_second);
        let first = self.largest.times(FIRST_REQUESTS);
        peak.times(2).plus(spent.times(SECONDS)).plus(first)
    }

    /// Twice what a slice, or a second of it, is likely to need.
    fn slots(&self, slice: Millis) -> u64 {
        let a_second = self.requests.max(self.requests_a_second);
        2 * a_second.saturating_mul(slice.0.min(1_000)) / 1_000 + 8
    }
}

#[cfg(test)]
#[path = "purse_tests.rs"]
mod tests;
