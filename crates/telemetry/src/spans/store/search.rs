//! What any search for traces does: candidates come in by when they began, the latest first; each of their traces is
//! read whole and looked at again, so that an index may promise too much and never too little. How candidates are found
//! is left to the engines.

use crate::spans::query::began_us;
use crate::spans::{Query, Span};
use std::collections::{BTreeMap, HashSet};

/// Traces that one search looks at.
const LOOKED_AT_MAX: usize = 20_000;
/// Bytes of the spans of one answer.
const ANSWER_BYTES_MAX: usize = 48 << 20;
/// Traces of one answer.
const LIMIT_MAX: usize = 10_000;
/// Microseconds that a span may begin after its trace did, for what is looked for in it to be found by it: those that
/// are looked at in any case, and those that are looked at if there is room in the answer.
const NEAR_US: u64 = 1_000_000;
const FAR_US: u64 = 600 * 1_000_000;

/// A search under way.
pub(crate) struct Search {
    query: Query,
    strict: bool,
    limit: usize,
    /// What was found so far, with when it began; the latest first.
    traces: Vec<(u64, Vec<Span>)>,
    looked_at: HashSet<u64>,
    bytes: usize,
}

impl Search {
    pub(crate) fn new(query: Query, strict: bool) -> Self {
        let limit = query.limit.min(LIMIT_MAX);
        Self { query, strict, limit, traces: Vec::new(), looked_at: HashSet::new(), bytes: 0 }
    }

    /// Microseconds since 1970 between which candidates begin; the second window counts only if the first leaves room.
    pub(crate) fn windows(&self) -> [(u64, u64); 2] {
        let (start, end) = self.query.window_us();
        let (near, far) = (end.saturating_add(NEAR_US), end.saturating_add(FAR_US));
        // Clocks differ: a trace may begin by its first span after another one of it.
        [(start.saturating_sub(NEAR_US), near), (near.saturating_add(1), far)]
    }

    /// Whether nothing that began then or earlier has a place.
    pub(crate) fn is_full_for(&self, began_us: u64) -> bool {
        let over = self.looked_at.len() >= LOOKED_AT_MAX || self.bytes >= ANSWER_BYTES_MAX;
        over || self
            .limit
            .checked_sub(1)
            .and_then(|last| self.traces.get(last))
            .is_some_and(|(last, _)| began_us <= *last)
    }

    /// Whether as many traces are found as were asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.traces.len() >= self.limit
    }

    /// Whether a trace is to be looked at, which is so once.
    pub(crate) fn is_new(&mut self, trace: u64) -> bool {
        self.looked_at.insert(trace)
    }

    /// Looks at all spans whose trace's id ends alike.
    pub(crate) fn look_at(&mut self, spans: Vec<Span>) {
        for trace in by_trace(spans, self.strict) {
            if self.query.matches(&trace) {
                self.bytes += trace.iter().map(Span::weight).sum::<usize>();
                let began_us = began_us(&trace);
                let place = self.traces.partition_point(|(began, _)| *began >= began_us);
                self.traces.insert(place, (began_us, trace));
            }
        }
    }

    /// The traces that were found.
    pub(crate) fn into_traces(mut self) -> Vec<Vec<Span>> {
        self.traces.truncate(self.limit);
        self.traces.into_iter().map(|(_, trace)| trace).collect()
    }
}

/// Spans whose ids end alike, as the traces that they are.
pub(crate) fn by_trace(spans: Vec<Span>, strict: bool) -> Vec<Vec<Span>> {
    let mut traces: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(if strict { span.trace.high } else { 0 }).or_default().push(span);
    }
    traces.into_values().collect()
}
