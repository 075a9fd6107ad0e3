//! One file of the store, a database of `SQLite`: blocks as they are written; and, once it is full, the index of
//! them, packed into pages that are found by their first key.

use super::blocks::{Cache, decompress};
use base::{Blame, Fault, Kind, Retry};
use rusqlite::{Connection, OptionalExtension as _, ffi, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The version of the tables.
const VERSION: i64 = 1;
/// So that `file` and others know what the database is: "tmbs".
const APPLICATION_ID: i64 = 0x746d_6273;

const TABLES: &str = "
    CREATE TABLE blocks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE chunks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE traces (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE terms (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE names (list INTEGER, under TEXT, name TEXT, PRIMARY KEY (list, under, name)) WITHOUT ROWID;
    CREATE TABLE links (minute INTEGER, caller TEXT, callee TEXT, calls INTEGER NOT NULL, errors INTEGER NOT NULL,
        PRIMARY KEY (minute, caller, callee)) WITHOUT ROWID;
    CREATE TABLE sealed (only INTEGER PRIMARY KEY CHECK (only = 1), spans INTEGER NOT NULL, chunks INTEGER NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL, arrived INTEGER NOT NULL, filter BLOB NOT NULL);
";

/// A file, as it is read.
pub(crate) struct File {
    pub(crate) number: u64,
    path: PathBuf,
    reader: Mutex<Connection>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({})", self.number)
    }
}

impl File {
    /// The name of a file.
    pub(crate) fn name(number: u64) -> String {
        format!("spans-{number:010}.db")
    }

    /// The number in a name, if it is one of ours.
    pub(crate) fn number_of(name: &str) -> Option<u64> {
        let digits = name.strip_prefix("spans-")?.strip_suffix(".db")?;
        (digits.len() == 10).then(|| digits.parse().ok())?
    }

    /// Opens a file, or makes it: one connection that reads and one that writes.
    pub(crate) fn open(dir: &Path, number: u64) -> Result<(Self, Connection), Fault> {
        let path = dir.join(Self::name(number));
        let opened = (|| -> rusqlite::Result<_> {
            let mut writer = connect(&path, 4_096)?;
            let version: i64 = writer.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version == 0 {
                let transaction = writer.transaction()?;
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.commit()?;
            }
            Ok((version, connect(&path, 256)?, writer))
        })();
        let (version, reader, writer) = opened.map_err(|error| {
            let text = format!("cannot open the spans `{}`", path.display());
            Fault::new(Kind::Io, text).because(error).hint("move the file away to go on without its spans")
        })?;
        if version > VERSION {
            let text = format!("the spans `{}` are of version `{version}`, not `{VERSION}`", path.display());
            return Err(Fault::new(Kind::Invalid, text).hint("a newer version of the program wrote them"));
        }
        Ok((Self { number, path, reader: Mutex::new(reader) }, writer))
    }

    /// Asks the database.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Fault> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        look(&reader).map_err(|error| self.fault(failed(&error)))
    }

    /// Says of a fault which file it is of.
    pub(crate) fn fault(&self, mut fault: Fault) -> Fault {
        fault.message = format!("{} (`{}`)", fault.message, self.path.display());
        fault
    }

    /// What a block holds.
    pub(crate) fn block(&self, cache: &Cache, block: u32) -> Result<Arc<[u8]>, Fault> {
        cache.get((self.number, block), || {
            let data: Vec<u8> = self.look(|reader| {
                let mut ask = reader.prepare_cached("SELECT data FROM blocks WHERE id = ?1")?;
                ask.query_row([block], |row| row.get(0))
            })?;
            decompress(&data).map_err(|fault| self.fault(fault))
        })
    }

    /// Hands the pages that hold the keys of a range to `page`.
    pub(crate) fn pages(
        &self,
        table: Pages,
        (low, high): (u64, u64),
        mut page: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.look(|reader| {
            let mut first = reader.prepare_cached(table.first())?;
            let from = first.query_row([ordered(low)], |row| row.get::<_, i64>(0)).optional()?;
            let mut ask = reader.prepare_cached(table.range())?;
            let mut rows = ask.query(params![from.unwrap_or(ordered(low)), ordered(high)])?;
            while let Some(row) = rows.next()? {
                if let Err(fault) = page(row.get_ref(0)?.as_blob()?) {
                    return Ok(Err(self.fault(fault)));
                }
            }
            Ok(Ok(()))
        })?
    }

    /// Bytes on the disk, of what is not yet in its place as well.
    pub(crate) fn bytes(&self) -> u64 {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        size(&self.path) + size(&beside(&self.path, "-wal"))
    }

    /// Removes the file. Whoever reads it goes on to do so.
    pub(crate) fn remove(&self) {
        for ending in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(beside(&self.path, ending)));
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The tables of pages.
#[derive(Clone, Copy)]
pub(crate) enum Pages {
    Chunks,
    Traces,
    Terms,
}

impl Pages {
    /// The page that a key is in begins with it or before it.
    fn first(self) -> &'static str {
        match self {
            Self::Chunks => "SELECT id FROM chunks WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
            Self::Traces => "SELECT id FROM traces WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
            Self::Terms => "SELECT id FROM terms WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
        }
    }

    fn range(self) -> &'static str {
        match self {
            Self::Chunks => "SELECT data FROM chunks WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            Self::Traces => "SELECT data FROM traces WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            Self::Terms => "SELECT data FROM terms WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        }
    }

    pub(crate) fn insert(self) -> &'static str {
        match self {
            Self::Chunks => "INSERT INTO chunks VALUES (?1, ?2)",
            Self::Traces => "INSERT INTO traces VALUES (?1, ?2)",
            Self::Terms => "INSERT INTO terms VALUES (?1, ?2)",
        }
    }
}

/// A number of 64 bits as one with a sign, in the same order.
pub(crate) fn ordered(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

fn connect(path: &Path, cache_kib: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "page_size", 8_192)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // With a log that is written ahead, FULL means a sync for each transaction.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// What went wrong with a database of spans.
pub(crate) fn failed(error: &rusqlite::Error) -> Fault {
    if error.sqlite_error_code() == Some(ffi::ErrorCode::DiskFull) {
        let fault = Fault::new(Kind::Io, "the disk of the spans is full");
        return fault.retry(Retry::Safe).hint("make room on it, or keep fewer spans");
    }
    Fault::new(Kind::Io, format!("the spans cannot be read or written: {error}"))
        .blame(Blame::Neighbour)
        .retry(Retry::Safe)
}
