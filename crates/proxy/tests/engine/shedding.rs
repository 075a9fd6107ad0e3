//! Routes that refuse part of their requests while too many fail.

use crate::world::{Setup, World, why};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use testkit::{Backend, Reply};

/// A backend with a status that can be set.
async fn with_status() -> (Backend, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = status.clone();
    (Backend::start(move |_| Reply::status(told.load(Ordering::SeqCst))).await, status)
}

async fn ask(world: &World, requests: usize) -> usize {
    let mut client = world.client().await;
    let mut refused = 0;
    for _ in 0..requests {
        let answer = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        if answer.header("admission-control") == Some("true") {
            assert_eq!(
                (answer.status, why(&answer)),
                (503, "error=load_shed; route=\"r\"; filter=\"admissionControl\"".into())
            );
            refused += 1;
        }
    }
    refused
}

async fn world(mode: &str, backend: &Backend) -> World {
    let filter = format!(r#"admissionControl("cart", "{mode}", "1s", 2, 10, 0.9, 0.8, 1)"#);
    let routes = format!(r#"r: * -> {filter} -> "{}""#, backend.url());
    World::with(Setup { by_hand: true, ..Setup::default() }, &routes).await
}

#[tokio::test]
async fn the_more_requests_fail_the_more_are_refused_until_they_succeed_again() {
    let (backend, status) = with_status().await;
    let world = world("active", &backend).await;
    assert_eq!(ask(&world, 50).await, 0);
    status.store(500, Ordering::SeqCst);
    world.hand.advance(Duration::from_secs(1));
    assert_eq!(ask(&world, 50).await, 0, "the slot is not over");
    world.hand.advance(Duration::from_secs(1));
    // 50 of 100 succeeded: (100 - 50 / 0.9) / 101.
    let refused = ask(&world, 200).await;
    assert!((65..=115).contains(&refused), "44 % of 200, not {refused}");
    assert_eq!(backend.requests(), 300 - refused);
    world.hand.advance(Duration::from_secs(1));
    let refused = ask(&world, 200).await;
    assert!((140..=180).contains(&refused), "at most 80 % of 200: {refused}");
    status.store(200, Ordering::SeqCst);
    for _ in 0..6 {
        world.hand.advance(Duration::from_secs(1));
        ask(&world, 100).await;
    }
    world.hand.advance(Duration::from_secs(1));
    assert_eq!(ask(&world, 100).await, 0, "it has recovered");
    let key = |what| format!("skipper_custom_total{{key=\"shedder.admission_control.{what}.cart\"}}");
    assert!(world.count(&key("reject")) > 200.0 && world.count(&key("total")) > 1000.0);
}

#[tokio::test]
async fn refusals_of_a_gateway_behind_are_no_failures() {
    let backend = Backend::start(|_| Reply::status(503).header("Admission-Control", "true")).await;
    let world = World::with(
        Setup { by_hand: true, ..Setup::default() },
        &format!(
            r#"r: * -> dropResponseHeader("Admission-Control") ->
               admissionControl("x", "active", "1s", 1, 0, 1, 1, 1) -> "{}""#,
            backend.url()
        ),
    )
    .await;
    for _ in 0..3 {
        ask(&world, 30).await;
        world.hand.advance(Duration::from_secs(1));
    }
    assert_eq!(backend.requests(), 90);
}

#[tokio::test]
async fn an_inactive_one_only_counts_and_tells() {
    let (backend, status) = with_status().await;
    status.store(500, Ordering::SeqCst);
    for mode in ["inactive", "logInactive"] {
        let world = world(mode, &backend).await;
        assert_eq!(ask(&world, 30).await, 0);
        world.hand.advance(Duration::from_secs(1));
        assert_eq!(ask(&world, 30).await, 0);
        let would = world.count("skipper_custom_total{key=\"shedder.admission_control.reject.cart\"}");
        assert!((15.0..30.0).contains(&would), "{would}");
        let records = world.records(60).await;
        let told = (mode == "logInactive").then_some("0.800");
        assert_eq!(records[59]["tags"]["admissionControl.probability"].as_str(), told);
    }
}
