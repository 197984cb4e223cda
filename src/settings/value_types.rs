//! Value types of the settings: for each, its parser and its JSON Schema side by side.
//!
//! A [`ValueType`] knows no setting; `keys.rs` assigns one to each setting.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use base64::{
    Engine, alphabet,
    engine::DecodePaddingMode,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Value, json};

use super::{
    resolved::{Approval, Certificate, HostName, Listener, PublicUrl, SealKey, Secret, Store, Tls},
    store_url,
    yaml::{self, NodeKind, YamlNode},
};

/// Upper bound of every duration (10 years): adding a longer one to a clock could overflow.
const MAX_DURATION: Duration = Duration::from_secs(3650 * 86_400);

/// Minimum length of `admin.token`, in bytes.
const SHORTEST_TOKEN: usize = 8;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

type Read<T> = Box<dyn Fn(&YamlNode) -> Result<T, String>>;

/// A value type: parser and schema.
pub(crate) struct ValueType<T> {
    pub schema: Value,
    /// Whether this is a list; a scalar is then split at commas.
    pub list: bool,
    /// Parses and validates a node; the error starts with `expected`.
    pub read: Read<T>,
}

pub fn text() -> ValueType<String> {
    scalar("a text", json!({"type": "string"}), |text| {
        Some(text.to_owned())
    })
}

/// `true` or `false`.
pub fn boolean() -> ValueType<bool> {
    scalar("true or false", json!({"type": "boolean"}), |text| {
        text.parse().ok()
    })
}

/// An integer from `least` to `most`.
pub fn count<T: TryFrom<u64> + 'static>(least: u64, most: u64) -> ValueType<T> {
    let expected = if most < u64::MAX {
        format!("a whole number from {least} to {most}")
    } else {
        format!("a whole number of at least {least}")
    };
    let mut schema = json!({"type": "integer", "minimum": least});
    if most < u64::MAX {
        schema["maximum"] = most.into();
    }
    scalar(&expected, schema, move |text| {
        let number = text.parse::<u64>().ok()?;
        T::try_from(number)
            .ok()
            .filter(|_| (least..=most).contains(&number))
    })
}

/// A size in bytes, with an optional unit: `32MiB`, `10MB`, `512`. At least 1.
pub fn size() -> ValueType<u64> {
    let schema = json!({"anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[0-9]+ ?([KMG]i?B|B)?$"},
    ]});
    scalar("a size such as 32MiB", schema, |text| {
        bytes(text).filter(|&bytes| bytes > 0)
    })
}

/// A duration such as `1m30s`, from `least` to [`MAX_DURATION`].
pub fn span(least: Duration) -> ValueType<Duration> {
    let mut expected = "a duration such as 30s or 1m30s".to_owned();
    if least >= Duration::from_secs(1) {
        expected.push_str(&format!(", at least {}s", least.as_secs()));
    }
    let schema = json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"});
    scalar(&expected, schema, move |text| {
        duration(text).filter(|span| (least..=MAX_DURATION).contains(span))
    })
}

/// One of a fixed set of names, mapped to a value.
pub fn choice<T: Copy + 'static>(choices: &'static [(&'static str, T)]) -> ValueType<T> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let schema = json!({"enum": names});
    scalar(&names.join(" or "), schema, move |text| {
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, meant)| *meant)
    })
}

/// `host:port`.
pub fn address() -> ValueType<String> {
    let schema = json!({"type": "string", "pattern": "^(\\[[0-9A-Fa-f:.]+\\]|[^:/\\s]+):[0-9]+$"});
    scalar("host:port", schema, |text| {
        host_and_port(text).map(|_| text.to_owned())
    })
}

/// A listener: an address, or a mapping of `address`, `tls` and `proxy_protocol`.
pub fn listener() -> ValueType<Listener> {
    let certificate = json!({
        "type": "object", "additionalProperties": false, "required": ["cert", "key"],
        "properties": {"cert": {"type": "string"}, "key": {"type": "string"}},
    });
    let mut tls = certificate.clone();
    tls["properties"]["more"] = json!({"type": "array", "items": certificate});
    tls["properties"]["client_ca"] = json!({"type": "string"});
    let ValueType { schema, read, .. } = address();
    ValueType {
        schema: json!({"anyOf": [schema, {
            "type": "object", "additionalProperties": false, "required": ["address"],
            "properties": {"address": schema, "tls": tls, "proxy_protocol": {"type": "boolean"}},
        }]}),
        list: false,
        read: Box::new(move |node| {
            let NodeKind::Map(_) = &node.kind else {
                let address = read(node)?;
                return Ok(Listener {
                    address,
                    ..Listener::default()
                });
            };
            let parts = Parts::of(node, &["address", "tls", "proxy_protocol"])?;
            Ok(Listener {
                address: parts.required("address", &*read)?,
                tls: parts.optional("tls", &tls_files)?,
                proxy_protocol: parts
                    .optional("proxy_protocol", &*boolean().read)?
                    .unwrap_or_default(),
            })
        }),
    }
}

