//! Clients that speak HTTP/2: what their requests look like behind us, and what bounds them.

use crate::world::{Setup, World, message, why};
use h2::Reason;
use std::time::Duration;
use testkit::{After, Backend, Client, H2Backend, H2Client, PATIENCE, Reply, eventually};
use wire::Limits;

async fn one_backend(backend: &Backend) -> World {
    World::new(&format!(r#"r: * -> "{}""#, backend.url())).await
}

fn with(limits: Limits) -> Setup {
    Setup { limits, ..Setup::default() }
}

#[tokio::test]
async fn a_request_looks_to_backends_as_any_other() {
    let backend = Backend::start(|seen| {
        Reply::status(201).header("Connection", "X-Hop").header("X-Hop", "1").body(seen.body.clone())
    })
    .await;
    let world =
        World::new(&format!(r#"r: Host(/^shop[.]example$/) -> preserveHost("true") -> "{}""#, backend.url()))
            .await;
    let mut client = world.h2().await;
    let answer = client.ask("POST /a%20b?q=1\nte: trailers\ncookie: a=1\ncookie: b=2\nx-a: 1\n\nhello").await;
    assert_eq!((answer.brief().as_str(), answer.header("server")), ("201 hello", Some("Tombolo")));
    assert_eq!((answer.header("connection"), answer.header("x-hop")), (None, None));
    let seen = backend.first().await;
    assert_eq!((seen.line().as_str(), seen.header("host")), ("POST /a%20b?q=1", Some("shop.example")));
    assert_eq!((seen.header("cookie"), seen.header("te")), (Some("a=1; b=2"), Some("trailers")));
    assert_eq!((seen.text().as_str(), seen.header("x-a")), ("hello", Some("1")));
    assert_eq!(client.ask("OPTIONS *").await.status, 201);
    assert_eq!(backend.seen()[1].line(), "OPTIONS *");
    let record = &world.records(2).await[0];
    assert_eq!((&record["proto"], &record["requested-host"]), (&"HTTP/2.0".into(), &"shop.example".into()));
    assert_eq!((&record["request-size"], &record["uri"]), (&5.into(), &"/a%20b?q=1".into()));
}

#[tokio::test]
async fn both_protocols_are_served_on_one_port_unless_switched_off() {
    let world = World::new("r: * -> inlineContent(\"x\") -> <shunt>").await;
    assert_eq!(world.h2().await.ask("GET /").await.brief(), "200 x");
    assert_eq!(world.ask("GET /").await.brief(), "200 x");
    assert_eq!(world.ask("PATCH /").await.brief(), "200 x", "it begins as the preface does");
    let off = World::with(with(Limits { h2c: false, ..Limits::default() }), "r: * -> <shunt>").await;
    let mut client = off.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // hyper closes without a word.
    let told = client.closed().await;
    assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 505 "), "{}", String::from_utf8_lossy(&told));
}

#[tokio::test]
async fn many_requests_share_a_connection_up_to_a_bound() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/slow" => Reply::status(200).chunks(["a"; 5]).slowly(Duration::from_millis(20)),
        _ => Reply::ok("fast"),
    })
    .await;
    let routes = format!(r#"r: * -> "{}""#, backend.url());
    let world = World::with(with(Limits { streams: 2, ..Limits::default() }), &routes).await;
    let mut client = world.h2().await;
    assert_eq!(client.ask("GET /").await.brief(), "200 fast");
    let (slow, other) = (client.begin("GET /slow", true).await, client.begin("GET /slow", true).await);
    eventually("both at the backend", || backend.requests() == 3).await;
    let third = client.begin("GET /third", true).await;
    let (slow, other) = tokio::join!(slow.answer(), other.answer());
    assert_eq!((slow.brief(), other.brief()), ("200 aaaaa".to_owned(), "200 aaaaa".to_owned()));
    assert_eq!(third.answer().await.brief(), "200 fast");
    let order: Vec<_> = backend.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(order, ["/", "/slow", "/slow", "/third"]);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let backend = H2Backend::start(|mut request| async move {
        let (body, trailers) = request.all().await;
        let sum = trailers.get("x-sum").and_then(|sum| sum.to_str().ok()).unwrap_or("none").to_owned();
        let mut stream = request.answer(200, &[], false).unwrap();
        let _ = stream.send_data(body.into(), false);
        let back = http::HeaderMap::from_iter([("x-back".parse().unwrap(), sum.parse().unwrap())]);
        let _ = stream.send_trailers(back);
        After::Keep
    })
    .await;
    for filters in ["", "retry(1) ->", r#"setResponseHeader("a", "b") ->"#] {
        let world = World::new(&format!(r#"r: * -> {filters} "{}""#, backend.url())).await;
        let mut client = world.h2().await;
        let mut call = client.begin("POST /\nte: trailers", false).await;
        call.send("hello", false);
        let sum = http::HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
        call.body.send_trailers(sum).unwrap();
        let answer = call.answer().await;
        assert_eq!((answer.brief().as_str(), answer.complete), ("200 hello", true), "{filters}");
        assert_eq!(answer.trailers, [("x-back".to_owned(), "7".to_owned())], "{filters}");
    }
    let http1 = Backend::start(|_| {
        Reply::status(200).header("Trailer", "X-Sum").chunks(["body"]).trailer("X-Sum", "7")
    })
    .await;
    let answer = one_backend(&http1).await.h2().await.ask("GET /\nte: trailers").await;
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn heads_beyond_the_bounds_are_refused_and_nothing_else_is() {
    let limits = Limits { header_bytes: 16 << 10, headers: 50, ..Limits::default() };
    let world = World::with(with(limits), "r: * -> status(200) -> <shunt>").await;
    let mut client = world.h2().await;
    let long = format!("GET /\nx-a: {}", "x".repeat(17 << 10));
    assert_eq!(client.ask(&long).await.status, 431);
    let many = |count: usize| (0..count).fold("GET /".to_owned(), |head, i| format!("{head}\nx-{i}: 1"));
    assert_eq!(client.ask(&many(51)).await.status, 431);
    assert_eq!(client.ask(&many(50)).await.status, 200, "the connection goes on");
    let over = many(51).split_once('\n').unwrap().1.to_owned();
    assert_eq!(world.ask(&format!("GET /\n{over}")).await.status, 431, "over HTTP/1.1 as well");
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let world = World::new("r: * -> status(200) -> <shunt>").await;
    // The client's library would not send one: HEADERS on stream 1 with :method GET, :scheme http, :path /.
    let mut client = world.client().await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    client.send(b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84").await;
    let mut bytes = Vec::new();
    // :status 400 is index 12 of the static table.
    while !bytes.windows(10).any(|frame| frame[3] == 1 && frame[9] == 0x8c) {
        bytes.extend(client.some(1000).await);
        assert!(bytes.len() < 10_000, "{bytes:?}");
    }
    assert!(world.record().await.starts_with("400 attempts=0 http_request_error"));
}

#[tokio::test]
async fn a_body_larger_than_allowed_is_refused_but_the_connection_stays() {
    let backend = Backend::echo().await;
    let settings = proxy::Settings { body_bytes: Some(1000), ..proxy::Settings::default() };
    let routes = format!(r#"r: * -> "{}""#, backend.url());
    let world = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    let mut client = world.h2().await;
    let answer = client.ask(&format!("POST /\n\n{}", "x".repeat(1001))).await;
    assert_eq!(answer.status, 413, "{}", why(&answer));
    let answer = client.ask(&format!("POST /\ncontent-length: 1001\n\n{}", "x".repeat(1001))).await;
    assert_eq!(
        (answer.status, why(&answer).as_str()),
        (413, "error=http_request_error; details=\"the body is larger than allowed\"")
    );
    assert_eq!(client.ask(&format!("POST /\n\n{}", "x".repeat(1000))).await.status, 200);
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_read_for_a_while_before_the_answer() {
    let world = World::new("r: * -> inlineContent(\"early\") -> <shunt>").await;
    let mut client = world.h2().await;
    let mut call = client.begin("POST /", false).await;
    for _ in 0..64 {
        call.body.reserve_capacity(16 << 10);
        while call.body.capacity() == 0 {
            let more = std::future::poll_fn(|cx| call.body.poll_capacity(cx));
            let more = tokio::time::timeout(PATIENCE, more).await.expect("all of it is taken");
            more.expect("the stream is open").unwrap();
        }
        let capacity = call.body.capacity();
        call.body.send_data(vec![0; capacity].into(), false).unwrap();
    }
    let begun = tokio::time::Instant::now();
    call.send("", true);
    assert_eq!(call.answer().await.brief(), "200 early");
    assert!(begun.elapsed() < Duration::from_secs(1), "it comes with the end of the request");

    // Who does not end is not waited for for ever, and who calls by gRPC not at all.
    let endless = client.begin("POST /", false).await;
    let grpc = client.begin("POST /\ncontent-type: application/grpc", false).await;
    for (mut call, waits) in [(endless, true), (grpc, false)] {
        let begun = tokio::time::Instant::now();
        assert_eq!(call.head().await.unwrap().status(), 200);
        assert_eq!(begun.elapsed() > Duration::from_secs(1), waits);
        assert_eq!(call.piece().await.unwrap().unwrap(), "early");
        let ended = std::future::poll_fn(|cx| call.body.poll_reset(cx));
        assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap(), Reason::NO_ERROR);
    }
    assert_eq!(client.ask("GET /").await.brief(), "200 early");
}

#[tokio::test]
async fn who_does_not_take_a_response_loses_that_alone() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/endless" => Reply::status(200).chunks(vec!["x".repeat(16 << 10); 1000]),
        _ => Reply::ok("x"),
    })
    .await;
    let limits = Limits { write_timeout: Duration::from_millis(100), ..Limits::default() };
    let world = World::with(with(limits), &format!(r#"r: * -> "{}""#, backend.url())).await;
    let mut client = H2Client::with(
        world.address,
        h2::client::Builder::new().initial_window_size(100_000).initial_connection_window_size(1 << 20),
    )
    .await;
    let mut stalled = client.begin("GET /endless", true).await;
    assert_eq!(stalled.head().await.unwrap().status(), 200);
    for _ in 0..10 {
        assert_eq!(client.ask("GET /").await.brief(), "200 x", "others go on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("the backend's connection closes", || backend.open() == 1).await;
    let ended = loop {
        match stalled.piece().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error.reason(),
            None => break None,
        }
    };
    assert_eq!(ended, Some(Reason::CANCEL));
    let records = world.records(11).await;
    let cut: Vec<_> = records.iter().filter(|record| record["cut-short"] == true).collect();
    assert_eq!((cut.len(), &cut[0]["uri"]), (1, &"/endless".into()));
}

#[tokio::test]
async fn who_takes_a_request_back_leaves_nothing_behind() {
    let backend = Backend::start(|_| Reply::nothing().then_stall()).await;
    let world = one_backend(&backend).await;
    let mut client = world.h2().await;
    let mut call = client.begin("POST /", false).await;
    call.send("part", false);
    let mut waiting = client.begin("GET /", true).await;
    eventually("both at the backend", || backend.requests() == 2).await;
    call.body.send_reset(Reason::CANCEL);
    waiting.body.send_reset(Reason::CANCEL);
    eventually("both connections to the backend close", || backend.open() == 0).await;
    world.settled().await;
    for record in world.records(2).await {
        assert_eq!((&record["status"], &record["reason"]), (&499.into(), &"client_gone".into()));
    }
}

#[tokio::test]
async fn a_flood_of_requests_taken_back_at_once_ends_the_connection() {
    let world =
        World::new(r#"r: * -> latency("1h") -> <shunt>; fast: Path("/fast") -> status(200) -> <shunt>"#)
            .await;
    let mut client = world.h2().await;
    for _ in 0..450 {
        assert_eq!(client.ask("GET /fast").await.status, 200);
    }
    // 400 are as many as anybody may change their mind about; 500 of 951 are not.
    for round in 1..=5 {
        let mut calls = Vec::new();
        for _ in 0..100 {
            calls.push(client.begin("GET /", true).await);
        }
        // Sent and on their way, or the client would not even send them.
        eventually("they are under way", || world.count("tombolo_requests_in_flight") > 99.0).await;
        for call in &mut calls {
            call.body.send_reset(Reason::CANCEL);
        }
        world.settled().await;
        if round == 4 {
            assert_eq!(client.ask("GET /fast").await.status, 200);
        }
    }
    client.closed().await;
}

#[tokio::test]
async fn a_drain_says_goaway_and_finishes_what_is_under_way() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/slow" => Reply::status(200).chunks(["a"; 20]).slowly(Duration::from_millis(10)),
        _ => Reply::ok("x"),
    })
    .await;
    let mut world = one_backend(&backend).await;
    let (mut idle, mut busy) = (world.h2().await, world.h2().await);
    let (fresh, mut bare) = (world.h2().await, world.client().await);
    assert_eq!(idle.ask("GET /").await.status, 200);
    bare.send("PRI * HT").await;
    let slow = busy.begin("GET /slow", true).await;
    eventually("it is at the backend", || backend.requests() == 2).await;
    world.drainer.drain();
    assert!(idle.closed().await && fresh.closed().await, "idle ones end without an error");
    assert_eq!(bare.closed().await, b"");
    assert_eq!(slow.answer().await.text().len(), 20);
    assert!(busy.closed().await);
    let served = world.served.take().unwrap();
    tokio::time::timeout(PATIENCE, served.ended()).await.expect("the drain ends with the last request");
}

#[tokio::test]
async fn idle_connections_end_whatever_their_clients_have_said() {
    let limits = Limits { idle_timeout: Duration::from_millis(50), ..Limits::default() };
    let world = World::with(with(limits), "r: * -> status(200) -> <shunt>").await;
    let mut used = world.h2().await;
    assert_eq!(used.ask("GET /").await.status, 200);
    assert!(used.closed().await);
    for begun in ["", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = Client::connect(world.address).await;
        client.send(begun).await;
        client.closed().await;
    }
    // Busy ones do not.
    let slow = World::with(
        with(Limits { idle_timeout: Duration::from_millis(50), ..Limits::default() }),
        "r: * -> latency(\"300ms\") -> status(200) -> <shunt>",
    )
    .await;
    assert_eq!(slow.h2().await.ask("GET /").await.status, 200);
    assert_eq!(slow.client().await.ask(message("GET /")).await.status, 200);
}
