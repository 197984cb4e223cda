//! Tenants as the gateway works with them: read once, kept, and read again when they change.
//!
//! While the store reports changes, a config that was read stays good until one is reported. While
//! it does not, what is kept is good for half a second. A config that cannot be used, or a store
//! that cannot be read, does not take a tenant away that worked a moment ago.

use super::vault::Vault;
use super::{Follower, Outcome, Store};
use crate::rules::amount::Millis;
use crate::rules::config::{self, Endpoint, Fault, TenantConfig};
use crate::rules::entry::Groups;
use crate::rules::strike::Credentials;
use crate::rules::tenant::TenantId;
use crate::rules::window::{Limits, Window};
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How old an unfollowed config may be.
const REREAD: Duration = Duration::from_millis(500);
/// How soon a failed reading is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How long a config serves on while the store cannot be read.
const LAST_GOOD: Duration = Duration::from_secs(300);
/// Names of tenants kept, known or not. Strangers choose the unknown ones, so these go first.
const KEPT: usize = 10_000;

#[derive(Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub config: TenantConfig,
    pub groups: Groups,
    /// What is struck out of what each of its text endpoints says, in their order.
    credentials: Vec<Credentials>,
    /// Calls of this tenant's that are under way here, whatever its config says meanwhile.
    pub under_way: Arc<AtomicUsize>,
}

impl Tenant {
    pub fn credentials(&self, endpoint: &Endpoint) -> Option<&Credentials> {
        let text = self.config.text.as_ref()?;
        let mut endpoints = text.endpoints.iter();
        let at = endpoints.position(|known| known.name == endpoint.name)?;
        self.credentials.get(at)
    }
}

#[derive(Clone, Debug)]
pub enum Lookup {
    Known(Arc<Tenant>),
    Unknown,
    /// There is a config, and it cannot be used. The log says why.
    Unusable,
}

pub struct Tenants {
    pub vault: Vault,
    store: Arc<dyn Store>,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept(Mutex<State>);

#[derive(Default)]
struct State {
    followed: bool,
    entries: HashMap<TenantId, Entry>,
}

#[derive(Default)]
struct Entry {
    reading: Option<Reading>,
    /// Raised at each reported change: what was read before it is not kept as good.
    changes: u64,
    changed: bool,
    gate: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Reading {
    lookup: Lookup,
    text: Option<Arc<str>>,
    read: Instant,
    tried: Instant,
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn good(&self, id: &TenantId) -> Option<Lookup> {
        let entry = self.entries.get(id)?;
        let reading = entry.reading.as_ref()?;
        let good = (self.followed && !entry.changed) || reading.tried.elapsed() < entry.patience();
        good.then(|| reading.lookup.clone())
    }
}

impl Follower for Kept {
    fn changed(&self, tenant: &str) {
        let Some(id) = TenantId::parse(tenant) else {
            return;
        };
        if let Some(entry) = self.state().entries.get_mut(&id) {
            entry.change();
        }
    }

    fn all_changed(&self) {
        self.state().entries.values_mut().for_each(Entry::change);
    }

    fn following(&self, live: bool) {
        let mut state = self.state();
        // What was followed until now was good until now.
        if state.followed && !live {
            let now = Instant::now();
            let unchanged = state.entries.values_mut().filter(|entry| !entry.changed);
            for reading in unchanged.filter_map(|entry| entry.reading.as_mut()) {
                (reading.read, reading.tried) = (now, now);
            }
        }
        state.followed = live;
    }
}

impl Entry {
    fn change(&mut self) {
        self.changes += 1;
        self.changed = true;
    }

    /// How long a reading is good by itself. A reported change is read at once, and after a failure
    /// soon again.
    fn patience(&self) -> Duration {
        match (&self.reading, self.changed) {
            (Some(reading), true) if reading.tried == reading.read => Duration::ZERO,
            (_, true) => RETRY,
            (_, false) => REREAD,
        }
    }
}

impl Tenants {
    pub fn new(store: Arc<dyn Store>, vault: Vault) -> Tenants {
        let kept = Arc::new(Kept::default());
        store.follow(kept.clone());
        Tenants { vault, store, kept }
    }

    /// The tenant as it was last read, without asking anyone. Nothing is granted by this.
    pub fn kept(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        let state = self.kept.state();
        match &state.entries.get(id)?.reading.as_ref()?.lookup {
            Lookup::Known(tenant) => Some(tenant.clone()),
            Lookup::Unknown | Lookup::Unusable => None,
        }
    }

