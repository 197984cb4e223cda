//! Value types that only the gateway's settings have: listeners, tokens, keys, networks, host names.

use crate::host_port::HostPort;
use crate::rules::neighbours;
use crate::tables::{
    Secret, ValueType, boolean, bytes_of_hex_or_base64, either, file, list, object, parsed, plain,
    table,
};
use serde_json::json;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Minimum length of `admin.token`, in bytes.
const SHORTEST_TOKEN: usize = 8;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `host:port`.
pub fn address() -> ValueType<HostPort> {
    let schema = json!({"type": "string", "pattern": "^(\\[[0-9A-Fa-f:.]+\\]|[^:/\\s]+):[0-9]+$"});
    plain("host:port", schema, |text| {
        HostPort::parse(text)
            .ok()
            .filter(|place| place.port.is_some())
    })
}

/// The entries of `server.listen`.
pub(super) type Listeners = Vec<Listener>;

table! {
    /// A listener.
    pub struct Listener unknown Refused {
        /// `host:port`; `localhost` means `127.0.0.1` and `::1`, port 0 any free port.
        address: HostPort = address();
        /// Certificates. Absent: no TLS.
        tls: Option<Tls> = object().optional();
        /// Connections from `trusted_proxies` start with a PROXY protocol v2 header that names the client.
        proxy_protocol: bool = boolean().default("false");
    }
}

table! {
    /// TLS of a listener.
    pub struct Tls unknown Refused {
        /// The certificate chain (PEM) for all names that no other certificate is for.
        cert: PathBuf = file();
        /// The private key of its first certificate (PEM).
        key: PathBuf = file();
        /// Further certificates, selected by SNI.
        more: Vec<Certificate> = list(object(), 0).default("[]");
        /// CA certificates (PEM): clients must present a certificate issued by one of them. Absent: no client
        /// certificates.
        client_ca: Option<PathBuf> = file().optional();
    }
}

table! {
    /// PEM files of a certificate chain and its key.
    pub struct Certificate unknown Refused {
        /// The certificate chain.
        cert: PathBuf = file();
        /// The private key of its first certificate.
        key: PathBuf = file();
    }
}

impl Tls {
    /// Returns every certificate; the first is the fallback.
    pub fn certificates(&self) -> Vec<Certificate> {
        let first = Certificate {
            cert: self.cert.clone(),
            key: self.key.clone(),
        };
        [first]
            .into_iter()
            .chain(self.more.iter().cloned())
            .collect()
    }
}

impl Listener {
    pub fn at(address: HostPort) -> Listener {
        Listener {
            address,
            tls: None,
            proxy_protocol: false,
        }
    }
}

/// Listener: an address, or a mapping of `address`, `tls` and `proxy_protocol`.
pub fn listener() -> ValueType<Listener> {
    either(object(), address().map(Listener::at))
}

/// List of at least one [`listener`].
pub fn listeners() -> ValueType<Listeners> {
    list(listener(), 1)
}

/// An IP address or a CIDR block, as address and prefix length.
pub fn network() -> ValueType<(IpAddr, u8)> {
    let expected = "an IP address or a block such as 10.0.0.0/8";
    plain(expected, json!({"type": "string"}), neighbours::parse)
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

/// The gateway's public URL: `http` or `https`, host, optional port and path.
pub fn public_url() -> ValueType<PublicUrl> {
    let expected = "an address such as https://gateway.example or https://example.com/llm, without user, query or fragment";
    let pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9._:\\[\\]-]+(/[A-Za-z0-9._~/-]*)?$";
    // The value is not quoted: it may hold a password.
    parsed(json!({"type": "string", "pattern": pattern}), move |text| {
        PublicUrl::parse(text).ok_or_else(|| format!("expected {expected}"))
    })
}

impl PublicUrl {
    fn parse(text: &str) -> Option<PublicUrl> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let mut place = HostPort::parse(place)
            .ok()
            .filter(|place| place.port != Some(0))?;
        let path = path.trim_end_matches('/');
        let is_plain = |word: &str| {
            let known = |c: u8| c.is_ascii_alphanumeric() || b"._~-".contains(&c);
            !matches!(word, "" | "." | "..") && word.bytes().all(known)
        };
        if place.check_name().is_err() || !path.split('/').skip(1).all(is_plain) {
            return None;
        }
        place.port.take_if(|port| *port == usual);
        Some(PublicUrl {
            origin: format!("{scheme}://{place}"),
            host: place.host,
            path: path.to_owned(),
        })
    }
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

