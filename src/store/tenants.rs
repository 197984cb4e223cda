//! Tenant configs as the gateway uses them: read once, cached, and re-read when they change.
//!
//! While the store reports changes, a cached config is valid until a change is reported. While it does not, a
//! config is cached for half a second (`MAX_UNFOLLOWED_AGE`). A malformed config or an unreadable store must not take
//! away a tenant that worked a moment ago.

use super::config_secrets::ConfigSecrets;
use super::{Configs, Follower, Outcome};
use crate::rules::amount::Millis;
use crate::rules::config::{self, Endpoint, TenantConfig};
use crate::rules::entry::Groups;
use crate::rules::redact::Credentials;
use crate::rules::tenant::TenantId;
use crate::rules::window::{Limits, Window};
use crate::tables::Faults;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum age of a cached config while the store does not report changes.
const MAX_UNFOLLOWED_AGE: Duration = Duration::from_millis(500);
/// Pause before a failed read is retried.
const RETRY: Duration = Duration::from_millis(100);
/// Maximum age of a config that is served on while the store cannot be read.
const MAX_STALE_AGE: Duration = Duration::from_secs(300);
/// Tenant IDs cached, known or not. Clients can invent unknown IDs, so these are evicted first.
const MAX_CACHED_TENANTS: usize = 10_000;

/// A tenant with its config parsed.
#[derive(Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub config: TenantConfig,
    pub groups: Groups,
    /// Credentials to redact from the responses of each endpoint, in the order of `config.providers.text.endpoints`.
    credentials: Vec<Credentials>,
    /// Number of this tenant's calls in progress here. Re-reading the config keeps it.
    pub in_flight: Arc<AtomicUsize>,
}

impl Tenant {
    /// Returns the credentials to redact from the responses of `endpoint`.
    pub fn credentials(&self, endpoint: &Endpoint) -> Option<&Credentials> {
        let text = self.config.providers.text.as_ref()?;
        let mut endpoints = text.endpoints.iter();
        let at = endpoints.position(|known| known.name == endpoint.name)?;
        self.credentials.get(at)
    }
}

#[derive(Clone, Debug)]
pub enum Lookup {
    Known(Arc<Tenant>),
    Unknown,
    /// The tenant has a config that is malformed. The log has its faults.
    Unusable,
}

