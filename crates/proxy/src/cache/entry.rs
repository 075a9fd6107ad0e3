//! One kept answer: its age, whether it is still good, and how it is given to a client.

use crate::filters::conditions::{Representation, Verdict, content_range, judge};
use base::Moment;
use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, EXPIRES, HeaderName,
    HeaderValue, LAST_MODIFIED, SET_COOKIE, VARY,
};
use http::{Method, StatusCode};
use rules::freshness::{Directives, Facts, Lifetime};
use std::time::{Duration, UNIX_EPOCH};
use wire::Headers;
use wire::{Body, Response};

/// What an entry costs beside its bytes, about.
const OVERHEAD: usize = 512;
/// Headers that an answer may vary with at most; one with more is not kept.
const VARIES_MAX: usize = 16;

/// A kept answer.
pub(crate) struct Entry {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    /// When its head was there.
    pub(crate) at: Moment,
    /// How old it was then.
    pub(crate) initial_age: Duration,
    pub(crate) lifetime: Lifetime,
    /// What it varies with, and what the request had there.
    pub(crate) varies: Vec<(HeaderName, Vec<HeaderValue>)>,
}

/// In what state an entry is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    Fresh,
    Stale,
    /// The backend has just said that it is still good.
    Confirmed,
}

impl Entry {
    /// How old it is.
    pub(crate) fn age(&self, now: Moment) -> Duration {
        self.initial_age + now.since(self.at)
    }

    /// For how long it is still fresh; zero when it is not.
    pub(crate) fn fresh_for(&self, now: Moment) -> Duration {
        (self.at + self.lifetime.fresh).since(now)
    }

    /// For how long it has been stale.
    pub(crate) fn stale_for(&self, now: Moment) -> Duration {
        now.since(self.at + self.lifetime.fresh)
    }

    /// Whether it is fresh.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        !self.fresh_for(now).is_zero()
    }

    /// Whether it may be given while a new one is fetched.
    pub(crate) fn is_good_meanwhile(&self, now: Moment) -> bool {
        let window = self.lifetime.while_revalidated;
        !window.is_zero() && self.stale_for(now) <= window
    }

    /// Whether it may be given in the place of an error.
    pub(crate) fn is_better_than_an_error(&self, now: Moment) -> bool {
        let window = self.lifetime.if_error;
        !window.is_zero() && self.stale_for(now) <= window
    }

    /// What it costs.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        OVERHEAD + self.body.len() + headers + self.varies.len() * 128
    }

    /// Whether it is the answer to a request with these headers.
    pub(crate) fn answers(&self, headers: &Headers) -> bool {
        self.varies.iter().all(|(name, values)| headers.get_all(name).eq(values.iter()))
    }

    pub(crate) fn etag(&self) -> Option<&HeaderValue> {
        self.headers.get(ETAG)
    }

    pub(crate) fn modified(&self) -> Option<&HeaderValue> {
        self.headers.get(LAST_MODIFIED)
    }

    /// The answer to a request of this method with these headers.
    pub(crate) fn respond(
        &self,
        method: &Method,
        request: &Headers,
        served: Served,
        now: Moment,
    ) -> Response {
        let length = self.body.len() as u64;
        let verdict = if self.status == StatusCode::OK {
            let text =
                |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok().map(str::to_owned));
            let (etag, modified) = (text(self.etag()), text(self.modified()));
            let modified = modified.and_then(|date| httpdate::parse_http_date(&date).ok());
            judge(method, request, &Representation { etag: etag.as_deref(), modified, length })
        } else {
            Verdict::Whole
        };
        let mut headers = self.headers.clone();
        let (status, body) = match &verdict {
            Verdict::Whole => (self.status, self.body.clone()),
            Verdict::Part(part) => {
                headers.insert(CONTENT_RANGE, content_range(Some(part), length));
                (StatusCode::PARTIAL_CONTENT, self.body.slice(part.start as usize..part.end as usize))
            }
            Verdict::NotModified => (StatusCode::NOT_MODIFIED, Bytes::new()),
            Verdict::Failed => (StatusCode::PRECONDITION_FAILED, Bytes::new()),
            Verdict::Unsatisfiable => {
                headers.insert(CONTENT_RANGE, content_range(None, length));
                (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
            }
        };
        match verdict {
            Verdict::Whole | Verdict::Part(_) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            _ => {
                headers.remove(CONTENT_LENGTH);
            }
        }
        headers.insert(AGE, HeaderValue::from(self.age(now).as_secs()));
        let (word, more) = match served {
            Served::Fresh => ("HIT", format!("hit; ttl={}", self.fresh_for(now).as_secs())),
            Served::Stale => ("STALE", format!("hit; ttl=-{}", self.stale_for(now).as_secs())),
            Served::Confirmed => ("HIT", "fwd=stale; fwd-status=304".to_owned()),
        };
        mark(&mut headers, word, &more);
        let mut response =
            Response::new(if *method == Method::HEAD { Body::empty() } else { Body::full(body) });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The entry as the headers of a newer answer make it, which has the same body (RFC 9111 section 3.2). How
    /// long it stays good is to be decided anew.
    pub(crate) fn renewed(&self, newer: &Headers, at: Moment) -> Self {
        let mut headers = self.headers.clone();
        // They were about the older answer, whatever the newer one says of itself.
        headers.remove(AGE);
        headers.remove(DATE);
        for name in newer.keys() {
            // What describes the body stays with the body.
            if [CONTENT_LENGTH, CONTENT_RANGE, CONTENT_ENCODING].contains(name) {
                continue;
            }
            headers.remove(name);
            for value in newer.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let (status, body, varies) = (self.status, self.body.clone(), self.varies.clone());
        Self { status, headers, body, at, initial_age: Duration::ZERO, lifetime: self.lifetime, varies }
    }
}

/// Says how the cache came to an answer: Skipper's word for it, and RFC 9211's.
pub(crate) fn mark(headers: &mut Headers, word: &'static str, more: &str) {
    headers.insert("x-cache-status", HeaderValue::from_static(word));
    if let Ok(value) = HeaderValue::try_from(format!("tombolo; {more}")) {
        headers.insert("cache-status", value);
    }
}

/// What an answer with these headers varies with, and what the request had there; `None` if that can't be
/// told, or is too much.
pub(crate) fn varies(headers: &Headers, request: &Headers) -> Option<Vec<(HeaderName, Vec<HeaderValue>)>> {
    let mut varies = Vec::new();
    for value in headers.get_all(VARY) {
        for name in value.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            // `*` is no name, so it ends here too: nobody can tell what that varies with.
            let name = HeaderName::try_from(name).ok().filter(|_| name != "*")?;
            if varies.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if varies.len() >= VARIES_MAX {
                return None;
            }
            let values = request.get_all(&name).cloned().collect();
            varies.push((name, values));
        }
    }
    Some(varies)
}