/// Parses the mapping under `tls`: `cert`, `key`, `more`, `client_ca`.
fn tls_files(node: &YamlNode) -> Result<Tls, String> {
    let parts = Parts::of(node, &["cert", "key", "more", "client_ca"])?;
    let mut certificates = vec![certificate(&parts)?];
    certificates.extend(parts.optional("more", &more)?.unwrap_or_default());
    Ok(Tls {
        certificates,
        client_ca: parts.optional("client_ca", &file)?,
    })
}

/// Parses `tls.more`: a list of further `cert` and `key` pairs.
fn more(node: &YamlNode) -> Result<Vec<Certificate>, String> {
    let NodeKind::List(nodes) = &node.kind else {
        return Err("expected a list".to_owned());
    };
    let one = |node| certificate(&Parts::of(node, &["cert", "key"])?);
    nodes.iter().map(one).collect()
}

fn certificate(parts: &Parts<'_>) -> Result<Certificate, String> {
    Ok(Certificate {
        cert: parts.required("cert", &file)?,
        key: parts.required("key", &file)?,
    })
}

/// Parses the path of a file; the file is not opened here.
fn file(node: &YamlNode) -> Result<PathBuf, String> {
    match &node.kind {
        NodeKind::Scalar { text, .. } if !text.trim().is_empty() => Ok(PathBuf::from(text.trim())),
        _ => Err("expected the path of a file".to_owned()),
    }
}

/// A mapping whose keys are all known ([`Parts::of`] refuses others).
struct Parts<'n>(&'n [(yaml::Key, YamlNode)]);

impl<'n> Parts<'n> {
    fn of(node: &'n YamlNode, known: &[&str]) -> Result<Parts<'n>, String> {
        let known_text = known.join(", ");
        let NodeKind::Map(entries) = &node.kind else {
            return Err(format!("expected a mapping of {known_text}"));
        };
        let is_unknown = |(key, _): &&(yaml::Key, YamlNode)| !known.contains(&key.name.as_str());
        match entries.iter().find(is_unknown) {
            Some((key, _)) => Err(format!(
                "unknown key \"{}\" (there are: {known_text})",
                key.name
            )),
            None => Ok(Parts(entries)),
        }
    }

    fn optional<T>(
        &self,
        name: &str,
        read: &dyn Fn(&YamlNode) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let found = self.0.iter().find(|(key, _)| key.name == name);
        let read = found.map(|(_, node)| read(node).map_err(|why| format!("{name}: {why}")));
        read.transpose()
    }

    fn required<T>(
        &self,
        name: &str,
        read: &dyn Fn(&YamlNode) -> Result<T, String>,
    ) -> Result<T, String> {
        let found = self.optional(name, read)?;
        found.ok_or_else(|| format!("{name} is required"))
    }
}

/// An IP address or a CIDR block, as address and prefix length.
pub fn network() -> ValueType<(IpAddr, u8)> {
    let expected = "an IP address or a block such as 10.0.0.0/8";
    scalar(expected, json!({"type": "string"}), |text| {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(longest);
        (length <= longest).then_some((address, length))
    })
}

/// The gateway's public URL: `http` or `https`, host, optional port and path.
pub fn public_url() -> ValueType<PublicUrl> {
    let expected = "an address such as https://gateway.example or https://example.com/llm, without user, query or fragment";
    let schema = json!({"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9._:\\[\\]-]+(/[A-Za-z0-9._~/-]*)?$"});
    scalar(expected, schema, |text| {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match host_and_port(place) {
            Some((host, port)) if port > 0 => (host, port),
            Some(_) => return None,
            None => (is_host(place).then_some(place)?, usual),
        };
        let path = path.trim_end_matches('/');
        let is_plain = |word: &str| {
            let known = |c: u8| c.is_ascii_alphanumeric() || b"._~-".contains(&c);
            !matches!(word, "" | "." | "..") && word.bytes().all(known)
        };
        if !path.split('/').skip(1).all(is_plain) {
            return None;
        }
        let named = named_host(host)?;
        let shown = if named.contains(':') {
            format!("[{named}]")
        } else {
            named.clone()
        };
        let port = if port == usual {
            String::new()
        } else {
            format!(":{port}")
        };
        Some(PublicUrl {
            origin: format!("{scheme}://{shown}{port}"),
            host: named,
            path: path.to_owned(),
        })
    })
}

/// A host name in `server.hosts`: exact, `*.name`, an IP address, or `*`.
pub(crate) fn host_name() -> ValueType<HostName> {
    let expected =
        "a name such as gateway.example, *.gateway.example, an IP address, or *; without a port";
    let schema = json!({"type": "string", "pattern": "^(\\*|(\\*\\.)?[A-Za-z0-9._-]+|\\[?[0-9A-Fa-f:.]+\\]?)$"});
    scalar(expected, schema, |text| match text.strip_prefix("*.") {
        _ if text == "*" => Some(HostName::Any),
        Some(below) => {
            let name = named_host(below)?;
            let is_address = name.parse::<IpAddr>().is_ok();
            (!is_address).then_some(HostName::Below(name))
        }
        None => named_host(text).map(HostName::Exact),
    })
}

/// Normalizes a host: lower case, no trailing dot, IPv6 shortened and without brackets.
fn named_host(text: &str) -> Option<String> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = inner.unwrap_or(text).parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_name = !name.starts_with('.') && !name.contains("..") && is_host(name);
    is_name.then(|| name.to_ascii_lowercase())
}

