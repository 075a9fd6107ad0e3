//! Skipper's own tables of the language, as data: parsing and its errors, printing, JSON, templates, edits
//! and equality.

use eskip::{
    Arg, Backend, Call, Context, Edit, Endpoint, Placeholder, Printer, Route, Template, equal, equal_lists,
    format, from_json, parse, parse_text, to_json,
};
use serde_json::{Value, json};
use std::fmt::Debug;
use testkit::{Differences, conformance};

#[test]
fn texts_are_parsed_or_refused_as_the_original_does() {
    let Some(data) = conformance("skipper/eskip_parse.json") else { return };
    let mut differences = Differences::default();
    for case in list(&data["cases"]) {
        differences.ran();
        let got = parse_text(text(&case["eskip"]));
        let differs = match (&got, case["error"].as_str()) {
            (Ok(routes), None) => !same_in_order(routes, &routes_of(&case["routes"])),
            (Err(errors), Some(error)) => errors.compat() != error,
            _ => true,
        };
        if differs {
            differences.add(told(case, &got));
        }
    }
    differences.finish("eskip_parse", 12);
}

#[test]
fn the_rest_of_the_language_is_the_original_s() {
    let Some(data) = conformance("skipper/eskip_print_json_template.json") else { return };
    let mut differences = Differences::default();
    for case in list(&data["tables"]).iter().flat_map(|table| list(&table["cases"])) {
        differences.ran();
        let op = match text(&case["op"]) {
            "print" => print,
            "print_call" => print_call,
            "json" => json_and_back,
            "json_error" => json_error,
            "roundtrip" => roundtrip,
            "template" => template,
            "parse" => parsed,
            "edit" => edit,
            "clone" => clone,
            "equal" => equality,
            "endpoint" => endpoint,
            other => panic!("the suite has an op it has no test for: {other}"),
        };
        if let Err(difference) = op(case) {
            differences.add(difference);
        }
    }
    differences.finish("eskip_print_json_template", 120);
}

type Outcome = Result<(), String>;

fn print(case: &Value) -> Outcome {
    let routes = match &case["input"] {
        Value::String(eskip) => parse_text(eskip).map_err(|errors| told(case, &errors))?,
        json => routes_of(json),
    };
    let pretty = case["pretty"].as_bool().unwrap_or_default();
    let printer = Printer { pretty, indent: case["indent"].as_str().unwrap_or_default().to_owned() };
    let printed =
        if case["expression"] == true { printer.expression(&routes[0]) } else { printer.print(&routes) };
    same(case, &printed.as_str(), &text(&case["expected"]))
}

fn print_call(case: &Value) -> Outcome {
    let call: Call = serde_json::from_value(case["input"].clone()).map_err(|error| told(case, &error))?;
    same(case, &call.to_string().as_str(), &text(&case["expected"]))
}

fn json_and_back(case: &Value) -> Outcome {
    let given = as_list(serde_json::from_str(text(&case["input"])).map_err(|error| told(case, &error))?);
    let routes = from_json(&base::Source::new("input", text(&case["input"]))).map_err(|e| told(case, &e))?;
    same(case, &sorted(value_of(&routes)), &sorted(given.clone()))?;
    if let Some(eskip) = case["eskip"].as_str() {
        let routes = parse_text(eskip).map_err(|errors| told(case, &errors))?;
        same(case, &sorted(value_of(&routes)), &sorted(given))?;
    }
    Ok(())
}

fn json_error(case: &Value) -> Outcome {
    let read = from_json(&base::Source::new("input", text(&case["input"])));
    same(case, &read.is_err(), &true)
}

