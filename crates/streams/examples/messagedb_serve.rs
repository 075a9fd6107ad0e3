//! Serves Message DB's interface over the store in a folder, for trying it out with psql or a client's own tests:
//!
//! `cargo run -p tombolo-streams --example messagedb_serve FOLDER [PORT]`, then `psql -h 127.0.0.1 -p 5433 -U
//! message_store`.

#![expect(clippy::print_stdout, reason = "it says where it serves")]
#![expect(clippy::unwrap_used, reason = "it ends where anything fails")]

use base::{Clock, Scope};
use store::{Log, LogOptions, Store};
use streams::messagedb::{Settings, serve};

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().expect("a folder for the store");
    let port: u16 = args.next().map_or(5433, |port| port.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (log, recovered) = Log::open(folder.as_ref(), Clock::system(), LogOptions::default()).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        println!("{recovered:?}\nserving on {}", listener.local_addr().unwrap());
        let stop = Scope::new(Clock::system(), |_| {});
        serve(listener, Store::new(log), Settings::default(), Clock::system(), stop).await.unwrap();
    });
}
