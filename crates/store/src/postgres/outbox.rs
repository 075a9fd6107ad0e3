//! Messages to come in a table of somebody else's database. A service writes them with its own rows in one
//! transaction; who appends them takes them away here. The table may be a view over another one.

use super::link::{Link, Links};
use crate::message::bounds::JSON_BYTES_MAX;
use crate::{Json, NewMessage, Uuid};
use base::{Blame, Fault, Kind};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_postgres::Row;

/// Rows of one page.
const PAGE_ROWS: i64 = 500;
/// Bytes of one page; one row more may pass it.
const PAGE_BYTES: i64 = 4 << 20;
/// Bytes of the name of a stream or of a type that are read; more are refused by the store in any case.
const NAME_CHARS: i32 = 4_096;
/// Bytes of a reason in `refused`.
const REASON_BYTES: usize = 1_000;

/// What each connection sets. What is taken away need not be durable at once: it would be found again.
const SETTINGS: &str = "
    SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s';
    SET client_min_messages = 'warning';
    SET synchronous_commit = off";

/// The columns, each with the type that a table made for it has.
const COLUMNS: [(&str, &str); 7] = [
    ("position", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    ("id", "uuid NOT NULL DEFAULT gen_random_uuid()"),
    ("stream_name", "text NOT NULL"),
    ("type", "text NOT NULL"),
    ("data", "jsonb"),
    ("metadata", "jsonb"),
    ("refused", "text"),
];

/// A table of messages to come, read over one connection that is made when it is needed.
#[derive(Debug)]
pub struct Outbox {
    links: Arc<Links>,
    /// As the user names it.
    table: String,
    told: Arc<Notify>,
    open: Option<Open>,
    /// The first row that was taken away last.
    gone: Option<RowKey>,
}

/// A connection, and the statements for the table as the server spells it.
#[derive(Debug)]
struct Open {
    link: Link,
    page: String,
    done: String,
    refuse: String,
}

/// Names a row. Neither part has to be unique, as nobody may have seen to it; a row that nobody read is never taken for
/// one that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// Its place among the others.
    pub position: i64,
    /// Its `id` as it stands there.
    id: Option<String>,
}

/// A row.
#[derive(Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Which it is.
    pub key: RowKey,
    /// The stream and the message, or why it can be none.
    pub message: Result<(String, NewMessage), String>,
}

impl Outbox {
    /// The outbox in this table of the database at this address. No connection is made.
    pub fn new(url: &str, table: &str) -> Result<Self, Fault> {
        let links = Links::new(url, 1, SETTINGS)?;
        Ok(Self { links, table: table.to_owned(), told: Arc::default(), open: None, gone: None })
    }

    /// Where it is, as it may be shown.
    pub fn place(&self) -> String {
        format!("table `{}` of {}", self.table, self.links.place())
    }

    /// The oldest rows that nobody refused, in the order of `position`.
    pub async fn page(&mut self) -> Result<Vec<OutboxRow>, Fault> {
        let rows = self.rows().await?;
        let Some(gone) = self.gone.clone().filter(|gone| rows.first().is_some_and(|row| row.key == *gone))
        else {
            return Ok(rows);
        };
        // A database that crashed forgets what it had not put on its disk, and what kept the rows may be mended.
        self.done(std::slice::from_ref(&gone)).await?;
        let rows = self.rows().await?;
        if rows.first().is_some_and(|row| row.key == gone) {
            let text = format!("rows of {} are not gone after they were deleted", self.place());
            return Err(Fault::new(Kind::Conflict, text)
                .blame(Blame::Neighbour)
                .hint("look whether a trigger or a rule keeps them, or whether `position` is not unique"));
        }
        Ok(rows)
    }

