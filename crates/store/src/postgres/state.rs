//! Small state in PostgreSQL. Changes that belong together lock their keys' stripes in order, look, decide and
//! write in two round trips; everything else is one statement, whose row is the lock.

use super::link::{Lent, Links, Parameters};
use super::{Tasks, Time, micros};
use crate::Answer;
use crate::state::{Change, ChangeError, Condition, DueTimer, Key, Lease, StateEngine, Timer, Value, behind};
use base::{Clock, Fault, Kind, Retry};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::{Error, Row};

/// Keys are locked by stripes, so that a call holds a bounded number of locks however many its changes are.
const STRIPES: u64 = 256;
/// The first half of the stripes' locks, which keeps them apart from those of others: "tmbl".
const STRIPE_LOCKS: i32 = 0x746d_626c;
/// Times that changes are tried in spite of a lock that can't be had.
const ATTEMPTS_MAX: usize = 3;

const LOCKS: &str = "SELECT pg_advisory_xact_lock($1, stripe) FROM unnest($2::int[]) AS stripes (stripe)";
const ETAGS: &str = "
    SELECT space, key, etag FROM tombolo.entries
    WHERE (space, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        AND (expires IS NULL OR expires > tombolo.micros($3))";
const NUMBERS: &str = "SELECT nextval('tombolo.numbers') FROM generate_series(1, $1::bigint)";
const SET: &str = "
    INSERT INTO tombolo.entries (space, key, value, etag, expires)
    SELECT space, key, value, etag, tombolo.micros($6) + ttl
    FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[]) AS fresh (space, key, value, etag, ttl)
    ON CONFLICT (space, key) DO UPDATE
        SET value = excluded.value, etag = excluded.etag, expires = excluded.expires";
