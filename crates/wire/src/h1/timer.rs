//! One timer for all waits of a connection. A later time is only noted and the timer set anew when it fires,
//! so a request that goes well sets no timer at all.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep};

pub(super) struct Timer {
    due: Instant,
    /// Fires at `due` or before; made by the first wait.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn new(due: Instant) -> Self {
        Self { due, sleep: None }
    }

    /// Waits until this time from now on.
    pub(super) fn set(&mut self, due: Instant) {
        self.due = due;
        if let Some(sleep) = &mut self.sleep
            && due < sleep.deadline()
        {
            sleep.as_mut().reset(due);
        }
    }

    /// Ready when the time has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_time_may_be_moved_both_ways() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut timer = Timer::new(after(10));
        let early = poll_fn(|cx| Poll::Ready(timer.poll(cx))).await;
        assert!(early.is_pending());
        timer.set(after(30));
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 30);
        timer.set(after(90));
        let _ = poll_fn(|cx| Poll::Ready(timer.poll(cx))).await;
        timer.set(after(40));
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 40);
    }
}
