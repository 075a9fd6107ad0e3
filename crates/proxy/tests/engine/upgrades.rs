//! Connections that change their protocol: bytes pass both ways after the answer 101, and only after it.

use crate::world::{Setup, World, why};
use proxy::Settings;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::{Backend, PATIENCE, Reply, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub(crate) const ASK: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A backend that changes the protocol: it answers each head with these bytes, then shouts back what it hears,
/// and says goodbye when it hears no more.
pub(crate) struct Shouting {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    heads: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Shouting {
    /// One that grants what it is asked for.
    pub(crate) async fn granting() -> Self {
        Self::start(GRANT.to_owned()).await
    }

    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, heads) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
        let (count, seen) = (open.clone(), heads.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (count, seen, answer) = (count.clone(), seen.clone(), answer.clone());
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => break,
                        }
                    }
                    seen.lock().unwrap().push(String::from_utf8(head).unwrap().to_ascii_lowercase());
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..read].to_ascii_uppercase()).await.is_err() {
                            break;
                        }
                    }
                    let _ = stream.write_all(b"goodbye").await;
                    drop(stream);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, heads }
    }

    pub(crate) fn route(&self, filters: &str) -> String {
        format!(r#"r: * -> {filters} "http://{}""#, self.address)
    }

    pub(crate) async fn all_closed(&self) {
        eventually("the backend's connection closes", || self.open.load(Ordering::SeqCst) == 0).await;
    }
}

fn with(settings: Settings) -> Setup {
    Setup { settings, ..Setup::default() }
}

