//! The books of one account ([`Account`]): its balance, its encumbrances, and the effect of every store verb.
//!
//! This is the specification. The embedded engine runs it, the Redis scripts repeat it, and one property test
//! drives both with the same histories.
//! This file must never know a clock, a store or a network: `now` is the store's time and comes in as an argument.
//! Invariant: no verb grants more than [`Account::free`].

use super::amount::{Millis, Tokens};
use super::carry::{Carry, Departure, Taken};
use super::issued_key::KeyId;
use super::payments::book::{Pay, PaymentBook};
use super::posting::{self, Cause, Posting, Reason, ReportLine, Tally};
use super::refill::Refill;
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
    /// Changes of the balance by the verbs since, for the engine to store in the same step.
    pub postings: Vec<Posting>,
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
    /// What each key with a bound of its own has spent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    by_key: BTreeMap<KeyId, Tokens>,
    /// Moment from which the next refill is due with the next period. `None`: the account's creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refilled: Option<Millis>,
    /// Set when the balance moves to a person's account: the key is unknown from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved: Option<Departure>,
    /// Set where the account began with a key whose balance moves here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carry: Option<Carry>,
    /// Hashes of the ID tokens that have created this account, with the moments when they are forgotten.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    founders: BTreeMap<String, Millis>,
    /// Set where the account was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remains: Option<Remains>,
    /// Other identities that lead here, with the moments when they were linked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    identities: BTreeMap<String, Millis>,
    /// Refresh token of Apple's sign-in, sealed; needed to end the sign-in when the account is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    apple: Option<String>,
    /// Latest posting of the ledger. `None`: the account has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tally: Option<Tally>,
}

/// What remains of a deleted account: the most that the same person begins with again before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remains {
    tokens: Tokens,
    until: Millis,
}

/// Encumbrance of one request: `max` is the most it can cost, `known` what it is known to have cost so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    max: Tokens,
    known: Tokens,
    expires: Millis,
    /// Key with a bound of its own that the request came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
}

/// Bound of a key, checked in the same step as the balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBound {
    pub id: KeyId,
    /// Most tokens that the key may spend, ever.
    pub most: Tokens,
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
    /// Bound of the key that the request came with. `None`: the whole balance is its.
    pub key: Option<KeyBound>,
    /// When the account was created, to the day; zero where its record does not say.
    pub created: Millis,
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
    /// An admin has suspended the account: 403 `account_blocked`.
    Suspended { left: Tokens, pace: Option<Pace> },
    /// What is left of the key's own bound does not cover `least`: 402 `key_limit`.
    KeySpent { left: Tokens, pace: Option<Pace> },
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
    /// What `spent` is the sum of, for the ledger.
    pub lines: &'a [ReportLine],
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

/// Change of a balance by an admin.
#[derive(Clone, Copy, Debug)]
pub struct Credit<'a> {
    /// A repeat with the same ID does nothing.
    pub id: &'a str,
    pub amount: Tokens,
    /// Whether it is taken from the balance.
    pub is_debit: bool,
    /// JSON object for the ledger; empty: none.
    pub note: &'a str,
}

impl<'a> Credit<'a> {
    /// Returns a credit without a note.
    pub fn of(id: &'a str, amount: Tokens) -> Credit<'a> {
        Credit {
            id,
            amount,
            is_debit: false,
            note: "",
        }
    }
}

/// Part of a balance that a request in flight or a lease of an instance holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// ID of the request, or name of the instance.
    pub id: String,
    pub is_lease: bool,
    /// Most that it can cost.
    pub most: Tokens,
    /// Cost that is known so far.
    pub known: Tokens,
    pub expires: Millis,
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
    /// The new balance would exceed [`Tokens::MAX`], or less is free than is to be taken: `room` could be.
    TooMuch {
        room: Tokens,
    },
}

/// The ID token has created this account before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed;

impl Account {
    pub fn new(left: Tokens, books: Books) -> Account {
        Account {
            left,
            books,
            postings: Vec::new(),
        }
    }

    /// Sets the balance, and posts the change.
    fn set_left(&mut self, now: Millis, left: Tokens, overrun: Tokens, cause: Cause<'_>) {
        let before = std::mem::replace(&mut self.left, left);
        let change = (before, left, overrun);
        posting::post(
            &mut self.books.tally,
            &mut self.postings,
            now,
            change,
            cause,
        );
    }

    /// Returns `left` minus all holds' `max` and all leases' `amount`.
    pub fn free(&self) -> Tokens {
        self.left.minus(self.books.claimed())
    }

