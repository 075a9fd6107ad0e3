//! Stories that every engine of small state has to tell alike.

use super::*;
use crate::{Postgres, PostgresOptions, Time};
use base::{Clock, ClockHand, UnixTime};

const SECOND: Duration = Duration::from_secs(1);
const START: i64 = 1_000_000_000;

struct World {
    state: State,
    clock: Clock,
    hand: ClockHand,
    place: Place,
}

/// Where the state of a world is.
enum Place {
    Folder(tempfile::TempDir),
    Database(String),
}

/// Which engine.
#[derive(Clone, Copy)]
enum Which {
    Sqlite,
    Postgres,
}

impl World {
    async fn new(which: Which) -> Self {
        let place = match which {
            Which::Sqlite => Place::Folder(tempfile::tempdir().unwrap()),
            Which::Postgres => {
                let server = testkit::Postgres::shared();
                Place::Database(server.url(&server.database()))
            }
        };
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_micros(START as u64)));
        Self { state: place.open(&clock).await, clock, hand, place }
    }

    async fn open_again(self) -> Self {
        let Self { state, clock, hand, place } = self;
        drop(state);
        Self { state: place.open(&clock).await, clock, hand, place }
    }

    async fn value(&self, key: &str) -> Option<(String, i64)> {
        let value = self.state.get(Key::new("app", key)).await.unwrap()?;
        Some((String::from_utf8(value.bytes).unwrap(), value.etag))
    }
}

impl Place {
    async fn open(&self, clock: &Clock) -> State {
        match self {
            Self::Folder(folder) => State::new(Sqlite::open(folder.path(), clock.clone()).unwrap()),
            Self::Database(url) => {
                let options = PostgresOptions { time: Time::Clock, ..PostgresOptions::default() };
                Postgres::open(url, clock.clone(), options).await.unwrap().state()
            }
        }
    }
}

/// One test for each engine, of one story.
macro_rules! each_engine {
    ($($story:ident)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $story() { super::$story(super::Which::Sqlite).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $story() { super::$story(super::Which::Postgres).await; })*
        }
    };
}

each_engine! {
    a_value_changes_only_where_its_condition_holds
    changes_are_made_together_or_not_at_all
    a_value_goes_when_its_time_has_come
    keys_are_listed_by_prefix_in_pages
    a_lease_passes_on_with_a_larger_token
    a_timer_fires_until_it_is_finished_and_survives
    a_timer_that_repeats_keeps_its_beat_and_leaves_out_what_was_missed
    many_at_once_are_counted_right
    state_keeps_within_its_bounds
}

fn set(key: &str, value: &str) -> Change {
    Change::set(Key::new("app", key), value)
}

async fn a_value_changes_only_where_its_condition_holds(which: Which) {
    let world = World::new(which).await;
    let state = &world.state;
    assert_eq!(world.value("a").await, None);
    let first = state.apply(vec![set("a", "1").when(Condition::Absent)]).await.unwrap()[0];
    assert_eq!(world.value("a").await, Some(("1".into(), first)));
    let conflict = state.apply(vec![set("a", "2").when(Condition::Absent)]).await.unwrap_err();
    assert_eq!(conflict.to_string(), format!("the value of `a` has etag `{first}` now"));
    let second = state.apply(vec![set("a", "2").when(Condition::Etag(first))]).await.unwrap()[0];
    assert!(second > first);
    let conflict = state.apply(vec![Change::delete(Key::new("app", "a")).when(Condition::Etag(first))]).await;
    assert!(matches!(conflict, Err(ChangeError::Conflict { actual: Some(etag), .. }) if etag == second));
    state.apply(vec![Change::delete(Key::new("app", "a"))]).await.unwrap();
    let third = state.apply(vec![set("a", "2").when(Condition::Absent)]).await.unwrap()[0];
    assert!(third > second, "an etag does not come again");
    assert_eq!(state.get(Key::new("other", "a")).await.unwrap(), None);
}

async fn changes_are_made_together_or_not_at_all(which: Which) {
    let world = World::new(which).await;
    world.state.apply(vec![set("a", "1"), set("b", "1")]).await.unwrap();
    let changes =
        vec![set("a", "2"), Change::delete(Key::new("app", "b")), set("c", "2").when(Condition::Etag(9))];
    let conflict = world.state.apply(changes).await.unwrap_err();
    assert_eq!(conflict.to_string(), "there is no value of `c`");
    let world = world.open_again().await;
    assert_eq!(world.value("a").await.unwrap().0, "1");
    assert_eq!(world.value("b").await.unwrap().0, "1");
}

