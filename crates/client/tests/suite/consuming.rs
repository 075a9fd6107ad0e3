//! Consuming: at least once, from where it was; what handlers answer, once; errors; groups; flows.

use crate::said::{Counted, Paid, Placed};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tombolo_client::{
    Append, Client, Consumer, Decision, Error, Fault, Handlers, Kind, Message, NewMessage, Read, Received,
};

/// What handlers saw.
type Seen = Arc<Mutex<Vec<i64>>>;

async fn counted(seen: Seen, counted: Received<Counted>) -> Result<(), Error> {
    seen.lock().unwrap().push(counted.by);
    Ok(())
}

async fn count(client: &Client, numbers: impl IntoIterator<Item = i64>) {
    for by in numbers {
        client.write(format!("count-{}", by % 3), Counted { by }).await.unwrap();
    }
}

pub(crate) async fn each_message_is_handled_and_the_position_outlives_the_consumer(client: Client) {
    let seen = Seen::default();
    let consumer = || {
        let handlers = Handlers::new(seen.clone()).on(counted);
        Consumer::new(client.clone(), "count", handlers).identifier("a").batch(2).position_update_interval(2)
    };
    count(&client, 0..5).await;
    client.write("count-9", Placed { total_cents: 1 }).await.unwrap();
    assert_eq!(consumer().catch_up().await.unwrap(), 6, "what has no handler is passed over");
    count(&client, 5..7).await;
    assert_eq!(consumer().catch_up().await.unwrap(), 2);
    assert_eq!(consumer().catch_up().await.unwrap(), 0);
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6]);
    let positions = client.read(Read::stream("count:position-a")).take(10).await.unwrap();
    // After each two messages, and when it ended.
    assert_eq!(positions.len(), 4);
    assert!(positions.iter().all(|position| position.kind == "Recorded"));
    let last = client.last("count-0").await.unwrap().unwrap().global_position;
    assert_eq!(
        positions[3].data.as_deref().unwrap().get().replace(' ', ""),
        format!("{{\"position\":{last}}}")
    );
    // Another consumer has a position of its own; one that begins later begins there.
    let other =
        || Consumer::new(client.clone(), "count", Handlers::new(seen.clone()).on(counted)).starting_at(last);
    assert_eq!(other().catch_up().await.unwrap(), 1);
    assert_eq!(other().catch_up().await.unwrap(), 0);
    // One without a position begins there each time.
    for _ in 0..2 {
        assert_eq!(other().without_position().catch_up().await.unwrap(), 1);
    }
    assert_eq!(client.version("count:position").await.unwrap(), 0);
}

pub(crate) async fn what_a_handler_answers_is_appended_once_whatever_was_handled_twice(client: Client) {
    async fn placed(runs: Arc<Mutex<i64>>, placed: Received<Placed>) -> Result<Vec<Append>, Error> {
        let run = {
            let mut runs = runs.lock().unwrap();
            *runs += 1;
            *runs
        };
        // It would say it differently each time, and more of it.
        let paid = Paid { charge: format!("charge-{run}") }.following(&placed);
        let more = (1..run).map(|_| Append::to("log-1", Counted { by: run }));
        Ok([Append::to(placed.stream_name(), paid)].into_iter().chain(more).collect())
    }
    async fn broken(_: Arc<Mutex<i64>>, _: Received<Counted>) -> Result<(), Error> {
        Err(Error::other("broken"))
    }
    let runs = Arc::new(Mutex::new(0));
    let consumer = || {
        let handlers = Handlers::new(runs.clone()).on(placed).on(broken);
        // The position is written only at the end, so what a crash leaves is handled again.
        Consumer::new(client.clone(), "order", handlers).position_update_interval(1_000)
    };
    client.write("order-1", Placed { total_cents: 1 }).await.unwrap();
    consumer().catch_up().await.unwrap();
    // As if the consumer had died before it wrote its position down: it begins anew.
    client.delete("order:position").await.unwrap();
    consumer().catch_up().await.unwrap();
    assert_eq!(*runs.lock().unwrap(), 2);
    let kinds: Vec<_> = client.read(Read::stream("order-1")).take(9).await.unwrap();
    assert_eq!(kinds.iter().map(|message| message.kind.as_str()).collect::<Vec<_>>(), ["Placed", "Paid"]);
    assert_eq!(kinds[1].receive::<Paid>().unwrap().charge, "charge-1");
    assert_eq!(client.version("log-1").await.unwrap(), -1);
}

