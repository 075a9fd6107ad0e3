//! Filters as routes use them: through a chain, before a backend that is made up. Here against Skipper's
//! vectors; what the reference page and the chain promise is in `promises`.

#![expect(clippy::unwrap_used, reason = "a test ends where its data is not as it must be")]

mod coding;
mod promises;
mod stage;

use base::Chance;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use proxy::filters::Outcome;
use proxy::lookup::{self, Entry, Lookup, Params};
use proxy::predicates::PredicateEnv;
use proxy::{Question, answer};
use serde_json::Value;
use stage::{Stage, texts};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testkit::{Differences, conformance};
use wire::Headers;
use wire::{Body, Response};

#[tokio::test]
async fn filters_act_as_skippers_do() {
    let Some(data) = conformance("skipper/filters.json") else { return };
    let mut differences = Differences::default();
    for table in data["tables"].as_array().unwrap() {
        for case in table["cases"].as_array().unwrap() {
            let filters = case["filters"].as_str().unwrap();
            differences.ran();
            let name = format!("{} {}: {filters}", table["test"].as_str().unwrap(), case["case"]);
            let mut wrong = Vec::new();
            vector(case, filters, &mut wrong).await;
            differences.add_all(wrong.into_iter().map(|what| format!("{name}\n  {what}")));
        }
    }
    differences.finish("skipper/filters.json", 250);
}

trait AddAll {
    fn add_all(&mut self, texts: impl IntoIterator<Item = String>);
}

impl AddAll for Differences {
    fn add_all(&mut self, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            self.add(text);
        }
    }
}

