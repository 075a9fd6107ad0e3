//! A process that appends is killed at any moment, again and again: what it was told is durable is there when
//! the store is opened anew, each call is there whole or not at all, and positions have no gap.
//!
//! `TEST_KILLS=2000` kills more often, `TEST_SEED` begins at another seed.

use base::{Chance, Clock};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use store::{Append, Json, Log, LogOptions, NewMessage, Read, Store, Uuid, verify};

const CHILD: &str = "STORE_KILL_CHILD";
/// Small, so that a run of some milliseconds fills several segments.
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 64 << 10,
    segment_messages: 300,
    filter_bytes: 1 << 20,
    runs_in_filter: 4,
    background: true,
};
/// Kills before the store begins anew.
const KILLS_IN_A_STORE: u64 = 12;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The process that is killed: this test binary, started again with a folder and a seed.
#[tokio::test]
async fn child_that_appends() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (seed, folder) = given.split_once(' ').expect("a seed and a folder");
    let chance = Chance::seeded(seed.parse().expect("a number"));
    let store = Store::new(Log::open(Path::new(folder), Clock::system(), OPTIONS).expect("it opens").0);
    let mut tasks = tokio::task::JoinSet::new();
    // Enough that groups are written beside the writer, too.
    for _ in 0..24 {
        let (store, chance) = (store.clone(), chance.fork());
        tasks.spawn(async move {
            loop {
                let (call, appends) = call(&chance);
                let appended = store.append(appends).await.expect("it is appended");
                let first = appended[0].first_global_position;
                writeln!(std::io::stdout().lock(), "durable {call} {first} .").expect("the parent reads");
            }
        });
    }
    tasks.join_next().await;
}

/// A call for one to three streams, whose messages say that they belong together.
fn call(chance: &Chance) -> (u64, Vec<Append>) {
    let number = chance.bits() >> 16;
    let counts: Vec<usize> = (0..=chance.below(2)).map(|_| 1 + chance.below(4)).collect();
    let of: usize = counts.iter().sum();
    let appends = counts.into_iter().map(|count| {
        let filling = "x".repeat(chance.below(300));
        let messages = (0..count).map(|_| NewMessage {
            id: Uuid::from_u64_pair(chance.bits(), chance.bits()),
            kind: "T".into(),
            data: Some(Json::parse(&format!("[{number},{of},\"{filling}\"]")).expect("JSON")),
            metadata: None,
        });
        let stream = format!("a-{}", chance.below(5));
        Append { stream, expected_version: None, messages: messages.collect() }
    });
    (number, appends.collect())
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let kills = number("TEST_KILLS", 60);
    let seed = number("TEST_SEED", 1);
    let (mut folder, mut durable) = (tempfile::tempdir().expect("a folder"), BTreeMap::new());
    let mut acknowledged = 0;
    for round in 0..kills {
        if round % KILLS_IN_A_STORE == 0 {
            (folder, durable) = (tempfile::tempdir().expect("a folder"), BTreeMap::new());
        }
        let seed = seed.wrapping_mul(1_000_003) + round;
        let before = durable.len();
        run_and_kill(folder.path(), seed, &mut durable);
        acknowledged += durable.len() - before;
        look(folder.path(), &durable).await;
    }
    assert!(acknowledged as u64 > kills, "only {acknowledged} calls were acknowledged");
    println!("{kills} kills, {acknowledged} calls acknowledged and found");
}

fn run_and_kill(folder: &Path, seed: u64, durable: &mut BTreeMap<u64, i64>) {
    let chance = Chance::seeded(seed);
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "child_that_appends", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{seed} {}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    // Some die while they open the store, others after many calls.
    let mut left = chance.below(300);
    let mut wait = chance.below(4) == 0;
    if left < 10 {
        std::thread::sleep(Duration::from_micros(chance.below(15_000) as u64));
        child.kill().expect("it is killed");
    }
    for line in output.split(b'\n') {
        let line = line.expect("its output");
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split("durable ").nth(1).unwrap_or_default().split(' ');
        // A line that was cut off does not end so.
        if let (Some(call), Some(first), Some(".")) = (words.next(), words.next(), words.next()) {
            durable.insert(call.parse().expect("a call"), first.parse().expect("a position"));
        }
        left = left.saturating_sub(1);
        if left == 0 {
            if std::mem::take(&mut wait) {
                std::thread::sleep(Duration::from_micros(chance.below(3_000) as u64));
            }
            child.kill().expect("it is killed");
        }
    }
    child.wait().expect("it has ended");
}

async fn look(folder: &Path, durable: &BTreeMap<u64, i64>) {
    let store = Store::new(Log::open(folder, Clock::system(), OPTIONS).expect("it opens").0);
    let mut calls: BTreeMap<u64, (i64, usize, usize)> = BTreeMap::new();
    let (mut versions, mut read, mut next) = (BTreeMap::new(), Read::all(), 1);
    loop {
        let page = store.read(read.clone()).await.expect("it is read");
        for message in page.messages {
            assert_eq!(message.global_position, next);
            next += 1;
            let version = versions.entry(message.stream).or_insert(0);
            assert_eq!(message.position, *version);
            *version += 1;
            let data: serde_json::Value =
                serde_json::from_str(message.data.expect("data").as_str()).expect("JSON");
            let (number, of) = (data[0].as_u64().expect("a call"), data[1].as_u64().expect("a count"));
            let call = calls.entry(number).or_insert((message.global_position, 0, of as usize));
            call.1 += 1;
        }
        if !page.more {
            break;
        }
        read.from = page.next;
    }
    for (number, (_, found, of)) in &calls {
        assert_eq!(found, of, "call {number} is half there");
    }
    for (number, first) in durable {
        let found = calls.get(number).map(|(first, ..)| first);
        assert_eq!(found, Some(first), "call {number} was acknowledged");
    }
    drop(store);
    let report = verify(folder).expect("it is looked at");
    assert!(report.findings.is_empty(), "{report:?}");
}
