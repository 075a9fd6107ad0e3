//! Much at once: a batch of ten thousand spans, traces that are too large to be read beside others, one without an end;
//! and names that the database could not hold as text.

use crate::{BEGAN_US, all, filled, found_otherwise, numbered, open};
use base::Chance;
use telemetry::spans::{Query, Span, TraceKey};
use testkit::Postgres;

#[tokio::test]
async fn ten_thousand_spans_go_as_one_batch() {
    let server = Postgres::shared();
    let database = server.database();
    let store = open(&server.url(&database)).await;
    store.offer((0..10_000).map(numbered).collect()).unwrap();
    store.flush().await;
    assert_eq!((store.counts().kept, store.trouble()), (10_000, None));
    let rows = "SELECT count(*), count(DISTINCT batch), count(DISTINCT trace) FROM tombolo_traces.spans_1";
    assert_eq!(server.run(&database, rows), "3000|1|1000", "a row for each service of a trace");
    assert_eq!(found_otherwise(&store, 10_000).await, [].into());
    assert_eq!(store.search(all()).await.unwrap().concat().len(), 10_000);
}

#[tokio::test]
async fn traces_that_are_large_are_read_whole() {
    let server = Postgres::shared();
    let store = open(&server.url(&server.database())).await;
    let chance = Chance::seeded(2);
    // Traces 1 and 3 are too large for one statement together, trace 2 is small.
    let mut spans = Vec::new();
    for number in 0..400 {
        spans.push(Span {
            trace: TraceKey { high: 0, low: 1 + number % 2 * 2 },
            ..filled(number, &chance, 50_000)
        });
    }
    spans.push(Span { trace: TraceKey { high: 0, low: 2 }, ..numbered(500) });
    for some in spans.chunks(50) {
        store.offer(some.to_vec()).unwrap();
        store.flush().await;
    }
    let traces = store.traces((1..=4).map(|low| TraceKey { high: 0, low }).collect()).await.unwrap();
    let spans_of =
        |wanted: u64| spans.iter().filter(|span| span.trace.low == wanted).cloned().collect::<Vec<_>>();
    assert!(
        traces == [spans_of(1), spans_of(2), spans_of(3)],
        "{:?}",
        traces.iter().map(Vec::len).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn of_a_trace_without_an_end_the_first_spans_are_read() {
    let server = Postgres::shared();
    let store = open(&server.url(&server.database())).await;
    let span = |number: u64| Span { trace: TraceKey { high: 0, low: 1 }, ..numbered(number) };
    for from in (0..60_000).step_by(10_000) {
        store.offer((from..from + 10_000).map(span).collect()).unwrap();
        store.flush().await;
    }
    assert_eq!((store.counts().kept, store.trouble()), (60_000, None));
    let found = store.traces(vec![TraceKey { high: 0, low: 1 }]).await.unwrap().concat();
    assert_eq!((found.len(), found.last().map(|span| span.id)), (50_000, Some(50_000)));
}

#[tokio::test]
async fn any_name_is_listed_and_found() {
    let server = Postgres::shared();
    let store = open(&server.url(&server.database())).await;
    let names = ["a\0b", "'; drop table x; --", "é中\u{10ffff}", "{1,2}"];
    let spans = names.iter().zip(0..).map(|(name, number)| {
        let mut span = numbered(number * 10);
        (span.local.service, span.name) = ((*name).into(), (*name).into());
        span.tags = vec![((*name).into(), (*name).into())];
        span.timestamp_us = if number == 0 { i64::MAX.unsigned_abs() } else { BEGAN_US };
        span
    });
    store.offer(spans.collect()).unwrap();
    store.flush().await;
    assert_eq!(store.trouble(), None);
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(store.services().await.unwrap().into_iter().collect::<Vec<_>>(), expected);
    for name in &names[1..] {
        assert_eq!(store.span_names(name).await.unwrap(), [(*name).to_owned()].into());
        let annotations = [((*name).to_owned(), (*name).to_owned())].into();
        let query = Query { service: (*name).into(), name: (*name).into(), annotations, ..all() };
        assert_eq!(store.search(query).await.unwrap().len(), 1, "{name}");
    }
}
