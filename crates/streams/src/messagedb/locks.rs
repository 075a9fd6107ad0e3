//! Message DB's lock of a category, which a transaction that writes holds to its end. A statement that writes by
//! itself only waits for such transactions and shares the lock with its like: the store puts them in order, and
//! so one synchronisation of the disk serves many of them.

use super::error::{Sql, SqlError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// All locks of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locks(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    categories: HashMap<String, Category>,
    /// Which session waits for which category.
    waiting: HashMap<i32, String>,
}

#[derive(Debug, Default)]
struct Category {
    lock: Arc<RwLock<()>>,
    /// The session that holds it alone.
    holder: Option<i32>,
    /// Sessions that hold it or wait for it.
    users: usize,
}

/// A lock that is held, alone or with others, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    locks: Locks,
    category: String,
    guard: Option<Guard>,
}

#[derive(Debug)]
enum Guard {
    Alone { _guard: OwnedRwLockWriteGuard<()> },
    Shared { _guard: OwnedRwLockReadGuard<()> },
}

impl Locks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a session holds the lock alone. Fails with `40P01` where it would wait for itself.
    pub(crate) async fn alone(&self, category: &str, session: i32) -> Sql<Held> {
        let (mut held, lock) = self.enter(category);
        if let Ok(guard) = lock.clone().try_write_owned() {
            held.guard = Some(Guard::Alone { _guard: guard });
        } else {
            let _waiting = self.wait(category, session)?;
            held.guard = Some(Guard::Alone { _guard: lock.write_owned().await });
        }
        if let Some(entry) = self.state().categories.get_mut(category) {
            entry.holder = Some(session);
        }
        Ok(held)
    }

    /// Waits until no session holds the lock alone, and keeps it so.
    pub(crate) async fn shared(&self, category: &str) -> Held {
        let (mut held, lock) = self.enter(category);
        held.guard = Some(Guard::Shared { _guard: lock.read_owned().await });
        held
    }

    fn enter(&self, category: &str) -> (Held, Arc<RwLock<()>>) {
        let mut state = self.state();
        let entry = match state.categories.get_mut(category) {
            Some(entry) => entry,
            None => state.categories.entry(category.to_owned()).or_default(),
        };
        entry.users += 1;
        (Held { locks: self.clone(), category: category.to_owned(), guard: None }, entry.lock.clone())
    }

    /// Notes who waits for what, unless that would never end.
    fn wait(&self, category: &str, session: i32) -> Sql<Waiting> {
        let mut state = self.state();
        let mut wanted = category;
        // Each step is another waiting session, so this ends.
        for _ in 0..=state.waiting.len() {
            let Some(holder) = state.categories.get(wanted).and_then(|entry| entry.holder) else { break };
            if holder == session {
                return Err(SqlError::new("40P01", "deadlock detected")
                    .hint("take the locks of several categories in the same order everywhere"));
            }
            match state.waiting.get(&holder) {
                Some(next) => wanted = next,
                None => break,
            }
        }
        state.waiting.insert(session, category.to_owned());
        Ok(Waiting { locks: self.clone(), session })
    }
}

/// A session that waits, until this is dropped.
struct Waiting {
    locks: Locks,
    session: i32,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.locks.state().waiting.remove(&self.session);
    }
}

impl Held {
    /// The category.
    pub(crate) fn category(&self) -> &str {
        &self.category
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.locks.state();
        if let Some(entry) = state.categories.get_mut(&self.category) {
            if matches!(self.guard, Some(Guard::Alone { .. })) {
                entry.holder = None;
            }
            entry.users -= 1;
            if entry.users == 0 {
                state.categories.remove(&self.category);
            }
        }
        drop(state);
        self.guard = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: &mut std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn a_transaction_keeps_others_out_of_its_category_only() {
        let locks = Locks::default();
        let held = locks.alone("a", 1).await.unwrap();
        let mut second = pin!(locks.alone("a", 2));
        let mut writer = pin!(locks.shared("a"));
        assert!(poll(&mut second).is_pending() && poll(&mut writer).is_pending());
        drop(locks.alone("b", 2).await.unwrap());
        assert_eq!(held.category(), "a");
        drop(held);
        let Poll::Ready(Ok(held)) = poll(&mut second) else { panic!("the lock is free") };
        assert!(poll(&mut writer).is_pending());
        drop(held);
        assert!(poll(&mut writer).is_ready());
    }

    #[tokio::test]
    async fn single_writers_do_not_wait_for_each_other() {
        let locks = Locks::default();
        let (first, second) = (locks.shared("a").await, locks.shared("a").await);
        drop((first, second));
        assert!(locks.state().categories.is_empty(), "what nobody uses is forgotten");
    }

    #[tokio::test]
    async fn who_would_wait_for_itself_is_told() {
        let locks = Locks::default();
        let first = locks.alone("a", 1).await.unwrap();
        let _second = locks.alone("b", 2).await.unwrap();
        {
            let mut waits = pin!(locks.alone("b", 1));
            assert!(poll(&mut waits).is_pending());
            assert_eq!(locks.alone("a", 2).await.unwrap_err().code, "40P01");
        }
        // The first gave up, so the second may wait.
        let mut waits = pin!(locks.alone("a", 2));
        assert!(poll(&mut waits).is_pending());
        drop(first);
        assert!(poll(&mut waits).is_ready());
        assert!(locks.state().waiting.is_empty());
    }
}
