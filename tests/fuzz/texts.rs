//! Paths, URLs, configs, settings and records: text from clients, tenants and other programs.

use http::Method;
use resullm::dialect::splice::Splice;
use resullm::json;
use resullm::local::route::{self, Resolved};
use resullm::rules::amount::Tokens;
use resullm::rules::tenant::{self, ROUTE_HEADS, TenantId};
use resullm::rules::{egress, record};
use resullm::settings::{self, Secrets};
use resullm::store::config_secrets::ConfigSecrets;
use resullm::tables::Secret;
use resullm::url::Url;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// A path belongs to the tenant that its first segment names, or to none.
pub fn path(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some(at) = tenant::address(path) else {
        return;
    };
    let first = path[1..].split('/').next().unwrap_or_default();
    if ROUTE_HEADS.contains(&first) {
        assert_eq!((at.tenant.as_str(), at.route), ("default", path));
    } else {
        assert_eq!(at.tenant.as_str(), first);
        assert!(at.route == "/" || path == format!("/{first}{}", at.route));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        assert!(first.bytes().all(plain) && (1..=63).contains(&first.len()));
    }
    assert!(TenantId::parse(at.tenant.as_str()).is_some());
    let visible = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'\\';
    assert!(path.bytes().all(visible), "{path:?}");
    // Decoding the path does not change its segments.
    let decoded = once_decoded(path);
    assert_eq!(
        decoded.split('/').count(),
        path.split('/').count(),
        "{path:?}"
    );
    assert!(
        !decoded.split('/').any(|part| part == ".." || part == "."),
        "{path:?}"
    );
    for method in [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
    ] {
        let found = [
            route::global(&method, path),
            route::of_tenant(&method, at.route),
        ];
        for matched in found.into_iter().filter_map(|found| match found {
            Resolved::Here(matched) => Some(matched),
            _ => None,
        }) {
            for part in matched.parts {
                assert!(!part.is_empty() && !part.contains('/') && path.contains(part));
            }
        }
    }
}

fn once_decoded(path: &str) -> String {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) if *byte == b'%' => {
                out.push(code);
                rest = &after[2..];
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Provider URLs: every parser finds the same host in an accepted one.
pub fn url(bytes: &[u8]) {
    if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        addresses(octets);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(url) = Url::parse(text) else {
        return;
    };
    let scheme = if url.https { "https" } else { "http" };
    let written = format!("{scheme}://{}{}", url.authority(), url.path_and_query);
    // The added slash may exceed the length limit.
    if written.len() <= 2048 {
        assert_eq!(Url::parse(&written).as_ref(), Ok(&url), "{text:?}");
    }
    let plain = |byte: u8| (b'!'..=b'~').contains(&byte);
    assert!(
        url.host
            .bytes()
            .all(|byte| plain(byte) && !b"@/\\?#%[]".contains(&byte))
    );
    assert!(url.path_and_query.starts_with('/') && url.path_and_query.bytes().all(plain));
    for call in ["chat/completions", "messages"] {
        let beside = url.beside("chat/completions", call);
        assert!(beside.bytes().all(plain), "{beside:?}");
    }
    // A host that a lenient parser reads as an address must be that address to all.
    if let Some(loose) = loosely(&url.host) {
        assert_eq!(url.host.parse(), Ok(loose), "{text:?}");
    }
    let query = if url.path_and_query.contains('?') {
        "?***"
    } else {
        ""
    };
    let shown = format!("{scheme}://{}{}{query}", url.authority(), url.path());
    assert_eq!(format!("{url:?}"), shown);
}

/// Parses an address like `inet_aton`: one to four numbers, decimal, octal or hexadecimal.
fn loosely(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = host.split('.').collect();
    let number = |text: &str| -> Option<u64> {
        match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(if hex.is_empty() { "0" } else { hex }, 16).ok(),
            None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
            None => text.parse().ok(),
        }
    };
    let numbers: Vec<u64> = parts
        .iter()
        .map(|part| number(part))
        .collect::<Option<_>>()?;
    let (last, leading) = numbers.split_last()?;
    if leading.len() > 3 || leading.iter().any(|number| *number > 255) {
        return None;
    }
    let room = 32 - 8 * leading.len() as u32;
    if room < 64 && last >> room != 0 {
        return None;
    }
    let high = leading.iter().enumerate().fold(0u32, |sum, (at, number)| {
        sum | (*number as u32) << (24 - 8 * at)
    });
    Some(Ipv4Addr::from_bits(high | *last as u32))
}

