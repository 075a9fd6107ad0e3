//! Messages and small state in PostgreSQL, where several nodes share them: under Message DB's own schema, so that its
//! clients share the messages, too. `docs/guides/postgres-store.md` says what a user has to know.

mod append;
mod decide;
mod link;
mod migrate;
mod outbox;
mod password;
mod reading;
mod settled;
mod state;
mod tend;
mod tls;

pub use link::{Lent, Link, Links};
pub use migrate::Migrations;
pub use outbox::{Outbox, OutboxRow, RowKey};

use crate::{
    Answer, Append, AppendError, Appended, CategoryInfo, Direction, Encrypted, Engine, Message, Page, Read,
    Removal, Scope, State, Store, StreamInfo, StreamList, Uuid, Wakes,
};
use append::Appends;
use base::{Clock, Fault, Kind};
use link::STORE_SETTINGS;
use reading::Reading;
use state::PostgresState;
use std::sync::Arc;
use std::time::Duration;
use tend::{Frontier, Tender};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// Transactions of appends that go beside each other. More would make each smaller.
const LANES: usize = 4;
/// Longest wait for the end of a transaction, until nobody knows whether it was kept.
const COMMIT_WAIT: Duration = Duration::from_secs(40);
/// Longest wait for the connection that listens.
const LISTEN_WAIT: Duration = Duration::from_secs(5);
/// Rows of one transaction that removes messages.
const REMOVE_ROWS: i64 = 5_000;

/// How the store uses the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Connections at most, beside one that listens. Default: 16.
    pub connections: usize,
    /// Whose time is written and compared. Default: the server's.
    pub time: Time,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { connections: 16, time: Time::Server }
    }
}

/// Whose time is written and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The server's, which is one for all nodes: leases hold although their clocks differ.
    Server,
    /// Ours, for tests that move it by hand.
    Clock,
}

/// Messages and small state of one database. Cheap to clone; clones are the same store.
#[derive(Clone, Debug)]
pub struct Postgres {
    messages: Arc<PostgresMessages>,
    state: Arc<PostgresState>,
}

impl Postgres {
    /// Opens the database of this address (`postgres://user:password@host:5432/database`) and makes the tables that
    /// are missing. Connections live on the runtime that this is called in. Errors do not show the password.
    pub async fn open(url: &str, clock: Clock, options: PostgresOptions) -> Result<Self, Fault> {
        let links = Links::new(url, options.connections.max(LANES + 2), STORE_SETTINGS)?;
        migrate::migrate(&links).await?;
        let frontier = Arc::new(Frontier::open(links.clone()).await?);
        let reading = Reading::new(links.clone()).await?;
        let (wakes, timers_set) = (Arc::new(Wakes::new()), Arc::new(watch::Sender::new(0)));
        let time = options.time;
        let appends = Arc::new(Appends::new(links.clone(), time, clock.clone()));
        let tender = Tender {
            links: links.clone(),
            frontier: frontier.clone(),
            wakes: wakes.clone(),
            timers_set: timers_set.clone(),
            time,
            clock: clock.clone(),
        };
        let listening = Arc::new(Notify::new());
        let mut tasks = Tasks(vec![tokio::spawn(tender.run(listening.clone())).abort_handle()]);
        for lane in 0..LANES {
            tasks.0.push(tokio::spawn(appends.clone().run(lane > 0)).abort_handle());
        }
        if tokio::time::timeout(LISTEN_WAIT, listening.notified()).await.is_err() {
            // The task would try for ever. Here is asked once more, for the reason.
            drop(links.connect(|_, _| {}).await?);
            return Err(Fault::new(Kind::Unavailable, format!("{} lets nobody listen", links.place())));
        }
        let tasks = Arc::new(tasks);
        let state = PostgresState::new(links.clone(), time, clock, timers_set, tasks.clone());
        let messages = PostgresMessages { links, appends, reading, frontier, wakes, _tasks: tasks };
        Ok(Self { messages: Arc::new(messages), state: Arc::new(state) })
    }

    /// The messages.
    pub fn store(&self) -> Store {
        Store::of(self.messages.clone())
    }

    /// The messages, with the data of those that name a subject encrypted under a key of the subject's.
    pub fn encrypted(&self, clock: Clock) -> Arc<Encrypted> {
        Arc::new(Encrypted::new(self.messages.clone(), self.state(), clock))
    }

    /// The small state.
    pub fn state(&self) -> State {
        State::of(self.state.clone())
    }
}

/// Ends with who holds them.
#[derive(Debug)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// The messages' side.
#[derive(Debug)]
struct PostgresMessages {
    links: Arc<Links>,
    appends: Arc<Appends>,
    reading: Reading,
    frontier: Arc<Frontier>,
    wakes: Arc<Wakes>,
    _tasks: Arc<Tasks>,
}

