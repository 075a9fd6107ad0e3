//! The store of spans in PostgreSQL as nodes share it: what one writes all find; servers, connections and processes end
//! at any moment; the oldest go as a whole.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod faults;
mod nodes;
mod retention;
mod sizes;

use base::Clock;
use std::collections::BTreeMap;
use store::Time;
use telemetry::spans::{Endpoint, Query, Settings, Span, SpanStore, TraceKey};

const BEGAN_US: u64 = 1_764_158_400_000_000;

async fn open_with(url: &str, settings: Settings) -> SpanStore {
    let (store, notes) =
        SpanStore::open_postgres(url, settings, Clock::system(), Time::Server).await.unwrap();
    assert_eq!(notes, Vec::<String>::new());
    store
}

async fn open(url: &str) -> SpanStore {
    open_with(url, Settings::default()).await
}

/// The span of a number, in a trace with nine others.
fn numbered(number: u64) -> Span {
    Span {
        trace: TraceKey { high: 0, low: number / 10 + 1 },
        id: number + 1,
        timestamp_us: BEGAN_US + number,
        local: Endpoint { service: format!("web-{}", number % 3), ..Endpoint::default() },
        ..Span::default()
    }
}

/// The span of a number, with text that does not get smaller.
fn filled(number: u64, chance: &base::Chance, bytes: usize) -> Span {
    let text = (0..bytes).map(|_| char::from(b' ' + chance.below(90) as u8)).collect();
    Span { tags: vec![("text".into(), text)], ..numbered(number) }
}

fn all() -> Query {
    Query { end_ms: BEGAN_US / 1_000 + 1_000_000, lookback_ms: 2_000_000, limit: 10_000, ..Query::default() }
}

/// How often each span below a number is found, by its id, if that is not once.
async fn found_otherwise(store: &SpanStore, below: u64) -> BTreeMap<u64, u32> {
    let traces = (0..below.div_ceil(10)).map(|trace| TraceKey { high: 0, low: trace + 1 }).collect();
    let mut times: BTreeMap<u64, u32> = (1..=below).map(|id| (id, 0)).collect();
    for span in store.traces(traces).await.unwrap().concat() {
        *times.entry(span.id).or_default() += 1;
    }
    times.retain(|_, times| *times != 1);
    times
}
