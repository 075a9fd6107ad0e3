//! What appends and deliveries leave for whoever looks at traces, and that a trace goes on across a stream.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::format_push_string, reason = "a test is read more often than it runs")]

use base::{Chance, Clock, Fault, Scope};
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Embedded, LogOptions, Read, Store};
use streams::Spans;
use streams::consumers::{
    Acked, Answered, Consumers, Definition, Deliver, Handler, Outcome, Push, Pushed, Setup,
};
use streams::http::{Api, Parts};
use telemetry::spans::{Recorder, Sample, Span};
use testkit::eventually;
use wire::{Body, Drainer, Request};

const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

/// A handler that answers with a message the first time, then refuses; with one that can't be appended where the stream
/// says so.
#[derive(Default)]
struct Shop(Mutex<Vec<Push>>);

impl Deliver for Shop {
    fn serves(&self, _: &Handler) -> bool {
        true
    }

    fn push(&self, push: Push) -> Pin<Box<dyn Future<Output = Result<Pushed, Fault>> + Send + '_>> {
        Box::pin(async move {
            let mut seen = self.0.lock().unwrap();
            seen.push(push);
            let body = match seen.len() {
                _ if seen.last().is_some_and(|push| push.body.contains("order-wrong")) => {
                    r#"{"append":[{"stream_name":"bill-1","expected_version":7,"messages":[{"type":"Billed"}]}]}"#
                }
                1 => r#"{"append":[{"stream_name":"bill-1","messages":[{"type":"Billed"}]}]}"#,
                _ => return Ok(Pushed { status: 500, body: b"no".to_vec(), ..Pushed::default() }),
            };
            Ok(Pushed { status: 200, body: body.as_bytes().to_vec(), ..Pushed::default() })
        })
    }
}

/// The API over a new store, consumers, and what they leave.
struct World {
    api: Api,
    store: Store,
    consumers: Consumers,
    shop: Arc<Shop>,
    recorder: Recorder,
    _drainer: Drainer,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(sample: Option<f64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let (embedded, _) = Embedded::open(dir.path(), clock.clone(), LogOptions::default()).unwrap();
        let encrypted = embedded.encrypted(clock.clone());
        let (drainer, drain) = Drainer::new();
        let recorder = Recorder::new(1);
        let spans =
            sample.map(|sample| Spans::new(recorder.clone(), Sample::Share(sample), Chance::seeded(1)));
        let store = Store::of(encrypted.clone());
        let shop = Arc::<Shop>::default();
        let consumers = Consumers::new(Setup {
            store: store.clone(),
            state: embedded.state(),
            clock: clock.clone(),
            chance: Chance::seeded(1),
            scope: Scope::new(clock.clone(), |end| panic!("{end:?}")),
            deliver: shop.clone(),
            spans: spans.clone(),
            metrics: Arc::new(telemetry::Metrics::new(1)),
            taps: streams::tap::MessageTaps::default(),
            node: None,
        });
        let parts = Parts {
            store: store.clone(),
            state: embedded.state(),
            encrypted,
            clock,
            drain,
            keep_alive: Duration::from_secs(15),
            spans,
        };
        let api = Api::with_consumers(parts, consumers.clone());
        Self { api, store, consumers, shop, recorder, _drainer: drainer, _dir: dir }
    }

