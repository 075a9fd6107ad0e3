//! A file that is full: its index is in it, read page by page, so that however many files there are costs little
//! memory.

use super::blocks::Place;
use super::file::{File, Pages, failed, ordered};
use super::live::{Chunk, Live};
use crate::protobuf::{put_varint, varint};
use crate::spans::encoded::damaged;
use crate::spans::store::terms::{ANY, Filter, Term, read_postings};
use base::Fault;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::sync::Arc;

/// Bytes of a page from which the next one is begun.
const PAGE_BYTES: usize = 4 << 10;
/// Chunks of a page.
const CHUNKS_OF_A_PAGE: usize = 256;
/// Bytes of a chunk in its page: when it began, its trace, its block and where it starts.
const CHUNK_BYTES: usize = 24;

/// A file that no more is written to.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) file: Arc<File>,
    pub(crate) spans: u64,
    chunks: u32,
    /// Of the earliest and the latest chunk.
    pub(crate) range_us: (u64, u64),
    /// When the last of its spans came in.
    pub(crate) arrived_us: u64,
    filter: Filter,
}

impl Sealed {
    /// Reads what is kept in memory of a file; `None` if it is not full.
    pub(crate) fn open(file: Arc<File>) -> Result<Option<Self>, Fault> {
        let found = file.look(|reader| {
            let mut ask = reader.prepare("SELECT spans, chunks, first, last, arrived, filter FROM sealed")?;
            let read = |row: &rusqlite::Row| -> rusqlite::Result<_> {
                let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
                let filter = Filter::from_bytes(row.get_ref(5)?.as_blob()?);
                Ok((number(0)?, row.get(1)?, (number(2)?, number(3)?), number(4)?, filter))
            };
            ask.query_row([], read).optional()
        })?;
        Ok(found.map(|(spans, chunks, range_us, arrived_us, filter)| Self {
            file,
            spans,
            chunks,
            range_us,
            arrived_us,
            filter,
        }))
    }

    /// Whether it may have spans of a trace.
    pub(crate) fn may_have(&self, trace: u64) -> bool {
        self.filter.may_have(trace)
    }

    /// The chunks that have a term of this range, of one service or of any; in order.
    pub(crate) fn find(&self, range: (Term, Term), service: Option<u32>) -> Result<Vec<u32>, Fault> {
        if (range, service) == ((ANY, ANY), None) {
            return Ok((0..self.chunks).collect());
        }
        let mut found = Vec::new();
        self.file.pages(Pages::Terms, range, |page| read_terms(page, range, service, &mut found))?;
        in_order(&mut found);
        Ok(found)
    }

    /// What is known of these chunks, which are in order.
    pub(crate) fn chunks(&self, wanted: &[u32]) -> Result<Vec<Chunk>, Fault> {
        let mut chunks = Vec::with_capacity(wanted.len());
        let mut rest = wanted;
        while let Some(first) = rest.first() {
            let page = first / CHUNKS_OF_A_PAGE as u32;
            let end = rest.partition_point(|chunk| chunk / CHUNKS_OF_A_PAGE as u32 == page);
            let key = u64::from(page) * CHUNKS_OF_A_PAGE as u64;
            self.file.pages(Pages::Chunks, (key, key), |bytes| {
                for chunk in &rest[..end] {
                    let at = (chunk % CHUNKS_OF_A_PAGE as u32) as usize * CHUNK_BYTES;
                    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
                    chunks.push(read_chunk(bytes.ok_or_else(damaged)?));
                }
                Ok(())
            })?;
            rest = &rest[end..];
        }
        Ok(chunks)
    }

    /// Where the spans of a trace lie.
    pub(crate) fn places(&self, trace: u64) -> Result<Vec<Place>, Fault> {
        let mut places = Vec::new();
        self.file.pages(Pages::Traces, (trace, trace), |page| read_traces(page, trace, &mut places))?;
        Ok(places)
    }
}

/// Sorts numbers, each once. Mostly they are in order.
pub(crate) fn in_order(numbers: &mut Vec<u32>) {
    if !numbers.is_sorted_by(|one, other| one < other) {
        numbers.sort_unstable();
        numbers.dedup();
    }
}

fn read_chunk(bytes: &[u8; CHUNK_BYTES]) -> Chunk {
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let place = Place { block: number(16, 4) as u32, start: number(20, 4) as u32 };
    Chunk { began_us: number(0, 8), trace: number(8, 8), place }
}

