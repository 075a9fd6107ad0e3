//! What needs a store: spans are posted over the API, then asked for, on each of the engines. Each scenario has a store
//! of its own; every scenario is run once more after the store was opened anew, and with files or tables so small that
//! traces are spread over several of them.

use crate::facts::{check, midnight_us, same};
use crate::pure::{json_of_link, spans};
use base::{Clock, ClockHand, UnixTime};
use http::Method;
use serde_json::Value;
use std::time::Duration;
use store::Time;
use telemetry::spans::{Settings, SpanStore, TraceKey};
use telemetry::zipkin::{Api, Options};
use wire::{Body, Request};

/// A store, and the API to it.
struct World {
    api: Api,
    store: SpanStore,
    place: Place,
    clock: Clock,
    hand: ClockHand,
    settings: Settings,
    options: Options,
}

/// Where spans are kept.
enum Place {
    Files(tempfile::TempDir),
    Database(String),
}

impl Place {
    async fn open(&self, settings: Settings, clock: Clock) -> SpanStore {
        let opened = match self {
            Self::Files(dir) => SpanStore::open(dir.path(), settings, clock),
            Self::Database(url) => SpanStore::open_postgres(url, settings, clock, Time::Clock).await,
        };
        let (store, notes) = opened.unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        store
    }
}

impl World {
    async fn new(settings: &Value, spans: u64, place: Place) -> Self {
        let keys = settings["autocomplete_keys"].as_array();
        let settings_of = Settings {
            strict_trace_id: settings["strict_trace_id"] != false,
            autocomplete_keys: keys
                .into_iter()
                .flatten()
                .map(|key| key.as_str().unwrap().to_owned())
                .collect(),
            file_spans: spans,
            table_spans: spans,
            ..Settings::default()
        };
        let options = Options { search: settings["search_enabled"] != false, ..Options::default() };
        // Later than all times of the scenarios.
        let now = Duration::from_micros(midnight_us()) + Duration::from_secs(86_000);
        let (clock, hand) = Clock::by_hand(UnixTime(now));
        let store = place.open(settings_of.clone(), clock.clone()).await;
        let api = Api::new(store.clone(), options.clone());
        Self { api, store, place, clock, hand, settings: settings_of, options }
    }

    async fn open_again(self) -> Self {
        let Self { api, store, place, clock, hand, settings, options } = self;
        drop((api, store));
        hand.advance(Duration::from_millis(1));
        let store = place.open(settings.clone(), clock.clone()).await;
        let api = Api::new(store.clone(), options.clone());
        Self { api, store, place, clock, hand, settings, options }
    }

    async fn call(&self, method: &str, path: &str, body: String) -> (u16, wire::Headers, String) {
        let mut request = Request::new(Body::full(body));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = path.replace(' ', "%20").parse().unwrap();
        request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("localhost:9411"));
        let response = self.api.answer(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect(64 << 20).await.unwrap();
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(&self, path: &str, spans: &Value) -> Result<(), String> {
        let (status, _, text) = self.call("POST", path, spans.to_string()).await;
        self.store.flush().await;
        if (status, text.as_str()) == (202, "") { Ok(()) } else { Err(format!("{status} {text}")) }
    }

    /// Whether the answer to a step is what is expected.
    async fn get(&self, step: &Value) -> Result<(), String> {
        let path = step["get"].as_str().unwrap();
        let (status, headers, text) =
            self.call(step["method"].as_str().unwrap_or("GET"), path, String::new()).await;
        let told = |difference: String| {
            format!("{path}: {difference} ({status} {})", &text[..text.len().min(2_000)])
        };
        let expect = step["expect"].as_object().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        for (kind, expected) in expect {
            expectation(kind, expected, status, &headers, &text, &answer).map_err(&told)?;
        }
        Ok(())
    }
}

/// Text of values, in an order that does not matter.
fn sorted(values: &Value) -> Vec<String> {
    let mut texts: Vec<String> = values.as_array().into_iter().flatten().map(Value::to_string).collect();
    texts.sort();
    texts
}

fn expectation(
    kind: &str,
    expected: &Value,
    status: u16,
    headers: &wire::Headers,
    text: &str,
    answer: &Value,
) -> Result<(), String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let is = |good: bool| if good { Ok(()) } else { Err(format!("{kind} {expected}")) };
    match kind {
        "status" => is(*expected == status),
        "body" => is(*expected == text),
        "json" => same(answer, expected),
        "headers" => expected.as_object().unwrap().iter().try_for_each(|(name, value)| {
            let found = headers.get(name.as_str()).map(|value| value.to_str().unwrap());
            is(found == value.as_str())
        }),
        "traces_count" => is(answer.as_array().is_some_and(|traces| *expected == traces.len())),
        "traces_include" => {
            let found: Vec<_> = list(answer).iter().map(sorted).collect();
            list(expected).iter().try_for_each(|trace| is(found.contains(&sorted(trace))))
        }
        "spans_include" => list(expected).iter().try_for_each(|span| is(list(answer).contains(span))),
        "links" | "names" => is(answer.is_array() && sorted(answer) == sorted(expected)),
        "names_include" => list(expected).iter().try_for_each(|name| is(list(answer).contains(name))),
        "names_exclude" => list(expected).iter().try_for_each(|name| is(!list(answer).contains(name))),
        "names_once" => list(expected)
            .iter()
            .try_for_each(|name| is(list(answer).iter().filter(|found| *found == name).count() == 1)),
        other => Err(format!("`{other}` is not understood")),
    }
}

