//! Who may call without showing who they are: programs of this machine. A page that a browser shows is none, unless it
//! came from here or from an origin that is named: not even where its name was made to lead here (DNS rebinding).

use crate::{FieldName, RequestHead};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use std::net::IpAddr;

/// Why a caller is taken for none of this machine's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// It calls us by a name that is not this machine's own.
    Host,
    /// It is a page of another origin.
    Page,
}

impl Stranger {
    /// What it is told.
    pub fn why(self) -> &'static str {
        match self {
            Self::Host => "only this machine's own names are answered: say `Host: localhost`",
            Self::Page => "a page of another origin may not call this API",
        }
    }
}

/// Refuses who is no program of this machine and no page of ours, nor of an origin that is allowed.
pub fn check_caller(head: &RequestHead, allows: impl Fn(&str) -> bool) -> Result<(), Stranger> {
    let host = first(head, HOST).or_else(|| head.uri.authority().map(Authority::as_str));
    if !host.is_some_and(is_own_name) {
        return Err(Stranger::Host);
    }
    match head.headers.get(ORIGIN).map(|origin| origin.to_str()) {
        None => Ok(()),
        Some(Ok(origin)) if allows(origin) => Ok(()),
        Some(Ok(origin)) if origin.split_once("://").map(|(_, of)| of) == host => Ok(()),
        Some(_) => Err(Stranger::Page),
    }
}

fn first(head: &RequestHead, name: impl FieldName) -> Option<&str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a host, with a port or without one, is a name of this machine for itself.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;

    fn check(host: Option<&str>, origin: Option<&[u8]>) -> Result<(), Stranger> {
        let mut head = RequestHead::default();
        if let Some(host) = host {
            head.headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        }
        if let Some(origin) = origin {
            head.headers.insert(ORIGIN, HeaderValue::from_bytes(origin).unwrap());
        }
        check_caller(&head, |origin| origin == "https://shop.example")
    }

    #[test]
    fn only_this_machine_s_own_names_are_answered() {
        for own in ["localhost", "localhost:4600", "LOCALHOST.", "127.0.0.1:1", "[::1]:4600", "a.localhost:1"]
        {
            assert_eq!(check(Some(own), None), Ok(()), "{own}");
        }
        for other in ["evil.example", "evil.example:4600", "localhost.evil.example", "10.0.0.1", "[::2]", ""]
        {
            assert_eq!(check(Some(other), None), Err(Stranger::Host), "{other}");
        }
        assert_eq!(check(None, None), Err(Stranger::Host));
    }

    #[test]
    fn a_page_has_to_be_ours_or_of_an_origin_that_is_allowed() {
        let page = |origin: &[u8]| check(Some("localhost:4600"), Some(origin));
        assert_eq!(page(b"http://localhost:4600"), Ok(()));
        assert_eq!(page(b"https://shop.example"), Ok(()));
        let others: [&[u8]; 6] = [
            b"http://evil.example",
            b"null",
            b"http://localhost:8080",
            b"http://localhost",
            b"http://shop.example",
            b"\xff",
        ];
        for other in others {
            assert_eq!(page(other), Err(Stranger::Page), "{other:?}");
        }
    }
}
