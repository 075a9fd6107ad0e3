//! The overview: the map of what spans and the gateway show, as it changes.

use crate::world::{Wished, World, peer, span};
use base::Clock;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use std::time::Duration;
use store::Time;
use telemetry::spans::{Settings, SpanStore};

const ROUTES: &str = r#"front: Path("/") -> "service://web"; api: Path("/api") -> "https://api.example.com"; own: Path("/own") -> <shunt>;"#;

#[tokio::test]
async fn an_empty_world_says_how_to_begin() {
    let world = World::new("", Wished::default());
    let page = world.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    assert!(page.text.contains("tombolo init") && page.text.contains("traces: {}"), "{}", page.text);
    assert_eq!(world.get("/overview").await.text, page.text, "`/` is the overview");
}

#[tokio::test]
async fn routes_and_spans_make_one_map() {
    let world = World::new(ROUTES, Wished { traces: true, ..Wished::default() });
    world.about.lock().unwrap().calls.push(("web".to_owned(), "stock".to_owned()));
    let spans = [
        span(1, "1", "", "SERVER", "web", 900, 80),
        span(1, "2", "1", "CLIENT", "web", 890, 40),
        span(1, "3", "2", "SERVER", "cart", 885, 30),
    ];
    world.keep(&format!("[{}]", spans.join(","))).await;
    let map = world.get("/overview.json").await.json();
    let edges: Vec<String> = map["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            format!("{} {} {} {}", edge["from"], edge["to"], edge["source"], edge["flow"]["p50_ms"])
                .replace('"', "")
        })
        .collect();
    assert_eq!(
        edges,
        [
            "gateway api.example.com declared null",
            "gateway web declared null",
            "web cart spans 30.0",
            "web stock declared null"
        ]
    );
    let page = world.get("/").await.text;
    assert!(
        page.contains("<svg class=\"map") && page.contains("href=\"/traces?serviceName=cart\""),
        "{page}"
    );
}

#[tokio::test]
async fn while_the_store_of_spans_is_away_the_pages_show_what_else_is_known_and_say_so() {
    let gone = testkit::Backend::refusing().await;
    let url = format!("postgres://ann:secret@{gone}/spans");
    let opened = SpanStore::open_postgres(&url, Settings::default(), Clock::system(), Time::Server).await;
    let world = World::new(ROUTES, Wished { spans: Some(opened.unwrap().0), ..Wished::default() });
    let map = world.get("/overview.json").await.json();
    let trouble = format!("cannot connect to database `spans` at `{gone}`");
    assert!(map["trouble"].as_str().unwrap().starts_with(&trouble), "{map}");
    assert_eq!((&map["edges"][1]["to"], &map["edges"][1]["source"]), (&"web".into(), &"declared".into()));
    for path in ["/", "/traces"] {
        let page = world.get(path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains(&trouble) && !page.text.contains("secret"), "{}", page.text);
    }
    assert_eq!(world.get("/services").await.status, StatusCode::OK);
    assert_eq!(world.get("/traces.json").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_changes_is_told_as_it_changes() {
    let world = World::new(ROUTES, Wished { traces: true, ..Wished::default() });
    let request = World::request(Method::GET, "/overview.sse", &[], "");
    let response = world.console.answer(request, false, &peer()).await;
    assert_eq!(response.headers().get("content-type").unwrap(), "text/event-stream");
    let mut body = response.into_body();
    let mut next = async || {
        let piece = body.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(piece.to_vec()).unwrap())
    };
    let first = next().await.unwrap();
    assert!(first.starts_with("event: part\ndata: {") && first.contains("\"id\":\"map\""), "{first}");
    world
        .keep(&format!("[{}]", [span(1, "1", "", "CLIENT", "web", 500, 20)].join(",").replace(
        r#""localEndpoint""#,
        r#""remoteEndpoint":{"serviceName":"mysql"},"localEndpoint""#,
    )))
        .await;
    // Nothing but time passes between two looks.
    let told = async {
        loop {
            world.hand.advance(Duration::from_secs(2));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let changed = tokio::select! { () = told => unreachable!(), changed = next() => changed.unwrap() };
    assert!(changed.contains("mysql") && changed.contains("\"id\":\"calls\""), "{changed}");
    world.drainer.drain();
    let end = async {
        while let Some(piece) = next().await {
            assert!(piece.starts_with(':') || piece.starts_with("event"), "{piece}");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("who watches goes when all stops");
}

#[tokio::test]
async fn requests_through_the_gateway_are_counted_on_the_map() {
    let world = World::new(ROUTES, Wished::default());
    let gateway = proxy::Gateway::new(&world.gateway, 0);
    let watching = tokio::spawn(world.console.clone().watch());
    for _ in 0..3 {
        // `web` has no instance: the gateway answers that itself.
        let answer = gateway.call(World::request(Method::GET, "/", &[], ""), &peer()).await;
        assert!(answer.status().is_server_error());
        drop(answer);
    }
    for _ in 0..5 {
        world.hand.advance(Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let map = world.get("/overview.json").await.json();
    let web = map["edges"].as_array().unwrap().iter().find(|edge| edge["to"] == "web").unwrap();
    assert_eq!((web["source"].as_str(), web["flow"]["error_share"].as_f64()), (Some("requests"), Some(1.0)));
    assert!((0.25..=0.35).contains(&web["flow"]["rate_per_s"].as_f64().unwrap()), "{web}");
    assert!(world.path().exists());
    watching.abort();
}