async fn vector(case: &Value, filters: &str, wrong: &mut Vec<String>) {
    let stage = Stage::new();
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in entries(&case["files"]) {
        std::fs::write(folder.path().join(name), content.as_str().unwrap()).unwrap();
    }
    let filters = filters.replace("${root}", folder.path().to_str().unwrap());
    let built = stage.chain(&filters);
    if let Some(error) = case["create_error"].as_bool() {
        if built.is_err() != error {
            wrong.push(format!("create_error should be {error}: {:?}", built.err()));
        }
        return;
    }
    let chain = match built {
        Ok(chain) => chain,
        Err(refusal) => return wrong.push(refusal.to_string()),
    };
    let request = &case["request"];
    let url = request["url"].as_str().unwrap_or("/");
    let (authority, target) = match url.split_once("://") {
        Some((_, rest)) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => ("", url),
    };
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let host = request["host"].as_str().unwrap_or(authority);
    let mut headers = read_headers(&request["headers"]);
    for (name, values) in entries(&request["headers_hex"]) {
        for value in values.as_array().unwrap() {
            let value = HeaderValue::from_bytes(&bytes(value.as_str().unwrap())).unwrap();
            headers.append(HeaderName::try_from(name).unwrap(), value);
        }
    }
    let body = request["body"].as_str().map(|text| text.as_bytes().to_vec());
    let body = body.or_else(|| request["body_hex"].as_str().map(bytes)).unwrap_or_default();
    let mut exchange =
        stage.exchange(request["method"].as_str().unwrap_or("GET"), &target, host, headers, body);
    exchange.params = params(request, &target);
    let backend_host =
        case["backend_url"].as_str().and_then(|url| url.split_once("://")).map(|(_, host)| host);
    // Where nobody has chosen a Host, the notes hold none and the backend's own goes out.
    exchange.notes.outgoing_host = case["outgoing_host_before"]
        .as_str()
        .filter(|host| Some(*host) != backend_host)
        .map(|host| host.parse().unwrap());
    let forwarded_before = texts(&exchange.headers, "x-forwarded-for").join(", ");

    for (name, value) in entries(&request["context"]) {
        assert!(exchange.notes.context.set(name, value.as_str().unwrap()));
    }

    let told = &case["backend_response"];
    let shunt = case["backend"] == "shunt";
    let plain = coding::content(told);
    let backend = || {
        if shunt {
            return answer(StatusCode::NOT_FOUND);
        }
        let body = coding::encoded(&plain, &told["encode"]);
        let body = if told["body_length"].is_u64() { coding::in_chunks(body) } else { Body::full(body) };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(told["status"].as_u64().unwrap_or(200) as u16).unwrap();
        *response.headers_mut() = read_headers(&told["headers"]);
        response
    };
    let carried = stage.carry(&chain, &mut exchange, backend).await;

    if let Some(expected) = case["backend_saw"].as_object() {
        let Some(mut saw) = carried.saw else { return wrong.push("the backend was not asked".to_owned()) };
        if let (Some(host), None) = (backend_host, &exchange.notes.outgoing_host) {
            saw.headers.insert(HOST, host.parse().unwrap());
        }
        for (what, expected) in expected {
            let found = match what.as_str() {
                "method" => saw.method.to_string(),
                "path" => saw.path.clone(),
                "query" => saw.uri.query().unwrap_or_default().to_owned(),
                "host" => texts(&saw.headers, "host").join(" and "),
                "body" => String::from_utf8(saw.body.clone()).unwrap(),
                "forwarded_for_adds" => {
                    let all = [&*forwarded_before, "192.0.2.7"];
                    let parts = all.iter().filter(|part| !part.is_empty()).copied();
                    let wanted: Vec<&str> =
                        if expected == "first" { parts.rev().collect() } else { parts.collect() };
                    let found = texts(&saw.headers, "x-forwarded-for").join(" and ");
                    if found != wanted.join(", ") {
                        wrong.push(format!("x-forwarded-for is {found}, not {wanted:?}"));
                    }
                    continue;
                }
                "cookies" => {
                    cookies(&saw.headers, &COOKIE, expected, wrong);
                    continue;
                }
                "cookie_names" => {
                    let found: BTreeSet<String> = pairs(&saw.headers, &COOKIE).into_keys().collect();
                    for name in expected.as_array().unwrap() {
                        if !found.contains(name.as_str().unwrap()) {
                            wrong.push(format!("cookie {name} is not in {found:?}"));
                        }
                    }
                    continue;
                }
                _ => {
                    check_headers(&saw.headers, what, expected, wrong);
                    continue;
                }
            };
            if found != expected.as_str().unwrap() {
                wrong.push(format!("the backend saw {what} `{found}`, not {expected}"));
            }
        }
    }
    for (what, expected) in entries(&case["client_saw"]) {
        match what {
            "status" if expected.as_u64() == Some(u64::from(carried.status.as_u16())) => {}
            "status" => wrong.push(format!("status {} and not {expected}", carried.status)),
            "body" if !carried.broken && expected.as_str().unwrap().as_bytes() == carried.body => {}
            "body" => {
                wrong.push(format!("body {:?} and not {expected}", String::from_utf8_lossy(&carried.body)));
            }
            "body_unchanged" if plain == carried.body => {}
            "decoded_body_unchanged" => {
                let coding = texts(&carried.headers, "content-encoding").join(", ");
                if coding::decoded(&carried.body, &coding) != plain {
                    wrong.push(format!("the body is not what the backend sent, in {coding}"));
                }
            }
            "cookies" => cookies(&carried.headers, &SET_COOKIE, expected, wrong),
            "set_cookies" => set_cookies(&carried.headers, expected, wrong),
            _ => check_headers(&carried.headers, what, expected, wrong),
        }
    }
    let told = carried.headers.get(CONTENT_LENGTH).map(|length| length.to_str().unwrap().to_owned());
    if told.is_some_and(|length| length != carried.body.len().to_string()) {
        wrong.push("Content-Length is not the body's length".to_owned());
    }
}