/// The IP address of a DNS server, port 53 unless written.
pub(crate) fn name_server() -> ValueType<SocketAddr> {
    let expected = "the IP address of a name server, perhaps with a port, such as 10.0.0.2:53";
    scalar(expected, json!({"type": "string"}), |text| {
        let alone = text
            .parse()
            .map(|address: IpAddr| SocketAddr::new(address, 53));
        alone.or_else(|_| text.parse()).ok()
    })
}

/// A comma-separated list of `[target=]level`.
pub(crate) fn log_levels() -> ValueType<String> {
    let expected =
        "a level (off, error, warn, info, debug, trace) or a list such as info,name=debug";
    scalar(expected, json!({"type": "string"}), |text| {
        let known = |item: &str| {
            let level = item.split_once('=').map_or(item, |(_, level)| level);
            LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
        };
        text.split(',').all(known).then(|| text.to_owned())
    })
}

/// A bearer token of at least [`SHORTEST_TOKEN`] visible ASCII characters. The error never quotes the value.
pub fn token() -> ValueType<Secret> {
    ValueType {
        schema: json!({"type": "string", "minLength": SHORTEST_TOKEN}),
        list: false,
        read: Box::new(|node| match &node.kind {
            NodeKind::Scalar { text, .. }
                if text.len() >= SHORTEST_TOKEN && text.bytes().all(|c| c.is_ascii_graphic()) =>
            {
                Ok(Secret::new(text))
            }
            _ => Err(format!(
                "expected at least {SHORTEST_TOKEN} visible ASCII characters: a token that can be guessed \
                 opens every tenant (openssl rand -hex 32 makes a good one)"
            )),
        }),
    }
}

/// A key for sealing secrets, see [`key_bytes`]. The error never quotes the value.
pub(crate) fn seal_key() -> ValueType<SealKey> {
    ValueType {
        schema: json!({"type": "string", "pattern": "^([0-9A-Fa-f]{64}|[A-Za-z0-9+/_-]{43}=?)$"}),
        list: false,
        read: Box::new(|node| {
            let meant = match &node.kind {
                NodeKind::Scalar { text, .. } => key_bytes(text.trim()),
                NodeKind::Map(_) | NodeKind::List(_) => None,
            };
            meant.map(SealKey).ok_or_else(|| {
                "expected 32 bytes as 64 hex digits or in base64 (openssl rand -hex 32 makes some)"
                    .to_owned()
            })
        }),
    }
}

/// Decodes 32 bytes from 64 hex digits, or from base64 with the standard or URL-safe alphabet, padded or not.
pub(crate) fn key_bytes(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pairs = text.as_bytes().chunks_exact(2);
        let bytes = pairs.map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok());
        return bytes.collect::<Option<Vec<u8>>>()?.try_into().ok();
    }
    let any_padding =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [&alphabet::STANDARD, &alphabet::URL_SAFE];
    alphabets.into_iter().find_map(|alphabet| {
        let bytes = GeneralPurpose::new(alphabet, any_padding)
            .decode(text)
            .ok()?;
        bytes.try_into().ok()
    })
}

const APPROVED: &str = "expected NAME=host, where host is as in https://host:port (https and 443 unless \
    written), and for some tenants only: NAME=host for TENANT TENANT";

/// An entry of `secrets.env`: `NAME=host` or `NAME=host for TENANT TENANT`. The error never quotes the value,
/// because a secret may have been written in place of the name.
pub fn approval() -> ValueType<Approval> {
    ValueType {
        schema: json!({"type": "string", "pattern":
            "^[A-Za-z_][A-Za-z0-9_]*=(https?://)?[^\\s/]+( +for( +[A-Za-z0-9][A-Za-z0-9_-]{0,62})+)?$"}),
        list: false,
        read: Box::new(|node| {
            let meant = match &node.kind {
                NodeKind::Scalar { text, .. } => approved(text.trim()),
                NodeKind::Map(_) | NodeKind::List(_) => None,
            };
            meant.ok_or_else(|| APPROVED.to_owned())
        }),
    }
}

