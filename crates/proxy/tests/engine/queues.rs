//! Routes that let so many requests through at once: who waits, who is next, who must go.

use crate::world::{Setup, World, message, why};
use std::time::Duration;
use testkit::{Backend, Client, Reply, Seen, eventually};

/// Never answers what begins with `/hold`, until its client has left.
async fn holding() -> Backend {
    Backend::start(|seen: &Seen| {
        if seen.target.starts_with("/hold") { Reply::nothing().then_stall() } else { Reply::ok("x") }
    })
    .await
}

fn targets(backend: &Backend) -> Vec<String> {
    backend.seen().into_iter().map(|seen| seen.target).collect()
}

impl World {
    fn queued(&self, kind: &str, what: &str) -> f64 {
        self.count(&format!("tombolo_queue_{what}{{kind=\"{kind}\",name=\"r\"}}"))
    }

    /// Sends requests on connections of their own, each when the one before is where it shall be.
    async fn line_up(&self, kind: &str, targets: &[&str]) -> Vec<Client> {
        let mut clients = Vec::new();
        for target in targets {
            let before = self.queued(kind, "running") + self.queued(kind, "waiting");
            let mut client = self.client().await;
            client.send(message(&format!("GET {target}"))).await;
            eventually(target, || self.queued(kind, "running") + self.queued(kind, "waiting") > before + 0.5)
                .await;
            clients.push(client);
        }
        clients
    }
}

