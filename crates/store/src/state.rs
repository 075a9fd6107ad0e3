//! Small state beside the messages: keys and values with etags and a time to live, leases with fencing tokens,
//! timers that fire at least once. [`State`] is the handle; what keeps it is a [`StateEngine`] behind it.

mod sqlite;

use crate::Answer;
use base::{Fault, Kind};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub use sqlite::Sqlite;

/// The written limits of small state.
pub mod bounds {
    /// Bytes of a key, of the name of a lease or of a holder.
    pub const NAME_BYTES_MAX: usize = 2_048;
    /// Bytes of the name of a space. With a key it has to fit an index of PostgreSQL, which ends at about 2,700.
    pub const SPACE_BYTES_MAX: usize = 512;
    /// Bytes of a value, or of what a timer carries.
    pub const VALUE_BYTES_MAX: usize = 4 << 20;
    /// Changes that are made together.
    pub const CHANGES_MAX: usize = 1_000;
    /// Entries of one list, and timers taken at once.
    pub const LIST_MAX: usize = 10_000;
}

/// Small state. Cheap to clone; clones are the same state.
#[derive(Clone)]
pub struct State(Arc<dyn StateEngine>);

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

/// The name of a value: keys of one space know nothing of another's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose keys these are, such as the name of an application.
    pub space: String,
    /// The key in its space.
    pub key: String,
}

impl Key {
    /// A key of a space.
    pub fn new(space: impl Into<String>, key: impl Into<String>) -> Self {
        Self { space: space.into(), key: key.into() }
    }
}

/// A value as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What is kept.
    pub bytes: Vec<u8>,
    /// Changes with each change of the value, and never comes again, not even after the key was deleted.
    pub etag: i64,
    /// When it goes, in microseconds since the epoch.
    pub expires: Option<i64>,
}

/// What has to hold for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// There is no value.
    Absent,
    /// The value has this etag.
    Etag(i64),
}

/// A change of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which value.
    pub key: Key,
    /// What has to hold.
    pub condition: Condition,
    /// The value to come; `None` deletes it.
    pub value: Option<Vec<u8>>,
    /// When the value goes by itself, counted from now.
    pub ttl: Option<Duration>,
}

impl Change {
    /// Keeps a value, whatever was there.
    pub fn set(key: Key, value: impl Into<Vec<u8>>) -> Self {
        Self { key, condition: Condition::Any, value: Some(value.into()), ttl: None }
    }

    /// Deletes a value, if it is there.
    pub fn delete(key: Key) -> Self {
        Self { key, condition: Condition::Any, value: None, ttl: None }
    }

    /// Only if this holds.
    pub fn when(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Only for so long.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// Why no change was made.
#[derive(Debug)]
pub enum ChangeError {
    /// A condition does not hold.
    Conflict {
        /// Of which value.
        key: Key,
        /// The etag that it has; `None` where there is no value.
        actual: Option<i64>,
    },
    /// Beyond a limit in [`bounds`], or the state could not keep it.
    Failed(Fault),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { key, actual: Some(etag) } => {
                write!(f, "the value of `{}` has etag `{etag}` now", key.key)
            }
            Self::Conflict { key, actual: None } => write!(f, "there is no value of `{}`", key.key),
            Self::Failed(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for ChangeError {}

impl From<ChangeError> for Fault {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Failed(fault) => fault,
            conflict @ ChangeError::Conflict { .. } => Fault::new(Kind::Conflict, conflict.to_string()),
        }
    }
}

/// Who holds what, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: String,
    /// Grows whenever the holder changes or begins anew: who writes with a token that is not the largest seen has
    /// lost the lease meanwhile.
    pub token: i64,
    /// In microseconds since the epoch.
    pub until: i64,
}

/// Something to be done at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its name; setting it again replaces it.
    pub key: Key,
    /// When, in microseconds since the epoch.
    pub due: i64,
    /// How long after that again, and again; `None` for once.
    pub every: Option<Duration>,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// A timer that is due, in the hands of whoever took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTimer {
    /// The timer.
    pub timer: Timer,
    /// Says at the end which taking is meant.
    pub token: i64,
}

