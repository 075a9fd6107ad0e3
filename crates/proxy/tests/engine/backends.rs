//! Where requests go: shunt, dynamic, balanced and forwarded backends, and services whose instances come and go.

use crate::world::{Setup, World, brief, why};
use std::collections::BTreeSet;
use testkit::{Backend, Client, Deaf, Reply, eventually};

#[tokio::test]
async fn a_request_without_a_route_gets_the_default_status_and_the_reason() {
    let world = World::new(r#"r: Path("/known") -> <shunt>"#).await;
    let answer = world.ask("GET /unknown").await;
    assert_eq!((answer.brief().as_str(), why(&answer).as_str()), ("404 Not Found", "error=no_route"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let shunt = world.ask("GET /known").await;
    assert_eq!((shunt.status, why(&shunt).as_str()), (404, "cause=shunt; route=\"r\""));
    let settings = proxy::Settings { default_status: http::StatusCode::FORBIDDEN, ..Default::default() };
    let other = World::with(Setup { settings, ..Setup::default() }, "").await;
    assert_eq!(other.ask("GET /").await.brief(), "403 Forbidden");
    assert_eq!(other.records(1).await[0]["route"], "_unknownroute_");
}

#[tokio::test]
async fn a_dynamic_backend_is_where_filters_or_the_request_say() {
    let backend = Backend::start(|seen| Reply::ok(seen.header("host").unwrap_or("-").to_owned())).await;
    let at = backend.address().to_string();
    let world = World::new(&format!(
        r#"url: Path("/url") -> setDynamicBackendUrl("http://{at}") -> <dynamic>;
           header: Path("/header") -> setDynamicBackendHostFromHeader("X-To") -> <dynamic>;
           host: Path("/host") -> <dynamic>;"#
    ))
    .await;
    assert_eq!(world.ask("GET /url").await.brief(), format!("200 {at}"));
    assert_eq!(world.ask(&format!("GET /header\nX-To: {at}")).await.brief(), format!("200 {at}"));
    assert_eq!(world.ask(&format!("GET /host\nHost: {at}")).await.brief(), format!("200 {at}"));
    let wrong = world.ask("GET /header\nX-To: no host").await;
    assert_eq!(wrong.status, 502, "{}", why(&wrong));
    assert_eq!(backend.connections(), 1, "one endpoint, one pool, whatever named it");
}

#[tokio::test]
async fn forwarded_routes_keep_the_request_as_it_came() {
    let backend = Backend::echo().await;
    let setup = Setup { forward: Some(backend.url()), ..Setup::default() };
    let world = World::with(setup, r#"r: Path("/a") -> setPath("/b") -> <forward>"#).await;
    assert_eq!(world.ask("GET /a").await.status, 200);
    assert_eq!(backend.first().await.line(), "GET /a");
}

#[tokio::test]
async fn every_algorithm_reaches_every_endpoint() {
    let backends = [Backend::saying("0").await, Backend::saying("1").await, Backend::saying("2").await];
    let list: Vec<_> = backends.iter().map(|backend| format!("\"{}\"", backend.url())).collect();
    for algorithm in ["roundRobin", "random", "consistentHash", "powerOfRandomNChoices"] {
        let world = World::new(&format!(
            r#"r: * -> consistentHashKey("${{request.header.X-Key}}") -> <{algorithm}, {}>"#,
            list.join(", ")
        ))
        .await;
        let mut client = world.client().await;
        let mut reached = BTreeSet::new();
        let mut ask = async |key: usize| {
            client.ask(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Key: {key}\r\n\r\n")).await.text()
        };
        let mut homes = Vec::new();
        for key in 0..60 {
            homes.push(ask(key).await);
        }
        reached.extend(homes.iter().cloned());
        assert_eq!(reached.len(), 3, "{algorithm} reaches {reached:?}");
        match algorithm {
            "consistentHash" => {
                for (key, home) in homes.iter().enumerate() {
                    assert_eq!(ask(key).await, *home, "a key stays where it is");
                }
            }
            "roundRobin" => {
                for turn in homes.windows(3) {
                    assert_eq!(turn.iter().collect::<BTreeSet<_>>().len(), 3, "each in turn");
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_consistent_hash_goes_by_the_client_if_nothing_else_is_said() {
    let backends = [Backend::saying("0").await, Backend::saying("1").await, Backend::saying("2").await];
    let list: Vec<_> = backends.iter().map(|backend| format!("\"{}\"", backend.url())).collect();
    let world = World::new(&format!("r: * -> <consistentHash, {}>", list.join(", "))).await;
    let home = world.ask("GET /").await.text();
    let mut others = BTreeSet::new();
    for i in 0..40 {
        assert_eq!(world.ask("GET /").await.text(), home);
        others.insert(world.ask(&format!("GET /\nX-Forwarded-For: 192.0.2.{i}")).await.text());
    }
    assert_eq!(others.len(), 3);
}

#[tokio::test]
async fn a_service_without_an_instance_says_so_until_one_comes() {
    let (one, two) = (Backend::saying("one").await, Backend::saying("two").await);
    let setup = Setup { services: vec!["cart"], ..Setup::default() };
    let world = World::with(setup, r#"r: * -> "service://cart""#).await;
    let answer = world.ask("GET /").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        why(&answer),
        "error=destination_unavailable; route=\"r\"; details=\"no instance of service cart can serve now\""
    );
    world.instances("cart", &[one.url()]);
    assert_eq!(world.ask("GET /").await.brief(), "200 one");
    world.instances("cart", &[one.url(), two.url()]);
    let mut reached = BTreeSet::new();
    for _ in 0..4 {
        reached.insert(world.ask("GET /").await.brief());
    }
    assert_eq!(reached.len(), 2);
    world.instances("cart", &[two.url()]);
    for _ in 0..3 {
        assert_eq!(world.ask("GET /").await.brief(), "200 two", "no new table was needed");
    }
    world.instances("cart", &[]);
    assert_eq!(world.ask("GET /").await.status, 503);
}

#[tokio::test]
async fn an_instance_that_is_gone_is_passed_over() {
    let backend = Backend::saying("here").await;
    let setup = Setup { services: vec!["cart"], ..Setup::default() };
    let world = World::with(setup, r#"r: * -> "service://cart""#).await;
    world.instances("cart", &[format!("http://{}", Backend::refusing().await), backend.url()]);
    for _ in 0..6 {
        assert_eq!(world.ask("GET /").await.brief(), "200 here");
    }
}

#[tokio::test]
async fn every_way_a_backend_fails_has_its_status_and_reason() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/close" => Reply::nothing().then_close(),
        "/reset" => Reply::nothing().then_reset(),
        "/head" => Reply::ok("x").cut(12).then_close(),
        "/garbage" => Reply::raw("SSH-2.0-OpenSSH\r\n\r\n").then_close(),
        "/huge" => Reply::ok("x").header("X-Huge", &"x".repeat(600 << 10)),
        "/switch" => {
            Reply::raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        }
        _ => Reply::status(500),
    })
    .await;
    let deaf = Deaf::start().await;
    let world = World::new(&format!(
        r#"r: * -> "{0}";
           refused: Path("/refused") -> "http://{1}";
           unknown: Path("/unknown") -> "http://no-such-name.invalid";
           deaf: Path("/deaf") -> backendTimeout("50ms") -> "http://{2}";"#,
        backend.url(),
        Backend::refusing().await,
        deaf.address(),
    ))
    .await;
    let mut told = String::new();
    for target in
        ["/close", "/reset", "/head", "/garbage", "/huge", "/switch", "/refused", "/unknown", "/deaf", "/500"]
    {
        let answer = world.ask(&format!("GET {target}")).await;
        let why = why(&answer);
        let cause = why.split("; ").next().unwrap_or_default().to_owned();
        told += &format!("{target}: {} {cause}\n", answer.brief());
    }
    expect_test::expect![[r#"
        /close: 503 Service Unavailable error=connection_terminated
        /reset: 503 Service Unavailable error=connection_terminated
        /head: 503 Service Unavailable error=connection_terminated
        /garbage: 503 Service Unavailable error=http_protocol_error
        /huge: 503 Service Unavailable error=http_protocol_error
        /switch: 503 Service Unavailable error=http_protocol_error
        /refused: 502 Bad Gateway error=connection_refused
        /unknown: 502 Bad Gateway error=connection_refused
        /deaf: 504 Gateway Timeout error=connection_timeout
        /500: 500  -
    "#]]
    .assert_eq(&told);
    for record in world.records(10).await {
        assert!(record["attempts"] == 1 && record["backend"].is_string(), "{}", brief(&record));
    }
}

#[tokio::test]
async fn connections_to_backends_are_used_again_and_given_up_when_the_backend_says_so() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/close" => Reply::ok("x").and_close(),
        _ => Reply::ok("x"),
    })
    .await;
    let world = World::new(&format!(r#"r: * -> "{}""#, backend.url())).await;
    let mut client = Client::connect(world.address).await;
    for _ in 0..20 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.brief(), "200 x");
    }
    assert_eq!(backend.connections(), 1);
    for _ in 0..5 {
        assert_eq!(client.ask("GET /close HTTP/1.1\r\nHost: h\r\n\r\n").await.brief(), "200 x");
    }
    assert_eq!(backend.connections(), 5, "the client noticed nothing");
    eventually("closed connections end", || backend.open() == 0).await;
}
