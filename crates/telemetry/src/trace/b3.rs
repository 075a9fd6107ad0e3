//! B3 propagation as Zipkin's instrumentation does it: the single header `b3` and the older `X-B3-*`
//! headers. The single one wins; what is malformed is ignored.

use super::{Incoming, TraceContext};
use base::{SpanId, TraceId};
use http::HeaderName;
use wire::Headers;

pub(super) static SINGLE: HeaderName = HeaderName::from_static("b3");
pub(super) static TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
pub(super) static SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
pub(super) static PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
pub(super) static SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
static FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

pub(super) fn read(headers: &Headers) -> Option<Incoming> {
    text(headers, &SINGLE).and_then(parse_single).or_else(|| read_multi(headers))
}

/// The most bytes of the single header: `<32 hex>-<16 hex>-<1>-<16 hex>`.
pub(super) const BYTES_MAX: usize = 68;

/// The single header, and how long it is; the values of the others are its parts.
pub(super) fn single(context: &TraceContext) -> ([u8; BYTES_MAX], usize) {
    let mut text = [b'-'; BYTES_MAX];
    text[..32].copy_from_slice(&context.trace.to_hex());
    text[33..49].copy_from_slice(&context.span.to_hex());
    text[50] = b'0' + u8::from(context.sampled);
    match context.parent {
        None => (text, 51),
        Some(parent) => {
            text[52..].copy_from_slice(&parent.to_hex());
            (text, BYTES_MAX)
        }
    }
}

/// `<trace>-<span>[-<sampled>[-<parent>]]`, or the sampling state alone.
fn parse_single(text: &str) -> Option<Incoming> {
    let mut parts = text.splitn(5, '-');
    let (first, second) = (parts.next()?, parts.next());
    let Some(span) = second else {
        return parse_sampled(first).map(Incoming::Sampled);
    };
    let sampled = match parts.next() {
        None => None,
        Some(state) => Some(parse_sampled(state)?),
    };
    if let Some(parent) = parts.next() {
        SpanId::parse(parent)?;
    }
    match parts.next() {
        None => Some(Incoming::Span { trace: parse_trace(first)?, span: SpanId::parse(span)?, sampled }),
        Some(_) => None,
    }
}

fn read_multi(headers: &Headers) -> Option<Incoming> {
    // Debug implies that the trace is accepted.
    let debug = text(headers, &FLAGS) == Some("1");
    let sampled = if debug { Some(true) } else { text(headers, &SAMPLED).and_then(parse_sampled) };
    let ids = text(headers, &TRACE).and_then(parse_trace).zip(text(headers, &SPAN).and_then(SpanId::parse));
    match ids {
        Some((trace, span)) => Some(Incoming::Span { trace, span, sampled }),
        None => sampled.map(Incoming::Sampled),
    }
}

fn parse_sampled(text: &str) -> Option<bool> {
    match text {
        // The words are not in the specification, but in the field.
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// A trace id of 128 bits, or of 64, which are its lower half.
fn parse_trace(text: &str) -> Option<TraceId> {
    let mut whole = [b'0'; 32];
    match text.len() {
        32 => return TraceId::parse(text),
        16 => whole[16..].copy_from_slice(text.as_bytes()),
        _ => return None,
    }
    TraceId::parse(std::str::from_utf8(&whole).ok()?)
}

fn text<'a>(headers: &'a Headers, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const TRACE_TEXT: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN_TEXT: &str = "e457b5a2e4d86bd1";

    #[test]
    fn the_single_header_has_optional_parts() {
        let show = |text: &str| match parse_single(&text.replace('T', TRACE_TEXT).replace('S', SPAN_TEXT)) {
            None => "ignored".to_owned(),
            Some(Incoming::Sampled(sampled)) => format!("sampled {sampled}"),
            Some(Incoming::Span { trace, sampled: Some(sampled), .. }) => format!("{trace} {sampled}"),
            Some(Incoming::Span { trace, sampled: None, .. }) => format!("{trace} undecided"),
        };
        let (yes, no) = (format!("{TRACE_TEXT} true"), format!("{TRACE_TEXT} false"));
        let open = format!("{TRACE_TEXT} undecided");
        for (text, shown) in [
            ("0", "sampled false"),
            ("d", "sampled true"),
            ("T-S", &open),
            ("T-S-0", &no),
            ("T-S-d", &yes),
            ("T-S-true-S", &yes),
            ("64fe8b2a57d3eff7-S-0", "000000000000000064fe8b2a57d3eff7 false"),
            ("", "ignored"),
            ("T", "ignored"),
            ("T-", "ignored"),
            ("T-S-2", "ignored"),
            ("T-S-1-parent", "ignored"),
            ("T-S-1-S-more", "ignored"),
            ("0000000000000000-S", "ignored"),
            ("éééééééé-S", "ignored"),
        ] {
            assert_eq!(show(text), shown, "{text}");
        }
    }

    #[test]
    fn many_headers_may_say_only_whether_to_sample() {
        let read = |headers: &[(&HeaderName, &'static str)]| {
            let map: Headers = headers
                .iter()
                .map(|(name, value)| ((*name).clone(), HeaderValue::from_static(value)))
                .collect();
            super::read(&map)
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[(&SAMPLED, "false")]), Some(Incoming::Sampled(false)));
        assert_eq!(read(&[(&SAMPLED, "0"), (&FLAGS, "1")]), Some(Incoming::Sampled(true)));
        assert_eq!(read(&[(&TRACE, TRACE_TEXT), (&SAMPLED, "0")]), Some(Incoming::Sampled(false)), "no span");
        assert!(matches!(
            read(&[(&TRACE, TRACE_TEXT), (&SPAN, SPAN_TEXT)]),
            Some(Incoming::Span { sampled: None, .. })
        ));
        assert_eq!(
            read(&[(&SINGLE, "0"), (&SAMPLED, "1")]),
            Some(Incoming::Sampled(false)),
            "the single one wins"
        );
    }
}