fn read_terms(
    mut page: &[u8],
    (low, high): (Term, Term),
    service: Option<u32>,
    found: &mut Vec<u32>,
) -> Result<(), Fault> {
    while !page.is_empty() {
        let (term, rest) = page.split_first_chunk().ok_or_else(damaged)?;
        let (of, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        page = rest;
        let length = varint(&mut page)? as usize;
        let (postings, rest) = page.split_at_checked(length).ok_or_else(damaged)?;
        page = rest;
        let term = u64::from_le_bytes(*term);
        if term > high {
            break;
        }
        if term >= low && service.is_none_or(|service| service == u32::from_le_bytes(*of)) {
            read_postings(postings, found)?;
        }
    }
    Ok(())
}

fn read_traces(mut page: &[u8], wanted: u64, places: &mut Vec<Place>) -> Result<(), Fault> {
    while !page.is_empty() {
        let (trace, rest) = page.split_first_chunk().ok_or_else(damaged)?;
        page = rest;
        let trace = u64::from_le_bytes(*trace);
        for _ in 0..varint(&mut page)? {
            let (block, start) = (varint(&mut page)? as u32, varint(&mut page)? as u32);
            if trace == wanted {
                places.push(Place { block, start });
            }
        }
        if trace >= wanted {
            break;
        }
    }
    Ok(())
}

/// Writes the index into its file, which is full then: all of it or nothing.
pub(crate) fn seal(writer: &mut Connection, live: &Live) -> Result<(), Fault> {
    (|| {
        let transaction = writer.transaction()?;
        write_pages(&transaction, live)?;
        {
            let mut insert = transaction.prepare("INSERT INTO names VALUES (?1, ?2, ?3)")?;
            for (list, under, name) in live.names.all() {
                insert.execute(params![list, under, name])?;
            }
            // Two numbers may stand for one name only if there were too many of them.
            let add = "INSERT INTO links VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
                calls = calls + excluded.calls, errors = errors + excluded.errors";
            let mut insert = transaction.prepare(add)?;
            for (minute, caller, callee, (calls, errors)) in live.links.between((0, u64::MAX)) {
                insert.execute(params![minute.cast_signed(), caller, callee, calls, errors])?;
            }
        }
        let (first, last) = live.range_us.unwrap_or_default();
        let arrived = live.arrived_us.unwrap_or_default().1;
        let filter = Filter::of(live.traces.keys().copied());
        transaction.execute(
            "INSERT INTO sealed VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                live.spans.cast_signed(),
                live.chunks.len() as u32,
                first.cast_signed(),
                last.cast_signed(),
                arrived.cast_signed(),
                filter.to_bytes()
            ],
        )?;
        transaction.commit()
    })()
    .map_err(|error: rusqlite::Error| failed(&error))?;
    // The log that was written ahead is not needed any more. If it is in use, or the disk has no room for both, it
    // stays, which is no harm: the file is full and must not be told to be otherwise.
    _ = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(())
}

fn write_pages(writer: &Connection, live: &Live) -> rusqlite::Result<()> {
    let mut insert = writer.prepare(Pages::Chunks.insert())?;
    for (page, chunks) in live.chunks.chunks(CHUNKS_OF_A_PAGE).enumerate() {
        let mut bytes = Vec::with_capacity(chunks.len() * CHUNK_BYTES);
        for Chunk { began_us, trace, place } in chunks {
            bytes.extend_from_slice(&began_us.to_le_bytes());
            bytes.extend_from_slice(&trace.to_le_bytes());
            bytes.extend_from_slice(&place.block.to_le_bytes());
            bytes.extend_from_slice(&place.start.to_le_bytes());
        }
        insert.execute(params![ordered((page * CHUNKS_OF_A_PAGE) as u64), bytes])?;
    }
    let mut insert = writer.prepare(Pages::Traces.insert())?;
    let mut traces: Vec<_> = live.traces.iter().collect();
    traces.sort_unstable_by_key(|(trace, _)| **trace);
    let mut page = Page::default();
    for (trace, chunks) in traces {
        page.begin(*trace, &mut insert)?;
        page.bytes.extend_from_slice(&trace.to_le_bytes());
        put_varint(&mut page.bytes, chunks.len() as u64);
        for chunk in chunks {
            let place = live.chunks[*chunk as usize].place;
            put_varint(&mut page.bytes, place.block.into());
            put_varint(&mut page.bytes, place.start.into());
        }
    }
    page.end(&mut insert)?;
    let mut insert = writer.prepare(Pages::Terms.insert())?;
    let mut terms: Vec<_> = live.terms.iter().collect();
    terms.sort_unstable_by_key(|(key, _)| **key);
    for ((term, service), postings) in terms {
        page.begin(*term, &mut insert)?;
        page.bytes.extend_from_slice(&term.to_le_bytes());
        page.bytes.extend_from_slice(&service.to_le_bytes());
        postings.write_to(&mut page.bytes);
    }
    page.end(&mut insert)
}

/// A page as it is filled.
#[derive(Default)]
struct Page {
    first: u64,
    last: u64,
    bytes: Vec<u8>,
}

impl Page {
    /// Begins an entry; it goes to a page of its own if this one is full, but not away from others of its key.
    fn begin(&mut self, key: u64, insert: &mut rusqlite::Statement) -> rusqlite::Result<()> {
        if self.bytes.len() >= PAGE_BYTES && key != self.last {
            self.end(insert)?;
        }
        if self.bytes.is_empty() {
            self.first = key;
        }
        self.last = key;
        Ok(())
    }

    fn end(&mut self, insert: &mut rusqlite::Statement) -> rusqlite::Result<()> {
        if !self.bytes.is_empty() {
            insert.execute(params![ordered(self.first), self.bytes])?;
            self.bytes.clear();
        }
        Ok(())
    }
}
