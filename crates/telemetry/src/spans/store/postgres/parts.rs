//! The parts that spans lie in: which there are, when a new one is begun and when the oldest goes. A part is three tables
//! of its own, so that removing it is no matter of rows, and holds up nobody who writes.

use super::{Database, signed};
use base::{Fault, Kind, Retry};
use std::fmt::Write as _;
use store::Lent;
use tokio_postgres::Error;
use tokio_postgres::types::Type;

/// Whoever begins or removes a part holds this: "tracesp" as a number.
const LOCK: i64 = 0x7472_6163_6573_7000;
/// Of what is kept, by age and by size, a part is one of so many.
const PARTS: u32 = 8;
/// Bytes of the smallest part.
const PART_BYTES_MIN: u64 = 1 << 20;

/// The index of terms keeps what came last in no order, which each search reads: one MiB of it at most.
const TABLES: &str = "
    CREATE TABLE tombolo_traces.spans_{part} (
        trace bigint NOT NULL,
        batch bigint NOT NULL,
        began bigint NOT NULL,
        shortest bigint NOT NULL,
        longest bigint NOT NULL,
        terms bigint[] NOT NULL,
        data bytea NOT NULL
    );
    ALTER TABLE tombolo_traces.spans_{part} ALTER terms SET STATISTICS 400, ALTER data SET STORAGE EXTERNAL;
    CREATE INDEX ON tombolo_traces.spans_{part} (trace, batch);
    CREATE INDEX ON tombolo_traces.spans_{part} (began, trace);
    CREATE INDEX ON tombolo_traces.spans_{part} (longest);
    CREATE INDEX ON tombolo_traces.spans_{part} USING gin (terms) WITH (gin_pending_list_limit = 1024);
    CREATE TABLE tombolo_traces.names_{part} (
        list smallint NOT NULL,
        under bytea NOT NULL,
        name bytea NOT NULL,
        PRIMARY KEY (list, under, name)
    );
    CREATE TABLE tombolo_traces.links_{part} (
        minute bigint NOT NULL,
        caller bytea NOT NULL,
        callee bytea NOT NULL,
        calls bigint NOT NULL,
        errors bigint NOT NULL,
        PRIMARY KEY (minute, caller, callee)
    )";
const NEWEST: &str = "
    SELECT part, begun,
        spans + (SELECT coalesce(sum(u.spans), 0) FROM tombolo_traces.uncounted AS u WHERE u.part = p.part)::bigint,
        pg_total_relation_size(format('tombolo_traces.spans_%s', part)::regclass),
        (SELECT count(*) FROM tombolo_traces.uncounted)
    FROM tombolo_traces.parts AS p ORDER BY part DESC LIMIT 1";
/// With when each ended, which is when the next one was begun.
const SIZES: &str = "
    SELECT part, lead(begun) OVER (ORDER BY part), coalesce(pg_total_relation_size(to_regclass(
            format('tombolo_traces.spans_%s', part))), 0)
        + coalesce(pg_total_relation_size(to_regclass(format('tombolo_traces.names_%s', part))), 0)
        + coalesce(pg_total_relation_size(to_regclass(format('tombolo_traces.links_%s', part))), 0)
    FROM tombolo_traces.parts ORDER BY part";

/// The parts that there are, for statements that ask all of them.
pub(super) struct Tables(Vec<i64>);

impl Tables {
    pub(super) async fn read(lent: &Lent) -> Result<Self, Error> {
        let sql = "SELECT part FROM tombolo_traces.parts ORDER BY part";
        let rows = lent.client().query_typed(sql, &[]).await?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn has(&self, part: i64) -> bool {
        self.0.contains(&part)
    }

    /// Columns of all tables of a kind, as what stands behind `FROM`. `None` if there are no tables.
    pub(super) fn all(&self, kind: &str, columns: &str) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            text.push_str(if text.is_empty() { "(" } else { " UNION ALL " });
            _ = write!(text, "SELECT {columns} FROM tombolo_traces.{kind}_{part}");
        }
        (!text.is_empty()).then(|| text + ") AS parts")
    }
}

/// The part that is written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) part: i64,
    begun_us: u64,
    pub(super) spans: u64,
    bytes: u64,
    /// Batches, of whichever part, whose calls are not counted yet.
    pub(super) uncounted: u64,
}

impl Newest {
    /// The part that is written to; none in a database that was never written to.
    pub(super) async fn read(lent: &Lent) -> Result<Option<Self>, Error> {
        let Some(row) = lent.client().query_typed_opt(NEWEST, &[]).await? else { return Ok(None) };
        let number = |column| row.try_get::<_, i64>(column).map(i64::cast_unsigned);
        let (begun_us, spans, bytes, uncounted) = (number(1)?, number(2)?, number(3)?, number(4)?);
        Ok(Some(Self { part: row.try_get(0)?, begun_us, spans, bytes, uncounted }))
    }
}

