//! How much each endpoint of a balanced backend gets: newcomers little by little, the heavy more, the slow less.

use crate::world::{Setup, World};
use std::time::Duration;
use testkit::{Backend, Reply};

/// How many of so many requests the backend got.
async fn part(world: &World, backend: &Backend, requests: usize) -> usize {
    let before = backend.requests();
    let mut client = world.client().await;
    for _ in 0..requests {
        client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    }
    backend.requests() - before
}

async fn two() -> [Backend; 2] {
    [Backend::saying("old").await, Backend::saying("new").await]
}

async fn by_hand(routes: &str) -> World {
    World::with(Setup { by_hand: true, ..Setup::default() }, routes).await
}

#[tokio::test]
async fn a_newcomer_gets_its_share_little_by_little() {
    let [old, new] = two().await;
    for algorithm in ["roundRobin", "random", "powerOfRandomNChoices", "weightedRoundRobin", "leastRequests"]
    {
        let world = by_hand(&format!(r#"r: * -> fadeIn("100s") -> <{algorithm}, "{}">"#, old.url())).await;
        world.hand.advance(Duration::from_secs(1000));
        world.put(&format!(r#"r: * -> fadeIn("100s") -> <{algorithm}, "{}", "{}">"#, old.url(), new.url()));
        assert_eq!(part(&world, &new, 100).await, 0, "{algorithm}: it has just appeared");
        world.hand.advance(Duration::from_secs(20));
        let fifth = part(&world, &new, 500).await;
        assert!((25..=80).contains(&fifth), "{algorithm}: a tenth of 500 at 20 of 100 s, not {fifth}");
        // A reload changes nothing about its age.
        world.put(&format!(
            r#"r: * -> fadeIn("100s", 2) -> <{algorithm}, "{}", "{}">"#,
            old.url(),
            new.url()
        ));
        world.hand.advance(Duration::from_secs(50));
        let half = part(&world, &new, 500).await;
        assert!((85..=165).contains(&half), "{algorithm}: 0.7² of the half of 500, not {half}");
        world.hand.advance(Duration::from_secs(30));
        let whole = part(&world, &new, 200).await;
        assert!((70..=130).contains(&whole), "{algorithm}: the half of 200, not {whole}");
    }
}

#[tokio::test]
async fn when_all_are_new_all_are_alike() {
    let [one, two] = two().await;
    let world = by_hand(&format!(r#"r: * -> fadeIn("1h", 3) -> <"{}", "{}">"#, one.url(), two.url())).await;
    let part = part(&world, &one, 100).await;
    assert!((40..=60).contains(&part), "{part}");
}

#[tokio::test]
async fn an_endpoint_made_anew_at_its_old_address_fades_in_again() {
    let [old, new] = two().await;
    let routes = |made: &str| {
        format!(
            r#"r: * -> fadeIn("100s") -> endpointCreated("{}", {made}) -> <"{}", "{}">"#,
            new.url().to_uppercase().replace("HTTP", "http"),
            old.url(),
            new.url()
        )
    };
    // The clock by hand begins at 1,700,000,000.
    let world = by_hand(&routes("1600000000")).await;
    world.hand.advance(Duration::from_secs(1000));
    world.put(&routes("\"2023-11-14T22:13:19Z\""));
    assert_eq!(part(&world, &new, 100).await, 50, "made before it was first seen");
    drop(world.table(&routes("1700000500")));
    assert_eq!(part(&world, &new, 100).await, 50, "a table that is not put changes nothing");
    world.put(&routes("1700009999"));
    assert_eq!(part(&world, &new, 100).await, 50, "a time that is still to come");
    world.put(&routes("1700000500"));
    assert_eq!(part(&world, &new, 100).await, 0);
    world.hand.advance(Duration::from_secs(100));
    world.put(&routes("1700000500"));
    assert_eq!(part(&world, &new, 100).await, 50);
}

#[tokio::test]
async fn an_endpoint_that_nobody_names_for_a_minute_is_new_when_it_comes_back() {
    let [old, new] = two().await;
    let both = format!(r#"r: * -> fadeIn("100s") -> <"{}", "{}">"#, old.url(), new.url());
    let alone = format!(r#"r: * -> fadeIn("100s") -> <"{}">"#, old.url());
    for (seconds, expected) in [(30, 50), (90, 0)] {
        let world = by_hand(&both).await;
        world.hand.advance(Duration::from_secs(1000));
        let tending = tokio::spawn(world.plane.clone().tend(|change| panic!("{change}")));
        world.put(&alone);
        // No request is under way on the old table.
        assert_eq!(part(&world, &new, 1).await, 0);
        for _ in 0..seconds {
            world.hand.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.put(&both);
        assert_eq!(part(&world, &new, 100).await, expected, "after {seconds} s");
        tending.abort();
    }
}

#[tokio::test]
async fn a_heavy_endpoint_gets_more() {
    let [heavy, light] = two().await;
    for algorithm in ["weightedRoundRobin", "leastRequests"] {
        let world = by_hand(&format!(
            r#"r: * -> endpointWeight("{0}", 3) -> <{algorithm}, "{0}", "{1}">"#,
            heavy.url(),
            light.url()
        ))
        .await;
        assert_eq!(part(&world, &heavy, 40).await, 30, "{algorithm}");
    }
}

#[tokio::test]
async fn peak_ewma_avoids_the_slow_and_the_failing() {
    let slow = Backend::start(|_| Reply::ok("slow").after(Duration::from_millis(60))).await;
    let failing = Backend::start(|_| Reply::status(500)).await;
    let quick = Backend::saying("quick").await;
    for bad in [&slow, &failing] {
        let world = World::new(&format!(r#"r: * -> <peakEwma, "{}", "{}">"#, bad.url(), quick.url())).await;
        let asked = part(&world, bad, 60).await;
        assert!(asked <= 3, "{asked} of 60");
    }
}
