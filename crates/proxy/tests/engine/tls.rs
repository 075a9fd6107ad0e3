//! TLS on both sides: the protocol is agreed on in the handshake.

use crate::upgrades::Shouting;
use crate::world::{Setup, World};
use proxy::Settings;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use testkit::{Client, eventually};
use wire::{ClientTls, Dialer, Limits, Origin, ServerTls, Speak};

/// A certificate for `localhost` and what trusts it.
pub(crate) struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { folder }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn server(&self) -> Setup {
        let tls = ServerTls::from_files(&self.file("cert.pem"), &self.file("key.pem")).unwrap();
        Setup { tls: Some(tls), ..Setup::default() }
    }

    pub(crate) fn dialer(&self, http2: bool) -> Dialer {
        let tls = ClientTls::from_file(&self.file("cert.pem")).unwrap();
        Dialer { tls: Some(tls), http2, ..Dialer::default() }
    }
}

#[tokio::test]
async fn both_ends_agree_on_the_best_protocol_they_know() {
    let pair = Pair::new();
    let inner = World::with(pair.server(), r#"r: * -> inlineContent("safe") -> <shunt>"#).await;
    let origin = Origin::parse(&format!("https://localhost:{}", inner.address.port())).unwrap();
    for (http2, expected) in [(true, "HTTP/2.0"), (false, "HTTP/1.1")] {
        let settings = Settings { dialer: pair.dialer(http2), ..Settings::default() };
        let outer =
            World::with(Setup { settings, ..Setup::default() }, &format!(r#"r: * -> "{origin}""#)).await;
        for _ in 0..3 {
            assert_eq!(outer.ask("GET /").await.brief(), "200 safe");
        }
        let count = if http2 { 3 } else { 6 };
        assert_eq!(inner.records(count).await.last().unwrap()["proto"], expected);
    }
    // A client that offers nothing gets HTTP/1.1.
    assert!(pair.dialer(true).dial_speaking(&origin, Speak::Http1).await.unwrap().can_upgrade());
    assert!(!pair.dialer(true).dial(&origin).await.unwrap().can_upgrade());
}

#[tokio::test]
async fn a_change_of_protocol_takes_a_connection_that_can_change() {
    let pair = Pair::new();
    let backend = Shouting::granting().await;
    let inner = World::with(pair.server(), &backend.route("")).await;
    let settings = Settings { dialer: pair.dialer(true), ..Settings::default() };
    let routes = format!(r#"r: * -> "https://localhost:{}""#, inner.address.port());
    let outer = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    let mut client = outer.client().await;
    assert_eq!(client.ask(crate::upgrades::ASK).await.status, 101);
    client.send("through two gateways").await;
    assert_eq!(client.exactly(20).await, b"THROUGH TWO GATEWAYS");
    client.finish().await;
    assert_eq!(client.closed().await, b"goodbye");
    backend.all_closed().await;
}

#[tokio::test]
async fn whom_nobody_vouches_for_is_not_asked() {
    let pair = Pair::new();
    let inner = World::with(pair.server(), "r: * -> status(200) -> <shunt>").await;
    let settings = Settings { dialer: Pair::new().dialer(true), ..Settings::default() };
    let routes = format!(r#"r: * -> "https://localhost:{}""#, inner.address.port());
    let outer = World::with(Setup { settings, ..Setup::default() }, &routes).await;
    assert_eq!(outer.ask("GET /").await.status, 502);
}

#[tokio::test]
async fn handshakes_are_bounded_in_time_and_in_number() {
    let pair = Pair::new();
    let limits = Limits { handshake_timeout: Duration::from_millis(500), handshakes: 2, ..Limits::default() };
    let setup = Setup { limits, ..pair.server() };
    let world = World::with(setup, "r: * -> status(200) -> <shunt>").await;
    let begun = tokio::time::Instant::now();
    let mut silent = [Client::connect(world.address).await, Client::connect(world.address).await];
    silent[0].send("\x16\x03\x01").await;
    // Late, so that it has time left when a place is free.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let served = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = served.clone();
    let origin = Origin::parse(&format!("https://localhost:{}", world.address.port())).unwrap();
    let dialer = pair.dialer(true);
    let third = tokio::spawn(async move {
        let connection = dialer.dial(&origin).await;
        told.store(true, std::sync::atomic::Ordering::SeqCst);
        connection.map(drop)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!served.load(std::sync::atomic::Ordering::SeqCst), "it waits for a place");
    for client in &mut silent {
        client.closed().await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert!(third.await.unwrap().is_ok(), "there was one in time");
    eventually("it is served", || served.load(std::sync::atomic::Ordering::SeqCst)).await;
}
