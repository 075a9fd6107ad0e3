//! The index of a sealed part, in a file that is made once and never changed. It can be deleted while the store
//! is closed: it is made again from the log. `docs/store-format.md` has its tables.

mod write;

use super::disk::{Disk, DiskFile, read_exact, unfinished};
use super::files::OpenFiles;
use super::filter::{self, Filter};
use super::index::{List, Named, Names, TABLES, Table, hash_of_id, hash_of_name};
use super::record::{i64_at, u32_at};
use super::segment::damaged;
use crate::Uuid;
use base::{Fault, Kind};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(crate) use write::{write, write_as};

const MAGIC: &[u8; 8] = b"tombidx\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 512;
const SLOT_BYTES: usize = 12;
const ENTRY_BYTES: usize = 32;
/// So many slots are read at once around the place where one should be.
const SLOT_WINDOW: u64 = 128;
/// So many names are read at once in a listing.
const NAMES_AT_ONCE: usize = 256;

/// Where the sections' descriptions are in the header.
const SECTIONS_AT: usize = 32;
const SECTION_BYTES: usize = 24;
const PLACES: usize = 0;
const IDS: usize = 1;
const FILTER: usize = 14;
const SECTIONS: usize = 15;

/// The four sections of a table.
const fn sections_of(table: Table) -> TableSections {
    let first = match table {
        Table::Streams => 2,
        Table::Categories => 6,
        Table::Correlations => 10,
    };
    TableSections { slots: first, entries: first + 1, names: first + 2, lists: first + 3 }
}

struct TableSections {
    slots: usize,
    entries: usize,
    names: usize,
    lists: usize,
}

/// A part of the file: so many items from an offset on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Section {
    offset: u64,
    count: u64,
    checksum: u32,
}

/// Bytes of an item of a section.
fn item_bytes(section: usize) -> usize {
    match section {
        PLACES => 4,
        IDS => SLOT_BYTES,
        FILTER => filter::BLOCK_BYTES,
        of_table => [SLOT_BYTES, ENTRY_BYTES, 1, 4][(of_table - 2) % 4],
    }
}

/// Runs that are kept open.
pub(crate) const OPEN_MAX: usize = 128;

/// What all runs share: where they are, which are open, and how much memory their filters take. Filters that do
/// not fit are looked at in their files.
pub(crate) struct Runs {
    disk: Arc<dyn Disk>,
    files: OpenFiles<u64>,
    opened: AtomicU64,
    filter_bytes_max: usize,
    filter_bytes: AtomicUsize,
}

impl Runs {
    pub(crate) fn new(disk: Arc<dyn Disk>, filter_bytes_max: usize) -> Self {
        let files = OpenFiles::new(OPEN_MAX);
        Self { disk, files, opened: AtomicU64::new(0), filter_bytes_max, filter_bytes: AtomicUsize::new(0) }
    }

    fn take(&self, bytes: usize) -> bool {
        let took = self.filter_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(bytes).filter(|sum| *sum <= self.filter_bytes_max)
        });
        took.is_ok()
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Files that are kept open, by serials.
    pub(crate) fn files(&self) -> &OpenFiles<u64> {
        &self.files
    }

    /// A number that tells a file from all others.
    pub(crate) fn serial(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }

    /// Bytes of filters in memory, and how many runs are open.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.filter_bytes.load(Ordering::Relaxed), self.files.len())
    }
}

/// An index in a file.
pub(crate) struct Run {
    runs: Arc<Runs>,
    /// Tells it from others of the same global positions.
    serial: u64,
    /// The checksum of its header.
    checksum: u32,
    first: i64,
    end: i64,
    sections: [Section; SECTIONS],
    filter: Option<Filter>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let bytes = self.filter.as_ref().map_or(0, |filter| filter.bytes().len());
        self.runs.filter_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.runs.files.forget(self.serial);
    }
}

/// The name of the run of these global positions, the end not among them.
pub(crate) fn file_name(first: i64, end: i64) -> String {
    format!("{first:020}-{end:020}.idx")
}

/// The global positions that a file's name says, if it is a run's.
pub(crate) fn range_of_name(name: &str) -> Option<(i64, i64)> {
    let (first, end) = name.strip_suffix(".idx")?.split_once('-')?;
    let number = |digits: &str| (digits.len() == 20).then(|| digits.parse().ok()).flatten();
    let range = (number(first)?, number(end)?);
    (0 < range.0 && range.0 < range.1).then_some(range)
}

