//! Where a request stands in its trace, read from the headers it brings and written to those it takes
//! along: W3C Trace Context (level 1 and 2), and B3 in both its forms.

mod b3;
mod fields;
mod state;

pub use fields::{Fields, Propagation};

use base::{Chance, SpanId, TraceId};
use http::{HeaderName, HeaderValue};
use wire::Headers;

/// Names a span and its trace (W3C Trace Context section 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of a `traceparent` of version 00: `00-<32 hex>-<16 hex>-<2 hex>`.
pub const TRACEPARENT_BYTES: usize = 55;

/// The span of one request, within its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its own span.
    pub span: SpanId,
    /// The caller's span; none if the trace began here.
    pub parent: Option<SpanId>,
    /// Whether the trace is recorded; one that begins here is, unless somebody decides otherwise.
    pub sampled: bool,
    /// Whether the caller has decided that.
    pub told: bool,
}

/// What a caller says of the trace: the whole, or only whether to record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    Span { trace: TraceId, span: SpanId, sampled: Option<bool> },
    Sampled(bool),
}

/// Which headers about traces there are: found in one pass over the names, since most requests have none.
#[derive(Clone, Copy, Default)]
struct Told {
    parent: bool,
    state: bool,
    b3: bool,
    b3_multi: bool,
}

impl Told {
    fn by(headers: &Headers) -> Self {
        let mut told = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "traceparent" => told.parent = true,
                "tracestate" => told.state = true,
                "b3" => told.b3 = true,
                name => told.b3_multi |= name.starts_with("x-b3-"),
            }
        }
        told
    }

    fn anything(self) -> bool {
        self.parent || self.b3 || self.b3_multi
    }
}

impl TraceContext {
    /// The first span of a new trace.
    pub fn begin(chance: &Chance) -> Self {
        let (trace, span) = TraceId::begin(chance);
        Self { trace, span, parent: None, sampled: true, told: false }
    }

    /// A new span of the trace these headers tell of, or of a new trace if they tell of none. `traceparent`
    /// goes before `b3`, `b3` before `X-B3-*`; what is malformed counts as absent.
    pub fn from_headers(headers: &Headers, chance: &Chance) -> Self {
        if !Told::by(headers).anything() {
            return Self::begin(chance);
        }
        match read_traceparent(headers).or_else(|| b3::read(headers)) {
            Some(incoming) => Self::following(incoming, chance),
            None => Self::begin(chance),
        }
    }

    /// A new span below this one: another attempt, or a mirrored request.
    pub fn child(&self, chance: &Chance) -> Self {
        Self { span: SpanId::draw(chance), parent: Some(self.span), ..*self }
    }

    /// Decides whether the trace is recorded if the caller has not: this share of all traces is, and the same of
    /// them wherever the same share is asked for.
    pub fn decide(&mut self, share: f64) {
        if !self.told {
            // As Zipkin does it: the last bits of an id are by chance, so that their size is.
            self.sampled = share >= 1.0 || (self.trace.low() as f64) < share * 2f64.powi(64);
        }
    }

    /// A new span below the one that a `traceparent` names; none where it is malformed.
    pub fn below(traceparent: &str, chance: &Chance) -> Option<Self> {
        parse_traceparent(traceparent).map(|incoming| Self::following(incoming, chance))
    }

    fn following(incoming: Incoming, chance: &Chance) -> Self {
        match incoming {
            Incoming::Span { trace, span, sampled } => Self {
                trace,
                span: SpanId::draw(chance),
                parent: Some(span),
                sampled: sampled.unwrap_or(true),
                told: sampled.is_some(),
            },
            Incoming::Sampled(sampled) => Self { sampled, told: true, ..Self::begin(chance) },
        }
    }

