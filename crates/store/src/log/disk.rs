//! The few things asked of a file system, so that tests can put one in their place that fails, tears and
//! forgets. The real one is a directory that one process holds.

use base::{Fault, Kind};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A directory of files.
pub(crate) trait Disk: Send + Sync {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// A new, empty file in place of any of this name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// A file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, in place of any of that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes durable which files there are.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is read and written at offsets, by several threads at once.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads up to as many bytes as fit; 0 at the end of the file only.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes; after an error some of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable. After an error nobody knows what is.
    fn sync(&self) -> io::Result<()>;
    /// How many bytes it has.
    fn bytes(&self) -> io::Result<u64>;
}

/// Reads as many bytes as there are, up to as many as fit. Answers how many there were.
pub(crate) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Reads exactly so many bytes.
pub(crate) fn read_exact(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if read_full(file, buffer, offset)? == buffer.len() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it should be"))
    }
}

/// Writes zeros over a part of a file.
pub(crate) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < to {
        let bytes = (to - at).min(ZEROS.len() as u64);
        file.write_at(&ZEROS[..bytes as usize], at)?;
        at += bytes;
    }
    Ok(())
}

/// A directory of the machine. While it is held, no other process can hold it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Locked while it is open.
    _lock: Option<File>,
}

/// How the name of a file ends that is not finished; finished, it gets its name.
const UNFINISHED: &str = ".new";

/// The name of a file until it is finished.
pub(crate) fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED}")
}

/// Whether a file was not finished.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED)
}

/// The file that says who holds a directory.
pub(crate) const LOCK: &str = "LOCK";

/// How long it takes at most until a lock is free whose holder is gone: a child that was just begun has the files of
/// its parent until it runs its own program.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Makes a directory if there is none, and holds it until what is answered is dropped. `None` if another process does.
pub fn hold(path: &Path) -> io::Result<Option<File>> {
    std::fs::create_dir_all(path)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl Directory {
    /// Makes the directory if there is none, and holds it.
    pub(crate) fn hold(path: &Path) -> Result<Self, Fault> {
        let fault = |error: io::Error| {
            Fault::new(Kind::Io, format!("cannot open the store `{}`", path.display())).because(error)
        };
        let lock = hold(path).map_err(fault)?.ok_or_else(|| {
            let text = format!("another process holds the store `{}`", path.display());
            Fault::new(Kind::Conflict, text).hint("stop it, or give this one another data directory")
        })?;
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// Looks at a directory that another process may hold.
    pub(crate) fn look(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }
}

impl Disk for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is no text is none of ours.
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        Ok(Arc::new(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
