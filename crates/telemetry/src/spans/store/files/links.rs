//! Which services call which, counted as spans come in: minute by minute, for the traces of one file. A trace that
//! gets more spans is counted anew in the place of what it was; if an older file has spans of it, what is counted
//! here is the difference.

use crate::spans::Span;
use crate::spans::linker::{LinkSpan, links_of};
use crate::spans::store::MINUTE_US;
use crate::spans::store::names::NAME_BYTES_MAX;
use crate::spans::store::terms::Hashed;
use base::Fault;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Services of one file that are told apart.
const SERVICES_MAX: usize = 10_000;
/// Links of one file, minute by minute.
const LINKS_MAX: usize = 200_000;

/// Calls and failed ones; less than nothing where an older file counted too many.
pub(crate) type Count = (i64, i64);
/// The minute of a trace, the caller and the callee.
pub(crate) type Key = (u64, u32, u32);

/// The links of one file.
#[derive(Debug, Default)]
pub(crate) struct Links {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    traces: HashMap<u64, Trace, Hashed>,
    /// Traces that are to be counted.
    waiting: VecDeque<u64>,
    counts: BTreeMap<Key, Count>,
}

#[derive(Debug, Default)]
struct Trace {
    spans: Vec<LinkSpan>,
    /// When its first span began, as far as is known; and the earliest.
    root_us: u64,
    first_us: u64,
    /// Whether an older file may have spans of it.
    known: bool,
    is_waiting: bool,
    /// What is counted of it.
    counted: Vec<(Key, Count)>,
}

impl Trace {
    fn note(&mut self, span: &Span) {
        let time = span.timestamp_us;
        if time != 0 && span.parent == 0 && !span.shared && self.root_us == 0 {
            self.root_us = time;
        }
        if time != 0 && (self.first_us == 0 || time < self.first_us) {
            self.first_us = time;
        }
    }

    fn began_us(&self) -> u64 {
        if self.root_us == 0 { self.first_us } else { self.root_us }
    }
}

impl Links {
    /// Notes spans of a trace. `known` says whether an older file may have spans of it.
    pub(crate) fn note(&mut self, id: u64, spans: &[Span], known: impl FnOnce() -> bool) {
        let trace = self.traces.entry(id).or_insert_with(|| Trace { known: known(), ..Trace::default() });
        for span in spans {
            trace.note(span);
            trace.spans.push(LinkSpan::of(span, |name| number(&mut self.numbers, &mut self.names, name)));
        }
        if !std::mem::replace(&mut trace.is_waiting, true) {
            self.waiting.push_back(id);
        }
    }

    /// Counts the traces that wait, the first of them first, until `left` are left. `older` gives the spans that
    /// older files have of a trace.
    pub(crate) fn settle(
        &mut self,
        left: usize,
        mut older: impl FnMut(u64) -> Result<Vec<Span>, Fault>,
    ) -> Result<(), Fault> {
        while self.waiting.len() > left
            && let Some(id) = self.waiting.pop_front()
        {
            let Some(trace) = self.traces.get_mut(&id) else { continue };
            trace.is_waiting = false;
            let mut counts: BTreeMap<(u32, u32), Count> = BTreeMap::new();
            // As they came, since of two reports the first one counts.
            let mut spans: Vec<LinkSpan> = Vec::new();
            if trace.known {
                let before = older(id)?;
                for span in &before {
                    trace.note(span);
                }
                let mut number = |name: &str| number(&mut self.numbers, &mut self.names, name);
                spans = before.iter().map(|span| LinkSpan::of(span, &mut number)).collect();
                add(&mut counts, spans.clone(), -1);
            }
            spans.extend_from_slice(&trace.spans);
            add(&mut counts, spans, 1);
            let minute = trace.began_us() / MINUTE_US;
            let counted = counts.into_iter().filter(|(_, count)| *count != (0, 0));
            let counted =
                counted.map(|((caller, callee), count)| ((minute, caller, callee), count)).collect();
            for (key, (calls, errors)) in std::mem::replace(&mut trace.counted, counted) {
                count(&mut self.counts, key, (-calls, -errors));
            }
            for (key, counted) in &trace.counted {
                count(&mut self.counts, *key, *counted);
            }
        }
        Ok(())
    }

    /// How many traces wait to be counted.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What was counted between two minutes, both included.
    pub(crate) fn between(&self, minutes: (u64, u64)) -> impl Iterator<Item = (u64, &str, &str, Count)> {
        let range = (minutes.0, 0, 0)..=(minutes.1, u32::MAX, u32::MAX);
        let name = |number: &u32| self.names.get(*number as usize - 1).map_or("", String::as_str);
        self.counts
            .range(range)
            .filter(|(_, count)| **count != (0, 0))
            .map(move |((minute, caller, callee), count)| (*minute, name(caller), name(callee), *count))
    }
}

fn add(counts: &mut BTreeMap<(u32, u32), Count>, spans: Vec<LinkSpan>, sign: i64) {
    for (caller, callee, error) in links_of(spans) {
        let counted = counts.entry((caller, callee)).or_default();
        counted.0 += sign;
        counted.1 += sign * i64::from(error);
    }
}

fn count(counts: &mut BTreeMap<Key, Count>, key: Key, (calls, errors): Count) {
    if counts.len() >= LINKS_MAX && !counts.contains_key(&key) {
        return;
    }
    let counted = counts.entry(key).or_default();
    counted.0 += calls;
    counted.1 += errors;
}

/// The number of a service, from 1 on; 0 is unknown, as are services beyond the bounds.
fn number(numbers: &mut HashMap<String, u32>, names: &mut Vec<String>, name: &str) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    if names.len() >= SERVICES_MAX || name.len() > NAME_BYTES_MAX {
        return 0;
    }
    names.push(name.to_owned());
    let number = names.len() as u32;
    numbers.insert(name.to_owned(), number);
    number
}
