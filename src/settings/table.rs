//! The table of the gateway's settings: every section and setting, its type, its default and its description.
//!
//! The file and the environment, the JSON Schema, `gateway.yaml` and the reference follow from it. A new setting is
//! one row.

use super::store_url::store;
use super::values::{
    HostName, Listener, Listeners, PublicUrl, SealKey, address, host_name, listener, listeners,
    log_levels, name_server, network, public_url, seal_key, token,
};
use crate::host_port::HostPort;
use crate::rules::account::Orphans;
use crate::rules::config::{Approval, Keyring, approval};
use crate::rules::seal;
use crate::tables::{
    Fault, Faults, Secret, boolean, choice, file, list, section, size, span, table, text, url,
    whole,
};
use crate::url::Url;
use serde_json::Value;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use super::store_url::Store;

const ANY: u64 = u64::MAX;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const SHORTEST_HOLD: Duration = Duration::from_secs(5);

table! {
    /// The settings of a gateway.
    pub struct Settings unknown Refused {
        /// How the gateway presents itself.
        service: Service = section();
        /// Where the gateway listens, and how much it takes in.
        server: Server = section();
        /// Where keys, balances and tenants' configs live.
        ///
        /// ```text
        /// embedded:DIR                              on this machine's disk, for one gateway process
        /// redis://[user:password@]host[:port][/db]  Redis or Valkey; rediss:// with TLS
        /// redis+cluster://h1,h2                     a cluster, found from any of its nodes
        /// redis+sentinel://h1,h2/name[/db]          the primary that Sentinels watch under this name
        /// ```
        ///
        /// In a user name or password, write special characters as %XX.
        store: Store = store().default("redis://localhost:6379").bundled("embedded:./data").variable("REDIS_URL");
        /// Keys, balances and holds.
        accounts: Accounts = section();
        /// What is kept of settled requests.
        usage: Usage = section();
        /// How long what concerns people is kept.
        retention: Retention = section();
        /// The most tokens that something may count for whose size its bytes do not show.
        /// So much is held before a call; what is charged is what the provider reports.
        bounds: Bounds = section();
        /// Who may administer every tenant.
        admin: Admin = section();
        /// How the secrets of tenants' configs are kept, and which of yours they may name.
        secrets: Secrets = section();
        /// Where requests to providers may go.
        egress: Egress = section();
        /// Where the issuers of sign-in are: the real ones, unless a test or a proxy stands in for them.
        identity: Identity = section();
        /// Address of Stripe: the real one, unless a test stands in for it.
        billing: Billing = section();
        /// How long a provider may take.
        upstream: Upstream = section();
        /// Bounds of the cache of answers, for tenants whose config has `caching`.
        cache: Cache = section();
        /// What the gateway tells, and how.
        log: Log = section();
    }
    beside {
        /// Path of the file that was read; `None`: built-in defaults.
        source: Option<PathBuf>,
        /// Socket of the service manager (`NOTIFY_SOCKET`) for readiness notifications.
        notify: Option<PathBuf>,
        /// Address of the running gateway that commands ask (`RESULLM_GATEWAY`).
        gateway: Option<String>,
        /// Tenants to write to the store at start where they are absent.
        tenants: Seeds,
        /// What the file says and will hardly do what was meant.
        warnings: Vec<Fault>,
    }
}

/// ID and config of each tenant in `tenants`, in file order. `Debug` shows the IDs alone: configs hold providers' keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seeds(pub Vec<(String, Value)>);

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(id, _)| id))
            .finish()
    }
}

table! {
    /// How the gateway presents itself.
    pub struct Service unknown Refused {
        /// The name in the answer of `GET /`: `<name> API is running`.
        name: String = text("a text").default("ResuLLM");
    }
}