/// Addresses that the standard library knows as private are never allowed.
fn addresses(octets: [u8; 16]) {
    let six = std::net::Ipv6Addr::from(octets);
    let four = Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]);
    let inside_four = |four: Ipv4Addr| {
        four.is_private()
            || four.is_loopback()
            || four.is_link_local()
            || four.is_broadcast()
            || four.is_documentation()
            || four.is_multicast()
            || four.is_unspecified()
    };
    assert!(
        !(inside_four(four) && egress::is_public(IpAddr::V4(four))),
        "{four}"
    );
    let carried = six.to_ipv4();
    let inside = six.is_loopback()
        || six.is_unspecified()
        || six.is_multicast()
        || six.is_unique_local()
        || six.is_unicast_link_local()
        || carried.is_some_and(inside_four);
    assert!(!(inside && egress::is_public(IpAddr::V6(six))), "{six}");
}

/// Tenant configs: accepted or refused with a path, and never printed with secrets.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let id = TenantId::default_tenant();
    match ConfigSecrets::new(&Secrets::default()).read(&id, text) {
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults.iter() {
                let line = fault.to_string();
                assert!(!line.contains(['\n', '\r']), "{line:?}");
            }
        }
        Ok(config) => {
            let shown = format!("{config:?}");
            let endpoints = config
                .providers
                .text
                .iter()
                .flat_map(|text| &text.endpoints);
            for endpoint in endpoints {
                let key = endpoint.api_key.as_ref().map(Secret::expose);
                assert!(key.is_none_or(|key| key.bytes().all(|byte| byte.is_ascii_graphic())));
                let long = key.filter(|key| key.len() > 24 && text.matches(key).count() == 1);
                assert!(long.is_none_or(|key| !shown.contains(key)), "{shown}");
            }
            if let Some(text) = &config.providers.text {
                let names = |name: &String| text.endpoints.iter().any(|each| each.name == *name);
                assert!(names(&text.default) && text.fallbacks.iter().all(names));
            }
        }
    }
}

/// `gateway.yaml`: accepted or refused with at least one fault, one line each.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let env = |name: &str| (name.len() < 5).then(|| format!("value-of-{name}"));
    if let Err(faults) = settings::load_text(Path::new("gateway.yaml"), text, &env, &[]) {
        assert!(!faults.faults.0.is_empty());
        for fault in &faults.faults.0 {
            assert!(!fault.message.is_empty() && fault.place.is_some());
        }
    }
}

/// Stored records: a balance change affects no other byte.
pub fn record(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let facts = record::read(text);
    let parsed = serde_json::from_str::<BTreeMap<String, Value>>(text).ok();
    if let (Ok(facts), Some(parsed)) = (&facts, &parsed)
        // Escaped names are excluded: no program writes records that way.
        && !text.contains('\\')
    {
        assert_eq!(parsed["tokensLeft"].as_u64(), Some(facts.left.count()));
        let tenant = parsed.get("tenantId").and_then(Value::as_str);
        assert_eq!(tenant, facts.tenant.as_deref());
    }
    for left in [0, 7, Tokens::MAX.count()] {
        let Ok(changed) = record::with_balance(text, Tokens::new(left)) else {
            assert!(facts.is_err());
            return;
        };
        if facts.is_ok() {
            assert_eq!(
                record::read(&changed).map(|facts| facts.left),
                Ok(Tokens::new(left))
            );
        }
        if let Some(parsed) = &parsed {
            let again: BTreeMap<String, Value> =
                serde_json::from_str(&changed).expect("what was JSON");
            let others = |all: &BTreeMap<String, Value>| {
                let mut all = all.clone();
                all.remove("tokensLeft");
                all
            };
            assert_eq!(others(&again), others(parsed));
        }
    }
    for name in ["tenantId", "group"] {
        let moved = record::with_string(text, name, "abc");
        let (Ok(moved), Some(_), Ok(_)) = (&moved, &parsed, &facts) else {
            continue;
        };
        let moved = record::read(moved).expect("what was a record");
        let set = if name == "group" {
            moved.group
        } else {
            moved.tenant
        };
        assert_eq!(set.as_deref(), Some("abc"));
        assert_eq!(moved.left, record::read(text).expect("a record").left);
    }
}

/// Members of a JSON object: the same as serde_json's.
pub fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let members = json::members(text);
    for name in ["a", "model", ""] {
        let value = json::value(bytes, name);
        if let Some((members, _)) = &members {
            let member = json::member(members, name);
            assert_eq!(value, member.map(|member| &bytes[member.value.clone()]));
        }
    }
    let Ok(parsed) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
        return;
    };
    let (members, end) = members.expect("an object");
    assert_eq!(text.as_bytes()[end], b'}');
    let mut splice = Splice::default();
    for member in &members {
        let name: String = serde_json::from_str(&format!("\"{}\"", member.name)).expect("a name");
        assert!(parsed.contains_key(&name));
        let value = &text[member.value.clone()];
        serde_json::from_str::<&RawValue>(value).expect("a value");
        splice.put(member.value.clone(), "0");
    }
    let all = serde_json::from_slice::<BTreeMap<String, u64>>(&splice.apply(bytes));
    let all = all.expect("the same members");
    assert!(all.len() == parsed.len() && all.values().all(|value| *value == 0));
}
