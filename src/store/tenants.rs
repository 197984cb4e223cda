//! Tenant configs as the gateway uses them: read once, cached, and re-read when they change.
//!
//! While the store reports changes, a cached config is valid until a change is reported. While it does not, a
//! config is cached for half a second (`MAX_UNFOLLOWED_AGE`). A malformed config or an unreadable store must not take
//! away a tenant that worked a moment ago.
//!
//! The tenant's series in the metrics are kept beside its config, so that a call looks none up.

use super::config_secrets::ConfigSecrets;
use super::{Configs, Follower, Outcome};
use crate::rules::amount::Millis;
use crate::rules::config::{self, Endpoint, TenantConfig};
use crate::rules::entry::Groups;
use crate::rules::health::{Health, PassedOver};
use crate::rules::redact::Credentials;
use crate::rules::tenant::TenantId;
use crate::rules::window::{Limits, Window};
use crate::tables::Faults;
use crate::telemetry::series::{EndpointSeries, Families, TenantSeries};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// Maximum age of a cached config while the store does not report changes.
const MAX_UNFOLLOWED_AGE: Duration = Duration::from_millis(500);
/// Pause before a failed read is retried.
const RETRY: Duration = Duration::from_millis(100);
/// Maximum age of a config that is served on while the store cannot be read.
const MAX_STALE_AGE: Duration = Duration::from_secs(300);
/// Tenant IDs cached, known or not. Clients can invent unknown IDs, so these are evicted first.
const MAX_CACHED_TENANTS: usize = 10_000;
/// Configs that one [`Tenants::sweep`] reads again, at most.
const MAX_SWEPT_TENANTS: usize = 100;
/// Age from which a sweep reads a config again while the store does not report changes.
const UNFOLLOWED_SWEEP_AGE: Duration = Duration::from_secs(10);

/// A tenant with its config parsed.
#[derive(Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub config: TenantConfig,
    pub groups: Groups,
    /// In the order of `config.providers.text.endpoints`.
    beside: Vec<BesideEndpoint>,
    /// Number of this tenant's calls in progress here. Re-reading the config keeps it.
    pub in_flight: Arc<AtomicUsize>,
    /// Health of the endpoints as this instance sees it. Re-reading the config keeps it.
    pub health: Arc<Mutex<Health>>,
}

/// What is kept beside the config of an endpoint.
#[derive(Debug)]
pub struct BesideEndpoint {
    /// Redacted from its responses.
    pub credentials: Credentials,
    pub series: EndpointSeries,
    /// Numbers of the provider's keys, in the order of [`Endpoint::keys`]. No key can be told from its number.
    pub key_ids: Vec<u64>,
}

impl Tenant {
    /// Returns the numbers of an endpoint's keys; of one without keys, the number of none.
    pub fn key_ids(&self, endpoint: &Endpoint) -> &[u64] {
        self.beside(endpoint).map_or(&[], |beside| &beside.key_ids)
    }

    /// Returns what is kept beside `endpoint`, one of this tenant's config.
    pub fn beside(&self, endpoint: &Endpoint) -> Option<&BesideEndpoint> {
        let text = self.config.providers.text.as_ref()?;
        let mut endpoints = text.endpoints.iter();
        let at = endpoints.position(|known| std::ptr::eq(known, endpoint))?;
        self.beside.get(at)
    }
}

#[derive(Clone, Debug)]
pub enum Lookup {
    Known(Arc<Tenant>),
    Unknown,
    /// The tenant has a config that is malformed. The log has its faults.
    Unusable,
}

#[cfg(test)]
impl Tenant {
    /// Returns a tenant for tests of what needs one beside it.
    pub(crate) fn of(config: &serde_json::Value) -> Tenant {
        Tenant {
            id: TenantId::parse("abc").unwrap(),
            config: config::read(config).unwrap(),
            groups: Groups::default(),
            beside: Vec::new(),
            in_flight: Arc::default(),
            health: Arc::default(),
        }
    }
}

pub struct Tenants {
    pub secrets: ConfigSecrets,
    store: Arc<dyn Configs>,
    kept: Arc<Kept>,
    families: Families,
    /// Series of requests that name no known tenant.
    nobody: TenantSeries,
}