/// Runs the scenarios of a file on both engines: as they are, with small files or tables, and with the store opened anew
/// before each question.
fn scenarios(file: &str, least: usize) {
    let server = testkit::Postgres::shared();
    let database = server.database();
    scenarios_in(file, least, || Place::Files(tempfile::tempdir().unwrap()));
    scenarios_in(file, least, || {
        server.run(&database, "DROP SCHEMA IF EXISTS tombolo_traces CASCADE");
        Place::Database(server.url(&database))
    });
}

fn scenarios_in(file: &str, least: usize, place: impl Fn() -> Place) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    for (spans, again) in [(250_000, false), (1, false), (2, true)] {
        check(file, least, |case| {
            runtime.block_on(async {
                let mut world = World::new(&case["settings"], spans, place()).await;
                for step in case["steps"].as_array().unwrap() {
                    if step.get("post").is_some() {
                        world.post("/api/v2/spans", &step["post"]).await?;
                    } else if step.get("post_v1").is_some() {
                        world.post("/api/v1/spans", &step["post_v1"]).await?;
                    } else {
                        if again {
                            // What an API remembers is gone then, too; a list of services brings it back.
                            world = world.open_again().await;
                            world.call("GET", "/api/v2/services", String::new()).await;
                        }
                        let told = |told| format!("{spans} spans a file or table: {told}");
                        world.get(step).await.map_err(told)?;
                    }
                }
                Ok(())
            })
        });
    }
}

#[test]
fn traces_are_found() {
    scenarios("search", 13);
}

#[test]
fn traces_are_read_by_their_ids() {
    scenarios("traces", 5);
}

#[test]
fn names_are_listed() {
    scenarios("names", 10);
}

#[test]
fn dependencies_are_counted() {
    scenarios("dependencies", 12);
}

#[test]
fn the_api_answers_as_zipkin_s_does() {
    scenarios("http", 8);
}

/// The cases of links, where each span of a trace comes to another of two nodes and all is counted after each of them: by
/// whichever node, what is counted in the end is what the whole trace tells.
#[test]
fn links_are_counted_whichever_node_had_which_span() {
    let server = testkit::Postgres::shared();
    let database = server.database();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    check("linker", 20, |case| {
        if case.get("merge").is_some() {
            // Of links that are added up, without a store.
            return Ok(());
        }
        server.run(&database, "DROP SCHEMA IF EXISTS tombolo_traces CASCADE");
        runtime.block_on(async {
            let open = async || {
                let url = server.url(&database);
                let opened =
                    SpanStore::open_postgres(&url, Settings::default(), Clock::system(), Time::Server);
                opened.await.unwrap().0
            };
            let nodes = [open().await, open().await];
            for (trace, low) in case["traces"].as_array().unwrap().iter().zip(1..) {
                for (nth, mut span) in spans(trace).into_iter().enumerate() {
                    span.trace = TraceKey { high: 0, low };
                    nodes[nth % 2].offer(vec![span]).unwrap();
                    nodes[nth % 2].flush().await;
                    nodes[nth / 2 % 2].dependencies(0, u64::MAX / 1_000).await.unwrap();
                }
            }
            let mut expected = case["links"].as_array().unwrap().clone();
            expected.sort_by_key(Value::to_string);
            for node in &nodes {
                let found = node.dependencies(0, u64::MAX / 1_000).await.unwrap();
                let mut found: Vec<Value> = found.into_iter().map(json_of_link).collect();
                found.sort_by_key(Value::to_string);
                same(&found.into(), &expected.clone().into())?;
            }
            Ok(())
        })
    });
}
