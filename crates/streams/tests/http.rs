//! Streams over HTTP, call by call: what is sent and what comes back. No sockets: the API is asked as the server
//! would ask it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::{Clock, ClockHand, UnixTime};
use expect_test::{Expect, expect};
use http::Method;
use http::header::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use std::time::Duration;
use store::{Embedded, LogOptions};
use streams::http::{Api, Parts};
use wire::{Body, Drainer, Request, Response};

/// An API over a store of its own, whose time stands still.
struct World {
    api: Api,
    hand: ClockHand,
    drainer: Drainer,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1_764_158_400)));
        let (embedded, _) = Embedded::open(dir.path(), clock.clone(), LogOptions::default()).unwrap();
        let encrypted = embedded.encrypted(clock.clone());
        let (drainer, drain) = Drainer::new();
        let api = Api::new(Parts {
            store: store::Store::of(encrypted.clone()),
            state: embedded.state(),
            encrypted,
            clock,
            drain,
            keep_alive: Duration::from_secs(15),
            spans: None,
        });
        Self { api, hand, drainer, _dir: dir }
    }

    /// `METHOD /path [Name: value]...` and a body; JSON unless a field says otherwise.
    fn request(call: &str, body: &str) -> Request {
        let mut lines = call.lines().map(str::trim);
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::new(Body::full(body.to_owned()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = format!("/api/v1{path}").parse().unwrap();
        let mut fields = vec![("host", "localhost")];
        if !body.is_empty() {
            fields.push(("content-type", "application/json"));
        }
        fields.extend(lines.map(|line| line.split_once(": ").unwrap()));
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    async fn ask(&self, call: &str, body: &str) -> Response {
        self.api.answer(Self::request(call, body), false).await
    }

    /// Status and body, ids that were drawn left out.
    async fn said(&self, call: &str, body: &str) -> String {
        let response = self.ask(call, body).await;
        let status = response.status().as_u16();
        let text = String::from_utf8(response.into_body().collect(1 << 30).await.unwrap().to_vec()).unwrap();
        format!("{status} {}", without_ids(&text))
    }

    /// What comes while the clock goes on.
    async fn while_time_passes<T>(&self, wanted: impl Future<Output = T>) -> T {
        let passes = async {
            loop {
                self.hand.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            came = wanted => came,
            () = passes => unreachable!(),
        }
    }

    async fn check(&self, call: &str, body: &str, expected: Expect) {
        expected.assert_eq(&self.said(call, body).await);
    }
}

/// Ids of version 4 are drawn.
fn without_ids(text: &str) -> String {
    let drawn = |at: usize| {
        let id = text.get(at..at + 36).filter(|id| id.as_bytes()[14] == b'4');
        id.is_some_and(|id| store::Uuid::try_parse(id).is_ok())
    };
    let (mut out, mut at) = (String::new(), 0);
    while let Some(next) = text[at..].chars().next() {
        if drawn(at) {
            out.push_str("ID");
            at += 36;
        } else {
            out.push(next);
            at += next.len_utf8();
        }
    }
    out
}

async fn piece(body: &mut Body) -> String {
    let frame = body.frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn messages_are_appended_and_read() {
    let world = World::new();
    world
        .check(
            "POST /streams/account-1/messages?expected_version=none",
            r#"{"type": "Opened", "data": {"owner": "Ada"}, "metadata": {"correlationStreamName": "signup-7"}}"#,
            expect![[r#"201 {"stream_name":"account-1","first_position":0,"last_position":0,"first_global_position":1,"last_global_position":1,"time":"2025-11-26T12:00:00.000000Z","ids":["ID"]}"#]],
        )
        .await;
    world
        .check(
            "POST /streams/account-1/messages?expected_version=0",
            r#"[{"type": "Deposited", "data": 5}, {"type": "Deposited", "data": [7, 8]}]"#,
            expect![[r#"201 {"stream_name":"account-1","first_position":1,"last_position":2,"first_global_position":2,"last_global_position":3,"time":"2025-11-26T12:00:00.000000Z","ids":["ID","ID"]}"#]],
        )
        .await;
    world
        .check(
            "GET /streams/account-1/messages?limit=1",
            "",
            expect![[r#"200 {"messages":[{"id":"ID","stream_name":"account-1","type":"Opened","position":0,"global_position":1,"data":{"owner": "Ada"},"metadata":{"correlationStreamName": "signup-7"},"time":"2025-11-26T12:00:00.000000Z"}],"next":1,"more":true}"#]],
        )
        .await;
    world
        .check(
            "GET /streams/account-1/messages?backward=true&limit=1&type=Deposited",
            "",
            expect![[r#"200 {"messages":[{"id":"ID","stream_name":"account-1","type":"Deposited","position":2,"global_position":3,"data":[7, 8],"metadata":null,"time":"2025-11-26T12:00:00.000000Z"}],"next":1,"more":true}"#]],
        )
        .await;
    world
        .check(
            "GET /categories/account/messages?correlation=signup&until=1&from=2",
            "",
            expect![[r#"200 {"messages":[],"next":2,"more":false}"#]],
        )
        .await;
    world.check("GET /messages?from=4", "", expect![[r#"200 {"messages":[],"next":4,"more":false}"#]]).await;
    world
        .check("GET /streams/account-1", "", expect![[r#"200 {"cardinal_id":"1","category":"account","id":"1","stream_name":"account-1","version":2}"#]])
        .await;
    world
        .check(
            "GET /streams?category=account",
            "",
            expect![[r#"200 {"more":false,"streams":[{"stream_name":"account-1","version":2}]}"#]],
        )
        .await;
    world
        .check(
            "GET /categories",
            "",
            expect![[r#"200 {"categories":[{"category":"account","messages":3}],"more":false}"#]],
        )
        .await;
    world
        .check("GET /streams/account-1/last?type=Opened", "", expect![[r#"200 {"id":"ID","stream_name":"account-1","type":"Opened","position":0,"global_position":1,"data":{"owner": "Ada"},"metadata":{"correlationStreamName": "signup-7"},"time":"2025-11-26T12:00:00.000000Z"}"#]])
        .await;
}

#[tokio::test]
async fn a_wrong_version_and_other_slips_are_told() {
    let world = World::new();
    world.said("POST /streams/a-1/messages", r#"{"type": "T"}"#).await;
    for (call, body, expected) in [
        (
            "POST /streams/a-1/messages?expected_version=none",
            r#"{"type": "T"}"#,
            expect![[
                r#"409 {"actual":0,"code":"wrong_expected_version","error":"stream `a-1` is at version `0`, expected was `-1`","expected":-1,"stream_name":"a-1"}"#
            ]],
        ),
        (
            "POST /streams/a-1/messages?expected=1",
            r#"{"type": "T"}"#,
            expect![[
                r#"400 {"code":"invalid","error":"there is no parameter `expected` here","hint":"it takes expected_version, deliver_at, delay"}"#
            ]],
        ),
        (
            "GET /streams/a-1/messages?form=1",
            "",
            expect![[
                r#"400 {"code":"invalid","error":"there is no parameter `form` here","hint":"did you mean `from`?"}"#
            ]],
        ),
        (
            "GET /streams/a-1/messages?from=x",
            "",
            expect![[
                r#"400 {"code":"invalid","error":"`x` is no value of the parameter `from`, which is a whole number from 0","parameter":"from"}"#
            ]],
        ),
        (
            "GET /categories/a-1/messages",
            "",
            expect![[
                r#"400 {"code":"invalid","error":"`a-1` is a stream, not a category","hint":"its category is `a`, its messages are `/streams/a-1/messages`"}"#
            ]],
        ),
        (
            "GET /categories/a/messages?member=2&size=2",
            "",
            expect![[r#"400 {"code":"invalid","error":"member `2` of a group of `2`: they count from 0"}"#]],
        ),
        (
            "GET /streams/b-1/last",
            "",
            expect![[r#"404 {"code":"not_found","error":"stream `b-1` has no message"}"#]],
        ),
        ("GET /messages/5", "", expect![[r#"400 {"code":"invalid","error":"the id `5` is no UUID"}"#]]),
        (
            "PUT /streams/a-1/messages",
            "",
            expect![[
                r#"405 {"code":"invalid","error":"`PUT` is not what can be done here","hint":"it takes POST, GET"}"#
            ]],
        ),
        (
            "POST /streams/a-1/messages\nContent-Type: text/plain",
            "{}",
            expect![[
                r#"400 {"code":"not_json","error":"the body has to be JSON","hint":"send `Content-Type: application/json`, or `application/x-ndjson` for one message a line"}"#
            ]],
        ),
        (
            "GET /streams/a-1\nOrigin: https://evil.example",
            "",
            expect![[r#"403 {"code":"refused","error":"a page of another origin may not call this API"}"#]],
        ),
        (
            "DELETE /streams/b-1",
            "",
            expect![[r#"404 {"code":"not_found","error":"there is no stream `b-1`"}"#]],
        ),
        (
            "DELETE /subjects/ada",
            "",
            expect![[
                r#"404 {"code":"not_found","error":"there is no key of `ada`","hint":"a subject has a key from the first message on whose metadata name it in `subject`, until it is forgotten"}"#
            ]],
        ),
    ] {
        world.check(call, body, expected).await;
    }
}

#[tokio::test]
async fn a_call_with_a_key_is_done_once() {
    let world = World::new();
    let call = "POST /streams/a-1/messages?expected_version=none\nIdempotency-Key: order-17";
    let body = r#"[{"type": "T", "data": {"n": 1}}, {"type": "U"}]"#;
    let first = world.said(call, body).await;
    world.said("POST /streams/a-1/messages", r#"{"type": "Between"}"#).await;
    let again = world.ask(call, body).await;
    assert_eq!(again.headers().get("idempotency-replayed").unwrap(), "true");
    let again = world.said(call, body).await;
    assert_eq!(again.strip_prefix("200 "), first.strip_prefix("201 "));
    // Other contents under the same key are a mistake; so are fewer or more of them.
    for other in [
        r#"{"type": "T", "data": {"n": 2}}"#,
        r#"[{"type": "T", "data": {"n": 1}}, {"type": "U"}, {"type": "V"}]"#,
    ] {
        let said = world.said(call, other).await;
        assert!(said.starts_with("422 ") && said.contains("idempotency_key_reused"), "{said}");
    }
    // The same key on another stream is another call.
    let elsewhere = world.said("POST /streams/a-2/messages\nIdempotency-Key: order-17", body).await;
    assert!(elsewhere.starts_with("201 "), "{elsewhere}");
    world
        .check(call.replace("order-17", "order-18").as_str(), body, expect![[r#"409 {"actual":2,"code":"wrong_expected_version","error":"stream `a-1` is at version `2`, expected was `-1`","expected":-1,"stream_name":"a-1"}"#]])
        .await;
}

#[tokio::test]
async fn several_streams_are_appended_to_together_or_not_at_all() {
    let world = World::new();
    let appends = r#"{"appends": [{"stream_name": "a-1", "messages": [{"type": "T"}]},
        {"stream_name": "b-1", "expected_version": -1, "messages": [{"type": "T"}, {"type": "U"}]}]}"#;
    world
        .check(
            "POST /messages",
            appends,
            expect![[r#"201 {"appended":[{"stream_name":"a-1","first_position":0,"last_position":0,"first_global_position":1,"last_global_position":1,"time":"2025-11-26T12:00:00.000000Z","ids":["ID"]},{"stream_name":"b-1","first_position":0,"last_position":1,"first_global_position":2,"last_global_position":3,"time":"2025-11-26T12:00:00.000000Z","ids":["ID","ID"]}]}"#]],
        )
        .await;
    let said = world.said("POST /messages", appends).await;
    assert!(said.starts_with("409 ") && said.contains("stream `b-1` is at version `1`"), "{said}");
    let said = world.said("GET /streams/a-1", "").await;
    assert!(said.contains("\"version\":0"), "{said}");
}

#[tokio::test]
async fn what_goes_out_as_lines_comes_in_as_bulk() {
    let (from, to) = (World::new(), World::new());
    for nth in 0..1_200 {
        let body = format!(r#"{{"type": "T", "data": {{"n": {nth}}}}}"#);
        from.said(&format!("POST /streams/a-{}/messages", nth % 7), &body).await;
    }
    let lines = from.ask("GET /messages\nAccept: application/x-ndjson", "").await;
    assert_eq!(lines.headers().get("content-type").unwrap(), "application/x-ndjson");
    let lines = String::from_utf8(lines.into_body().collect(1 << 30).await.unwrap().to_vec()).unwrap();
    assert_eq!(lines.lines().count(), 1_200);
    let bulk = "POST /messages\nContent-Type: application/x-ndjson";
    to.check(bulk, &lines, expect![[r#"200 {"messages":1200,"skipped":0}"#]]).await;
    let copied = to.ask("GET /messages\nAccept: application/x-ndjson", "").await;
    let copied = String::from_utf8(copied.into_body().collect(1 << 30).await.unwrap().to_vec()).unwrap();
    assert_eq!(copied, lines);
    let again = "POST /messages?skip_existing=true\nContent-Type: application/x-ndjson";
    to.check(again, &lines, expect![[r#"200 {"messages":0,"skipped":1200}"#]]).await;
    let said = to.said(bulk, &lines).await;
    assert!(said.starts_with("409 ") && said.contains("\"messages\":0"), "{said}");
    // A line that is wrong is told, and what stood before it is in.
    to.check(
        bulk,
        "{\"stream_name\": \"z-1\", \"type\": \"T\"}\n\n{\"stream_name\": \"z-1\"}\n{\"stream_name\": \"z-1\", \"type\": \"T\"}",
        expect![[r#"400 {"code":"invalid","error":"line 3: missing field `type` at line 1 column 22","hint":"a message is an object such as `{\"type\": \"Opened\", \"data\": {\"owner\": \"Ada\"}}`","messages":1,"skipped":0}"#]],
    )
    .await;
    // A limit counts all that go out.
    let few = from.said("GET /streams/a-1/messages?limit=2\nAccept: application/x-ndjson", "").await;
    assert_eq!(few.lines().count(), 2);
}

#[tokio::test]
async fn events_come_as_messages_do_and_go_on_where_a_client_left() {
    let world = World::new();
    world.said("POST /streams/a-1/messages", r#"[{"type": "One"}, {"type": "Two"}]"#).await;
    let events = world.ask("GET /categories/a/messages\nAccept: text/event-stream", "").await;
    assert_eq!(events.headers().get("content-type").unwrap(), "text/event-stream");
    let mut events = events.into_body();
    assert_eq!(piece(&mut events).await, ": streams\n\n");
    let first = piece(&mut events).await;
    assert!(first.starts_with("id: 1\nevent: message\ndata: {"), "{first}");
    assert!(first.contains("\n\nid: 2\nevent: message\n") && first.ends_with("}\n\n"), "{first}");
    let (next, _) =
        tokio::join!(piece(&mut events), world.said("POST /streams/a-2/messages", r#"{"type": "Three"}"#));
    assert!(next.starts_with("id: 3\n") && next.contains("\"type\":\"Three\""), "{next}");
    // Silence is told from a dead connection.
    let alive = world.while_time_passes(piece(&mut events)).await;
    assert_eq!(alive, ":\n\n");
    let mut again = world
        .ask("GET /categories/a/messages\nAccept: text/event-stream\nLast-Event-ID: 2", "")
        .await
        .into_body();
    piece(&mut again).await;
    assert!(piece(&mut again).await.starts_with("id: 3\n"));
    let mut new =
        world.ask("GET /streams/a-1/messages?new=true\nAccept: text/event-stream", "").await.into_body();
    piece(&mut new).await;
    world.said("POST /streams/a-1/messages", r#"{"type": "Four"}"#).await;
    assert!(piece(&mut new).await.starts_with("id: 2\n"));
    // A drain ends them.
    world.drainer.drain();
    assert!(new.frame().await.is_none());
}

#[tokio::test]
async fn a_long_poll_waits_for_a_message_and_no_longer_than_it_said() {
    let world = World::new();
    let (page, _) = tokio::join!(
        world.said("GET /streams/a-1/messages?wait=30", ""),
        world.said("POST /streams/a-1/messages", r#"{"type": "T"}"#)
    );
    assert!(page.contains("\"type\":\"T\""), "{page}");
    let page = world.while_time_passes(world.said("GET /streams/a-1/messages?wait=30&from=1", "")).await;
    assert_eq!(page, r#"200 {"messages":[],"next":1,"more":false}"#);
    let said = world.said("GET /streams/a-1/messages?wait=61", "").await;
    assert!(said.contains("seconds from 0 to 60"), "{said}");
}

#[tokio::test]
async fn a_stream_goes_for_good_and_so_does_what_was_said_of_a_person() {
    let world = World::new();
    world.said("POST /streams/a-1/messages", r#"[{"type": "One"}, {"type": "Two"}]"#).await;
    world.check("DELETE /streams/a-1", "", expect![[r#"200 {"removed":2,"stream_name":"a-1"}"#]]).await;
    world
        .check("GET /streams/a-1/messages", "", expect![[r#"200 {"messages":[{"id":"ID","stream_name":"a-1","type":"$deleted","position":2,"global_position":3,"data":null,"metadata":null,"time":"2025-11-26T12:00:00.000000Z"}],"next":3,"more":false}"#]])
        .await;
    world
        .said(
            "POST /streams/b-1/messages",
            r#"{"type": "T", "data": {"name": "Ada"}, "metadata": {"subject": "ada"}}"#,
        )
        .await;
    assert!(world.said("GET /streams/b-1/last", "").await.contains("Ada"));
    world.check("DELETE /subjects/ada", "", expect![[r#"200 {"forgotten":true,"subject":"ada"}"#]]).await;
    assert!(world.said("GET /streams/b-1/last", "").await.contains(r#""data":{"$erased": true}"#));
}

#[tokio::test]
async fn a_message_to_come_is_appended_when_it_is_due_and_once() {
    let world = World::new();
    let later = "POST /streams/a-1/messages?delay=60";
    world.check(later, r#"{"type": "Later", "data": {"n": 1}}"#, expect![[r#"202 {"deliver_at":"2025-11-26T12:01:00.000000Z","ids":["ID"],"scheduled":"01764158460000000-ID"}"#]]).await;
    let keyed = "POST /streams/a-1/messages?deliver_at=2025-11-26T12:02:00Z\nIdempotency-Key: k";
    let first = world.said(keyed, r#"{"type": "Keyed"}"#).await;
    // Called again, with the time that it is then: it is one message all the same.
    let again = world.said(&keyed.replace("02:00", "02:01"), r#"{"type": "Keyed"}"#).await;
    assert!(first.starts_with("202 ") && again.starts_with("202 "), "{first} {again}");
    world.check("GET /scheduled?limit=1", "", expect![[r#"200 {"more":true,"scheduled":[{"deliver_at":"2025-11-26T12:01:00.000000Z","messages":1,"scheduled":"01764158460000000-ID","stream_name":"a-1"}]}"#]]).await;
    world
        .check(
            "GET /streams/a-1",
            "",
            expect![[r#"200 {"cardinal_id":"1","category":"a","id":"1","stream_name":"a-1","version":-1}"#]],
        )
        .await;
    let cancelled = world.ask("POST /streams/a-1/messages?delay=90", r#"{"type": "Never"}"#).await;
    let cancelled: serde_json::Value =
        serde_json::from_slice(&cancelled.into_body().collect(1 << 20).await.unwrap()).unwrap();
    let id = cancelled["scheduled"].as_str().unwrap();
    assert!(world.said(&format!("DELETE /scheduled/{id}"), "").await.contains("\"cancelled\":true"));
    assert!(world.said(&format!("DELETE /scheduled/{id}"), "").await.starts_with("404 "));
    let running = tokio::spawn(world.api.schedule().clone().run());
    world.hand.advance(Duration::from_secs(60));
    let page = world.said("GET /streams/a-1/messages?wait=60", "").await;
    assert!(page.contains("\"type\":\"Later\"") && page.contains("\"position\":0"), "{page}");
    world.hand.advance(Duration::from_secs(60));
    let page = world.said("GET /streams/a-1/messages?from=1&wait=60", "").await;
    assert!(page.contains("\"type\":\"Keyed\"") && page.contains("\"position\":1"), "{page}");
    // The second of the key comes, and is there already.
    world.hand.advance(Duration::from_secs(1));
    while world.said("GET /scheduled", "").await != r#"200 {"more":false,"scheduled":[]}"# {
        tokio::task::yield_now().await;
    }
    let page = world.said("GET /streams/a-1/messages?from=2", "").await;
    assert_eq!(page, r#"200 {"messages":[],"next":2,"more":false}"#);
    running.abort();
    for (call, expected) in [
        (
            "POST /streams/a-1/messages?delay=-1",
            expect![[
                r#"400 {"code":"invalid","error":"`-1` is no value of the parameter `delay`, which is seconds from 0 to 316224000","parameter":"delay"}"#
            ]],
        ),
        (
            "POST /streams/a-1/messages?delay=1&expected_version=3",
            expect![[r#"400 {"code":"invalid","error":"a message to come can't expect a version"}"#]],
        ),
        (
            "POST /streams/a-1/messages?delay=1&deliver_at=2025-11-26T12:02:00Z",
            expect![[r#"400 {"code":"invalid","error":"`deliver_at` and `delay` don't go together"}"#]],
        ),
    ] {
        world.check(call, r#"{"type": "T"}"#, expected).await;
    }
}

#[tokio::test]
async fn a_message_to_come_whose_id_another_took_meanwhile_is_recorded() {
    let world = World::new();
    let id = "00000000-0000-0000-0000-000000000007";
    let later = format!(
        r#"[{{"type": "First"}}, {{"id": "{id}", "type": "Second", "metadata": {{"subject": "ada"}}}}]"#
    );
    assert!(world.said("POST /streams/a-1/messages?delay=60", &later).await.starts_with("202 "));
    let now = format!(r#"{{"id": "{id}", "type": "Other"}}"#);
    assert!(world.said("POST /streams/b-1/messages", &now).await.starts_with("201 "));
    let running = tokio::spawn(world.api.schedule().clone().run());
    world.hand.advance(Duration::from_secs(60));
    let page = world.said("GET /streams/scheduled:refused/messages?wait=60", "").await;
    running.abort();
    for part in
        [r#""type":"First""#, r#""type":"Second""#, r#""scheduledStreamName": "a-1""#, r#""subject": "ada""#]
    {
        assert!(page.contains(part), "{page}");
    }
    assert!(page.contains(&format!("a message of id `{id}` was there already")), "{page}");
    assert!(world.said("GET /streams/a-1", "").await.contains("\"version\":-1"));
}

#[tokio::test]
async fn a_stream_for_answers_is_lent_and_given_back() {
    let world = World::new();
    let lent = world.ask("POST /reply-streams?hold=30", "").await;
    assert_eq!(lent.status(), 201);
    let lent = lent.into_body().collect(1 << 20).await.unwrap();
    let lent: serde_json::Value = serde_json::from_slice(&lent).unwrap();
    assert_eq!(lent["until"], "2025-11-26T12:00:30.000000Z");
    let stream = lent["stream_name"].as_str().unwrap();
    let (read, append) =
        (format!("GET /streams/{stream}/messages?wait=30"), format!("POST /streams/{stream}/messages"));
    let (answer, _) = tokio::join!(world.said(&read, ""), world.said(&append, r#"{"type": "Answered"}"#));
    assert!(answer.contains("\"type\":\"Answered\""), "{answer}");
    let renewed = world.said(&format!("POST /reply-streams/{stream}/renew"), "").await;
    assert!(renewed.starts_with("200 ") && renewed.contains("12:01:00"), "{renewed}");
    let back = world.said(&format!("DELETE /reply-streams/{stream}"), "").await;
    assert!(back.starts_with("200 ") && back.contains("\"given_back\":true"), "{back}");
    for call in [format!("DELETE /reply-streams/{stream}"), format!("POST /reply-streams/{stream}/renew")] {
        let said = world.said(&call, "").await;
        assert!(said.starts_with("404 ") && said.contains("is not lent"), "{said}");
    }
    let said = world.said("POST /reply-streams?hold=3601", "").await;
    assert!(said.contains("seconds from 0 to 3600"), "{said}");
}

#[tokio::test]
async fn bodies_are_compressed_both_ways() {
    let world = World::new();
    let lines: String = (0..500).fold(String::new(), |lines, n| {
        lines + &format!("{{\"stream_name\":\"a-1\",\"type\":\"T\",\"data\":{n}}}\n")
    });
    for coding in wire::coding::Coding::ALL {
        let packed =
            wire::stage::map_body(Body::full(lines.clone()), wire::coding::Encoder::new(coding, 1).unwrap());
        let call = format!(
            "POST /messages\nContent-Type: application/x-ndjson\nContent-Encoding: {}",
            coding.name()
        );
        let (head, _) = World::request(&call, "{}").into_parts();
        let said = world.api.answer(Request::from_parts(head, packed), false).await;
        assert_eq!(said.status(), 200, "{coding:?}");
        let call = format!("GET /messages\nAccept-Encoding: {}", coding.name());
        let page = world.ask(&call, "").await;
        assert_eq!(page.headers().get("content-encoding").unwrap(), coding.name());
        let packed = page.into_body();
        let page = wire::stage::map_body(packed, wire::coding::Decoder::new(coding).unwrap());
        let page = page.collect(1 << 20).await.unwrap();
        assert!(page.starts_with(b"{\"messages\":[{") && page.len() > 60_000, "{coding:?} {}", page.len());
    }
    let small = world.ask("GET /categories\nAccept-Encoding: gzip", "").await;
    assert!(small.headers().get("content-encoding").is_none());
    let said = world.said("POST /streams/a-1/messages\nContent-Encoding: lzma", "{}").await;
    assert!(said.starts_with("415 ") && said.contains("it takes one of gzip"), "{said}");
    // What grows beyond the bound as it is undone is refused as well.
    let bomb = wire::stage::map_body(
        Body::full(vec![b' '; 33 << 20]),
        wire::coding::Encoder::new(wire::coding::Coding::Gzip, 1).unwrap(),
    );
    let (head, _) = World::request("POST /streams/a-1/messages\nContent-Encoding: gzip", "{}").into_parts();
    assert_eq!(world.api.answer(Request::from_parts(head, bomb), false).await.status(), 413);
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused() {
    let world = World::new();
    let large = format!(r#"{{"type": "T", "data": "{}"}}"#, "x".repeat(9 << 20));
    world
        .check(
            "POST /streams/a-1/messages",
            &large,
            expect![[r#"400 {"code":"invalid","error":"`data`: the JSON has more than `8388608` bytes"}"#]],
        )
        .await;
    let line =
        format!("{{\"stream_name\": \"a-1\", \"type\": \"T\", \"data\": \"{}\"}}", "x".repeat(18 << 20));
    let said = world.said("POST /messages\nContent-Type: application/x-ndjson", &line).await;
    assert!(said.starts_with("413 ") && said.contains("line 1 has more than"), "{said}");
    let said = world.said("POST /streams/a-1/messages", &" ".repeat(33 << 20)).await;
    assert!(said.starts_with("413 "), "{said}");
}

#[test]
fn the_description_knows_every_schema_it_names() {
    let description = streams::http::openapi();
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let text = description.to_string();
    let mut named: Vec<&str> =
        text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    named.sort_unstable();
    named.dedup();
    for name in &named {
        assert!(schemas.contains_key(*name), "{name}");
    }
    for name in schemas.keys() {
        assert!(named.contains(&name.as_str()), "`{name}` is a schema of nothing");
    }
    let ids: Vec<&str> =
        text.split("\"operationId\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn the_reference_page_is_committed() {
    testkit::check_generated("docs/reference/streams-http.md", &streams::http::reference());
}