pub struct Tenants {
    pub secrets: ConfigSecrets,
    store: Arc<dyn Configs>,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept(Mutex<CacheState>);

#[derive(Default)]
struct CacheState {
    followed: bool,
    entries: HashMap<TenantId, CacheEntry>,
}

#[derive(Default)]
struct CacheEntry {
    reading: Option<ConfigRead>,
    /// Incremented at each reported change. A read that began before it is not cached as valid.
    changes: u64,
    changed: bool,
    gate: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct ConfigRead {
    lookup: Lookup,
    text: Option<Arc<str>>,
    read: Instant,
    tried: Instant,
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheState {
    fn good(&self, id: &TenantId) -> Option<Lookup> {
        let entry = self.entries.get(id)?;
        let reading = entry.reading.as_ref()?;
        let good = (self.followed && !entry.changed) || reading.tried.elapsed() < entry.valid_for();
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
        self.state()
            .entries
            .values_mut()
            .for_each(CacheEntry::change);
    }

    fn following(&self, live: bool) {
        let mut state = self.state();
        // An unchanged config was valid until now, so its age starts now.
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

impl CacheEntry {
    fn change(&mut self) {
        self.changes += 1;
        self.changed = true;
    }

    /// Returns how long a reading is valid without change reports. A reported change is read at once, and
    /// after a failure again in [`RETRY`].
    fn valid_for(&self) -> Duration {
        match (&self.reading, self.changed) {
            (Some(reading), true) if reading.tried == reading.read => Duration::ZERO,
            (_, true) => RETRY,
            (_, false) => MAX_UNFOLLOWED_AGE,
        }
    }
}

impl Tenants {
    pub fn new(store: Arc<dyn Configs>, secrets: ConfigSecrets) -> Tenants {
        let kept = Arc::new(Kept::default());
        store.follow(kept.clone());
        Tenants {
            secrets,
            store,
            kept,
        }
    }

    /// Returns the tenant as it was last read, without asking the store. It must not be used to grant
    /// anything.
    pub fn kept(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        let state = self.kept.state();
        match &state.entries.get(id)?.reading.as_ref()?.lookup {
            Lookup::Known(tenant) => Some(tenant.clone()),
            Lookup::Unknown | Lookup::Unusable => None,
        }
    }

    /// Returns the tenant from the cache, or reads its config from the store.
    pub async fn find(&self, id: &TenantId) -> Outcome<Lookup> {
        let gate = {
            let mut state = self.kept.state();
            if let Some(lookup) = state.good(id) {
                return Ok(lookup);
            }
            if state.entries.len() >= MAX_CACHED_TENANTS && !state.entries.contains_key(id) {
                evict(&mut state.entries);
            }
            state.entries.entry(id.clone()).or_default().gate.clone()
        };
        // One caller reads; concurrent callers wait here for its result.
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
        // Age counts from the end of the read: else each caller that waited for a slow read would start
        // another.
        let now = Instant::now();
        let mut state = self.kept.state();
        let followed = state.followed;
        let entry = state.entries.entry(id.clone()).or_default();
        let reading = match answer {
            Ok(text) => {
                entry.changed = entry.changes != changes;
                read(&self.secrets, id, text, before, now, followed)
            }
            // After an error `changed` stays set until a read succeeds.
            Err(error) => match before {
                Some(before) if before.read.elapsed() < MAX_STALE_AGE => ConfigRead {
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

fn evict(entries: &mut HashMap<TenantId, CacheEntry>) {
    let known = |entry: &CacheEntry| {
        entry
            .reading
            .as_ref()
            .is_some_and(|reading| !matches!(reading.lookup, Lookup::Unknown))
    };
    // An entry that is being read must stay, to receive reported changes.
    let in_use = |entry: &CacheEntry| Arc::strong_count(&entry.gate) > 1;
    entries.retain(|_, entry| known(entry) || in_use(entry));
    if entries.len() >= 10 * MAX_CACHED_TENANTS {
        entries.retain(|_, entry| in_use(entry));
    }
}

fn read(
    secrets: &ConfigSecrets,
    id: &TenantId,
    text: Option<Arc<str>>,
    before: Option<ConfigRead>,
    now: Instant,
    followed: bool,
) -> ConfigRead {
    if let Some(before) = &before
        && before.text == text
    {
        // Unchanged. Re-reads for lack of change reports, twice a second, are not worth a log line each.
        if followed && text.is_some() {
            log::info!("Loaded tenant config for {id}");
        }
        return ConfigRead {
            read: now,
            tried: now,
            ..before.clone()
        };
    }
    let lookup = match &text {
        None => Lookup::Unknown,
        Some(text) => match parse(secrets, id, text) {
            Ok(mut tenant) => {
                log::info!("Loaded tenant config for {id}");
                if let Some(Lookup::Known(before)) = before.map(|before| before.lookup) {
                    tenant.in_flight = before.in_flight.clone();
                }
                Lookup::Known(Arc::new(tenant))
            }
            Err(faults) => {
                let faults = faults.in_line();
                log::error!("Tenant config for {id} cannot be used: {faults}");
                match before.map(|before| before.lookup) {
                    Some(Lookup::Known(tenant)) => Lookup::Known(tenant),
                    _ => Lookup::Unusable,
                }
            }
        },
    };
    ConfigRead {
        lookup,
        text,
        read: now,
        tried: now,
    }
}

/// Parses a tenant's config. `Err`: every fault in it.
fn parse(secrets: &ConfigSecrets, id: &TenantId, text: &str) -> Result<Tenant, Faults> {
    let config = secrets.read(id, text)?;
    let limits = |group: &config::Group| Limits {
        window: group.limit().map(|limit| Window {
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
    let endpoints = config
        .providers
        .text
        .iter()
        .flat_map(|text| &text.endpoints);
    Ok(Tenant {
        id: id.clone(),
        credentials: endpoints.map(Credentials::of).collect(),
        config,
        groups: Groups::new(groups),
        in_flight: Arc::default(),
    })
}
