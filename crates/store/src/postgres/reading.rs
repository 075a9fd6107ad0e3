//! Questions to the messages, each a statement. Pages are read in chunks, so that no more comes over than a page
//! may hold.

use super::link::{self, Lent, Links};
use crate::message::bounds;
use crate::{CategoryInfo, Direction, Json, Message, Page, Read, Scope, StreamInfo, StreamList, Uuid};
use base::Fault;
use futures_util::TryStreamExt as _;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

/// Fewest rows of a chunk.
const CHUNK_MIN: usize = 16;
const COLUMNS: &str = "id, stream_name, type, position, global_position, data::text, metadata::text,
    (extract(epoch FROM time) * 1000000)::bigint";

/// Reads messages.
#[derive(Debug)]
pub(super) struct Reading {
    links: Arc<Links>,
    /// Bytes of a message as the last chunks had them.
    message_bytes: AtomicUsize,
    /// Whether the database orders text by its bytes, so that its indexes do.
    by_bytes: bool,
}

type Parameters = Vec<Box<dyn ToSql + Sync + Send>>;

impl Reading {
    pub(super) async fn new(links: Arc<Links>) -> Result<Self, Fault> {
        let lent = links.lend().await?;
        let asked = async {
            let version = lent.client.query_one("SHOW server_version_num", &[]).await?;
            let version: String = version.try_get(0)?;
            // Before 15 there is one provider for a whole database, which is the C library.
            let provider = if version.as_str() < "150000" { "true" } else { "datlocprovider = 'c'" };
            let sql = format!(
                "SELECT {provider} AND datcollate IN ('C', 'POSIX') FROM pg_database WHERE datname = current_database()"
            );
            lent.client.query_one(&sql, &[]).await?.try_get(0)
        };
        let by_bytes = links.patiently(asked).await?;
        lent.give_back();
        Ok(Self { links, message_bytes: AtomicUsize::new(1_000), by_bytes })
    }

    /// One page. `settled` is a global position up to which everything was settled before this was called.
    pub(super) async fn read(&self, read: &Read, settled: i64) -> Result<Page, Fault> {
        let forward = read.direction == Direction::Forward;
        let (mut page, mut bytes) = (Page { next: read.from, ..Page::default() }, 0);
        let lent = self.links.lend().await?;
        // One more tells whether there is more.
        let wanted = read.messages_max() + 1;
        loop {
            let fit = bounds::PAGE_BYTES_MAX / self.message_bytes.load(Ordering::Relaxed).max(1);
            let chunk = (wanted - page.messages.len()).min(fit.max(CHUNK_MIN));
            let (rows, ended) = self.chunk(&lent, read, page.next, settled, chunk, &mut bytes).await?;
            let came = rows.len();
            for message in rows {
                if page.messages.len() + 1 == wanted {
                    page.more = true;
                    break;
                }
                let position = position(read, &message);
                page.next = if forward { position + 1 } else { position - 1 };
                page.messages.push(message);
            }
            page.more |= ended;
            if page.more || came < chunk {
                break;
            }
        }
        lent.give_back();
        if !page.more {
            page.next = match (&read.scope, forward) {
                (Scope::Stream(_), true) => page.next,
                (Scope::Category(_) | Scope::All, true) => page.next.max(settled + 1),
                (Scope::Stream(_), false) => -1,
                (Scope::Category(_) | Scope::All, false) => 0,
            };
        }
        Ok(page)
    }

