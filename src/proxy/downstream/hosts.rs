//! Validates the `Host` of requests (`server.hosts`).
//!
//! Protects against DNS rebinding: any web page can point a name of its own at this machine. A gateway that
//! listens on loopback alone therefore answers only to loopback names.

use crate::host_port::HostPort;
use crate::http1::head::Request;
use crate::proxy::downstream::client_address;
use crate::rules::neighbours::is_within;
use crate::settings::{HostName, Server};
use std::net::{IpAddr, SocketAddr};

/// Host names that the gateway answers to.
pub enum Hosts {
    /// Every name: `server.hosts` is empty, and the gateway is reachable from other machines.
    Any,
    /// `server.hosts`, and the host of `server.public_url`.
    Named(Vec<HostName>),
    /// Loopback names and addresses, and the host of `server.public_url`.
    Loopback(Vec<HostName>),
}

impl Hosts {
    /// Derives the names from `server.hosts`, `server.public_url`, `server.listen` and
    /// `server.trusted_proxies`.
    pub fn of(server: &Server) -> Hosts {
        let public = server.public_url.iter();
        let public = public.map(|url| HostName::Exact(url.host.clone()));
        if !server.hosts.is_empty() {
            return Hosts::Named(server.hosts.iter().cloned().chain(public).collect());
        }
        let is_inside = server.listen.iter().all(|listener| {
            // A listener's address is `host:port`, with an IPv6 host in brackets.
            listener.address.is_loopback()
        });
        if is_inside && server.trusted_proxies.is_empty() {
            Hosts::Loopback(public.collect())
        } else {
            Hosts::Any
        }
    }

    /// Derives the names of `server.admin_listen`: those of `server.hosts` and `server.public_url`, and its own
    /// address.
    pub fn of_admin(server: &Server) -> Hosts {
        let Some(listener) = &server.admin_listen else {
            return Hosts::of(server);
        };
        let public = server.public_url.iter();
        let public = public.map(|url| HostName::Exact(url.host.clone()));
        let mut names: Vec<HostName> = server.hosts.iter().cloned().chain(public).collect();
        let is_open = server.hosts.is_empty();
        match listener.address.is_loopback() {
            true if !is_open || server.trusted_proxies.is_empty() => Hosts::Loopback(names),
            _ if is_open => Hosts::Any,
            _ => {
                names.push(HostName::Exact(listener.address.host.clone()));
                Hosts::Named(names)
            }
        }
    }

    /// Whether a host is one of the names. [`HostName::Below`] covers all subdomains.
    pub fn has(&self, asked: &HostPort) -> bool {
        let is = |name: &HostName| name.covers(&asked.host);
        match self {
            Hosts::Any => true,
            Hosts::Named(names) => names.iter().any(is),
            Hosts::Loopback(names) => asked.is_loopback() || names.iter().any(is),
        }
    }

    /// Whether the gateway answers a request. One without a host (HTTP/1.0) is accepted, because no browser
    /// sends it. `asked` is called only where the names matter.
    pub(crate) fn answer(&self, request: &Request, asked: impl FnOnce() -> RequestedHost) -> bool {
        let is_usual = || {
            request
                .fields
                .all("host")
                .next()
                .is_some_and(is_plain_loopback)
        };
        match self {
            Hosts::Any => return true,
            Hosts::Loopback(_) if is_usual() => return true,
            Hosts::Loopback(_) | Hosts::Named(_) => {}
        }
        match asked() {
            RequestedHost::Missing => true,
            RequestedHost::Malformed => false,
            RequestedHost::Host(host) => self.has(&host),
        }
    }
}

/// Whether a `Host` value is `127.0.0.1` or `localhost` with an optional port: a fast path that needs no
/// [`HostPort::parse`].
fn is_plain_loopback(host: &[u8]) -> bool {
    let mut names = [&b"127.0.0.1"[..], b"localhost"].into_iter();
    let port = names.find_map(|name| host.strip_prefix(name));
    match port {
        Some([b':', digits @ ..]) => {
            let digit = |sum: u32, byte: &u8| match byte {
                b'0'..=b'9' => Some(sum * 10 + u32::from(byte - b'0')),
                _ => None,
            };
            let port = digits.iter().try_fold(0, digit);
            digits.len() <= 5 && port.is_some_and(|port| port <= u32::from(u16::MAX))
        }
        Some(rest) => rest.is_empty(),
        None => false,
    }
}

/// Host that a request names, parsed.
pub(crate) enum RequestedHost {
    /// No `Host` header.
    Missing,
    /// The value is malformed.
    Malformed,
    Host(HostPort),
}

impl RequestedHost {
    /// Parses `x-forwarded-host` if a trusted proxy sent the request, else `Host`.
    pub fn of(
        request: &Request,
        peer: Option<SocketAddr>,
        trusted: &[(IpAddr, u8)],
    ) -> RequestedHost {
        let is_proxy = !trusted.is_empty()
            && peer.is_some_and(|peer| is_within(peer.ip().to_canonical(), trusted));
        let forwarded = is_proxy.then(|| client_address::forwarded_host(&request.fields));
        let text = match forwarded.flatten() {
            Some(forwarded) => Some(forwarded),
            None => request.fields.all("host").next(),
        };
        let Some(text) = text else {
            return RequestedHost::Missing;
        };
        let text = std::str::from_utf8(text).ok();
        let host = text.and_then(|text| HostPort::parse(text).ok());
        host.map_or(RequestedHost::Malformed, RequestedHost::Host)
    }

