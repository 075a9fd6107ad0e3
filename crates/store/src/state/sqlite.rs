//! Small state in `SQLite`. One thread writes: it takes the jobs that came in while the disk was busy as one
//! transaction and answers them when that is durable. Readers see what is committed, beside it.

mod jobs;

use super::{Change, ChangeError, DueTimer, Key, Lease, StateEngine, Timer, Value};
use crate::Answer;
use crate::log::Directory;
use base::{Blame, Clock, Fault, Kind, Retry};
use rusqlite::{Connection, OptionalExtension, ffi};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs that may wait.
const WAITING_MAX: usize = 1_024;
/// Jobs of one transaction.
const GROUP_MAX: usize = 256;
/// Expired values that one transaction clears away beside its jobs.
const SWEEP_MAX: usize = 200;
/// The version of the tables.
const VERSION: i64 = 1;
/// So that `file` and others know what the database is: "tmbl".
const APPLICATION_ID: i64 = 0x746d_626c;

const TABLES: &str = "
    CREATE TABLE entries (space TEXT, key TEXT, value BLOB NOT NULL, etag INTEGER NOT NULL, expires INTEGER,
        PRIMARY KEY (space, key)) WITHOUT ROWID;
    CREATE INDEX entries_expire ON entries (expires) WHERE expires IS NOT NULL;
    CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL,
        until INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE timers (space TEXT, key TEXT, due INTEGER NOT NULL, every INTEGER, payload BLOB NOT NULL,
        ready INTEGER NOT NULL, token INTEGER NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID;
    CREATE INDEX timers_ready ON timers (space, ready);
    CREATE TABLE counter (only INTEGER PRIMARY KEY CHECK (only = 1), last INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counter VALUES (1, 0);
";

/// What a job does in the transaction; what it gives back answers once the transaction has ended.
type Job = Box<dyn FnOnce(&Connection, i64) -> Reply + Send>;
type Reply = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// Small state in a database of its own.
pub struct Sqlite {
    /// Only `None` while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    reader: Arc<Mutex<Connection>>,
    clock: Clock,
    timers_set: watch::Sender<u64>,
    writer: Option<JoinHandle<()>>,
    _held: Directory,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sqlite")
    }
}

impl Sqlite {
    /// Opens the database `state.db` in a directory of its own; both are made if they are not there. Fails
    /// where another process holds it.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, Fault> {
        let held = Directory::hold(path)?;
        let file = path.join("state.db");
        let fault = |error: rusqlite::Error| {
            Fault::new(Kind::Io, format!("cannot open the state `{}`", file.display())).because(error)
        };
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&file)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            // With a log that is written ahead, FULL means a sync for each transaction.
            connection.pragma_update(None, "synchronous", "full")?;
            // Keys that are forgotten lie in here, too.
            connection.pragma_update(None, "secure_delete", "on")?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.set_prepared_statement_cache_capacity(64);
            Ok(connection)
        };
        let mut writing = connect().map_err(fault)?;
        migrate(&mut writing).map_err(fault)??;
        let reader = Arc::new(Mutex::new(connect().map_err(fault)?));
        let (jobs, receiver) = mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("state-writer".into());
        let times = clock.clone();
        let writer = thread.spawn(move || write(&mut writing, &times, receiver))?;
        Ok(Self {
            jobs: Some(jobs),
            reader,
            clock,
            timers_set: watch::Sender::new(0),
            writer: Some(writer),
            _held: held,
        })
    }

    /// Copies what is committed into another file, which must not be there. Blocks the thread.
    pub(crate) fn copy_to(&self, file: &Path) -> Result<(), Fault> {
        drop(std::fs::remove_file(file));
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let copied = reader.execute("VACUUM INTO ?1", [file.to_string_lossy()]);
        copied.map(|_| ()).map_err(|error| failed(&error))
    }

    /// Gives a job to the writer. Answers when it is durable.
    async fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection, now| {
            let done = in_savepoint(connection, |connection| work(connection, now));
            Box::new(move |committed| {
                let result = match (done, committed) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Err(error), _) => Err(failed(&error)),
                    (Ok(_), Err(why)) => Err(not_committed(why)),
                };
                drop(answer.send(result));
            })
        });
        let gone = || Fault::new(Kind::Bug, "the writer of the state has ended").blame(Blame::Us);
        let Some(jobs) = &self.jobs else { return Err(gone()) };
        jobs.send(job).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Reads what is committed, where waiting for a disk holds nobody up.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reader, now) = (self.reader.clone(), micros(&self.clock));
        let look = move || {
            let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            look(&reader, now).map_err(|error| failed(&error))
        };
        if tokio::runtime::Handle::try_current().is_err() {
            return look();
        }
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or_else(|error| Err(Fault::new(Kind::Bug, "reading the state failed").because(error)))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The writer ends when it has done what waits.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

/// Makes the tables, or refuses those of a newer program.
fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), Fault>> {
    let transaction = connection.transaction()?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        let text = format!("the state is of version `{version}`, this program knows up to `{VERSION}`");
        let fault = Fault::new(Kind::Invalid, text).hint("a newer version of the program wrote it");
        return Ok(Err(fault));
    }
    if version == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.commit()?;
    Ok(Ok(()))
}

fn micros(clock: &Clock) -> i64 {
    i64::try_from(clock.unix().micros()).unwrap_or(i64::MAX)
}

