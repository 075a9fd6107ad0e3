//! Makes the file of a run from an index in memory.

use super::{
    ENTRY_BYTES, Entry, FILTER, Filter, HEADER_BYTES, IDS, MAGIC, PLACES, SECTION_BYTES, SECTIONS,
    SECTIONS_AT, Section, TABLES, VERSION, file_name, hash_of_id, hash_of_name, item_bytes, sections_of,
};
use crate::log::disk::{Disk, DiskFile, unfinished};
use crate::log::index::Table;
use crate::log::tail::Tail;
use std::io;

/// Makes the run of an index. It stands under its name only when it is whole and durable.
pub(crate) fn write(disk: &dyn Disk, tail: &Tail) -> io::Result<()> {
    let name = file_name(tail.first(), tail.end());
    let unfinished = unfinished(&name);
    write_as(disk, tail, &unfinished)?;
    disk.rename(&unfinished, &name)?;
    disk.sync()
}

/// Makes the run of an index, under a name of its own.
pub(crate) fn write_as(disk: &dyn Disk, tail: &Tail, name: &str) -> io::Result<()> {
    let file = disk.create(name)?;
    let mut writer =
        Writer { file: &*file, at: HEADER_BYTES as u64, sections: [Section::default(); SECTIONS] };
    let places: Vec<u8> = tail.all_places().iter().flat_map(|place| place.to_le_bytes()).collect();
    writer.section(PLACES, &places)?;
    let mut ids: Vec<(u64, u32)> = tail.all_ids().map(|(id, nth)| (hash_of_id(id), nth)).collect();
    writer.section(IDS, &slots(&mut ids))?;
    let mut filter = Filter::for_keys(ids.len() + tail.all_names(Table::Streams).len());
    for (hash, _) in &ids {
        filter.add(*hash);
    }
    for table in TABLES {
        let hashes = writer.table(tail, table)?;
        if table == Table::Streams {
            for (hash, _) in hashes {
                filter.add(hash);
            }
        }
    }
    writer.section(FILTER, filter.bytes())?;
    file.write_at(&writer.header(tail.first(), tail.end()), 0)?;
    file.sync()
}

struct Writer<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    sections: [Section; SECTIONS],
}

impl Writer<'_> {
    fn section(&mut self, nth: usize, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.at)?;
        self.sections[nth] = Section {
            offset: self.at,
            count: (bytes.len() / item_bytes(nth)) as u64,
            checksum: crc32c::crc32c(bytes),
        };
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes the four sections of a table. Answers the hashes of its names.
    fn table(&mut self, tail: &Tail, table: Table) -> io::Result<Vec<(u64, u32)>> {
        let named = tail.all_names(table);
        let mut hashes = Vec::with_capacity(named.len());
        let mut entries = Vec::with_capacity(named.len() * ENTRY_BYTES);
        let (mut names, mut lists) = (Vec::new(), Vec::new());
        for ((name, messages), nth) in named.into_iter().zip(0..) {
            hashes.push((hash_of_name(name), nth));
            let entry = Entry {
                name_at: names.len() as u64,
                list_at: (lists.len() / 4) as u64,
                first_position: messages.first_position,
                count: messages.entries.len() as u32,
                name_bytes: name.len() as u16,
            };
            entry.write(&mut entries);
            names.extend_from_slice(name.as_bytes());
            lists.extend(messages.entries.iter().flat_map(|nth| nth.to_le_bytes()));
        }
        let sections = sections_of(table);
        self.section(sections.slots, &slots(&mut hashes))?;
        self.section(sections.entries, &entries)?;
        self.section(sections.names, &names)?;
        self.section(sections.lists, &lists)?;
        Ok(hashes)
    }

    fn header(&self, first: i64, end: i64) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&first.to_le_bytes());
        header[24..32].copy_from_slice(&end.to_le_bytes());
        for (nth, section) in self.sections.iter().enumerate() {
            let at = SECTIONS_AT + nth * SECTION_BYTES;
            header[at..at + 8].copy_from_slice(&section.offset.to_le_bytes());
            header[at + 8..at + 16].copy_from_slice(&section.count.to_le_bytes());
            header[at + 16..at + 20].copy_from_slice(&section.checksum.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&header);
        header[12..16].copy_from_slice(&checksum.to_le_bytes());
        header
    }
}

/// Sorts by hash, and the bytes of it.
fn slots(hashes: &mut [(u64, u32)]) -> Vec<u8> {
    hashes.sort_unstable();
    hashes.iter().flat_map(|(hash, nth)| hash.to_le_bytes().into_iter().chain(nth.to_le_bytes())).collect()
}
