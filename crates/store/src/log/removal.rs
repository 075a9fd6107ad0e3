//! Takes messages away for good. Their positions and their time stay, so that nothing else moves: a sealed segment
//! is written anew with short records in their places, and its index with it.

use super::call::Command;
use super::disk::unfinished;
use super::fetch::io_fault;
use super::index::{Part, REMOVED, Table};
use super::run::{self, Run};
use super::segment::{self, HEADER_BYTES, Segment};
use super::shared::{Map, Shared};
use super::tail::{Entry, Tail};
use super::{Log, open};
use crate::Removal;
use base::{Fault, Kind};
use std::io;
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

/// Bytes of a segment that are written at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Entries of a list that are looked at at once.
const ENTRIES_AT_ONCE: usize = 64 << 10;

impl Log {
    /// Removes messages, whose number it answers. They are gone from the disk when it answers; after a failure
    /// those of the older segments may be.
    pub(crate) async fn remove_messages(&self, removal: Removal) -> Result<u64, Fault> {
        let gone = || Fault::new(Kind::Bug, "the writer of the store has ended");
        let removal = Arc::new(removal);
        let asked = removal.clone();
        // The last segment is being written, and can't be replaced.
        if self.aside(move |shared| shared.is_in_memory(&asked)).await? {
            let (answer, sealed) = oneshot::channel();
            self.ask_writer(Command::Seal(answer, self.room_for(0).await)).map_err(|()| gone())?;
            sealed.await.unwrap_or_else(|_| Err(gone()))?;
        }
        self.aside(move |shared| shared.remove(&removal)).await
    }
}

impl Shared {
    /// Removes messages of sealed parts.
    pub(crate) fn remove(&self, removal: &Removal) -> Result<u64, Fault> {
        let _alone = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let map = self.map();
        let bound = self.bound(&map, removal)?;
        let mut removed = 0;
        for part in map.parts.iter().filter(|part| matches!(part, Part::Run(_))) {
            let positions = in_part(part, removal, bound).map_err(io_fault)?;
            if let (Some(_), Some(segment)) = (positions.first(), map.segment_of(part.first())) {
                removed += positions.len() as u64;
                self.rewrite(segment, (part.first(), part.end()), &positions)?;
            }
        }
        Ok(removed)
    }