table! {
    /// Where the gateway listens, and how much it takes in.
    pub struct Server unknown Refused {
        /// Where clients connect, as host:port.
        /// localhost means 127.0.0.1 and ::1; 0.0.0.0 or `[::]` mean every interface (quote an entry with brackets: `"[::]:3000"`).
        /// Port 0 picks a free port, and the log says which.
        /// PORT replaces the port of the first entry without TLS, HOST the host of all.
        /// Without TLS an entry speaks HTTP/1.1, and HTTP/2 to clients that begin with its preface.
        /// An entry may be a mapping:
        ///
        /// ```text
        /// - address: "0.0.0.0:443"
        ///   tls:                        HTTP/2 and HTTP/1.1 by ALPN, TLS 1.2 and 1.3
        ///     cert: /etc/resullm/tls.pem    the chain, followed when the file changes, as is the key
        ///     key: /etc/resullm/tls.key
        ///     more: [{ cert: other.pem, key: other.key }]     for other names; cert is for all the rest
        ///     client_ca: clients.pem        clients must show a certificate of these
        ///   proxy_protocol: true        trusted_proxies say who is behind them, in version 2 of the PROXY protocol
        /// ```
        listen: Listeners = listeners().default("[\"localhost:3000\"]");
        /// A separate address for `GET /metrics` (Prometheus), as host:port.
        /// It has no password: keep it inside.
        /// Unset, there are no metrics.
        ops_listen: Option<HostPort> = address().optional().shown("localhost:9090");
        /// A separate address for admins: host:port, or a mapping as in `listen`.
        /// Where it is set, `/admin`, `/<tenant>/admin`, `/console` and `/docs` answer there alone, and are 404 where clients connect.
        /// All that is for clients is 404 there.
        /// `/healthz`, `/readyz` and `/openapi.json` answer on both.
        /// It answers to its own host, and to the names of `hosts` and `public_url`.
        /// PORT and HOST do not change it.
        admin_listen: Option<Listener> = listener().described_elsewhere().optional().shown("localhost:3100");
        /// The gateway's address outside, where that differs from what clients write into Host: behind a proxy that ends TLS, say.
        /// It may have a path.
        /// It stands in /openapi.json, and its pages count as the gateway's own.
        public_url: Option<PublicUrl> = public_url().optional().shown("https://gateway.example");
        /// Names that the gateway answers to, without ports: a name, an address, "*.gateway.example" for all names below one, "*" for any.
        /// Other names get 421; health checks are always answered.
        /// Unset, any name will do, except where every listener is on loopback and there is no trusted proxy: then only localhost, *.localhost and loopback addresses (docs/configuration.md says why).
        /// The host of public_url is always one of them.
        hosts: Vec<HostName> = list(host_name(), 0).default("[]");
        /// Worker threads.
        /// Unset, one for each core.
        threads: Option<usize> = whole(1, 1024).optional().shown("4");
        /// At SIGTERM or SIGINT: how long requests and streams in flight may take to finish.
        drain_timeout: Duration = span(Duration::ZERO).default("30s");
        /// The largest request body.
        /// What is larger gets 413.
        /// Keep it below max_buffered: a body that is larger than that gets 503 each time it is sent.
        max_body: u64 = size().default("32MiB");
        /// At a stop: how long the gateway goes on accepting while /readyz already says no, so that a load balancer can take it out first.
        drain_delay: Duration = span(Duration::ZERO).default("0s");
        /// When a request's headers must all be there, however they dribble.
        /// A later one is refused with 408.
        header_timeout: Duration = span(SECOND).default("10s");
        /// The least that a body must bring in a second, on the average after ten.
        /// A slower one is refused with 408.
        body_rate: u64 = size().default("1KiB");
        /// The most client connections.
        /// More get 503 and are closed.
        /// Unset: one for every two file descriptors that the process may have.
        max_connections: Option<usize> = whole(16, 10_000_000).optional().shown("10000");
        /// The most of them from one address, or from one /64 of IPv6; trusted_proxies may have all.
        /// Unset: a quarter.
        max_connections_per_address: Option<usize> = whole(1, 10_000_000).optional().shown("2500");
        /// The most requests in flight.
        /// More get 503 with retry-after.
        /// Unset: as many as there are connections.
        max_requests: Option<usize> = whole(1, 10_000_000).optional().shown("10000");
        /// The most calls of one tenant in flight.
        /// More get 503 with retry-after.
        /// Unset: three quarters of max_requests.
        max_requests_per_tenant: Option<usize> = whole(1, 10_000_000).optional().shown("7500");
        /// The most bytes of bodies that are kept at one time, all requests together.
        /// What would be more gets 503 with retry-after.
        max_buffered: u64 = size().default("512MiB");
        /// With more to do than the processor can, a gateway falls behind.
        /// A worker that is later than this refuses a part of the new calls with 503 and retry-after, as many as it takes to keep up with the rest.
        shed_after: Duration = span(MILLISECOND).default("500ms");
        /// Proxies in front of the gateway, as addresses or blocks (10.0.0.0/8).
        /// Only from these is X-Forwarded-For believed; from anyone else the client is who connects.
        trusted_proxies: Vec<(IpAddr, u8)> = list(network(), 0).default("[]");
    }
}

