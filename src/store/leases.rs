//! Leases: balance that this instance may spend without asking the store.
//!
//! A key used often gets a lease budget (`rules::lease_budget`): requests are held against it in memory, and what
//! they spent is reported to the store ten times a second. Balances that are small against the load, and
//! narrow windows, get none: each of their requests asks the store. This must never promise more than the
//! store has reserved, and never spend from a lease that may have expired there.

use super::journal::Journal;
use super::name::{AccountName, KeyName};
use super::replay::{Acknowledged, Replay};
use super::{Ledger, Outcome, StoreError};
use crate::rules::account::{Admit, Ask, Report, Verdict};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::entry::{Caller, Standing};
use crate::rules::issued_key::{IssuedKey, KeyId};
use crate::rules::lease_budget::{Command, Held, LeaseBudget};
use crate::rules::tenant::TenantId;
use crate::rules::window::{Limits, Window};
use crate::telemetry::fields::About;
use crate::telemetry::throttle::Throttle;
use log::Level;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Interval between the reports of lease spending.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// Admissions of a key within one second that earn it a lease budget.
const ADMISSIONS_FOR_A_LEASE: u32 = 3;
/// Milliseconds for which a key's tenant, group and existence are trusted; then one request asks the store
/// again.
const RECHECK_AFTER: Millis = Millis(500);
/// Milliseconds for which the other requests trust them while that one is asking, since the last check.
const RECHECK_DEADLINE: Millis = Millis(1_000);
/// Number of shards of the map of leases; each has its own lock.
const SHARDS: usize = 16;
/// Maximum number of recently admitted keys counted per shard.
const MAX_RECENT_KEYS_PER_SHARD: usize = 4_096;

/// Kind of the log line about spending that waits.
static WAITS: Throttle = Throttle::new();

pub struct Leases {
    store: Arc<dyn Ledger>,
    journal: Arc<Journal>,
    replay: Arc<Replay>,
    /// Life in milliseconds of a hold that is not renewed.
    cover: Millis,
    started: Instant,
    /// A fresh ID at each start. A lease is named `<instance>-<number>`.
    instance: String,
    opened: AtomicU64,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    leases: HashMap<KeyName, Arc<Lease>>,
    /// Admissions in the current `second`, by the key's hash.
    lately: HashMap<u64, u32>,
    second: u64,
}

/// One key's lease and the budget it gives.
pub struct Lease {
    pub account: AccountName,
    /// Account ID for logs and usage records: its label, or [`AccountName::id`].
    pub id: String,
    name: String,
    tenant: TenantId,
    state: Mutex<LeaseState>,
    /// Locked while a command is in flight: a lease has one at a time.
    turn: tokio::sync::Mutex<()>,
}

struct LeaseState {
    budget: LeaseBudget,
    group: Arc<str>,
    /// The key, where it is one of a person's.
    issued: Option<Arc<IssuedKey>>,
    window: Option<Window>,
    checked: Millis,
    checking: bool,
    /// Whether the key was invalidated: no more requests are held against this lease.
    closing: bool,
    trouble_logged: bool,
    /// [`Ledger::generation`] when the latest command was sent.
    generation: Option<u64>,
}

fn slice(window: Option<Window>) -> Millis {
    Millis(window.map_or(0, Window::slice))
}

impl LeaseState {
    fn wants_more(&mut self, now: Millis) -> bool {
        !self.closing && self.budget.ask_at_once(now).is_some()
    }

    /// Marks the budget uncertain if the server behind the store was replaced: the new one may have forgotten
    /// commands that the budget counts on.
    fn notice(&mut self, generation: Option<u64>) {
        if self.generation != generation {
            self.generation = generation;
            self.budget.mark_uncertain();
        }
    }
}

/// A request that a lease budget covers.
pub struct Covered {
    pub lease: Arc<Lease>,
    pub group: Arc<str>,
    pub issued: Option<Arc<IssuedKey>>,
    pub held: Held,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Lease {
    fn state(&self) -> MutexGuard<'_, LeaseState> {
        lock(&self.state)
    }

    /// Fields of its log lines. A lease serves many requests, so none is named.
    fn about(&self) -> About<'_> {
        About {
            tenant: Some(self.tenant.as_str()),
            account: Some(&self.id),
            ..About::default()
        }
    }
}

impl Leases {
    /// Creates an empty set of leases. `cover`: life of a hold that is not renewed.
    pub fn new(
        store: Arc<dyn Ledger>,
        journal: Arc<Journal>,
        replay: Arc<Replay>,
        cover: Duration,
    ) -> Arc<Leases> {
        Arc::new(Leases {
            store,
            journal,
            replay,
            cover: cover.into(),
            started: Instant::now(),
            instance: uuid::Uuid::now_v7().simple().to_string(),
            opened: AtomicU64::new(0),
            hasher: RandomState::new(),
            shards: Default::default(),
        })
    }

