//! Finds the address of the client behind a connection, for limits and logs.
//!
//! `x-forwarded-for` counts only where a proxy of `server.trusted_proxies` wrote it.

use crate::http1::fields::Fields;
use crate::proxy::downstream::session::Session;
use crate::rules::neighbours::is_within;
use http::HeaderMap;
use std::net::{IpAddr, SocketAddr};

/// Address of the client of a request, as [`address`] finds it.
pub(crate) fn of_session(session: &Session<'_>, trusted: &[(IpAddr, u8)]) -> IpAddr {
    address(session.peer, || session.request().headers(), trusted)
}

/// The client's address: the peer's, or, behind trusted proxies, the last one in `x-forwarded-for`
/// that is not itself trusted.
pub fn address(
    peer: Option<SocketAddr>,
    headers: impl FnOnce() -> HeaderMap,
    trusted: &[(IpAddr, u8)],
) -> IpAddr {
    let unknown = IpAddr::from([0, 0, 0, 0]);
    let peer = peer.map_or(unknown, |peer| peer.ip().to_canonical());
    let is_trusted = |address: IpAddr| is_within(address, trusted);
    if !is_trusted(peer) {
        return peer;
    }
    let headers = headers();
    // A line that is not UTF-8 counts as a hop: if it were skipped, the hop before it would count, which the
    // client may have written itself.
    let lines = headers.get_all("x-forwarded-for").iter();
    let hops: Vec<&[u8]> = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    let mut last = peer;
    for hop in hops.iter().rev() {
        let hop = std::str::from_utf8(hop).ok();
        let Some(address) = hop.and_then(|hop| hop.parse::<IpAddr>().ok()) else {
            return last;
        };
        last = address.to_canonical();
        if !is_trusted(last) {
            return last;
        }
    }
    last
}

/// Whether the client speaks TLS: with this gateway, or, as `x-forwarded-proto` of a trusted proxy says, with that.
pub(crate) fn is_https(session: &Session<'_>, trusted: &[(IpAddr, u8)]) -> bool {
    let peer = session.peer.map(|peer| peer.ip().to_canonical());
    let is_proxy = peer.is_some_and(|peer| is_within(peer, trusted));
    let fields = &session.request().fields;
    let forwarded = is_proxy.then(|| fields.words("x-forwarded-proto").last());
    match forwarded.flatten() {
        Some(scheme) => scheme.eq_ignore_ascii_case(b"https"),
        None => session.is_tls(),
    }
}

/// Returns the last `x-forwarded-host`: the host that the nearest proxy was asked for. Valid only if the
/// request comes from a trusted proxy.
pub(crate) fn forwarded_host(fields: &Fields) -> Option<&[u8]> {
    let last = fields.all("x-forwarded-host").last()?;
    let host = last.rsplit(|byte| *byte == b',').next()?;
    Some(host.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        let trusted = [
            ("10.0.0.0".parse().unwrap(), 8),
            ("fd00::".parse().unwrap(), 8),
        ];
        let of = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
                headers.append("x-forwarded-for", line);
            }
            let peer = SocketAddr::new(peer.parse().unwrap(), 1);
            address(Some(peer), || headers, &trusted).to_string()
        };
        assert_eq!(of("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            of("::ffff:10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.1.1.1"]),
            "198.51.100.7"
        );
        assert_eq!(
            of("fd00::1", &["203.0.113.9", "198.51.100.7"]),
            "198.51.100.7"
        );
        assert_eq!(of("10.0.0.1", &["nonsense, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(of("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(
            of("10.0.0.1", &["203.0.113.9", "ä, 198.51.100.7"]),
            "198.51.100.7"
        );
        assert_eq!(of("10.0.0.1", &["203.0.113.9", "ä"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }
}
