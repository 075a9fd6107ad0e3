//! The HTTP client against servers that fail: what is sent again and what is not, which connections are kept, what a
//! consumer of the server is asked and told. The time is moved by hand.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Backend, Reply};
use tombolo_client::{
    Append, Client, Clock, Error, Handlers, Http, Kind, Message, MessageData, PullConsumer, Read, Received,
    Transport as _, messages,
};

#[derive(Serialize, Deserialize)]
struct Placed {
    cents: u32,
}
#[derive(Serialize, Deserialize)]
struct Paid {}
messages!(Placed, Paid);

const APPENDED: &str = r#"{"stream_name":"a-1","first_position":0,"last_position":0,"first_global_position":7,"last_global_position":7}"#;

/// What a client of this server does while its clock runs on, and how far that ran.
async fn with_time<T, F: Future<Output = T>>(
    backend: &Backend,
    act: impl FnOnce(Client) -> F,
) -> (T, Duration) {
    let (clock, hand) = Clock::by_hand(base::UnixTime::default());
    let began = clock.now();
    let client = Client::over(Http::new(&backend.url(), clock.clone()).unwrap(), clock.clone());
    let passes = async {
        loop {
            tokio::task::yield_now().await;
            hand.advance(Duration::from_millis(100));
        }
    };
    tokio::select! {
        done = act(client) => (done, clock.now().since(began)),
        () = passes => unreachable!(),
    }
}

