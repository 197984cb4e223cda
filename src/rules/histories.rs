//! The protocol of holds, driven through random histories of several instances: lost replies,
//! repeated and late commands, heartbeats, crashes, instances cut off from the store, starts that
//! settle from a journal. What must hold is the promise, not any single answer.

use super::account::{Account, Admission, Admit, Books, Orphans};
use super::amount::{Millis, Tokens};
use proptest::prelude::*;

const GRANT: u64 = 1_000;
const TTL: u64 = 60;
/// An instance ends a request so long before its hold does.
const MARGIN: u64 = 2;

#[derive(Clone, Debug)]
enum Step {
    /// A request comes to an instance; the reply to its admission may be lost, and is asked for again.
    Begin {
        instance: usize,
        least: u64,
        more: u64,
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
        8 => (0usize..12, 1u64..80).prop_map(|(at, tokens)| Step::Serve { at, tokens }),
        4 => (0usize..12, any::<bool>()).prop_map(|(at, lost)| Step::Renew { at, lost }),
        5 => (0usize..12, any::<bool>(), any::<bool>())
            .prop_map(|(at, lost, first_arrives_last)| Step::Settle { at, lost, first_arrives_last }),
        1 => (0usize..3, proptest::option::of(0u64..200))
            .prop_map(|(instance, journal)| Step::Crash { instance, journal }),
        1 => (0usize..3, any::<bool>()).prop_map(|(instance, away)| Step::CutOff { instance, away }),
        5 => (0u64..50).prop_map(|millis| Step::Wait { millis }),
    ]
}

struct Request {
    id: String,
    instance: usize,
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

struct World {
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

impl World {
    fn new(orphans: Orphans) -> World {
        World {
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
                }
            }
            Step::Renew { at, lost } => self.renew(at, lost),
            Step::Settle {
                at,
                lost,
                first_arrives_last,
            } => {
                if let Some(at) = self
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
            Step::Crash { instance, journal } => self.crash(instance, journal),
            Step::CutOff { instance, away } => self.away[instance] = away,
            Step::Wait { millis } => {
                self.now += millis;
                for request in self
                    .open
                    .iter_mut()
                    .filter(|open| !open.lapsed && open.expires <= self.now)
                {
                    request.lapsed = true;
                    self.unreported += request.served - request.known;
                }
            }
        }
    }

    fn pick(&self, at: usize) -> Option<usize> {
        (!self.open.is_empty()).then(|| at % self.open.len())
    }

    fn begin(&mut self, instance: usize, least: u64, more: u64, lost: bool) {
        if self.away[instance] {
            return;
        }
        self.count += 1;
        let id = format!("r{}", self.count);
        let ask = Admit {
            id: &id,
            least: Tokens::new(least),
            most: Tokens::new(least + more),
            open: Tokens::ZERO,
            known: Tokens::ZERO,
            window: None,
            ttl: Millis(TTL),
        };
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
        for request in dead.into_iter().filter(|request| !request.lapsed) {
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

    /// Everyone is back, what is open is settled, what is orphaned runs out.
    fn end(&mut self) {
        for request in std::mem::take(&mut self.open) {
            self.settle(&request.id, request.served, false);
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
        steps in proptest::collection::vec(step(), 1..120),
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
