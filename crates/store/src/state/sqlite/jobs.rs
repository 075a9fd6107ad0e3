//! The statements: each function is one question or one change. Times are microseconds since the epoch.

use super::super::{Change, Condition, DueTimer, Key, Lease, Timer, Value, behind};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use std::time::Duration;

fn later(now: i64, wait: Duration) -> i64 {
    now.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
}

/// A number that was never given before: etags and tokens.
fn next_number(connection: &Connection) -> Result<i64> {
    connection
        .prepare_cached("UPDATE counter SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))
}

fn value(row: &Row<'_>) -> Result<Value> {
    Ok(Value { bytes: row.get("value")?, etag: row.get("etag")?, expires: row.get("expires")? })
}

pub(super) fn get(connection: &Connection, key: &Key, now: i64) -> Result<Option<Value>> {
    let mut select = connection.prepare_cached(
        "SELECT value, etag, expires FROM entries
         WHERE space = ?1 AND key = ?2 AND (expires IS NULL OR expires > ?3)",
    )?;
    select.query_row(params![key.space, key.key, now], value).optional()
}

pub(super) fn list(
    connection: &Connection,
    space: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    now: i64,
) -> Result<Vec<(Key, Value)>> {
    let mut select = connection.prepare_cached(
        "SELECT key, value, etag, expires FROM entries
         WHERE space = ?1 AND key >= ?2 AND key < ?6 AND (?3 IS NULL OR key > ?3)
           AND (expires IS NULL OR expires > ?4)
         ORDER BY key LIMIT ?5",
    )?;
    let found = select
        .query_map(params![space, prefix, after, now, limit as i64, behind(prefix)], |row| {
            Ok((Key::new(space, row.get::<_, String>("key")?), value(row)?))
        })?;
    found.collect()
}

pub(super) fn count(
    connection: &Connection,
    space: &str,
    prefix: &str,
    limit: usize,
    now: i64,
) -> Result<usize> {
    let mut select = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM entries
         WHERE space = ?1 AND key >= ?2 AND key < ?3 AND (expires IS NULL OR expires > ?4)
         LIMIT ?5)",
    )?;
    let of = params![space, prefix, behind(prefix), now, limit as i64];
    select.query_row(of, |row| row.get::<_, i64>(0)).map(|count| count as usize)
}

/// The key whose condition does not hold, and its etag.
pub(super) struct Unmet {
    pub(super) key: Key,
    pub(super) actual: Option<i64>,
}

/// Makes all changes, or none and says why.
pub(super) fn apply(
    connection: &Connection,
    changes: Vec<Change>,
    now: i64,
) -> Result<std::result::Result<Vec<i64>, Unmet>> {
    connection.prepare_cached("SAVEPOINT changes")?.execute([])?;
    let mut etags = Vec::with_capacity(changes.len());
    for change in changes {
        let actual = match change.condition {
            Condition::Any => None,
            Condition::Absent | Condition::Etag(_) => {
                get(connection, &change.key, now)?.map(|value| value.etag)
            }
        };
        let holds = match change.condition {
            Condition::Any => true,
            Condition::Absent => actual.is_none(),
            Condition::Etag(etag) => actual == Some(etag),
        };
        if !holds {
            connection.prepare_cached("ROLLBACK TO changes")?.execute([])?;
            connection.prepare_cached("RELEASE changes")?.execute([])?;
            return Ok(Err(Unmet { key: change.key, actual }));
        }
        etags.push(make(connection, &change, now)?);
    }
    connection.prepare_cached("RELEASE changes")?.execute([])?;
    Ok(Ok(etags))
}

fn make(connection: &Connection, change: &Change, now: i64) -> Result<i64> {
    let Some(value) = &change.value else {
        let mut delete = connection.prepare_cached("DELETE FROM entries WHERE space = ?1 AND key = ?2")?;
        delete.execute(params![change.key.space, change.key.key])?;
        return Ok(0);
    };
    let etag = next_number(connection)?;
    let expires = change.ttl.map(|ttl| later(now, ttl));
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4, ?5)")?;
    insert.execute(params![change.key.space, change.key.key, value, etag, expires])?;
    Ok(etag)
}

/// Clears expired values away, at most so many. They can't be seen in any case.
pub(super) fn sweep(connection: &Connection, now: i64, limit: usize) -> Result<()> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM entries WHERE (space, key) IN
         (SELECT space, key FROM entries WHERE expires IS NOT NULL AND expires <= ?1 LIMIT ?2)",
    )?;
    delete.execute(params![now, limit as i64])?;
    Ok(())
}