    /// The next rows, and whether they ended at the bytes of a page.
    async fn chunk(
        &self,
        lent: &Lent,
        read: &Read,
        from: i64,
        settled: i64,
        rows: usize,
        bytes: &mut usize,
    ) -> Result<(Vec<Message>, bool), Fault> {
        let (sql, parameters) = page_sql(read, from, settled, rows);
        let asked = async {
            let statement = lent.statement(&sql).await?;
            let parameters = parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync));
            let mut stream = pin!(lent.client.query_raw(&statement, parameters).await?);
            let (mut messages, before) = (Vec::new(), *bytes);
            while let Some(row) = stream.try_next().await? {
                if *bytes > bounds::PAGE_BYTES_MAX {
                    self.note(*bytes - before, messages.len());
                    return Ok((messages, true));
                }
                let message = message(&row)?;
                *bytes += message.data.as_ref().map_or(0, |json| json.as_str().len());
                *bytes += message.metadata.as_ref().map_or(0, |json| json.as_str().len());
                messages.push(message);
            }
            self.note(*bytes - before, messages.len());
            Ok((messages, false))
        };
        self.links.patiently(asked).await
    }

    fn note(&self, bytes: usize, messages: usize) {
        if let Some(bytes) = bytes.checked_div(messages) {
            let before = self.message_bytes.load(Ordering::Relaxed);
            self.message_bytes.store(before.midpoint(bytes), Ordering::Relaxed);
        }
    }

    /// The position of a stream's last message, -1 for none.
    pub(super) async fn version(&self, stream: &str) -> Result<i64, Fault> {
        let sql = "SELECT coalesce(greatest(
            (SELECT max(position) FROM message_store.messages WHERE stream_name = $1),
            (SELECT max(position) FROM tombolo.removed WHERE stream_name = $1)), -1)";
        let rows = self.ask(sql, &[&stream]).await?;
        self.read_rows(&rows, |row| row.try_get(0)).map(|versions| versions.first().copied().unwrap_or(-1))
    }

    pub(super) async fn by_id(&self, id: Uuid) -> Result<Option<Message>, Fault> {
        let sql = format!("SELECT {COLUMNS} FROM message_store.messages WHERE id = $1");
        let rows = self.ask(&sql, &[&id]).await?;
        self.read_rows(&rows, message).map(|messages| messages.into_iter().next())
    }

    pub(super) async fn streams(&self, list: &StreamList) -> Result<Vec<StreamInfo>, Fault> {
        let sql = if self.by_bytes { STREAMS_BY_BYTES } else { STREAMS };
        let (after, limit) = (list.after.as_deref(), list.limit as i64);
        let rows = self.ask(sql, &[&list.beginning(), &list.prefix, &list.category, &after, &limit]).await?;
        self.read_rows(&rows, |row| Ok(StreamInfo { stream: row.try_get(0)?, version: row.try_get(1)? }))
    }

    pub(super) async fn categories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<CategoryInfo>, Fault> {
        let sql = if self.by_bytes { CATEGORIES_BY_BYTES } else { CATEGORIES };
        let rows = self.ask(sql, &[&after, &(limit as i64)]).await?;
        self.read_rows(&rows, |row| {
            Ok(CategoryInfo { category: row.try_get(0)?, messages: row.try_get::<_, i64>(1)? as u64 })
        })
    }

    async fn ask(&self, sql: &str, parameters: link::Parameters<'_>) -> Result<Vec<Row>, Fault> {
        let lent = self.links.lend().await?;
        let asked = async { lent.client.query(&lent.statement(sql).await?, parameters).await };
        let rows = self.links.patiently(asked).await?;
        lent.give_back();
        Ok(rows)
    }

    fn read_rows<T>(&self, rows: &[Row], read: impl Fn(&Row) -> Result<T, Error>) -> Result<Vec<T>, Fault> {
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| self.links.failed(error))
    }
}

/// Steps from name to name through the index, and stops when there are enough.
const STREAMS_BY_BYTES: &str = "
    WITH RECURSIVE walk (name) AS (
        SELECT least(
            (SELECT min(stream_name) FROM message_store.messages
                WHERE stream_name >= $1 AND ($4::text IS NULL OR stream_name > $4)),
            (SELECT min(stream_name) FROM tombolo.removed
                WHERE stream_name >= $1 AND ($4::text IS NULL OR stream_name > $4)))
        UNION ALL
        SELECT least(
            (SELECT min(stream_name) FROM message_store.messages WHERE stream_name > walk.name),
            (SELECT min(stream_name) FROM tombolo.removed WHERE stream_name > walk.name))
        FROM walk WHERE starts_with(walk.name, $1)
    )
    SELECT name, coalesce(greatest(
        (SELECT max(position) FROM message_store.messages WHERE stream_name = name),
        (SELECT max(position) FROM tombolo.removed WHERE stream_name = name)), -1)
    FROM walk
    WHERE starts_with(name, $2) AND ($3::text IS NULL OR message_store.category(name) = $3)
    LIMIT $5";
