//! The load of `bench/store`: one measure of one store, printed as a line of JSON. The clients are a process of their
//! own, so that the CPU time of a server is the server's; which servers, how often and what is compared is the
//! script's.
//!
//! `cargo run --release -p tombolo-streams --example store_bench COMMAND [NAME=VALUE ...]`:
//!
//! - `append via=V shape=S clients=N seconds=S`: durable appends of one message each. `shape` is `stream`, `category`
//!   (1,000 streams of one) or `categories` (100 of 10 streams).
//! - `read via=V scope=S limit=N pages=N messages=N`: pages at random positions of a filled store.
//! - `follow via=http messages=N`: from the sending of an append to its message at a follower.
//! - `disk folder=F group=N bytes=N seconds=S`: so many bytes written and synced, again and again, which are so many
//!   messages.
//! - `fill folder=F messages=N` fills a store; `rows messages=N` prints the same for PostgreSQL's `COPY`.
//!
//! `via` is `process` with `folder=F`, or `http`, `messagedb`, `redis` or `nats` with `port=P` of 127.0.0.1.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a benchmark ends where anything fails")]
#![expect(clippy::cast_possible_wrap, reason = "counts stay far below 2^63")]

mod clients;
mod disk;
mod follow;
mod load;
mod nats;
mod redis;

use base::Chance;
use clients::Client;
use disk::Group;
use load::{Filled, Shape};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};
use store::Read;
use tokio::runtime::{Builder, Runtime};

/// Pages that are read before it counts.
const PAGES_BEFORE: usize = 20;

/// What the command line says.
struct Asked(HashMap<String, String>);

impl Asked {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("`{name}=` is missing"))
    }

    fn number(&self, name: &str) -> usize {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("`{name}={text}` is no number"))
    }

    fn real(&self, name: &str) -> f64 {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("`{name}={text}` is no number"))
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.real("seconds"))
    }

    fn folder(&self) -> &Path {
        Path::new(self.text("folder"))
    }

    /// Clients share a thread, as a server needs the machine's cores; in process the store's own threads do, too.
    fn runtime(&self) -> Runtime {
        if self.text("via") == "process" {
            Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
        } else {
            Builder::new_current_thread().enable_all().build().unwrap()
        }
    }

    async fn clients(&self, clients: usize) -> Vec<Client> {
        let first = match self.text("via") {
            "process" => Client::in_process(self.folder()),
            via => Client::connect(via, self.number("port") as u16).await,
        };
        let mut connected = vec![first];
        while connected.len() < clients {
            let next = match &connected[0] {
                Client::Process(store, embedded) => Client::Process(store.clone(), embedded.clone()),
                _ => Client::connect(self.text("via"), self.number("port") as u16).await,
            };
            connected.push(next);
        }
        connected
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let command = args.next().expect("a command: append, read, follow, disk, fill or rows");
    let pairs = args.map(|arg| {
        let (name, value) = arg.split_once('=').unwrap_or_else(|| panic!("`{arg}` is not NAME=VALUE"));
        (name.to_owned(), value.to_owned())
    });
    let asked = Asked(pairs.collect());
    let measured = match command.as_str() {
        "append" => append(&asked),
        "read" => read(&asked),
        "follow" => asked.runtime().block_on(follow::measure(&asked)),
        "disk" => {
            let group = Group { messages: asked.real("group"), bytes: asked.number("bytes") };
            disk::measure(asked.folder(), group, asked.seconds())
        }
        "fill" => load::fill(asked.folder(), &Filled::of(asked.number("messages"))),
        "rows" => return load::rows(&Filled::of(asked.number("messages"))),
        other => panic!("`{other}` is no command"),
    };
    println!("{measured}");
}

fn append(asked: &Asked) -> Value {
    let shape = Shape::of(asked.text("shape"));
    let time = asked.seconds();
    asked.runtime().block_on(async {
        let clients = asked.clients(asked.number("clients")).await;
        let embedded = match &clients[0] {
            Client::Process(_, embedded) => Some(embedded.clone()),
            _ => None,
        };
        let chance = Chance::from_entropy();
        let (cpu, begun) = (cpu_seconds(), Instant::now());
        let mut tasks = tokio::task::JoinSet::new();
        for mut client in clients {
            let chance = chance.fork();
            tasks.spawn(async move {
                let mut waits = Vec::new();
                while begun.elapsed() < time {
                    let (stream, message) = (shape.stream(&chance), load::message(&chance));
                    let sent = Instant::now();
                    client.append(stream, message).await;
                    waits.push(sent.elapsed());
                }
                waits
            });
        }
        let mut waits = Vec::new();
        while let Some(done) = tasks.join_next().await {
            waits.extend(done.unwrap());
        }
        let (elapsed, cpu) = (begun.elapsed(), cpu_seconds() - cpu);
        let mut measured = told(&mut waits);
        measured["rate"] = json!(waits.len() as f64 / elapsed.as_secs_f64());
        measured["own_cpu_us"] = json!(cpu * 1e6 / waits.len() as f64);
        if let Some(grouped) = embedded.map(|embedded| embedded.grouped()) {
            measured["group"] = json!(grouped.messages as f64 / grouped.groups as f64);
            measured["group_bytes"] = json!(grouped.bytes / grouped.groups);
        }
        measured
    })
}

fn read(asked: &Asked) -> Value {
    let (limit, pages) = (asked.number("limit"), asked.number("pages"));
    let filled = Filled::of(asked.number("messages"));
    asked.runtime().block_on(async {
        let mut clients = asked.clients(1).await;
        let chance = Chance::from_entropy();
        let mut waits = Vec::new();
        for page in 0..PAGES_BEFORE + pages {
            let read = match asked.text("scope") {
                "stream" => {
                    let (stream, from) = filled.place_in_stream(limit, &chance);
                    Read::stream(stream).from(from)
                }
                "category" => {
                    let (category, from) = filled.place_in_category(limit, &chance);
                    Read::category(category).from(from)
                }
                other => panic!("`scope={other}` is no scope"),
            };
            let sent = Instant::now();
            let page_read = clients[0].read(read.limit(limit)).await;
            let wait = sent.elapsed();
            assert_eq!(page_read.messages(), limit, "a page is full");
            if page >= PAGES_BEFORE {
                waits.push(wait);
            }
        }
        told(&mut waits)
    })
}

/// How many there were, and how long they took, in microseconds.
fn told(waits: &mut [Duration]) -> Value {
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
    json!({ "count": waits.len(), "p50_us": at(0.5), "p99_us": at(0.99) })
}

/// CPU time of this process (`proc(5)`, fields 14 and 15, in hundredths of a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let ticks = behind_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}
