//! Parses the `store` setting: `embedded:DIR`, or a Redis URL of a single server, a cluster or Sentinels.
//!
//! Parsing opens no connection. Error messages never quote the URL, which may hold a password.

use crate::host_port::HostPort;
use crate::tables::{Secret, ValueType, parsed};
use serde_json::json;
use std::path::PathBuf;

const EXPECTED: &str = "expected embedded:DIR or a URL such as redis://localhost:6379";
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The `store` setting, see [`parse`]. The error never quotes the value, which may hold a password.
pub fn store() -> ValueType<Store> {
    let schema = json!({"type": "string", "pattern": "^(embedded:.+|rediss?(\\+cluster|\\+sentinel)?://.+)$"});
    parsed(schema, parse)
}

/// URL schemes; the `bool` is TLS.
const SCHEMES: [(&str, Scheme, bool); 6] = [
    ("redis", Scheme::Single, false),
    ("rediss", Scheme::Single, true),
    ("redis+cluster", Scheme::Cluster, false),
    ("rediss+cluster", Scheme::Cluster, true),
    ("redis+sentinel", Scheme::Sentinel, false),
    ("rediss+sentinel", Scheme::Sentinel, true),
];

#[derive(Clone, Copy, PartialEq)]
enum Scheme {
    Single,
    Cluster,
    Sentinel,
}

/// Parses a store setting; the error starts with `expected`.
pub fn parse(text: &str) -> Result<Store, String> {
    if let Some(dir) = text.strip_prefix("embedded:") {
        if dir.trim().is_empty() {
            return Err("expected a directory after embedded:, such as embedded:./data".into());
        }
        return Ok(Store::Embedded(PathBuf::from(dir.trim())));
    }
    let (name, rest) = text.split_once("://").ok_or(EXPECTED)?;
    let (_, scheme, tls) = SCHEMES
        .into_iter()
        .find(|(scheme, ..)| *scheme == name)
        .ok_or_else(|| {
            let schemes = SCHEMES.map(|(scheme, ..)| scheme).join(", ");
            format!("{EXPECTED}; the schemes are {schemes}")
        })?;

    // Split at the last `@`: a password may hold an unescaped `@` or `/`, a host may not.
    let (userinfo, address) = match rest.rsplit_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, rest),
    };
    if address.contains(['?', '#']) {
        return Err(
            "expected no ? or # after the address; options are settings of their own".into(),
        );
    }
    let (hosts, path) = address.split_once('/').unwrap_or((address, ""));
    let (username, password) = userinfo.map_or(Ok((None, None)), credentials)?;
    let default_port = match scheme {
        Scheme::Sentinel => SENTINEL_PORT,
        Scheme::Single | Scheme::Cluster => REDIS_PORT,
    };
    let nodes: Vec<(String, u16)> = hosts
        .split(',')
        .map(|text| node(text.trim(), default_port))
        .collect::<Result<_, _>>()?;
    if scheme == Scheme::Single && nodes.len() > 1 {
        return Err(
            "expected one host; several are written redis+cluster:// or redis+sentinel://".into(),
        );
    }
    let (kind, db) = kind_and_db(scheme, path)?;
    Ok(Store::Redis(Redis {
        url: Secret::new(text),
        kind,
        tls,
        nodes,
        username,
        password,
        db,
    }))
}

/// Parses the path: `/db` for a single server, nothing or `/0` for a cluster, `/service/db` for Sentinels.
fn kind_and_db(scheme: Scheme, path: &str) -> Result<(RedisKind, i64), String> {
    match scheme {
        Scheme::Single => Ok((RedisKind::Single, database(path)?)),
        Scheme::Cluster if database(path)? == 0 => Ok((RedisKind::Cluster, 0)),
        Scheme::Cluster => Err("expected no database number; a cluster has only 0".into()),
        Scheme::Sentinel => {
            let (service, db) = path.split_once('/').unwrap_or((path, ""));
            if service.is_empty() {
                return Err("expected the name of the primary after the Sentinels, \
                    such as redis+sentinel://host1,host2/mymaster"
                    .into());
            }
            let service = percent_decoded(service)?;
            Ok((RedisKind::Sentinel { service }, database(db)?))
        }
    }
}

fn database(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.parse::<u32>().map(i64::from);
    number.map_err(|_| "expected a database number after the host".to_owned())
}

/// Parses `user:password`; the user may be empty, the password may not.
fn credentials(userinfo: &str) -> Result<(Option<String>, Option<Secret>), String> {
    let missing = "expected a password before the @: redis://user:password@host or \
        redis://:password@host";
    let (username, password) = userinfo.split_once(':').ok_or(missing)?;
    if password.is_empty() {
        return Err(missing.into());
    }
    let username = percent_decoded(username)?;
    let password = Secret::new(percent_decoded(password)?);
    Ok((
        Some(username).filter(|name| !name.is_empty()),
        Some(password),
    ))
}