    /// Takes at most `left`, so that `tokensLeft` never becomes negative. The missing part is an overrun: it
    /// is counted, never hidden.
    fn charge(&mut self, now: Millis, used: Tokens, cause: Cause<'_>) -> Settlement {
        let charged = used.min(self.left);
        let overrun = used.minus(charged);
        self.set_left(now, self.left.minus(charged), overrun, cause);
        self.books.overrun = self.books.overrun.plus(overrun);
        Settlement {
            charged,
            overrun,
            left: self.left,
        }
    }

    /// Charges a request, to its key too where that has a bound.
    fn charge_to(
        &mut self,
        now: Millis,
        key: Option<KeyId>,
        used: Tokens,
        cause: Cause<'_>,
    ) -> Settlement {
        if let Some(key) = key.filter(|_| !used.is_zero()) {
            let spent = self.books.by_key.entry(key).or_default();
            *spent = spent.plus(used);
        }
        self.charge(now, used, cause)
    }

    /// Raises the balance to the group's refill, once a period. Nothing is written where none is due.
    fn refill(&mut self, now: Millis, refill: Option<Refill>, created: Millis) {
        let Some(refill) = refill else { return };
        if refill.every.start(now) > self.books.refilled.unwrap_or(created) {
            let raised = self.left.max(refill.tokens);
            self.set_left(now, raised, Tokens::ZERO, Cause::of(Reason::Refilled, ""));
            self.books.refilled = Some(now);
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
            self.charge_to(now, hold.key, cost, Cause::of(Reason::Expired, &id));
            let mark = Mark {
                charged: cost,
                expires: until,
                number: 0,
                told: None,
                key: hold.key,
            };
            self.books.marks.insert(id, mark);
        }
        let leases = take_expired(&mut self.books.leases, |lease| lease.expires <= now);
        for (instance, lease) in leases {
            let cost = match orphans {
                Orphans::Known => Tokens::ZERO,
                Orphans::Spend => lease.amount,
            };
            self.charge(now, cost, Cause::of(Reason::Expired, &instance));
            let mark = Mark {
                charged: cost,
                expires: until,
                number: lease.number,
                told: lease.told,
                key: None,
            };
            self.books.marks.insert(instance, mark);
        }
        self.books.marks.retain(|_, mark| mark.expires > now);
        self.books.credits.retain(|_, expires| *expires > now);
        self.books.founders.retain(|_, expires| *expires > now);
    }

