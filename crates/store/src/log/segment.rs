//! A segment: a file with a header and records one behind the other, then zeros. Here is how its records
//! are gone through, where they end, and how a torn end is told from a damaged middle.

use super::disk::{Disk, DiskFile, read_full, write_zeros};
use super::record::{self, ALIGN, Bad, HEAD_BYTES, Record};
use base::{Fault, Kind};
use std::io;
use std::sync::Arc;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: u64 = 64;
const MAGIC: &[u8; 8] = b"tombolog";
const VERSION: u32 = 1;
/// So much is read at once when going through a segment.
const WINDOW_BYTES: usize = 1 << 20;

/// The name of the segment whose first message has this global position.
pub(crate) fn file_name(first: i64) -> String {
    format!("{first:020}.log")
}

/// The global position that a file's name says, if it is a segment's.
pub(crate) fn first_of_name(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
    digits.parse().ok().filter(|first| *first > 0)
}

/// A segment's header: magic, version, checksum, the first message's global position, zeros.
pub(crate) fn header(first: i64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32c::crc32c(&header);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// A segment that is gone through.
pub(crate) struct Segment {
    pub(crate) first: i64,
    pub(crate) file: Arc<dyn DiskFile>,
    bytes: u64,
}

/// Where the records of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The offset behind the last record of the last whole append.
    pub(crate) offset: u64,
    /// The global position behind the last message.
    pub(crate) next: i64,
    /// The time of the last message, 0 for none.
    pub(crate) time: i64,
    /// Bytes behind `offset` up to the last one that is not zero.
    pub(crate) torn_bytes: u64,
}

impl Segment {
    /// Opens a segment and reads its header.
    pub(crate) fn open(disk: &dyn Disk, first: i64) -> Result<Self, Fault> {
        let name = file_name(first);
        let fault = |error: io::Error| Fault::new(Kind::Io, format!("cannot read `{name}`")).because(error);
        let file = disk.open(&name).map_err(fault)?;
        let bytes = file.bytes().map_err(fault)?;
        let mut header = [0; HEADER_BYTES as usize];
        let read = read_full(&*file, &mut header, 0).map_err(fault)?;
        if header[..8] == *MAGIC && record::u32_at(&header, 8) > VERSION {
            let version = record::u32_at(&header, 8);
            let text = format!("`{name}` is of version `{version}`, this program knows up to `{VERSION}`");
            return Err(Fault::new(Kind::Invalid, text).hint("a newer version of the program wrote it"));
        }
        if read < header.len() || header != self::header(first) {
            return Err(damaged(&name, 0, "its header is not one"));
        }
        Ok(Self { first, file, bytes })
    }

    /// Finds where the records end. In the `last` segment the end may be torn: a group that was being written
    /// when the machine stopped, of which nothing had been acknowledged. In any other, and where records of a
    /// later group follow, the segment is damaged.
    pub(crate) fn end(&self, last: bool) -> Result<End, Fault> {
        let name = file_name(self.first);
        let mut walk = self.walk(HEADER_BYTES, self.bytes);
        let mut end = End { offset: HEADER_BYTES, next: self.first, time: 0, torn_bytes: 0 };
        let mut next = self.first;
        loop {
            let offset = walk.offset;
            match walk.next().map_err(|error| self.fault(error))? {
                Some(Ok(record)) if record.global_position == next && u64::from(record.group) <= offset => {
                    next += 1;
                    let (more, time) = (record.more, record.time);
                    if !more {
                        end = End { offset: walk.offset, next, time, torn_bytes: 0 };
                    }
                }
                _ => {
                    let rest = self.look_behind(offset).map_err(|error| self.fault(error))?;
                    let whole = rest.end == offset && end.offset == offset;
                    if rest.later_group || (!whole && !last) {
                        return Err(damaged(&name, offset, "a record is not what was written"));
                    }
                    end.torn_bytes = rest.end - end.offset;
                    return Ok(end);
                }
            }
        }
    }

