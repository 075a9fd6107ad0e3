//! Who counts into which part: a worker's thread has parts of its own, into which nobody else writes, so that a
//! count is a plain addition; all other threads share one more part and add to it atomically.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    /// The number of the worker that this thread is.
    static WORKER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How counts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// By this thread alone.
    Only,
    /// By others as well.
    OneOfMany,
}

impl Writer {
    pub(super) fn add(self, count: &AtomicU64, more: u64) {
        match self {
            Writer::Only => count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed),
            Writer::OneOfMany => {
                count.fetch_add(more, Ordering::Relaxed);
            }
        }
    }
}

/// This thread is worker number `number` of its process from now on, and no other thread is.
pub(crate) fn this_thread_is(number: usize) {
    WORKER.set(Some(number));
}

/// The number of the worker that this thread is.
pub(super) fn worker() -> Option<usize> {
    WORKER.get()
}
