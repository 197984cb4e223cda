//! Networks of IP addresses, and the part of a network that one client controls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns the address itself in IPv4, and its /64 in IPv6: the smallest block that a household gets, so one
/// client can use any address in it.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    first_bits(address.to_canonical(), 32, 64)
}

/// Returns the smallest network that is routed by itself around an address: /24 in IPv4, /48 in IPv6. A
/// client that rents addresses gets one of these more easily than as many scattered addresses.
pub fn network(address: IpAddr) -> IpAddr {
    first_bits(address.to_canonical(), 24, 48)
}

/// Parses an IP address or a CIDR block into address and prefix length.
pub fn parse(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(longest);
    (length <= longest).then_some((address, length))
}

/// Whether an address is in one of the networks, each given as an address and its prefix length.
pub fn is_within(address: IpAddr, networks: &[(IpAddr, u8)]) -> bool {
    networks
        .iter()
        .any(|(network, bits)| within(address, *network, *bits))
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let network = network.to_canonical();
    address.is_ipv4() == network.is_ipv4()
        && first_bits(address, bits, bits) == first_bits(network, bits, bits)
}

/// Returns the address with all but its first bits cleared: `four` bits of IPv4 are kept, or `six` of IPv6.
fn first_bits(address: IpAddr, four: u8, six: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(four.min(32)))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(six.min(128)))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the address with one bit flipped, counted from the most significant.
    fn turned(address: IpAddr, bit: u32) -> IpAddr {
        match address {
            IpAddr::V4(four) => Ipv4Addr::from_bits(four.to_bits() ^ (1 << (31 - bit))).into(),
            IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() ^ (1 << (127 - bit))).into(),
        }
    }

    fn is_mapped(address: IpAddr) -> bool {
        address.to_canonical() != address
    }

    proptest! {
        #[test]
        fn a_bit_of_an_ipv4_address_is_the_networks_or_not(bits: u32, bit in 0u32..32) {
            let address = IpAddr::V4(Ipv4Addr::from_bits(bits));
            let other = turned(address, bit);
            prop_assert_ne!(neighbourhood(address), neighbourhood(other));
            prop_assert_eq!(network(address) == network(other), bit >= 24);
            prop_assert!(is_within(other, &[(network(other), 24)]));
        }

        #[test]
        fn ipv6_neighbourhood_is_a_64_and_network_a_48(
            bits: u128,
            bit in 0u32..128,
        ) {
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
            let other = turned(address, bit);
            prop_assume!(!is_mapped(address) && !is_mapped(other));
            prop_assert_eq!(neighbourhood(address) == neighbourhood(other), bit >= 64);
            prop_assert_eq!(network(address) == network(other), bit >= 48);
            prop_assert!(is_within(other, &[(network(other), 48)]));
        }

        #[test]
        fn a_neighbourhood_lies_in_one_network_and_both_are_their_own(bits: u128, four: bool) {
            let address = match four {
                true => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
                false => IpAddr::V6(Ipv6Addr::from_bits(bits)),
            };
            let (near, far) = (neighbourhood(address), network(address));
            prop_assert_eq!(neighbourhood(near), near);
            prop_assert_eq!(network(near), far);
            prop_assert_eq!(network(far), far);
        }

        #[test]
        fn an_ipv4_address_in_ipv6s_clothes_is_that_address(bits: u32) {
            let four = Ipv4Addr::from_bits(bits);
            let mapped = IpAddr::V6(four.to_ipv6_mapped());
            prop_assert_eq!(neighbourhood(mapped), neighbourhood(four.into()));
            prop_assert_eq!(network(mapped), network(four.into()));
        }
    }

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
