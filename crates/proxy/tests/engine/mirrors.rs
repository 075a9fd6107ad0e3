//! Copies of requests: they get everything and hold nobody up.

use crate::world::{Setup, World, message};
use proxy::Settings;
use testkit::{Backend, Reply, eventually};

#[tokio::test]
async fn a_mirror_gets_the_request_and_its_body() {
    let (backend, shadow) = (Backend::echo().await, Backend::saying("ignored").await);
    let world = World::new(&format!(
        r#"r: * -> setRequestHeader("X-A", "1") -> tee("{}", "^/v1/", "/v2/") -> "{}""#,
        shadow.url(),
        backend.url()
    ))
    .await;
    assert_eq!(world.ask("POST /v1/a?q=1\n\nhello").await.brief(), "200 hello");
    let seen = shadow.first().await;
    assert_eq!(
        (seen.line().as_str(), seen.text().as_str(), seen.complete),
        ("POST /v2/a?q=1", "hello", true)
    );
    assert_eq!(seen.header("host"), Some(shadow.address().to_string().as_str()));
    assert_eq!(seen.header("x-a"), Some("1"));
    assert_eq!(backend.first().await.line(), "POST /v1/a?q=1");
    assert_eq!(world.records(1).await.len(), 1);
}

#[tokio::test]
async fn a_mirror_gets_chunks_as_chunks() {
    let (backend, shadow) = (Backend::echo().await, Backend::saying("").await);
    let world = World::new(&format!(r#"r: * -> tee("{}") -> "{}""#, shadow.url(), backend.url())).await;
    for method in ["POST", "GET"] {
        let body = "Transfer-Encoding: chunked\n\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(world.ask(&format!("{method} /\n{body}")).await.brief(), "200 abcde");
    }
    eventually("both copies", || shadow.seen().len() == 2).await;
    assert!(shadow.seen().iter().all(|seen| seen.text() == "abcde" && seen.complete));
}

#[tokio::test]
async fn a_mirror_of_a_route_without_a_backend_gets_the_body_too() {
    let shadow = Backend::saying("").await;
    let world = World::new(&format!(r#"r: * -> tee("{}") -> status(202) -> <shunt>"#, shadow.url())).await;
    assert_eq!(world.ask("POST /\n\nhello").await.status, 202);
    let seen = shadow.first().await;
    assert_eq!((seen.text().as_str(), seen.complete), ("hello", true));
}

#[tokio::test]
async fn a_mirror_that_is_dead_slow_or_full_holds_nobody_up() {
    let backend = Backend::start(|seen| Reply::ok(seen.body.len().to_string())).await;
    let stuck = Backend::early(|_| Reply::nothing().then_stall()).await;
    let settings = Settings { mirrors: 3, ..Settings::default() };
    let routes = format!(
        r#"stuck: Path("/stuck") -> tee("{0}") -> "{2}"; dead: Path("/dead") -> tee("http://{1}") -> "{2}";"#,
        stuck.url(),
        Backend::refusing().await,
        backend.url()
    );
    let world = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    assert_eq!(world.ask("GET /dead").await.brief(), "200 0");
    // More than any socket buffers, to a mirror that reads nothing of it.
    let large = "x".repeat(20 << 20);
    for _ in 0..2 {
        assert_eq!(
            world.ask(&format!("POST /stuck\n\n{large}")).await.brief(),
            format!("200 {}", large.len())
        );
    }
    for _ in 0..5 {
        assert_eq!(world.ask("GET /stuck").await.brief(), "200 0");
    }
    assert!(world.count("tombolo_mirrors_dropped_total") > 0.5, "those without a place are not sent");
}

#[tokio::test]
async fn a_mirror_whose_connection_was_closed_meanwhile_gets_its_copy_all_the_same() {
    let backend = Backend::saying("ok").await;
    let shadow = Backend::start(|_| Reply::ok("").then_close_on_next()).await;
    let world = World::new(&format!(r#"r: * -> tee("{}") -> "{}""#, shadow.url(), backend.url())).await;
    for round in 1..=5 {
        assert_eq!(world.ask("GET /").await.brief(), "200 ok");
        eventually("the copy", || shadow.seen().len() == round).await;
    }
}

#[tokio::test]
async fn a_copy_can_go_through_the_table_again() {
    let (backend, shadow) = (Backend::echo().await, Backend::saying("x").await);
    let world = World::new(&format!(
        r#"r: * -> teeLoopback("test-a") -> "{}";
           test: Tee("test-a") && Traffic(1) -> setPath("/copy") -> "{}";"#,
        backend.url(),
        shadow.url()
    ))
    .await;
    let answer = world.client().await.ask(message("POST /a\n\nhello")).await;
    assert_eq!(answer.brief(), "200 hello");
    let seen = shadow.first().await;
    assert_eq!((seen.line().as_str(), seen.text().as_str()), ("POST /copy", "hello"));
    let mut routes: Vec<_> =
        world.records(2).await.iter().map(|r| r["route"].as_str().unwrap().to_owned()).collect();
    routes.sort_unstable();
    assert_eq!(routes, ["r", "test"]);
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn a_copy_of_the_response_goes_to_another_address() {
    let backend = Backend::start(|seen| {
        let reply = Reply::ok("hello").header("Content-Type", "text/plain");
        if seen.target == "/chunks" { reply.chunks(["one", "two"]) } else { reply }
    })
    .await;
    let archive = Backend::saying("ignored").await;
    let world = World::new(&format!(
        r#"r: * -> wrapContent("[", "]") -> teeResponse("{}/path") -> sed("l", "L") -> "{}""#,
        archive.url(),
        backend.url()
    ))
    .await;
    assert_eq!(world.ask("GET /").await.brief(), "200 [heLLo]");
    let seen = archive.first().await;
    // The body as it is at the filter's place: edited by the one behind, not yet wrapped by the one before.
    assert_eq!((seen.line().as_str(), seen.text().as_str(), seen.complete), ("POST /", "heLLo", true));
    assert_eq!(seen.header("host"), Some(archive.address().to_string().as_str()));
    assert_eq!(seen.header("content-type"), Some("text/plain"));
    assert_eq!(world.ask("GET /chunks").await.brief(), "200 [onetwo]");
    assert_eq!(archive.wait_for(2).await[1].text(), "onetwo");
    world.ask("HEAD /").await;
    world.settled().await;
    assert_eq!(archive.requests(), 2, "what has no body makes no copy");
}

#[tokio::test]
async fn a_copy_of_a_response_that_nobody_takes_holds_nobody_up() {
    let backend = Backend::start(|_| Reply::ok("x".repeat(500_000))).await;
    let stuck = Backend::early(|_| Reply::nothing().then_stall()).await;
    let settings = Settings { mirrors: 3, ..Settings::default() };
    let routes = format!(r#"r: * -> teeResponse("{}") -> "{}""#, stuck.url(), backend.url());
    let world = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    for _ in 0..6 {
        let answer = world.ask("GET /").await;
        assert!(answer.complete && answer.body.len() == 500_000);
    }
    eventually("some copies are under way", || stuck.requests() > 0).await;
}
