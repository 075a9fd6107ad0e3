//! Pages over much: ten times the traces and routes make no page ten times as slow. Absolute times are for
//! `examples/pages_bench.rs`.

use crate::world::{Wished, World, many_routes, many_traces};
use std::time::{Duration, Instant};

/// A page over ten times as much may take so many times as long.
const RATIO_MAX: f64 = 5.0;
/// Times that a page is asked for; the quickest counts, as others use the machine too.
const TIMES: usize = 7;

async fn world(traces: u64, routes: u64) -> World {
    let world = World::new(&many_routes(routes), Wished { traces: true, ..Wished::default() });
    many_traces(&world, traces).await;
    world
}

async fn time(world: &World, path: &str) -> f64 {
    // Past the moment in which the map is not made anew.
    world.hand.advance(Duration::from_millis(1_001));
    let begun = Instant::now();
    let page = world.get(path).await;
    assert!(page.status.is_success(), "{path}: {}", page.text);
    begun.elapsed().as_secs_f64()
}

#[tokio::test]
async fn ten_times_as_much_makes_no_page_ten_times_as_slow() {
    let (small, large) = (world(1_000, 100).await, world(10_000, 1_000).await);
    for path in [
        "/",
        "/traces",
        "/traces?serviceName=s3",
        "/traces/0000000000000005",
        "/routes",
        "/services",
        "/charts",
    ] {
        let (mut of_small, mut of_large) = (f64::MAX, f64::MAX);
        for _ in 0..TIMES {
            of_small = of_small.min(time(&small, path).await);
            of_large = of_large.min(time(&large, path).await);
        }
        // Below half a millisecond the machine is measured, not the page.
        let ratio = of_large / of_small.max(0.0005);
        assert!(ratio < RATIO_MAX, "{path} takes {ratio:.1} times as long: {of_large} s after {of_small} s");
    }
}