/// Parses a node. The error does not quote it: in `redis://user:password` without a host, the password is parsed as
/// the port.
fn node(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let place = HostPort::parse(text)
        .map_err(|why| format!("expected a host and perhaps a port: {why}"))?;
    match place.port_or(default_port) {
        0 => Err("expected a host and perhaps a port from 1 to 65535".to_owned()),
        port => Ok((place.host, port)),
    }
}

/// Decodes `%40` and the like.
fn percent_decoded(text: &str) -> Result<String, String> {
    let wrong = || "expected % only before two hex digits (a literal % is %25)".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return Err(wrong());
        };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = digit(*high).zip(digit(*low)).ok_or_else(wrong)?;
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| "expected credentials in UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats TLS, kind, nodes, user, password and db in one line.
    fn shown(text: &str) -> String {
        match parse(text).unwrap() {
            Store::Embedded(dir) => format!("embedded {}", dir.display()),
            Store::Redis(redis) => format!(
                "{}{:?} {:?} {}:{} db{}",
                if redis.tls { "tls " } else { "" },
                redis.kind,
                redis.nodes,
                redis.username.as_deref().unwrap_or("-"),
                redis.password.as_ref().map_or("-", Secret::expose),
                redis.db,
            ),
        }
    }

    #[test]
    fn every_form_of_store_is_taken_apart() {
        let cases = [
            ("embedded:./data", "embedded ./data"),
            ("embedded:/var/lib/resullm", "embedded /var/lib/resullm"),
            (
                "redis://localhost",
                r#"Single [("localhost", 6379)] -:- db0"#,
            ),
            ("redis://h:7000/3", r#"Single [("h", 7000)] -:- db3"#),
            ("redis://h/", r#"Single [("h", 6379)] -:- db0"#),
            (
                "rediss://u:p%40s%25@h",
                r#"tls Single [("h", 6379)] u:p@s% db0"#,
            ),
            ("redis://:p@ss/w@h:1", r#"Single [("h", 1)] -:p@ss/w db0"#),
            ("redis://[::1]:7000/1", r#"Single [("::1", 7000)] -:- db1"#),
            ("redis://[::1]", r#"Single [("::1", 6379)] -:- db0"#),
            (
                "redis+cluster://a:1,b",
                r#"Cluster [("a", 1), ("b", 6379)] -:- db0"#,
            ),
            (
                "rediss+cluster://a/0",
                r#"tls Cluster [("a", 6379)] -:- db0"#,
            ),
            (
                "redis+sentinel://u:p@a,b:1,[::1]/main/2",
                r#"Sentinel { service: "main" } [("a", 26379), ("b", 1), ("::1", 26379)] u:p db2"#,
            ),
            (
                "rediss+sentinel://a/main",
                r#"tls Sentinel { service: "main" } [("a", 26379)] -:- db0"#,
            ),
        ];
        for (text, meant) in cases {
            assert_eq!(shown(text), meant, "{text}");
        }
    }

    #[test]
    fn store_url_errors_omit_the_password() {
        let cases = [
            ("localhost:6379", "expected embedded:DIR"),
            ("embedded:", "expected a directory"),
            ("http://h", "the schemes are redis, rediss,"),
            ("redis://", "expected a host"),
            ("redis://:s3cret@", "expected a host"),
            ("redis://h:port", "the port must be"),
            ("redis://user:s3cret", "the port must be"),
            ("redis://h/s3cret", "expected a database number"),
            ("redis://:s3cret", "expected a host"),
            ("redis://[s3cret", "the host lacks its ]"),
            ("redis://h:0", "a port from 1 to 65535"),
            ("redis://u:s3cret@h:70000", "the port must be"),
            ("redis://[::1", "the host lacks its ]"),
            ("redis://[::1]x", "not a port"),
            ("redis://h h", "the host must be"),
            ("redis://a,b", "expected one host"),
            ("redis://h/x", "expected a database number"),
            ("redis://h/-1", "expected a database number"),
            ("redis://h?db=1", "expected no ? or #"),
            ("redis://user@h", "expected a password"),
            ("redis://user:@h", "expected a password"),
            ("redis://:s3cret%4@h", "expected % only"),
            ("redis://:s3cret%zz@h", "expected % only"),
            ("redis://:s3cret%ff@h", "expected credentials in UTF-8"),
            ("redis+cluster://a/1", "expected no database number"),
            ("redis+cluster://a,,b", "expected a host"),
            ("redis+sentinel://a,b", "expected the name of the primary"),
            ("redis+sentinel://a/main/x", "expected a database number"),
        ];
        for (text, message) in cases {
            let fault = parse(text).unwrap_err();
            assert!(fault.contains(message), "{text}: {fault}");
            assert!(!fault.contains("s3cret"), "{text}: {fault}");
        }
    }

    #[test]
    fn a_password_never_shows() {
        let store = parse("redis://user:s3cret@h").unwrap();
        assert!(!format!("{store:?}").contains("s3cret"));
    }
}
