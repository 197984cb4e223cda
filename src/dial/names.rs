//! Resolves host names asynchronously, and caches results and failures by TTL.
//!
//! Addresses are not checked here: `Dialer` checks the very address that it dials, at each connect.
//! Concurrent lookups of one name are merged into one, and a slow name never delays another.

use crate::settings;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Mutex as Turn;

/// Names in the cache. When it is full, expired entries are evicted; if that is not enough, all are.
const MAX_CACHED_NAMES: usize = 4_096;
/// Upper bound of a cached result's TTL.
const MAX_TTL: Duration = Duration::from_secs(300);
/// Lower bound of the TTL, and TTL of a failure: callers that wait for the same name share one lookup.
const MIN_TTL: Duration = Duration::from_secs(1);
/// Timeout of one DNS query; retries are bounded by `upstream.connect_timeout`.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// System files that determine name resolution. [`DnsCache::refresh`] watches them for changes.
const SYSTEM: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Resolver with a cache.
pub(super) struct DnsCache {
    /// `egress.nameservers`. Empty: the system's.
    servers: Vec<SocketAddr>,
    resolver: Mutex<Resolver>,
    /// Cache by host. Each entry has a lock of its own, held during a lookup.
    known: Mutex<HashMap<String, Arc<Turn<Known>>>>,
}

/// Cache entry: a result and its expiry. `None`: not looked up yet.
#[derive(Default)]
struct Known(Option<(Instant, LookupResult)>);

/// Addresses of a host, IPv4 first, or the text of an error.
type LookupResult = Result<Vec<IpAddr>, String>;

struct Resolver {
    ask: Result<TokioResolver, String>,
    /// Modification times of the [`SYSTEM`] files when the resolver was built.
    written: [Option<SystemTime>; SYSTEM.len()],
}

impl DnsCache {
    pub fn new(settings: &settings::Egress) -> DnsCache {
        let servers = settings.nameservers.clone();
        DnsCache {
            resolver: Mutex::new(resolver(&servers)),
            servers,
            known: Mutex::default(),
        }
    }

    /// Returns the addresses of a host, from the cache or by a lookup. An IP address is returned as it is.
    pub async fn addresses(&self, host: &str) -> LookupResult {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let turn = self.turn(host);
        let mut known = turn.lock().await;
        if let Some((until, found)) = &known.0
            && Instant::now() < *until
        {
            return found.clone();
        }
        let (life, found) = match self.look_up(host).await {
            Ok((life, addresses)) => (life, Ok(addresses)),
            Err(why) => (MIN_TTL, Err(why)),
        };
        let life = life.clamp(MIN_TTL, MAX_TTL);
        known.0 = Some((Instant::now() + life, found.clone()));
        found
    }

    /// Returns the cache entry of a host, after evicting others if the cache is full.
    fn turn(&self, host: &str) -> Arc<Turn<Known>> {
        let mut known = self.known();
        if known.len() >= MAX_CACHED_NAMES {
            let now = Instant::now();
            known.retain(|_, turn| {
                let holds = |known: &Known| known.0.as_ref().is_some_and(|(until, _)| now < *until);
                // A locked entry is being looked up: keep it.
                turn.try_lock().map_or(true, |known| holds(&known))
            });
            if known.len() >= MAX_CACHED_NAMES {
                known.clear();
            }
        }
        known.entry(host.to_owned()).or_default().clone()
    }

    fn known(&self) -> parking_lot::MutexGuard<'_, HashMap<String, Arc<Turn<Known>>>> {
        self.known.lock()
    }

    /// Asks the name servers. Returns the addresses with their TTL.
    async fn look_up(&self, host: &str) -> Result<(Duration, Vec<IpAddr>), String> {
        let resolver = self.resolver.lock().ask.clone()?;
        let found = resolver.lookup_ip(host).await;
        let found = found.map_err(|error| error.to_string())?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        let life = found
            .valid_until()
            .saturating_duration_since(Instant::now());
        Ok((life, addresses))
    }

    /// Rebuilds the resolver and clears the cache if a system file has changed.
    pub fn refresh(&self) {
        let mut resolver = self.resolver.lock();
        if resolver.written != written() {
            *resolver = self::resolver(&self.servers);
            self.known().clear();
        }
    }
}

fn written() -> [Option<SystemTime>; SYSTEM.len()] {
    SYSTEM.map(|path| {
        Path::new(path)
            .metadata()
            .and_then(|file| file.modified())
            .ok()
    })
}

fn resolver(servers: &[SocketAddr]) -> Resolver {
    let written = written();
    let ask = build(servers);
    if let Err(why) = &ask {
        log::warn!("Host names cannot be looked up: {why}");
    }
    Resolver { ask, written }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        TokioResolver::builder(provider).map_err(|error| format!("{}: {error}", SYSTEM[0]))?
    } else {
        let servers = servers.iter().map(|server| named(*server)).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, provider)
    };
    let options: &mut ResolverOpts = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // `DnsCache` has the cache, failures included.
    options.cache_size = 0;
    options.timeout = options.timeout.min(QUERY_TIMEOUT);
    builder.build().map_err(|error| error.to_string())
}

fn named(server: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}
