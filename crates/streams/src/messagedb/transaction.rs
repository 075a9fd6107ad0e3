//! A session's transaction. What it writes is kept here, with positions as they will be, and seen by its session
//! only; at the end it goes to the store in one append, or nowhere. The locks of the categories it wrote to are held
//! until then, so that no other session of this server takes a position in between.

use super::error::{Sql, SqlError};
use super::locks::Held;
use super::notices::Notification;
use super::parameters::Parameters;
use super::session::Session;
use std::collections::HashSet;
use store::{Append, AppendError, Message, NewMessage, Uuid, bounds, names};

/// Savepoints that stand in each other.
const SAVEPOINTS_MAX: usize = 100;
/// Notifications of one transaction.
const NOTIFICATIONS_MAX: usize = 1_000;

/// What kind of transaction there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Block {
    /// None: each statement is one of its own.
    #[default]
    None,
    /// Of the statements of one query, or of those up to `Sync`.
    Implicit,
    /// Begun by BEGIN.
    Open,
    /// Begun by BEGIN, with an error in it.
    Failed,
}

/// A session's transaction.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) block: Block,
    /// When it began, in microseconds since 1970.
    pub(crate) start: i64,
    /// Messages to be appended, in order. Their global positions are what they will be if nobody else writes.
    pub(crate) pending: Vec<Message>,
    ids: HashSet<Uuid>,
    bytes: usize,
    locks: Vec<Held>,
    savepoints: Vec<Savepoint>,
    notifications: Vec<Notification>,
    /// The parameters before the transaction changed them.
    before: Option<Parameters>,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    pending: usize,
    notifications: usize,
    parameters: Parameters,
}

impl Transaction {
    /// A statement begins, and with it a transaction if there is none.
    pub(crate) fn begin_statement(&mut self, now: i64) {
        if self.block == Block::None {
            self.start = now;
        }
    }

    /// The status byte of `ReadyForQuery`.
    pub(crate) fn status(&self) -> u8 {
        match self.block {
            Block::None | Block::Implicit => b'I',
            Block::Open => b'T',
            Block::Failed => b'E',
        }
    }

    /// Whether the session holds the lock of this category.
    pub(crate) fn holds(&self, category: &str) -> bool {
        self.locks.iter().any(|held| held.category() == category)
    }

    /// Keeps a lock to the transaction's end.
    pub(crate) fn hold(&mut self, lock: Held) {
        self.locks.push(lock);
    }

    /// The position of the last message that the transaction wrote to a stream.
    pub(crate) fn version(&self, stream: &str) -> Option<i64> {
        self.pending.iter().rev().find(|message| message.stream == stream).map(|message| message.position)
    }

