//! The books of one account ([`Account`]): its balance, its encumbrances, and the effect of every store verb.
//!
//! This is the specification. The embedded engine runs it, the Redis scripts repeat it, and one property test
//! drives both with the same histories.
//! This file must never know a clock, a store or a network: `now` is the store's time and comes in as an argument.
//! Invariant: no verb grants more than [`Account::free`].

use super::amount::{Millis, Tokens};
use super::window::{Limits, Pace, Slices, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Time that the mark of a swept hold or lease is kept, so that a late settlement or report finds it.
pub(crate) const MARK_TTL: Millis = Millis(86_400_000);
/// Time that the ID of an applied credit is kept, so that a repeated [`Account::credit`] adds nothing.
pub(crate) const CREDIT_MARK_TTL: Millis = Millis(90 * 86_400_000);

/// Charge for an expired hold or lease; the setting `accounts.orphans`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// The default: an expired hold is charged its `known` cost, an expired lease nothing.
    Known,
    /// An expired hold is charged its `max`, an expired lease its whole `amount`: not even a crash lets a key
    /// have one token more than its balance.
    Spend,
}

/// A balance and its encumbrances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Tokens granted minus tokens settled; `tokensLeft` in the record's text.
    pub left: Tokens,
    /// Encumbrances; stored beside the record.
    pub books: Books,
}

/// Holds by request ID, leases by instance, marks of what has expired by either, and the slices of the rate
/// limit.
/// `credits` keeps when each applied credit ID is forgotten; `overrun` counts tokens used but not covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    holds: BTreeMap<String, Hold>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    leases: BTreeMap<String, Lease>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<String, Mark>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    credits: BTreeMap<String, Millis>,
    #[serde(default, skip_serializing_if = "Slices::is_empty")]
    slices: Slices,
    #[serde(default, skip_serializing_if = "Tokens::is_zero")]
    overrun: Tokens,
}

/// Encumbrance of one request: `max` is the most it can cost, `known` what it is known to have cost so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    max: Tokens,
    known: Tokens,
    expires: Millis,
}

/// Part of the balance that one instance may spend without asking. `number` is that of its latest command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    amount: Tokens,
    expires: Millis,
    number: u64,
    granted: Tokens,
    slots: u64,
    /// End of the slice that `slots` were taken from.
    #[serde(default)]
    slots_until: Millis,
    /// Total spending that the instance has reported under this name, earlier leases included. `None`:
    /// unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<Tokens>,
}

/// Charge of an expired hold or lease, kept for its late settlement or report. `number` and `told` are copied
/// from the lease; for a hold they are empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    charged: Tokens,
    expires: Millis,
    #[serde(default)]
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<Tokens>,
}

/// Request for a hold.
#[derive(Clone, Debug)]
pub struct Admit<'a> {
    /// Request ID. A repeat with the same ID gets the same answer.
    pub id: &'a str,
    /// Cost of a minimal answer; with fewer free tokens the request is refused.
    pub least: Tokens,
    /// Upper bound of the request's cost.
    pub most: Tokens,
    /// Upper bound of the hold of a request without an output limit: it gets `least` and a quarter of the
    /// free balance if that is more than `most`. Zero for a request with a limit.
    pub open: Tokens,
    /// Cost that is certain once the request is forwarded.
    pub known: Tokens,
    /// Rate limit and concurrency limit of the account's group.
    pub limits: Limits,
    /// Lifetime of the hold until the first heartbeat.
    pub ttl: Millis,
}

/// Outcome of [`Account::admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Granted {
        held: Tokens,
        left: Tokens,
        pace: Option<Pace>,
    },
    /// `left` does not cover `least`: 402 `insufficient_tokens`.
    Spent { left: Tokens, pace: Option<Pace> },
    /// The balance covers `least`, but other holds and leases leave too little of it free: 429 `tokens_held`.
    Held { left: Tokens, pace: Option<Pace> },
    /// `Limits::concurrent` requests of the account are in flight already: 429 `too_many_in_flight`.
    TooManyInFlight { left: Tokens, pace: Option<Pace> },
    /// The window is full; one more request may pass after `wait`: 429 `rate_limit_exceeded`.
    RateLimited {
        wait: Millis,
        left: Tokens,
        pace: Pace,
    },
}