/// A message as the API tells it.
fn message(position: u32, kind: &str) -> String {
    format!(
        r#"{{"id":"00000000-0000-0000-0000-00000000000{position}","stream_name":"order-1","type":"{kind}",
        "position":{position},"global_position":{position},"data":{{"cents":5}},"metadata":null,
        "time":"2026-11-26T12:00:00Z"}}"#
    )
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_sent_again_with_the_same_key_and_the_same_ids() {
    let backend = Backend::start(|seen| match seen.number {
        0 => Reply::nothing().then_reset(),
        1 => Reply::ok(APPENDED).cut(20).then_close(),
        _ => Reply::ok(APPENDED),
    })
    .await;
    let (appended, _) =
        with_time(&backend, async |client: Client| client.write("a-1", Placed { cents: 5 }).await).await;
    assert_eq!(appended.unwrap().first_global_position, 7);
    let seen = backend.seen();
    assert_eq!(seen.len(), 3);
    let key = seen[0].header("idempotency-key").unwrap();
    assert!(seen[0].text().contains(&format!(r#""id":"{key}""#)), "{}", seen[0].text());
    for again in &seen[1..] {
        assert_eq!((again.header("idempotency-key"), again.text()), (Some(key), seen[0].text()));
    }
}

#[tokio::test]
async fn a_key_of_the_caller_s_own_leaves_the_ids_to_the_server() {
    let backend = Backend::start(|_| Reply::ok(APPENDED)).await;
    let (done, _) = with_time(&backend, async |client: Client| {
        let write = client.write("a-1", Placed { cents: 5 }).idempotency_key("cart 1").initial();
        write.await.unwrap();
        let long = client.write("a-1", Placed { cents: 5 }).idempotency_key("x".repeat(256));
        (long.await.unwrap_err(), client.write("a-1", Paid {}).idempotency_key("a\nb").await.unwrap_err())
    })
    .await;
    for refused in [done.0, done.1] {
        assert!(refused.to_string().ends_with("is no idempotency key"), "{refused}");
    }
    let [seen] = backend.seen().try_into().unwrap();
    assert_eq!(seen.line(), "POST /api/v1/streams/a-1/messages?expected_version=-1");
    assert_eq!(seen.header("idempotency-key"), Some("cart 1"));
    assert_eq!(seen.text(), r#"[{"type":"Placed","data":{"cents":5}}]"#);
}

#[tokio::test]
async fn one_connection_serves_one_call_after_another_and_a_dead_one_is_replaced() {
    let backend = Backend::start(|seen| {
        let reply = Reply::ok(r#"{"version": 3}"#);
        if seen.number == 2 { reply.then_close_on_next() } else { reply }
    })
    .await;
    let (versions, _) = with_time(&backend, async |client: Client| {
        let mut versions = Vec::new();
        for _ in 0..5 {
            versions.push(client.version("a-1").await.unwrap());
        }
        versions
    })
    .await;
    assert_eq!(versions, [3; 5]);
    assert_eq!(backend.connections(), 2);
    let connections: Vec<_> = backend.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections[..3], [0, 0, 0]);
    assert_eq!(connections.last(), Some(&1));
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_when_it_says_so_and_otherwise_not() {
    let busy = |fields: &[(&str, &str)]| {
        let body = r#"{"error":"the disk is full","code":"unavailable","hint":"make room"}"#;
        fields.iter().fold(Reply::status(503).body(body), |reply, (name, value)| reply.header(name, value))
    };
    let backend = Backend::start(move |seen| match seen.number {
        0 => busy(&[("Retry-After", "3")]),
        1 => Reply::ok(r#"{"version": 3}"#),
        _ => busy(&[]),
    })
    .await;
    let ((version, refused), passed) = with_time(&backend, async |client: Client| {
        (client.version("a-1").await, client.version("a-1").await)
    })
    .await;
    assert_eq!(version.unwrap(), 3);
    assert!(passed >= Duration::from_secs(3), "{passed:?}");
    let fault = refused.unwrap_err().into_fault();
    assert_eq!((fault.kind, fault.to_string().as_str()), (Kind::Unavailable, "the disk is full"));
    assert_eq!(fault.hint.as_deref(), Some("make room"));
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn nobody_is_asked_for_ever() {
    let backend = Backend::start(|_| Reply::nothing().then_reset()).await;
    let (refused, _) = with_time(&backend, async |client: Client| client.version("a-1").await).await;
    assert_eq!(refused.unwrap_err().into_fault().kind, Kind::Unavailable);
    assert_eq!(backend.requests(), 4);
    let odd = Backend::saying("<html>").await;
    let (refused, _) = with_time(&odd, async |client: Client| client.version("a-1").await).await;
    let said = refused.unwrap_err().to_string();
    assert!(said.starts_with(&format!("`{}` answered what is not understood:", odd.url())), "{said}");
    let fewer = Backend::start(|_| Reply::ok(r#"{"appended":[]}"#)).await;
    let appends = || vec![Append::to("a-1", Paid {}), Append::to("b-1", Paid {})];
    let (refused, _) = with_time(&fewer, async |client: Client| client.append(appends()).await).await;
    assert_eq!(refused.unwrap_err().to_string(), "`2` appends were asked for, `0` were answered");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_where_to_look() {
    let address = Backend::refusing().await;
    let (clock, hand) = Clock::by_hand(base::UnixTime::default());
    let http = Http::new(&format!("http://{address}"), clock).unwrap();
    let asks = tokio::spawn(async move { http.version("a-1").await });
    while !asks.is_finished() {
        hand.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    let fault = asks.await.unwrap().unwrap_err().into_fault();
    assert_eq!(fault.kind, Kind::Unavailable);
    assert!(fault.hint.unwrap().contains("`streams:`"));
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_by_the_clock_it_was_given() {
    let backend = Backend::start(|seen| match seen.method.as_str() {
        "POST" if seen.target == "/api/v1/reply-streams?hold=100" => {
            Reply::status(201).body(r#"{"stream_name":"reply-7","until":"2026-11-26T12:01:40Z"}"#)
        }
        "POST" => Reply::ok(APPENDED),
        // A server that waits longer than it was asked to.
        _ => Reply::nothing().then_stall(),
    })
    .await;
    let (clock, hand) = Clock::by_hand(base::UnixTime::default());
    let client = Client::over(Http::new(&backend.url(), clock.clone()).unwrap(), clock);
    let asks = client.request("price:command-1", Paid {}).within(Duration::from_secs(90)).any_reply();
    let passes = async {
        backend.wait_for(3).await;
        hand.advance(Duration::from_secs(89));
        tokio::task::yield_now().await;
        hand.advance(Duration::from_secs(1));
    };
    let (refused, ()) = tokio::join!(asks, passes);
    assert_eq!(refused.unwrap_err().to_string(), "no reply to `Paid` in `price:command-1` within 1m30s");
    let asked = &backend.seen()[2].target;
    assert!(
        asked.contains("/reply-7/") && asked.contains("wait=60"),
        "a call waits no longer than a minute: {asked}"
    );
    backend.wait_for(4).await;
    assert_eq!(backend.seen()[3].line(), "DELETE /api/v1/reply-streams/reply-7");
}

async fn pay((): (), placed: Received<Placed>) -> Result<Append, Error> {
    Ok(Append::to(placed.stream_name(), Paid {}.following(&placed)).expected_version(1))
}

async fn not_yet((): (), _: Received<Paid>) -> Result<(), Error> {
    Err(Error::other("not yet"))
}

#[tokio::test]
async fn a_consumer_of_the_server_takes_handles_and_answers() {
    let acks = Arc::new(Mutex::new(Vec::new()));
    let told = acks.clone();
    let backend = Backend::start(move |seen| {
        if seen.target.contains("/ack") {
            told.lock().unwrap().push(seen.text());
            return Reply::ok(r#"{"acks":[{"token":"t","result":"acknowledged"}]}"#);
        }
        match seen.number {
            0 => Reply::status(502),
            1 => Reply::ok(format!(
                r#"{{"deliveries":[{{"token":"t1","attempt":1,"message":{}}},{{"token":"t2","attempt":2,"message":{}}},
                {{"token":"t3","attempt":1,"message":{}}}]}}"#,
                message(1, "Placed"),
                message(2, "Paid"),
                message(3, "Other"),
            )),
            _ => Reply::status(404).body(r#"{"error":"there is no consumer `pay`","code":"not_found"}"#),
        }
    })
    .await;
    let (failed, unreachable) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (failures, breaks) = (failed.clone(), unreachable.clone());
    let (ended, _) = with_time(&backend, async |client: Client| {
        PullConsumer::new(client, "pay", Handlers::new(()).on(pay).on(not_yet))
            .limit(1_000)
            .on_failed(move |delivery, _| {
                assert_eq!(delivery.attempt, 2);
                failures.fetch_add(1, Ordering::Relaxed);
            })
            .on_unreachable(move |_| {
                breaks.fetch_add(1, Ordering::Relaxed);
            })
            .run(std::future::pending())
            .await
    })
    .await;
    assert_eq!(ended.unwrap_err().to_string(), "there is no consumer `pay`");
    assert_eq!((failed.load(Ordering::Relaxed), unreachable.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(backend.seen()[0].line(), "POST /api/v1/consumers/pay/take?limit=100&wait=20");
    assert_eq!(
        *acks.lock().unwrap(),
        [
            r#"{"acks":[{"token":"t1","outcome":"done","append":[{"stream_name":"order-1","expected_version":1,"messages":[{"type":"Paid","data":{},"metadata":{"causationMessageStreamName":"order-1","causationMessagePosition":1,"causationMessageGlobalPosition":1}}]}]}]}"#,
            r#"{"acks":[{"token":"t2","outcome":"retry","reason":"not yet"}]}"#,
            r#"{"acks":[{"token":"t3","outcome":"done"}]}"#,
        ]
    );
}

#[tokio::test]
async fn what_is_written_for_a_request_or_after_a_message_is_in_its_trace() {
    const OF_REQUEST: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let backend = Backend::start(|_| Reply::ok(APPENDED)).await;
    let previous =
        MessageData::from_json(message(1, "Placed").replace("null", r#"{"traceparent":"00-1"}"#).as_bytes());
    let previous = previous.unwrap().receive::<Placed>().unwrap();
    let (written, _) = with_time(&backend, async |client: Client| {
        client.write("a-1", Paid {}).await?;
        client.write("a-1", Paid {}.following(&previous)).await?;
        let client = client.in_trace(Some(OF_REQUEST));
        client.write("a-1", Paid {}).await?;
        client.write("a-1", Paid {}.following(&previous)).await?;
        client.in_trace(Some("no\nfield")).write("a-1", Paid {}).await
    })
    .await;
    written.unwrap();
    let seen = backend.seen();
    let traces: Vec<_> = seen.iter().map(|seen| seen.header("traceparent")).collect();
    assert_eq!(traces, [None, Some("00-1"), Some(OF_REQUEST), Some("00-1"), None]);
    assert!(seen.iter().all(|seen| !seen.text().contains("traceparent")), "what is kept is the append's own");
}

#[tokio::test]
async fn what_was_acknowledged_too_late_ends_the_batch_and_is_told() {
    let deliveries = || {
        let delivery =
            |nth: u32| format!(r#"{{"token":"t{nth}","attempt":1,"message":{}}}"#, message(nth, "Placed"));
        Reply::ok(format!(r#"{{"deliveries":[{},{},{}]}}"#, delivery(1), delivery(2), delivery(3)))
    };
    let backend =
        Backend::start(move |seen| match (seen.target.contains("/ack"), seen.text().contains("t1")) {
            (true, true) => Reply::ok(r#"{"acks":[{"token":"t1","result":"not_appended"}]}"#),
            (true, false) => Reply::ok(r#"{"acks":[{"token":"t2","result":"lost"}]}"#),
            (false, _) if seen.number == 0 => deliveries(),
            (false, _) => {
                Reply::status(404).body(r#"{"error":"there is no consumer `pay`","code":"not_found"}"#)
            }
        })
        .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let (ended, _) = with_time(&backend, async |client: Client| {
        PullConsumer::new(client, "pay", Handlers::new(()).on(pay))
            .on_failed(move |delivery, error| {
                tell.lock().unwrap().push(format!("{}: {error}", delivery.token));
            })
            .run(std::future::pending())
            .await
    })
    .await;
    ended.unwrap_err();
    assert_eq!(
        *told.lock().unwrap(),
        [
            "t1: what follows from it could not be appended",
            "t2: it was handled too late, and is handed out again"
        ]
    );
    assert_eq!(backend.requests(), 4, "the third of them is not handled");
}

#[tokio::test]
async fn a_consumer_of_the_server_stops_when_it_is_to() {
    let backend = Backend::start(|_| Reply::nothing().then_stall()).await;
    let (ended, _) = with_time(&backend, async |client: Client| {
        let consumer = PullConsumer::new(client, "pay", Handlers::new(()));
        consumer.run(async { drop(backend.first().await) }).await
    })
    .await;
    ended.unwrap();
}

#[tokio::test]
async fn a_push_is_handled_and_its_answer_says_what_is_to_be_appended() {
    async fn placed(closed: bool, placed: Received<Placed>) -> Result<Append, Error> {
        if closed {
            return Err(tombolo_client::Fault::new(Kind::Unavailable, "the bank is closed").into());
        }
        Ok(Append::to(placed.stream_name(), Paid {}))
    }
    async fn paid(_: bool, paid: Received<Paid>) -> Result<(), Error> {
        match paid.position() {
            4 => Err(Error::WrongVersion { stream: "a-1".into(), expected: 1, actual: 2 }),
            _ => Err(Error::other("no")),
        }
    }
    let handlers = |closed| Handlers::new(closed).on(placed).on(paid);
    let said = async |closed: bool, body: &str| {
        let pushed = handlers(closed).push(body.as_bytes()).await;
        (pushed.status, String::from_utf8(pushed.body).unwrap(), pushed.retry_after)
    };
    let append = r#"{"append":[{"stream_name":"order-1","messages":[{"type":"Paid","data":{}}]}]}"#;
    assert_eq!(said(false, &message(1, "Placed")).await, (200, append.to_owned(), None));
    assert_eq!(said(false, &message(1, "Other")).await, (200, r#"{"append":[]}"#.to_owned(), None));
    let closed = r#"{"error":"the bank is closed"}"#.to_owned();
    assert_eq!(said(true, &message(1, "Placed")).await, (503, closed, Some(1)));
    assert_eq!(said(true, &message(1, "Paid")).await, (500, r#"{"error":"no"}"#.to_owned(), None));
    let slower = said(true, &message(4, "Paid")).await;
    assert_eq!((slower.0, slower.2), (500, None), "an attempt that counts");
    let several = format!(" [{},{}]", message(1, "Other"), message(2, "Placed"));
    assert_eq!(said(false, &several).await, (200, append.to_owned(), None));
    let with_paid = format!("[{},{}]", message(1, "Placed"), message(2, "Paid"));
    assert_eq!(said(false, &with_paid).await.0, 500, "what can't be handled is pushed again with the others");
    assert_eq!((said(true, "{}").await.0, said(true, "[{}]").await.0), (400, 400));
}

#[tokio::test]
async fn a_page_is_bounded_and_asked_for_as_it_is_meant() {
    let backend = Backend::start(|_| {
        Reply::ok(format!(r#"{{"messages":[{}],"next":2,"more":false}}"#, message(1, "Placed")))
    })
    .await;
    let (page, _) = with_time(&backend, async |client: Client| {
        let read = Read::category("order").from(1).kind("Placed");
        client.page(read.clone().limit(20_000).wait(Duration::from_secs(90))).await.unwrap();
        client.page(read.limit(10)).await
    })
    .await;
    assert_eq!(page.unwrap().messages[0].receive::<Placed>().unwrap().cents, 5);
    assert_eq!(
        backend.seen().iter().map(testkit::Seen::line).collect::<Vec<_>>(),
        [
            "GET /api/v1/categories/order/messages?from=1&limit=10000&type=Placed&wait=60",
            "GET /api/v1/categories/order/messages?from=1&limit=10&type=Placed"
        ]
    );
}
