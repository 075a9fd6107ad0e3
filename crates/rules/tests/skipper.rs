//! Skipper's own vectors for load balancing, breakers and limits. What needs filters or headers
//! (`consistent_hash_key`, `lb_route`, `bucket_key`) is run where those are.

use base::{Chance, Moment};
use rules::breaker::{Settings, Trip};
use rules::{
    Algorithm, Ask, Balancer, Breaker, Breakers, Candidates, ClientLimit, Leak, LeakyBucket, Limit, Rate,
    Sampler, Verdict, limit,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use testkit::{Differences, conformance};

#[test]
fn the_vectors_of_skipper_hold() {
    let Some(data) = conformance("skipper/balance_circuit_ratelimit.json") else {
        return;
    };
    let mut differences = Differences::default();
    for table in data["tables"].as_array().expect("tables") {
        for case in table["cases"].as_array().expect("cases") {
            let outcome = match case["op"].as_str().expect("op") {
                "consistent_hash" => consistent_hash(table, case),
                "circuit" => circuit(case),
                "sampler" => sampler(case),
                "circuit_settings" => {
                    let host = case["settings"]["host"].as_str().expect("host");
                    same(&case["text"], settings(&case["settings"]).display(host).to_string())
                }
                "circuit_registry" => circuit_registry(case),
                "ratelimit" => ratelimit(case),
                "leaky_bucket" => leaky_bucket(case),
                "ratelimit_headers" => ratelimit_headers(case),
                "ratelimit_yaml" => ratelimit_yaml(case),
                "consistent_hash_key" | "lb_route" | "bucket_key" => continue,
                other => panic!("unknown op `{other}`"),
            };
            differences.ran();
            if let Err(text) = outcome {
                differences.add(format!("{}\n  {case}\n  {text}", table["test"]));
            }
        }
    }
    differences.finish("skipper balance, circuit, ratelimit", 100);
}

fn same(expected: &Value, got: impl Into<Value>) -> Result<(), String> {
    let got = got.into();
    if *expected == got { Ok(()) } else { Err(format!("expected {expected}, got {got}")) }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn count(value: &Value) -> u32 {
    u32::try_from(number(value)).expect("a small number")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn ms(value: &Value) -> Duration {
    Duration::from_millis(number(value))
}

struct Endpoints(Vec<Option<u32>>);

impl Candidates for Endpoints {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn is_eligible(&self, endpoint: usize) -> bool {
        self.0[endpoint].is_some()
    }
    fn in_flight(&self, endpoint: usize) -> u32 {
        self.0[endpoint].unwrap_or(0)
    }
}

fn consistent_hash(table: &Value, case: &Value) -> Result<(), String> {
    let endpoints =
        strings(if case["endpoints"].is_null() { &table["endpoints"] } else { &case["endpoints"] });
    let available = if case["available"].is_null() { endpoints.clone() } else { strings(&case["available"]) };
    let candidates = Endpoints(
        endpoints
            .iter()
            .enumerate()
            .map(|(i, name)| {
                available
                    .contains(name)
                    .then(|| if case["inflight"].is_null() { 0 } else { count(&case["inflight"][i]) })
            })
            .collect(),
    );
    let chance = Chance::seeded(0);
    let balancer = Balancer::new(Algorithm::ConsistentHash, &endpoints, &chance);
    let key = case["key"].as_str().expect("key").as_bytes();
    let ask = Ask { key, balance_factor: case["balance_factor"].as_f64() };
    let chosen = balancer.pick(&candidates, ask, &chance).map(|i| endpoints[i].clone());
    same(&case["chosen"], chosen)
}

fn settings(value: &Value) -> Settings {
    let time = |name: &str| value[name].as_u64().map(Duration::from_millis);
    let trip = value["type"].as_str().map(|kind| match kind {
        "consecutive" => Trip::Consecutive { failures: count(&value["failures"]) },
        "rate" => Trip::Rate { failures: count(&value["failures"]), window: count(&value["window"]) },
        "disabled" => Trip::Disabled,
        other => panic!("unknown type `{other}`"),
    });
    let hour = (value["idle_ttl"] == "default").then(|| Duration::from_hours(1));
    Settings {
        trip,
        timeout: time("timeout_ms"),
        half_open: value.get("half_open_requests").map(count),
        idle_ttl: hour.or(time("idle_ttl_ms")),
    }
}

fn circuit(case: &Value) -> Result<(), String> {
    let breaker = Arc::new(Breaker::new("host", settings(&case["settings"])).expect("a rule"));
    let mut now = Moment::default();
    let mut never_ending = Vec::new();
    for event in case["events"].as_array().expect("events") {
        let (what, value) = event.as_object().expect("an event").iter().next().expect("one field");
        match what.as_str() {
            "wait_ms" => now = now + ms(value),
            "check" => {
                let permit = breaker.ask(now);
                same(value, if permit.is_some() { "closed" } else { "open" })?;
                never_ending.extend(permit);
            }
            outcome => {
                for _ in 0..number(value) {
                    let permit = breaker.ask(now).ok_or_else(|| format!("refused at {event}"))?;
                    let _ = if outcome == "success" { permit.succeeded(now) } else { permit.failed(now) };
                }
            }
        }
    }
    Ok(())
}

fn sampler(case: &Value) -> Result<(), String> {
    let mut sampler = Sampler::new(usize::try_from(case["size"].as_i64().expect("size")).unwrap_or(0));
    for tick in case["ticks"].as_array().expect("ticks") {
        sampler.tick(number(tick) == 1);
    }
    same(&case["count"], sampler.set())
}

fn circuit_registry(case: &Value) -> Result<(), String> {
    let (mut defaults, mut hosts) = (Settings::default(), Vec::new());
    for known in case["known"].as_array().expect("known") {
        match known["host"].as_str() {
            None => defaults = settings(known),
            Some(host) => hosts.push((host.to_owned(), settings(known))),
        }
    }
    let breakers = Breakers::new(defaults, hosts, &Chance::seeded(0));
    let host = case["ask"]["host"].as_str().unwrap_or("");
    let breaker = breakers.get(settings(&case["ask"]), host, Moment::default());
    let print = |settings: Settings, host: &str| Value::from(settings.display(host).to_string());
    let expected = &case["settings"];
    if expected.is_null() {
        return same(expected, breaker.map(|b| print(b.settings(), b.host())));
    }
    let expected_host =
        if case["ignore_host"] == true { host } else { expected["host"].as_str().expect("host") };
    let breaker = breaker.ok_or("no breaker")?;
    same(&print(settings(expected), expected_host), print(breaker.settings(), breaker.host()))
}

fn rate(value: &Value) -> Rate {
    Rate { max: count(&value["max_hits"]), per: ms(&value["time_window_ms"]) }
}

fn ratelimit(case: &Value) -> Result<(), String> {
    let rate = rate(&case["settings"]);
    let service = Limit::new(rate);
    let clients = ClientLimit::new(rate, 100, &Chance::seeded(0));
    let mut now = Moment::default();
    for event in case["events"].as_array().expect("events") {
        if let Some(client) = event["client"].as_str() {
            let verdict = match case["settings"]["type"].as_str() {
                Some("service") => service.ask(now),
                _ => clients.ask(client.as_bytes(), now),
            };
            same(&event["allowed"], verdict.is_admitted())?;
        } else {
            now = now + ms(&event["wait_ms"]);
        }
    }
    Ok(())
}

fn leaky_bucket(case: &Value) -> Result<(), String> {
    let capacity = count(&case["capacity"]);
    let bucket = LeakyBucket::new(Leak { capacity, emission: ms(&case["emission_ms"]) });
    for attempt in case["attempts"].as_array().expect("attempts") {
        let now = Moment::default() + Duration::from_secs(number(&attempt["t"]));
        let verdict = bucket.pour(count(&case["increment"]), now);
        same(&attempt["added"], verdict.is_admitted()).map_err(|e| format!("{attempt}: {e}"))?;
        same(&attempt["retry"], verdict.retry_after_s()).map_err(|e| format!("{attempt}: {e}"))?;
    }
    Ok(())
}

fn ratelimit_headers(case: &Value) -> Result<(), String> {
    let refused = Verdict::Later(Duration::from_secs(number(&case["retry_after"])));
    same(&case["headers"]["X-Rate-Limit"], rate(case).per_hour().to_string())?;
    same(&case["headers"]["Retry-After"], refused.retry_after_s().to_string())
}

/// The flat YAML of these settings says the same as the flag, line by line.
fn ratelimit_yaml(case: &Value) -> Result<(), String> {
    let yaml = case["yaml"].as_str().expect("yaml");
    let pairs: Vec<String> = yaml.lines().map(|line| line.replacen(": ", "=", 1)).collect();
    let read = limit::Settings::parse(&pairs.join(","));
    let expected = &case["settings"];
    let Ok(settings) = read else { return same(expected, Value::Null) };
    same(&expected["type"], settings.scope.to_string())?;
    same(&expected["max_hits"], settings.rate.max)?;
    same(&expected["time_window_ms"], u64::try_from(settings.rate.per.as_millis()).expect("small"))?;
    same(expected.get("group").unwrap_or(&"".into()), settings.group)
}
