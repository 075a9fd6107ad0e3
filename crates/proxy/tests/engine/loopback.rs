//! Requests that go round: through the table again, with what their routes learnt, and not for ever.

use crate::world::{World, why};
use testkit::{Backend, Reply};

#[tokio::test]
async fn parameters_and_changes_survive_a_loopback_and_outer_filters_see_the_answer() {
    let backend = Backend::start(|seen| Reply::ok(seen.line())).await;
    let world = World::new(&format!(
        r#"outer: Path("/shop/:item") -> setPath("/inner") -> setRequestHeader("X-Outer", "1") -> setResponseHeader("X-Outer", "yes") -> <loopback>;
           inner: Path("/inner") && Header("X-Outer", "1") -> setPath("/items/${{item}}") -> setResponseHeader("X-Inner", "yes") -> "{}";"#,
        backend.url()
    ))
    .await;
    let answer = world.ask("GET /shop/7").await;
    assert_eq!(answer.brief(), "200 GET /items/7");
    assert_eq!((answer.header("x-outer"), answer.header("x-inner")), (Some("yes"), Some("yes")));
    assert_eq!(backend.first().await.header("x-outer"), Some("1"));
    assert_eq!(world.records(1).await[0]["route"], "inner");
}

#[tokio::test]
async fn a_body_goes_round_with_its_request() {
    let backend = Backend::echo().await;
    let world = World::new(&format!(
        r#"a: Path("/a") -> setPath("/b") -> <loopback>; b: Path("/b") -> "{}";"#,
        backend.url()
    ))
    .await;
    assert_eq!(world.ask("POST /a\n\nhello").await.brief(), "200 hello");
}

#[tokio::test]
async fn a_request_that_goes_round_for_ever_is_stopped() {
    let world = World::new(r#"r: * -> appendResponseHeader("X-Round", "1") -> <loopback>"#).await;
    let answer = world.ask("GET /").await;
    assert_eq!(answer.brief(), "500 Internal Server Error");
    assert_eq!(why(&answer), "error=proxy_loop_detected; route=\"r\"");
    let rounds = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-round")).count();
    assert_eq!(rounds, 10, "as many as Skipper's 9 loopbacks, and the first");
    let world = World::new(r#"r: * -> loopbackIfStatus(404, "/x") -> <shunt>"#).await;
    assert_eq!(world.ask("GET /").await.status, 500);
}

#[tokio::test]
async fn an_answer_of_some_status_sends_the_request_elsewhere() {
    let backend = Backend::start(|seen| match seen.target.as_str() {
        "/sorry?q=1" => Reply::ok(format!("sorry for {}", seen.header("x-for").unwrap_or("-"))),
        _ => Reply::status(404).body("missing"),
    })
    .await;
    let world = World::new(&format!(
        r#"shop: PathSubtree("/shop") -> setRequestHeader("X-For", "shop") -> setResponseHeader("X-Seen", "1") -> loopbackIfStatus(404, "/sorry") -> "{0}";
           sorry: Path("/sorry") -> "{0}"; shunt: Path("/shunt") -> loopbackIfStatus(404, "/sorry") -> <shunt>;"#,
        backend.url()
    ))
    .await;
    let answer = world.ask("GET /shop/x?q=1").await;
    assert_eq!(answer.brief(), "200 sorry for shop");
    assert_eq!(answer.header("x-seen"), Some("1"), "the filters before it see the answer that counts");
    let answer = world.ask("GET /shunt?q=1").await;
    assert_eq!((answer.brief().as_str(), why(&answer).as_str()), ("200 sorry for -", "-"));
}
