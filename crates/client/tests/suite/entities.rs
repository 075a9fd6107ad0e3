//! Entities: what messages amount to, races, snapshots, deletion.

use crate::said::{Counted, Placed};
use serde::{Deserialize, Serialize};
use tombolo_client::{Client, EntityStore, Error, Message, NewMessage, Projection, Read, Received};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Count {
    sum: i64,
    messages: u32,
}

fn projection() -> Projection<Count> {
    Projection::new().on(|count: &mut Count, counted: Received<Counted>| {
        count.sum += counted.by;
        count.messages += 1;
    })
}

pub(crate) async fn an_entity_is_what_its_messages_amount_to(client: Client) {
    let counts = EntityStore::settings(client.clone(), "count", projection()).page(2).build();
    assert_eq!(counts.get("1").await.unwrap(), None);
    assert_eq!(
        (counts.fetch("1").await.unwrap().entity, counts.version("1").await.unwrap()),
        (Count::default(), -1)
    );
    for by in 1..=5 {
        client.write("count-1", Counted { by }).await.unwrap();
    }
    client.write("count-1", Placed { total_cents: 1 }).await.unwrap();
    let count = counts.get("1").await.unwrap().unwrap();
    assert_eq!((count.sum, count.messages, count.version), (15, 5, 5));
    client.write("count-1", Counted { by: 10 }).await.unwrap();
    assert_eq!(counts.clone().fetch("1").await.unwrap().sum, 25);
    // What can't be read is an error, not another sum.
    client.write("count-1", NewMessage::untyped(Counted::TYPE, &"x")).await.unwrap();
    assert!(counts.fetch("1").await.unwrap_err().to_string().starts_with("message `count-1/7`:"));
}

pub(crate) async fn writers_who_race_decide_again_and_none_is_lost(client: Client) {
    const MOST: i64 = 10;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let counts = EntityStore::new(client.clone(), "count", projection());
        tasks.spawn(async move {
            let mut written = 0;
            for _ in 0..5 {
                let up = |count: &Count| {
                    if count.sum < MOST { vec![Counted { by: 1 }.into()] } else { vec![] }
                };
                written += i64::from(counts.update("1", up).await.unwrap().is_some());
            }
            written
        });
    }
    let written: i64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(written, MOST);
    let counts = EntityStore::new(client.clone(), "count", projection());
    assert_eq!(counts.fetch("1").await.unwrap().entity, Count { sum: MOST, messages: 10 });
    assert_eq!(client.version("count-1").await.unwrap(), MOST - 1);
    let refused = counts.try_update("1", |count| Err(Error::other(format!("at {}", count.version)))).await;
    assert_eq!(refused.unwrap_err().to_string(), "at 9");
}

pub(crate) async fn a_snapshot_spares_reading_and_one_of_another_form_does_not(client: Client) {
    let counts = |schema_version: &str| {
        let settings = EntityStore::settings(client.clone(), "count", projection());
        settings.snapshots(4, schema_version).cached(0).build()
    };
    let add = async |numbers: std::ops::RangeInclusive<i64>| {
        for by in numbers {
            client.write("count-1", Counted { by }).await.unwrap();
        }
    };
    add(1..=3).await;
    assert_eq!(counts("1").fetch("1").await.unwrap().sum, 6);
    assert_eq!(client.version("count:snapshot-1").await.unwrap(), -1, "too little has happened");
    add(4..=5).await;
    assert_eq!(counts("1").fetch("1").await.unwrap().sum, 15);
    assert_eq!(client.version("count:snapshot-1").await.unwrap(), 0);
    let snapshot = client.last("count:snapshot-1").await.unwrap().unwrap();
    assert_eq!(snapshot.kind, "Recorded");
    let data: serde_json::Value = serde_json::from_str(snapshot.data.unwrap().get()).unwrap();
    assert_eq!((&data["entityVersion"], &data["entityData"]["sum"]), (&4.into(), &15.into()));
    assert!(data["time"].as_str().unwrap().ends_with('Z'));

    // Who believes the snapshot does not count what stands before it.
    let false_one = serde_json::json!({"entityData": {"sum": 1000, "messages": 0}, "entityVersion": 4});
    let write = |data: &serde_json::Value, version: &str| {
        let message = NewMessage::untyped("Recorded", data).schema_version(version);
        client.write("count:snapshot-1", message)
    };
    write(&false_one, "1").await.unwrap();
    add(6..=6).await;
    assert_eq!(counts("1").fetch("1").await.unwrap().sum, 1006);
    assert_eq!(counts("2").fetch("1").await.unwrap().sum, 21, "of another form");
    assert_eq!(counts("2").fetch("1").await.unwrap().sum, 21);
    let last = client.last("count:snapshot-1").await.unwrap().unwrap();
    assert_eq!(last.metadata().unwrap().schema_version.as_deref(), Some("2"));
    write(&serde_json::json!({"entityData": "damaged", "entityVersion": 4}), "2").await.unwrap();
    assert_eq!(counts("2").fetch("1").await.unwrap().sum, 21, "what can't be read is none");
}

pub(crate) async fn an_entity_that_was_deleted_is_gone(client: Client) {
    let counts = EntityStore::settings(client.clone(), "count", projection()).snapshots(1, "1").build();
    client.write("count-1", Counted { by: 7 }).await.unwrap();
    assert_eq!(counts.fetch("1").await.unwrap().sum, 7);
    let other = EntityStore::settings(client.clone(), "count", projection()).snapshots(1, "1").build();
    other.delete("1").await.unwrap();
    assert_eq!(counts.get("1").await.unwrap(), None);
    assert_eq!(other.get("1").await.unwrap(), None);
    let snapshots = client.read(Read::stream("count:snapshot-1")).take(5).await.unwrap();
    assert!(snapshots.iter().all(|message| message.kind == "$deleted"));
    // It may begin anew, behind what was.
    let next = counts.update("1", |_| vec![Counted { by: 1 }.into()]).await.unwrap().unwrap();
    assert_eq!(next.first_position, 2);
    assert_eq!(other.get("1").await.unwrap().unwrap().sum, 1);
}
