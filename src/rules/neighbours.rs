//! Which addresses stand for one another: networks, and what one client can call its own.

use std::net::{IpAddr, Ipv6Addr};

/// An address and everyone who can have it for the asking: alone in IPv4; in IPv6 a /64, the least that a
/// household gets.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(four) => IpAddr::V4(four),
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
    }
}

/// One of these networks, each an address and how many of its bits count, has the address.
pub fn is_within(address: IpAddr, networks: &[(IpAddr, u8)]) -> bool {
    networks
        .iter()
        .any(|(network, bits)| within(address, *network, *bits))
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network.to_canonical()) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(bits.min(32)))
                .unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(bits.min(128)))
                .unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_and_strangers_are_not() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_network_has_what_shares_its_first_bits() {
        let networks = [
            ("10.0.0.0".parse().unwrap(), 8),
            ("fd00::".parse().unwrap(), 8),
            ("192.0.2.1".parse().unwrap(), 32),
        ];
        let has = |text: &str| is_within(text.parse().unwrap(), &networks);
        assert!(has("10.255.0.1") && has("fdff::1") && has("192.0.2.1"));
        assert!(!has("11.0.0.1") && !has("fe00::1") && !has("192.0.2.2"));
        assert!(is_within(
            "1.2.3.4".parse().unwrap(),
            &[("0.0.0.0".parse().unwrap(), 0)]
        ));
    }
}
