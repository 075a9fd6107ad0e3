//! What is counted of a share while it works here, for whoever asks how a consumer does.

use super::definition::Definition;
use super::lag::Lag;
use super::records::{self, Kept, Source};
use super::{Shared, body};
use base::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use telemetry::Metrics;
use telemetry::metrics::{self, Timer};
use telemetry::spans::Tail;

/// The counts of a share, since this node has it.
#[derive(Debug)]
pub(super) struct Counts {
    handled: AtomicU64,
    failed: AtomicU64,
    buried: AtomicU64,
    held: AtomicUsize,
    held_most: AtomicUsize,
    under_way: AtomicUsize,
    /// Tells which deliveries are kept, where they leave spans.
    pub(super) tail: Tail,
    /// How long deliveries take.
    pub(super) took: Timer,
    /// How old messages are when they are handled.
    pub(super) age: Timer,
    error: Mutex<Option<String>>,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Messages handled.
    pub handled: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// Messages held in memory now.
    pub held: usize,
    /// Most messages held in memory at any time.
    pub held_most: usize,
    /// Deliveries under way now.
    pub in_flight: usize,
    /// What went wrong last.
    pub error: Option<String>,
}

impl Counts {
    /// Nothing is counted yet of a share of this consumer.
    pub(super) fn new(metrics: &Metrics, consumer: &str) -> Arc<Self> {
        Arc::new(Self {
            handled: AtomicU64::default(),
            failed: AtomicU64::default(),
            buried: AtomicU64::default(),
            held: AtomicUsize::default(),
            held_most: AtomicUsize::default(),
            under_way: AtomicUsize::default(),
            tail: Tail::default(),
            took: metrics.timer(metrics::PROCESS_DURATION, &[consumer]),
            age: metrics.timer(metrics::DELIVERY_AGE, &[consumer]),
            error: Mutex::default(),
        })
    }

    pub(super) fn handled(&self) {
        self.handled.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, why: &str) {
        self.failed.fetch_add(1, Relaxed);
        self.trouble(why);
    }

    /// What went wrong, and is no message's fault.
    pub(super) fn trouble(&self, why: &str) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(body::reason(why));
    }

    pub(super) fn buried(&self) {
        self.buried.fetch_add(1, Relaxed);
    }

    pub(super) fn holds(&self, held: usize, under_way: usize) {
        self.held.store(held, Relaxed);
        self.held_most.fetch_max(held, Relaxed);
        self.under_way.store(under_way, Relaxed);
    }

    pub(super) fn read(&self) -> Counted {
        Counted {
            handled: self.handled.load(Relaxed),
            failed: self.failed.load(Relaxed),
            dead: self.buried.load(Relaxed),
            held: self.held.load(Relaxed),
            held_most: self.held_most.load(Relaxed),
            in_flight: self.under_way.load(Relaxed),
            error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// A share of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareStatus {
    /// Its number, from 0.
    pub number: u16,
    /// The node that works on it; `None` where nobody does.
    pub node: Option<String>,
    /// Everything at this global position and before it is handled.
    pub position: i64,
    /// Messages read, and not handled when that was last written.
    pub pending: usize,
    /// What this node counted.
    pub counted: Counted,
}

/// How a consumer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What it does.
    pub definition: Definition,
    /// Who declared it.
    pub source: Source,
    /// Whether deliveries are stopped.
    pub is_paused: bool,
    /// Everything at this global position and before it is handled, by all shares.
    pub position: i64,
    /// How far it is behind.
    pub lag: Lag,
    /// Dead letters that wait for somebody, as far as they were counted.
    pub dead_letters: usize,
    /// Whether there are more of them.
    pub more_dead_letters: bool,
    /// Its shares.
    pub shares: Vec<ShareStatus>,
    /// What went wrong last, here.
    pub error: Option<String>,
}

/// Dead letters that are counted.
const DEAD_LETTERS_COUNTED: usize = 1_000;

pub(super) async fn of(shared: &Shared, kept: Kept, count_max: usize) -> Result<Status, Fault> {
    let places = records::places(&shared.state, &kept.name).await?;
    let name: Arc<str> = kept.name.as_str().into();
    let mut shares = Vec::new();
    for (place, number) in places.iter().zip(0..) {
        let lease = shared.state.lease(&records::lease_name(&name, number)).await?;
        shares.push(ShareStatus {
            number,
            node: lease.map(|lease| lease.holder),
            position: place.progress.position,
            pending: place.progress.pending.len(),
            counted: shared.counts(&(name.clone(), number)).read(),
        });
    }
    let letters =
        records::count(&shared.state, &records::dead_prefix(&name), DEAD_LETTERS_COUNTED + 1).await?;
    let error = shares.iter().find_map(|share| share.counted.error.clone());
    Ok(Status {
        lag: super::lag::of(shared, &kept.definition, &places, count_max).await?,
        position: shares.iter().map(|share| share.position).min().unwrap_or(0),
        is_paused: kept.paused,
        source: kept.source,
        definition: kept.definition,
        name: kept.name,
        dead_letters: letters.min(DEAD_LETTERS_COUNTED),
        more_dead_letters: letters > DEAD_LETTERS_COUNTED,
        error: error.or_else(|| super::lock(&shared.trouble).clone()),
        shares,
    })
}