impl PostgresMessages {
    async fn read_page(&self, read: Read) -> Result<Page, Fault> {
        if read.limit == 0 {
            return Ok(Page { next: read.from, ..Page::default() });
        }
        let known = self.frontier.known().await;
        let behind = known.saturating_sub(read.messages_max() as i64);
        if read.scope == Scope::All && read.direction == Direction::Forward && read.from < behind {
            // Far behind what was settled long ago: nothing newer matters yet.
            let page = self.reading.read(&read, known).await?;
            return Ok(Page { more: true, ..page });
        }
        let settled = match read.scope {
            Scope::Stream(_) => 0,
            Scope::Category(_) => known,
            Scope::All => {
                let (settled, waits) = self.frontier.now().await?;
                if waits {
                    // Should it come to nothing, nobody else would tell.
                    self.frontier.waits.notify_one();
                }
                settled
            }
        };
        self.reading.read(&read, settled).await
    }

    async fn remove_all(&self, removal: Removal) -> Result<u64, Fault> {
        // Those that are removed next are behind where everything is settled, so that the head stays.
        let settled = self.frontier.now().await?.0;
        self.frontier.save(settled).await?;
        let lent = self.links.lend().await?;
        let mut removed = 0;
        loop {
            let asked = async {
                let count = match &removal {
                    Removal::Stream { stream, before } => {
                        let statement = lent.statement(REMOVE_OF_STREAM).await?;
                        lent.client.query_one(&statement, &[stream, before, &REMOVE_ROWS]).await?
                    }
                    Removal::Category { category, before, keep } => {
                        let keep = keep.map(|keep| i64::try_from(keep).unwrap_or(i64::MAX));
                        let statement = lent.statement(REMOVE_OF_CATEGORY).await?;
                        lent.client.query_one(&statement, &[category, before, &keep, &REMOVE_ROWS]).await?
                    }
                };
                count.try_get::<_, i64>(0)
            };
            let count = self.links.patiently(asked).await?;
            removed += count as u64;
            if count < REMOVE_ROWS {
                break;
            }
        }
        lent.give_back();
        Ok(removed)
    }
}

/// A row goes to where only its place is kept in one statement, so that a stream's version does not falter.
const REMOVE_OF_STREAM: &str = "
    WITH gone AS (
        DELETE FROM message_store.messages WHERE global_position IN (
            SELECT global_position FROM message_store.messages
            WHERE stream_name = $1 AND position < $2 ORDER BY position LIMIT $3)
        RETURNING global_position, position, stream_name
    ), kept AS (INSERT INTO tombolo.removed SELECT * FROM gone)
    SELECT count(*) FROM gone";
const REMOVE_OF_CATEGORY: &str = "
    WITH newest AS (
        SELECT global_position FROM (
            SELECT global_position FROM message_store.messages WHERE message_store.category(stream_name) = $1
            UNION ALL
            SELECT global_position FROM tombolo.removed WHERE message_store.category(stream_name) = $1
        ) AS everything ORDER BY global_position DESC LIMIT 1 OFFSET $3::bigint
    ), gone AS (
        DELETE FROM message_store.messages WHERE global_position IN (
            SELECT global_position FROM message_store.messages
            WHERE message_store.category(stream_name) = $1 AND (
                time < timestamp 'epoch' + $2::bigint * interval '1 microsecond'
                OR $3::bigint IS NOT NULL AND global_position <= (SELECT global_position FROM newest))
            ORDER BY global_position LIMIT $4)
        RETURNING global_position, position, stream_name
    ), kept AS (INSERT INTO tombolo.removed SELECT * FROM gone)
    SELECT count(*) FROM gone";

impl Engine for PostgresMessages {
    fn append(&self, appends: Vec<Append>) -> Answer<'_, Vec<Appended>, AppendError> {
        Box::pin(self.appends.append(appends))
    }

    fn read(&self, read: Read) -> Answer<'_, Page> {
        Box::pin(self.read_page(read))
    }

    fn remove(&self, removal: Removal) -> Answer<'_, u64> {
        Box::pin(self.remove_all(removal))
    }

    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64> {
        Box::pin(self.reading.version(stream))
    }

    fn by_id(&self, id: Uuid) -> Answer<'_, Option<Message>> {
        Box::pin(self.reading.by_id(id))
    }

    fn streams(&self, list: StreamList) -> Answer<'_, Vec<StreamInfo>> {
        Box::pin(async move { self.reading.streams(&list).await })
    }

    fn categories<'a>(&'a self, after: Option<&'a str>, limit: usize) -> Answer<'a, Vec<CategoryInfo>> {
        Box::pin(self.reading.categories(after, limit))
    }

    fn head(&self) -> Answer<'_, i64> {
        Box::pin(async move { Ok(self.frontier.now().await?.0) })
    }

    fn wakes(&self) -> &Wakes {
        &self.wakes
    }
}

fn micros(clock: &Clock) -> i64 {
    i64::try_from(clock.unix().micros()).unwrap_or(i64::MAX)
}
