//! Bounds that clients reach: heads and bodies that are too large, and many connections that do nothing.

use crate::world::{Setup, World, message, why};
use proxy::Settings;
use std::time::Duration;
use testkit::{Backend, Client};

#[tokio::test]
async fn a_body_larger_than_allowed_is_refused_whatever_its_framing() {
    let backend = Backend::echo().await;
    let settings = Settings { body_bytes: Some(1000), ..Settings::default() };
    let world =
        World::with(Setup { settings, ..Setup::default() }, &format!(r#"r: * -> "{}""#, backend.url())).await;
    let fits = "x".repeat(1000);
    let chunked =
        |body: &str| format!("POST /\nTransfer-Encoding: chunked\n\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(world.ask(&format!("POST /\n\n{fits}")).await.status, 200);
    assert_eq!(world.ask(&chunked(&fits)).await.status, 200);
    let over = fits + "x";
    let told = world.ask(&format!("POST /\n\n{over}")).await;
    assert_eq!(told.status, 413);
    assert_eq!(why(&told), "error=http_request_error; details=\"the body is larger than allowed\"");
    let counted = world.ask(&chunked(&over)).await;
    assert_eq!(counted.status, 413, "{}", why(&counted));
    assert_eq!(backend.seen().iter().filter(|seen| seen.complete).count(), 2);
}

#[tokio::test]
async fn a_head_larger_than_allowed_is_refused() {
    let limits = wire::Limits { header_bytes: 16 << 10, ..wire::Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }, "r: * -> status(200) -> <shunt>").await;
    assert_eq!(world.ask(&format!("GET /\nX-A: {}", "x".repeat(8 << 10))).await.status, 200);
    assert_eq!(world.ask(&format!("GET /\nX-A: {}", "x".repeat(17 << 10))).await.status, 431);
}

#[tokio::test]
async fn a_target_longer_than_allowed_is_refused() {
    let settings = Settings { uri_bytes: 100, ..Settings::default() };
    let world = World::with(Setup { settings, ..Setup::default() }, "r: * -> status(200) -> <shunt>").await;
    let target = |length: usize| format!("GET /{}?{}", "p".repeat(50), "q".repeat(length - 52));
    let mut http2 = world.h2().await;
    for (length, status) in [(100, 200), (101, 414), (60_000, 414)] {
        let answer = world.ask(&target(length)).await;
        assert_eq!(answer.status, status);
        assert_eq!(http2.ask(&target(length)).await.status, status);
        if status == 414 {
            assert_eq!(
                why(&answer),
                "error=http_request_error; details=\"path and query are longer than allowed\""
            );
        }
    }
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_ends_the_connection() {
    let limits = wire::Limits {
        header_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_secs(60),
        ..wire::Limits::default()
    };
    let world = World::with(Setup { limits, ..Setup::default() }, "r: * -> status(200) -> <shunt>").await;
    for begun in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: h\r\n"] {
        let mut client = world.client().await;
        client.send(begun).await;
        client.closed().await;
    }
}

#[tokio::test]
async fn five_thousand_idle_connections_bother_nobody() {
    let world = World::new("r: * -> status(200) -> <shunt>").await;
    // Both ends are ours, so each takes two descriptors of this process.
    let open = (descriptors().saturating_sub(2000) / 2).min(5000);
    let mut idle = Vec::new();
    for number in 0..open {
        let mut client = Client::connect(world.address).await;
        if number % 10 == 0 {
            assert_eq!(client.ask(message("GET /")).await.status, 200);
        }
        idle.push(client);
    }
    for _ in 0..20 {
        assert_eq!(world.ask("GET /").await.status, 200);
    }
    for client in idle.iter_mut().step_by(50) {
        assert_eq!(client.ask(message("GET /")).await.status, 200, "the idle ones are still served");
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let limits = wire::Limits { connections: 2, ..wire::Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }, "r: * -> status(200) -> <shunt>").await;
    let (mut first, mut second) = (world.client().await, world.client().await);
    assert_eq!(first.ask(message("GET /")).await.status, 200);
    assert_eq!(second.ask(message("GET /")).await.status, 200);
    let mut third = world.client().await;
    third.send(message("GET /")).await;
    tokio::task::yield_now().await;
    assert!(third.is_silent());
    drop(first);
    assert_eq!(third.answer().await.status, 200);
}

/// How many file descriptors this process may open.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

#[tokio::test]
async fn a_gateway_has_a_limit_of_its_own_before_any_route() {
    for (scope, other) in [("service", 429), ("client", 200)] {
        let text = format!("type={scope},max-hits=2,time-window=1m");
        let ratelimit = Some(rules::limit::Settings::parse(&text).unwrap());
        let settings = Settings { ratelimit, ..Settings::default() };
        let setup = Setup { settings, by_hand: true, ..Setup::default() };
        let world = World::with(setup, r#"r: Path("/") -> status(200) -> <shunt>"#).await;
        let mine = "X-Forwarded-For: 10.0.0.1";
        assert_eq!(world.ask(&format!("GET /\n{mine}")).await.status, 200);
        assert_eq!(world.ask(&format!("GET /none\n{mine}")).await.status, 404);
        let refused = world.ask(&format!("GET /\n{mine}")).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")));
        assert_eq!(
            (refused.header("x-rate-limit"), why(&refused).as_str()),
            (Some("120"), "error=rate_limited")
        );
        assert_eq!(world.ask("GET /\nX-Forwarded-For: 10.0.0.2").await.status, other, "{scope}");
        world.hand.advance(std::time::Duration::from_secs(60));
        assert_eq!(world.ask(&format!("GET /\n{mine}")).await.status, 200);
    }
}