fn check_headers(headers: &Headers, what: &str, expected: &Value, wrong: &mut Vec<String>) {
    match what {
        "headers" => {
            for (name, expected) in entries(expected) {
                let found = texts(headers, name);
                let same = match expected {
                    Value::String(first) => found.first().map_or("", |found| found) == first,
                    values => {
                        values.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).eq(&found)
                    }
                };
                if !same {
                    wrong.push(format!("header {name} is {found:?}, not {expected}"));
                }
            }
        }
        "absent_headers" => {
            for name in expected.as_array().unwrap() {
                if headers.contains_key(name.as_str().unwrap()) {
                    wrong.push(format!("header {name} is there"));
                }
            }
        }
        "header_prefixes" => {
            for (name, expected) in entries(expected) {
                let found = texts(headers, name);
                if !found.first().is_some_and(|found| found.starts_with(expected.as_str().unwrap())) {
                    wrong.push(format!("header {name} is {found:?} and does not begin with {expected}"));
                }
            }
        }
        "headers_hex" => {
            for (name, expected) in entries(expected) {
                let found: Vec<&[u8]> = headers.get_all(name).map(HeaderValue::as_bytes).collect();
                let expected: Vec<Vec<u8>> =
                    expected.as_array().unwrap().iter().map(|hex| bytes(hex.as_str().unwrap())).collect();
                if found != expected {
                    wrong.push(format!("header {name} is {found:x?}, not {expected:x?}"));
                }
            }
        }
        "x_test_headers" => {
            let names = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-test-"));
            let found: BTreeMap<String, Vec<String>> = names
                .map(|name| (name.to_owned(), texts(headers, name).into_iter().map(Into::into).collect()))
                .collect();
            let expected: BTreeMap<String, Vec<String>> = entries(expected)
                .map(|(name, values)| (name.to_lowercase(), serde_json::from_value(values.clone()).unwrap()))
                .collect();
            if found != expected {
                wrong.push(format!("X-Test headers are {found:?}, not {expected:?}"));
            }
        }
        _ => wrong.push(format!("the test does not know {what}")),
    }
}

/// Names and values of all cookies; of Set-Cookie without the attributes.
fn pairs(headers: &Headers, header: &HeaderName) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in texts(headers, header.as_str()) {
        let most = if header == SET_COOKIE { 1 } else { usize::MAX };
        for pair in line.split(';').take(most) {
            let (name, value) = pair.trim().split_once('=').unwrap_or((pair, ""));
            found.entry(name.to_owned()).or_default().push(value.to_owned());
        }
    }
    found
}

fn cookies(headers: &Headers, header: &HeaderName, expected: &Value, wrong: &mut Vec<String>) {
    let found = pairs(headers, header);
    let expected: BTreeMap<String, Vec<String>> = serde_json::from_value(expected.clone()).unwrap();
    let same = found.keys().eq(expected.keys())
        && found.iter().all(|(name, values)| {
            values[0] == expected[name][0] && values.iter().all(|value| expected[name].contains(value))
        });
    if !same {
        wrong.push(format!("cookies are {found:?}, not {expected:?}"));
    }
}

fn set_cookies(headers: &Headers, expected: &Value, wrong: &mut Vec<String>) {
    let found = texts(headers, "set-cookie");
    for (name, expected) in entries(expected) {
        let Some(line) = found.iter().find(|line| line.starts_with(&format!("{name}="))) else {
            wrong.push(format!("no cookie {name} in {found:?}"));
            continue;
        };
        let mut parts = line.split("; ");
        let value = parts.next().unwrap().split_once('=').unwrap().1;
        let attributes: BTreeMap<&str, &str> =
            parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
        for (what, expected) in entries(expected) {
            let same = match what {
                "value" => expected == value,
                "http_only" => expected.as_bool() == Some(attributes.contains_key("HttpOnly")),
                "domain" => expected.as_str() == attributes.get("Domain").copied(),
                "path" => expected.as_str() == attributes.get("Path").copied(),
                "max_age" => expected.as_u64() == attributes.get("Max-Age").and_then(|age| age.parse().ok()),
                _ => false,
            };
            if !same {
                wrong.push(format!("{what} of {line} is not {expected}"));
            }
        }
    }
    if found.len() > entries(expected).count() {
        wrong.push(format!("more cookies than expected: {found:?}"));
    }
}

