//! How many spans come in a second, decoded and durable, and how long questions take then. `cargo run --release -p
//! tombolo-telemetry --example spans_bench -- FOLDER SPANS json|proto`; one core sends, the store's thread writes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where anything fails"
)]

use base::{Chance, Clock};
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use telemetry::spans::{Endpoint, Kind, Query, Settings, Span, SpanStore, TraceKey};
use telemetry::zipkin::{decode_json, decode_proto, encode_proto, write_spans};

/// Spans of a message, four to a trace.
const MESSAGE: u64 = 100;
const BEGAN_US: u64 = 1_764_158_400_000_000;
/// Spans of a second of the traffic that is made up.
const RATE: u64 = 3_000;

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

/// Kibibytes of memory that this process had at most, and has.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    format!("{}, {}", line("VmHWM"), line("VmRSS"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, count, format] = &arguments[..] else { panic!("FOLDER SPANS json|proto") };
    let count: u64 = count.parse().unwrap();
    let settings =
        Settings { keep_bytes: 1 << 40, keep_age: Duration::from_secs(1 << 40), ..Settings::default() };
    let (store, _) = SpanStore::open(folder.as_ref(), settings, Clock::system()).unwrap();
    let chance = Chance::seeded(1);
    let (mut busy, mut bytes, begun) = (Duration::ZERO, 0, Instant::now());
    let mut made = Duration::ZERO;
    for from in (0..count).step_by(MESSAGE as usize) {
        let making = Instant::now();
        let spans = spans(&chance, from);
        let message = if format == "json" {
            let mut text = String::new();
            write_spans(&mut text, &spans);
            text.into_bytes()
        } else {
            encode_proto(&spans)
        };
        made += making.elapsed();
        let taking = Instant::now();
        let decode = if format == "json" { decode_json } else { decode_proto };
        let spans = decode(&message).unwrap();
        bytes += message.len();
        while store.counts().waiting_bytes > 16 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        store.offer(spans).unwrap();
        busy += taking.elapsed();
    }
    store.flush().await;
    let took = begun.elapsed().saturating_sub(made);
    println!(
        "{count} spans of {} bytes in {took:.1?} beside making them: {:.0} a second; {}",
        bytes as u64 / count.max(1),
        count as f64 / took.as_secs_f64(),
        memory()
    );
    let end_ms = (BEGAN_US + count * 1_000_000 / RATE) / 1_000;
    for (name, make) in QUESTIONS {
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..100 {
            let mut query = Query { lookback_ms: 3_600_000, limit: 10, ..Query::default() };
            query.end_ms = end_ms - chance.below((end_ms - BEGAN_US / 1_000) as usize / 2) as u64;
            query.service = format!("service-{}", chance.below(20));
            make(&chance, &mut query);
            let asked = Instant::now();
            found += match name {
                "dependencies of an hour" => {
                    store.dependencies(query.end_ms - 3_600_000, query.end_ms).await.unwrap().len()
                }
                _ => store.search(query.check().unwrap()).await.unwrap().len(),
            };
            times.push(asked.elapsed());
        }
        times.sort();
        let mut line = String::new();
        _ = write!(line, "{name:<24} p50 {:>8.2?} p99 {:>8.2?}, {found} found", times[50], times[98]);
        println!("{line}");
    }
    println!("{}", memory());
}

type Make = fn(&Chance, &mut Query);

const QUESTIONS: [(&str, Make); 6] = [
    ("service and time", |_, _| {}),
    ("tag, common", |_, query| {
        query.annotations.insert("http.status_code".into(), "500".into());
    }),
    ("tag, rare", |chance, query| {
        query.annotations.insert("http.path".into(), format!("/api/items/{}", chance.below(5_000)));
    }),
    ("tag, not there", |_, query| {
        query.annotations.insert("http.path".into(), "/nowhere".into());
    }),
    ("duration", |_, query| query.duration_us_min = Some(200_000)),
    ("dependencies of an hour", |_, _| {}),
];
