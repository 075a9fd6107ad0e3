//! Who may call without showing who they are: programs of this machine. A page that a browser shows is none: one
//! of another site must neither read messages nor write them, not even where its name was made to lead here (DNS
//! rebinding), nor by a form, which can send no JSON.

use super::answer::Problem;
use base::Kind;
use http::Method;
use http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use std::net::IpAddr;
use wire::RequestHead;

/// Refuses who may not call.
pub(crate) fn check(head: &RequestHead, has_body: bool, shown: bool) -> Result<(), Problem> {
    if shown {
        return Ok(());
    }
    let refuse = |text: &str| Err(Problem::new(Kind::Refused, text.to_owned()));
    let first = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = first(HOST).or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
    if !host.is_some_and(is_ours) {
        return refuse("only this machine's own names are answered: say `Host: localhost`");
    }
    if let Some(origin) = first(ORIGIN) {
        let of = origin.split_once("://").map_or("", |(_, host)| host);
        if Some(of) != host {
            return refuse("a page of another origin may not call this API");
        }
    }
    let writes = !matches!(head.method, Method::GET | Method::HEAD);
    if writes && has_body && !first(CONTENT_TYPE).is_some_and(is_json) {
        return Err(Problem::invalid("the body has to be JSON").code("not_json").hint(
            "send `Content-Type: application/json`, or `application/x-ndjson` for one message a line",
        ));
    }
    Ok(())
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

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || is_lines(kind)
}

/// Whether a type says that there is one object a line.
pub(crate) fn is_lines(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson", "application/jsonl"]
        .iter()
        .any(|name| kind.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;

    fn check(method: Method, fields: &[(&str, &str)]) -> bool {
        let has_body = method == Method::POST;
        let mut head = RequestHead { method, ..RequestHead::default() };
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            head.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        super::check(&head, has_body, false).is_ok()
    }

    #[test]
    fn only_this_machine_s_own_names_are_answered() {
        for good in
            ["localhost", "localhost:4600", "LOCALHOST.", "127.0.0.1:1", "[::1]:4600", "a.localhost:1"]
        {
            assert!(check(Method::GET, &[("host", good)]), "{good}");
        }
        for bad in ["evil.example", "evil.example:4600", "localhost.evil.example", "10.0.0.1", "[::2]", ""] {
            assert!(!check(Method::GET, &[("host", bad)]), "{bad}");
        }
        assert!(!check(Method::GET, &[]));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let host = ("host", "localhost:4600");
        assert!(check(Method::GET, &[host, ("origin", "http://localhost:4600")]));
        for origin in ["http://evil.example", "null", "http://localhost:8080", "http://localhost"] {
            assert!(!check(Method::GET, &[host, ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn what_a_form_can_send_is_refused() {
        let host = ("host", "localhost:4600");
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/x-ndjson"] {
            assert!(check(Method::POST, &[host, ("content-type", kind)]), "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"] {
            assert!(!check(Method::POST, &[host, ("content-type", kind)]), "{kind}");
        }
        assert!(!check(Method::POST, &[host]));
        assert!(check(Method::DELETE, &[host]));
    }
}
