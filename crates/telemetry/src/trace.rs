//! Where a request stands in its trace, read from the headers it brings and written to those it takes
//! along: W3C Trace Context (level 1 and 2), and B3 in both its forms.

mod b3;
mod state;

use base::{Chance, SpanId, TraceId};
use http::{HeaderName, HeaderValue};
use wire::Headers;

/// Names a span and its trace (W3C Trace Context section 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of a `traceparent` of version 00: `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;

/// The span of one request, within its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its own span.
    pub span: SpanId,
    /// The caller's span; none if the trace began here.
    pub parent: Option<SpanId>,
    /// Whether the caller wants the trace recorded; a trace that begins here is.
    pub sampled: bool,
}

/// What a caller says of the trace: the whole, or only whether to record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    Span { trace: TraceId, span: SpanId, sampled: bool },
    Sampled(bool),
}

/// Which headers about traces there are: found in one pass over the names, since most requests have none.
#[derive(Clone, Copy, Default)]
struct Told {
    parent: bool,
    state: bool,
    b3: bool,
}

impl Told {
    fn by(headers: &Headers) -> Self {
        let mut told = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "traceparent" => told.parent = true,
                "tracestate" => told.state = true,
                "b3" => told.b3 = true,
                name => told.b3 |= name.starts_with("x-b3-"),
            }
        }
        told
    }

    fn anything(self) -> bool {
        self.parent || self.b3
    }
}

impl TraceContext {
    /// The first span of a new trace.
    pub fn begin(chance: &Chance) -> Self {
        let (trace, span) = TraceId::begin(chance);
        Self { trace, span, parent: None, sampled: true }
    }

    /// A new span of the trace these headers tell of, or of a new trace if they tell of none. `traceparent`
    /// goes before `b3`, `b3` before `X-B3-*`; what is malformed counts as absent.
    pub fn from_headers(headers: &Headers, chance: &Chance) -> Self {
        if !Told::by(headers).anything() {
            return Self::begin(chance);
        }
        match read_traceparent(headers).or_else(|| b3::read(headers)) {
            Some(Incoming::Span { trace, span, sampled }) => {
                Self { trace, span: SpanId::draw(chance), parent: Some(span), sampled }
            }
            Some(Incoming::Sampled(sampled)) => Self { sampled, ..Self::begin(chance) },
            None => Self::begin(chance),
        }
    }

    /// A new span below this one: another attempt, or a mirrored request.
    pub fn child(&self, chance: &Chance) -> Self {
        Self { span: SpanId::draw(chance), parent: Some(self.span), ..*self }
    }

    /// What becomes of headers when this span goes on with them, besides `traceparent`: B3 is set in the form that
    /// is there. A valid `tracestate` of the same trace stays; any other is removed, as W3C Trace Context
    /// section 3.3 asks.
    pub fn changes(&self, headers: &Headers, changes: &mut Vec<(HeaderName, Option<HeaderValue>)>) {
        let told = Told::by(headers);
        if told.state && !self.may_keep_state(headers) {
            changes.push((TRACESTATE, None));
        }
        if told.b3 {
            b3::changes(self, headers, changes);
        }
    }

    /// The value of `traceparent` that names this span.
    pub fn traceparent(&self) -> [u8; LENGTH] {
        let mut text = *b"00-................................-................-0.";
        text[3..35].copy_from_slice(&self.trace.to_hex());
        text[36..52].copy_from_slice(&self.span.to_hex());
        text[LENGTH - 1] = b'0' + u8::from(self.sampled);
        text
    }

    fn may_keep_state(&self, headers: &Headers) -> bool {
        let of = |incoming| matches!(incoming, Incoming::Span { trace, .. } if trace == self.trace);
        read_traceparent(headers).is_some_and(of) && state::is_valid(headers.get_all(&TRACESTATE))
    }
}

/// Reads `traceparent`; several of them count as none.
fn read_traceparent(headers: &Headers) -> Option<Incoming> {
    let mut values = headers.get_all(TRACEPARENT);
    let (only, None) = (values.next()?, values.next()) else {
        return None;
    };
    parse_traceparent(only.to_str().ok()?)
}

