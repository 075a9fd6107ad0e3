//! Seeded runs with failing handlers, nodes that come, stop and are killed, and positions that are written late: every
//! message is handled, what handlers answer is there once, streams keep their order.

use super::*;
use std::collections::HashMap;

const STREAMS: usize = 7;
const MESSAGES: usize = 60;

fn name(number: usize) -> &'static str {
    ["order-0", "order-1", "order-2", "order-3", "order-4", "order-5", "order-6"][number]
}

async fn run(seed: u64) {
    let world = World::new();
    let chance = Chance::seeded(seed);
    let answers = chance.fork();
    world.seen.answer(move |call| {
        let (stream, position) = &call.messages[0];
        match answers.below(6) {
            0 => Ok(failed()),
            1 => Err(Fault::new(Kind::Unavailable, "nobody there")),
            2 => Ok(Pushed { status: 503, retry_after: Some(Duration::from_secs(2)), body: vec![] }),
            _ => Ok(appending(&format!("did-{stream}.{position}"))),
        }
    });
    *lock(&world.seen.takes) = Duration::from_millis(chance.below(400) as u64);
    let mut nodes = vec![world.node(Some("n0"))];
    let definition = Definition {
        size: 1 + chance.below(4) as u16,
        concurrency: 1 + chance.below(5),
        attempts: 1_000,
        ..pushed("order")
    };
    nodes[0].consumers.put("billing", definition).await.unwrap();
    let (mut appended, mut born) = (0, 1);
    for _ in 0..60 {
        match chance.below(8) {
            0..=3 if appended < MESSAGES => {
                for _ in 0..3 {
                    world.append(&[name(chance.below(STREAMS))]).await;
                }
                appended += 3;
            }
            4 if nodes.len() < 4 => {
                nodes.push(world.node(Some(&format!("n{born}"))));
                born += 1;
            }
            5 if nodes.len() > 1 => nodes.swap_remove(chance.below(nodes.len())).kill().await,
            6 if nodes.len() > 1 => {
                let node = nodes.swap_remove(chance.below(nodes.len()));
                let stopping = tokio::spawn(async move { node.scope.stop(Duration::from_secs(3_600)).await });
                world.until("it stopped", async || stopping.is_finished()).await;
            }
            _ => {}
        }
        for _ in 0..5 {
            world.hand.advance(Duration::from_millis(chance.below(900) as u64));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    nodes[0].caught_up(&world, "billing").await;
    for number in 0..STREAMS {
        for position in 0..world.length(name(number)).await {
            let did = format!("did-{}.{position}", name(number));
            assert_eq!(world.length(&did).await, 1, "seed {seed}: {did}");
        }
    }
    assert_eq!(*lock(&world.seen.together), [], "seed {seed}: no stream is handled twice at once");
    // What comes may come again, but never before what stands before it.
    let mut furthest = HashMap::new();
    for call in lock(&world.seen.calls).iter() {
        let (stream, position) = &call.messages[0];
        let before = furthest.entry(stream.clone()).or_insert(-1);
        assert!(*position <= *before + 1, "seed {seed}: {call:?} after {before}");
        *before = (*before).max(*position);
    }
}

#[tokio::test]
async fn whatever_fails_each_message_is_handled_and_what_follows_is_there_once() {
    for seed in 0..8 {
        run(seed).await;
    }
}
