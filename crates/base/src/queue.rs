//! Bounded queues between tasks. Every queue has a written limit; what does not fit is either waited for
//! or dropped and counted, never kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// A queue of at most `limit` items, from many senders to one receiver.
pub fn bounded<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(limit);
    let dropped = Arc::new(AtomicU64::new(0));
    (Sender { sender, dropped: dropped.clone() }, Receiver { receiver, dropped })
}

/// The end that puts in.
#[derive(Debug)]
pub struct Sender<T> {
    sender: mpsc::Sender<T>,
    dropped: Arc<AtomicU64>,
}

/// The end that takes out.
#[derive(Debug)]
pub struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
    dropped: Arc<AtomicU64>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), dropped: self.dropped.clone() }
    }
}

impl<T> Sender<T> {
    /// Puts an item in, or drops and counts it when the queue is full or nobody takes out any more.
    /// Never waits. Answers whether it went in.
    pub fn offer(&self, item: T) -> bool {
        let fits = self.sender.try_send(item).is_ok();
        if !fits {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// Puts an item in, waiting for room. Gives it back when nobody takes out any more.
    pub async fn put(&self, item: T) -> Result<(), T> {
        self.sender.send(item).await.map_err(|e| e.0)
    }

    /// How many items were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` when all senders are gone and the queue is empty.
    pub async fn take(&mut self) -> Option<T> {
        self.receiver.recv().await
    }

    /// [`Receiver::take`] for streams that are polled.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.receiver.poll_recv(cx)
    }

    /// The next item if one is there now.
    pub fn try_take(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// How many items were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted() {
        let (sender, mut receiver) = super::bounded(2);
        assert!(sender.offer(1) && sender.offer(2) && !sender.offer(3));
        assert_eq!(sender.dropped(), 1);
        assert_eq!(
            (receiver.take().await, receiver.try_take(), receiver.try_take()),
            (Some(1), Some(2), None)
        );
        drop(receiver);
        assert_eq!(sender.put(4).await, Err(4));
    }
}
