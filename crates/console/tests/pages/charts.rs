//! Metrics: plots of what came through within the last hour.

use crate::world::{Wished, World, peer};
use http::Method;
use std::time::Duration;

#[tokio::test]
async fn what_comes_through_is_plotted_for_the_gateway_and_each_service() {
    let world = World::new(r#"front: * -> "service://web";"#, Wished::default());
    assert!(world.get("/charts").await.text.contains("curl http://127.0.0.1:9090/"));
    let watching = tokio::spawn(world.console.clone().watch());
    let gateway = proxy::Gateway::new(&world.gateway, 0);
    drop(gateway.call(World::request(Method::GET, "/", &[], ""), &peer()).await);
    for _ in 0..8 {
        world.hand.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let twin = world.get("/charts.json").await.json();
    let names: Vec<_> =
        twin["series"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["gateway", "web"]);
    let first = &twin["series"][1]["points"][0];
    assert_eq!(first["errors"], 1.0, "`web` has no instance: {first}");
    let page = world.get("/charts").await.text;
    assert!(page.matches("<svg").count() == 8 && page.contains("<a href=\"/services/web\">"), "{page}");
    watching.abort();
}