/// Looks at all of them: the index is in another order.
const STREAMS: &str = "
    SELECT stream_name, max(position) FROM (
        SELECT stream_name, position FROM message_store.messages
        UNION ALL SELECT stream_name, position FROM tombolo.removed
    ) AS everything
    WHERE starts_with(stream_name, $1) AND starts_with(stream_name, $2)
        AND ($3::text IS NULL OR message_store.category(stream_name) = $3)
        AND ($4::text IS NULL OR stream_name > $4 COLLATE \"C\")
    GROUP BY stream_name ORDER BY stream_name COLLATE \"C\" LIMIT $5";
const CATEGORIES_BY_BYTES: &str = "
    WITH RECURSIVE walk (name) AS (
        SELECT least(
            (SELECT min(message_store.category(stream_name)) FROM message_store.messages
                WHERE $1::text IS NULL OR message_store.category(stream_name) > $1),
            (SELECT min(message_store.category(stream_name)) FROM tombolo.removed
                WHERE $1::text IS NULL OR message_store.category(stream_name) > $1))
        UNION ALL
        SELECT least(
            (SELECT min(message_store.category(stream_name)) FROM message_store.messages
                WHERE message_store.category(stream_name) > walk.name),
            (SELECT min(message_store.category(stream_name)) FROM tombolo.removed
                WHERE message_store.category(stream_name) > walk.name))
        FROM walk WHERE walk.name IS NOT NULL
    )
    SELECT name, (SELECT count(*) FROM message_store.messages WHERE message_store.category(stream_name) = name)
        + (SELECT count(*) FROM tombolo.removed WHERE message_store.category(stream_name) = name)
    FROM walk WHERE name IS NOT NULL LIMIT $2";
const CATEGORIES: &str = "
    SELECT name, count(*) FROM (
        SELECT message_store.category(stream_name) AS name FROM message_store.messages
        UNION ALL SELECT message_store.category(stream_name) FROM tombolo.removed
    ) AS everything
    WHERE $1::text IS NULL OR name > $1 COLLATE \"C\"
    GROUP BY name ORDER BY name COLLATE \"C\" LIMIT $2";

fn position(read: &Read, message: &Message) -> i64 {
    match read.scope {
        Scope::Stream(_) => message.position,
        Scope::Category(_) | Scope::All => message.global_position,
    }
}

fn message(row: &Row) -> Result<Message, Error> {
    let json = |text: Option<&str>| text.map(Json::trusted);
    Ok(Message {
        id: row.try_get(0)?,
        stream: row.try_get(1)?,
        kind: row.try_get(2)?,
        position: row.try_get(3)?,
        global_position: row.try_get(4)?,
        data: json(row.try_get(5)?),
        metadata: json(row.try_get(6)?),
        time: row.try_get(7)?,
    })
}

/// The statement of a page from a position on. There are few different ones, so that each is prepared once.
fn page_sql(read: &Read, from: i64, settled: i64, rows: usize) -> (String, Parameters) {
    let mut sql = format!("SELECT {COLUMNS} FROM message_store.messages WHERE true");
    let mut parameters: Parameters = Vec::new();
    // A `?` stands for the parameter.
    let mut condition = |text: &str, parameter: Box<dyn ToSql + Sync + Send>| {
        parameters.push(parameter);
        // Writing into a string does not fail.
        let _ = write!(sql, " {}", text.replace('?', &format!("${}", parameters.len())));
    };
    let ordered = match &read.scope {
        Scope::Stream(stream) => {
            condition("AND stream_name = ?", Box::new(stream.clone()));
            "position"
        }
        Scope::Category(category) => {
            condition("AND message_store.category(stream_name) = ?", Box::new(category.clone()));
            "global_position"
        }
        Scope::All => {
            // Only this order has gaps that may still be filled: in a category, messages become visible in it.
            condition("AND global_position <= ?", Box::new(settled));
            "global_position"
        }
    };
    let forward = read.direction == Direction::Forward;
    condition(&format!("AND {ordered} {} ?", if forward { ">=" } else { "<=" }), Box::new(from));
    if let Some(category) = &read.correlation {
        let text = "AND message_store.category(metadata ->> 'correlationStreamName') = ?";
        condition(text, Box::new(category.clone()));
    }
    if let Some(member) = read.member {
        let hash = "abs(message_store.hash_64(message_store.cardinal_id(stream_name)))";
        condition(&format!("AND mod({hash}, ?::bigint)"), Box::new(i64::from(member.size())));
        condition("= ?::bigint", Box::new(i64::from(member.number())));
    }
    if let Some(kind) = &read.kind {
        condition("AND type = ?", Box::new(kind.clone()));
    }
    if let Some(time) = read.as_at {
        condition("AND time <= timestamp 'epoch' + ?::bigint * interval '1 microsecond'", Box::new(time));
    }
    if let Some(until) = read.until {
        condition("AND global_position <= ?", Box::new(until));
    }
    parameters.push(Box::new(rows as i64));
    let direction = if forward { "ASC" } else { "DESC" };
    let _ = write!(sql, " ORDER BY {ordered} {direction} LIMIT ${}", parameters.len());
    (sql, parameters)
}
