//! Writes a group and makes it durable, on a thread beside the writer's: that one decides upon the next group meanwhile.

use super::disk::{DiskFile, write_zeros};
use base::{Blame, Fault, Kind, Retry};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// The bytes of a group, and where they go.
pub(crate) struct Job {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: Vec<u8>,
    /// Where in the file; there are zeros.
    pub(crate) start: u64,
}

/// How a job has ended.
pub(crate) struct Done {
    /// None if the thread that had it is no more.
    pub(crate) job: Option<Job>,
    pub(crate) result: Result<(), Failure>,
}

impl Job {
    /// Writes the bytes and makes them durable.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        if let Err(error) = self.file.write_at(&self.bytes, self.start) {
            // Whole records may stand there now, and would be taken for messages when a shorter group comes to
            // stand before them. So they have to go, durably, before anything else is written.
            let (file, end) = (&self.file, self.start + self.bytes.len() as u64);
            return Err(match write_zeros(&**file, self.start, end).and_then(|()| file.sync()) {
                Ok(()) => Failure::NotWritten(error),
                Err(second) => {
                    let why = format!("a write failed ({error}), and so did taking it back ({second})");
                    Failure::Unknown(error, why)
                }
            });
        }
        // The system may have dropped the pages that it could not write and call the next sync a success (as
        // PostgreSQL found in 2018). Only reading the file anew tells what is durable: no more is written until the
        // store is opened again.
        self.file.sync().map_err(|error| {
            let why = format!("a sync failed ({error})");
            Failure::Unknown(error, why)
        })
    }

    fn done(self) -> Done {
        let result = self.run();
        Done { job: Some(self), result }
    }
}

/// Does jobs, one at a time.
pub(crate) struct Beside {
    /// Whether there is to be a thread; without one a job is done where it is begun.
    threaded: bool,
    thread: Option<Thread>,
    /// Of a job that was done at once.
    done: Option<Done>,
}

struct Thread {
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    handle: JoinHandle<()>,
}

impl Beside {
    pub(crate) fn new(threaded: bool) -> Self {
        Self { threaded, thread: None, done: None }
    }

    /// Begins a job; the one before it was waited for.
    pub(crate) fn begin(&mut self, job: Job) {
        if self.threaded && self.thread.is_none() {
            // Without a thread it is done here, and the next job tries again to have one.
            self.thread = Thread::start().ok();
        }
        let refused = match &self.thread {
            Some(thread) => thread.jobs.send(job).map_err(|unsent| unsent.0),
            None => Err(job),
        };
        self.done = refused.err().map(Job::done);
    }

    /// Waits until the job that was begun has ended.
    pub(crate) fn wait(&mut self) -> Done {
        let done = self.done.take().or_else(|| self.thread.as_ref()?.done.recv().ok());
        done.unwrap_or_else(|| {
            let why = "the thread that writes has ended";
            Done { job: None, result: Err(Failure::Unknown(io::Error::other(why), why.to_owned())) }
        })
    }

    /// Waits until the thread has ended.
    pub(crate) fn end(self) {
        if let Some(Thread { jobs, handle, .. }) = self.thread {
            drop(jobs);
            drop(handle.join());
        }
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (tell, done) = sync_channel(1);
        let run = move || {
            while let Ok(job) = todo.recv() {
                if tell.send(job.done()).is_err() {
                    return;
                }
            }
        };
        let handle = std::thread::Builder::new().name("store-disk".into()).spawn(run)?;
        Ok(Self { jobs, done, handle })
    }
}

/// Why a group was not appended.
pub(crate) enum Failure {
    /// Nothing of it is in the log.
    NotWritten(io::Error),
    /// It may be in the log after the store is opened again; nothing can be written until then, for this reason.
    Unknown(io::Error, String),
    /// The log had failed before.
    Broken(String),
}

