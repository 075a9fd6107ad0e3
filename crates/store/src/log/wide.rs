//! Filters over many runs at once: in a long log a look at each run, even at its filter, for every new id would
//! be the most of an append. They lie in files, each made when enough runs are there, and are read block by block.

use super::disk::{DiskFile, read_exact, unfinished};
use super::filter::{self, BLOCK_BYTES, Filter};
use super::index::Part;
use super::record::{i64_at, u32_at};
use super::run::{Run, Runs};
use super::shared::Shared;
use base::{Fault, Kind};
use std::io;
use std::sync::{Arc, PoisonError};

const MAGIC: &[u8; 8] = b"tombflt\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;

/// A filter over the ids and streams of several runs.
pub(crate) struct WideFilter {
    runs: Arc<Runs>,
    serial: u64,
    first: i64,
    end: i64,
    blocks: u64,
    checksum: u32,
}

/// The name of the filter of these global positions, the end not among them.
pub(crate) fn file_name(first: i64, end: i64) -> String {
    format!("{first:020}-{end:020}.flt")
}

/// The global positions that a file's name says, if it is a filter's.
pub(crate) fn range_of_name(name: &str) -> Option<(i64, i64)> {
    let (first, end) = name.strip_suffix(".flt")?.split_once('-')?;
    let number = |digits: &str| (digits.len() == 20).then(|| digits.parse().ok()).flatten();
    let range = (number(first)?, number(end)?);
    (0 < range.0 && range.0 < range.1).then_some(range)
}

impl WideFilter {
    /// Makes the filter of runs that follow each other. Its bits are in memory while it is made.
    fn make(runs: &Arc<Runs>, of: &[Arc<Run>]) -> io::Result<Self> {
        let (first, end) = (of.first().map_or(0, |run| run.first()), of.last().map_or(0, |run| run.end()));
        let mut filter = Filter::for_keys(of.iter().map(|run| run.keys()).sum());
        for run in of {
            run.each_key(&mut |hash| filter.add(hash))?;
        }
        let bytes = filter.bytes();
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&first.to_le_bytes());
        header[24..32].copy_from_slice(&end.to_le_bytes());
        header[32..40].copy_from_slice(&((bytes.len() / BLOCK_BYTES) as u64).to_le_bytes());
        header[40..44].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
        let checksum = crc32c::crc32c(&header);
        header[12..16].copy_from_slice(&checksum.to_le_bytes());
        let (disk, name) = (runs.disk(), file_name(first, end));
        let file = disk.create(&unfinished(&name))?;
        file.write_at(&header, 0)?;
        file.write_at(bytes, HEADER_BYTES as u64)?;
        file.sync()?;
        disk.rename(&unfinished(&name), &name)?;
        disk.sync()?;
        Self::open(runs, (first, end))
    }

    /// Opens the filter of these global positions.
    pub(crate) fn open(runs: &Arc<Runs>, range: (i64, i64)) -> io::Result<Self> {
        let file = runs.disk().open(&file_name(range.0, range.1))?;
        let mut header = [0; HEADER_BYTES];
        read_exact(&*file, &mut header, 0)?;
        let checksum = u32_at(&header, 12);
        header[12..16].fill(0);
        let blocks = i64_at(&header, 32) as u64;
        let sound = header[..8] == *MAGIC
            && u32_at(&header, 8) == VERSION
            && crc32c::crc32c(&header) == checksum
            && (i64_at(&header, 16), i64_at(&header, 24)) == range
            && file.bytes()? == HEADER_BYTES as u64 + blocks * BLOCK_BYTES as u64;
        if !sound {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its header is not one"));
        }
        let (first, end) = range;
        Ok(Self {
            runs: runs.clone(),
            serial: runs.serial(),
            first,
            end,
            blocks,
            checksum: u32_at(&header, 40),
        })
    }

    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        let open = || self.runs.disk().open(&file_name(self.first, self.end));
        self.runs.files().get(self.serial, open)
    }

    /// Whether any of its runs may have a key.
    pub(crate) fn may_have(&self, hash: u64) -> io::Result<bool> {
        filter::may_have(hash, self.blocks, |block, bytes| {
            read_exact(&*self.file()?, bytes, HEADER_BYTES as u64 + block * BLOCK_BYTES as u64)
        })
    }

    /// Whether it is what was written.
    pub(crate) fn is_sound(&self) -> io::Result<bool> {
        let mut bytes = vec![0; self.blocks as usize * BLOCK_BYTES];
        read_exact(&*self.file()?, &mut bytes, HEADER_BYTES as u64)?;
        Ok(crc32c::crc32c(&bytes) == self.checksum)
    }
}

impl Drop for WideFilter {
    fn drop(&mut self) {
        self.runs.files().forget(self.serial);
    }
}

impl Shared {
    /// Runs that no filter is over.
    pub(crate) fn runs_without_filter(&self) -> usize {
        let map = self.map();
        let from = map.filters.last().map_or(0, |filter| filter.end());
        map.parts.iter().filter(|part| part.first() >= from && matches!(part, Part::Run(_))).count()
    }

    /// Makes a filter over so many runs, if that many have none yet; their own filters leave the memory.
    pub(crate) fn widen(&self, runs_in_filter: usize) -> Result<(), Fault> {
        // Whoever replaces runs meanwhile would do it in vain.
        let _alone = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let map = self.map();
        let from = map.filters.last().map_or(0, |filter| filter.end());
        let without = map.parts.iter().filter(|part| part.first() >= from);
        let of: Vec<Arc<Run>> = without
            .map_while(|part| match part {
                Part::Run(run) => Some(run.clone()),
                Part::Tail(..) => None,
            })
            .take(runs_in_filter)
            .collect();
        if of.len() < runs_in_filter {
            return Ok(());
        }
        let made = WideFilter::make(&self.runs, &of)
            .map_err(|error| Fault::new(Kind::Io, "cannot write a filter over the indexes").because(error))?;
        let end = made.end();
        self.change_map(|map| {
            map.filters.push(Arc::new(made));
            for part in map.parts.iter_mut().filter(|part| (from..end).contains(&part.first())) {
                if let Part::Run(run) = part {
                    *part = Part::Run(Arc::new(run.without_filter()));
                }
            }
        });
        Ok(())
    }
}
