//! The books of one account: what is left, what is promised, and what every verb does to them.
//!
//! This is the specification. The embedded engine runs it; the Redis scripts repeat it, and one
//! property test drives both with the same histories. It knows no clock, no store and no network:
//! `now` is the store's time and comes in as a value. Nothing is ever granted beyond what is free.

use super::amount::{Millis, Tokens};
use super::window::{Limits, Pace, Slices, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a swept hold or lease, or an applied credit, is remembered for a late repeat.
pub const MARK_LIFE: Millis = Millis(86_400_000);
pub const CREDIT_MARK_LIFE: Millis = Millis(90 * 86_400_000);

/// What an expired hold or lease is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// What it is known to have cost. The default.
    Known,
    /// All of it: not even a crash lets a key have one token more than its balance.
    Spend,
}

/// The balance, and all that is promised of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Granted minus settled. Lives in the record's text.
    pub left: Tokens,
    /// Lives beside the record.
    pub books: Books,
}

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

/// What one request may cost, and is known to have cost so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    max: Tokens,
    known: Tokens,
    expires: Millis,
}

/// Balance that one instance may spend without asking. `number` is that of its latest command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    amount: Tokens,
    expires: Millis,
    number: u64,
    granted: Tokens,
    slots: u64,
    /// The end of the slice that the slots were taken from.
    #[serde(default)]
    slots_until: Millis,
    /// All that its instance has said it spent, with this lease and those before it of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<Tokens>,
}

/// What was charged for something that expired, kept for the late settlement. `number` and `told` are
/// those of the lease; holds have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    charged: Tokens,
    expires: Millis,
    #[serde(default)]
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<Tokens>,
}

#[derive(Clone, Debug)]
pub struct Admit<'a> {
    /// The request's ID. The same ID again gets the same answer.
    pub id: &'a str,
    /// A minimal answer: below this the request is refused.
    pub least: Tokens,
    /// The most it can cost.
    pub most: Tokens,
    /// Without a limit of its own it may have a quarter of what is free, if that is more than `most`,
    /// up to this. Nought where it has a limit.
    pub open: Tokens,
    /// What it is known to cost once forwarded.
    pub known: Tokens,
    pub limits: Limits,
    pub ttl: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Granted {
        held: Tokens,
        left: Tokens,
        pace: Option<Pace>,
    },
    /// The balance does not cover a minimal answer.
    Spent { left: Tokens, pace: Option<Pace> },
    /// It would, were requests in flight not holding it.
    Held { left: Tokens, pace: Option<Pace> },
    /// As many requests are in flight as may be.
    Crowded { left: Tokens, pace: Option<Pace> },
    Limited {
        wait: Millis,
        left: Tokens,
        pace: Pace,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub charged: Tokens,
    /// Used, but no longer there to be charged: an estimate was too low.
    pub overrun: Tokens,
    pub left: Tokens,
}

#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub instance: &'a str,
    pub number: u64,
    pub tokens: Tokens,
    pub slots: u64,
    pub window: Option<Window>,
    pub ttl: Millis,
    /// All that reports have said was spent, where no lease is known yet.
    pub told: Tokens,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    pub tokens: Tokens,
    pub slots: u64,
    /// Slots lapse with their slice: so long from now.
    pub slots_for: Millis,
    /// All that the lease holds now.
    pub reserved: Tokens,
    pub left: Tokens,
    pub pace: Option<Pace>,
}

#[derive(Clone, Debug)]
pub struct Report<'a> {
    pub instance: &'a str,
    pub number: u64,
    pub spent: Tokens,
    pub back: Tokens,
    pub ttl: Millis,
    pub retry: bool,
    /// The lease is over, where nothing was spent with this. No mark is kept of it.
    pub ends: bool,
    /// All that earlier reports have said was spent, and were answered: what the store has forgotten of
    /// that is charged too. `None`: nobody knows.
    pub before: Option<Tokens>,
    /// The server behind the store was replaced: how much of `before` was of this very lease. If it is not
    /// known here at all, neither was any of that charged.
    pub begun: Option<Tokens>,
}

impl Report<'_> {
    /// What is to be charged where the store knows of this much.
    fn due(&self, told: Option<Tokens>) -> Tokens {
        let forgotten = match (self.before, told) {
            (Some(before), Some(told)) => before.minus(told),
            _ => Tokens::ZERO,
        };
        self.spent.plus(forgotten)
    }

    /// What the store knows of after it.
    fn told(&self, told: Option<Tokens>) -> Option<Tokens> {
        self.before.or(told).map(|before| before.plus(self.spent))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    pub settlement: Settlement,
    /// All that the lease holds now.
    pub reserved: Tokens,
}