fn parse_traceparent(text: &str) -> Option<Incoming> {
    let text = text.trim_matches([' ', '\t']);
    let head = text.get(..LENGTH)?.as_bytes();
    let dashes = [2, 35, 52];
    let formed = head.iter().enumerate().all(|(at, byte)| match byte {
        b'-' => dashes.contains(&at),
        // Upper case is not allowed.
        b'0'..=b'9' | b'a'..=b'f' => !dashes.contains(&at),
        _ => false,
    });
    // A later version may have more, after another dash; this one may not.
    let rest = &text[LENGTH..];
    let rest_is_fine = rest.is_empty() || (!text.starts_with("00") && rest.starts_with('-'));
    if !formed || !rest_is_fine || text.starts_with("ff") {
        return None;
    }
    Some(Incoming::Span {
        trace: TraceId::parse(&text[3..35])?,
        span: SpanId::parse(&text[36..52])?,
        sampled: u8::from_str_radix(&text[53..55], 16).ok()? & 1 == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn map(headers: &[(&'static str, &str)]) -> Headers {
        headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .fold(Headers::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    /// What these headers become on their way through.
    fn check(headers: &[(&'static str, &str)], expected: &Expect) {
        let mut headers = map(headers);
        let mut changes = Vec::new();
        let context = TraceContext::from_headers(&headers, &Chance::seeded(1));
        context.changes(&headers, &mut changes);
        headers.insert(TRACEPARENT, HeaderValue::from_bytes(&context.traceparent()).unwrap());
        for (name, value) in changes {
            match value {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
        let lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
        expected.assert_eq(&lines.concat());
    }

    const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";

    #[test]
    fn a_trace_begins_where_there_is_none() {
        check(
            &[],
            &expect![[r"
            traceparent: 00-910a2dec89025cc1beeb8da1658eec67-f893a2eefb32555e-01
        "]],
        );
    }

    #[test]
    fn a_trace_goes_on_with_a_new_span_and_keeps_its_state() {
        check(
            &[("traceparent", PARENT), ("tracestate", "foo=1,bar=2"), ("tracestate", "baz=3")],
            &expect![[r"
            traceparent: 00-12345678901234567890123456789012-910a2dec89025cc1-01
            tracestate: foo=1,bar=2
            tracestate: baz=3
        "]],
        );
    }

    #[test]
    fn a_state_that_is_malformed_or_without_its_trace_is_dropped() {
        check(
            &[("traceparent", PARENT), ("tracestate", "foo=1,bar=2"), ("tracestate", " b@z = x ")],
            &expect![[r"
            traceparent: 00-12345678901234567890123456789012-910a2dec89025cc1-01
        "]],
        );
        check(
            &[("tracestate", "foo=1")],
            &expect![[r"
            traceparent: 00-910a2dec89025cc1beeb8da1658eec67-f893a2eefb32555e-01
        "]],
        );
        check(
            &[("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "foo=1")],
            &expect![[r"
            traceparent: 00-910a2dec89025cc1beeb8da1658eec67-f893a2eefb32555e-01
        "]],
        );
    }

    #[test]
    fn only_well_formed_parents_count() {
        let known = |text: &str| parse_traceparent(text).is_some();
        for good in [
            PARENT.to_owned(),
            format!("\t {PARENT} \t"),
            PARENT.replacen("00", "cc", 1),
            format!("{}-what-the-future-will-be-like", PARENT.replacen("00", "cc", 1)),
            PARENT.replacen("-01", "-ff", 1),
        ] {
            assert!(known(&good), "{good}");
        }
        for bad in [
            String::new(),
            format!("{PARENT}."),
            format!("{PARENT}-more"),
            format!("{}.more", PARENT.replacen("00", "cc", 1)),
            PARENT.replacen("00", "ff", 1),
            PARENT.replacen("00", "0.", 1),
            PARENT.replacen("00", "000", 1),
            PARENT.replacen("00", "0", 1),
            PARENT.replace("12345678901234567890123456789012", "00000000000000000000000000000000"),
            PARENT.replace("12345678901234567890123456789012", "1234567890123456789012345678901."),
            PARENT.replace("12345678901234567890123456789012", "1234567890123456789012345678901A"),
            PARENT.replace("-1234567890123456-", "-0000000000000000-"),
            PARENT.replace("-1234567890123456-", "-123456789012345-"),
            PARENT.replace("-01", "-1"),
            PARENT.replace("-01", "-0."),
            PARENT.replace("-01", "-001"),
            PARENT.replace("123456-01", "12345é-01"),
        ] {
            assert!(!known(&bad), "{bad}");
        }
    }

    #[test]
    fn the_sampled_flag_is_the_last_bit() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let headers = map(&[("traceparent", &PARENT.replace("-01", &format!("-{flags}")))]);
            let context = TraceContext::from_headers(&headers, &Chance::seeded(1));
            assert_eq!(context.sampled, sampled, "{flags}");
            assert_eq!(context.child(&Chance::seeded(2)).parent, Some(context.span));
        }
    }

    #[test]
    fn b3_is_read_in_both_forms_and_written_in_the_one_it_came_in() {
        check(
            &[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90")],
            &expect![[r"
            b3: 80f198ee56343ba864fe8b2a57d3eff7-910a2dec89025cc1-1-e457b5a2e4d86bd1
            traceparent: 00-80f198ee56343ba864fe8b2a57d3eff7-910a2dec89025cc1-01
        "]],
        );
        check(
            &[
                ("x-b3-traceid", "64fe8b2a57d3eff7"),
                ("x-b3-spanid", "e457b5a2e4d86bd1"),
                ("x-b3-sampled", "0"),
            ],
            &expect![[r"
                x-b3-traceid: 000000000000000064fe8b2a57d3eff7
                x-b3-spanid: 910a2dec89025cc1
                x-b3-sampled: 0
                traceparent: 00-000000000000000064fe8b2a57d3eff7-910a2dec89025cc1-00
                x-b3-parentspanid: e457b5a2e4d86bd1
            "]],
        );
    }

    #[test]
    fn traceparent_goes_before_b3_and_both_agree_afterwards() {
        check(
            &[("traceparent", PARENT), ("b3", "0")],
            &expect![[r"
            traceparent: 00-12345678901234567890123456789012-910a2dec89025cc1-01
            b3: 12345678901234567890123456789012-910a2dec89025cc1-1-1234567890123456
        "]],
        );
    }
}