async fn a_value_goes_when_its_time_has_come(which: Which) {
    let world = World::new(which).await;
    world.state.apply(vec![set("short", "1").ttl(SECOND), set("long", "1")]).await.unwrap();
    world.hand.advance(Duration::from_micros(999_999));
    assert!(world.value("short").await.is_some());
    world.hand.advance(Duration::from_micros(1));
    assert_eq!(world.value("short").await, None);
    world.state.apply(vec![set("short", "2").when(Condition::Absent)]).await.unwrap();
    assert_eq!(world.state.list("app", "", None, 10).await.unwrap().len(), 2);
    world.state.apply(vec![set("short", "3").ttl(SECOND)]).await.unwrap();
    assert_eq!(world.state.count("app", "", 10).await.unwrap(), 2);
    world.hand.advance(SECOND);
    assert_eq!(world.state.count("app", "", 10).await.unwrap(), 1);
}

async fn keys_are_listed_by_prefix_in_pages(which: Which) {
    let world = World::new(which).await;
    let keys = ["a", "b%1", "b%2", "b_", "bé", "c"];
    world.state.apply(keys.iter().map(|key| set(key, key)).collect()).await.unwrap();
    let list = async |prefix, after, limit| {
        let found = world.state.list("app", prefix, after, limit).await.unwrap();
        found.into_iter().map(|(key, _)| key.key).collect::<Vec<_>>()
    };
    assert_eq!(list("b", None, 10).await, ["b%1", "b%2", "b_", "bé"]);
    assert_eq!(list("b%", None, 10).await, ["b%1", "b%2"]);
    assert_eq!(list("b", Some("b%2"), 1).await, ["b_"]);
    assert_eq!(list("", Some("bé"), 10).await, ["c"]);
    let last = char::MAX.to_string().repeat(3);
    world.state.apply(vec![set(&last, "x")]).await.unwrap();
    assert_eq!((list(&last[..4], None, 10).await, list("", None, 10).await.len()), (vec![last.clone()], 7));
    world.state.apply(vec![Change::delete(Key::new("app", last))]).await.unwrap();
    let count = async |prefix, limit| world.state.count("app", prefix, limit).await.unwrap();
    let counts = (count("b", 10).await, count("b%", 10).await, count("", 4).await, count("d", 9).await);
    assert_eq!(counts, (4, 2, 4, 0));
}

async fn a_lease_passes_on_with_a_larger_token(which: Which) {
    let world = World::new(which).await;
    let acquire = async |holder| world.state.acquire("job", holder, SECOND * 10).await.unwrap();
    let ann = acquire("ann").await;
    assert_eq!((ann.holder.as_str(), ann.until), ("ann", START + 10_000_000));
    assert_eq!(acquire("bob").await, ann, "it is ann's");
    world.hand.advance(SECOND * 6);
    let prolonged = acquire("ann").await;
    assert_eq!((prolonged.token, prolonged.until), (ann.token, START + 16_000_000));
    world.hand.advance(SECOND * 10);
    assert_eq!(world.state.lease("job").await.unwrap(), None);
    let bob = acquire("bob").await;
    assert!(bob.holder == "bob" && bob.token > ann.token);
    assert!(!world.state.release("job", ann.token).await.unwrap(), "it is not ann's any more");
    assert!(world.state.release("job", bob.token).await.unwrap());
    let again = acquire("ann").await;
    assert!(again.token > bob.token);
    world.hand.advance(SECOND * 11);
    assert!(acquire("ann").await.token > again.token, "late is late");
}

fn timer(key: &str, after_ms: i64) -> Timer {
    let due = START + after_ms * 1000;
    Timer { key: Key::new("app", key), due, every: None, payload: key.as_bytes().to_vec() }
}