pub(crate) async fn an_error_ends_the_consumer_before_its_message_and_nothing_is_lost(client: Client) {
    async fn odd(seen: Seen, counted: Received<Counted>) -> Result<(), Error> {
        if counted.by == 3 && !seen.lock().unwrap().contains(&-1) {
            return Err(Error::other("three"));
        }
        seen.lock().unwrap().push(counted.by);
        Ok(())
    }
    let seen = Seen::default();
    let consumer = || Consumer::new(client.clone(), "count", Handlers::new(seen.clone()).on(odd));
    count(&client, 0..6).await;
    assert_eq!(consumer().catch_up().await.unwrap_err().to_string(), "three");
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
    seen.lock().unwrap().push(-1);
    assert_eq!(consumer().catch_up().await.unwrap(), 3);
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2, -1, 3, 4, 5]);
    // What can't be read ends it as well, and strict handlers refuse what nobody handles.
    client.write("count-1", NewMessage::untyped("Counted", &"no object")).await.unwrap();
    assert!(consumer().catch_up().await.unwrap_err().to_string().contains("not what a `Counted` says"));
    let strict = Consumer::new(client.clone(), "count", Handlers::new(()).strict()).identifier("strict");
    assert!(
        strict.catch_up().await.unwrap_err().to_string().contains("is a `Counted`, which has no handler")
    );
}

pub(crate) async fn what_passes_is_tried_again_and_what_is_skipped_is_not(client: Client) {
    async fn shaky(seen: Seen, counted: Received<Counted>) -> Result<(), Error> {
        let before = seen.lock().unwrap().len();
        seen.lock().unwrap().push(counted.by);
        match (counted.by, before) {
            (1, 0..3) => Err(Fault::new(Kind::Unavailable, "the bank is closed").into()),
            (2, _) => Err(Error::other("never")),
            _ => Ok(()),
        }
    }
    let seen = Seen::default();
    count(&client, 1..4).await;
    let consumer = Consumer::new(client, "count", Handlers::new(seen.clone()).on(shaky)).on_error(
        |trouble| match trouble.usual() {
            Decision::Again(pause) => {
                assert_eq!(pause, Duration::from_millis(50 << trouble.attempt));
                Decision::Again(Duration::ZERO)
            }
            _ => Decision::Skip,
        },
    );
    assert_eq!(consumer.catch_up().await.unwrap(), 3);
    assert_eq!(*seen.lock().unwrap(), [1, 1, 1, 1, 2, 3]);
}

pub(crate) async fn members_of_a_group_share_a_category(client: Client) {
    for n in 0..20 {
        client.write(format!("count-{n}"), Counted { by: n }).await.unwrap();
    }
    let mut all = BTreeSet::new();
    for member in 0..3 {
        let seen = Seen::default();
        let consumer = Consumer::new(client.clone(), "count", Handlers::new(seen.clone()).on(counted))
            .group(member, 3)
            .identifier(format!("member{member}"));
        consumer.catch_up().await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert!(!seen.is_empty());
        for number in seen {
            assert!(all.insert(number), "{number} was handled by two");
        }
    }
    assert_eq!(all.len(), 20);
    let consumer = || Consumer::new(client.clone(), "count", Handlers::new(Seen::default()).on(counted));
    let said = consumer().group(0, 3).catch_up().await.unwrap_err().to_string();
    assert_eq!(said, "a member of a group needs an identifier");
    let said = consumer().group(3, 3).identifier("x").catch_up().await.unwrap_err().to_string();
    assert_eq!(said, "member `3` of a group of `3`: they count from 0");
    let of_stream = Consumer::new(client, "count-1", Handlers::new(Seen::default()).on(counted));
    let said = of_stream.catch_up().await.unwrap_err().to_string();
    assert_eq!(said, "`count-1` is a stream, a consumer's is a category");
}

pub(crate) async fn only_what_belongs_to_a_flow_is_handled(client: Client) {
    for (by, began) in [(1, "order-1"), (2, "cart-1"), (3, "order-2")] {
        let message = NewMessage::from(Counted { by }).correlate(began);
        client.write("count-1", message).await.unwrap();
    }
    let seen = Seen::default();
    let handlers = Handlers::new(seen.clone()).on(counted);
    let consumer = Consumer::new(client, "count", handlers).correlation("order");
    assert_eq!(consumer.catch_up().await.unwrap(), 2);
    assert_eq!(*seen.lock().unwrap(), [1, 3]);
}

pub(crate) async fn a_consumer_runs_until_it_is_to_stop(client: Client) {
    async fn last(stop: Arc<tokio::sync::Notify>, counted: Received<Counted>) -> Result<(), Error> {
        if counted.by == 5 {
            stop.notify_one();
        }
        Ok(())
    }
    let stop = Arc::new(tokio::sync::Notify::new());
    let consumer = Consumer::new(client.clone(), "count", Handlers::new(stop.clone()).on(last));
    // A task of its own, as services run it.
    let runs = tokio::spawn(consumer.run(async move { stop.notified().await }));
    count(&client, 0..6).await;
    runs.await.unwrap().unwrap();
    let position = client.last("count:position").await.unwrap().unwrap();
    let last = client.last("count-2").await.unwrap().unwrap();
    assert_eq!(
        position.data.unwrap().get().replace(' ', ""),
        format!("{{\"position\":{}}}", last.global_position)
    );
}
