//! What requests leave for whoever looks at traces: a span of each, and one of each try at a backend.

use crate::world::{Setup, World, message};
use proxy::{Settings, Spans};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use telemetry::Propagation;
use telemetry::spans::{ROUTE_TAG, Recorder, Sample, Span};
use testkit::{Backend, Reply, eventually};
use wire::Edge;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Settings of a plane that leaves spans of this share of its traces here.
fn recording(recorder: &Recorder, sample: f64) -> Settings {
    let spans = Spans {
        recorder: recorder.clone(),
        sample: Sample::Share(sample),
        propagation: Propagation::Both,
        service: "gateway",
        caller: |caller| if caller.starts_with("consumer:") { "streams" } else { caller },
    };
    Settings { spans: Some(spans), ..Settings::default() }
}

async fn world(sample: f64, routes: &str) -> (World, Recorder) {
    let recorder = Recorder::new(1);
    let setup = Setup { settings: recording(&recorder, sample), ..Setup::default() };
    (World::with(setup, routes).await, recorder)
}

/// A line of each span: kind, sides, name and tags, but for those that differ from run to run.
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
            let key = key.replace("http.request.", "").replace("http.response.", "").replace("tombolo.", "");
            if !matches!(key.as_str(), "server.address" | "method") {
                text += &format!(" {key}={value}");
            }
        }
        text
    };
    spans.iter().map(line).collect()
}

/// The spans of all requests so far, once nothing is under way.
async fn left(world: &World, recorder: &Recorder) -> Vec<Span> {
    world.settled().await;
    recorder.take()
}

