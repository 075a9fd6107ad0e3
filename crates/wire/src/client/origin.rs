//! Where an upstream is and how it is talked to, as people write it: `scheme://host[:port]`.

use base::{Fault, Kind};
use std::fmt;

/// How to talk to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP over TLS: HTTP/2 or HTTP/1.1, as the two ends agree.
    Https,
    /// HTTP/2 without TLS, known beforehand (RFC 9113 section 3.3; written as Skipper does).
    H2c,
}

/// Where an upstream is: scheme, host and port. Printed as `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How to talk to it.
    pub scheme: Scheme,
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::H2c => "h2c",
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(self) -> bool {
        self == Scheme::Https
    }

    /// The port when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http | Scheme::H2c => 80,
            Scheme::Https => 443,
        }
    }
}

impl Origin {
    /// Reads `scheme://host[:port]`, in lower case, with the scheme's port if none is written. What stands
    /// behind the host (a path, a query) is left out, as Skipper does.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let wrong =
            |why: &str| Err(Fault::new(Kind::Invalid, format!("`{text}` is no backend address: {why}")));
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("it must begin with http://, https:// or h2c://");
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "h2c" => Scheme::H2c,
            other => return wrong(&format!("the scheme `{other}` is not served, use http, https or h2c")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let Some((host, port)) = rest.split_once(']') else {
                return wrong("the bracket of its IPv6 address is not closed");
            };
            (host, port.strip_prefix(':'))
        } else {
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
        };
        if host.is_empty() {
            return wrong("it has no host");
        }
        let port = match port {
            None | Some("") => scheme.default_port(),
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return wrong(&format!("`{port}` is no port")),
            },
        };
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// `host:port`, with brackets round an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The value of a Host header: without the port where it is the scheme's own.
    pub fn host_header(&self) -> String {
        let authority = self.authority();
        if self.port == self.scheme.default_port() {
            authority[..authority.len() - self.port.to_string().len() - 1].to_owned()
        } else {
            authority
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_in_every_form_people_write() {
        for (text, expected, host) in [
            ("http://a", "http://a:80", "a"),
            ("HTTPS://Shop.Example/path?x#y", "https://shop.example:443", "shop.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:80/", "http://[::1]:80", "[::1]"),
            ("h2c://grpc/pkg.Service", "h2c://grpc:80", "grpc"),
            ("https://user:secret@h:8443", "https://h:8443", "h:8443"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(
                (origin.to_string().as_str(), origin.host_header().as_str()),
                (expected, host),
                "{text}"
            );
        }
        for bad in ["", "a:80", "ftp://a", "http://", "http://:80", "http://a:b", "http://a:0", "http://[::1"]
        {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
