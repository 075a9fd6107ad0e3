//! Backends that speak HTTP/2: one connection for many requests, and what becomes of them when it ends.

use crate::world::{Setup, World, message, why};
use h2::Reason;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::{After, Backend, Client, H2Backend, H2Client, eventually};

fn route(backend: &H2Backend, filters: &str) -> String {
    format!(r#"r: * -> {filters} "{}""#, backend.url())
}

#[tokio::test]
async fn requests_are_translated_and_share_one_connection() {
    let backend = H2Backend::start(|mut request| async move {
        let (body, _) = request.all().await;
        let told = format!(
            "{} {} te={} connection={} host={} length={} {}",
            request.head.method,
            request.head.uri,
            request.header("te").unwrap_or("-"),
            request.header("connection").unwrap_or("-"),
            request.header("host").unwrap_or("-"),
            request.header("content-length").unwrap_or("-"),
            String::from_utf8_lossy(&body)
        );
        request.answer_whole(200, told);
        After::Keep
    })
    .await;
    let world = World::new(&format!(
        r#"r: * -> "{0}"; kept: Path("/kept") -> preserveHost("true") -> "{0}";"#,
        backend.url()
    ))
    .await;
    let mut client = world.client().await;
    let address = backend.address();
    let answer = client.ask(message("GET /a?b=c\nConnection: keep-alive\nTE: trailers, gzip")).await;
    assert_eq!(answer.text(), format!("GET http://{address}/a?b=c te=- connection=- host=- length=- "));
    let answer = client.ask(message("POST /kept\nHost: shop.example:81\n\nhello")).await;
    assert_eq!(answer.text(), "POST http://shop.example:81/kept te=- connection=- host=- length=5 hello");
    let chunked = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = client.ask(chunked).await;
    assert_eq!(answer.text(), format!("PUT http://{address}/ te=- connection=- host=- length=- hello"));
    assert_eq!(
        client.ask(message("OPTIONS *")).await.text().split(' ').nth(1).unwrap(),
        format!("http://{address}*")
    );
    let refused = client.ask(message("GET /kept\nHost: a b")).await;
    assert_eq!(refused.status, 400, "{}", why(&refused));
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_crowd_at_the_door_opens_one_connection() {
    let backend = H2Backend::echo().await;
    let world = World::new(&route(&backend, "")).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..50 {
        let mut client = Client::connect(world.address).await;
        clients.spawn(async move {
            let answer = client.ask(message(&format!("POST /\n\n{number}"))).await;
            assert_eq!(answer.brief(), format!("200 {number}"));
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!((backend.requests(), backend.connections()), (50, 1));
}

#[tokio::test]
async fn more_than_a_backend_takes_at_a_time_goes_over_more_connections() {
    let per_connection: Arc<[AtomicUsize; 16]> = Arc::default();
    let counts = per_connection.clone();
    let release = Arc::new(tokio::sync::Notify::new());
    let held = release.clone();
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(2);
    let backend = H2Backend::with(settings, move |mut request| {
        counts[request.connection].fetch_add(1, Ordering::SeqCst);
        let release = held.clone();
        async move {
            if request.head.uri.path() == "/slow" {
                release.notified().await;
            }
            request.answer_whole(200, "x");
            After::Keep
        }
    })
    .await;
    let world = World::new(&route(&backend, "")).await;
    // After the first answer the backend's settings are known.
    assert_eq!(world.ask("GET /").await.status, 200);
    let mut clients = tokio::task::JoinSet::new();
    for number in 1..=6 {
        let mut client = world.h2().await;
        clients.spawn(async move { client.ask("GET /slow").await.brief() });
        eventually("it is at the backend", || backend.requests() > number).await;
    }
    let counts = per_connection.iter().map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts.take(4).collect::<Vec<_>>(), [3, 2, 2, 0]);
    release.notify_waiters();
    while let Some(ended) = clients.join_next().await {
        assert_eq!(ended.unwrap(), "200 x");
    }
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn no_request_fails_because_the_backend_says_goaway() {
    let backend = H2Backend::start(|mut request| async move {
        let goaway = request.number % 7 == 0;
        let (body, _) = request.all().await;
        request.answer_whole(200, body);
        if goaway { After::GoAway } else { After::Keep }
    })
    .await;
    let world = World::new(&route(&backend, "disableAccessLog() ->")).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = world.client().await;
        clients.spawn(async move {
            for number in 0..250 {
                let answer = client.ask(message(&format!("PUT /\n\n{number}"))).await;
                assert_eq!(answer.brief(), format!("200 {number}"), "{}", why(&answer));
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(backend.connections() > 20, "{}", backend.connections());
}

/// A backend that resets the first so many requests with this reason.
async fn resetting(times: usize, reason: Reason) -> H2Backend {
    H2Backend::start(move |mut request| async move {
        if request.number < times {
            request.reset(reason);
        } else {
            let (body, _) = request.all().await;
            request.answer_whole(200, body);
        }
        After::Keep
    })
    .await
}

#[tokio::test]
async fn refused_requests_are_sent_again_when_all_of_them_is_there() {
    let backend = resetting(2, Reason::REFUSED_STREAM).await;
    let world = World::new(&route(&backend, "")).await;
    assert_eq!(world.ask("POST /").await.brief(), "200 ", "nothing was begun, so any method will do");
    assert_eq!((backend.requests(), world.record().await.as_str()), (3, "200"));

    let backend = resetting(2, Reason::REFUSED_STREAM).await;
    let world = World::new(&route(&backend, r#"retry(1, "connect") ->"#)).await;
    assert_eq!(world.ask("POST /\n\nkept").await.brief(), "200 kept");

    // It may be gone by the time of the refusal.
    let backend = resetting(1, Reason::REFUSED_STREAM).await;
    let world = World::new(&route(&backend, "")).await;
    let answer = world.ask("POST /\n\nsent once").await;
    assert_eq!(answer.status, 503);
    assert!(why(&answer).contains("takes no more requests on this connection"), "{}", why(&answer));

    let backend = resetting(100, Reason::REFUSED_STREAM).await;
    let world = World::new(&route(&backend, "")).await;
    assert_eq!(world.ask("GET /").await.status, 503);
    assert_eq!((backend.requests(), backend.connections()), (4, 2), "the last time on a new connection");
}

#[tokio::test]
async fn what_a_backend_broke_off_is_not_sent_again() {
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL] {
        let backend = resetting(1, reason).await;
        let world = World::new(&route(&backend, "")).await;
        world.ask("GET /").await;
        let answer = world.ask("GET /").await;
        assert_eq!((answer.brief().as_str(), backend.requests()), ("200 ", 2));
        let first = &world.records(2).await[0];
        assert_eq!((&first["status"], &first["reason"]), (&503.into(), &"connection_terminated".into()));
        let again = resetting(1, reason).await;
        let world = World::new(&route(&again, r#"retry(1, "reset") ->"#)).await;
        assert_eq!(world.ask("GET /").await.status, 200, "unless the route says so");
    }
}

#[tokio::test]
async fn a_cut_connection_ends_its_requests_and_the_next_gets_another() {
    let backend = H2Backend::start(|mut request| async move {
        match request.head.uri.path() {
            "/cut" => {
                // Dropped, it would be reset first.
                tokio::spawn(async move {
                    let _request = request;
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                });
                After::Cut
            }
            "/wait" => {
                let _ = request.piece().await;
                tokio::time::sleep(Duration::from_secs(3600)).await;
                After::Keep
            }
            _ => {
                request.answer_whole(200, "x");
                After::Keep
            }
        }
    })
    .await;
    let world = World::new(&route(&backend, "")).await;
    let (mut one, mut two) = (world.client().await, world.client().await);
    assert_eq!(one.ask(message("GET /")).await.status, 200);
    one.send(message("POST /wait\n\nbody")).await;
    eventually("it waits", || backend.requests() == 2).await;
    // That connection served before, as an idle one that was closed in passing: so GET is tried on another.
    assert_eq!(two.ask(message("GET /cut")).await.status, 503);
    assert_eq!(one.answer().await.status, 503, "its body is gone");
    assert_eq!(two.ask(message("GET /")).await.status, 200);
    assert_eq!(backend.requests(), 2 + 2 + 1);
}

#[tokio::test]
async fn a_backend_that_speaks_something_else_is_told() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(r#"r: * -> "h2c://{}""#, backend.address())).await;
    let answer = world.ask("GET /").await;
    assert_eq!(answer.status, 503, "{}", why(&answer));
    assert!(
        why(&answer).contains("error=http_protocol_error") && why(&answer).contains("not HTTP/2"),
        "{}",
        why(&answer)
    );
}

#[tokio::test]
async fn what_breaks_off_a_requests_body_is_told_as_over_http_1() {
    let backend = H2Backend::echo().await;
    let settings = proxy::Settings { body_bytes: Some(10), ..proxy::Settings::default() };
    let world =
        World::with(Setup { settings, ..Setup::default() }, &route(&backend, r#"readTimeout("50ms") ->"#))
            .await;
    let large = format!("POST /\nTransfer-Encoding: chunked\n\n14\r\n{}\r\n0\r\n\r\n", "x".repeat(20));
    assert_eq!(world.ask(&large).await.status, 413);
    let malformed = "POST /\nTransfer-Encoding: chunked\n\nxyz\r\n";
    assert_eq!(world.ask(malformed).await.status, 400);
    let mut slow = world.client().await;
    slow.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab").await;
    assert_eq!(slow.answer().await.status, 408);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_slow_client_holds_its_backend_back_and_nobody_else() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let backend = H2Backend::start(move |mut request| {
        let count = count.clone();
        async move {
            if request.head.uri.path() != "/endless" {
                request.answer_whole(200, "x");
                return After::Keep;
            }
            let mut stream = request.answer(200, &[], false).unwrap();
            loop {
                stream.reserve_capacity(16 << 10);
                let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                let Some(Ok(bytes)) = capacity else { return After::Keep };
                count.fetch_add(bytes, Ordering::SeqCst);
                let _ = stream.send_data(vec![0; bytes].into(), false);
            }
        }
    })
    .await;
    let world = World::new(&route(&backend, "")).await;
    let mut client = H2Client::with(
        world.address,
        h2::client::Builder::new().initial_window_size(64 << 10).initial_connection_window_size(1 << 20),
    )
    .await;
    let mut stalled = client.begin("GET /endless", true).await;
    stalled.head().await.unwrap();
    let mut before = usize::MAX;
    while before != sent.load(Ordering::SeqCst) {
        before = sent.load(Ordering::SeqCst);
        assert_eq!(client.ask("GET /").await.brief(), "200 x");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(before < 1 << 20, "{before} bytes are on their way to a client that takes none");
    drop((stalled, client));
    world.settled().await;
    assert_eq!((world.ask("GET /").await.brief().as_str(), backend.connections()), ("200 x", 1));
}

#[tokio::test]
async fn changes_of_protocol_are_not_asked_of_backends_that_know_none() {
    let backend = H2Backend::start(|mut request| async move {
        let upgrade = request.header("upgrade").unwrap_or("plain").to_owned();
        request.answer_whole(200, upgrade);
        After::Keep
    })
    .await;
    let world = World::new(&route(&backend, "")).await;
    assert_eq!(world.ask("GET /\nConnection: upgrade\nUpgrade: websocket").await.brief(), "200 plain");
}
