//! The support listener, over its socket: routes, metrics, health.

use crate::world::{World, message};
use proxy::Support;
use std::net::SocketAddr;
use std::sync::Arc;
use testkit::{Answer, Backend, Client};
use wire::{Drainer, Limits};

struct Listener {
    address: SocketAddr,
    _drainer: Drainer,
}

impl Listener {
    async fn of(world: &World) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drainer, drain) = Drainer::new();
        let support = Support::new(vec![world.plane.clone()]);
        tokio::spawn(wire::serve(listener, None, None, Limits::default(), support, drain));
        Self { address, _drainer: drainer }
    }

    async fn ask(&self, request: &str) -> Answer {
        Client::connect(self.address).await.ask(message(request)).await
    }
}

fn routes(count: usize) -> String {
    (0..count).map(|i| format!(r#"r{i}: Path("/{i}") -> status({}) -> <shunt>;"#, 200 + i)).collect()
}

#[tokio::test]
async fn routes_are_shown_in_the_form_and_the_part_that_is_asked_for() {
    let world = World::new(&routes(5)).await;
    let support = Listener::of(&world).await;
    let text = support.ask("GET /routes").await;
    assert_eq!((text.status, text.header("x-count")), (200, Some("5")));
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(text.header("x-timestamp").unwrap().parse::<u64>().unwrap() > 1_600_000_000);
    let parsed = eskip::parse_text(&text.text()).unwrap();
    assert_eq!(
        parsed.iter().map(|route| route.id.as_str()).collect::<Vec<_>>(),
        ["r0", "r1", "r2", "r3", "r4"]
    );
    let page = eskip::parse_text(&support.ask("GET /routes?offset=3&limit=1").await.text()).unwrap();
    assert_eq!((page.len(), page[0].id.as_str()), (1, "r3"));
    assert_eq!(support.ask("GET /routes?offset=9").await.text().trim(), "");
    assert_eq!(support.ask("GET /routes?limit=x").await.status, 400);
    let json = support.ask("GET /routes?limit=2\nAccept: application/json").await;
    assert_eq!((json.header("content-type"), json.header("x-count")), (Some("application/json"), Some("5")));
    assert_eq!(eskip::from_json(&base::Source::new("answer", json.text())).unwrap().len(), 2);
    let head = support.ask("HEAD /routes").await;
    assert_eq!((head.status, head.header("x-count"), head.body.len()), (200, Some("5"), 0));
    assert_eq!(head.header("content-length"), text.header("content-length"), "as long as GET's");
    assert_eq!(support.ask("POST /routes").await.status, 405);
    assert_eq!((support.ask("GET /healthz").await.status, support.ask("GET /x").await.status), (200, 404));
}

#[tokio::test]
async fn invalid_routes_are_shown_with_the_reason() {
    let world = World::new("").await;
    world.plane.put(world.table(r#"good: * -> <shunt>; bad: Path("/a") -> setQurey("a") -> <shunt>;"#));
    let support = Listener::of(&world).await;
    assert_eq!(support.ask("GET /routes").await.header("x-count"), Some("1"));
    let text = support.ask("GET /routes?invalid=true").await;
    assert_eq!(text.header("x-count"), Some("1"));
    assert!(text.text().contains("// ") && text.text().contains("`setQuery`"), "{}", text.text());
    assert_eq!(eskip::parse_text(&text.text()).unwrap()[0].id, "bad", "still eskip");
    let json = support.ask("GET /routes?invalid=true\nAccept: application/json").await;
    let list: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!((&list[0]["reason"], &list[0]["route"]["id"]), (&"unknown_filter".into(), &"bad".into()));
    assert!(
        (world.count(r#"skipper_route_invalid{reason="unknown_filter",route_id="bad"}"#) - 1.0).abs() < 0.1
    );
}

#[tokio::test]
async fn metrics_are_in_prometheus_form() {
    let backend = Backend::saying("x").await;
    let world = World::new(&format!(r#"r: * -> "{}""#, backend.url())).await;
    world.ask("GET /").await;
    world.settled().await;
    let support = Listener::of(&world).await;
    let page = support.ask("GET /metrics").await;
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let open = support.ask("GET /metrics\naccept: application/openmetrics-text;version=1.0.0").await;
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.text().ends_with("# EOF\n"), "{}", open.text());
    let text = page.text();
    let mut typed = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.split(' ');
            if words.next() == Some("TYPE") {
                assert!(typed.insert(words.next().unwrap()), "{line}: told twice");
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(typed.contains(name) || base.is_some_and(|base| typed.contains(base)), "{line}");
    }
    assert!(text.contains(r#"skipper_serve_route_count{code="200",method="GET",route="r"} 1"#));
    assert!(Arc::strong_count(&world.plane) > 1);
}