/// Shape of the account records that are written. Both shapes are always read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One record per key: it holds the balance.
    Key,
    /// One record per user holds the balance; a key refers to its user.
    User,
}

/// How names of keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyNaming {
    Clear,
    Hashed,
}

table! {
    /// Keys, balances and holds.
    pub struct Accounts unknown Refused {
        /// Which shape of record is written: `key` keeps the balance with the API key, `user` with the user that the key belongs to.
        /// Either shape is read.
        layout: Layout = choice([("key", Layout::Key), ("user", Layout::User)]).default("key");
        /// When a gateway dies, what its requests held is bound for this long at most.
        /// Requests that live renew their hold.
        /// What a gateway had leased of balances for its calls is bound for a third longer.
        /// At least 5s.
        hold_ttl: Duration = span(SHORTEST_HOLD).default("60s");
        /// What a hold costs that nobody settled: `known` charges what it is known to have cost; `spend` charges all of it, so that not even a crash lets a key get more than it was granted.
        orphans: Orphans = choice([("known", Orphans::Known), ("spend", Orphans::Spend)]).default("known");
        /// A directory for the journal of this gateway: what it has under way, so that its next start can settle what a crash or a lost store left open.
        /// Gateways may share one.
        journal: String = text("a text").default("./data");
        /// How long an anonymous key lives.
        anonymous_ttl: Duration = span(SECOND).default("24h");
        /// How many anonymous keys of one tenant one client address may take in one mint_window; in IPv6 its /64, the least that a household gets.
        /// Who is refused by one of the three bounds takes no place in the others.
        mints_per_address: u64 = whole(1, ANY).default("600");
        /// The same for the network around it: a /24 in IPv4, a /48 in IPv6.
        /// Unset, ten times mints_per_address: a carrier puts thousands of telephones behind such a block, and who rents one gets as much as ten addresses.
        mints_per_network: Option<u64> = whole(1, ANY).optional().shown("6000");
        /// The same for all addresses together, at each tenant.
        /// Unset, two hundred times mints_per_address.
        /// Times `tokens` of the group anonymous it is what farming with any number of addresses can cost in a window; with more newcomers than that, raise it.
        mints_per_tenant: Option<u64> = whole(1, ANY).optional().shown("120000");
        /// The window of the three bounds of anonymous keys.
        mint_window: Duration = span(SECOND).default("1h");
        /// How many wrong keys and tokens one client address may send within a minute, to this gateway.
        /// Then it is refused with 429 for the rest of it.
        /// Wrong admin tokens are refused after a hundredth as many.
        failures_per_address: u64 = whole(1, ANY).default("10000");
        /// How long a key lives that a sign-in gives.
        sign_in_ttl: Duration = span(SECOND).default("90d");
        /// How keys are named in the store: `clear` has them as they are; with `hashed` the names carry an HMAC of the key, so a copy of the store opens nothing.
        /// Keys of either kind are found where key_secret is set; docs/moving-stores.md has the steps of a change.
        key_names: KeyNaming = choice([("clear", KeyNaming::Clear), ("hashed", KeyNaming::Hashed)]).default("clear");
        /// The secret of hashed names: 32 bytes as hex or base64, the same on every gateway of a store, for as long as the store lives: without it no hashed key is found.
        /// `openssl rand -hex 32` makes some.
        key_secret: Option<SealKey> = seal_key().optional().bundled("${KEY_SECRET}").variable("KEY_SECRET");
        /// How many Redis replicas must have a credit before it is answered, so that no failover can lose it.
        /// With fewer the answer is 503, and the credit is to be repeated with its id: it counts once.
        /// Unset, it is 1 behind Sentinels and where a Cluster has replicas, else 0.
        credit_replicas: Option<u64> = whole(0, 16).optional().shown("1");
    }
}