    /// Posts a body to a stream with these fields.
    async fn post(&self, path: &str, fields: &[(&str, &str)], body: &str) -> StatusCode {
        let mut request = Request::new(Body::full(body.to_owned()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("/api/v1{path}").parse().unwrap();
        for (name, value) in
            [("host", "localhost"), ("content-type", "application/json")].iter().chain(fields)
        {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        self.api.answer(request, true).await.status()
    }

    /// The metadata of all messages of a category.
    async fn metadata(&self, category: &str) -> Vec<String> {
        let page = self.store.read(Read::category(category)).await.unwrap();
        let text = |json: &store::Json| json.to_string();
        page.messages.iter().map(|message| message.metadata.as_ref().map_or_else(String::new, text)).collect()
    }

    /// A consumer whose messages go to the shop.
    async fn bill(&self) {
        let handler = Some(Handler::parse("shop/bill").unwrap());
        let definition = Definition { handler, attempts: 1, ..Definition::of("order") };
        self.consumers.put("billing", definition).await.unwrap();
        self.consumers.start();
    }
}

fn hex(id: u64) -> String {
    format!("{id:016x}")
}

fn lines(spans: &[Span]) -> Vec<String> {
    let line = |span: &Span| {
        let mut text = format!(
            "{} {}>{} {}:",
            span.kind.map_or("-", |kind| kind.name()),
            span.local.service,
            span.remote.service,
            span.name
        );
        for (key, value) in &span.tags {
            let key = key.replace("messaging.", "").replace("tombolo.", "");
            let same = matches!(key.as_str(), "system" | "operation.name" | "operation.type" | "message.id");
            if !same {
                text += &format!(" {key}={value}");
            }
        }
        text
    };
    spans.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_across_streams() {
    let world = World::new(Some(1.0));
    world.bill().await;
    let context = [("traceparent", &*format!("{CONTEXT}-01")), ("tracestate", "a=1")];
    let message = r#"{"type":"Placed","metadata":{"correlationStreamName":"cart-1"}}"#;
    assert_eq!(world.post("/streams/order-1/messages", &context, message).await, 201);
    let mut spans = Vec::new();
    eventually("append, answer and delivery", || {
        spans.extend(world.recorder.take());
        spans.len() == 3
    })
    .await;
    // By name, as an append may be told after its message was delivered.
    spans.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(
        lines(&spans),
        [
            "PRODUCER shop>streams append bill: destination.name=bill correlation=cart-1 message.type=Billed stream=bill-1",
            "PRODUCER streams> append order: destination.name=order correlation=cart-1 message.type=Placed stream=order-1",
            "CONSUMER streams> deliver order: consumer.group.name=billing destination.name=order correlation=cart-1 message.type=Placed stream=order-1",
        ]
    );
    let [billed, placed, delivered] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(hex(placed.parent), &CONTEXT[36..]);
    assert_eq!((delivered.parent, billed.parent), (placed.id, delivered.id));
    assert!(spans.iter().all(|span| span.trace.to_string() == CONTEXT[3..35]));
    let named = |span: &Span| format!("{}{}-01", &CONTEXT[..36], hex(span.id));
    let metadata = world.metadata("order").await;
    assert!(
        metadata[0].contains(&named(placed)) && metadata[0].contains(r#""tracestate": "a=1""#),
        "{metadata:?}"
    );
    assert!(world.metadata("bill").await[0].contains(&named(billed)));
    let pushed = world.shop.0.lock().unwrap()[0].clone();
    let told: Vec<_> = pushed.headers.iter().filter(|(name, _)| name.starts_with("trace")).cloned().collect();
    assert_eq!(told, [("traceparent", named(delivered)), ("tracestate", "a=1".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_traces_that_are_not_recorded_failed_deliveries_and_rare_ones_are() {
    let world = World::new(Some(0.0));
    world.bill().await;
    for number in 0..2 {
        let stream = format!("/streams/order-{number}/messages");
        assert_eq!(world.post(&stream, &[], r#"{"type":"Placed"}"#).await, 201);
        eventually("it is delivered", || world.shop.0.lock().unwrap().len() > number).await;
    }
    let mut spans = Vec::new();
    eventually("the failure", || {
        spans.extend(world.recorder.take());
        spans.iter().any(|span: &Span| span.tag("error").is_some())
    })
    .await;
    let mut lines = lines(&spans);
    lines.sort();
    assert_eq!(
        lines,
        [
            "CONSUMER streams> deliver order: consumer.group.name=billing destination.name=order kept=rare message.type=Placed stream=order-0",
            "CONSUMER streams> deliver order: error=the handler answered 500: no consumer.group.name=billing destination.name=order kept=error message.type=Placed stream=order-1",
            "PRODUCER shop>streams append bill: destination.name=bill kept=rare message.type=Billed stream=bill-1",
            "PRODUCER streams> append order: destination.name=order kept=rare message.type=Placed stream=order-0",
        ]
    );
    assert_eq!(world.metadata("order").await, ["", ""], "whose caller told no trace");
    assert!(world.shop.0.lock().unwrap()[1].headers.iter().any(|(_, value)| value.ends_with("-00")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_whose_answer_cannot_be_appended_has_failed() {
    let world = World::new(Some(0.0));
    world.bill().await;
    assert_eq!(world.post("/streams/order-wrong/messages", &[], r#"{"type":"Placed"}"#).await, 201);
    let mut spans = Vec::new();
    eventually("the failure", || {
        spans.extend(world.recorder.take());
        spans.iter().any(|span: &Span| span.kind == Some(telemetry::spans::Kind::Consumer))
    })
    .await;
    let told = lines(&spans).into_iter().find(|line| line.starts_with("CONSUMER")).unwrap();
    let error = "error=cannot append what was answered: stream `bill-1` is at version `-1`, expected was `7` consumer";
    assert!(told.contains(error) && told.contains("kept=error"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_made_again_is_the_same_though_its_span_is_another() {
    let world = World::new(Some(1.0));
    let context = format!("{CONTEXT}-01");
    let fields = [("traceparent", context.as_str()), ("idempotency-key", "k1")];
    assert_eq!(world.post("/streams/order-1/messages", &fields, r#"{"type":"A"}"#).await, 201);
    assert_eq!(world.post("/streams/order-1/messages", &fields, r#"{"type":"A"}"#).await, 200);
    assert_eq!(world.post("/streams/order-1/messages", &fields, r#"{"type":"B"}"#).await, 422);
    let wrong = world.post("/streams/order-1/messages?expected_version=7", &[], r#"{"type":"A"}"#).await;
    assert_eq!(wrong, 409);
    let reasons: Vec<_> = world
        .recorder
        .take()
        .iter()
        .map(|span| span.tag("tombolo.reason").unwrap_or("-").to_owned())
        .collect();
    assert_eq!(reasons, ["-", "duplicate_id", "duplicate_id", "wrong_version"]);
    assert_eq!(world.metadata("order").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_imported_stays_as_it_is_and_what_is_scheduled_goes_on() {
    let world = World::new(Some(1.0));
    let context = format!("{CONTEXT}-01");
    let lines_of = [("traceparent", context.as_str()), ("content-type", "application/x-ndjson")];
    let line = r#"{"stream_name":"order-1","type":"A"}"#;
    assert_eq!(world.post("/messages", &lines_of, &format!("{line}\n{line}\n")).await, 200);
    assert_eq!(world.metadata("order").await, ["", ""]);
    let fields = [("traceparent", context.as_str())];
    assert_eq!(world.post("/streams/late-1/messages?delay=0", &fields, r#"{"type":"A"}"#).await, 202);
    let schedule = tokio::spawn(world.api.schedule().clone().run());
    let late = async || world.metadata("late").await;
    while late().await.is_empty() {
        tokio::task::yield_now().await;
    }
    schedule.abort();
    let spans = world.recorder.take();
    assert_eq!(
        lines(&spans),
        [
            "PRODUCER streams> append order: batch.message_count=2 destination.name=order message.type=A stream=order-1",
            "PRODUCER streams> schedule late: destination.name=late message.type=A stream=late-1",
        ]
    );
    assert!(late().await[0].contains(&hex(spans[1].id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_spans_nothing_changes() {
    let world = World::new(None);
    let context = format!("{CONTEXT}-01");
    let fields = [("traceparent", context.as_str())];
    assert_eq!(world.post("/streams/order-1/messages", &fields, r#"{"type":"A"}"#).await, 201);
    assert_eq!(world.metadata("order").await, [""]);
    assert!(world.recorder.take().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_messages_is_told_the_span_that_lasts_until_the_acknowledgement() {
    let world = World::new(Some(1.0));
    world.consumers.put("packing", Definition { attempts: 1, ..Definition::of("order") }).await.unwrap();
    world.consumers.start();
    let context = [("traceparent", &*format!("{CONTEXT}-01"))];
    for stream in ["order-1", "order-2"] {
        let path = format!("/streams/{stream}/messages");
        assert_eq!(world.post(&path, &context, r#"{"type":"Placed"}"#).await, 201);
    }
    let taken = loop {
        let taken = world.consumers.take("packing", 2, Duration::from_secs(5)).await.unwrap();
        if taken.len() == 2 {
            break taken;
        }
        assert!(taken.is_empty(), "both are there when the first is");
    };
    let appended = world.recorder.take();
    let answer = br#"{"append":[{"stream_name":"parcel-1","messages":[{"type":"Packed"}]}]}"#;
    let outcomes = [Outcome::Done(Answered::read(answer).unwrap()), Outcome::Dead("no such rope".to_owned())];
    for (taken, outcome) in taken.iter().zip(outcomes) {
        assert_eq!(world.consumers.acknowledge("packing", taken.token, outcome).await.unwrap(), Acked::Yes);
    }
    let told: Vec<_> = taken.iter().map(|taken| taken.trace.unwrap().span.to_string()).collect();
    let spans = world.recorder.take();
    let deliveries: Vec<_> =
        spans.iter().filter(|span| span.kind == Some(telemetry::spans::Kind::Consumer)).collect();
    assert_eq!(deliveries.iter().map(|span| hex(span.id)).collect::<Vec<_>>(), told);
    for (delivery, append) in deliveries.iter().zip(&appended) {
        assert_eq!(delivery.parent, append.id);
    }
    assert_eq!(
        deliveries.iter().map(|span| span.tag("error")).collect::<Vec<_>>(),
        [None, Some("no such rope")]
    );
    let packed = spans.iter().find(|span| span.name == "append parcel").unwrap();
    assert_eq!((packed.parent, &*packed.local.service), (deliveries[0].id, "streams"));
    assert!(world.metadata("parcel").await[0].contains(&hex(packed.id)));
}
