//! What Message DB's interface does over the wire on this machine, as one table: durable writes and reads of 1, 8 and
//! 64 connections. The clients are a process of their own, so that the CPU time is the server's.
//!
//! `cargo run --release -p tombolo-streams --example messagedb_bench [SECONDS]`. With a port behind it, the clients
//! measure whatever serves Message DB there: `messagedb_bench 3 5432`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::unwrap_used, reason = "a benchmark ends where anything fails")]

use base::{Chance, Clock, Scope};
use std::process::Command;
use std::time::{Duration, Instant};
use store::{Log, LogOptions, Store};
use streams::messagedb::{Settings, serve};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

const CONNECTIONS: [usize; 3] = [1, 8, 64];
/// What is done, each with how many messages one of it moves.
const LOADS: [(&str, usize); 5] = [
    ("write, 1 category", 1),
    ("write, 100 categories", 1),
    ("write, 1 category, literals", 1),
    ("read 10 of a stream", 10),
    ("read 1,000 of a category", 1_000),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "clients") {
        return clients(&args[1..]);
    }
    let seconds = args.first().map_or("2", String::as_str);
    let folder = tempfile::tempdir().unwrap();
    let served = args.get(1).is_none().then(|| server(folder.path()));
    let port = served.as_ref().map_or_else(|| args[1].clone(), |(_, port)| port.to_string());
    println!("| | connections | messages/s | p50 us | p99 us | server CPU us/message |");
    println!("|---|---|---|---|---|---|");
    for (load, (name, _)) in LOADS.iter().enumerate() {
        for connections in CONNECTIONS {
            let cpu = cpu_seconds();
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["clients", &port, &load.to_string(), &connections.to_string(), seconds])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let cpu = cpu_seconds() - cpu;
            let said = String::from_utf8(output.stdout).unwrap();
            let (messages, rest) = said.trim().split_once(' ').unwrap();
            let cpu = match &served {
                Some(_) => format!("{:.1}", cpu * 1e6 / messages.parse::<f64>().unwrap().max(1.0)),
                None => "-".to_owned(),
            };
            println!("| {name} | {connections} | {rest} | {cpu} |");
        }
    }
}

/// A server over a new store, with what is read in it.
fn server(folder: &std::path::Path) -> (Runtime, u16) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store = Store::new(Log::open(folder, Clock::system(), LogOptions::default()).unwrap().0);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = Scope::new(Clock::system(), |_| {});
    runtime.spawn(serve(listener, store, Settings::default(), Clock::system(), stop));
    (runtime, port)
}

/// The clients' process: prints the number of messages and a part of the table's line.
fn clients(args: &[String]) {
    let number = |nth: usize| args[nth].parse::<usize>().unwrap();
    let (port, load, connections) = (args[0].parse().unwrap(), number(1), number(2));
    let time = Duration::from_secs_f64(args[3].parse().unwrap());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let chance = Chance::from_entropy();
        prepare(&connect(port).await, &chance).await;
        let mut opened = Vec::new();
        for _ in 0..connections {
            opened.push(connect(port).await);
        }
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for client in opened {
            let chance = chance.fork();
            tasks.spawn(async move { ask(&client, load, &chance, begun, time).await });
        }
        let mut waits: Vec<Duration> = Vec::new();
        while let Some(task) = tasks.join_next().await {
            waits.extend(task.unwrap());
        }
        let elapsed = begun.elapsed().as_secs_f64();
        waits.sort_unstable();
        let messages = waits.len() * LOADS[load].1;
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_micros();
        println!("{messages} {:.0} | {} | {}", messages as f64 / elapsed, at(0.5), at(0.99));
    });
}

async fn connect(port: u16) -> Client {
    let config = format!("host=127.0.0.1 port={port} user=message_store dbname=message_store");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// Writes what is read later, unless it is there.
async fn prepare(client: &Client, chance: &Chance) {
    let there: i64 = client
        .query_one("SELECT COUNT(*) FROM get_category_messages('read', 1, 10)", &[])
        .await
        .unwrap()
        .get(0);
    if there > 0 {
        return;
    }
    for _ in 0..20 {
        client.batch_execute("BEGIN").await.unwrap();
        for nth in 0..100 {
            client.batch_execute(&literal(&format!("read-{nth}"), chance)).await.unwrap();
        }
        client.batch_execute("COMMIT").await.unwrap();
    }
}

fn id(chance: &Chance) -> String {
    let (high, low) = (chance.bits(), chance.bits());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high & 0xffff,
        low >> 52,
        low >> 40 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

fn data(chance: &Chance) -> String {
    format!(
        "{{\"orderId\": \"{:016x}\", \"customer\": {}, \"amount\": 19.90}}",
        chance.bits(),
        chance.below(100_000)
    )
}

fn literal(stream: &str, chance: &Chance) -> String {
    let (id, data) = (id(chance), data(chance));
    format!(
        "SELECT write_message('{id}', '{stream}', 'OrderPlaced', '{data}', '{{\"schemaVersion\": 1}}', NULL)"
    )
}

async fn ask(client: &Client, load: usize, chance: &Chance, begun: Instant, time: Duration) -> Vec<Duration> {
    let sql = "SELECT write_message($1::varchar, $2::varchar, $3::varchar, $4::text::jsonb, '{\"schemaVersion\": 1}', NULL)";
    let write = client.prepare(sql).await.unwrap();
    let stream = client.prepare("SELECT * FROM get_stream_messages($1, $2, $3)").await.unwrap();
    let category = client.prepare("SELECT * FROM get_category_messages($1, $2, $3)").await.unwrap();
    let mut waits = Vec::new();
    while begun.elapsed() < time {
        let asked = Instant::now();
        match load {
            0 | 1 => {
                let categories = if load == 0 { 1 } else { 100 };
                let name = format!("order{}-{}", chance.below(categories), chance.below(1_000));
                client.query_one(&write, &[&id(chance), &name, &"OrderPlaced", &data(chance)]).await.unwrap();
            }
            2 => {
                let sql = literal(&format!("order-{}", chance.below(1_000)), chance);
                client.simple_query(&sql).await.unwrap();
            }
            3 => {
                let name = format!("read-{}", chance.below(100));
                let rows = client.query(&stream, &[&name, &0_i64, &10_i64]).await.unwrap();
                assert_eq!(rows.len(), 10);
            }
            _ => {
                let rows = client.query(&category, &[&"read", &1_i64, &1_000_i64]).await.unwrap();
                assert_eq!(rows.len(), 1_000);
            }
        }
        waits.push(asked.elapsed());
    }
    waits
}

/// CPU time of this process, from `/proc/self/stat`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}
