//! The embedded store as a whole: messages and small state in one data directory, opened together and backed up
//! together into one file.

mod archive;

use crate::log::{Grouped, Log, LogOptions, Recovered, export};
use crate::state::Sqlite;
use crate::{Encrypted, State, Store};
use archive::{Reading, Writing};
use base::{Clock, Fault, Kind};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Where the messages are in the data directory.
pub const LOG_FOLDER: &str = "log";
/// Where the small state is in the data directory.
pub const STATE_FOLDER: &str = "state";
const STATE_FILE: &str = "state.db";

/// Messages and small state of one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Embedded {
    log: Arc<Log>,
    sqlite: Arc<Sqlite>,
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// The global position of its last message.
    pub messages: i64,
    /// Bytes of its file.
    pub bytes: u64,
}

impl Embedded {
    /// Opens the data directory, which is made if it is not there.
    pub fn open(path: &Path, clock: Clock, options: LogOptions) -> Result<(Self, Recovered), Fault> {
        let (log, recovered) = Log::open(&path.join(LOG_FOLDER), clock.clone(), options)?;
        let sqlite = Sqlite::open(&path.join(STATE_FOLDER), clock)?;
        Ok((Self { log: Arc::new(log), sqlite: Arc::new(sqlite) }, recovered))
    }

    /// The messages.
    pub fn store(&self) -> Store {
        Store::of(self.log.clone())
    }

    /// The messages, with the data of those that name a subject encrypted under a key of the subject's.
    pub fn encrypted(&self, clock: Clock) -> Arc<Encrypted> {
        Arc::new(Encrypted::new(self.log.clone(), self.state(), clock))
    }

    /// How appends were grouped since the directory was opened.
    pub fn grouped(&self) -> Grouped {
        self.log.grouped()
    }

    /// The small state.
    pub fn state(&self) -> State {
        State::of(self.sqlite.clone())
    }

    /// Copies everything into one file, in place of any of its name, while appends go on. Messages appended
    /// meanwhile may be in it or not; the state is never ahead of the messages. Blocks the thread.
    pub fn backup(&self, file: &Path) -> Result<Backup, Fault> {
        let fault = |error: std::io::Error| {
            Fault::new(Kind::Io, format!("cannot back up to `{}`", file.display())).because(error)
        };
        let unfinished = file.with_added_extension("new");
        let mut archive = Writing::create(&unfinished).map_err(fault)?;
        // Before the messages: a position kept in the state is then that of a message in the backup.
        let copy = file.with_added_extension("state");
        let copied = self.sqlite.copy_to(&copy).and_then(|()| {
            let bytes = File::open(&copy)?;
            let length = bytes.metadata()?.len();
            Ok(archive.entry(&format!("{STATE_FOLDER}/{STATE_FILE}"), length, &mut &bytes)?)
        });
        drop(std::fs::remove_file(&copy));
        copied?;
        let messages = self.log.each_segment(&mut |name, length, bytes| {
            archive.entry(&format!("{LOG_FOLDER}/{name}"), length, bytes).map_err(fault)
        })?;
        let bytes = archive.finish().map_err(fault)?;
        std::fs::rename(&unfinished, file).map_err(fault)?;
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)?;
        }
        Ok(Backup { messages, bytes })
    }
}

/// Makes a data directory of a backup. The directory must not be there, or be empty; where the backup is
/// damaged, nothing is left of it.
pub fn restore(file: &Path, path: &Path) -> Result<(), Fault> {
    let fault = |error: std::io::Error| {
        Fault::new(Kind::Io, format!("cannot restore `{}`", file.display())).because(error)
    };
    if std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        let text = format!("the data directory `{}` is not empty", path.display());
        return Err(
            Fault::new(Kind::Conflict, text).hint("restore to a new directory, then move it into place")
        );
    }
    let unfinished = path.with_added_extension("new");
    drop(std::fs::remove_dir_all(&unfinished));
    let restored = restore_to(file, &unfinished);
    if restored.is_err() {
        drop(std::fs::remove_dir_all(&unfinished));
        return restored;
    }
    drop(std::fs::remove_dir(path));
    std::fs::rename(&unfinished, path).map_err(fault)
}

fn restore_to(file: &Path, path: &Path) -> Result<(), Fault> {
    let fault = |error: std::io::Error| {
        let text = format!("cannot restore `{}`", file.display());
        Fault::new(Kind::Io, text).because(error).hint("the backup may be damaged; take another one")
    };
    for folder in [LOG_FOLDER, STATE_FOLDER] {
        std::fs::create_dir_all(path.join(folder)).map_err(fault)?;
    }
    let mut archive = Reading::open(file).map_err(fault)?;
    while let Some(name) = archive.next_name().map_err(fault)? {
        // Nothing but what a backup writes: a name is no way out of the directory.
        let known = name.split_once('/').is_some_and(|of| {
            of == (STATE_FOLDER, STATE_FILE) || (of.0 == LOG_FOLDER && export::is_one(of.1))
        });
        if !known {
            return Err(Fault::new(
                Kind::Invalid,
                format!("the backup holds a file `{name}`, which is none of ours"),
            ));
        }
        let to = File::create(path.join(&name)).map_err(fault)?;
        archive.content(&mut &to).map_err(fault)?;
        to.sync_all().map_err(fault)?;
    }
    export::say_format(&path.join(LOG_FOLDER)).map_err(fault)
}

#[cfg(test)]
mod tests;
