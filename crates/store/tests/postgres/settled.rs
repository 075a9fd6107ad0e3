//! No message is skipped, whoever writes and however slowly. Global positions come from a sequence: who reads up
//! to the last one and moves on skips what commits later under a smaller one. A reader that does just that runs
//! beside ours, and has to skip, or these tests would show nothing.

use crate::{append, foreign, ids, open, write_message};
use base::Chance;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::{Read, Removal, Scope, Store};
use testkit::PATIENCE;
use tokio::task::JoinSet;

/// Reads on from its position, as a client does that knows no better.
struct Naive {
    client: tokio_postgres::Client,
    from: i64,
    seen: Vec<String>,
}

impl Naive {
    async fn read(&mut self) {
        let sql = "SELECT global_position, id::text FROM message_store.messages
            WHERE global_position >= $1 ORDER BY global_position";
        for row in self.client.query(sql, &[&self.from]).await.unwrap() {
            self.from = row.get::<_, i64>(0) + 1;
            self.seen.push(row.get(1));
        }
    }
}

#[tokio::test]
async fn a_slow_writer_holds_up_who_reads_everything_and_nobody_else() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    let (slow, quick) = (foreign(&url).await, foreign(&url).await);
    let mut naive = Naive { client: foreign(&url).await, from: 1, seen: Vec::new() };
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(&write_message(1, "a-1")).await.unwrap();
    quick.batch_execute(&write_message(2, "b-1")).await.unwrap();
    naive.read().await;
    let mut watch = store.watch(Scope::All);
    assert_eq!(ids(&store, Read::all()).await, []);
    assert_eq!((store.head().await.unwrap(), ids(&store, Read::category("b")).await), (0, vec![2]));
    slow.batch_execute("COMMIT").await.unwrap();
    tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap();
    assert_eq!(ids(&store, Read::all()).await, [1, 2]);
    naive.read().await;
    assert_eq!(naive.seen.len(), 1, "it has skipped the first");
}

#[tokio::test]
async fn a_writer_that_takes_its_message_back_lets_the_others_pass() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    let (slow, other) = (foreign(&url).await, foreign(&url).await);
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(&write_message(1, "a-1")).await.unwrap();
    store.append(vec![append("b-1", [2])]).await.unwrap();
    // Another one that is there all the time began after the gap was seen.
    assert_eq!(ids(&store, Read::all()).await, []);
    other.batch_execute("BEGIN").await.unwrap();
    other.batch_execute(&write_message(3, "c-1")).await.unwrap();
    let mut watch = store.watch(Scope::All);
    assert_eq!(ids(&store, Read::all()).await, []);
    // Nobody is told of this by the server.
    slow.batch_execute("ROLLBACK").await.unwrap();
    tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap();
    assert_eq!(ids(&store, Read::all()).await, [2]);
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ids(&store, Read::all()).await, [2, 3]);
}

#[tokio::test]
async fn a_transaction_prepared_for_two_phase_commit_is_waited_for() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    let slow = foreign(&url).await;
    // The server does not prepare what notifies, so that only databases without wakes have such transactions.
    slow.batch_execute("ALTER TABLE message_store.messages DISABLE TRIGGER tombolo_wake").await.unwrap();
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(&write_message(1, "a-1")).await.unwrap();
    store.append(vec![append("b-1", [2])]).await.unwrap();
    assert_eq!(ids(&store, Read::all()).await, []);
    slow.batch_execute("PREPARE TRANSACTION 'of a test'").await.unwrap();
    assert_eq!(ids(&store, Read::all()).await, []);
    // Who opens the store meanwhile knows of it, too.
    assert_eq!(ids(&open(&url).await.store(), Read::all()).await, []);
    slow.batch_execute("COMMIT PREPARED 'of a test'").await.unwrap();
    assert_eq!(ids(&store, Read::all()).await, [1, 2]);
}

#[tokio::test]
async fn a_table_that_was_emptied_is_read_from_its_beginning() {
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    store.append(vec![append("a-1", 1..=9)]).await.unwrap();
    store.remove(Removal::Stream { stream: "a-1".into(), before: 5 }).await.unwrap();
    assert_eq!(store.head().await.unwrap(), 9);
    // As Message DB's own script does it.
    foreign(&url).await.batch_execute("TRUNCATE message_store.messages RESTART IDENTITY").await.unwrap();
    store.append(vec![append("a-1", [1, 2])]).await.unwrap();
    assert_eq!(ids(&store, Read::all()).await, [1, 2]);
    assert_eq!(store.version("a-1").await.unwrap(), 1);
}