    /// Whether the transaction wrote a message of this id.
    pub(crate) fn has_id(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    /// Keeps a message to be appended.
    pub(crate) fn write(&mut self, message: Message) -> Sql<()> {
        let json = |json: &Option<store::Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        let bytes = message.stream.len() + message.kind.len() + json(&message.data) + json(&message.metadata);
        if self.pending.len() >= bounds::APPEND_MESSAGES_MAX || self.bytes + bytes > bounds::APPEND_BYTES_MAX
        {
            let text = "the transaction is too large";
            return Err(SqlError::new("54000", text).hint(format!(
                "one transaction writes at most {} messages and {} bytes",
                bounds::APPEND_MESSAGES_MAX,
                bounds::APPEND_BYTES_MAX
            )));
        }
        self.bytes += bytes;
        self.ids.insert(message.id);
        self.pending.push(message);
        Ok(())
    }

    /// Notifies others at the transaction's end.
    pub(crate) fn notify(&mut self, notification: Notification) -> Sql<()> {
        if self.notifications.len() == NOTIFICATIONS_MAX {
            return Err(SqlError::new("54000", "too many notifications in one transaction"));
        }
        self.notifications.push(notification);
        Ok(())
    }

    fn cut(&mut self, pending: usize, notifications: usize) {
        let json = |json: &Option<store::Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        for message in self.pending.drain(pending..) {
            self.ids.remove(&message.id);
            let names = message.stream.len() + message.kind.len();
            self.bytes -= names + json(&message.data) + json(&message.metadata);
        }
        self.notifications.truncate(notifications);
    }

    /// What the store is to append. A stream's version must be what the positions were counted from.
    fn appends(&mut self) -> Vec<Append> {
        let mut appends: Vec<Append> = Vec::new();
        for message in self.pending.drain(..) {
            let new = NewMessage {
                id: message.id,
                kind: message.kind,
                data: message.data,
                metadata: message.metadata,
            };
            match appends.last_mut() {
                Some(append) if append.stream == message.stream => append.messages.push(new),
                _ => appends.push(Append {
                    stream: message.stream,
                    expected_version: Some(message.position - 1),
                    messages: vec![new],
                }),
            }
        }
        appends
    }
}

impl Session {
    /// Remembers the parameters before a transaction changes them.
    pub(crate) fn before_change(&mut self) {
        if self.transaction.block != Block::None && self.transaction.before.is_none() {
            self.transaction.before = Some(self.parameters.clone());
        }
    }

    /// Waits for the lock of a stream's category and keeps it to the transaction's end.
    pub(crate) async fn lock(&mut self, stream: &str) -> Sql<()> {
        let category = names::category(stream);
        if !self.transaction.holds(category) {
            let locks = self.shared.locks.clone();
            let lock = self.waits_for_lock(locks.alone(category, self.pid)).await??;
            self.transaction.hold(lock);
        }
        Ok(())
    }

    /// The version of a stream as this session sees it, -1 for none.
    pub(crate) async fn version(&self, stream: &str) -> Sql<i64> {
        match self.transaction.version(stream) {
            Some(version) => Ok(version),
            None => Ok(self.shared.store.version(stream).await?),
        }
    }

    /// Ends the transaction: everything it wrote is durable then, or nothing of it is there.
    pub(crate) async fn commit(&mut self) -> Sql<()> {
        let appends = self.transaction.appends();
        let appended = if appends.is_empty() {
            Ok(())
        } else {
            self.shared.append(appends).await.map(drop).map_err(not_appended)
        };
        let mut transaction = std::mem::take(&mut self.transaction);
        match &appended {
            Ok(()) => {
                for notification in transaction.notifications.drain(..) {
                    self.shared.channels.notify(notification);
                }
            }
            Err(_) => self.restore(transaction.before.take()),
        }
        self.parameters.end_transaction();
        appended
    }

    /// Ends the transaction; nothing of it is there.
    pub(crate) fn rollback(&mut self) {
        let transaction = std::mem::take(&mut self.transaction);
        self.restore(transaction.before);
        self.parameters.end_transaction();
    }

    fn restore(&mut self, before: Option<Parameters>) {
        if let Some(before) = before {
            self.parameters = before;
        }
    }

    /// A statement failed, and with it the transaction.
    pub(crate) fn fail(&mut self) {
        match self.transaction.block {
            Block::Open | Block::Failed => self.transaction.block = Block::Failed,
            Block::None | Block::Implicit => self.rollback(),
        }
    }

    /// `SAVEPOINT`.
    pub(crate) fn savepoint(&mut self, name: String) -> Sql<()> {
        self.in_block("SAVEPOINT")?;
        if self.transaction.savepoints.len() == SAVEPOINTS_MAX {
            return Err(SqlError::new("54000", format!("at most {SAVEPOINTS_MAX} savepoints go")));
        }
        self.before_change();
        let (pending, notifications) = (self.transaction.pending.len(), self.transaction.notifications.len());
        let parameters = self.parameters.clone();
        self.transaction.savepoints.push(Savepoint { name, pending, notifications, parameters });
        Ok(())
    }

