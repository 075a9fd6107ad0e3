//! Those who watch messages see what they asked for: appends with what came of them, and deliveries, pushed or asked
//! for, attempt by attempt.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::{Chance, Clock, Fault, Kind, Retry, Scope, Source};
use expect_test::{Expect, expect};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{Append, Embedded, Json, LogOptions, NewMessage, Store, Uuid};
use streams::Counted;
use streams::consumers::{Answered, Consumers, Definition, Deliver, Handler, Outcome, Push, Pushed, Setup};
use streams::tap::{MessageTaps, WantedMessages};
use telemetry::Metrics;
use telemetry::tap::{News, Opened, Reader, SHOWN_PER_SECOND_MAX, Show, tap};

const PLAIN: Show = Show { headers: false, bodies: false, only_failures: false };
const ALL: Show = Show { headers: true, bodies: true, only_failures: false };

/// A handler that does what the type of a message says.
struct Shop;

impl Deliver for Shop {
    fn serves(&self, _: &Handler) -> bool {
        true
    }

    fn push(&self, push: Push) -> Pin<Box<dyn Future<Output = Result<Pushed, Fault>> + Send + '_>> {
        Box::pin(async move {
            let answer = |status, body: &str| {
                Ok(Pushed { status, body: body.as_bytes().to_vec(), ..Pushed::default() })
            };
            match ["Bad", "Later", "Away"].iter().position(|kind| push.body.contains(kind)) {
                Some(0) => answer(500, "password=hunter2"),
                Some(1) => Ok(Pushed {
                    status: 503,
                    retry_after: Some(Duration::from_secs(3600)),
                    ..Pushed::default()
                }),
                Some(_) => Err(Fault::new(Kind::Unavailable, "nobody is there").retry(Retry::Safe)),
                None => {
                    answer(200, r#"{"append":[{"stream_name":"bill-1","messages":[{"type":"Billed"}]}]}"#)
                }
            }
        })
    }
}

/// A store and its consumers, which those who are at these taps watch.
struct World {
    store: Store,
    consumers: Consumers,
    taps: MessageTaps,
    _dir: tempfile::TempDir,
}

