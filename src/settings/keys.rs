//! The table of settings ([`keys`]): path, value type, default, target field and description of each.
//!
//! Reading the file and the environment, rejecting unknown keys, and the JSON Schema all derive from this
//! table. A new setting is one row here, one field in `resolved.rs` and one entry in `gateway.yaml`.

use std::time::Duration;

use serde_json::Value;

use super::{
    resolved::{Layout, LogFormat, Orphans, Settings},
    value_types::{self, ValueType},
    yaml::YamlNode,
};

/// Name and description of each section, in the order of the file. `store` is a key without a section;
/// `tenants` is data.
pub(crate) const SECTIONS: [(&str, &str); 10] = [
    ("service", "How the gateway presents itself."),
    (
        "server",
        "Where the gateway listens, and how much it takes in.",
    ),
    ("accounts", "Keys, balances and holds."),
    ("usage", "What is kept of settled requests."),
    (
        "bounds",
        "The most that something may cost whose size its bytes do not show.",
    ),
    ("admin", "Who may administer every tenant."),
    (
        "secrets",
        "How the secrets of tenant configs are kept, and which of yours they may name.",
    ),
    ("egress", "Where requests to providers may go."),
    ("upstream", "How long a provider may take."),
    ("log", "What the gateway tells, and how."),
];

/// One row of the table.
pub struct Key {
    /// `section.key`, or `store`.
    pub path: &'static str,
    /// Default, as YAML; empty: unset.
    pub default: &'static str,
    /// Description in the schema and the reference docs.
    pub about: &'static str,
    /// Environment variable that overrides everything else, such as `REDIS_URL`.
    pub plain_env: Option<&'static str>,
    pub schema: Value,
    /// See [`ValueType::list`].
    pub list: bool,
    fill: Fill,
}

type Fill = Box<dyn Fn(&mut Settings, &YamlNode) -> Result<(), String>>;

impl Key {
    /// Parses `node` and stores the value in the setting's field.
    pub fn fill(&self, settings: &mut Settings, node: &YamlNode) -> Result<(), String> {
        (self.fill)(settings, node)
    }

    /// Returns the name of the environment variable: `RESULLM__SERVER__MAX_BODY` for `server.max_body`.
    pub(crate) fn env_name(&self) -> String {
        let name = self.path.replace('.', "__").to_ascii_uppercase();
        format!("{ENV_PREFIX}{name}")
    }

    fn plain_env(mut self, name: &'static str) -> Key {
        self.plain_env = Some(name);
        self
    }
}

/// Prefix of all variables of [`Key::env_name`]; an unknown name with this prefix is a fault.
pub(crate) const ENV_PREFIX: &str = "RESULLM__";

fn key<T: 'static>(
    path: &'static str,
    form: ValueType<T>,
    default: &'static str,
    field: fn(&mut Settings) -> &mut T,
    about: &'static str,
) -> Key {
    let ValueType { schema, list, read } = form;
    Key {
        path,
        default,
        about,
        plain_env: None,
        schema,
        list,
        fill: Box::new(move |settings, node| {
            *field(settings) = read(node)?;
            Ok(())
        }),
    }
}

