//! Many requests at once: no one of them fails because of what happens around it.

use crate::world::{Setup, World, message};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testkit::{Backend, Client, PATIENCE, Reply, eventually};

/// Requests among which many cross the close of an idle connection, over all clients; `TEST_CROSSINGS` asks for
/// more.
fn crossings() -> usize {
    std::env::var("TEST_CROSSINGS").map_or(20_000, |number| number.parse().unwrap())
}

#[tokio::test]
async fn no_request_fails_because_the_backend_closes_idle_connections() {
    // Of each four answers one is followed by a close as soon as the next request arrives, one by a close
    // at once; both are silent, so the next request is on its way when the close is noticed.
    let crossings = crossings();
    let backend = Backend::start(|seen| match seen.number % 8 {
        0 => Reply::ok("x").then_close_on_next(),
        4 => Reply::ok("x").then_close(),
        _ => Reply::ok("x"),
    })
    .await;
    let world = World::with(
        Setup { workers: 2, ..Setup::default() },
        &format!(r#"r: * -> disableAccessLog() -> "{}""#, backend.url()),
    )
    .await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = Client::connect(world.address).await;
        clients.spawn(async move {
            // Pipelined by tens, so that the test costs less than what it tests.
            let batch = message("GET /").repeat(10);
            for _ in 0..crossings / 8 / 10 {
                client.send(&batch).await;
                for _ in 0..10 {
                    assert_eq!(client.answer().await.brief(), "200 x");
                }
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(backend.connections() > crossings / 10, "{} connections", backend.connections());
}

#[tokio::test]
async fn a_new_table_costs_no_request() {
    let backend = Backend::saying("x").await;
    let world =
        World::with(Setup { workers: 2, ..Setup::default() }, &format!(r#"r: * -> "{}""#, backend.url()))
            .await;
    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = Client::connect(world.address).await;
        let (over, sent) = (over.clone(), sent.clone());
        clients.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(client.ask(message("GET /a")).await.brief(), "200 x");
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for swap in 1..=200 {
        world.put(&format!(
            r#"r: * -> setRequestHeader("X-Swap", "{swap}") -> "{}"; s{swap}: Path("/{swap}") -> <shunt>;"#,
            backend.url()
        ));
        let before = sent.load(Ordering::Relaxed);
        eventually("a request on the new table", || sent.load(Ordering::Relaxed) > before).await;
    }
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!(backend.seen().last().unwrap().header("x-swap"), Some("200"));
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_closes_the_rest() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/slow" => Reply::status(200).chunks(["a"; 20]).slowly(Duration::from_millis(10)),
        _ => Reply::ok("x"),
    })
    .await;
    let mut world = World::new(&format!(r#"r: * -> "{}""#, backend.url())).await;
    let mut idle = world.client().await;
    assert_eq!(idle.ask(message("GET /")).await.status, 200);
    let mut fresh = world.client().await;
    let mut busy = world.client().await;
    busy.send(message("GET /slow")).await;
    let mut uploading = world.client().await;
    uploading.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na").await;
    eventually("both at the backend", || backend.requests() == 3).await;
    world.drainer.drain();
    assert_eq!(idle.closed().await, b"");
    assert_eq!(fresh.closed().await, b"");
    uploading.send("bc").await;
    let answer = uploading.answer().await;
    assert_eq!((answer.brief().as_str(), answer.header("connection")), ("200 x", Some("close")));
    let answer = busy.answer().await;
    assert_eq!((answer.text().len(), answer.complete), (20, true));
    busy.closed().await;
    let served = world.served.take().unwrap();
    tokio::time::timeout(PATIENCE, served.ended()).await.expect("the drain ends with the last request");
    assert!(tokio::net::TcpStream::connect(world.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_was_connected_before_a_drain_is_still_answered() {
    let world = World::new("r: * -> status(200) -> <shunt>").await;
    for _ in 0..20 {
        // Sent before the drain begins, read by the gateway whenever it comes to it.
        let mut client = world.client().await;
        client.send(message("GET /")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let mut late = world.client().await;
    late.send(message("GET /")).await;
    world.drainer.drain();
    assert_eq!(late.answer().await.status, 200);
}

#[tokio::test]
async fn a_request_under_way_takes_little_room() {
    let world = World::new("r: * -> <shunt>").await;
    let address = world.address;
    let gateway = proxy::Gateway::new(&world.plane, 0);
    let peer = wire::Peer { remote: address, local: address, tls: false, edge: None };
    let bytes = size_of_val(&gateway.call(wire::Request::default(), &peer));
    // It is moved as a whole when it begins; what few requests need is boxed.
    assert!(bytes <= 5 << 10, "{bytes} bytes");
}
