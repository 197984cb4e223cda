//! The protocol of holds and leases, driven through random histories of several instances: lost
//! replies, repeated and late commands, heartbeats, crashes, instances cut off from the store, starts
//! that settle from a journal. What must hold is the promise, not any single answer.

use super::account::{Account, Admission, Admit, Ask, Books, Orphans, Report, Reported};
use super::amount::{Millis, Tokens};
use super::purse::{Command, Purse};
use proptest::prelude::*;

const GRANT: u64 = 300;
const TTL: u64 = 60;
/// An instance ends a request so long before its hold does.
const MARGIN: u64 = 2;
/// A purse is spent from for so long after the store was last heard, and its lease lives a hold longer.
const FRESH: u64 = TTL / 3;

#[derive(Clone, Debug)]
enum Step {
    /// A request comes to an instance; the reply to its admission may be lost, and is asked for again.
    Begin {
        instance: usize,
        least: u64,
        more: u64,
        lost: bool,
    },
    /// The same, held against the instance's purse if that covers it.
    BeginLeased {
        instance: usize,
        least: u64,
        more: u64,
    },
    /// A purse says what it has to say; the answer may be lost.
    Attend {
        instance: usize,
        lost: bool,
    },
    /// A purse says that it gives everything back.
    GiveBack {
        instance: usize,
        lost: bool,
    },
    /// The provider serves a request that is covered.
    Serve {
        at: usize,
        tokens: u64,
    },
    Renew {
        at: usize,
        lost: bool,
    },
    /// What was served is settled; a lost reply is repeated, and the first command may arrive last.
    Settle {
        at: usize,
        lost: bool,
        first_arrives_last: bool,
    },
    /// An instance dies. Its next start may find a journal that knows this much of what it served.
    Crash {
        instance: usize,
        journal: Option<u64>,
    },
    CutOff {
        instance: usize,
        away: bool,
    },
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..3, 1u64..60, 0u64..200, any::<bool>())
            .prop_map(|(instance, least, more, lost)| Step::Begin { instance, least, more, lost }),
        8 => (0usize..3, 1u64..5, 0u64..5)
            .prop_map(|(instance, least, more)| Step::BeginLeased { instance, least, more }),
        8 => (0usize..3, any::<bool>()).prop_map(|(instance, lost)| Step::Attend { instance, lost }),
        1 => (0usize..3, any::<bool>()).prop_map(|(instance, lost)| Step::GiveBack { instance, lost }),
        8 => (0usize..12, 1u64..80).prop_map(|(at, tokens)| Step::Serve { at, tokens }),
        4 => (0usize..12, any::<bool>()).prop_map(|(at, lost)| Step::Renew { at, lost }),
        5 => (0usize..12, any::<bool>(), any::<bool>())
            .prop_map(|(at, lost, first_arrives_last)| Step::Settle { at, lost, first_arrives_last }),
        1 => (0usize..3, proptest::option::of(0u64..200))
            .prop_map(|(instance, journal)| Step::Crash { instance, journal }),
        1 => (0usize..3, any::<bool>()).prop_map(|(instance, away)| Step::CutOff { instance, away }),
        5 => prop_oneof![9 => 0u64..50, 1 => 900u64..3_000].prop_map(|millis| Step::Wait { millis }),
    ]
}

struct Request {
    id: String,
    instance: usize,
    /// It is held against the instance's purse.
    leased: bool,
    held: u64,
    served: u64,
    known: u64,
    /// By the instance's own reckoning.
    covered_until: u64,
    /// By the store's.
    expires: u64,
    /// Its hold ran out while it was open: its instance did not reach the store in time.
    lapsed: bool,
}

/// An instance's purse, what came out of it, and what the store has charged for it.
#[derive(Default)]
struct Purses {
    purse: Purse,
    name: String,
    served: u64,
    charged: u64,
    /// By the store's reckoning; nought: there is none.
    expires: u64,
}

struct World {
    purses: [Purses; 3],
    account: Account,
    orphans: Orphans,
    now: u64,
    away: [bool; 3],
    open: Vec<Request>,
    served: u64,
    /// Served by instances that died or did not reach the store in time, and not known to anyone at
    /// that moment.
    unreported: u64,
    crashed: bool,
    count: u64,
}

