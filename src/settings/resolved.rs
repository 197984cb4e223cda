//! The resolved [`Settings`]: typed, validated values for the rest of the gateway.
//!
//! No secret may appear in their `Debug`. `Default` of a section is only the blank that the table in
//! `keys.rs` fills; `Settings::default()` has the real defaults.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;

/// All settings of a gateway process.
#[derive(Clone)]
pub struct Settings {
    /// Path of the file that was read; `None`: built-in defaults.
    pub source: Option<PathBuf>,
    /// Socket of the service manager (`NOTIFY_SOCKET`) for readiness notifications.
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
    /// ID and config of each tenant in `tenants`, in file order. Written to the store at start if the tenant
    /// is absent.
    pub tenants: Vec<(String, Value)>,
}

#[derive(Debug, Clone, Default)]
pub struct Service {
    pub name: String,
}

#[derive(Debug, Clone, Default)]
pub struct Server {
    pub listen: Vec<Listener>,
    /// `None`: no `GET /metrics`.
    pub ops_listen: Option<String>,
    /// `None`: derived from each request's `Host` header.
    pub public_url: Option<PublicUrl>,
    /// Host names that the gateway answers to. Empty: decided by `crate::proxy::downstream::hosts`.
    pub hosts: Vec<HostName>,
    /// `None`: one for each core.
    pub threads: Option<usize>,
    /// Deadline for requests in flight at a stop.
    pub drain_timeout: Duration,
    /// Limit of a request body, in bytes (413 beyond it).
    pub max_body: u64,
    /// Time for which a stop still accepts connections while `/readyz` answers 503.
    pub drain_delay: Duration,
    /// Deadline for a complete request head (408 after it).
    pub header_timeout: Duration,
    /// Minimum average rate of a request body, in bytes per second (408 below it).
    pub body_rate: u64,
    /// `None`: derived from the file descriptor limit, see `crate::serve::limits`.
    pub max_connections: Option<usize>,
    /// `None`: a quarter of `max_connections`.
    pub max_connections_per_address: Option<usize>,
    /// `None`: as many as `max_connections`.
    pub max_requests: Option<usize>,
    /// `None`: three quarters of `max_requests`.
    pub max_requests_per_tenant: Option<usize>,
    /// Body memory of all requests together, in bytes (503 beyond it).
    pub max_buffered: u64,
    /// Event loop lag of a worker beyond which it sheds load (503).
    pub shed_after: Duration,
    /// Networks as address and prefix length; a single address has length 32 or 128.
    pub trusted_proxies: Vec<(IpAddr, u8)>,
}

/// One entry of `server.listen`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listener {
    /// `host:port`; `localhost` means `127.0.0.1` and `::1`, port 0 any free port.
    pub address: String,
    pub tls: Option<Tls>,
    /// Connections from `trusted_proxies` start with a PROXY protocol v2 header that names the client.
    pub proxy_protocol: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Selected by SNI; the first is the fallback.
    pub certificates: Vec<Certificate>,
    /// CA certificates (PEM); clients must present a certificate issued by one of them. `None`: no client
    /// certificates.
    pub client_ca: Option<PathBuf>,
}

/// PEM files of a certificate chain (`cert`) and the private key of its first certificate (`key`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The gateway's public address, `server.public_url`, split into parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https://gateway.example`, with a port unless it is the scheme's default.
    pub origin: String,
    /// In lower case; an IPv6 address without brackets.
    pub host: String,
    /// Empty, or begins with `/` and does not end with one.
    pub path: String,
}

/// One entry of `server.hosts`, normalized like [`PublicUrl::host`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// `*`.
    Any,
    Exact(String),
    /// `*.name`: every name that ends in `.name`.
    Below(String),
}

#[derive(Debug, Clone)]
pub enum Store {
    Embedded(PathBuf),
    Redis(Redis),
}

impl Store {
    /// Kind of the store for metrics and log lines.
    pub fn kind(&self) -> &'static str {
        match self {
            Store::Embedded(_) => "embedded",
            Store::Redis(redis) => match redis.kind {
                RedisKind::Single => "redis",
                RedisKind::Cluster => "redis-cluster",
                RedisKind::Sentinel { .. } => "redis-sentinel",
            },
        }
    }
}

