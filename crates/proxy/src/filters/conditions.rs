//! What a request's conditions and its `Range` make of a representation we have (RFC 9110 sections 13 and 14):
//! all of it, a part, or word that the client has it already. Decides only; others answer.

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderValue, Method};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::Headers;

/// A representation, as its headers tell it.
pub(crate) struct Representation<'a> {
    /// Its `ETag`, quotes included.
    pub(crate) etag: Option<&'a str>,
    /// When it was last changed.
    pub(crate) modified: Option<SystemTime>,
    /// How many bytes it has.
    pub(crate) length: u64,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 200 and everything.
    Whole,
    /// 206 and these bytes.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Unsatisfiable,
}

/// What to answer to a request of this method with these headers. Of several ranges none is given: a server
/// may leave a Range out (RFC 9110 section 14.2).
pub(crate) fn judge(method: &Method, headers: &Headers, has: &Representation<'_>) -> Verdict {
    let reads = *method == Method::GET || *method == Method::HEAD;
    // RFC 9110 section 13.2.2, in its order.
    if headers.contains_key(IF_MATCH) {
        if !listed(headers, IF_MATCH, has.etag, strongly) {
            return Verdict::Failed;
        }
    } else if let (Some(since), Some(modified)) = (date(headers, IF_UNMODIFIED_SINCE), has.modified)
        && seconds(modified) > seconds(since)
    {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if listed(headers, IF_NONE_MATCH, has.etag, weakly) {
            return if reads { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if reads
        && let (Some(since), Some(modified)) = (date(headers, IF_MODIFIED_SINCE), has.modified)
        && seconds(modified) <= seconds(since)
    {
        return Verdict::NotModified;
    }
    match headers.get(RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) if *method == Method::GET && range_counts(headers, has) => part(range, has.length),
        _ => Verdict::Whole,
    }
}

/// Whether `If-Range` lets the range count: its `ETag` is ours, or its date is exactly ours.
fn range_counts(headers: &Headers, has: &Representation<'_>) -> bool {
    let Some(condition) = headers.get(IF_RANGE) else { return true };
    let text = condition.to_str().unwrap_or_default();
    if text.starts_with('"') || text.starts_with("W/") {
        return has.etag.is_some_and(|etag| strongly(etag, text));
    }
    matches!((httpdate::parse_http_date(text), has.modified), (Ok(date), Some(modified)) if seconds(date) == seconds(modified))
}

/// The bytes of a `Range` of one part.
fn part(range: &str, length: u64) -> Verdict {
    let Some((unit, set)) = range.split_once('=') else { return Verdict::Whole };
    let set = set.trim();
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Verdict::Whole;
    }
    let Some((first, last)) = set.split_once('-') else { return Verdict::Whole };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number too large for us is larger than any length.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let bytes = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        // What is no range is as if it were not there (RFC 9110 section 14.1.1).
        _ => return Verdict::Whole,
    };
    if bytes.is_empty() { Verdict::Unsatisfiable } else { Verdict::Part(bytes) }
}

/// Whether an `ETag` is in a list of them, or the list is `*` and there is something.
fn listed(
    headers: &Headers,
    name: http::HeaderName,
    etag: Option<&str>,
    same: fn(&str, &str) -> bool,
) -> bool {
    headers.get_all(name).filter_map(|value| value.to_str().ok()).any(|list| {
        list.trim() == "*" || etag.is_some_and(|etag| tags(list).any(|listed| same(etag, listed)))
    })
}

/// The ETags of a list; commas may stand within them.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let quote = if rest.starts_with("W/\"") { 2 } else { 0 };
        if rest.as_bytes().get(quote) != Some(&b'"') {
            return None;
        }
        let end = rest[quote + 1..].find('"')? + quote + 2;
        let (tag, behind) = rest.split_at(end);
        rest = behind;
        Some(tag)
    })
}

