//! How spans come in, wherever they are kept: they wait in a queue that is bounded in bytes, and one thread takes them
//! out in batches. What does not fit is told to who brings it, and counted.

use super::{Counts, Settings};
use crate::spans::Span;
use crate::spans::followers::Followers;
use base::{Clock, Fault, Kind, Retry};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_millis(200);
/// Bytes of a batch, in memory.
const BATCH_BYTES: usize = 4 << 20;

/// What is to be done by the thread that writes.
pub(crate) enum Command {
    /// Spans, and the bytes that they take.
    Spans(Vec<Span>, usize),
    Flush(oneshot::Sender<()>),
}

/// Where the thread that writes gets its commands from.
pub(crate) type Commands = mpsc::UnboundedReceiver<Command>;

/// What who brings spans and who writes them share.
pub(crate) struct Intake {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    waiting_bytes: AtomicUsize,
    kept: AtomicU64,
    dropped: AtomicU64,
    removed: AtomicU64,
    pub(crate) followers: Followers,
    /// Why the last write failed, if it did.
    failed: Mutex<Option<String>>,
}

/// What helps where spans come in faster than they are written.
const FEWER: &str = "report fewer (`sample` of `traces` for what Tombolo carries), or use a faster disk";

impl Intake {
    pub(crate) fn new(settings: Settings, clock: Clock) -> Self {
        Self {
            settings,
            clock,
            waiting_bytes: AtomicUsize::new(0),
            kept: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            removed: AtomicU64::new(0),
            followers: Followers::default(),
            failed: Mutex::default(),
        }
    }

    /// Takes spans to be written, or drops and counts them when too many wait. Never waits.
    pub(crate) fn offer(&self, queue: &Queue, spans: Vec<Span>) -> Result<(), Fault> {
        if spans.is_empty() {
            return Ok(());
        }
        let weight: usize = spans.iter().map(Span::weight).sum();
        let count = spans.len() as u64;
        let waiting = self.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        // A message larger than the bound is taken when nothing else waits.
        let fits = waiting == 0 || waiting + weight <= self.settings.waiting_bytes_max;
        if fits {
            self.followers.tell(&spans, weight);
            if queue.give(Command::Spans(spans, weight)) {
                return Ok(());
            }
        }
        self.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
        self.dropped.fetch_add(count, Ordering::Relaxed);
        if fits {
            let fault = Fault::new(Kind::Bug, "the thread that writes spans has ended");
            return Err(fault.hint("start the program again"));
        }
        let fault = Fault::new(Kind::Unavailable, "more spans come in than can be written");
        Err(fault.retry(Retry::Safe).hint(FEWER))
    }

    /// So many spans of so many bytes wait no more: they are written, or lost.
    pub(crate) fn done(&self, count: usize, bytes: usize, are_kept: bool) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let counter = if are_kept { &self.kept } else { &self.dropped };
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// So many spans were removed.
    pub(crate) fn removed(&self, count: u64) {
        self.removed.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            kept: self.kept.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            removed: self.removed.load(Ordering::Relaxed),
            waiting_bytes: self.waiting_bytes.load(Ordering::Relaxed) as u64,
        }
    }

    /// Notes how the last write went.
    pub(crate) fn tell(&self, written: Result<(), String>) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = written.err();
    }

    /// Why the last write failed, if it did.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The way to the thread that writes. Dropping it waits until that has ended.
pub(crate) struct Queue {
    /// Only `None` while it is dropped.
    commands: Option<mpsc::UnboundedSender<Command>>,
    writer: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts the thread, which runs what is given until nobody can give it commands any more.
    pub(crate) fn start<F: Future<Output = ()>>(
        runtime: Runtime,
        run: impl FnOnce(Commands) -> F + Send + 'static,
    ) -> Result<Self, Fault> {
        // Bounded by the bytes that may wait, which every sender asks for first.
        let (commands, receiver) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("span-writer".into());
        let thread = thread.spawn(move || runtime.block_on(run(receiver)))?;
        Ok(Self { commands: Some(commands), writer: Some(thread) })
    }

    /// Gives a command. Answers whether the thread is there to take it.
    fn give(&self, command: Command) -> bool {
        self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok())
    }

    /// Waits until what was given before is durable, or can't be made so now.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.give(Command::Flush(done)) {
            // If the writer has ended there is nothing to wait for.
            _ = flushed.await;
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

/// Spans to be written together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) spans: Vec<Span>,
    pub(crate) bytes: usize,
    /// Who waits for it.
    pub(crate) flushed: Vec<oneshot::Sender<()>>,
}

impl Batch {
    /// Adds what comes in until it is large enough, or somebody has waited long enough for it.
    pub(crate) async fn fill(&mut self, commands: &mut Commands, clock: &Clock) {
        let mut over = std::pin::pin!(clock.sleep(LINGER));
        while self.bytes < BATCH_BYTES {
            let next = if self.flushed.is_empty() {
                tokio::select! {
                    biased;
                    next = commands.recv() => next,
                    () = &mut over => None,
                }
            } else {
                // Whoever waits for what is in already does not wait for more.
                commands.try_recv().ok()
            };
            let Some(next) = next else { return };
            self.put(next);
        }
    }

    /// Whether nobody has anything to do with it.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.flushed.is_empty()
    }

    /// Adds what a command brings.
    pub(crate) fn put(&mut self, command: Command) {
        match command {
            Command::Spans(spans, weight) => {
                self.spans.extend(spans);
                self.bytes += weight;
            }
            Command::Flush(done) => self.flushed.push(done),
        }
    }

    /// Tells who waits for it that there is nothing more to wait for.
    pub(crate) fn tell_flushed(&mut self) {
        for done in self.flushed.drain(..) {
            // Nobody may be left to hear it.
            _ = done.send(());
        }
    }
}
