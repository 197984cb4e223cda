//! Looks host names up, without a thread that waits, and remembers what it heard for as long as that
//! holds.
//!
//! What is found here is not checked yet: whoever connects does that, each time, with the very address
//! that is dialled. A name is looked up once at a time, however many wait for it, and a slow one keeps
//! nobody else from another.

use crate::settings;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Mutex as Turn;

/// Names that are remembered.
const REMEMBERED: usize = 4_096;
/// However long a name server says that something holds.
const LONGEST: Duration = Duration::from_secs(300);
/// And however short: who waits for the same name takes what was found for the one before.
const SHORTEST: Duration = Duration::from_secs(1);
/// One try, of which there are as many as connecting has time for.
const TRY: Duration = Duration::from_secs(2);

/// What the system says of name servers, and of names itself.
const SYSTEM: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

pub struct Names {
    /// None: the system's.
    servers: Vec<SocketAddr>,
    resolver: Mutex<Resolver>,
    known: Mutex<HashMap<String, Arc<Turn<Known>>>>,
}

/// What was heard of one name, and until when that holds.
#[derive(Default)]
struct Known(Option<(Instant, Found)>);

/// The addresses of a host, those of version four first.
type Found = Result<Vec<IpAddr>, String>;

struct Resolver {
    ask: Result<TokioResolver, String>,
    written: [Option<SystemTime>; SYSTEM.len()],
}

impl Names {
    pub fn new(settings: &settings::Egress) -> Names {
        let servers = settings.nameservers.clone();
        Names {
            resolver: Mutex::new(resolver(&servers)),
            servers,
            known: Mutex::default(),
        }
    }

    pub async fn addresses(&self, host: &str) -> Found {
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
            Err(why) => (SHORTEST, Err(why)),
        };
        let life = life.clamp(SHORTEST, LONGEST);
        known.0 = Some((Instant::now() + life, found.clone()));
        found
    }

    fn turn(&self, host: &str) -> Arc<Turn<Known>> {
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            let now = Instant::now();
            known.retain(|_, turn| {
                let holds = |known: &Known| known.0.as_ref().is_some_and(|(until, _)| now < *until);
                // Somebody is at it where it is locked.
                turn.try_lock().map_or(true, |known| holds(&known))
            });
            if known.len() >= REMEMBERED {
                known.clear();
            }
        }
        known.entry(host.to_owned()).or_default().clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Turn<Known>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, host: &str) -> Result<(Duration, Vec<IpAddr>), String> {
        let resolver = self
            .resolver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ask
            .clone()?;
        let found = resolver.lookup_ip(host).await;
        let found = found.map_err(|error| error.to_string())?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        let life = found
            .valid_until()
            .saturating_duration_since(Instant::now());
        Ok((life, addresses))
    }

    /// Reads the system's files again where they have changed.
    pub fn refresh(&self) {
        let mut resolver = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
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
    // What is known is kept here, together with what is known not to be.
    options.cache_size = 0;
    options.timeout = options.timeout.min(TRY);
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
