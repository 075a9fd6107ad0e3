//! The store of spans: files of `SQLite` in a directory, each full one with an index of its own, so that the oldest go
//! as a whole. Spans wait in a bounded queue and are written in batches; whoever brings them never waits for a disk.

mod blocks;
mod file;
mod links;
mod live;
mod names;
mod sealed;
mod search;
mod terms;
mod writer;

use super::followers::{Follower, Followers};
use super::{Link, Query, Span, TraceKey};
use base::{Clock, Fault, Kind, Retry};
use blocks::{Cache, Place};
use file::File;
use links::{Count, MINUTE_US};
use live::Live;
use names::List;
use sealed::Sealed;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Traces that are counted for one question about links; others that wait are counted later.
const COUNTED_AT_ONCE: usize = 20_000;
/// Spans of a trace that are read, the oldest of them, to the end of the message that passes it.
const OF_A_TRACE_MAX: usize = 50_000;
/// Questions that are answered at a time; others wait for their turn.
const QUESTIONS_MAX: usize = 4;

/// How spans are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long.
    pub keep_age: Duration,
    /// Bytes on the disk, all files together, beyond the one that is written.
    pub keep_bytes: u64,
    /// Whether ids of 64 and of 128 bits that end alike are different traces.
    pub strict_trace_id: bool,
    /// Tags whose values are listed.
    pub autocomplete_keys: Vec<String>,
    /// Spans of one file.
    pub file_spans: u64,
    /// Bytes of spans that may wait to be written.
    pub waiting_bytes_max: usize,
}

impl Default for Settings {
    /// Seven days, two gibibytes.
    fn default() -> Self {
        Self {
            keep_age: Duration::from_secs(7 * 24 * 3_600),
            keep_bytes: 2 << 30,
            strict_trace_id: true,
            autocomplete_keys: Vec::new(),
            file_spans: 250_000,
            waiting_bytes_max: 24 << 20,
        }
    }
}

impl Settings {
    /// Bytes of one file's blocks: a file is a small part of what is kept, as files go as a whole.
    fn file_bytes(&self) -> u64 {
        (self.keep_bytes / 8).clamp(64 << 10, 64 << 20)
    }
}

/// What came of the spans so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Written.
    pub kept: u64,
    /// Lost: the queue was full, or the disk failed.
    pub dropped: u64,
    /// Removed, as they were too old or too many.
    pub removed: u64,
    /// Bytes that wait to be written.
    pub waiting_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    kept: AtomicU64,
    dropped: AtomicU64,
    removed: AtomicU64,
}

/// What is to be done by the thread that writes.
enum Command {
    /// Spans, and the bytes that they take.
    Spans(Vec<Span>, usize),
    Flush(oneshot::Sender<()>),
}

/// What all who use the store share.
struct Shared {
    settings: Settings,
    clock: Clock,
    state: RwLock<State>,
    questions: Arc<Semaphore>,
    waiting_bytes: AtomicUsize,
    counts: Counters,
    followers: Followers,
    /// Why the last write failed, if it did.
    failed: Mutex<Option<String>>,
}

impl Shared {
    /// Counts links until so many traces are left that wait for it.
    fn settle(&self, left: usize) -> Result<(), Fault> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut links = std::mem::take(&mut state.live.links);
        let settled = links.settle(left, |trace| state.sealed_spans_of(trace));
        state.live.links = links;
        settled
    }

    fn counts(&self) -> Counts {
        let Counters { kept, dropped, removed } = &self.counts;
        Counts {
            kept: kept.load(Ordering::Relaxed),
            dropped: dropped.load(Ordering::Relaxed),
            removed: removed.load(Ordering::Relaxed),
            waiting_bytes: self.waiting_bytes.load(Ordering::Relaxed) as u64,
        }
    }

    fn tell(&self, written: Result<(), String>) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = written.err();
    }
}

/// The files, from the oldest to the one that is written.
#[derive(Default)]
struct State {
    sealed: Vec<Arc<Sealed>>,
    live: Live,
    /// The file that is written; there is one once the store is open.
    file: Option<Arc<File>>,
    cache: Arc<Cache>,
}

impl State {
    /// The spans whose trace's id ends so, as they came.
    fn spans_of(&self, trace: u64) -> Result<Vec<Span>, Fault> {
        let mut spans = self.sealed_spans_of(trace)?;
        let chunks = self.live.traces.get(&trace).into_iter().flatten();
        let places: Vec<Place> = chunks.map(|chunk| self.live.chunks[*chunk as usize].place).collect();
        if let Some(file) = &self.file {
            self.read(file, &places, &mut spans)?;
        }
        Ok(spans)
    }

    /// Those of them that are not in the file that is written.
    fn sealed_spans_of(&self, trace: u64) -> Result<Vec<Span>, Fault> {
        let mut spans = Vec::new();
        for sealed in self.sealed.iter().filter(|sealed| sealed.may_have(trace)) {
            self.read(&sealed.file, &sealed.places(trace)?, &mut spans)?;
        }
        Ok(spans)
    }

