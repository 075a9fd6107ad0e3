//! Filters that make life hard, or look at it closely, over real sockets: made-up content, slow networks,
//! tarpits, absorbers and logs.

use crate::world::{World, message};
use std::time::Duration;
use testkit::Backend;

#[tokio::test]
async fn made_up_content_is_as_long_as_asked_for() {
    let world = World::new(
        r#"random: Path("/random") -> randomContent(100000) -> <shunt>;
           repeat: Path("/repeat") -> wrapContent("[", "0]") -> repeatContent("0, ", 297) -> <shunt>;
           hex: Path("/hex") -> repeatContentHex("00ff", 70001) -> <shunt>;"#,
    )
    .await;
    let mut client = world.client().await;
    let answer = client.ask(message("GET /random")).await;
    assert_eq!((answer.body.len(), answer.header("content-length")), (100_000, Some("100000")));
    assert!(answer.body.iter().all(u8::is_ascii_alphanumeric));
    let answer = client.ask(message("GET /repeat")).await;
    let zeros: Vec<u8> = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((zeros.len(), answer.header("content-length")), (100, Some("300")));
    let answer = client.ask(message("GET /hex")).await;
    assert!(answer.body.len() == 70_001 && answer.body.chunks(2).all(|pair| pair[0] == 0));
    let head = client.ask(message("HEAD /random")).await;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("100000"), 0));
}

#[tokio::test]
async fn bodies_come_no_faster_than_the_route_says() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(
        r#"slow: Path("/slow") -> bandwidth(100) -> "{0}"; up: Path("/up") -> backendBandwidth(100) -> "{0}";
           cut: Path("/cut") -> chunks(4000, "20ms") -> "{0}"; late: Path("/late") -> backendChunks(5000, 50) -> "{0}";"#,
        backend.url()
    ))
    .await;
    let body = "x".repeat(20 * 1024);
    for (target, least) in [("/slow", 200), ("/up", 200), ("/cut", 120), ("/late", 250)] {
        let begun = tokio::time::Instant::now();
        let answer = world.ask(&format!("POST {target}\n\n{body}")).await;
        assert!(answer.complete && answer.text() == body, "{target}");
        assert_eq!(answer.header("content-length"), Some("20480"));
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_millis(least) && took < Duration::from_secs(5),
            "{target} took {took:?}"
        );
    }
}

#[tokio::test]
async fn a_tarpit_gives_spaces_until_the_client_leaves() {
    let world = World::new(r#"r: * -> tarpit("20ms") -> <shunt>"#).await;
    let mut client = world.client().await;
    client.send(message("GET /")).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"1\r\n \r\n1\r\n \r\n") {
        let more = client.some(4096).await;
        assert!(!more.is_empty());
        seen.extend(more);
    }
    assert!(seen.starts_with(b"HTTP/1.1 200 "));
    drop(client);
    assert_eq!(world.record().await, "200 attempts=0 filter cut short");
    world.settled().await;
}

#[tokio::test]
async fn an_absorber_reads_to_the_end_and_tells_so() {
    let world = World::new(
        r#"told: Path("/told") -> absorb() -> <shunt>; silent: Path("/silent") -> absorbSilent() -> <shunt>"#,
    )
    .await;
    let answer = world.ask("POST /told\nX-Flow-Id: f1\n\nhello").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(world.ask("POST /silent\nX-Flow-Id: f2\n\nhello").await.status, 200);
    let malformed = "POST /silent\nX-Flow-Id: f3\nTransfer-Encoding: chunked\n\n3\r\nabc\r\nzz\r\n";
    world.ask(malformed).await;
    let lines = world.filter_lines(3).await;
    assert_eq!(
        &lines[..2],
        ["absorb route=told request f1 begins", "absorb route=told request f1 ends with 5 bytes"]
    );
    assert!(
        lines[2].starts_with("absorbSilent route=silent request f3 broke off after 3 bytes: "),
        "{lines:?}"
    );
}

#[tokio::test]
async fn what_is_logged_has_no_secrets_and_no_end_of_line() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(
        r#"r: * -> logHeader("request", "response") -> logBody("request", 4) -> logBody("response", 100) ->
           setResponseHeader("Set-Cookie", "s=secret") -> "{}""#,
        backend.url()
    ))
    .await;
    let request = "POST /a?b=c\nAuthorization: Bearer secret\nCookie: s=secret\nX-API-Key: secret\nX-Flow-Id: f1\n\none\ntwo";
    assert_eq!(world.ask(request).await.brief(), "200 one\ntwo");
    let lines = world.filter_lines(4).await;
    let of = |start: &str| lines.iter().filter(|line| line.starts_with(start)).cloned().collect::<Vec<_>>();
    let headers = of("logHeader route=r ");
    assert!(headers[0].contains("request POST /a?b=c | ") && headers[0].contains(" | authorization: *** | "));
    assert!(
        headers[1].contains("response 200 to POST /a?b=c | ") && headers[1].contains(" | set-cookie: ***")
    );
    assert!(headers[0].contains(" | x-flow-id: f1") && !lines.concat().contains("secret"), "{lines:?}");
    let bodies = of("logBody route=r ");
    assert_eq!(bodies, ["logBody route=r request f1: one\\n", "logBody route=r response f1: one\\ntwo"]);
}
