//! Leases: what this instance may spend of an account without asking the store.
//!
//! A key that is used often gets a purse (`rules::purse`): requests are held against it here, in memory,
//! and the store hears ten times a second what was spent. Balances that are small against what goes on,
//! and narrow windows, get none: each of their requests asks the store. This must never promise what
//! the store has not set aside, and never spend from a purse that the store may have taken back.

use super::journal::Journal;
use super::name::{AccountName, KeyName};
use super::recall::{Recall, Said};
use super::{Outcome, Store, StoreError};
use crate::rules::account::{Admission, Admit, Ask, Report};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::entry::Caller;
use crate::rules::purse::{Command, Held, Purse};
use crate::rules::tenant::TenantId;
use crate::rules::window::{Limits, Window};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the store hears what was spent.
pub const REPORT_EVERY: Duration = Duration::from_millis(100);
/// A purse is for a key that comes so often within a second.
const OFTEN: u32 = 3;
/// So long a key is taken to be what it was: whose, in which group, not revoked.
const TRUSTED: Millis = Millis(1_000);
/// While one request asks again, the others go on for so long.
const TRUSTED_MEANWHILE: Millis = Millis(2_000);
const SHELVES: usize = 16;
/// Keys that are remembered for having come lately, on each shelf.
const LATELY: usize = 4_096;

pub struct Leases {
    store: Arc<dyn Store>,
    journal: Arc<Journal>,
    recall: Arc<Recall>,
    /// How long a request is covered from when it was admitted or renewed.
    cover: Millis,
    started: Instant,
    instance: String,
    opened: AtomicU64,
    hasher: RandomState,
    shelves: [Mutex<Shelf>; SHELVES],
}

#[derive(Default)]
struct Shelf {
    leases: HashMap<KeyName, Arc<Lease>>,
    /// How often a key came in this second, by its hash.
    lately: HashMap<u64, u32>,
    second: u64,
}

/// One key's purse.
pub struct Lease {
    pub account: AccountName,
    /// The account's name for logs.
    pub id: String,
    name: String,
    tenant: TenantId,
    state: Mutex<State>,
    /// One command at a time.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    purse: Purse,
    group: Arc<str>,
    window: Option<Window>,
    checked: Millis,
    checking: bool,
    /// The key is no longer what it was: nothing more is held against this purse.
    closing: bool,
    said_trouble: bool,
    /// The store's, when it was last spoken to.
    generation: Option<u64>,
}

fn slice(window: Option<Window>) -> Millis {
    Millis(window.map_or(0, Window::slice))
}

impl State {
    fn wants_more(&mut self, now: Millis) -> bool {
        !self.closing && self.purse.ask_at_once(now).is_some()
    }

    /// Where the server behind the store was replaced, it may have forgotten what the purse believes.
    fn notice(&mut self, generation: Option<u64>) {
        if self.generation != generation {
            self.generation = generation;
            self.purse.doubt();
        }
    }
}

/// A request that a purse covers.
pub struct Covered {
    pub lease: Arc<Lease>,
    pub group: Arc<str>,
    pub held: Held,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Leases {
    /// `cover`: how long a hold lives without being renewed.
    pub fn new(
        store: Arc<dyn Store>,
        journal: Arc<Journal>,
        recall: Arc<Recall>,
        cover: Duration,
    ) -> Arc<Leases> {
        Arc::new(Leases {
            store,
            journal,
            recall,
            cover: cover.into(),
            started: Instant::now(),
            instance: uuid::Uuid::now_v7().simple().to_string(),
            opened: AtomicU64::new(0),
            hasher: RandomState::new(),
            shelves: Default::default(),
        })
    }

    fn now(&self) -> Millis {
        self.started.elapsed().into()
    }

    /// A lease lives so much longer than the purse is spent from, that what was held at the last moment
    /// is covered to its end.
    fn life(&self) -> Millis {
        self.cover.plus(self.fresh())
    }

    fn fresh(&self) -> Millis {
        Millis(self.cover.0 / 3)
    }

    fn shelf(&self, key: &KeyName) -> (MutexGuard<'_, Shelf>, u64) {
        let hash = self.hasher.hash_one(key);
        (lock(&self.shelves[hash as usize % SHELVES]), hash)
    }

    fn find(&self, key: &KeyName) -> Option<Arc<Lease>> {
        self.shelf(key).0.leases.get(key).cloned()
    }

    /// This key has a purse here.
    pub fn has(&self, key: &KeyName) -> bool {
        self.find(key).is_some()
    }

    /// Holds a request against its key's purse. `None`: the store must be asked.
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
        let Limits { window, concurrent } = caller.groups.limits(&state.group);
        if state.closing || window != state.window || concurrent.is_some() {
            return None;
        }
        let since = now.minus(state.checked);
        if since >= TRUSTED
            && (!std::mem::replace(&mut state.checking, true) || since >= TRUSTED_MEANWHILE)
        {
            return None;
        }
        let Some(held) = state.purse.admit(now, ask, window.is_some()) else {
            drop(state);
            self.fill(lease);
            return None;
        };
        let group = state.group.clone();
        drop(state);
        self.journal
            .begin_leased(&lease.name, ask.id, ask.known.min(held.held));
        Some(Covered { lease, group, held })
    }

