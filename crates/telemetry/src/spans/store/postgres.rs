//! Spans in a PostgreSQL database, where several nodes share them: each writes what comes in at it, and all find
//! everything. `docs/guides/traces.md` says what a user has to know.

mod links;
mod parts;
mod reading;
mod rows;
mod search;
mod writer;

use super::engine::{Answer, Engine};
use super::intake::{Intake, Queue};
use super::names::List;
use super::search::by_trace;
use super::{COUNTED_AT_ONCE, QUESTIONS_MAX};
use crate::spans::{Link, Query, Span, TraceKey};
use base::{Fault, Kind, Retry};
use parts::Tables;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::{Lent, Links, Migrations, Time};
use tokio::sync::{OnceCell, Semaphore};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

/// Connections at most: one for each question, one to write, and one more.
const CONNECTIONS: usize = QUESTIONS_MAX + 2;
/// What each connection sets. A server whose settings do not make a commit durable does so for us. Statements are planned
/// for what they ask, as one term is rare and the other is everywhere.
const SETTINGS: &str = "
    SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s';
    SET client_min_messages = 'warning';
    SET search_path = pg_catalog;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
/// How its tables come to be.
const MIGRATIONS: Migrations = Migrations {
    owner: "the store of spans",
    tables: "tables of spans",
    schema: "tombolo_traces",
    // "tracesm" as a number.
    lock: 0x7472_6163_6573_6d00,
    steps: &[("parts", include_str!("postgres/schema.sql"))],
};
/// Times that a question is asked whose tables were removed by another node meanwhile.
const TRIES_MAX: usize = 4;

/// The database, for whoever writes and whoever asks.
pub(crate) struct Database {
    links: Arc<Links>,
    intake: Arc<Intake>,
    time: Time,
    /// Microseconds that its clock is ahead of ours.
    ahead_us: AtomicI64,
    /// Set once its tables are there.
    ready: OnceCell<()>,
}

impl Database {
    /// A connection to the database, whose tables are there.
    async fn lend(&self) -> Result<Lent, Fault> {
        self.ready.get_or_try_init(|| self.make_ready()).await?;
        self.links.lend().await
    }

    async fn make_ready(&self) -> Result<(), Fault> {
        MIGRATIONS.apply(&self.links, 0).await?;
        let lent = self.links.lend().await?;
        self.look_at_time(&lent).await?;
        lent.give_back();
        Ok(())
    }

    /// Notes how far the server's clock is ahead, by which it is told how old spans are: one clock for all nodes.
    async fn look_at_time(&self, lent: &Lent) -> Result<(), Fault> {
        if self.time == Time::Clock {
            return Ok(());
        }
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let row = self.links.patiently(lent.client().query_typed_one(sql, &[])).await?;
        let theirs: i64 = self.fine(row.try_get(0))?;
        let ours = signed(self.intake.clock.unix().micros());
        self.ahead_us.store(theirs.saturating_sub(ours), Ordering::Relaxed);
        Ok(())
    }

    /// Microseconds since 1970, by the server's clock.
    fn now_us(&self) -> u64 {
        self.intake.clock.unix().micros().saturating_add_signed(self.ahead_us.load(Ordering::Relaxed))
    }

    fn fine<T>(&self, answered: Result<T, Error>) -> Result<T, Fault> {
        answered.map_err(|error| self.links.failed(error))
    }

    /// Asks of all parts that there are, once more if one of them is removed meanwhile. Nothing comes of it if there is
    /// no statement for them.
    async fn ask(
        &self,
        statement: impl Fn(&Tables) -> Option<String>,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let lent = self.lend().await?;
        for _ in 0..TRIES_MAX {
            let tables = self.links.patiently(Tables::read(&lent)).await?;
            let asked = async {
                let Some(sql) = statement(&tables) else { return Ok(Some(Vec::new())) };
                match lent.client().query_typed(&sql, parameters).await {
                    Err(error) if is_gone(&error) => Ok(None),
                    answered => answered.map(Some),
                }
            };
            if let Some(rows) = self.links.patiently(asked).await? {
                lent.give_back();
                return Ok(rows);
            }
        }
        let fault = Fault::new(Kind::Conflict, "tables of spans are removed faster than they can be asked");
        Err(fault.retry(Retry::Safe).hint("ask again"))
    }
}

/// What stands for `$1` and on, with its types.
type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// Whether a table is not there any more.
fn is_gone(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code() == "42P01")
}

/// A time, a number or an id as the database has it. The bits of an id stay; what is no time there is the latest.
fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Finds spans in the database.
pub(crate) struct Postgres {
    database: Arc<Database>,
    questions: Arc<Semaphore>,
}

