//! Looks at everything a log holds: each record against its checksum, positions and times against each other,
//! each index against the messages. For a store that no process holds.

use super::disk::{Directory, Disk};
use super::fetch::io_fault;
use super::index::{Part, REMOVED, TABLES, Table, hash_of_id, hash_of_name};
use super::open::{self, Files};
use super::record::{ALIGN, Record};
use super::run::{self, REMEDY, Run, Runs};
use super::segment::{self, HEADER_BYTES, Segment};
use super::shared::{Map, Shared};
use super::tail::{Entry, Tail};
use super::wide::{self, WideFilter};
use crate::Json;
use base::{Fault, Kind};
use std::path::Path;
use std::sync::{Arc, RwLock};

/// Findings that are written down; those beyond are counted.
const FINDINGS_MAX: usize = 1_000;

/// What a look at everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments looked at.
    pub segments: usize,
    /// Index files looked at.
    pub indexes: usize,
    /// Messages looked at, the removed ones included.
    pub messages: u64,
    /// Messages of which only their positions are left.
    pub removed: u64,
    /// Bytes behind the last whole append, which the next opening cuts off. No fault.
    pub torn_bytes: u64,
    /// What is wrong, one sentence each.
    pub findings: Vec<String>,
    /// How many findings there were beyond those written down.
    pub findings_beyond: u64,
}

impl Report {
    fn find(&mut self, text: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(text);
        } else {
            self.findings_beyond += 1;
        }
    }
}

/// Looks at everything in a directory that holds a log. Changes nothing; fails only where it can't look.
pub fn verify(path: &Path) -> Result<Report, Fault> {
    if !path.is_dir() {
        return Err(Fault::new(Kind::NotFound, format!("there is no store `{}`", path.display())));
    }
    // Before anything is put there, and be it the lock.
    if open::files(&Directory::look(path))?.segments.is_empty() {
        return Err(Fault::new(Kind::NotFound, format!("the directory `{}` holds no store", path.display())));
    }
    verify_disk(Arc::new(Directory::hold(path)?))
}

pub(crate) fn verify_disk(disk: Arc<dyn Disk>) -> Result<Report, Fault> {
    let files = open::files(&*disk)?;
    let mut report = Report::default();
    let runs = Arc::new(Runs::new(disk.clone(), 0));
    let parts = open_runs(&runs, &files, &mut report);
    let filters = open_filters(&runs, &files, &mut report);
    let map = Map { parts, segments: files.segments.clone(), filters, pinned: None };
    let shared = Shared::new(disk.clone(), map, i64::MAX, runs);
    let mut looked = Looked { next: 1, time: i64::MIN };
    for (nth, first) in files.segments.iter().enumerate() {
        let last = nth + 1 == files.segments.len();
        report.segments += 1;
        let segment = match Segment::open(&*disk, *first) {
            Ok(segment) => segment,
            Err(fault) => {
                report.find(fault.to_string());
                continue;
            }
        };
        if *first != looked.next && nth > 0 {
            report.find(format!("the messages `{}` to `{}` are missing", looked.next, first - 1));
        }
        looked.next = *first;
        let tail = look(&segment, last, &mut looked, &mut report)?;
        let end = if last { tail.end() } else { files.segments[nth + 1] };
        agree(&shared, &tail, end, last, &mut report)?;
        if last {
            // Later parts would be looked up here, and there are none.
            let tail = Arc::new(RwLock::new(tail));
            shared.change_map(|map| map.parts.push(Part::Tail(*first, tail)));
        }
    }
    Ok(report)
}

/// The runs that are there, without making any.
fn open_runs(runs: &Arc<Runs>, files: &Files, report: &mut Report) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut next = 1;
    for range in files.runs.iter().copied() {
        report.indexes += 1;
        let name = run::file_name(range.0, range.1);
        let opened = Run::open(runs, range, false);
        let checked = opened.and_then(|run| Ok((run.check().map_err(io_fault)?, run)));
        match checked {
            Ok((None, run)) if range.0 >= next => {
                next = range.1;
                parts.push(Part::Run(Arc::new(run)));
            }
            Ok((None, _)) => {}
            Ok((Some(what), _)) => report.find(format!("`{name}`: {what}; {REMEDY}")),
            Err(fault) => report.find(format!("{fault}; {REMEDY}")),
        }
    }
    parts
}

/// The filters over runs that are there.
fn open_filters(runs: &Arc<Runs>, files: &Files, report: &mut Report) -> Vec<Arc<WideFilter>> {
    let mut filters = Vec::new();
    for range in &files.filters {
        report.indexes += 1;
        match WideFilter::open(runs, *range).and_then(|filter| Ok((filter.is_sound()?, filter))) {
            Ok((true, filter)) => filters.push(Arc::new(filter)),
            _ => {
                let name = wide::file_name(range.0, range.1);
                report.find(format!("`{name}` is not what was written; {REMEDY}"));
            }
        }
    }
    filters
}

struct Looked {
    next: i64,
    time: i64,
}

