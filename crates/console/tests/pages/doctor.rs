//! Doctor: what it says of traces that go in a circle, of none, and where no spans are taken.

use crate::world::{Wished, World, span};
use http::StatusCode;

#[tokio::test]
async fn services_that_call_each_other_are_found_with_the_traces_that_show_it() {
    let world = World::new("", Wished { traces: true, ..Wished::default() });
    let page = world.get("/doctor").await;
    assert!(page.text.contains("No traces so far"), "{}", page.text);
    let mut spans = Vec::new();
    for trace in 1..=60 {
        spans.push(span(trace, "1", "", "SERVER", "web", 900, 80));
        spans.push(span(trace, "2", "1", "SERVER", "cart", 890, 40));
        spans.push(span(trace, "3", "2", "SERVER", "web", 880, 20));
    }
    world.keep(&format!("[{}]", spans.join(","))).await;
    let twin = world.get("/doctor.json").await.json();
    assert_eq!((twin["traces"].as_u64(), twin["spans"].as_u64()), (Some(60), Some(180)));
    let cycle =
        twin["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "cyclic-dependency");
    let cycle = cycle.unwrap_or_else(|| panic!("{twin:#}"));
    let shown = cycle["evidence"][0].as_str().unwrap();
    let page = world.get("/doctor?lookback=900").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains(cycle["title"].as_str().unwrap()) && page.text.contains("Remedy: "));
    assert!(page.text.contains(&format!("<a href=\"/traces/{shown}\">")), "{}", page.text);
    assert!(page.text.contains("<option value=\"900\" selected>15 minutes</option>"), "{}", page.text);
    assert_eq!(world.get(&format!("/traces/{shown}")).await.status, StatusCode::OK);
    assert_eq!(world.get("/doctor?lookback=soon").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn where_no_spans_are_taken_it_says_how_they_are() {
    let world = World::new("", Wished::default());
    let page = world.get("/doctor").await;
    assert!(page.status == StatusCode::OK && page.text.contains("<pre>traces: {}</pre>"), "{}", page.text);
    assert_eq!(world.get("/doctor.json").await.status, StatusCode::NOT_FOUND);
}