/// Reads what the keeping of an answer depends on.
pub(crate) fn facts(status: StatusCode, headers: &Headers) -> Facts {
    let date = |name: HeaderName| {
        let text = headers.get(name)?.to_str().ok()?;
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(UNIX_EPOCH).unwrap_or_default())
    };
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).and_then(|age| age.trim().parse().ok());
    Facts {
        status: status.as_u16(),
        directives: directives(headers),
        expires: headers.contains_key(EXPIRES).then(|| date(EXPIRES).unwrap_or_default()),
        date: date(DATE),
        modified: date(LAST_MODIFIED),
        age: Duration::from_secs(age.unwrap_or(0).min(1 << 31)),
        has_validator: headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED),
        sets_cookie: headers.contains_key(SET_COOKIE),
        ..Facts::default()
    }
}

/// The directives of a message.
pub(crate) fn directives(headers: &Headers) -> Directives {
    Directives::read(headers.get_all(CACHE_CONTROL).filter_map(|value| value.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> Headers {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_answer_varies_with_what_it_says() {
        let request = headers(&[("accept", "a"), ("x-lang", "it")]);
        let with = |vary: &str| varies(&headers(&[("vary", vary)]), &request);
        assert_eq!(with("Accept, X-Lang,accept").unwrap().len(), 2);
        assert!(with("*").is_none() && with("accept, *").is_none() && with("a b").is_none());
        let many: Vec<String> = (0..=VARIES_MAX).map(|number| format!("x-{number}")).collect();
        assert!(with(&many.join(",")).is_none());
    }

    #[test]
    fn what_the_headers_say_is_read_for_the_decision() {
        let read = facts(
            StatusCode::OK,
            &headers(&[
                ("cache-control", "max-age=5"),
                ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
                ("expires", "never"),
                ("age", "7"),
                ("etag", "\"a\""),
            ]),
        );
        assert_eq!(
            (read.date, read.expires),
            (Some(Duration::from_secs(1_700_000_000)), Some(Duration::ZERO))
        );
        assert_eq!((read.age.as_secs(), read.has_validator, read.sets_cookie), (7, true, false));
    }
}
