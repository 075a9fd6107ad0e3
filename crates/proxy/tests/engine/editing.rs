//! Bodies that filters search and edit as they stream by, over real sockets.

use crate::world::{World, message, why};
use std::time::Duration;
use testkit::{Backend, Reply};

/// A body of a request in these chunks.
fn chunked(request: &str, chunks: &[&str]) -> String {
    let body: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    message(&format!("{request}\nTransfer-Encoding: chunked\n\n{body}0\r\n\r\n"))
}

#[tokio::test]
async fn sed_edits_across_chunks_and_holds_back_only_what_it_must() {
    let backend = Backend::start(|_| {
        Reply::status(200).chunks(["a fo", "o, fo", "x and foo"]).slowly(Duration::from_millis(40))
    })
    .await;
    let world = World::new(&format!(r#"r: * -> sed("foo", "bar") -> "{}""#, backend.url())).await;
    let mut client = world.client().await;
    client.send(message("GET /")).await;
    let mut first = Vec::new();
    while !first.ends_with(b"2\r\na \r\n") {
        let more = client.some(4096).await;
        assert!(!more.is_empty(), "{first:?}");
        first.extend(more);
    }
    let rest = String::from_utf8(client.some(4096).await).unwrap();
    assert!(rest.starts_with("5\r\nbar, \r\n"), "{rest}");
    assert_eq!(world.ask("GET /").await.brief(), "200 a bar, fox and bar");
}

#[tokio::test]
async fn an_edited_body_is_as_long_as_it_says() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(
        r#"r: * -> sed("[0-9]", "<digit>") -> sedRequestDelim("^(a|b)", "x", ",") -> wrapContent("[", "]") -> "{}""#,
        backend.url()
    ))
    .await;
    let answer = world.ask("POST /\n\na1,bb,cb").await;
    assert_eq!((answer.brief().as_str(), answer.complete), ("200 [x<digit>,xb,cb]", true));
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(backend.first().await.text(), "x1,xb,cb");
    let head = world.ask("HEAD /").await;
    assert_eq!((head.status, head.header("content-length")), (200, None));
}

#[tokio::test]
async fn a_body_that_would_be_held_too_long_is_refused_or_broken_off() {
    let backend = Backend::start(|seen| Reply::status(200).chunks(seen.body.chunks(64))).await;
    let world = World::new(&format!(
        r#"up: Path("/up") -> sedRequest("a.*b", "x", 100, "abort") -> "{0}";
           down: Path("/down") -> sed("a.*b", "x", 100, "abort") -> "{0}";"#,
        backend.url()
    ))
    .await;
    let long = "a".repeat(100);
    let answer = world.client().await.ask(chunked("POST /up", &[long.as_str(); 3])).await;
    assert_eq!(answer.status, 413);
    assert!(why(&answer).contains("more than 100 bytes"), "{}", why(&answer));
    let answer = world.client().await.ask(chunked("POST /down", &[long.as_str(); 3])).await;
    assert_eq!((answer.status, answer.complete), (200, false));
    assert_eq!(world.ask("POST /up\n\na short b").await.brief(), "200 x");
}

#[tokio::test]
async fn blocked_content_is_found_across_chunks_and_does_not_reach_the_backend() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(
        r#"r: * -> blockContent("evil", "worse") -> blockContentHex("000a") -> "{}""#,
        backend.url()
    ))
    .await;
    for chunks in [&["all ev", "il here"][..], &["e", "v", "i", "l"], &["no ev", "worse"], &["a\0", "\nb"]] {
        let answer = world.client().await.ask(chunked("POST /", chunks)).await;
        assert_eq!(answer.status, 400, "{chunks:?}");
        assert!(why(&answer).contains("found blocked content in the body"), "{}", why(&answer));
    }
    assert_eq!(world.ask("POST /\n\nthe evil").await.status, 400);
    assert!(backend.seen().iter().all(|seen| !seen.complete && !seen.text().contains('v')));
    let answer = world.client().await.ask(chunked("POST /", &["ev", "en l", "ess wors"])).await;
    assert_eq!(answer.brief(), "200 even less wors");
}