/// Opens the database of this address, and makes its tables if they are not there. Answers also the way to the thread
/// that writes, and what is worth to be told. A database that is away is no failure: what comes in waits for it.
pub(crate) async fn open(
    url: &str,
    intake: Arc<Intake>,
    time: Time,
) -> Result<(Postgres, Queue, Vec<String>), Fault> {
    // One thread has the connections, one writes: neither holds up the other, and both end with the store.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).thread_name("span-links").enable_all().build()?;
    let links = {
        let _inside = runtime.enter();
        Links::new(url, CONNECTIONS, SETTINGS)
    };
    let database = links.map(|links| {
        let (ahead_us, ready) = (AtomicI64::new(0), OnceCell::new());
        Arc::new(Database { links, intake, time, ahead_us, ready })
    });
    let database = match database {
        Ok(database) => database,
        Err(fault) => {
            runtime.shutdown_background();
            return Err(fault);
        }
    };
    let writer = writer::Writer::new(database.clone());
    let queue = Queue::start(runtime, |commands| writer.run(commands))?;
    let mut notes = Vec::new();
    match database.lend().await {
        Ok(lent) => lent.give_back(),
        Err(fault) if matches!(fault.kind, Kind::Unavailable | Kind::Timeout) => {
            database.intake.tell(Err(fault.to_string()));
            notes.push(format!("{fault}; spans wait for it"));
        }
        Err(fault) => return Err(fault),
    }
    Ok((Postgres { database, questions: Arc::new(Semaphore::new(QUESTIONS_MAX)) }, queue, notes))
}

impl Postgres {
    /// Answers a question to its end, even if whoever asked does not wait for it any more: the server would go on with
    /// it, and its place is not free until then.
    fn look<T, F>(&self, question: impl FnOnce(Arc<Database>) -> F + Send + 'static) -> Answer<'_, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let (database, questions) = (self.database.clone(), self.questions.clone());
        Box::pin(async move {
            // Nobody closes it.
            let place = questions.acquire_owned().await;
            let looked = tokio::spawn(async move {
                let _place = place;
                question(database).await
            });
            let looked = looked.await;
            let looked = looked
                .unwrap_or_else(|error| Err(Fault::new(Kind::Bug, "reading spans failed").because(error)));
            looked.map_err(|fault| match fault.kind {
                Kind::Timeout => fault.hint("ask for a shorter time, or look at pg_stat_activity"),
                _ => fault,
            })
        })
    }
}

impl Engine for Postgres {
    fn search(&self, query: Query) -> Answer<'_, Vec<Vec<Span>>> {
        self.look(move |database| async move { search::search(&database, query).await })
    }

    fn traces(&self, wanted: Vec<TraceKey>) -> Answer<'_, Vec<Vec<Span>>> {
        self.look(move |database| async move {
            let strict = database.intake.settings.strict_trace_id;
            let mut traces = Vec::new();
            let mut reading = reading::Reading::of(wanted.iter().map(|trace| trace.low));
            while let Some(read) = reading.next(&database).await? {
                traces.push(read);
                reading.check_answer()?;
            }
            let found = move |traces: Vec<reading::Read>| {
                let mut found = Vec::new();
                for trace in wanted {
                    let Some(spans) = traces.iter().find_map(|read| read.spans_of(trace.low)) else {
                        continue;
                    };
                    let is_it = |found: &Vec<Span>| !strict || found.iter().any(|span| span.trace == trace);
                    found.extend(by_trace(spans?, strict).into_iter().find(is_it));
                }
                Ok(found)
            };
            reading::decode(traces, found).await
        })
    }

    fn names(&self, list: List, under: String) -> Answer<'_, BTreeSet<String>> {
        self.look(move |database| async move {
            let statement = |tables: &Tables| {
                let all = tables.all("names", "list, under, name")?;
                Some(format!("SELECT DISTINCT name FROM {all} WHERE list = $1 AND under = $2"))
            };
            let (list, under) = (list as i16, under.as_bytes());
            let rows = database.ask(statement, &[(&list, Type::INT2), (&under, Type::BYTEA)]).await?;
            let names = rows.iter().map(|row| row.try_get::<_, Vec<u8>>(0)).collect::<Result<Vec<_>, _>>();
            let names = database.fine(names)?;
            Ok(names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect())
        })
    }

    fn dependencies(&self, minutes: (u64, u64)) -> Answer<'_, Vec<Link>> {
        self.look(move |database| async move {
            links::settle_all(&database, COUNTED_AT_ONCE).await?;
            links::between(&database, minutes).await
        })
    }
}