/// Somebody who watches.
struct Watcher(Reader, #[expect(dead_code, reason = "open as long as it is there")] Opened<WantedMessages>);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, taps) = (Clock::system(), MessageTaps::default());
        let (embedded, _) = Embedded::open(dir.path(), clock.clone(), LogOptions::default()).unwrap();
        let encrypted = embedded.encrypted(clock.clone());
        let metrics = Arc::new(Metrics::new(1));
        let store = Store::of(Counted::over(encrypted, metrics.clone(), taps.clone(), clock.clone()));
        let consumers = Consumers::new(Setup {
            store: store.clone(),
            state: embedded.state(),
            clock: clock.clone(),
            chance: Chance::seeded(1),
            scope: Scope::new(clock, |end| panic!("{end:?}")),
            deliver: Arc::new(Shop),
            spans: None,
            metrics,
            taps: taps.clone(),
            node: None,
        });
        Self { store, consumers, taps, _dir: dir }
    }

    fn watch(&self, expression: &str, show: Show) -> Watcher {
        let source = Source::new("expression", expression);
        let wanted = WantedMessages::of(&eskip::parse_predicates(&source).unwrap(), &source).unwrap();
        let (feed, reader) = tap(show, Clock::system());
        Watcher(reader, self.taps.open(wanted, feed))
    }

    async fn append(&self, stream: &str, kinds: &[&str], expected_version: Option<i64>) -> bool {
        let message = |kind: &&str| NewMessage {
            id: Uuid::new_v4(),
            kind: (*kind).to_owned(),
            data: Some(Json::parse(r#"{"token":"hunter2","n":1}"#).unwrap()),
            metadata: Some(Json::parse(r#"{"traceparent":"00-4bf9-00f0-01"}"#).unwrap()),
        };
        let messages = kinds.iter().map(message).collect();
        self.store
            .append(vec![Append { stream: stream.to_owned(), expected_version, messages }])
            .await
            .is_ok()
    }

    async fn consume(&self, definition: Definition) {
        self.consumers.put("billing", definition).await.unwrap();
        self.consumers.start();
    }
}

impl Watcher {
    /// The next things, without what differs from run to run.
    async fn check(&mut self, count: usize, expected: &Expect) {
        let mut told = Vec::new();
        for _ in 0..count {
            let News::Event(event) = self.0.next().await else { panic!("a message was carried") };
            let mut event: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
            let fields = event.as_object_mut().unwrap();
            for field in ["time", "duration_us", "id", "global_position"] {
                fields.remove(field);
            }
            told.push(event.to_string());
        }
        expected.assert_eq(&told.join("\n"));
    }
}

#[tokio::test]
async fn appends_are_shown_to_those_who_want_them() {
    let world = World::new();
    assert!(world.append("order-1", &["Placed"], None).await);
    let mut orders = world.watch(r#"Category("order")"#, PLAIN);
    let mut placed = world.watch(r#"Type("Placed")"#, ALL);
    let mut failed = world.watch("*", Show { only_failures: true, ..PLAIN });
    assert!(world.append("order-1", &["Placed", "Paid"], Some(0)).await);
    assert!(world.append("cart-1", &["Filled"], None).await);
    assert!(!world.append("order-1", &["Late"], Some(0)).await);
    orders.check(3, &expect![[r#"
        {"kind":"append","outcome":"done","position":1,"stream":"order-1","trace":"4bf9","type":"Placed"}
        {"kind":"append","outcome":"done","position":2,"stream":"order-1","trace":"4bf9","type":"Paid"}
        {"kind":"append","outcome":"wrong_version","reason":"stream `order-1` is at version `2`, expected was `0`","stream":"order-1","trace":"4bf9","type":"Late"}"#]]).await;
    placed.check(1, &expect![[r#"{"data":{"bytes":28,"text":"{\"n\": 1, \"token\": \"***\"}"},"kind":"append","metadata":{"bytes":34,"text":"{\"traceparent\": \"00-4bf9-00f0-01\"}"},"outcome":"done","position":1,"stream":"order-1","trace":"4bf9","type":"Placed"}"#]]).await;
    failed.check(1, &expect![[r#"{"kind":"append","outcome":"wrong_version","reason":"stream `order-1` is at version `2`, expected was `0`","stream":"order-1","trace":"4bf9","type":"Late"}"#]]).await;
    drop((orders, placed, failed));
    assert!(!world.taps.are_open());
}

#[tokio::test]
async fn of_a_large_append_no_more_is_kept_than_is_shown() {
    let world = World::new();
    let mut watcher = world.watch("*", PLAIN);
    let kinds = vec!["Many"; SHOWN_PER_SECOND_MAX as usize + 50];
    assert!(world.append("order-1", &kinds, None).await);
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < kinds.len() as u64 {
        match watcher.0.next().await {
            News::Event(_) => shown += 1,
            News::Missed(count) => missed += count,
            News::Over => panic!("it is read"),
        }
    }
    assert!(missed >= 50, "{missed}");
}

#[tokio::test]
async fn deliveries_are_shown_with_what_came_of_them() {
    let world = World::new();
    let mut watcher = world.watch(r#"Consumer("billing")"#, PLAIN);
    let handler = Some(Handler::parse("shop/orders").unwrap());
    let backoff = rules::Backoff { first: Duration::from_millis(1), cap: Duration::from_millis(1) };
    world.consume(Definition { handler, attempts: 2, backoff, ..Definition::of("order") }).await;
    assert!(world.append("order-1", &["Placed"], None).await);
    watcher.check(1, &expect![[r#"{"attempt":1,"consumer":"billing","handler":"shop/orders","kind":"delivery","outcome":"done","position":0,"stream":"order-1","trace":"4bf9","type":"Placed"}"#]]).await;
    assert!(world.append("order-2", &["Bad"], None).await);
    watcher.check(2, &expect![[r#"
        {"attempt":1,"consumer":"billing","handler":"shop/orders","kind":"delivery","outcome":"failed","position":0,"reason":"the handler answered 500: password=***","stream":"order-2","trace":"4bf9","type":"Bad"}
        {"attempt":2,"consumer":"billing","handler":"shop/orders","kind":"delivery","outcome":"failed","position":0,"reason":"the handler answered 500: password=***","stream":"order-2","trace":"4bf9","type":"Bad"}"#]]).await;
    assert!(world.append("order-3", &["Later"], None).await);
    watcher.check(1, &expect![[r#"{"attempt":1,"consumer":"billing","handler":"shop/orders","kind":"delivery","outcome":"later","position":0,"reason":"the handler asks for it in 1h","stream":"order-3","trace":"4bf9","type":"Later"}"#]]).await;
    assert!(world.append("order-4", &["Away"], None).await);
    watcher.check(1, &expect![[r#"{"attempt":1,"consumer":"billing","handler":"shop/orders","kind":"delivery","outcome":"unreached","position":0,"reason":"nobody is there","stream":"order-4","trace":"4bf9","type":"Away"}"#]]).await;
}

#[tokio::test]
async fn messages_that_are_asked_for_are_shown_when_they_are_acknowledged() {
    let world = World::new();
    let mut watcher = world.watch(r#"Consumer("billing") && Category("order")"#, PLAIN);
    world.consume(Definition::of("order")).await;
    assert!(world.append("order-1", &["Placed", "Paid"], None).await);
    for outcome in [Outcome::Done(Answered::default()), Outcome::Dead("never".to_owned())] {
        let taken = world.consumers.take("billing", 1, Duration::from_secs(20)).await.unwrap();
        world.consumers.acknowledge("billing", taken[0].token, outcome).await.unwrap();
    }
    watcher.check(2, &expect![[r#"
        {"attempt":1,"consumer":"billing","kind":"delivery","outcome":"done","position":0,"stream":"order-1","trace":"4bf9","type":"Placed"}
        {"attempt":1,"consumer":"billing","kind":"delivery","outcome":"refused","position":1,"reason":"never","stream":"order-1","trace":"4bf9","type":"Paid"}"#]]).await;
}

#[test]
fn the_reference_page_is_committed() {
    testkit::check_generated("docs/reference/tap.md", &streams::tap::reference());
}