    /// Asks for more at once, if nothing else is under way.
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

    /// The store has admitted a request of this key: from now on it may deserve a purse.
    pub fn saw(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        account: &AccountName,
        group: &str,
        admission: &Admission,
    ) {
        let Admission::Granted { left, pace, .. } = *admission else {
            return;
        };
        let Limits { window, concurrent } = caller.groups.limits(group);
        // Requests that a purse covers are not in flight for the store: who may have so many of them,
        // asks the store for each.
        if concurrent.is_some() {
            self.distrust(key);
            return;
        }
        let now = self.now();
        let (mut shelf, hash) = self.shelf(key);
        if let Some(lease) = shelf.leases.get(key).cloned() {
            drop(shelf);
            let mut state = lease.state();
            if lease.tenant.as_str() != caller.tenant || lease.account != *account {
                state.closing = true;
                return;
            }
            if *state.group != *group {
                state.group = Arc::from(group);
            }
            state.window = window;
            state.checked = now;
            state.checking = false;
            state.purse.saw(left, pace, slice(window));
            return;
        }
        if shelf.second != now.0 / 1_000 || shelf.lately.len() >= LATELY {
            shelf.second = now.0 / 1_000;
            shelf.lately.clear();
        }
        let times = shelf.lately.entry(hash).or_default();
        *times += 1;
        let Some(tenant) = TenantId::parse(caller.tenant) else {
            return;
        };
        if *times < OFTEN {
            return;
        }
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut purse = Purse::default();
        purse.saw(left, pace, slice(window));
        let lease = Lease {
            account: account.clone(),
            id: account.id(),
            name: format!("{}-{number}", self.instance),
            tenant,
            state: Mutex::new(State {
                purse,
                group: Arc::from(group),
                window,
                checked: now,
                checking: false,
                closing: false,
                said_trouble: false,
                generation: self.store.generation(),
            }),
            turn: tokio::sync::Mutex::default(),
        };
        self.journal.lease(account, &lease.name);
        shelf.leases.insert(key.clone(), Arc::new(lease));
    }

    /// The key is not what it was: whatever it is now, the store says.
    pub fn distrust(&self, key: &KeyName) {
        if let Some(lease) = self.find(key) {
            lease.state().closing = true;
        }
    }

    /// Ends a request's hold. What is left of the balance after it.
    pub fn settle(&self, lease: &Lease, id: &str, used: Tokens) -> Tokens {
        // Before any report can count it.
        self.journal.spend(&lease.name, id, used);
        lease.state().purse.settle(id, used)
    }

    /// A request's heartbeat. False: its cover ends.
    pub fn renew(&self, lease: &Lease, id: &str) -> bool {
        let now = self.now();
        lease.state().purse.renew(now, id, self.cover)
    }

