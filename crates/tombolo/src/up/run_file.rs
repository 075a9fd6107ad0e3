//! `.tombolo/run.json` beside the manifest: how other commands find the `tombolo up` that runs it. It holds the
//! token they show, so only its owner may read it.

use base::{Fault, Kind};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
        let text = std::fs::read_to_string(path(folder)).ok()?;
        let run: Self = serde_json::from_str(&text).ok()?;
        // Signal 0 asks whether the process is there (kill(2)).
        let pid = nix::unistd::Pid::from_raw(i32::try_from(run.pid).ok()?);
        let alive = nix::sys::signal::kill(pid, None) != Err(nix::errno::Errno::ESRCH);
        alive.then_some(run)
    }

    /// Writes the file, for its owner alone.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Fault> {
        let path = path(folder);
        let write = || {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            // A new file, so that the mode holds from its first byte on.
            let _ = std::fs::remove_file(&path);
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(serde_json::to_string(self)?.as_bytes())
        };
        write().map_err(|error: std::io::Error| {
            Fault::new(Kind::Io, format!("`{}` can't be written", path.display()))
                .hint("`tombolo up` keeps its state beside the manifest; may you write there?")
                .because(error)
        })
    }

    /// Removes the file, if it is still ours.
    pub(crate) fn remove(&self, folder: &Path) {
        let ours = std::fs::read_to_string(path(folder)).is_ok_and(|text| text.contains(&self.token));
        if ours {
            let _ = std::fs::remove_file(path(folder));
            // Only if nothing else is in it.
            let _ = std::fs::remove_dir(folder.join(".tombolo"));
        }
    }
}
