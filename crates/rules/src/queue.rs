//! A queue before a bounded number of places: who is let in at once, who waits, who must go. Nothing here
//! waits; the handle of a waiter is whatever wakes it, and comes back when its turn is there.

use std::collections::VecDeque;

/// Who of those that wait is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Who came first. When the queue is full, whoever comes is turned away.
    OldestFirst,
    /// Who came last. When the queue is full, the one that waited longest is turned away.
    NewestFirst,
}

/// How many may run and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Places, at least one.
    pub running_max: usize,
    /// Waiters; none if 0.
    pub waiting_max: usize,
}

/// Names a waiter in its queue. A later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What became of somebody who came.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<W> {
    /// A place is taken; it is given back by [`Queue::finish`].
    Admitted,
    /// All places are taken. The handle of somebody who had to make room comes back.
    Waiting(Ticket, Option<W>),
    /// Nobody more may wait.
    Full,
}

/// What other bounds mean for those who waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved<W> {
    /// These have a place now.
    pub admitted: Vec<W>,
    /// These must go.
    pub turned_away: Vec<W>,
}

/// A queue of waiters with handles `W`.
#[derive(Debug)]
pub struct Queue<W> {
    order: Order,
    bounds: Bounds,
    running: usize,
    /// By ticket, as they came.
    waiting: VecDeque<(Ticket, W)>,
    next: u64,
}

impl<W> Queue<W> {
    /// An empty queue.
    pub fn new(order: Order, bounds: Bounds) -> Self {
        Self { order, bounds, running: 0, waiting: VecDeque::new(), next: 0 }
    }

    /// Somebody comes. `handle` is asked for only if there is a wait.
    pub fn enter(&mut self, handle: impl FnOnce() -> W) -> Entry<W> {
        // As long as somebody waits all places are taken, so nobody is overtaken here.
        if self.running < self.bounds.running_max {
            self.running += 1;
            return Entry::Admitted;
        }
        let full = self.waiting.len() >= self.bounds.waiting_max;
        let gone = match self.order {
            Order::OldestFirst if full => return Entry::Full,
            Order::NewestFirst if full => match self.waiting.pop_front() {
                Some((_, gone)) => Some(gone),
                None => return Entry::Full,
            },
            _ => None,
        };
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push_back((ticket, handle()));
        Entry::Waiting(ticket, gone)
    }

    /// A place is given back. Whoever comes back has it now.
    pub fn finish(&mut self) -> Option<W> {
        self.running = self.running.saturating_sub(1);
        self.admit()
    }

