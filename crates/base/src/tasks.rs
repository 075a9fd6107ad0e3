//! Anything long-lived is a task with a name, a parent and a policy for errors. Stopping is asking the
//! scope to stop and waiting until the deadline; what has not ended by then is cut off and named.

use crate::{Clock, Fault, Kind};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens when a task ends with an error or panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It is said, and the task stays ended.
    Report,
    /// It is said, and the task begins anew after a pause that doubles from 100 ms to 10 s.
    Restart,
    /// It is said, and the whole scope stops.
    Stop,
}

/// How a task ended, for whoever listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEnd {
    /// The task's name.
    pub task: String,
    /// What went wrong.
    pub error: String,
    /// What was done about it.
    pub policy: OnError,
}

type Listener = Arc<dyn Fn(TaskEnd) + Send + Sync>;

/// A parent of tasks. Clones are the same scope.
#[derive(Clone)]
pub struct Scope {
    clock: Clock,
    stop: Arc<watch::Sender<bool>>,
    listener: Listener,
    running: Arc<Mutex<Vec<Running>>>,
}

/// A task by its name.
type Running = (String, JoinHandle<()>);

impl Scope {
    /// A scope whose tasks' errors are told to `listener`.
    pub fn new(clock: Clock, listener: impl Fn(TaskEnd) + Send + Sync + 'static) -> Self {
        let (stop, _) = watch::channel(false);
        Self { clock, stop: Arc::new(stop), listener: Arc::new(listener), running: Arc::default() }
    }

    /// Starts a task on the runtime this is called in. `run` is called again for a restart.
    pub fn spawn<F, R>(&self, name: impl Into<String>, policy: OnError, mut run: F)
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let name = name.into();
        let scope = self.clone();
        let task = name.clone();
        let handle = tokio::spawn(async move {
            let mut pause = Duration::from_millis(100);
            loop {
                // A task of its own, so that a panic ends in an error here and nowhere else.
                let mut inner = Abort(tokio::spawn(run()));
                let error = tokio::select! {
                    end = &mut inner.0 => match end {
                        Ok(Err(fault)) => fault.to_string(),
                        Err(join) if join.is_panic() => panic_text(join.into_panic().as_ref()),
                        // Done, or cut off by whoever stops us.
                        Ok(Ok(())) | Err(_) => return,
                    },
                    // Asked to stop: the task may still end by itself until `stop` gives up on it.
                    () = scope.stopping() => {
                        let _ = (&mut inner.0).await;
                        return;
                    }
                };
                (scope.listener)(TaskEnd { task: task.clone(), error, policy });
                match policy {
                    OnError::Report => return,
                    OnError::Stop => {
                        scope.stop.send_replace(true);
                        return;
                    }
                    OnError::Restart => {
                        tokio::select! {
                            () = scope.clock.sleep(pause) => {}
                            () = scope.stopping() => return,
                        }
                        pause = (pause * 2).min(Duration::from_secs(10));
                    }
                }
            }
        });
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(_, handle)| !handle.is_finished());
        running.push((name, handle));
    }

    /// Starts a task that can't begin anew: `policy` is [`OnError::Report`] or [`OnError::Stop`].
    pub fn spawn_once<R>(&self, name: impl Into<String>, policy: OnError, run: R)
    where
        R: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let mut run = Some(run);
        self.spawn(name, policy, move || {
            let run = run.take();
            async move {
                match run {
                    Some(run) => run.await,
                    None => Err(Fault::new(Kind::Bug, "this task runs once")),
                }
            }
        });
    }

    /// Waits until the scope is asked to stop; at once if it was already.
    pub async fn stopping(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in `self`, so this can't fail while we wait.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Whether the scope was asked to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Asks every task to stop, without waiting.
    pub fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Asks every task to stop and waits for them until `grace` has passed; then cuts them off. Answers
    /// the names of those cut off.
    pub async fn stop(&self, grace: Duration) -> Vec<String> {
        self.ask_to_stop();
        let mut running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = self.clock.sleep(grace);
        tokio::pin!(deadline);
        let mut late = Vec::new();
        for (name, handle) in &mut running {
            tokio::select! {
                biased;
                _ = &mut *handle => {}
                () = &mut deadline => {
                    handle.abort();
                    late.push(name.clone());
                    break;
                }
            }
        }
        // The deadline has passed for all the others too.
        if !late.is_empty() {
            for (name, handle) in &running {
                if !handle.is_finished() && !late.contains(name) {
                    handle.abort();
                    late.push(name.clone());
                }
            }
        }
        late
    }
}

/// Aborts its task when dropped: a cut-off parent takes its child along.
struct Abort(JoinHandle<Result<(), Fault>>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnixTime;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn scope() -> (Scope, crate::ClockHand, Arc<Mutex<Vec<TaskEnd>>>) {
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        let told: Arc<Mutex<Vec<TaskEnd>>> = Arc::default();
        let listener = told.clone();
        (Scope::new(clock, move |end| listener.lock().unwrap().push(end)), hand, told)
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_failing_task_begins_anew_after_a_pause() {
        let (scope, hand, told) = scope();
        let runs = Arc::new(AtomicU32::new(0));
        let count = runs.clone();
        scope.spawn("flaky", OnError::Restart, move || {
            let run = count.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(run != 1, "second run panics");
                if run == 0 { Err(Fault::new(Kind::Io, "first run fails")) } else { Ok(()) }
            }
        });
        settle().await;
        assert_eq!(runs.load(Ordering::Relaxed), 1, "waits before it begins anew");
        for _ in 0..3 {
            hand.advance(Duration::from_secs(1));
            settle().await;
        }
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        let errors: Vec<_> = told.lock().unwrap().iter().map(|end| end.error.clone()).collect();
        assert_eq!(errors, ["first run fails", "panicked: second run panics"]);
    }

    #[tokio::test]
    async fn a_task_that_must_not_fail_stops_the_scope() {
        let (scope, _hand, _) = scope();
        scope.spawn("vital", OnError::Stop, || async { Err(Fault::new(Kind::Bug, "gone")) });
        scope.stopping().await;
        assert!(scope.is_stopping());
    }

    #[tokio::test]
    async fn stopping_waits_until_the_deadline_and_names_the_late() {
        let (scope, hand, _) = scope();
        let polite = scope.clone();
        scope.spawn("polite", OnError::Report, move || {
            let scope = polite.clone();
            async move {
                scope.stopping().await;
                Ok(())
            }
        });
        scope.spawn("deaf", OnError::Report, std::future::pending);
        let stopping = tokio::spawn(async move { scope.stop(Duration::from_secs(5)).await });
        settle().await;
        assert!(!stopping.is_finished());
        hand.advance(Duration::from_secs(6));
        assert_eq!(stopping.await.unwrap(), ["deaf"]);
    }
}
