//! Property tests of holds and leases: random histories of several instances with lost replies, repeated and
//! late commands, heartbeats, crashes, instances cut off from the store, starts that settle from a journal,
//! and failovers that lose the latest commands.
//!
//! The tests check the guarantees at the end of and during a history, not single answers.

use super::account::{Account, Admit, Ask, Books, Orphans, Report, Reported, Verdict};
use super::amount::{Millis, Tokens};
use super::lease_budget::{Command, LeaseBudget};
use super::window::Limits;
use proptest::prelude::*;

const GRANT: u64 = 300;
const TTL: u64 = 60;
/// Time before the end of its hold at which an instance ends a request.
const MARGIN: u64 = 2;
/// Time after sending that a lease budget may be spent. The lease itself lives one hold longer.
const FRESH: u64 = TTL / 3;

#[derive(Clone, Debug)]
enum Step {
    /// A request reaches an instance. If the reply to its admission is lost, the command is repeated.
    Begin {
        instance: usize,
        least: u64,
        more: u64,
        lost: bool,
    },
    /// A request is held against the instance's lease budget, if that covers it.
    BeginLeased {
        instance: usize,
        least: u64,
        more: u64,
    },
    /// A lease budget sends its next command; the answer may be lost.
    Attend {
        instance: usize,
        lost: bool,
    },
    /// A lease budget gives everything back; the answer may be lost.
    GiveBack {
        instance: usize,
        lost: bool,
    },
    /// The provider serves a request that is covered.
    Serve {
        at: usize,
        tokens: u64,
    },
    /// An attempt fails after its provider has served tokens; the next one goes on within the same hold.
    Fail {
        at: usize,
    },
    /// A request that gets a kept answer: nothing is served, and a fee of its first price is charged at once.
    Hit {
        instance: usize,
        most: u64,
        price: u64,
        percent: u64,
        leased: bool,
        lost: bool,
    },
    Renew {
        at: usize,
        lost: bool,
    },
    /// A request is settled for what was served. After a lost reply the command is repeated, and the first
    /// one may arrive last.
    Settle {
        at: usize,
        lost: bool,
        first_arrives_last: bool,
    },
    /// An instance crashes. Its next start may find a `journal`, which has this many of the tokens served.
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
    /// A failover loses the latest commands.
    Forget {
        commands: usize,
    },
    /// The instances replay what an earlier server has acknowledged.
    SayAgain,
    /// An empty lease budget is dropped.
    Retire {
        instance: usize,
    },
}

/// An acknowledged command, kept for its replay.
enum Said {
    Settlement {
        id: String,
        used: u64,
    },
    Lease {
        name: String,
        number: u64,
        told: Tokens,
    },
}

fn forgetful_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => step(),
        2 => prop_oneof![0usize..4, 0usize..30].prop_map(|commands| Step::Forget { commands }),
        1 => Just(Step::SayAgain),
        2 => (0usize..3).prop_map(|instance| Step::Retire { instance }),
    ]
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
        3 => (0usize..12).prop_map(|at| Step::Fail { at }),
        3 => (0usize..3, 1u64..60, 1u64..400, 0u64..=100, any::<bool>(), any::<bool>()).prop_map(
            |(instance, most, price, percent, leased, lost)| {
                Step::Hit { instance, most, price, percent, leased, lost }
            }
        ),
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
    /// The request is held against the instance's lease budget.
    leased: bool,
    held: u64,
    /// Tokens served by each attempt, the present one last; a fee counts as served.
    attempts: Vec<u64>,
    known: u64,
    /// By the instance's clock.
    covered_until: u64,
    /// By the store's clock.
    expires: u64,
    /// The hold expired while the request was open: its instance did not reach the store in time.
    lapsed: bool,
    /// Number of commands that the server had executed before the admission.
    heard: usize,
    /// A failover has lost the admission.
    forgotten: bool,
}

impl Request {
    fn served(&self) -> u64 {
        self.attempts.iter().sum()
    }
}

/// Lease budget of an instance, the tokens served from it, and those that the store has charged for it.
#[derive(Default)]
struct Budgets {
    budget: LeaseBudget,
    name: String,
    served: u64,
    charged: u64,
    /// End of the lease by the store's clock; zero: no lease.
    expires: u64,
    /// Number of failovers that the budget has noticed.
    noticed: usize,
    /// Number of commands that the server had executed before the lease was first, or again, unknown to it.
    heard: usize,
}

