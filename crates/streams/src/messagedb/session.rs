//! One client's session: what it set, its transaction, and what all sessions share. How its statements run is told
//! in `asks`, `cursor` and `commands`; how they come over the wire in `connection`.

use super::error::{Severity, Sql, SqlError};
use super::functions;
use super::locks::Locks;
use super::notices::Channels;
use super::parameters::Parameters;
use super::settings::Settings;
use super::transaction::Transaction;
use super::value::Value;
use crate::spans::Appender;
use base::{Chance, Clock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Append, AppendError, Appended, Store, Uuid};
use tokio::sync::Notify;

/// Notices of one statement; what comes beyond is not told.
const NOTICES_MAX: usize = 1_000;

/// What all sessions of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) locks: Locks,
    pub(crate) channels: Channels,
    /// Sessions by number, with what a client must know to cancel a statement of theirs.
    pub(crate) sessions: Mutex<HashMap<i32, (i32, Arc<Cancel>)>>,
}

impl Shared {
    /// Appends, and leaves a span of it where spans are wanted.
    pub(crate) async fn append(&self, mut appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let spans = self.settings.spans.as_ref();
        let span = spans.map(|spans| spans.append(&self.clock, "append", &Appender::Client, &mut appends));
        let appended = self.store.append(appends).await;
        if let Some(span) = span {
            span.end(&self.clock, appended.as_ref().map(drop));
        }
        appended
    }

    /// Cancels the statement of a session, if the secret is its own.
    pub(crate) fn cancel(&self, pid: i32, secret: i32) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cancel)) = sessions.get(&pid).filter(|(known, _)| *known == secret) {
            cancel.ask();
        }
    }

    /// A session can be cancelled from here on.
    pub(crate) fn enter(&self, pid: i32, secret: i32, cancel: Arc<Cancel>) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, (secret, cancel));
    }

    /// A session is no more.
    pub(crate) fn leave(&self, pid: i32) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }

    /// Microseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.clock.unix().micros()).unwrap_or(i64::MAX)
    }
}

/// Ends what a session waits for.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    asked: AtomicBool,
    told: Notify,
}

impl Cancel {
    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// A new statement: what was asked of the one before is void.
    pub(crate) fn forget(&self) {
        self.asked.store(false, Ordering::SeqCst);
    }
}

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cancel: Arc<Cancel>,
    pub(crate) pid: i32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) parameters: Parameters,
    pub(crate) transaction: Transaction,
    pub(crate) statement_start: i64,
    /// When the statement under way has to be done.
    pub(crate) deadline: Option<tokio::time::Instant>,
    /// To be told before the statement's end.
    pub(crate) notices: Vec<SqlError>,
    /// Parameters that changed and have to be told.
    pub(crate) changed: Vec<String>,
    pub(crate) chance: Chance,
}

/// What functions may know of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) transaction_start: i64,
    pub(crate) statement_start: i64,
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    pub(crate) pid: i32,
    parameters: &'a Parameters,
    clock: &'a Clock,
    chance: &'a Chance,
}

impl Facts<'_> {
    /// The time now, in microseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.clock.unix().micros()).unwrap_or(i64::MAX)
    }

    /// A new id.
    pub(crate) fn random_id(&self) -> Uuid {
        functions::random_id((self.chance.bits(), self.chance.bits()))
    }

    /// `current_setting`.
    pub(crate) fn setting(&self, name: &str, missing_ok: bool) -> Sql<Value<'static>> {
        match self.parameters.show(name) {
            Ok(value) => Ok(Value::owned(value)),
            Err(_) if missing_ok => Ok(Value::Null),
            Err(error) => Err(error),
        }
    }
}

impl Session {
    /// A session of this user.
    pub(crate) fn new(shared: Arc<Shared>, pid: i32, user: &str, database: &str) -> Self {
        let (now, chance) = (shared.now(), shared.chance.fork());
        Self {
            shared,
            cancel: Arc::default(),
            pid,
            user: user.to_owned(),
            database: database.to_owned(),
            parameters: Parameters::default(),
            transaction: Transaction::default(),
            statement_start: now,
            deadline: None,
            notices: Vec::new(),
            changed: Vec::new(),
            chance,
        }
    }

    /// A statement begins: its time, its deadline.
    pub(crate) fn begin_statement(&mut self) {
        self.statement_start = self.shared.now();
        self.cancel.forget();
        let wait = self.parameters.wait("statement_timeout");
        self.deadline = wait.map(|wait| tokio::time::Instant::now() + wait);
        self.transaction.begin_statement(self.statement_start);
    }

    /// What functions may know.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            transaction_start: self.transaction.start,
            statement_start: self.statement_start,
            user: &self.user,
            database: &self.database,
            pid: self.pid,
            parameters: &self.parameters,
            clock: &self.shared.clock,
            chance: &self.chance,
        }
    }

    /// Tells the client something, if it wants to hear it (`client_min_messages`).
    pub(crate) fn tell(&mut self, notice: SqlError) {
        let least = self.parameters.get("client_min_messages").unwrap_or("notice");
        let heard = match notice.severity {
            Severity::Notice => !matches!(least, "warning" | "error"),
            _ => least != "error",
        };
        if heard && self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        }
    }

    /// Waits for something that may be given up: by the client's cancel or the statement's deadline.
    pub(crate) async fn waits<T>(&self, work: impl Future<Output = T>) -> Sql<T> {
        self.waits_until(None, work).await
    }

    /// The same with `lock_timeout`.
    pub(crate) async fn waits_for_lock<T>(&self, work: impl Future<Output = T>) -> Sql<T> {
        self.waits_until(self.parameters.wait("lock_timeout"), work).await
    }

    async fn waits_until<T>(&self, lock: Option<Duration>, work: impl Future<Output = T>) -> Sql<T> {
        let canceled = || SqlError::new("57014", "canceling statement due to user request");
        let told = self.cancel.told.notified();
        tokio::pin!(told);
        // Listening before the look, so that nothing is missed in between.
        told.as_mut().enable();
        if self.cancel.asked.load(Ordering::SeqCst) {
            return Err(canceled());
        }
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let lock = async {
            match lock {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = told => Err(canceled()),
            () = deadline => Err(SqlError::new("57014", "canceling statement due to statement timeout")),
            () = lock => Err(SqlError::new("55P03", "canceling statement due to lock timeout")),
        }
    }
}
