//! What Message DB's functions do when the store has to be asked: the order of their checks, their errors and
//! their notices are the original's (its `database/functions` of 1.3.0).

use super::error::{Sql, SqlError};
use super::expr::Expr;
use super::functions::Asks;
use super::notices::{self, Notification};
use super::plan;
use super::scan::Scan;
use super::session::Session;
use super::time;
use super::transaction::{Block, duplicate_id, not_appended};
use super::types::Type;
use super::value::{self, Value};
use store::{Append, AppendError, Json, Member, Message, NewMessage, Read, Uuid, names};

/// What `write_message` was called with.
struct Write<'a> {
    id: Option<&'a str>,
    stream: Option<&'a str>,
    kind: Option<&'a str>,
    data: Option<Json>,
    metadata: Option<Json>,
    expected: Option<i64>,
}

/// An argument in a message of the original's: NULL is `<NULL>`.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "<NULL>".to_owned(),
        Value::Int(value) => value.to_string(),
        other => other.as_text().unwrap_or_default().to_owned(),
    }
}

/// The original's functions as errors name them: what it raises says where.
const WRITE_MESSAGE: &str =
    "write_message(character varying,character varying,character varying,jsonb,jsonb,bigint)";
const GET_STREAM: &str = "get_stream_messages(character varying,bigint,bigint,character varying)";
const GET_CATEGORY: &str = "get_category_messages(character varying,bigint,bigint,character varying,bigint,bigint,character varying)";

/// What a line of one of the original's functions raises.
fn raised(message: impl Into<String>, (function, line): (&str, u32)) -> Box<SqlError> {
    SqlError::new("P0001", message).context(format!("PL/pgSQL function {function} line {line} at RAISE"))
}

/// A document that was canonical when it came.
fn document(value: &Value<'_>) -> Sql<Option<Json>> {
    match value.as_text() {
        None => Ok(None),
        Some(text) => Json::parse(text)
            .map(Some)
            .map_err(|error| SqlError::new(error.kind.sqlstate(), error.kind.message())),
    }
}

impl Session {
    /// Asks for one value. `direct` says that nothing else belongs to the transaction, so that the store may be
    /// written to at once.
    pub(crate) async fn ask(
        &mut self,
        what: Asks,
        args: &[Value<'static>],
        direct: bool,
    ) -> Sql<Value<'static>> {
        let text = |nth: usize| args.get(nth).and_then(Value::as_text);
        match what {
            Asks::WriteMessage => {
                let write = Write {
                    id: text(0),
                    stream: text(1),
                    kind: text(2),
                    data: document(&args[3])?,
                    metadata: document(&args[4])?,
                    expected: args[5].as_int(),
                };
                let position = if direct { self.write_now(write).await? } else { self.write(write).await? };
                self.tell_write(args, position);
                Ok(Value::Int(position))
            }
            Asks::StreamVersion => {
                let Some(stream) = text(0) else { return Ok(Value::Null) };
                let version = self.version(stream).await?;
                Ok(if version < 0 { Value::Null } else { Value::Int(version) })
            }
            Asks::AcquireLock => {
                let Some(stream) = text(0) else { return Ok(Value::Null) };
                self.lock(stream).await?;
                self.tell_lock(stream);
                Ok(Value::Int(names::hash_64(names::category(stream))))
            }
            Asks::SetConfig => {
                let Some(name) = text(0) else {
                    return Err(SqlError::new("22004", "SET requires parameter name"));
                };
                self.set_parameter(name, text(1), args[2].is_true()).map(Value::owned)
            }
            Asks::Notify => {
                let (channel, payload) = (text(0).unwrap_or_default(), text(1).unwrap_or_default());
                self.notify(channel, payload)?;
                Ok(Value::text(""))
            }
            Asks::GetStream | Asks::GetCategory | Asks::GetLast => {
                Err(SqlError::not_served("rows in the place of a value"))
            }
        }
    }

