//! Finds the candidates of a search: each file gives the chunks that may belong to what is looked for, the latest
//! first. What becomes of them is in the search that all engines share.

use super::State;
use super::live::{Chunk, Live};
use super::sealed::Sealed;
use crate::spans::store::search::Search;
use crate::spans::store::terms::{self, ANY, Term};
use crate::spans::{Query, Span};
use base::Fault;
use std::collections::BinaryHeap;

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

/// The traces that are looked for, the latest first.
pub(crate) fn search(state: &State, query: Query, strict: bool) -> Result<Vec<Vec<Span>>, Fault> {
    let mut parts: Vec<Part> = state.sealed.iter().map(|sealed| Part::Sealed(sealed)).collect();
    parts.push(Part::Live(&state.live));
    parts.sort_by_key(|part| std::cmp::Reverse(part.range_us().1));
    let criteria = criteria(&query);
    let mut search = Search::new(query, strict);
    let windows = search.windows();
    let (start, end) = (windows[0].0, windows[1].1);
    parts.retain(|part| part.range_us().0 <= end && part.range_us().1 >= start);
    let criterion = rarest(&parts, &criteria)?;
    for window in windows {
        for part in &parts {
            let (first, last) = part.range_us();
            if first > window.1 || last < window.0 {
                continue;
            }
            if search.is_full_for(last) {
                break;
            }
            let mut candidates = part.candidates(criterion, window)?;
            while let Some((began_us, trace)) = candidates.pop() {
                if search.is_full_for(began_us) {
                    break;
                }
                if search.is_new(trace) {
                    search.look_at(state.spans_of(trace)?);
                }
            }
        }
        if search.is_full() {
            break;
        }
    }
    Ok(search.into_traces())
}
