//! What is tried again and what is not, and backends that are left alone for a while.

use crate::world::{Setup, World, why};
use std::time::Duration;
use testkit::{Backend, Reply, Seen, eventually};

/// A backend that fails its first `times` requests by `fault` and then says `fine` and what it got.
async fn failing(times: usize, fault: impl Fn() -> Reply + Send + Sync + 'static) -> Backend {
    Backend::start(
        move |seen: &Seen| {
            if seen.number < times { fault() } else { Reply::ok(format!("fine {}", seen.text())) }
        },
    )
    .await
}

#[tokio::test]
async fn a_balanced_backend_that_refuses_is_passed_over_once_and_without_a_body() {
    let backend = Backend::saying("here").await;
    let dead = (Backend::refusing().await, Backend::refusing().await);
    let world = World::new(&format!(
        r#"one: Path("/one") -> <"http://{0}", "{2}">;
           two: Path("/two") -> <"http://{0}", "http://{1}">;
           plain: Path("/plain") -> "http://{0}";"#,
        dead.0,
        dead.1,
        backend.url()
    ))
    .await;
    for _ in 0..6 {
        assert_eq!(world.ask("GET /one").await.brief(), "200 here");
    }
    assert_eq!(world.ask("GET /two").await.status, 502, "tried twice, no more");
    assert_eq!(world.ask("GET /plain").await.status, 502);
    let attempts =
        world.records(8).await[6..].iter().map(|r| r["attempts"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(attempts, [2, 1]);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(world.ask("POST /one\n\nbody").await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502], "with a body it is not Skipper's to try again");
}

#[tokio::test]
async fn a_retry_is_for_what_the_route_names() {
    for (conditions, fault, method, expected) in [
        ("502-504", Reply::status(503), "GET", "200 fine"),
        ("5xx", Reply::status(500), "PUT", "200 fine body"),
        ("502-504", Reply::status(500), "GET", "500"),
        ("5xx", Reply::status(500), "POST", "500"),
        ("5xx,any-method", Reply::status(500), "POST", "200 fine body"),
        // With Retry-After the backend says that it did not begin.
        ("5xx", Reply::status(503).header("Retry-After", "1"), "POST", "200 fine body"),
        ("reset", Reply::nothing().then_close(), "GET", "200 fine"),
        ("reset", Reply::nothing().then_reset(), "PUT", "200 fine body"),
        ("reset", Reply::nothing().then_close(), "POST", "503 Service Unavailable"),
        ("5xx", Reply::nothing().then_close(), "GET", "503 Service Unavailable"),
    ] {
        let told = format!("{conditions} {method} {fault:?}");
        let backend = failing(1, move || fault.clone()).await;
        let world = World::new(&format!(r#"r: * -> retry(2, "{conditions}") -> "{}""#, backend.url())).await;
        let body = if method == "GET" { "" } else { "\n\nbody" };
        assert_eq!(world.ask(&format!("{method} /{body}")).await.brief().trim_end(), expected, "{told}");
    }
}

#[tokio::test]
async fn no_connection_may_be_tried_again_whatever_the_method_and_size() {
    let backend = Backend::start(|seen| Reply::ok(seen.body.len().to_string())).await;
    let world = World::new(&format!(
        r#"r: * -> retry(2, "connect") -> <"http://{}", "{}">"#,
        Backend::refusing().await,
        backend.url()
    ))
    .await;
    let large = "x".repeat(200_000);
    for _ in 0..4 {
        assert_eq!(world.ask("POST /\n\nbody").await.brief(), "200 4");
        assert_eq!(
            world.ask(&format!("POST /\n\n{large}")).await.brief(),
            "200 200000",
            "nothing of it was sent"
        );
    }
}

#[tokio::test]
async fn a_body_larger_than_is_kept_is_sent_once() {
    let backend = failing(100, || Reply::status(503)).await;
    let world = World::new(&format!(r#"r: * -> retry(3, "5xx") -> "{}""#, backend.url())).await;
    assert_eq!(world.ask(&format!("PUT /\n\n{}", "x".repeat(64 << 10))).await.status, 503);
    assert_eq!(backend.requests(), 4, "what is kept is sent again");
    assert_eq!(world.ask(&format!("PUT /\n\n{}", "x".repeat((64 << 10) + 1))).await.status, 503);
    assert_eq!(backend.requests(), 5);
    assert!((world.count("tombolo_retries_total{route=\"r\"}") - 3.0).abs() < 0.5);
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let backend = failing(usize::MAX, || Reply::status(503)).await;
    let routes = format!(r#"r: * -> retry(10, "5xx", 0.1) -> "{}""#, backend.url());
    let world = World::with(Setup { by_hand: true, ..Setup::default() }, &routes).await;
    let mut client = world.client().await;
    let requests = 40;
    for _ in 0..requests {
        client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    }
    let retries = backend.requests() - requests;
    assert!(
        (50..=110).contains(&retries),
        "10 a second of 10 seconds and a tenth of the requests: {retries}"
    );
}

#[tokio::test]
async fn a_try_that_takes_too_long_leaves_time_for_another() {
    let backend = Backend::start(|seen| match seen.number {
        0 => Reply::nothing().then_stall(),
        _ => Reply::ok("fine"),
    })
    .await;
    let world =
        World::new(&format!(r#"r: * -> backendTimeout("1s") -> retry(1, "timeout") -> "{}""#, backend.url()))
            .await;
    assert_eq!(world.ask("GET /").await.brief(), "200 fine");
    eventually("the slow try is given up", || backend.open() <= 1).await;
}

#[tokio::test]
async fn a_breaker_opens_after_failures_in_a_row_and_closes_again() {
    let backend = failing(3, || Reply::status(500)).await;
    let routes = format!(r#"r: * -> consecutiveBreaker(3, "10s", 2) -> "{}""#, backend.url());
    let world = World::with(Setup { by_hand: true, ..Setup::default() }, &routes).await;
    for _ in 0..3 {
        assert_eq!(world.ask("GET /").await.status, 500);
    }
    let open = world.ask("GET /").await;
    assert_eq!((open.status, open.header("x-circuit-open")), (503, Some("true")));
    assert!(why(&open).starts_with("error=breaker_open; route=\"r\""), "{}", why(&open));
    let line = format!("tombolo_breaker_open{{host=\"{}\"}}", backend.address());
    assert!((world.count(&line) - 1.0).abs() < 0.1);
    assert_eq!(backend.requests(), 3, "it was left alone");
    world.hand.advance(Duration::from_secs(11));
    for _ in 0..4 {
        assert_eq!(world.ask("GET /").await.brief(), "200 fine");
    }
    assert!(world.count(&line) < 0.1);
}

#[tokio::test]
async fn a_half_open_breaker_lets_a_few_through_and_a_client_that_leaves_gives_its_place_back() {
    let backend = Backend::start(|seen| match seen.number {
        0 => Reply::status(500),
        1 => Reply::nothing().then_stall(),
        _ => Reply::ok("fine"),
    })
    .await;
    let routes = format!(r#"r: * -> consecutiveBreaker(1, "10s", 1) -> "{}""#, backend.url());
    let world = World::with(Setup { by_hand: true, ..Setup::default() }, &routes).await;
    assert_eq!(world.ask("GET /").await.status, 500);
    world.hand.advance(Duration::from_secs(11));
    let mut probe = world.client().await;
    probe.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    eventually("the probe", || backend.requests() == 2).await;
    assert_eq!(world.ask("GET /").await.status, 503, "one probe at a time");
    drop(probe);
    eventually("the probe is gone", || backend.open() == 0).await;
    assert_eq!(world.ask("GET /").await.brief(), "200 fine", "its place is free again");
    assert_eq!(world.ask("GET /").await.brief(), "200 fine");
}

#[tokio::test]
async fn a_client_s_broken_body_does_not_open_a_breaker() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(r#"r: * -> consecutiveBreaker(1, "10s") -> "{}""#, backend.url())).await;
    for _ in 0..3 {
        let mut client = world.client().await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
        assert_eq!(client.answer().await.status, 400);
    }
    assert_eq!(world.ask("GET /").await.status, 200);
}

#[tokio::test]
async fn a_client_s_broken_body_does_not_close_a_breaker_either() {
    let backend = Backend::start(|_| Reply::status(500)).await;
    let routes = format!(r#"r: * -> consecutiveBreaker(2, "10s", 1) -> "{}""#, backend.url());
    let world = World::with(Setup { by_hand: true, ..Setup::default() }, &routes).await;
    let broken = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    assert_eq!(world.ask("GET /").await.status, 500);
    assert_eq!(world.client().await.ask(broken).await.status, 400);
    assert_eq!(world.ask("GET /").await.status, 500);
    assert_eq!(world.ask("GET /").await.status, 503, "two in a row, with nothing good in between");
    world.hand.advance(Duration::from_secs(11));
    assert_eq!(world.client().await.ask(broken).await.status, 400);
    assert_eq!(world.ask("GET /").await.status, 500, "its place as the probe is free again");
    assert_eq!(world.ask("GET /").await.status, 503, "and it was no success");
}
