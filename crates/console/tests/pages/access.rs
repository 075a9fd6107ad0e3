//! Who may see pages, and who may press buttons.

use crate::world::{TOKEN, Wished, World, peer};
use http::{Method, StatusCode};

fn world() -> World {
    World::new("", Wished::default())
}

#[tokio::test]
async fn every_answer_forbids_what_a_page_does_not_need() {
    let world = world();
    for path in ["/", "/traces", "/overview.json", "/nothing", "/console/console.css", "/sign-in"] {
        let answer = world.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        let inline = [" style=", "<style", " onclick", "javascript:"];
        assert!(inline.iter().all(|inline| !answer.text.contains(inline)), "{path}");
    }
    let page = world.get("/").await;
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(page.text.contains("<script src=\"/console/console.js?v="), "{}", page.text);
    let style = world.get("/console/console.css").await;
    assert!(
        style.header("cache-control").contains("immutable") && style.text.contains("prefers-color-scheme")
    );
}

#[tokio::test]
async fn a_page_of_another_origin_and_another_name_of_this_machine_are_refused() {
    let world = world();
    for fields in [&[("host", "evil.example")][..], &[("origin", "http://evil.example")]] {
        let answer = world.send(World::request(Method::GET, "/", fields, ""), false).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{fields:?}");
        assert!(
            !answer.text.contains("<nav aria-label=\"Pages\"><ul><li><a href=\"/\" aria-current"),
            "{fields:?}"
        );
    }
    let shown = world.send(World::request(Method::GET, "/", &[("host", "box.example")], ""), true).await;
    assert_eq!(shown.status, StatusCode::OK, "who shows the token may come by any name");
    let wrong = World::request(Method::GET, "/", &[("authorization", "Bearer nonsense")], "");
    let refused = world.send(wrong, false).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("writes a new one"), "{}", refused.text);
}

#[tokio::test]
async fn who_knows_the_token_signs_in_and_out() {
    let world = world();
    let refused = world.post("/sign-in", "", "token=wrong").await;
    assert_eq!((refused.status, refused.header("set-cookie")), (StatusCode::FORBIDDEN, ""));
    assert!(refused.text.contains("tombolo console"), "{}", refused.text);
    let by_link = world.get(&format!("/sign-in?token={TOKEN}")).await;
    assert_eq!((by_link.status, by_link.header("location")), (StatusCode::SEE_OTHER, "/"));
    let cookie = by_link.header("set-cookie");
    assert!(
        cookie.starts_with("tombolo_4600=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(TOKEN), "the cookie is not the token");
    assert_eq!(cookie.split(';').next(), Some(world.cookie().await.as_str()));

    assert!(world.get("/").await.text.contains("href=\"/sign-in\""));
    assert!(world.get_signed_in("/").await.text.contains("Sign out"));
    let (cookie, proof) = (world.cookie().await, world.proof().await);
    let out = world.post("/sign-out", &cookie, &format!("proof={proof}")).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{}", out.header("set-cookie"));
}

#[tokio::test]
async fn a_form_of_another_page_does_nothing() {
    let world = world();
    let cookie = world.cookie().await;
    for (cookie, body) in
        [("", ""), ("tombolo_4600=nonsense", "proof=x"), (&cookie, ""), (&cookie, "proof=wrong")]
    {
        let answer = world.post("/sign-out", cookie, body).await;
        assert_eq!(
            (answer.status, answer.header("set-cookie")),
            (StatusCode::FORBIDDEN, ""),
            "{cookie} {body}"
        );
    }
    let program = world.send(World::request(Method::POST, "/sign-out", &[], ""), true).await;
    assert_eq!(program.status, StatusCode::SEE_OTHER, "who shows the token is no page");
    let big = "x".repeat(20 << 10);
    assert_eq!(world.post("/sign-out", &cookie, &big).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn what_is_not_there_is_told_with_code_and_hint_in_the_form_asked_for() {
    let world = world();
    let page = world.get("/nothing").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("<code>not_found</code>: there is no page `/nothing`"), "{}", page.text);
    let twin = world.get("/nothing.json").await;
    assert_eq!((twin.status, twin.json()["code"].as_str()), (StatusCode::NOT_FOUND, Some("not_found")));
    let put = world.send(World::request(Method::PUT, "/", &[], ""), false).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.get("/traces.sse").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_so_many_watch_at_a_time() {
    let world = world();
    let mut watching = Vec::new();
    for _ in 0..console::bounds::LIVE_MAX {
        let request = World::request(Method::GET, "/overview.sse", &[], "");
        let response = world.console.answer(request, false, &peer()).await;
        assert_eq!(response.status(), StatusCode::OK);
        watching.push(response);
    }
    let refused = world.get("/overview.sse").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    watching.pop();
    let request = World::request(Method::GET, "/overview.sse", &[], "");
    assert_eq!(world.console.answer(request, false, &peer()).await.status(), StatusCode::OK);
}
