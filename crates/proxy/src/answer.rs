//! Every answer Tombolo makes itself says why, in a way machines can read: the header `Proxy-Status` of
//! RFC 9209 with the route and the filter that made it. The same [`Reason`] goes to the log and the record.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::fmt::Write as _;
use wire::{Body, Response};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why we answered ourselves: an error type of RFC 9209 section 2.3 where one fits, otherwise our own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cause(pub &'static str);

impl Cause {
    /// No route matches.
    pub const NO_ROUTE: Cause = Cause("no_route");
    /// The route's filters gave no answer and it has no backend.
    pub const SHUNT: Cause = Cause("shunt");
    /// A filter answered as its route tells it to.
    pub const FILTER: Cause = Cause("filter");
    /// The caller came too often.
    pub const RATE_LIMITED: Cause = Cause("rate_limited");
    /// Who calls is not known or may not.
    pub const DENIED: Cause = Cause("http_request_denied");
    /// The request is malformed or can't be sent on.
    pub const BAD_REQUEST: Cause = Cause("http_request_error");
    /// The breaker of the backend is open.
    pub const BREAKER_OPEN: Cause = Cause("breaker_open");
    /// No instance of the service can serve now.
    pub const NO_INSTANCE: Cause = Cause("destination_unavailable");
    /// The service or address is not known.
    pub const NOT_FOUND: Cause = Cause("destination_not_found");
    /// The backend refused the connection, or could not be reached.
    pub const CONNECTION_REFUSED: Cause = Cause("connection_refused");
    /// The backend took too long to accept the connection.
    pub const CONNECTION_TIMEOUT: Cause = Cause("connection_timeout");
    /// The backend closed the connection without an answer.
    pub const CONNECTION_TERMINATED: Cause = Cause("connection_terminated");
    /// The backend's answer is not HTTP.
    pub const PROTOCOL_ERROR: Cause = Cause("http_protocol_error");
    /// The backend did not answer in time.
    pub const RESPONSE_TIMEOUT: Cause = Cause("http_response_timeout");
    /// Too many requests wait for a place on the route.
    pub const QUEUE_FULL: Cause = Cause("queue_full");
    /// No place on the route became free in time.
    pub const QUEUE_TIMEOUT: Cause = Cause("queue_timeout");
    /// Too many requests of the route fail: some are refused so that what is behind it can recover.
    pub const SHED: Cause = Cause("load_shed");
    /// The request went round more often than allowed.
    pub const LOOP: Cause = Cause("proxy_loop_detected");
    /// Our own mistake.
    pub const INTERNAL: Cause = Cause("proxy_internal_error");
    /// The client left before it had its answer (nobody sees this one but the log).
    pub const CLIENT_GONE: Cause = Cause("client_gone");
}

/// Why we answered ourselves, and by which filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The machine-readable cause.
    pub cause: Cause,
    /// The filter that made the answer; empty when none did.
    pub filter: &'static str,
    /// A few words for people; empty when the cause says it all. Never holds a secret.
    pub details: Cow<'static, str>,
}

impl Reason {
    /// A reason without filter and details.
    pub fn of(cause: Cause) -> Self {
        Self { cause, filter: "", details: Cow::Borrowed("") }
    }

    /// Names the filter that made the answer.
    pub fn by(mut self, filter: &'static str) -> Self {
        self.filter = filter;
        self
    }

    /// Adds a few words for people.
    #[cold]
    pub fn because(mut self, details: impl Into<Cow<'static, str>>) -> Self {
        self.details = details.into();
        self
    }

    /// The value of `Proxy-Status` (RFC 9209 section 2; `route`, `filter` and `cause` are our extensions).
    pub fn proxy_status(&self, route: &str) -> HeaderValue {
        // An answer that the route is written to give is no error.
        let parameter = if matches!(self.cause, Cause::FILTER | Cause::SHUNT) { "cause" } else { "error" };
        let mut text = format!("tombolo; {parameter}={}", self.cause.0);
        for (name, value) in [("route", route), ("filter", self.filter), ("details", &self.details)] {
            if !value.is_empty() {
                let _ = write!(text, "; {name}=\"");
                // RFC 8941 section 3.3.3: strings are printable ASCII, `"` and `\` escaped.
                for byte in value.bytes().take(200) {
                    match byte {
                        b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
                        0x20..=0x7e => text.push(char::from(byte)),
                        _ => text.push('?'),
                    }
                }
                text.push('"');
            }
        }
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("tombolo"))
    }

    /// Marks a response as ours.
    #[cold]
    pub fn mark(&self, route: &str, response: &mut Response) {
        response.headers_mut().insert(PROXY_STATUS, self.proxy_status(route));
    }
}

/// An answer of ours: the status text as plain body, never sniffed for another type (as Skipper answers).
pub fn answer(status: StatusCode) -> Response {
    let text = status.canonical_reason().unwrap_or("Unknown");
    let mut response = Response::new(Body::full(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_valid_structured_field_whatever_it_holds() {
        let reason =
            Reason::of(Cause::RATE_LIMITED).by("clientRatelimit").because("a \"quote\" and \u{e4}\n");
        assert_eq!(
            reason.proxy_status("cart"),
            "tombolo; error=rate_limited; route=\"cart\"; filter=\"clientRatelimit\"; details=\"a \\\"quote\\\" and ???\""
        );
        assert_eq!(Reason::of(Cause::NO_ROUTE).proxy_status(""), "tombolo; error=no_route");
        assert_eq!(
            Reason::of(Cause::FILTER).by("redirectTo").proxy_status("old"),
            "tombolo; cause=filter; route=\"old\"; filter=\"redirectTo\""
        );
    }
}