#[tokio::test]
async fn bytes_pass_both_ways_after_the_change_and_are_recorded() {
    let backend = Shouting::start(format!("{GRANT}first")).await;
    let world = World::new(&backend.route("")).await;
    let mut client = world.client().await;
    // The client need not wait for the answer, nor the backend for a first byte.
    client.send(format!("{ASK}early")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("WebSocket")));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(client.exactly(10).await, b"firstEARLY");
    let big = vec![b'x'; 1 << 20];
    client.send(&big).await;
    assert_eq!(client.exactly(1 << 20).await, big.to_ascii_uppercase());
    assert!((world.count("tombolo_requests_in_flight") - 1.0).abs() < 0.1, "it is under way all the time");
    let head = backend.heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("get /chat http/1.1") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("sec-websocket-key"), "{head}");
    client.finish().await;
    assert_eq!(client.closed().await, b"goodbye", "who says no more still hears");
    backend.all_closed().await;
    world.settled().await;
    let record = &world.records(1).await[0];
    assert_eq!((&record["status"], &record["uri"]), (&101.into(), &"/chat".into()));
    assert_eq!(record["request-size"], 5 + (1 << 20));
    assert_eq!(record["response-size"], 10 + 7 + (1 << 20));
    assert_eq!(record["cut-short"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_backend_that_refuses_answers_as_ever() {
    let backend = Backend::start(|_| Reply::status(426).header("Upgrade", "other").body("no")).await;
    let world = World::new(&format!(r#"r: * -> "{}""#, backend.url())).await;
    let mut client = world.client().await;
    for _ in 0..2 {
        assert_eq!(client.ask(ASK).await.brief(), "426 no");
    }
    assert_eq!(backend.connections(), 1, "both connections stay usable");
    assert_eq!(backend.first().await.header("upgrade"), Some("websocket"));
}

#[tokio::test]
async fn requests_that_may_not_change_the_protocol_are_plain_ones() {
    let backend =
        Backend::start(|seen| Reply::ok(seen.header("upgrade").unwrap_or("plain").to_owned())).await;
    let routes = format!(r#"r: * -> "{}""#, backend.url());
    let world = World::new(&routes).await;
    let off = World::with(with(Settings { upgrades: false, ..Settings::default() }), &routes).await;
    assert_eq!(off.client().await.ask(ASK).await.brief(), "200 plain");
    for request in [
        // Over HTTP/2 without our looking into it, a client could pass every filter by.
        "GET /\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "GET /\nUpgrade: websocket",
        "POST /\nConnection: Upgrade\nUpgrade: websocket\n\nbody",
    ] {
        assert_eq!(world.ask(request).await.brief(), "200 plain", "{request}");
    }
    let old = "GET / HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(world.client().await.ask(old).await.brief(), "200 plain");
    assert!(backend.seen().iter().all(|seen| seen.header("http2-settings").is_none()));
}

#[tokio::test]
async fn nobody_changes_to_what_was_not_asked_for() {
    let other = Shouting::start("HTTP/1.1 101 Switching Protocols\r\nUpgrade: irc\r\n\r\n".to_owned()).await;
    let world = World::new(&other.route("")).await;
    for request in [ASK, "GET /chat HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let answer = world.client().await.ask(request).await;
        assert_eq!(answer.status, 503, "{request}");
        let told = "error=http_protocol_error; route=\"r\"; details=\"the backend changes to a protocol that nobody asked for\"";
        assert_eq!(why(&answer), told);
    }
    other.all_closed().await;
}

#[tokio::test]
async fn filters_about_bodies_change_nothing() {
    let backend = Shouting::granting().await;
    let filters = r#"inlineContentIfStatus(101, "<html>") -> setResponseHeader("X-Seen", "1") ->"#;
    let world = World::new(&backend.route(filters)).await;
    let mut client = world.client().await;
    let answer = client.ask(ASK).await;
    assert_eq!((answer.status, answer.header("x-seen")), (101, Some("1")));
    assert_eq!((answer.header("content-length"), answer.header("content-type")), (None, None));
    client.send("hi").await;
    assert_eq!(client.exactly(2).await, b"HI");
}

#[tokio::test]
async fn a_filter_may_ask_elsewhere_instead() {
    let backend = Shouting::granting().await;
    let routes = format!(
        r#"{}; else: Path("/else") -> inlineContent("no chat today") -> <shunt>"#,
        backend.route(r#"loopbackIfStatus(101, "/else") ->"#).replace("r: *", "r: Path(\"/chat\")")
    );
    let world = World::new(&routes).await;
    assert_eq!(world.client().await.ask(ASK).await.brief(), "200 no chat today");
    backend.all_closed().await;
}

#[tokio::test]
async fn a_silent_tunnel_ends() {
    let backend = Shouting::granting().await;
    let settings = Settings { upgrade_idle_timeout: Duration::from_millis(50), ..Settings::default() };
    let world = World::with(with(settings), &backend.route("")).await;
    let mut client = world.client().await;
    assert_eq!(client.ask(ASK).await.status, 101);
    assert_eq!(client.closed().await, b"");
    backend.all_closed().await;
    assert_eq!(world.record().await, "101 cut short");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_tunnel() {
    let backend = Shouting::granting().await;
    let world = World::new(&backend.route("")).await;
    let mut client = world.client().await;
    assert_eq!(client.ask(ASK).await.status, 101);
    drop(client);
    backend.all_closed().await;
    world.settled().await;
}

#[tokio::test]
async fn a_drain_waits_for_tunnels_and_its_deadline_ends_them() {
    let backend = Shouting::granting().await;
    let mut world = World::new(&backend.route("")).await;
    let (mut one, mut two) = (world.client().await, world.client().await);
    assert_eq!((one.ask(ASK).await.status, two.ask(ASK).await.status), (101, 101));
    world.drainer.drain();
    let mut ended = Box::pin(world.served.take().unwrap().ended());
    assert!(tokio::time::timeout(Duration::from_millis(50), ended.as_mut()).await.is_err());
    one.send("still").await;
    assert_eq!(one.exactly(5).await, b"STILL");
    one.finish().await;
    assert_eq!(one.closed().await, b"goodbye");
    two.finish().await;
    two.closed().await;
    tokio::time::timeout(PATIENCE, ended).await.expect("the drain ends with the last tunnel");

    let world = World::new(&backend.route("")).await;
    let mut cut = world.client().await;
    assert_eq!(cut.ask(ASK).await.status, 101);
    drop(world);
    cut.closed().await;
    backend.all_closed().await;
}
