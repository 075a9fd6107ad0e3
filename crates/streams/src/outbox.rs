//! Outboxes: a service writes its messages into a table of its own database, in the transaction that changes its own
//! rows, and they are appended here in the order of the table. So either both happen or neither. A row's `id` becomes
//! the message's, so that one which is appended again after a crash is there once.

use crate::http::append::is_there;
use crate::spans::{Appender, Spans};
use base::{Clock, Fault};
use std::sync::Arc;
use std::time::Duration;
use store::{Append, AppendError, Appended, NewMessage, OutboxRow, RowKey, State, Store, Uuid};

const HOLD: Duration = Duration::from_secs(10);
/// How often is asked for the lease that another node has.
const LOOK: Duration = Duration::from_secs(2);
/// Between two tries while the database does not answer, or ours does not take messages: at first, and at most.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// An outbox of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// Says which it is; several nodes share the work of one name.
    pub name: String,
    /// The database's address, which may hold a password.
    pub url: String,
    /// The table.
    pub table: String,
    /// How often it is looked at though nobody notified.
    pub every: Duration,
}

impl Outbox {
    /// Refuses an address that can't be one. Nothing is asked of the database.
    pub fn check(&self) -> Result<(), Fault> {
        store::Outbox::new(&self.url, &self.table).map(drop).map_err(|mut fault| {
            fault.message = format!("outbox `{}`: {}", self.name, fault.message);
            fault
        })
    }
}

/// What is to be told of an outbox.
#[derive(Debug)]
pub enum News {
    /// It can't go on for now, and tries again. Told once until it goes on.
    Halted(Fault),
    /// It goes on.
    Resumed,
    /// A row that can't be appended was put aside in the table.
    Refused {
        /// Its place in the table.
        position: i64,
        /// Why.
        reason: String,
    },
}

/// Appends what comes into the outbox, for ever, and leaves spans of it where there are some.
pub async fn run(
    store: Store,
    state: State,
    clock: Clock,
    spans: Option<Arc<Spans>>,
    outbox: Outbox,
    told: impl Fn(&Outbox, News) + Send + Sync,
) -> Result<(), Fault> {
    let table = store::Outbox::new(&outbox.url, &outbox.table)?;
    let (lease, node) = (format!("$outbox:{}", outbox.name), Uuid::new_v4().to_string());
    let mut import = Import { store, clock: clock.clone(), spans, table, refused: Vec::new() };
    let (mut ours_until, mut halted) = (clock.now(), None);
    loop {
        let done = if ours_until > clock.now() {
            import.page().await
        } else {
            let asked = clock.now();
            match state.acquire(&lease, &node, HOLD).await {
                Ok(lease) if lease.holder != node => {
                    clock.sleep(LOOK).await;
                    continue;
                }
                Ok(_) => {
                    ours_until = asked + HOLD / 2;
                    continue;
                }
                Err(fault) => Err(fault),
            }
        };
        for (position, reason) in import.refused.drain(..) {
            told(&outbox, News::Refused { position, reason });
        }
        match done {
            Ok(rows) => {
                if halted.take().is_some() {
                    told(&outbox, News::Resumed);
                }
                if rows == 0 {
                    tokio::select! {
                        () = import.table.told() => {}
                        () = clock.sleep(outbox.every) => {}
                    }
                }
            }
            Err(fault) => {
                let pause = halted.map_or(PAUSE, |pause: Duration| (pause * 2).min(PAUSE_MAX));
                if halted.replace(pause).is_none() {
                    told(&outbox, News::Halted(fault));
                }
                clock.sleep(pause).await;
            }
        }
    }
}

/// A row that is a message, with its stream.
type Row = (RowKey, String, NewMessage);

struct Import {
    store: Store,
    clock: Clock,
    spans: Option<Arc<Spans>>,
    table: store::Outbox,
    /// Put aside since it was told last.
    refused: Vec<(i64, String)>,
}

impl Import {
    /// Appends the next rows, and answers how many there were.
    async fn page(&mut self) -> Result<usize, Fault> {
        let rows = self.table.page().await?;
        let count = rows.len();
        let mut good: Vec<Row> = Vec::with_capacity(count);
        for OutboxRow { key, message } in rows {
            match message {
                Ok((stream, message)) => good.push((key, stream, message)),
                Err(reason) => self.refuse(&key, reason).await?,
            }
        }
        if good.is_empty() {
            return Ok(count);
        }
        match self.append(together(&good)).await {
            Ok(_) => {}
            // One of them is the matter; it is looked for.
            Err(AppendError::DuplicateId { .. } | AppendError::Refused(_)) => {
                good = self.singly(good).await?;
            }
            Err(error) => return Err(error.into()),
        }
        let done: Vec<RowKey> = good.into_iter().map(|(key, ..)| key).collect();
        if !done.is_empty() {
            self.table.done(&done).await?;
        }
        Ok(count)
    }

    /// Appends one row after the other, and answers those that are there now.
    async fn singly(&mut self, rows: Vec<Row>) -> Result<Vec<Row>, Fault> {
        let mut good = Vec::with_capacity(rows.len());
        for row in rows {
            let append = together(std::slice::from_ref(&row)).remove(0);
            let reason = match self.append(vec![append.clone()]).await {
                Ok(_) => None,
                Err(AppendError::DuplicateId { .. }) if is_there(&self.store, &append).await? => None,
                Err(AppendError::DuplicateId { id }) => {
                    Some(format!("another message of id `{id}` is there already"))
                }
                Err(AppendError::Refused(fault)) => Some(fault.message),
                Err(error) => return Err(error.into()),
            };
            match reason {
                None => good.push(row),
                Some(reason) => self.refuse(&row.0, reason).await?,
            }
        }
        Ok(good)
    }

    /// Its rows stay as they are; a trace that one of them names goes on.
    async fn append(&self, mut appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let spans = self.spans.as_ref();
        let span = spans.map(|spans| spans.append(&self.clock, "import", &Appender::Client, &mut appends));
        let appended = self.store.append(appends).await;
        if let Some(span) = span {
            span.end(&self.clock, appended.as_ref().map(drop));
        }
        appended
    }

    async fn refuse(&mut self, row: &RowKey, reason: String) -> Result<(), Fault> {
        self.table.refuse(row, &reason).await?;
        self.refused.push((row.position, reason));
        Ok(())
    }
}

/// Appends of these rows in their order; neighbours of one stream are one.
fn together(rows: &[Row]) -> Vec<Append> {
    let neighbours = rows.chunk_by(|(_, one, _), (_, next, _)| one == next);
    let append = |rows: &[Row]| Append {
        stream: rows.first().map(|(_, stream, _)| stream.clone()).unwrap_or_default(),
        expected_version: None,
        messages: rows.iter().map(|(.., message)| message.clone()).collect(),
    };
    neighbours.map(append).collect()
}
