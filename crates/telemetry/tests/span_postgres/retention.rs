//! The oldest spans go, a part at a time, when they are too old or too many. Whoever reads meanwhile holds up nobody who
//! writes, and is not disturbed.

use crate::{BEGAN_US, filled, found_otherwise, numbered, open_with};
use base::{Chance, Clock, ClockHand, UnixTime};
use std::time::Duration;
use store::Time;
use telemetry::spans::{Settings, SpanStore, TraceKey};
use testkit::Postgres;
use tokio_postgres::NoTls;

async fn by_hand(url: &str, settings: Settings) -> (SpanStore, ClockHand) {
    let began = UnixTime(Duration::from_micros(BEGAN_US) + Duration::from_secs(3_600));
    let (clock, hand) = Clock::by_hand(began);
    (SpanStore::open_postgres(url, settings, clock, Time::Clock).await.unwrap().0, hand)
}

#[tokio::test]
async fn the_oldest_go_when_they_are_too_old() {
    let server = Postgres::shared();
    let database = server.database();
    let url = server.url(&database);
    let settings = Settings { keep_age: Duration::from_secs(800), table_spans: 10, ..Settings::default() };
    let (store, hand) = by_hand(&url, settings).await;
    let tend = async |seconds: u64| {
        hand.advance(Duration::from_secs(seconds));
        // Whoever writes looks at the time before it takes the next one of these.
        store.flush().await;
        store.flush().await;
        assert_eq!(store.trouble(), None);
    };
    for batch in 0..4 {
        store.offer((batch * 10..(batch + 1) * 10).map(numbered).collect()).unwrap();
        store.flush().await;
        tend(100).await;
    }
    assert_eq!((store.counts().removed, found_otherwise(&store, 40).await), (0, [].into()));
    // Parts ended when the next one was begun: the first two are older than 800 seconds then.
    tend(650).await;
    assert_eq!(store.counts().removed, 20);
    assert_eq!(found_otherwise(&store, 40).await, (1..=20).map(|id| (id, 0)).collect());
    // What is written now is closed after an eighth of the time, so that it can go, too.
    store.offer((40..45).map(numbered).collect()).unwrap();
    store.flush().await;
    tend(200).await;
    tend(900).await;
    assert_eq!(store.counts().removed, 45);
    assert_eq!(store.services().await.unwrap(), [].into(), "names go with their spans");
    let tables =
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'tombolo_traces' AND tablename ~ '_[0-9]+$'";
    assert_eq!(server.run(&database, tables), "3");
}

#[tokio::test]
async fn the_oldest_go_when_they_are_too_many() {
    let server = Postgres::shared();
    let database = server.database();
    let settings = Settings { keep_bytes: 12 << 20, ..Settings::default() };
    let url = server.url(&database);
    let (store, other) = (open_with(&url, settings).await, crate::open(&url).await);
    let chance = Chance::seeded(1);
    for batch in 0..30u64 {
        store
            .offer((batch * 1_000..(batch + 1) * 1_000).map(|nth| filled(nth, &chance, 700)).collect())
            .unwrap();
        store.flush().await;
        assert_eq!(store.trouble(), None);
        // Another node finds what there is, whatever is removed meanwhile.
        let last = TraceKey { high: 0, low: batch * 100 + 100 };
        assert_eq!(other.traces(vec![last]).await.unwrap().concat().len(), 10);
    }
    let bytes = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = 'tombolo_traces' AND relkind = 'r'";
    let bytes: u64 = server.run(&database, bytes).parse().unwrap();
    assert!(bytes < 16 << 20, "{bytes} bytes");
    let counts = store.counts();
    assert!(counts.removed > 10_000 && counts.kept == 30_000 && counts.dropped == 0, "{counts:?}");
    let trace = async |low| store.traces(vec![TraceKey { high: 0, low }]).await.unwrap().concat().len();
    assert_eq!((trace(3_000).await, trace(1).await), (10, 0));
}

#[tokio::test]
async fn whoever_reads_a_part_for_long_holds_up_its_removal_alone() {
    let server = Postgres::shared();
    let url = server.url(&server.database());
    let settings = Settings { keep_age: Duration::from_secs(800), table_spans: 10, ..Settings::default() };
    let (store, hand) = by_hand(&url, settings).await;
    store.offer((0..10).map(numbered).collect()).unwrap();
    store.flush().await;
    // As a backup does.
    let (backup, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    backup.batch_execute("BEGIN; LOCK TABLE tombolo_traces.spans_1 IN ACCESS SHARE MODE").await.unwrap();
    // Whoever writes looks at the time before it takes the next one of these.
    let tend = async || {
        hand.advance(Duration::from_secs(1_000));
        store.flush().await;
        store.flush().await;
    };
    for batch in 1..3 {
        // Before there is more to write: otherwise it is chance which of the two comes first.
        tend().await;
        store.offer((batch * 10..(batch + 1) * 10).map(numbered).collect()).unwrap();
        store.flush().await;
    }
    assert_eq!((store.counts().kept, store.counts().removed, store.trouble()), (30, 0, None));
    assert_eq!(found_otherwise(&store, 30).await, [].into());
    backup.batch_execute("ROLLBACK").await.unwrap();
    tend().await;
    // All but those of the last batch ended so long ago by now.
    assert_eq!(store.counts().removed, 20);
}