fn strongly(one: &str, other: &str) -> bool {
    !one.starts_with("W/") && one == other
}

fn weakly(one: &str, other: &str) -> bool {
    one.strip_prefix("W/").unwrap_or(one) == other.strip_prefix("W/").unwrap_or(other)
}

fn date(headers: &Headers, name: http::HeaderName) -> Option<SystemTime> {
    headers.get(name)?.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// `Content-Range` of a part, or of none (RFC 9110 section 14.4).
pub(crate) fn content_range(part: Option<&Range<u64>>, length: u64) -> HeaderValue {
    let text = match part {
        Some(part) => format!("bytes {}-{}/{length}", part.start, part.end - 1),
        None => format!("bytes */{length}"),
    };
    HeaderValue::try_from(text).expect("digits and dashes are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

    #[track_caller]
    fn check(request: &[(&'static str, &str)], expected: Verdict) {
        let mut headers = Headers::new();
        for (name, value) in request {
            headers.append(*name, value.parse().unwrap());
        }
        let modified = Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_500));
        let has = Representation { etag: Some("\"a,b\""), modified, length: 1000 };
        assert_eq!(judge(&Method::GET, &headers, &has), expected, "{request:?}");
    }

    #[test]
    fn conditions_count_in_the_order_of_the_standard() {
        check(&[], Verdict::Whole);
        check(&[("if-none-match", "\"x\", W/\"a,b\"")], Verdict::NotModified);
        check(&[("if-none-match", "*")], Verdict::NotModified);
        check(&[("if-none-match", "\"x\""), ("if-modified-since", DAY)], Verdict::Whole);
        check(&[("if-modified-since", DAY)], Verdict::NotModified);
        check(&[("if-modified-since", "Tue, 14 Nov 2023 22:13:19 GMT")], Verdict::Whole);
        check(&[("if-modified-since", "yesterday")], Verdict::Whole);
        check(&[("if-match", "\"x\"")], Verdict::Failed);
        check(&[("if-match", "W/\"a,b\"")], Verdict::Failed);
        check(&[("if-match", "\"x\", \"a,b\"")], Verdict::Whole);
        check(&[("if-unmodified-since", DAY)], Verdict::Whole);
        check(&[("if-unmodified-since", "Tue, 14 Nov 2023 22:13:19 GMT")], Verdict::Failed);
    }

    #[test]
    fn a_range_is_one_part_of_what_is_there() {
        let range = |range: &str, expected| check(&[("range", range)], expected);
        range("bytes=0-9", Verdict::Part(0..10));
        range("bytes=990-", Verdict::Part(990..1000));
        range("bytes=-10", Verdict::Part(990..1000));
        range("bytes=-5000", Verdict::Part(0..1000));
        range("bytes=5-99999999999999999999999", Verdict::Part(5..1000));
        range("bytes=1000-", Verdict::Unsatisfiable);
        range("bytes=-0", Verdict::Unsatisfiable);
        for none in ["bytes=9-3", "bytes=a-b", "bytes=+1-2", "bytes=0-1,5-6", "lines=0-1", "bytes", "bytes=-"]
        {
            range(none, Verdict::Whole);
        }
        check(&[("range", "bytes=0-9"), ("if-range", "\"a,b\"")], Verdict::Part(0..10));
        check(&[("range", "bytes=0-9"), ("if-range", "W/\"a,b\"")], Verdict::Whole);
        check(&[("range", "bytes=0-9"), ("if-range", DAY)], Verdict::Part(0..10));
        check(&[("range", "bytes=0-9"), ("if-range", "Tue, 14 Nov 2023 22:13:21 GMT")], Verdict::Whole);
        check(&[("range", "bytes=0-9"), ("if-none-match", "\"a,b\"")], Verdict::NotModified);
        assert_eq!(content_range(Some(&(0..10)), 1000), "bytes 0-9/1000");
        assert_eq!(content_range(None, 1000), "bytes */1000");
    }
}
