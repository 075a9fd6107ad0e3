//! Consumers: how they do, and what becomes of dead letters when buttons are pressed.

use crate::world::{Wished, World, refused};
use http::StatusCode;
use std::time::Duration;

/// Lets time pass until a page's twin is as it should be.
async fn until(world: &World, path: &str, is: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    for _ in 0..2_000 {
        let twin = world.get(path).await.json();
        if is(&twin) {
            return twin;
        }
        world.hand.advance(Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("never: {}", world.get(path).await.text);
}

#[tokio::test]
async fn what_was_given_up_is_tried_again_or_skipped_by_who_may() {
    let world = World::new("", Wished { streams: true, ..Wished::default() });
    assert!(world.get("/consumers").await.text.contains("handler: billing/orders"));
    let consumers = world.consumers.clone().unwrap();
    consumers.put("billing", refused("order")).await.unwrap();
    world.append("order-1", 1, "Placed", "{}", "").await;
    let second = world.append("order-2", 2, "Placed", "{}", "").await;
    let twin =
        until(&world, "/consumers/billing.json", |twin| twin["dead_letters"] == 2 && twin["lag"] == 0).await;
    assert_eq!((twin["lag"].as_u64(), twin["letters"][0]["type"].as_str()), (Some(0), Some("Placed")));
    let page = world.get("/consumers/billing").await.text;
    assert!(page.contains("signed in") && !page.contains("Try again") && page.contains("422"), "{page}");
    assert!(world.get_signed_in("/consumers/billing").await.text.contains("Try again"));

    let (cookie, proof) = (world.cookie().await, world.proof().await);
    let press = async |path: String| {
        let answer = world.post(&path, &cookie, &format!("proof={proof}")).await;
        (answer.status, answer.header("location").to_owned())
    };
    let there = (StatusCode::SEE_OTHER, "/consumers/billing".to_owned());
    assert_eq!(press(format!("/consumers/billing/dead/{second}/skip")).await, there);
    until(&world, "/consumers/billing.json", |twin| twin["dead_letters"] == 1).await;
    assert_eq!(press(format!("/consumers/billing/dead/{second}/skip")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(press("/consumers/billing/dead/x/skip".into()).await.0, StatusCode::BAD_REQUEST);
    // Tried again it is refused again, for the second time.
    assert_eq!(press("/consumers/billing/retry".into()).await, there);
    until(&world, "/consumers/billing.json", |twin| twin["letters"][0]["before"] == 1).await;
    assert_eq!(press("/consumers/billing/pause".into()).await, there);
    assert_eq!(world.get("/consumers.json").await.json()["consumers"][0]["is_paused"], true);
    assert_eq!(press("/consumers/billing/resume".into()).await, there);
    assert_eq!(press("/consumers/none/pause".into()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(press("/consumers/billing/explode".into()).await.0, StatusCode::NOT_FOUND);
    let by_none = world.post(&format!("/consumers/billing/dead/{second}/retry"), "", "").await;
    assert_eq!(by_none.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn how_far_a_consumer_is_behind_is_plotted() {
    let world = World::new("", Wished { streams: true, ..Wished::default() });
    let consumers = world.consumers.clone().unwrap();
    consumers.put("billing", refused("order")).await.unwrap();
    consumers.pause("billing").await.unwrap();
    world.append("order-1", 1, "Placed", "{}", "").await;
    let watching = tokio::spawn(world.console.clone().watch());
    let twin =
        until(&world, "/consumers/billing.json", |twin| twin["lags"].as_array().unwrap().len() >= 2).await;
    assert_eq!((twin["lag"].as_u64(), twin["lags"][0].as_f64()), (Some(1), Some(1.0)));
    let page = world.get("/consumers/billing").await.text;
    assert!(page.contains("aria-label=\"Behind: 1 now, at most 1 within 5 minutes\""), "{page}");
    watching.abort();
}