    /// What becomes of headers when this span goes on with them: the fields that name it, in the forms that are asked
    /// for and in those that are there. A valid `tracestate` of the same trace stays; any other goes to `changes`, as
    /// W3C Trace Context section 3.3 asks.
    pub fn fields(
        &self,
        headers: &Headers,
        how: Propagation,
        changes: &mut Vec<(HeaderName, Option<HeaderValue>)>,
    ) -> Fields {
        let told = Told::by(headers);
        if told.state && !self.may_keep_state(headers) {
            changes.push((TRACESTATE, None));
        }
        if told.b3_multi && self.parent.is_none() {
            changes.push((b3::PARENT.clone(), None));
        }
        Fields::new(self, told, how)
    }

    /// The value of `traceparent` that names this span.
    pub fn traceparent(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-................................-................-0.";
        text[3..35].copy_from_slice(&self.trace.to_hex());
        text[36..52].copy_from_slice(&self.span.to_hex());
        text[TRACEPARENT_BYTES - 1] = b'0' + u8::from(self.sampled);
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
    let head = text.get(..TRACEPARENT_BYTES)?.as_bytes();
    let dashes = [2, 35, 52];
    let formed = head.iter().enumerate().all(|(at, byte)| match byte {
        b'-' => dashes.contains(&at),
        // Upper case is not allowed.
        b'0'..=b'9' | b'a'..=b'f' => !dashes.contains(&at),
        _ => false,
    });
    // A later version may have more, after another dash; this one may not.
    let rest = &text[TRACEPARENT_BYTES..];
    let rest_is_fine = rest.is_empty() || (!text.starts_with("00") && rest.starts_with('-'));
    if !formed || !rest_is_fine || text.starts_with("ff") {
        return None;
    }
    Some(Incoming::Span {
        trace: TraceId::parse(&text[3..35])?,
        span: SpanId::parse(&text[36..52])?,
        sampled: Some(u8::from_str_radix(&text[53..55], 16).ok()? & 1 == 1),
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
        check_written(headers, Propagation::W3c, expected);
    }

    /// The same, where this is what is to be written.
    fn check_written(headers: &[(&'static str, &str)], how: Propagation, expected: &Expect) {
        let mut headers = map(headers);
        let mut changes = Vec::new();
        let context = TraceContext::from_headers(&headers, &Chance::seeded(1));
        let fields = context.fields(&headers, how, &mut changes);
        for (name, value) in fields.list().as_slice() {
            headers.insert((*name).clone(), HeaderValue::from_bytes(value).unwrap());
        }
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

    #[test]
    fn what_is_configured_is_written_beside_what_came() {
        check_written(
            &[],
            Propagation::Both,
            &expect![[r"
            traceparent: 00-910a2dec89025cc1beeb8da1658eec67-f893a2eefb32555e-01
            b3: 910a2dec89025cc1beeb8da1658eec67-f893a2eefb32555e-1
        "]],
        );
        check_written(
            &[("b3", "0")],
            Propagation::B3,
            &expect![[r"
            b3: 910a2dec89025cc1beeb8da1658eec67-f893a2eefb32555e-0
        "]],
        );
        check_written(
            &[("traceparent", PARENT)],
            Propagation::B3Multi,
            &expect![[r"
            traceparent: 00-12345678901234567890123456789012-910a2dec89025cc1-01
            x-b3-traceid: 12345678901234567890123456789012
            x-b3-spanid: 910a2dec89025cc1
            x-b3-sampled: 1
            x-b3-parentspanid: 1234567890123456
        "]],
        );
    }

    #[test]
    fn a_share_of_the_traces_that_nobody_has_decided_about_is_recorded() {
        let chance = Chance::seeded(3);
        let sampled = |share: f64| {
            let decided = |_| {
                let mut context = TraceContext::begin(&chance);
                context.decide(share);
                context.sampled
            };
            (0..10_000).filter(|number| decided(*number)).count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 10_000));
        assert!((900..1100).contains(&sampled(0.1)), "{}", sampled(0.1));
        let told = |headers: &[(&'static str, &str)]| {
            let mut context = TraceContext::from_headers(&map(headers), &chance);
            context.decide(0.0);
            context.sampled
        };
        assert!(told(&[("traceparent", PARENT)]) && told(&[("b3", "1")]));
        let ids = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1";
        assert!(!told(&[("b3", ids)]), "ids alone decide nothing");
    }
}
