//! The headers `X-Forwarded-*` and `Forwarded` that a gateway adds so that backends know whom it speaks for.

use super::{Networks, X_FORWARDED_FOR};
use http::header::{FORWARDED, HeaderName, HeaderValue};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use wire::Headers;

/// Which headers are added. None by default.
#[derive(Clone, Debug, Default)]
pub struct ForwardedHeaders {
    /// Whether and where the sender's address joins `X-Forwarded-For`.
    pub forwarded_for: ForwardedFor,
    /// Sets `X-Forwarded-Host` to the request's Host.
    pub host: bool,
    /// Sets `X-Forwarded-Method` to the request's method.
    pub method: bool,
    /// Sets `X-Forwarded-Uri` to the request's target.
    pub uri: bool,
    /// Sets `X-Forwarded-Port`.
    pub port: Option<Told>,
    /// Sets `X-Forwarded-Proto`.
    pub proto: Option<Told>,
    /// Adds an element to `Forwarded` (RFC 7239): sender, Host and scheme in one. Skipper knows no such header.
    pub forwarded: bool,
    /// Requests from here are left as they are: a proxy we trust has done it.
    pub exclude: Networks,
}

/// Where the sender's address joins `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedFor {
    /// Nowhere.
    #[default]
    Off,
    /// Behind the addresses already there.
    Append,
    /// Before them.
    Prepend,
}

/// A value that is configured or told by the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// By the connection.
    Auto,
    /// This one.
    Fixed(HeaderValue),
}

/// What the headers tell about.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Who sent the request.
    pub remote: IpAddr,
    /// Our side of the connection.
    pub local: Option<SocketAddr>,
    /// Whether it is encrypted.
    pub tls: bool,
    /// The request's Host.
    pub host: &'a str,
    /// Its method.
    pub method: &'a http::Method,
    /// Its target: path and query as sent.
    pub uri: &'a str,
}

impl Told {
    /// Reads `auto` or a fixed value.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Told::Auto),
            text => HeaderValue::from_str(text)
                .map(Told::Fixed)
                .map_err(|_| format!("{text:?} can't be in a header")),
        }
    }

    fn or(&self, connection: impl FnOnce() -> Option<HeaderValue>) -> Option<HeaderValue> {
        match self {
            Told::Auto => connection(),
            Told::Fixed(value) => Some(value.clone()),
        }
    }
}

impl ForwardedHeaders {
    /// Adds the headers to a request's, unless its sender is excluded.
    pub fn apply(&self, headers: &mut Headers, connection: &Connection<'_>) {
        if !self.exclude.is_empty() && self.exclude.contains(connection.remote) {
            return;
        }
        if self.forwarded_for != ForwardedFor::Off {
            self.join(headers, connection.remote);
        }
        if self.forwarded {
            let element = connection.element();
            let known = lines(headers, &FORWARDED);
            let joined = [known.as_slice(), &[element.as_bytes()]].concat().join(&b", "[..]);
            if let Ok(joined) = HeaderValue::try_from(joined) {
                headers.insert(FORWARDED, joined);
            }
        }
        let mut set = |name: &'static str, wanted: Option<HeaderValue>| {
            if let Some(value) = wanted {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        let text = |wanted: bool, text: &str| wanted.then(|| HeaderValue::from_str(text).ok()).flatten();
        set("x-forwarded-host", text(self.host, connection.host));
        set("x-forwarded-method", text(self.method, connection.method.as_str()));
        set("x-forwarded-uri", text(self.uri, connection.uri));
        let port = || connection.local.map(|local| local.port().into());
        set("x-forwarded-port", self.port.as_ref().and_then(|told| told.or(port)));
        let scheme = || Some(HeaderValue::from_static(if connection.tls { "https" } else { "http" }));
        set("x-forwarded-proto", self.proto.as_ref().and_then(|told| told.or(scheme)));
    }

    /// All lines of `X-Forwarded-For` become one, with the sender at its end of it.
    fn join(&self, headers: &mut Headers, remote: IpAddr) {
        let sender = remote.to_canonical();
        if !headers.contains_key(X_FORWARDED_FOR) {
            if let Some(alone) = last_address(sender) {
                headers.append(X_FORWARDED_FOR, alone);
            }
            return;
        }
        let sender = sender.to_string();
        let known = lines(headers, &X_FORWARDED_FOR);
        let joined = match self.forwarded_for {
            _ if known.is_empty() => sender.into_bytes(),
            ForwardedFor::Prepend => [&[sender.as_bytes()], known.as_slice()].concat().join(&b", "[..]),
            ForwardedFor::Append | ForwardedFor::Off => {
                [known.as_slice(), &[sender.as_bytes()]].concat().join(&b", "[..])
            }
        };
        if let Ok(joined) = HeaderValue::try_from(joined) {
            headers.insert(X_FORWARDED_FOR, joined);
        }
    }
}

/// The same as [`address`], remembered for the next request: many come from one proxy or one connection.
fn last_address(ip: IpAddr) -> Option<HeaderValue> {
    thread_local! {
        static LAST: RefCell<Option<(IpAddr, HeaderValue)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some((known, value)) if *known == ip => Some(value.clone()),
        _ => {
            let value = address(ip)?;
            *last = Some((ip, value.clone()));
            Some(value)
        }
    })
}

