//! The store of spans in files: a kill loses nothing that was told to be durable; the oldest go when they are too old or
//! too many; a full queue is told.
//!
//! `TEST_KILLS=200` kills more often.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::{Chance, Clock, ClockHand, UnixTime};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use telemetry::spans::{Endpoint, Query, Settings, Span, SpanStore, TraceKey};

/// Where the times of the tests begin.
const BEGAN_US: u64 = 1_764_158_400_000_000;

fn clock() -> (Clock, ClockHand) {
    Clock::by_hand(UnixTime(Duration::from_micros(BEGAN_US) + Duration::from_secs(3_600)))
}

fn open(dir: &Path, settings: &Settings, clock: &Clock) -> SpanStore {
    let (store, notes) = SpanStore::open(dir, settings.clone(), clock.clone()).unwrap();
    assert_eq!(notes, Vec::<String>::new());
    store
}

#[tokio::test]
async fn a_span_without_a_time_is_found_with_its_trace() {
    let (clock, _hand) = Clock::by_hand(UnixTime(Duration::from_micros(BEGAN_US) + Duration::from_secs(1)));
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Settings { file_spans: 1, ..Settings::default() }, &clock);
    let timeless = Span { timestamp_us: 0, id: 2, name: "late".into(), ..numbered(0, 0) };
    for span in [numbered(0, 0), timeless] {
        store.offer(vec![span]).unwrap();
        store.flush().await;
    }
    let found = store.search(Query { name: "late".into(), ..all_of("web") }).await.unwrap();
    assert_eq!(found.concat().len(), 2);
}

/// A span that is told from others by its number.
fn numbered(number: u64, filling: usize) -> Span {
    let timestamp_us = BEGAN_US + number;
    Span {
        trace: TraceKey { high: 0, low: number / 3 + 1 },
        id: number + 1,
        timestamp_us,
        local: Endpoint { service: "web".into(), ..Endpoint::default() },
        tags: vec![("filling".into(), "x".repeat(filling))],
        ..Span::default()
    }
}

fn all_of(service: &str) -> Query {
    let end_ms = BEGAN_US / 1_000 + 1_000_000;
    Query { service: service.into(), end_ms, lookback_ms: 2_000_000, limit: 10_000, ..Query::default() }
}

#[tokio::test]
async fn the_oldest_go_when_they_are_too_old() {
    let (clock, hand) = clock();
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { keep_age: Duration::from_secs(800), file_spans: 10, ..Settings::default() };
    let store = open(dir.path(), &settings, &clock);
    let found = async || store.search(all_of("web")).await.unwrap().concat().len();
    for batch in 0..4 {
        store.offer((0..10).map(|number| numbered(batch * 10 + number, 0)).collect()).unwrap();
        store.flush().await;
        hand.advance(Duration::from_secs(100));
    }
    assert_eq!(found().await, 40);
    // 450 seconds later the first two files are older than 800.
    hand.advance(Duration::from_secs(550));
    store.offer(vec![numbered(100, 0)]).unwrap();
    store.flush().await;
    hand.advance(Duration::from_secs(10));
    // Whoever writes looks at the time before it takes the next one of these.
    store.flush().await;
    store.flush().await;
    assert_eq!((store.counts().removed, found().await), (20, 21));
    // What is written now is closed after an eighth of the time, so that it can go, too.
    hand.advance(Duration::from_secs(120));
    store.flush().await;
    store.flush().await;
    hand.advance(Duration::from_secs(900));
    store.flush().await;
    store.flush().await;
    assert_eq!((store.counts().removed, found().await), (41, 0));
}

#[tokio::test]
async fn the_oldest_go_when_they_are_too_many() {
    let (clock, _hand) = clock();
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { keep_bytes: 1 << 20, file_spans: 1_000, ..Settings::default() };
    let store = open(dir.path(), &settings, &clock);
    let chance = Chance::seeded(1);
    for batch in 0..40u64 {
        let spans = (0..1_000).map(|number| {
            let mut span = numbered(batch * 1_000 + number, 0);
            // Text that does not get smaller.
            let text: String = (0..40).map(|_| char::from(b'a' + chance.below(26) as u8)).collect();
            span.tags.push(("text".into(), text));
            span
        });
        store.offer(spans.collect()).unwrap();
        store.flush().await;
    }
    let bytes: u64 =
        std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 3 << 20, "{bytes} bytes");
    let counts = store.counts();
    assert!(counts.removed > 10_000 && counts.kept == 40_000 && counts.dropped == 0, "{counts:?}");
    // The last ones are there, the first ones are not.
    let trace = async |low| store.traces(vec![TraceKey { high: 0, low }]).await.unwrap().concat().len();
    assert_eq!((trace(39_990 / 3 + 1).await, trace(2).await), (3, 0));
}