/// A Redis or Valkey store, parsed from its URL.
#[derive(Debug, Clone)]
pub struct Redis {
    /// The URL as written, credentials included.
    pub url: Secret,
    pub kind: RedisKind,
    pub tls: bool,
    /// Host (IPv6 without brackets) and port: the single server, seed nodes of the cluster, or the Sentinels.
    pub nodes: Vec<(String, u16)>,
    /// Credentials of the data servers, not of the Sentinels.
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub db: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisKind {
    Single,
    Cluster,
    /// `service`: the name under which the Sentinels monitor the primary.
    Sentinel {
        service: String,
    },
}

#[derive(Debug, Clone, Default)]
pub struct Accounts {
    pub layout: Layout,
    /// Time to live of a hold without a heartbeat.
    pub hold_ttl: Duration,
    pub orphans: Orphans,
    /// Directory of the journal.
    pub journal: String,
    /// Lifetime of an anonymous key.
    pub anonymous_ttl: Duration,
    /// Anonymous keys that one client address may mint in one `mint_window`.
    pub mints_per_address: u64,
    /// The same limit for a network (`/24` in IPv4, `/48` in IPv6). `None`: see
    /// [`Accounts::most_mints_per_network`].
    pub mints_per_network: Option<u64>,
    /// The same limit for all addresses together. `None`: see [`Accounts::most_mints_per_tenant`].
    pub mints_per_tenant: Option<u64>,
    pub mint_window: Duration,
    /// Auth failures (401) that one client address may cause within a minute; then 429.
    pub failures_per_address: u64,
    /// Redis replicas that must confirm a credit. `None`: 1 with Sentinels and in a Cluster with replicas,
    /// else 0.
    pub credit_replicas: Option<u64>,
}

impl Accounts {
    /// Returns `mints_per_network`, by default ten times `mints_per_address`.
    pub fn most_mints_per_network(&self) -> u64 {
        let unset = self.mints_per_address.saturating_mul(10);
        self.mints_per_network.unwrap_or(unset)
    }

    /// Returns `mints_per_tenant`, by default 200 times `mints_per_address`.
    pub fn most_mints_per_tenant(&self) -> u64 {
        let unset = self.mints_per_address.saturating_mul(200);
        self.mints_per_tenant.unwrap_or(unset)
    }
}

/// Shape of the account records that are written, `accounts.layout`. Both shapes are always read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// One record per key: it holds the balance.
    #[default]
    Key,
    /// One record per user holds the balance; a key refers to its user.
    User,
}

/// Charge for an expired hold whose gateway died, `accounts.orphans`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orphans {
    /// The cost known so far.
    #[default]
    Known,
    /// The whole hold.
    Spend,
}

/// Retention of each tenant's usage log.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Maximum number of records.
    pub records: u64,
    /// Maximum age of a record.
    pub age: Duration,
}

/// Upper bounds, in tokens, for content whose cost cannot be derived from its bytes.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// Per image in a prompt.
    pub image: u64,
    /// Per generated image.
    pub image_answer: u64,
    /// Per second of audio.
    pub sound_second: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Admin {
    /// `None`: the admin API refuses every request (401).
    pub token: Option<Secret>,
}

/// Encryption of secrets in tenant configs, and the environment variables that configs may reference.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Encrypts secrets before they are stored. `None`: they are stored in plaintext.
    pub key: Option<SealKey>,
    /// Former keys, used only to decrypt.
    pub old_keys: Vec<SealKey>,
    pub env: Vec<Approval>,
}

/// A 256-bit key that seals (encrypts) secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One entry of `secrets.env`: an environment variable that tenant configs may use as a secret, and the only
/// host that it may be sent to.
#[derive(Debug, Clone)]
pub struct Approval {
    pub name: String,
    pub https: bool,
    /// In lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// Tenants that may use it. Empty: every tenant.
    pub tenants: Vec<String>,
    /// `None`: the variable is not set.
    pub value: Option<Secret>,
}

#[derive(Debug, Clone, Default)]
pub struct Egress {
    /// Whether URLs in tenant configs may reach loopback and private addresses, and use `http`.
    pub allow_private_networks: bool,
    /// DNS servers. Empty: those of the system.
    pub nameservers: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Default)]
pub struct Upstream {
    pub connect_timeout: Duration,
    /// Timeout from the sent request to the first byte of the response.
    pub first_byte_timeout: Duration,
    /// Timeout between two chunks of a response.
    pub idle_timeout: Duration,
    /// Time for which a response is still read for its usage after its client disconnected.
    pub drain: Duration,
}

#[derive(Debug, Clone, Default)]
pub struct Log {
    pub format: LogFormat,
    /// Comma-separated list of `[target=]level`.
    pub level: String,
    /// Whether each request gets a line.
    pub access: bool,
    /// `JOURNAL_STREAM`: device and inode of the stream that systemd reads into its journal.
    pub journal: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

/// A secret text; `Debug` prints `***`. It has no `PartialEq`, because a client's secret must be compared in
/// constant time (`crate::local::credentials`).
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Returns the secret itself. Never log it.
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
    /// Returns settings with empty values, to be filled from the table in `keys.rs`.
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

/// Written by hand because tenant configs hold providers' keys: of `tenants`, only the IDs are shown.
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
