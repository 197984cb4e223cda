//! Parsing of hosts ([`Authority`]) and origins ([`WebOrigin`]) as browsers and clients write them, into one
//! spelling.
//!
//! The spelling is in lower case, without a trailing dot; IPv6 is without brackets and in its shortest form.
//! Text that cannot be parsed is refused, never guessed at.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Host and port of a `Host` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub host: String,
    pub port: Option<u16>,
}

impl Authority {
    pub fn parse(text: &str) -> Option<Authority> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                (address.to_string(), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                let host = host.strip_suffix('.').unwrap_or(host);
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                if host.is_empty() || !host.bytes().all(plain) {
                    return None;
                }
                (host.to_ascii_lowercase(), port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        Some(Authority { host, port })
    }

    /// Whether the host is this machine: `localhost`, a name below `.localhost`, which no name server is
    /// asked for, or a loopback address.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || address.is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

/// Origin of a web page: scheme, host, and the port unless it is the scheme's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    scheme: String,
    authority: Authority,
}

impl WebOrigin {
    /// Parses an `Origin` header. `null` is refused, since any page can have it; schemes of apps are
    /// accepted.
    pub fn parse(text: &str) -> Option<WebOrigin> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(plain)
        {
            return None;
        }
        let mut authority = Authority::parse(authority)?;
        if authority.port == usual_port(&scheme) {
            authority.port = None;
        }
        Some(WebOrigin { scheme, authority })
    }

    /// Whether the page comes from the host that was asked. The scheme is not compared, because TLS may end
    /// before the gateway.
    pub fn is_of(&self, asked: &Authority) -> bool {
        let usual = usual_port(&self.scheme);
        self.authority.host == asked.host
            && self.authority.port.or(usual) == asked.port.or(usual)
            && usual.is_some()
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Authority { host, port } = &self.authority;
        let scheme = &self.scheme;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]")?;
        } else {
            write!(f, "{scheme}://{host}")?;
        }
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Returns the default port of a scheme.
fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("LocalHost.:3000", "localhost", Some(3000)),
            ("a.example:", "a.example", None),
            ("[::1]", "::1", None),
            ("[0:0:0:0:0:0:0:1]:80", "::1", Some(80)),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
        ] {
            let host = host.to_owned();
            assert_eq!(
                Authority::parse(text),
                Some(Authority { host, port }),
                "{text}"
            );
        }
        for text in [
            "", ":80", ".", "::1", "[::1", "[::1]x", "[a]", "a:b", "a:1:2", "a:99999", "a b",
            "a/b", "a@b", "a:+1",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names_and_addresses() {
        let is = |text| Authority::parse(text).is_some_and(|host| host.is_loopback());
        for text in [
            "localhost:3000",
            "APP.localhost.",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:3000",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is(text), "{text}");
        }
        for text in [
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "127.1",
            "localhost..",
        ] {
            assert!(!is(text), "{text}");
        }
    }

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, expected) in [
            ("https://App.Example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:8080", "http://app.example:8080"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(WebOrigin::parse(text).unwrap().to_string(), expected);
        }
        for text in [
            "null",
            "*",
            "app.example",
            "https://",
            "https://a/",
            "https://a?",
            "https://u@a",
            "://a",
            "https://*.a",
            "1a://b",
        ] {
            assert_eq!(WebOrigin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_page_is_of_the_host_that_was_asked_or_not() {
        let is = |origin, host| {
            WebOrigin::parse(origin)
                .unwrap()
                .is_of(&Authority::parse(host).unwrap())
        };
        assert!(is("http://localhost:3000", "localhost:3000"));
        assert!(is("https://gw.example", "GW.example"));
        assert!(is("https://gw.example", "gw.example:443"));
        assert!(is("http://[::1]:3000", "[0::1]:3000"));
        assert!(!is("http://localhost:3001", "localhost:3000"));
        assert!(!is("http://localhost", "localhost:3000"));
        assert!(!is("https://evil.example", "gw.example"));
        assert!(!is("capacitor://localhost", "localhost"));
    }
}
