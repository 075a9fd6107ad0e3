//! What the metrics of a running `tombolo up` say of streams and consumers. Numbers that have to be asked of the store
//! are asked from time to time, so that a scrape waits for nothing.

use crate::wiring::World;
use base::{Fault, OnError, Scope};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Embedded, Store};
use streams::consumers::{Consumers, Status};
use telemetry::metrics::{self, Metric, Samples};

/// How old numbers of the store may be.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// What the store was asked.
#[derive(Default)]
struct Asked {
    /// Of the data directory, if that is where messages are kept.
    bytes: Option<u64>,
    groups: Option<u64>,
    position: i64,
    consumers: Vec<Status>,
}

/// The data directory and what is open in it.
type Kept = (PathBuf, Embedded);

/// Has the metrics say how streams and consumers do, and the data directory, if there is one.
pub(super) fn tell(world: &World, scope: &Scope, store: &Store, consumers: &Consumers, kept: Option<Kept>) {
    for (metric, number) in [
        (metrics::MESSAGES_CONSUMED, (|counted| counted.handled) as fn(&streams::consumers::Counted) -> u64),
        (metrics::CONSUMER_FAILED, |counted| counted.failed),
        (metrics::CONSUMER_DEAD, |counted| counted.dead),
        (metrics::CONSUMER_IN_FLIGHT, |counted| counted.in_flight as u64),
    ] {
        let consumers = consumers.clone();
        world.metrics.ask(metric, move |samples| {
            for (name, counted) in consumers.counted() {
                samples.add(&[&name], number(&counted) as f64);
            }
        });
    }
    let asked = Arc::<Mutex<Asked>>::default();
    ask(world, metrics::STORE_BYTES, &asked, |asked, samples| {
        if let Some(bytes) = asked.bytes {
            samples.add(&[], bytes as f64);
        }
    });
    ask(world, metrics::STORE_GROUPS, &asked, |asked, samples| {
        if let Some(groups) = asked.groups {
            samples.add(&[], groups as f64);
        }
    });
    ask(world, metrics::STREAMS_POSITION, &asked, |asked, samples| samples.add(&[], asked.position as f64));
    ask(world, metrics::CONSUMER_LAG, &asked, |asked, samples| {
        for status in &asked.consumers {
            samples.add(&[&status.name], status.lag.messages as f64);
        }
    });
    ask(world, metrics::CONSUMER_AGE, &asked, |asked, samples| {
        for status in &asked.consumers {
            if let Some(age) = status.lag.age.or((status.lag.messages == 0).then_some(Duration::ZERO)) {
                samples.add(&[&status.name], age.as_secs_f64());
            }
        }
    });
    ask(world, metrics::CONSUMER_DEAD_LETTERS, &asked, |asked, samples| {
        for status in &asked.consumers {
            samples.add(&[&status.name], status.dead_letters as f64);
        }
    });
    let (store, consumers, clock) = (store.clone(), consumers.clone(), world.clock.clone());
    scope.spawn("stream metrics", OnError::Restart, move || {
        let (store, consumers, clock) = (store.clone(), consumers.clone(), clock.clone());
        let (asked, kept) = (asked.clone(), kept.clone());
        async move {
            loop {
                let now = look(&store, &consumers, kept.as_ref()).await?;
                *asked.lock().unwrap_or_else(PoisonError::into_inner) = now;
                clock.sleep(ASK_EVERY).await;
            }
        }
    });
}

fn ask(world: &World, metric: Metric, asked: &Arc<Mutex<Asked>>, tell: fn(&Asked, &mut Samples)) {
    let asked = asked.clone();
    world.metrics.ask(metric, move |samples| {
        tell(&asked.lock().unwrap_or_else(PoisonError::into_inner), samples);
    });
}

async fn look(store: &Store, consumers: &Consumers, kept: Option<&Kept>) -> Result<Asked, Fault> {
    let dir = kept.map(|(dir, _)| dir.clone());
    // Asked beside the runtime, as a directory is on a disk.
    let bytes = tokio::task::spawn_blocking(move || dir.map(|dir| bytes_in(&dir, 2))).await;
    Ok(Asked {
        bytes: bytes.unwrap_or_default(),
        groups: kept.map(|(_, embedded)| embedded.grouped().groups),
        position: store.head().await?,
        consumers: consumers.list().await?,
    })
}

/// Bytes of the files in a directory, and in those below it down to a depth. What goes meanwhile is not counted.
fn bytes_in(dir: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_file() => about.len(),
        Ok(about) if about.is_dir() && depth > 0 => bytes_in(&entry.path(), depth - 1),
        _ => 0,
    };
    entries.flatten().map(bytes).sum()
}
