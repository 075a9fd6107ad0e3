//! The PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`): a load balancer in front says who
//! the client is before the first byte of the connection. Only those whose word counts are listened to.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Longest line of version 1, its end included.
const LINE_MAX: usize = 107;

/// Longest header of version 2 behind its fixed part: addresses and any extensions that are in use.
const ADDRESSES_MAX: usize = 2048;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2's fixed part: signature, version and command, family, length.
const FIXED: usize = 16;

/// Whose word about clients counts. Connections from anybody else are closed, as Skipper does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Connections from here begin with a header; without one they are closed, for nobody may guess
    /// (Skipper's `-proxy-allow-cidrs`, which lets a header be left out).
    pub allow: Vec<IpNet>,
    /// Connections from here have no header, such as those of health checks (`-proxy-skip-cidrs`).
    pub skip: Vec<IpNet>,
    /// Connections from here are closed, whatever else is said (`-proxy-deny-cidrs`).
    pub deny: Vec<IpNet>,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Header,
    Plain,
    Close,
}

impl ProxyProtocol {
    /// Reads the three lists from CIDR blocks and single addresses.
    pub fn parse(allow: &[String], skip: &[String], deny: &[String]) -> Result<Self, String> {
        let networks =
            |texts: &[String]| texts.iter().map(|text| network(text)).collect::<Result<Vec<_>, _>>();
        Ok(Self { allow: networks(allow)?, skip: networks(skip)?, deny: networks(deny)? })
    }

    fn policy(&self, remote: IpAddr) -> Policy {
        let remote = remote.to_canonical();
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&remote));
        if within(&self.deny) {
            Policy::Close
        } else if within(&self.skip) {
            Policy::Plain
        } else if within(&self.allow) {
            Policy::Header
        } else {
            Policy::Close
        }
    }

    /// The client's address and ours, as whoever is at the other end of `stream` says, or as they are where
    /// nothing is said. `None`: the connection is to be closed.
    pub(crate) async fn ends(
        &self,
        stream: &mut TcpStream,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> Option<(SocketAddr, SocketAddr)> {
        match self.policy(remote.ip()) {
            Policy::Close => None,
            Policy::Plain => Some((remote, local)),
            Policy::Header => Some(read(stream).await?.unwrap_or((remote, local))),
        }
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>()
        .ok()
        .or_else(single)
        .ok_or_else(|| format!("`{text}` is neither a network such as `10.0.0.0/8` nor an address"))
}

/// Client and destination.
type Ends = (SocketAddr, SocketAddr);

/// Takes the header from the stream, and not a byte more.
async fn read(stream: &mut TcpStream) -> Option<Option<Ends>> {
    let mut header = Vec::new();
    let mut piece = [0; FIXED + ADDRESSES_MAX];
    loop {
        let peeked = stream.peek(&mut piece).await.ok().filter(|peeked| *peeked > 0)?;
        let before = header.len();
        header.extend_from_slice(&piece[..peeked]);
        match parse(&header) {
            Parsed::Malformed => return None,
            Parsed::Complete { length, ends } => {
                stream.read_exact(&mut piece[..length - before]).await.ok()?;
                return Some(ends);
            }
            // All of it belongs to the header: taken, so that the next look waits for more.
            Parsed::Partial => {
                stream.read_exact(&mut piece[..peeked]).await.ok()?;
            }
        }
    }
}

/// What bytes are as a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Partial,
    /// The first bytes are the header.
    Complete {
        /// So many of them.
        length: usize,
        /// Client and destination, unless it names nobody.
        ends: Option<(SocketAddr, SocketAddr)>,
    },
    /// This is no header.
    Malformed,
}

