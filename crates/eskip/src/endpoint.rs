//! One address of a balanced backend: its zone is read from and written to the query of its URL, and the
//! rules an address must keep are checked while parsing.

use crate::Endpoint;
use std::borrow::Cow;
use std::fmt::{self, Write as _};

impl Endpoint {
    /// Reads an address as it stands in a route: a `zone` in its query becomes the zone.
    pub fn parse(written: &str) -> Self {
        let whole = |address: &str| Self { address: address.to_owned(), zone: None };
        let Some((base, query)) = written.split_once('?') else { return whole(written) };
        if !query.split('&').any(|pair| pair == "zone" || pair.starts_with("zone=")) {
            return whole(written);
        }
        let (mut zone, mut others) = (None, String::new());
        for pair in query.split('&') {
            if let ("zone", value) = pair.split_once('=').unwrap_or((pair, "")) {
                zone = zone.or_else(|| Some(unescape(value)));
            } else {
                others.push(if others.is_empty() { '?' } else { '&' });
                others.push_str(pair);
            }
        }
        Self { address: format!("{base}{others}"), zone: zone.filter(|zone| !zone.is_empty()) }
    }
}

/// As it stands in a route, the zone in its query.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)?;
        let Some(zone) = &self.zone else { return Ok(()) };
        f.write_str(if self.address.contains('?') { "&zone=" } else { "?zone=" })?;
        for byte in zone.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    f.write_char(char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

/// The scheme of an address in lower case, or what Go says of an address that is none. A path without a
/// scheme is an address too, with the scheme "".
pub(crate) fn scheme(address: &str) -> Result<Cow<'_, str>, String> {
    if address.is_empty() {
        return Err("empty url".to_owned());
    }
    if address.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = split_scheme(address)?;
    if !rest.starts_with('/') {
        // Go takes `localhost:80` for the scheme `localhost`; the route table refuses it later.
        return if scheme.is_empty() { Err("invalid URI for request".to_owned()) } else { Ok(lower(scheme)) };
    }
    if let Some(authority) = rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        check_host(&authority[..authority.find(['/', '?']).unwrap_or(authority.len())])?;
    }
    Ok(lower(scheme))
}

fn split_scheme(address: &str) -> Result<(&str, &str), String> {
    for (at, byte) in address.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&address[..at], &address[at + 1..])),
            _ => break,
        }
    }
    Ok(("", address))
}

fn check_host(authority: &str) -> Result<(), String> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or("missing ']' in host")?.1,
        None => host.find(':').map_or("", |at| &host[at..]),
    };
    if !port.is_empty()
        && !port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(format!("invalid port {port:?} after host"));
    }
    match host.chars().find(|c| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        Some(strange) => Err(format!("invalid character {:?} in host name", strange.to_string())),
        None => Ok(()),
    }
}

fn lower(scheme: &str) -> Cow<'_, str> {
    if scheme.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(scheme.to_ascii_lowercase())
    } else {
        Cow::Borrowed(scheme)
    }
}

/// Undoes the escapes of a query value; what is no escape is kept.
fn unescape(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = value.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(escaped)) => {
                decoded.push(escaped);
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8(decoded).unwrap_or_else(|_| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_leaves_the_query_and_comes_back() {
        let check = |written: &str, address: &str, zone: Option<&str>, printed: &str| {
            let endpoint = Endpoint::parse(written);
            assert_eq!((endpoint.address.as_str(), endpoint.zone.as_deref()), (address, zone), "{written}");
            assert_eq!(endpoint.to_string(), printed);
            assert_eq!(Endpoint::parse(printed), endpoint);
        };
        check("http://h:1", "http://h:1", None, "http://h:1");
        check("http://h?zone=eu-1a", "http://h", Some("eu-1a"), "http://h?zone=eu-1a");
        check("http://h?a=1&zone=z&b", "http://h?a=1&b", Some("z"), "http://h?a=1&b&zone=z");
        check("http://h?zone=a%20b", "http://h", Some("a b"), "http://h?zone=a%20b");
        check("http://h?zone=", "http://h", None, "http://h");
        check("http://h?zones=x", "http://h?zones=x", None, "http://h?zones=x");
    }

    #[test]
    fn an_address_has_a_scheme_a_host_and_a_port_of_digits() {
        assert_eq!(scheme("HTTP://h:80/x").as_deref(), Ok("http"));
        assert_eq!(scheme("http://[::1]:80").as_deref(), Ok("http"));
        assert_eq!(scheme("localhost:80").as_deref(), Ok("localhost"));
        assert_eq!(scheme("/path").as_deref(), Ok(""));
        for (address, error) in [
            ("", "empty url"),
            ("10.0.0.1:80", "invalid URI for request"),
            ("www.example.org", "invalid URI for request"),
            ("http://h:x", "invalid port \":x\" after host"),
            ("http://a b", "invalid character \" \" in host name"),
            ("://h", "missing protocol scheme"),
            ("http://[::1", "missing ']' in host"),
        ] {
            assert_eq!(scheme(address), Err(error.to_owned()), "{address}");
        }
    }
}