    /// Looks at what is behind the place where records stop. Each group is written only after the one before
    /// it is durable, so that a record of a later group proves that this place was durable once. No text in
    /// a record can look like one: names and JSON hold no NUL, a record's length does.
    fn look_behind(&self, offset: u64) -> io::Result<Rest> {
        let mut rest = Rest { end: offset, later_group: false };
        let mut window = Window::new(&*self.file, self.bytes);
        let mut at = offset;
        while at < self.bytes {
            let bytes = window.at(at, HEAD_BYTES.min((self.bytes - at) as usize))?;
            if bytes.len() < ALIGN {
                if bytes.iter().any(|byte| *byte != 0) {
                    rest.end = self.bytes;
                }
                break;
            }
            let zeros = bytes.chunks_exact(ALIGN).take_while(|chunk| *chunk == [0; ALIGN]).count() * ALIGN;
            if zeros > 0 {
                at += zeros as u64;
                continue;
            }
            rest.end = at + ALIGN as u64;
            if bytes.len() >= HEAD_BYTES
                && u64::from(record::u32_at(bytes, 8)) > offset
                && u64::from(record::u32_at(bytes, 8)) <= at
                && let Some(length) = record::claimed_bytes(bytes)
                && at + length as u64 <= self.bytes
                && Record::read(window.at(at, length)?).is_ok()
            {
                rest.later_group = true;
                return Ok(rest);
            }
            at += ALIGN as u64;
        }
        Ok(rest)
    }

    /// Writes zeros over what is torn, so that nothing of it is ever taken for a record.
    pub(crate) fn cut(&self, end: End) -> Result<(), Fault> {
        let cut =
            write_zeros(&*self.file, end.offset, end.offset + end.torn_bytes).and_then(|()| self.file.sync());
        cut.map_err(|error| {
            let text = format!("cannot cut the torn end of `{}`", file_name(self.first));
            Fault::new(Kind::Io, text).because(error)
        })
    }

    /// Goes through the records between two offsets.
    pub(crate) fn walk(&self, from: u64, to: u64) -> Walk<'_> {
        Walk { window: Window::new(&*self.file, self.bytes), offset: from, end: to.min(self.bytes) }
    }

    /// Goes through the records up to an end that was found.
    pub(crate) fn each(&self, end: u64, mut visit: impl FnMut(u64, &Record<'_>)) -> Result<(), Fault> {
        let mut walk = self.walk(HEADER_BYTES, end);
        loop {
            let offset = walk.offset;
            match walk.next().map_err(|error| self.fault(error))? {
                None => return Ok(()),
                Some(Ok(record)) => visit(offset, &record),
                Some(Err(_)) => {
                    return Err(damaged(&file_name(self.first), offset, "a record is not what was written"));
                }
            }
        }
    }

    /// How many bytes the file has.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn fault(&self, error: io::Error) -> Fault {
        Fault::new(Kind::Io, format!("cannot read `{}`", file_name(self.first))).because(error)
    }
}

/// What is behind the records.
struct Rest {
    /// Behind the last byte that is not zero, or where the looking began.
    end: u64,
    later_group: bool,
}

/// The fault of a file that is not what was written.
pub(crate) fn damaged(name: &str, offset: u64, what: &str) -> Fault {
    Fault::new(Kind::Io, format!("`{name}` is damaged at byte `{offset}`: {what}")).hint(
        "nothing was changed; bring this file back from a backup or a replica of the disk, or restore the backup",
    )
}

/// Goes from record to record.
pub(crate) struct Walk<'a> {
    window: Window<'a>,
    /// Where the next record begins.
    pub(crate) offset: u64,
    end: u64,
}

impl Walk<'_> {
    /// The next record; `None` at the end. A bad one is answered again and again.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<Record<'_>, Bad>>> {
        let left = self.end.saturating_sub(self.offset) as usize;
        if left == 0 {
            return Ok(None);
        }
        let head = self.window.at(self.offset, HEAD_BYTES.min(left))?;
        let claimed = if head.len() < HEAD_BYTES { None } else { record::claimed_bytes(head) };
        let Some(length) = claimed.filter(|length| *length <= left) else { return Ok(Some(Err(Bad::Frame))) };
        let bytes = self.window.at(self.offset, length)?;
        let bytes = &bytes[..bytes.len().min(left)];
        Ok(Some(Record::read(bytes).map(|(record, bytes)| {
            self.offset += bytes as u64;
            record
        })))
    }
}

/// A part of a file that is kept in memory while the reading goes on.
struct Window<'a> {
    file: &'a dyn DiskFile,
    file_bytes: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn DiskFile, file_bytes: u64) -> Self {
        Self { file, file_bytes, start: 0, buffer: Vec::new() }
    }

    /// The bytes at an offset: at least so many unless the file ends before, and whatever is there besides.
    fn at(&mut self, offset: u64, bytes: usize) -> io::Result<&[u8]> {
        let inside = offset >= self.start && offset + bytes as u64 <= self.start + self.buffer.len() as u64;
        if !inside {
            let left = self.file_bytes.saturating_sub(offset).min(WINDOW_BYTES as u64) as usize;
            self.buffer.resize(bytes.max(left), 0);
            self.start = offset;
            let read = read_full(self.file, &mut self.buffer, offset)?;
            self.buffer.truncate(read);
        }
        Ok(&self.buffer[(offset - self.start) as usize..])
    }
}