#[tokio::test]
async fn a_request_and_its_try_are_spans_of_the_caller_s_trace() {
    let backend = Backend::echo().await;
    let routes = format!(r#"cart: Path("/cart/:id") -> tracingTag("who", "ann") -> "{}""#, backend.url());
    let (world, recorder) = world(1.0, &routes).await;
    let head = "GET /cart/7?token=secret\nHost: shop.example:80";
    world.ask(&format!("{head}\ntraceparent: 00-{TRACE}-{PARENT}-01\ntracestate: a=1\nbaggage: b=2")).await;
    let spans = left(&world, &recorder).await;
    assert_eq!(
        lines(&spans),
        [
            "SERVER gateway> get /cart/:id: status_code=200 http.route=/cart/:id route=cart url.path=/cart/7 who=ann",
            "CLIENT gateway>127.0.0.1 get: status_code=200 route=cart",
        ]
    );
    let (request, tried) = (&spans[0], &spans[1]);
    assert_eq!(
        (request.tag("server.address"), request.tag("http.request.method")),
        (Some("shop.example"), Some("GET"))
    );
    assert_eq!(spans.iter().map(|span| span.trace.to_string()).collect::<Vec<_>>(), [TRACE, TRACE]);
    assert_eq!(format!("{:016x}", request.parent), PARENT);
    assert_eq!(tried.parent, request.id);
    assert_eq!(tried.remote.port, backend.address().port());
    // What the backend reports hangs below the try, in whichever form it reads.
    let seen = backend.first().await;
    let (id, above) = (format!("{:016x}", tried.id), format!("{:016x}", request.id));
    assert_eq!(seen.header("traceparent"), Some(format!("00-{TRACE}-{id}-01").as_str()));
    assert_eq!(seen.header("b3"), Some(format!("{TRACE}-{id}-1-{above}").as_str()));
    assert_eq!((seen.header("tracestate"), seen.header("baggage")), (Some("a=1"), Some("b=2")));
    assert_eq!(seen.header("x-b3-traceid"), None);
    let within = |span: &Span| span.timestamp_us + span.duration_us;
    assert!(request.timestamp_us <= tried.timestamp_us && within(tried) <= within(request) + 1, "{spans:?}");
}

#[tokio::test]
async fn each_copy_is_a_span_of_its_own() {
    let (backend, shadow, archive) = (Backend::echo().await, Backend::echo().await, Backend::echo().await);
    let gone = Backend::refusing().await;
    let routes = format!(
        r#"
        r: Path("/a") -> tee("{}") -> tee("http://{gone}") -> teeResponse("{}") -> "{backend}";
        l: Path("/l") -> teeLoopback("x") -> "{backend}";
        x: Path("/l") && Tee("x") -> "{backend}";"#,
        shadow.url(),
        archive.url(),
        backend = backend.url()
    );
    let (world, recorder) = world(1.0, &routes).await;
    world.ask("POST /a\n\nhello").await;
    let mut spans = left(&world, &recorder).await;
    let seen = (shadow.first().await, archive.first().await);
    eventually("all copies have ended", || {
        spans.extend(recorder.take());
        spans.len() == 5
    })
    .await;
    let mut told = lines(&spans);
    told.sort();
    assert_eq!(
        told,
        [
            "CLIENT gateway>127.0.0.1 post: error=connection_refused copy=true reason=connection_refused route=r",
            "CLIENT gateway>127.0.0.1 post: status_code=200 copy=true route=r",
            "CLIENT gateway>127.0.0.1 post: status_code=200 copy=true route=r",
            "CLIENT gateway>127.0.0.1 post: status_code=200 route=r",
            "SERVER gateway> post /a: status_code=200 http.route=/a route=r url.path=/a",
        ]
    );
    let request = spans.iter().find(|span| span.parent == 0).unwrap();
    assert!(spans.iter().all(|span| span.trace == request.trace));
    // Each has heard which span is its own.
    for seen in [&seen.0, &seen.1] {
        let id = u64::from_str_radix(&seen.header("traceparent").unwrap()[36..52], 16).unwrap();
        let own = spans.iter().find(|span| span.id == id).unwrap();
        assert_eq!((own.parent, own.tag("tombolo.copy")), (request.id, Some("true")));
    }
    // One that comes back is a request of its own, of the caller's trace if there is one.
    world.ask(&format!("GET /l\ntraceparent: 00-{TRACE}-{PARENT}-01")).await;
    let mut spans = left(&world, &recorder).await;
    eventually("the copy has ended", || {
        spans.extend(recorder.take());
        spans.len() == 4
    })
    .await;
    let of_route = |route| spans.iter().filter(move |span| span.tag(ROUTE_TAG) == Some(route));
    assert_eq!((of_route("l").count(), of_route("x").count()), (2, 2), "{:?}", lines(&spans));
    let above = spans.iter().filter(|span| format!("{:016x}", span.parent) == PARENT);
    assert_eq!((above.count(), spans.iter().all(|span| span.trace.to_string() == TRACE)), (2, true));
}

#[tokio::test]
async fn a_copy_is_not_told_without_its_request() {
    let (backend, shadow) = (Backend::echo().await, Backend::echo().await);
    let routes = format!(r#"r: * -> tee("{}") -> "{}""#, shadow.url(), backend.url());
    let (world, recorder) = world(0.0, &routes).await;
    world.ask("GET /").await;
    world.ask("GET /").await;
    shadow.wait_for(2).await;
    // The first is rare and kept, but that was not known when its copy was sent.
    let spans = lines(&left(&world, &recorder).await);
    assert!(spans.len() == 2 && spans.iter().all(|span| !span.contains("copy")), "{spans:?}");
}

#[tokio::test]
async fn each_try_is_a_span_of_its_own() {
    let backend = Backend::start(|seen| match seen.number {
        0 => Reply::nothing().then_close(),
        1 => Reply::status(503),
        _ => Reply::ok("fine"),
    })
    .await;
    let (world, recorder) =
        world(1.0, &format!(r#"r: * -> retry(2, "5xx,reset") -> "{}""#, backend.url())).await;
    assert_eq!(world.ask("GET /a").await.brief(), "200 fine");
    let spans = left(&world, &recorder).await;
    assert_eq!(
        lines(&spans),
        [
            "SERVER gateway> get: status_code=200 route=r url.path=/a",
            "CLIENT gateway>127.0.0.1 get: error=connection_terminated reason=connection_terminated route=r",
            "CLIENT gateway>127.0.0.1 get: error=503 resend_count=1 status_code=503 route=r",
            "CLIENT gateway>127.0.0.1 get: resend_count=2 status_code=200 route=r",
        ]
    );
    assert!(spans[1..].iter().all(|tried| tried.parent == spans[0].id));
    let told: Vec<_> =
        backend.seen().iter().map(|seen| seen.header("traceparent").unwrap()[36..52].to_owned()).collect();
    let ids: Vec<_> = spans[1..].iter().map(|tried| format!("{:016x}", tried.id)).collect();
    assert_eq!(told, ids);
}

#[tokio::test]
async fn a_declared_call_is_told_as_the_caller_s() {
    let backend = Backend::echo().await;
    for (caller, service) in [("web", "web"), ("consumer:billing", "streams")] {
        let recorder = Recorder::new(1);
        let edge = Edge { caller: caller.to_owned(), callee: "cart".to_owned() };
        let settings = recording(&recorder, 1.0);
        let setup = Setup { settings, edge: Some(edge), services: vec!["cart"], ..Setup::default() };
        let world = World::with(setup, r#"to_cart: Host(/^cart$/) -> "service://cart""#).await;
        assert_eq!(world.ask("GET /none").await.status, 503);
        world.instances("cart", &[backend.url()]);
        assert_eq!(world.ask("GET /a").await.status, 200);
        let spans = left(&world, &recorder).await;
        assert_eq!(
            lines(&spans),
            [
                format!(
                    "CLIENT {service}>cart get: error=destination_unavailable status_code=503 reason=destination_unavailable route=to_cart url.path=/none"
                ),
                format!("CLIENT {service}>cart get: status_code=200 route=to_cart url.path=/a"),
                format!("CLIENT {service}>cart get: status_code=200 route=to_cart"),
            ]
        );
        assert_eq!(spans[2].parent, spans[1].id);
    }
}

#[tokio::test]
async fn of_traces_that_are_not_recorded_failures_and_what_is_rare_are() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/bad" => Reply::status(500),
        "/broken" => Reply::ok("0123456789").cut(45).then_close(),
        _ => Reply::ok("fine"),
    })
    .await;
    let (world, recorder) = world(1.0, &format!(r#"r: * -> "{}""#, backend.url())).await;
    for target in ["/rare", "/", "/bad", "/broken"] {
        world.ask(&format!("GET {target}\ntraceparent: 00-{TRACE}-{PARENT}-00")).await;
    }
    assert_eq!(
        lines(&left(&world, &recorder).await),
        [
            "SERVER gateway> get: status_code=200 kept=rare route=r url.path=/rare",
            "CLIENT gateway>127.0.0.1 get: status_code=200 route=r",
            "SERVER gateway> get: error=500 status_code=500 kept=error route=r url.path=/bad",
            "CLIENT gateway>127.0.0.1 get: error=500 status_code=500 route=r",
            "SERVER gateway> get: error=cut_short status_code=200 kept=error route=r url.path=/broken",
            "CLIENT gateway>127.0.0.1 get: error=cut_short status_code=200 route=r",
        ]
    );
    for seen in backend.seen() {
        assert!(
            seen.header("traceparent").unwrap().ends_with("-00")
                && seen.header("b3").unwrap().contains("-0-")
        );
    }
}

#[tokio::test]
async fn the_share_of_a_route_is_its_filter_s_and_the_slowest_are_kept() {
    let hand = Arc::<OnceLock<base::ClockHand>>::default();
    let moved = hand.clone();
    let backend = Backend::start(move |seen| {
        if seen.target == "/slow" {
            moved.get().unwrap().advance(Duration::from_millis(30));
        }
        Reply::ok("fine")
    })
    .await;
    let recorder = Recorder::new(1);
    let setup = Setup { settings: recording(&recorder, 1.0), by_hand: true, ..Setup::default() };
    let routes = format!(
        r#"none: * -> tracingSampleRate(0) -> "{0}"; all: Path("/all") -> tracingSampleRate(1) -> "{0}""#,
        backend.url()
    );
    let world = World::with(setup, &routes).await;
    hand.set(world.hand.clone()).unwrap();
    world.ask("GET /all").await;
    let mut client = world.client().await;
    // Before there are enough of them nothing is slow.
    client.ask(message("GET /slow")).await;
    for _ in 0..320 {
        client.ask(message("GET /")).await;
    }
    // The first of `none` is rare, and after that nothing of it is.
    let routes: Vec<_> =
        left(&world, &recorder).await.iter().map(|span| span.tag(ROUTE_TAG).unwrap().to_owned()).collect();
    assert_eq!(routes, ["all", "all", "none", "none"]);
    client.ask(message("GET /slow")).await;
    client.ask(message("GET /")).await;
    assert_eq!(
        lines(&left(&world, &recorder).await),
        [
            "SERVER gateway> get: status_code=200 kept=slow route=none url.path=/slow",
            "CLIENT gateway>127.0.0.1 get: status_code=200 route=none",
        ]
    );
}

#[tokio::test]
async fn so_many_a_second_are_recorded_and_backends_are_told() {
    let backend = Backend::echo().await;
    let recorder = Recorder::new(1);
    let mut settings = recording(&recorder, 1.0);
    settings.spans.as_mut().unwrap().sample = Sample::PerSecond(10);
    let setup = Setup { settings, by_hand: true, ..Setup::default() };
    let routes =
        format!(r#"r: Path("/") -> "{0}"; no: Path("/no") -> tracingSampleRate(0) -> "{0}""#, backend.url());
    let world = World::with(setup, &routes).await;
    let mut client = world.client().await;
    let mut ask = async |target: &str, count: usize| {
        for _ in 0..count {
            client.ask(message(&format!("GET {target}"))).await;
        }
        left(&world, &recorder).await.iter().filter(|span| span.tag("tombolo.kept").is_none()).count()
    };
    // What a route's own share leaves out takes nothing from the others.
    assert_eq!(ask("/no", 20).await, 1, "the try of the first one, which is rare");
    assert_eq!(ask("/", 12).await, 20);
    world.hand.advance(Duration::from_millis(300));
    assert_eq!(ask("/", 12).await, 6);
    // Where no route is found.
    world.hand.advance(Duration::from_millis(200));
    assert_eq!(ask("/none", 3).await, 2);
    assert_eq!(recorder.left_out(), 20 + 2 + 9 + 1);
    let told =
        backend.seen().iter().filter(|seen| seen.header("traceparent").unwrap().ends_with("-01")).count();
    assert_eq!(told, 13);
}

#[tokio::test]
async fn whoever_leaves_leaves_spans_too() {
    let backend = Backend::start(|_| Reply::nothing().then_stall()).await;
    let (world, recorder) = world(0.0, &format!(r#"r: * -> "{}""#, backend.url())).await;
    let mut client = world.client().await;
    client.send(message("GET /a")).await;
    backend.first().await;
    drop(client);
    let spans = {
        let mut spans = Vec::new();
        eventually("its spans", || {
            spans.extend(recorder.take());
            spans.len() == 2
        })
        .await;
        spans
    };
    assert_eq!(
        lines(&spans),
        [
            "SERVER gateway> get: error=client_gone status_code=499 kept=error reason=client_gone route=r url.path=/a",
            "CLIENT gateway>127.0.0.1 get: reason=client_gone route=r",
        ]
    );
}

#[tokio::test]
async fn backends_are_told_in_the_form_that_is_configured() {
    let backend = Backend::echo().await;
    for (propagation, names) in [
        (Propagation::W3c, &["traceparent"][..]),
        (Propagation::B3, &["b3"]),
        (Propagation::B3Multi, &["x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-parentspanid"]),
    ] {
        let mut settings = recording(&Recorder::new(1), 0.0);
        settings.spans.as_mut().unwrap().propagation = propagation;
        let setup = Setup { settings, ..Setup::default() };
        let world = World::with(setup, &format!(r#"r: * -> "{}""#, backend.url())).await;
        world.ask("GET /").await;
        let seen = backend.seen().pop().unwrap();
        let told: Vec<_> = seen.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        let told: Vec<_> = told.iter().filter(|name| name.contains("b3") || *name == "traceparent").collect();
        assert_eq!(told, names, "{propagation:?}");
    }
}