    /// Sets a parameter, and tells the client if it wants to know of it.
    pub(crate) fn set_parameter(&mut self, name: &str, value: Option<&str>, local: bool) -> Sql<String> {
        self.before_change();
        if local && self.transaction.block == Block::None {
            return Ok(value.unwrap_or_default().to_owned());
        }
        let now = self.parameters.set(name, value, local)?.to_owned();
        if super::parameters::Parameters::is_told(name) {
            self.changed.push(name.to_owned());
        }
        Ok(now)
    }

    /// Notifies others once the transaction has ended.
    pub(crate) fn notify(&mut self, channel: &str, payload: &str) -> Sql<()> {
        notices::check(channel, payload)?;
        let notification =
            Notification { pid: self.pid, channel: channel.to_owned(), payload: payload.to_owned() };
        if self.transaction.block == Block::None {
            self.shared.channels.notify(notification);
            return Ok(());
        }
        self.transaction.notify(notification)
    }

    /// Writes as a transaction of its own. It shares the category's lock with its like, and the store puts them
    /// in order.
    async fn write_now(&mut self, write: Write<'_>) -> Sql<i64> {
        let (Some(Ok(id)), Some(stream), Some(kind)) = (write.id.map(uuid), write.stream, write.kind) else {
            return self.write(write).await;
        };
        let locks = self.shared.locks.clone();
        let _shared = self.waits_for_lock(locks.shared(names::category(stream))).await?;
        self.tell_lock(stream);
        let message = NewMessage {
            id,
            kind: kind.to_owned(),
            data: write.data.clone(),
            metadata: write.metadata.clone(),
        };
        let append =
            Append { stream: stream.to_owned(), expected_version: write.expected, messages: vec![message] };
        // From here on nothing is given up: the client has to learn what became of it.
        match self.shared.append(vec![append]).await {
            Ok(appended) => Ok(appended.first().map_or(0, |appended| appended.first_position)),
            Err(AppendError::WrongVersion { expected, actual, .. }) => {
                Err(wrong_version(expected, stream, actual))
            }
            Err(error) => Err(not_appended(error)),
        }
    }

    /// Writes within the transaction: the order of the checks is that of the original, which compares versions
    /// before it looks at the id.
    async fn write(&mut self, write: Write<'_>) -> Sql<i64> {
        let version = match write.stream {
            Some(stream) => {
                self.lock(stream).await?;
                self.tell_lock(stream);
                self.version(stream).await?
            }
            None => -1,
        };
        if let Some(expected) = write.expected.filter(|expected| *expected != version) {
            return Err(wrong_version(expected, write.stream.unwrap_or("<NULL>"), version));
        }
        let id = write.id.map(uuid).transpose()?;
        let row = NewRow {
            id,
            stream: write.stream.map(str::to_owned),
            kind: write.kind.map(str::to_owned),
            position: Some(version + 1),
            data: write.data,
            metadata: write.metadata,
        };
        self.insert(row).await?;
        Ok(version + 1)
    }

    /// Puts a row into the table, as INSERT does.
    pub(crate) async fn insert(&mut self, row: NewRow) -> Sql<Message> {
        // The store has no sequence that is spent; what PostgreSQL would show as the next is shown.
        let next = self.shared.store.head().await? + self.transaction.pending.len() as i64 + 1;
        let missing = [
            ("position", row.position.is_none()),
            ("stream_name", row.stream.is_none()),
            ("type", row.kind.is_none()),
            ("id", row.id.is_none()),
        ];
        if let Some((column, _)) = missing.iter().find(|(_, missing)| *missing) {
            let text = format!(
                "null value in column \"{column}\" of relation \"messages\" violates not-null constraint"
            );
            let detail = format!("Failing row contains ({}).", row.text(next, self.transaction.start));
            return Err(SqlError::new("23502", text).detail(detail).column(column));
        }
        let (Some(id), Some(stream), Some(kind), Some(position)) =
            (row.id, row.stream, row.kind, row.position)
        else {
            return Err(SqlError::new("XX000", "a row is incomplete"));
        };
        self.lock(&stream).await?;
        if self.transaction.has_id(id) || self.shared.store.by_id(id).await?.is_some() {
            return Err(duplicate_id(id));
        }
        let version = self.version(&stream).await?;
        if (0..=version).contains(&position) {
            let text = "duplicate key value violates unique constraint \"messages_stream\"";
            let detail = format!("Key (stream_name, \"position\")=({stream}, {position}) already exists.");
            return Err(SqlError::new("23505", text).detail(detail).constraint("messages_stream"));
        }
        if position != version + 1 {
            let text = format!("position {position} of stream \"{stream}\", whose next is {},", version + 1);
            return Err(SqlError::not_served(text).hint("positions of a stream have no gaps here"));
        }
        let message = Message {
            id,
            stream,
            kind,
            position,
            global_position: next,
            data: row.data,
            metadata: row.metadata,
            time: self.transaction.start,
        };
        self.transaction.write(message.clone())?;
        Ok(message)
    }