    fn read(&self, file: &File, places: &[Place], spans: &mut Vec<Span>) -> Result<(), Fault> {
        for place in places {
            if spans.len() >= OF_A_TRACE_MAX {
                break;
            }
            let block = file.block(&self.cache, place.block)?;
            spans.extend(blocks::chunk(&block, place.start).map_err(|fault| file.fault(fault))?);
        }
        Ok(())
    }

    /// Bytes on the disk.
    fn bytes(&self) -> u64 {
        let files = self.sealed.iter().map(|sealed| &sealed.file).chain(&self.file);
        files.map(|file| file.bytes()).sum()
    }
}

/// A store of spans. Cheap to clone; when the last clone goes, what waits is written.
#[derive(Clone)]
pub struct SpanStore {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

impl std::fmt::Debug for SpanStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SpanStore")
    }
}

/// Where the thread that writes gets its work from.
struct Queue {
    /// Only `None` while it is dropped.
    commands: Option<mpsc::UnboundedSender<Command>>,
    writer: Option<JoinHandle<()>>,
    /// Locked while it is open.
    _lock: std::fs::File,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

impl SpanStore {
    /// Opens the store in a directory of its own, which is made if it is not there. Answers also what is worth to be
    /// told of it. Fails where another process holds it.
    pub fn open(dir: &Path, settings: Settings, clock: Clock) -> Result<(Self, Vec<String>), Fault> {
        let fault = |error: std::io::Error| {
            Fault::new(Kind::Io, format!("cannot open the spans in `{}`", dir.display())).because(error)
        };
        std::fs::create_dir_all(dir).map_err(fault)?;
        let lock =
            std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("LOCK"));
        let lock = lock.map_err(fault)?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => {
                let text = format!("another process holds the spans in `{}`", dir.display());
                Fault::new(Kind::Conflict, text).hint("stop it, or give this one another directory")
            }
            std::fs::TryLockError::Error(error) => fault(error),
        })?;
        let mut notes = Vec::new();
        let (state, connection) = writer::open(dir, &settings, &mut notes)?;
        let shared = Arc::new(Shared {
            settings,
            clock,
            state: RwLock::new(state),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            waiting_bytes: AtomicUsize::new(0),
            counts: Counters::default(),
            followers: Followers::default(),
            failed: Mutex::default(),
        });
        // Bounded by the bytes that may wait, which every sender asks for first.
        let (commands, receiver) = mpsc::unbounded_channel();
        let writer = writer::Writer::new(dir.to_owned(), shared.clone(), connection, receiver);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new().name("span-writer".into());
        let thread = thread.spawn(move || runtime.block_on(writer.run()))?;
        let queue = Queue { commands: Some(commands), writer: Some(thread), _lock: lock };
        Ok((Self { shared, queue: Arc::new(queue) }, notes))
    }

    /// Takes spans to be written, or drops and counts them when too many wait. Never waits.
    pub fn offer(&self, spans: Vec<Span>) -> Result<(), Fault> {
        if spans.is_empty() {
            return Ok(());
        }
        let weight: usize = spans.iter().map(Span::weight).sum();
        let count = spans.len() as u64;
        let waiting = self.shared.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        // A message larger than the bound is taken when nothing else waits.
        let fits = waiting == 0 || waiting + weight <= self.shared.settings.waiting_bytes_max;
        if fits {
            self.shared.followers.tell(&spans, weight);
        }
        let commands = self.queue.commands.as_ref().filter(|_| fits);
        if commands.is_some_and(|commands| commands.send(Command::Spans(spans, weight)).is_ok()) {
            return Ok(());
        }
        self.shared.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
        self.shared.counts.dropped.fetch_add(count, Ordering::Relaxed);
        if fits {
            let fault = Fault::new(Kind::Bug, "the thread that writes spans has ended");
            return Err(fault.hint("start the program again"));
        }
        let fault = Fault::new(Kind::Unavailable, "more spans come in than can be written");
        Err(fault.retry(Retry::Safe).hint("report fewer: `sample` of `traces` for what Tombolo carries, a sampler for a service; or use a faster disk"))
    }

    /// Hears of spans as they come in; of its spans so many bytes may wait.
    pub fn follow(&self, bytes_max: usize) -> Follower {
        self.shared.followers.follow(bytes_max)
    }

    /// Tells followers that nothing more comes: they take what waits, and end.
    pub fn end_following(&self) {
        self.shared.followers.end();
    }

    /// Waits until what was offered before is durable.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.commands.as_ref().is_some_and(|commands| commands.send(Command::Flush(done)).is_ok()) {
            // If the writer has ended there is nothing to wait for.
            _ = flushed.await;
        }
    }

    /// The traces that are looked for, the latest first; their spans as they were reported.
    pub async fn search(&self, query: Query) -> Result<Vec<Vec<Span>>, Fault> {
        self.look(move |shared| {
            let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
            search::search(&state, &query, shared.settings.strict_trace_id)
        })
        .await
    }

    /// The spans of each of these traces that is there.
    pub async fn traces(&self, wanted: Vec<TraceKey>) -> Result<Vec<Vec<Span>>, Fault> {
        self.look(move |shared| {
            let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
            let strict = shared.settings.strict_trace_id;
            let mut traces = Vec::new();
            for trace in wanted {
                let spans = state.spans_of(trace.low)?;
                let is_it = |found: &Vec<Span>| !strict || found.iter().any(|span| span.trace == trace);
                traces.extend(search::by_trace(spans, strict).into_iter().find(is_it));
            }
            Ok(traces)
        })
        .await
    }

    /// The names of services.
    pub async fn services(&self) -> Result<BTreeSet<String>, Fault> {
        self.names(List::Services, String::new()).await
    }

    /// The names of a service's spans.
    pub async fn span_names(&self, service: &str) -> Result<BTreeSet<String>, Fault> {
        self.names(List::Spans, service.to_lowercase()).await
    }

    /// The services that a service calls or is called by.
    pub async fn remote_services(&self, service: &str) -> Result<BTreeSet<String>, Fault> {
        self.names(List::Remotes, service.to_lowercase()).await
    }

    /// The values of a tag, if it is one whose values are listed.
    pub async fn tag_values(&self, key: &str) -> Result<BTreeSet<String>, Fault> {
        self.names(List::Values, key.to_owned()).await
    }

    async fn names(&self, list: List, under: String) -> Result<BTreeSet<String>, Fault> {
        self.look(move |shared| {
            let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
            let mut names = BTreeSet::new();
            state.live.names.read_to(list, &under, &mut names);
            for sealed in &state.sealed {
                sealed.file.look(|reader| {
                    let mut ask =
                        reader.prepare_cached("SELECT name FROM names WHERE list = ?1 AND under = ?2")?;
                    let mut rows = ask.query(rusqlite::params![list as i64, under])?;
                    while let Some(row) = rows.next()? {
                        names.insert(row.get(0)?);
                    }
                    Ok(())
                })?;
            }
            Ok(names)
        })
        .await
    }

    /// Which services call which, in the traces that began between two times, to the minute.
    pub async fn dependencies(&self, start_ms: u64, end_ms: u64) -> Result<Vec<Link>, Fault> {
        let minute = |time_ms: u64| (time_ms.saturating_mul(1_000) / MINUTE_US).min(i64::MAX as u64);
        let minutes = (minute(start_ms), minute(end_ms));
        self.look(move |shared| {
            let waiting = {
                let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
                state.live.links.waiting()
            };
            shared.settle(waiting.saturating_sub(COUNTED_AT_ONCE))?;
            let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
            let mut counts: BTreeMap<(String, String), Count> = BTreeMap::new();
            let mut count = |caller: String, callee: String, (calls, errors): Count| {
                let counted = counts.entry((caller, callee)).or_default();
                counted.0 += calls;
                counted.1 += errors;
            };
            for (_, caller, callee, counted) in state.live.links.between(minutes) {
                count(caller.to_owned(), callee.to_owned(), counted);
            }
            for sealed in &state.sealed {
                sealed.file.look(|reader| {
                    let ask = "SELECT caller, callee, sum(calls), sum(errors) FROM links
                        WHERE minute BETWEEN ?1 AND ?2 GROUP BY caller, callee";
                    let mut ask = reader.prepare_cached(ask)?;
                    let mut rows = ask.query([minutes.0.cast_signed(), minutes.1.cast_signed()])?;
                    while let Some(row) = rows.next()? {
                        count(row.get(0)?, row.get(1)?, (row.get(2)?, row.get(3)?));
                    }
                    Ok(())
                })?;
            }
            // What corrects the counts of a file that has been removed is less than nothing.
            let there = counts.into_iter().filter(|(_, (calls, _))| *calls > 0);
            Ok(there
                .map(|((parent, child), (calls, errors))| Link {
                    parent,
                    child,
                    calls: calls.cast_unsigned(),
                    errors: errors.clamp(0, calls).cast_unsigned(),
                })
                .collect())
        })
        .await
    }

    /// What came of the spans so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// The same for whoever asks again and again, and does not keep the store open for it.
    pub fn count_later(&self) -> impl Fn() -> Counts + Send + Sync + use<> {
        let shared = self.shared.clone();
        move || shared.counts()
    }

    /// Why the last write failed, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How spans are kept.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Reads where waiting for a disk holds nobody up.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let shared = self.shared.clone();
        // Nobody closes it. Whoever asked may be gone before there is an answer: its place is not free until then.
        let place = self.shared.questions.clone().acquire_owned().await;
        let looked = tokio::task::spawn_blocking(move || {
            let _place = place;
            look(&shared)
        });
        let looked = looked.await;
        looked.unwrap_or_else(|error| Err(Fault::new(Kind::Bug, "reading spans failed").because(error)))
    }
}