    /// A waiter gives up. False if it no longer waits: it has a place by now, or was turned away.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        match self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            Ok(at) => self.waiting.remove(at).is_some(),
            Err(_) => false,
        }
    }

    /// Other bounds from now on. Those who run go on; when there are more of them than places, nobody is let
    /// in until enough have finished.
    pub fn set_bounds(&mut self, bounds: Bounds) -> Moved<W> {
        self.bounds = bounds;
        let admitted = std::iter::from_fn(|| self.admit()).collect();
        let beyond = self.waiting.len().saturating_sub(bounds.waiting_max);
        let turned_away = match self.order {
            Order::OldestFirst => self.waiting.split_off(self.waiting.len() - beyond),
            Order::NewestFirst => self.waiting.drain(..beyond).collect(),
        };
        Moved { admitted, turned_away: turned_away.into_iter().map(|(_, handle)| handle).collect() }
    }

    fn admit(&mut self) -> Option<W> {
        if self.running >= self.bounds.running_max {
            return None;
        }
        let (_, handle) = match self.order {
            Order::OldestFirst => self.waiting.pop_front(),
            Order::NewestFirst => self.waiting.pop_back(),
        }?;
        self.running += 1;
        Some(handle)
    }

    /// The bounds in force.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// How many have a place.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays a story with 2 places and 2 waiters: a letter comes, `.` finishes. Answers who was let in at
    /// once (as it is), who waits (`~`), who was woken (`^`) and who was turned away (`!`).
    fn check(order: Order, story: &str, expected: &str) {
        let mut queue = Queue::new(order, Bounds { running_max: 2, waiting_max: 2 });
        let mut told = String::new();
        for step in story.chars() {
            if step == '.' {
                told.extend(queue.finish().map_or(vec!['.'], |woken| vec!['^', woken]));
                continue;
            }
            match queue.enter(|| step) {
                Entry::Admitted => told.push(step),
                Entry::Waiting(_, gone) => {
                    told.extend(['~', step]);
                    told.extend(gone.into_iter().flat_map(|gone| ['!', gone]));
                }
                Entry::Full => told.extend(['!', step]),
            }
        }
        assert_eq!(told, expected, "{story}");
    }

    #[test]
    fn the_oldest_is_next_and_a_full_queue_turns_away_who_comes() {
        check(Order::OldestFirst, "abcde....", "ab~c~d!e^c^d..");
        check(Order::OldestFirst, "abc.de", "ab~c^c~d~e");
    }

    #[test]
    fn the_newest_is_next_and_a_full_queue_turns_away_who_waited_longest() {
        check(Order::NewestFirst, "abcde....", "ab~c~d~e!c^e^d..");
        check(Order::NewestFirst, "abcd.ef", "ab~c~d^d~e~f!c");
    }

    #[test]
    fn without_room_to_wait_there_is_no_waiting() {
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let mut queue = Queue::new(order, Bounds { running_max: 1, waiting_max: 0 });
            assert_eq!(queue.enter(|| 'a'), Entry::Admitted);
            assert_eq!(queue.enter(|| 'b'), Entry::Full);
            assert_eq!(queue.finish(), None);
            assert_eq!(queue.enter(|| 'c'), Entry::Admitted);
        }
    }

    #[test]
    fn other_bounds_let_some_in_and_turn_others_away() {
        for (order, admitted, turned_away) in
            [(Order::OldestFirst, [1, 2], [4, 5]), (Order::NewestFirst, [5, 4], [1, 2])]
        {
            let mut queue = Queue::new(order, Bounds { running_max: 1, waiting_max: 9 });
            for number in 0..6 {
                queue.enter(|| number);
            }
            let moved = queue.set_bounds(Bounds { running_max: 3, waiting_max: 1 });
            assert_eq!((moved.admitted, moved.turned_away), (admitted.to_vec(), turned_away.to_vec()));
            // Fewer places than are taken: two finish before the next one is let in.
            queue.set_bounds(Bounds { running_max: 1, waiting_max: 1 });
            assert_eq!([queue.finish(), queue.finish(), queue.finish()], [None, None, Some(3)]);
        }
    }

    proptest! {
        /// Against a list of who is where, whatever happens: bounds hold, the order holds, and no place is
        /// lost or made up, also when waiters leave.
        #[test]
        fn no_place_is_lost(
            newest in any::<bool>(),
            running_max in 1usize..5,
            waiting_max in 0usize..6,
            steps in prop::collection::vec((0u8..5, any::<prop::sample::Index>()), 1..400),
        ) {
            let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
            let mut bounds = Bounds { running_max, waiting_max };
            let mut queue = Queue::new(order, bounds);
            let (mut running, mut waiting, mut number) = (0usize, Vec::<(Ticket, u32)>::new(), 0u32);
            for (step, index) in steps {
                match step {
                    0 | 1 => {
                        number += 1;
                        match queue.enter(|| number) {
                            Entry::Admitted => {
                                prop_assert!(running < bounds.running_max);
                                running += 1;
                            }
                            Entry::Waiting(ticket, gone) => {
                                prop_assert!(running >= bounds.running_max);
                                if let Some(gone) = gone {
                                    prop_assert_eq!(waiting.remove(0).1, gone);
                                    prop_assert!(newest);
                                }
                                waiting.push((ticket, number));
                            }
                            Entry::Full => prop_assert!(
                                running >= bounds.running_max && waiting.len() >= bounds.waiting_max
                            ),
                        }
                    }
                    2 if running > 0 => {
                        let free = running <= bounds.running_max;
                        let next = if newest { waiting.last() } else { waiting.first() }.map(|(_, w)| *w);
                        let next = next.filter(|_| free);
                        prop_assert_eq!(queue.finish(), next);
                        running -= usize::from(next.is_none());
                        waiting.retain(|(_, waiter)| Some(*waiter) != next);
                    }
                    3 if !waiting.is_empty() => {
                        let (ticket, _) = waiting.remove(index.index(waiting.len()));
                        prop_assert!(queue.leave(ticket));
                        prop_assert!(!queue.leave(ticket));
                    }
                    4 => {
                        bounds = Bounds { running_max: 1 + index.index(4), waiting_max: index.index(6) };
                        let moved = queue.set_bounds(bounds);
                        running += moved.admitted.len();
                        prop_assert!(moved.admitted.is_empty() || running <= bounds.running_max);
                        waiting.retain(|(_, w)| !moved.admitted.contains(w) && !moved.turned_away.contains(w));
                    }
                    _ => {}
                }
                prop_assert_eq!((queue.running(), queue.waiting()), (running, waiting.len()));
                prop_assert!(waiting.len() <= bounds.waiting_max);
                prop_assert!(waiting.is_empty() || running >= bounds.running_max, "a place is free");
            }
            for _ in 0..running + waiting.len() {
                queue.finish();
            }
            prop_assert_eq!((queue.running(), queue.waiting()), (0, 0), "all finish in the end");
        }
    }
}