impl Accounts {
    /// Adds a fault if names are to be hashed without a secret.
    pub(super) fn check(&self, faults: &mut Faults) {
        if self.key_names == KeyNaming::Hashed && self.key_secret.is_none() {
            let why = "hashed names need accounts.key_secret, the same on every gateway of the store (openssl rand -hex 32 makes one)";
            faults.add(Fault::new("accounts.key_names", why));
        }
    }

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

table! {
    /// What is kept of settled requests.
    pub struct Usage unknown Refused {
        /// How many settled requests the usage log of each tenant keeps.
        records: u64 = whole(1, ANY).default("100000");
        /// The former name of retention.usage, which counts no more where this is set.
        age: Option<Duration> = span(SECOND).optional().shown("720h");
    }
}

table! {
    /// How long what concerns people is kept.
    /// Older data is removed within a day, or at once by `resullm purge`.
    pub struct Retention unknown Refused {
        /// Records of settled requests, in the usage log of each tenant; usage.records bounds their number.
        usage: Duration = span(SECOND).default("30d");
        /// Postings of an account's ledger: how long they are kept one by one, the latest thousand of each account.
        /// Older ones are folded into sums by day, and days older than this into one.
        postings: Duration = span(SECOND).default("400d");
        /// Records of changes that admins and the operator made; a log has at most 100,000.
        audit: Duration = span(SECOND).default("400d");
        /// After a person's account was deleted: how long the gateway knows, by a hash alone, that there was one.
        /// Who comes back within this time begins with what was left, and not with a group's tokens once more.
        deleted_accounts: Duration = span(DAY).default("30d");
    }
}

impl Settings {
    /// Returns how long records of settled requests are kept.
    pub fn usage_age(&self) -> Duration {
        self.usage.age.unwrap_or(self.retention.usage)
    }
}

table! {
    /// The most tokens that something may count for whose size its bytes do not show.
    pub struct Bounds unknown Refused {
        /// One image in a prompt.
        /// An image of a model whose family is known (docs/bounds.md) counts what its family has at most, unless another number stands here and that is larger.
        image: u64 = whole(1, ANY).default("4000");
        /// One image that is generated.
        image_answer: u64 = whole(1, ANY).default("8000");
        /// One second of sound.
        sound_second: u64 = whole(1, ANY).default("50");
    }
}

table! {
    /// Who may administer every tenant.
    pub struct Admin unknown Refused {
        /// The operator's token: it opens the admin API of every tenant.
        /// At least 8 characters; make one with `openssl rand -hex 32`.
        /// Unset, the admin API refuses everyone.
        token: Option<Secret> = token().optional().bundled("${ADMIN_TOKEN}").variable("ADMIN_TOKEN");
        /// Further tokens that open the same, for the time in which a token is exchanged.
        old_tokens: Vec<Secret> = list(token(), 0).default("[]");
        /// A file with tokens, one a line, that open the same.
        /// It is read at every start and reload, so a token is exchanged without a restart: the environment of a process never changes.
        token_file: Option<PathBuf> = file().optional().shown("/etc/resullm/admin-tokens");
    }
}

impl Admin {
    /// Returns every token that opens the admin API.
    pub fn tokens(&self) -> impl Iterator<Item = &Secret> {
        self.token.iter().chain(&self.old_tokens)
    }
}

table! {
    /// How the secrets of tenants' configs are kept, and which of yours they may name.
    pub struct Secrets unknown Refused {
        /// Seals the secrets in tenants' configs (providers' keys, client secrets) before they are stored: 32 bytes as hex or base64, the same on every gateway of a store.
        /// `openssl rand -hex 32` makes some.
        /// Unset, they are stored as they are written.
        /// Readable secrets in the store work either way; `resullm tenant seal --all` seals them.
        key: Option<SealKey> = seal_key().optional().bundled("${SECRETS_KEY}").variable("SECRETS_KEY");
        /// Former keys: they still open what they have sealed.
        /// docs/secrets.md has the steps.
        old_keys: Vec<SealKey> = list(seal_key(), 0).default("[]");
        /// A file with keys, one a line: the first as `key`, where that is unset, and the others as old_keys.
        /// It is read at every start and reload.
        key_file: Option<PathBuf> = file().optional().shown("/etc/resullm/secrets-keys");
        /// Variables of this gateway's environment that tenants' configs may name in place of a secret, as {"env": "OPENAI_API_KEY"}.
        /// Each is bound to the host that it may be sent to, over HTTPS unless it says http://, and to some tenants if you like; no tenant sees it or can send it elsewhere:
        ///
        /// ```text
        /// env: [OPENAI_API_KEY=api.openai.com, LOCAL_KEY=http://10.0.0.5:8000 for abc demo]
        /// ```
        env: Vec<Approval> = list(approval(), 0).default("[]");
    }
}

impl Secrets {
    /// Returns the keys and variables with which secrets of tenants' configs are sealed and opened.
    pub fn keyring(&self) -> Keyring {
        let key = |key: &SealKey| seal::SealKey::new(&key.0);
        Keyring {
            present: self.key.as_ref().map(key),
            old: self.old_keys.iter().map(key).collect(),
            approved: self.env.clone(),
        }
    }
}

table! {
    /// Where requests to providers may go.
    pub struct Egress unknown Refused {
        /// May the URLs in tenants' configs reach loopback and private addresses, and any without TLS?
        /// Set it to true for models on your own machines, if you trust everyone who may edit a tenant's config.
        allow_private_networks: bool = boolean().default("false");
        /// Name servers to ask for providers' addresses, each an IP address with or without a port.
        /// None: those of the system, and its hosts file.
        nameservers: Vec<SocketAddr> = list(name_server(), 0).default("[]");
    }
}

table! {
    /// Where the issuers of sign-in are.
    pub struct Identity unknown Refused {
        /// Google's sign-in.
        google: GoogleIssuer = section();
        /// Apple's sign-in.
        apple: AppleIssuer = section();
    }
}

table! {
    /// Google's sign-in.
    pub struct GoogleIssuer unknown Refused {
        /// `iss` of its ID tokens; the same without `https://` is taken too.
        issuer: String = text("a text").default("https://accounts.google.com");
        /// Its keys.
        jwks_url: Url = url().default("https://www.googleapis.com/oauth2/v3/certs");
        /// Where the browser signs in.
        authorize_url: Url = url().default("https://accounts.google.com/o/oauth2/v2/auth");
        /// Where a code is exchanged.
        token_url: Url = url().default("https://oauth2.googleapis.com/token");
    }
}

table! {
    /// Apple's sign-in.
    pub struct AppleIssuer unknown Refused {
        /// `iss` of its ID tokens.
        issuer: String = text("a text").default("https://appleid.apple.com");
        /// Its keys.
        jwks_url: Url = url().default("https://appleid.apple.com/auth/keys");
        /// Where the browser signs in.
        authorize_url: Url = url().default("https://appleid.apple.com/auth/authorize");
        /// Where a code is exchanged.
        token_url: Url = url().default("https://appleid.apple.com/auth/token");
        /// Where a person's token is revoked when the account ends.
        revoke_url: Url = url().default("https://appleid.apple.com/auth/revoke");
    }
}

table! {
    /// Address of Stripe.
    pub struct Billing unknown Refused {
        /// Stripe's API.
        stripe_url: Url = url().default("https://api.stripe.com");
    }
}

table! {
    /// How long a provider may take.
    pub struct Upstream unknown Refused {
        /// How long connecting to a provider may take.
        connect_timeout: Duration = span(MILLISECOND).default("5s");
        /// How long a provider may take to begin its answer.
        /// Models think for ten minutes, and SDKs wait for as long.
        first_byte_timeout: Duration = span(MILLISECOND).default("11m");
        /// The longest silence between two chunks of an answer.
        idle_timeout: Duration = span(MILLISECOND).default("11m");
        /// When nobody reads an answer any more (its client has left, or has been told that it takes too long) and more may have been generated than was seen: how long the provider is read on for its usage.
        /// Without one by then, all that was held is charged.
        /// A provider whose model shows all it generates gets half of its connection closed, and what it sends until it closes the rest, or is silent for 250 ms, is counted; one that goes on sending is read on.
        drain: Duration = span(Duration::ZERO).default("2m");
    }
}

table! {
    /// Bounds of the cache of answers, for tenants whose config has `caching`.
    pub struct Cache unknown Refused {
        /// All answers of one tenant; the least recently used ones go first.
        per_tenant: u64 = size().default("64MiB");
        /// One answer; a longer one is not kept.
        per_answer: u64 = size().default("1MiB");
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

table! {
    /// What the gateway tells, and how.
    pub struct Log unknown Refused {
        /// `human`: lines for people, `[INFO]` first.
        /// `json`: one object a line, for machines.
        format: LogFormat = choice([("human", LogFormat::Human), ("json", LogFormat::Json)]).default("human");
        /// off, error, warn, info, debug or trace; or by part of the program: info,resullm::store=debug
        level: String = log_levels().default("info").variable("RUST_LOG");
        /// Is each request logged?
        /// One line with method, route (never the path itself or its query), status, code, time, tenant, request, account, endpoint, model and tokens charged.
        /// It is independent of the level.
        access: bool = boolean().default("false");
    }
    beside {
        /// `JOURNAL_STREAM`: device and inode of the stream that systemd reads into its journal.
        journal: Option<String>,
    }
}
