//! Servers that end, connections that break at the worst moment, networks that swallow answers: nothing that was
//! acknowledged is lost, nothing is half there, and what is not known is said to be so.

use crate::{append, foreign, ids, open, write_message};
use base::{Chance, Clock, Fault, Kind, Retry};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;
use store::{Postgres, PostgresOptions, Read, Scope};
use testkit::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kept,
    Refused,
    Unknown,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_stays_and_nothing_is_half_there() {
    let mut server = testkit::Postgres::start();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..8u128 {
        let (store, stop) = (store.clone(), stop.clone());
        writers.spawn(async move {
            let (mut ends, mut id) = (Vec::new(), writer << 32);
            while !stop.load(Ordering::Acquire) {
                let (one, other) = (format!("a-{writer}"), format!("{}-1", ["b", "c"][writer as usize % 2]));
                let end = match store.append(vec![append(&one, [id, id + 1]), append(&other, [id + 2])]).await
                {
                    Ok(_) => End::Kept,
                    Err(error) => match Fault::from(error) {
                        fault if fault.retry == Retry::IfIdempotent => End::Unknown,
                        fault => {
                            assert_eq!(fault.retry, Retry::Safe, "{fault}");
                            End::Refused
                        }
                    },
                };
                ends.push((id, end));
                id += 3;
            }
            ends
        });
    }
    // Backends are killed at any moment, and the server twice.
    let chance = Chance::seeded(3);
    for round in 0..60 {
        tokio::time::sleep(Duration::from_millis(chance.below(40) as u64)).await;
        if round == 20 || round == 40 {
            server.crash();
            server.resume();
            continue;
        }
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'tombolo' AND state <> 'idle' ORDER BY random() LIMIT 2";
        server.run("postgres", kill);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Release);
    let mut ends = HashMap::new();
    while let Some(of_one) = writers.join_next().await {
        ends.extend(of_one.unwrap());
    }
    let there = ids(&open(&url).await.store(), Read::all()).await;
    let mut times: HashMap<u128, u32> = HashMap::new();
    for id in &there {
        *times.entry(*id).or_default() += 1;
    }
    let count = |end| ends.values().filter(|other| **other == end).count();
    println!("kept {}, refused {}, unknown {}", count(End::Kept), count(End::Refused), count(End::Unknown));
    assert!(count(End::Kept) > 100, "appends go on after each fault");
    for (id, end) in &ends {
        let of_call = [0, 1, 2].map(|nth| times.get(&(id + nth)).copied().unwrap_or(0));
        match end {
            End::Kept => assert_eq!(of_call, [1; 3], "{id} was acknowledged"),
            End::Refused => assert_eq!(of_call, [0; 3], "{id} was said not to be kept"),
            End::Unknown => assert!(of_call == [0; 3] || of_call == [1; 3], "{id} is half there"),
        }
    }
    for stream in (0..8).map(|nth| format!("a-{nth}")).chain(["b-1".into(), "c-1".into()]) {
        let page = store.read(Read::stream(&stream).limit(10_000)).await.unwrap();
        let positions = page.messages.iter().map(|message| message.position);
        assert!(positions.eq(0..page.messages.len() as i64), "positions of {stream} have no gap");
    }
}

