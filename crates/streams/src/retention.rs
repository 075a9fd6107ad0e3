//! How long messages stay: the oldest of a category go when they are older than they need be, or beyond so many. Off
//! for every category that nobody said it of. What is removed is `store`'s matter.

use base::{Clock, Fault};
use std::time::Duration;
use store::{Removal, State, Store, Uuid};

/// How often it is looked for what is to go.
const EVERY: Duration = Duration::from_secs(3600);
/// After the start: whoever starts again and again gets there, too.
const FIRST: Duration = Duration::from_secs(60);
/// Of several nodes one does it.
const LEASE: &str = "$retention";
const HOLD: Duration = Duration::from_secs(600);

/// What stays of a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The category.
    pub category: String,
    /// Messages go when they are older.
    pub age: Option<Duration>,
    /// The oldest go while there are more.
    pub count: Option<u64>,
}

impl Keep {
    /// What has to go now.
    fn removal(&self, now: i64) -> Removal {
        let age = self.age.map(|age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        Removal::Category {
            category: self.category.clone(),
            before: age.map(|age| now.saturating_sub(age)),
            keep: self.count,
        }
    }
}

/// Removes what has to go, an hour after the other, for ever. `told` hears of each category of which messages went,
/// and how many.
pub async fn run(
    store: Store,
    state: State,
    clock: Clock,
    keeps: Vec<Keep>,
    told: impl Fn(&Keep, u64),
) -> Result<(), Fault> {
    let node = Uuid::new_v4().to_string();
    let mut wait = FIRST;
    loop {
        clock.sleep(wait).await;
        wait = EVERY;
        let lease = state.acquire(LEASE, &node, HOLD).await?;
        if lease.holder != node {
            continue;
        }
        for keep in &keeps {
            let now = clock.unix().micros().cast_signed();
            let removed = store.remove(keep.removal(now)).await?;
            if removed > 0 {
                told(keep, removed);
            }
        }
        state.release(LEASE, lease.token).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::UnixTime;
    use std::sync::{Arc, Mutex};
    use store::{Append, Embedded, LogOptions, NewMessage};

    #[tokio::test]
    async fn the_oldest_of_a_category_go_by_age_and_by_count_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1_764_158_400)));
        let (embedded, _) = Embedded::open(dir.path(), clock.clone(), LogOptions::default()).unwrap();
        let store = embedded.store();
        let append = async |stream: &str| {
            let message = NewMessage { id: Uuid::new_v4(), kind: "T".into(), data: None, metadata: None };
            let append = Append { stream: stream.into(), expected_version: None, messages: vec![message] };
            store.append(vec![append]).await.unwrap();
        };
        for _ in 0..5 {
            for stream in ["old-1", "many-1", "kept-1"] {
                append(stream).await;
            }
            hand.advance(Duration::from_secs(60));
        }
        let keep = |category: &str, age, count| Keep { category: category.into(), age, count };
        let keeps = vec![keep("old", Some(Duration::from_secs(150)), None), keep("many", None, Some(2))];
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = told.clone();
        let tell = move |keep: &Keep, removed| hears.lock().unwrap().push((keep.category.clone(), removed));
        let running = tokio::spawn(run(store.clone(), embedded.state(), clock, keeps, tell));
        // It waits for the clock before that moves.
        tokio::task::yield_now().await;
        hand.advance(FIRST);
        while told.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        running.abort();
        let told = told.lock().unwrap().clone();
        // They are 360, 300, 240, 180 and 120 seconds old now.
        assert_eq!(told, [("old".to_owned(), 4), ("many".to_owned(), 3)]);
        let left =
            async |category: &str| store.read(store::Read::category(category)).await.unwrap().messages.len();
        assert_eq!((left("old").await, left("many").await, left("kept").await), (1, 2, 5));
    }
}