/// Looks at the records of a segment, and makes its index.
fn look(segment: &Segment, last: bool, looked: &mut Looked, report: &mut Report) -> Result<Tail, Fault> {
    let name = segment::file_name(segment.first);
    let mut tail = Tail::new(segment.first);
    let end = match segment.end(last) {
        Ok(end) => {
            report.torn_bytes += end.torn_bytes;
            end.offset
        }
        // Gone through to its end, to find what else is wrong.
        Err(_) => segment.bytes(),
    };
    let mut walk = segment.walk(HEADER_BYTES, end);
    let mut bad_since = None;
    loop {
        let offset = walk.offset;
        match walk.next().map_err(io_fault)? {
            None => break,
            Some(Err(_)) => {
                bad_since.get_or_insert(offset);
                walk.offset += ALIGN as u64;
            }
            Some(Ok(record)) => {
                if let Some(from) = bad_since.take() {
                    report.find(format!("`{name}`: the bytes `{from}` to `{}` are no record", offset - 1));
                }
                look_at(&record, &name, offset, looked, report);
                report.messages += 1;
                report.removed += u64::from(record.removed);
                let correlation = record.metadata.and_then(open::correlation);
                // An index has one place for each position: what is missing leaves its place empty.
                while tail.end() < record.global_position && tail.len() < (1 << 24) {
                    tail.push(Entry { place: 0, position: 0, id: None, stream: "", correlation: None });
                }
                tail.push(Entry {
                    place: offset as u32 | if record.removed { REMOVED } else { 0 },
                    position: record.position,
                    id: (!record.removed).then_some(record.id),
                    stream: record.stream,
                    correlation: correlation.as_deref(),
                });
            }
        }
    }
    if let Some(from) = bad_since {
        report.find(format!("`{name}`: the bytes from `{from}` on are no record"));
    }
    Ok(tail)
}

fn look_at(record: &Record<'_>, name: &str, offset: u64, looked: &mut Looked, report: &mut Report) {
    let here = format!("`{name}` at byte `{offset}`: message `{}`", record.global_position);
    if record.global_position != looked.next {
        report.find(format!("{here} stands where `{}` should", looked.next));
    }
    looked.next = record.global_position + 1;
    if record.time < looked.time {
        report.find(format!("{here} is older than the one before it"));
    }
    looked.time = record.time;
    for json in [record.data, record.metadata].into_iter().flatten() {
        if Json::parse(json).map_or(true, |canonical| canonical.as_str() != json) {
            report.find(format!("{here} holds JSON that is not canonical"));
        }
    }
}

/// Compares the index of a segment with the run that covers it, and with the parts before.
fn agree(shared: &Shared, tail: &Tail, end: i64, last: bool, report: &mut Report) -> Result<(), Fault> {
    let map = shared.map();
    let name = segment::file_name(tail.first());
    let earlier: Vec<&Part> = map.parts.iter().filter(|part| part.end() <= tail.first()).collect();
    for (stream, messages) in tail.all_names(Table::Streams) {
        let mut expected = 0;
        for part in earlier.iter().rev() {
            if let Some(list) = part.list(Table::Streams, stream).map_err(io_fault)? {
                expected = list.first_position + list.count as i64;
                break;
            }
        }
        if messages.first_position != expected {
            let first = messages.first_position;
            report.find(format!("`{name}`: stream `{stream}` goes on at `{first}` and not at `{expected}`"));
        }
    }
    for (id, nth) in tail.all_ids() {
        let mut candidates = Vec::new();
        for part in &earlier {
            part.candidates(id, &mut candidates).map_err(io_fault)?;
        }
        for position in candidates {
            if shared.fetch_one(&map, position, |other| other.id == id && !other.removed)? == Some(true) {
                let second = tail.first() + i64::from(nth);
                report.find(format!("the messages `{position}` and `{second}` have the same id `{id}`"));
            }
        }
    }
    let run = map.parts.iter().find(|part| part.first() <= tail.first() && end <= part.end());
    match run {
        Some(run) => same(run, &map.filters, tail, end, &name, report),
        None if last => Ok(()),
        None => {
            report.find(format!("`{name}` has no index file; it is made at the next opening"));
            Ok(())
        }
    }
}

/// Compares a run with the index that was just made of one of its segments.
fn same(
    run: &Part,
    filters: &[Arc<WideFilter>],
    tail: &Tail,
    end: i64,
    name: &str,
    report: &mut Report,
) -> Result<(), Fault> {
    let mut places = Vec::new();
    run.places(tail.first(), (end - tail.first()) as usize, &mut places).map_err(io_fault)?;
    if places != tail.all_places() {
        report.find(format!("`{name}`: the index has other places than the messages; {REMEDY}"));
    }
    for table in TABLES {
        for (key, messages) in tail.all_names(table) {
            let expected = messages.entries.iter().map(|nth| tail.first() + i64::from(*nth));
            let mut found = Vec::new();
            if let Some(list) = run.list(table, key).map_err(io_fault)? {
                let from = run.entries_before(&list, tail.first()).map_err(io_fault)?;
                let to = run.entries_before(&list, end).map_err(io_fault)?;
                run.entries(&list, from, to - from, &mut found).map_err(io_fault)?;
                let position = list.first_position + from as i64;
                if table == Table::Streams && position != messages.first_position {
                    report.find(format!("`{name}`: the index has other positions of `{key}`; {REMEDY}"));
                }
            }
            if !expected.eq(found.iter().copied()) {
                report.find(format!("`{name}`: the index has other messages of `{key}`; {REMEDY}"));
            }
        }
    }
    let (ids, streams) = (tail.all_ids(), tail.all_names(Table::Streams));
    let keys = ids.map(|(id, _)| hash_of_id(id)).chain(streams.iter().map(|(name, _)| hash_of_name(name)));
    let over = filters.iter().find(|filter| filter.first() <= tail.first() && end <= filter.end());
    if let Some(filter) = over {
        for key in keys {
            if !filter.may_have(key).map_err(io_fault)? {
                report.find(format!("`{name}`: the filter over the indexes denies what is there; {REMEDY}"));
                break;
            }
        }
    }
    for (id, nth) in tail.all_ids() {
        let mut found = Vec::new();
        run.candidates(id, &mut found).map_err(io_fault)?;
        if !found.contains(&(tail.first() + i64::from(nth))) {
            report.find(format!("`{name}`: the index does not know the id `{id}`; {REMEDY}"));
        }
    }
    Ok(())
}