/// The path parameters of a request: given, or those that a Path predicate finds.
fn params(request: &Value, target: &str) -> Params {
    let (pattern, path) = match (&request["path_predicate"], request["path_params"].as_object()) {
        (Value::String(pattern), _) => (pattern.clone(), target.to_owned()),
        (_, Some(given)) => {
            let names: Vec<String> = given.keys().map(|name| format!(":{name}")).collect();
            let values: Vec<&str> = given.values().map(|value| value.as_str().unwrap()).collect();
            (format!("/{}", names.join("/")), format!("/{}", values.join("/")))
        }
        _ => return Params::default(),
    };
    let route = &eskip::parse_text(&format!("r: Path({pattern:?}) -> <shunt>")).unwrap()[0];
    let options = lookup::Options::default();
    let rule = lookup::compile(route, &PredicateEnv::default(), &options).unwrap();
    let table = Lookup::build(vec![Entry { rule, payload: () }], &options);
    let (headers, chance) = (Headers::new(), Chance::seeded(1));
    let question = Question::new(&Method::GET, &path, "", &headers, &chance);
    table.find(&question).expect("the path has the pattern's form").params
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn read_headers(object: &Value) -> Headers {
    let mut headers = Headers::new();
    for (name, values) in entries(object) {
        for value in values.as_array().unwrap() {
            let value = HeaderValue::from_bytes(value.as_str().unwrap().as_bytes()).unwrap();
            headers.append(HeaderName::try_from(name).unwrap(), value);
        }
    }
    headers
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

#[tokio::test]
async fn keys_and_refusals_are_skippers() {
    let Some(data) = conformance("skipper/balance_circuit_ratelimit.json") else { return };
    let mut differences = Differences::default();
    let cases =
        data["tables"].as_array().unwrap().iter().flat_map(|table| table["cases"].as_array().unwrap());
    for case in cases {
        let stage = Stage::new();
        match case["op"].as_str().unwrap() {
            "consistent_hash_key" => {
                differences.ran();
                let chain = stage.chain(case["filters"].as_str().unwrap()).unwrap();
                let mut exchange = stage.exchange("GET", "/", "", read_headers(&case["headers"]), Vec::new());
                let _ = chain.request(&mut exchange).await;
                if exchange.notes.hash_key.as_deref() != case["key"].as_str() {
                    differences.add(format!("{case}\n  key {:?}", exchange.notes.hash_key));
                }
            }
            "ratelimit_headers" => {
                differences.ran();
                let (hits, window_ms) = (&case["max_hits"], case["time_window_ms"].as_u64().unwrap());
                let chain = stage.chain(&format!("ratelimit({hits}, \"{window_ms}ms\")")).unwrap();
                let request = || stage.exchange("GET", "/", "", Headers::new(), Vec::new());
                assert!(matches!(chain.request(&mut request()).await, Outcome::Next { ran: 1 }));
                stage
                    .hand
                    .advance(Duration::from_millis(window_ms - case["retry_after"].as_u64().unwrap() * 1000));
                let Outcome::Reply { response, .. } = chain.request(&mut request()).await else {
                    panic!("one more than the limit passed");
                };
                let mut wrong = Vec::new();
                check_headers(response.headers(), "headers", &case["headers"], &mut wrong);
                differences.add_all(wrong);
            }
            "bucket_key" => {
                differences.ran();
                differences.add_all(bucket_key(case, &stage).await);
            }
            _ => {}
        }
    }
    differences.finish("skipper/balance_circuit_ratelimit.json, what filters do", 7);
}

/// Who is counted together, as seen from outside: one request that has the vector's key leaves no room for
/// another that has it, and does not bother one that has another.
async fn bucket_key(case: &Value, stage: &Stage) -> Option<String> {
    let (by, key) = (case["by"].as_str().unwrap(), case["key"].as_str().unwrap());
    let (filter, same) = match by.split_once(' ') {
        None if by == "same" => (r#"ratelimit(1, "1h")"#.to_owned(), Headers::new()),
        None => (r#"clientRatelimit(1, "1h")"#.to_owned(), read_headers(&serde_json::json!({ by: [key] }))),
        Some((_, headers)) => {
            (format!(r#"clientRatelimit(1, "1h", "{headers}")"#), read_headers(&case["headers"]))
        }
    };
    let elsewhere = |name: &HeaderName| (name.clone(), HeaderValue::from_static("192.0.2.99"));
    let other: Headers = same.keys().map(elsewhere).collect();
    let chain = stage.chain(&filter).unwrap();
    let passes = async |headers: Headers| {
        let mut exchange = stage.exchange("GET", "/", "", headers, Vec::new());
        matches!(chain.request(&mut exchange).await, Outcome::Next { .. })
    };
    let passed = [passes(read_headers(&case["headers"])).await, passes(same).await, passes(other).await];
    let expected = [true, false, by != "same"];
    (passed != expected).then(|| format!("{case}\n  passed {passed:?}"))
}