#[tokio::test]
async fn who_waits_is_woken_after_the_server_was_away() {
    let mut server = testkit::Postgres::start();
    let url = server.url(&server.database());
    let store = open(&url).await.store();
    let mut watch = store.watch(Scope::Category("a".into()));
    server.crash();
    server.resume();
    foreign(&url).await.batch_execute(&write_message(1, "a-1")).await.unwrap();
    // Told, or found when listening again.
    let found = async {
        while ids(&store, Read::category("a")).await.is_empty() {
            watch.changed().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
    store.append(vec![append("a-1", [2])]).await.unwrap();
}

/// What a network does to bytes that come from the server.
const PASS: u8 = 0;
const SWALLOW: u8 = 1;
const CLOSED: u8 = 2;

/// A network between a store and its server.
async fn network(port: u16) -> (SocketAddr, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mode = Arc::new(AtomicU8::new(PASS));
    let modes = mode.clone();
    tokio::spawn(async move {
        while let Ok((ours, _)) = listener.accept().await {
            if modes.load(Ordering::Acquire) == CLOSED {
                continue;
            }
            let modes = modes.clone();
            tokio::spawn(async move {
                let Ok(theirs) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                let ((mut ours_in, mut ours_out), (mut theirs_in, mut theirs_out)) =
                    (ours.into_split(), theirs.into_split());
                let up = async { tokio::io::copy(&mut ours_in, &mut theirs_out).await };
                let down = async {
                    let mut bytes = [0; 4096];
                    while let Ok(count @ 1..) = theirs_in.read(&mut bytes).await {
                        if modes.load(Ordering::Acquire) != PASS
                            || ours_out.write_all(&bytes[..count]).await.is_err()
                        {
                            // The server has done it, and nobody hears of it.
                            return;
                        }
                    }
                };
                tokio::select! { _ = up => {}, () = down => {} }
            });
        }
    });
    (address, mode)
}

async fn through(address: SocketAddr, database: &str) -> Postgres {
    open(&format!("postgres://postgres@{address}/{database}")).await
}

/// Waits until an append is at inserting and held up by a lock.
async fn until_it_inserts(onlooker: &tokio_postgres::Client) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO message_store%'";
    while onlooker.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_found_and_not_written_twice() {
    let server = testkit::Postgres::shared();
    let database = server.database();
    let (address, mode) = network(server.port()).await;
    let store = through(address, &database).await.store();
    let client = foreign(&server.url(&database)).await;
    let onlooker = foreign(&server.url(&database)).await;
    store.append(vec![append("b-1", [100])]).await.unwrap();
    for round in 0..5u128 {
        // The lock keeps the insert from beginning until the network has gone bad behind it.
        client.batch_execute("BEGIN; LOCK TABLE message_store.messages IN SHARE MODE").await.unwrap();
        let appending = tokio::spawn({
            let store = store.clone();
            async move { store.append(vec![append("a-1", [round * 2, round * 2 + 1])]).await }
        });
        until_it_inserts(&onlooker).await;
        mode.store(SWALLOW, Ordering::Release);
        client.batch_execute("COMMIT").await.unwrap();
        let there = "SELECT count(*) FROM message_store.messages";
        while client.query_one(there, &[]).await.unwrap().get::<_, i64>(0) < round as i64 * 2 + 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        mode.store(PASS, Ordering::Release);
        let appended = tokio::time::timeout(PATIENCE, appending).await.unwrap().unwrap().unwrap();
        let places = (appended[0].first_position, appended[0].last_position);
        assert_eq!(places, (round as i64 * 2, round as i64 * 2 + 1));
    }
    assert_eq!(ids(&store, Read::stream("a-1")).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_refused_beside_an_append_whose_answer_was_lost_stays_refused() {
    let server = testkit::Postgres::shared();
    let database = server.database();
    let (address, mode) = network(server.port()).await;
    let store = through(address, &database).await.store();
    let client = foreign(&server.url(&database)).await;
    store.append(vec![append("a-1", [0])]).await.unwrap();
    client.batch_execute("BEGIN; LOCK TABLE message_store.messages IN SHARE MODE").await.unwrap();
    // Both are there before anybody takes them: they go as one transaction.
    let appending = tokio::spawn({
        let store = store.clone();
        async move { tokio::join!(store.append(vec![append("a-1", [1])]), store.append(vec![append("a-1", [0])])) }
    });
    until_it_inserts(&foreign(&server.url(&database)).await).await;
    mode.store(SWALLOW, Ordering::Release);
    client.batch_execute("COMMIT").await.unwrap();
    let there = "SELECT count(*) FROM message_store.messages";
    while client.query_one(there, &[]).await.unwrap().get::<_, i64>(0) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    mode.store(PASS, Ordering::Release);
    let (kept, refused) = tokio::time::timeout(PATIENCE, appending).await.unwrap().unwrap();
    assert_eq!(kept.unwrap()[0].first_position, 1);
    assert!(matches!(refused, Err(store::AppendError::DuplicateId { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_append_that_nobody_knows_the_end_of_says_so() {
    let server = testkit::Postgres::shared();
    let database = server.database();
    let (address, mode) = network(server.port()).await;
    let store = through(address, &database).await.store();
    let client = foreign(&server.url(&database)).await;
    store.append(vec![append("a-1", [0])]).await.unwrap();
    client.batch_execute("BEGIN; LOCK TABLE message_store.messages IN SHARE MODE").await.unwrap();
    let appending = tokio::spawn({
        let store = store.clone();
        async move { store.append(vec![append("a-1", [1])]).await }
    });
    until_it_inserts(&foreign(&server.url(&database)).await).await;
    mode.store(CLOSED, Ordering::Release);
    client.batch_execute("COMMIT").await.unwrap();
    let fault = Fault::from(appending.await.unwrap().unwrap_err());
    assert_eq!((fault.kind, fault.retry), (Kind::Unavailable, Retry::IfIdempotent));
    assert!(fault.to_string().starts_with("whether the messages were appended is unknown: "), "{fault}");
    // Trying again with the same ids is safe.
    mode.store(PASS, Ordering::Release);
    let again = store.append(vec![append("a-1", [1])]).await.unwrap_err();
    assert!(matches!(again, store::AppendError::DuplicateId { .. }), "{again}");
    assert_eq!(ids(&store, Read::all()).await, [0, 1]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_a_remedy_and_without_the_password() {
    let server = testkit::Postgres::shared();
    let fault = async |url: String| {
        let opened = Postgres::open(&url, Clock::system(), PostgresOptions::default()).await;
        let fault = opened.unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("s3cret"), "{fault:?}");
        (fault.kind, fault.to_string(), fault.hint.unwrap_or_default())
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let (kind, text, hint) = fault(format!("postgres://ann:s3cret@{free}/orders")).await;
    assert_eq!((kind, hint.as_str()), (Kind::Unavailable, "start the server, or correct its address"));
    assert!(text.starts_with(&format!("cannot connect to database `orders` at `{free}`: ")), "{text}");
    let (kind, text, hint) = fault(server.url("nowhere").replace("postgres@", "postgres:s3cret@")).await;
    assert_eq!((kind, hint.as_str()), (Kind::NotFound, "make the database with `createdb`"));
    assert!(text.contains("database \"nowhere\" does not exist"), "{text}");
    // There is a connection, but none to listen.
    let database = server.database();
    open(&server.url(&database)).await;
    server.run("postgres", "CREATE ROLE narrow LOGIN CONNECTION LIMIT 1 IN ROLE postgres");
    let (kind, text, hint) = fault(server.url(&database).replace("postgres@", "narrow:s3cret@")).await;
    assert_eq!(kind, Kind::Unavailable);
    assert!(
        text.contains("too many connections for role \"narrow\"") && hint.contains("fewer"),
        "{text}; {hint}"
    );
    for url in
        ["postgres://ann:s3cret@s3cret@h/d", "postgres://ann:s3cret@h:port/d", "postgres:/s3cret", "s3cret"]
    {
        let (kind, text, _) = fault(url.into()).await;
        assert_eq!(
            (kind, text.as_str()),
            (Kind::Invalid, "the address of the PostgreSQL database can't be read")
        );
    }
}