impl Database {
    /// The part to write to, which is begun if there is none or the last one is full or old.
    pub(super) async fn part_to_write(&self, lent: &Lent) -> Result<Newest, Fault> {
        // Another node may begin one at the same time, and so may a third.
        for _ in 0..super::TRIES_MAX {
            let newest = self.links.patiently(Newest::read(lent)).await?;
            match newest {
                Some(newest) if !self.is_full(newest) => return Ok(newest),
                newest => self.begin_part(lent, newest.map_or(0, |newest| newest.part)).await?,
            }
        }
        let text = "parts of spans are full as soon as they are begun";
        Err(Fault::new(Kind::Conflict, text)
            .retry(Retry::Safe)
            .hint("another node may keep far fewer spans: `keep_size`, `keep_age`"))
    }

    fn is_full(&self, newest: Newest) -> bool {
        let settings = &self.intake.settings;
        let bytes_max = (settings.keep_bytes / u64::from(PARTS)).max(PART_BYTES_MIN);
        let due_us = self.now_us().saturating_sub(micros(settings.keep_age / PARTS));
        newest.spans >= settings.table_spans
            || newest.bytes >= bytes_max
            // An empty one holds nothing that gets old.
            || (newest.spans > 0 && newest.begun_us < due_us)
    }

    /// Begins the part behind this one, if nobody else has.
    async fn begin_part(&self, lent: &Lent, last: i64) -> Result<(), Fault> {
        let begun = signed(self.now_us());
        let client = lent.client();
        self.links
            .patiently(async {
                client.batch_execute("BEGIN").await?;
                client.query_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
                let tables = Tables::read(lent).await?;
                if tables.0.last().copied().unwrap_or(0) == last {
                    let part = last + 1;
                    client.batch_execute(&TABLES.replace("{part}", &part.to_string())).await?;
                    let note = "INSERT INTO tombolo_traces.parts (part, begun) VALUES ($1, $2)";
                    client.query_typed(note, &[(&part, Type::INT8), (&begun, Type::INT8)]).await?;
                }
                client.batch_execute("COMMIT").await
            })
            .await
    }

    /// Removes the oldest parts while they are too old, or all together too large.
    pub(super) async fn remove_old(&self, lent: &Lent) -> Result<(), Fault> {
        let settings = &self.intake.settings;
        let due_us = self.now_us().saturating_sub(micros(settings.keep_age));
        let read = async {
            let rows = lent.client().query_typed(SIZES, &[]).await?;
            let read = |row: &tokio_postgres::Row| {
                Ok((row.try_get::<_, i64>(0)?, row.try_get::<_, Option<i64>>(1)?, row.try_get::<_, i64>(2)?))
            };
            rows.iter().map(read).collect::<Result<Vec<_>, Error>>()
        };
        let parts = self.links.patiently(read).await?;
        let mut bytes: u64 = parts.iter().map(|(_, _, bytes)| bytes.cast_unsigned()).sum();
        for (part, ended, size) in parts {
            // The newest has no end.
            let Some(ended) = ended else { break };
            if ended.cast_unsigned() >= due_us && bytes <= settings.keep_bytes {
                break;
            }
            let Some(spans) = self.links.patiently(remove(lent, part)).await? else { break };
            self.intake.removed(spans.cast_unsigned());
            bytes -= size.cast_unsigned();
        }
        Ok(())
    }
}

/// Removes a part, and answers how many spans it had. `None` if somebody is at it: it can be removed later.
async fn remove(lent: &Lent, part: i64) -> Result<Option<i64>, Error> {
    let client = lent.client();
    client.batch_execute("BEGIN; SET LOCAL lock_timeout = '2s'").await?;
    let locks = [(&LOCK as _, Type::INT8), (&super::links::LOCK as _, Type::INT8)];
    let ours = "SELECT pg_try_advisory_xact_lock($1) AND pg_try_advisory_xact_lock($2)";
    let is_ours: bool = client.query_typed_one(ours, &locks).await?.try_get(0)?;
    let drop = format!(
        "DROP TABLE IF EXISTS tombolo_traces.spans_{part}, tombolo_traces.names_{part}, tombolo_traces.links_{part}"
    );
    let dropped = if is_ours { client.batch_execute(&drop).await } else { Ok(()) };
    match dropped {
        Ok(()) if is_ours => {}
        // Whoever reads it, such as for a backup, will be done at some time.
        Err(error) if error.code().is_none_or(|code| code.code() != "55P03") => return Err(error),
        _ => {
            client.batch_execute("ROLLBACK").await?;
            return Ok(None);
        }
    }
    let gone = "
        WITH counted AS (DELETE FROM tombolo_traces.parts WHERE part = $1 RETURNING spans),
            uncounted AS (DELETE FROM tombolo_traces.uncounted WHERE part = $1 RETURNING spans)
        SELECT coalesce(sum(spans), 0)::bigint FROM (TABLE counted UNION ALL TABLE uncounted) AS gone";
    let spans = client.query_typed_one(gone, &[(&part, Type::INT8)]).await?.try_get(0)?;
    client.batch_execute("COMMIT").await?;
    Ok(Some(spans))
}

fn micros(time: std::time::Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}