fn roundtrip(case: &Value) -> Outcome {
    let value = &case["value"];
    let argument = |name: &str| Call::new(name, [Arg::Text(text(value).to_owned())]);
    let route = match text(&case["as"]) {
        "string" => {
            Route { predicates: vec![argument("Path")], filters: vec![argument("f")], ..Route::default() }
        }
        "regexp" => {
            let route = Route { predicates: vec![argument("PathRegexp")], ..Route::default() };
            // Unlike what follows, this would not tell strings from patterns.
            same(case, &route.to_string().starts_with("PathRegexp(/"), &true)?;
            route
        }
        "number" => {
            let number = Arg::Number(value.as_f64().ok_or("the value is no number")?);
            Route { filters: vec![Call::new("f", [number])], ..Route::default() }
        }
        "document" => {
            let routes = parse_text(text(value)).map_err(|errors| told(case, &errors))?;
            return same(case, &Printer::default().print(&routes).as_str(), &text(value));
        }
        "lb" => routes_of(value).remove(0),
        other => panic!("the suite has a place it has no test for: {other}"),
    };
    let printed = Printer::default().print(std::slice::from_ref(&route));
    let again = parse_text(&printed).map_err(|errors| told(case, &errors))?;
    if same_in_order(&again, &[route]) { Ok(()) } else { Err(told(case, &again)) }
}

fn template(case: &Value) -> Outcome {
    let template = Template::parse(text(&case["input"]));
    if case.get("context").is_none() {
        let values = case["values"].as_object();
        let filled = match values {
            Some(values) => template.expand_with(|name| values.get(name).and_then(Value::as_str)).text,
            None => template.text().to_owned(),
        };
        return same(case, &filled.as_str(), &text(&case["expected"]));
    }
    let filled = template.expand(&JsonContext(&case["context"]));
    same(case, &filled.text.as_str(), &text(&case["expected"]))?;
    same(case, &filled.complete, &(case["complete"] == true))
}

/// A request and a response as the suite has them.
struct JsonContext<'a>(&'a Value);

impl Context for JsonContext<'_> {
    fn append(&self, placeholder: Placeholder<'_>, out: &mut String) {
        let request = &self.0["request"];
        let url = request["url"].as_str().unwrap_or_default();
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let header = |of: &Value, name: &str| {
            let headers = of["headers"].as_object()?;
            let (_, values) = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
            values[0].as_str().map(str::to_owned)
        };
        let pair = |text: &str, separator: &str, name: &str| {
            let mut pairs = text.split(separator).filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let peer = || Some(request["remote_addr"].as_str()?.rsplit_once(':')?.0.to_owned());
        let forwarded = || header(request, "X-Forwarded-For");
        let value = match placeholder {
            Placeholder::Method => request["method"].as_str().map(str::to_owned),
            Placeholder::Host => request["host"].as_str().map(str::to_owned),
            Placeholder::Path => path.splitn(4, '/').nth(3).map(|path| format!("/{path}")),
            Placeholder::RawQuery => Some(query.to_owned()),
            Placeholder::Source => {
                forwarded().and_then(|list| Some(list.split(',').next()?.trim().to_owned())).or_else(peer)
            }
            Placeholder::SourceFromLast => {
                forwarded().and_then(|list| Some(list.rsplit(',').next()?.trim().to_owned())).or_else(peer)
            }
            Placeholder::ClientIp => peer(),
            Placeholder::RequestHeader(name) => header(request, name),
            Placeholder::ResponseHeader(name) => header(&self.0["response"], name),
            Placeholder::Query(name) => pair(query, "&", name),
            Placeholder::Cookie(name) => header(request, "Cookie").and_then(|all| pair(&all, ";", name)),
            Placeholder::PathParam(name) => self.0["path_params"][name].as_str().map(str::to_owned),
        };
        out.push_str(&value.unwrap_or_default());
    }
}

fn parsed(case: &Value) -> Outcome {
    let got = parse_text(text(&case["input"]));
    if let Some(error) = case.get("error") {
        return same(case, &got.is_err(), &(error == true));
    }
    let routes = got.map_err(|errors| told(case, &errors))?;
    if let Some(argument) = case["first_predicate_arg"].as_str() {
        return same(case, &routes[0].predicates[0].args[0].text(), &Some(argument));
    }
    if let Some(argument) = case["first_filter_arg"].as_str() {
        return same(case, &routes[0].filters[0].args[0].text(), &Some(argument));
    }
    if same_in_order(&routes, &routes_of(&case["routes"])) { Ok(()) } else { Err(told(case, &routes)) }
}

fn edit(case: &Value) -> Outcome {
    changed(case, |edit, routes| edit.apply(routes))
}

