//! Messages that are appended at a time to come. They are kept in the small state until then, in the order of their
//! times; the ids they will have are fixed when they come in, so that one which is appended twice, by two nodes or
//! after a crash, is there once.

use crate::http::append::is_there;
use crate::http::json::{self, IncomingAppend};
use base::{Clock, Fault, Kind};
use std::sync::Arc;
use std::time::Duration;
use store::state::{Change, ChangeError, Condition, Key};
use store::{Append, AppendError, NewMessage, State, Store, Uuid};
use tokio::sync::Notify;

/// The space of what is scheduled.
const SPACE: &str = "$scheduled";
/// Who holds this appends what is due, of several nodes.
const LEASE: &str = "$scheduled";
const HOLD: Duration = Duration::from_secs(10);
/// How often it is looked whether another node scheduled something.
const LOOK: Duration = Duration::from_secs(1);
/// Entries that are in memory at a time, each of which may be as large as a value of the small state.
const AT_ONCE: usize = 8;
/// Where messages are recorded that could not be appended when they were due: their ids were others' by then.
pub const REFUSED: &str = "scheduled:refused";
/// From which ids of refused messages follow, drawn once.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b1c_3f0e_92d7_4e58_8ac4_7d25_b3e0_19f6);
/// Digits of a time in a key: its order is that of the times.
const TIME_DIGITS: usize = 17;
/// The latest time: until then the digits are enough.
const LATEST: i64 = 99_999_999_999_999_999;

/// Messages to come. Cheap to clone.
#[derive(Clone)]
pub struct Schedule(Arc<Parts>);

struct Parts {
    store: Store,
    state: State,
    clock: Clock,
    /// This node among others.
    node: String,
    changed: Notify,
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schedule")
    }
}

/// Messages of one stream that are to be appended at a time.
#[derive(Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Says which is meant, when it is to be cancelled.
    pub id: String,
    /// When, in microseconds since the epoch.
    pub due: i64,
    /// The stream.
    pub stream: String,
    /// How many messages.
    pub messages: usize,
}

impl Schedule {
    /// A schedule over these.
    pub fn new(store: Store, state: State, clock: Clock) -> Self {
        let node = Uuid::new_v4().to_string();
        Self(Arc::new(Parts { store, state, clock, node, changed: Notify::new() }))
    }

    /// Keeps messages until they are due, in microseconds since the epoch, and answers their id when they are
    /// durable. No version can be expected of a stream at a time to come.
    pub async fn add(&self, due: i64, append: &Append) -> Result<String, Fault> {
        let invalid = |text: &str| Err(Fault::new(Kind::Invalid, text));
        store::check_appends(std::slice::from_ref(append))?;
        if append.expected_version.is_some() {
            return invalid("a message to come can't expect a version");
        }
        if !(0..=LATEST).contains(&due) {
            return invalid("the time is too far away");
        }
        let first = append.messages.first().map_or_else(Uuid::nil, |message| message.id);
        let id = format!("{due:0TIME_DIGITS$}-{first}");
        let kept = json::append_text(append);
        self.0.state.apply(vec![Change::set(Key::new(SPACE, &id), kept)]).await?;
        self.0.changed.notify_one();
        Ok(id)
    }

    /// Takes messages back. Answers whether they were still to come.
    pub async fn cancel(&self, id: &str) -> Result<bool, Fault> {
        let key = Key::new(SPACE, id);
        let Some(value) = self.0.state.get(key.clone()).await? else { return Ok(false) };
        let gone = Change::delete(key).when(Condition::Etag(value.etag));
        match self.0.state.apply(vec![gone]).await {
            Ok(_) => Ok(true),
            Err(ChangeError::Conflict { .. }) => Ok(false),
            Err(ChangeError::Failed(fault)) => Err(fault),
        }
    }

    /// What is to come behind `after`, the next first, at most `limit`.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<Scheduled>, Fault> {
        let (mut scheduled, mut after) = (Vec::new(), after.map(str::to_owned));
        while scheduled.len() < limit {
            let wanted = AT_ONCE.min(limit - scheduled.len());
            let kept = self.0.state.list(SPACE, "", after.as_deref(), wanted).await?;
            let all = kept.len() < wanted;
            after = kept.last().map(|(key, _)| key.key.clone());
            scheduled.extend(kept.into_iter().filter_map(|(key, value)| {
                let append = read(&value.bytes)?;
                let (due, messages) = (due_of(&key.key)?, append.messages.len());
                Some(Scheduled { id: key.key, due, stream: append.stream, messages })
            }));
            if all {
                break;
            }
        }
        Ok(scheduled)
    }

    /// Appends what is due when it is due, for ever.
    pub async fn run(self) -> Result<(), Fault> {
        let parts = &self.0;
        loop {
            let now = parts.clock.unix().micros().cast_signed();
            let next =
                parts.state.list(SPACE, "", None, 1).await?.first().and_then(|(key, _)| due_of(&key.key));
            let wait = match next {
                Some(due) if due <= now => {
                    let lease = parts.state.acquire(LEASE, &parts.node, HOLD).await?;
                    if lease.holder == parts.node {
                        self.append_due(now).await?;
                        continue;
                    }
                    LOOK
                }
                Some(due) => LOOK.min(Duration::from_micros((due - now).unsigned_abs())),
                None => LOOK,
            };
            tokio::select! {
                () = parts.changed.notified() => {}
                () = parts.clock.sleep(wait) => {}
            }
        }
    }

    /// Appends what is due by now, some of it.
    async fn append_due(&self, now: i64) -> Result<(), Fault> {
        for (key, value) in self.0.state.list(SPACE, "", None, AT_ONCE).await? {
            if due_of(&key.key).is_none_or(|due| due > now) {
                return Ok(());
            }
            // What can't be read is none of ours; it would stand in the way of all others.
            if let Some(append) = read(&value.bytes) {
                match self.0.store.append(vec![append.clone()]).await {
                    Ok(_) => {}
                    Err(AppendError::DuplicateId { .. }) if is_there(&self.0.store, &append).await? => {}
                    Err(AppendError::DuplicateId { id }) => self.refuse(&append, id).await?,
                    Err(error) => return Err(error.into()),
                }
            }
            self.0.state.apply(vec![Change::delete(key)]).await?;
        }
        Ok(())
    }

    /// Records what can't be appended any more: it was acknowledged, so that it must not be lost.
    async fn refuse(&self, append: &Append, taken: Uuid) -> Result<(), Fault> {
        let messages = append.messages.iter().map(|message| {
            let about = serde_json::json!({
                "scheduledStreamName": append.stream,
                "scheduledId": message.id.to_string(),
                "refused": format!("a message of id `{taken}` was there already"),
            });
            NewMessage {
                id: Uuid::new_v5(&NAMESPACE, message.id.as_bytes()),
                kind: message.kind.clone(),
                data: message.data.clone(),
                metadata: json::with_more(message.metadata.as_ref(), about),
            }
        });
        let record =
            Append { stream: REFUSED.to_owned(), expected_version: None, messages: messages.collect() };
        match self.0.store.append(vec![record]).await {
            Ok(_) | Err(AppendError::DuplicateId { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn read(bytes: &[u8]) -> Option<Append> {
    let IncomingAppend { stream, messages, .. } = json::append_read(bytes).ok()?;
    let messages = messages.into_iter().map(|message| message.with(Uuid::new_v4)).collect();
    Some(Append { stream, expected_version: None, messages })
}

/// When what has this id is due.
fn due_of(id: &str) -> Option<i64> {
    id.get(..TIME_DIGITS)?.parse().ok()
}
