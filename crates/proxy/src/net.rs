//! Addresses and names around a request: the client behind proxies, networks, the scheme and host of a
//! backend, `X-Forwarded-*`, and repairs of Host and path. Pure functions over texts and header maps,
//! compatible with Skipper's packages `net` and `rfc`; who calls them when is the engine's business.

mod forwarded;
mod networks;

pub use forwarded::{Connection, ForwardedFor, ForwardedHeaders, Told};
pub use networks::Networks;

use http::header::HeaderName;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use wire::Headers;

/// The header that lists whom a request passed.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Reads an address with or without port, `[…]` around IPv6 allowed. IPv4 in IPv6 clothes is IPv4.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    bare().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// The first entry of `X-Forwarded-For`, if it is an address: the client as the first proxy saw it.
pub fn forwarded_first(headers: &Headers) -> Option<IpAddr> {
    let value = headers.get(X_FORWARDED_FOR)?.to_str().ok()?;
    parse_address(value.split(',').next().unwrap_or(value))
}

/// Keys and values of the trace's baggage, values still encoded (W3C Baggage section 3.3:
/// `key=value;property, key=value`).
pub fn baggage(headers: &Headers) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all("baggage").filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(|member| {
        let (key, value) = member.split(';').next()?.split_once('=')?;
        Some((key.trim(), value.trim()))
    })
}

/// The last entry of the last `X-Forwarded-For`, if it is an address: the client as the proxy before us saw
/// it (what AWS load balancers write).
pub fn forwarded_last(headers: &Headers) -> Option<IpAddr> {
    let value = headers.get_all(X_FORWARDED_FOR).next_back()?.to_str().ok()?;
    parse_address(value.rsplit(',').next().unwrap_or(value))
}

/// The client's address: the first entry of `X-Forwarded-For`, or who sent the request.
pub fn remote_first(headers: &Headers, remote: IpAddr) -> IpAddr {
    forwarded_first(headers).unwrap_or_else(|| remote.to_canonical())
}

/// The client's address: the last entry of `X-Forwarded-For`, or who sent the request.
pub fn remote_last(headers: &Headers, remote: IpAddr) -> IpAddr {
    forwarded_last(headers).unwrap_or_else(|| remote.to_canonical())
}

/// Splits `host:port` as Go's `net.SplitHostPort` does: brackets of IPv6 go, the port may be empty. `None`
/// when there is no port, or more colons than one host and one port have.
pub fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let colon = text.rfind(':')?;
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let stray = |part: &str| part.contains(['[', ']']);
    (!stray(host) && !stray(port)).then_some((host, port))
}

/// Scheme and `host:port` of a backend's address, both in lower case, with the default port of `http`,
/// `https` and `h2c` added. What follows the host is not a backend's business and is dropped.
pub fn scheme_host(address: &str) -> Result<(String, String), String> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Err(format!("`{address}` has no scheme; write it like `http://{address}`"));
    };
    let wellformed = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    if !wellformed(scheme) {
        return Err(format!("`{scheme}` in `{address}` is no scheme"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() {
        return Err(format!("`{address}` has no host"));
    }
    if let Some(bad) =
        host.chars().find(|c| c.is_whitespace() || c.is_control() || "<>\"\\^`{}|".contains(*c))
    {
        return Err(format!("{bad:?} in `{address}` can be in no host"));
    }
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let (name, port) = match split_host_port(&host) {
        Some((name, port)) => (name, port),
        None if host.starts_with('[') && host.ends_with(']') => (&host[1..host.len() - 1], ""),
        None if host.contains([':', '[', ']']) => {
            return Err(format!("`{host}` in `{address}` is not a host with an optional port"));
        }
        None => (host.as_str(), ""),
    };
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err(format!("`{port}` in `{address}` is no port"));
    }
    let port = match (port, scheme.as_str()) {
        ("", "http" | "h2c") => "80",
        ("", "https") => "443",
        (port, _) => port,
    };
    let host = join_host_port(name, port);
    Ok((scheme, host))
}

/// `host:port`, with brackets around IPv6; the host alone if there is no port.
fn join_host_port(host: &str, port: &str) -> String {
    match (host.contains(':'), port.is_empty()) {
        (true, true) => format!("[{host}]"),
        (true, false) => format!("[{host}]:{port}"),
        (false, true) => host.to_owned(),
        (false, false) => format!("{host}:{port}"),
    }
}

/// What to change about a request's Host before routes see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostPatch {
    /// Takes the port away, and the brackets of IPv6 with it.
    pub remove_port: bool,
    /// Takes the dot of a fully qualified name away.
    pub remove_trailing_dot: bool,
    /// Makes it lower case.
    pub to_lower: bool,
}

