//! The doctor looks at a store: each trace once, of the time that is asked for, and of each service some.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::{Clock, UnixTime};
use std::time::Duration;
use telemetry::doctor::{Facts, LATEST_MAX, OF_A_SERVICE_MAX, look};
use telemetry::spans::{Endpoint, Kind, Settings, Span, SpanStore, TraceKey};

const NOW: Duration = Duration::from_secs(1_764_158_400);
const HOUR: Duration = Duration::from_secs(3_600);

/// A call from one service to another, so long ago.
fn call(trace: u64, names: (&str, &str), ago: Duration) -> Vec<Span> {
    let timestamp_us = u64::try_from(NOW.checked_sub(ago).unwrap().as_micros()).unwrap();
    let side = |name: &str| Endpoint { service: name.to_owned(), ..Endpoint::default() };
    let span = |id, parent, kind, local| Span {
        trace: TraceKey { high: 0, low: trace },
        id,
        parent,
        kind: Some(kind),
        timestamp_us,
        duration_us: 5,
        local: side(local),
        ..Span::default()
    };
    vec![span(1, 0, Kind::Client, names.0), span(2, 1, Kind::Server, names.1)]
}

#[tokio::test]
async fn each_trace_is_looked_at_once_and_rare_services_are_not_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = Clock::by_hand(UnixTime(NOW));
    let (store, _) = SpanStore::open(folder.path(), Settings::default(), clock).unwrap();
    let rare = OF_A_SERVICE_MAX as u64 + 10;
    let busy = LATEST_MAX as u64 + 100;
    // What is rare came first, so that the busy ones alone are the latest.
    for trace in 0..rare {
        let ago = HOUR + Duration::from_secs(trace);
        store.offer(call(trace + 1, ("mail", "ads"), ago)).unwrap();
        store.offer(call(trace + 1_001, ("ads", "mail"), ago)).unwrap();
    }
    for trace in 0..busy {
        store.offer(call(trace + 10_001, ("web", "cart"), Duration::from_secs(60))).unwrap();
    }
    store.offer(call(5, ("cart", "old"), HOUR * 48)).unwrap();
    store.flush().await;

    let report = look(&store, Facts::default(), HOUR * 2).await.unwrap();
    let traces = LATEST_MAX as u64 + OF_A_SERVICE_MAX as u64;
    assert_eq!((report.traces, report.spans, report.left_out), (traces, 2 * traces, 0));
    let codes: Vec<&str> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["cyclic-dependency"]);
    let evidence = &report.findings[0].evidence;
    assert!(!evidence.is_empty() && evidence.iter().all(|trace| trace.low < 2_000), "{evidence:?}");

    let report = look(&store, Facts::default(), Duration::from_secs(600)).await.unwrap();
    assert_eq!((report.traces, report.findings.len()), (LATEST_MAX as u64, 0));
    let report = look(&store, Facts::default(), Duration::ZERO).await.unwrap();
    assert_eq!((report.traces, report.findings.len()), (0, 0));
}
