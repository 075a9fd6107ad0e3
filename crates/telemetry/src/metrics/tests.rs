//! The page that a scrape sees after some requests.

use super::*;
use crate::record::tests::record;
use crate::{Backend, Reason};
use expect_test::{Expect, expect};
use std::time::Duration;

/// The samples of the page that hold one of these texts, without comments and empty buckets' repetitions.
fn check(metrics: &Metrics, wanted: &[&str], expected: &Expect) {
    let page = metrics.page(Format::Text, Process::default());
    let lines: Vec<_> = page
        .lines()
        .filter(|line| !line.starts_with('#') && wanted.iter().any(|text| line.contains(text)))
        .map(|line| format!("{line}\n"))
        .collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn requests_are_counted_by_route_status_and_method_over_all_workers() {
    let metrics = Metrics::new(2);
    let meter = metrics.route("cart");
    for worker in 0..4 {
        meter.observe(&metrics.worker(worker), &record());
    }
    meter.observe(&metrics.worker(0), &Record { method: "BREW", status: 418, ..record() });
    check(
        &metrics,
        &["skipper_serve_route"],
        &expect![[r#"
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="0.005"} 0
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="0.01"} 0
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="0.025"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="0.05"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="0.1"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="0.25"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="0.5"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="1"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="2.5"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="5"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="10"} 4
        skipper_serve_route_duration_seconds_bucket{code="200",method="GET",route="cart",le="+Inf"} 4
        skipper_serve_route_duration_seconds_sum{code="200",method="GET",route="cart"} 0.04938
        skipper_serve_route_duration_seconds_count{code="200",method="GET",route="cart"} 4
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="0.005"} 0
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="0.01"} 0
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="0.025"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="0.05"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="0.1"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="0.25"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="0.5"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="1"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="2.5"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="5"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="10"} 1
        skipper_serve_route_duration_seconds_bucket{code="418",method="_unknownmethod_",route="cart",le="+Inf"} 1
        skipper_serve_route_duration_seconds_sum{code="418",method="_unknownmethod_",route="cart"} 0.012345
        skipper_serve_route_duration_seconds_count{code="418",method="_unknownmethod_",route="cart"} 1
        skipper_serve_route_count{code="200",method="GET",route="cart"} 4
        skipper_serve_route_count{code="418",method="_unknownmethod_",route="cart"} 1
    "#]],
    );
}

