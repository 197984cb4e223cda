//! What the settings mean: plain values that the rest of the gateway takes as they are. Nobody
//! validates them again, and no secret shows in their `Debug`.
//!
//! `Default` of a section is the blank that the table in `keys.rs` fills; the defaults stand there.
//! Only `Settings::default()` has them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;

/// Everything that the operator decided.
#[derive(Clone)]
pub struct Settings {
    /// The file that was read, if one was.
    pub source: Option<PathBuf>,
    /// Where a service manager wants to hear that the gateway is ready.
    pub notify: Option<PathBuf>,
    pub service: Service,
    pub server: Server,
    pub store: Store,
    pub accounts: Accounts,
    pub usage: Usage,
    pub bounds: Bounds,
    pub admin: Admin,
    pub secrets: Secrets,
    pub egress: Egress,
    pub upstream: Upstream,
    pub log: Log,
    /// ID and config of each tenant to write at start where it is absent, in file order.
    pub tenants: Vec<(String, Value)>,
}

#[derive(Debug, Clone, Default)]
pub struct Service {
    pub name: String,
}

#[derive(Debug, Clone, Default)]
pub struct Server {
    pub listen: Vec<Listener>,
    pub ops_listen: Option<String>,
    pub public_url: Option<PublicUrl>,
    /// Empty: see `crate::proxy::downstream::hosts`.
    pub hosts: Vec<HostName>,
    /// None: as many as there are cores.
    pub threads: Option<usize>,
    pub drain_timeout: Duration,
    /// Bytes.
    pub max_body: u64,
    pub drain_delay: Duration,
    pub header_timeout: Duration,
    /// Bytes a second.
    pub body_rate: u64,
    /// None: as many as there are file descriptors for.
    pub max_connections: Option<usize>,
    /// None: a quarter of them.
    pub max_connections_per_address: Option<usize>,
    /// None: one for each connection.
    pub max_requests: Option<usize>,
    /// None: three quarters of them.
    pub max_requests_per_tenant: Option<usize>,
    /// Bytes.
    pub max_buffered: u64,
    pub shed_after: Duration,
    /// Networks as address and prefix length; a single address has the full length.
    pub trusted_proxies: Vec<(IpAddr, u8)>,
}

/// Where clients connect, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listener {
    /// `host:port`; `localhost` stands for both loopback addresses, port 0 for any free one.
    pub address: String,
    pub tls: Option<Tls>,
    /// Balancers in front say by the PROXY protocol who is behind them.
    pub proxy_protocol: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The first is for names that no other is for.
    pub certificates: Vec<Certificate>,
    /// Whose certificates clients must show.
    pub client_ca: Option<PathBuf>,
}

/// A chain of certificates and the first one's private key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The gateway's address outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https://gateway.example`, perhaps with a port.
    pub origin: String,
    /// In lower case; an IPv6 address without its brackets.
    pub host: String,
    /// Empty, or begins with `/` and ends without.
    pub path: String,
}

/// A name that the gateway answers to, as in [`PublicUrl::host`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    Any,
    Exact(String),
    /// Every name that ends in a dot and this.
    Below(String),
}

#[derive(Debug, Clone)]
pub enum Store {
    Embedded(PathBuf),
    Redis(Redis),
}

