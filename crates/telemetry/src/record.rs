//! The record of one carried request, borrowed from whoever carried it.

use crate::{Tags, TraceContext};
use base::UnixTime;
use std::net::IpAddr;
use std::time::Duration;

/// What is worth knowing of one request and its answer, told once when the answer has ended.
///
/// There is no place here for credentials: `Authorization`, `Cookie` and their like can't be logged by
/// mistake.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The id of the route; [`Record::NO_ROUTE`] when none matched.
    pub route: &'a str,
    /// As the client sent it.
    pub method: &'a str,
    /// Path and query as the client sent them.
    pub uri: &'a str,
    /// The `Host` header or `:authority`.
    pub host: &'a str,
    /// The protocol between the client and us.
    pub version: http::Version,
    /// The peer's address; none on a Unix socket.
    pub remote: Option<IpAddr>,
    /// The value of `X-Forwarded-For`, if the client sent one.
    pub forwarded_for: Option<&'a str>,
    /// The service that called, where the peer could be named.
    pub caller: Option<&'a str>,
    /// The user that a filter found out.
    pub user: Option<&'a str>,
    /// The status of the answer; 499 when the client went away before there was one.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body that were sent.
    pub response_bytes: u64,
    /// From the last byte of the request's head to the last byte of the answer.
    pub duration: Duration,
    /// How long the choice of the route took.
    pub lookup: Duration,
    /// The backend that was asked last, if any was.
    pub backend: Option<Backend<'a>>,
    /// How often a backend was asked: 0 if we answered by ourselves, more than 1 after retries.
    pub attempts: u32,
    /// Why we made the answer ourselves; none if it came from the backend.
    pub reason: Option<Reason<'a>>,
    /// Whether the answer broke off before its end.
    pub cut_short: bool,
    /// Where this request stands in its trace.
    pub trace: TraceContext,
    /// The value of `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The value of `Referer`.
    pub referer: Option<&'a str>,
    /// The value of `X-Flow-Id`.
    pub flow_id: Option<&'a str>,
    /// The value of `X-Unverified-Audit`.
    pub audit: Option<&'a str>,
    /// The name of the span, if a filter gave it one.
    pub span_name: Option<&'a str>,
    /// What filters noted of the span.
    pub tags: &'a Tags,
    /// Keys of the query whose values must not be logged (the `maskAccessLogQuery` filter).
    pub masked_keys: &'a [String],
    /// When the request came.
    pub start: UnixTime,
}

/// The backend of a request.
#[derive(Clone, Copy, Debug)]
pub struct Backend<'a> {
    /// Host and port.
    pub address: &'a str,
    /// From the connection's choice to the head of its answer.
    pub duration: Duration,
}

/// Why we made an answer ourselves.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// In a machine's words, such as `no_route` or `breaker_open`.
    pub cause: &'a str,
    /// The filter that decided it, if one did.
    pub filter: Option<&'a str>,
}

impl Record<'_> {
    /// The route of a request that matched none, under the name Skipper gives it.
    pub const NO_ROUTE: &'static str = "_unknownroute_";

    /// The protocol as it is written in a request line.
    pub fn protocol(&self) -> &'static str {
        match self.version {
            http::Version::HTTP_09 => "HTTP/0.9",
            http::Version::HTTP_10 => "HTTP/1.0",
            http::Version::HTTP_2 => "HTTP/2.0",
            http::Version::HTTP_3 => "HTTP/3.0",
            _ => "HTTP/1.1",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use base::Chance;

    /// A request that went well, for tests to vary.
    pub(crate) fn record() -> Record<'static> {
        Record {
            route: "cart",
            method: "GET",
            uri: "/cart/7?item=12",
            host: "shop.example.org",
            version: http::Version::HTTP_11,
            remote: Some([10, 0, 0, 9].into()),
            forwarded_for: None,
            caller: None,
            user: None,
            status: 200,
            request_bytes: 0,
            response_bytes: 2326,
            duration: Duration::from_micros(12_345),
            lookup: Duration::from_nanos(800),
            backend: Some(Backend { address: "10.1.0.1:8080", duration: Duration::from_millis(12) }),
            attempts: 1,
            reason: None,
            cut_short: false,
            trace: TraceContext::begin(&Chance::seeded(1)),
            user_agent: Some("curl/8.5.0"),
            referer: None,
            flow_id: None,
            audit: None,
            span_name: None,
            tags: Tags::NONE,
            masked_keys: &[],
            start: UnixTime(Duration::from_millis(1_700_000_000_250)),
        }
    }
}
