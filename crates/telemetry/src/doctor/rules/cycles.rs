//! Services that wait for each other in a circle.

use super::{arrows, evidence, traces};
use crate::doctor::graph::Graph;
use crate::doctor::{Case, Observed};

/// Traces that show each call of the circle.
pub(in crate::doctor) const CALL_TRACES_MIN: u64 = 3;

pub(in crate::doctor) fn find(observed: &Observed) -> Vec<Case> {
    let known = |(_, edge): &(_, &crate::doctor::observed::EdgeSeen)| edge.seen.traces >= CALL_TRACES_MIN;
    let edges = observed.edges.iter().filter(known);
    let graph: Graph = edges.map(|((caller, callee), _)| (caller.as_str(), callee.as_str())).collect();
    let case = |circle: Vec<&str>| {
        let next = circle.iter().cycle().skip(1);
        let calls: Vec<_> = circle
            .iter()
            .zip(next)
            .filter_map(|(caller, callee)| observed.edges.get(&((*caller).to_owned(), (*callee).to_owned())))
            .collect();
        let rarest = calls.iter().min_by_key(|edge| edge.seen.traces);
        let least = rarest.map_or(0, |edge| edge.seen.traces);
        Case {
            what: format!(
                "{} call each other in a circle; each of the calls is in {} at least",
                arrows(circle.iter().chain(circle.first()).copied()),
                traces(least)
            ),
            // The rarest call is the one that somebody has to be shown.
            evidence: evidence(rarest.into_iter().chain(&calls).map(|edge| &edge.seen)),
            remedy: "turn one of the calls into a message, or move what both need into a service of its own"
                .into(),
        }
    };
    graph.circles().into_iter().map(case).collect()
}
