//! The engines of the store of spans against a plain look at every span: what is found, which links are counted and which
//! services are known is the same, whatever the files or tables, and however often the store is opened anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::{Chance, Clock, ClockHand, UnixTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::Time;
use telemetry::spans::{Annotation, Endpoint, Kind, Linker, Query, Settings, Span, SpanStore, TraceKey};

/// Where the times of the tests begin.
const BEGAN_US: u64 = 1_764_158_400_000_000;

/// A span of few traces, services, names and tags.
fn span(chance: &Chance) -> Span {
    let pick = |names: &[&str]| names[chance.below(names.len())].to_owned();
    let trace = chance.below(12) as u64 + 1;
    let place = |service: String| Endpoint { service, ..Endpoint::default() };
    let kinds = [None, Some(Kind::Client), Some(Kind::Server), Some(Kind::Producer), Some(Kind::Consumer)];
    let parent = chance.below(4) as u64;
    // Nothing begins before its trace does.
    let later = if parent == 0 { 0 } else { 1 + chance.below(900_000) as u64 };
    let timestamp_us = BEGAN_US + trace * 1_000_000 + later;
    let mut span = Span {
        // Some ids of 64 bits and of 128 bits end alike.
        trace: TraceKey { high: chance.below(8) as u64 / 7, low: trace },
        parent,
        id: chance.below(6) as u64 + 1,
        kind: kinds[chance.below(kinds.len())],
        name: pick(&["", "get", "put"]),
        timestamp_us,
        duration_us: chance.below(400) as u64,
        local: place(pick(&["", "web", "app", "db"])),
        remote: place(pick(&["", "", "app", "db"])),
        ..Span::default()
    };
    for _ in 0..chance.below(3) {
        span.tags.push((pick(&["error", "path", "host"]), pick(&["", "a", "b"])));
    }
    if chance.below(3) == 0 {
        span.annotations.push(Annotation { timestamp_us, value: pick(&["flush", "error"]) });
    }
    span.tidy();
    span
}

fn query(chance: &Chance) -> Query {
    let pick = |names: &[&str]| names[chance.below(names.len())].to_owned();
    let mut query = Query {
        service: pick(&["", "web", "app", "db", "none"]),
        remote: pick(&["", "", "", "app"]),
        name: pick(&["", "", "get"]),
        end_ms: BEGAN_US / 1_000 + chance.below(14_000) as u64 + 1,
        lookback_ms: chance.below(15_000) as u64 + 1,
        limit: 1 + chance.below(8),
        ..Query::default()
    };
    for _ in 0..chance.below(3) {
        query.annotations.insert(pick(&["error", "path", "flush", "host"]), pick(&["", "", "a", "b"]));
    }
    if chance.below(3) == 0 {
        query.duration_us_min = Some(1 + chance.below(300) as u64);
        query.duration_us_max = Some(300 + chance.below(100) as u64).filter(|_| chance.below(2) == 0);
    }
    query.check().unwrap()
}

/// When a trace began, as far as its spans tell.
fn began(trace: &[Span]) -> u64 {
    let root = trace.iter().find(|span| span.parent == 0 && !span.shared && span.timestamp_us != 0);
    let first = || trace.iter().map(|span| span.timestamp_us).filter(|time| *time != 0).min();
    root.map(|root| root.timestamp_us).or_else(first).unwrap_or(0)
}

/// All traces, found by looking at every span.
fn model(spans: &[Span], strict: bool) -> Vec<Vec<Span>> {
    let mut traces: BTreeMap<(u64, u64), Vec<Span>> = BTreeMap::new();
    for span in spans {
        let high = if strict { span.trace.high } else { 0 };
        traces.entry((high, span.trace.low)).or_default().push(span.clone());
    }
    traces.into_values().collect()
}

/// Opens the store of a folder or an address, again and again.
struct Place {
    dir: tempfile::TempDir,
    /// The database, if that is where spans are kept.
    url: Option<String>,
    settings: Settings,
    clock: Clock,
    hand: ClockHand,
}

impl Place {
    async fn open(&self) -> SpanStore {
        self.hand.advance(Duration::from_millis(1));
        let (settings, clock) = (self.settings.clone(), self.clock.clone());
        let opened = match &self.url {
            None => SpanStore::open(self.dir.path(), settings, clock),
            Some(url) => SpanStore::open_postgres(url, settings, clock, Time::Clock).await,
        };
        let (store, notes) = opened.unwrap();
        assert_eq!(notes, Vec::<String>::new());
        store
    }
}

async fn check(seed: u64, url: Option<String>) {
    let chance = Chance::seeded(seed);
    let spans = [1, 5, 20, 1_000][chance.below(4)];
    let settings = Settings {
        strict_trace_id: seed.is_multiple_of(2),
        file_spans: spans,
        table_spans: spans,
        ..Settings::default()
    };
    let began = UnixTime(Duration::from_micros(BEGAN_US) + Duration::from_secs(3_600));
    let (clock, hand) = Clock::by_hand(began);
    let place = Place { dir: tempfile::tempdir().unwrap(), url, settings, clock, hand };
    let strict = place.settings.strict_trace_id;
    let mut store = place.open().await;
    let mut all: Vec<Span> = Vec::new();
    for _ in 0..6 {
        let batch: Vec<Span> = (0..chance.below(20)).map(|_| span(&chance)).collect();
        all.extend(batch.iter().cloned());
        store.offer(batch).unwrap();
        store.flush().await;
        if chance.below(3) == 0 {
            drop(store);
            store = place.open().await;
        }
        for _ in 0..20 {
            let query = query(&chance);
            let mut expected = model(&all, strict);
            expected.retain(|trace| query.matches(trace));
            expected.sort_by_key(|trace| std::cmp::Reverse(crate::began(trace)));
            expected.truncate(query.limit);
            let found = store.search(query.clone()).await.unwrap();
            assert_eq!(found, expected, "seed {seed}: {query:?}");
        }
        let mut linker = Linker::default();
        // Links do not tell apart ids that end alike.
        for trace in model(&all, false) {
            linker.put_trace(&trace);
        }
        let mut expected = linker.links();
        expected.sort();
        let mut found = store.dependencies(0, BEGAN_US / 1_000 + 60_000).await.unwrap();
        found.sort();
        assert_eq!(found, expected, "seed {seed}");
        let services: BTreeSet<String> =
            all.iter().map(|span| span.local.service.clone()).filter(|name| !name.is_empty()).collect();
        assert_eq!(store.services().await.unwrap(), services, "seed {seed}");
    }
    assert_eq!(store.counts().dropped, 0);
}

#[tokio::test]
async fn in_files_is_found_what_a_look_at_every_span_finds() {
    for seed in 0..25 {
        check(seed, None).await;
    }
}

#[tokio::test]
async fn in_postgresql_is_found_what_a_look_at_every_span_finds() {
    let server = testkit::Postgres::shared();
    let database = server.database();
    for seed in 0..25 {
        server.run(&database, "DROP SCHEMA IF EXISTS tombolo_traces CASCADE");
        check(seed, Some(server.url(&database))).await;
    }
}