    pub async fn find(&self, id: &TenantId) -> Outcome<Lookup> {
        let gate = {
            let mut state = self.kept.state();
            if let Some(lookup) = state.good(id) {
                return Ok(lookup);
            }
            if state.entries.len() >= KEPT && !state.entries.contains_key(id) {
                make_room(&mut state.entries);
            }
            state.entries.entry(id.clone()).or_default().gate.clone()
        };
        // One reads; who comes meanwhile waits for what it finds.
        let _turn = gate.lock().await;
        let (changes, before) = {
            let state = self.kept.state();
            if let Some(lookup) = state.good(id) {
                return Ok(lookup);
            }
            state
                .entries
                .get(id)
                .map(|entry| (entry.changes, entry.reading.clone()))
                .unwrap_or_default()
        };
        let answer = self.store.config(id).await;
        // From the end of the reading: else who waited for a slow one would each begin another.
        let now = Instant::now();
        let mut state = self.kept.state();
        let followed = state.followed;
        let entry = state.entries.entry(id.clone()).or_default();
        let reading = match answer {
            Ok(text) => {
                entry.changed = entry.changes != changes;
                read(&self.vault, id, text, before, now, followed)
            }
            // What was reported as changed stays so until it is read.
            Err(error) => match before {
                Some(before) if before.read.elapsed() < LAST_GOOD => Reading {
                    tried: now,
                    ..before
                },
                _ => return Err(error),
            },
        };
        let lookup = reading.lookup.clone();
        entry.reading = Some(reading);
        Ok(lookup)
    }
}

fn make_room(entries: &mut HashMap<TenantId, Entry>) {
    let known = |entry: &Entry| {
        entry
            .reading
            .as_ref()
            .is_some_and(|reading| !matches!(reading.lookup, Lookup::Unknown))
    };
    // One that is being read must still hear of changes.
    let in_use = |entry: &Entry| Arc::strong_count(&entry.gate) > 1;
    entries.retain(|_, entry| known(entry) || in_use(entry));
    if entries.len() >= 10 * KEPT {
        entries.retain(|_, entry| in_use(entry));
    }
}

fn read(
    vault: &Vault,
    id: &TenantId,
    text: Option<Arc<str>>,
    before: Option<Reading>,
    now: Instant,
    followed: bool,
) -> Reading {
    if let Some(before) = &before
        && before.text == text
    {
        // Read again because nobody would have told: no news, and not worth a line each time.
        if followed && text.is_some() {
            log::info!("Loaded tenant config for {id}");
        }
        return Reading {
            read: now,
            tried: now,
            ..before.clone()
        };
    }
    let lookup = match &text {
        None => Lookup::Unknown,
        Some(text) => match parse(vault, id, text) {
            Ok(mut tenant) => {
                log::info!("Loaded tenant config for {id}");
                if let Some(Lookup::Known(before)) = before.map(|before| before.lookup) {
                    tenant.under_way = before.under_way.clone();
                }
                Lookup::Known(Arc::new(tenant))
            }
            Err(faults) => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                log::error!(
                    "Tenant config for {id} cannot be used: {}",
                    faults.join("; ")
                );
                match before.map(|before| before.lookup) {
                    Some(Lookup::Known(tenant)) => Lookup::Known(tenant),
                    _ => Lookup::Unusable,
                }
            }
        },
    };
    Reading {
        lookup,
        text,
        read: now,
        tried: now,
    }
}

/// A tenant from its config's text, or everything that is wrong with it.
fn parse(vault: &Vault, id: &TenantId, text: &str) -> Result<Tenant, Vec<Fault>> {
    let config = vault.read(id, text)?;
    let limits = |group: &config::Group| Limits {
        window: group.limit.map(|limit| Window {
            requests: limit.requests,
            span: Millis(limit.window_millis),
        }),
        concurrent: group.max_concurrent,
    };
    let groups = config
        .groups
        .iter()
        .map(|(name, group)| (name.clone(), limits(group)))
        .collect();
    let endpoints = config.text.iter().flat_map(|text| &text.endpoints);
    Ok(Tenant {
        id: id.clone(),
        credentials: endpoints.map(Credentials::of).collect(),
        config,
        groups: Groups::new(groups),
        under_way: Arc::default(),
    })
}
