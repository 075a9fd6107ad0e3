//! Endpoints that fail are passed over and taken back: by what requests saw of them, and by probes.

use crate::world::{Setup, World};
use proxy::{HealthChange, Settings};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Backend, PATIENCE, Reply};

/// No answer at all: a failure on any connection, where a reset of one that served before is tried again.
fn no_answer() -> Reply {
    Reply::raw("no HTTP\r\n\r\n").then_close()
}

/// A backend that answers `name` while the switch is on, and no HTTP while it is off.
async fn switched(name: &'static str) -> (Backend, Arc<AtomicBool>) {
    let on = Arc::new(AtomicBool::new(true));
    let switch = on.clone();
    let backend =
        Backend::start(move |_| if switch.load(Ordering::SeqCst) { Reply::ok(name) } else { no_answer() })
            .await;
    (backend, on)
}

/// How many of so many requests each of two backends got.
async fn shares(world: &World, backends: [&Backend; 2], requests: usize) -> [usize; 2] {
    let before = backends.map(Backend::requests);
    for _ in 0..requests {
        world.ask("GET /").await;
    }
    [0, 1].map(|at| backends[at].requests() - before[at])
}

fn passive(text: &str) -> Setup {
    let passive_health = Some(rules::passive::Settings::parse(text).unwrap());
    Setup { settings: Settings { passive_health, ..Settings::default() }, by_hand: true, ..Setup::default() }
}