/// Outcome of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub charged: Tokens,
    /// Tokens used but not covered by the balance: an estimate was too low.
    pub overrun: Tokens,
    pub left: Tokens,
}

/// Request for a lease, or for more of one. `number` numbers the instance's commands, so that a repeat does
/// nothing.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub instance: &'a str,
    pub number: u64,
    pub tokens: Tokens,
    pub slots: u64,
    pub window: Option<Window>,
    pub ttl: Millis,
    /// Total spending that earlier reports have acknowledged; used if the store knows neither lease nor mark.
    pub told: Tokens,
}

/// Outcome of [`Account::lease`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    pub tokens: Tokens,
    pub slots: u64,
    /// Time from now until the slice ends, with which the `slots` lapse.
    pub slots_for: Millis,
    /// Amount of the lease after the grant.
    pub reserved: Tokens,
    pub left: Tokens,
    pub pace: Option<Pace>,
}

/// Report of an instance: it charges `spent` to the lease, returns `back` to the free balance, and renews the
/// lease by `ttl`.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    pub instance: &'a str,
    pub number: u64,
    pub spent: Tokens,
    pub back: Tokens,
    pub ttl: Millis,
    pub retry: bool,
    /// The instance is done with the lease. If `spent` is zero, the lease is removed and no mark is kept.
    pub ends: bool,
    /// Total spending that earlier reports have acknowledged. If the store knows of less, the difference is
    /// charged too. `None`: unknown, nothing is added.
    pub before: Option<Tokens>,
    /// Part of `before` that belongs to the current lease; set after a failover. If the store knows neither
    /// lease nor mark, it has charged none of this part and charges it now.
    pub begun: Option<Tokens>,
}

impl Report<'_> {
    /// Returns the charge of this report if the store knows of `told` reported tokens.
    fn due(&self, told: Option<Tokens>) -> Tokens {
        let forgotten = match (self.before, told) {
            (Some(before), Some(told)) => before.minus(told),
            _ => Tokens::ZERO,
        };
        self.spent.plus(forgotten)
    }

    /// Returns the reported total that the store knows after this report.
    fn told(&self, told: Option<Tokens>) -> Option<Tokens> {
        self.before.or(told).map(|before| before.plus(self.spent))
    }
}

/// Outcome of [`Account::report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    pub settlement: Settlement,
    /// Amount of the lease after the report.
    pub reserved: Tokens,
}

/// State of the account as [`Account::look`] computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub left: Tokens,
    pub free: Tokens,
    pub overrun: Tokens,
    pub pace: Option<Pace>,
}

/// Sum of the holds and leases, expired ones that were not swept yet included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promised {
    pub tokens: Tokens,
    pub holds: usize,
    pub leases: usize,
}

/// Outcome of [`Account::credit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credited {
    Added {
        left: Tokens,
    },
    /// A credit with the same ID was applied before.
    Repeated {
        left: Tokens,
    },
    /// The new balance would exceed [`Tokens::MAX`].
    TooMuch,
}

impl Account {
    /// Returns `left` minus all holds' `max` and all leases' `amount`.
    pub fn free(&self) -> Tokens {
        self.left.minus(self.books.claimed())
    }

    /// Takes at most `left`, so that `tokensLeft` never becomes negative. The missing part is an overrun: it
    /// is counted, never hidden.
    fn charge(&mut self, used: Tokens) -> Settlement {
        let charged = used.min(self.left);
        let overrun = used.minus(charged);
        self.left = self.left.minus(charged);
        self.books.overrun = self.books.overrun.plus(overrun);
        Settlement {
            charged,
            overrun,
            left: self.left,
        }
    }