pub(super) fn lease(connection: &Connection, name: &str) -> Result<Lease> {
    let mut select = connection.prepare_cached("SELECT holder, token, until FROM leases WHERE name = ?1")?;
    select.query_row([name], |row| Ok(Lease { holder: row.get(0)?, token: row.get(1)?, until: row.get(2)? }))
}

pub(super) fn acquire(
    connection: &Connection,
    name: &str,
    holder: String,
    hold: Duration,
    now: i64,
) -> Result<Lease> {
    let standing = lease(connection, name).optional()?.filter(|lease| lease.until > now);
    let token = match standing {
        Some(lease) if lease.holder != holder => return Ok(lease),
        Some(lease) => lease.token,
        // Whoever held it before, and be it the same holder, may have been late: others may have acted.
        None => next_number(connection)?,
    };
    let lease = Lease { holder, token, until: later(now, hold) };
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO leases VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![name, lease.holder, lease.token, lease.until])?;
    Ok(lease)
}

pub(super) fn release(connection: &Connection, name: &str, token: i64) -> Result<bool> {
    let mut delete = connection.prepare_cached("DELETE FROM leases WHERE name = ?1 AND token = ?2")?;
    Ok(delete.execute(params![name, token])? > 0)
}

pub(super) fn set_timer(connection: &Connection, timer: &Timer) -> Result<()> {
    let every = timer.every.map(|every| later(0, every));
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO timers VALUES (?1, ?2, ?3, ?4, ?5, ?3, 0)")?;
    insert.execute(params![timer.key.space, timer.key.key, timer.due, every, timer.payload])?;
    Ok(())
}

pub(super) fn cancel_timer(connection: &Connection, key: &Key) -> Result<bool> {
    let mut delete = connection.prepare_cached("DELETE FROM timers WHERE space = ?1 AND key = ?2")?;
    Ok(delete.execute(params![key.space, key.key])? > 0)
}

pub(super) fn take_due(
    connection: &Connection,
    space: &str,
    limit: usize,
    hold: Duration,
    now: i64,
) -> Result<Vec<DueTimer>> {
    let mut select = connection.prepare_cached(
        "SELECT key, due, every, payload FROM timers WHERE space = ?1 AND ready <= ?2 ORDER BY ready, key LIMIT ?3",
    )?;
    let found = select.query_map(params![space, now, limit as i64], |row| {
        let every: Option<i64> = row.get(2)?;
        Ok(Timer {
            key: Key::new(space, row.get::<_, String>(0)?),
            due: row.get(1)?,
            every: every.map(|every| Duration::from_micros(every.unsigned_abs())),
            payload: row.get(3)?,
        })
    })?;
    let timers: Vec<Timer> = found.collect::<Result<_>>()?;
    let mut update = connection
        .prepare_cached("UPDATE timers SET ready = ?3, token = ?4 WHERE space = ?1 AND key = ?2")?;
    let mut taken = Vec::with_capacity(timers.len());
    for timer in timers {
        let token = next_number(connection)?;
        update.execute(params![space, timer.key.key, later(now, hold), token])?;
        taken.push(DueTimer { timer, token });
    }
    Ok(taken)
}

pub(super) fn finish_timer(connection: &Connection, key: &Key, token: i64, now: i64) -> Result<bool> {
    // A timer that comes again keeps its beat, and leaves out what was missed.
    let mut again = connection.prepare_cached(
        "UPDATE timers SET due = due + every * max(1, 1 + (?4 - due) / every),
                           ready = due + every * max(1, 1 + (?4 - due) / every), token = 0
         WHERE space = ?1 AND key = ?2 AND token = ?3 AND every > 0",
    )?;
    if again.execute(params![key.space, key.key, token, now])? > 0 {
        return Ok(true);
    }
    let mut delete =
        connection.prepare_cached("DELETE FROM timers WHERE space = ?1 AND key = ?2 AND token = ?3")?;
    Ok(delete.execute(params![key.space, key.key, token])? > 0)
}

pub(super) fn next_due(connection: &Connection, space: &str) -> Result<Option<i64>> {
    let mut select = connection.prepare_cached("SELECT min(ready) FROM timers WHERE space = ?1")?;
    select.query_row([space], |row| row.get(0))
}