    /// Whether any of the messages to be removed is in a part that is not sealed yet.
    fn is_in_memory(&self, removal: &Removal) -> Result<bool, Fault> {
        let map = self.map();
        let bound = self.bound(&map, removal)?;
        for part in map.parts.iter().filter(|part| matches!(part, Part::Tail(..))) {
            if !in_part(part, removal, bound).map_err(io_fault)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The global position before which messages of a category are removed.
    fn bound(&self, map: &Map, removal: &Removal) -> Result<i64, Fault> {
        let Removal::Category { category, before, keep } = removal else { return Ok(i64::MAX) };
        let mut bound = 0;
        if let Some(time) = before {
            bound = self.last_at(map, self.head(), time - 1)? + 1;
        }
        let Some(mut keep) = *keep else { return Ok(bound) };
        for part in map.parts.iter().rev() {
            let Some(list) = part.list(Table::Categories, category).map_err(io_fault)? else { continue };
            if (list.count as u64) <= keep {
                keep -= list.count as u64;
                continue;
            }
            // The first one that is kept, or what is behind this part if none of it is.
            let mut first = Vec::new();
            part.entries(&list, list.count - keep as usize, 1, &mut first).map_err(io_fault)?;
            return Ok(bound.max(first.first().copied().unwrap_or(part.end())));
        }
        Ok(bound)
    }

    /// Writes a segment anew. Readers go on meanwhile: those who know the old index read the old file.
    fn rewrite(&self, first: i64, range: (i64, i64), positions: &[i64]) -> Result<(), Fault> {
        let disk = &*self.disk;
        let failed = |error: io::Error| {
            let text = format!("cannot write the segment `{}` anew", segment::file_name(first));
            Fault::new(Kind::Io, text)
                .because(error)
                .hint("nothing is lost; make room on the disk, then try again")
        };
        let old = Segment::open(disk, first)?;
        let (name, index_name) = (segment::file_name(first), run::file_name(range.0, range.1));
        let (new_name, new_index_name) = (unfinished(&name), unfinished(&index_name));
        let file = disk.create(&new_name).map_err(failed)?;
        let tail = without(&old, positions, &*file)?;
        file.sync().map_err(failed)?;
        run::write_as(disk, &tail, &new_index_name).map_err(failed)?;
        // A filter over many runs still holds for those that are left of them.
        let in_memory = self.map().filters.last().is_none_or(|filter| filter.end() <= first);
        let run = Arc::new(Run::open_as(&self.runs, range, in_memory, &new_index_name)?);
        self.change_map(|map| map.pinned = Some((first, old.file.clone())));
        // An index never stands beside a segment that it is not of, whenever the machine stops: one that is
        // missing is made anew.
        let replaced = disk
            .remove(&index_name)
            .and_then(|()| disk.sync())
            .and_then(|()| disk.rename(&new_name, &name))
            .and_then(|()| disk.sync())
            .map_err(failed);
        if replaced.is_ok() {
            self.replace_file(first, file);
        }
        self.change_map(|map| {
            map.pinned = None;
            if replaced.is_ok() {
                for part in map.parts.iter_mut().filter(|part| part.first() == range.0) {
                    *part = Part::Run(run.clone());
                }
            }
        });
        replaced?;
        disk.rename(&new_index_name, &index_name).and_then(|()| disk.sync()).map_err(failed)
    }
}

/// The messages of a part that are to be removed, and are not yet.
fn in_part(part: &Part, removal: &Removal, bound: i64) -> io::Result<Vec<i64>> {
    let (list, count) = match removal {
        Removal::Stream { stream, before } => {
            let Some(list) = part.list(Table::Streams, stream)? else { return Ok(Vec::new()) };
            let count = usize::try_from(before - list.first_position).unwrap_or(0).min(list.count);
            (list, count)
        }
        Removal::Category { category, .. } => {
            let Some(list) = part.list(Table::Categories, category)? else { return Ok(Vec::new()) };
            let count = part.entries_before(&list, bound)?;
            (list, count)
        }
    };
    let (mut found, mut entries, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while at < count {
        entries.clear();
        part.entries(&list, at, ENTRIES_AT_ONCE.min(count - at), &mut entries)?;
        at += entries.len();
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            places.clear();
            part.places(*first, (last - first + 1) as usize, &mut places)?;
            let stands = |position: &&i64| {
                let place = places.get((**position - first) as usize);
                place.is_some_and(|place| place & REMOVED == 0)
            };
            found.extend(entries.iter().filter(stands).copied());
        }
    }
    Ok(found)
}

/// Copies a segment without some messages, whose positions ascend. Answers its index.
fn without(old: &Segment, positions: &[i64], to: &dyn super::disk::DiskFile) -> Result<Tail, Fault> {
    let end = old.end(false)?;
    let mut tail = Tail::new(old.first);
    let mut chunk = segment::header(old.first).to_vec();
    let (mut written, mut left) = (0, positions.iter().peekable());
    let mut failed = None;
    old.each(end.offset, |_, record| {
        let remove = left.next_if(|position| **position == record.global_position).is_some();
        // One group: all of it is durable before the file stands under its name.
        let group = HEADER_BYTES as u32;
        let record = if remove { record.remains(group) } else { super::record::Record { group, ..*record } };
        let correlation = record.metadata.and_then(open::correlation);
        tail.push(Entry {
            place: (written + chunk.len() as u64) as u32 | if record.removed { REMOVED } else { 0 },
            position: record.position,
            id: (!record.removed).then_some(record.id),
            stream: record.stream,
            correlation: correlation.as_deref(),
        });
        record.write(&mut chunk);
        if chunk.len() >= CHUNK_BYTES && failed.is_none() {
            failed = to.write_at(&chunk, written).err();
            written += chunk.len() as u64;
            chunk.clear();
        }
    })?;
    match failed.map_or_else(|| to.write_at(&chunk, written), Err) {
        Ok(()) => Ok(tail),
        Err(error) => Err(Fault::new(Kind::Io, "cannot write a segment anew").because(error)),
    }
}
