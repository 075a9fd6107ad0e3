//! What predicates may ask of a request. Everything is borrowed; what takes work (the cleaned path, the
//! client behind proxies, the claims of a token) is worked out once, when the first predicate asks.

use crate::exchange::Exchange;
use crate::lookup::clean;
use crate::net;
use base::{Chance, UnixTime};
use base64::Engine as _;
use http::Method;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use wire::Headers;

/// A request as predicates see it. Made for one look-up on one thread.
pub struct Question<'a> {
    /// The method.
    pub method: &'a Method,
    /// The query as sent, without `?`.
    pub query: Option<&'a str>,
    /// The Host header, port included; empty if there is none.
    pub host: &'a str,
    /// The headers.
    pub headers: &'a Headers,
    /// Who sent the request, if that is known.
    pub remote: Option<IpAddr>,
    /// The announced length of the body; `None` if there is none or it is not known.
    pub content_length: Option<u64>,
    /// The time.
    pub now: UnixTime,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The calling service, on a listener that belongs to one.
    pub caller: Option<&'a str>,
    /// Chance, for predicates that take a share of the traffic.
    pub chance: &'a Chance,
    /// Whether reserved characters of the path that were sent encoded stay so.
    pub keeps_reserved: bool,
    raw_path: &'a str,
    path: OnceCell<Cow<'a, str>>,
    segment: Cell<Option<f64>>,
    fixed: Option<f64>,
    claims: OnceCell<Option<Box<Map<String, Value>>>>,
}

impl<'a> Question<'a> {
    /// A question about a request. `path` is the one on the wire, percent-encoded; what else is known is
    /// set in the public fields.
    pub fn new(
        method: &'a Method,
        path: &'a str,
        host: &'a str,
        headers: &'a Headers,
        chance: &'a Chance,
    ) -> Self {
        Self {
            method,
            query: None,
            host,
            headers,
            remote: None,
            content_length: None,
            now: UnixTime::default(),
            tls: false,
            caller: None,
            chance,
            keeps_reserved: false,
            raw_path: path,
            path: OnceCell::new(),
            segment: Cell::new(None),
            fixed: None,
            claims: OnceCell::new(),
        }
    }

    /// A question about a request as its filters have left it. `chance` stays with the question.
    pub fn of(exchange: &'a Exchange, chance: &'a Chance) -> Self {
        let arrival = &exchange.arrival;
        Self {
            query: exchange.query(),
            remote: Some(arrival.remote.ip()),
            content_length: http_body::Body::size_hint(&exchange.body).exact(),
            now: arrival.at_unix,
            tls: arrival.tls,
            keeps_reserved: exchange.notes.keeps_reserved,
            caller: arrival.edge.as_ref().map(|edge| edge.caller.as_str()),
            ..Self::new(&exchange.method, exchange.raw_path(), exchange.host(), &exchange.headers, chance)
        }
    }

    /// Fixes every number drawn for this request, so that a test knows it.
    pub fn with_random(mut self, number: f64) -> Self {
        self.fixed = Some(number);
        self
    }

    /// Gives the request the number of an earlier question about it, see [`Question::segment`]: a request
    /// that goes round again stays in its segment.
    pub fn with_segment(self, number: Option<f64>) -> Self {
        self.segment.set(number);
        self
    }

    /// The number of [`Question::segment`], if somebody has asked for it.
    pub fn segment_drawn(&self) -> Option<f64> {
        self.segment.get()
    }

    /// The path as sent, percent-encoded.
    pub fn raw_path(&self) -> &'a str {
        self.raw_path
    }

    /// The path as routes see it: decoded, without `.` and `..`, double slashes single, a trailing slash
    /// kept. Borrowed from the raw path when that is so already, as it nearly always is.
    pub fn path(&self) -> &str {
        self.path.get_or_init(|| clean::request_path(self.raw_path, self.keeps_reserved))
    }

    /// The client: the first entry of `X-Forwarded-For`, or who sent the request.
    pub fn client_first(&self) -> Option<IpAddr> {
        net::forwarded_first(self.headers).or_else(|| self.sender())
    }

    /// The client: the last entry of `X-Forwarded-For`, or who sent the request.
    pub fn client_last(&self) -> Option<IpAddr> {
        net::forwarded_last(self.headers).or_else(|| self.sender())
    }

    /// Who sent the request, whatever its headers say.
    pub fn sender(&self) -> Option<IpAddr> {
        self.remote.map(|address| address.to_canonical())
    }

    /// A number in `[0, 1)` that belongs to this request: whoever asks again gets the same. Segments of
    /// traffic share it, so that neighbours neither overlap nor leave a gap.
    pub fn segment(&self) -> f64 {
        self.segment.get().unwrap_or_else(|| {
            let drawn = self.draw();
            self.segment.set(Some(drawn));
            drawn
        })
    }

    /// A number in `[0, 1)`, another one for each call.
    pub fn draw(&self) -> f64 {
        self.fixed.unwrap_or_else(|| self.chance.unit())
    }

    /// The claims of the bearer token, unverified; `None` if there is no token that can be read.
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        self.claims.get_or_init(|| read_claims(self.headers).map(Box::new)).as_deref()
    }
}

/// The second of a JWT's three parts (RFC 7519 section 3), unpadded base64url around a JSON object.
pub(crate) fn read_claims(headers: &Headers) -> Option<Map<String, Value>> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_one_request_share_a_number() {
        let (headers, chance) = (Headers::new(), Chance::seeded(1));
        let question = Question::new(&Method::GET, "/", "", &headers, &chance);
        assert!((question.segment() - question.segment()).abs() < f64::EPSILON);
        assert!((question.draw() - question.draw()).abs() > 0.0);
        let fixed = Question::new(&Method::GET, "/", "", &headers, &chance).with_random(0.25);
        assert_eq!((fixed.segment(), fixed.draw()), (0.25, 0.25));
        let again =
            Question::new(&Method::GET, "/", "", &headers, &chance).with_segment(question.segment_drawn());
        assert!((again.segment() - question.segment()).abs() < f64::EPSILON);
    }
}