#[test]
fn answers_of_our_own_retries_and_broken_answers_are_counted() {
    let metrics = Metrics::new(1);
    let (meter, worker) = (metrics.route("cart"), metrics.worker(0));
    let failed = Record {
        status: 502,
        attempts: 3,
        reason: Some(Reason { cause: "connect_failed", filter: None }),
        ..record()
    };
    meter.observe(&worker, &failed);
    let limited = Record {
        status: 429,
        attempts: 0,
        backend: None,
        reason: Some(Reason { cause: "rate_limit", filter: Some("ratelimit") }),
        response_bytes: 0,
        ..record()
    };
    meter.observe(&worker, &limited);
    meter.observe(&worker, &limited);
    meter.observe(&worker, &Record { status: 503, cut_short: true, request_bytes: 10, ..record() });
    let unrouted = Record { route: Record::NO_ROUTE, ..limited };
    metrics.route(Record::NO_ROUTE).observe(&worker, &unrouted);
    check(
        &metrics,
        &["tombolo_", "error_total", "5xx_duration_seconds_count", "lookup_duration_seconds_count"],
        &expect![[r#"
            tombolo_answers_total{cause="rate_limit",route="_unknownroute_"} 1
            tombolo_answers_total{cause="connect_failed",route="cart"} 1
            tombolo_answers_total{cause="rate_limit",route="cart"} 2
            skipper_backend_error_total{route="_unknownroute_"} 0
            skipper_backend_error_total{route="cart"} 1
            skipper_streaming_error_total{route="_unknownroute_"} 0
            skipper_streaming_error_total{route="cart"} 1
            tombolo_retries_total{route="_unknownroute_"} 0
            tombolo_retries_total{route="cart"} 2
            tombolo_request_bytes_total{route="_unknownroute_"} 0
            tombolo_request_bytes_total{route="cart"} 10
            tombolo_response_bytes_total{route="_unknownroute_"} 0
            tombolo_response_bytes_total{route="cart"} 4652
            skipper_route_lookup_duration_seconds_count 5
            skipper_backend_5xx_duration_seconds_count 1
            skipper_route_error_total 1
            tombolo_requests_in_flight 0
            tombolo_mirrors_dropped_total 0
        "#]],
    );
}

#[test]
fn the_time_at_backends_is_told_by_host_and_the_rest_is_ours() {
    let metrics = Metrics::new(1);
    let (meter, worker) = (metrics.route("cart"), metrics.worker(0));
    for host in 0..40 {
        let address = format!("10.0.0.{host}:80");
        let backend = Some(Backend { address: &address, duration: Duration::from_millis(10) });
        meter.observe(&worker, &Record { backend, ..record() });
    }
    check(
        &metrics,
        &["skipper_backend_duration_seconds_count", "proxy_total_duration_seconds"],
        &expect![[r#"
            skipper_backend_duration_seconds_count{host="10.0.0.0:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.10:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.11:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.12:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.13:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.14:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.15:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.1:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.2:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.3:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.4:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.5:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.6:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.7:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.8:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="10.0.0.9:80",route="cart"} 1
            skipper_backend_duration_seconds_count{host="_other",route="cart"} 24
            skipper_proxy_total_duration_seconds_bucket{le="0.005"} 40
            skipper_proxy_total_duration_seconds_bucket{le="0.01"} 40
            skipper_proxy_total_duration_seconds_bucket{le="0.025"} 40
            skipper_proxy_total_duration_seconds_bucket{le="0.05"} 40
            skipper_proxy_total_duration_seconds_bucket{le="0.1"} 40
            skipper_proxy_total_duration_seconds_bucket{le="0.25"} 40
            skipper_proxy_total_duration_seconds_bucket{le="0.5"} 40
            skipper_proxy_total_duration_seconds_bucket{le="1"} 40
            skipper_proxy_total_duration_seconds_bucket{le="2.5"} 40
            skipper_proxy_total_duration_seconds_bucket{le="5"} 40
            skipper_proxy_total_duration_seconds_bucket{le="10"} 40
            skipper_proxy_total_duration_seconds_bucket{le="+Inf"} 40
            skipper_proxy_total_duration_seconds_sum 0.0938
            skipper_proxy_total_duration_seconds_count 40
        "#]],
    );
}

#[test]
fn labels_that_callers_choose_are_bounded() {
    let metrics = Metrics::new(1);
    let (meter, worker) = (metrics.route("cart"), metrics.worker(0));
    for status in 0..1000 {
        let cause = format!("cause{status}");
        let reason = Some(Reason { cause: &cause, filter: None });
        meter.observe(&worker, &Record { status, reason, ..record() });
    }
    let page = metrics.page(Format::Text, Process::default());
    let rows = |text: &str| page.lines().filter(|line| line.starts_with(text)).count();
    assert_eq!(rows("skipper_serve_route_count{"), SERIES_MAX + 1);
    assert_eq!(rows("tombolo_answers_total{"), CAUSES_MAX + 1);
    check(
        &metrics,
        &["_count{code=\"_other\"", "cause=\"_other\""],
        &expect![[r#"
        skipper_serve_route_duration_seconds_count{code="_other",method="_other",route="cart"} 936
        skipper_serve_route_count{code="_other",method="_other",route="cart"} 936
        tombolo_answers_total{cause="_other",route="cart"} 968
    "#]],
    );
    let gauge = table::ROUTE_INVALID;
    for id in 0..LABEL_SETS_MAX + 5 {
        metrics.gauge(gauge, &["unknown_filter", &format!("r{id}")]).set(1.0);
    }
    for id in 0..TIMERS_MAX + 5 {
        metrics.timer(CUSTOM_DURATION, &[&format!("k{id}")]).observe(Duration::from_millis(1));
    }
    for id in 0..LABEL_SETS_MAX {
        metrics.sum(CUSTOM_TOTAL, &[&format!("s{id}")]).add(0.5);
    }
    metrics.sum(CUSTOM_TOTAL, &["late"]).add(0.5);
    metrics.counter(CUSTOM_TOTAL, &["later"]).add(3);
    let page = metrics.page(Format::Text, Process::default());
    assert!(page.contains("skipper_custom_total{key=\"_other\"} 3\n"), "a sum is not added to counts");
    let invalid = page.lines().filter(|line| line.starts_with("skipper_route_invalid{")).count();
    assert_eq!(invalid, LABEL_SETS_MAX + 1);
    let is_timer = |line: &&str| line.starts_with("skipper_custom_duration_seconds_count{");
    assert_eq!(page.lines().filter(is_timer).count(), TIMERS_MAX + 1);
    assert!(page.contains("skipper_custom_duration_seconds_count{key=\"_other\"} 5"));
}

#[test]
fn counts_survive_a_reload_and_a_removed_route_is_shown_once_more() {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    let (cart, gone) = (metrics.route("cart"), metrics.route("gone"));
    cart.observe(&worker, &record());
    gone.observe(&worker, &record());
    let cart_again = metrics.route("cart");
    cart_again.observe(&worker, &record());
    drop((cart, gone));
    check(
        &metrics,
        &["skipper_serve_route_count"],
        &expect![[r#"
        skipper_serve_route_count{code="200",method="GET",route="cart"} 2
        skipper_serve_route_count{code="200",method="GET",route="gone"} 1
    "#]],
    );
    check(
        &metrics,
        &["skipper_serve_route_count"],
        &expect![[r#"
        skipper_serve_route_count{code="200",method="GET",route="cart"} 2
    "#]],
    );
}

#[test]
fn routes_beyond_the_limit_share_a_meter_until_others_leave() {
    let metrics = Metrics::new(1);
    let kept: Vec<_> = (0..ROUTES_MAX).map(|i| metrics.route(&format!("r{i}"))).collect();
    assert_eq!(metrics.route("late").id(), OTHER);
    assert_eq!(metrics.route("r7").id(), "r7");
    drop(kept);
    metrics.sweep();
    assert_eq!(metrics.route("late").id(), "late", "nobody scraped, but there must be room again");
}

#[test]
fn others_register_what_they_keep() {
    let metrics = Metrics::new(1);
    metrics.set_routes(3, UnixTime(Duration::from_millis(1_700_000_000_500)));
    metrics.set_invalid([("bad", "unknown_filter"), ("worse", "invalid_matcher")]);
    metrics.set_invalid([("bad", "unknown_filter")]);
    metrics.mirror_dropped();
    metrics.gauge(BUILD_INFO, &["1.0 \"beta\""]).set(1.0);
    metrics.counter(CUSTOM_TOTAL, &["kicks"]).add(2);
    metrics.counter(CUSTOM_TOTAL, &["kicks"]).increment();
    metrics.sum(CUSTOM_TOTAL, &["waits"]).add(0.25);
    metrics.sum(CUSTOM_TOTAL, &["waits"]).add(1.5);
    metrics.ask(BREAKER_OPEN, |samples| {
        samples.add(&["10.0.0.1:80"], 1.0);
        samples.add(&["10.0.0.2:80"], 0.0);
    });
    check(
        &metrics,
        &["tombolo_b", "tombolo_m", "custom", "invalid"],
        &expect![[r#"
        skipper_custom_gauges{key="routes.total"} 3
        skipper_custom_gauges{key="routes.updated_timestamp"} 1700000000.5
        skipper_custom_total{key="kicks"} 3
        skipper_custom_total{key="waits"} 1.75
        skipper_route_invalid{reason="unknown_filter",route_id="bad"} 1
        tombolo_breaker_open{host="10.0.0.1:80"} 1
        tombolo_breaker_open{host="10.0.0.2:80"} 0
        tombolo_build_info{version="1.0 \"beta\""} 1
        tombolo_mirrors_dropped_total 1
    "#]],
    );
}

#[test]
fn requests_in_flight_are_those_that_have_begun_and_not_ended() {
    let metrics = Metrics::new(2);
    let [one, two] = [0, 1].map(|number| metrics.worker(number));
    one.begin();
    two.begin();
    assert_eq!(metrics.in_flight(), 2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            this_thread_is(1);
            // It began on another thread.
            two.end();
        });
    });
    assert_eq!(metrics.in_flight(), 1);
    one.end();
    assert_eq!(metrics.in_flight(), 0);
}

#[test]
fn nothing_is_lost_whichever_threads_count_at_once() {
    const TIMES: u64 = 20_000;
    let metrics = Metrics::new(2);
    let meter = metrics.route("cart");
    // Each worker's thread, one of no such number, and two that are no workers.
    let threads = [(Some(0), 0), (Some(1), 1), (Some(2), 2), (None, 0), (None, 1)];
    std::thread::scope(|scope| {
        for (is, counts_as) in threads {
            let (metrics, meter) = (&metrics, &meter);
            scope.spawn(move || {
                if let Some(number) = is {
                    this_thread_is(number);
                }
                let worker = metrics.worker(counts_as);
                for _ in 0..TIMES {
                    worker.begin();
                    meter.observe(&worker, &record());
                    worker.end();
                }
            });
        }
    });
    let all = threads.len() as u64 * TIMES;
    let page = metrics.page(Format::Text, Process::default());
    for name in [
        r#"skipper_serve_route_count{code="200",method="GET",route="cart"}"#,
        "skipper_proxy_total_duration_seconds_count",
    ] {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.rsplit(' ').next().unwrap(), all.to_string(), "{line}");
    }
    assert_eq!(metrics.in_flight(), 0);
}

#[test]
fn the_page_has_the_words_of_the_table_and_nothing_else() {
    let metrics = Metrics::new(1);
    metrics.route("cart").observe(&metrics.worker(0), &record());
    let page = metrics.expose();
    for line in page.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(TABLE.iter().any(|metric| metric.name == name), "{name} is not in the table");
        assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1);
    }
    let names: std::collections::BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), TABLE.len(), "a name twice");
    assert!(TABLE.iter().all(|metric| metric.labels.is_sorted() && metric.help.ends_with('.')));
    assert!(page.contains("process_resident_memory_bytes "));
}

#[test]
fn calls_are_counted_by_caller_callee_and_status_within_a_bound() {
    let metrics = Metrics::new(1);
    let (worker, edge) = (metrics.worker(0), "http_client_request_duration_seconds_count");
    let (entry, calls) = (metrics.route("entry"), metrics.route("to_cart"));
    for meter in [&entry, &calls] {
        meter.leads_to(Some("cart"));
    }
    entry.observe(&worker, &record());
    entry.observe(&worker, &Record { method: "POST", ..record() });
    calls.observe(&worker, &Record { caller: Some("web"), status: 503, ..record() });
    metrics.route("elsewhere").observe(&worker, &record());
    let expected = [("200", "gateway", 2), ("503", "web", 1)].map(|(status, caller, count)| {
        format!(
            "{edge}{{http_response_status_code=\"{status}\",server_address=\"cart\",service_name=\"{caller}\"}} {count}"
        )
    });
    let lines = || {
        let page = metrics.expose();
        page.lines().filter(|line| line.starts_with(edge)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(), expected);
    for number in 0..SERIES_MAX * 2 {
        calls.observe(&worker, &Record { caller: Some(&format!("s{number}")), ..record() });
    }
    assert_eq!(lines().len(), SERIES_MAX + 2, "the gateway's, those that fit, and all others");
    calls.leads_to(None);
    assert_eq!(lines(), expected[..1]);
}