    /// Removes expired holds and leases, charges them by [`Orphans`], and leaves a [`Mark`] of each. Every
    /// verb calls it first.
    fn sweep(&mut self, now: Millis, orphans: Orphans) {
        let until = now.plus(MARK_TTL);
        let holds = take_expired(&mut self.books.holds, |hold| hold.expires <= now);
        for (id, hold) in holds {
            let cost = match orphans {
                Orphans::Known => hold.known,
                Orphans::Spend => hold.max,
            };
            self.charge(cost);
            let mark = Mark {
                charged: cost,
                expires: until,
                number: 0,
                told: None,
            };
            self.books.marks.insert(id, mark);
        }
        let leases = take_expired(&mut self.books.leases, |lease| lease.expires <= now);
        for (instance, lease) in leases {
            let cost = match orphans {
                Orphans::Known => Tokens::ZERO,
                Orphans::Spend => lease.amount,
            };
            self.charge(cost);
            let mark = Mark {
                charged: cost,
                expires: until,
                number: lease.number,
                told: lease.told,
            };
            self.books.marks.insert(instance, mark);
        }
        self.books.marks.retain(|_, mark| mark.expires > now);
        self.books.credits.retain(|_, expires| *expires > now);
    }

    /// Holds `most` (or more, see [`Admit::open`]) but never more than is free, or refuses.
    /// Checks in this order: repeated ID, settled ID, rate limit, balance below `least`, concurrency limit,
    /// free balance.
    pub fn admit(&mut self, now: Millis, orphans: Orphans, ask: &Admit<'_>) -> Verdict {
        self.sweep(now, orphans);
        let left = self.left;
        let Limits { window, concurrent } = ask.limits;
        let pace = |books: &Books| window.map(|window| books.slices.pace(window, now));
        if let Some(hold) = self.books.holds.get(ask.id) {
            return Verdict::Granted {
                held: hold.max,
                left,
                pace: pace(&self.books),
            };
        }
        // The request was settled before this command arrived: no client waits for it, and nothing would end
        // its hold.
        if self.books.marks.contains_key(ask.id) {
            let pace = pace(&self.books);
            return Verdict::Held { left, pace };
        }
        if let Some(window) = window
            && self.books.slices.room(window, now) == 0
        {
            let wait = self.books.slices.wait(window, now);
            return Verdict::RateLimited {
                wait,
                left,
                pace: self.books.slices.pace(window, now),
            };
        }
        let free = self.free();
        let in_flight = self.books.holds.len() as u64;
        let is_crowded = concurrent.is_some_and(|most| in_flight >= most);
        if is_crowded || free < ask.least {
            let pace = pace(&self.books);
            return if left < ask.least {
                Verdict::Spent { left, pace }
            } else if is_crowded {
                Verdict::TooManyInFlight { left, pace }
            } else {
                Verdict::Held { left, pace }
            };
        }
        let quarter = ask.least.plus(free.share(4)).min(ask.open);
        let held = ask.most.max(ask.least).max(quarter).min(free);
        let hold = Hold {
            max: held,
            known: ask.known.min(held),
            expires: now.plus(ask.ttl),
        };
        self.books.holds.insert(ask.id.to_owned(), hold);
        if let Some(window) = window {
            self.books.slices.count(window, 1, now);
        }
        Verdict::Granted {
            held,
            left,
            pace: pace(&self.books),
        }
    }

    /// Extends a live request's hold by `ttl` and raises its `known` cost (the heartbeat). False: the hold is
    /// gone, and the request must be ended.
    pub fn renew(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        known: Tokens,
        ttl: Millis,
    ) -> bool {
        self.sweep(now, orphans);
        let Some(hold) = self.books.holds.get_mut(id) else {
            return false;
        };
        hold.known = hold.known.max(known.min(hold.max));
        hold.expires = now.plus(ttl);
        true
    }