/// Follows a scope by its watch until everything has been written, and then until it has seen as many.
async fn follow(
    store: Store,
    scope: Scope,
    mut read: Read,
    mut written: tokio::sync::watch::Receiver<Option<usize>>,
) -> Vec<(i64, u128)> {
    let mut watch = store.watch(scope);
    let mut seen = Vec::new();
    loop {
        loop {
            let page = store.read(read.clone()).await.unwrap();
            seen.extend(page.messages.iter().map(|message| (message.global_position, message.id.as_u128())));
            read.from = page.next;
            if !page.more {
                break;
            }
        }
        let all = *written.borrow_and_update();
        if all.is_some_and(|all| seen.len() >= all) {
            return seen;
        }
        tokio::select! {
            () = watch.changed() => {}
            Ok(()) = written.changed() => {}
            () = tokio::time::sleep(PATIENCE) => panic!("{} of {all:?} seen", seen.len()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_skips_a_message_however_many_write_at_once() {
    const ROUNDS: u128 = 40;
    let server = testkit::Postgres::shared();
    let url = server.url(&server.database());
    let nodes = [open(&url).await, open(&url).await, open(&url).await].map(|node| node.store());
    let (tell, written) = tokio::sync::watch::channel(None);
    let (tell_a, written_a) = tokio::sync::watch::channel(None);
    let (mut readers, mut readers_of_a) = (JoinSet::new(), JoinSet::new());
    for node in &nodes {
        for limit in [1, 7, 1000] {
            let read = Read::all().limit(limit);
            readers.spawn(follow(node.clone(), Scope::All, read, written.clone()));
        }
        let scope = Scope::Category("a".into());
        readers_of_a.spawn(follow(node.clone(), scope, Read::category("a").limit(9), written_a.clone()));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut naive = Naive { client: foreign(&url).await, from: 1, seen: Vec::new() };
    let naive = tokio::spawn({
        let stop = stop.clone();
        async move {
            while !stop.load(Ordering::Acquire) {
                naive.read().await;
            }
            naive.read().await;
            naive
        }
    });

    let chance = Chance::seeded(1);
    let mut writers = JoinSet::new();
    for writer in 0..12u128 {
        let (chance, url, node) = (chance.fork(), url.clone(), nodes[writer as usize % 3].clone());
        writers.spawn(async move {
            let client = foreign(&url).await;
            let mut kept = Vec::new();
            for round in 0..ROUNDS {
                let id = writer * 1_000_000 + round * 100 + 1;
                let stream = format!("{}-{writer}", ["a", "b", "c", "d"][chance.below(4)]);
                let pause = Duration::from_millis(chance.below(8) as u64);
                match writer % 3 {
                    // A node's.
                    0 => {
                        let appends = vec![append(&stream, [id, id + 1]), append("e-1", [id + 2])];
                        node.append(appends).await.unwrap();
                        kept.extend([(stream.clone(), id), (stream, id + 1), ("e-1".into(), id + 2)]);
                    }
                    // Message DB's, some slow, some taken back.
                    1 => {
                        client.batch_execute("BEGIN").await.unwrap();
                        client.batch_execute(&write_message(id, &stream)).await.unwrap();
                        tokio::time::sleep(pause).await;
                        if chance.below(3) == 0 {
                            client.batch_execute("ROLLBACK").await.unwrap();
                        } else {
                            client.batch_execute("COMMIT").await.unwrap();
                            kept.push((stream, id));
                        }
                    }
                    // One that spends positions on messages that are refused.
                    _ => {
                        let twice = format!("{}; {0}", write_message(id, &stream));
                        client.batch_execute(&twice).await.expect_err("an id goes once");
                        client.batch_execute(&write_message(id, &stream)).await.unwrap();
                        kept.push((stream, id));
                    }
                }
            }
            kept
        });
    }
    let mut kept = Vec::new();
    while let Some(of_one) = writers.join_next().await {
        kept.extend(of_one.unwrap());
    }
    stop.store(true, Ordering::Release);
    let expected: HashSet<u128> = kept.iter().map(|(_, id)| *id).collect();
    let of_a = kept.iter().filter(|(stream, _)| stream.starts_with("a-")).count();
    tell.send_replace(Some(expected.len()));
    tell_a.send_replace(Some(of_a));
    while let Some(seen) = readers.join_next().await {
        let seen = seen.unwrap();
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "in their order, each once");
        assert_eq!(seen.iter().map(|(_, id)| *id).collect::<HashSet<_>>(), expected);
    }
    while let Some(seen) = readers_of_a.join_next().await {
        let seen = seen.unwrap();
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0));
        assert_eq!(seen.len(), of_a);
    }
    let naive = naive.await.unwrap();
    assert!(naive.seen.len() < expected.len(), "a reader that knows no better skips");
    println!("{} messages; the naive reader skipped {}", expected.len(), expected.len() - naive.seen.len());
}
