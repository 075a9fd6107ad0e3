//! Traces: looked for, listed, and one as a waterfall.

use crate::world::{NOW_US, Wished, World, span};
use http::StatusCode;

async fn world() -> World {
    let world = World::new("", Wished { traces: true, ..Wished::default() });
    let spans = [
        span(1, "1", "", "SERVER", "web", 900, 80),
        span(1, "2", "1", "CLIENT", "web", 890, 40)
            .replace(r#""name""#, r#""tags":{"error":"boom","sql.query":"<b>"},"name""#),
        span(2, "3", "", "SERVER", "cart", 500, 5),
        span(3, "5", "4", "SERVER", "cart", 400, 700),
    ];
    world.keep(&format!("[{}]", spans.join(","))).await;
    world
}

fn ids(found: &serde_json::Value) -> Vec<u64> {
    let id = |trace: &serde_json::Value| u64::from_str_radix(trace["id"].as_str().unwrap(), 16).unwrap();
    found["traces"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn every_field_of_the_form_narrows_what_is_found() {
    let world = world().await;
    for (question, expected) in [
        ("", &[3, 2, 1][..]),
        ("serviceName=cart", &[3, 2]),
        ("serviceName=cart&maxDuration=100ms&minDuration=1ms", &[2]),
        ("minDuration=80000", &[3, 1]),
        ("annotationQuery=error", &[1]),
        ("annotationQuery=sql.query%3D%3Cb%3E", &[1]),
        ("spanName=get+/&limit=1", &[3]),
        ("remoteServiceName=mysql", &[]),
        ("lookback=450", &[3]),
        (&format!("endTs={}", NOW_US / 1_000 - 450), &[2, 1]),
        ("endTs=2025-11-26T11:59:59.550Z", &[2, 1]),
        ("traceId=0000000000000002", &[2]),
    ] {
        let found = world.get(&format!("/traces.json?{question}")).await;
        assert_eq!(found.status, StatusCode::OK, "{question}: {}", found.text);
        assert_eq!(ids(&found.json()), expected, "{question}");
    }
}

#[tokio::test]
async fn a_question_that_makes_no_sense_keeps_its_form() {
    let world = world().await;
    let page = world.get("/traces?serviceName=web&maxDuration=1s").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("maxDuration is only valid with minDuration"), "{}", page.text);
    assert!(
        page.text.contains("name=\"maxDuration\" value=\"1s\"")
            && page.text.contains("value=\"web\" selected")
    );
    for wrong in ["limit=many", "lookback=x", "minDuration=soon", "traceId=xyz", "endTs=noon"] {
        let twin = world.get(&format!("/traces.json?{wrong}")).await;
        assert_eq!(
            (twin.status, twin.json()["code"].as_str()),
            (StatusCode::BAD_REQUEST, Some("invalid")),
            "{wrong}"
        );
        assert!(world.get(&format!("/traces?{wrong}")).await.text.contains("role=\"alert\""), "{wrong}");
    }
}

#[tokio::test]
async fn a_trace_is_a_waterfall_with_its_own_address() {
    let world = world().await;
    let page = world.get("/traces/0000000000000001").await;
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "<details class=\"span\"",
        "sql.query",
        "&lt;b&gt;",
        "/zipkin/api/v2/trace/0000000000000001",
        "zoom into its time",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let zoomed = world.get("/traces/0000000000000001?zoom=0000000000000002").await;
    assert!(zoomed.text.contains("zoomed into"), "{}", zoomed.text);
    let twin = world.get("/traces/0000000000000001.json").await.json();
    assert_eq!(
        (twin["duration_us"].as_u64(), twin["rows"][1]["is_error"].as_bool()),
        (Some(80_000), Some(true))
    );
    assert!(world.get("/traces/3").await.text.contains("was never reported"));
}

#[tokio::test]
async fn what_is_not_there_says_why_it_may_be_so() {
    let world = world().await;
    let missing = world.get("/traces/00000000000000ff").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.text.contains("sampled out"), "{}", missing.text);
    assert_eq!(world.get("/traces/xyz").await.status, StatusCode::BAD_REQUEST);
    let empty = World::new("", Wished { traces: true, ..Wished::default() });
    assert!(empty.get("/traces").await.text.contains("9411"));
    let none = World::new("", Wished::default());
    assert!(none.get("/traces").await.text.contains("traces: {}"));
    assert_eq!(none.get("/traces.json").await.status, StatusCode::NOT_FOUND);
    assert_eq!(none.get("/traces/1").await.status, StatusCode::NOT_FOUND);
}
