//! [`HostPort`]: a host with a port or without one, as it stands in a setting, a URL or a `Host` header.
//!
//! The host is kept in one spelling: in lower case, without a trailing dot, IPv6 without brackets and in its
//! shortest form. Text that cannot be parsed is refused, never guessed at. Errors never repeat the text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host and, where one is written, its port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: Option<u16>,
}

impl HostPort {
    pub fn parse(text: &str) -> Result<HostPort, &'static str> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or("the host lacks its ]")?;
                let address: Ipv6Addr = address
                    .parse()
                    .map_err(|_| "the host in brackets is not an IPv6 address")?;
                (address.to_string(), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (name(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            // A colon without a port is allowed (RFC 3986).
            Some("") => None,
            Some(digits) => Some(number(digits)?),
            None if port.is_empty() => None,
            None => return Err("the host is followed by something that is not a port"),
        };
        Ok(HostPort { host, port })
    }

    /// Returns the port, or the usual one of the scheme.
    pub fn port_or(&self, usual: u16) -> u16 {
        self.port.unwrap_or(usual)
    }

    /// Refuses host names that resolvers read in different ways.
    pub fn check_name(&self) -> Result<(), &'static str> {
        if self.host.contains(':') {
            return Ok(());
        }
        let is_label = |label: &str| {
            let length = (1..=63).contains(&label.len());
            length && !label.starts_with('-') && !label.ends_with('-')
        };
        if self.host.len() > 253 || !self.host.split('.').all(is_label) {
            return Err("the host must be a name of letters, digits, - and dots, or an address");
        }
        // Some resolvers take `0x7f.1` or `2130706433` for 127.0.0.1, so only the dotted form is accepted.
        let last = self.host.rsplit('.').next().unwrap_or_default();
        let is_hex = |hex: &str| hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(is_hex);
        if numeric && self.host.parse::<Ipv4Addr>().is_err() {
            return Err("a host that ends in a number must be an IPv4 address like 192.0.2.1");
        }
        Ok(())
    }

    /// Whether two addresses to listen on are one socket. `localhost` is `127.0.0.1` and `::1`; port 0 is another port
    /// each time.
    pub fn is_one_socket(&self, other: &HostPort) -> bool {
        let is_within = |name: &str, address: &str| {
            name == address || name == "localhost" && matches!(address, "127.0.0.1" | "::1")
        };
        let is_one_host = is_within(&self.host, &other.host) || is_within(&other.host, &self.host);
        is_one_host && self.port == other.port && self.port != Some(0)
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

/// Writes IPv6 in brackets.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

fn name(host: &str) -> Result<String, &'static str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err("must name a host");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !host.bytes().all(plain) {
        return Err("the host must be a name of letters, digits, - and dots, or an address");
    }
    Ok(host.to_ascii_lowercase())
}

fn number(port: &str) -> Result<u16, &'static str> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|_| digits);
    number.ok_or("the port must be a number up to 65535")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (text, host, port) in [
            ("LocalHost", "localhost", None),
            ("localhost:3000", "localhost", Some(3000)),
            ("localhost:", "localhost", None),
            ("a.example.:0", "a.example", Some(0)),
            ("[2001:DB8::0:1]", "2001:db8::1", None),
            ("[::1]:65535", "::1", Some(65535)),
            ("my_box:1", "my_box", Some(1)),
        ] {
            let host = host.to_owned();
            assert_eq!(HostPort::parse(text), Ok(HostPort { host, port }), "{text}");
        }
    }

    #[test]
    fn one_port_of_one_host_is_one_socket() {
        for (one, other, expected) in [
            ("localhost:1", "LOCALHOST:1", true),
            ("localhost:1", "127.0.0.1:1", true),
            ("[::1]:1", "localhost:1", true),
            ("127.0.0.1:1", "[::1]:1", false),
            ("localhost:1", "localhost:2", false),
            ("localhost:0", "localhost:0", false),
            ("10.0.0.1:1", "localhost:1", false),
        ] {
            let [one, other] = [one, other].map(|text| HostPort::parse(text).unwrap());
            assert_eq!(one.is_one_socket(&other), expected, "{one} {other}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ".",
            ":80",
            "a:+1",
            "a:65536",
            "a:1:2",
            "a b",
            "ä",
            "[::1",
            "[::1]x",
            "[a]",
            "[127.0.0.1]",
            "::1",
            "[::1%25lo]",
        ] {
            assert!(HostPort::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for text in ["localhost:3000", "[::1]:3000", "[::1]", "a.example"] {
            let parsed = HostPort::parse(text).unwrap();
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn names_that_resolvers_read_differently_are_refused() {
        for (text, is_good) in [
            ("a.example", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("2130706433", false),
            ("0x7f.0x1", false),
            ("0177.0.0.01", false),
            ("-a", false),
            ("a..b", false),
        ] {
            let parsed = HostPort::parse(text).unwrap();
            assert_eq!(parsed.check_name().is_ok(), is_good, "{text}");
        }
    }
}
