//! `.tombolo/run.json` beside the manifest: how other commands find the `tombolo up` that runs it. It holds the
//! token they show, so only its owner may read it. The running process holds a lock on it (flock(2)), which the
//! kernel takes away with the process: a file left behind by a killed one is known as such, whatever process has
//! its id by now.

use base::{Fault, Kind};
use serde::{Deserialize, Serialize};
use std::fs::{File, Permissions, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the file is tried before somebody else is taken to hold it, and the pause between.
const TRIES_MAX: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(10);

/// Where a running `tombolo up` is found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    /// Its process.
    pub(crate) pid: u32,
    /// Its API.
    pub(crate) api: SocketAddr,
    /// What callers of the API must show.
    pub(crate) token: String,
}

/// The file's place for a manifest in this folder.
fn path(folder: &Path) -> PathBuf {
    folder.join(".tombolo").join("run.json")
}

impl RunFile {
    /// Reads the file; `None` if there is none or its process is gone.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let mut file = File::open(path(folder)).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes the file, for its owner alone, and locks it until the answer is dropped. Fails if another process
    /// has it locked.
    pub(crate) fn write(&self, folder: &Path) -> Result<Held, Fault> {
        let path = path(folder);
        let failed = |error: std::io::Error| {
            Fault::new(Kind::Io, format!("`{}` can't be written", path.display()))
                .hint("`tombolo up` keeps its state beside the manifest; may you write there?")
                .because(error)
        };
        let open = || {
            std::fs::create_dir_all(folder.join(".tombolo"))?;
            // Not emptied before the lock says that it is nobody's.
            let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            // One that was there may have another mode.
            file.set_permissions(Permissions::from_mode(0o600))?;
            Ok(file)
        };
        let mut tries = 0;
        let mut file = loop {
            tries += 1;
            let file = open().map_err(failed)?;
            match file.try_lock() {
                // Whoever had it may have removed it between the two steps.
                Ok(()) if is_at(&file, &path) => break file,
                Ok(()) if tries < TRIES_MAX => {}
                // A reader that only wants to know whether somebody runs here holds it for a moment.
                Err(TryLockError::WouldBlock) if tries < TRIES_MAX => std::thread::sleep(TRY_PAUSE),
                Ok(()) | Err(TryLockError::WouldBlock) => {
                    return Err(runs_already(Self::read(folder).map(|run| run.pid)));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        };
        let text = serde_json::to_string(self)
            .map_err(|error| Fault::new(Kind::Bug, "the run file").because(error))?;
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(failed)?;
        Ok(Held { _file: file, folder: folder.to_owned() })
    }
}

/// Whether the path still names this file.
fn is_at(file: &File, path: &Path) -> bool {
    let numbers = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(numbers).ok() == std::fs::metadata(path).map(numbers).ok()
}

/// The run file, held by the process it is about. Removed with its folder when dropped.
pub(crate) struct Held {
    _file: File,
    folder: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        // While the lock holds, so that nobody else's file is removed.
        let _ = std::fs::remove_file(path(&self.folder));
        // Only if nothing else is in it.
        let _ = std::fs::remove_dir(self.folder.join(".tombolo"));
    }
}

/// What a second `tombolo up` in the same folder is told.
pub(crate) fn runs_already(pid: Option<u32>) -> Fault {
    let who = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    Fault::new(Kind::Conflict, format!("`tombolo up` runs here already{who}"))
        .hint("`tombolo status` shows it, `tombolo stop` ends it")
}