impl HostPatch {
    /// The patched Host; borrowed when nothing changes.
    pub fn apply(self, original: &str) -> Cow<'_, str> {
        if self == Self::default() {
            return Cow::Borrowed(original);
        }
        let (host, port) = split_host_port(original).unwrap_or((original, ""));
        let port = if self.remove_port { "" } else { port };
        let host = if self.remove_trailing_dot { host.strip_suffix('.').unwrap_or(host) } else { host };
        let lower = self.to_lower && host.contains(|c: char| c.is_uppercase());
        let host = if lower { Cow::Owned(host.to_lowercase()) } else { Cow::Borrowed(host) };
        match (port.is_empty(), host) {
            (true, host) => host,
            (false, host) => Cow::Owned(join_host_port(&host, port)),
        }
    }
}

/// The Host without the dot of a fully qualified name, port kept.
pub fn rfc_host(host: &str) -> Cow<'_, str> {
    if host.contains(".:") {
        let replaced = host.replace(".:", ":");
        return Cow::Owned(replaced.strip_suffix('.').map_or_else(|| replaced.clone(), str::to_owned));
    }
    Cow::Borrowed(host.strip_suffix('.').unwrap_or(host))
}

/// The path with reserved characters (RFC 2396 section 2.2) as they were sent: `parsed` is the decoded path,
/// `raw` the one on the wire. Where the two differ in more than encoding, or nothing reserved was encoded,
/// it is `parsed`.
pub fn rfc_path<'a>(parsed: &'a str, raw: &str) -> Cow<'a, str> {
    keep_reserved(parsed.as_bytes(), raw.as_bytes())
        .and_then(|patched| String::from_utf8(patched).ok())
        .map_or(Cow::Borrowed(parsed), Cow::Owned)
}

fn keep_reserved(parsed: &[u8], raw: &[u8]) -> Option<Vec<u8>> {
    let mut patched = Vec::with_capacity(raw.len());
    let (mut at, mut met, mut kept) = (0, 0, false);
    while at < raw.len() {
        let meant = *parsed.get(met)?;
        if raw[at] == b'%' {
            let code = raw.get(at..at + 3)?;
            match reserved(code) {
                Some(byte) if byte == meant => {
                    patched.extend_from_slice(code);
                    kept = true;
                }
                Some(_) => return None,
                None => patched.push(meant),
            }
            at += 3;
        } else if raw[at] == meant {
            patched.push(meant);
            at += 1;
        } else {
            return None;
        }
        met += 1;
    }
    (kept && met == parsed.len()).then_some(patched)
}

/// Whether a text begins with an encoded reserved character (RFC 2396 section 2.2).
pub(crate) fn is_reserved_code(text: &[u8]) -> bool {
    text.get(..3).is_some_and(|code| code[0] == b'%' && reserved(code).is_some())
}

/// The reserved character that `%XX` stands for, if it is one.
fn reserved(code: &[u8]) -> Option<u8> {
    let hex = std::str::from_utf8(code.get(1..)?).ok()?;
    let byte = u8::from_str_radix(hex, 16).ok()?;
    b";/?:@&=+$,".contains(&byte).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_all_its_clothes() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(parse_address(text), expected.map(|address| address.parse().unwrap()), "{text}");
        };
        check("1.2.3.4", Some("1.2.3.4"));
        check(" 1.2.3.4:80 ", Some("1.2.3.4"));
        check("::1", Some("::1"));
        check("[::1]:80", Some("::1"));
        check("[::1]", Some("::1"));
        check("::ffff:10.0.0.1", Some("10.0.0.1"));
        for bad in ["", "host", "1.2.3", "1.2.3.4.5", "[::1", "100.200.300.400"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_port_is_split_off_as_go_does() {
        assert_eq!(split_host_port("a:80"), Some(("a", "80")));
        assert_eq!(split_host_port("a:"), Some(("a", "")));
        assert_eq!(split_host_port("[::1]:80"), Some(("::1", "80")));
        for without in ["a", "", "::1", "[::1]", "a]:80", "[a:80"] {
            assert_eq!(split_host_port(without), None, "{without}");
        }
    }

    #[test]
    fn an_address_that_is_no_backend_says_why() {
        for bad in
            ["example.org", "://x", "http://", "http://a b", "1x://a", "http://a:b:c", "http://a:99999"]
        {
            assert!(scheme_host(bad).is_err(), "{bad}");
        }
        assert_eq!(scheme_host("HTTP://user@Shop.Example"), Ok(("http".into(), "shop.example:80".into())));
    }
}
