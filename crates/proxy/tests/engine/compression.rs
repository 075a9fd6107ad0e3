//! Compressed bodies over real sockets: what comes at once goes at once, and what went in comes out.

use crate::world::{World, message};
use std::io::Read as _;
use std::ops::Not as _;
use std::time::Duration;
use testkit::{Answer, Backend, Reply};

fn decoded(answer: &Answer) -> Vec<u8> {
    let mut out = Vec::new();
    let body = answer.body.as_slice();
    match answer.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut out).unwrap(),
        Some("deflate") => flate2::read::DeflateDecoder::new(body).read_to_end(&mut out).unwrap(),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut out).unwrap(),
        Some("zstd") => zstd::stream::read::Decoder::new(body).unwrap().read_to_end(&mut out).unwrap(),
        other => panic!("no coding but {other:?}"),
    };
    out
}

#[tokio::test]
async fn compressed_events_arrive_at_once() {
    let backend = Backend::start(|_| {
        let events = ["data: one\n\n", "data: two\n\n", "data: three\n\n"];
        let reply = Reply::status(200).header("Content-Type", "text/event-stream");
        reply.chunks(events).slowly(Duration::from_millis(200))
    })
    .await;
    let world =
        World::new(&format!(r#"r: * -> compress("...", "text/event-stream") -> "{}""#, backend.url())).await;
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let mut client = world.client().await;
        client.send(message(&format!("GET /\nAccept-Encoding: {coding}"))).await;
        let mut seen = Vec::new();
        // Were the first event held back, it would come together with the second.
        let event = loop {
            seen.extend(client.some(4096).await);
            let at = seen.windows(4).position(|window| window == b"\r\n\r\n");
            let chunks = at.map(|at| dechunked(&seen[at + 4..])).unwrap_or_default();
            let read = so_far(coding, &chunks);
            if read.ends_with(b"\n\n") {
                break read;
            }
        };
        assert_eq!(String::from_utf8(event).unwrap(), "data: one\n\n", "{coding}");
    }
}

/// The data of the chunks that are whole.
fn dechunked(mut text: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(at) = text.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&text[..at]).unwrap(), 16).unwrap();
        if text.len() < at + 2 + size + 2 {
            break;
        }
        data.extend_from_slice(&text[at + 2..at + 2 + size]);
        text = &text[at + 2 + size + 2..];
    }
    data
}

/// What the beginning of a coded body gives.
fn so_far(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn std::io::Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(body)),
        "deflate" => Box::new(flate2::read::DeflateDecoder::new(body)),
        "br" => Box::new(brotli::Decompressor::new(body, 1)),
        _ => Box::new(zstd::stream::read::Decoder::new(body).unwrap()),
    };
    let (mut out, mut byte) = (Vec::new(), [0]);
    // The body's end is still to come, so reading ends with an error.
    while let Ok(1) = reader.read(&mut byte) {
        out.push(byte[0]);
    }
    out
}

#[tokio::test]
async fn what_is_compressed_and_decompressed_again_is_the_same() {
    let text: String = (0..20_000).map(|at| format!("{} ", at * at)).collect();
    let content = text.clone();
    let backend = Backend::start(move |_| {
        Reply::ok(content.clone()).header("Content-Type", "text/html; charset=utf-8").header("ETag", "\"7\"")
    })
    .await;
    let world = World::new(&format!(
        r#"one: Path("/one") -> compress(5) -> "{0}";
           round: Path("/round") -> compress() -> decompress() -> compress(9) -> "{0}";
           plain: Path("/plain") -> decompress() -> compress() -> "{0}";"#,
        backend.url()
    ))
    .await;
    let mut client = world.client().await;
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for target in ["/one", "/round"] {
            let request = message(&format!("GET {target}\nAccept-Encoding: {coding}, x-other"));
            let answer = client.ask(request).await;
            assert_eq!(answer.header("content-encoding"), Some(coding));
            assert_eq!(
                (answer.header("vary"), answer.header("etag")),
                (Some("Accept-Encoding"), Some("\"7\""))
            );
            assert_eq!((answer.header("content-length"), answer.complete), (None, true));
            assert!(answer.body.len() < text.len() / 2);
            assert!(decoded(&answer) == text.as_bytes(), "{coding} {target}");
        }
        let answer = client.ask(message(&format!("GET /plain\nAccept-Encoding: {coding}"))).await;
        assert!(answer.header("content-encoding").is_none() && answer.text() == text, "{coding}");
    }
    let head = client.ask(message("HEAD /one\nAccept-Encoding: gzip")).await;
    assert_eq!((head.header("content-encoding"), head.header("content-length")), (Some("gzip"), None));
}

#[tokio::test]
async fn a_body_that_is_not_in_its_coding_breaks_off() {
    let backend = Backend::start(|_| Reply::ok("no gzip at all").header("Content-Encoding", "gzip")).await;
    let world = World::new(&format!(r#"r: * -> decompress() -> "{}""#, backend.url())).await;
    let mut client = world.client().await;
    client.send(message("GET /")).await;
    // The head may or may not have left by then; a whole answer it is not.
    assert!(client.try_answer("GET").await.is_ok_and(|answer| answer.complete).not());
    assert_eq!(world.record().await, "200 cut short");
}
