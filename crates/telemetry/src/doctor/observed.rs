//! What many traces show together: edges between services, chains, repetitions, how calls went; each with how many
//! traces show it and the ids of a few. Everything is bounded, whatever names the traces have.

use super::Facts;
use super::calls::{Call, calls};
use crate::spans::{Span, TraceKey, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// Traces that are named as evidence of one thing.
pub const EVIDENCE_MAX: usize = 3;
/// Things of a sort that are kept; what comes later is counted as left out.
pub const KEPT_MAX: usize = 10_000;
/// Calls of one trace that are looked at.
pub const CALLS_OF_A_TRACE_MAX: usize = 20_000;
/// Chains of one trace, and services of one chain: of a longer one its beginning is kept.
const CHAINS_OF_A_TRACE_MAX: usize = 100;
const CHAIN_SERVICES_MAX: usize = 100;
/// Services that one thing calls, of those that are kept.
const CALLEES_MAX: usize = 200;
/// Microseconds between two calls of a burst: who waits longer in between does something else than loop over a list.
const BURST_GAP_US: u64 = 100_000;
/// Calls of a kind in a burst that are kept: shorter bursts are never told.
const BURST_MIN: usize = 5;
/// Calls at once that are kept: fewer are never told.
const AT_ONCE_MIN: usize = 3;

/// Something that traces show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many.
    pub(super) traces: u64,
    /// A few of them, the ones that came first.
    pub(super) evidence: Vec<TraceKey>,
    last: Option<TraceKey>,
}

impl Seen {
    /// Adds a trace, once however often it is put.
    fn put(&mut self, trace: TraceKey) {
        if self.last.replace(trace) == Some(trace) {
            return;
        }
        self.traces += 1;
        if self.evidence.len() < EVIDENCE_MAX {
            self.evidence.push(trace);
        }
    }

    /// Adds other traces.
    pub(super) fn join(&mut self, other: &Self) {
        self.traces += other.traces;
        for trace in &other.evidence {
            if self.evidence.len() < EVIDENCE_MAX && !self.evidence.contains(trace) {
                self.evidence.push(*trace);
            }
        }
    }
}

/// Calls from one service to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EdgeSeen {
    pub(super) seen: Seen,
    /// Calls, several tries being one.
    pub(super) calls: u64,
    /// Those that went wrong in the end, and where.
    pub(super) failures: u64,
    pub(super) failed: Seen,
    /// Microseconds of the longest.
    pub(super) longest_us: u64,
    /// Whether the callee was seen at work.
    pub(super) is_served: bool,
}

/// A repetition within traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Many {
    /// How many traces have so many of it, by number.
    pub(super) by_count: BTreeMap<usize, Seen>,
}

impl Many {
    /// The traces with at least so many, and the most that one has.
    pub(super) fn at_least(&self, count: usize) -> (Seen, usize) {
        let mut all = Seen::default();
        for seen in self.by_count.range(count..).map(|(_, seen)| seen).rev() {
            all.join(seen);
        }
        (all, self.by_count.keys().next_back().copied().unwrap_or(0))
    }
}

/// How often an entry was asked, and whom it needed for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seen: Seen,
    pub(super) needs: BTreeMap<String, Need>,
}

/// A service that an entry needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// Traces of the entry that come to it.
    pub(super) seen: Seen,
    /// Traces in which it failed while all that it called itself went well, and the entry failed with it.
    pub(super) failed: Seen,
}

/// Caller and callee.
pub(super) type Edge = (String, String);
/// Caller, callee and what was called.
type Kind = (String, String, String);
/// A service and what it was called for.
pub(super) type Work = (String, String);

/// All that is kept of the traces that were looked at.
#[derive(Debug, Default)]
pub struct Observed {
    pub(super) facts: Facts,
    /// Traces and spans that were looked at.
    pub(super) traces: u64,
    pub(super) spans: u64,
    /// What found no room.
    pub(super) left_out: u64,
    /// Services, by the traces in which they called or were called.
    pub(super) services: BTreeMap<String, Seen>,
    pub(super) edges: BTreeMap<Edge, EdgeSeen>,
    /// Calls that were made at any time, as far as is known.
    pub(super) links: BTreeSet<Edge>,
    /// Services that wait for each other, the longest chains of each trace.
    pub(super) chains: BTreeMap<Vec<String>, Seen>,
    pub(super) bursts: BTreeMap<Kind, Many>,
    /// Calls at once that nothing bounds in time, and who was called by them.
    pub(super) fans: BTreeMap<Work, (Many, BTreeSet<String>)>,
    /// Edges on which calls were tried again while a call on another edge was, outer and inner.
    pub(super) retried: BTreeMap<(Edge, Edge), Seen>,
    pub(super) entries: BTreeMap<Work, Entry>,
}

