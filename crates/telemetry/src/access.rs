//! The access log: a line for each request, in the format of your choice. The data path appends the line to
//! a buffer of its worker and goes on; a thread takes the buffers and writes them in batches. When the disk
//! or the terminal can't keep up, or the disk is full, lines are dropped and counted, and nobody waits.

mod escape;
mod line;
pub(crate) mod uri;
mod writer;

pub use line::{Format, Options};
pub use writer::Target;

use crate::Record;
use crate::metrics::Counter;
use base::{Fault, Kind};
use line::Stamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use writer::Writer;

/// Bytes that wait to be written, for each worker.
pub const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Lines wait this long for others, so that a batch is worth the write.
const BATCH_WAIT: Duration = Duration::from_millis(50);

/// The log, shared by all workers. Clones are the same log.
#[derive(Clone, Debug)]
pub struct AccessLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    buffers: Box<[Mutex<Buffer>]>,
    dropped: Counter,
    /// Whether the writer knows that there is something to write.
    woken: AtomicBool,
    wishes: Mutex<Wishes>,
    wished: Condvar,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    text: Vec<u8>,
    stamp: Stamp,
}

/// What the writer is asked to do, and whether it has ended.
#[expect(clippy::struct_excessive_bools, reason = "wishes that may come together in any combination")]
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    write: bool,
    hurry: bool,
    reopen: bool,
    stop: bool,
    ended: bool,
}

impl AccessLog {
    /// Opens the target and starts the writer, for so many workers. Dropped lines go to `dropped`; `tell` is
    /// told once when writing begins to fail, and again after it has worked in between.
    ///
    /// Fails if the target can't be opened or the thread can't be started.
    pub fn start(
        options: Options,
        target: Target,
        workers: usize,
        dropped: Counter,
        tell: impl Fn(Fault) + Send + 'static,
    ) -> Result<Self, Fault> {
        let log = Self::without_writer(options, workers, dropped);
        let mut writer = Writer::open(log.0.clone(), target, Box::new(tell))?;
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| Fault::new(Kind::Io, "cannot start the access log").because(error))?;
        Ok(log)
    }

    fn without_writer(options: Options, workers: usize, dropped: Counter) -> Self {
        Self(Arc::new(Shared {
            options,
            buffers: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
            dropped,
            woken: AtomicBool::new(false),
            wishes: Mutex::default(),
            wished: Condvar::new(),
            ended: Condvar::new(),
        }))
    }

    /// Logs a request on behalf of the worker that carried it; numbers beyond the last share the buffers of
    /// others. Never waits for the writer.
    pub fn write(&self, worker: usize, record: &Record<'_>) {
        self.append(worker, |buffer| self.0.options.write(&mut buffer.text, &mut buffer.stamp, record));
    }

    /// Writes a line that somebody else has made, without its end.
    pub fn write_line(&self, worker: usize, line: &[u8]) {
        self.append(worker, |buffer| {
            buffer.text.extend_from_slice(line);
            buffer.text.push(b'\n');
        });
    }

    fn append(&self, worker: usize, write: impl FnOnce(&mut Buffer)) {
        let shared = &*self.0;
        let full = {
            let buffer = &mut *lock(&shared.buffers[worker % shared.buffers.len()]);
            let before = buffer.text.len();
            write(buffer);
            if buffer.text.len() > BUFFER_BYTES_MAX {
                buffer.text.truncate(before);
                shared.dropped.increment();
            }
            buffer.text.len() > BUFFER_BYTES_MAX / 2
        };
        // A buffer that fills up does not wait for the batch.
        if full || !shared.woken.swap(true, Ordering::AcqRel) {
            shared.wish(|wishes| {
                wishes.write = true;
                wishes.hurry |= full;
            });
        }
    }

    /// Opens the file anew before the next batch: for a log that was moved away.
    pub fn reopen(&self) {
        self.0.wish(|wishes| wishes.reopen = true);
    }

    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.value()
    }

    /// Writes what is left and ends the writer, waiting no longer than `grace`. Answers whether all of it
    /// was done in time.
    pub fn stop(&self, grace: Duration) -> bool {
        self.0.wish(|wishes| wishes.stop = true);
        let wishes = lock(&self.0.wishes);
        let waited = self.0.ended.wait_timeout_while(wishes, grace, |wishes| !wishes.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

impl Shared {
    fn wish(&self, wish: impl FnOnce(&mut Wishes)) {
        wish(&mut lock(&self.wishes));
        self.wished.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
