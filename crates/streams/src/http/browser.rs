//! Who may call without showing who they are: `wire`'s rule, and beside it that what changes something comes as JSON,
//! which a form on a page of another site can't send.

use super::answer::Problem;
use base::Kind;
use http::Method;
use http::header::CONTENT_TYPE;
use wire::{RequestHead, check_caller};

/// Refuses who may not call.
pub(crate) fn check(head: &RequestHead, has_body: bool, shown: bool) -> Result<(), Problem> {
    if shown {
        return Ok(());
    }
    if let Err(stranger) = check_caller(head, |_| false) {
        return Err(Problem::new(Kind::Refused, stranger.why()));
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let writes = !matches!(head.method, Method::GET | Method::HEAD);
    if writes && has_body && !kind.is_some_and(is_json) {
        return Err(Problem::invalid("the body has to be JSON").code("not_json").hint(
            "send `Content-Type: application/json`, or `application/x-ndjson` for one message a line",
        ));
    }
    Ok(())
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
    use http::header::{HeaderName, HeaderValue};

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
    fn a_stranger_is_refused_unless_it_shows_who_it_is() {
        assert!(!check(Method::GET, &[("host", "evil.example")]));
        assert!(!check(Method::GET, &[("host", "localhost"), ("origin", "http://evil.example")]));
        let mut head = RequestHead::default();
        head.headers.insert(http::header::HOST, HeaderValue::from_static("evil.example"));
        assert!(super::check(&head, true, true).is_ok());
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
