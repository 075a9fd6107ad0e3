//! Who may bring spans and ask for them: programs of this machine, by `wire`'s rule, and pages of the origins that are
//! named, which are let read the answer.

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue, ORIGIN, VARY};
use wire::{RequestHead, Response, Stranger, check_caller};

/// Pages of which origins may call; `*` stands for all.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Such as `https://shop.example`.
    pub origins: Vec<String>,
}

impl Guard {
    /// Says why a call is refused, if it is.
    pub(crate) fn check(&self, head: &RequestHead) -> Result<(), &'static str> {
        check_caller(head, |origin| self.allows(origin)).map_err(Stranger::why)
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HOST;
    use wire::Body;

    /// Whether it is let in, and what of the answer a browser is told.
    fn check(origins: &[&str], host: &'static str, origin: Option<&'static str>) -> (bool, bool) {
        let mut head = RequestHead::default();
        head.headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            head.headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        let guard = Guard { origins: origins.iter().map(|&origin| origin.into()).collect() };
        let mut response = Response::new(Body::empty());
        guard.tell(&head, &mut response);
        (guard.check(&head).is_ok(), response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN))
    }

    #[test]
    fn programs_of_this_machine_and_pages_that_are_named_may_call() {
        assert_eq!(check(&[], "127.0.0.1:9411", None), (true, false));
        assert_eq!(check(&["*"], "evil.example", None), (false, false));
        assert_eq!(check(&["http://a.example"], "localhost:9411", Some("http://b.example")), (false, false));
        assert_eq!(check(&["http://a.example"], "localhost:9411", Some("http://a.example")), (true, true));
        assert_eq!(check(&["*"], "localhost:9411", Some("null")), (true, true));
    }
}
