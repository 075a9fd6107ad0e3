//! Bodies that come bit by bit: each bit passes when it comes, over every pair of protocols.

use crate::world::{World, message};
use std::sync::Arc;
use testkit::{After, H2Backend};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

const EVENTS: [&str; 3] = ["data: one\n\n", "data: two\n\n", "data: three\n\n"];

/// A source of events over HTTP/1.1 that sends the next one when told to.
async fn source(next: Arc<Notify>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let next = next.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
                for event in EVENTS {
                    next.notified().await;
                    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                    let _ = stream.write_all(chunk.as_bytes()).await;
                }
                next.notified().await;
                let _ = stream.write_all(b"0\r\n\r\n").await;
            });
        }
    });
    url
}

/// The same over HTTP/2.
async fn h2_source(next: Arc<Notify>) -> H2Backend {
    H2Backend::start(move |mut request| {
        let next = next.clone();
        async move {
            let mut stream = request.answer(200, &[("content-type", "text/event-stream")], false).unwrap();
            for event in EVENTS {
                next.notified().await;
                let _ = stream.send_data(event.into(), false);
            }
            next.notified().await;
            let _ = stream.send_data("".into(), true);
            After::Keep
        }
    })
    .await
}

#[tokio::test]
async fn events_pass_as_they_come_over_every_pair_of_protocols() {
    let next = Arc::new(Notify::new());
    let (http1, http2) = (source(next.clone()).await, h2_source(next.clone()).await);
    for backend in [http1, http2.url()] {
        let filters = r#"setResponseHeader("Cache-Control", "no-store") -> retry(1)"#;
        let world = World::new(&format!(r#"r: * -> {filters} -> "{backend}""#)).await;
        let mut client = world.client().await;
        client.send(message("GET /events")).await;
        for event in EVENTS {
            next.notify_one();
            let mut heard = String::new();
            while !heard.ends_with(&format!("{event}\r\n")) {
                heard += &String::from_utf8(client.some(1000).await).unwrap();
            }
        }
        next.notify_one();
        assert_eq!(client.exactly(5).await, b"0\r\n\r\n");

        let mut client = world.h2().await;
        let mut call = client.begin("GET /events", true).await;
        let head = call.head().await.unwrap();
        assert_eq!(head.headers()["content-type"], "text/event-stream");
        for event in EVENTS {
            next.notify_one();
            assert_eq!(call.piece().await.unwrap().unwrap(), event);
        }
        next.notify_one();
        while let Some(piece) = call.piece().await {
            assert_eq!(piece.unwrap(), "");
        }
        assert_eq!(world.records(2).await[1]["response-size"], 35);
    }
}
