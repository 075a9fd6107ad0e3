//! Wakes who waits for new messages, without polling. Only scopes that somebody watches cost anything.

use crate::{Scope, names};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Who waits for what. An engine holds one and tells it of each message that became visible.
#[derive(Debug, Default)]
pub struct Wakes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Watches there are; while it is 0, an append costs one look at it.
    watches: AtomicUsize,
    scopes: Mutex<Scopes>,
}

#[derive(Debug, Default)]
struct Scopes {
    all: Option<watch::Sender<i64>>,
    categories: HashMap<String, watch::Sender<i64>>,
    streams: HashMap<String, watch::Sender<i64>>,
}

impl Shared {
    fn scopes(&self) -> MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wakes {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells of new messages in this scope from now on.
    pub fn watch(&self, scope: Scope) -> Watch {
        let subscribe = |sender: &watch::Sender<i64>| sender.subscribe();
        let fresh = || watch::Sender::new(0);
        let mut scopes = self.0.scopes();
        let receiver = match &scope {
            Scope::All => subscribe(scopes.all.get_or_insert_with(fresh)),
            Scope::Category(name) => subscribe(scopes.categories.entry(name.clone()).or_insert_with(fresh)),
            Scope::Stream(name) => subscribe(scopes.streams.entry(name.clone()).or_insert_with(fresh)),
        };
        self.0.watches.fetch_add(1, Ordering::SeqCst);
        Watch { scope, receiver: Some(receiver), shared: self.0.clone() }
    }

    /// Tells of messages that just became visible: the stream and global position of each.
    pub fn appended<'a>(&self, messages: impl Iterator<Item = (&'a str, i64)>) {
        if self.0.watches.load(Ordering::SeqCst) == 0 {
            return;
        }
        let scopes = self.0.scopes();
        let mut head = None;
        for (stream, global_position) in messages {
            head = Some(global_position);
            if let Some(sender) = scopes.categories.get(names::category(stream)) {
                sender.send_replace(global_position);
            }
            if let Some(sender) = scopes.streams.get(stream) {
                sender.send_replace(global_position);
            }
        }
        if let (Some(sender), Some(head)) = (&scopes.all, head) {
            sender.send_replace(head);
        }
    }

    /// Tells of a message that became visible in its stream, and may not yet be among all messages.
    pub(crate) fn appended_to(&self, stream: &str) {
        if self.0.watches.load(Ordering::SeqCst) == 0 {
            return;
        }
        let scopes = self.0.scopes();
        let of = [scopes.categories.get(names::category(stream)), scopes.streams.get(stream)];
        for sender in of.into_iter().flatten() {
            sender.send_modify(|_| {});
        }
    }

    /// Tells that there are more among all messages.
    pub(crate) fn all(&self, head: i64) {
        if let Some(sender) = &self.0.scopes().all {
            sender.send_replace(head);
        }
    }

    /// Whether anybody waits for all messages.
    pub(crate) fn is_all_watched(&self) -> bool {
        self.0.scopes().all.is_some()
    }

    /// Wakes everybody, as an engine does that may have missed something.
    pub fn everybody(&self) {
        let scopes = self.0.scopes();
        for sender in scopes.all.iter().chain(scopes.categories.values()).chain(scopes.streams.values()) {
            sender.send_modify(|_| {});
        }
    }
}

/// Tells of new messages in one scope.
#[derive(Debug)]
pub struct Watch {
    scope: Scope,
    /// Only `None` while it is dropped.
    receiver: Option<watch::Receiver<i64>>,
    shared: Arc<Shared>,
}

impl Watch {
    /// Waits until there was a new message since the watch began or since this last answered. Answers at
    /// once, and once, for any number of messages that came in between.
    pub async fn changed(&mut self) {
        match &mut self.receiver {
            // The sender stays while there is a watch, so this can't fail.
            Some(receiver) => drop(receiver.changed().await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut scopes = self.shared.scopes();
        self.receiver = None;
        self.shared.watches.fetch_sub(1, Ordering::SeqCst);
        let unwatched = |sender: &watch::Sender<i64>| sender.receiver_count() == 0;
        match &self.scope {
            Scope::All => drop(scopes.all.take_if(|sender| unwatched(sender))),
            Scope::Category(name) => {
                if scopes.categories.get(name).is_some_and(unwatched) {
                    scopes.categories.remove(name);
                }
            }
            Scope::Stream(name) => {
                if scopes.streams.get(name).is_some_and(unwatched) {
                    scopes.streams.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_woken(watch: &mut Watch) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let changed = pin!(watch.changed());
        changed.poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn only_who_watches_what_was_appended_is_woken_and_once() {
        let wakes = Wakes::new();
        let mut watches = [
            Scope::All,
            Scope::Category("a".into()),
            Scope::Category("b".into()),
            Scope::Stream("a-1".into()),
            Scope::Stream("a-2".into()),
        ]
        .map(|scope| wakes.watch(scope));
        assert_eq!(watches.each_mut().map(is_woken), [false; 5]);
        wakes.appended([("a-1", 1), ("c", 2), ("a-1", 3)].into_iter());
        assert_eq!(watches.each_mut().map(is_woken), [true, true, false, true, false]);
        assert_eq!(watches.each_mut().map(is_woken), [false; 5]);
        wakes.everybody();
        assert_eq!(watches.each_mut().map(is_woken), [true; 5]);
    }

    #[test]
    fn what_nobody_watches_any_more_is_forgotten() {
        let wakes = Wakes::new();
        let mut second = wakes.watch(Scope::Category("a".into()));
        for number in 0..1000 {
            drop(wakes.watch(Scope::Category("a".into())));
            drop(wakes.watch(Scope::Stream(format!("a-{number}"))));
            drop(wakes.watch(Scope::All));
        }
        {
            let scopes = wakes.0.scopes();
            let left = (scopes.all.is_some(), scopes.categories.len(), scopes.streams.len());
            assert_eq!(left, (false, 1, 0));
        }
        wakes.appended([("a-1", 1)].into_iter());
        assert!(is_woken(&mut second));
    }
}