#[tokio::test]
async fn the_oldest_of_a_fifo_is_next_and_who_finds_it_full_is_told_at_once() {
    let backend = holding().await;
    let world = World::new(&format!(r#"r: * -> fifo(1, 2, "1h") -> "{}""#, backend.url())).await;
    let mut clients = world.line_up("fifo", &["/hold1", "/hold2", "/hold3"]).await;
    let full = world.ask("GET /full").await;
    assert_eq!(full.status, 503);
    assert_eq!(why(&full), "error=queue_full; route=\"r\"; filter=\"fifo\"");
    for next in 2..=3 {
        drop(clients.remove(0));
        backend.wait_for(next).await;
    }
    drop(clients);
    assert_eq!(world.ask("GET /free").await.brief(), "200 x");
    assert_eq!(targets(&backend), ["/hold1", "/hold2", "/hold3", "/free"]);
}

#[tokio::test]
async fn the_newest_of_a_lifo_is_next_and_the_one_that_waited_longest_makes_room() {
    let backend = holding().await;
    let world = World::new(&format!(r#"r: * -> lifo(1, 2, "1h") -> "{}""#, backend.url())).await;
    let mut clients = world.line_up("lifo", &["/hold1", "/hold2", "/hold3"]).await;
    let mut newest = world.client().await;
    newest.send(message("GET /hold4")).await;
    let gone = clients[1].answer().await;
    assert_eq!((gone.status, why(&gone).as_str()), (503, "error=queue_full; route=\"r\"; filter=\"lifo\""));
    drop(clients.remove(0));
    backend.wait_for(2).await;
    drop(newest);
    backend.wait_for(3).await;
    assert_eq!(targets(&backend), ["/hold1", "/hold4", "/hold3"]);
}

#[tokio::test]
async fn who_has_waited_too_long_is_told_so() {
    let backend = holding().await;
    for filter in ["fifo", "lifo", "fifoWithBody", "lifoWithBody"] {
        let routes = format!(r#"r: * -> {filter}(1, 2, "10s") -> "{}""#, backend.url());
        let world = World::with(Setup { by_hand: true, ..Setup::default() }, &routes).await;
        let mut clients = world.line_up(filter, &["/hold1", "/2"]).await;
        let waited = clients.pop().unwrap();
        let mut late = tokio::spawn(async move {
            let mut client = waited;
            client.answer().await
        });
        world.hand.advance(Duration::from_secs(9));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut late).await.is_err(), "not yet");
        // The wait begins when the request does, on a core of its own: give it the whole of it from here.
        world.hand.advance(Duration::from_secs(10));
        let late = late.await.unwrap();
        let reason = format!("error=queue_timeout; route=\"r\"; filter=\"{filter}\"");
        assert_eq!((late.status, why(&late)), (502, reason));
        eventually("it left the queue", || world.queued(filter, "waiting") < 0.5).await;
        drop(clients);
        assert_eq!(world.ask("GET /free").await.brief(), "200 x");
    }
}

#[tokio::test]
async fn a_client_that_leaves_leaves_the_queue() {
    let backend = holding().await;
    let world = World::new(&format!(r#"r: * -> fifo(1, 1, "1h") -> "{}""#, backend.url())).await;
    let mut clients = world.line_up("fifo", &["/hold1", "/hold2"]).await;
    assert_eq!(world.ask("GET /full").await.status, 503);
    drop(clients.pop());
    eventually("the queue is empty", || world.queued("fifo", "waiting") < 0.5).await;
    let mut third = world.line_up("fifo", &["/3"]).await.remove(0);
    drop(clients);
    assert_eq!(third.answer().await.brief(), "200 x");
    eventually("all places are free", || world.queued("fifo", "running") < 0.5).await;
    assert_eq!(targets(&backend), ["/hold1", "/3"]);
}

#[tokio::test]
async fn a_place_is_free_at_the_head_of_the_response_or_at_the_end_of_its_body() {
    let backend = Backend::start(|seen: &Seen| match seen.target.as_str() {
        // A head and the first chunk of a body that never ends.
        "/endless" => {
            Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").then_stall()
        }
        _ => Reply::ok("x"),
    })
    .await;
    let status_beside_a_body = async |filter: &str| {
        let world = World::new(&format!(r#"r: * -> {filter} -> "{}""#, backend.url())).await;
        let mut endless = world.client().await;
        endless.send(message("GET /endless")).await;
        assert!(endless.some(10).await.starts_with(b"HTTP/1.1 2"));
        let beside = world.ask("GET /").await.status;
        drop(endless);
        world.settled().await;
        assert_eq!(world.ask("GET /").await.status, 200, "{filter}: the place is free again");
        beside
    };
    for head in [r#"fifo(1, 0, "1h")"#, "lifo(1, 0)", r#"lifoGroup("g", 1, 1, "1ms")"#] {
        assert_eq!(status_beside_a_body(head).await, 200, "{head}");
    }
    for body in [r#"fifoWithBody(1, 0, "1h")"#, "lifoWithBody(1, 0)"] {
        assert_eq!(status_beside_a_body(body).await, 503, "{body}");
    }
    assert_eq!(status_beside_a_body(r#"lifoGroupWithBody("g", 1, 1, "1ms")"#).await, 502, "it waits 1ms");
}

#[tokio::test]
async fn routes_of_a_group_share_a_queue_and_one_of_them_gives_the_numbers() {
    let backend = holding().await;
    let url = backend.url();
    let world = World::new(&format!(
        r#"a: Path("/hold") -> lifoGroup("r", 1, 1, "1h") -> "{url}"; b: * -> lifoGroup("r") -> "{url}";
           c: Path("/alone") -> lifo(1, 0) -> lifoGroup("r") -> "{url}";"#
    ))
    .await;
    let first = world.line_up("lifoGroup", &["/hold"]).await;
    let mut second = world.line_up("lifoGroup", &["/b"]).await.remove(0);
    // The newest pushes the one that waits out; then the route's own bound holds before the group's.
    let mut third = world.client().await;
    third.send(message("GET /alone")).await;
    assert_eq!(second.answer().await.status, 503);
    let alone = world.ask("GET /alone").await;
    assert_eq!((alone.status, why(&alone).as_str()), (503, "error=queue_full; route=\"c\"; filter=\"lifo\""));
    drop(first);
    assert_eq!(third.answer().await.brief(), "200 x");
    assert!((world.count("skipper_custom_gauges{key=\"lifo.r.active\"}")).abs() < 0.5);
}

#[tokio::test]
async fn a_reload_keeps_who_is_in_the_queue_and_other_numbers_hold_at_once() {
    let backend = holding().await;
    let world = World::new(&format!(r#"r: * -> fifo(1, 9, "1h") -> "{}""#, backend.url())).await;
    let _held = world.line_up("fifo", &["/hold1", "/hold2", "/hold3"]).await;
    world.put(&format!(r#"r: * -> fifo(2, 9, "1h") -> setRequestHeader("X-A", "b") -> "{}""#, backend.url()));
    let _late = world.line_up("fifo", &["/hold4"]).await;
    backend.wait_for(2).await;
    assert_eq!(targets(&backend), ["/hold1", "/hold2"]);
    assert!((world.queued("fifo", "running") - 2.0).abs() < 0.1);
    assert!((world.queued("fifo", "waiting") - 2.0).abs() < 0.1);
    // A table that is built and not put changes nothing.
    drop(world.table(&format!(r#"r: * -> fifo(9, 9, "1h") -> "{}""#, backend.url())));
    assert!((world.queued("fifo", "running") - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn of_several_queues_of_a_route_the_last_counts() {
    let backend = holding().await;
    let world = World::new(&format!(
        r#"r: * -> fifo(1, 0, "1h") -> lifo(1, 0) -> lifo(5) -> fifo(2, 0, "1h") -> "{}""#,
        backend.url()
    ))
    .await;
    let _held = world.line_up("fifo", &["/hold1", "/hold2"]).await;
    eventually("both are held", || backend.requests() == 2).await;
    assert_eq!(world.ask("GET /").await.status, 503);
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn cores_share_a_queue_and_lose_no_place() {
    let backend = Backend::saying("x").await;
    let world = World::with(
        Setup { workers: 2, ..Setup::default() },
        &format!(r#"r: * -> disableAccessLog() -> lifoWithBody(3, 4, "1m") -> "{}""#, backend.url()),
    )
    .await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = Client::connect(world.address).await;
        clients.spawn(async move {
            let mut served = 0;
            for _ in 0..100 {
                match client.ask(message("GET /")).await.status {
                    200 => served += 1,
                    other => assert_eq!(other, 503),
                }
            }
            served
        });
    }
    let served: usize = clients.join_all().await.into_iter().sum();
    assert!(served > 100, "{served}");
    eventually("all places are free", || world.queued("lifoWithBody", "running") < 0.5).await;
    assert!(backend.connections() <= 2 * 3 + 4, "{} connections for 3 places", backend.connections());
    for _ in 0..10 {
        assert_eq!(world.ask("GET /").await.status, 200);
    }
}
