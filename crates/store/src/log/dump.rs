//! Goes through the records of a log without a server, and beside one: it only reads.

use super::disk::{Directory, read_exact};
use super::fetch::io_fault;
use super::open;
use super::segment::{self, HEADER_BYTES, Segment};
use crate::Message;
use base::{Fault, Kind};
use std::ops::ControlFlow;
use std::path::Path;

/// One record as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedRecord {
    /// The name of the segment's file.
    pub file: String,
    /// Where the record begins, in bytes.
    pub offset: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// The message was removed: only its stream, its positions and its time are left.
    pub removed: bool,
    /// The append that it belongs to goes on in the next record.
    pub more: bool,
    /// The message.
    pub message: Message,
}

/// Visits each record from a global position on. Ends at the last whole append, and with a fault where a record
/// is damaged.
pub fn dump(
    path: &Path,
    from: i64,
    visit: &mut dyn FnMut(DumpedRecord) -> ControlFlow<()>,
) -> Result<(), Fault> {
    if !path.is_dir() {
        return Err(Fault::new(Kind::NotFound, format!("there is no store `{}`", path.display())));
    }
    let disk = Directory::look(path);
    let files = open::files(&disk)?;
    let begin = files.segments.partition_point(|first| *first <= from).saturating_sub(1);
    for (nth, first) in files.segments.iter().enumerate().skip(begin) {
        let segment = Segment::open(&disk, *first)?;
        let end = segment.end(nth + 1 == files.segments.len())?;
        let mut walk = segment.walk(HEADER_BYTES, end.offset);
        loop {
            let offset = walk.offset;
            let read = walk.next().map_err(io_fault)?;
            let Some(record) = read else { break };
            let Ok(record) = record else {
                return Err(segment::damaged(
                    &segment::file_name(*first),
                    offset,
                    "a record is not what was written",
                ));
            };
            let mut dumped = DumpedRecord {
                file: segment::file_name(*first),
                offset,
                bytes: 0,
                removed: record.removed,
                more: record.more,
                message: record.message(),
            };
            dumped.bytes = walk.offset - offset;
            if dumped.message.global_position >= from && visit(dumped).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The bytes of a record, as they lie in its file.
pub fn dump_bytes(path: &Path, record: &DumpedRecord) -> Result<Vec<u8>, Fault> {
    let segment = Segment::open(&Directory::look(path), segment::first_of_name(&record.file).unwrap_or(0))?;
    let mut bytes = vec![0; record.bytes as usize];
    read_exact(&*segment.file, &mut bytes, record.offset).map_err(io_fault)?;
    Ok(bytes)
}
