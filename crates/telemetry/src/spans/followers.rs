//! Who hears of spans as they come in, such as to send them on: each has a queue of its own, bounded in bytes. What
//! does not fit is counted and left out; nobody waits for a follower.

use super::Span;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::mpsc;

/// Those who hear of spans.
#[derive(Debug, Default)]
pub(super) struct Followers {
    count: AtomicUsize,
    list: RwLock<Vec<Arc<Door>>>,
}

/// The way to one of them.
#[derive(Debug)]
struct Door {
    sender: mpsc::UnboundedSender<(Vec<Span>, usize)>,
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    bytes: AtomicUsize,
    bytes_max: usize,
    dropped: AtomicU64,
}

/// Hears of spans that come in. Dropping it ends that.
#[derive(Debug)]
pub struct Follower {
    receiver: mpsc::UnboundedReceiver<(Vec<Span>, usize)>,
    queue: Arc<Queue>,
}

impl Followers {
    /// One more, of whose spans so many bytes may wait.
    pub(super) fn follow(&self, bytes_max: usize) -> Follower {
        // Bounded by its bytes, which are asked for first.
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Arc::new(Queue { bytes: AtomicUsize::new(0), bytes_max, dropped: AtomicU64::new(0) });
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.retain(|door| !door.sender.is_closed());
        list.push(Arc::new(Door { sender, queue: queue.clone() }));
        self.count.store(list.len(), Ordering::Release);
        Follower { receiver, queue }
    }

    /// Tells of spans that came in, together so many bytes.
    pub(super) fn tell(&self, spans: &[Span], weight: usize) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        for door in list.iter().filter(|door| !door.sender.is_closed()) {
            let waiting = door.queue.bytes.fetch_add(weight, Ordering::Relaxed);
            let fits = waiting == 0 || waiting + weight <= door.queue.bytes_max;
            if !fits || door.sender.send((spans.to_vec(), weight)).is_err() {
                door.queue.bytes.fetch_sub(weight, Ordering::Relaxed);
                door.queue.dropped.fetch_add(spans.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

impl Followers {
    /// Nothing more comes: followers take what waits, and end.
    pub(super) fn end(&self) {
        self.list.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.count.store(0, Ordering::Release);
    }
}

impl Follower {
    /// The next spans. `None` when nothing more comes.
    pub async fn next(&mut self) -> Option<Vec<Span>> {
        let (spans, weight) = self.receiver.recv().await?;
        self.queue.bytes.fetch_sub(weight, Ordering::Relaxed);
        Some(spans)
    }

    /// The next spans, if some wait.
    pub fn try_next(&mut self) -> Option<Vec<Span>> {
        let (spans, weight) = self.receiver.try_recv().ok()?;
        self.queue.bytes.fetch_sub(weight, Ordering::Relaxed);
        Some(spans)
    }

    /// How many spans did not fit so far.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: u64) -> Span {
        Span { id, name: "get".into(), ..Span::default() }
    }

    #[tokio::test]
    async fn each_follower_hears_of_what_fits_and_what_does_not_is_counted() {
        let followers = Followers::default();
        followers.tell(&[span(1)], 100);
        let (mut slow, mut quick) = (followers.follow(250), followers.follow(250));
        for id in 2..6 {
            followers.tell(&[span(id)], 100);
            assert_eq!(quick.next().await.unwrap()[0].id, id);
        }
        assert_eq!((slow.dropped(), quick.dropped()), (2, 0));
        assert_eq!((slow.next().await.unwrap()[0].id, slow.next().await.unwrap()[0].id), (2, 3));
        assert!(slow.try_next().is_none());
        // One that is larger than the bound is taken when nothing else waits.
        followers.tell(&[span(6), span(7)], 1_000);
        assert_eq!(slow.try_next().unwrap().len(), 2);
        drop((slow, quick));
        followers.tell(&[span(8)], 100);
        drop(followers.follow(1));
        assert_eq!(followers.list.read().unwrap().len(), 1, "those that have gone are forgotten");
    }
}