async fn a_timer_fires_until_it_is_finished_and_survives(which: Which) {
    let world = World::new(which).await;
    let mut set = world.state.timers_set();
    world.state.set_timer(timer("late", 2_000)).await.unwrap();
    world.state.set_timer(timer("early", 1_000)).await.unwrap();
    assert!(set.has_changed().unwrap());
    set.mark_unchanged();
    assert_eq!(world.state.next_due("app").await.unwrap(), Some(START + 1_000_000));
    assert_eq!(world.state.take_due("app", 10, SECOND).await.unwrap(), []);
    world.hand.advance(SECOND * 2);
    let world = world.open_again().await;
    let taken = world.state.take_due("app", 10, SECOND).await.unwrap();
    assert_eq!(taken.iter().map(|due| due.timer.key.key.as_str()).collect::<Vec<_>>(), ["early", "late"]);
    assert_eq!(taken[0].timer.payload, b"early");
    assert!(world.state.finish_timer(&taken[0]).await.unwrap());
    assert_eq!(world.state.take_due("app", 10, SECOND).await.unwrap(), []);
    assert_eq!(world.state.next_due("app").await.unwrap(), Some(START + 3_000_000));
    // Who took the other was not heard of again.
    world.hand.advance(SECOND);
    let again = world.state.take_due("app", 10, SECOND).await.unwrap();
    assert_eq!(again[0].timer, taken[1].timer);
    assert!(!world.state.finish_timer(&taken[1]).await.unwrap(), "too late");
    // Set again while somebody has it: that one does not end the new one.
    world.state.set_timer(timer("late", 9_000)).await.unwrap();
    assert!(!world.state.finish_timer(&again[0]).await.unwrap());
    assert!(world.state.cancel_timer(Key::new("app", "late")).await.unwrap());
    assert_eq!(world.state.next_due("app").await.unwrap(), None);
}

async fn a_timer_that_repeats_keeps_its_beat_and_leaves_out_what_was_missed(which: Which) {
    let world = World::new(which).await;
    world.state.set_timer(Timer { every: Some(SECOND), ..timer("beat", 500) }).await.unwrap();
    let mut dues = Vec::new();
    for wait in [500, 1_000, 3_700, 300] {
        world.hand.advance(Duration::from_millis(wait));
        let taken = world.state.take_due("app", 10, SECOND).await.unwrap();
        dues.push((taken[0].timer.due - START) / 1000);
        assert!(world.state.finish_timer(&taken[0]).await.unwrap());
    }
    assert_eq!(dues, [500, 1_500, 2_500, 5_500]);
}

async fn many_at_once_are_counted_right(which: Which) {
    let world = World::new(which).await;
    world.state.apply(vec![set("count", "0")]).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let state = world.state.clone();
        tasks.spawn(async move {
            let mut added = 0;
            while added < 10 {
                let value = state.get(Key::new("app", "count")).await.unwrap().unwrap();
                let count: u32 = String::from_utf8(value.bytes).unwrap().parse().unwrap();
                let change = set("count", &(count + 1).to_string()).when(Condition::Etag(value.etag));
                added += u32::from(state.apply(vec![change]).await.is_ok());
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(world.open_again().await.value("count").await.unwrap().0, "80");
}

async fn state_keeps_within_its_bounds(which: Which) {
    let world = World::new(which).await;
    let refused = |error: ChangeError| Fault::from(error).to_string();
    let changes = vec![set("a", "1"); bounds::CHANGES_MAX + 1];
    assert_eq!(
        refused(world.state.apply(changes).await.unwrap_err()),
        "`1001` changes at once, at most `1000` go"
    );
    let large = Change::set(Key::new("app", "a"), vec![0; bounds::VALUE_BYTES_MAX + 1]);
    assert!(
        refused(world.state.apply(vec![large]).await.unwrap_err()).starts_with("a value has `4194305` bytes")
    );
    let long = set(&"k".repeat(2_049), "1");
    assert!(refused(world.state.apply(vec![long]).await.unwrap_err()).starts_with("a name has `2049` bytes"));
    // The longest names fit, of bytes that nothing can compress.
    let chance = base::Chance::seeded(1);
    let name =
        |bytes: usize| (0..bytes).map(|_| char::from(b'!' + (chance.below(90) as u8))).collect::<String>();
    let longest = Key::new(name(bounds::SPACE_BYTES_MAX), name(bounds::NAME_BYTES_MAX));
    world.state.apply(vec![Change::set(longest.clone(), "1")]).await.unwrap();
    assert!(world.state.get(longest.clone()).await.unwrap().is_some());
    world.state.set_timer(Timer { key: longest, ..timer("", 1) }).await.unwrap();
}

#[test]
fn state_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = Clock::by_hand(UnixTime::default());
    drop(Sqlite::open(folder.path(), clock.clone()).unwrap());
    let connection = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    let fault = Sqlite::open(folder.path(), clock).unwrap_err();
    assert_eq!(fault.to_string(), "the state is of version `2`, this program knows up to `1`");
}