/// One entry of a table.
#[derive(Clone, Copy)]
struct Entry {
    name_at: u64,
    list_at: u64,
    first_position: i64,
    count: u32,
    name_bytes: u16,
}

impl Entry {
    fn read(bytes: &[u8]) -> Self {
        Self {
            name_at: i64_at(bytes, 0) as u64,
            list_at: i64_at(bytes, 8) as u64,
            first_position: i64_at(bytes, 16),
            count: u32_at(bytes, 24),
            name_bytes: u16::from_le_bytes([bytes[28], bytes[29]]),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name_at.to_le_bytes());
        out.extend_from_slice(&self.list_at.to_le_bytes());
        out.extend_from_slice(&self.first_position.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.name_bytes.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
    }
}

impl Run {
    /// Opens the run of these global positions, with its filter in memory if that is wanted and there is room.
    pub(crate) fn open(runs: &Arc<Runs>, range: (i64, i64), in_memory: bool) -> Result<Self, Fault> {
        Self::open_as(runs, range, in_memory, &file_name(range.0, range.1))
    }

    /// Opens a run that stands under another name.
    pub(crate) fn open_as(
        runs: &Arc<Runs>,
        range: (i64, i64),
        in_memory: bool,
        name: &str,
    ) -> Result<Self, Fault> {
        let fault = |error: io::Error| Fault::new(Kind::Io, format!("cannot read `{name}`")).because(error);
        let file = runs.disk.open(name).map_err(fault)?;
        let mut header = [0; HEADER_BYTES];
        read_exact(&*file, &mut header, 0).map_err(fault)?;
        let checksum = u32_at(&header, 12);
        header[12..16].fill(0);
        let sound = header[..8] == *MAGIC
            && u32_at(&header, 8) == VERSION
            && crc32c::crc32c(&header) == checksum
            && (i64_at(&header, 16), i64_at(&header, 24)) == range;
        if !sound {
            return Err(damaged(name, 0, "its header is not one").hint(REMEDY));
        }
        let mut sections = [Section::default(); SECTIONS];
        for (nth, section) in sections.iter_mut().enumerate() {
            let at = SECTIONS_AT + nth * SECTION_BYTES;
            *section = Section {
                offset: i64_at(&header, at) as u64,
                count: i64_at(&header, at + 8) as u64,
                checksum: u32_at(&header, at + 16),
            };
        }
        let serial = runs.serial();
        let (first, end) = range;
        let mut run = Self { runs: runs.clone(), serial, checksum, first, end, sections, filter: None };
        let bytes = sections[FILTER].count as usize * filter::BLOCK_BYTES;
        if in_memory && runs.take(bytes) {
            let mut blocks = vec![0; bytes];
            // Kept even when it can't be read, so that dropping gives the memory back.
            let read = read_exact(&*file, &mut blocks, sections[FILTER].offset);
            run.filter = Some(Filter::from_bytes(&blocks));
            read.map_err(fault)?;
        }
        runs.files.replace(serial, file);
        Ok(run)
    }

    /// The same run, with its filter in its file only.
    pub(crate) fn without_filter(&self) -> Self {
        let Self { runs, checksum, first, end, sections, .. } = self;
        let (runs, serial) = (runs.clone(), runs.serial());
        Self {
            runs,
            serial,
            checksum: *checksum,
            first: *first,
            end: *end,
            sections: *sections,
            filter: None,
        }
    }

    /// How many keys its filter has.
    pub(crate) fn keys(&self) -> usize {
        let streams = self.sections[sections_of(Table::Streams).slots].count;
        (self.sections[IDS].count + streams) as usize
    }

    /// Visits the hashes of all ids and streams.
    pub(crate) fn each_key(&self, visit: &mut dyn FnMut(u64)) -> io::Result<()> {
        const AT_ONCE: u64 = 16 << 10;
        for section in [IDS, sections_of(Table::Streams).slots] {
            let (mut at, count) = (0, self.sections[section].count);
            while at < count {
                let slots = self.items(section, at, AT_ONCE.min(count - at) as usize)?;
                for slot in slots.chunks_exact(SLOT_BYTES) {
                    visit(i64_at(slot, 0) as u64);
                }
                at += AT_ONCE;
            }
        }
        Ok(())
    }

