//! What is declared against what is done: calls without a timeout, a breaker or a retry where they need one, calls that
//! are declared and not made, and the other way round.

use super::{evidence, listed, sorted, traces};
use crate::doctor::graph::Graph;
use crate::doctor::observed::EdgeSeen;
use crate::doctor::{Case, Observed, Policy};
use std::collections::BTreeMap;

/// Traces with a call without a timeout.
pub(in crate::doctor) const TIMEOUT_TRACES_MIN: u64 = 20;
/// Services that depend on one without a breaker, and their share of all that call others.
pub(in crate::doctor) const DEPENDENTS_MIN: usize = 3;
pub(in crate::doctor) const DEPENDENTS_SHARE_MIN: f64 = 0.75;
/// Traces that come to it.
pub(in crate::doctor) const BREAKER_TRACES_MIN: u64 = 20;
/// Failed calls without a retry, the traces that they are in, and the share of calls that go well.
pub(in crate::doctor) const FAILURES_MIN: u64 = 5;
pub(in crate::doctor) const FAILED_TRACES_MIN: u64 = 3;
pub(in crate::doctor) const GOOD_SHARE_MIN: f64 = 0.5;
/// Traces with a call that is not declared.
pub(in crate::doctor) const UNDECLARED_TRACES_MIN: u64 = 3;
/// Traces in which the caller of a declared call was at work.
pub(in crate::doctor) const UNUSED_TRACES_MIN: u64 = 100;

/// The calls of services that a policy is known of, by the service that is called.
fn judged(observed: &Observed) -> BTreeMap<&str, Vec<(&str, &EdgeSeen, Policy)>> {
    let mut by_callee: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for ((caller, callee), edge) in &observed.edges {
        if let Some(policy) = observed.facts.policy(Some(caller), callee) {
            by_callee.entry(callee).or_default().push((caller.as_str(), edge, policy));
        }
    }
    by_callee
}

fn total(edges: &[(&str, &EdgeSeen, Policy)], of: impl Fn(&EdgeSeen) -> u64) -> u64 {
    edges.iter().map(|(_, edge, _)| of(edge)).sum()
}

pub(in crate::doctor) fn no_timeout(observed: &Observed) -> Vec<Case> {
    let mut cases = Vec::new();
    for (callee, mut edges) in judged(observed) {
        edges.retain(|(_, edge, policy)| policy.timeout.is_none() && edge.seen.traces >= TIMEOUT_TRACES_MIN);
        if edges.is_empty() {
            continue;
        }
        let longest = edges.iter().map(|(_, edge, _)| edge.longest_us).max().unwrap_or(0);
        let calls = total(&edges, |edge| edge.calls);
        let case = Case {
            what: format!(
                "{calls} calls to `{callee}` by {} have no timeout; the longest took {:.1} ms",
                listed(edges.iter().map(|(caller, ..)| *caller)),
                longest as f64 / 1e3
            ),
            evidence: evidence(edges.iter().map(|(_, edge, _)| &edge.seen)),
            remedy: format!(
                "give `{callee}` in the manifest `filters: backendTimeout(\"2s\")`, or what it needs"
            ),
        };
        cases.push((calls, case));
    }
    sorted(cases)
}

pub(in crate::doctor) fn no_breaker(observed: &Observed) -> Vec<Case> {
    let edges = observed.edges.keys();
    let graph: Graph = edges.map(|(caller, callee)| (caller.as_str(), callee.as_str())).collect();
    let mut cases = Vec::new();
    for (callee, edges) in judged(observed) {
        let dependents = graph.dependents(callee);
        let others = graph.callers().filter(|caller| *caller != callee).count();
        let share = dependents.len() as f64 / others.max(1) as f64;
        let comes = total(&edges, |edge| edge.seen.traces);
        let is_vital = dependents.len() >= DEPENDENTS_MIN && share >= DEPENDENTS_SHARE_MIN;
        if edges.iter().any(|(.., policy)| policy.breaker) || !is_vital || comes < BREAKER_TRACES_MIN {
            continue;
        }
        let case = Case {
            what: format!(
                "{} of the {others} other services that call somebody depend on `{callee}`: {}",
                dependents.len(),
                listed(dependents.iter().copied())
            ),
            evidence: evidence(edges.iter().map(|(_, edge, _)| &edge.seen)),
            remedy: format!("give `{callee}` in the manifest `filters: consecutiveBreaker(20)`"),
        };
        cases.push((comes, case));
    }
    sorted(cases)
}

pub(in crate::doctor) fn no_retry(observed: &Observed) -> Vec<Case> {
    let mut cases = Vec::new();
    for (callee, mut edges) in judged(observed) {
        edges.retain(|(_, edge, policy)| {
            let good = edge.calls.saturating_sub(edge.failures) as f64 / edge.calls.max(1) as f64;
            policy.retry.is_none()
                && edge.failures >= FAILURES_MIN
                && edge.failed.traces >= FAILED_TRACES_MIN
                && good >= GOOD_SHARE_MIN
        });
        let failures = total(&edges, |edge| edge.failures);
        if edges.is_empty() {
            continue;
        }
        let case = Case {
            what: format!(
                "{failures} of {} calls to `{callee}` by {} failed, and none was tried again",
                total(&edges, |edge| edge.calls),
                listed(edges.iter().map(|(caller, ..)| *caller))
            ),
            evidence: evidence(edges.iter().map(|(_, edge, _)| &edge.failed)),
            remedy: format!("give `{callee}` in the manifest `filters: retry(2)`, if a call may be repeated"),
        };
        cases.push((failures, case));
    }
    sorted(cases)
}

pub(in crate::doctor) fn undeclared(observed: &Observed) -> Vec<Case> {
    let declared = &observed.facts.services;
    let mut cases = Vec::new();
    for ((caller, callee), edge) in &observed.edges {
        let Some(calls) = declared.get(caller).filter(|_| declared.contains_key(callee)) else { continue };
        if calls.contains(callee) || edge.seen.traces < UNDECLARED_TRACES_MIN {
            continue;
        }
        let case = Case {
            what: format!(
                "`{caller}` calls `{callee}` in {} and does not declare it",
                traces(edge.seen.traces)
            ),
            evidence: edge.seen.evidence.clone(),
            remedy: format!(
                "name `{callee}` in `calls` of `{caller}`, which then finds it at the address it is given"
            ),
        };
        cases.push((edge.seen.traces, case));
    }
    sorted(cases)
}

pub(in crate::doctor) fn unused(observed: &Observed) -> Vec<Case> {
    let mut cases = Vec::new();
    for (caller, calls) in &observed.facts.services {
        let Some(seen) = observed.services.get(caller).filter(|seen| seen.traces >= UNUSED_TRACES_MIN) else {
            continue;
        };
        // Some services report what they are asked and not what they ask.
        let tells_calls = observed.edges.keys().any(|(by, _)| by == caller);
        for callee in calls {
            let key = (caller.clone(), callee.clone());
            let is_seen =
                tells_calls || (observed.facts.sees_calls && observed.facts.edges.contains_key(&key));
            if !is_seen || observed.edges.contains_key(&key) || observed.links.contains(&key) {
                continue;
            }
            let case = Case {
                what: format!(
                    "`{caller}` declares to call `{callee}`, was at work in {} and never did",
                    traces(seen.traces)
                ),
                evidence: Vec::new(),
                remedy: format!("take `{callee}` out of `calls` of `{caller}`, if it is not needed any more"),
            };
            cases.push((seen.traces, case));
        }
    }
    sorted(cases)
}
