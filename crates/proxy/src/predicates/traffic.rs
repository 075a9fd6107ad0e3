//! Predicates that take a share of the traffic, and those for traffic that was marked on its way.

use super::header::find_cookie;
use super::{Built, Predicate, PredicateEnv, PredicateSpec, Unfit, check};
use crate::args::Args;
use crate::lookup::clean;
use crate::net::baggage;
use crate::question::Question;

/// The header that marks a copy of a request, written for the filter `teeLoopback`.
const TEE_HEADER: &str = "x-tee-loopback-key";

pub(super) static TRAFFIC: PredicateSpec = PredicateSpec {
    name: "Traffic",
    args: "share[, cookie, group]",
    docs: "Matches a share of the requests, between 0 and 1. With a cookie's name and a group, a request \
           that has the cookie matches if its value is the group; chance decides for the others only, so \
           that clients stay where they are.",
    example: r#"Traffic(0.1, "group", "canary")"#,
    matches: &["GET /\n@random 0.05", "GET /\nCookie: group=canary\n@random 0.5"],
    refuses: &["GET /\n@random 0.1", "GET /\nCookie: group=main\n@random 0.05"],
    weight_extra: 0,
    build: traffic,
};

pub(super) static TRAFFIC_SEGMENT: PredicateSpec = PredicateSpec {
    name: "TrafficSegment",
    args: "from, to",
    docs: "Matches the requests whose random number, one in [0, 1) for each request, is at least the first \
           bound and below the second. Neighbouring segments share the number, so they split the traffic \
           without gap or overlap. Weighs nothing.",
    example: "TrafficSegment(0.5, 0.8)",
    matches: &["GET /\n@random 0.5", "GET /\n@random 0.79"],
    refuses: &["GET /\n@random 0.49", "GET /\n@random 0.8"],
    weight_extra: -1,
    build: traffic_segment,
};

pub(super) static TEE: PredicateSpec = PredicateSpec {
    name: "Tee",
    args: "label",
    docs: "Matches the copies of requests that the filter `teeLoopback` made with this label.",
    example: r#"Tee("shadow")"#,
    matches: &["GET /\nX-Tee-Loopback-Key: shadow"],
    refuses: &["GET /\nX-Tee-Loopback-Key: other", "GET /"],
    weight_extra: 0,
    build: tee,
};

pub(super) static OTEL_BAGGAGE: PredicateSpec = PredicateSpec {
    name: "OTelBaggage",
    args: "key[, value]",
    docs: "Matches if the W3C `baggage` header has a member of this key and, if one is given, of this value.",
    example: r#"OTelBaggage("tenant", "blue sky")"#,
    matches: &["GET /\nbaggage: a=b, tenant=blue%20sky;prop=1"],
    refuses: &["GET /\nbaggage: tenant=red", "GET /\nbaggage: a=b;tenant=blue%20sky"],
    weight_extra: 0,
    build: otel_baggage,
};

struct Traffic {
    share: f64,
    sticky: Option<Sticky>,
}

struct Sticky {
    cookie: Box<str>,
    group: Box<str>,
}

struct TrafficSegment {
    from: f64,
    to: f64,
}

struct Tee(Box<[u8]>);

struct Baggage {
    key: Box<str>,
    value: Option<Box<str>>,
}

fn share(args: &mut Args<'_>, what: &str) -> Result<f64, String> {
    let share = args.number(what)?;
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("{share} ({what}) is not between 0 and 1"));
    }
    Ok(share)
}

fn traffic(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let share = share(args, "share")?;
    let sticky = args.optional(|args| {
        let (cookie, group) = (args.text("name of a cookie")?, args.text("group")?);
        // The original takes an empty group for no group.
        Ok((!group.is_empty()).then(|| Sticky { cookie: cookie.into(), group: group.into() }))
    })?;
    args.end()?;
    Ok(check(Traffic { share, sticky: sticky.flatten() }))
}

fn traffic_segment(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let (from, to) = (share(args, "lower bound")?, share(args, "upper bound")?);
    args.end()?;
    if from > to {
        return Err(Unfit {
            why: format!("the segment from {from} to {to} is backwards"),
            original: "invalid range",
        });
    }
    Ok(check(TrafficSegment { from, to }))
}

fn tee(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let label = args.text("label")?;
    args.end()?;
    Ok(check(Tee(label.as_bytes().into())))
}

fn otel_baggage(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let key = args.text("key")?.into();
    let value = args.optional(|args| args.text("value"))?.map(Into::into);
    args.end()?;
    Ok(check(Baggage { key, value }))
}

impl Predicate for Traffic {
    fn matches(&self, question: &Question<'_>) -> bool {
        let cookie = self.sticky.as_ref().and_then(|sticky| {
            find_cookie(question.headers, &sticky.cookie).map(|value| value == &*sticky.group)
        });
        cookie.unwrap_or_else(|| question.draw() < self.share)
    }
}

impl Predicate for TrafficSegment {
    fn matches(&self, question: &Question<'_>) -> bool {
        (self.from..self.to).contains(&question.segment())
    }
}

impl Predicate for Tee {
    fn matches(&self, question: &Question<'_>) -> bool {
        question
            .headers
            .get(TEE_HEADER)
            .is_some_and(|label| !label.is_empty() && label.as_bytes() == &*self.0)
    }
}

impl Predicate for Baggage {
    fn matches(&self, question: &Question<'_>) -> bool {
        let mut of_key = baggage(question.headers).filter(|(key, _)| *key == &*self.key);
        match &self.value {
            // `+` is itself in baggage, so it must not become a space.
            Some(wanted) => of_key.any(|(_, value)| clean::unescape(&value.replace('+', "%2B")) == **wanted),
            None => of_key.next().is_some(),
        }
    }
}
