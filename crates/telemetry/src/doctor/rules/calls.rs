//! Calls that one request makes: too many of a kind, or too many at once with nothing that bounds them in time.

use super::{called, listed, sorted, traces};
use crate::doctor::{Case, Observed};

/// Calls of one kind in a row for one request.
pub(in crate::doctor) const BURST_CALLS_MIN: usize = 10;
/// Traces that show it.
pub(in crate::doctor) const BURST_TRACES_MIN: u64 = 3;
/// Calls under way at the same time for one request.
pub(in crate::doctor) const AT_ONCE_MIN: usize = 5;
/// Traces that show it.
pub(in crate::doctor) const FAN_TRACES_MIN: u64 = 3;

pub(in crate::doctor) fn bursts(observed: &Observed) -> Vec<Case> {
    let mut cases = Vec::new();
    for ((caller, callee, name), many) in &observed.bursts {
        let (seen, most) = many.at_least(BURST_CALLS_MIN);
        if seen.traces < BURST_TRACES_MIN {
            continue;
        }
        let case = Case {
            what: format!(
                "`{caller}` calls {} of `{callee}` {BURST_CALLS_MIN} times and more for one request, in {}; {most} times \
                 or so at most",
                called(name),
                traces(seen.traces)
            ),
            evidence: seen.evidence,
            remedy: format!("let `{caller}` ask `{callee}` for all of it in one call"),
        };
        cases.push((most, case));
    }
    sorted(cases)
}

pub(in crate::doctor) fn fans(observed: &Observed) -> Vec<Case> {
    let mut cases = Vec::new();
    for ((caller, work), (many, callees)) in &observed.fans {
        let (seen, most) = many.at_least(AT_ONCE_MIN);
        if seen.traces < FAN_TRACES_MIN {
            continue;
        }
        let callees = listed(callees.iter().map(String::as_str));
        let work = if work.is_empty() { String::new() } else { format!(" to answer `{work}`") };
        let case = Case {
            what: format!(
                "`{caller}` has {AT_ONCE_MIN} calls and more to {callees} under way at once{work}, in {}; {most} or so \
                 at most; nothing bounds how long they take",
                traces(seen.traces)
            ),
            evidence: seen.evidence,
            remedy: format!("give `{caller}`, or those that it calls, a `backendTimeout`"),
        };
        cases.push((most, case));
    }
    sorted(cases)
}