/// An address as the value of a field; IPv4 without the machinery of `format!`, since nearly every request
/// takes one along.
fn address(ip: IpAddr) -> Option<HeaderValue> {
    let IpAddr::V4(ip) = ip else { return HeaderValue::try_from(ip.to_string()).ok() };
    let (mut text, mut length) = ([0; 15], 0);
    for (at, octet) in ip.octets().into_iter().enumerate() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let skipped = if octet >= 100 {
            0
        } else if octet >= 10 {
            1
        } else {
            2
        };
        let dot = (at > 0).then_some(b'.');
        for byte in dot.into_iter().chain(digits[skipped..].iter().map(|digit| b'0' + digit)) {
            text[length] = byte;
            length += 1;
        }
    }
    HeaderValue::from_bytes(&text[..length]).ok()
}

impl Connection<'_> {
    /// `for=192.0.2.43;host=shop.example;proto=https`. What is no token is quoted (RFC 7239 section 4).
    fn element(&self) -> String {
        let sender = match self.remote.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let mut element = format!("for={sender}");
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if !self.host.is_empty() && self.host.chars().all(token) {
            let _ = write!(element, ";host={}", self.host);
        } else if !self.host.is_empty() {
            let quoted = self.host.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = write!(element, ";host=\"{quoted}\"");
        }
        element + if self.tls { ";proto=https" } else { ";proto=http" }
    }
}

/// The values of a header that are not empty.
fn lines<'a>(headers: &'a Headers, name: &HeaderName) -> Vec<&'a [u8]> {
    headers.get_all(name).map(HeaderValue::as_bytes).filter(|value| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everybody_writes_them() {
        for text in ["0.0.0.0", "127.0.0.1", "10.20.30.40", "255.255.255.255", "9.99.100.199", "2001:db8::1"]
        {
            assert_eq!(address(text.parse().unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn an_element_of_forwarded_is_joined_to_those_there() {
        let forwarded = ForwardedHeaders { forwarded: true, ..ForwardedHeaders::default() };
        let mut headers = Headers::new();
        for (remote, host, tls) in [
            ("192.0.2.43", "shop.example", true),
            ("2001:db8::1", "shop.example:8080", false),
            ("::ffff:192.0.2.1", "a\"b", false),
            ("192.0.2.9", "", false),
        ] {
            let connection = Connection {
                remote: remote.parse().unwrap(),
                local: None,
                tls,
                host,
                method: &http::Method::GET,
                uri: "/",
            };
            forwarded.apply(&mut headers, &connection);
        }
        assert_eq!(headers.len(), 1);
        assert_eq!(
            headers["forwarded"],
            r#"for=192.0.2.43;host=shop.example;proto=https, for="[2001:db8::1]";host="shop.example:8080";proto=http, for=192.0.2.1;host="a\"b";proto=http, for=192.0.2.9;proto=http"#
        );
    }
}
