//! How long a connection of a client lives: while requests are under way, for the idle time after the last
//! one, and in a drain until they have been answered. The same for every engine that frames the bytes.

use super::{Drain, Limits};
use crate::Response;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a drain waits for the first request of a connection that has sent none: it may be on its way.
pub(crate) const FIRST_REQUEST_WAIT: Duration = Duration::from_millis(250);

/// How long a connection on which nothing is under way may take to end when it is told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is under way on one connection.
#[derive(Default)]
pub(super) struct Activity {
    /// Requests whose response has not passed whole.
    busy: AtomicUsize,
    /// Requests so far.
    total: AtomicU64,
}

impl Activity {
    /// A request has come; it is under way until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// Marks a request as under way until dropped.
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps `busy` until the body has passed; a response whose body is there already need not be watched.
pub(super) fn watched(response: Response, busy: Busy) -> Response {
    if response.body().exact_len().is_some_and(|len| len < 16 << 10) {
        return response;
    }
    response.map(|body| body.with_tail(Box::new(move |_, _| drop(busy))))
}

/// Runs an engine to its end; `wind_down` tells it to take no more requests and to end after those it has.
pub(super) async fn live<E: Future>(
    engine: E,
    wind_down: impl Fn(Pin<&mut E>),
    activity: &Activity,
    limits: &Limits,
    mut drain: Drain,
) {
    let mut engine = pin!(engine);
    let mut seen = 0;
    let mut timer = pin!(tokio::time::sleep(limits.idle_timeout));
    let (mut draining, mut told) = (false, false);
    loop {
        tokio::select! {
            biased;
            // Errors are the connection's end: whatever request they belong to was told by its body.
            _ = engine.as_mut() => return,
            () = drain.begun(), if !draining => {
                draining = true;
                if activity.total() == 0 {
                    // The engine would close at once, though a first request may be on its way.
                    timer.as_mut().reset(Instant::now() + FIRST_REQUEST_WAIT);
                } else {
                    wind_down(engine.as_mut());
                    told = true;
                    timer.as_mut().reset(Instant::now() + FAREWELL);
                }
            }
            () = timer.as_mut() => {
                let total = activity.total();
                let idle = !activity.is_busy() && (told || draining || total == seen);
                // An engine waits for a first request even when it is told to end, and HTTP/2 for an answer.
                if idle && (told || total == 0) {
                    return;
                }
                if idle || draining {
                    wind_down(engine.as_mut());
                    told = true;
                }
                seen = total;
                let wait = if told { FAREWELL } else { limits.idle_timeout };
                timer.as_mut().reset(Instant::now() + wait);
            }
        }
    }
}
