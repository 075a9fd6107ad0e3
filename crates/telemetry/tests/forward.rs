//! Spans that are sent on to another collector: all of them, compressed, with the headers it wants; again where it is
//! busy or away, and never what it refuses.

#![expect(clippy::unwrap_used, reason = "tests")]

use base::{Chance, Clock, UnixTime};
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use telemetry::otlp::{Collector, News, decode_proto, forward};
use telemetry::spans::{Endpoint, Settings, Span, SpanStore, TraceKey};
use testkit::{Backend, Reply};

fn span(id: u64) -> Span {
    Span {
        trace: TraceKey { high: 0, low: 7 },
        id,
        timestamp_us: 1_764_158_400_000_000,
        duration_us: 5,
        local: Endpoint { service: "shop".into(), ..Endpoint::default() },
        ..Span::default()
    }
}

/// A store whose spans are sent on to an address while time passes quickly.
struct World {
    store: SpanStore,
    told: Arc<Mutex<Vec<String>>>,
    running: tokio::task::JoinHandle<Result<(), base::Fault>>,
    passing: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(url: &str, bytes_max: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1_764_158_400)));
        let (store, _) = SpanStore::open(folder.path(), Settings::default(), clock.clone()).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tells = told.clone();
        let tell = move |news| {
            let text = match news {
                News::Away(fault) => format!("away: {fault}"),
                News::Back => "back".to_owned(),
                News::Refused(fault) => {
                    format!("refused: {fault}; {}", fault.hint.as_deref().unwrap_or_default())
                }
                News::Lost(count) => format!("lost {count}"),
            };
            tells.lock().unwrap().push(text);
        };
        let collector = Collector::new(url, "Authorization=Bearer%20s3cret, x-team=shop").unwrap();
        assert!(!format!("{collector:?}").contains("s3cret"));
        let follower = store.follow(bytes_max);
        let running = tokio::spawn(forward(follower, collector, clock, Chance::seeded(1), tell));
        let passing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                hand.advance(Duration::from_millis(500));
            }
        });
        Self { store, told, running, passing, _folder: folder }
    }

    /// Sends what waits, and ends.
    async fn end(self) -> Vec<String> {
        self.store.end_following();
        self.running.await.unwrap().unwrap();
        self.passing.abort();
        let told = self.told.lock().unwrap().clone();
        told.into_iter().map(|text| masked(&text)).collect()
    }
}

/// Without the port, which is another each time.
fn masked(text: &str) -> String {
    let Some((before, behind)) = text.split_once("127.0.0.1:") else { return text.to_owned() };
    format!("{before}HOST{}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn ids(body: &[u8]) -> Vec<u64> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut bytes).unwrap();
    decode_proto(&bytes).unwrap().spans.iter().map(|span| span.id).collect()
}

#[tokio::test]
async fn spans_are_sent_on_together_with_what_the_collector_wants_to_know() {
    let backend = Backend::start(|_| Reply::ok("")).await;
    let world = World::new(&backend.url(), 1 << 20);
    for id in 1..=3 {
        world.store.offer(vec![span(id)]).unwrap();
    }
    assert_eq!(world.end().await, [] as [String; 0]);
    let seen = backend.seen();
    assert_eq!(seen[0].line(), "POST /v1/traces");
    for (name, value) in [
        ("authorization", "Bearer s3cret"),
        ("x-team", "shop"),
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
    ] {
        assert_eq!(seen[0].header(name), Some(value));
    }
    let sent: Vec<u64> = seen.iter().flat_map(|seen| ids(&seen.body)).collect();
    assert_eq!(sent, [1, 2, 3]);
}

#[tokio::test]
async fn a_collector_that_is_busy_gets_them_later_and_once() {
    let backend = Backend::start(|seen| match seen.number {
        0 => Reply::status(429).header("retry-after", "7"),
        1 => Reply::nothing().then_reset(),
        2 => Reply::status(503),
        _ => Reply::ok(""),
    })
    .await;
    let world = World::new(&format!("{}/custom/traces?team=1", backend.url()), 1 << 20);
    world.store.offer(vec![span(1), span(2)]).unwrap();
    backend.wait_for(4).await;
    world.store.offer(vec![span(3)]).unwrap();
    let told = world.end().await;
    assert_eq!(told, ["away: the collector at `http://HOST` answers `429 Too Many Requests`", "back"]);
    let seen = backend.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|seen| seen.line() == "POST /custom/traces?team=1"));
    assert!(seen[..4].iter().all(|seen| ids(&seen.body) == [1, 2]));
    assert_eq!(ids(&seen[4].body), [3]);
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again_and_told_once() {
    let backend = Backend::start(|_| Reply::status(401)).await;
    let world = World::new(&backend.url(), 1 << 20);
    for id in 1..=3 {
        world.store.offer(vec![span(id)]).unwrap();
        backend.wait_for(id as usize).await;
    }
    let told = world.end().await;
    assert_eq!(backend.requests(), 3);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("refused: the collector at `http://HOST` answers `401 Unauthorized`; `OTEL_"),
        "{told:?}"
    );
    assert_eq!(told[1], "lost 1");
}

#[tokio::test]
async fn what_waits_for_a_collector_that_is_away_is_bounded_and_given_up_in_the_end() {
    let address = Backend::refusing().await;
    let world = World::new(&format!("http://{address}"), 2_000);
    world.store.offer(vec![span(1)]).unwrap();
    while world.told.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for id in 2..200 {
        world.store.offer(vec![span(id)]).unwrap();
    }
    while world.told.lock().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let told = world.told.lock().unwrap().clone();
    assert!(told[0].starts_with("away: "), "{told:?}");
    let lost: u64 = told[1].strip_prefix("lost ").unwrap().parse().unwrap();
    assert!((150..200).contains(&lost), "{lost}");
    world.running.abort();
    world.passing.abort();
}

#[test]
fn an_address_that_is_none_is_refused_without_showing_a_password() {
    let refused = |url: &str, headers: &str| {
        let fault = Collector::new(url, headers).unwrap_err();
        assert!(!format!("{fault:?}").contains("s3cret"), "{fault:?}");
        fault.to_string()
    };
    assert_eq!(refused("http://ann:s3cret@collector", ""), "the address of a collector names a user");
    assert!(refused("collector:4318", "").contains("`collector:4318`"));
    assert_eq!(refused("http://c", "s3cret"), "the headers for the collector can't be read");
    assert_eq!(refused("http://c", "a b=s3cret"), "the headers for the collector can't be read");
}