    /// Drops the hold and charges `used`, minus what the sweep has charged for it. If there is neither hold
    /// nor mark, a first try is charged, and a `retry` is not: the first try has been charged before.
    pub fn settle(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        used: Tokens,
        retry: bool,
    ) -> Settlement {
        self.sweep(now, orphans);
        let held = self.books.holds.remove(id).is_some();
        let mark = self.books.marks.remove(id);
        let before = mark.as_ref().map_or(Tokens::ZERO, |mark| mark.charged);
        let due = if held || mark.is_some() || !retry {
            used.minus(before)
        } else {
            Tokens::ZERO
        };
        // Before a retry there was a first command, which may still arrive, and so may the admission itself.
        // The mark makes both of them do nothing.
        if retry {
            let mark = Mark {
                charged: before.max(used),
                expires: now.plus(MARK_TTL),
                number: 0,
                told: None,
            };
            self.books.marks.insert(id.to_owned(), mark);
        }
        self.charge(due)
    }

    /// Replays a settlement that a server acknowledged before it was replaced. The hold is there only if the
    /// new server lacks that settlement; without hold and mark nothing is charged. No first command is in
    /// flight, so no mark is left.
    pub fn resettle(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        used: Tokens,
    ) -> Settlement {
        self.sweep(now, orphans);
        let due = if self.books.holds.remove(id).is_some() {
            used
        } else if let Some(mark) = self.books.marks.get_mut(id) {
            let due = used.minus(mark.charged);
            mark.charged = mark.charged.plus(due);
            due
        } else {
            Tokens::ZERO
        };
        self.charge(due)
    }

    /// Grants at most a quarter of the free balance, and at most a quarter of the window's remaining slots.
    pub fn lease(&mut self, now: Millis, orphans: Orphans, ask: &Ask<'_>) -> Grant {
        self.sweep(now, orphans);
        let left = self.left;
        let pace = |books: &Books| ask.window.map(|window| books.slices.pace(window, now));
        let before = self.books.leases.get(ask.instance);
        if let Some(lease) = before
            && lease.number >= ask.number
        {
            return Grant {
                tokens: lease.granted,
                slots: lease.slots,
                slots_for: lease.slots_until.minus(now),
                reserved: lease.amount,
                left,
                pace: pace(&self.books),
            };
        }
        let granted = ask.tokens.min(self.free().share(4));
        let amount = before
            .map_or(Tokens::ZERO, |lease| lease.amount)
            .plus(granted);
        let (slots, slots_until) = ask.window.map_or((0, now), |window| {
            let slots = ask.slots.min(self.books.slices.room(window, now) / 4);
            self.books.slices.count(window, slots, now);
            (slots, window.slice_end(now))
        });
        let lease = Lease {
            amount,
            expires: now.plus(ask.ttl),
            number: ask.number,
            granted,
            slots,
            slots_until,
            told: self.told(ask),
        };
        self.books.leases.insert(ask.instance.to_owned(), lease);
        Grant {
            tokens: granted,
            slots,
            slots_for: slots_until.minus(now),
            reserved: amount,
            left,
            pace: pace(&self.books),
        }
    }

    /// Returns the total spending of the instance that the store knows of before the grant.
    fn told(&self, ask: &Ask<'_>) -> Option<Tokens> {
        let lease = self.books.leases.get(ask.instance);
        let mark = self.books.marks.get(ask.instance);
        match (lease, mark) {
            (Some(lease), _) => lease.told,
            (None, Some(mark)) => mark.told,
            (None, None) => Some(ask.told),
        }
    }

    /// Charges an instance's spending, takes back unused balance and renews its lease. Numbered, so that a
    /// repeat does nothing.
    pub fn report(&mut self, now: Millis, orphans: Orphans, report: &Report<'_>) -> Reported {
        self.sweep(now, orphans);
        let settlement = self.charge_reported(now, report);
        if report.ends && report.spent.is_zero() {
            self.books.leases.remove(report.instance);
            self.books.marks.remove(report.instance);
        }
        let lease = self.books.leases.get(report.instance);
        Reported {
            settlement,
            reserved: lease.map_or(Tokens::ZERO, |lease| lease.amount),
        }
    }