#[tokio::test]
async fn an_endpoint_that_failed_in_one_period_is_passed_over_in_the_next_and_then_taken_back() {
    let ((good, _), (bad, on)) = (switched("good").await, switched("bad").await);
    let setup = passive("period=10s,min-requests=5,min-drop-probability=0.1,max-drop-probability=1");
    let world = World::with(setup, &format!(r#"r: * -> <"{}", "{}">"#, good.url(), bad.url())).await;
    on.store(false, Ordering::SeqCst);
    assert_eq!(shares(&world, [&good, &bad], 20).await, [10, 10], "the period is not over");
    world.hand.advance(Duration::from_secs(10));
    assert_eq!(shares(&world, [&good, &bad], 20).await, [20, 0]);
    let line = format!("tombolo_endpoint_drop_probability{{endpoint=\"{}\"}}", bad.url());
    assert!((world.count(&line) - 1.0).abs() < 0.01);
    let dropped = "skipper_custom_total{key=\"passive-health-check.endpoints.dropped\"}";
    assert!((world.count(dropped) - 20.0).abs() < 0.1);
    on.store(true, Ordering::SeqCst);
    world.hand.advance(Duration::from_secs(10));
    assert_eq!(
        shares(&world, [&good, &bad], 20).await,
        [10, 10],
        "nothing was seen of it: it is asked again"
    );
    assert!(world.count(&line) < 0.01);
}

#[tokio::test]
async fn when_too_many_endpoints_fail_all_are_asked() {
    let ((one, first), (two, second)) = (switched("1").await, switched("2").await);
    let setup = passive("period=10s,min-requests=2,max-drop-probability=1,max-unhealthy-endpoints-ratio=0.4");
    let world = World::with(setup, &format!(r#"r: * -> <"{}", "{}">"#, one.url(), two.url())).await;
    first.store(false, Ordering::SeqCst);
    shares(&world, [&one, &two], 20).await;
    world.hand.advance(Duration::from_secs(10));
    assert_eq!(shares(&world, [&one, &two], 20).await, [10, 10], "one of two is more than 40 %");
    second.store(false, Ordering::SeqCst);
    world.hand.advance(Duration::from_secs(10));
    assert_eq!(shares(&world, [&one, &two], 20).await, [10, 10]);
}

#[tokio::test]
async fn by_weight_a_failing_endpoint_gets_the_less_the_more_it_fails() {
    let good = Backend::saying("good").await;
    let half = Backend::start(|seen| match seen.number % 2 {
        0 => Reply::ok("half"),
        _ => no_answer(),
    })
    .await;
    let setup = passive("period=10s,min-requests=5,max-drop-probability=0.9");
    let routes = format!(r#"r: * -> <weightedRoundRobin, "{}", "{}">"#, good.url(), half.url());
    let world = World::with(setup, &routes).await;
    assert_eq!(shares(&world, [&good, &half], 40).await, [20, 20]);
    world.hand.advance(Duration::from_secs(10));
    assert_eq!(shares(&world, [&good, &half], 30).await, [20, 10], "a weight of a half");
}

/// A plane that is tended, and what it told.
fn tend(world: &World) -> (tokio::task::JoinHandle<()>, Arc<Mutex<Vec<HealthChange>>>) {
    let told: Arc<Mutex<Vec<HealthChange>>> = Arc::default();
    let listener = told.clone();
    let tell = move |change| listener.lock().unwrap().push(change);
    (tokio::spawn(world.plane.clone().tend(tell)), told)
}

/// Lets time pass, second by second, until something holds.
async fn passing(world: &World, what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            world.hand.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

#[tokio::test]
async fn an_endpoint_whose_probes_fail_is_passed_over_until_they_succeed() {
    let well = Arc::new(AtomicBool::new(true));
    let switch = well.clone();
    let sick = Backend::start(move |seen| match seen.target.as_str() {
        "/healthz" if !switch.load(Ordering::SeqCst) => Reply::status(503),
        _ => Reply::ok("sick"),
    })
    .await;
    let good = Backend::saying("good").await;
    let routes = format!(
        r#"r: Path("/") -> healthCheck("/healthz", "10s", "5s", 3, 2) -> <"{0}", "{1}">;
           s: Path("/s") -> healthCheck("/healthz", "10s", "5s", 3, 2) -> "{1}";"#,
        good.url(),
        sick.url()
    );
    let world = World::with(Setup { by_hand: true, workers: 2, ..Setup::default() }, &routes).await;
    let (tending, told) = tend(&world);
    let healthy = || {
        world.count(&format!("tombolo_endpoint_healthy{{endpoint=\"{}\",path=\"/healthz\"}}", sick.url()))
            > 0.5
    };
    passing(&world, "first probes", || good.requests() >= 2 && sick.requests() >= 2).await;
    assert!(healthy() && told.lock().unwrap().is_empty());
    well.store(false, Ordering::SeqCst);
    let before = sick.requests();
    passing(&world, "it is unhealthy", || !healthy()).await;
    let probes = sick.requests() - before;
    assert!((3..=4).contains(&probes), "once for both routes and both cores, three times in a row: {probes}");
    let seen = sick.seen();
    let probe = seen.last().unwrap();
    assert_eq!(
        (probe.line().as_str(), probe.header("host")),
        ("GET /healthz", Some(&*sick.address().to_string()))
    );
    for _ in 0..10 {
        assert_eq!(world.ask("GET /").await.text(), "good");
    }
    assert_eq!(world.ask("GET /s").await.text(), "sick", "the only one is asked all the same");
    well.store(true, Ordering::SeqCst);
    passing(&world, "it is healthy again", healthy).await;
    let mut texts = [world.ask("GET /").await.text(), world.ask("GET /").await.text()];
    texts.sort();
    assert_eq!(texts, ["good", "sick"]);
    let lines: Vec<_> = told.lock().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            format!(
                "endpoint {} is unhealthy and passed over: /healthz: 503 Service Unavailable",
                sick.url()
            ),
            format!("endpoint {} is healthy again: /healthz answers 200 OK", sick.url()),
        ]
    );
    tending.abort();
}

#[tokio::test]
async fn when_no_endpoint_is_healthy_all_are_asked_and_a_probe_that_hangs_has_failed() {
    let backends = [
        Backend::start(|seen| match seen.target.as_str() {
            "/up" => Reply::nothing().then_stall(),
            _ => Reply::ok("0"),
        })
        .await,
        Backend::start(|seen| Reply::status(if seen.target == "/up" { 404 } else { 200 })).await,
    ];
    let routes = format!(
        r#"r: * -> healthCheck("/up", "1s", "500ms", 1) -> <"{}", "{}">"#,
        backends[0].url(),
        backends[1].url()
    );
    let world = World::with(Setup { by_hand: true, ..Setup::default() }, &routes).await;
    let (tending, told) = tend(&world);
    passing(&world, "both are unhealthy", || told.lock().unwrap().len() == 2).await;
    let mut found: Vec<_> = told.lock().unwrap().iter().map(|change| change.found.clone()).collect();
    found.sort();
    assert_eq!(found, ["404 Not Found", "no answer within 500ms"]);
    for _ in 0..4 {
        assert_eq!(world.ask("GET /").await.status, 200);
    }
    // Without the check nobody is watched any more.
    world.put(&format!(r#"r: * -> "{}""#, backends[1].url()));
    passing(&world, "nothing is told of them", || !world.plane.builder().metrics.expose().contains("/up"))
        .await;
    tending.abort();
}

#[tokio::test]
async fn only_so_many_probes_are_under_way_at_once() {
    let backend = Backend::start(|_| Reply::nothing().then_stall()).await;
    let endpoints: Vec<_> = (0..300).map(|number| format!("\"{}/{number}\"", backend.url())).collect();
    let routes = format!(r#"r: * -> healthCheck("/up", "1m", "10s") -> <{}>"#, endpoints.join(", "));
    let world = World::with(Setup { by_hand: true, ..Setup::default() }, &routes).await;
    let (tending, _) = tend(&world);
    passing(&world, "256 probes", || backend.requests() >= 256).await;
    for _ in 0..20 {
        world.hand.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(backend.requests(), 256);
    tending.abort();
}