/// Numbers of tenants whose stored config cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unusable {
    /// Their calls are refused.
    pub refused: usize,
    /// They are served by the config before it.
    pub served_by_previous: usize,
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
    /// `Some` for a tenant that has a config, usable or not.
    series: Option<Arc<TenantSeries>>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct ConfigRead {
    lookup: Lookup,
    /// Whether the stored text cannot be used. `lookup` may be the config before it.
    is_faulty: bool,
    text: Option<Arc<str>>,
    read: Instant,
    tried: Instant,
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.0.lock()
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

    /// Returns the tenant's series, which it has while it `has_config`.
    fn series_of(
        &mut self,
        has_config: bool,
        make: impl FnOnce() -> TenantSeries,
    ) -> Option<&TenantSeries> {
        match has_config {
            true => Some(self.series.get_or_insert_with(|| Arc::new(make()))),
            false => {
                self.series = None;
                None
            }
        }
    }

    fn is_known(&self) -> bool {
        let reading = self.reading.as_ref();
        reading.is_some_and(|reading| !matches!(reading.lookup, Lookup::Unknown))
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
    pub fn new(store: Arc<dyn Configs>, secrets: ConfigSecrets, families: Families) -> Tenants {
        let kept = Arc::new(Kept::default());
        store.follow(kept.clone());
        Tenants {
            secrets,
            store,
            kept,
            nobody: families.tenant(""),
            families,
        }
    }

    /// Counts an error that the gateway answered itself, for the tenant that the path names: a label only where
    /// there is such a tenant.
    pub fn count_error(&self, tenant: Option<&TenantId>, code: &'static str, status: u16) {
        let series = tenant.and_then(|id| self.kept.state().entries.get(id)?.series.clone());
        let series = series.as_deref().unwrap_or(&self.nobody);
        series.count_error(code, status);
    }

    /// Returns at most `most` endpoints that are passed over now.
    pub fn passed_over(&self, most: usize) -> Vec<(TenantId, PassedOver)> {
        let mut tenants = Vec::new();
        for (id, entry) in &self.kept.state().entries {
            if let Some(ConfigRead {
                lookup: Lookup::Known(tenant),
                ..
            }) = &entry.reading
            {
                tenants.push((id.clone(), tenant.health.clone()));
            }
        }
        let now = Instant::now();
        let all = tenants.into_iter().flat_map(|(id, health)| {
            let passed_over = health.lock().passed_over(now);
            passed_over.into_iter().map(move |each| (id.clone(), each))
        });
        all.take(most).collect()
    }

    /// Counts the tenants whose stored config cannot be used, of those that were asked for.
    pub fn unusable(&self) -> Unusable {
        let mut unusable = Unusable::default();
        let state = self.kept.state();
        let readings = state
            .entries
            .values()
            .filter_map(|entry| entry.reading.as_ref());
        for reading in readings.filter(|reading| reading.is_faulty) {
            match reading.lookup {
                Lookup::Known(_) => unusable.served_by_previous += 1,
                Lookup::Unknown | Lookup::Unusable => unusable.refused += 1,
            }
        }
        unusable
    }

    /// Reads configs again that may have changed and that nobody has asked for since, and removes the series of
    /// tenants and endpoints that are no more.
    pub async fn sweep(&self) {
        for id in self.stale() {
            // An unreadable store is logged and counted where it is needed.
            let _ = self.find(&id).await;
        }
        self.families.remove_unused();
    }

    /// Tenants for [`Tenants::sweep`] to read again, those that wait longest first.
    fn stale(&self) -> Vec<TenantId> {
        let state = self.kept.state();
        let is_stale = |entry: &CacheEntry| {
            let tried = entry.reading.as_ref().map(|reading| reading.tried);
            let is_old = tried.is_none_or(|tried| tried.elapsed() >= UNFOLLOWED_SWEEP_AGE);
            entry.is_known() && (entry.changed || (!state.followed && is_old))
        };
        let entries = state.entries.iter().filter(|(_, entry)| is_stale(entry));
        let mut stale: Vec<(Option<Instant>, &TenantId)> = entries
            .map(|(id, entry)| (entry.reading.as_ref().map(|reading| reading.tried), id))
            .collect();
        stale.sort_by_key(|(tried, _)| *tried);
        let stale = stale.into_iter().take(MAX_SWEPT_TENANTS);
        stale.map(|(_, id)| id.clone()).collect()
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
                let series = entry.series_of(text.is_some(), || self.families.tenant(id.as_str()));
                let secrets = &self.secrets;
                let reader = Reader {
                    secrets,
                    id,
                    series,
                };
                reader.read(text, before, now, followed)
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

/// Version of a config in log lines: the first digits of its SHA-256, as in the `ETag` that admins see.
pub fn version(text: impl AsRef<[u8]>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_ref());
    hex::encode(&digest.as_ref()[..6])
}

fn evict(entries: &mut HashMap<TenantId, CacheEntry>) {
    // An entry that is being read must stay, to receive reported changes.
    let in_use = |entry: &CacheEntry| Arc::strong_count(&entry.gate) > 1;
    entries.retain(|_, entry| entry.is_known() || in_use(entry));
    if entries.len() >= 10 * MAX_CACHED_TENANTS {
        entries.retain(|_, entry| in_use(entry));
    }
}

/// Reads the config of one tenant.
struct Reader<'a> {
    secrets: &'a ConfigSecrets,
    id: &'a TenantId,
    /// `None`: the tenant has no config.
    series: Option<&'a TenantSeries>,
}

impl Reader<'_> {
    fn read(
        &self,
        text: Option<Arc<str>>,
        before: Option<ConfigRead>,
        now: Instant,
        followed: bool,
    ) -> ConfigRead {
        let id = self.id;
        if let Some(before) = &before
            && before.text == text
        {
            // Unchanged. Re-reads for lack of change reports, twice a second, are not worth a log line each.
            if followed && text.is_some() {
                log::info!(tenant = id.as_str(); "Loaded tenant config for {id}");
            }
            return ConfigRead {
                read: now,
                tried: now,
                ..before.clone()
            };
        }
        let (lookup, is_faulty) = match &text {
            None => (Lookup::Unknown, false),
            Some(text) => self.parse_over(text, before),
        };
        ConfigRead {
            lookup,
            is_faulty,
            text,
            read: now,
            tried: now,
        }
    }

    /// Parses a config. A faulty one is logged, and leaves the one before it in force.
    fn parse_over(&self, text: &str, before: Option<ConfigRead>) -> (Lookup, bool) {
        let id = self.id;
        let before = before.map(|before| before.lookup);
        match self.parse(text) {
            Ok(mut tenant) => {
                let version = version(text);
                log::info!(
                    tenant = id.as_str(), version = version.as_str();
                    "Loaded tenant config for {id}"
                );
                if let Some(Lookup::Known(before)) = before {
                    tenant.in_flight = before.in_flight.clone();
                    tenant.health = before.health.clone();
                    let endpoints = tenant.config.providers.text.iter();
                    let endpoints = endpoints.flat_map(|text| &text.endpoints);
                    let names: HashSet<&str> = endpoints.map(|each| each.name.as_str()).collect();
                    tenant.health.lock().keep(|name| names.contains(name));
                }
                (Lookup::Known(Arc::new(tenant)), false)
            }
            Err(faults) => {
                let (version, faults) = (version(text), faults.in_line());
                let in_force = match &before {
                    Some(Lookup::Known(_)) => "previous",
                    _ => "none",
                };
                log::error!(
                    tenant = id.as_str(), version = version.as_str(), in_force = in_force;
                    "Tenant config for {id} cannot be used: {faults}"
                );
                match before {
                    Some(Lookup::Known(tenant)) => (Lookup::Known(tenant), true),
                    _ => (Lookup::Unusable, true),
                }
            }
        }
    }

    /// Parses a tenant's config. `Err`: every fault in it.
    fn parse(&self, text: &str) -> Result<Tenant, Faults> {
        let config = self.secrets.read(self.id, text)?;
        let limits = |group: &config::Group| Limits {
            window: group.limit().map(|limit| Window {
                requests: limit.requests,
                span: Millis(limit.window_millis),
            }),
            concurrent: group.max_concurrent,
            refill: group.refill,
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
        let beside = endpoints.enumerate().filter_map(|(nth, endpoint)| {
            Some(BesideEndpoint {
                credentials: Credentials::of(endpoint),
                series: self.series?.endpoint(&endpoint.name, nth),
                key_ids: key_ids(endpoint),
            })
        });
        Ok(Tenant {
            id: self.id.clone(),
            beside: beside.collect(),
            config,
            groups: Groups::new(groups),
            in_flight: Arc::default(),
            health: Arc::default(),
        })
    }
}

/// Numbers of an endpoint's keys: the first bytes of their SHA-256. An endpoint without keys counts as one of an empty key.
fn key_ids(endpoint: &Endpoint) -> Vec<u64> {
    let id = |key: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(first)
    };
    let ids: Vec<u64> = endpoint.keys().map(|key| id(key.expose())).collect();
    match ids.is_empty() {
        true => vec![id("")],
        false => ids,
    }
}