struct World {
    budgets: [Budgets; 3],
    account: Account,
    orphans: Orphans,
    now: u64,
    away: [bool; 3],
    open: Vec<Request>,
    served: u64,
    /// Tokens served by instances that crashed or did not reach the store in time, which no store or journal
    /// knew of at that moment.
    unreported: u64,
    crashed: bool,
    count: u64,
    /// The account before each command.
    past: Vec<Account>,
    replaced: usize,
    said: Vec<(usize, Said)>,
    /// For each settled request or dropped budget: the number of commands executed before the server first
    /// knew of it, and the tokens it served.
    settled: Vec<(usize, u64)>,
    /// Tokens served to requests and leases whose beginning a failover has lost.
    excused: u64,
}

fn ask(id: &str, least: u64, more: u64) -> Admit<'_> {
    Admit {
        id,
        least: Tokens::new(least),
        most: Tokens::new(least + more),
        open: Tokens::ZERO,
        known: Tokens::ZERO,
        limits: Limits::default(),
        ttl: Millis(TTL),
        key: None,
        created: Millis(0),
    }
}

impl World {
    fn new(orphans: Orphans) -> World {
        World {
            budgets: std::array::from_fn(|at| Budgets {
                name: format!("lease-{at}"),
                ..Budgets::default()
            }),
            account: Account::new(Tokens::new(GRANT), Books::default()),
            orphans,
            now: 1_000_000,
            away: [false; 3],
            open: Vec::new(),
            served: 0,
            unreported: 0,
            crashed: false,
            count: 0,
            past: Vec::new(),
            replaced: 0,
            said: Vec::new(),
            settled: Vec::new(),
            excused: 0,
        }
    }

    fn time(&self) -> Millis {
        Millis(self.now)
    }

    /// Whether a request is still covered. An instance ends requests that are not, so they use no more
    /// tokens.
    fn is_covered(&self, at: usize) -> bool {
        self.now + MARGIN < self.open[at].covered_until
    }

    fn settle(&mut self, id: &str, used: u64, retry: bool) {
        let (now, orphans) = (self.time(), self.orphans);
        let used = Tokens::new(used);
        self.books().settle(now, orphans, id, used, retry, "");
    }

