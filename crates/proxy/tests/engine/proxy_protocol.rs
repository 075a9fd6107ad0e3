//! The PROXY protocol in front of connections: whose word counts, and what it changes.

use crate::tls::Pair;
use crate::world::{Setup, World, message};
use proxy::{Settings, net};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Backend, Client, H2Client};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use wire::{Limits, ProxyProtocol};

const LINE: &str = "PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n";

fn trusting(allow: &[&str], skip: &[&str], deny: &[&str]) -> Limits {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let protocol = ProxyProtocol { allow: networks(allow), skip: networks(skip), deny: networks(deny) };
    Limits { proxy_protocol: Some(Arc::new(protocol)), ..Limits::default() }
}

async fn world(limits: Limits, backend: &Backend) -> World {
    let forwarded = net::ForwardedHeaders {
        forwarded_for: net::ForwardedFor::Append,
        port: Some(net::Told::Auto),
        ..net::ForwardedHeaders::default()
    };
    let settings = Settings { forwarded: Some(forwarded), ..Settings::default() };
    let routes =
        format!(r#"r: Source("203.0.113.0/24") -> "{0}"; l: * -> setPath("/other") -> "{0}""#, backend.url());
    World::with(Setup { settings, limits, ..Setup::default() }, &routes).await
}

#[tokio::test]
async fn the_client_is_whom_a_trusted_balancer_names() {
    let backend = Backend::echo().await;
    let world = world(trusting(&["127.0.0.0/8"], &[], &[]), &backend).await;
    let mut client = world.client().await;
    // In pieces, and with the request close behind.
    client.send(&LINE[..10]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.send(format!("{}{}", &LINE[10..], message("GET /a"))).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.ask(message("GET /b")).await.status, 200, "it is said once for a connection");
    for (seen, line) in backend.seen().iter().zip(["GET /a", "GET /b"]) {
        assert_eq!((seen.line().as_str(), seen.header("x-forwarded-for")), (line, Some("203.0.113.7")));
        assert_eq!(seen.header("x-forwarded-port"), Some("443"));
    }
    assert_eq!(world.records(2).await[0]["host"], "203.0.113.7");
    let mut second = world.client().await;
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([203, 0, 113, 9, 198, 51, 100, 1, 0, 1, 0, 80]);
    header.extend(message("GET /v2").bytes());
    second.send(header).await;
    assert_eq!(second.answer().await.status, 200);
    assert_eq!(backend.seen()[2].header("x-forwarded-for"), Some("203.0.113.9"));
    let mut local = world.client().await;
    local.send(format!("PROXY UNKNOWN\r\n{}", message("GET /local"))).await;
    assert_eq!(local.answer().await.status, 200);
    assert_eq!(backend.seen()[3].line(), "GET /other", "who is not named is the balancer itself");
}

/// A client that speaks HTTP/2 behind these bytes, with TLS or without.
async fn http2_behind(pair: &Pair, first: &str, mut stream: TcpStream, tls: bool) -> H2Client {
    stream.write_all(first.as_bytes()).await.unwrap();
    let settings = h2::client::Builder::new();
    if !tls {
        return H2Client::over(stream, &settings, "http").await;
    }
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    let pem = std::fs::read(pair.file("cert.pem")).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    wire::install_crypto();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    H2Client::over(stream, &settings, "https").await
}

#[tokio::test]
async fn it_comes_before_tls_and_before_http_2() {
    let backend = Backend::echo().await;
    let pair = Pair::new();
    let limits = trusting(&["127.0.0.1/32"], &[], &[]);
    let setup = Setup { limits: limits.clone(), ..pair.server() };
    let routes = format!(r#"r: Source("203.0.113.7") -> "{}""#, backend.url());
    let over_tls = World::with(setup, &routes).await;
    let plain = World::with(Setup { limits, ..Setup::default() }, &routes).await;
    for (world, tls) in [(over_tls, true), (plain, false)] {
        let stream = TcpStream::connect(world.address).await.unwrap();
        let mut client = http2_behind(&pair, LINE, stream, tls).await;
        assert_eq!(client.ask("GET /").await.status, 200);
    }
}

#[tokio::test]
async fn whose_word_does_not_count_is_closed_on() {
    let backend = Backend::echo().await;
    let refused = async |limits: Limits, sent: String| {
        let world = world(limits, &backend).await;
        let mut client = Client::connect(world.address).await;
        client.send(sent).await;
        assert_eq!(client.closed().await, b"");
    };
    let all = ["127.0.0.0/8"];
    refused(trusting(&["10.0.0.0/8"], &[], &[]), format!("{LINE}{}", message("GET /"))).await;
    refused(trusting(&all, &[], &all), format!("{LINE}{}", message("GET /"))).await;
    refused(trusting(&[], &[], &[]), message("GET /")).await;
    for malformed in ["PROXY TCP4 1.2.3.4\r\n", "PROXY TCP5 1 2 3 4\r\n", ""] {
        refused(trusting(&all, &[], &[]), format!("{malformed}{}", message("GET /"))).await;
    }
    // Too slow.
    let hasty = Limits { handshake_timeout: Duration::from_millis(50), ..trusting(&all, &[], &[]) };
    refused(hasty.clone(), "PROXY TCP4 203.0.113.7".to_owned()).await;
    refused(hasty, String::new()).await;
    assert_eq!(backend.requests(), 0);
    // Health checks come without.
    let world = world(trusting(&[], &all, &[]), &backend).await;
    assert_eq!(world.ask("GET /").await.status, 200);
    let answer = world.client().await.ask(format!("{LINE}{}", message("GET /"))).await;
    assert_eq!(answer.status, 400, "and who says more than it may is no client of HTTP");
}
