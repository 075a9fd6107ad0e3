//! Who may bring spans and ask for them: programs of this machine, and pages of the origins that are named. A page
//! of another site must do neither, not even where its name was made to lead here (DNS rebinding).

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HOST, HeaderName, HeaderValue, ORIGIN, VARY};
use std::net::IpAddr;
use wire::{RequestHead, Response};

/// Pages of which origins may call; `*` stands for all.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Such as `https://shop.example`.
    pub origins: Vec<String>,
}

impl Guard {
    /// Says why a call is refused, if it is.
    pub(crate) fn check(&self, head: &RequestHead) -> Result<(), &'static str> {
        let host = first(head, HOST).or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
        if !host.is_some_and(is_ours) {
            return Err("only this machine's own names are answered: say `Host: localhost`");
        }
        match first(head, ORIGIN) {
            None => Ok(()),
            Some(origin) if self.allows(origin) => Ok(()),
            Some(origin) if origin.split_once("://").map(|(_, of)| of) == host => Ok(()),
            Some(_) => Err("pages of this origin may not call"),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// Lets the page that called read the answer, if it may.
    pub(crate) fn tell(&self, head: &RequestHead, response: &mut Response) {
        let origin =
            head.headers.get(ORIGIN).filter(|origin| origin.to_str().is_ok_and(|text| self.allows(text)));
        if let Some(origin) = origin {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
        }
    }
}

fn first(head: &RequestHead, name: HeaderName) -> Option<&str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a host, with a port or without one, is a name of this machine for itself.
fn is_ours(host: &str) -> bool {
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

    fn check(origins: &[&str], host: &'static str, origin: Option<&'static str>) -> bool {
        let mut head = RequestHead::default();
        head.headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            head.headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        Guard { origins: origins.iter().map(|&origin| origin.into()).collect() }.check(&head).is_ok()
    }

    #[test]
    fn programs_of_this_machine_and_pages_that_are_named_may_call() {
        for host in ["localhost", "127.0.0.1:9411", "[::1]:9411", "a.localhost"] {
            assert!(check(&[], host, None), "{host}");
        }
        for host in ["evil.example", "10.0.0.1:9411", "localhost.evil.example", ""] {
            assert!(!check(&["*"], host, None), "{host}");
        }
        assert!(check(&[], "localhost:9411", Some("http://localhost:9411")));
        assert!(!check(&[], "localhost:9411", Some("http://localhost:8080")));
        assert!(!check(&["http://a.example"], "localhost:9411", Some("http://b.example")));
        assert!(check(&["http://a.example"], "localhost:9411", Some("http://a.example")));
        assert!(check(&["*"], "localhost:9411", Some("null")));
    }
}