    async fn rows(&mut self) -> Result<Vec<OutboxRow>, Fault> {
        let rows = self.ask(async |open| {
            let page = open.link.statement(&open.page).await?;
            open.link.client.query(&page, &[&PAGE_ROWS, &PAGE_BYTES, &(JSON_BYTES_MAX as i64)]).await
        });
        let rows = rows.await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| self.links.failed(error))
    }

    /// Takes rows away that are appended.
    pub async fn done(&mut self, rows: &[RowKey]) -> Result<(), Fault> {
        let (positions, ids): (Vec<i64>, Vec<&str>) =
            rows.iter().map(|row| (row.position, row.id.as_deref().unwrap_or_default())).unzip();
        let deleted = self.ask(async |open| {
            let done = open.link.statement(&open.done).await?;
            open.link.client.execute(&done, &[&positions, &ids]).await
        });
        deleted.await?;
        self.gone = rows.first().cloned();
        Ok(())
    }

    /// Leaves a row aside that can't be appended, with the reason, until somebody sets `refused` to null again.
    pub async fn refuse(&mut self, row: &RowKey, reason: &str) -> Result<(), Fault> {
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
        let updated = self.ask(async |open| {
            let refuse = open.link.statement(&open.refuse).await?;
            open.link.client.execute(&refuse, &[&row.position, &row.id, &reason]).await
        });
        updated.await.map(drop)
    }

    /// Waits for a notification on the channel `tombolo_outbox`, while there is a connection.
    pub async fn told(&self) {
        self.told.notified().await;
    }

    /// Asks on the connection, which is made if there is none.
    async fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&Open) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Fault> {
        let open = match self.open.take().filter(|open| !open.link.client.is_closed()) {
            Some(open) => open,
            None => self.connect().await?,
        };
        let answered = self.links.patiently(question(&open)).await;
        // Whatever failed may be due to a table that was changed: it is looked at anew.
        if answered.is_ok() {
            self.open = Some(open);
        }
        answered
    }

    async fn connect(&self) -> Result<Open, Fault> {
        let told = self.told.clone();
        let link = self.links.connect(move |_, _| told.notify_one()).await?;
        let asked = async {
            link.client.batch_execute("LISTEN tombolo_outbox").await?;
            let columns = "
                SELECT to_regclass($1)::text, array(SELECT attname::text FROM pg_attribute
                    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped)";
            let row = link.client.query_one(columns, &[&self.table]).await?;
            Ok((row.try_get::<_, Option<String>>(0)?, row.try_get::<_, Vec<String>>(1)?))
        };
        let (table, columns) = self.links.patiently(asked).await?;
        let table = self.check(table, &columns)?;
        Ok(Open {
            link,
            page: PAGE.replace("{table}", &table).replace("{name_chars}", &NAME_CHARS.to_string()),
            done: format!(
                "DELETE FROM {table} AS rows USING unnest($1::bigint[], $2::text[]) AS done (position, id)
                WHERE rows.position = done.position AND rows.id::text = done.id AND rows.refused IS NULL"
            ),
            refuse: format!(
                "UPDATE {table} SET refused = $3
                WHERE position = $1 AND id::text IS NOT DISTINCT FROM $2::text AND refused IS NULL"
            ),
        })
    }

    /// The table as the server spells it, if it is one.
    fn check(&self, table: Option<String>, columns: &[String]) -> Result<String, Fault> {
        let name = &self.table;
        let Some(table) = table else {
            let text = format!("there is no table `{name}` in {}", self.links.place());
            let columns = COLUMNS.map(|(name, kind)| format!("{name} {kind}")).join(", ");
            return Err(Fault::new(Kind::NotFound, text)
                .blame(Blame::Neighbour)
                .hint(format!("`CREATE TABLE {name} ({columns})`")));
        };
        match COLUMNS.iter().find(|(column, _)| !columns.iter().any(|there| there == column)) {
            None => Ok(table),
            Some((column, kind)) => {
                let kind = kind.split(' ').next().unwrap_or(kind);
                let text = format!("{} has no column `{column}`", self.place());
                Err(Fault::new(Kind::NotFound, text).blame(Blame::Neighbour).hint(format!(
                    "add `{column} {kind}`, or name a view over the table that has all columns"
                )))
            }
        }
    }
}

/// Rows by their places, some megabytes of them. What is too large for a message does not come over the wire.
const PAGE: &str = "
    SELECT position, id, stream_name, type, CASE WHEN size <= $3::bigint THEN data END,
        CASE WHEN size <= $3::bigint THEN metadata END, size
    FROM (
        SELECT *, (sum(size) OVER (ORDER BY position))::bigint AS total FROM (
            SELECT position::bigint, id::text, left(stream_name::text, {name_chars}) AS stream_name,
                left(type::text, {name_chars}) AS type, data::text, metadata::text,
                greatest(octet_length(data::text), octet_length(metadata::text), 0)::bigint AS size
            FROM {table} WHERE refused IS NULL AND position IS NOT NULL ORDER BY position LIMIT $1) AS rows) AS sized
    WHERE total - size < $2::bigint ORDER BY position";

fn read(row: &Row) -> Result<OutboxRow, tokio_postgres::Error> {
    let position: Option<i64> = row.try_get(0)?;
    let text = |nth: usize| row.try_get::<_, Option<&str>>(nth);
    let (id, stream, kind, data, metadata) = (text(1)?, text(2)?, text(3)?, text(4)?, text(5)?);
    let size: i64 = row.try_get(6)?;
    let message = || {
        if size > JSON_BYTES_MAX as i64 {
            return Err(format!("its data or metadata has {size} bytes, at most {JSON_BYTES_MAX} go"));
        }
        let id = id.ok_or("it has no `id`")?;
        let id = Uuid::parse_str(id).map_err(|_| format!("its `id` `{id}` is no UUID"))?;
        let stream = stream.filter(|stream| !stream.is_empty()).ok_or("it has no `stream_name`")?;
        let kind = kind.filter(|kind| !kind.is_empty()).ok_or("it has no `type`")?;
        let json = |name: &str, text: Option<&str>| match text.map(Json::parse) {
            None => Ok(None),
            Some(Ok(json)) => Ok(Some(json)),
            Some(Err(error)) => Err(format!("its `{name}`: {error}")),
        };
        let (data, metadata) = (json("data", data)?, json("metadata", metadata)?);
        Ok((stream.to_owned(), NewMessage { id, kind: kind.to_owned(), data, metadata }))
    };
    let key = RowKey { position: position.unwrap_or_default(), id: id.map(str::to_owned) };
    Ok(OutboxRow { key, message: message() })
}
