//! What the embedded store does on this machine, as one table: durable appends by 1, 8 and 64 producers, then
//! reading and opening a store of many messages.
//!
//! `cargo run --release -p tombolo-store --example store_bench [SECONDS [MESSAGES [FOLDER]]]`

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::unwrap_used, reason = "a benchmark ends where anything fails")]
#![expect(clippy::cast_possible_wrap, reason = "counts stay far below 2^63")]

use base::{Chance, Clock};
use std::path::Path;
use std::time::{Duration, Instant};
use store::{Append, Json, Log, LogOptions, NewMessage, Read, Store, Uuid};

/// Where the messages go: the name, how many categories, how many streams in each.
const LOADS: [(&str, usize, usize); 3] =
    [("1 stream", 1, 1), ("1,000 streams of 1 category", 1, 1000), ("100 categories of 10 streams", 100, 10)];
const PRODUCERS: [usize; 3] = [1, 8, 64];
/// A call for many messages, to fill a store quickly.
const FILL_AT_ONCE: usize = 500;

fn main() {
    let mut args = std::env::args().skip(1);
    let seconds: f64 = args.next().map_or(2.0, |text| text.parse().unwrap());
    let messages: usize = args.next().map_or(1_000_000, |text| text.replace('_', "").parse().unwrap());
    let folder = args.next().map_or_else(|| std::env::temp_dir().join("store_bench"), Into::into);
    std::fs::create_dir_all(&folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("| appends to | producers | messages/s | p50 us | p99 us | CPU us/message | bytes/message |");
    println!("|---|---|---|---|---|---|---|");
    for load in LOADS {
        for producers in PRODUCERS {
            runtime.block_on(appends(&folder, load, producers, Duration::from_secs_f64(seconds)));
        }
    }
    runtime.block_on(reads(&folder, messages));
    std::fs::remove_dir_all(&folder).unwrap();
}

fn open(path: &Path) -> Store {
    Store::new(Log::open(path, Clock::system(), LogOptions::default()).unwrap().0)
}

fn message(chance: &Chance) -> NewMessage {
    let data = format!(
        "{{\"orderId\":\"{:016x}\",\"customer\":\"customer-{}\",\"lines\":[{{\"item\":\"shirt\",\"count\":2,\
         \"price\":19.90}},{{\"item\":\"shoes\",\"count\":1,\"price\":89.00}}],\"placedAt\":\"2026-01-01T12:00:00Z\"}}",
        chance.bits(),
        chance.below(100_000)
    );
    let metadata =
        "{\"correlationStreamName\":\"checkout-17\",\"traceId\":\"0123456789abcdef\",\"schemaVersion\":1}";
    NewMessage {
        id: Uuid::from_u64_pair(chance.bits(), chance.bits()),
        kind: "OrderPlaced".into(),
        data: Some(Json::parse(&data).unwrap()),
        metadata: Some(Json::parse(metadata).unwrap()),
    }
}

fn stream(load: (&str, usize, usize), chance: &Chance) -> String {
    format!("order{}-{}", chance.below(load.1), chance.below(load.2))
}

async fn appends(folder: &Path, load: (&'static str, usize, usize), producers: usize, time: Duration) {
    let path = folder.join("appends");
    let store = open(&path);
    let chance = Chance::seeded(1);
    let (cpu, begun) = (cpu_seconds(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..producers {
        let (store, chance) = (store.clone(), chance.fork());
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < time {
                let append = Append {
                    stream: stream(load, &chance),
                    expected_version: None,
                    messages: vec![message(&chance)],
                };
                let asked = Instant::now();
                store.append(vec![append]).await.unwrap();
                waits.push(asked.elapsed());
            }
            waits
        });
    }
    let mut waits: Vec<Duration> = Vec::new();
    while let Some(task) = tasks.join_next().await {
        waits.extend(task.unwrap());
    }
    let (elapsed, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    waits.sort_unstable();
    let count = waits.len();
    let at = |share: f64| waits[((count - 1) as f64 * share) as usize].as_micros();
    drop(store);
    println!(
        "| {} | {producers} | {:.0} | {} | {} | {:.1} | {:.0} |",
        load.0,
        count as f64 / elapsed,
        at(0.5),
        at(0.99),
        cpu * 1e6 / count as f64,
        folder_bytes(&path) as f64 / count as f64,
    );
    std::fs::remove_dir_all(&path).unwrap();
}

async fn reads(folder: &Path, messages: usize) {
    let path = folder.join("reads");
    let store = open(&path);
    let chance = Chance::seeded(2);
    let load = LOADS[1];
    let begun = Instant::now();
    for _ in 0..messages / FILL_AT_ONCE {
        let appends = (0..FILL_AT_ONCE).map(|_| {
            let stream = format!("order{}-{}", chance.below(10), chance.below(load.2));
            Append { stream, expected_version: None, messages: vec![message(&chance)] }
        });
        store.append(appends.collect()).await.unwrap();
    }
    println!();
    println!("| {messages} messages, 10 categories of 1,000 streams | |");
    println!("|---|---|");
    println!(
        "| filled, {FILL_AT_ONCE} in a call | {:.0} messages/s |",
        messages as f64 / begun.elapsed().as_secs_f64()
    );
    println!("| bytes/message | {:.0} |", folder_bytes(&path) as f64 / messages as f64);
    drop(store);
    let begun = Instant::now();
    let store = open(&path);
    println!("| opened | {:.1} ms |", begun.elapsed().as_secs_f64() * 1e3);
    let head = store.head().await.unwrap();
    pages("all", &store, |from| Read::all().from(from), head).await;
    pages("a category", &store, |from| Read::category("order3").from(from), head).await;
    let correlated = |from| Read::category("order3").correlation("checkout").from(from);
    pages("a category, by correlation", &store, correlated, head).await;
    let mut waits = Vec::new();
    for _ in 0..200 {
        let stream = format!("order{}-{}", chance.below(10), chance.below(load.2));
        let asked = Instant::now();
        store.read(Read::stream(stream)).await.unwrap();
        waits.push(asked.elapsed());
    }
    report("a stream from its beginning", waits);
    let mut waits = Vec::new();
    for _ in 0..200 {
        let stream = format!("order{}-{}", chance.below(10), chance.below(load.2));
        let asked = Instant::now();
        store.last(&stream, None).await.unwrap();
        waits.push(asked.elapsed());
    }
    report("the last message of a stream", waits);
    println!("| resident | {} MiB |", resident_mib());
    drop(store);
    std::fs::remove_dir_all(&path).unwrap();
}

async fn pages(what: &str, store: &Store, read: impl Fn(i64) -> Read, head: i64) {
    let chance = Chance::seeded(3);
    let (mut waits, mut messages, begun) = (Vec::new(), 0, Instant::now());
    for _ in 0..200 {
        let from = chance.below(head as usize) as i64;
        let asked = Instant::now();
        messages += store.read(read(from)).await.unwrap().messages.len();
        waits.push(asked.elapsed());
    }
    let rate = messages as f64 / begun.elapsed().as_secs_f64();
    report(&format!("pages of 1,000 of {what}: {rate:.0} messages/s"), waits);
}

fn report(what: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("| {what} | p50 {:.2} ms, p99 {:.2} ms |", at(0.5), at(0.99));
}

fn folder_bytes(path: &Path) -> u64 {
    std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// User and system time of this process (`proc(5)`, fields 14 and 15, in hundredths of a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn resident_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4 / 1024
}
