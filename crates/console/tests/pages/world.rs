//! The world of these tests: a console over planes in this process, asked as a browser on this machine would ask.

use base::{Chance, Clock, ClockHand, Fault, Scope, Source, UnixTime};
use console::{About, Console, Planes, Streams};
use control::Supervisor;
use http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use proxy::predicates::PredicateEnv;
use proxy::{Builder, Definitions, Handles, Lasting, Plane, Services, Settings};
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Append, Embedded, Json, LogOptions, NewMessage, Store, Uuid};
use streams::consumers::{Consumers, Definition, Deliver, Handler, Push, Pushed, Refused, Setup};
use telemetry::Metrics;
use telemetry::spans::{SpanStore, parse_id};
use wire::{Body, Drainer, Peer, Request};

/// When these tests begin: 2025-11-26T12:00:00Z.
pub(crate) const NOW_US: u64 = 1_764_158_400_000_000;
pub(crate) const TOKEN: &str = "0123456789abcdef";

pub(crate) struct World {
    pub(crate) console: Console,
    pub(crate) gateway: Arc<Plane>,
    pub(crate) spans: Option<SpanStore>,
    pub(crate) store: Option<Store>,
    pub(crate) consumers: Option<Consumers>,
    pub(crate) about: Arc<Mutex<About>>,
    pub(crate) hand: ClockHand,
    pub(crate) drainer: Drainer,
    folder: tempfile::TempDir,
}