    /// Returns the account for a command, and records its state before it.
    fn books(&mut self) -> &mut Account {
        self.past.push(self.account.clone());
        &mut self.account
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
                    self.serve(at, tokens);
                }
            }
            Step::Fail { at } => {
                if let Some(at) = self.pick(at) {
                    self.open[at].attempts.push(0);
                }
            }
            Step::Hit {
                instance,
                most,
                price,
                percent,
                leased,
                lost,
            } => self.hit(
                instance,
                most,
                Tokens::new(price).percent_up(percent),
                (leased, lost),
            ),
            Step::Renew { at, lost } => self.renew(at, lost),
            Step::Settle {
                at,
                lost,
                first_arrives_last,
            } => {
                if let Some(at) = self.pick(at).filter(|at| self.open[*at].leased) {
                    // Settling against a lease budget does not need the store.
                    let request = self.open.swap_remove(at);
                    self.settle_leased(&request);
                } else if let Some(at) = self
                    .pick(at)
                    .filter(|at| !self.away[self.open[*at].instance])
                {
                    let request = self.open.swap_remove(at);
                    self.settle_open(&request, lost, first_arrives_last);
                }
            }
            Step::BeginLeased {
                instance,
                least,
                more,
            } => self.begin_leased(instance, least, more),
            Step::Attend { instance, lost } => {
                let now = self.time();
                self.notice(instance);
                let budget = &mut self.budgets[instance].budget;
                if budget.command(now, Millis(FRESH / 2)).is_some() {
                    self.say(instance, lost);
                }
            }
            Step::GiveBack { instance, lost } => {
                if self.budgets[instance].budget.give_back().is_some() {
                    self.say(instance, lost);
                }
            }
            Step::Crash { instance, journal } => self.crash(instance, journal),
            Step::CutOff { instance, away } => self.away[instance] = away,
            Step::Forget { commands } => self.forget(commands),
            Step::SayAgain => self.say_again(),
            Step::Retire { instance } => self.retire(instance),
            Step::Wait { millis } => {
                self.now += millis;
                for request in self
                    .open
                    .iter_mut()
                    .filter(|open| !open.leased && !open.lapsed && open.expires <= self.now)
                {
                    request.lapsed = true;
                    self.unreported += request.served() - request.known;
                }
                for budgets in &mut self.budgets {
                    if budgets.expires != 0 && budgets.expires <= self.now {
                        budgets.expires = 0;
                        self.unreported += budgets.served.saturating_sub(budgets.charged);
                    }
                }
            }
        }
    }

    /// Counts tokens of a request's present attempt, as far as the hold covers them beside the attempts before.
    fn serve(&mut self, at: usize, tokens: u64) {
        let request = &mut self.open[at];
        let tokens = tokens.min(request.held - request.served());
        if let Some(present) = request.attempts.last_mut() {
            *present += tokens;
        }
        self.served += tokens;
        if request.leased {
            self.budgets[request.instance].served += tokens;
        }
    }

    /// Admits a request and settles it at once for a fee, if its hold covers the fee. Else it stays open: its call
    /// goes to the provider.
    fn hit(&mut self, instance: usize, most: u64, fee: Tokens, (leased, lost): (bool, bool)) {
        let before = self.open.len();
        match leased {
            true => self.begin_leased(instance, 1, most),
            false => self.begin(instance, 1, most, lost),
        }
        let is_covered = |request: &Request| Tokens::new(request.held) >= fee;
        if self.open.len() == before || !self.open.last().is_some_and(is_covered) {
            return;
        }
        self.serve(before, fee.count());
        let request = self.open.swap_remove(before);
        match leased {
            true => self.settle_leased(&request),
            false => self.settle_open(&request, lost, false),
        }
    }

    /// Settles a request whose hold is in the store.
    fn settle_open(&mut self, request: &Request, lost: bool, first_arrives_last: bool) {
        self.acknowledge(request, lost && first_arrives_last);
        let served = request.served();
        match (lost, first_arrives_last) {
            (false, _) => self.settle(&request.id, served, false),
            (true, false) => {
                self.settle(&request.id, served, false);
                self.settle(&request.id, served, true);
            }
            (true, true) => {
                self.settle(&request.id, served, true);
                self.settle(&request.id, served, false);
            }
        }
    }

    /// Records a settlement that is about to be answered. A repeated settlement of a lost hold charges
    /// nothing, so its tokens are excused.
    fn acknowledge(&mut self, request: &Request, is_repeat: bool) {
        if request.forgotten && is_repeat {
            self.excused += request.served();
        }
        let heard = match request.forgotten {
            true => self.past.len(),
            false => request.heard,
        };
        self.settled.push((heard, request.served()));
        let (id, used) = (request.id.clone(), request.served());
        self.said
            .push((request.instance, Said::Settlement { id, used }));
    }

    fn forget(&mut self, commands: usize) {
        let heard = self.past.len().saturating_sub(commands);
        if heard == self.past.len() {
            return;
        }
        self.account = self.past[heard].clone();
        self.past.truncate(heard);
        self.replaced += 1;
        for request in self.open.iter_mut().filter(|open| !open.leased) {
            request.forgotten |= request.heard >= heard;
        }
        for (_, served) in self.settled.extract_if(.., |(at, _)| *at >= heard) {
            self.excused += served;
        }
        for budgets in &mut self.budgets {
            if budgets.heard >= heard {
                self.excused += budgets.served;
                budgets.heard = heard;
            }
        }
    }

    fn notice(&mut self, instance: usize) {
        let budgets = &mut self.budgets[instance];
        if std::mem::replace(&mut budgets.noticed, self.replaced) != self.replaced {
            budgets.budget.mark_uncertain();
        }
    }

    fn say_again(&mut self) {
        let (now, orphans) = (self.time(), self.orphans);
        for (instance, said) in std::mem::take(&mut self.said) {
            if self.away[instance] {
                self.said.push((instance, said));
                continue;
            }
            match &said {
                Said::Settlement { id, used } => {
                    let used = Tokens::new(*used);
                    self.books().resettle(now, orphans, id, used, "");
                }
                Said::Lease { name, number, told } => {
                    let report = Report {
                        instance: name,
                        number: number + 1,
                        spent: Tokens::ZERO,
                        back: Tokens::MAX,
                        ttl: Millis(TTL),
                        retry: true,
                        ends: true,
                        before: Some(*told),
                        begun: None,
                        lines: &[],
                    };
                    self.books().report(now, orphans, &report);
                }
            }
            self.said.push((instance, said));
        }
    }

    fn retire(&mut self, instance: usize) {
        self.notice(instance);
        if !self.budgets[instance].budget.is_empty() {
            return;
        }
        let budgets = self.fresh_budget(instance);
        let (number, told) = (budgets.budget.number(), budgets.budget.told());
        let name = budgets.name;
        self.settled.push((budgets.heard, budgets.served));
        self.said
            .push((instance, Said::Lease { name, number, told }));
    }

    /// Replaces the budget by an empty one with a new lease name.
    fn fresh_budget(&mut self, instance: usize) -> Budgets {
        let name = format!("lease-{}", self.count + 3);
        self.count += 1;
        let fresh = Budgets {
            name,
            noticed: self.replaced,
            ..Budgets::default()
        };
        std::mem::replace(&mut self.budgets[instance], fresh)
    }

    fn pick(&self, at: usize) -> Option<usize> {
        (!self.open.is_empty()).then(|| at % self.open.len())
    }

    fn begin_leased(&mut self, instance: usize, least: u64, more: u64) {
        self.count += 1;
        let id = format!("r{}", self.count);
        let ask = ask(&id, least, more);
        let now = self.time();
        let budget = &mut self.budgets[instance].budget;
        if let Some(held) = budget.admit(now, &ask, false) {
            self.open.push(Request {
                id,
                instance,
                leased: true,
                held: held.held.count(),
                attempts: vec![0],
                known: 0,
                covered_until: self.now + TTL,
                expires: 0,
                lapsed: false,
                heard: self.past.len(),
                forgotten: false,
            });
        }
    }

    fn settle_leased(&mut self, request: &Request) {
        let budgets = &mut self.budgets[request.instance];
        budgets
            .budget
            .settle(&request.id, Tokens::new(request.served()), "");
    }

    /// Sends the budget's command to the store, and delivers the answer unless it is lost.
    fn say(&mut self, instance: usize, lost: bool) {
        let (now, orphans) = (self.time(), self.orphans);
        if self.away[instance] {
            return;
        }
        self.notice(instance);
        let budgets = &mut self.budgets[instance];
        let Some((command, retry)) = budgets.budget.say(now) else {
            return;
        };
        let (before, begun) = (budgets.budget.told(), budgets.budget.begun(now));
        let name = budgets.name.clone();
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
                    told: before.minus(begun.unwrap_or_default()),
                };
                if !self.account.knows(&name) {
                    budgets.heard = self.past.len();
                }
                self.past.push(self.account.clone());
                let grant = self.account.lease(now, orphans, &ask);
                if !retry || budgets.expires == 0 {
                    budgets.expires = self.now + TTL + FRESH;
                }
                if !lost {
                    budgets.budget.granted(Millis(FRESH), &grant);
                }
            }
            Command::Report {
                number,
                spent,
                back,
                ends,
            } => {
                if !self.account.knows(&name) {
                    self.budgets[instance].heard = self.past.len();
                }
                let known = (Some(before), begun);
                let reported = self.report(&name, number, spent, back, (retry, ends), known);
                let budgets = &mut self.budgets[instance];
                let settlement = reported.settlement;
                budgets.charged += settlement.charged.count() + settlement.overrun.count();
                if budgets.expires != 0 && !retry {
                    budgets.expires = self.now + TTL + FRESH;
                }
                if !lost {
                    budgets.budget.reported(Millis(FRESH), &reported);
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
        (before, begun): (Option<Tokens>, Option<Tokens>),
    ) -> Reported {
        let report = Report {
            instance,
            number,
            spent,
            back,
            ttl: Millis(TTL + FRESH),
            retry,
            ends,
            before,
            begun,
            lines: &[],
        };
        let (now, orphans) = (self.time(), self.orphans);
        self.books().report(now, orphans, &report)
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
        let heard = self.past.len();
        let mut admission = self.books().admit(now, orphans, &ask);
        if lost {
            let again = self.books().admit(now, orphans, &ask);
            assert_eq!(again, admission, "the same ID, the same answer");
            admission = again;
        }
        if let Verdict::Granted { held, .. } = admission {
            let request = Request {
                id,
                instance,
                leased: false,
                held: held.count(),
                attempts: vec![0],
                known: 0,
                covered_until,
                expires: covered_until,
                lapsed: false,
                heard,
                forgotten: false,
            };
            self.open.push(request);
        }
    }

    fn renew(&mut self, at: usize, lost: bool) {
        let Some(at) = self.pick(at) else { return };
        let (now, orphans) = (self.time(), self.orphans);
        let request = &mut self.open[at];
        if request.leased {
            let budget = &mut self.budgets[request.instance].budget;
            if budget.renew(now, &request.id, Millis(TTL)) {
                request.covered_until = self.now + TTL;
            }
            return;
        }
        if self.away[request.instance] {
            return;
        }
        let known = Tokens::new(request.served());
        self.past.push(self.account.clone());
        let renewed = self
            .account
            .renew(now, orphans, &request.id, known, Millis(TTL));
        if renewed {
            request.known = request.served();
            request.expires = self.now + TTL;
        }
        // Without an answer the instance does not extend its cover; after a refusal it ends the request.
        if renewed && !lost {
            request.covered_until = self.now + TTL;
        } else if !renewed {
            request.covered_until = 0;
        }
    }

    fn crash(&mut self, instance: usize, journal: Option<u64>) {
        self.crashed = true;
        self.said.retain(|(whose, _)| *whose != instance);
        let (dead, living) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|request| request.instance == instance);
        self.open = living;
        let dead: Vec<Request> = dead;
        self.crash_budget(instance, &dead, journal);
        for request in dead
            .into_iter()
            .filter(|request| !request.lapsed && !request.leased)
        {
            match journal {
                // The next start settles what the journal has, which may be less than was served. With
                // `Orphans::Spend` the hold is left to expire instead.
                Some(knows) if self.orphans == Orphans::Known => {
                    let knows = knows.min(request.served()).max(request.known);
                    self.unreported += request.served() - knows;
                    self.settle(&request.id, knows, true);
                }
                _ => self.unreported += request.served() - request.known,
            }
        }
    }

    /// Settles a crashed instance's lease from its journal. The journal has all settlements and reports; of
    /// requests in flight it may have less than was served. The next instance has a new lease name.
    fn crash_budget(&mut self, instance: usize, dead: &[Request], journal: Option<u64>) {
        let mut budgets = self.fresh_budget(instance);
        let unknown = (None, None);
        if let Some(knows) = journal {
            // A report without an answer is repeated unchanged.
            if let Some(Command::Report { number, spent, .. }) = budgets.budget.under_way() {
                let told = self.report(
                    &budgets.name,
                    number,
                    spent,
                    Tokens::ZERO,
                    (true, false),
                    unknown,
                );
                let settlement = told.settlement;
                budgets.charged += settlement.charged.count() + settlement.overrun.count();
            }
            let is_known = self.orphans == Orphans::Known;
            let known = |request: &Request| knows.min(request.served());
            let under_way: u64 = dead.iter().filter(|open| open.leased).map(known).sum();
            let spent = budgets.budget.unreported().count() + if is_known { under_way } else { 0 };
            let back = if is_known { Tokens::MAX } else { Tokens::ZERO };
            for (number, spent, ends) in [(1 << 40, spent, false), (2 << 40, 0, is_known)] {
                let spent = Tokens::new(spent);
                let told = self.report(&budgets.name, number, spent, back, (true, ends), unknown);
                let settlement = told.settlement;
                budgets.charged += settlement.charged.count() + settlement.overrun.count();
            }
        }
        // An expired lease was counted when it expired.
        if budgets.expires != 0 {
            self.unreported += budgets.served.saturating_sub(budgets.charged);
        }
    }

    /// Ends the history: instances reconnect, open requests are settled, and orphans expire.
    fn end(&mut self) {
        for request in std::mem::take(&mut self.open) {
            if request.leased {
                self.settle_leased(&request);
            } else {
                self.acknowledge(&request, false);
                self.settle(&request.id, request.served(), false);
            }
        }
        self.away = [false; 3];
        self.say_again();
        for instance in 0..3 {
            self.notice(instance);
            while self.budgets[instance].budget.give_back().is_some() {
                self.say(instance, false);
            }
            assert!(self.budgets[instance].budget.is_empty());
        }
        self.now += 10 * TTL;
        self.settle("nobody", 0, true);
    }

    /// Returns the tokens charged, overruns included.
    fn charged(&self) -> u64 {
        let overrun = self
            .account
            .look(self.time(), self.orphans, Limits::default(), Millis(0))
            .overrun;
        GRANT - self.account.left.count() + overrun.count()
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
        // Without crashes every token served is charged, and no other.
        prop_assert_eq!(charged, world.served);
    } else if spend {
        prop_assert!(charged >= world.served);
    } else {
        prop_assert!(charged + world.unreported >= world.served);
    }
}}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn forgotten_charges_are_replayed_once(
        steps in proptest::collection::vec(forgetful_step(), 1..200),
    ) {
        let mut world = World::new(Orphans::Known);
        for step in &steps {
            world.step(step);
            prop_assert!(world.charged() <= world.served, "after {step:?}: charged {} of {}", world.charged(), world.served);
        }
        world.end();
        let (charged, served) = (world.charged(), world.served);
        prop_assert!(charged <= served, "charged {charged} of {served}");
        prop_assert_eq!(world.account.free(), world.account.left, "no hold is left");
        if !world.crashed {
            let excused = world.excused;
            prop_assert!(charged + excused >= served, "charged {charged} of {served}, {excused} excused");
        }
    }
}