    pub fn host(self) -> Option<HostPort> {
        match self {
            RequestedHost::Host(host) => Some(host),
            RequestedHost::Missing | RequestedHost::Malformed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Listener, PublicUrl};
    use proptest::prelude::*;

    fn server(listen: &[&str], hosts: &[HostName]) -> Server {
        Server {
            listen: listen.iter().map(|address| listener(address)).collect(),
            hosts: hosts.to_vec(),
            ..Server::default()
        }
    }

    fn listener(address: &str) -> Listener {
        Listener::at(HostPort::parse(address).unwrap())
    }

    fn has(server: &Server, host: &str) -> bool {
        Hosts::of(server).has(&HostPort::parse(host).unwrap())
    }

    #[test]
    fn a_gateway_on_loopback_answers_to_this_machine_alone() {
        for listen in [&["localhost:3000"][..], &["127.0.0.1:0", "[::1]:0"]] {
            let server = server(listen, &[]);
            assert!(has(&server, "localhost:3000") && has(&server, "[::1]:3000"));
            assert!(!has(&server, "evil.example:3000"));
        }
        for listen in [
            &["0.0.0.0:3000"][..],
            &["[::]:3000"],
            &["localhost:1", "10.0.0.1:1"],
        ] {
            assert!(has(&server(listen, &[]), "evil.example"));
        }
        let behind_a_proxy = Server {
            trusted_proxies: vec![("127.0.0.1".parse().unwrap(), 32)],
            ..server(&["localhost:3000"], &[])
        };
        assert!(has(&behind_a_proxy, "gw.example"));
    }

    #[test]
    fn the_admin_listener_has_names_of_its_own() {
        let admin = |address: &str, server: Server| {
            Hosts::of_admin(&Server {
                admin_listen: Some(listener(address)),
                ..server
            })
        };
        let has = |hosts: &Hosts, host: &str| hosts.has(&HostPort::parse(host).unwrap());
        let named = HostName::Exact("gw.example".to_owned());
        let public = server(&["0.0.0.0:3000"], &[]);

        let hosts = admin("localhost:3100", public.clone());
        assert!(has(&hosts, "localhost:3100") && !has(&hosts, "evil.example"));
        assert!(has(&Hosts::of(&public), "evil.example"));

        let hosts = admin(
            "127.0.0.1:3100",
            server(&["0.0.0.0:3000"], std::slice::from_ref(&named)),
        );
        assert!(has(&hosts, "127.0.0.1") && has(&hosts, "gw.example"));
        assert!(!has(&hosts, "evil.example"));

        let hosts = admin("10.0.0.5:3100", server(&["localhost:3000"], &[]));
        assert!(has(&hosts, "10.0.0.5:3100") && has(&hosts, "inside.example"));

        let hosts = admin("10.0.0.5:3100", server(&["localhost:3000"], &[named]));
        assert!(has(&hosts, "10.0.0.5:3100") && has(&hosts, "gw.example"));
        assert!(!has(&hosts, "localhost") && !has(&hosts, "evil.example"));
    }

    proptest! {
        #[test]
        fn plain_loopback_shortcut_implies_loopback(host in "(127.0.0.1|localhost|127.0.0.2)(:[0-9]{0,6}|:[+a]1|[.x]?)") {
            if is_plain_loopback(host.as_bytes()) {
                prop_assert!(HostPort::parse(&host).is_ok_and(|host| host.is_loopback()));
            }
        }
    }

    #[test]
    fn usual_names_are_not_taken_apart() {
        for host in [
            "127.0.0.1:3000",
            "localhost",
            "localhost:65535",
            "127.0.0.1:",
        ] {
            assert!(is_plain_loopback(host.as_bytes()), "{host}");
        }
        for host in [
            "localhost:65536",
            "localhost.evil.example",
            "127.0.0.10",
            "localhost:+1",
        ] {
            assert!(!is_plain_loopback(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn named_hosts_are_all_there_are() {
        let exact = HostName::Exact("gw.example".to_owned());
        let below = HostName::Below("b.example".to_owned());
        let server = server(&["localhost:3000"], &[exact, below]);
        for host in [
            "gw.example",
            "GW.example.:443",
            "a.b.example",
            "a.a.b.example:1",
        ] {
            assert!(has(&server, host), "{host}");
        }
        for host in ["localhost", "x.gw.example", "b.example", "ab.example"] {
            assert!(!has(&server, host), "{host}");
        }
    }

    #[test]
    fn the_public_url_is_always_answered() {
        let url = PublicUrl {
            origin: "https://gw.example".to_owned(),
            host: "gw.example".to_owned(),
            path: String::new(),
        };
        for hosts in [&[][..], &[HostName::Exact("a.example".to_owned())]] {
            let server = Server {
                public_url: Some(url.clone()),
                ..server(&["localhost:3000"], hosts)
            };
            assert!(has(&server, "gw.example") && !has(&server, "evil.example"));
        }
    }
}