    /// The rows of one of the functions that read.
    pub(crate) async fn rows(&mut self, what: Asks, args: &[Value<'static>]) -> Sql<Scan> {
        match what {
            Asks::GetStream => self.stream_rows(args),
            Asks::GetCategory => self.category_rows(args),
            Asks::GetLast => self.last_row(args).await,
            _ => Err(SqlError::not_served("a value in the place of rows")),
        }
    }

    fn stream_rows(&mut self, args: &[Value<'static>]) -> Sql<Scan> {
        let stream = args[0].as_text().filter(|name| !names::is_category(name));
        // is_category of NULL is true, and so no stream's name.
        let stream = stream
            .ok_or_else(|| raised(format!("Must be a stream name: {}", shown(&args[0])), (GET_STREAM, 7)))?;
        let (position, batch) = (args[1].as_int().unwrap_or(0), args[2].as_int().unwrap_or(1_000));
        let condition = self.condition(&args[3], (GET_STREAM, 34))?;
        if self.debugs("get") {
            let command = command(
                "stream_name = $1",
                "position >= $2",
                &[],
                args[3].as_text(),
                "position",
                batch,
                "$3",
            );
            self.tell_all(&[
                "» get_stream_messages".to_owned(),
                format!("stream_name ($1): {stream}"),
                format!("position ($2): {position}"),
                format!("batch_size ($3): {batch}"),
                format!("condition ($4): {}", shown(&args[3])),
                command,
            ]);
        }
        let limit = limit(batch)?;
        Ok(Scan::new(Read::stream(stream).from(position), &self.transaction.pending, condition, limit))
    }

    fn category_rows(&mut self, args: &[Value<'static>]) -> Sql<Scan> {
        let category = args[0].as_text();
        if let Some(name) = category.filter(|name| !names::is_category(name)) {
            return Err(raised(format!("Must be a category: {name}"), (GET_CATEGORY, 6)));
        }
        let (position, batch) = (args[1].as_int().unwrap_or(1), args[2].as_int().unwrap_or(1_000));
        let correlation = args[3].as_text();
        if let Some(name) = correlation.filter(|name| name.contains('-')) {
            let text = format!("Correlation must be a category (Correlation: {name})");
            return Err(raised(text, (GET_CATEGORY, 32)));
        }
        let member = member(&args[4], &args[5])?;
        let condition = self.condition(&args[6], (GET_CATEGORY, 83))?;
        if self.debugs("get") {
            let mut more = Vec::new();
            if correlation.is_some() {
                more.push("category(metadata->>'correlationStreamName') = $4");
            }
            if member.is_some() {
                more.push("MOD(@hash_64(cardinal_id(stream_name)), $6) = $5");
            }
            let (what, from) = ("category(stream_name) = $1", "global_position >= $2");
            let command = command(what, from, &more, args[6].as_text(), "global_position", batch, "$3");
            self.tell_all(&[
                "» get_category_messages".to_owned(),
                format!("category ($1): {}", shown(&args[0])),
                format!("position ($2): {position}"),
                format!("batch_size ($3): {batch}"),
                format!("correlation ($4): {}", shown(&args[3])),
                format!("consumer_group_member ($5): {}", shown(&args[4])),
                format!("consumer_group_size ($6): {}", shown(&args[5])),
                format!("condition: {}", shown(&args[6])),
                command,
            ]);
        }
        // The cast to smallint is among the arguments of the statement, and so before its LIMIT.
        let member = member.map(|member| smallint(member.0, member.1)).transpose()?;
        let limit = limit(batch)?;
        let Some(category) = category else { return Ok(Scan::nothing()) };
        let mut read = Read::category(category).from(position);
        read.correlation = correlation.map(str::to_owned);
        read.member = member;
        Ok(Scan::new(read, &self.transaction.pending, condition, limit))
    }

    async fn last_row(&mut self, args: &[Value<'static>]) -> Sql<Scan> {
        let kind = args[1].as_text();
        if self.debugs("get") {
            let clause = kind.map_or("", |_| " AND\n      type = $2");
            self.tell_all(&[
                "» get_last_message".to_owned(),
                format!("stream_name ($1): {}", shown(&args[0])),
                format!("type ($2): {}", shown(&args[1])),
                format!(
                    "Generated Command: {SELECTED}\n    WHERE\n      stream_name = $1{clause}\n    ORDER BY\n      \
                     position DESC\n    LIMIT\n      1"
                ),
            ]);
        }
        let Some(stream) = args[0].as_text() else { return Ok(Scan::nothing()) };
        let fits =
            |message: &&Message| message.stream == stream && kind.is_none_or(|kind| message.kind == kind);
        let own = self.transaction.pending.iter().rev().find(fits).cloned();
        let last = match own {
            Some(message) => Some(message),
            None => self.shared.store.last(stream, kind).await?,
        };
        Ok(Scan::of(last.into_iter().collect()))
    }

    /// A condition, if conditions are on; what they are refused by is said.
    fn condition(&self, text: &Value<'_>, by: (&str, u32)) -> Sql<Option<Expr>> {
        let Some(text) = text.as_text() else { return Ok(None) };
        // Only NULL and `off` refuse; a setting that was reset is empty and does not.
        if matches!(self.parameters.get("message_store.sql_condition"), None | Some("off")) {
            return Err(raised("Retrieval with SQL condition is not activated", by));
        }
        plan::condition(text).map(Some)
    }

    fn debugs(&self, what: &str) -> bool {
        self.parameters.is_on(&format!("message_store.debug_{what}"))
            || self.parameters.is_on("message_store.debug")
    }

    fn tell_all(&mut self, texts: &[String]) {
        for text in texts {
            self.tell(*SqlError::notice(text));
        }
    }

    /// Says which lock was taken, for a write or by itself.
    fn tell_lock(&mut self, stream: &str) {
        if self.debugs("write") {
            let category = names::category(stream);
            self.tell_all(&[
                "» acquire_lock".to_owned(),
                format!("stream_name: {stream}"),
                format!("_category: {category}"),
                format!("_category_name_hash: {}", names::hash_64(category)),
            ]);
        }
    }

    fn tell_write(&mut self, args: &[Value<'static>], position: i64) {
        if self.debugs("write") {
            let names = ["id", "stream_name", "type", "data", "metadata", "expected_version"];
            let args = names.iter().zip(args).zip(1..);
            let mut texts = vec!["» write_message".to_owned()];
            texts.extend(args.map(|((name, value), nth)| format!("{name} (${nth}): {}", shown(value))));
            texts.push(format!("_stream_version: {}", position - 1));
            texts.push(format!("_next_position: {position}"));
            self.tell_all(&texts);
        }
    }
}

/// A row to be inserted; what is `None` is NULL.
#[derive(Debug, Default)]
pub(crate) struct NewRow {
    pub(crate) id: Option<Uuid>,
    pub(crate) stream: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) position: Option<i64>,
    pub(crate) data: Option<Json>,
    pub(crate) metadata: Option<Json>,
}

impl NewRow {
    /// The row as an error shows it, in the table's order; long values are cut (`ExecBuildSlotValueDescription`).
    fn text(&self, global_position: i64, now: i64) -> String {
        let mut time = String::new();
        time::timestamp_text(now, &mut time);
        let cut = |text: &str| match value::cut(text, 64) {
            short if short.len() < text.len() => format!("{short}..."),
            whole => whole.to_owned(),
        };
        let or_null = |text: Option<String>| text.map_or("null".to_owned(), |text| cut(&text));
        let json = |json: &Option<Json>| or_null(json.as_ref().map(ToString::to_string));
        [
            global_position.to_string(),
            or_null(self.position.map(|position| position.to_string())),
            time,
            or_null(self.stream.clone()),
            or_null(self.kind.clone()),
            json(&self.data),
            json(&self.metadata),
            or_null(self.id.map(|id| id.to_string())),
        ]
        .join(", ")
    }
}

fn uuid(text: &str) -> Sql<Uuid> {
    match value::of_text(text, Type::Uuid)? {
        Value::Uuid(id) => Ok(id),
        _ => Err(SqlError::new("XX000", "an id is no id")),
    }
}

fn wrong_version(expected: i64, stream: &str, actual: i64) -> Box<SqlError> {
    let text = format!("Wrong expected version: {expected} (Stream: {stream}, Stream Version: {actual})");
    raised(text, (WRITE_MESSAGE, 17))
}

/// A batch size: -1 is no limit.
fn limit(batch: i64) -> Sql<Option<u64>> {
    match u64::try_from(batch) {
        Ok(limit) => Ok(Some(limit)),
        Err(_) if batch == -1 => Ok(None),
        Err(_) => Err(SqlError::new("2201W", "LIMIT must not be negative")),
    }
}

/// The member and size of a group, both or none.
fn member(member: &Value<'_>, size: &Value<'_>) -> Sql<Option<(i64, i64)>> {
    let tail = format!("(Consumer Group Member: {}, Consumer Group Size: {})", shown(member), shown(size));
    let refused = |why: &str, line| raised(format!("Consumer group {why} {tail}"), (GET_CATEGORY, line));
    let (number, size) = match (member.as_int(), size.as_int()) {
        (None, None) => return Ok(None),
        (Some(number), Some(size)) => (number, size),
        _ => return Err(refused("member and size must be specified", 46)),
    };
    if size < 1 {
        return Err(refused("size must not be less than 1", 56));
    }
    if number < 0 {
        return Err(refused("member must not be less than 0", 63));
    }
    if number >= size {
        return Err(refused("member must be less than the group size", 70));
    }
    Ok(Some((number, size)))
}

fn smallint(number: i64, size: i64) -> Sql<Member> {
    let beyond = || SqlError::new("22003", "smallint out of range");
    let size = u16::try_from(size).ok().filter(|size| *size <= 32_767).ok_or_else(beyond)?;
    let number = u16::try_from(number).map_err(|_| beyond())?;
    Member::new(number, size).ok_or_else(beyond)
}

/// What the original says it selects.
const SELECTED: &str = "\n    SELECT\n      id::varchar,\n      stream_name::varchar,\n      type::varchar,\n      \
     position::bigint,\n      global_position::bigint,\n      data::varchar,\n      metadata::varchar,\n      \
     time::timestamp\n    FROM\n      messages";

/// The statement that the original says it runs.
fn command(
    what: &str,
    from: &str,
    more: &[&str],
    condition: Option<&str>,
    order: &str,
    batch: i64,
    limit: &str,
) -> String {
    let mut clauses = vec![what.to_owned(), from.to_owned()];
    clauses.extend(more.iter().map(|clause| (*clause).to_owned()));
    clauses.extend(condition.map(|condition| format!("({condition})")));
    let clauses = clauses.join(" AND\n      ");
    let limit = if batch == -1 { String::new() } else { format!("\n      LIMIT\n        {limit}") };
    format!(
        "Generated Command: {SELECTED}\n    WHERE\n      {clauses}\n    ORDER BY\n      {order} ASC{limit}"
    )
}
