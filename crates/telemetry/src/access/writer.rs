//! The thread that writes the access log. It sleeps while there is nothing to write.

use super::{BATCH_WAIT, Shared, Wishes, lock};
use base::{Fault, Kind};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Where the log goes.
pub enum Target {
    /// The standard output.
    Stdout,
    /// The standard error output.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
    /// Whatever takes bytes.
    Other(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("Stdout"),
            Self::Stderr => f.write_str("Stderr"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

type Tell = Box<dyn Fn(Fault) + Send>;

pub(super) struct Writer {
    shared: Arc<Shared>,
    sink: Box<dyn Write + Send>,
    /// Of a file, to open it anew.
    path: Option<PathBuf>,
    tell: Tell,
    /// Taken from a worker and given back empty, so that neither side allocates in the long run.
    batch: Vec<u8>,
    failing: bool,
    /// A write broke off within a line.
    torn: bool,
}

impl Writer {
    pub(super) fn open(shared: Arc<Shared>, target: Target, tell: Tell) -> Result<Self, Fault> {
        let (sink, path): (Box<dyn Write + Send>, _) = match target {
            Target::Stdout => (Box::new(io::stdout()), None),
            Target::Stderr => (Box::new(io::stderr()), None),
            Target::File(path) => (Box::new(open(&path)?), Some(path)),
            Target::Other(sink) => (sink, None),
        };
        Ok(Self { shared, sink, path, tell, batch: Vec::new(), failing: false, torn: false })
    }

    /// Until it is asked to stop.
    pub(super) fn run(&mut self) {
        loop {
            let wishes = self.wait();
            if wishes.reopen {
                self.reopen();
            }
            self.turn();
            if wishes.stop {
                lock(&self.shared.wishes).ended = true;
                self.shared.ended.notify_all();
                return;
            }
        }
    }

    /// Waits until there is something to do; then, unless it is urgent, a little more for others to come.
    fn wait(&self) -> Wishes {
        let shared = &self.shared;
        let idle = |wishes: &mut Wishes| !(wishes.write || wishes.reopen || wishes.stop);
        let calm = |wishes: &mut Wishes| !(wishes.hurry || wishes.reopen || wishes.stop);
        let wishes =
            shared.wished.wait_while(lock(&shared.wishes), idle).unwrap_or_else(PoisonError::into_inner);
        let waited = shared.wished.wait_timeout_while(wishes, BATCH_WAIT, calm);
        let mut wishes = waited.unwrap_or_else(PoisonError::into_inner).0;
        // Before the buffers are taken: who writes a line after that wakes us again.
        shared.woken.store(false, Ordering::Release);
        std::mem::take(&mut *wishes)
    }

    /// Writes what all workers have.
    pub(super) fn turn(&mut self) {
        for worker in 0..self.shared.buffers.len() {
            let mut batch = std::mem::take(&mut self.batch);
            std::mem::swap(&mut batch, &mut lock(&self.shared.buffers[worker]).text);
            if !batch.is_empty() {
                self.write(&batch);
            }
            batch.clear();
            self.batch = batch;
        }
    }

    pub(super) fn write(&mut self, batch: &[u8]) {
        let (written, result) = self.write_some(batch);
        let rest = &batch[written..];
        if let Err(error) = result {
            let lines = rest.split(|byte| *byte == b'\n').count() - 1;
            self.shared.dropped.add(u64::try_from(lines).unwrap_or(u64::MAX));
            self.torn |= written > 0 && batch[written - 1] != b'\n';
            if !self.failing {
                (self.tell)(
                    Fault::new(Kind::Io, "cannot write the access log, lines are dropped")
                        .because(error)
                        .hint("the lines that are lost are counted in `tombolo_log_lines_dropped_total`"),
                );
            }
            self.failing = true;
        } else {
            self.failing = false;
        }
    }

    /// Writes as much as goes, and says how much of the batch that was.
    fn write_some(&mut self, batch: &[u8]) -> (usize, io::Result<()>) {
        if self.torn {
            // What is left of the torn line stays a line of its own.
            if let Err(error) = self.sink.write_all(b"\n") {
                return (0, Err(error));
            }
            self.torn = false;
        }
        let mut written = 0;
        while written < batch.len() {
            match self.sink.write(&batch[written..]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, self.sink.flush())
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        match open(path) {
            Ok(file) => {
                self.sink = Box::new(file);
                self.torn = false;
            }
            // The old file is still open, and better than none.
            Err(fault) => (self.tell)(fault),
        }
    }
}

fn open(path: &Path) -> Result<File, Fault> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        Fault::new(Kind::Io, format!("cannot open the access log `{}`", path.display())).because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{AccessLog, BUFFER_BYTES_MAX, Options};
    use super::*;
    use crate::Record;
    use crate::metrics::Counter;
    use crate::record::tests::record;
    use std::sync::Mutex;
    use std::time::Duration;

    /// A disk with so much room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock().unwrap();
            let fits = bytes.len().min(*room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= fits;
            written.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk {
        fn with_room(bytes: usize) -> Self {
            Self(Arc::new(Mutex::new((Vec::new(), bytes))))
        }
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
        fn make_room(&self) {
            self.0.lock().unwrap().1 = usize::MAX;
        }
    }

    fn parts(disk: &Disk) -> (AccessLog, Writer, Arc<Mutex<Vec<String>>>) {
        let log = AccessLog::without_writer(Options::default(), 2, Counter::default());
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = told.clone();
        let tell = Box::new(move |fault: Fault| listener.lock().unwrap().push(fault.to_string()));
        let writer = Writer::open(log.0.clone(), Target::Other(Box::new(disk.clone())), tell).unwrap();
        (log, writer, told)
    }

    #[test]
    fn lines_of_all_workers_are_written_in_batches() {
        let disk = Disk::with_room(usize::MAX);
        let (log, mut writer, _) = parts(&disk);
        for (worker, uri) in [(0, "/a"), (1, "/b"), (2, "/c")] {
            log.write(worker, &Record { uri, ..record() });
        }
        assert_eq!(disk.text(), "");
        writer.turn();
        let paths: Vec<_> =
            disk.text().lines().map(|line| line.split(' ').nth(6).unwrap().to_owned()).collect();
        assert_eq!(paths, ["/a", "/c", "/b"]);
    }

    #[test]
    fn a_writer_that_is_too_slow_costs_lines_and_not_time() {
        let (log, mut writer, _) = parts(&Disk::with_room(usize::MAX));
        let lines = 10_000;
        for _ in 0..lines {
            log.write(0, &record());
        }
        assert!(lock(&log.0.buffers[0]).text.len() <= BUFFER_BYTES_MAX);
        let dropped = log.dropped();
        assert!(dropped > 0 && dropped < lines);
        log.write(1, &record());
        assert_eq!(log.dropped(), dropped, "other workers have their own room");
        writer.turn();
        log.write(0, &record());
        assert_eq!(log.dropped(), dropped, "there is room again");
    }

    #[test]
    fn a_full_disk_is_told_once_and_what_follows_is_whole_again() {
        let disk = Disk::with_room(200);
        let (log, mut writer, told) = parts(&disk);
        for _ in 0..2 {
            log.write(0, &record());
            log.write(0, &record());
            writer.turn();
        }
        assert_eq!(told.lock().unwrap().len(), 1, "{told:?}");
        assert_eq!(log.dropped(), 3, "one line fitted");
        disk.make_room();
        log.write(0, &Record { uri: "/after", ..record() });
        writer.turn();
        let text = disk.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[2].contains("/after") && lines[2].starts_with("10.0.0.9 "), "{text}");
        disk.0.lock().unwrap().1 = 0;
        log.write(0, &record());
        writer.turn();
        assert_eq!(told.lock().unwrap().len(), 2, "it had worked in between");
    }

    #[test]
    fn the_thread_writes_what_is_left_before_it_ends() {
        let disk = Disk::with_room(usize::MAX);
        let target = Target::Other(Box::new(disk.clone()));
        let log = AccessLog::start(Options::default(), target, 1, Counter::default(), |_| {}).unwrap();
        for _ in 0..1000 {
            log.write(0, &record());
        }
        assert!(log.stop(Duration::from_mins(1)));
        assert_eq!(disk.text().lines().count(), 1000);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = std::env::temp_dir().join(format!("tombolo-access-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, moved) = (folder.join("access.log"), folder.join("access.log.1"));
        let log = AccessLog::without_writer(Options::default(), 1, Counter::default());
        let mut writer = Writer::open(log.0.clone(), Target::File(path.clone()), Box::new(|_| {})).unwrap();
        log.write(0, &record());
        writer.turn();
        std::fs::rename(&path, &moved).unwrap();
        writer.reopen();
        for _ in 0..2 {
            log.write(0, &record());
        }
        writer.turn();
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&moved), lines(&path)), (1, 2));
        std::fs::remove_dir_all(&folder).unwrap();
        let missing = Target::File(folder.join("no/such/folder"));
        let fault = Writer::open(log.0.clone(), missing, Box::new(|_| {})).err().unwrap();
        assert!(fault.to_string().starts_with("cannot open the access log `"), "{fault}");
    }
}
