//! Parses the PROXY protocol, version 2: the header in which a TCP load balancer names the client's address.
//!
//! Pure: bytes in, [`ProxyHeader`] out. The caller must accept it from `server.trusted_proxies` alone, and
//! read it to its last byte before anything else of the connection.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Length of the fixed part: signature, version and command, address family, length of the rest.
pub(crate) const FIXED_BYTES: usize = 16;
/// Longest rest of a header in bytes: addresses, and the TLV fields that load balancers add.
const MAX_REST_BYTES: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
/// Parsed PROXY header.
pub(crate) enum ProxyHeader {
    /// `LOCAL`: the connection is the load balancer's own, as for a health check.
    Local,
    /// `PROXY`: address of the client.
    For(SocketAddr),
}

/// Error: the bytes are no PROXY header of version 2 over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotProxyProtocol;

/// Validates the fixed part and returns the length of the rest in bytes.
pub(crate) fn rest(fixed: &[u8; FIXED_BYTES]) -> Result<usize, NotProxyProtocol> {
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let is_known = fixed[..12] == SIGNATURE && fixed[12] >> 4 == 2 && length <= MAX_REST_BYTES;
    is_known.then_some(length).ok_or(NotProxyProtocol)
}

/// Parses a header whose fixed part [`rest`] has validated.
pub(crate) fn read(
    fixed: &[u8; FIXED_BYTES],
    rest: &[u8],
) -> Result<ProxyHeader, NotProxyProtocol> {
    match fixed[12] & 0xf {
        0 => return Ok(ProxyHeader::Local),
        1 => {}
        _ => return Err(NotProxyProtocol),
    }
    // `rest`: source and destination address, then source and destination port.
    let (address, port_at) = match fixed[13] {
        0x11 => (IpAddr::from(octets::<4>(rest, 0)?), 8),
        0x21 => (IpAddr::from(octets::<16>(rest, 0)?), 32),
        _ => return Err(NotProxyProtocol),
    };
    let port = u16::from_be_bytes(octets(rest, port_at)?);
    Ok(ProxyHeader::For(SocketAddr::new(address, port)))
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], NotProxyProtocol> {
    let found = bytes.get(at..at + N).and_then(|part| part.try_into().ok());
    found.ok_or(NotProxyProtocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fixed(command: u8, family: u8, length: u16) -> [u8; FIXED_BYTES] {
        let mut fixed = [0; FIXED_BYTES];
        fixed[..12].copy_from_slice(&SIGNATURE);
        fixed[12] = 0x20 | command;
        fixed[13] = family;
        fixed[14..].copy_from_slice(&length.to_be_bytes());
        fixed
    }

    #[test]
    fn an_address_of_either_family_is_read() {
        let four = [203, 0, 113, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];
        let read_four = read(&fixed(1, 0x11, 12), &four);
        assert_eq!(
            read_four,
            Ok(ProxyHeader::For("203.0.113.7:8080".parse().unwrap()))
        );

        let mut six = [0; 36];
        six[..2].copy_from_slice(&[0x20, 1]);
        six[15] = 9;
        six[32..34].copy_from_slice(&[1, 187]);
        let read_six = read(&fixed(1, 0x21, 36), &six);
        assert_eq!(
            read_six,
            Ok(ProxyHeader::For("[2001::9]:443".parse().unwrap()))
        );

        assert_eq!(read(&fixed(0, 0, 0), &[]), Ok(ProxyHeader::Local));
    }

    #[test]
    fn malformed_proxy_headers_are_refused() {
        assert_eq!(rest(b"GET / HTTP/1.1\r\n"), Err(NotProxyProtocol));
        assert_eq!(rest(&fixed(1, 0x11, 5_000)), Err(NotProxyProtocol));
        let mut first_version = fixed(1, 0x11, 12);
        first_version[12] = 0x11;
        assert_eq!(rest(&first_version), Err(NotProxyProtocol));
        assert_eq!(
            read(&fixed(1, 0x11, 4), &[1, 2, 3, 4]),
            Err(NotProxyProtocol)
        );
        assert_eq!(read(&fixed(1, 0x31, 12), &[0; 216]), Err(NotProxyProtocol));
        assert_eq!(read(&fixed(2, 0x11, 12), &[0; 12]), Err(NotProxyProtocol));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not_without_panic(
            fixed in proptest::array::uniform16(any::<u8>()),
            more in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = rest(&fixed);
            let _ = read(&fixed, &more);
        }
    }
}
