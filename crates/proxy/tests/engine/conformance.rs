//! The vectors taken from Skipper's tests that need a request carried and not only looked up.

use crate::world::{World, message};
use base::Source;
use proxy::Definitions;
use serde_json::Value;
use testkit::{Differences, conformance};

#[tokio::test]
async fn answers_are_as_in_the_original() {
    let Some(data) = conformance("skipper/routing.json") else { return };
    let world = World::new("").await;
    let mut differences = Differences::default();
    for table in data["tables"].as_array().unwrap() {
        for case in table["cases"].as_array().unwrap() {
            let Some(routes) = case["routes"].as_str().or(table["routes"].as_str()) else { continue };
            let told = format!("{} {}\n  {case}", table["source"], table["test"]);
            if case["load_error"].is_boolean() {
                differences.ran();
                let refused = built(&world, routes).is_none_or(|table| !table.invalid.is_empty());
                if case["load_error"] != refused {
                    differences.add(format!("{told}\n  got {refused}"));
                }
                continue;
            }
            if case.get("status").is_none() || case["ignore_trailing_slash"] == true {
                continue;
            }
            world.plane.put(built(&world, routes).unwrap());
            // Where chance decides, the answer must be the same whatever it says.
            let times = if routes.contains("Traffic") { 50 } else { 1 };
            for _ in 0..times {
                differences.ran();
                let answer = world.client().await.ask(message(&request(&case["request"]))).await;
                let body = case["body"].as_str().is_none_or(|body| body == answer.text());
                if case["status"] != answer.status || !body {
                    differences.add(format!("{told}\n  got {}", answer.brief()));
                    break;
                }
            }
        }
    }
    differences.finish("skipper/routing, carried", 50);
}

fn built(world: &World, routes: &str) -> Option<proxy::Table> {
    let source = Source::new("case", routes);
    let parsed = eskip::parse(&source);
    let definitions = Definitions::from_source(&source, parsed.routes);
    parsed.errors.is_empty().then(|| world.plane.builder().build(&definitions))
}

fn request(request: &Value) -> String {
    let text = |name: &str, default: &'static str| request[name].as_str().unwrap_or(default).to_owned();
    let mut lines = vec![format!("{} {}", text("method", "GET"), text("path", "/"))];
    lines.push(format!("Host: {}", text("host", "www.example.org")));
    for (name, values) in request["headers"].as_object().into_iter().flatten() {
        lines.extend(
            values.as_array().unwrap().iter().map(|value| format!("{name}: {}", value.as_str().unwrap())),
        );
    }
    lines.join("\n")
}

#[tokio::test]
async fn balanced_routes_are_kept_as_in_the_original() {
    let Some(data) = conformance("skipper/balance_circuit_ratelimit.json") else { return };
    let world = World::new("").await;
    let mut differences = Differences::default();
    let cases =
        data["tables"].as_array().unwrap().iter().flat_map(|table| table["cases"].as_array().unwrap());
    for case in cases.filter(|case| case["op"] == "lb_route") {
        differences.ran();
        let table = built(&world, case["route"].as_str().unwrap());
        let kept = table.as_ref().and_then(|table| table.routes.first());
        let got = kept.map(|route| match &route.source.backend {
            eskip::Backend::Balanced { endpoints, .. } => wire::Origin::parse(&endpoints[0].address).unwrap(),
            other => panic!("{other:?}"),
        });
        let host = got.as_ref().map(|origin| origin.authority());
        let scheme = got.as_ref().map(|origin| origin.scheme.as_str());
        if case["kept"] != got.is_some()
            || case["host"].as_str() != host.as_deref()
            || case["scheme"].as_str() != scheme
        {
            differences.add(format!("{case}\n  got {got:?}"));
        }
    }
    differences.finish("skipper/lb_route", 4);
}
