//! Streams: lists, messages in pages, causes as a tree, and the way between messages and traces.

use crate::world::{Wished, World, span};
use http::StatusCode;

const TRACE: &str = "00000000000000010000000000000001";

fn world() -> World {
    World::new("", Wished { streams: true, traces: true, ..Wished::default() })
}

fn caused_by(position: i64) -> String {
    format!(r#"{{"causationMessageGlobalPosition":{position},"correlationStreamName":"order-1"}}"#)
}

#[tokio::test]
async fn categories_streams_and_messages_lead_to_each_other() {
    let world = world();
    let empty = world.get("/streams").await.text;
    assert!(empty.contains("tombolo messages append"), "{empty}");
    for nth in 0..60 {
        world.append("order-1", nth, "Placed", &format!(r#"{{"nth":{nth},"<b>":1.10}}"#), "").await;
    }
    world.append("order-a b/c", 100, "Paid", "{}", "").await;
    let page = world.get("/streams").await.text;
    assert!(
        page.contains("href=\"/streams/order\"") && page.contains("href=\"/streams/order-a%20b%2Fc\""),
        "{page}"
    );
    let category = world.get("/streams/order").await.text;
    assert!(category.contains("2 streams") && category.contains("Earlier"), "{category}");
    let stream = world.get("/streams/order-1").await.text;
    assert!(
        stream.contains("60 messages") && stream.contains("&lt;b&gt;") && stream.contains("1.10"),
        "{stream}"
    );
    let earlier = world.get("/streams/order-1.json?before=9").await.json();
    assert_eq!(
        (earlier["messages"].as_array().unwrap().len(), &earlier["next"]),
        (10, &serde_json::Value::Null)
    );
    assert_eq!(earlier["messages"][0]["data"]["nth"], 9);
    assert!(world.get("/streams/order-a%20b%2Fc").await.text.contains("1 message in this stream"));
    // A stream whose name ends like a form of a page has a page.
    world.append("order-1.json", 101, "Paid", "{}", "").await;
    assert!(world.get("/streams").await.text.contains("href=\"/streams/order-1%2Ejson\""));
    assert!(world.get("/streams/order-1%2Ejson").await.text.contains("1 message in this stream"));
    assert_eq!(world.get("/streams/order-1%2Ejson.json").await.json()["name"], "order-1.json");
    let missing = world.get("/streams/cart-1").await;
    assert_eq!((missing.status, missing.text.contains("has no messages")), (StatusCode::NOT_FOUND, true));
    let none = World::new("", Wished::default());
    assert!(none.get("/streams").await.text.contains("streams: {}"));
    assert_eq!(none.get("/streams/x").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_message_stands_in_the_tree_of_its_causes() {
    let world = world();
    let placed = world.append("order-1", 1, "Placed", "{}", "").await;
    let reserved = world.append("stock-1", 2, "Reserved", "{}", &caused_by(placed)).await;
    world.append("order-2", 3, "Placed", "{}", "").await;
    world.append("bill-1", 4, "Billed", "{}", &caused_by(placed)).await;
    world.append("ship-1", 5, "Shipped", "{}", &caused_by(reserved)).await;
    // One that names what comes after it as its cause goes round nothing.
    world.append("odd-1", 6, "Odd", "{}", &caused_by(99)).await;
    let tree = |twin: serde_json::Value| -> Vec<String> {
        let one = |entry: &serde_json::Value| format!("{} {}", entry[0], entry[1]["type"].as_str().unwrap());
        twin["tree"].as_array().unwrap().iter().map(one).collect()
    };
    let id = |nth: u128| store::Uuid::from_u128(nth);
    let expected = ["0 Placed", "1 Reserved", "2 Shipped", "1 Billed"];
    for nth in [1, 2, 4, 5] {
        assert_eq!(tree(world.get(&format!("/messages/{}.json", id(nth))).await.json()), expected, "{nth}");
    }
    assert_eq!(tree(world.get(&format!("/messages/{}.json", id(6))).await.json()), ["0 Odd"]);
    let page = world.get(&format!("/messages/{}", id(5))).await.text;
    assert!(page.contains("this one") && page.contains("belongs to <a href=\"/streams/order-1\""), "{page}");
    assert_eq!(world.get(&format!("/messages/{}", id(77))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/messages/nonsense").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_message_leads_to_its_trace_and_back() {
    let world = world();
    world.append("order-0", 1, "Before", "{}", "").await;
    world.hand.advance(std::time::Duration::from_secs(60));
    let spans = span(1, "1", "", "PRODUCER", "web", 0, 5)
        .replace("0000000000000001\",\"id", &format!("{TRACE}\",\"id"));
    let context = format!(r#"{{"traceparent":"00-{TRACE}-0000000000000001-01"}}"#);
    world.append("order-1", 2, "Placed", "{}", &context).await;
    world.append("order-1", 3, "Other", "{}", "").await;
    let spans =
        spans.replace(&crate::world::NOW_US.to_string(), &(crate::world::NOW_US + 60_000_000).to_string());
    world.keep(&format!("[{spans}]")).await;
    let message = world.get(&format!("/messages/{}", store::Uuid::from_u128(2))).await.text;
    assert!(message.contains(&format!("href=\"/traces/{TRACE}\"")), "{message}");
    let trace = world.get(&format!("/traces/{TRACE}.json")).await.json();
    let kinds: Vec<_> =
        trace["messages"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Placed"]);
    assert!(world.get(&format!("/traces/{TRACE}")).await.text.contains("Messages of this trace"));
}
