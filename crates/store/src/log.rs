//! The embedded engine: a log of our own in segments, which alone is the truth, and indexes made from it. One
//! writer thread sequences and makes groups durable; readers read files beside it. The bytes are described in
//! `docs/store-format.md`.

mod beside;
mod call;
mod disk;
mod dump;
pub(crate) mod export;
mod fetch;
mod files;
mod filter;
mod group;
mod index;
mod open;
mod reading;
mod record;
mod removal;
mod run;
mod segment;
mod shared;
mod tail;
mod verify;
mod wide;
mod writer;

use crate::{
    Answer, Append, AppendError, Appended, CategoryInfo, Engine, Message, Page, Read, Removal, StreamInfo,
    StreamList, Uuid, Wakes,
};
use base::{Clock, Fault, Kind, Retry};
use call::{Answered, Call, Command, Request, gone};
pub(crate) use disk::Directory;
use disk::Disk;
pub use disk::hold;
pub use dump::{DumpedRecord, dump, dump_bytes};
use fetch::io_fault;
use shared::Shared;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
pub use verify::{Report, verify};
use writer::Writer;

/// Calls that may wait for the writer.
const WAITING_MAX: u32 = 4_096;
/// Bytes of the calls that may wait for the writer, in pieces of [`ROOM_PIECE_BYTES`].
const ROOM_PIECES: u32 = 64 << 10;
const ROOM_PIECE_BYTES: usize = 1 << 10;
/// What a call takes of the room at least, so that it bounds their number, too.
const CALL_PIECES: u32 = ROOM_PIECES / WAITING_MAX;
/// A page of more messages than this is read on a thread for blocking work; fewer are mostly in the page
/// cache, and read before such a thread would have begun. So are so many ids looked for before an append is queued.
const INLINE_MAX: usize = 64;

/// The sizes of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes after which a new segment begins; at least twice the largest append. Default: 32 MiB.
    pub segment_bytes: u64,
    /// Messages after which a new segment begins: the index of the last one is in memory. Default: 131,072.
    pub segment_messages: usize,
    /// Memory for filters that tell quickly which index files need not be looked at. Default: 24 MiB.
    pub filter_bytes: usize,
    /// Index files that share a filter in a file once there are so many, instead of one each in memory. Default: 32.
    pub runs_in_filter: usize,
    /// Whether segments are prepared and sealed on threads of their own, beside the writer. Default: yes.
    pub background: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            segment_messages: 128 << 10,
            filter_bytes: 24 << 20,
            runs_in_filter: 32,
            background: true,
        }
    }
}

/// What opening a log found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Messages in it.
    pub messages: i64,
    /// Bytes behind the last whole append that were cut off: of appends that nobody was told of.
    pub cut_bytes: u64,
    /// Index files that were missing and were made anew.
    pub indexes_made: usize,
}

/// What was appended since the log was opened: messages in groups that one sync made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouped {
    /// Groups, each of the calls that came in while the disk was busy with the one before.
    pub groups: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// The embedded engine.
pub struct Log {
    shared: Arc<Shared>,
    /// Only `None` while it is dropped.
    commands: Option<UnboundedSender<Command>>,
    /// Of what may wait for the writer, what is left.
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("head", &self.shared.head()).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in a directory, which is made if it is not there. Fails where another process holds it,
    /// and where it is damaged: then nothing is changed. Blocks the thread while it looks at the last segment.
    pub fn open(path: &Path, clock: Clock, options: LogOptions) -> Result<(Self, Recovered), Fault> {
        if path.is_dir() {
            // Before anything is put there.
            open::files(&Directory::look(path))?;
        }
        Self::on(Arc::new(Directory::hold(path)?), clock, options)
    }

    fn on(disk: Arc<dyn Disk>, clock: Clock, options: LogOptions) -> Result<(Self, Recovered), Fault> {
        let (writer, recovered) = open::open(disk, clock, options)?;
        let shared = writer.shared.clone();
        let (commands, receiver) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("store-writer".into());
        let writer = thread.spawn(move || Writer::run(writer, receiver))?;
        let room = Arc::new(Semaphore::new(ROOM_PIECES as usize));
        Ok((Self { shared, commands: Some(commands), room, writer: Some(writer) }, recovered))
    }

    /// How appends were grouped since the log was opened.
    pub fn grouped(&self) -> Grouped {
        self.shared.grouped.now()
    }

    async fn append_all(&self, appends: Vec<Append>) -> Answered {
        let ids = || appends.iter().flat_map(|append| &append.messages).map(|message| message.id);
        let new_until = if ids().count() <= INLINE_MAX { self.shared.new_until(ids()) } else { 0 };
        let call = Call::new(&appends, new_until);
        drop(appends);
        let request = Request::new(call.clone(), self.room_for(call.records.len()).await);
        self.ask_writer(Command::Append(request)).map_err(|()| gone(Retry::Safe))?;
        let answer = call.answered().await;
        self.shared.callers.wake_others();
        answer
    }

    /// Waits until so many bytes may wait for the writer.
    async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = (bytes / ROOM_PIECE_BYTES) as u32 + 1;
        self.room.clone().acquire_many_owned(pieces.clamp(CALL_PIECES, ROOM_PIECES)).await.ok()
    }

    /// Fails where the writer has ended.
    fn ask_writer(&self, command: Command) -> Result<(), ()> {
        self.commands.as_ref().ok_or(())?.send(command).map_err(|_| ())
    }

    /// Runs a question that may read much where waiting for a disk holds nobody up.
    async fn aside<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let shared = self.shared.clone();
        if tokio::runtime::Handle::try_current().is_err() {
            return ask(&shared);
        }
        let asked = tokio::task::spawn_blocking(move || ask(&shared)).await;
        asked.unwrap_or_else(|error| Err(Fault::new(Kind::Bug, "reading the store failed").because(error)))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The writer ends when it has done what waits, and the directory can be opened by another.
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

impl Engine for Log {
    fn append(&self, appends: Vec<Append>) -> Answer<'_, Vec<Appended>, AppendError> {
        Box::pin(self.append_all(appends))
    }

    fn read(&self, read: Read) -> Answer<'_, Page> {
        if read.limit <= INLINE_MAX {
            return Box::pin(ready(self.shared.read(&read)));
        }
        Box::pin(self.aside(move |shared| shared.read(&read)))
    }

    fn remove(&self, removal: Removal) -> Answer<'_, u64> {
        Box::pin(self.remove_messages(removal))
    }

    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64> {
        Box::pin(ready(self.shared.version(stream).map_err(io_fault)))
    }

    fn by_id(&self, id: Uuid) -> Answer<'_, Option<Message>> {
        Box::pin(ready(self.shared.by_id(id)))
    }

    fn streams(&self, list: StreamList) -> Answer<'_, Vec<StreamInfo>> {
        Box::pin(self.aside(move |shared| shared.streams(&list).map_err(io_fault)))
    }

    fn categories<'a>(&'a self, after: Option<&'a str>, limit: usize) -> Answer<'a, Vec<CategoryInfo>> {
        let after = after.map(str::to_owned);
        Box::pin(self.aside(move |shared| shared.categories(after.as_deref(), limit).map_err(io_fault)))
    }

    fn head(&self) -> Answer<'_, i64> {
        Box::pin(ready(Ok(self.shared.head())))
    }

    fn wakes(&self) -> &Wakes {
        &self.shared.wakes
    }
}

#[cfg(test)]
pub(crate) mod tests;
