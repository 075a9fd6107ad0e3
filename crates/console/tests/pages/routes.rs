//! Routes: the table in pages, what is left out, and the form that explains.

use crate::world::{Wished, World};
use http::StatusCode;
use std::fmt::Write as _;

const ROUTES: &str = r#"
    front: Path("/") -> "service://web";
    beta: Path("/") && Header("X-Beta", "true") -> setPath("/next") -> "service://web";
    sent: Path("/send") && Method("POST") -> "service://cart";
    broken: Path("/broken") -> setQurey("a") -> "service://web";
"#;

#[tokio::test]
async fn routes_are_shown_as_they_serve_and_those_left_out_with_their_errors() {
    let world = World::new(ROUTES, Wished::default());
    let page = world.get("/routes").await;
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "Header(&quot;X-Beta&quot;, &quot;true&quot;)",
        "1 route left out",
        "<code>unknown_filter</code>",
        "did you mean `setQuery`?",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let twin = world.get("/routes.json?filter=CART").await.json();
    assert_eq!((twin["fitting"].as_u64(), twin["all"].as_u64()), (Some(1), Some(3)));
    assert_eq!(
        (twin["routes"][0]["id"].as_str(), twin["left_out"][0]["report"]["line"].as_u64()),
        (Some("sent"), Some(5))
    );
    assert!(world.get("/routes?filter=nothing").await.text.contains("None of 3 routes"));
    assert!(World::new("", Wished::default()).get("/routes").await.text.contains("There are no routes"));
}

#[tokio::test]
async fn a_request_is_explained_as_on_the_command_line() {
    let world = World::new(ROUTES, Wished::default());
    for (question, winner) in [
        ("url=/", Some("front")),
        ("url=/&headers=X-Beta:+true", Some("beta")),
        ("url=http://shop.example/send&method=POST", Some("sent")),
        ("url=/send", None),
    ] {
        let explained = &world.get(&format!("/routes.json?{question}")).await.json()["explained"];
        assert_eq!(explained["answer"]["winner"]["id"].as_str(), winner, "{question}: {explained}");
    }
    let page = world.get("/routes?url=/send").await.text;
    assert!(page.contains("No route") && page.contains("Method(&quot;POST&quot;)"), "{page}");
    let page = world.get("/routes?url=/&headers=X-Beta:+true").await.text;
    assert!(
        page.contains("takes <strong class=\"good\">beta</strong>") && page.contains("Would serve"),
        "{page}"
    );
    for wrong in ["url=cart", "url=/&headers=nonsense", "url=/&remote=me", "url=/&method=%00"] {
        let page = world.get(&format!("/routes?{wrong}")).await;
        assert!(
            page.status == StatusCode::OK && page.text.contains("role=\"alert\""),
            "{wrong}: {}",
            page.text
        );
    }
}

#[tokio::test]
async fn a_thousand_routes_come_in_pages() {
    let mut routes = String::new();
    for nth in 0..1_000 {
        write!(routes, "r{nth:04}: Path(\"/{nth}\") -> \"service://web\"; ").unwrap();
    }
    let world = World::new(&routes, Wished::default());
    let first = world.get("/routes").await.text;
    assert_eq!(first.matches("<th scope=\"row\">").count(), 100);
    assert!(first.contains("href=\"/routes?offset=100\"") && !first.contains("Before"), "{first}");
    let last = world.get("/routes?offset=900").await.text;
    assert!(last.contains("r0999") && last.contains("Before") && !last.contains(">More<"), "{last}");
    assert_eq!(world.get("/routes?offset=x").await.status, StatusCode::BAD_REQUEST);
}
