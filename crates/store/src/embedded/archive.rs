//! The file of a backup: named contents one behind the other, each with a checksum, and an end that tells a
//! whole file from a cut one. `docs/store-format.md` has its bytes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"tombobak";
const VERSION: u32 = 1;
const NAME_BYTES_MAX: usize = 255;
const CHUNK_BYTES: usize = 256 << 10;

/// A backup that is written.
pub(super) struct Writing {
    file: BufWriter<File>,
    bytes: u64,
    entries: u64,
}

impl Writing {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        Ok(Self { file, bytes: 12, entries: 0 })
    }

    /// Writes one content of so many bytes.
    pub(super) fn entry(&mut self, name: &str, length: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut head = vec![name.len() as u8];
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        self.file.write_all(&head)?;
        let mut checksum = crc32c::crc32c(&head);
        let mut left = length;
        let mut chunk = vec![0; CHUNK_BYTES];
        while left > 0 {
            let part = &mut chunk[..left.min(CHUNK_BYTES as u64) as usize];
            content.read_exact(part)?;
            checksum = crc32c::crc32c_append(checksum, part);
            self.file.write_all(part)?;
            left -= part.len() as u64;
        }
        self.file.write_all(&checksum.to_le_bytes())?;
        self.bytes += head.len() as u64 + length + 4;
        self.entries += 1;
        Ok(())
    }

    /// Ends the file and makes it durable. Answers how many bytes it has.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let mut end = vec![0];
        end.extend_from_slice(&self.entries.to_le_bytes());
        let checksum = crc32c::crc32c(&end);
        end.extend_from_slice(&checksum.to_le_bytes());
        self.file.write_all(&end)?;
        self.file.into_inner()?.sync_all()?;
        Ok(self.bytes + end.len() as u64)
    }
}

/// A backup that is read.
pub(super) struct Reading {
    file: BufReader<File>,
    entries: u64,
    /// Of the content that comes next: its length, and the checksum of what was read of it.
    next: (u64, u32),
}

impl Reading {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let mut head = [0; 12];
        file.read_exact(&mut head)?;
        if head[..8] != *MAGIC {
            return Err(invalid("this is no backup of a store"));
        }
        if head[8..] != VERSION.to_le_bytes() {
            return Err(invalid("a newer version of the program wrote this backup"));
        }
        Ok(Self { file, entries: 0, next: (0, 0) })
    }

    /// The name of the next content; `None` at the end.
    pub(super) fn next_name(&mut self) -> io::Result<Option<String>> {
        let mut head = [0; 9];
        self.file.read_exact(&mut head)?;
        let (name_bytes, mut number) = (usize::from(head[0]), [0; 8]);
        number.copy_from_slice(&head[1..]);
        let number = u64::from_le_bytes(number);
        if name_bytes == 0 {
            self.check(crc32c::crc32c(&head))?;
            return if number == self.entries { Ok(None) } else { Err(invalid("contents are missing")) };
        }
        let mut name = vec![0; name_bytes.min(NAME_BYTES_MAX)];
        self.file.read_exact(&mut name)?;
        self.next = (number, crc32c::crc32c_append(crc32c::crc32c(&head), &name));
        self.entries += 1;
        String::from_utf8(name).map(Some).map_err(|_| invalid("a name is no text"))
    }

    /// Copies the content whose name was read.
    pub(super) fn content(&mut self, to: &mut dyn Write) -> io::Result<()> {
        let (mut left, mut checksum) = self.next;
        let mut chunk = vec![0; CHUNK_BYTES];
        while left > 0 {
            let part = &mut chunk[..left.min(CHUNK_BYTES as u64) as usize];
            self.file.read_exact(part)?;
            checksum = crc32c::crc32c_append(checksum, part);
            to.write_all(part)?;
            left -= part.len() as u64;
        }
        self.check(checksum)
    }

    fn check(&mut self, checksum: u32) -> io::Result<()> {
        let mut written = [0; 4];
        self.file.read_exact(&mut written)?;
        if u32::from_le_bytes(written) == checksum { Ok(()) } else { Err(invalid("a checksum is another")) }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
