//! The store of spans, as whoever brings or looks for them sees it: [`SpanStore`] is the handle, what keeps them is an
//! engine behind it. `files` keeps them in a directory, `postgres` in a database that several nodes share.

mod engine;
mod files;
mod intake;
mod names;
mod postgres;
mod search;
mod terms;

use super::followers::Follower;
use super::{Link, Query, Span, TraceKey};
use base::{Clock, Fault};
use engine::Engine;
use intake::{Intake, Queue};
use names::List;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Microseconds of a minute.
const MINUTE_US: u64 = 60_000_000;
/// Traces that are counted for one question about links; others that wait are counted later.
const COUNTED_AT_ONCE: usize = 20_000;
/// Spans of a trace that are read, the oldest of them, to the end of the message or batch that passes it.
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
    /// Spans of one table in PostgreSQL, where its bytes do not end it before.
    pub table_spans: u64,
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
            table_spans: 100_000_000,
            waiting_bytes_max: 24 << 20,
        }
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

/// A store of spans. Cheap to clone; when the last clone goes, what waits is written.
#[derive(Clone)]
pub struct SpanStore {
    intake: Arc<Intake>,
    queue: Arc<Queue>,
    engine: Arc<dyn Engine>,
}

impl std::fmt::Debug for SpanStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SpanStore")
    }
}

impl SpanStore {
    /// Opens the store in a directory of its own, which is made if it is not there. Answers also what is worth to be
    /// told of it. Fails where another process holds it.
    pub fn open(dir: &Path, settings: Settings, clock: Clock) -> Result<(Self, Vec<String>), Fault> {
        let intake = Arc::new(Intake::new(settings, clock));
        let (files, queue, notes) = files::open(dir, intake.clone())?;
        Ok((Self { intake, queue: Arc::new(queue), engine: Arc::new(files) }, notes))
    }

    /// Opens the store in the database of this address (`postgres://user:password@host:5432/database`), which any number
    /// of nodes share: each writes what is offered to it, and all find everything. Makes what is missing in the schema
    /// `tombolo_traces`. Answers also what is worth to be told: a database that is away is no failure, spans wait for
    /// it. Errors do not show the password.
    pub async fn open_postgres(
        url: &str,
        settings: Settings,
        clock: Clock,
        time: store::Time,
    ) -> Result<(Self, Vec<String>), Fault> {
        let intake = Arc::new(Intake::new(settings, clock));
        let (postgres, queue, notes) = postgres::open(url, intake.clone(), time).await?;
        Ok((Self { intake, queue: Arc::new(queue), engine: Arc::new(postgres) }, notes))
    }

    /// Takes spans to be written, or drops and counts them when too many wait. Never waits.
    pub fn offer(&self, spans: Vec<Span>) -> Result<(), Fault> {
        self.intake.offer(&self.queue, spans)
    }

    /// Hears of spans as they come in; of its spans so many bytes may wait.
    pub fn follow(&self, bytes_max: usize) -> Follower {
        self.intake.followers.follow(bytes_max)
    }

    /// Tells followers that nothing more comes: they take what waits, and end.
    pub fn end_following(&self) {
        self.intake.followers.end();
    }

    /// Waits until what was offered before is durable, or [`SpanStore::trouble`] says why it is not.
    pub async fn flush(&self) {
        self.queue.flush().await;
    }

    /// The traces that are looked for, the latest first; their spans as they were reported.
    pub async fn search(&self, query: Query) -> Result<Vec<Vec<Span>>, Fault> {
        self.engine.search(query).await
    }

    /// The spans of each of these traces that is there.
    pub async fn traces(&self, wanted: Vec<TraceKey>) -> Result<Vec<Vec<Span>>, Fault> {
        self.engine.traces(wanted).await
    }

    /// The names of services.
    pub async fn services(&self) -> Result<BTreeSet<String>, Fault> {
        self.engine.names(List::Services, String::new()).await
    }

    /// The names of a service's spans.
    pub async fn span_names(&self, service: &str) -> Result<BTreeSet<String>, Fault> {
        self.engine.names(List::Spans, service.to_lowercase()).await
    }

    /// The services that a service calls or is called by.
    pub async fn remote_services(&self, service: &str) -> Result<BTreeSet<String>, Fault> {
        self.engine.names(List::Remotes, service.to_lowercase()).await
    }

    /// The values of a tag, if it is one whose values are listed.
    pub async fn tag_values(&self, key: &str) -> Result<BTreeSet<String>, Fault> {
        self.engine.names(List::Values, key.to_owned()).await
    }

    /// Which services call which, in the traces that began between two times, to the minute.
    pub async fn dependencies(&self, start_ms: u64, end_ms: u64) -> Result<Vec<Link>, Fault> {
        let minute = |time_ms: u64| (time_ms.saturating_mul(1_000) / MINUTE_US).min(i64::MAX as u64);
        self.engine.dependencies((minute(start_ms), minute(end_ms))).await
    }

    /// What came of the spans so far.
    pub fn counts(&self) -> Counts {
        self.intake.counts()
    }

    /// The same for whoever asks again and again, and does not keep the store open for it.
    pub fn count_later(&self) -> impl Fn() -> Counts + Send + Sync + use<> {
        let intake = self.intake.clone();
        move || intake.counts()
    }

    /// Why the last write failed, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.intake.trouble()
    }

    /// The same for whoever asks again and again, and does not keep the store open for it.
    pub fn trouble_later(&self) -> impl Fn() -> Option<String> + Send + Sync + use<> {
        let intake = self.intake.clone();
        move || intake.trouble()
    }

    /// How spans are kept.
    pub fn settings(&self) -> &Settings {
        &self.intake.settings
    }

    /// The time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.intake.clock
    }
}
