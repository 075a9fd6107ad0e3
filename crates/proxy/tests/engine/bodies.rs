//! Bodies in both directions: their framing, early answers, and what becomes of connections after them.

use crate::world::{World, brief, message, why};
use std::time::Duration;
use testkit::{Backend, Reply, eventually};

async fn one_backend(backend: &Backend) -> World {
    World::new(&format!(r#"r: * -> "{}""#, backend.url())).await
}

#[tokio::test]
async fn bodies_keep_their_framing() {
    let backend = Backend::start(|seen| {
        let framing = seen.header("content-length").or(seen.header("transfer-encoding")).unwrap_or("none");
        Reply::status(200).header("X-Framing", framing).chunks([seen.body.clone()])
    })
    .await;
    let world = one_backend(&backend).await;
    let chunked = "Transfer-Encoding: chunked\n\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n";
    for (request, framing, body) in [
        ("POST /\n\nabcde".to_owned(), "5", "abcde"),
        (format!("POST /\n{chunked}"), "chunked", "abcde"),
        // A body is unusual for GET and DELETE, but no less a body.
        (format!("GET /\n{chunked}"), "chunked", "abcde"),
        ("GET /\n\nabcde".to_owned(), "5", "abcde"),
        (format!("DELETE /\n{chunked}"), "chunked", "abcde"),
        ("POST /\nContent-Length: 0".to_owned(), "0", ""),
        ("GET /".to_owned(), "none", ""),
    ] {
        let answer = world.client().await.ask(message(&request)).await;
        assert_eq!(
            (answer.header("x-framing"), answer.text().as_str()),
            (Some(framing), body),
            "{request:?}"
        );
        assert!(answer.complete && answer.header("transfer-encoding") == Some("chunked"));
    }
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_passed_on() {
    let backend = Backend::echo().await;
    let world = one_backend(&backend).await;
    // RFC 9112 6.3: chunks win, and the length must not go on.
    let both = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    let answer = world.client().await.ask(both).await;
    assert!(answer.brief() == "200 abcde" || answer.status == 400, "{}", answer.brief());
    if let Some(seen) = backend.seen().first() {
        assert_eq!((seen.header("content-length"), seen.text().as_str()), (None, "abcde"));
    }
    for bad in [
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "Content-Length: +3\r\n\r\nabc",
        "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ] {
        let answer = world.client().await.ask(format!("POST / HTTP/1.1\r\nHost: h\r\n{bad}")).await;
        assert_eq!(answer.status, 400, "{bad:?}");
    }
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let backend = Backend::echo().await;
    let world = one_backend(&backend).await;
    let body: String = (0..300_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect::<String>() + "end";
    let answer = world.ask(&format!("POST /\n\n{body}")).await;
    assert!(answer.complete && answer.text() == body);
    let record = &world.records(1).await[0];
    assert_eq!(record["response-size"], body.len());
    assert!((world.count("tombolo_request_bytes_total{route=\"r\"}") - body.len() as f64).abs() < 0.5);
}

#[tokio::test]
async fn chunks_pass_one_by_one_as_they_come() {
    let backend =
        Backend::start(|_| Reply::status(200).chunks(["one", "two"]).slowly(Duration::from_millis(40))).await;
    let world = one_backend(&backend).await;
    let mut client = world.client().await;
    client.send(message("GET /")).await;
    let mut first = Vec::new();
    while !first.ends_with(b"one\r\n") {
        let more = client.some(4096).await;
        assert!(!more.is_empty());
        first.extend(more);
    }
    assert!(!first.windows(3).any(|window| window == b"two"), "the first chunk did not wait for the second");
    assert!(client.some(100).await.windows(3).any(|window| window == b"two"));
}

#[tokio::test]
async fn an_early_answer_does_not_let_a_later_request_wait_for_the_earlier_body() {
    let backend = Backend::early(|seen| match seen.target.as_str() {
        "/upload" => Reply::status(413).body("too much"),
        _ => Reply::ok("fine"),
    })
    .await;
    let world = one_backend(&backend).await;
    let mut uploader = world.client().await;
    uploader.send("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nsome").await;
    assert_eq!(uploader.answer().await.brief(), "413 too much", "the answer does not wait for the body");
    // The body never ends. Whoever comes next must not be put behind it.
    for _ in 0..3 {
        assert_eq!(world.ask("GET /").await.brief(), "200 fine");
    }
    drop(uploader);
    world.settled().await;
    assert_eq!(world.ask("GET /").await.brief(), "200 fine");
}

#[tokio::test]
async fn an_early_answer_leaves_nothing_of_the_body_to_the_next_request() {
    let backend = Backend::early(|seen| Reply::ok(seen.line())).await;
    let world = one_backend(&backend).await;
    let mut client = world.client().await;
    for round in 0..20 {
        client.send(format!("POST /{round} HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n")).await;
        assert_eq!(client.answer().await.brief(), format!("200 POST /{round}"));
        client.send("GET /smuggled HTTP/1.1\r\n\r\nxxxx").await;
    }
    eventually("all bodies", || backend.seen().len() == 20).await;
    assert!(backend.seen().iter().all(|seen| seen.method == "POST" && seen.body.len() == 30));
}

#[tokio::test]
async fn a_refused_upload_gets_its_answer_however_large_it_is() {
    let world = World::new(r#"r: * -> status(401) -> <shunt>"#).await;
    for _ in 0..5 {
        let mut client = world.client().await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n").await;
        client.send(vec![b'x'; 3_000_000]).await;
        assert_eq!(client.answer().await.status, 401);
    }
}

#[tokio::test]
async fn a_backend_that_breaks_off_breaks_off_the_answer() {
    let backend = Backend::start(|seen| {
        let reply = match seen.target.as_str() {
            "/length" => Reply::ok("0123456789").cut(48),
            "/chunks" => Reply::status(200).chunks(["0123456789", "more"]).cut(70),
            _ => Reply::status(200).chunks(["0123456789"]).cut(70),
        };
        if seen.target == "/reset" { reply.then_reset() } else { reply.then_close() }
    })
    .await;
    let world = one_backend(&backend).await;
    for target in ["/length", "/chunks", "/reset"] {
        let answer = world.ask(&format!("GET {target}")).await;
        assert_eq!((answer.status, answer.complete), (200, false), "{target}");
    }
    for record in world.records(3).await {
        assert_eq!(brief(&record), "200 cut short");
    }
    assert!((world.count("skipper_streaming_error_total{route=\"r\"}") - 3.0).abs() < 0.5);
}

#[tokio::test]
async fn a_body_that_is_no_http_is_the_clients_fault() {
    let backend = Backend::echo().await;
    let world = one_backend(&backend).await;
    let answer = world
        .client()
        .await
        .ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .await;
    assert_eq!(answer.status, 400);
    assert!(why(&answer).starts_with("error=http_request_error; route=\"r\""), "{}", why(&answer));
    assert_eq!(world.record().await, "400 http_request_error");
    assert!(
        backend.seen().iter().all(|seen| !seen.complete),
        "the backend can't take it for a whole request"
    );
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let backend = Backend::early(|_| Reply::nothing().then_stall()).await;
    let world = one_backend(&backend).await;
    let mut client = world.client().await;
    client.send(message("GET /")).await;
    eventually("the request at the backend", || backend.requests() == 1).await;
    drop(client);
    assert_eq!(world.record().await, "499 client_gone cut short");
    eventually("the connection to the backend closes", || backend.open() == 0).await;
    world.settled().await;
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_is_a_client_that_left() {
    let backend = Backend::echo().await;
    let world = one_backend(&backend).await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc").await;
    eventually("the request at the backend", || backend.requests() == 1).await;
    drop(client);
    let record = &world.records(1).await[0];
    assert_eq!((&record["status"], &record["reason"]), (&499.into(), &"client_gone".into()), "{record}");
    eventually("the connection to the backend closes", || backend.open() == 0).await;
    assert!(backend.seen().iter().all(|seen| !seen.complete));
}

#[tokio::test]
async fn a_client_that_leaves_within_its_answer_stops_the_backend() {
    let backend =
        Backend::start(|_| Reply::status(200).chunks(["x"; 10_000]).slowly(Duration::from_millis(5))).await;
    let world = one_backend(&backend).await;
    let mut client = world.client().await;
    client.send(message("GET /")).await;
    client.some(10).await;
    drop(client);
    assert_eq!(world.record().await, "200 cut short");
    eventually("the connection to the backend closes", || backend.open() == 0).await;
}

#[tokio::test]
async fn a_length_that_a_route_writes_can_not_deceive_anybody() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(
        r#"up: Path("/up") -> setRequestHeader("Content-Length", "2") -> "{0}";
           down: Path("/down") -> setResponseHeader("Content-Length", "2") -> "{0}";
           own: Path("/own") -> setResponseHeader("Content-Length", "200") -> inlineContent("hello") -> <shunt>;"#,
        backend.url()
    ))
    .await;
    let mut client = world.client().await;
    for target in ["/up", "/down", "/own", "/up"] {
        let answer = client.ask(message(&format!("POST {target}\n\nhello"))).await;
        assert_eq!(
            (answer.brief().as_str(), answer.header("content-length")),
            ("200 hello", Some("5")),
            "{target}"
        );
    }
    assert!(backend.seen().iter().all(|seen| seen.header("content-length") == Some("5")));
}