/// Parses an entry of `secrets.env`; [`Approval::value`] is filled later.
fn approved(text: &str) -> Option<Approval> {
    let (name, rest) = text.split_once('=')?;
    let first = name.bytes().next()?;
    let is_name = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    if !is_name || first.is_ascii_digit() {
        return None;
    }
    let mut words = rest.split_whitespace();
    let (https, place) = match words.next()? {
        place if place.starts_with("http://") => (false, &place[7..]),
        place => (true, place.strip_prefix("https://").unwrap_or(place)),
    };
    let usual = if https { 443 } else { 80 };
    let (host, port) = match host_and_port(place) {
        Some((host, port)) if port > 0 => (host, port),
        _ => (is_host(place).then_some(place)?, usual),
    };
    let host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
        None => host.to_ascii_lowercase(),
    };
    let tenants: Vec<String> = match words.next() {
        None => Vec::new(),
        Some("for") => words.map(str::to_owned).collect(),
        Some(_) => return None,
    };
    let is_id = |id: &String| {
        id.bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c))
    };
    let whole = rest.split_whitespace().count() != 2 && tenants.iter().all(is_id);
    whole.then(|| Approval {
        name: name.to_owned(),
        https,
        host,
        port,
        tenants,
        value: None,
    })
}

/// The `store` setting, see [`store_url::parse`]. The error never quotes the value, which may hold a
/// password.
pub fn store() -> ValueType<Store> {
    ValueType {
        schema: json!({"type": "string", "pattern":
            "^(embedded:.+|rediss?(\\+cluster|\\+sentinel)?://.+)$"}),
        list: false,
        read: Box::new(|node| match &node.kind {
            NodeKind::Scalar { text, .. } => store_url::parse(text.trim()),
            _ => Err(format!("expected a text, not {}", node.shown())),
        }),
    }
}

/// A list of at least `least` items, as a YAML list or as comma-separated text.
pub fn list<T: 'static>(item: ValueType<T>, least: usize) -> ValueType<Vec<T>> {
    let mut schema = json!({"type": "array", "items": item.schema});
    if least > 0 {
        schema["minItems"] = least.into();
    }
    ValueType {
        schema,
        list: true,
        read: Box::new(move |node| {
            let items: Vec<T> = match &node.kind {
                NodeKind::List(items) => items.iter().map(&item.read).collect::<Result<_, _>>()?,
                NodeKind::Scalar { text, .. } => text
                    .split(',')
                    .map(|text| (item.read)(&YamlNode::plain(text)))
                    .collect::<Result<_, _>>()?,
                NodeKind::Map(_) => return Err("expected a list, not a mapping".to_owned()),
            };
            if items.len() < least {
                return Err(format!("expected a list of at least {least}"));
            }
            Ok(items)
        }),
    }
}

/// Wraps a form for a setting that may stay unset (`None`).
pub fn optional<T: 'static>(form: ValueType<T>) -> ValueType<Option<T>> {
    let ValueType { schema, list, read } = form;
    ValueType {
        schema,
        list,
        read: Box::new(move |node| read(node).map(Some)),
    }
}

/// Builds a form for a scalar. The error is `expected {expected}, not {value}`, so this is not for secrets.
fn scalar<T>(
    expected: &str,
    schema: Value,
    meant: impl Fn(&str) -> Option<T> + 'static,
) -> ValueType<T> {
    let expected = expected.to_owned();
    ValueType {
        schema,
        list: false,
        read: Box::new(move |node| {
            let value = match &node.kind {
                NodeKind::Scalar { text, .. } => meant(text.trim()),
                NodeKind::Map(_) | NodeKind::List(_) => None,
            };
            value.ok_or_else(|| format!("expected {expected}, not {}", node.shown()))
        }),
    }
}

/// Splits `host:port` (`localhost:3000`, `[::1]:3000`); IPv6 hosts keep their brackets.
pub fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.bytes().all(|c| c.is_ascii_digit()).then_some(port)?;
    is_host(host).then_some((host, port.parse().ok()?))
}

/// Whether `host` may precede a port: a name, an IPv4 address, or an IPv6 address in brackets.
pub fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(known)
        }
    }
}

/// Parses a size; `KB`, `MB`, `GB` are powers of 1000, `KiB`, `MiB`, `GiB` powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_rest(text)?;
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Parses a sum of numbers with units: `ms`, `s`, `m`, `h`, `d`.
fn duration(text: &str) -> Option<Duration> {
    let mut millis: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = number_and_rest(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        millis = millis.checked_add(number.checked_mul(factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

fn number_and_rest(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
#[path = "value_types_tests.rs"]
mod tests;