impl Failure {
    pub(crate) fn fault(&self) -> Fault {
        const REOPEN: &str = "look at the disk, then start again: what was acknowledged is kept";
        let fault = |text: String| Fault::new(Kind::Io, text).blame(Blame::Neighbour);
        match self {
            Self::NotWritten(error) if error.kind() == io::ErrorKind::StorageFull => {
                fault("the disk of the store is full".into()).retry(Retry::Safe).hint("make room on it")
            }
            Self::NotWritten(error) => {
                fault(format!("cannot write to the store: {error}")).retry(Retry::Safe)
            }
            Self::Unknown(error, _) => fault(format!("cannot make messages durable: {error}"))
                .retry(Retry::IfIdempotent)
                .hint(REOPEN),
            Self::Broken(why) => {
                fault(format!("the store takes no messages since {why}")).retry(Retry::No).hint(REOPEN)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A file that fails as it is told to: by an error of its write or its sync, or by a panic.
    #[derive(Default)]
    struct Failing {
        content: Mutex<Vec<u8>>,
        write: bool,
        sync: bool,
        panics: bool,
    }

    impl DiskFile for Failing {
        fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn write_at(&self, bytes: &[u8], _offset: u64) -> io::Result<()> {
            assert!(!self.panics, "the file panics");
            let is_group = bytes.iter().any(|byte| *byte != 0);
            if self.write && is_group {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *self.content.lock().unwrap() = bytes.to_vec();
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            if self.sync { Err(io::Error::other("no")) } else { Ok(()) }
        }

        fn bytes(&self) -> io::Result<u64> {
            Ok(0)
        }
    }

    /// How a job of this file ends, in words, with a thread and without; the job after it as well.
    fn ends(threaded: bool, file: Failing) -> String {
        let (mut beside, file) = (Beside::new(threaded), Arc::new(file));
        let mut end = || {
            beside.begin(Job { file: file.clone(), bytes: vec![1, 2], start: 0 });
            let done = beside.wait();
            let job = if done.job.is_some_and(|job| job.bytes == [1, 2]) { "" } else { " without its job" };
            match done.result {
                Ok(()) => format!("done{job}"),
                Err(Failure::NotWritten(error)) => format!("not written: {error}{job}"),
                Err(Failure::Unknown(error, why)) => format!("unknown: {error}: {why}{job}"),
                Err(Failure::Broken(why)) => format!("broken: {why}{job}"),
            }
        };
        let ends = [end(), end()].join(", then ");
        beside.end();
        ends
    }

    #[test]
    fn a_job_ends_as_its_file_does_on_a_thread_and_without() {
        for threaded in [true, false] {
            assert_eq!(ends(threaded, Failing::default()), "done, then done");
            let full = ends(threaded, Failing { write: true, ..Failing::default() });
            assert_eq!(full, "not written: no storage space, then not written: no storage space");
            let unsynced = ends(threaded, Failing { sync: true, ..Failing::default() });
            assert_eq!(unsynced, ["unknown: no: a sync failed (no)"; 2].join(", then "));
            let both = ends(threaded, Failing { write: true, sync: true, ..Failing::default() });
            assert!(both.starts_with("unknown: no storage space: a write failed"), "{both}");
        }
    }

    #[test]
    fn a_thread_that_is_no_more_is_told_and_the_next_job_is_done_here() {
        let (mut beside, file) = (Beside::new(true), Arc::new(Failing::default()));
        beside.begin(Job {
            file: Arc::new(Failing { panics: true, ..Failing::default() }),
            bytes: vec![1],
            start: 0,
        });
        let done = beside.wait();
        assert!(done.job.is_none() && matches!(done.result, Err(Failure::Unknown(..))));
        beside.begin(Job { file: file.clone(), bytes: vec![3], start: 0 });
        assert!(beside.wait().result.is_ok());
        assert_eq!(*file.content.lock().unwrap(), [3]);
        beside.end();
    }
}
