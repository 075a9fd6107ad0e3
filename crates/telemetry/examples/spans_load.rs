//! The load of `bench/telemetry`: spans sent to a Tombolo as its clients send them, and questions asked of its Zipkin
//! API. Prints one line of JSON. Commands, with their settings as NAME=VALUE:
//!
//! - `send via=zipkin-json|zipkin-proto|otlp-grpc port=P spans=N`: so many spans over four connections.
//! - `ask port=P spans=N times=T`: each question so often, of a store that so many spans were sent to.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where anything fails"
)]

use base::Chance;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, TE};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use telemetry::spans::{Endpoint, Kind, Span, TraceKey};
use wire::{Body, Connection, Dialer, Origin, Request, Scheme, Speak};

/// Spans of a message, four to a trace.
const MESSAGE: u64 = 100;
const CONNECTIONS: u64 = 4;
/// When the traffic that is made up begins, in microseconds since 1970.
const BEGAN_US: u64 = 1_764_158_400_000_000;
/// Spans of a second of it.
const RATE: u64 = 3_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause after a server said that too much waits.
const BUSY: Duration = Duration::from_millis(20);

/// How spans are sent.
#[derive(Clone, Copy)]
enum Via {
    ZipkinJson,
    ZipkinProto,
    OtlpGrpc,
}

impl Via {
    fn of(name: &str) -> Self {
        match name {
            "zipkin-json" => Self::ZipkinJson,
            "zipkin-proto" => Self::ZipkinProto,
            "otlp-grpc" => Self::OtlpGrpc,
            other => panic!("`via={other}` is no way to send spans"),
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::ZipkinJson | Self::ZipkinProto => "/api/v2/spans",
            Self::OtlpGrpc => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::ZipkinJson => "application/json",
            Self::ZipkinProto => "application/x-protobuf",
            Self::OtlpGrpc => "application/grpc",
        }
    }

    fn encode(self, spans: &[Span]) -> Vec<u8> {
        match self {
            Self::ZipkinJson => {
                let mut text = String::new();
                telemetry::zipkin::write_spans(&mut text, spans);
                text.into_bytes()
            }
            Self::ZipkinProto => telemetry::zipkin::encode_proto(spans),
            Self::OtlpGrpc => {
                let message = telemetry::otlp::encode_proto(spans);
                let mut framed = vec![0];
                framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
                framed.extend_from_slice(&message);
                framed
            }
        }
    }
}

/// The spans of a message: twenty services that call each other four deep, one call of fifty an error.
fn spans(chance: &Chance, from: u64) -> Vec<Span> {
    let service = |depth: u64| format!("service-{}", (from / MESSAGE + depth) % 20);
    let mut trace = TraceKey::default();
    let span = |number: u64| {
        let depth = number % 4;
        if depth == 0 {
            trace = TraceKey { high: chance.bits(), low: chance.bits() };
        }
        let pair = |key: &str, value: String| (key.to_owned(), value);
        let mut tags = vec![
            pair("http.method", "GET".into()),
            pair("http.path", format!("/api/items/{}", chance.below(5_000))),
            pair("http.status_code", if chance.below(50) == 0 { "500" } else { "200" }.into()),
            pair("instance", format!("i-{}", chance.below(40))),
        ];
        if tags[2].1 == "500" {
            tags.push(pair("error", "500".into()));
        }
        tags.sort();
        Span {
            trace,
            parent: depth,
            id: depth + 1,
            kind: Some(if depth.is_multiple_of(2) { Kind::Server } else { Kind::Client }),
            name: format!("get /api/items/{}", number % 30),
            timestamp_us: BEGAN_US + number * 1_000_000 / RATE,
            duration_us: 500 + chance.below(200_000) as u64,
            local: Endpoint {
                service: service(depth),
                ipv4: Some([10, 0, 0, 1].into()),
                ..Endpoint::default()
            },
            remote: Endpoint { service: service(depth + 1), port: 8080, ..Endpoint::default() },
            tags,
            ..Span::default()
        }
    };
    (from..from + MESSAGE).map(span).collect()
}

/// A connection to the server.
struct Client {
    connection: Connection,
    host: HeaderValue,
}

impl Client {
    async fn connect(port: u16, speak: Speak) -> Self {
        let origin = Origin { scheme: Scheme::Http, host: "127.0.0.1".into(), port };
        let connection = Dialer::default().dial_speaking(&origin, speak).await.unwrap();
        Self { connection, host: HeaderValue::try_from(origin.host_header()).unwrap() }
    }