/// Keeps small state. What it answers is durable.
pub trait StateEngine: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: Key) -> Answer<'_, Option<Value>>;

    /// The keys of a space that begin so and come behind this one, with their values, in the order of their
    /// bytes.
    fn list(
        &self,
        space: String,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Vec<(Key, Value)>>;

    /// How many keys of a space begin so, counted up to `limit`.
    fn count(&self, space: String, prefix: String, limit: usize) -> Answer<'_, usize>;

    /// Makes all changes or none. Answers the etag of each, 0 for one that was deleted.
    fn apply(&self, changes: Vec<Change>) -> Answer<'_, Vec<i64>, ChangeError>;

    /// Takes a lease, or prolongs it for who holds it already. The lease as it stands then: it is the
    /// caller's if the holder is.
    fn acquire(&self, name: String, holder: String, hold: Duration) -> Answer<'_, Lease>;

    /// Gives a lease back, if this is its token. Answers whether it was.
    fn release(&self, name: String, token: i64) -> Answer<'_, bool>;

    /// The lease as it stands; `None` where nobody holds it.
    fn lease(&self, name: String) -> Answer<'_, Option<Lease>>;

    /// Sets a timer, in place of any of its name.
    fn set_timer(&self, timer: Timer) -> Answer<'_, ()>;

    /// Takes a timer away. Answers whether it was there.
    fn cancel_timer(&self, key: Key) -> Answer<'_, bool>;

    /// Takes timers of a space that are due, the earliest first. One that is not finished within `hold` is due
    /// again.
    fn take_due(&self, space: String, limit: usize, hold: Duration) -> Answer<'_, Vec<DueTimer>>;

    /// Says that what a timer asked for was done. Answers `false` where it had been taken again, set again or
    /// cancelled meanwhile.
    fn finish_timer(&self, key: Key, token: i64) -> Answer<'_, bool>;

    /// When the next timer of a space can be taken, in microseconds since the epoch.
    fn next_due(&self, space: String) -> Answer<'_, Option<i64>>;

    /// Makes sure that nothing of what was deleted can be read from the state's files any more.
    fn scrub(&self) -> Answer<'_, ()>;

    /// Changes whenever a timer was set.
    fn timers_set(&self) -> watch::Receiver<u64>;
}

impl State {
    /// State over this engine.
    pub fn new(engine: impl StateEngine) -> Self {
        Self(Arc::new(engine))
    }

    /// State over an engine that others hold, too.
    pub fn of(engine: Arc<dyn StateEngine>) -> Self {
        Self(engine)
    }

    /// The value of a key.
    pub async fn get(&self, key: Key) -> Result<Option<Value>, Fault> {
        self.0.get(key).await
    }

    /// The keys of a space that begin so and come behind `after`, with their values, in the order of their
    /// bytes, at most `limit`.
    pub async fn list(
        &self,
        space: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        let limit = limit.min(bounds::LIST_MAX);
        self.0.list(space.to_owned(), prefix.to_owned(), after.map(str::to_owned), limit).await
    }

    /// How many keys of a space begin so, counted up to `limit`.
    pub async fn count(&self, space: &str, prefix: &str, limit: usize) -> Result<usize, Fault> {
        self.0.count(space.to_owned(), prefix.to_owned(), limit).await
    }

