//! The PROXY protocol, version 2: who is behind a balancer that passes bytes on and says whose they are.
//!
//! Read only from addresses that the operator trusts, and to its last byte before anything else of the connection.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version, family and length.
pub const FIXED_BYTES: usize = 16;
/// Addresses, and the extras that balancers add.
const LONGEST_REST: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The balancer speaks for itself, as in its health checks.
    Local,
    For(SocketAddr),
}

/// The bytes are not version 2 of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotProxyProtocol;

/// Length of what follows the fixed part.
pub fn rest(fixed: &[u8; FIXED_BYTES]) -> Result<usize, NotProxyProtocol> {
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let is_known = fixed[..12] == SIGNATURE && fixed[12] >> 4 == 2 && length <= LONGEST_REST;
    is_known.then_some(length).ok_or(NotProxyProtocol)
}

pub fn read(fixed: &[u8; FIXED_BYTES], rest: &[u8]) -> Result<ProxyHeader, NotProxyProtocol> {
    match fixed[12] & 0xf {
        0 => return Ok(ProxyHeader::Local),
        1 => {}
        _ => return Err(NotProxyProtocol),
    }
    // Both addresses, then both ports.
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
    fn what_is_not_the_protocol_is_refused() {
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