impl HostName {
    /// Whether a host has this name, or one below it.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            HostName::Any => true,
            HostName::Exact(name) => host == name,
            HostName::Below(name) => {
                let rest = host.strip_suffix(name.as_str());
                rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }

    /// Whether a host is named here: `*` names none, so a client could make it up.
    pub fn is_one_of_ours(&self, host: &str) -> bool {
        *self != HostName::Any && self.covers(host)
    }
}

/// A host name in `server.hosts`: exact, `*.name`, an IP address, or `*`.
pub(super) fn host_name() -> ValueType<HostName> {
    let expected =
        "a name such as gateway.example, *.gateway.example, an IP address, or *; without a port";
    let pattern = "^(\\*|(\\*\\.)?[A-Za-z0-9._-]+|\\[?[0-9A-Fa-f:.]+\\]?)$";
    let schema = json!({"type": "string", "pattern": pattern});
    plain(expected, schema, |text| match text.strip_prefix("*.") {
        _ if text == "*" => Some(HostName::Any),
        Some(below) => named_host(below)
            .filter(|name| name.parse::<IpAddr>().is_err())
            .map(HostName::Below),
        None => named_host(text).map(HostName::Exact),
    })
}

/// Normalizes a host without a port; an IPv6 address may lack its brackets.
fn named_host(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let place = HostPort::parse(text).ok()?;
    let is_name = place.port.is_none() && place.check_name().is_ok();
    is_name.then_some(place.host)
}

/// The IP address of a DNS server, port 53 unless written.
pub(super) fn name_server() -> ValueType<SocketAddr> {
    let expected = "the IP address of a name server, perhaps with a port, such as 10.0.0.2:53";
    plain(expected, json!({"type": "string"}), |text| {
        let alone = text
            .parse()
            .map(|address: IpAddr| SocketAddr::new(address, 53));
        alone.or_else(|_| text.parse()).ok()
    })
}

/// A comma-separated list of `[target=]level`.
pub(super) fn log_levels() -> ValueType<String> {
    let expected =
        "a level (off, error, warn, info, debug, trace) or a list such as info,name=debug";
    plain(expected, json!({"type": "string"}), |text| {
        let known = |item: &str| {
            let level = item.split_once('=').map_or(item, |(_, level)| level);
            LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
        };
        text.split(',').all(known).then(|| text.to_owned())
    })
}

/// A bearer token of at least [`SHORTEST_TOKEN`] visible ASCII characters. The error never quotes the value.
pub fn token() -> ValueType<Secret> {
    parsed(
        json!({"type": "string", "minLength": SHORTEST_TOKEN}),
        read_token,
    )
}

/// Reads a token, from a setting or a line of `admin.token_file`.
pub(super) fn read_token(text: &str) -> Result<Secret, String> {
    let is_good = text.len() >= SHORTEST_TOKEN && text.bytes().all(|c| c.is_ascii_graphic());
    is_good.then(|| Secret::new(text)).ok_or_else(|| {
        format!(
            "expected at least {SHORTEST_TOKEN} visible ASCII characters: a token that can be guessed \
             opens every tenant (openssl rand -hex 32 makes a good one)"
        )
    })
}

/// A 256-bit key that seals (encrypts) secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key for sealing secrets, as hex or base64. The error never quotes the value.
pub(super) fn seal_key() -> ValueType<SealKey> {
    let schema = json!({"type": "string", "pattern": "^([0-9A-Fa-f]{64}|[A-Za-z0-9+/_-]{43}=?)$"});
    parsed(schema, read_key)
}

/// Reads a key, from a setting or a line of `secrets.key_file`.
pub(super) fn read_key(text: &str) -> Result<SealKey, String> {
    let expected =
        "expected 32 bytes as 64 hex digits or in base64 (openssl rand -hex 32 makes some)";
    let bytes = bytes_of_hex_or_base64(text);
    bytes.map(SealKey).ok_or_else(|| expected.to_owned())
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