    /// Its file, opened anew where it was closed meanwhile. A run that is not yet under its name is found under
    /// the one it has until then; one that was replaced is not found any more.
    fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.runs.files.get(self.serial, || {
            let name = file_name(self.first, self.end);
            for name in [&name, &unfinished(&name)] {
                let mut head = [0; 16];
                if let Ok(file) = self.runs.disk.open(name)
                    && read_exact(&*file, &mut head, 0).is_ok()
                    && u32_at(&head, 12) == self.checksum
                {
                    return Ok(file);
                }
            }
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("the index `{name}` was replaced or removed"),
            ))
        })
    }

    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Reads items of a section.
    fn items(&self, section: usize, skip: u64, count: usize) -> io::Result<Vec<u8>> {
        let of = self.sections[section];
        let bytes = item_bytes(section);
        if skip.saturating_add(count as u64) > of.count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an index is damaged: {REMEDY}")));
        }
        let mut items = vec![0; count * bytes];
        read_exact(&*self.file()?, &mut items, of.offset + skip * bytes as u64)?;
        Ok(items)
    }

    pub(crate) fn places(&self, first: i64, count: usize, out: &mut Vec<u32>) -> io::Result<()> {
        let items = self.items(PLACES, (first - self.first) as u64, count)?;
        out.extend(items.as_chunks().0.iter().map(|place| u32::from_le_bytes(*place)));
        Ok(())
    }

    fn may_have(&self, hash: u64) -> io::Result<bool> {
        match &self.filter {
            Some(filter) => Ok(filter.may_have(hash)),
            None => filter::may_have(hash, self.sections[FILTER].count, |block, bytes| {
                let at = self.sections[FILTER].offset + block * filter::BLOCK_BYTES as u64;
                read_exact(&*self.file()?, bytes, at)
            }),
        }
    }

    pub(crate) fn list(&self, table: Table, name: &str) -> io::Result<Option<List>> {
        let hash = hash_of_name(name);
        if table == Table::Streams && !self.may_have(hash)? {
            return Ok(None);
        }
        for nth in self.slots(sections_of(table).slots, hash)? {
            let (entry, found) = self.entry(table, u64::from(nth))?;
            if found == name.as_bytes() {
                return Ok(Some(List {
                    table,
                    name: name.into(),
                    count: entry.count as usize,
                    first_position: entry.first_position,
                    at: entry.list_at,
                }));
            }
        }
        Ok(None)
    }

    fn entry(&self, table: Table, nth: u64) -> io::Result<(Entry, Vec<u8>)> {
        let sections = sections_of(table);
        let entry = Entry::read(&self.items(sections.entries, nth, 1)?);
        Ok((entry, self.items(sections.names, entry.name_at, usize::from(entry.name_bytes))?))
    }

    pub(crate) fn entries(
        &self,
        list: &List,
        skip: usize,
        count: usize,
        out: &mut Vec<i64>,
    ) -> io::Result<()> {
        let count = count.min(list.count.saturating_sub(skip));
        let items = self.items(sections_of(list.table).lists, list.at + skip as u64, count)?;
        out.extend(items.as_chunks().0.iter().map(|nth| self.first + i64::from(u32::from_le_bytes(*nth))));
        Ok(())
    }

    pub(crate) fn candidates(&self, id: Uuid, out: &mut Vec<i64>) -> io::Result<()> {
        let hash = hash_of_id(id);
        if self.may_have(hash)? {
            out.extend(self.slots(IDS, hash)?.into_iter().map(|nth| self.first + i64::from(nth)));
        }
        Ok(())
    }

    /// What the slots of this hash hold. Hashes are spread evenly, so that the place to look is known well.
    fn slots(&self, section: usize, hash: u64) -> io::Result<Vec<u32>> {
        let total = self.sections[section].count;
        let hash_at = |slots: &[u8], nth: u64| i64_at(slots, nth as usize * SLOT_BYTES) as u64;
        // The first slot that is not less lies in `low..=high`.
        let (mut low, mut high) = (0, total);
        let mut guess = ((u128::from(hash) * u128::from(total)) >> 64) as u64;
        while high - low > SLOT_WINDOW {
            let from = guess.saturating_sub(SLOT_WINDOW / 2).clamp(low, high - SLOT_WINDOW);
            let window = self.items(section, from, SLOT_WINDOW as usize)?;
            if hash_at(&window, 0) >= hash {
                high = from;
            } else if hash_at(&window, SLOT_WINDOW - 1) < hash {
                low = from + SLOT_WINDOW;
            } else {
                (low, high) = (from, from + SLOT_WINDOW);
            }
            guess = u64::midpoint(low, high);
        }
        let window = self.items(section, low, (high - low) as usize)?;
        let skip = (0..high - low).take_while(|nth| hash_at(&window, *nth) < hash).count() as u64;
        let (mut found, mut at) = (Vec::new(), low + skip);
        while at < total {
            let inside = at < high;
            let slot = if inside { Vec::new() } else { self.items(section, at, 1)? };
            let slot = if inside { &window[(at - low) as usize * SLOT_BYTES..] } else { &slot };
            if i64_at(slot, 0) as u64 != hash {
                break;
            }
            found.push(u32_at(slot, 8));
            at += 1;
        }
        Ok(found)
    }

    pub(crate) fn names(&self, ask: &Names<'_>) -> io::Result<Vec<Named>> {
        let total = self.sections[sections_of(ask.table).entries].count;
        let start = match ask.after {
            Some(after) if after > ask.prefix => after,
            _ => ask.prefix,
        };
        let (mut low, mut high) = (0, total);
        while low < high {
            let middle = u64::midpoint(low, high);
            if self.entry(ask.table, middle)?.1.as_slice() < start.as_bytes() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found = Vec::new();
        while low < total && found.len() < ask.limit {
            for named in self.names_from(ask.table, low, NAMES_AT_ONCE)? {
                low += 1;
                if !named.name.starts_with(ask.prefix) {
                    if named.name.as_str() > ask.prefix {
                        return Ok(found);
                    }
                } else if ask.after.is_none_or(|after| named.name.as_str() > after)
                    && (ask.takes)(&named.name)
                    && found.len() < ask.limit
                {
                    found.push(named);
                }
            }
        }
        Ok(found)
    }

    /// Names from the one numbered `skip` in the order of their bytes.
    fn names_from(&self, table: Table, skip: u64, count: usize) -> io::Result<Vec<Named>> {
        let sections = sections_of(table);
        let count = count.min((self.sections[sections.entries].count - skip) as usize);
        let items = self.items(sections.entries, skip, count)?;
        let entries: Vec<Entry> = items.chunks_exact(ENTRY_BYTES).map(Entry::read).collect();
        let Some(first) = entries.first() else { return Ok(Vec::new()) };
        let bytes: usize = entries.iter().map(|entry| usize::from(entry.name_bytes)).sum();
        // The names of neighbours are neighbours.
        let names = self.items(sections.names, first.name_at, bytes)?;
        let mut at = 0;
        Ok(entries
            .iter()
            .map(|entry| {
                let name = &names[at..at + usize::from(entry.name_bytes)];
                at += name.len();
                Named {
                    name: String::from_utf8_lossy(name).into_owned(),
                    count: entry.count as usize,
                    first_position: entry.first_position,
                }
            })
            .collect())
    }

    /// Compares each section with its checksum. Answers what is wrong.
    pub(crate) fn check(&self) -> io::Result<Option<&'static str>> {
        const AT_ONCE: u64 = 1 << 20;
        for (nth, section) in self.sections.iter().enumerate() {
            let bytes = section.count * item_bytes(nth) as u64;
            let (mut checksum, mut at) = (0, 0);
            while at < bytes {
                let mut chunk = vec![0; (bytes - at).min(AT_ONCE) as usize];
                read_exact(&*self.file()?, &mut chunk, section.offset + at)?;
                checksum = crc32c::crc32c_append(checksum, &chunk);
                at += chunk.len() as u64;
            }
            if checksum != section.checksum {
                return Ok(Some("a section is not what its checksum says"));
            }
        }
        Ok(None)
    }
}

/// What to do about a run that is damaged.
pub(crate) const REMEDY: &str =
    "stop the program, delete this index file and start again: it is made anew from the log";
