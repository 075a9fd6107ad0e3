//! Opens a log: finds out what is durable, cuts a torn end, and makes what is missing of the indexes. Only the
//! last segment is gone through.

use super::beside::Beside;
use super::disk::{Disk, LOCK, is_unfinished, read_full};
use super::fetch::io_fault;
use super::group::{Group, Next, Versions};
use super::index::{Part, REMOVED};
use super::run::{self, Run, Runs};
use super::segment::{self, HEADER_BYTES, Segment};
use super::shared::{Map, Shared};
use super::tail::{Entry, Tail};
use super::wide::{self, WideFilter};
use super::writer::{Active, BESIDE_FROM, GROUP_BYTES_MAX, SPARE, Writer};
use super::{LogOptions, Recovered};
use crate::{Json, names};
use base::{Clock, Fault, Kind};
use std::io;
use std::sync::{Arc, RwLock};

/// The file that says what the directory is.
pub(crate) const FORMAT: &str = "FORMAT";
pub(crate) const FORMAT_TEXT: &str = "tombolo store 1\n";

/// Opens the log of a directory; an empty one becomes a new log.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    clock: Clock,
    options: LogOptions,
) -> Result<(Writer, Recovered), Fault> {
    let mut files = files(&*disk)?;
    let mut recovered = Recovered::default();
    remove_unfinished(&*disk, &files).map_err(io_fault)?;
    if files.segments.is_empty() {
        begin(&*disk).map_err(|error| Fault::new(Kind::Io, "cannot begin a store").because(error))?;
        files.segments.push(1);
    }
    let runs = Arc::new(Runs::new(disk.clone(), options.filter_bytes));
    let filters = wide_filters(&*disk, &files, &runs).map_err(io_fault)?;
    let parts = sealed_parts(&*disk, &files, &filters, &runs, &mut recovered)?;
    let Some(last) = files.segments.last() else {
        return Err(Fault::new(Kind::Bug, "a log without segments"));
    };
    let segment = Segment::open(&*disk, *last)?;
    let end = segment.end(true)?;
    if end.torn_bytes > 0 {
        recovered.cut_bytes = end.torn_bytes;
        segment.cut(end)?;
    }
    let tail = Arc::new(RwLock::new(index(&segment, end.offset)?));
    let head = end.next - 1;
    recovered.messages = head;
    let mut map = Map { parts, segments: files.segments.clone(), filters, pinned: None };
    map.parts.push(Part::Tail(*last, tail.clone()));
    let shared = Arc::new(Shared::new(disk, map, head, runs));
    let time = match end.time {
        0 => shared.fetch_one(&shared.map(), head, |record| record.time)?.unwrap_or(0),
        time => time,
    };
    let active = Active {
        file: segment.file.clone(),
        first: segment.first,
        offset: end.offset,
        zeros: segment.bytes(),
    };
    let mut writer = Writer {
        shared,
        clock,
        options,
        active,
        tail,
        next: Next { global_position: end.next, time },
        broken: None,
        sealing: None,
        unsealed: None,
        spare: None,
        cramped: false,
        widening: None,
        open: Group::default(),
        written: None,
        durable: None,
        idle: Vec::new(),
        versions: Versions::default(),
        beside: Beside::new(options.background),
        beside_from: BESIDE_FROM,
        group_bytes_max: GROUP_BYTES_MAX,
        wakers: Vec::new(),
    };
    writer.begin_group();
    Ok((writer, recovered))
}

/// The files of a log.
pub(crate) struct Files {
    names: Vec<String>,
    /// The first global positions of the segments, ascending.
    pub(crate) segments: Vec<i64>,
    /// The global positions of the runs.
    pub(crate) runs: Vec<(i64, i64)>,
    /// The global positions of the filters over runs.
    pub(crate) filters: Vec<(i64, i64)>,
}

/// Looks which files there are, and whether they are a log's that this program can read.
pub(crate) fn files(disk: &dyn Disk) -> Result<Files, Fault> {
    let names = disk.names().map_err(io_fault)?;
    let mut segments: Vec<i64> = names.iter().filter_map(|name| segment::first_of_name(name)).collect();
    segments.sort_unstable();
    let mut runs: Vec<_> = names.iter().filter_map(|name| run::range_of_name(name)).collect();
    runs.sort_unstable();
    let mut filters: Vec<_> = names.iter().filter_map(|name| wide::range_of_name(name)).collect();
    filters.sort_unstable();
    if names.iter().any(|name| name == FORMAT) {
        let file = disk.open(FORMAT).map_err(io_fault)?;
        let mut text = [0; 64];
        let bytes = read_full(&*file, &mut text, 0).map_err(io_fault)?;
        if text[..bytes] != *FORMAT_TEXT.as_bytes() {
            let found = String::from_utf8_lossy(&text[..bytes]).trim().to_owned();
            let text =
                format!("the store is of format `{found}`, this program knows `{}`", FORMAT_TEXT.trim());
            return Err(Fault::new(Kind::Invalid, text).hint("a newer version of the program wrote it"));
        }
    } else if let Some(name) = names.iter().find(|name| *name != LOCK && !is_unfinished(name)) {
        let text = format!("the directory holds `{name}` but no store");
        return Err(Fault::new(Kind::Invalid, text).hint("give the store a directory of its own"));
    }
    match segments.first() {
        Some(1) | None => Ok(Files { names, segments, runs, filters }),
        Some(first) => Err(missing(1, *first)),
    }
}

