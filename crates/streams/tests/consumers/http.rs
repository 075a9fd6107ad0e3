//! Consumers over HTTP, call by call: what is sent and what comes back.

use super::*;
use ::http::Method;
use ::http::header::{HeaderName, HeaderValue};
use expect_test::{Expect, expect};
use store::{Embedded, LogOptions};
use streams::http::{Api, Parts};
use wire::{Body, Drainer, Request};

struct World {
    api: Api,
    scope: Scope,
    store: Store,
    _drainer: Drainer,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let (embedded, _) = Embedded::open(dir.path(), clock.clone(), LogOptions::default()).unwrap();
        let encrypted = embedded.encrypted(clock.clone());
        let handler = Arc::new(Counting { takes: Duration::from_millis(1), ..Counting::default() });
        let store = Store::of(encrypted.clone());
        let (consumers, scope) = start(store.clone(), embedded.state(), &handler, None);
        let (drainer, drain) = Drainer::new();
        let parts = Parts {
            store: store.clone(),
            state: embedded.state(),
            encrypted,
            clock,
            drain,
            keep_alive: Duration::from_secs(15),
            spans: None,
        };
        let api = Api::with_consumers(parts, consumers);
        Self { api, scope, store, _drainer: drainer, _dir: dir }
    }

    /// Status and body of a call, which has a body of JSON if it has any.
    async fn said(&self, call: &str, body: &str) -> String {
        let (method, path) = call.split_once(' ').unwrap();
        let mut request = Request::new(Body::full(body.to_owned()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = format!("/api/v1/consumers{path}").parse().unwrap();
        let mut fields = vec![("host", "localhost")];
        if !body.is_empty() {
            fields.push(("content-type", "application/json"));
        }
        for (name, value) in fields {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let response = self.api.answer(request, false).await;
        let status = response.status().as_u16();
        let text = response.into_body().collect(1 << 30).await.unwrap();
        format!("{status} {}", String::from_utf8(text.to_vec()).unwrap())
    }

    async fn json(&self, call: &str, body: &str) -> serde_json::Value {
        let said = self.said(call, body).await;
        let text = said.strip_prefix("200 ").unwrap_or_else(|| panic!("{said}"));
        serde_json::from_str(text).unwrap()
    }

    async fn check(&self, call: &str, body: &str, expected: Expect) {
        expected.assert_eq(&self.said(call, body).await);
    }

    /// Asks until this holds of the answer.
    async fn until(&self, call: &str, holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let begun = std::time::Instant::now();
        loop {
            let answer = self.json(call, "").await;
            if holds(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < testkit::PATIENCE, "{answer}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_consumer_is_declared_looked_at_paused_set_back_and_removed() {
    let world = World::new();
    append(&world.store, 1..6).await;
    let settings = r#"{"category":"order","handler":"shop/take","types":["T"]}"#;
    let put = world.json("PUT /billing", settings).await;
    assert_eq!(put["settings"]["handler"], "shop/take");
    let caught_up = world.until("GET /billing", |answer| answer["lag"]["messages"] == 0).await;
    assert_eq!((&caught_up["position"], &caught_up["shares"][0]["handled"]), (&5.into(), &5.into()));
    assert_eq!((&caught_up["state"], &caught_up["declared"]), (&"running".into(), &"api".into()));
    assert_eq!(world.json("POST /billing/pause", "").await["state"], "paused");
    assert_eq!(world.json("POST /billing/replay", r#"{"from":4}"#).await["lag"]["messages"], 2);
    assert_eq!(world.json("POST /billing/skip", r#"{"to":"end"}"#).await["lag"]["messages"], 0);
    assert_eq!(world.json("POST /billing/resume", "").await["state"], "running");
    assert_eq!(world.json("GET ", "").await["consumers"][0]["name"], "billing");
    world.check("DELETE /billing", "", expect![[r#"200 {"name":"billing","removed":true}"#]]).await;
    world
        .check(
            "GET /billing",
            "",
            expect![[r#"404 {"code":"not_found","error":"there is no consumer `billing`","hint":"`tombolo consumers list` names those that there are"}"#]],
        )
        .await;
    world.scope.stop(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn messages_are_taken_and_acknowledged() {
    let world = World::new();
    append(&world.store, 1..4).await;
    world.json("PUT /work", r#"{"category":"order"}"#).await;
    let taken = world.json("POST /work/take?wait=20&limit=3", "").await;
    let deliveries = taken["deliveries"].as_array().unwrap();
    assert_eq!((deliveries.len(), &deliveries[0]["message"]["stream_name"]), (3, &"order-1".into()));
    let token = |nth: usize| deliveries[nth]["token"].as_str().unwrap();
    let acks = format!(
        r#"{{"acks":[
            {{"token":"{}","outcome":"done","append":[{{"stream_name":"did-1","messages":[{{"type":"Did"}}]}}]}},
            {{"token":"{}","outcome":"dead","reason":"no use"}},
            {{"token":"{}","outcome":"done","append":[{{"stream_name":"did-2","expected_version":9,"messages":[{{"type":"Did"}}]}}]}}
        ]}}"#,
        token(0),
        token(1),
        token(2)
    );
    let results = |answer: &serde_json::Value| {
        let of = |ack: &serde_json::Value| ack["result"].as_str().unwrap().to_owned();
        answer["acks"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let answer = world.json("POST /work/ack", &acks).await;
    assert_eq!(results(&answer), ["acknowledged", "acknowledged", "not_appended"]);
    assert_eq!(results(&world.json("POST /work/ack", &acks).await), ["lost"; 3]);
    assert_eq!(world.store.version("did-1").await.unwrap(), 0);

    let letters = world.json("GET /work/dead-letters", "").await;
    assert_eq!((&letters["dead_letters"][0]["reason"], &letters["more"]), (&"no use".into(), &false.into()));
    let position = letters["dead_letters"][0]["global_position"].as_i64().unwrap();
    let call = format!("POST /work/dead-letters/{position}");
    assert_eq!(world.json(&format!("{call}/retry"), "").await["done"], "retried");
    assert!(world.said(&format!("{call}/discard"), "").await.starts_with("404 "));
    assert_eq!(world.json("POST /work/dead-letters/retry", "").await["retried"], 0);
    // Both that are left come again: the one that failed, and the one that was dead.
    let mut again = Vec::new();
    while again.len() < 2 {
        let taken = world.json("POST /work/take?wait=20", "").await;
        let of = |delivery: &serde_json::Value| delivery["message"]["global_position"].as_i64().unwrap();
        again.extend(taken["deliveries"].as_array().unwrap().iter().map(of));
    }
    again.sort_unstable();
    assert_eq!(again, [2, 3]);
    world.scope.stop(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_told() {
    let world = World::new();
    world.json("PUT /work", r#"{"category":"order"}"#).await;
    world.check("PUT /billing", r#"{"category":"order","handlr":"shop"}"#, expect![[r#"400 {"code":"invalid","error":"these are no settings of a consumer: unknown field `handlr`, expected one of `category`, `handler`, `types`, `correlation`, `start`, `size`, `batch`, `concurrency`, `timeout`, `attempts`, `backoff`, `refused` at line 1 column 28"}"#]]).await;
    world.check("PUT /a%2Fb", r#"{"category":"order"}"#, expect![[r#"400 {"code":"invalid","error":"`a/b` is no name of a consumer","hint":"use up to 100 letters, digits, `-`, `_` and `.`"}"#]]).await;
    world.check("POST /work/replay", r#"{"from":"yesterday"}"#, expect![[r#"400 {"code":"invalid","error":"`\"yesterday\"` is no place to begin","hint":"use `beginning`, `end`, a global position or a time such as `2026-11-26T12:00:00Z`"}"#]]).await;
    world
        .check(
            "POST /work/skip",
            "{}",
            expect![[r#"400 {"code":"invalid","error":"give either `to` or `message`"}"#]],
        )
        .await;
    world
        .check(
            "POST /work/ack",
            r#"{"acks":[{"token":"1","outcome":"done"}]}"#,
            expect![[r#"400 {"code":"invalid","error":"`1` is no token"}"#]],
        )
        .await;
    world
        .check(
            "POST /work/ack",
            r#"{"acks":[{"token":"0.1.0.1","outcome":"good"}]}"#,
            expect![[
                r#"400 {"code":"invalid","error":"`good` is no outcome: use `done`, `retry` or `dead`"}"#
            ]],
        )
        .await;
    world
        .check(
            "POST /work/ack",
            r#"{"acks":[{"token":"0.1.0.1","outcome":"done"}]}"#,
            expect![[r#"200 {"acks":[{"result":"lost","token":"0.1.0.1"}]}"#]],
        )
        .await;
    world.check("POST /wrk/take", "", expect![[r#"404 {"code":"not_found","error":"there is no consumer `wrk`","hint":"did you mean `work`?"}"#]]).await;
    world.check("POST /work/take?limit=101", "", expect![[r#"400 {"code":"invalid","error":"`101` is no value of the parameter `limit`, which is a whole number from 1 to 100","parameter":"limit"}"#]]).await;
    world
        .check(
            "POST /work/dead-letters/x/retry",
            "",
            expect![[r#"400 {"code":"invalid","error":"`x` is no global position of a dead letter"}"#]],
        )
        .await;
    world.check("PUT /work/pause", "", expect![[r#"405 {"code":"invalid","error":"`PUT` is not what can be done here","hint":"it takes POST"}"#]]).await;
    world.scope.stop(Duration::from_secs(20)).await;
}