/// Does jobs until nobody can give any more.
fn write(connection: &mut Connection, clock: &Clock, mut jobs: mpsc::Receiver<Job>) {
    let mut replies: Vec<Reply> = Vec::new();
    while let Some(first) = jobs.blocking_recv() {
        let now = micros(clock);
        let committed = (|| {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            replies.push(first(connection, now));
            while replies.len() < GROUP_MAX
                && let Ok(job) = jobs.try_recv()
            {
                replies.push(job(connection, now));
            }
            jobs::sweep(connection, now, SWEEP_MAX)?;
            connection.execute_batch("COMMIT")
        })();
        let committed = committed.map_err(|error: rusqlite::Error| {
            // Whatever of it was done is undone.
            if !connection.is_autocommit() {
                drop(connection.execute_batch("ROLLBACK"));
            }
            error.to_string()
        });
        for reply in replies.drain(..) {
            reply(match &committed {
                Ok(()) => Ok(()),
                Err(why) => Err(why),
            });
        }
    }
}

/// Undoes what a job did that fails, and nothing of the others.
fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let done = work(connection);
    if done.is_err() && !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    if !connection.is_autocommit() {
        connection.prepare_cached("RELEASE job")?.execute([])?;
    }
    done
}

fn failed(error: &rusqlite::Error) -> Fault {
    if error.sqlite_error_code() == Some(ffi::ErrorCode::DiskFull) {
        return Fault::new(Kind::Io, "the disk of the state is full")
            .retry(Retry::Safe)
            .hint("make room on it");
    }
    Fault::new(Kind::Io, format!("the state failed: {error}")).blame(Blame::Neighbour).retry(Retry::Safe)
}

fn not_committed(why: &str) -> Fault {
    let fault = Fault::new(Kind::Io, format!("cannot make the state durable: {why}"));
    fault.blame(Blame::Neighbour).retry(Retry::IfIdempotent).hint("look at the disk")
}

impl StateEngine for Sqlite {
    fn get(&self, key: Key) -> Answer<'_, Option<Value>> {
        Box::pin(self.look(move |connection, now| jobs::get(connection, &key, now)))
    }

    fn list(
        &self,
        space: String,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Vec<(Key, Value)>> {
        Box::pin(self.look(move |connection, now| {
            jobs::list(connection, &space, &prefix, after.as_deref(), limit, now)
        }))
    }

    fn count(&self, space: String, prefix: String, limit: usize) -> Answer<'_, usize> {
        Box::pin(self.look(move |connection, now| jobs::count(connection, &space, &prefix, limit, now)))
    }

    fn apply(&self, changes: Vec<Change>) -> Answer<'_, Vec<i64>, ChangeError> {
        Box::pin(async move {
            let applied = self.job(move |connection, now| jobs::apply(connection, changes, now)).await;
            applied
                .map_err(ChangeError::Failed)?
                .map_err(|jobs::Unmet { key, actual }| ChangeError::Conflict { key, actual })
        })
    }

    fn acquire(&self, name: String, holder: String, hold: Duration) -> Answer<'_, Lease> {
        Box::pin(self.job(move |connection, now| jobs::acquire(connection, &name, holder, hold, now)))
    }

    fn release(&self, name: String, token: i64) -> Answer<'_, bool> {
        Box::pin(self.job(move |connection, _| jobs::release(connection, &name, token)))
    }

    fn lease(&self, name: String) -> Answer<'_, Option<Lease>> {
        Box::pin(self.look(move |connection, now| {
            Ok(jobs::lease(connection, &name).optional()?.filter(|lease| lease.until > now))
        }))
    }

    fn set_timer(&self, timer: Timer) -> Answer<'_, ()> {
        Box::pin(async move {
            self.job(move |connection, _| jobs::set_timer(connection, &timer)).await?;
            self.timers_set.send_modify(|times| *times += 1);
            Ok(())
        })
    }

    fn cancel_timer(&self, key: Key) -> Answer<'_, bool> {
        Box::pin(self.job(move |connection, _| jobs::cancel_timer(connection, &key)))
    }

    fn take_due(&self, space: String, limit: usize, hold: Duration) -> Answer<'_, Vec<DueTimer>> {
        Box::pin(self.job(move |connection, now| jobs::take_due(connection, &space, limit, hold, now)))
    }

    fn finish_timer(&self, key: Key, token: i64) -> Answer<'_, bool> {
        Box::pin(self.job(move |connection, now| jobs::finish_timer(connection, &key, token, now)))
    }

    fn next_due(&self, space: String) -> Answer<'_, Option<i64>> {
        Box::pin(self.look(move |connection, _| jobs::next_due(connection, &space)))
    }

    fn scrub(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            // What is deleted is overwritten (`secure_delete`), but older pages lie in the log that is written
            // ahead until it is emptied. Readers are not in the way: there is one, and it is here.
            let empty = "PRAGMA wal_checkpoint(TRUNCATE)";
            let emptied =
                self.look(move |connection, _| connection.query_row(empty, [], |row| row.get::<_, i64>(0)));
            if emptied.await? == 0 {
                return Ok(());
            }
            let text = "the state is busy, what was deleted may still be in its files";
            Err(Fault::new(Kind::Unavailable, text).retry(Retry::Safe))
        })
    }

    fn timers_set(&self) -> watch::Receiver<u64> {
        self.timers_set.subscribe()
    }
}
