//! What goes wrong: a database that is away or never there, connections that end while they write, a process that is
//! killed. What waits is bounded and told, and what was told to be durable is there, once.

use crate::{BEGAN_US, all, found_otherwise, numbered, open};
use base::{Chance, Clock, Kind, Retry, UnixTime};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::Time;
use telemetry::spans::{Settings, SpanStore};
use testkit::{PATIENCE, Postgres};

/// Waits until something holds.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE * 3, waiting).await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_told_and_what_waits_is_bounded() {
    let mut server = Postgres::start();
    let url = server.url(&server.database());
    let settings = Settings { waiting_bytes_max: 100_000, ..Settings::default() };
    let (store, _) = SpanStore::open_postgres(&url, settings, Clock::system(), Time::Server).await.unwrap();
    store.offer((0..10).map(numbered).collect()).unwrap();
    store.flush().await;
    assert_eq!((store.counts().kept, store.trouble()), (10, None));
    server.crash();
    let mut offered = 10;
    let refused = loop {
        match store.offer((offered..offered + 10).map(numbered).collect()) {
            Ok(()) => offered += 10,
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.kind, refused.retry), (Kind::Unavailable, Retry::Safe));
    let counts = store.counts();
    assert!((50_000..=100_000).contains(&counts.waiting_bytes), "{counts:?}");
    assert_eq!((counts.kept, counts.dropped), (10, 10));
    // Whoever asks or waits is told; nobody is held up for good.
    until("the trouble is told", async || store.trouble().is_some()).await;
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("database `test_") && !trouble.contains("postgres:"), "{trouble}");
    tokio::time::timeout(PATIENCE, store.flush()).await.unwrap();
    assert_eq!(store.services().await.unwrap_err().kind, Kind::Unavailable);
    server.resume();
    until("it goes on by itself", async || store.counts().kept == offered).await;
    until("nothing waits", async || store.counts().waiting_bytes == 0).await;
    assert_eq!(found_otherwise(&store, offered).await, [].into());
    until("the trouble is over", async || store.trouble().is_none()).await;
    assert_eq!(store.counts().dropped, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_does_not_hold_up_the_end() {
    let mut server = Postgres::start();
    let store = open(&server.url(&server.database())).await;
    server.crash();
    store.offer((0..10).map(numbered).collect()).unwrap();
    until("the trouble is told", async || store.trouble().is_some()).await;
    let begun = Instant::now();
    store.flush().await;
    tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
    // A try alone takes longer.
    assert!(begun.elapsed() < Duration::from_millis(4_500), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_that_takes_connections_and_says_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://ann@{}/spans", silent.local_addr().unwrap());
    let opened = SpanStore::open_postgres(&url, Settings::default(), Clock::system(), Time::Server).await;
    let (store, notes) = opened.unwrap();
    assert!(notes[0].contains("does not answer within `10` s"), "{notes:?}");
    store.offer((0..10).map(numbered).collect()).unwrap();
    let begun = Instant::now();
    store.flush().await;
    tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
    // Getting ready for the batch, the try that is flushed, and what the end finds under way twice, have two seconds each.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_opens_while_its_database_is_away() {
    let mut server = Postgres::start();
    let url = server.url(&server.database());
    server.crash();
    let opened = SpanStore::open_postgres(&url, Settings::default(), Clock::system(), Time::Server).await;
    let (store, notes) = opened.unwrap();
    assert!(notes.len() == 1 && notes[0].ends_with("; spans wait for it"), "{notes:?}");
    store.offer((0..50).map(numbered).collect()).unwrap();
    server.resume();
    until("its tables are made", async || store.counts().kept == 50).await;
    assert_eq!(found_otherwise(&store, 50).await, [].into());
}

#[tokio::test]
async fn what_can_t_come_right_by_itself_is_refused_at_once() {
    let server = Postgres::shared();
    let open = async |url: &str| {
        let opened = SpanStore::open_postgres(url, Settings::default(), Clock::system(), Time::Server).await;
        opened.unwrap_err()
    };
    let fault = open(&server.url("nobody_made_it")).await;
    assert_eq!(fault.hint.as_deref(), Some("make the database with `createdb`"), "{fault}");
    assert_eq!(open("postgres://@").await.kind, Kind::Invalid);
    let database = server.database();
    server.run(
        &database,
        "CREATE SCHEMA tombolo_traces; CREATE TABLE tombolo_traces.migrations AS SELECT 99::bigint AS version",
    );
    let fault = open(&server.url(&database)).await;
    assert!(fault.to_string().contains("has tables of spans of version `99`"), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_lose_nothing_and_double_nothing() {
    let mut server = Postgres::start();
    let url = server.url(&server.database());
    let store = open(&url).await;
    let chance = Chance::seeded(5);
    let writes = tokio::spawn({
        let store = store.clone();
        async move {
            let mut number = 0;
            for _ in 0..150 {
                store.offer((number..number + 30).map(numbered).collect()).unwrap();
                number += 30;
                store.flush().await;
                drop(store.dependencies(0, BEGAN_US / 1_000 + 1_000).await);
            }
            number
        }
    });
    for round in 0.. {
        if writes.is_finished() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(30) as u64)).await;
        if round == 10 {
            server.crash();
            server.resume();
        }
        server.run(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'tombolo' AND state <> 'idle' ORDER BY random() LIMIT 2",
        );
    }
    let offered = writes.await.unwrap();
    until("all are kept", async || store.counts().kept == offered).await;
    assert_eq!(found_otherwise(&store, offered).await, [].into());
    assert_eq!(store.counts().dropped, 0);
    let found = store.search(all()).await.unwrap();
    assert_eq!(found.len() as u64, offered / 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_is_given_up_and_told() {
    let server = Postgres::shared();
    let database = server.database();
    let store = open(&server.url(&database)).await;
    store.offer((0..10).map(numbered).collect()).unwrap();
    store.flush().await;
    server.run(&database, "ALTER TABLE tombolo_traces.spans_1 ADD CONSTRAINT few CHECK (false) NOT VALID");
    store.offer((10..20).map(numbered).collect()).unwrap();
    store.flush().await;
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("violates check constraint"), "{trouble}");
    until("it is given up", async || store.counts().dropped == 10).await;
    assert_eq!(store.counts().waiting_bytes, 0);
    server.run(&database, "ALTER TABLE tombolo_traces.spans_1 DROP CONSTRAINT few");
    store.offer((20..30).map(numbered).collect()).unwrap();
    store.flush().await;
    assert_eq!((store.counts().kept, store.trouble()), (20, None));
    assert_eq!(found_otherwise(&store, 30).await, (11..=20).map(|id| (id, 0)).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_another_node_has_costs_one_more_try() {
    let server = Postgres::shared();
    let database = server.database();
    let (clock, _hand) = Clock::by_hand(UnixTime(Duration::from_micros(BEGAN_US)));
    let opened =
        SpanStore::open_postgres(&server.url(&database), Settings::default(), clock, Time::Clock).await;
    let (store, _) = opened.unwrap();
    // Every other number of this microsecond and the next one is taken.
    let taken = format!(
        "INSERT INTO tombolo_traces.uncounted (batch, part, spans, traces)
        SELECT batch, 1, 0, '{{}}' FROM generate_series({0}, {0} + 2048, 2) AS numbers (batch)",
        BEGAN_US << 10
    );
    server.run(&database, &taken);
    for batch in 0..4 {
        store.offer((batch * 10..(batch + 1) * 10).map(numbered).collect()).unwrap();
        store.flush().await;
        until("it is kept", async || store.counts().kept == (batch + 1) * 10).await;
    }
    assert_eq!(found_otherwise(&store, 40).await, [].into());
    assert_eq!(store.counts().dropped, 0);
}

const CHILD: &str = "SPANS_POSTGRES_CHILD";

/// The process that is killed: this test binary, started again with an address.
#[tokio::test]
async fn child_that_keeps_spans() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (begin, url) = given.split_once(' ').unwrap();
    let store = open(url).await;
    let mut number: u64 = begin.parse().unwrap();
    let chance = Chance::seeded(number);
    loop {
        let count = 1 + chance.below(90) as u64;
        store.offer((number..number + count).map(numbered).collect()).unwrap();
        number += count;
        store.flush().await;
        writeln!(std::io::stdout().lock(), "durable {number} .").unwrap();
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_durable() {
    let server = Postgres::shared();
    let url = server.url(&server.database());
    let chance = Chance::seeded(7);
    let mut durable: u64 = 0;
    for kill in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::child_that_keeps_spans", "--nocapture"])
            .env(CHILD, format!("{durable} {url}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let number = |line: String| line.strip_prefix("durable ")?.strip_suffix(" .")?.parse::<u64>().ok();
        let last = 1 + chance.below(30);
        for nth in told.by_ref().filter_map(number).take(last) {
            durable = nth;
        }
        child.kill().unwrap();
        durable = told.filter_map(number).last().unwrap_or(durable);
        child.wait().unwrap();
        let store = open(&url).await;
        let lost: Vec<u64> = found_otherwise(&store, durable)
            .await
            .into_iter()
            .filter_map(|(id, times)| (times == 0).then_some(id))
            .collect();
        assert_eq!(lost, Vec::<u64>::new(), "kill {kill}");
    }
}
