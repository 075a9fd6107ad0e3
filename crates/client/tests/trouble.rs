//! Streams that fail for a while: a consumer waits for them by its clock and goes on, stops when it is to, and an
//! entity is right though its snapshot could not be written.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use base::{ClockHand, UnixTime};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tombolo_client::testing::Substitute;
use tombolo_client::{
    Client, Clock, Consumer, Decision, EntityStore, Error, Handlers, Projection, Received, messages,
};

#[derive(Serialize, Deserialize)]
struct Counted {
    by: i64,
}
messages!(Counted);

struct World {
    substitute: Substitute,
    client: Client,
    clock: Clock,
    hand: ClockHand,
}

impl World {
    fn new() -> Self {
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1_700_000_000)));
        let substitute = Substitute::at(clock.clone());
        let client = substitute.client();
        Self { substitute, client, clock, hand }
    }

    /// What comes while the clock goes on.
    async fn while_time_passes<T>(&self, wanted: impl Future<Output = T>) -> T {
        let passes = async {
            loop {
                tokio::task::yield_now().await;
                self.hand.advance(Duration::from_millis(50));
            }
        };
        tokio::select! {
            came = wanted => came,
            () = passes => unreachable!(),
        }
    }
}

type Seen = Arc<Mutex<Vec<i64>>>;

async fn counted(seen: Seen, counted: Received<Counted>) -> Result<(), Error> {
    seen.lock().unwrap().push(counted.by);
    Ok(())
}

#[tokio::test]
async fn a_consumer_waits_for_streams_that_are_not_there_and_goes_on() {
    let world = World::new();
    for by in 1..=3 {
        world.client.write("count-1", Counted { by }).await.unwrap();
    }
    let seen = Seen::default();
    let pauses = Arc::new(Mutex::new(Vec::new()));
    let told = pauses.clone();
    let consumer = Consumer::new(world.client.clone(), "count", Handlers::new(seen.clone()).on(counted))
        .position_update_interval(1)
        .on_error(move |trouble| {
            assert!(trouble.message.is_none());
            let decision = trouble.usual();
            told.lock().unwrap().push(decision);
            decision
        });
    world.substitute.fail_reads(9);
    world.substitute.fail_appends(1);
    let began = world.clock.now();
    assert_eq!(world.while_time_passes(consumer.catch_up()).await.unwrap(), 3);
    let paused = |millis| Decision::Again(Duration::from_millis(millis));
    // Nine times no page, once no position.
    let expected = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 100].map(paused);
    assert_eq!(*pauses.lock().unwrap(), expected);
    assert!(world.clock.now().since(began) >= Duration::from_millis(32_800));
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
    assert_eq!(world.client.version("count:position").await.unwrap(), 2);
}

#[tokio::test]
async fn a_consumer_that_waits_stops_at_once_when_it_is_to() {
    let world = World::new();
    world.substitute.fail_reads(u32::MAX);
    let seen = Seen::default();
    let consumer = Consumer::new(world.client.clone(), "count", Handlers::new(seen).on(counted));
    // The clock stands still: the pause itself never ends.
    consumer.run(async { tokio::task::yield_now().await }).await.unwrap();
    let seen = Seen::default();
    let idle = World::new();
    let consumer = Consumer::new(idle.client.clone(), "count", Handlers::new(seen).on(counted));
    consumer.run(async { tokio::task::yield_now().await }).await.unwrap();
    assert_eq!(idle.client.version("count:position").await.unwrap(), -1, "nothing was handled");
}

#[tokio::test]
async fn a_consumer_that_skips_what_is_no_message_ends() {
    let world = World::new();
    world.substitute.fail_reads(1);
    let consumer = Consumer::new(world.client.clone(), "count", Handlers::new(Seen::default()).on(counted))
        .on_error(|_| Decision::Skip);
    assert_eq!(consumer.catch_up().await.unwrap_err().to_string(), "the test has this call fail");
}

#[tokio::test]
async fn an_entity_is_right_though_its_snapshot_could_not_be_written() {
    let world = World::new();
    let projection = Projection::new().on(|sum: &mut i64, counted: Received<Counted>| *sum += counted.by);
    let sums = EntityStore::settings(world.client.clone(), "count", projection).snapshots(1, "1").build();
    world.client.write("count-1", Counted { by: 4 }).await.unwrap();
    world.substitute.fail_appends(1);
    assert_eq!(sums.fetch("1").await.unwrap().entity, 4);
    assert_eq!(world.client.version("count:snapshot-1").await.unwrap(), -1);
    assert_eq!(sums.fetch("1").await.unwrap().entity, 4);
    assert_eq!(world.client.version("count:snapshot-1").await.unwrap(), 0, "the next time it was");
}
