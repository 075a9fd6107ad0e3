//! The predicates against vectors taken from Skipper's tests, and against their own reference page.
#![expect(clippy::unwrap_used, reason = "a vector that is not as described must fail the suite")]

use base::{Chance, UnixTime};
use eskip::Arg;
use http::{HeaderName, HeaderValue, Method, Uri};
use proxy::lookup::{Entry, Lookup, Options, compile};
use proxy::predicates::{self, PredicateEnv};
use proxy::{Question, net};
use serde_json::Value;
use testkit::{Differences, conformance};
use wire::Headers;

fn env() -> PredicateEnv {
    let mut env = PredicateEnv::default();
    env.zone = Some(jiff::tz::TimeZone::UTC);
    env
}

/// A table of one route with these predicates.
fn lookup(predicates: Vec<eskip::Call>, env: &PredicateEnv) -> Result<Lookup<()>, String> {
    let options = Options::default();
    let route = eskip::Route { id: "r".into(), predicates, ..eskip::Route::default() };
    let rule = compile(&route, env, &options).map_err(|refusal| refusal.to_string())?;
    Ok(Lookup::build(vec![Entry { rule, payload: () }], &options))
}

#[test]
fn predicates_match_as_the_original_s() {
    let Some(data) = conformance("skipper/predicates.json") else { return };
    let mut differences = Differences::default();
    for table in data["tables"].as_array().unwrap() {
        for case in table["cases"].as_array().unwrap() {
            differences.ran();
            if let Err(difference) = run(case) {
                differences.add(format!("{} {}\n  {case}\n  {difference}", table["source"], table["test"]));
            }
        }
    }
    differences.finish("skipper/predicates", 170);
}

fn run(case: &Value) -> Result<(), String> {
    let arg = |arg: &Value| match arg {
        Value::Number(number) => Arg::Number(number.as_f64().unwrap()),
        other => Arg::Text(other.as_str().unwrap().to_owned()),
    };
    let args: Vec<Arg> = case["args"].as_array().unwrap().iter().map(arg).collect();
    let made = lookup(vec![eskip::Call::new(case["predicate"].as_str().unwrap(), args)], &env());
    let refused = made.as_ref().err().cloned();
    if refused.is_some() != (case["create_error"] == true) {
        return Err(format!("expected create_error {}, got {refused:?}", case["create_error"]));
    }
    let (Ok(lookup), Some(expected)) = (made, case["match"].as_bool()) else {
        return Ok(());
    };
    let got = ask(&case["request"], |question| lookup.find(question).is_some());
    if got == expected { Ok(()) } else { Err(format!("expected match {expected}, got {got}")) }
}

fn ask<T>(request: &Value, answer: impl FnOnce(&Question<'_>) -> T) -> T {
    let text = |name: &str| request[name].as_str();
    let uri: Uri = text("url").unwrap_or("http://example.test/").parse().unwrap();
    let method = Method::from_bytes(text("method").unwrap_or("GET").as_bytes()).unwrap();
    let mut headers = Headers::new();
    for (name, values) in request["headers"].as_object().into_iter().flatten() {
        for value in values.as_array().unwrap() {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
    }
    let chance = Chance::seeded(7);
    let host = text("host").or(uri.host()).unwrap();
    let mut question = Question::new(&method, uri.path(), host, &headers, &chance);
    question.query = uri.query();
    question.remote = text("remote_addr").and_then(net::parse_address);
    question.content_length = request["content_length"].as_u64();
    if let Some(time) = text("time") {
        let time: jiff::Timestamp = time.parse().unwrap();
        question.now = UnixTime(time.as_duration().try_into().unwrap());
    }
    if let Some(random) = request["random"].as_f64() {
        question = question.with_random(random);
    }
    answer(&question)
}

#[test]
fn every_example_of_the_reference_page_is_true() {
    let mut differences = Differences::default();
    for spec in predicates::TABLE {
        let env = env();
        let calls = eskip::parse_predicates(&base::Source::new(spec.name, spec.example)).unwrap();
        let lookup = lookup(calls, &env).unwrap_or_else(|why| panic!("{}: {why}", spec.example));
        let wanted = [(spec.matches, true), (spec.refuses, false)];
        for (request, expected) in
            wanted.iter().flat_map(|(list, want)| list.iter().map(move |r| (*r, *want)))
        {
            differences.ran();
            let got = predicates::staged(request, &env, |question| lookup.find(question).is_some()).unwrap();
            if got != expected {
                differences.add(format!("{}\n  {request:?}\n  expected {expected}, got {got}", spec.example));
            }
        }
    }
    differences.finish("examples of predicates", 100);
}

/// The page is made from the table of predicates. A stale one is written anew, and fails once.
#[test]
fn the_reference_page_is_up_to_date() {
    testkit::check_generated("docs/reference/predicates.md", &predicates::reference());
}