/// What there is beside the gateway.
#[derive(Default)]
pub(crate) struct Wished {
    pub(crate) traces: bool,
    /// Where they are kept; in files if that is not said.
    pub(crate) spans: Option<SpanStore>,
    pub(crate) streams: bool,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: wire::Headers,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

pub(crate) fn peer() -> Peer {
    let local = ([127, 0, 0, 1], 4600).into();
    Peer { remote: ([127, 0, 0, 1], 50_000).into(), local, tls: false, edge: None }
}

impl World {
    /// One with routes in eskip.
    pub(crate) fn new(routes: &str, wished: Wished) -> Self {
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_micros(NOW_US)));
        let folder = tempfile::tempdir().unwrap();
        let (drainer, drain) = Drainer::new();
        let metrics = Arc::new(Metrics::new(1));
        let lasting = Lasting::new(clock.clone());
        let services = Arc::<Services>::default();
        services.declare(["web", "cart"]);
        let plane = |routes: &str| {
            let builder = Builder {
                clock: clock.clone(),
                chance: Chance::seeded(1),
                lasting: lasting.clone(),
                services: services.clone(),
                metrics: metrics.clone(),
                predicates: PredicateEnv::new(Arc::default()),
                lookup: proxy::lookup::Options::default(),
                folder: folder.path().to_owned(),
                forward: None,
                handles: Handles::default(),
            };
            let source = Source::new("routes.eskip", routes);
            let definitions = Definitions {
                routes: eskip::parse(&source)
                    .routes
                    .into_iter()
                    .map(|route| (Arc::new(route), Some(source.clone())))
                    .collect(),
            };
            let table = builder.build(&definitions);
            let plane = Plane::new(Settings::default(), builder, None);
            plane.put(table);
            plane
        };
        let (gateway, calls) = (plane(routes), plane(""));
        let supervisor = Supervisor::start(control::Setup {
            clock: clock.clone(),
            chance: Chance::seeded(2),
            dir: folder.path().to_owned(),
            guard: None,
        });
        let files = || {
            let dir = folder.path().join("traces");
            SpanStore::open(&dir, telemetry::spans::Settings::default(), clock.clone()).unwrap().0
        };
        let spans = wished.spans.or_else(|| wished.traces.then(files));
        let (store, consumers) = match wished.streams.then(|| message_plane(folder.path(), &clock)) {
            Some((store, consumers)) => (Some(store), Some(consumers)),
            None => (None, None),
        };
        let about = Arc::new(Mutex::new(About { name: "shop".to_owned(), ..About::default() }));
        let console = Console::new(Planes {
            clock,
            drain,
            token: TOKEN.into(),
            about: about.clone(),
            supervisor,
            gateway: gateway.clone(),
            calls,
            spans: spans.clone(),
            doctor: spans.clone().map(telemetry::doctor::Doctor::new),
            streams: store
                .clone()
                .zip(consumers.clone())
                .map(|(store, consumers)| Streams { store, consumers }),
        });
        Self { console, gateway, spans, store, consumers, about, hand, drainer, folder }
    }

    pub(crate) fn request(method: Method, path: &str, fields: &[(&str, &str)], body: &str) -> Request {
        let mut request = Request::new(Body::full(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        request.headers_mut().insert(HOST, HeaderValue::from_static("127.0.0.1:4600"));
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    pub(crate) async fn send(&self, request: Request, shown: bool) -> Answer {
        let response = self.console.answer(request, shown, &peer()).await;
        let (head, body) = response.into_parts();
        let text = String::from_utf8(body.collect(16 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Self::request(Method::GET, path, &[], ""), false).await
    }

    /// The page of somebody who has signed in.
    pub(crate) async fn get_signed_in(&self, path: &str) -> Answer {
        let cookie = self.cookie().await;
        self.send(Self::request(Method::GET, path, &[(COOKIE.as_str(), &cookie)], ""), false).await
    }

    /// Sends a form.
    pub(crate) async fn post(&self, path: &str, cookie: &str, body: &str) -> Answer {
        let kind = "application/x-www-form-urlencoded";
        let fields = [(CONTENT_TYPE.as_str(), kind), (COOKIE.as_str(), cookie)];
        self.send(Self::request(Method::POST, path, &fields, body), false).await
    }

    /// Signs in: the cookie to send from then on.
    pub(crate) async fn cookie(&self) -> String {
        let answer = self.post("/sign-in", "", &format!("token={TOKEN}")).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    /// What the forms of a signed-in viewer carry.
    pub(crate) async fn proof(&self) -> String {
        let page = self.get_signed_in("/").await.text;
        let rest = page.split("name=\"proof\" value=\"").nth(1).expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }

    /// Keeps spans, and waits until they are there.
    pub(crate) async fn keep(&self, json: &str) {
        let spans = self.spans.as_ref().expect("a world with traces");
        spans.offer(telemetry::zipkin::decode_json(json.as_bytes()).unwrap()).unwrap();
        spans.flush().await;
    }

    /// Appends a message; answers its global position.
    pub(crate) async fn append(&self, stream: &str, id: u128, kind: &str, data: &str, metadata: &str) -> i64 {
        let json = |text: &str| (!text.is_empty()).then(|| Json::parse(text).unwrap());
        let id = Uuid::from_u128(id);
        let message = NewMessage { id, kind: kind.to_owned(), data: json(data), metadata: json(metadata) };
        let append = Append { stream: stream.to_owned(), expected_version: None, messages: vec![message] };
        let appended = self.store.as_ref().expect("a world with streams").append(vec![append]).await.unwrap();
        appended[0].last_global_position
    }

    /// A file in a folder that goes with the world.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// A span in Zipkin's JSON that began so many milliseconds before now.
pub(crate) fn span(
    trace: u64,
    id: &str,
    parent: &str,
    kind: &str,
    service: &str,
    before_ms: u64,
    ms: u64,
) -> String {
    assert!(parse_id("id", id).is_ok());
    let parent = if parent.is_empty() { String::new() } else { format!(r#""parentId":"{parent}","#) };
    let at = NOW_US - before_ms * 1_000;
    let us = ms * 1_000;
    format!(
        r#"{{"traceId":"{trace:016x}","id":"{id}",{parent}"kind":"{kind}","name":"get /","timestamp":{at},"duration":{us},"localEndpoint":{{"serviceName":"{service}"}}}}"#
    )
}

/// Refuses every message, so that each is a dead letter at once.
struct Refusing;

impl Deliver for Refusing {
    fn serves(&self, _handler: &Handler) -> bool {
        true
    }

    fn push(&self, _push: Push) -> Pin<Box<dyn Future<Output = Result<Pushed, Fault>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(Pushed {
            status: 422,
            retry_after: None,
            body: b"no such order".to_vec(),
        })))
    }
}

/// A consumer whose messages are all refused.
pub(crate) fn refused(category: &str) -> Definition {
    Definition {
        handler: Some(Handler::parse("shop/orders").unwrap()),
        refused: Refused::DeadLetter,
        ..Definition::of(category)
    }
}

fn message_plane(folder: &std::path::Path, clock: &Clock) -> (Store, Consumers) {
    let (embedded, _) = Embedded::open(&folder.join("store"), clock.clone(), LogOptions::default()).unwrap();
    let store = Store::of(embedded.encrypted(clock.clone()));
    let consumers = Consumers::new(Setup {
        store: store.clone(),
        state: embedded.state(),
        clock: clock.clone(),
        chance: Chance::seeded(3),
        scope: Scope::new(clock.clone(), |end| panic!("{}: {}", end.task, end.error)),
        deliver: Arc::new(Refusing),
        spans: None,
        metrics: Arc::new(telemetry::Metrics::new(1)),
        taps: streams::tap::MessageTaps::default(),
        node: None,
    });
    consumers.start();
    (store, consumers)
}

/// So many routes.
pub(crate) fn many_routes(routes: u64) -> String {
    let mut table = String::new();
    for nth in 0..routes {
        write!(
            table,
            "r{nth}: Path(\"/{nth}\") && Header(\"A\", \"b\") -> setPath(\"/x\") -> \"service://web\"; "
        )
        .unwrap();
    }
    table
}

/// Traces that are sent at once.
const BATCH: u64 = 500;

/// Keeps traces through six of ten services each, all within the last four minutes.
pub(crate) async fn many_traces(world: &World, traces: u64) {
    for batch in 0..traces.div_ceil(BATCH) {
        let mut spans = Vec::new();
        for trace in batch * BATCH + 1..=((batch + 1) * BATCH).min(traces) {
            let before_ms = 1_000 + trace * 239_000 / traces;
            for depth in 0..6 {
                let (id, parent) = (format!("{}", depth + 1), format!("{depth}"));
                let parent = if depth == 0 { "" } else { &parent };
                let service = format!("s{}", (trace + depth) % 10);
                let made = span(trace, &id, parent, "SERVER", &service, before_ms - depth, 60 - depth * 10);
                spans.push(if trace % 20 == 0 && depth == 5 {
                    made.replace(r#""name""#, r#""tags":{"error":"503"},"name""#)
                } else {
                    made
                });
            }
        }
        world.keep(&format!("[{}]", spans.join(","))).await;
    }
}