    fn now(&self) -> Millis {
        self.started.elapsed().into()
    }

    /// Returns the `ttl` of a lease. It exceeds `fresh` by `cover`, so that a hold taken at the last moment
    /// is covered to its end.
    fn life(&self) -> Millis {
        self.cover.plus(self.fresh())
    }

    /// Returns how long a budget may be spent from after the command that renewed it was sent.
    fn fresh(&self) -> Millis {
        Millis(self.cover.0 / 3)
    }

    fn shard(&self, key: &KeyName) -> (MutexGuard<'_, Shard>, u64) {
        let hash = self.hasher.hash_one(key);
        (lock(&self.shards[hash as usize % SHARDS]), hash)
    }

    fn find(&self, key: &KeyName) -> Option<Arc<Lease>> {
        if key.is_hashed() {
            return self.find_by_id(key.id());
        }
        self.shard(key).0.leases.get(key).cloned()
    }

    /// Finds the lease of a key that an admin has named by its ID.
    fn find_by_id(&self, id: KeyId) -> Option<Arc<Lease>> {
        self.shards.iter().find_map(|shard| {
            let leases = &lock(shard).leases;
            let mut of_id = leases.iter().filter(|(key, _)| key.id() == id);
            of_id.next().map(|(_, lease)| lease.clone())
        })
    }