    /// Makes all changes or none. Answers the etag of each, 0 for one that was deleted.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<i64>, ChangeError> {
        if changes.len() > bounds::CHANGES_MAX {
            let text = format!("`{}` changes at once, at most `{}` go", changes.len(), bounds::CHANGES_MAX);
            return Err(ChangeError::Failed(too_much(text)));
        }
        for change in &changes {
            check_key(&change.key).map_err(ChangeError::Failed)?;
            check_value(change.value.as_deref().unwrap_or_default()).map_err(ChangeError::Failed)?;
        }
        self.0.apply(changes).await
    }

    /// Takes a lease, or prolongs it for who holds it already. The lease as it stands then: it is the
    /// caller's if the holder is. The token stays while the holder prolongs in time.
    pub async fn acquire(&self, name: &str, holder: &str, hold: Duration) -> Result<Lease, Fault> {
        check_name(name)?;
        check_name(holder)?;
        self.0.acquire(name.to_owned(), holder.to_owned(), hold).await
    }

    /// Gives a lease back, if this is its token. Answers whether it was.
    pub async fn release(&self, name: &str, token: i64) -> Result<bool, Fault> {
        self.0.release(name.to_owned(), token).await
    }

    /// The lease as it stands; `None` where nobody holds it.
    pub async fn lease(&self, name: &str) -> Result<Option<Lease>, Fault> {
        self.0.lease(name.to_owned()).await
    }

    /// Sets a timer, in place of any of its name.
    pub async fn set_timer(&self, timer: Timer) -> Result<(), Fault> {
        check_key(&timer.key)?;
        check_value(&timer.payload)?;
        self.0.set_timer(timer).await
    }

    /// Takes a timer away. Answers whether it was there.
    pub async fn cancel_timer(&self, key: Key) -> Result<bool, Fault> {
        self.0.cancel_timer(key).await
    }

    /// Takes timers of a space that are due, the earliest first. One that is not finished within `hold` is due
    /// again: a timer fires at least once, whatever becomes of who took it.
    pub async fn take_due(&self, space: &str, limit: usize, hold: Duration) -> Result<Vec<DueTimer>, Fault> {
        self.0.take_due(space.to_owned(), limit.min(bounds::LIST_MAX), hold).await
    }

    /// Says that what a timer asked for was done. Answers `false` where it had been taken again, set again or
    /// cancelled meanwhile.
    pub async fn finish_timer(&self, due: &DueTimer) -> Result<bool, Fault> {
        self.0.finish_timer(due.timer.key.clone(), due.token).await
    }

    /// When the next timer of a space can be taken, in microseconds since the epoch.
    pub async fn next_due(&self, space: &str) -> Result<Option<i64>, Fault> {
        self.0.next_due(space.to_owned()).await
    }

    /// Makes sure that nothing of what was deleted can be read from the state's files any more; backups are not
    /// touched.
    pub async fn scrub(&self) -> Result<(), Fault> {
        self.0.scrub().await
    }

    /// Changes whenever a timer was set: who waits for [`State::next_due`] looks again.
    pub fn timers_set(&self) -> watch::Receiver<u64> {
        self.0.timers_set()
    }
}

/// A text behind all keys that begin so, and before all others that are behind those.
pub(crate) fn behind(prefix: &str) -> String {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return chars.into_iter().collect();
        }
    }
    // Longer than any key, of what is behind all.
    char::MAX.to_string().repeat(bounds::NAME_BYTES_MAX / char::MAX.len_utf8() + 1)
}

fn check_key(key: &Key) -> Result<(), Fault> {
    check_length(&key.space, bounds::SPACE_BYTES_MAX)?;
    check_name(&key.key)
}

fn check_name(name: &str) -> Result<(), Fault> {
    check_length(name, bounds::NAME_BYTES_MAX)
}

fn check_length(name: &str, max: usize) -> Result<(), Fault> {
    if name.len() > max {
        return Err(too_much(format!("a name has `{}` bytes, at most `{max}` go", name.len())));
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<(), Fault> {
    if value.len() > bounds::VALUE_BYTES_MAX {
        let text = format!("a value has `{}` bytes, at most `{}` go", value.len(), bounds::VALUE_BYTES_MAX);
        return Err(too_much(text));
    }
    Ok(())
}

fn too_much(text: String) -> Fault {
    Fault::new(Kind::TooMuch, text).retry(base::Retry::No)
}

#[cfg(test)]
mod tests;