    /// Reports, asks and gives back, ten times a second, until it is dropped.
    pub async fn run(self: Arc<Leases>) {
        loop {
            tokio::time::sleep(REPORT_EVERY).await;
            self.journal.flush();
            for shelf in &self.shelves {
                let leases: Vec<(KeyName, Arc<Lease>)> = {
                    let shelf = lock(shelf);
                    let pairs = shelf.leases.iter();
                    pairs
                        .map(|(key, lease)| (key.clone(), lease.clone()))
                        .collect()
                };
                for (key, lease) in leases {
                    self.attend(shelf, &key, lease);
                }
            }
        }
    }

    fn attend(self: &Arc<Leases>, shelf: &Mutex<Shelf>, key: &KeyName, lease: Arc<Lease>) {
        let now = self.now();
        let is_over = {
            let mut shelf = lock(shelf);
            let mut state = lease.state();
            state.notice(self.store.generation());
            let over = state.purse.is_empty()
                && (state.closing || state.purse.is_gone() || state.purse.is_idle(now));
            if over {
                shelf.leases.remove(key);
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
                state.purse.give_back()
            } else {
                state.purse.command(now, renew_after)
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

    /// What was spent of a lease that is over.
    fn remember(&self, lease: &Lease) {
        let (generation, number, told) = {
            let State {
                generation, purse, ..
            } = &*lease.state();
            (*generation, purse.number(), purse.told())
        };
        if !told.is_zero() {
            let said = Said::Lease {
                account: lease.account.clone(),
                name: lease.name.clone(),
                number,
                told,
            };
            self.recall.remember(generation, said);
        }
    }

    /// Says what is under way. The caller has the turn.
    async fn deliver(&self, lease: &Lease) -> Outcome<()> {
        let now = self.now();
        let (said, window, told, begun) = {
            let mut state = lease.state();
            state.notice(self.store.generation());
            let State { purse, window, .. } = &mut *state;
            let said = purse.say(now);
            (said, *window, purse.told(), purse.begun(now))
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
                };
                let reported = self.store.report(&lease.account, &report).await;
                reported.map(|reported| {
                    let mut state = lease.state();
                    match reported {
                        Some(reported) => {
                            state.purse.reported(self.fresh(), &reported);
                            drop(state);
                            self.recall.charged(&lease.account, reported.settlement);
                        }
                        None => state.purse.lost(),
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
                        Some(grant) => state.purse.granted(self.fresh(), &grant),
                        None => state.purse.lost(),
                    }
                })
            }
        };
        let mut state = lease.state();
        match &done {
            Ok(()) => state.said_trouble = false,
            Err(StoreError::Damaged { name, damage }) => {
                log::error!("What was spent of account {name} cannot be told: {damage}");
                state.purse.lost();
            }
            Err(error) => {
                if !retry && !matches!(error, StoreError::Unknown(_)) {
                    state.purse.unheard();
                }
                let is_said = matches!(error, StoreError::Lost(_) | StoreError::Full);
                if !is_said && !std::mem::replace(&mut state.said_trouble, true) {
                    log::warn!("What was spent of account {} waits: {error}", lease.id);
                }
            }
        }
        done
    }

    /// Tells the store all that was spent of a key's purse and gives the rest back, so that the store
    /// knows what this instance knows.
    pub async fn give_back(&self, key: &KeyName) -> Outcome<()> {
        match self.find(key) {
            Some(lease) => self.give_back_all(&lease).await,
            None => Ok(()),
        }
    }

    async fn give_back_all(&self, lease: &Lease) -> Outcome<()> {
        let _turn = lease.turn.lock().await;
        // What was under way, what was spent meanwhile, and the end.
        for _ in 0..3 {
            let nothing = {
                let mut state = lease.state();
                state.notice(self.store.generation());
                state.purse.give_back().is_none()
            };
            if nothing {
                break;
            }
            self.deliver(lease).await?;
        }
        Ok(())
    }

    /// Gives everything back. What cannot be told stays in the journal.
    pub async fn finish(&self) {
        for shelf in &self.shelves {
            let leases: Vec<Arc<Lease>> = lock(shelf).leases.values().cloned().collect();
            for lease in leases {
                lease.state().closing = true;
                if self.give_back_all(&lease).await.is_ok() && lease.state().purse.is_empty() {
                    self.journal.end_lease(&lease.name);
                }
            }
        }
    }
}