    /// Returns the number of leases.
    pub fn count(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).leases.len()).sum()
    }

    /// Whether this key has a lease here.
    pub fn has(&self, key: &KeyName) -> bool {
        self.find(key).is_some()
    }

    /// Holds a request against its key's lease budget. `None`: the store must be asked.
    pub fn admit(
        self: &Arc<Leases>,
        key: &KeyName,
        caller: Caller<'_>,
        ask: &Admit<'_>,
    ) -> Option<Covered> {
        let lease = self.find(key)?;
        if lease.tenant.as_str() != caller.tenant {
            return None;
        }
        let now = self.now();
        let mut state = lease.state();
        let Limits {
            window, concurrent, ..
        } = caller.groups.limits(&state.group);
        if state.closing || window != state.window || concurrent.is_some() {
            return None;
        }
        let since = now.minus(state.checked);
        if since >= RECHECK_AFTER
            && (!std::mem::replace(&mut state.checking, true) || since >= RECHECK_DEADLINE)
        {
            return None;
        }
        let Some(held) = state.budget.admit(now, ask, window.is_some()) else {
            drop(state);
            self.fill(lease);
            return None;
        };
        let (group, issued) = (state.group.clone(), state.issued.clone());
        drop(state);
        self.journal
            .begin_leased(&lease.name, ask.id, ask.known.min(held.held));
        Some(Covered {
            lease,
            group,
            issued,
            held,
        })
    }

    /// Asks the store for more budget at once, unless a command is in flight.
    fn fill(self: &Arc<Leases>, lease: Arc<Lease>) {
        if lease.turn.try_lock().is_err() {
            return;
        }
        let now = self.now();
        if lease.state().wants_more(now) {
            let leases = self.clone();
            tokio::spawn(async move {
                let _turn = lease.turn.lock().await;
                let _ = leases.deliver(&lease).await;
            });
        }
    }

    /// Records an admission by the store. A key gets a lease at its third admission (`ADMISSIONS_FOR_A_LEASE`) within a
    /// second.
    pub fn record_admission(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        account: &AccountName,
        standing: &Standing,
        admission: &Verdict,
    ) {
        let Verdict::Granted { left, pace, .. } = *admission else {
            return;
        };
        let group = standing.group.as_str();
        let Limits {
            window, concurrent, ..
        } = caller.groups.limits(group);
        let issued = standing.issued.as_deref();
        let is_bounded = issued.is_some_and(|key| key.tokens_max.is_some());
        // The store counts leased requests neither as in flight nor for their key, so a group with a limit of
        // concurrent requests, and a key with a bound of its own, ask the store for each.
        if concurrent.is_some() || is_bounded {
            self.invalidate(key);
            return;
        }
        let now = self.now();
        let (mut shard, hash) = self.shard(key);
        if let Some(lease) = shard.leases.get(key).cloned() {
            drop(shard);
            let mut state = lease.state();
            if lease.tenant.as_str() != caller.tenant || lease.account != *account {
                state.closing = true;
                return;
            }
            if *state.group != *group {
                state.group = Arc::from(group);
            }
            if state.issued.as_deref() != issued {
                state.issued = issued.cloned().map(Arc::new);
            }
            state.window = window;
            state.checked = now;
            state.checking = false;
            state.budget.record_admission(left, pace, slice(window));
            return;
        }
        if shard.second != now.0 / 1_000 || shard.lately.len() >= MAX_RECENT_KEYS_PER_SHARD {
            shard.second = now.0 / 1_000;
            shard.lately.clear();
        }
        let times = shard.lately.entry(hash).or_default();
        *times += 1;
        let Some(tenant) = TenantId::parse(caller.tenant) else {
            return;
        };
        if *times < ADMISSIONS_FOR_A_LEASE {
            return;
        }
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut budget = LeaseBudget::default();
        budget.record_admission(left, pace, slice(window));
        let lease = Lease {
            account: account.clone(),
            id: standing.label.clone().unwrap_or_else(|| account.id()),
            name: format!("{}-{number}", self.instance),
            tenant,
            state: Mutex::new(LeaseState {
                budget,
                group: Arc::from(group),
                issued: issued.cloned().map(Arc::new),
                window,
                checked: now,
                checking: false,
                closing: false,
                trouble_logged: false,
                generation: self.store.generation(),
            }),
            turn: tokio::sync::Mutex::default(),
        };
        self.journal.lease(account, &lease.name);
        shard.leases.insert(key.clone(), Arc::new(lease));
    }

    /// Invalidates a key's lease: later requests ask the store, which knows the key's present state.
    pub fn invalidate(&self, key: &KeyName) {
        if let Some(lease) = self.find(key) {
            lease.state().closing = true;
        }
    }

    /// Invalidates the leases of the keys with these IDs.
    pub(crate) fn invalidate_ids(&self, ids: &[KeyId]) {
        for shard in &self.shards {
            for (key, lease) in &lock(shard).leases {
                if ids.contains(&key.id()) {
                    lease.state().closing = true;
                }
            }
        }
    }

    /// Ends a request's hold and returns the balance left after it. `note`: members of a JSON object for the ledger, and
    /// the moment.
    pub fn settle(&self, lease: &Lease, id: &str, used: Tokens, note: (Millis, &str)) -> Tokens {
        // Journaled before any report can include it.
        self.journal.spend(&lease.name, id, used, note);
        let note = format!("{{{}}}", note.1);
        lease.state().budget.settle(id, used, &note)
    }

    /// Renews a request's hold (heartbeat). False: its cover ends, and the request must end with it.
    pub fn renew(&self, lease: &Lease, id: &str) -> bool {
        let now = self.now();
        lease.state().budget.renew(now, id, self.cover)
    }

    /// Runs until dropped: every [`REPORT_INTERVAL`] reports spending, asks for budget and gives back what is
    /// not needed.
    pub async fn run(self: Arc<Leases>) {
        loop {
            tokio::time::sleep(REPORT_INTERVAL).await;
            self.journal.flush();
            for shard in &self.shards {
                let leases: Vec<(KeyName, Arc<Lease>)> = {
                    let shard = lock(shard);
                    let pairs = shard.leases.iter();
                    pairs
                        .map(|(key, lease)| (key.clone(), lease.clone()))
                        .collect()
                };
                for (key, lease) in leases {
                    self.tend(shard, &key, lease);
                }
            }
        }
    }

    /// Sends a lease's next command, or removes a lease that is over and owes nothing.
    fn tend(self: &Arc<Leases>, shard: &Mutex<Shard>, key: &KeyName, lease: Arc<Lease>) {
        let now = self.now();
        let is_over = {
            let mut shard = lock(shard);
            let mut state = lease.state();
            state.notice(self.store.generation());
            let over = state.budget.is_empty()
                && (state.closing || state.budget.is_gone() || state.budget.is_idle(now));
            if over {
                shard.leases.remove(key);
            }
            over
        };
        if is_over {
            self.journal.end_lease(&lease.name);
            self.remember(&lease);
            return;
        }
        let leases = self.clone();
        if lease.turn.try_lock().is_err() {
            return;
        }
        let command = {
            let mut state = lease.state();
            let renew_after = Millis(self.fresh().0 / 2);
            if state.closing {
                state.budget.give_back()
            } else {
                state.budget.command(now, renew_after)
            }
        };
        if command.is_some() {
            tokio::spawn(async move {
                let _turn = lease.turn.lock().await;
                let told = leases.deliver(&lease).await.is_ok();
                let now = leases.now();
                if told && lease.state().wants_more(now) {
                    let _ = leases.deliver(&lease).await;
                }
            });
        }
    }

    /// Hands the total spent of an ended lease to [`Replay`], for replay to a server that has forgotten it.
    fn remember(&self, lease: &Lease) {
        let (generation, number, told) = {
            let LeaseState {
                generation, budget, ..
            } = &*lease.state();
            (*generation, budget.number(), budget.told())
        };
        if !told.is_zero() {
            let said = Acknowledged::Lease {
                account: lease.account.clone(),
                name: lease.name.clone(),
                number,
                told,
            };
            self.replay.remember(generation, said);
        }
    }

    /// Sends the lease's pending command and applies the reply. The caller must hold `turn`.
    async fn deliver(&self, lease: &Lease) -> Outcome<()> {
        let now = self.now();
        let (said, window, told, begun, lines) = {
            let mut state = lease.state();
            state.notice(self.store.generation());
            let LeaseState { budget, window, .. } = &mut *state;
            let said = budget.say(now);
            let lines = budget.reported_lines();
            (said, *window, budget.told(), budget.begun(now), lines)
        };
        let Some((command, retry)) = said else {
            return Ok(());
        };
        let ttl = self.life();
        let done = match command {
            Command::Report {
                number,
                spent,
                back,
                ends,
            } => {
                self.journal.report(&lease.name, number, spent);
                let report = Report {
                    instance: &lease.name,
                    number,
                    spent,
                    back,
                    ttl,
                    retry,
                    ends,
                    before: Some(told),
                    begun,
                    lines: &lines,
                };
                let reported = self.store.report(&lease.account, &report).await;
                reported.map(|reported| {
                    let mut state = lease.state();
                    match reported {
                        Some(reported) => {
                            state.budget.reported(self.fresh(), &reported);
                            drop(state);
                            let settled = reported.settlement;
                            self.replay.charged(lease.about(), &lease.account, settled);
                        }
                        None => state.budget.lost(),
                    }
                    self.journal.heard(&lease.name, number);
                })
            }
            Command::Ask {
                number,
                tokens,
                slots,
            } => {
                let ask = Ask {
                    instance: &lease.name,
                    number,
                    tokens,
                    slots,
                    window,
                    ttl,
                    told: told.minus(begun.unwrap_or_default()),
                };
                let granted = self.store.lease(&lease.account, &ask).await;
                granted.map(|granted| {
                    let mut state = lease.state();
                    match granted {
                        Some(grant) => state.budget.granted(self.fresh(), &grant),
                        None => state.budget.lost(),
                    }
                })
            }
        };
        let mut state = lease.state();
        match &done {
            Ok(()) => state.trouble_logged = false,
            Err(StoreError::Damaged { name, damage }) => {
                let line = format_args!(
                    "Account {name} is damaged ({damage}): spending on its lease cannot be reported, and the lease ends. Restore the record"
                );
                lease.about().log(module_path!(), Level::Error, &[], line);
                state.budget.lost();
            }
            Err(error) => {
                if !retry && !matches!(error, StoreError::Unknown(_)) {
                    state.budget.not_executed();
                }
                let is_said = matches!(error, StoreError::Lost(_) | StoreError::Full);
                if !is_said && !std::mem::replace(&mut state.trouble_logged, true) {
                    let line = format_args!(
                        "Spending on a lease of account {} waits to be reported: {error}. It is retried; no tokens are lost",
                        lease.id
                    );
                    let about = lease.about();
                    about.log_throttled(&WAITS, module_path!(), Level::Warn, &[], line);
                }
            }
        }
        done
    }

    /// Reports all spending of a key's lease and gives the rest back, so that the record in the store is
    /// exact.
    pub async fn give_back(&self, key: &KeyName) -> Outcome<()> {
        match self.find(key) {
            Some(lease) => self.give_back_all(&lease).await,
            None => Ok(()),
        }
    }

    async fn give_back_all(&self, lease: &Lease) -> Outcome<()> {
        let _turn = lease.turn.lock().await;
        // At most three commands: the one in flight, a report of spending since, and the end of the lease.
        for _ in 0..3 {
            let nothing = {
                let mut state = lease.state();
                state.notice(self.store.generation());
                state.budget.give_back().is_none()
            };
            if nothing {
                break;
            }
            self.deliver(lease).await?;
        }
        Ok(())
    }

    /// Gives all leases back at shutdown. Spending that cannot be reported stays in the journal.
    pub async fn finish(&self) {
        for shard in &self.shards {
            let leases: Vec<Arc<Lease>> = lock(shard).leases.values().cloned().collect();
            for lease in leases {
                lease.state().closing = true;
                if self.give_back_all(&lease).await.is_ok() && lease.state().budget.is_empty() {
                    self.journal.end_lease(&lease.name);
                }
            }
        }
    }
}
