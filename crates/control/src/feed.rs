//! One publisher, any number of subscribers, each with a bounded queue of its own: a slow one loses the
//! oldest and is told how many, and slows nobody down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Most items a subscriber can be behind.
const ITEMS_MAX: usize = 1024;

/// Most bytes a subscriber can be behind, as the publisher weighs them.
const BYTES_MAX: usize = 1 << 20;

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// The next item.
    Item(T),
    /// So many items before the next one were lost: the subscriber was too slow.
    Missed(u64),
}

/// The receiving end of a subscription. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscriber<T>(Arc<Shared<T>>);

/// The publishing end.
#[derive(Debug)]
pub(crate) struct Feed<T>(Mutex<Vec<Weak<Shared<T>>>>);

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    wake: Notify,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    missed: u64,
    closed: bool,
}

impl<T> Subscriber<T> {
    /// The next thing to hear; `None` when the publisher is gone and everything was heard.
    pub async fn next(&mut self) -> Option<Heard<T>> {
        loop {
            if let Some(heard) = self.try_next() {
                return Some(heard);
            }
            if self.0.lock().closed {
                return None;
            }
            // A permit is kept if the publisher comes between the look and the wait.
            self.0.wake.notified().await;
        }
    }

    /// The next thing to hear if it is there now.
    pub fn try_next(&mut self) -> Option<Heard<T>> {
        let mut queue = self.0.lock();
        if queue.missed > 0 {
            return Some(Heard::Missed(std::mem::take(&mut queue.missed)));
        }
        let (bytes, item) = queue.items.pop_front()?;
        queue.bytes -= bytes;
        Some(Heard::Item(item))
    }
}

impl<T: Clone> Feed<T> {
    /// Gives the item to every subscriber.
    pub(crate) fn publish(&self, item: &T, bytes: usize) {
        self.lock().retain(|subscriber| {
            let Some(shared) = subscriber.upgrade() else {
                return false;
            };
            {
                let mut queue = shared.lock();
                queue.items.push_back((bytes, item.clone()));
                queue.bytes += bytes;
                while queue.items.len() > ITEMS_MAX || (queue.bytes > BYTES_MAX && queue.items.len() > 1) {
                    if let Some((bytes, _)) = queue.items.pop_front() {
                        queue.bytes -= bytes;
                        queue.missed += 1;
                    }
                }
            }
            shared.wake.notify_one();
            true
        });
    }
}

impl<T> Feed<T> {
    /// A feed that nobody listens to yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// A subscription to everything published from now on.
    pub(crate) fn subscribe(&self) -> Subscriber<T> {
        let queue = Queue { items: VecDeque::new(), bytes: 0, missed: 0, closed: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), wake: Notify::new() });
        self.lock().push(Arc::downgrade(&shared));
        Subscriber(shared)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Shared<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        for shared in self.lock().iter().filter_map(Weak::upgrade) {
            shared.lock().closed = true;
            shared.wake.notify_one();
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_subscriber_loses_the_oldest_and_is_told_how_many() {
        let feed = Feed::new();
        let (mut slow, mut quick) = (feed.subscribe(), feed.subscribe());
        for n in 0..ITEMS_MAX + 3 {
            feed.publish(&n, 1);
            assert_eq!(quick.next().await, Some(Heard::Item(n)));
        }
        assert_eq!(slow.next().await, Some(Heard::Missed(3)));
        assert_eq!(slow.next().await, Some(Heard::Item(3)));
        drop(feed);
        assert_eq!(quick.next().await, None);
        let mut left = 0;
        while slow.next().await.is_some() {
            left += 1;
        }
        assert_eq!(left, ITEMS_MAX - 1);
    }

    #[tokio::test]
    async fn heavy_items_are_bounded_by_their_weight() {
        let feed = Feed::new();
        let mut slow = feed.subscribe();
        for n in 0..5 {
            feed.publish(&n, BYTES_MAX / 2);
        }
        assert_eq!(slow.next().await, Some(Heard::Missed(3)));
        assert_eq!(slow.next().await, Some(Heard::Item(3)));
        feed.publish(&5, BYTES_MAX * 2);
        assert_eq!(slow.next().await, Some(Heard::Missed(1)));
        assert_eq!(slow.next().await, Some(Heard::Item(5)), "one item is always kept");
    }
}
