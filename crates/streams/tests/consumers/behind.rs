//! A million messages behind: a consumer whose handler hangs holds few of them, and one beside it goes on.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{Embedded, LogOptions};

const MESSAGES: u128 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_messages_behind_few_are_held_and_a_slow_consumer_slows_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (embedded, _) = Embedded::open(folder.path(), Clock::system(), LogOptions::default()).unwrap();
    let store = embedded.store();
    let mut begin = 1;
    while begin <= MESSAGES {
        append(&store, begin..begin + 10_000).await;
        begin += 10_000;
    }
    let handler = Arc::new(Counting { stuck: vec!["slow"], ..Counting::default() });
    let (consumers, scope) = start(store, embedded.state(), &handler, None);
    consumers.put("slow", Definition { concurrency: 2, ..pushed("order") }).await.unwrap();
    consumers.put("fast", Definition { batch: 100, ..pushed("order") }).await.unwrap();
    let most = AtomicU64::new(0);
    loop {
        let shares = consumers.show("fast").await.unwrap().shares;
        most.fetch_max(shares[0].counted.held_most as u64, Ordering::SeqCst);
        // A fifth of it is far more than is ever held.
        if shares[0].counted.handled >= 200_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let slow = consumers.show("slow").await.unwrap();
    assert_eq!((slow.shares[0].counted.held, slow.shares[0].counted.in_flight), (256, 2));
    assert_eq!((slow.position, slow.lag.messages, slow.lag.is_exact), (0, 1_000_000, false));
    let most = most.load(Ordering::SeqCst);
    assert!((100..=3_200).contains(&most), "{most} were held");
    consumers.skip("fast", streams::consumers::Skip::ToEnd).await.unwrap();
    append(&embedded.store(), MESSAGES + 1..MESSAGES + 2).await;
    let last = Uuid::from_u128(MESSAGES + 1).to_string();
    testkit::eventually("what comes now is handled", || {
        handler.messages.lock().unwrap()[""].iter().rev().take(5_000).any(|id| *id == last)
    })
    .await;
    scope.stop(Duration::from_secs(20)).await;
}