impl Observed {
    /// Nothing yet, of what is declared so.
    pub fn new(facts: Facts) -> Self {
        Self { facts, ..Self::default() }
    }

    /// How many traces and spans were looked at.
    pub fn looked_at(&self) -> (u64, u64) {
        (self.traces, self.spans)
    }

    /// A call that was made at some time, though maybe in no trace that is looked at.
    pub fn put_link(&mut self, caller: &str, callee: &str) {
        if self.links.len() < KEPT_MAX {
            self.links.insert((caller.to_owned(), callee.to_owned()));
        }
    }

    /// Looks at a trace: all that was reported of it.
    pub fn put_trace(&mut self, spans: Vec<Span>) {
        let tree = Tree::of(spans);
        let Some(trace) = tree.root().map(|root| root.span.trace) else { return };
        self.traces += 1;
        self.spans += tree.nodes.len() as u64;
        let facts = std::mem::take(&mut self.facts);
        let mut calls = calls(&tree, &facts);
        self.left_out += calls.len().saturating_sub(CALLS_OF_A_TRACE_MAX) as u64;
        // Those that wait stand before those that they wait for, so what stays needs nothing of what goes.
        calls.truncate(CALLS_OF_A_TRACE_MAX);
        self.put_edges(trace, &calls);
        self.put_chains(trace, &calls);
        self.put_bursts(trace, &calls);
        self.put_fans(trace, &calls, &facts);
        self.put_retried(trace, &calls);
        self.put_entries(trace, &calls);
        self.facts = facts;
    }

    fn put_edges(&mut self, trace: TraceKey, calls: &[Call]) {
        let left_out = &mut self.left_out;
        for call in calls {
            let seen_at_work = call.caller.into_iter().chain(Some(call.callee).filter(|_| call.is_served));
            for service in seen_at_work {
                if let Some(seen) = kept(&mut self.services, service.to_owned(), left_out) {
                    seen.put(trace);
                }
            }
            let Some((caller, callee)) = call.edge() else { continue };
            let key = (caller.to_owned(), callee.to_owned());
            let Some(edge) = kept(&mut self.edges, key, left_out) else { continue };
            edge.seen.put(trace);
            edge.calls += u64::from(!call.is_superseded);
            edge.longest_us = edge.longest_us.max(call.ended_us.saturating_sub(call.began_us));
            edge.is_served |= call.is_served;
            if call.is_failure() {
                edge.failures += 1;
                edge.failed.put(trace);
            }
        }
    }

    fn put_chains(&mut self, trace: TraceKey, calls: &[Call]) {
        // How many calls of services wait for each other, this one included.
        let mut depths = vec![0; calls.len()];
        let mut is_longest = vec![true; calls.len()];
        for (at, call) in calls.iter().enumerate() {
            let above = call.above.map_or(0, |above| depths[above]);
            let counts = call.is_served && call.edge().is_some();
            depths[at] = above + usize::from(counts);
            if let Some(above) = call.above.filter(|_| counts) {
                is_longest[above] = false;
            }
        }
        let mut chains = BTreeSet::new();
        for at in (0..calls.len()).filter(|at| is_longest[*at] && depths[*at] > 0) {
            let mut chain = Vec::new();
            let mut next = Some(at);
            while let Some(at) = next {
                let call = &calls[at];
                if call.is_served
                    && let Some((caller, callee)) = call.edge()
                {
                    if chain.last() != Some(&callee) {
                        chain.push(callee);
                    }
                    chain.push(caller);
                }
                next = call.above;
            }
            chain.reverse();
            self.left_out += u64::from(chain.len() > CHAIN_SERVICES_MAX);
            chain.truncate(CHAIN_SERVICES_MAX);
            if chains.len() >= CHAINS_OF_A_TRACE_MAX {
                self.left_out += 1;
                continue;
            }
            chains.insert(chain);
        }
        for chain in chains {
            let chain = chain.into_iter().map(str::to_owned).collect();
            if let Some(seen) = kept(&mut self.chains, chain, &mut self.left_out) {
                seen.put(trace);
            }
        }
    }

