//! Those who watch requests see what they asked for, as it ends: on all cores, with bodies as they pass, and nothing
//! that anybody else would notice.

use crate::world::{Setup, World, message};
use base::{Clock, Source};
use expect_test::{Expect, expect};
use proxy::lookup::Options;
use proxy::predicates::PredicateEnv;
use proxy::{RequestTaps, Settings, WantedRequests};
use serde_json::Value;
use telemetry::tap::{Half, News, Opened, Reader, Show, tap};
use testkit::{Backend, Reply, eventually};
use wire::{Edge, Http1};

const ALL: Show = Show { headers: true, bodies: true, only_failures: false };

/// Somebody who watches.
struct Watcher {
    reader: Reader,
    _opened: Opened<WantedRequests>,
}

fn wanted(expression: &str) -> WantedRequests {
    let predicates = eskip::parse_predicates(&Source::new("tap", expression)).unwrap();
    WantedRequests::of(predicates, &PredicateEnv::default(), &Options::default()).unwrap()
}

fn watch(taps: &RequestTaps, expression: &str, show: Show) -> Watcher {
    let (feed, reader) = tap(show, Clock::system());
    Watcher { reader, _opened: taps.open(wanted(expression), feed) }
}

impl Watcher {
    async fn next(&mut self) -> Value {
        let News::Event(event) = self.reader.next().await else { panic!("something was carried") };
        serde_json::from_str(&event.json()).unwrap()
    }

    /// The next one without what differs from run to run.
    async fn check(&mut self, expected: &Expect) {
        let mut told = self.next().await;
        let told = told.as_object_mut().unwrap();
        for field in ["kind", "time", "duration_us", "trace", "backend", "host", "remote"] {
            told.remove(field);
        }
        let mut text = Value::from(told.clone()).to_string();
        for half in ["request", "response"] {
            // Ports and dates.
            let headers = told.get(half).and_then(|half| half.get("headers")).map(ToString::to_string);
            text = text.replace(&headers.unwrap_or("-".into()), "HEADERS");
        }
        expected.assert_eq(&text);
    }
}

async fn world(taps: &RequestTaps, routes: &str) -> World {
    let settings = Settings { taps: taps.clone(), ..Settings::default() };
    World::with(Setup { settings, workers: 2, ..Setup::default() }, routes).await
}

