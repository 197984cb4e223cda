//! [`WebOrigin`]: an origin as browsers write it, parsed into one spelling.
//!
//! Text that cannot be parsed is refused, never guessed at.

use crate::host_port::HostPort;
use std::fmt;

/// Origin of a web page: scheme, host, and the port unless it is the scheme's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    scheme: String,
    authority: HostPort,
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
        let mut authority = HostPort::parse(authority).ok()?;
        if authority.port == usual_port(&scheme) {
            authority.port = None;
        }
        Some(WebOrigin { scheme, authority })
    }

    /// Whether the page comes from the host that was asked. The scheme is not compared, because TLS may end
    /// before the gateway.
    pub fn is_of(&self, asked: &HostPort) -> bool {
        let usual = usual_port(&self.scheme);
        self.authority.host == asked.host
            && self.authority.port.or(usual) == asked.port.or(usual)
            && usual.is_some()
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
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
    fn this_machine_is_known_by_its_names_and_addresses() {
        let is = |text| HostPort::parse(text).is_ok_and(|host| host.is_loopback());
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
                .is_of(&HostPort::parse(host).unwrap())
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