    fn put_bursts(&mut self, trace: TraceKey, calls: &[Call]) {
        let mut alike: BTreeMap<_, Vec<&Call>> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.attempt == 0) {
            let Some((caller, callee)) = call.edge() else { continue };
            alike.entry((caller, callee, call.name, call.maker)).or_default().push(call);
        }
        let mut most: BTreeMap<_, usize> = BTreeMap::new();
        for ((caller, callee, name, _), mut calls) in alike {
            calls.sort_by_key(|call| call.began_us);
            let length = longest_burst(&calls);
            let longest = most.entry((caller, callee, name)).or_default();
            *longest = length.max(*longest);
        }
        for ((caller, callee, name), count) in most.into_iter().filter(|(_, count)| *count >= BURST_MIN) {
            let key = (caller.to_owned(), callee.to_owned(), name.to_owned());
            if let Some(many) = kept(&mut self.bursts, key, &mut self.left_out) {
                many.by_count.entry(rounded(count)).or_default().put(trace);
            }
        }
    }

    fn put_fans(&mut self, trace: TraceKey, calls: &[Call], facts: &Facts) {
        let mut is_bounded: Vec<bool> = Vec::with_capacity(calls.len());
        let mut by_maker: BTreeMap<usize, Vec<&Call>> = BTreeMap::new();
        for call in calls {
            let policy = facts.policy(call.caller, call.callee);
            // Whoever waits for it may be bounded itself, however far up, and all that it does with it.
            let bounded_above = call.above.is_some_and(|above| is_bounded[above]);
            let bounded = bounded_above || policy.is_some_and(|policy| policy.timeout.is_some());
            is_bounded.push(bounded);
            // Of what nothing is known nothing is said.
            let is_known = policy.is_some() && call.edge().is_some();
            if is_known && !bounded && call.began_us != 0 && call.attempt == 0 {
                by_maker.entry(call.maker).or_default().push(call);
            }
        }
        let mut most: BTreeMap<Work, (usize, BTreeSet<&str>)> = BTreeMap::new();
        for mut made in by_maker.into_values() {
            made.sort_by_key(|call| call.began_us);
            let Some(first) = made.first() else { continue };
            let (above, caller) = (first.above.map(|above| &calls[above]), first.caller.unwrap_or_default());
            let work = (caller.to_owned(), above.map_or_else(String::new, |above| above.name.to_owned()));
            let (count, callees) = most.entry(work).or_default();
            let now = most_at_once(&made);
            if now > *count {
                (*count, *callees) = (now, made.iter().map(|call| call.callee).collect());
            }
        }
        for (work, (count, callees)) in most.into_iter().filter(|(_, (count, _))| *count >= AT_ONCE_MIN) {
            if let Some((many, all)) = kept(&mut self.fans, work, &mut self.left_out) {
                many.by_count.entry(rounded(count)).or_default().put(trace);
                all.extend(
                    callees.into_iter().take(CALLEES_MAX.saturating_sub(all.len())).map(str::to_owned),
                );
            }
        }
    }

    fn put_retried(&mut self, trace: TraceKey, calls: &[Call]) {
        let mut pairs = BTreeSet::new();
        for call in calls.iter().filter(|call| call.attempt > 0) {
            let Some(inner) = call.edge() else { continue };
            let mut above = call.above;
            while let Some(at) = above {
                let outer = &calls[at];
                if outer.is_superseded || outer.attempt > 0 {
                    pairs.extend(outer.edge().filter(|outer| *outer != inner).map(|outer| (outer, inner)));
                    // The next one out is found from that one.
                    break;
                }
                above = outer.above;
            }
        }
        let owned = |(caller, callee): (&str, &str)| (caller.to_owned(), callee.to_owned());
        for (outer, inner) in pairs {
            if let Some(seen) = kept(&mut self.retried, (owned(outer), owned(inner)), &mut self.left_out) {
                seen.put(trace);
            }
        }
    }

    fn put_entries(&mut self, trace: TraceKey, calls: &[Call]) {
        let mut tops: Vec<usize> = Vec::with_capacity(calls.len());
        let mut has_failed_below = vec![false; calls.len()];
        for (at, call) in calls.iter().enumerate() {
            tops.push(call.above.map_or(at, |above| tops[above]));
            if let Some(above) = call.above.filter(|_| call.is_failure()) {
                has_failed_below[above] = true;
            }
        }
        for (at, call) in calls.iter().enumerate() {
            let top = &calls[tops[at]];
            if !top.is_served || top.is_superseded || call.is_superseded {
                continue;
            }
            let work = (top.callee.to_owned(), top.name.to_owned());
            let Some(entry) = kept(&mut self.entries, work, &mut self.left_out) else { continue };
            if tops[at] == at {
                entry.seen.put(trace);
            }
            if entry.needs.len() >= CALLEES_MAX && !entry.needs.contains_key(call.callee) {
                self.left_out += 1;
                continue;
            }
            let need = entry.needs.entry(call.callee.to_owned()).or_default();
            need.seen.put(trace);
            if call.is_failure() && !has_failed_below[at] && top.is_failure() {
                need.failed.put(trace);
            }
        }
    }
}