const DELETE: &str = "
    DELETE FROM tombolo.entries WHERE (space, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
/// The token is taken while the row is locked, so that tokens grow in the order in which they are given.
const ACQUIRE: &str = "
    INSERT INTO tombolo.leases AS standing (name, holder, token, until)
    VALUES ($1, $2, nextval('tombolo.numbers'), tombolo.micros($4) + $3)
    ON CONFLICT (name) DO UPDATE SET
        holder = excluded.holder,
        token = CASE WHEN standing.until > tombolo.micros($4) THEN standing.token
            ELSE nextval('tombolo.numbers') END,
        until = tombolo.micros($4) + $3
    WHERE standing.until <= tombolo.micros($4) OR standing.holder = excluded.holder
    RETURNING holder, token, until";
const LEASE: &str =
    "SELECT holder, token, until FROM tombolo.leases WHERE name = $1 AND until > tombolo.micros($2)";
const RELEASE: &str = "UPDATE tombolo.leases SET until = 0 WHERE name = $1 AND token = $2 AND until <> 0";
const SET_TIMER: &str = "
    INSERT INTO tombolo.timers VALUES ($1, $2, $3, $4, $5, $3, 0)
    ON CONFLICT (space, key) DO UPDATE SET due = excluded.due, every = excluded.every,
        payload = excluded.payload, ready = excluded.ready, token = 0";
const TAKE_DUE: &str = "
    WITH taken AS (
        SELECT space, key, ready FROM tombolo.timers
        WHERE space = $1 AND ready <= tombolo.micros($4)
        ORDER BY ready, key LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    UPDATE tombolo.timers AS timers
    SET ready = tombolo.micros($4) + $3, token = nextval('tombolo.numbers')
    FROM taken WHERE timers.space = taken.space AND timers.key = taken.key
    RETURNING timers.key, timers.due, timers.every, timers.payload, timers.token, taken.ready";
/// A timer that comes again keeps its beat, and leaves out what was missed.
const FINISH_AGAIN: &str = "
    UPDATE tombolo.timers SET token = 0,
        due = due + every * greatest(1, 1 + (tombolo.micros($4) - due) / every),
        ready = due + every * greatest(1, 1 + (tombolo.micros($4) - due) / every)
    WHERE space = $1 AND key = $2 AND token = $3 AND every > 0";
const FINISH: &str =
    "DELETE FROM tombolo.timers WHERE space = $1 AND key = $2 AND token = $3 AND coalesce(every, 0) <= 0";

/// Small state in tables of its own.
#[derive(Debug)]
pub(super) struct PostgresState {
    links: Arc<Links>,
    time: Time,
    clock: Clock,
    timers_set: Arc<watch::Sender<u64>>,
    _tasks: Arc<Tasks>,
}

/// How an attempt at changes went.
enum Applied {
    Done(Vec<i64>),
    Unmet(Key, Option<i64>),
}

impl PostgresState {
    pub(super) fn new(
        links: Arc<Links>,
        time: Time,
        clock: Clock,
        timers_set: Arc<watch::Sender<u64>>,
        tasks: Arc<Tasks>,
    ) -> Self {
        Self { links, time, clock, timers_set, _tasks: tasks }
    }

    /// The time for a statement; `None` leaves it to the server.
    fn now(&self) -> Option<i64> {
        (self.time == Time::Clock).then(|| micros(&self.clock))
    }

    async fn rows(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, Fault> {
        let lent = self.links.lend().await?;
        let asked = async { lent.client.query(&lent.statement(sql).await?, parameters).await };
        let rows = self.links.patiently(asked).await?;
        lent.give_back();
        Ok(rows)
    }

    /// Changes rows, and answers how many.
    async fn change(&self, sql: &str, parameters: Parameters<'_>) -> Result<u64, Fault> {
        let lent = self.links.lend().await?;
        let asked = async { lent.client.execute(&lent.statement(sql).await?, parameters).await };
        let changed = self.links.patiently(asked).await.map_err(maybe_done)?;
        lent.give_back();
        Ok(changed)
    }

    fn read<T>(&self, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Fault> {
        read().map_err(|error| self.links.failed(error))
    }

    async fn apply_once(&self, changes: &[Change]) -> Result<Applied, Fault> {
        let lent = self.links.lend().await?;
        let (standing, numbers) = self.begin(&lent, changes).await?;
        let (mut values, mut etags): (HashMap<&Key, Option<i64>>, _) = (HashMap::new(), Vec::new());
        let mut last: HashMap<&Key, usize> = HashMap::new();
        for (nth, (change, number)) in changes.iter().zip(numbers).enumerate() {
            let actual =
                values.get(&change.key).copied().unwrap_or_else(|| standing.get(&change.key).copied());
            let holds = match change.condition {
                Condition::Any => true,
                Condition::Absent => actual.is_none(),
                Condition::Etag(etag) => actual == Some(etag),
            };
            if !holds {
                self.links.patiently(lent.client.batch_execute("ROLLBACK")).await?;
                lent.give_back();
                return Ok(Applied::Unmet(change.key.clone(), actual));
            }
            let etag = change.value.as_ref().map(|_| number);
            values.insert(&change.key, etag);
            last.insert(&change.key, nth);
            etags.push(etag.unwrap_or(0));
        }
        // Of changes of one key only the last is written.
        let last: Vec<(&Change, i64)> = changes
            .iter()
            .zip(&etags)
            .enumerate()
            .filter(|(nth, (change, _))| last.get(&change.key) == Some(nth))
            .map(|(_, (change, etag))| (change, *etag))
            .collect();
        self.commit(&lent, &last).await?;
        lent.give_back();
        Ok(Applied::Done(etags))
    }

    /// Begins a transaction, locks the keys and answers their etags, and a new number for each change.
    async fn begin(&self, lent: &Lent, changes: &[Change]) -> Result<(HashMap<Key, i64>, Vec<i64>), Fault> {
        let stripes: BTreeSet<i32> = changes.iter().map(|change| stripe(&change.key)).collect();
        let stripes: Vec<i32> = stripes.into_iter().collect();
        let spaces: Vec<&str> = changes.iter().map(|change| change.key.space.as_str()).collect();
        let keys: Vec<&str> = changes.iter().map(|change| change.key.key.as_str()).collect();
        let (count, now) = (changes.len() as i64, self.now());
        let asked = async {
            let (locks, etags) = (lent.statement(LOCKS).await?, lent.statement(ETAGS).await?);
            let numbers = lent.statement(NUMBERS).await?;
            let of_locks: Parameters = &[&STRIPE_LOCKS, &stripes];
            let (of_etags, of_numbers): (Parameters, Parameters) = (&[&spaces, &keys, &now], &[&count]);
            tokio::try_join!(
                biased;
                lent.client.batch_execute("BEGIN"),
                lent.client.query(&locks, of_locks),
                lent.client.query(&etags, of_etags),
                lent.client.query(&numbers, of_numbers),
            )
        };
        let ((), _, etags, numbers) = self.links.patiently(asked).await?;
        self.read(|| {
            let mut standing = HashMap::new();
            for row in &etags {
                standing.insert(
                    Key::new(row.try_get::<_, &str>(0)?, row.try_get::<_, &str>(1)?),
                    row.try_get(2)?,
                );
            }
            Ok((standing, numbers.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?))
        })
    }

    /// Writes changes, each of another key, and commits.
    async fn commit(&self, lent: &Lent, changes: &[(&Change, i64)]) -> Result<(), Fault> {
        let (sets, deletes): (Vec<_>, Vec<_>) =
            changes.iter().partition(|(change, _)| change.value.is_some());
        let space = |(change, _): &&(&Change, i64)| change.key.space.clone();
        let key = |(change, _): &&(&Change, i64)| change.key.key.clone();
        let spaces: [Vec<String>; 2] =
            [sets.iter().map(space).collect(), deletes.iter().map(space).collect()];
        let keys: [Vec<String>; 2] = [sets.iter().map(key).collect(), deletes.iter().map(key).collect()];
        let values: Vec<&[u8]> = sets.iter().filter_map(|(change, _)| change.value.as_deref()).collect();
        let etags: Vec<i64> = sets.iter().map(|(_, etag)| *etag).collect();
        let ttls: Vec<Option<i64>> = sets.iter().map(|(change, _)| change.ttl.map(span)).collect();
        let now = self.now();
        let asked = async {
            let (set, delete) = (lent.statement(SET).await?, lent.statement(DELETE).await?);
            let of_set: Parameters = &[&spaces[0], &keys[0], &values, &etags, &ttls, &now];
            let of_delete: Parameters = &[&spaces[1], &keys[1]];
            tokio::try_join!(
                biased;
                lent.client.execute(&set, of_set),
                lent.client.execute(&delete, of_delete),
                lent.client.batch_execute("COMMIT"),
            )
        };
        self.links.patiently(asked).await.map_err(maybe_done).map(|_| ())
    }
}

/// A change whose connection broke may have been made.
fn maybe_done(fault: Fault) -> Fault {
    match fault.kind {
        Kind::Unavailable => fault.retry(Retry::IfIdempotent),
        _ => fault,
    }
}

fn stripe(key: &Key) -> i32 {
    let mut hasher = xxhash_rust::xxh64::Xxh64::new(0);
    hasher.update(key.space.as_bytes());
    hasher.update(&[0]);
    hasher.update(key.key.as_bytes());
    (hasher.digest() % STRIPES) as i32
}

fn span(wait: Duration) -> i64 {
    // Far beyond any wait, and not beyond what can be added to a time.
    i64::try_from(wait.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

fn text(text: &str) -> Result<(), Fault> {
    if text.contains('\0') {
        return Err(Fault::new(
            Kind::Invalid,
            "a name holds a NUL character, which PostgreSQL does not keep",
        ));
    }
    Ok(())
}

impl StateEngine for PostgresState {
    fn get(&self, key: Key) -> Answer<'_, Option<Value>> {
        Box::pin(async move {
            let sql = "SELECT value, etag, expires FROM tombolo.entries
                WHERE space = $1 AND key = $2 AND (expires IS NULL OR expires > tombolo.micros($3))";
            if text(&key.space).and(text(&key.key)).is_err() {
                return Ok(None);
            }
            let rows = self.rows(sql, &[&key.space, &key.key, &self.now()]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            self.read(|| {
                Ok(Some(Value { bytes: row.try_get(0)?, etag: row.try_get(1)?, expires: row.try_get(2)? }))
            })
        })
    }

    fn list(
        &self,
        space: String,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Vec<(Key, Value)>> {
        Box::pin(async move {
            let sql = "SELECT key, value, etag, expires FROM tombolo.entries
                WHERE space = $1 AND key >= $2 AND key < $6 AND ($3::text IS NULL OR key > $3)
                    AND (expires IS NULL OR expires > tombolo.micros($4))
                ORDER BY key LIMIT $5";
            let parameters: Parameters<'_> =
                &[&space, &prefix, &after, &self.now(), &(limit as i64), &behind(&prefix)];
            let rows = self.rows(sql, parameters).await?;
            let entry = |row: &Row| {
                let value = Value { bytes: row.try_get(1)?, etag: row.try_get(2)?, expires: row.try_get(3)? };
                Ok((Key::new(space.clone(), row.try_get::<_, &str>(0)?), value))
            };
            self.read(|| rows.iter().map(entry).collect())
        })
    }

    fn count(&self, space: String, prefix: String, limit: usize) -> Answer<'_, usize> {
        Box::pin(async move {
            let sql = "SELECT count(*) FROM (SELECT FROM tombolo.entries
                WHERE space = $1 AND key >= $2 AND key < $5
                    AND (expires IS NULL OR expires > tombolo.micros($3))
                LIMIT $4) AS counted";
            let rows =
                self.rows(sql, &[&space, &prefix, &self.now(), &(limit as i64), &behind(&prefix)]).await?;
            let count = |row: &Row| row.try_get::<_, i64>(0);
            self.read(|| rows.first().map_or(Ok(0), count)).map(|count| count as usize)
        })
    }

    fn apply(&self, changes: Vec<Change>) -> Answer<'_, Vec<i64>, ChangeError> {
        Box::pin(async move {
            if changes.is_empty() {
                return Ok(Vec::new());
            }
            for change in &changes {
                text(&change.key.space).and(text(&change.key.key)).map_err(ChangeError::Failed)?;
            }
            let mut attempts = 0;
            loop {
                attempts += 1;
                match self.apply_once(&changes).await {
                    Ok(Applied::Done(etags)) => return Ok(etags),
                    Ok(Applied::Unmet(key, actual)) => return Err(ChangeError::Conflict { key, actual }),
                    Err(fault) if attempts < ATTEMPTS_MAX && fault.retry == Retry::Safe => {}
                    Err(fault) => return Err(ChangeError::Failed(fault)),
                }
            }
        })
    }

    fn acquire(&self, name: String, holder: String, hold: Duration) -> Answer<'_, Lease> {
        Box::pin(async move {
            text(&name).and(text(&holder))?;
            let lease = |row: &Row| {
                self.read(|| {
                    Ok(Lease { holder: row.try_get(0)?, token: row.try_get(1)?, until: row.try_get(2)? })
                })
            };
            loop {
                let rows = self.rows(ACQUIRE, &[&name, &holder, &span(hold), &self.now()]).await?;
                if let Some(row) = rows.first() {
                    return lease(row);
                }
                // Somebody else's, unless it ended just now.
                if let Some(row) = self.rows(LEASE, &[&name, &self.now()]).await?.first() {
                    return lease(row);
                }
            }
        })
    }

    fn release(&self, name: String, token: i64) -> Answer<'_, bool> {
        Box::pin(async move { Ok(self.change(RELEASE, &[&name, &token]).await? > 0) })
    }

    fn lease(&self, name: String) -> Answer<'_, Option<Lease>> {
        Box::pin(async move {
            let rows = self.rows(LEASE, &[&name, &self.now()]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            self.read(|| {
                Ok(Some(Lease { holder: row.try_get(0)?, token: row.try_get(1)?, until: row.try_get(2)? }))
            })
        })
    }

    fn set_timer(&self, timer: Timer) -> Answer<'_, ()> {
        Box::pin(async move {
            text(&timer.key.space).and(text(&timer.key.key))?;
            let (every, key) = (timer.every.map(span), &timer.key);
            self.change(SET_TIMER, &[&key.space, &key.key, &timer.due, &every, &timer.payload]).await?;
            self.timers_set.send_modify(|times| *times += 1);
            // Other nodes wait for timers, too. One that misses it looks when it hears of the next.
            drop(self.rows("SELECT pg_notify('tombolo_timers', '')", &[]).await);
            Ok(())
        })
    }

    fn cancel_timer(&self, key: Key) -> Answer<'_, bool> {
        Box::pin(async move {
            let sql = "DELETE FROM tombolo.timers WHERE space = $1 AND key = $2";
            Ok(self.change(sql, &[&key.space, &key.key]).await? > 0)
        })
    }

    fn take_due(&self, space: String, limit: usize, hold: Duration) -> Answer<'_, Vec<DueTimer>> {
        Box::pin(async move {
            let rows = self.rows(TAKE_DUE, &[&space, &(limit as i64), &span(hold), &self.now()]).await?;
            let taken = |row: &Row| -> Result<(i64, DueTimer), Error> {
                let every: Option<i64> = row.try_get(2)?;
                let timer = Timer {
                    key: Key::new(space.clone(), row.try_get::<_, &str>(0)?),
                    due: row.try_get(1)?,
                    every: every.map(|every| Duration::from_micros(every.unsigned_abs())),
                    payload: row.try_get(3)?,
                };
                Ok((row.try_get(5)?, DueTimer { timer, token: row.try_get(4)? }))
            };
            let mut taken: Vec<(i64, DueTimer)> = self.read(|| rows.iter().map(taken).collect())?;
            taken.sort_by(|(ready, due), (other_ready, other)| {
                (ready, &due.timer.key).cmp(&(other_ready, &other.timer.key))
            });
            Ok(taken.into_iter().map(|(_, due)| due).collect())
        })
    }

    fn finish_timer(&self, key: Key, token: i64) -> Answer<'_, bool> {
        Box::pin(async move {
            if self.change(FINISH_AGAIN, &[&key.space, &key.key, &token, &self.now()]).await? > 0 {
                return Ok(true);
            }
            Ok(self.change(FINISH, &[&key.space, &key.key, &token]).await? > 0)
        })
    }

    fn next_due(&self, space: String) -> Answer<'_, Option<i64>> {
        Box::pin(async move {
            let sql = "SELECT min(ready) FROM tombolo.timers WHERE space = $1";
            let rows = self.rows(sql, &[&space]).await?;
            self.read(|| rows.first().map_or(Ok(None), |row| row.try_get(0)))
        })
    }

    fn scrub(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            // The table is written anew without what was deleted. Only its owner may; the server merely warns anybody else.
            let owned =
                "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'tombolo.entries'::regclass";
            let owned = self.rows(owned, &[]).await?;
            if !self.read(|| owned.first().map_or(Ok(false), |row| row.try_get(0)))? {
                let text = "what was deleted may still be in the server's files: only the owner of `tombolo.entries` may clear them";
                return Err(Fault::new(Kind::Refused, text).hint("use the role that made the tables"));
            }
            let lent = self.links.lend().await?;
            self.links.patiently(lent.client.batch_execute("SET statement_timeout = 0")).await?;
            // Not given back: its settings are others now.
            self.links.patiently(lent.client.batch_execute("VACUUM (FULL) tombolo.entries")).await
        })
    }

    fn timers_set(&self) -> watch::Receiver<u64> {
        self.timers_set.subscribe()
    }
}
