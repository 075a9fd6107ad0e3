//! Two nodes over one PostgreSQL, and one dies without a word: the other takes over its shares within seconds, and
//! what handlers answered is there once.

use super::*;
use store::{Postgres, PostgresOptions, Read};

async fn open(url: &str) -> Postgres {
    Postgres::open(url, Clock::system(), PostgresOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shares_of_a_node_that_dies_are_taken_over_and_nothing_is_appended_twice() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let handler = Arc::new(Counting { takes: Duration::from_millis(5), ..Counting::default() });
    let (pg_a, pg_b) = (open(&url).await, open(&url).await);
    let (a, dies) = start(pg_a.store(), pg_a.state(), &handler, Some("a"));
    let (b, scope) = start(pg_b.store(), pg_b.state(), &handler, Some("b"));
    a.put("billing", Definition { size: 4, ..pushed("order") }).await.unwrap();
    let owners = async || {
        let status = b.show("billing").await.unwrap();
        status.shares.iter().map(|share| share.node.clone().unwrap_or_default()).collect::<String>()
    };
    let until = async |what: &str, holds: &dyn Fn(&str) -> bool| {
        let begun = std::time::Instant::now();
        while !holds(&owners().await) {
            assert!(begun.elapsed() < testkit::PATIENCE, "{what}: {}", owners().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until("two each", &|owners| owners.matches('a').count() == 2 && owners.matches('b').count() == 2).await;
    append(&pg_b.store(), 1..1_001).await;
    testkit::eventually("both are at it", || {
        let messages = handler.messages.lock().unwrap();
        ["a", "b"].iter().all(|node| messages.get(*node).is_some_and(|ids| ids.len() > 50))
    })
    .await;
    // Broken off where it stands: no share is given back, no position written.
    dies.stop(Duration::ZERO).await;
    let killed = std::time::Instant::now();
    until("b has all", &|owners| owners == "bbbb").await;
    assert!(killed.elapsed() < Duration::from_secs(12), "{:?}", killed.elapsed());
    append(&pg_b.store(), 1_001..1_101).await;
    let begun = std::time::Instant::now();
    while b.show("billing").await.unwrap().lag.messages > 0 {
        assert!(begun.elapsed() < testkit::PATIENCE * 2);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut causes = Vec::new();
    let mut read = Read::stream("did-1");
    loop {
        let page = pg_b.store().read(read.clone()).await.unwrap();
        causes.extend(page.messages.iter().map(|message| {
            let metadata = message.metadata.as_ref().unwrap();
            metadata.field("causationMessageGlobalPosition").unwrap().into_owned()
        }));
        if !page.more {
            break;
        }
        read.from = page.next;
    }
    let all = causes.len();
    causes.sort();
    causes.dedup();
    assert_eq!((all, causes.len()), (1_100, 1_100), "one answer for each message");
    scope.stop(Duration::from_secs(20)).await;
}
