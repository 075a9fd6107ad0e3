//! Several nodes over one database: they may start at once, and whichever had which part of a trace, all find it whole
//! and count its calls once.

use crate::{BEGAN_US, all, found_otherwise, numbered, open, open_with};
use base::{Clock, UnixTime};
use std::time::Duration;
use store::Time;
use telemetry::spans::{Endpoint, Kind, Link, Query, Settings, Span, SpanStore, TraceKey};
use testkit::Postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_once_do_not_collide() {
    let server = Postgres::shared();
    let url = server.url(&server.database());
    let nodes: Vec<_> = (0..6u64)
        .map(|node| {
            let url = url.clone();
            tokio::spawn(async move {
                let store = open(&url).await;
                store.offer((node * 100..(node + 1) * 100).map(numbered).collect()).unwrap();
                store.flush().await;
                assert_eq!(store.trouble(), None);
                store
            })
        })
        .collect();
    let mut stores = Vec::new();
    for node in nodes {
        stores.push(node.await.unwrap());
    }
    for store in &stores {
        assert_eq!(found_otherwise(store, 600).await, [].into());
        assert_eq!(store.counts().kept, 100);
    }
    let made = server.run(url.rsplit('/').next().unwrap(), "SELECT count(*) FROM tombolo_traces.parts");
    assert_eq!(made, "1", "they share a part");
}

fn call(id: u64, parent: u64, kind: Kind, service: &str) -> Span {
    Span {
        trace: TraceKey { high: 7, low: 9 },
        id,
        parent,
        kind: Some(kind),
        name: "get".into(),
        timestamp_us: BEGAN_US + id,
        duration_us: 10 * id,
        shared: kind == Kind::Server && parent != 0,
        local: Endpoint { service: service.into(), ..Endpoint::default() },
        tags: if id == 3 { vec![("error".into(), "503".into())] } else { Vec::new() },
        ..Span::default()
    }
}

#[tokio::test]
async fn a_trace_of_two_nodes_is_found_whole_on_both() {
    let server = Postgres::shared();
    let url = server.url(&server.database());
    let (one, other) = (open(&url).await, open(&url).await);
    let spans = [
        call(1, 0, Kind::Server, "web"),
        call(2, 1, Kind::Client, "web"),
        call(2, 1, Kind::Server, "cart"),
        call(3, 2, Kind::Client, "cart"),
        call(3, 2, Kind::Server, "stock"),
    ];
    let link = |parent: &str, child: &str, errors| Link {
        parent: parent.into(),
        child: child.into(),
        calls: 1,
        errors,
    };
    let asked = |service: &str| Query { service: service.into(), ..all() };
    for (nth, span) in spans.iter().enumerate() {
        let (writes, reads) = if nth % 2 == 0 { (&one, &other) } else { (&other, &one) };
        writes.offer(vec![span.clone()]).unwrap();
        writes.flush().await;
        // What one has written the other finds at once, and counts what it tells so far.
        let found = reads.traces(vec![span.trace]).await.unwrap();
        assert_eq!(found, [spans[..=nth].to_vec()]);
        let calls = reads.dependencies(0, BEGAN_US / 1_000 + 1_000).await.unwrap();
        assert!(calls.len() <= nth / 2 + 1, "{calls:?}");
    }
    for store in [&one, &other] {
        assert_eq!(store.search(asked("stock")).await.unwrap(), [spans.to_vec()]);
        // What is looked for is met by spans of different nodes.
        let errors = parse("error");
        let both = Query { remote: String::new(), annotations: errors, ..asked("cart") };
        assert_eq!(store.search(Query { name: "get".into(), ..both }).await.unwrap(), [spans.to_vec()]);
        let calls = store.dependencies(0, BEGAN_US / 1_000 + 1_000).await.unwrap();
        assert_eq!(calls, [link("cart", "stock", 1), link("web", "cart", 0)]);
        assert_eq!(store.services().await.unwrap().into_iter().collect::<Vec<_>>(), ["cart", "stock", "web"]);
    }
}

fn parse(text: &str) -> std::collections::BTreeMap<String, String> {
    telemetry::spans::parse_annotations(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_counted_once_while_all_nodes_write_and_count() {
    let server = Postgres::shared();
    let url = server.url(&server.database());
    let settings = Settings { table_spans: 400, ..Settings::default() };
    let mut nodes = Vec::new();
    for node in 0..3u64 {
        let store = open_with(&url, settings.clone()).await;
        nodes.push(tokio::spawn(async move {
            for round in 0..40u64 {
                // Each trace has a call of each node.
                let spans = (0..10).map(|trace| {
                    let trace = TraceKey { high: 0, low: round * 10 + trace + 1 };
                    let mut span = call(node + 2, 1, Kind::Client, "web");
                    span.remote.service = format!("db-{node}");
                    Span { trace, ..span }
                });
                store.offer(spans.collect()).unwrap();
                store.flush().await;
                if round % 4 == node {
                    store.dependencies(0, BEGAN_US / 1_000 + 1_000).await.unwrap();
                }
            }
            assert_eq!((store.counts().kept, store.trouble()), (400, None));
            store
        }));
    }
    let mut stores = Vec::new();
    for node in nodes {
        stores.push(node.await.unwrap());
    }
    for store in &stores {
        let calls = store.dependencies(0, BEGAN_US / 1_000 + 1_000).await.unwrap();
        let calls: Vec<_> = calls.iter().map(|link| (link.child.as_str(), link.calls)).collect();
        assert_eq!(calls, [("db-0", 400), ("db-1", 400), ("db-2", 400)]);
    }
    let database = url.rsplit('/').next().unwrap();
    let parts = server.run(database, "SELECT count(*), sum(spans) FROM tombolo_traces.parts");
    let (parts, spans) = parts.split_once('|').unwrap();
    assert!(parts.parse::<u32>().unwrap() >= 3, "{parts} parts");
    assert_eq!(spans, "1200");
}

#[tokio::test]
async fn a_node_whose_clock_is_wrong_removes_nothing() {
    let server = Postgres::shared();
    let url = server.url(&server.database());
    let settings = Settings { keep_age: Duration::from_secs(3_600), table_spans: 10, ..Settings::default() };
    let right = open_with(&url, settings.clone()).await;
    right.offer((0..10).map(numbered).collect()).unwrap();
    right.flush().await;
    let in_a_year = Clock::system().unix().0 + Duration::from_hours(365 * 24);
    let (clock, hand) = Clock::by_hand(UnixTime(in_a_year));
    let (wrong, _) = SpanStore::open_postgres(&url, settings, clock, Time::Server).await.unwrap();
    wrong.offer((10..20).map(numbered).collect()).unwrap();
    wrong.flush().await;
    // It looks for what is too old.
    hand.advance(Duration::from_secs(10));
    wrong.flush().await;
    wrong.flush().await;
    assert_eq!(found_otherwise(&right, 20).await, [].into());
    assert_eq!((wrong.counts().removed, wrong.trouble()), (0, None));
}
