//! Which shares this node works on. Every node that is alive says so and takes its even part of each group; a share
//! that nobody has any more is taken over. What a node should have is a pure function; the rest acts on it.

use super::records::{self, Alive, Kept};
use super::seat::Seat;
use super::share::Share;
use super::{SeatKey, Shared, lease};
use base::{Fault, OnError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often a node looks at what it should have.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two signs of life.
const HEARTBEAT_TICKS: u32 = 2;
/// A node without a sign of life for so long is dead.
const ALIVE_FOR: Duration = lease::HOLD;
/// How long after somebody asked for messages a node keeps shares for them, beside the acknowledge timeout.
const INTEREST: Duration = Duration::from_secs(60);
/// Longest wait, at the end, for shares to write how far they are.
pub(super) const STOP_WAIT: Duration = Duration::from_secs(12);

/// How many of `size` shares a node should have: an even part, and one of those left over for the first nodes, counted
/// from another one for each consumer.
pub(super) fn part(size: u16, nodes: &[&str], node: &str, consumer: &str) -> u16 {
    let Some(rank) = nodes.iter().position(|name| *name == node) else { return 0 };
    let count = nodes.len();
    let turn = store::names::hash_64(consumer).unsigned_abs() as usize % count;
    let rank = (rank + count - turn) % count;
    let (each, left_over) = (usize::from(size) / count, usize::from(size) % count);
    (each + usize::from(rank < left_over)) as u16
}

/// What runs here.
pub(super) struct Node {
    shared: Arc<Shared>,
    running: BTreeMap<SeatKey, Running>,
    ticks: u32,
    told: Vec<String>,
}

/// A share at work, or on its way to be. Dropped, it is broken off.
struct Running {
    seat: Arc<Seat>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, running: BTreeMap::new(), ticks: 0, told: Vec::new() }
    }

    /// Works until the scope stops.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let scope = self.shared.scope.clone();
        loop {
            if let Err(fault) = self.tick().await {
                self.shared.trouble(Some(fault.to_string()));
            }
            tokio::select! {
                () = scope.stopping() => break,
                // A change during the tick has left its word.
                () = self.shared.changed.notified() => {}
                () = self.shared.clock.sleep(TICK) => {}
            }
        }
        self.stop().await;
        Ok(())
    }

    async fn stop(mut self) {
        for running in self.running.values() {
            running.seat.stop.send_replace(true);
        }
        let ended = async {
            for running in self.running.values_mut() {
                drop((&mut running.task).await);
            }
        };
        tokio::select! {
            () = ended => {}
            () = self.shared.clock.sleep(STOP_WAIT) => {}
        }
        self.running.clear();
        self.shared.seats().clear();
        drop(records::farewell(&self.shared.state, &self.shared.node).await);
    }

    /// Compares what runs with what should.
    async fn tick(&mut self) -> Result<(), Fault> {
        let shared = self.shared.clone();
        self.running.retain(|_, running| !running.task.is_finished());
        let consumers = records::all(&shared.state).await?;
        // Others may have removed them.
        let is_there = |name: &str| consumers.binary_search_by(|kept| kept.name.as_str().cmp(name)).is_ok();
        super::lock(&shared.counts).retain(|(name, _), _| is_there(name));
        shared.asked().retain(|name, _| is_there(name));
        let served: Vec<&Kept> = consumers.iter().filter(|kept| self.is_wanted(kept)).collect();
        let shares_evenly = |kept: &&Kept| shared.member_of(&kept.name).is_none();
        let names: Vec<String> =
            served.iter().copied().filter(shares_evenly).map(|kept| kept.name.clone()).collect();
        if self.ticks.is_multiple_of(HEARTBEAT_TICKS) || names != self.told {
            let alive = Alive { node: shared.node.clone(), consumers: names.clone() };
            records::heartbeat(&shared.state, &alive, ALIVE_FOR).await?;
            self.told = names;
        }
        self.ticks = self.ticks.wrapping_add(1);
        let nodes = records::alive(&shared.state).await?;
        for kept in &served {
            let takers: Vec<&str> = nodes
                .iter()
                .filter(|node| node.consumers.contains(&kept.name))
                .map(|node| node.node.as_str())
                .collect();
            let (candidates, count) = match shared.member_of(&kept.name) {
                Some(member) => (member..member + 1, u16::from(member < kept.definition.size)),
                None => {
                    let count = part(kept.definition.size, &takers, &shared.node, &kept.name);
                    (0..kept.definition.size, count)
                }
            };
            self.seat_shares(kept, candidates, count).await?;
        }
        // Those of consumers that are gone, paused, changed, or not for us any more.
        for ((name, _), running) in &self.running {
            if !served.iter().any(|kept| *kept.name == **name && kept.etag == running.seat.etag) {
                running.seat.stop.send_replace(true);
            }
        }
        let seats = self.running.iter().map(|(key, running)| (key.clone(), running.seat.clone())).collect();
        *shared.seats() = seats;
        shared.trouble(None);
        Ok(())
    }

    /// Whether this node should work for a consumer at all.
    fn is_wanted(&self, kept: &Kept) -> bool {
        if kept.paused {
            return false;
        }
        match &kept.definition.handler {
            Some(handler) => self.shared.deliver.serves(handler),
            None => {
                let asked = self.shared.asked().get(&kept.name).copied();
                let now = self.shared.clock.now();
                asked.is_some_and(|asked| now.since(asked) < kept.definition.timeout + INTEREST)
            }
        }
    }

    /// Gives up shares beyond `count`, and takes free ones below it.
    async fn seat_shares(
        &mut self,
        kept: &Kept,
        candidates: std::ops::Range<u16>,
        count: u16,
    ) -> Result<(), Fault> {
        let shared = self.shared.clone();
        let name: Arc<str> = kept.name.as_str().into();
        let here = || self.running.range((name.clone(), 0)..=(name.clone(), u16::MAX));
        // Shares of another size have other streams: those from before it changed have to be gone first.
        if here().any(|(_, running)| running.seat.etag != kept.etag) {
            return Ok(());
        }
        let mine: Vec<u16> = here().map(|((_, share), _)| *share).collect();
        for share in mine.iter().skip(count.into()) {
            if let Some(running) = self.running.get(&(name.clone(), *share)) {
                running.seat.stop.send_replace(true);
            }
        }
        let mut missing = usize::from(count).saturating_sub(mine.len());
        for share in candidates {
            if missing == 0 {
                break;
            }
            let key = (name.clone(), share);
            // One that is about to stop has to be gone first.
            if self.running.contains_key(&key) {
                continue;
            }
            let lease = shared.state.lease(&records::lease_name(&name, share)).await?;
            if lease.is_some_and(|lease| lease.holder != shared.node) {
                continue;
            }
            self.begin(kept, key);
            missing -= 1;
        }
        Ok(())
    }

    fn begin(&mut self, kept: &Kept, key: SeatKey) {
        let counts = self.shared.counts(&key);
        let (seat, asks) = Seat::new(kept.etag, counts.clone());
        let share = Share {
            shared: self.shared.clone(),
            name: key.0.clone(),
            definition: Arc::new(kept.definition.clone()),
            number: key.1,
            seat: seat.clone(),
        };
        let (shared, at) = (self.shared.clone(), seat.clone());
        let task = tokio::spawn(async move {
            if let Err(fault) = share.run(asks).await {
                counts.trouble(&fault.to_string());
            }
            // Where it failed, it waits for the next tick.
            if *at.stop.borrow() {
                shared.changed.notify_one();
            }
        });
        self.running.insert(key, Running { seat, task });
    }
}

/// Starts the node's task.
pub(super) fn start(shared: &Arc<Shared>) {
    let node = shared.clone();
    shared.scope.spawn("consumers", OnError::Restart, move || Node::new(node.clone()).run());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_dealt_evenly_and_none_is_left() {
        let names: Vec<String> = (0..7).map(|n| format!("node{n}")).collect();
        for count in 1..=names.len() {
            let nodes: Vec<&str> = names[..count].iter().map(String::as_str).collect();
            for size in [1, 2, 3, 5, 8, 100] {
                for consumer in ["a", "billing", "mail"] {
                    let parts: Vec<u16> =
                        nodes.iter().map(|node| part(size, &nodes, node, consumer)).collect();
                    let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
                    assert_eq!((parts.iter().sum::<u16>(), most - least <= 1), (size, true), "{parts:?}");
                }
            }
            assert_eq!(part(4, &nodes, "stranger", "a"), 0);
        }
        let first = |consumer: &str| part(1, &["x", "y"], "x", consumer);
        let spread: u16 = (0..20).map(|n| first(&format!("c{n}"))).sum();
        assert!((5..=15).contains(&spread), "consumers of one share are spread over the nodes: {spread}");
    }
}
