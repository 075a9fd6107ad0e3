//! The route look-up against vectors taken from Skipper's tests: the path tree with and without trailing
//! slashes, weights, precedence, and what is refused at load.
#![expect(clippy::unwrap_used, reason = "a vector that is not as described must fail the suite")]

use base::Chance;
use eskip::{Arg, Backend, Call, Route};
use http::{HeaderName, HeaderValue, Method};
use proxy::lookup::{Entry, Lookup, Options, Params, compile};
use proxy::predicates::PredicateEnv;
use proxy::{Question, Refusal};
use serde_json::Value;
use std::collections::BTreeMap;
use testkit::{Differences, conformance};
use wire::Headers;

fn table(routes: &str, options: Options) -> Result<Lookup<Route>, String> {
    let env = PredicateEnv::default();
    let routes = eskip::parse_text(routes).map_err(|errors| errors.to_string())?;
    let entry = |route: Route| {
        compile(&route, &env, &options)
            .map(|rule| Entry { rule, payload: route })
            .map_err(|r: Refusal| r.compat())
    };
    Ok(Lookup::build(routes.into_iter().map(entry).collect::<Result<_, _>>()?, &options))
}

/// What a table finds for a request: the route, and its parameters.
fn find(lookup: &Lookup<Route>, request: &Value) -> (Option<Route>, Value) {
    let text = |name: &str, default: &'static str| request[name].as_str().unwrap_or(default).to_owned();
    let method = Method::from_bytes(text("method", "GET").as_bytes()).unwrap();
    let mut headers = Headers::new();
    for (name, values) in request["headers"].as_object().into_iter().flatten() {
        for value in values.as_array().unwrap() {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
    }
    let (path, host, chance) = (text("path", "/"), text("host", ""), Chance::seeded(7));
    let question = Question::new(&method, &path, &host, &headers, &chance);
    let found = lookup.find(&question);
    let explained = lookup.explain(&question).winner.map(|winner| winner.id);
    assert_eq!(
        explained,
        found.as_ref().map(|found| found.payload.id.clone()),
        "an explanation tells another story"
    );
    match found {
        Some(found) => (Some(found.payload.clone()), params(&found.params)),
        None => (None, params(&Params::default())),
    }
}

fn params(params: &Params) -> Value {
    serde_json::json!(params.iter().collect::<BTreeMap<_, _>>())
}

#[test]
fn the_path_tree_finds_as_the_original_s() {
    let Some(data) = conformance("skipper/path_tree.json") else { return };
    let mut differences = Differences::default();
    for case in data["tables"].as_array().unwrap() {
        let routes = case["routes"].as_str().unwrap();
        for (mode, ignore_trailing_slash) in [("strict", false), ("ignore_trailing_slash", true)] {
            let lookup = table(routes, Options { ignore_trailing_slash, ..Options::default() });
            for request in case["requests"].as_array().unwrap() {
                differences.ran();
                let Some(expected) = request.get(mode) else {
                    // Vectors of routes that may as well be refused: only that nothing crashes.
                    lookup.as_ref().map(|lookup| find(lookup, request)).ok();
                    continue;
                };
                let got = match &lookup {
                    Err(why) => why.clone(),
                    Ok(lookup) => {
                        let (route, params) = find(lookup, request);
                        let route =
                            serde_json::json!({ "route": route.map(|route| route.id), "params": params });
                        if route == *expected {
                            continue;
                        }
                        route.to_string()
                    }
                };
                differences
                    .add(format!("{mode} {routes}\n  request {request}\n  expected {expected}\n  got {got}"));
            }
        }
    }
    differences.finish("skipper/path_tree", 400);
}

#[test]
fn routes_are_chosen_as_in_the_original() {
    let Some(data) = conformance("skipper/routing.json") else { return };
    let mut differences = Differences::default();
    for table in data["tables"].as_array().unwrap() {
        for case in table["cases"].as_array().unwrap() {
            differences.ran();
            let routes = case["routes"].as_str().or(table["routes"].as_str());
            if let Err(difference) = run(case, routes) {
                differences.add(format!("{} {}\n  {case}\n  {difference}", table["source"], table["test"]));
            }
        }
    }
    differences.finish("skipper/routing", 100);
}

fn run(case: &Value, routes: Option<&str>) -> Result<(), String> {
    let Some(routes) = routes else {
        return weight_args(case);
    };
    let options =
        Options { ignore_trailing_slash: case["ignore_trailing_slash"] == true, ..Options::default() };
    let built = table(routes, options);
    match &case["load_error"] {
        Value::Null => {}
        // Errors of filters are the filter table's; here the predicates must be fine.
        expected if about_filters(routes, expected) => {
            return built.map(drop).map_err(|why| format!("the predicates are refused: {why}"));
        }
        Value::Bool(expected) => {
            return if built.is_err() == *expected { Ok(()) } else { Err(format!("got {:?}", built.err())) };
        }
        expected => {
            let got = built.err();
            return if got.as_deref() == expected.as_str() { Ok(()) } else { Err(format!("got {got:?}")) };
        }
    }
    let lookup = built?;
    if let Some(expected) = case["weight"].as_i64() {
        let got = lookup.iter().next().map(|(rule, _)| rule.weight());
        return if got == Some(expected) { Ok(()) } else { Err(format!("got the weight {got:?}")) };
    }
    let (route, params) = find(&lookup, &case["request"]);
    let id = route.as_ref().map(|route| route.id.as_str());
    if let Some(expected) = case.get("route")
        && id != expected.as_str()
    {
        return Err(format!("got the route {id:?}"));
    }
    if let Some(expected) = case["backend"].as_str() {
        let got = match route.as_ref().map(|route| &route.backend) {
            Some(Backend::Network(address)) => address,
            Some(Backend::Shunt) => "",
            other => return Err(format!("got {other:?}")),
        };
        if got != expected {
            return Err(format!("got the backend {got}"));
        }
    }
    if let Some(expected) = case.get("params")
        && params != *expected
    {
        return Err(format!("got the parameters {params}"));
    }
    if let (Some(expected), Some(route)) = (case["status"].as_f64(), &route) {
        // The status is in a filter of the route: enough to know that the right one was chosen.
        let status =
            route.filters.iter().find(|filter| filter.name == "status").and_then(|f| f.args[0].number());
        if status.is_some_and(|status| (status - expected).abs() > 0.5) {
            return Err(format!("got the route {} with the status {status:?}", route.id));
        }
    }
    Ok(())
}

/// Whether a load error is one of filters: expected as such, or of routes without predicates.
fn about_filters(routes: &str, expected: &Value) -> bool {
    let text = expected.as_str().unwrap_or_default();
    text.contains("filter") || (expected.is_boolean() && routes.contains("loopbackIfStatus"))
}

/// A `Weight` of these arguments.
fn weight_args(case: &Value) -> Result<(), String> {
    let arg = |arg: &Value| match arg.as_f64() {
        Some(number) => Arg::Number(number),
        None => Arg::Text(arg.as_str().unwrap().to_owned()),
    };
    let call = Call::new("Weight", case["args"].as_array().unwrap().iter().map(arg));
    let route = Route { predicates: vec![call], ..Route::default() };
    let weight = compile(&route, &PredicateEnv::default(), &Options::default()).map(|rule| rule.weight());
    let expected = case["weight"].as_i64();
    if weight.as_ref().ok().copied() == expected { Ok(()) } else { Err(format!("got {weight:?}")) }
}
