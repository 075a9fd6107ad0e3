//! The index of the file that is written now, in memory: made as spans come in, made anew from the blocks when the
//! store is opened, and written into the file once when that is full.

use super::blocks::Place;
use super::links::Links;
use crate::spans::Span;
use crate::spans::store::names::Names;
use crate::spans::store::terms::{self, ANY, Hashed, Postings, Term};
use std::collections::{BTreeSet, HashMap};

/// Where a chunk lies, and what is known of it without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The earliest time of its spans; when they came, if they have none.
    pub(crate) began_us: u64,
    /// The last 64 bits of its trace's id.
    pub(crate) trace: u64,
    pub(crate) place: Place,
}

/// What is known of the spans of one file.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) traces: HashMap<u64, Vec<u32>, Hashed>,
    pub(crate) terms: HashMap<(Term, u32), Postings, Hashed>,
    services: BTreeSet<u32>,
    pub(crate) names: Names,
    pub(crate) links: Links,
    pub(crate) spans: u64,
    /// Bytes of its blocks.
    pub(crate) bytes: u64,
    /// Blocks that there are.
    pub(crate) blocks: u32,
    /// Of the earliest and the latest chunk.
    pub(crate) range_us: Option<(u64, u64)>,
    /// When the first and the last of them came in.
    pub(crate) arrived_us: Option<(u64, u64)>,
}

impl Live {
    /// Takes in a chunk that was written. `known` says whether an older file may have the same trace.
    pub(crate) fn add(
        &mut self,
        place: Place,
        spans: &[Span],
        arrived_us: u64,
        keys: &[String],
        known: impl FnOnce() -> bool,
    ) {
        let Some(first) = spans.first() else { return };
        let trace = first.trace.low;
        let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let times = spans.iter().map(|span| span.timestamp_us).filter(|time| *time != 0);
        let began_us = times.min().unwrap_or(arrived_us);
        self.chunks.push(Chunk { began_us, trace, place });
        self.traces.entry(trace).or_default().push(number);
        for span in spans {
            let service = terms::service(&span.local.service);
            self.services.insert(service);
            terms::of(span, |term| {
                let postings = self.terms.entry((term, service)).or_insert_with(|| Postings::new(number));
                postings.push(number);
            });
            self.names.note(span, keys);
        }
        self.links.note(trace, spans, known);
        self.spans += spans.len() as u64;
        let widened = |range: Option<(u64, u64)>, time: u64| {
            let (first, last) = range.unwrap_or((time, time));
            Some((first.min(time), last.max(time)))
        };
        self.range_us = widened(self.range_us, began_us);
        self.arrived_us = widened(self.arrived_us, arrived_us);
    }

    /// The chunks that have a term of this range, of one service or of any; in order.
    pub(crate) fn find(&self, (low, high): (Term, Term), service: Option<u32>) -> Vec<u32> {
        let mut found = Vec::new();
        if (low, high, service) == (ANY, ANY, None) {
            return (0..self.chunks.len() as u32).collect();
        }
        for term in low..=high {
            let one = |service: u32, found: &mut Vec<u32>| {
                if let Some(postings) = self.terms.get(&(term, service)) {
                    // What this process has just written can be read.
                    _ = postings.read_to(found);
                }
            };
            match service {
                Some(service) => one(service, &mut found),
                None => self.services.iter().for_each(|service| one(*service, &mut found)),
            }
        }
        super::sealed::in_order(&mut found);
        found
    }
}
