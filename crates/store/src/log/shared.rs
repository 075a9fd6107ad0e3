//! What the writer and the readers of a log share: which parts and segments there are, how far it is visible,
//! and the open files.

use super::call::Callers;
use super::disk::{Disk, DiskFile};
use super::files::OpenFiles;
use super::index::Part;
use super::run::Runs;
use super::segment;
use super::wide::WideFilter;
use crate::Wakes;
use crate::log::Grouped;
use base::Fault;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Segments that are kept open for reading.
pub(crate) const FILES_MAX: usize = 256;

/// Which parts and segments there are, oldest first, at one moment.
#[derive(Clone)]
pub(crate) struct Map {
    pub(crate) parts: Vec<Part>,
    /// The first global position of each segment.
    pub(crate) segments: Vec<i64>,
    /// Filters over many of the oldest parts, in their order.
    pub(crate) filters: Vec<Arc<WideFilter>>,
    /// A segment whose file is being replaced, as it was: the parts here belong to that one.
    pub(crate) pinned: Option<(i64, Arc<dyn DiskFile>)>,
}

impl Map {
    /// The segment that a message lies in.
    pub(crate) fn segment_of(&self, global_position: i64) -> Option<i64> {
        let behind = self.segments.partition_point(|first| *first <= global_position);
        self.segments[..behind].last().copied()
    }

    /// The parts that may have an id or a stream of this hash, newest first.
    pub(crate) fn parts_that_may_have(&self, hash: u64) -> io::Result<Vec<&Part>> {
        let mut parts = Vec::new();
        self.each_that_may_have(hash, |part| {
            parts.push(part);
            Ok(())
        })?;
        Ok(parts)
    }

    /// Visits the parts that may have an id or a stream of this hash, newest first.
    pub(crate) fn each_that_may_have<'a>(
        &'a self,
        hash: u64,
        mut visit: impl FnMut(&'a Part) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut left = self.parts.as_slice();
        for filter in self.filters.iter().rev() {
            let (older, newer) = left.split_at(left.partition_point(|part| part.first() < filter.end()));
            newer.iter().rev().try_for_each(&mut visit)?;
            let (older, of_filter) =
                older.split_at(older.partition_point(|part| part.first() < filter.first()));
            if filter.may_have(hash)? {
                of_filter.iter().rev().try_for_each(&mut visit)?;
            }
            left = older;
        }
        left.iter().rev().try_for_each(visit)
    }

    /// The part that a message lies in.
    pub(crate) fn part_of(&self, global_position: i64) -> Option<&Part> {
        let behind = self.parts.partition_point(|part| part.first() <= global_position);
        self.parts[..behind].last()
    }
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    /// The global position of the last message that is visible.
    head: AtomicI64,
    map: RwLock<Arc<Map>>,
    files: OpenFiles<i64>,
    pub(crate) runs: Arc<Runs>,
    pub(crate) wakes: Wakes,
    /// Callers that have their answer and are still to be woken.
    pub(crate) callers: Callers,
    pub(crate) grouped: GroupCounts,
    /// Held by who replaces files or copies all of them.
    pub(crate) maintenance: Mutex<()>,
}

/// What the writer counts.
#[derive(Default)]
pub(crate) struct GroupCounts {
    groups: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl GroupCounts {
    /// Counts one group.
    pub(crate) fn add(&self, messages: usize, bytes: usize) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Grouped {
        let [groups, messages, bytes] =
            [&self.groups, &self.messages, &self.bytes].map(|count| count.load(Ordering::Relaxed));
        Grouped { groups, messages, bytes }
    }
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, map: Map, head: i64, runs: Arc<Runs>) -> Self {
        Self {
            disk,
            head: AtomicI64::new(head),
            map: RwLock::new(Arc::new(map)),
            files: OpenFiles::new(FILES_MAX),
            runs,
            wakes: Wakes::new(),
            callers: Callers::default(),
            grouped: GroupCounts::default(),
            maintenance: Mutex::new(()),
        }
    }

    pub(crate) fn head(&self) -> i64 {
        self.head.load(Ordering::Acquire)
    }

    /// Makes messages visible, once they are durable and in the index.
    pub(crate) fn set_head(&self, head: i64) {
        self.head.store(head, Ordering::Release);
    }

    pub(crate) fn map(&self) -> Arc<Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes which parts and segments there are. Readers under way go on with what they have.
    pub(crate) fn change_map(&self, change: impl FnOnce(&mut Map)) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Map::clone(&map);
        change(&mut changed);
        *map = Arc::new(changed);
    }

    /// Asks of the parts and segments that there are. Where they changed meanwhile, a failure may come from
    /// that, and is asked again.
    pub(crate) fn ask<T>(&self, ask: impl Fn(&Map) -> Result<T, Fault>) -> Result<T, Fault> {
        loop {
            let map = self.map();
            let answer = ask(&map);
            if answer.is_ok() || Arc::ptr_eq(&map, &self.map()) {
                return answer;
            }
        }
    }

    /// A segment's file.
    pub(crate) fn file(&self, map: &Map, first: i64) -> io::Result<Arc<dyn DiskFile>> {
        if let Some((_, file)) = map.pinned.as_ref().filter(|(pinned, _)| *pinned == first) {
            return Ok(file.clone());
        }
        self.files.get(first, || self.disk.open(&segment::file_name(first)))
    }

    /// Reads a segment from another file from now on.
    pub(crate) fn replace_file(&self, first: i64, file: Arc<dyn DiskFile>) {
        self.files.replace(first, file);
    }

    /// How many segments are open for reading.
    #[cfg(test)]
    pub(crate) fn open_files(&self) -> usize {
        self.files.len()
    }
}