/// A Redis (or Valkey), taken apart from its URL.
#[derive(Debug, Clone)]
pub struct Redis {
    /// As written, credentials included.
    pub url: Secret,
    pub kind: RedisKind,
    pub tls: bool,
    /// Host (no brackets) and port: one for a single server, some of a cluster, or the Sentinels.
    pub nodes: Vec<(String, u16)>,
    /// Of the servers that hold the data.
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub db: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisKind {
    Single,
    Cluster,
    /// The name under which the Sentinels watch the primary.
    Sentinel {
        service: String,
    },
}

#[derive(Debug, Clone, Default)]
pub struct Accounts {
    pub layout: Layout,
    pub hold_ttl: Duration,
    pub orphans: Orphans,
    /// A directory.
    pub journal: String,
    pub anonymous_ttl: Duration,
    /// Anonymous keys that one client address may take in one `mint_window`.
    pub mints_per_address: u64,
    /// The same of the network around it, and of all addresses. None: see below.
    pub mints_per_network: Option<u64>,
    pub mints_per_tenant: Option<u64>,
    pub mint_window: Duration,
    /// Wrong keys that one client address may send within a minute.
    pub failures_per_address: u64,
    /// None: one behind Sentinels and where a Cluster has replicas, else none.
    pub credit_replicas: Option<u64>,
}

impl Accounts {
    /// Unset, ten addresses may take all that is theirs.
    pub fn most_mints_per_network(&self) -> u64 {
        let unset = self.mints_per_address.saturating_mul(10);
        self.mints_per_network.unwrap_or(unset)
    }

    /// Unset, two hundred addresses may take all that is theirs.
    pub fn most_mints_per_tenant(&self) -> u64 {
        let unset = self.mints_per_address.saturating_mul(200);
        self.mints_per_tenant.unwrap_or(unset)
    }
}

/// Which shape of account record is written; both are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    #[default]
    Key,
    User,
}

/// What a hold costs that outlived its instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orphans {
    #[default]
    Known,
    Spend,
}

/// What is kept of settled requests, for each tenant.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    pub records: u64,
    pub age: Duration,
}

/// The most that something may cost whose size its bytes do not show, in tokens.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    pub image: u64,
    pub image_answer: u64,
    pub sound_second: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Admin {
    /// None: the admin API refuses everyone.
    pub token: Option<Secret>,
}

/// How the secrets of tenant configs are kept, and which of the operator's own they may name.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// None: what is written is stored as it is.
    pub key: Option<SealKey>,
    pub old_keys: Vec<SealKey>,
    pub env: Vec<Approval>,
}

/// The bytes that secrets are sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A variable of the environment that configs may name as a secret which goes to this place.
#[derive(Debug, Clone)]
pub struct Approval {
    pub name: String,
    pub https: bool,
    /// In lower case; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// Empty: every tenant.
    pub tenants: Vec<String>,
    /// None: it is not set.
    pub value: Option<Secret>,
}

#[derive(Debug, Clone, Default)]
pub struct Egress {
    pub allow_private_networks: bool,
    /// Empty: the system's.
    pub nameservers: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Default)]
pub struct Upstream {
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    /// The longest silence between two chunks of an answer.
    pub idle_timeout: Duration,
    /// How long an answer that has lost its reader is read on.
    pub drain: Duration,
}

#[derive(Debug, Clone, Default)]
pub struct Log {
    pub format: LogFormat,
    /// A comma list of `[target=]level`.
    pub level: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

/// A text that is never shown. It cannot be compared either: where a client's secret is checked,
/// that happens in constant time.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Settings {
    /// Nothing decided yet; only the table of keys starts from here.
    pub(super) fn blank() -> Settings {
        Settings {
            source: None,
            notify: None,
            service: Service::default(),
            server: Server::default(),
            store: Store::Embedded(PathBuf::new()),
            accounts: Accounts::default(),
            usage: Usage::default(),
            bounds: Bounds::default(),
            admin: Admin::default(),
            secrets: Secrets::default(),
            egress: Egress::default(),
            upstream: Upstream::default(),
            log: Log::default(),
            tenants: Vec::new(),
        }
    }
}

/// By hand for one reason: tenant configs hold providers' keys, so only the IDs are shown.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.tenants.iter().map(|(id, _)| id.as_str()).collect();
        f.debug_struct("Settings")
            .field("source", &self.source)
            .field("service", &self.service)
            .field("server", &self.server)
            .field("store", &self.store)
            .field("accounts", &self.accounts)
            .field("usage", &self.usage)
            .field("bounds", &self.bounds)
            .field("admin", &self.admin)
            .field("secrets", &self.secrets)
            .field("egress", &self.egress)
            .field("upstream", &self.upstream)
            .field("log", &self.log)
            .field("tenants", &ids)
            .finish()
    }
}