/// The place of a key, if it is known or there is room for it.
fn kept<'a, K: Ord, V: Default>(
    map: &'a mut BTreeMap<K, V>,
    key: K,
    left_out: &mut u64,
) -> Option<&'a mut V> {
    if map.len() >= KEPT_MAX && !map.contains_key(&key) {
        *left_out += 1;
        return None;
    }
    Some(map.entry(key).or_default())
}

/// So many, to about a tenth: there must not be a place for each number.
fn rounded(count: usize) -> usize {
    let step = 10usize.pow(count.max(1).ilog10().saturating_sub(1));
    count / step * step
}

/// Calls of a kind that follow each other closely; they are sorted by when they began.
fn longest_burst(calls: &[&Call]) -> usize {
    let (mut longest, mut length, mut until) = (0, 0, 0u64);
    for call in calls {
        let is_next = length == 0 || call.began_us <= until.saturating_add(BURST_GAP_US);
        length = if is_next { length + 1 } else { 1 };
        until = until.max(call.ended_us);
        longest = longest.max(length);
    }
    longest
}

/// How many calls were under way at the same time; they are sorted by when they began.
fn most_at_once(calls: &[&Call]) -> usize {
    let mut ends: Vec<u64> = calls.iter().map(|call| call.ended_us).collect();
    ends.sort_unstable();
    let (mut most, mut ended) = (0, 0);
    for (begun, call) in calls.iter().enumerate() {
        while ends.get(ended).is_some_and(|end| *end <= call.began_us) {
            ended += 1;
        }
        most = most.max((begun + 1).saturating_sub(ended));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::world::{self, trace};

    #[test]
    fn counts_are_kept_to_a_tenth() {
        let cases = [(0, 0), (7, 7), (12, 12), (99, 99), (101, 100), (119, 110), (1_234, 1_200)];
        for (count, kept) in cases {
            assert_eq!(rounded(count), kept);
        }
    }

    #[test]
    fn of_an_endless_chain_the_beginning_is_kept() {
        let chain: Vec<String> = (0..CHAIN_SERVICES_MAX + 50).map(|number| format!("s{number}")).collect();
        let mut observed = Observed::new(Facts::default());
        observed.put_trace(trace(1, &world::chain(&chain.join(" "))));
        let kept: Vec<&Vec<String>> = observed.chains.keys().collect();
        assert_eq!((kept, observed.left_out), (vec![&chain[..CHAIN_SERVICES_MAX].to_vec()], 1));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut observed = Observed::new(Facts::default());
        let mut left_out = 0;
        for number in 0..KEPT_MAX + 5 {
            kept(&mut observed.services, number.to_string(), &mut left_out);
        }
        kept(&mut observed.services, "7".to_owned(), &mut left_out);
        assert_eq!((observed.services.len(), left_out), (KEPT_MAX, 5));
        for number in 0..KEPT_MAX + 5 {
            observed.put_link(&number.to_string(), "x");
        }
        assert_eq!(observed.links.len(), KEPT_MAX);
    }
}