    /// `ROLLBACK TO SAVEPOINT`. Locks taken since are kept, which is more than PostgreSQL keeps.
    pub(crate) fn rollback_to(&mut self, name: &str) -> Sql<()> {
        self.in_block("ROLLBACK TO SAVEPOINT")?;
        let at = self.savepoint_at(name)?;
        let transaction = &mut self.transaction;
        transaction.savepoints.truncate(at + 1);
        if let Some(savepoint) = transaction.savepoints.last() {
            let (pending, notifications) = (savepoint.pending, savepoint.notifications);
            self.parameters = savepoint.parameters.clone();
            transaction.cut(pending, notifications);
        }
        transaction.block = Block::Open;
        Ok(())
    }

    /// `RELEASE SAVEPOINT`.
    pub(crate) fn release(&mut self, name: &str) -> Sql<()> {
        self.in_block("RELEASE SAVEPOINT")?;
        let at = self.savepoint_at(name)?;
        self.transaction.savepoints.truncate(at);
        Ok(())
    }

    fn savepoint_at(&self, name: &str) -> Sql<usize> {
        let found = self.transaction.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        found.ok_or_else(|| SqlError::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    fn in_block(&self, what: &str) -> Sql<()> {
        match self.transaction.block {
            Block::Open | Block::Failed => Ok(()),
            Block::None | Block::Implicit => {
                Err(SqlError::new("25P01", format!("{what} can only be used in transaction blocks")))
            }
        }
    }
}

/// What a client is told when the store appended nothing.
pub(crate) fn not_appended(error: AppendError) -> Box<SqlError> {
    match error {
        AppendError::DuplicateId { id } => duplicate_id(id),
        // Another interface of this store wrote to the stream meanwhile.
        AppendError::WrongVersion { stream, .. } => {
            SqlError::new("40001", format!("could not serialize access to stream \"{stream}\""))
                .hint("it was written to through another interface; try the transaction again")
        }
        AppendError::Refused(fault) | AppendError::Failed(fault) => fault.into(),
    }
}

/// A message of this id is there already.
pub(crate) fn duplicate_id(id: Uuid) -> Box<SqlError> {
    SqlError::new("23505", "duplicate key value violates unique constraint \"messages_id\"")
        .detail(format!("Key (id)=({id}) already exists."))
        .constraint("messages_id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(stream: &str, position: i64) -> Message {
        Message {
            id: Uuid::from_u64_pair(position as u64, 7),
            stream: stream.into(),
            kind: "T".into(),
            position,
            global_position: 1,
            data: None,
            metadata: None,
            time: 0,
        }
    }

    #[test]
    fn messages_go_to_the_store_in_their_order() {
        let mut transaction = Transaction::default();
        for (stream, position) in [("a-1", 4), ("a-1", 5), ("b-1", 0), ("a-1", 6)] {
            transaction.write(message(stream, position)).unwrap();
        }
        assert_eq!((transaction.version("a-1"), transaction.version("c-1")), (Some(6), None));
        let appends = transaction.appends();
        let shape: Vec<_> = appends
            .iter()
            .map(|append| (&*append.stream, append.expected_version, append.messages.len()))
            .collect();
        assert_eq!(shape, [("a-1", Some(3), 2), ("b-1", Some(-1), 1), ("a-1", Some(5), 1)]);
    }

    #[test]
    fn a_transaction_keeps_within_its_bounds() {
        let mut transaction = Transaction::default();
        for position in 0..bounds::APPEND_MESSAGES_MAX as i64 {
            transaction.write(message("a-1", position)).unwrap();
        }
        assert_eq!(transaction.write(message("a-1", 10_000)).unwrap_err().code, "54000");
        transaction.cut(5, 0);
        assert_eq!((transaction.pending.len(), transaction.bytes, transaction.ids.len()), (5, 20, 5));
    }
}