#[tokio::test]
async fn a_full_queue_is_told_and_counted() {
    let (clock, _hand) = clock();
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { waiting_bytes_max: 4_000, ..Settings::default() };
    let store = open(dir.path(), &settings, &clock);
    // The clock stands still, so that what waits goes on to wait.
    store.offer(vec![numbered(1, 2_000)]).unwrap();
    let fault = store.offer(vec![numbered(2, 2_000), numbered(3, 0)]).unwrap_err();
    assert_eq!(fault.to_string(), "more spans come in than can be written");
    assert_eq!(store.counts().dropped, 2);
    store.flush().await;
    store.offer(vec![numbered(4, 2_000)]).unwrap();
    store.flush().await;
    assert_eq!((store.counts().kept, store.counts().waiting_bytes), (2, 0));
}

#[tokio::test]
async fn a_directory_has_one_holder() {
    let (clock, _hand) = clock();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Settings::default(), &clock);
    let fault = SpanStore::open(dir.path(), Settings::default(), clock.clone()).unwrap_err();
    assert!(fault.to_string().starts_with("another process holds the spans in"), "{fault}");
    drop(store);
    open(dir.path(), &Settings::default(), &clock);
}

const CHILD: &str = "SPANS_KILL_CHILD";

/// The process that is killed: this test binary, started again with a folder.
#[tokio::test]
async fn child_that_keeps_spans() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (begin, folder) = given.split_once(' ').unwrap();
    let settings = Settings { file_spans: 700, ..Settings::default() };
    let (store, _) = SpanStore::open(Path::new(folder), settings, Clock::system()).unwrap();
    let chance = Chance::seeded(begin.parse().unwrap());
    let mut number: u64 = begin.parse().unwrap();
    loop {
        let count = 1 + chance.below(90) as u64;
        store
            .offer((number..number + count).map(|number| numbered(number, chance.below(200))).collect())
            .unwrap();
        number += count;
        store.flush().await;
        writeln!(std::io::stdout().lock(), "durable {number} .").unwrap();
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_durable() {
    let kills: u64 = std::env::var("TEST_KILLS").map_or(12, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let chance = Chance::seeded(7);
    let mut durable = 0;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_keeps_spans", "--nocapture"])
            .env(CHILD, format!("{durable} {}", dir.path().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
        let last = 1 + chance.below(40);
        let mut seen = 0;
        let mut next = |line: String| {
            // A line that is cut off by the end is none.
            let number = line.strip_prefix("durable ").and_then(|rest| rest.strip_suffix(" ."));
            if let Some(number) = number {
                durable = number.parse().unwrap();
                seen += 1;
            }
            seen
        };
        while next(told.next().expect("the child goes on").unwrap()) < last {}
        child.kill().unwrap();
        told.map_while(Result::ok).for_each(|line| {
            next(line);
        });
        child.wait().unwrap();
        let settings = Settings { file_spans: 700, ..Settings::default() };
        let (store, _) = SpanStore::open(dir.path(), settings, Clock::system()).unwrap();
        let mut ids = BTreeSet::new();
        for trace in (0..=durable / 3).rev().take(1_000) {
            for span in store.traces(vec![TraceKey { high: 0, low: trace + 1 }]).await.unwrap().concat() {
                assert_eq!(
                    (span.trace.low, span.timestamp_us),
                    ((span.id - 1) / 3 + 1, BEGAN_US + span.id - 1)
                );
                ids.insert(span.id);
            }
        }
        let first = (durable / 3).saturating_sub(999) * 3 + 1;
        for id in first..=durable {
            assert!(ids.contains(&id), "kill {kill}: span {id} of {durable} is lost");
        }
        let found = store.search(Query { limit: 1, ..all_of("web") }).await.unwrap();
        assert!(found[0][0].id >= durable.saturating_sub(3), "kill {kill}: the index lags behind");
    }
    let (store, _) = SpanStore::open(dir.path(), Settings::default(), Clock::system()).unwrap();
    // One service alone calls nobody.
    assert_eq!(store.dependencies(0, u64::MAX / 1_000).await.unwrap(), []);
}