fn clone(case: &Value) -> Outcome {
    changed(case, Edit::clone_into)
}

fn changed(case: &Value, change: fn(&Edit, &mut Vec<Route>) -> Vec<base::Diagnostic>) -> Outcome {
    let mut routes = parse_text(text(&case["input"])).map_err(|errors| told(case, &errors))?;
    if let (Some(pattern), Some(replacement)) = (case["pattern"].as_str(), case["replacement"].as_str()) {
        let edit = Edit::new(pattern, replacement).map_err(|error| told(case, &error))?;
        same(case, &change(&edit, &mut routes), &Vec::new())?;
    }
    let expected = parse_text(text(&case["expected"])).map_err(|errors| told(case, &errors))?;
    if equal_lists(&routes, &expected) { Ok(()) } else { Err(told(case, &routes)) }
}

fn equality(case: &Value) -> Outcome {
    let got = match case.get("lists") {
        Some(lists) => {
            let lists: Vec<Vec<Route>> = list(lists).iter().map(routes_of).collect();
            lists.windows(2).all(|pair| equal_lists(&pair[0], &pair[1]))
        }
        None => routes_of(&case["routes"]).windows(2).all(|pair| equal(&pair[0], &pair[1])),
    };
    same(case, &got, &(case["expected"] == true))
}

fn endpoint(case: &Value) -> Outcome {
    let zone = Some(text(&case["zone"]).to_owned()).filter(|zone| !zone.is_empty());
    let endpoint = Endpoint { address: text(&case["address"]).to_owned(), zone };
    match text(&case["direction"]) {
        "print" => same(case, &endpoint.to_string().as_str(), &text(&case["text"])),
        _ => same(case, &Endpoint::parse(text(&case["text"])), &endpoint),
    }
}

/// The same routes in the same order. The suite's JSON has the predicates of six kinds before all others.
fn same_in_order(got: &[Route], expected: &[Route]) -> bool {
    got.len() == expected.len() && got.iter().zip(expected).all(|(got, expected)| equal(got, expected))
}

fn routes_of(json: &Value) -> Vec<Route> {
    let json = as_list(json.clone()).to_string();
    from_json(&base::Source::new("json", json)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn value_of(routes: &[Route]) -> Value {
    serde_json::from_str(&to_json(routes)).expect("what is written is JSON")
}

fn as_list(json: Value) -> Value {
    if json.is_array() { json } else { json!([json]) }
}

/// The JSON of routes with their predicates and filters in the order of their text.
fn sorted(mut routes: Value) -> Value {
    for route in routes.as_array_mut().into_iter().flatten() {
        for part in ["predicates", "filters"] {
            if let Some(calls) = route.get_mut(part).and_then(Value::as_array_mut) {
                calls.sort_by_key(Value::to_string);
            }
        }
    }
    routes
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).expect("the suite has a list here")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn same<T: PartialEq + Debug>(case: &Value, got: &T, expected: &T) -> Outcome {
    if got == expected { Ok(()) } else { Err(told(case, got)) }
}

fn told(case: &Value, got: &impl Debug) -> String {
    format!("case: {case}\ngot:  {got:?}")
}

/// Whatever the suite's texts hold, formatting them keeps what they say.
#[test]
fn formatting_the_suite_s_texts_keeps_their_routes() {
    let Some(data) = conformance("skipper/eskip_parse.json") else { return };
    let mut differences = Differences::default();
    for case in list(&data["cases"]).iter().filter(|case| case["error"].is_null()) {
        differences.ran();
        let source = base::Source::new("case", text(&case["eskip"]));
        let formatted = format(&source).unwrap_or_else(|errors| errors.to_string());
        let again = parse(&base::Source::new("formatted", formatted.as_str()));
        let before = parse(&source).routes;
        if !again.errors.is_empty() || !same_in_order(&again.routes, &before) {
            differences.add(told(case, &formatted));
        }
    }
    differences.finish("eskip_parse, formatted", 7);
}

/// A route without a backend is a network route without an address.
#[test]
fn the_default_backend_is_nobody() {
    assert!(matches!(Route::default().backend, Backend::Network(address) if address.is_empty()));
}
