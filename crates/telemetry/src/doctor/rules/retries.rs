//! Retries at several levels of a chain: those that happened, and those that would.

use super::{arrows, traces};
use crate::doctor::observed::{Edge, Seen};
use crate::doctor::{Case, Observed, Retry};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Traces in which both levels retried.
pub(in crate::doctor) const RETRIED_TRACES_MIN: u64 = 3;
/// Times the calls of good times.
pub(in crate::doctor) const FACTOR_MIN: f64 = 4.0;
/// Traces that show the chain.
pub(in crate::doctor) const CHAIN_TRACES_MIN: u64 = 3;

pub(in crate::doctor) fn retried(observed: &Observed) -> Vec<Case> {
    let many = observed.retried.iter().filter(|(_, seen)| seen.traces >= RETRIED_TRACES_MIN);
    let mut many: Vec<_> = many.collect();
    many.sort_by_key(|(_, seen)| Reverse(seen.traces));
    let case = |((outer, inner), seen): (&(Edge, Edge), &Seen)| Case {
        what: format!(
            "`{}` tried its call to `{}` again while `{}` tried its call to `{}` again, in {}",
            outer.0,
            outer.1,
            inner.0,
            inner.1,
            traces(seen.traces)
        ),
        evidence: seen.evidence.clone(),
        remedy: format!(
            "leave it to `{}` to try `{}` again, and let `{}` take a failure for an answer",
            inner.0, inner.1, outer.0
        ),
    };
    many.into_iter().map(case).collect()
}

/// A part of a chain that begins and ends with calls that are tried again.
struct Multiplied {
    factor: f64,
    levels: usize,
    seen: Seen,
}

pub(in crate::doctor) fn multiply(observed: &Observed) -> Vec<Case> {
    // Many chains share a part: it is told once.
    let mut parts: BTreeMap<Vec<&str>, Multiplied> = BTreeMap::new();
    for (chain, seen) in observed.chains.iter().filter(|(_, seen)| seen.traces >= CHAIN_TRACES_MIN) {
        let outside = [None].into_iter().chain(chain.iter().map(|name| Some(name.as_str())));
        let calls: Vec<(Option<&str>, &str)> = outside.zip(chain.iter().map(String::as_str)).collect();
        let factor = |(caller, callee): &(Option<&str>, &str)| {
            observed.facts.policy(*caller, callee).and_then(|policy| policy.retry).map_or(1.0, Retry::factor)
        };
        let retries = |call: &(Option<&str>, &str)| factor(call) > 1.0;
        let product: f64 = calls.iter().map(factor).product();
        let levels = calls.iter().filter(|call| retries(call)).count();
        let (first, last) = (calls.iter().position(retries), calls.iter().rposition(retries));
        if let (Some(first), Some(last)) = (first, last)
            && levels > 1
            && product >= FACTOR_MIN
        {
            let part = &calls[first..=last];
            let names = part[0].0.into_iter().chain(part.iter().map(|(_, callee)| *callee)).collect();
            let new = || Multiplied { factor: product, levels, seen: Seen::default() };
            parts.entry(names).or_insert_with(new).seen.join(seen);
        }
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by(|(_, one), (_, other)| other.factor.total_cmp(&one.factor));
    let case = |(names, part): (Vec<&str>, Multiplied)| {
        let last = names.last().copied().unwrap_or_default();
        Case {
            what: format!(
                "{}: {} levels try again, so that `{last}` may get {:.1} times its calls when it fails",
                arrows(names.iter().copied()),
                part.levels,
                part.factor
            ),
            evidence: part.seen.evidence,
            remedy: format!(
                "keep `retry` for calls to `{last}`, and give the levels above none or a small budget"
            ),
        }
    };
    parts.into_iter().map(case).collect()
}
