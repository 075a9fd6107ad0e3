//! Listeners that belong to one declared call: who calls is known, and nobody can claim to be somebody else.

use crate::world::{Setup, World};
use testkit::Backend;
use wire::Edge;

#[tokio::test]
async fn on_an_edge_the_host_is_the_callee_and_the_caller_is_named() {
    let backend = Backend::echo().await;
    let edge = Edge { caller: "checkout".to_owned(), callee: "cart".to_owned() };
    let routes = format!(r#"cart: Host(/^cart$/) -> preserveHost("true") -> "{}""#, backend.url());
    let world = World::with(Setup { edge: Some(edge), ..Setup::default() }, &routes).await;
    assert_eq!(world.ask("GET /a\nHost: 127.0.0.1:4711\nTombolo-Caller: admin").await.status, 200);
    assert_eq!(world.ask("GET http://elsewhere/b\nHost: elsewhere").await.status, 200);
    // A declared call is as good as a Host of its own.
    assert_eq!(world.client().await.ask("GET /c HTTP/1.0\r\n\r\n").await.status, 200);
    for (seen, line) in backend.seen().iter().zip(["GET /a", "GET /b", "GET /c"]) {
        assert_eq!(seen.line(), line);
        assert_eq!((seen.header("host"), seen.header("tombolo-caller")), (Some("cart"), Some("checkout")));
        assert_eq!(seen.headers.iter().filter(|(name, _)| name == "tombolo-caller").count(), 1);
    }
    assert_eq!(world.records(3).await[0]["caller"], "checkout");
}

#[tokio::test]
async fn a_caller_can_not_have_its_name_taken_off_on_the_way() {
    let backend = Backend::echo().await;
    let edge = Edge { caller: "checkout".to_owned(), callee: "cart".to_owned() };
    let setup = Setup { edge: Some(edge), ..Setup::default() };
    let world = World::with(setup, &format!(r#"cart: * -> "{}""#, backend.url())).await;
    world.ask("GET /\nConnection: close, Tombolo-Caller").await;
    assert_eq!(backend.first().await.header("tombolo-caller"), Some("checkout"));
}

#[tokio::test]
async fn from_outside_nobody_can_claim_to_be_a_service() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(r#"r: * -> "{}""#, backend.url())).await;
    world.ask("GET /\nTombolo-Caller: admin\nTOMBOLO-CALLER: root").await;
    assert_eq!(backend.first().await.header("tombolo-caller"), None);
}

#[tokio::test]
async fn calls_are_counted_by_who_calls_whom() {
    let (backend, routes) = (Backend::echo().await, r#"to_cart: * -> "service://cart""#);
    for caller in [None, Some("web")] {
        let edge = caller.map(|caller| Edge { caller: caller.to_owned(), callee: "cart".to_owned() });
        let world = World::with(Setup { edge, services: vec!["cart"], ..Setup::default() }, routes).await;
        world.ask("GET /none").await;
        world.instances("cart", &[backend.url()]);
        world.ask("GET /a").await;
        world.ask("POST /a").await;
        world.settled().await;
        let count = |status: &str, caller: &str| {
            world.count(&format!(
                r#"http_client_request_duration_seconds_count{{http_response_status_code="{status}",server_address="cart",service_name="{caller}"}}"#
            ))
        };
        let caller = caller.unwrap_or("gateway");
        assert_eq!(
            [count("200", caller), count("503", caller)].map(|count| count as u64),
            [2, 1],
            "{caller}"
        );
    }
}

#[tokio::test]
async fn connections_that_are_kept_are_counted() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(r#"r: * -> "{}""#, backend.url())).await;
    world.ask("GET /a").await;
    world.settled().await;
    let count = |state: &str| {
        world
            .count(&format!(r#"tombolo_backend_connections{{endpoint="{}",state="{state}"}}"#, backend.url()))
    };
    assert_eq!([count("idle"), count("shared")].map(|count| count as u64), [1, 0]);
}
