//! Predicates that need little or nothing of a request.

use super::{Built, Predicate, PredicateEnv, PredicateSpec, Unfit, check};
use crate::args::Args;
use crate::question::Question;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) static WEIGHT: PredicateSpec = PredicateSpec {
    name: "Weight",
    args: "weight",
    docs: "Adds to the weight of its route; a fraction is cut off. Among routes of one place in the path tree \
           the heaviest is tried first. Without `Weight`, a route weighs as much as it has predicates, \
           `Path`, `PathSubtree`, `TrafficSegment` and `*` not counted.",
    example: r#"Weight(20) && Path("/a")"#,
    matches: &["GET /a"],
    refuses: &["GET /b"],
    weight_extra: 0,
    build: weight,
};

pub(super) static ANY: PredicateSpec = PredicateSpec {
    name: "Any",
    args: "",
    docs: "Matches every request and weighs nothing; the short form is `*`.",
    example: "*",
    matches: &["GET /"],
    refuses: &[],
    weight_extra: 0,
    build: |args, _| nothing(args, Built::Any),
};

pub(super) static TRUE: PredicateSpec = PredicateSpec {
    name: "True",
    args: "",
    docs: "Matches every request, and weighs 1: it gives a route precedence over an equal one.",
    example: "True()",
    matches: &["GET /"],
    refuses: &[],
    weight_extra: 0,
    build: |args, _| nothing(args, check(Always(true))),
};

pub(super) static FALSE: PredicateSpec = PredicateSpec {
    name: "False",
    args: "",
    docs: "Matches no request: it switches a route off without deleting it.",
    example: "False()",
    matches: &[],
    refuses: &["GET /"],
    weight_extra: 0,
    build: |args, _| nothing(args, check(Always(false))),
};

pub(super) static SHUTDOWN: PredicateSpec = PredicateSpec {
    name: "Shutdown",
    args: "",
    docs: "Matches once the gateway has been told to stop and waits for requests under way. A health check \
           answers differently then: `Path(\"/healthz\") && Shutdown() -> status(503) -> <shunt>`.",
    example: "Shutdown()",
    matches: &["GET /\n@shutdown"],
    refuses: &["GET /"],
    weight_extra: 0,
    build: |args, env| nothing(args, check(Shutdown(env.shutdown.clone()))),
};

pub(super) static CONTENT_LENGTH_BETWEEN: PredicateSpec = PredicateSpec {
    name: "ContentLengthBetween",
    args: "least, below",
    docs: "Matches if the announced length of the body, in bytes, is at least the first number and below the \
           second. A request without `Content-Length` that may have a body does not match; one that has \
           none counts as 0.",
    example: "ContentLengthBetween(1, 5000)",
    matches: &["POST /\nContent-Length: 4999"],
    refuses: &["POST /\nContent-Length: 5000", "GET /"],
    weight_extra: 0,
    build: content_length_between,
};

struct Always(bool);

struct Shutdown(Arc<AtomicBool>);

struct ContentLengthBetween {
    least: u64,
    below: u64,
}

fn nothing(args: &mut Args<'_>, built: Built) -> Result<Built, Unfit> {
    args.end()?;
    Ok(built)
}

fn weight(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let weight = args.number("weight")?;
    args.end()?;
    #[expect(clippy::cast_possible_truncation, reason = "a fraction is cut off; what is too large saturates")]
    Ok(Built::Weight(weight as i64))
}

fn content_length_between(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let (least, below) = (args.number("least length")?, args.number("length not reached")?);
    args.end()?;
    if least < 0.0 || least.trunc() >= below.trunc() {
        return Err(format!("the lengths {least} and {below} leave nothing between them").into());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "neither is negative, a fraction is cut off as in the original"
    )]
    Ok(check(ContentLengthBetween { least: least as u64, below: below as u64 }))
}

impl Predicate for Always {
    fn matches(&self, _: &Question<'_>) -> bool {
        self.0
    }
}

impl Predicate for Shutdown {
    fn matches(&self, _: &Question<'_>) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Predicate for ContentLengthBetween {
    fn matches(&self, question: &Question<'_>) -> bool {
        question.content_length.is_some_and(|length| (self.least..self.below).contains(&length))
    }
}