    /// Holds `most` (or more, see [`Admit::open`]) but never more than is free, or refuses.
    /// Checks in this order: repeated ID, settled ID, rate limit, balance below `least`, the key's own bound,
    /// concurrency limit, free balance.
    pub fn admit(&mut self, now: Millis, orphans: Orphans, ask: &Admit<'_>) -> Verdict {
        self.sweep(now, orphans);
        self.refill(now, ask.limits.refill, ask.created);
        let left = self.left;
        let Limits {
            window, concurrent, ..
        } = ask.limits;
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
        let (unspent, free) = self.of_key(ask.key);
        let in_flight = self.books.holds.len() as u64;
        let is_crowded = concurrent.is_some_and(|most| in_flight >= most);
        if is_crowded || free < ask.least {
            let pace = pace(&self.books);
            return if left < ask.least {
                Verdict::Spent { left, pace }
            } else if unspent < ask.least {
                Verdict::KeySpent { left, pace }
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
            key: ask.key.map(|key| key.id),
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

    /// Answers for a suspended account. What is granted or settled already is answered as [`Account::admit`] does.
    pub fn refuse(&mut self, now: Millis, orphans: Orphans, ask: &Admit<'_>) -> Verdict {
        self.sweep(now, orphans);
        self.refill(now, ask.limits.refill, ask.created);
        let books = &self.books;
        if books.holds.contains_key(ask.id) || books.marks.contains_key(ask.id) {
            return self.admit(now, orphans, ask);
        }
        let window = ask.limits.window;
        Verdict::Suspended {
            left: self.left,
            pace: window.map(|window| books.slices.pace(window, now)),
        }
    }

    /// Returns what a request with this key may still spend in all, and what of it is free now.
    fn of_key(&self, key: Option<KeyBound>) -> (Tokens, Tokens) {
        let free = self.free();
        let Some(KeyBound { id, most }) = key else {
            return (Tokens::MAX, free);
        };
        let unspent = most.minus(self.books.spent_by(id));
        (unspent, free.min(unspent.minus(self.books.held_by(id))))
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
    /// nor mark, a first try is charged, and a `retry` is not: the first try has been charged before. `note` goes into
    /// the ledger.
    pub fn settle(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        used: Tokens,
        retry: bool,
        note: &str,
    ) -> Settlement {
        self.sweep(now, orphans);
        let hold = self.books.holds.remove(id);
        let mark = self.books.marks.remove(id);
        let of_hold = hold.as_ref().and_then(|hold| hold.key);
        let key = of_hold.or(mark.as_ref().and_then(|mark| mark.key));
        let before = mark.as_ref().map_or(Tokens::ZERO, |mark| mark.charged);
        let due = if hold.is_some() || mark.is_some() || !retry {
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
                key,
            };
            self.books.marks.insert(id.to_owned(), mark);
        }
        let reason = Reason::Settled;
        self.charge_to(now, key, due, Cause { reason, id, note })
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
        note: &str,
    ) -> Settlement {
        self.sweep(now, orphans);
        let (key, due) = if let Some(hold) = self.books.holds.remove(id) {
            (hold.key, used)
        } else if let Some(mark) = self.books.marks.get_mut(id) {
            let due = used.minus(mark.charged);
            mark.charged = mark.charged.plus(due);
            (mark.key, due)
        } else {
            (None, Tokens::ZERO)
        };
        let reason = Reason::Settled;
        self.charge_to(now, key, due, Cause { reason, id, note })
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
        let may_grant = self.books.moved.is_none();
        let granted = ask.tokens.min(self.free().share(4));
        let granted = if may_grant { granted } else { Tokens::ZERO };
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
        let due = if let Some(lease) = self.books.leases.get_mut(report.instance) {
            if report.number <= lease.number {
                Tokens::ZERO
            } else {
                let due = report.due(lease.told);
                lease.number = report.number;
                lease.told = report.told(lease.told);
                lease.amount = lease.amount.minus(due).minus(report.back);
                lease.expires = now.plus(report.ttl);
                due
            }
        } else if let Some(mark) = self.books.marks.get_mut(report.instance) {
            if report.number <= mark.number {
                Tokens::ZERO
            } else {
                let due = report.due(mark.told);
                let already = mark.charged.min(due);
                mark.number = report.number;
                mark.told = report.told(mark.told);
                mark.charged = mark.charged.minus(already);
                due.minus(already)
            }
        } else if let Some(begun) = report.begun.filter(|_| !report.ends) {
            // The lease was granted by a server that was replaced since. The mark makes a repeat of this
            // command do nothing.
            let mark = Mark {
                charged: Tokens::ZERO,
                expires: now.plus(MARK_TTL),
                number: report.number,
                told: report.told(None),
                key: None,
            };
            self.books.marks.insert(report.instance.to_owned(), mark);
            report.spent.plus(begun)
        } else if report.retry {
            Tokens::ZERO
        } else {
            report.spent
        };
        self.charge_lines(now, due, report)
    }

    /// Charges `due` as the requests of the report: the last of them, where some was charged before; with a posting of
    /// the lease's own before them, where an earlier report is charged too.
    fn charge_lines(&mut self, now: Millis, due: Tokens, report: &Report<'_>) -> Settlement {
        let of_lines: Tokens = report.lines.iter().map(|line| line.cost).sum();
        let mut before = of_lines.minus(due);
        let lease = Cause::of(Reason::Settled, report.instance);
        let mut all = self.charge(now, due.minus(of_lines), lease);
        for line in report.lines {
            let already = line.cost.min(before);
            before = before.minus(already);
            let cause = Cause {
                reason: Reason::Settled,
                id: &line.id,
                note: &line.note,
            };
            let charged = self.charge(now, line.cost.minus(already), cause);
            all = Settlement {
                charged: all.charged.plus(charged.charged),
                overrun: all.overrun.plus(charged.overrun),
                left: charged.left,
            };
        }
        all
    }

    /// Brings the balance up to date, and changes it where there is a `credit`.
    pub fn amend(
        &mut self,
        now: Millis,
        orphans: Orphans,
        credit: Option<&Credit<'_>>,
    ) -> Credited {
        if let Some(credit) = credit {
            return self.credit(now, orphans, credit);
        }
        self.sweep(now, orphans);
        Credited::Added { left: self.left }
    }

    /// Adds to the balance or takes from it, once per ID. Only what is free is taken.
    pub fn credit(&mut self, now: Millis, orphans: Orphans, credit: &Credit<'_>) -> Credited {
        self.sweep(now, orphans);
        let Credit {
            id, amount, note, ..
        } = *credit;
        if self.books.credits.contains_key(id) {
            return Credited::Repeated { left: self.left };
        }
        let (room, reason) = match credit.is_debit {
            true => (self.free(), Reason::Debited),
            false => (Tokens::MAX.minus(self.left), Reason::Credited),
        };
        if amount > room {
            return Credited::TooMuch { room };
        }
        let left = match credit.is_debit {
            true => self.left.minus(amount),
            false => self.left.plus(amount),
        };
        self.set_left(now, left, Tokens::ZERO, Cause { reason, id, note });
        self.books
            .credits
            .insert(id.to_owned(), now.plus(CREDIT_MARK_TTL));
        Credited::Added { left }
    }

    /// Adds to the balance what payments grant, and takes back what they no longer do, as far as it is left. Returns the
    /// tokens that could not be taken back, in all, and the overrun that these count.
    pub(crate) fn adjust(
        &mut self,
        now: Millis,
        orphans: Orphans,
        book: &PaymentBook,
        pay: &Pay,
    ) -> (Tokens, Tokens) {
        self.sweep(now, orphans);
        let (before, after) = pay.back;
        // What requests in flight held was taken back too, and they have used it all the same.
        let used = self.books.overrun.minus(book.overrun);
        let mut short = book.short.plus(used.min(before.minus(book.short)));
        let gained = self.left.plus(pay.gain);
        let mut change = |left: Tokens, reason| {
            self.set_left(now, left, Tokens::ZERO, Cause::of(reason, &pay.cause));
            left
        };
        let left = change(gained, Reason::Granted);
        let taken = after.minus(before).min(left);
        let left = change(left.minus(taken), Reason::TakenBack);
        short = short.plus(after.minus(before).minus(taken));
        let given = before.minus(after);
        let filled = given.min(short);
        change(left.plus(given.minus(filled)), Reason::GivenBack);
        (short.minus(filled), self.books.overrun)
    }

    /// Takes what is free for the account `to`, `most` in all, and closes this one: no new request is admitted. What
    /// requests in flight free later is taken by a repeat.
    pub fn take(&mut self, now: Millis, orphans: Orphans, to: &str, most: Tokens) -> Taken {
        self.sweep(now, orphans);
        let free = self.free();
        let Some(amount) = Departure::take(&mut self.books.moved, to, most, free) else {
            return Taken::Refused;
        };
        let to = to.strip_prefix("user:").unwrap_or(to);
        let left = self.left.minus(amount);
        self.set_left(now, left, Tokens::ZERO, Cause::of(Reason::Carried, to));
        let moved = self.books.moved.as_ref();
        Taken::Took {
            total: moved.map_or(Tokens::ZERO, Departure::taken),
            is_over: self.books.holds.is_empty() && self.books.leases.is_empty(),
        }
    }

    /// Adds what has left the account `from` in all and is not here yet. Does nothing for any other account than the
    /// one that this account began with. Returns the sum that has come from it.
    pub fn receive(&mut self, now: Millis, from: &str, total: Tokens, is_over: bool) -> Tokens {
        let room = Tokens::MAX.minus(self.left);
        let carry = self.books.carry.as_mut();
        let Some(carry) = carry.filter(|carry| carry.from == from) else {
            return Tokens::ZERO;
        };
        let arrives = carry.receive(total, room, is_over);
        let received = carry.received;
        // The name of the account that it came from is a key.
        let id = KeyId::of_name(from).to_string();
        let left = self.left.plus(arrives);
        self.set_left(now, left, Tokens::ZERO, Cause::of(Reason::Carried, &id));
        received
    }

    /// Does what every verb does first, and refills, so that the ledger has all that is due.
    pub fn bring_up_to_date(
        &mut self,
        now: Millis,
        orphans: Orphans,
        limits: Limits,
        created: Millis,
    ) {
        self.sweep(now, orphans);
        self.refill(now, limits.refill, created);
    }

    /// Returns whether a lease or a mark of this name is known.
    #[cfg(test)]
    pub fn knows(&self, instance: &str) -> bool {
        let Books { leases, marks, .. } = &self.books;
        leases.contains_key(instance) || marks.contains_key(instance)
    }

    /// Returns the account as it would stand after a sweep, without changing it.
    pub fn look(&self, now: Millis, orphans: Orphans, limits: Limits, created: Millis) -> Look {
        let mut after = self.clone();
        after.sweep(now, orphans);
        after.refill(now, limits.refill, created);
        let window = limits.window;
        Look {
            left: after.left,
            free: after.free(),
            overrun: after.books.overrun,
            pace: window.map(|window| after.books.slices.pace(window, now)),
        }
    }
}

impl Books {
    /// Begins the books of a person's account. `Err`: the ID token has created this account before, and does not do
    /// it again. Returns the most tokens that it may begin with: fewer where the person had deleted an account.
    pub(crate) fn found(
        &mut self,
        now: Millis,
        token: Option<(&str, Millis)>,
        carry: Option<(&str, Tokens)>,
    ) -> Result<Tokens, Replayed> {
        self.founders.retain(|_, expires| *expires > now);
        if let Some((hash, until)) = token {
            if self.founders.contains_key(hash) {
                return Err(Replayed);
            }
            self.founders.insert(hash.to_owned(), until);
        }
        self.refilled = Some(now);
        let remains = self.remains.take().filter(|remains| remains.until > now);
        // Who comes back brings nothing along: else deleting an account would be a way to carry over again.
        let carry = carry.filter(|_| remains.is_none());
        self.carry = carry.map(|(from, most)| Carry {
            from: from.to_owned(),
            most,
            received: Tokens::ZERO,
            is_over: false,
        });
        Ok(remains.map_or(Tokens::MAX, |remains| remains.tokens))
    }

    /// Notes what a sign-in brings: an identity that leads here, Apple's refresh token.
    pub(crate) fn note_sign_in(
        &mut self,
        now: Millis,
        identity: Option<&str>,
        apple: Option<&str>,
    ) {
        if let Some(identity) = identity {
            self.identities.entry(identity.to_owned()).or_insert(now);
        }
        if let Some(apple) = apple {
            self.apple = Some(apple.to_owned());
        }
    }

    /// Returns the latest posting of the ledger.
    pub fn tally(&self) -> Option<Tally> {
        self.tally
    }

    /// Returns the other identities that lead here.
    pub(crate) fn identities(&self) -> Vec<String> {
        self.identities.keys().cloned().collect()
    }

    pub(crate) fn apple(&self) -> Option<&String> {
        self.apple.as_ref()
    }

    /// Returns what remains of a deleted account: what the person may have who comes back, and which ID tokens create
    /// nothing again.
    pub(crate) fn erased(self, tokens: Tokens, until: Millis) -> Books {
        Books {
            founders: self.founders,
            remains: Some(Remains { tokens, until }),
            ..Books::default()
        }
    }

    /// Returns when nothing of a deleted account counts any more.
    pub fn remains_until(&self) -> Millis {
        let founders = self.founders.values().copied();
        let remains = self.remains.map(|remains| remains.until);
        founders.chain(remains).max().unwrap_or_default()
    }

    /// Whether the balance has left for another account.
    pub(crate) fn has_left(&self) -> bool {
        self.moved.is_some()
    }

    /// Returns the balance that has not all arrived yet.
    pub(crate) fn pending_carry(&self) -> Option<&Carry> {
        self.carry.as_ref().filter(|carry| !carry.is_over)
    }

    /// Changes the name that a balance arrives from, where `new` has another one.
    pub(crate) fn rename_carry(&mut self, new: impl Fn(&str) -> Option<String>) {
        if let Some(carry) = &mut self.carry
            && let Some(name) = new(&carry.from)
        {
            carry.from = name;
        }
    }

    /// Puts the next refill off to the next period.
    pub(crate) fn put_off_refill(&mut self, now: Millis) {
        self.refilled = Some(now);
    }

    /// Returns what holds part of the balance.
    pub fn claims(&self) -> Vec<Claim> {
        let holds = self.holds.iter().map(|(id, hold)| Claim {
            id: id.clone(),
            is_lease: false,
            most: hold.max,
            known: hold.known,
            expires: hold.expires,
        });
        let leases = self.leases.iter().map(|(instance, lease)| Claim {
            id: instance.clone(),
            is_lease: true,
            most: lease.amount,
            known: Tokens::ZERO,
            expires: lease.expires,
        });
        holds.chain(leases).collect()
    }

    /// Returns what a key with a bound has spent.
    pub(crate) fn spent_by(&self, key: KeyId) -> Tokens {
        self.by_key.get(&key).copied().unwrap_or_default()
    }

    /// Returns what the requests in flight of a key with a bound hold.
    pub(crate) fn held_by(&self, key: KeyId) -> Tokens {
        let holds = self.holds.values();
        let of_key = holds.filter(|hold| hold.key == Some(key));
        of_key.map(|hold| hold.max).sum()
    }

    pub(crate) fn forget_key(&mut self, key: KeyId) {
        self.by_key.remove(&key);
    }

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
