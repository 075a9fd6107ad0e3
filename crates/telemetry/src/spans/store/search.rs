//! Finds traces. Each file gives the chunks that may belong to what is looked for, the latest first; each of their
//! traces is read whole and looked at again, so that an index may promise too much and never too little.

use super::State;
use super::live::{Chunk, Live};
use super::sealed::Sealed;
use super::terms::{self, ANY, Term};
use crate::spans::query::began_us;
use crate::spans::{Query, Span};
use base::Fault;
use std::collections::{BTreeMap, BinaryHeap, HashSet};

/// Traces that one search looks at.
const LOOKED_AT_MAX: usize = 20_000;
/// Bytes of the spans of one answer.
const ANSWER_BYTES_MAX: usize = 48 << 20;
/// Traces of one answer.
pub(crate) const LIMIT_MAX: usize = 10_000;
/// Microseconds that a span may begin after its trace did, for what is looked for in it to be found by it: those that
/// are looked at in any case, and those that are looked at if there is room in the answer.
const NEAR_US: u64 = 1_000_000;
const FAR_US: u64 = 600 * 1_000_000;

/// A range of terms, and the service whose spans have it if that is known.
type Criterion = ((Term, Term), Option<u32>);

/// One file's index, wherever it is.
enum Part<'a> {
    Live(&'a Live),
    Sealed(&'a Sealed),
}

impl Part<'_> {
    fn range_us(&self) -> (u64, u64) {
        match self {
            Self::Live(live) => live.range_us.unwrap_or((u64::MAX, 0)),
            Self::Sealed(sealed) => sealed.range_us,
        }
    }

    fn find(&self, criterion: Criterion) -> Result<Vec<u32>, Fault> {
        match self {
            Self::Live(live) => Ok(live.find(criterion.0, criterion.1)),
            Self::Sealed(sealed) => sealed.find(criterion.0, criterion.1),
        }
    }

    fn chunks(&self, numbers: &[u32]) -> Result<Vec<Chunk>, Fault> {
        match self {
            Self::Live(live) => Ok(numbers.iter().map(|number| live.chunks[*number as usize]).collect()),
            Self::Sealed(sealed) => sealed.chunks(numbers),
        }
    }

    /// Begin and trace of the chunks in a window that have what is looked for; the latest on top.
    fn candidates(&self, criterion: Criterion, window: (u64, u64)) -> Result<BinaryHeap<(u64, u64)>, Fault> {
        let chunks = self.chunks(&self.find(criterion)?)?;
        let within = chunks.iter().filter(|chunk| (window.0..=window.1).contains(&chunk.began_us));
        Ok(within.map(|chunk| (chunk.began_us, chunk.trace)).collect())
    }
}

/// Of what is looked for that which the fewest chunks have, in all of the files: of a trace that is spread over
/// several of them, each may have something else.
fn rarest(parts: &[Part], criteria: &[Criterion]) -> Result<Criterion, Fault> {
    let mut rarest = criteria.first().map_or(((ANY, ANY), None), |criterion| *criterion);
    let mut least = usize::MAX;
    for criterion in criteria.iter().filter(|_| criteria.len() > 1) {
        let mut count = 0;
        for part in parts {
            count += part.find(*criterion)?.len();
        }
        if count < least {
            (rarest, least) = (*criterion, count);
        }
    }
    Ok(rarest)
}

/// What is looked for, as terms. A trace may meet each with another span.
fn criteria(query: &Query) -> Vec<Criterion> {
    let service = (!query.service.is_empty()).then(|| terms::service(&query.service));
    let mut ranges = Vec::new();
    if !query.name.is_empty() {
        ranges.push((terms::name(&query.name), terms::name(&query.name)));
    }
    if !query.remote.is_empty() {
        ranges.push((terms::remote(&query.remote), terms::remote(&query.remote)));
    }
    for (key, value) in &query.annotations {
        let term = if value.is_empty() { terms::word(key) } else { terms::tag(key, value) };
        ranges.push((term, term));
    }
    if let Some(min) = query.duration_us_min {
        let max = query.duration_us_max.unwrap_or(u64::MAX);
        ranges.push((terms::duration(min), terms::duration(max)));
    }
    if ranges.is_empty() {
        ranges.push((ANY, ANY));
    }
    ranges.into_iter().map(|range| (range, service)).collect()
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Traces and when they began, the latest first.
    traces: Vec<(u64, Vec<Span>)>,
    looked_at: HashSet<u64>,
    bytes: usize,
}

impl Found {
    /// Whether nothing that began then or earlier has a place.
    fn is_full_for(&self, limit: usize, began_us: u64) -> bool {
        let over = self.looked_at.len() >= LOOKED_AT_MAX || self.bytes >= ANSWER_BYTES_MAX;
        over || limit
            .checked_sub(1)
            .and_then(|last| self.traces.get(last))
            .is_some_and(|(last, _)| began_us <= *last)
    }

    fn put(&mut self, trace: Vec<Span>) {
        self.bytes += trace.iter().map(Span::weight).sum::<usize>();
        let began_us = began_us(&trace);
        let place = self.traces.partition_point(|(began, _)| *began >= began_us);
        self.traces.insert(place, (began_us, trace));
    }
}

/// The traces that are looked for, the latest first.
pub(crate) fn search(state: &State, query: &Query, strict: bool) -> Result<Vec<Vec<Span>>, Fault> {
    let limit = query.limit.min(LIMIT_MAX);
    let (start, end) = query.window_us();
    let (near, far) = (end.saturating_add(NEAR_US), end.saturating_add(FAR_US));
    // Clocks differ: a trace may begin by its first span after another one of it.
    let start = start.saturating_sub(NEAR_US);
    let mut parts: Vec<Part> = state.sealed.iter().map(|sealed| Part::Sealed(sealed)).collect();
    parts.push(Part::Live(&state.live));
    parts.sort_by_key(|part| std::cmp::Reverse(part.range_us().1));
    parts.retain(|part| part.range_us().0 <= far && part.range_us().1 >= start);
    let criterion = rarest(&parts, &criteria(query))?;
    let mut found = Found::default();
    for window in [(start, near), (near.saturating_add(1), far)] {
        for part in &parts {
            let (first, last) = part.range_us();
            if first > window.1 || last < window.0 {
                continue;
            }
            if found.is_full_for(limit, last) {
                break;
            }
            let mut candidates = part.candidates(criterion, window)?;
            while let Some((began_us, trace)) = candidates.pop() {
                if found.is_full_for(limit, began_us) {
                    break;
                }
                if found.looked_at.insert(trace) {
                    let spans = state.spans_of(trace)?;
                    by_trace(spans, strict)
                        .into_iter()
                        .filter(|trace| query.matches(trace))
                        .for_each(|trace| found.put(trace));
                }
            }
        }
        if found.traces.len() >= limit {
            break;
        }
    }
    found.traces.truncate(limit);
    Ok(found.traces.into_iter().map(|(_, trace)| trace).collect())
}

/// Spans whose ids end alike, as the traces that they are.
pub(crate) fn by_trace(spans: Vec<Span>, strict: bool) -> Vec<Vec<Span>> {
    let mut traces: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(if strict { span.trace.high } else { 0 }).or_default().push(span);
    }
    traces.into_values().collect()
}
