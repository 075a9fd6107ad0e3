//! Sets of IP addresses written as addresses and CIDR blocks.

use ipnet::IpNet;
use std::net::IpAddr;

/// A set of addresses. Asking takes a binary search, whatever the number of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// First and last address of each block; sorted, apart from each other. IPv4 stands in its
    /// IPv6-mapped place.
    ranges: Vec<(u128, u128)>,
}

impl Networks {
    /// Reads addresses and CIDR blocks; host bits of a block are ignored. The unspecified addresses
    /// (`0.0.0.0`, `::`) are refused: whoever writes them means a block.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, String> {
        let mut ranges = texts.iter().map(|text| range(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self { ranges: merged })
    }

    /// Whether the address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        let number = number(address);
        let behind = self.ranges.partition_point(|(first, _)| *first <= number);
        behind > 0 && self.ranges[behind - 1].1 >= number
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

fn range(text: &str) -> Result<(u128, u128), String> {
    if text.contains('/') {
        let block: IpNet =
            text.parse().map_err(|_| format!("`{text}` is no CIDR block such as `10.0.0.0/8`"))?;
        return Ok((number(block.network()), number(block.broadcast())));
    }
    let address: IpAddr =
        text.parse().map_err(|_| format!("`{text}` is neither an IP address nor a CIDR block"))?;
    if address.is_unspecified() {
        return Err(format!("`{text}` is the unspecified address; for all addresses write `{text}/0`"));
    }
    Ok((number(address), number(address)))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_that_touch_become_one() {
        let networks = Networks::parse(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7", "2001:db8::/32"]).unwrap();
        assert_eq!(networks.ranges.len(), 2);
        assert!(networks.contains("10.0.1.255".parse().unwrap()));
        assert!(!networks.contains("10.0.2.0".parse().unwrap()));
        assert!(networks.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!Networks::default().contains("1.1.1.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn a_set_holds_what_one_of_its_blocks_holds(
            blocks in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..12),
            addresses in proptest::collection::vec(any::<u32>(), 1..20),
        ) {
            let texts: Vec<String> = blocks.iter().map(|(ip, len)| format!("{}/{len}", std::net::Ipv4Addr::from(*ip))).collect();
            let networks = Networks::parse(&texts).unwrap();
            let inside = blocks.iter().map(|(ip, _)| ip.wrapping_add(1));
            for address in addresses.into_iter().chain(inside) {
                let address = IpAddr::from(std::net::Ipv4Addr::from(address));
                let expected = texts.iter().any(|t| t.parse::<IpNet>().unwrap().contains(&address));
                prop_assert_eq!(networks.contains(address), expected, "{} in {:?}", address, &texts);
            }
        }
    }
}