/// Returns every setting, in the order of the file.
#[rustfmt::skip] // A table: one setting, one paragraph.
pub fn keys() -> Vec<Key> {
    use value_types::{address, approval, choice, count, host_name, list, listener, log_levels, name_server, network, optional, public_url, seal_key, size, span, store, boolean, text, token};
    let millisecond = Duration::from_millis(1);
    let second = Duration::from_secs(1);
    let shortest_hold = Duration::from_secs(5);
    let any_count = u64::MAX;
    vec![
        key("service.name", text(), "ResuLLM", |s| &mut s.service.name,
            "The name in the answer of GET /."),

        key("server.listen", list(listener(), 1), "[localhost:3000]", |s| &mut s.server.listen,
            "Where clients connect, as host:port, or as a mapping with an address, the files of tls (cert, key; more of \
             both under more; client_ca: clients must show a certificate of these) and proxy_protocol (trusted_proxies say \
             with version 2 of it who is behind them). localhost is 127.0.0.1 and ::1; port 0 is any free port. PORT \
             replaces the port of the first entry without TLS, HOST the host of all."),
        key("server.ops_listen", optional(address()), "", |s| &mut s.server.ops_listen,
            "A separate address for GET /metrics, as host:port. Unset: no metrics."),
        key("server.public_url", optional(public_url()), "", |s| &mut s.server.public_url,
            "The gateway's address outside, such as https://gateway.example, perhaps with a path. Unset: as the Host \
             header says, or X-Forwarded-Host of a trusted proxy."),
        key("server.hosts", list(host_name(), 0), "[]", |s| &mut s.server.hosts,
            "Names that the gateway answers to, without a port: a name, an address, *.example for all below a name, * for any; \
             other names get 421, except from health checks. Unset: any; but where every listener is on loopback and \
             there is no trusted proxy, localhost, *.localhost and loopback addresses. public_url's host is always one of them."),
        key("server.threads", optional(count(1, 1024)), "", |s| &mut s.server.threads,
            "Worker threads. Unset: one for each core."),
        key("server.drain_timeout", span(Duration::ZERO), "30s", |s| &mut s.server.drain_timeout,
            "How long a stop waits for requests and streams in flight."),
        key("server.max_body", size(), "32MiB", |s| &mut s.server.max_body,
            "The largest request body; a larger one is refused with 413."),
        key("server.drain_delay", span(Duration::ZERO), "0s", |s| &mut s.server.drain_delay,
            "How long a stop goes on accepting while /readyz already says no, so that a load balancer can notice."),
        key("server.header_timeout", span(second), "10s", |s| &mut s.server.header_timeout,
            "When a request's headers must all be there, however they dribble; a later one is refused with 408."),
        key("server.body_rate", size(), "1KiB", |s| &mut s.server.body_rate,
            "The least that a body must bring in a second, on the average after ten; a slower one is refused with 408."),
        key("server.max_connections", optional(count(16, 10_000_000)), "", |s| &mut s.server.max_connections,
            "The most client connections. Unset: one for every two file descriptors that the process may have."),
        key("server.max_connections_per_address", optional(count(1, 10_000_000)), "", |s| &mut s.server.max_connections_per_address,
            "The most of them from one address, or from one /64 of IPv6; trusted_proxies may have all. Unset: a quarter."),
        key("server.max_requests", optional(count(1, 10_000_000)), "", |s| &mut s.server.max_requests,
            "The most requests in flight; more are refused with 503. Unset: as many as there are connections."),
        key("server.max_requests_per_tenant", optional(count(1, 10_000_000)), "", |s| &mut s.server.max_requests_per_tenant,
            "The most calls of one tenant in flight; more are refused with 503. Unset: three quarters of max_requests."),
        key("server.max_buffered", size(), "512MiB", |s| &mut s.server.max_buffered,
            "The most bytes of bodies that are kept at one time, all requests together; what would be more is refused with 503."),
        key("server.shed_after", span(millisecond), "500ms", |s| &mut s.server.shed_after,
            "How late a worker may be before it refuses a part of the new calls with 503."),
        key("server.trusted_proxies", list(network(), 0), "[]", |s| &mut s.server.trusted_proxies,
            "Addresses and blocks of proxies whose word on the client's address is believed."),

        key("store", store(), "redis://localhost:6379", |s| &mut s.store,
            "Where records live: embedded:DIR (one process, on disk), redis://, rediss://, \
             redis+cluster://h1,h2 or redis+sentinel://h1,h2/name.")
            .plain_env("REDIS_URL"),

        key("accounts.layout", choice(&[("key", Layout::Key), ("user", Layout::User)]), "key", |s| &mut s.accounts.layout,
            "Which shape of record is written: the balance with the key, or with the user. Both are read."),
        key("accounts.hold_ttl", span(shortest_hold), "60s", |s| &mut s.accounts.hold_ttl,
            "How long a hold outlives an instance that died; renewed while its request lives."),
        key("accounts.orphans", choice(&[("known", Orphans::Known), ("spend", Orphans::Spend)]), "known", |s| &mut s.accounts.orphans,
            "What a hold costs that ran out: what it is known to have cost, or all of it."),
        key("accounts.journal", text(), "./data", |s| &mut s.accounts.journal,
            "A directory for what this gateway has under way, for its next start to settle."),
        key("accounts.anonymous_ttl", span(second), "24h", |s| &mut s.accounts.anonymous_ttl,
            "How long an anonymous key lives."),
        key("accounts.mints_per_address", count(1, any_count), "600", |s| &mut s.accounts.mints_per_address,
            "How many anonymous keys one client address may take in one mint_window."),
        key("accounts.mints_per_network", optional(count(1, any_count)), "", |s| &mut s.accounts.mints_per_network,
            "The same for all addresses of one network: a /24 in IPv4, a /48 in IPv6. Unset: ten times mints_per_address."),
        key("accounts.mints_per_tenant", optional(count(1, any_count)), "", |s| &mut s.accounts.mints_per_tenant,
            "The same for all addresses together, at each tenant. Unset: two hundred times mints_per_address."),
        key("accounts.mint_window", span(second), "1h", |s| &mut s.accounts.mint_window,
            "The window of mints_per_address, mints_per_network and mints_per_tenant."),
        key("accounts.failures_per_address", count(1, any_count), "10000", |s| &mut s.accounts.failures_per_address,
            "How many wrong keys and tokens one client address may send within a minute before it is refused with 429."),
        key("accounts.credit_replicas", optional(count(0, 16)), "", |s| &mut s.accounts.credit_replicas,
            "How many Redis replicas must have a credit before it is answered; with fewer it is 503, to be repeated \
             with its id. Unset: 1 behind Sentinels and where a Cluster has replicas, else 0."),

        key("usage.records", count(1, any_count), "100000", |s| &mut s.usage.records,
            "How many settled requests a tenant's usage log keeps."),
        key("usage.age", span(second), "720h", |s| &mut s.usage.age,
            "How long a tenant's usage log keeps them."),

        key("bounds.image", count(1, any_count), "4000", |s| &mut s.bounds.image,
            "The most tokens that one image in a prompt may count for."),
        key("bounds.image_answer", count(1, any_count), "8000", |s| &mut s.bounds.image_answer,
            "The most tokens that one generated image may count for."),
        key("bounds.sound_second", count(1, any_count), "50", |s| &mut s.bounds.sound_second,
            "The most tokens that one second of sound may count for."),

        key("admin.token", optional(token()), "", |s| &mut s.admin.token,
            "The operator's token, which opens the admin API of every tenant. Unset: it refuses everyone.")
            .plain_env("ADMIN_TOKEN"),

        key("secrets.key", optional(seal_key()), "", |s| &mut s.secrets.key,
            "Seals the secrets of tenant configs before they are stored: 32 bytes as hex or base64. Unset: they \
             are stored as they are."),
        key("secrets.old_keys", list(seal_key(), 0), "[]", |s| &mut s.secrets.old_keys,
            "Keys that still open what was sealed with them, and seal nothing any more."),
        key("secrets.env", list(approval(), 0), "[]", |s| &mut s.secrets.env,
            "Variables of this gateway's environment that tenant configs may name as secrets, each as \
             NAME=host or NAME=host for TENANT TENANT; the value is sent to that host alone."),

        key("egress.allow_private_networks", boolean(), "false", |s| &mut s.egress.allow_private_networks,
            "May URLs in tenant configs reach loopback and private addresses, and any without TLS?"),
        key("egress.nameservers", list(name_server(), 0), "[]", |s| &mut s.egress.nameservers,
            "Name servers to ask for providers' addresses, as IP addresses with or without a port. None: the system's."),

        key("upstream.connect_timeout", span(millisecond), "5s", |s| &mut s.upstream.connect_timeout,
            "How long connecting to a provider may take."),
        key("upstream.first_byte_timeout", span(millisecond), "11m", |s| &mut s.upstream.first_byte_timeout,
            "How long a provider may take to begin its answer. Models think for ten minutes, and SDKs wait for as long."),
        key("upstream.idle_timeout", span(millisecond), "11m", |s| &mut s.upstream.idle_timeout,
            "The longest silence between two chunks of an answer."),
        key("upstream.drain", span(Duration::ZERO), "2m", |s| &mut s.upstream.drain,
            "How long a provider is read on for its usage when nobody reads its answer any more and it may have \
             generated more than was seen. Without a usage by then, the hold is charged."),

        key("log.format", choice(&[("human", LogFormat::Human), ("json", LogFormat::Json)]), "human", |s| &mut s.log.format,
            "Lines for people, or for machines."),
        key("log.level", log_levels(), "info", |s| &mut s.log.level,
            "The least level that is logged, or a comma list of [target=]level.")
            .plain_env("RUST_LOG"),
        key("log.access", boolean(), "false", |s| &mut s.log.access,
            "Is each request logged, with method, route, status, time, tenant, account, endpoint, model and tokens?"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_belongs_to_a_section_or_stands_alone() {
        let keys = keys();
        for key in &keys {
            let section = key.path.split_once('.').map(|(section, _)| section);
            let known =
                |section| SECTIONS.iter().any(|(name, _)| *name == section) || section == "store";
            assert!(known(section.unwrap_or(key.path)), "{}", key.path);
        }
        for (section, _) in SECTIONS {
            assert!(
                keys.iter()
                    .any(|key| key.path.starts_with(&format!("{section}.")))
            );
        }
    }

    #[test]
    fn names_in_the_environment_follow_from_the_path() {
        let names: Vec<String> = keys().iter().map(Key::env_name).collect();
        assert!(names.contains(&"RESULLM__STORE".to_owned()));
        assert!(names.contains(&"RESULLM__SERVER__MAX_BODY".to_owned()));
    }
}
