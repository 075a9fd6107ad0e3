//! How long each page of the console takes, made in this process over a store of 10,000 traces and a table of 1,000
//! routes, as a browser would ask for it: the median and the worst of many, in milliseconds, and bytes.
//! `cargo run --release -p tombolo-console --example pages_bench [TRACES [ROUTES [TIMES]]]`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and ends when it fails")]

#[path = "../tests/pages/world.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod world;

use std::time::Instant;
use world::{Wished, World};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let number = |nth: usize, usual| numbers.get(nth).copied().unwrap_or(usual);
    let (traces, routes, times) = (number(0, 10_000), number(1, 1_000), number(2, 50));
    let world = World::new(&world::many_routes(routes), Wished { traces: true, ..Wished::default() });
    world::many_traces(&world, traces).await;
    println!("{traces} traces of 6 spans, {routes} routes; each page {times} times");
    let paths = [
        "/",
        "/overview.json",
        "/traces",
        "/traces?serviceName=s3&annotationQuery=error&limit=100",
        "/traces?limit=1000",
        "/traces/0000000000000005",
        "/routes",
        "/routes?filter=77",
        "/routes?url=/77",
        "/services",
        "/charts",
    ];
    for path in paths {
        let mut took = Vec::new();
        let mut bytes = 0;
        for _ in 0..times {
            // Past the moment in which the map is not made anew.
            world.hand.advance(std::time::Duration::from_millis(1_001));
            let begun = Instant::now();
            let page = world.get(path).await;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            assert!(page.status.is_success(), "{path}: {}", page.text);
            bytes = page.text.len();
        }
        took.sort_by(f64::total_cmp);
        println!(
            "{path:58} median {:7.2} ms  worst {:7.2} ms  {bytes:8} bytes",
            took[took.len() / 2],
            took[took.len() - 1]
        );
    }
}