fn missing(first: i64, end: i64) -> Fault {
    let text = format!("the messages `{first}` to `{}` are missing from the store", end - 1);
    Fault::new(Kind::Io, text)
        .hint("nothing was changed; bring the missing segment back, or restore a backup")
}

/// Removes files that were not finished, before anything stands under their names for good.
fn remove_unfinished(disk: &dyn Disk, files: &Files) -> io::Result<()> {
    files.names.iter().filter(|name| is_unfinished(name)).try_for_each(|name| disk.remove(name))
}

/// The first files of a new log. FORMAT comes last but one: a directory with segments has it.
fn begin(disk: &dyn Disk) -> io::Result<()> {
    let unfinished = "FORMAT.new";
    let format = disk.create(unfinished)?;
    format.write_at(FORMAT_TEXT.as_bytes(), 0)?;
    format.sync()?;
    disk.rename(unfinished, FORMAT)?;
    let segment = disk.create(SPARE)?;
    segment.write_at(&segment::header(1), 0)?;
    segment.sync()?;
    disk.sync()?;
    disk.rename(SPARE, &segment::file_name(1))?;
    disk.sync()
}

/// The filters over runs, up to where one is missing; it and those behind it will be made again.
fn wide_filters(disk: &dyn Disk, files: &Files, runs: &Arc<Runs>) -> io::Result<Vec<Arc<WideFilter>>> {
    let (mut filters, mut next) = (Vec::new(), 1);
    for range in &files.filters {
        let fits = range.0 == next && files.segments.binary_search(&range.1).is_ok();
        match WideFilter::open(runs, *range) {
            Ok(filter) if fits => {
                next = range.1;
                filters.push(Arc::new(filter));
            }
            _ => disk.remove(&wide::file_name(range.0, range.1))?,
        }
    }
    Ok(filters)
}

/// The runs of all segments but the last; one that is missing or damaged is made anew.
fn sealed_parts(
    disk: &dyn Disk,
    files: &Files,
    filters: &[Arc<WideFilter>],
    runs: &Arc<Runs>,
    recovered: &mut Recovered,
) -> Result<Vec<Part>, Fault> {
    let (mut parts, mut used) = (Vec::new(), Vec::new());
    let filtered = filters.last().map_or(1, |filter| filter.end());
    for range in files.segments.windows(2).map(|pair| (pair[0], pair[1])) {
        used.push(range);
        let there =
            files.runs.binary_search(&range).is_ok().then(|| Run::open(runs, range, range.1 > filtered));
        if let Some(Ok(run)) = there {
            parts.push(Part::Run(Arc::new(run)));
            continue;
        }
        let segment = Segment::open(disk, range.0)?;
        let end = segment.end(false)?;
        if end.next != range.1 {
            return Err(missing(end.next, range.1));
        }
        let made = run::write(disk, &index(&segment, end.offset)?);
        made.map_err(|error| {
            Fault::new(Kind::Io, "cannot write an index file").because(error).hint("make room on the disk")
        })?;
        parts.push(Part::Run(Arc::new(Run::open(runs, range, range.1 > filtered)?)));
        recovered.indexes_made += 1;
    }
    // What is of no segment is left from a change that was broken off.
    for range in files.runs.iter().filter(|run| used.binary_search(run).is_err()) {
        disk.remove(&run::file_name(range.0, range.1)).map_err(io_fault)?;
    }
    Ok(parts)
}

/// The index of a segment up to an offset.
pub(crate) fn index(segment: &Segment, end: u64) -> Result<Tail, Fault> {
    debug_assert!(end >= HEADER_BYTES);
    let mut tail = Tail::new(segment.first);
    segment.each(end, |offset, record| {
        let correlation = record.metadata.and_then(correlation);
        tail.push(Entry {
            place: offset as u32 | if record.removed { REMOVED } else { 0 },
            position: record.position,
            id: (!record.removed).then_some(record.id),
            stream: record.stream,
            correlation: correlation.as_deref(),
        });
    })?;
    Ok(tail)
}

/// The category of the stream that metadata say a message belongs to.
pub(crate) fn correlation(metadata: &str) -> Option<Box<str>> {
    let stream = Json::field_of(metadata, "correlationStreamName")?;
    Some(names::category(&stream).into())
}
