//! The books of one account: what is left, what is promised, and what every verb does to them.
//!
//! This is the specification. The embedded engine runs it; the Redis scripts repeat it, and one
//! property test drives both with the same histories. It knows no clock, no store and no network:
//! `now` is the store's time and comes in as a value. Nothing is ever granted beyond what is free.

use super::amount::{Millis, Tokens};
use super::window::{Pace, Slices, Window};
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
    pub window: Option<Window>,
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
        let pace = |books: &Books| ask.window.map(|window| books.slices.pace(window, now));
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
        if let Some(window) = ask.window
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
        if free < ask.least {
            let pace = pace(&self.books);
            return if left < ask.least {
                Admission::Spent { left, pace }
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
        if let Some(window) = ask.window {
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
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000_000);
    const TTL: Millis = Millis(60_000);

    fn account(left: u64) -> Account {
        Account {
            left: Tokens::new(left),
            books: Books::default(),
        }
    }

    fn ask(id: &str, least: u64, most: u64) -> Admit<'_> {
        Admit {
            id,
            least: Tokens::new(least),
            most: Tokens::new(most),
            open: Tokens::ZERO,
            known: Tokens::new(least),
            window: None,
            ttl: TTL,
        }
    }

    fn held(admission: Admission) -> u64 {
        match admission {
            Admission::Granted { held, .. } => held.count(),
            other => panic!("not held: {other:?}"),
        }
    }

    #[test]
    fn holds_never_promise_more_than_there_is() {
        let mut account = account(100);
        assert_eq!(
            held(account.admit(NOW, Orphans::Known, &ask("a", 10, 70))),
            70
        );
        assert_eq!(
            held(account.admit(NOW, Orphans::Known, &ask("b", 10, 70))),
            30
        );
        let refused = account.admit(NOW, Orphans::Known, &ask("c", 10, 70));
        assert!(matches!(refused, Admission::Held { .. }));
        let spent = account.admit(NOW, Orphans::Known, &ask("d", 101, 200));
        assert!(matches!(spent, Admission::Spent { .. }));
        assert_eq!(account.left, Tokens::new(100));
    }

    #[test]
    fn a_call_without_a_limit_may_have_a_quarter_of_what_is_free() {
        let mut account = account(1000);
        let open = Admit {
            open: Tokens::MAX,
            ..ask("a", 20, 100)
        };
        assert_eq!(held(account.admit(NOW, Orphans::Known, &open)), 270);
        let open = Admit {
            open: Tokens::MAX,
            ..ask("b", 20, 500)
        };
        assert_eq!(held(account.admit(NOW, Orphans::Known, &open)), 500);
        let capped = Admit {
            open: Tokens::new(60),
            ..ask("c", 20, 50)
        };
        assert_eq!(held(account.admit(NOW, Orphans::Known, &capped)), 60);
    }

    #[test]
    fn the_same_request_twice_is_one_hold() {
        let mut account = account(100);
        let mut request = ask("a", 10, 70);
        request.window = Some(Window {
            requests: 1,
            span: Millis(1000),
        });
        assert_eq!(held(account.admit(NOW, Orphans::Known, &request)), 70);
        assert_eq!(held(account.admit(NOW, Orphans::Known, &request)), 70);
        assert_eq!(account.free(), Tokens::new(30));
    }

    #[test]
    fn a_refused_call_takes_no_hold_and_no_place_in_the_window() {
        let mut account = account(5);
        let mut request = ask("a", 10, 70);
        request.window = Some(Window {
            requests: 1,
            span: Millis(1000),
        });
        account.admit(NOW, Orphans::Known, &request);
        assert!(account.books.is_empty());
    }

    #[test]
    fn a_settlement_is_charged_once() {
        let mut account = account(100);
        account.admit(NOW, Orphans::Known, &ask("a", 10, 70));
        let first = account.settle(NOW, Orphans::Known, "a", Tokens::new(25), false);
        assert_eq!((first.charged.count(), first.left.count()), (25, 75));
        let again = account.settle(NOW, Orphans::Known, "a", Tokens::new(25), true);
        assert_eq!((again.charged.count(), again.left.count()), (0, 75));
        assert_eq!(account.free(), Tokens::new(75));
    }

    #[test]
    fn a_command_that_arrives_after_its_repeat_does_nothing() {
        let mut account = account(100);
        account.admit(NOW, Orphans::Known, &ask("a", 10, 70));
        for retry in [true, false, true] {
            let settled = account.settle(NOW, Orphans::Known, "a", Tokens::new(25), retry);
            assert_eq!(settled.left.count(), 75);
        }
        let late = account.admit(NOW, Orphans::Known, &ask("a", 10, 70));
        assert!(matches!(late, Admission::Held { .. }));
        assert_eq!(account.free().count(), 75);
    }

    #[test]
    fn an_orphan_is_charged_as_the_operator_chose_and_a_late_settlement_only_adds_the_rest() {
        for (orphans, at_expiry, after) in [(Orphans::Known, 90, 75), (Orphans::Spend, 30, 30)] {
            let mut account = account(100);
            account.admit(NOW, orphans, &ask("a", 10, 70));
            let later = NOW.plus(TTL);
            assert_eq!(account.look(later, orphans, None).left.count(), at_expiry);
            let late = account.settle(later, orphans, "a", Tokens::new(25), false);
            assert_eq!(late.left.count(), after);
            let again = account.settle(later, orphans, "a", Tokens::new(25), true);
            assert_eq!(again.left.count(), after);
        }
    }

    #[test]
    fn an_overrun_is_counted_and_the_balance_stays_at_nothing() {
        let mut account = account(10);
        account.admit(NOW, Orphans::Known, &ask("a", 1, 10));
        let settled = account.settle(NOW, Orphans::Known, "a", Tokens::new(25), false);
        assert_eq!((settled.charged.count(), settled.overrun.count()), (10, 15));
        assert_eq!(account.look(NOW, Orphans::Known, None).overrun.count(), 15);
    }

    #[test]
    fn a_lease_takes_a_quarter_at_most_and_its_repeat_takes_nothing() {
        let mut account = account(100);
        let ask = Ask {
            instance: "i",
            number: 1,
            tokens: Tokens::new(1000),
            slots: 0,
            window: None,
            ttl: TTL,
            told: Tokens::ZERO,
        };
        assert_eq!(account.lease(NOW, Orphans::Known, &ask).tokens.count(), 25);
        assert_eq!(account.lease(NOW, Orphans::Known, &ask).tokens.count(), 25);
        assert_eq!(account.free().count(), 75);
        let report = Report {
            instance: "i",
            number: 2,
            spent: Tokens::new(10),
            back: Tokens::new(15),
            ttl: TTL,
            retry: false,
            ends: false,
            before: None,
            begun: None,
        };
        account.report(NOW, Orphans::Known, &report);
        account.report(NOW, Orphans::Known, &report);
        assert_eq!((account.left.count(), account.free().count()), (90, 90));
        let end = Report {
            number: 3,
            spent: Tokens::ZERO,
            ends: true,
            ..report
        };
        account.report(NOW, Orphans::Known, &end);
        assert!(account.books.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn a_report_after_its_lease_expired_charges_what_was_not_charged_then() {
        for (orphans, left) in [(Orphans::Known, 90), (Orphans::Spend, 75)] {
            let mut account = account(100);
            let ask = Ask {
                instance: "i",
                number: 1,
                tokens: Tokens::new(25),
                slots: 0,
                window: None,
                ttl: TTL,
                told: Tokens::ZERO,
            };
            account.lease(NOW, orphans, &ask);
            let report = Report {
                instance: "i",
                number: 2,
                spent: Tokens::new(10),
                back: Tokens::ZERO,
                ttl: TTL,
                retry: false,
                ends: false,
                before: None,
                begun: None,
            };
            account.report(NOW.plus(TTL), orphans, &report);
            account.report(NOW.plus(TTL), orphans, &report);
            assert_eq!(account.left.count(), left);
        }
    }

    #[test]
    fn a_settlement_said_again_is_charged_where_its_hold_is_back_and_leaves_nothing() {
        let mut account = account(100);
        account.admit(NOW, Orphans::Known, &ask("a", 10, 70));
        let mut older = account.clone();
        account.settle(NOW, Orphans::Known, "a", Tokens::new(25), false);
        for account in [&mut account, &mut older] {
            for _ in 0..2 {
                account.resettle(NOW, Orphans::Known, "a", Tokens::new(25));
                assert_eq!(account.left.count(), 75);
                assert!(account.books.is_empty());
            }
        }
    }

    #[test]
    fn a_settlement_said_again_after_its_hold_expired_is_charged_the_rest_and_once() {
        for (orphans, left) in [(Orphans::Known, 75), (Orphans::Spend, 30)] {
            let mut account = account(100);
            account.admit(NOW, orphans, &ask("a", 10, 70));
            for _ in 0..2 {
                account.resettle(NOW.plus(TTL), orphans, "a", Tokens::new(25));
                assert_eq!(account.left.count(), left);
            }
        }
    }

    fn lent(tokens: u64) -> Ask<'static> {
        Ask {
            instance: "i",
            number: 1,
            tokens: Tokens::new(tokens),
            slots: 0,
            window: None,
            ttl: TTL,
            told: Tokens::ZERO,
        }
    }

    fn spent(number: u64, spent: u64, before: u64) -> Report<'static> {
        Report {
            instance: "i",
            number,
            spent: Tokens::new(spent),
            back: Tokens::ZERO,
            ttl: TTL,
            retry: false,
            ends: false,
            before: Some(Tokens::new(before)),
            begun: None,
        }
    }

    #[test]
    fn the_next_report_charges_all_that_was_forgotten() {
        let mut account = account(400);
        account.lease(NOW, Orphans::Known, &lent(100));
        account.report(NOW, Orphans::Known, &spent(2, 10, 0));
        let mut older = account.clone();
        for (number, before) in [(3, 10), (4, 20), (5, 30)] {
            account.report(NOW, Orphans::Known, &spent(number, 10, before));
        }
        // It may ask for more before it reports.
        let ask = Ask {
            number: 6,
            ..lent(0)
        };
        for account in [&mut account, &mut older] {
            account.lease(NOW, Orphans::Known, &ask);
            for _ in 0..2 {
                account.report(NOW, Orphans::Known, &spent(7, 5, 40));
                assert_eq!(account.left.count(), 355);
            }
        }
        assert_eq!(older, account);
        let late = NOW.plus(TTL);
        older.report(late, Orphans::Known, &spent(9, 1, 60));
        assert_eq!(older.left.count(), 339, "its lease has expired meanwhile");
    }

    #[test]
    fn a_lease_that_was_forgotten_whole_is_charged_once_and_has_nothing_set_aside() {
        let mut account = account(400);
        let report = Report {
            begun: Some(Tokens::new(30)),
            retry: true,
            ..spent(7, 5, 90)
        };
        for _ in 0..2 {
            let reported = account.report(NOW, Orphans::Known, &report);
            assert_eq!(account.left.count(), 365);
            assert_eq!(reported.reserved, Tokens::ZERO);
        }
        let ask = Ask {
            number: 8,
            told: Tokens::new(95),
            ..lent(10)
        };
        account.lease(NOW, Orphans::Known, &ask);
        account.report(NOW, Orphans::Known, &spent(9, 5, 95));
        assert_eq!(account.left.count(), 360);
        let end = Report {
            ends: true,
            ..spent(10, 0, 100)
        };
        account.report(NOW, Orphans::Known, &end);
        assert!(account.books.is_empty(), "nothing is kept of it");
    }

    #[test]
    fn a_credit_counts_once() {
        let mut account = account(100);
        account.credit(NOW, Orphans::Known, "c", Tokens::new(50));
        let again = account.credit(NOW, Orphans::Known, "c", Tokens::new(50));
        assert_eq!(
            again,
            Credited::Repeated {
                left: Tokens::new(150)
            }
        );
        assert_eq!(
            account.credit(NOW, Orphans::Known, "d", Tokens::MAX),
            Credited::TooMuch
        );
    }
}
