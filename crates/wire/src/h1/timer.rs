//! One timer for all waits of a connection. A later time is only noted and the timer set anew when it fires,
//! so a request that goes well sets no timer at all.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};

pub(super) struct Timer {
    due: Instant,
    /// Fires at `due` or before; made by the first wait.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether always the same task waits.
    steady: bool,
    /// Who is woken when it fires, as far as that is known.
    wakes: Option<Waker>,
}

impl Timer {
    pub(super) fn new(due: Instant) -> Self {
        Self { due, sleep: None, steady: false, wakes: None }
    }

    /// The same for one task that waits again and again: the runtime is told once whom to wake.
    pub(super) fn of_one_task(due: Instant) -> Self {
        Self { steady: true, ..Self::new(due) }
    }

    /// Waits until this time from now on.
    pub(super) fn set(&mut self, due: Instant) {
        self.due = due;
        if let Some(sleep) = &mut self.sleep
            && due < sleep.deadline()
        {
            sleep.as_mut().reset(due);
            self.wakes = None;
        }
    }

    /// Ready when the time has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if !sleep.is_elapsed() && self.wakes.as_ref().is_some_and(|wakes| wakes.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.wakes = None;
        loop {
            // A task that has done much in one turn would be put off instead, and the timer told of nobody.
            if Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx).is_pending() {
                if self.steady {
                    self.wakes = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
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
    use std::pin::pin;
    use std::time::Duration;
    use tokio::task::consume_budget;

    #[tokio::test(start_paused = true)]
    async fn a_time_may_be_moved_both_ways() {
        for make in [Timer::new, Timer::of_one_task] {
            let begun = Instant::now();
            let after = |seconds| begun + Duration::from_secs(seconds);
            let mut timer = make(after(10));
            let early = poll_fn(|cx| Poll::Ready([timer.poll(cx), timer.poll(cx)])).await;
            assert!(early.iter().all(Poll::is_pending));
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

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_done_much_in_one_turn_is_woken_as_well() {
        for make in [Timer::new, Timer::of_one_task] {
            let begun = Instant::now();
            let mut timer = make(begun + Duration::from_secs(10));
            let waits = tokio::spawn(async move {
                poll_fn(|cx| {
                    while pin!(consume_budget()).poll(cx).is_ready() {}
                    assert!(timer.poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                poll_fn(|cx| timer.poll(cx)).await;
            });
            tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it fires").unwrap();
            assert_eq!(begun.elapsed().as_secs(), 10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_task_that_waits_is_the_one_that_is_woken() {
        for make in [Timer::new, Timer::of_one_task] {
            let begun = Instant::now();
            let mut timer = make(begun + Duration::from_secs(10));
            let _ = poll_fn(|cx| Poll::Ready(timer.poll(cx))).await;
            tokio::spawn(async move { poll_fn(|cx| timer.poll(cx)).await }).await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), 10);
        }
    }
}