fn ask(id: &str, least: u64, more: u64) -> Admit<'_> {
    Admit {
        id,
        least: Tokens::new(least),
        most: Tokens::new(least + more),
        open: Tokens::ZERO,
        known: Tokens::ZERO,
        window: None,
        ttl: Millis(TTL),
    }
}

impl World {
    fn new(orphans: Orphans) -> World {
        World {
            purses: std::array::from_fn(|at| Purses {
                name: format!("lease-{at}"),
                ..Purses::default()
            }),
            account: Account {
                left: Tokens::new(GRANT),
                books: Books::default(),
            },
            orphans,
            now: 1_000_000,
            away: [false; 3],
            open: Vec::new(),
            served: 0,
            unreported: 0,
            crashed: false,
            count: 0,
        }
    }

    fn time(&self) -> Millis {
        Millis(self.now)
    }

    /// Requests whose cover has ended are ended by their instance: they buy nothing more.
    fn is_covered(&self, at: usize) -> bool {
        self.now + MARGIN < self.open[at].covered_until
    }

    fn settle(&mut self, id: &str, used: u64, retry: bool) {
        self.account
            .settle(self.time(), self.orphans, id, Tokens::new(used), retry);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Begin {
                instance,
                least,
                more,
                lost,
            } => self.begin(instance, least, more, lost),
            Step::Serve { at, tokens } => {
                if let Some(at) = self.pick(at).filter(|at| self.is_covered(*at)) {
                    let request = &mut self.open[at];
                    let tokens = tokens.min(request.held - request.served);
                    request.served += tokens;
                    self.served += tokens;
                    if request.leased {
                        self.purses[request.instance].served += tokens;
                    }
                }
            }
            Step::Renew { at, lost } => self.renew(at, lost),
            Step::Settle {
                at,
                lost,
                first_arrives_last,
            } => {
                if let Some(at) = self.pick(at).filter(|at| self.open[*at].leased) {
                    // Whether the store can be reached does not matter.
                    let request = self.open.swap_remove(at);
                    self.settle_leased(&request);
                } else if let Some(at) = self
                    .pick(at)
                    .filter(|at| !self.away[self.open[*at].instance])
                {
                    let request = self.open.swap_remove(at);
                    match (lost, first_arrives_last) {
                        (false, _) => self.settle(&request.id, request.served, false),
                        (true, false) => {
                            self.settle(&request.id, request.served, false);
                            self.settle(&request.id, request.served, true);
                        }
                        (true, true) => {
                            self.settle(&request.id, request.served, true);
                            self.settle(&request.id, request.served, false);
                        }
                    }
                }
            }
            Step::BeginLeased {
                instance,
                least,
                more,
            } => self.begin_leased(instance, least, more),
            Step::Attend { instance, lost } => {
                let now = self.time();
                let purse = &mut self.purses[instance].purse;
                if purse.command(now, Millis(FRESH / 2)).is_some() {
                    self.say(instance, lost);
                }
            }
            Step::GiveBack { instance, lost } => {
                if self.purses[instance].purse.give_back().is_some() {
                    self.say(instance, lost);
                }
            }
            Step::Crash { instance, journal } => self.crash(instance, journal),
            Step::CutOff { instance, away } => self.away[instance] = away,
            Step::Wait { millis } => {
                self.now += millis;
                for request in self
                    .open
                    .iter_mut()
                    .filter(|open| !open.leased && !open.lapsed && open.expires <= self.now)
                {
                    request.lapsed = true;
                    self.unreported += request.served - request.known;
                }
                for purses in &mut self.purses {
                    if purses.expires != 0 && purses.expires <= self.now {
                        purses.expires = 0;
                        self.unreported += purses.served - purses.charged;
                    }
                }
            }
        }
    }

    fn pick(&self, at: usize) -> Option<usize> {
        (!self.open.is_empty()).then(|| at % self.open.len())
    }

    fn begin_leased(&mut self, instance: usize, least: u64, more: u64) {
        self.count += 1;
        let id = format!("r{}", self.count);
        let ask = ask(&id, least, more);
        let now = self.time();
        let purse = &mut self.purses[instance].purse;
        if let Some(held) = purse.admit(now, &ask, false) {
            self.open.push(Request {
                id,
                instance,
                leased: true,
                held: held.held.count(),
                served: 0,
                known: 0,
                covered_until: self.now + TTL,
                expires: 0,
                lapsed: false,
            });
        }
    }

    fn settle_leased(&mut self, request: &Request) {
        let purses = &mut self.purses[request.instance];
        purses
            .purse
            .settle(&request.id, Tokens::new(request.served));
    }

    /// A command on its way to the store, and its answer back.
    fn say(&mut self, instance: usize, lost: bool) {
        let (now, orphans) = (self.time(), self.orphans);
        if self.away[instance] {
            return;
        }
        let purses = &mut self.purses[instance];
        let Some((command, retry)) = purses.purse.say(now) else {
            return;
        };
        let name = purses.name.clone();
        match command {
            Command::Ask {
                number,
                tokens,
                slots,
            } => {
                let ask = Ask {
                    instance: &name,
                    number,
                    tokens,
                    slots,
                    window: None,
                    ttl: Millis(TTL + FRESH),
                };
                let grant = self.account.lease(now, orphans, &ask);
                if !retry || purses.expires == 0 {
                    purses.expires = self.now + TTL + FRESH;
                }
                if !lost {
                    purses.purse.granted(Millis(FRESH), &grant);
                }
            }
            Command::Report {
                number,
                spent,
                back,
                ends,
            } => {
                let reported = self.report(&name, number, spent, back, (retry, ends));
                let purses = &mut self.purses[instance];
                let settlement = reported.settlement;
                purses.charged += settlement.charged.count() + settlement.overrun.count();
                if purses.expires != 0 && !retry {
                    purses.expires = self.now + TTL + FRESH;
                }
                if !lost {
                    purses.purse.reported(Millis(FRESH), &reported);
                }
            }
        }
    }

    fn report(
        &mut self,
        instance: &str,
        number: u64,
        spent: Tokens,
        back: Tokens,
        (retry, ends): (bool, bool),
    ) -> Reported {
        let report = Report {
            instance,
            number,
            spent,
            back,
            ttl: Millis(TTL + FRESH),
            retry,
            ends,
        };
        self.account.report(self.time(), self.orphans, &report)
    }

    fn begin(&mut self, instance: usize, least: u64, more: u64, lost: bool) {
        if self.away[instance] {
            return;
        }
        self.count += 1;
        let id = format!("r{}", self.count);
        let ask = ask(&id, least, more);
        let covered_until = self.now + TTL;
        let (now, orphans) = (self.time(), self.orphans);
        let mut admission = self.account.admit(now, orphans, &ask);
        if lost {
            let again = self.account.admit(now, orphans, &ask);
            assert_eq!(again, admission, "the same ID, the same answer");
            admission = again;
        }
        if let Admission::Granted { held, .. } = admission {
            let request = Request {
                id,
                instance,
                leased: false,
                held: held.count(),
                served: 0,
                known: 0,
                covered_until,
                expires: covered_until,
                lapsed: false,
            };
            self.open.push(request);
        }
    }

    fn renew(&mut self, at: usize, lost: bool) {
        let Some(at) = self.pick(at) else { return };
        let (now, orphans) = (self.time(), self.orphans);
        let request = &mut self.open[at];
        if request.leased {
            let purse = &mut self.purses[request.instance].purse;
            if purse.renew(now, &request.id, Millis(TTL)) {
                request.covered_until = self.now + TTL;
            }
            return;
        }
        if self.away[request.instance] {
            return;
        }
        let known = Tokens::new(request.served);
        let renewed = self
            .account
            .renew(now, orphans, &request.id, known, Millis(TTL));
        if renewed {
            request.known = request.served;
            request.expires = self.now + TTL;
        }
        // An instance that has no answer counts on nothing; one that is told no ends the request.
        if renewed && !lost {
            request.covered_until = self.now + TTL;
        } else if !renewed {
            request.covered_until = 0;
        }
    }

    fn crash(&mut self, instance: usize, journal: Option<u64>) {
        self.crashed = true;
        let (dead, living) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|request| request.instance == instance);
        self.open = living;
        let dead: Vec<Request> = dead;
        self.crash_purse(instance, &dead, journal);
        for request in dead
            .into_iter()
            .filter(|request| !request.lapsed && !request.leased)
        {
            match journal {
                // The next start settles what the journal knows. That may be less than was served, so
                // where orphans are spent it is left to run out.
                Some(knows) if self.orphans == Orphans::Known => {
                    let knows = knows.min(request.served).max(request.known);
                    self.unreported += request.served - knows;
                    self.settle(&request.id, knows, true);
                }
                _ => self.unreported += request.served - request.known,
            }
        }
    }

    /// The journal of a dead instance has what was settled and what was told; of requests under way it
    /// may know less than was served. The next instance has another name.
    fn crash_purse(&mut self, instance: usize, dead: &[Request], journal: Option<u64>) {
        let name = format!("lease-{}", self.count + 3);
        self.count += 1;
        let fresh = Purses {
            name,
            ..Purses::default()
        };
        let mut purses = std::mem::replace(&mut self.purses[instance], fresh);
        if let Some(knows) = journal {
            // What was told and not answered is told again as it was.
            if let Some(Command::Report { number, spent, .. }) = purses.purse.under_way() {
                let told = self.report(&purses.name, number, spent, Tokens::ZERO, (true, false));
                let settlement = told.settlement;
                purses.charged += settlement.charged.count() + settlement.overrun.count();
            }
            let is_known = self.orphans == Orphans::Known;
            let known = |request: &Request| knows.min(request.served);
            let under_way: u64 = dead.iter().filter(|open| open.leased).map(known).sum();
            let spent = purses.purse.unreported().count() + if is_known { under_way } else { 0 };
            let back = if is_known { Tokens::MAX } else { Tokens::ZERO };
            for (number, spent, ends) in [(1 << 40, spent, false), (2 << 40, 0, is_known)] {
                let spent = Tokens::new(spent);
                let told = self.report(&purses.name, number, spent, back, (true, ends));
                let settlement = told.settlement;
                purses.charged += settlement.charged.count() + settlement.overrun.count();
            }
        }
        // A lease that had run out was counted then.
        if purses.expires != 0 {
            self.unreported += purses.served.saturating_sub(purses.charged);
        }
    }

    /// Everyone is back, what is open is settled, what is orphaned runs out.
    fn end(&mut self) {
        for request in std::mem::take(&mut self.open) {
            if request.leased {
                self.settle_leased(&request);
            } else {
                self.settle(&request.id, request.served, false);
            }
        }
        self.away = [false; 3];
        for instance in 0..3 {
            while self.purses[instance].purse.give_back().is_some() {
                self.say(instance, false);
            }
            assert!(self.purses[instance].purse.is_empty());
        }
        self.now += 10 * TTL;
        self.settle("nobody", 0, true);
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let worst = match self.orphans {
            Orphans::Spend => GRANT,
            Orphans::Known => GRANT + self.unreported,
        };
        prop_assert!(self.served <= worst, "served {} of {worst}", self.served);
        prop_assert!(self.account.left <= Tokens::new(GRANT));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_key_worth_n_never_gets_more_than_n(
        steps in proptest::collection::vec(step(), 1..200),
        spend: bool,
    ) {
        let mut world = World::new(if spend { Orphans::Spend } else { Orphans::Known });
        for step in &steps {
            world.step(step);
            world.check()?;
        }
        world.end();
        world.check()?;
        prop_assert_eq!(world.account.free(), world.account.left, "no hold is left");
        let charged = GRANT - world.account.left.count();
        if !world.crashed && !spend && world.unreported == 0 {
            // Without crashes every token that was served is charged, and no other.
            prop_assert_eq!(charged, world.served);
        } else if spend {
            prop_assert!(charged >= world.served);
        } else {
            prop_assert!(charged + world.unreported >= world.served);
        }
    }
}
