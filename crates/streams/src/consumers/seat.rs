//! Where a share sits while this node has it, or tries to: how to ask it something, to stop it, and what it counted.

use super::pull::{Acked, Outcome, Taken, Token};
use super::status::Counts;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{mpsc, oneshot, watch};

/// Questions that may wait at a share.
const ASKS_MAX: usize = 64;

/// What is asked of a share at work.
pub(super) enum Ask {
    /// To look at once whether somebody moved it.
    Look,
    /// To give out messages.
    Take { limit: usize, reply: oneshot::Sender<Vec<Taken>> },
    /// To take note of what became of one.
    Ack { token: Token, outcome: Outcome, reply: oneshot::Sender<Acked> },
}

/// A share's seat on this node.
pub(super) struct Seat {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) stop: watch::Sender<bool>,
    /// Whether it has its lease.
    pub(super) holds: AtomicBool,
    pub(super) counts: Arc<Counts>,
    /// Of the consumer that it works for, as that was when it began.
    pub(super) etag: i64,
}

impl Seat {
    /// A seat, and the questions to whoever sits there.
    pub(super) fn new(etag: i64, counts: Arc<Counts>) -> (Arc<Self>, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let stop = watch::Sender::new(false);
        (Arc::new(Self { asks, stop, holds: AtomicBool::new(false), counts, etag }), asked)
    }
}