/// A look at the account that changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub left: Tokens,
    pub free: Tokens,
    pub overrun: Tokens,
    pub pace: Option<Pace>,
}

/// The promises of an account, those that have run out included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    pub tokens: Tokens,
    pub holds: usize,
    pub leases: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credited {
    Added {
        left: Tokens,
    },
    /// The same credit was applied before.
    Repeated {
        left: Tokens,
    },
    /// The balance cannot hold it.
    TooMuch,
}

impl Account {
    /// What nothing in flight has a claim on.
    pub fn free(&self) -> Tokens {
        self.left.minus(self.books.claimed())
    }

    /// `tokensLeft`, never below nothing. What is missing is an overrun: counted, never hidden.
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

    /// Ends what has expired. Part of every verb.
    fn sweep(&mut self, now: Millis, orphans: Orphans) {
        let until = now.plus(MARK_LIFE);
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

    pub fn admit(&mut self, now: Millis, orphans: Orphans, ask: &Admit<'_>) -> Admission {
        self.sweep(now, orphans);
        let left = self.left;
        let Limits { window, concurrent } = ask.limits;
        let pace = |books: &Books| window.map(|window| books.slices.pace(window, now));
        if let Some(hold) = self.books.holds.get(ask.id) {
            return Admission::Granted {
                held: hold.max,
                left,
                pace: pace(&self.books),
            };
        }
        // It was settled before it arrived: nobody waits for it, and nobody would end its hold.
        if self.books.marks.contains_key(ask.id) {
            let pace = pace(&self.books);
            return Admission::Held { left, pace };
        }
        if let Some(window) = window
            && self.books.slices.room(window, now) == 0
        {
            let wait = self.books.slices.wait(window, now);
            return Admission::Limited {
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
                Admission::Spent { left, pace }
            } else if is_crowded {
                Admission::Crowded { left, pace }
            } else {
                Admission::Held { left, pace }
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
        Admission::Granted {
            held,
            left,
            pace: pace(&self.books),
        }
    }

    /// A live request's heartbeat. False: its hold is gone, and it must end.
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
        // Where there is a retry there is a first command somewhere, which may still arrive: it must
        // find that all is done. So may the admission itself.
        if retry {
            let mark = Mark {
                charged: before.max(used),
                expires: now.plus(MARK_LIFE),
                number: 0,
                told: None,
            };
            self.books.marks.insert(id.to_owned(), mark);
        }
        self.charge(due)
    }

    /// A settlement that was answered once, said again because the server that did so was replaced. Its
    /// hold is there only if it was forgotten. No first command is on its way, so no mark is left.
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

    /// Grants a part of free, a quarter at most, and slots of the current slice.
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

    /// What the store knows that an instance has spent, before it is granted more.
    fn told(&self, ask: &Ask<'_>) -> Option<Tokens> {
        let lease = self.books.leases.get(ask.instance);
        let mark = self.books.marks.get(ask.instance);
        match (lease, mark) {
            (Some(lease), _) => lease.told,
            (None, Some(mark)) => mark.told,
            (None, None) => Some(ask.told),
        }
    }

    /// What an instance spent from its lease and gives back; numbered, so that a repeat does nothing.
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
            // It was granted by a server that is no more. The mark is for a repeat of this command.
            let mark = Mark {
                charged: Tokens::ZERO,
                expires: now.plus(MARK_LIFE),
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

    /// Adds to the balance, once per ID.
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
            .insert(id.to_owned(), now.plus(CREDIT_MARK_LIFE));
        Credited::Added { left: self.left }
    }

    /// A lease of that name is known, or was.
    #[cfg(test)]
    pub fn knows(&self, instance: &str) -> bool {
        let Books { leases, marks, .. } = &self.books;
        leases.contains_key(instance) || marks.contains_key(instance)
    }

    /// As it would stand after a sweep, without one.
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
    /// What is promised, to how many.
    pub fn promised(&self) -> Promised {
        Promised {
            tokens: self.claimed(),
            holds: self.holds.len(),
            leases: self.leases.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Books::default()
    }

    /// What holds and leases may still take.
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