    async fn call(
        &mut self,
        method: Method,
        target: &str,
        fields: &[(HeaderName, &'static str)],
        body: Vec<u8>,
    ) -> (StatusCode, bool, Vec<u8>) {
        assert!(self.connection.ready().await, "the server closed the connection");
        let mut request = Request::new(if body.is_empty() { Body::empty() } else { Body::full(body) });
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        request.headers_mut().insert(HOST, self.host.clone());
        for (name, value) in fields {
            request.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
        }
        let sent = self.connection.send(request, (Instant::now() + PATIENCE).into()).await;
        let response = sent.map_err(|error| error.fault).unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let said = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        // gRPC says what is wrong in a header when there is nothing else to say.
        let code = said.trailers().and_then(|trailers| trailers.get("grpc-status"));
        let code = code.or_else(|| headers.get("grpc-status")).cloned();
        let busy = code.as_ref().is_some_and(|code| code == "14");
        assert!(busy || code.is_none_or(|code| code == "0"), "the call failed");
        (status, busy, said.to_bytes().to_vec())
    }

    async fn send(&mut self, via: Via, bytes: &[u8]) {
        loop {
            let fields = [(CONTENT_TYPE, via.content_type()), (TE, "trailers")];
            let fields = if matches!(via, Via::OtlpGrpc) { &fields[..] } else { &fields[..1] };
            let (status, busy, said) = self.call(Method::POST, via.path(), fields, bytes.to_vec()).await;
            if status != StatusCode::SERVICE_UNAVAILABLE && !busy {
                assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&said));
                return;
            }
            tokio::time::sleep(BUSY).await;
        }
    }
}

async fn send(asked: &Asked) -> Value {
    let (via, port, count) = (Via::of(asked.text("via")), asked.number("port") as u16, asked.number("spans"));
    let speak = if matches!(via, Via::OtlpGrpc) { Speak::Http2 } else { Speak::Http1 };
    let (chance, begun) = (Chance::seeded(1), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for nth in 0..CONNECTIONS {
        let chance = chance.fork();
        let mut client = Client::connect(port, speak).await;
        tasks.spawn(async move {
            let mut bytes = 0;
            for from in (nth * MESSAGE..count).step_by((MESSAGE * CONNECTIONS) as usize) {
                let message = via.encode(&spans(&chance, from));
                bytes += message.len();
                client.send(via, &message).await;
            }
            bytes
        });
    }
    let mut bytes = 0;
    while let Some(sent) = tasks.join_next().await {
        bytes += sent.unwrap();
    }
    json!({ "seconds": begun.elapsed().as_secs_f64(), "bytes": bytes })
}

/// What is asked, with what stands for the parts that are drawn.
type Ask = fn(&Chance, u64) -> String;

const QUESTIONS: [(&str, Ask); 6] = [
    ("by service and time", |chance, end| traces(chance, end, "")),
    ("by a common tag", |chance, end| traces(chance, end, "&annotationQuery=http.status_code%3D500")),
    ("by a rare tag", |chance, end| {
        traces(chance, end, &format!("&annotationQuery=http.path%3D/api/items/{}", chance.below(5_000)))
    }),
    ("by a tag that is not there", |chance, end| {
        traces(chance, end, "&annotationQuery=http.path%3D/nowhere")
    }),
    ("by duration", |chance, end| traces(chance, end, "&minDuration=200000")),
    ("dependencies of an hour", |_, end| format!("/api/v2/dependencies?endTs={end}&lookback=3600000")),
];

fn traces(chance: &Chance, end: u64, more: &str) -> String {
    let service = chance.below(20);
    format!("/api/v2/traces?serviceName=service-{service}&endTs={end}&lookback=3600000&limit=10{more}")
}

async fn ask(asked: &Asked) -> Value {
    let (port, count, times) = (asked.number("port") as u16, asked.number("spans"), asked.number("times"));
    let mut client = Client::connect(port, Speak::Http1).await;
    let (chance, end_ms) = (Chance::seeded(2), (BEGAN_US + count * 1_000_000 / RATE) / 1_000);
    let span_ms = end_ms - BEGAN_US / 1_000;
    let mut measured = serde_json::Map::new();
    for (name, target) in QUESTIONS {
        let (mut waits, mut bytes) = (Vec::new(), 0);
        for _ in 0..times {
            // Anywhere in the newer half.
            let end = end_ms - chance.below(span_ms as usize / 2) as u64;
            let target = target(&chance, end);
            let begun = Instant::now();
            let (status, _, said) = client.call(Method::GET, &target, &[], Vec::new()).await;
            waits.push(begun.elapsed());
            assert_eq!(status, StatusCode::OK, "{target}");
            bytes += said.len();
        }
        waits.sort();
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        measured.insert(
            name.into(),
            json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "bytes": bytes / waits.len() }),
        );
    }
    measured.into()
}

/// The settings that were given.
struct Asked(HashMap<String, String>);

impl Asked {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("`{name}=` is missing"))
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("`{name}=` is no number"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let command = args.next().expect("a command: send or ask");
    let pairs = args.map(|arg| {
        let (name, value) = arg.split_once('=').unwrap_or_else(|| panic!("`{arg}` is not NAME=VALUE"));
        (name.to_owned(), value.to_owned())
    });
    let asked = Asked(pairs.collect());
    let measured = match command.as_str() {
        "send" => send(&asked).await,
        "ask" => ask(&asked).await,
        other => panic!("`{other}` is no command"),
    };
    println!("{measured}");
}
