//! A log's segments as they are copied into a backup, and the files that a backup does not hold.

use super::disk::DiskFile;
use super::fetch::io_fault;
use super::index::Part;
use super::open::{FORMAT, FORMAT_TEXT};
use super::segment::{HEADER_BYTES, Segment, file_name};
use super::{Log, segment};
use base::{Fault, Kind};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// Takes a segment: its name, how many bytes, and the bytes.
pub(crate) type TakeSegment<'a> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<(), Fault> + 'a;

impl Log {
    /// Hands out all segments as they are at one moment, without what is prepared for messages to come. Answers
    /// the global position of the last message.
    pub(crate) fn each_segment(&self, take: &mut TakeSegment<'_>) -> Result<i64, Fault> {
        let shared = &self.shared;
        let _alone = shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        // Of the messages that are visible first: what comes meanwhile is left out.
        let (head, map) = (shared.head(), shared.map());
        for (nth, first) in map.segments.iter().enumerate() {
            let segment = Segment::open(&*shared.disk, *first)?;
            let next = map.segments.get(nth + 1).copied().unwrap_or(i64::MAX);
            let last = head.min(next - 1);
            let end = if last < *first { HEADER_BYTES } else { end_of(&segment, map.part_of(last), last)? };
            take(&file_name(*first), end, &mut Bytes { file: segment.file.clone(), at: 0 })?;
            if last == head {
                break;
            }
        }
        Ok(head)
    }
}

/// The offset behind a message.
fn end_of(segment: &Segment, part: Option<&Part>, global_position: i64) -> Result<u64, Fault> {
    let mut places = Vec::new();
    if let Some(part) = part {
        part.places(global_position, 1, &mut places).map_err(io_fault)?;
    }
    let place = places.first().map_or(0, |place| u64::from(*place));
    let mut walk = segment.walk(place, segment.bytes());
    let read = walk.next().map_err(io_fault)?;
    let found = read.and_then(Result::ok).is_some_and(|record| record.global_position == global_position);
    if found {
        Ok(walk.offset)
    } else {
        Err(Fault::new(Kind::Io, format!("message `{global_position}` is damaged")))
    }
}

/// A file from its beginning.
struct Bytes {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Whether a file of this name is a segment.
pub(crate) fn is_one(name: &str) -> bool {
    segment::first_of_name(name).is_some()
}

/// Makes a directory with segments a log: says its format.
pub(crate) fn say_format(path: &Path) -> io::Result<()> {
    let mut file = std::fs::File::create(path.join(FORMAT))?;
    file.write_all(FORMAT_TEXT.as_bytes())?;
    file.sync_all()?;
    std::fs::File::open(path)?.sync_all()
}
