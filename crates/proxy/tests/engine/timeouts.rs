//! Waits that end: for a backend's head and body, for a request's body, for a client that does not read.

use crate::world::{World, message, why};
use std::time::Duration;
use testkit::{Backend, Reply, eventually};

#[tokio::test]
async fn a_backend_that_does_not_begin_its_answer_in_time_is_given_up() {
    let backend = Backend::start(|_| Reply::nothing().then_stall()).await;
    let world = World::new(&format!(r#"r: * -> backendTimeout("30ms") -> "{}""#, backend.url())).await;
    let answer = world.ask("GET /").await;
    assert_eq!(answer.brief(), "504 Gateway Timeout");
    assert!(why(&answer).starts_with("error=http_response_timeout; route=\"r\""), "{}", why(&answer));
    eventually("the connection to the backend closes", || backend.open() == 0).await;
}

#[tokio::test]
async fn a_backend_that_does_not_end_its_answer_in_time_is_cut_off() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        // It is never silent for long, and never done.
        "/drip" => Reply::status(200).chunks(["x"; 1000]).slowly(Duration::from_millis(10)),
        _ => Reply::ok("0123456789").cut(45).then_stall(),
    })
    .await;
    let world = World::new(&format!(r#"r: * -> backendTimeout("60ms") -> "{}""#, backend.url())).await;
    for target in ["/stall", "/drip"] {
        let answer = world.ask(&format!("GET {target}")).await;
        assert_eq!((answer.status, answer.complete), (200, false), "{target}");
    }
    eventually("the connections to the backend close", || backend.open() == 0).await;
    assert!(world.records(2).await.iter().all(|record| record["cut-short"] == true));
}

#[tokio::test]
async fn a_request_whose_body_does_not_come_in_time_is_refused() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(
        r#"r: * -> readTimeout("40ms") -> "{0}"; kept: Path("/kept") -> readTimeout("40ms") -> retry(1) -> "{0}";"#,
        backend.url()
    ))
    .await;
    for target in ["/", "/kept"] {
        let mut client = world.client().await;
        client.send(format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")).await;
        let answer = client.answer().await;
        assert_eq!(answer.brief(), "408 Request Timeout", "{target} {}", why(&answer));
    }
    eventually("the connections to the backend close", || backend.open() == 0).await;
    assert_eq!(world.ask("POST /\n\nabc").await.brief(), "200 abc");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_in_time_is_cut_off() {
    let large = "x".repeat(16 << 20);
    let backend = Backend::start(move |_| Reply::ok(large.clone())).await;
    let world = World::new(&format!(r#"r: * -> writeTimeout("80ms") -> "{}""#, backend.url())).await;
    let mut client = world.client().await;
    client.send(message("GET /")).await;
    assert_eq!(world.record().await, "200 cut short");
    eventually("the connection to the backend closes", || backend.open() == 0).await;
    let answer = client.answer().await;
    assert!(!answer.complete);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_in_time() {
    let limits = wire::Limits { idle_timeout: Duration::from_millis(40), ..wire::Limits::default() };
    let setup = crate::world::Setup { limits, ..Default::default() };
    let world = World::with(setup, "r: * -> status(200) -> <shunt>").await;
    let mut fresh = world.client().await;
    let mut used = world.client().await;
    assert_eq!(used.ask(message("GET /")).await.status, 200);
    assert_eq!((fresh.closed().await, used.closed().await), (vec![], vec![]));
}