#[tokio::test]
async fn requests_are_shown_to_those_who_want_them() {
    let backend = Backend::start(|seen| Reply::ok(format!("got {}", seen.target))).await;
    let taps = RequestTaps::default();
    let routes = format!(
        r#"cart: Path("/cart/:id") -> "{0}"; shut: Path("/shut") -> status(418) -> <shunt>; all: * -> "{0}";"#,
        backend.url()
    );
    let world = world(&taps, &routes).await;
    world.ask("GET /unseen").await;
    let mut carts = watch(&taps, r#"Path("/cart/*rest") && Method("POST") && Weight(3)"#, Show::default());
    let mut debug = watch(&taps, r#"Header("X-Debug", "1")"#, Show::default());
    let failures = Show { only_failures: true, ..Show::default() };
    let mut failed = watch(&taps, "*", failures);
    world.ask("GET /cart/1").await;
    world.ask("POST /cart/2?token=x\n\nabc").await;
    world.ask("GET /other\nX-Debug: 1").await;
    world.ask("GET /shut\nX-Debug: 1").await;
    carts
        .check(&expect![[r#"{"attempts":1,"method":"POST","request_bytes":3,"response_bytes":19,"route":"cart","status":200,"uri":"/cart/2?token=***"}"#]])
        .await;
    debug
        .check(&expect![[r#"{"attempts":1,"method":"GET","request_bytes":0,"response_bytes":10,"route":"all","status":200,"uri":"/other"}"#]])
        .await;
    let shut = expect![[
        r#"{"attempts":0,"method":"GET","reason":"shunt","request_bytes":0,"response_bytes":10,"route":"shut","status":418,"uri":"/shut"}"#
    ]];
    debug.check(&shut).await;
    failed.check(&shut).await;
    drop((carts, debug, failed));
    assert!(!taps.are_open());
}

#[tokio::test]
async fn heads_and_bodies_are_shown_as_they_passed_and_secrets_are_not() {
    let long = "y".repeat(Half::BODY_BYTES_MAX * 2);
    let told = long.clone();
    let backend = Backend::start(move |seen| match seen.target.as_str() {
        "/long" => Reply::ok(told.clone()),
        _ => Reply::ok(r#"{"token":"hunter2","ok":true}"#).header("set-cookie", "sid=hunter2"),
    })
    .await;
    let taps = RequestTaps::default();
    let world = world(&taps, &format!(r#"all: * -> "{}""#, backend.url())).await;
    let mut watcher = watch(&taps, "*", ALL);
    let mut plain = watch(&taps, "*", Show::default());
    let answer =
        world.ask("POST /\nAuthorization: Bearer hunter2\nContent-Type: application/json\n\n{\"password\":\"hunter2\",\"n\":1}").await;
    assert_eq!(answer.text(), r#"{"token":"hunter2","ok":true}"#);
    let seen = backend.seen();
    assert_eq!(seen[0].text(), r#"{"password":"hunter2","n":1}"#);
    let event = watcher.next().await;
    assert!(!event.to_string().contains("hunter2"), "{event}");
    assert_eq!(event["request"]["body"]["text"], r#"{"password":"***","n":1}"#);
    assert_eq!(event["response"]["body"]["text"], r#"{"token":"***","ok":true}"#);
    for (half, field) in [("request", "authorization"), ("response", "set-cookie")] {
        let fields = event[half]["headers"].as_array().unwrap();
        assert!(fields.contains(&serde_json::json!([field, "***"])), "{event}");
    }
    assert!(plain.next().await.get("request").is_none(), "each tap shows what it was asked for");

    // More than is shown passes whole, both ways.
    assert_eq!(world.ask(&format!("POST /long\n\n{long}")).await.text(), long);
    assert_eq!(backend.seen()[1].text(), long);
    let event = watcher.next().await;
    for half in ["request", "response"] {
        let body = &event[half]["body"];
        let shown = body["text"].as_str().unwrap().len();
        assert_eq!(
            (shown, &body["bytes"], &body["cut"]),
            (Half::BODY_BYTES_MAX, &long.len().into(), &true.into())
        );
    }
}

/// Our own codec has what came with the head; hyper would have to be asked for it.
#[tokio::test]
async fn a_body_that_nobody_reads_is_shown_as_far_as_it_came() {
    let taps = RequestTaps::default();
    let settings = Settings { taps: taps.clone(), ..Settings::default() };
    let setup = Setup { settings, engine: Http1::Strict, ..Setup::default() };
    let world = World::with(setup, r#"shut: Path("/shut") -> <shunt>"#).await;
    let mut watcher = watch(&taps, "*", ALL);
    world.ask("PUT /shut\n\nto nobody").await;
    watcher
        .check(&expect![[r#"{"attempts":0,"method":"PUT","reason":"shunt","request":{"body":{"bytes":9,"text":"to nobody"},"headers":HEADERS},"request_bytes":0,"response":{"body":{"bytes":10,"text":"Not Found\n","type":"text/plain; charset=utf-8"},"headers":HEADERS},"response_bytes":10,"route":"shut","status":404,"uri":"/shut"}"#]])
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_and_all_cores_are() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/hold" => Reply::nothing().then_stall(),
        _ => Reply::ok("x"),
    })
    .await;
    let taps = RequestTaps::default();
    let world = world(&taps, &format!(r#"all: * -> "{}""#, backend.url())).await;
    let mut watcher = watch(&taps, "*", ALL);
    let mut leaving = world.client().await;
    leaving.send(message("GET /hold")).await;
    eventually("it is at the backend", || backend.requests() == 1).await;
    drop(leaving);
    watcher
        .check(&expect![[r#"{"attempts":1,"cut_short":true,"method":"GET","reason":"client_gone","request":{"headers":HEADERS},"request_bytes":0,"response_bytes":0,"route":"all","status":499,"uri":"/hold"}"#]])
        .await;
    // The kernel shares connections among the cores.
    for _ in 0..32 {
        world.ask("GET /").await;
        assert_eq!(watcher.next().await["uri"], "/");
    }
}

#[tokio::test]
async fn declared_calls_name_both_sides() {
    let backend = Backend::start(|_| Reply::ok("x")).await;
    let taps = RequestTaps::default();
    let edge = Edge { caller: "web".into(), callee: "cart".into() };
    let settings = Settings { taps: taps.clone(), ..Settings::default() };
    let setup = Setup { settings, edge: Some(edge), ..Setup::default() };
    let world = World::with(setup, &format!(r#"cart: Host("^cart$") -> "{}""#, backend.url())).await;
    let mut watcher = watch(&taps, r#"Host("^cart$")"#, Show::default());
    world.ask("GET /").await;
    watcher
        .check(&expect![[r#"{"attempts":1,"callee":"cart","caller":"web","method":"GET","request_bytes":0,"response_bytes":1,"route":"cart","status":200,"uri":"/"}"#]])
        .await;
}

#[test]
fn an_expression_with_a_mistake_is_refused() {
    let predicates = |text: &str| eskip::parse_predicates(&Source::new("tap", text)).unwrap();
    let refusal = |text| {
        WantedRequests::of(predicates(text), &PredicateEnv::default(), &Options::default())
            .err()
            .map(|refusal| refusal.message)
    };
    assert_eq!(
        refusal(r#"Method("GET", 2)"#).unwrap(),
        "predicate `Method`: takes at most 1 argument, got 2"
    );
    assert!(refusal("*").is_none());
}
