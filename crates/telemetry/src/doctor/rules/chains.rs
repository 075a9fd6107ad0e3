//! Chains of calls that wait for each other.

use super::{arrows, traces};
use crate::doctor::{Case, Observed};
use std::cmp::Reverse;

/// Calls that wait for each other.
pub(in crate::doctor) const DEEP_CALLS_MIN: usize = 5;
/// Traces that show the chain.
pub(in crate::doctor) const TRACES_MIN: u64 = 3;

pub(in crate::doctor) fn find(observed: &Observed) -> Vec<Case> {
    let is_deep = |(chain, seen): &(&Vec<String>, &crate::doctor::observed::Seen)| {
        chain.len() > DEEP_CALLS_MIN && seen.traces >= TRACES_MIN
    };
    let mut deep: Vec<_> = observed.chains.iter().filter(is_deep).collect();
    deep.sort_by_key(|(chain, seen)| Reverse((chain.len(), seen.traces)));
    let case = |(chain, seen): (&Vec<String>, &crate::doctor::observed::Seen)| Case {
        what: format!(
            "{}: {} calls wait for each other, in {}",
            arrows(chain.iter().map(String::as_str)),
            chain.len() - 1,
            traces(seen.traces)
        ),
        evidence: seen.evidence.clone(),
        remedy: format!(
            "let `{}` ask more of them itself, give data along, or end the chain with a message",
            chain[0]
        ),
    };
    deep.into_iter().map(case).collect()
}