    fn charge_reported(&mut self, now: Millis, report: &Report<'_>) -> Settlement {
        if let Some(lease) = self.books.leases.get_mut(report.instance) {
            if report.number <= lease.number {
                return self.charge(Tokens::ZERO);
            }
            let due = report.due(lease.told);
            lease.number = report.number;
            lease.told = report.told(lease.told);
            lease.amount = lease.amount.minus(due).minus(report.back);
            lease.expires = now.plus(report.ttl);
            self.charge(due)
        } else if let Some(mark) = self.books.marks.get_mut(report.instance) {
            if report.number <= mark.number {
                return self.charge(Tokens::ZERO);
            }
            let due = report.due(mark.told);
            let already = mark.charged.min(due);
            mark.number = report.number;
            mark.told = report.told(mark.told);
            mark.charged = mark.charged.minus(already);
            self.charge(due.minus(already))
        } else if let Some(begun) = report.begun.filter(|_| !report.ends) {
            // The lease was granted by a server that was replaced since. The mark makes a repeat of this
            // command do nothing.
            let mark = Mark {
                charged: Tokens::ZERO,
                expires: now.plus(MARK_TTL),
                number: report.number,
                told: report.told(None),
            };
            self.books.marks.insert(report.instance.to_owned(), mark);
            self.charge(report.spent.plus(begun))
        } else if report.retry {
            self.charge(Tokens::ZERO)
        } else {
            self.charge(report.spent)
        }
    }

    /// Adds `amount` to the balance, once per `id`.
    pub fn credit(&mut self, now: Millis, orphans: Orphans, id: &str, amount: Tokens) -> Credited {
        self.sweep(now, orphans);
        if self.books.credits.contains_key(id) {
            return Credited::Repeated { left: self.left };
        }
        if amount > Tokens::MAX.minus(self.left) {
            return Credited::TooMuch;
        }
        self.left = self.left.plus(amount);
        self.books
            .credits
            .insert(id.to_owned(), now.plus(CREDIT_MARK_TTL));
        Credited::Added { left: self.left }
    }

    /// Returns whether a lease or a mark of this name is known.
    #[cfg(test)]
    pub fn knows(&self, instance: &str) -> bool {
        let Books { leases, marks, .. } = &self.books;
        leases.contains_key(instance) || marks.contains_key(instance)
    }

    /// Returns the account as it would stand after a sweep, without changing it.
    pub fn look(&self, now: Millis, orphans: Orphans, window: Option<Window>) -> Look {
        let mut after = self.clone();
        after.sweep(now, orphans);
        Look {
            left: after.left,
            free: after.free(),
            overrun: after.books.overrun,
            pace: window.map(|window| after.books.slices.pace(window, now)),
        }
    }
}

impl Books {
    /// Returns the sum and the number of all encumbrances.
    pub(crate) fn promised(&self) -> Promised {
        Promised {
            tokens: self.claimed(),
            holds: self.holds.len(),
            leases: self.leases.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Books::default()
    }

    /// Returns the sum of all holds' `max` and all leases' `amount`.
    fn claimed(&self) -> Tokens {
        let holds: Tokens = self.holds.values().map(|hold| hold.max).sum();
        let leases: Tokens = self.leases.values().map(|lease| lease.amount).sum();
        holds.plus(leases)
    }
}

fn take_expired<T: Clone>(
    from: &mut BTreeMap<String, T>,
    expired: impl Fn(&T) -> bool,
) -> Vec<(String, T)> {
    if !from.values().any(&expired) {
        return Vec::new();
    }
    let (gone, kept) = std::mem::take(from)
        .into_iter()
        .partition(|(_, item)| expired(item));
    *from = kept;
    BTreeMap::into_iter(gone).collect()
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