/// The header that these bytes begin with.
pub fn parse(bytes: &[u8]) -> Parsed {
    let begins_as = |start: &[u8]| bytes.iter().zip(start).all(|(is, wanted)| is == wanted);
    if begins_as(SIGNATURE) {
        binary(bytes)
    } else if begins_as(b"PROXY ") {
        line(bytes)
    } else {
        Parsed::Malformed
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`.
fn line(bytes: &[u8]) -> Parsed {
    let within = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LINE_MAX { Parsed::Partial } else { Parsed::Malformed };
    };
    let length = end + 2;
    let Some(text) = std::str::from_utf8(&bytes[..end]).ok().and_then(|text| text.strip_prefix("PROXY "))
    else {
        return Parsed::Malformed;
    };
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Parsed::Complete { length, ends: None };
    }
    let ends = match text.split(' ').collect::<Vec<_>>()[..] {
        ["TCP4", from, to, from_port, to_port] => {
            let address = |text: &str| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
            both(address(from), address(to), port(from_port), port(to_port))
        }
        ["TCP6", from, to, from_port, to_port] => {
            let address = |text: &str| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
            both(address(from), address(to), port(from_port), port(to_port))
        }
        _ => None,
    };
    ends.map_or(Parsed::Malformed, |ends| Parsed::Complete { length, ends: Some(ends) })
}

fn both(
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    from_port: Option<u16>,
    to_port: Option<u16>,
) -> Option<Ends> {
    Some((SocketAddr::new(from?, from_port?), SocketAddr::new(to?, to_port?)))
}

/// Decimal without leading zeros or signs.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || text.starts_with(|c: char| ('1'..='9').contains(&c));
    text.parse().ok().filter(|_| plain)
}

/// Version 2.
fn binary(bytes: &[u8]) -> Parsed {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Parsed::Partial };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > ADDRESSES_MAX || !matches!(command, 0x20 | 0x21) {
        return Parsed::Malformed;
    }
    let Some(rest) = rest.get(..length) else { return Parsed::Partial };
    let complete = |ends| Parsed::Complete { length: FIXED + length, ends };
    if command == 0x20 {
        // LOCAL: the balancer speaks for itself, as in its health checks.
        return complete(None);
    }
    let number = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    match family {
        // TCP over IPv4.
        0x11 if length >= 12 => {
            let address = |at: usize| IpAddr::from([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
            complete(Some((SocketAddr::new(address(0), number(8)), SocketAddr::new(address(4), number(10)))))
        }
        // TCP over IPv6.
        0x21 if length >= 36 => {
            let address = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&rest[at..at + 16]);
                IpAddr::from(octets)
            };
            complete(Some((
                SocketAddr::new(address(0), number(32)),
                SocketAddr::new(address(16), number(34)),
            )))
        }
        // Unspecified, or a Unix socket: nobody that has an address.
        0x00 | 0x31 => complete(None),
        _ => Parsed::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn told(bytes: &[u8]) -> String {
        match parse(bytes) {
            Parsed::Partial => "partial".to_owned(),
            Parsed::Malformed => "malformed".to_owned(),
            Parsed::Complete { length, ends: None } => format!("{length} nobody"),
            Parsed::Complete { length, ends: Some((from, to)) } => format!("{length} {from} -> {to}"),
        }
    }

    #[test]
    fn lines_of_version_1() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET", "45 192.0.2.1:56324 -> 198.51.100.1:443"),
            ("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", "36 [2001:db8::1]:0 -> [::1]:65535"),
            ("PROXY UNKNOWN\r\n", "15 nobody"),
            ("PROXY UNKNOWN ffff::1 what ever\r\n", "33 nobody"),
            ("PRO", "partial"),
            ("PROXY TCP4 192.0.2.1", "partial"),
            ("", "partial"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n\r\n", "malformed"),
            ("PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n", "malformed"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n", "malformed"),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.1 1 2\r\n", "malformed"),
            ("PROXY UNKNOWNX\r\n", "malformed"),
            ("PROXY udp4 192.0.2.1 198.51.100.1 1 2\r\n", "malformed"),
            ("proxy UNKNOWN\r\n", "malformed"),
            ("GET / HTTP/1.1\r\n", "malformed"),
        ] {
            assert_eq!(told(line.as_bytes()), expected, "{line:?}");
        }
        let long = |length: usize| format!("PROXY UNKNOWN {}", "x".repeat(length - 14));
        assert_eq!(told(long(106).as_bytes()), "partial");
        assert_eq!(told(long(107).as_bytes()), "malformed");
    }

    #[test]
    fn headers_of_version_2() {
        let ipv4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];
        assert_eq!(told(&v2(0x21, 0x11, &ipv4)), "28 192.0.2.1:56324 -> 198.51.100.1:443");
        // Extensions are left alone.
        assert_eq!(
            told(&v2(0x21, 0x11, &[&ipv4[..], &[4, 0, 1, 0]].concat())),
            "32 192.0.2.1:56324 -> 198.51.100.1:443"
        );
        let mut ipv6 = [0; 36];
        (ipv6[0], ipv6[1], ipv6[15], ipv6[31], ipv6[33], ipv6[35]) = (0x20, 0x01, 1, 2, 3, 4);
        assert_eq!(told(&v2(0x21, 0x21, &ipv6)), "52 [2001::1]:3 -> [::2]:4");
        for nobody in [v2(0x20, 0x11, &ipv4), v2(0x20, 0, &[]), v2(0x21, 0, &[]), v2(0x21, 0x31, &[0; 216])] {
            assert!(told(&nobody).ends_with(" nobody"));
        }
        for malformed in [
            v2(0x11, 0x11, &ipv4),
            v2(0x22, 0x11, &ipv4),
            v2(0x21, 0x12, &ipv4),
            v2(0x21, 0x11, &ipv4[..11]),
            v2(0x21, 0x21, &ipv6[..35]),
            v2(0x21, 0x11, &[0; ADDRESSES_MAX + 1]),
        ] {
            assert_eq!(told(&malformed), "malformed");
        }
        let whole = v2(0x21, 0x11, &ipv4);
        for end in 0..whole.len() {
            assert_eq!(told(&whole[..end]), "partial", "{end}");
        }
    }

    #[test]
    fn whose_word_counts() {
        let networks =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        let protocol = ProxyProtocol {
            allow: networks(&["10.0.0.0/8", "2001:db8::/32"]),
            skip: networks(&["10.9.0.0/16"]),
            deny: networks(&["10.9.9.0/24", "10.1.0.0/16"]),
        };
        for (remote, policy) in [
            ("10.0.0.1", Policy::Header),
            ("::ffff:10.0.0.1", Policy::Header),
            ("2001:db8::1", Policy::Header),
            ("10.9.0.1", Policy::Plain),
            ("10.9.9.1", Policy::Close),
            ("10.1.0.1", Policy::Close),
            ("192.0.2.1", Policy::Close),
        ] {
            assert_eq!(protocol.policy(remote.parse().unwrap()), policy, "{remote}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded_and_never_more_than_there_is(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            proptest::collection::vec(any::<u8>(), 0..200).prop_map(|rest| [SIGNATURE, &rest].concat()),
            "PROXY [ -~\r\n]{0,150}".prop_map(String::into_bytes),
        ]) {
            match parse(&bytes) {
                Parsed::Complete { length, .. } => prop_assert!(length <= bytes.len()),
                Parsed::Partial => prop_assert!(bytes.len() < FIXED + ADDRESSES_MAX),
                Parsed::Malformed => {}
            }
        }

        #[test]
        fn what_is_written_is_read(from in any::<(Ipv4Addr, u16)>(), to in any::<(Ipv4Addr, u16)>()) {
            let ends = (SocketAddr::from(from), SocketAddr::from(to));
            let line = format!("PROXY TCP4 {} {} {} {}\r\n", from.0, to.0, from.1, to.1);
            prop_assert_eq!(parse(line.as_bytes()), Parsed::Complete { length: line.len(), ends: Some(ends) });
        }
    }
}
