//! Which services call which, right however many nodes write: whoever counts holds a lock that all of them share, takes
//! batches that are not counted yet, and counts each of their traces twice: with these batches and without them. What is
//! written down is the difference, in the transaction that takes the batches off the list. So whatever has been counted
//! is told by the rows and the list alone, and nobody has to remember it.

use super::parts::Tables;
use super::reading::{Read, Reading, decode};
use super::{Database, Parameters, signed};
use crate::spans::linker::{LinkSpan, links_of};
use crate::spans::query::began_us;
use crate::spans::store::MINUTE_US;
use crate::spans::store::names::NAME_BYTES_MAX;
use crate::spans::{Link, Span};
use base::{Fault, Kind};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use store::Lent;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

/// Whoever counts holds this: "tracesl" as a number.
pub(super) const LOCK: i64 = 0x7472_6163_6573_6c00;
const OF_LOCK: Parameters<'static> = &[(&LOCK, Type::INT8)];
/// Batches and traces that are counted by one transaction; one batch more may pass the latter.
const BATCHES_AT_ONCE: i64 = 32;
const TRACES_AT_ONCE: usize = 5_000;
/// Links of one part, minute by minute; one transaction may pass it.
const LINKS_MAX: i64 = 200_000;

/// Minute, caller and callee.
type Key = (i64, String, String);
/// Calls and failed ones.
type Count = (i64, i64);

/// The batches that one transaction counts.
#[derive(Default)]
struct Taken {
    batches: HashSet<i64>,
    /// The part of the last batch of each trace.
    traces: HashMap<u64, i64>,
    /// Spans by their parts.
    spans: BTreeMap<i64, i64>,
    /// All that were not counted before it.
    uncounted: HashSet<i64>,
}

/// Counts until nothing waits for it, or so many traces are counted.
pub(super) async fn settle_all(database: &Database, traces_max: usize) -> Result<(), Fault> {
    let mut counted = 0;
    while counted < traces_max {
        match settle(database, true).await? {
            0 => break,
            traces => counted += traces,
        }
    }
    Ok(())
}

/// Counts some of what waits. Answers how many traces that were; none if nothing waits or somebody else counts, who is
/// waited for only if `waits`.
pub(super) async fn settle(database: &Database, waits: bool) -> Result<usize, Fault> {
    let lent = database.lend().await?;
    let some = "SELECT EXISTS (SELECT FROM tombolo_traces.uncounted)";
    // The session's, not the transaction's: what that sees is what the last holder left.
    let lock =
        if waits { "SELECT pg_advisory_lock($1) IS NOT NULL" } else { "SELECT pg_try_advisory_lock($1)" };
    let asked = async { Ok(is(&lent, some, &[]).await? && is(&lent, lock, OF_LOCK).await?) };
    match database.links.patiently(asked).await {
        Ok(true) => {}
        Ok(false) => {
            lent.give_back();
            return Ok(0);
        }
        // What is counted so far is answered.
        Err(fault) if fault.kind == Kind::Timeout => return Ok(0),
        Err(fault) => return Err(fault),
    }
    // Whatever fails closes the connection, and so frees the lock.
    let counted = within(database, &lent).await?;
    database.links.patiently(is(&lent, "SELECT pg_advisory_unlock($1)", OF_LOCK)).await?;
    lent.give_back();
    Ok(counted)
}

async fn is(lent: &Lent, sql: &str, parameters: Parameters<'_>) -> Result<bool, Error> {
    lent.client().query_typed_one(sql, parameters).await?.try_get(0)
}

/// What one transaction does, while its connection holds the lock.
async fn within(database: &Database, lent: &Lent) -> Result<usize, Fault> {
    let links = &database.links;
    let (taken, tables) = links.patiently(take(lent)).await?;
    let (traces, taken) = (taken.traces.len(), Arc::new(taken));
    let mut counts: BTreeMap<i64, BTreeMap<Key, Count>> = BTreeMap::new();
    let mut reading = Reading::of(taken.traces.keys().copied());
    while let Some(read) = links.patiently(reading.next_within(lent, &tables)).await? {
        let taken = taken.clone();
        counts = decode(counts, move |counts| Ok(count(&read, &taken, counts))).await?;
    }
    let write = async {
        for (part, spans) in &taken.spans {
            if tables.has(*part) {
                let counts = counts.remove(part).unwrap_or_default();
                write_down(lent, *part, *spans, counts).await?;
            }
        }
        let batches: Vec<i64> = taken.batches.iter().copied().collect();
        let done = "DELETE FROM tombolo_traces.uncounted WHERE batch = ANY ($1)";
        lent.client().query_typed(done, &[(&batches, Type::INT8_ARRAY)]).await?;
        lent.client().batch_execute("COMMIT").await
    };
    links.patiently(write).await?;
    Ok(traces)
}

/// Begins the transaction and takes the oldest batches.
async fn take(lent: &Lent) -> Result<(Taken, Tables), Error> {
    let client = lent.client();
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let mut taken = Taken::default();
    for row in client.query_typed("SELECT batch FROM tombolo_traces.uncounted", &[]).await? {
        taken.uncounted.insert(row.try_get(0)?);
    }
    let oldest = "SELECT batch, part, spans, traces FROM tombolo_traces.uncounted ORDER BY batch LIMIT $1";
    for row in client.query_typed(oldest, &[(&BATCHES_AT_ONCE, Type::INT8)]).await? {
        let (batch, part, spans) = (row.try_get(0)?, row.try_get(1)?, row.try_get::<_, i64>(2)?);
        taken.batches.insert(batch);
        *taken.spans.entry(part).or_default() += spans;
        for trace in row.try_get::<_, Vec<i64>>(3)? {
            taken.traces.insert(trace.cast_unsigned(), part);
        }
        if taken.traces.len() >= TRACES_AT_ONCE {
            break;
        }
    }
    Ok((taken, Tables::read(lent).await?))
}

/// Adds by how much the traces that were read change what is counted, by their parts.
fn count(
    read: &Read,
    taken: &Taken,
    mut counts: BTreeMap<i64, BTreeMap<Key, Count>>,
) -> BTreeMap<i64, BTreeMap<Key, Count>> {
    for trace in read.traces() {
        // One that can't be read is told to who asks for it.
        let Some((Ok(spans), part)) = read.with_batches(trace).zip(taken.traces.get(&trace)) else {
            continue;
        };
        let (mut before, mut now) = (Vec::new(), Vec::new());
        for (batch, span) in spans {
            if !taken.uncounted.contains(&batch) {
                before.push(span.clone());
                now.push(span);
            } else if taken.batches.contains(&batch) {
                now.push(span);
            }
        }
        let counts = counts.entry(*part).or_default();
        add(counts, &before, -1);
        add(counts, &now, 1);
    }
    counts
}

fn add(counts: &mut BTreeMap<Key, Count>, spans: &[Span], sign: i64) {
    let (mut names, mut numbers): (Vec<&str>, HashMap<&str, u32>) = (vec![""], HashMap::new());
    for span in spans {
        for name in [span.local.service.as_str(), &span.remote.service] {
            if name.len() <= NAME_BYTES_MAX && !numbers.contains_key(name) {
                numbers.insert(name, u32::try_from(names.len()).unwrap_or(0));
                names.push(name);
            }
        }
    }
    let number = |name: &str| numbers.get(name).copied().unwrap_or(0);
    let reduced = spans.iter().map(|span| LinkSpan::of(span, number)).collect();
    let minute = signed(began_us(spans) / MINUTE_US);
    for (caller, callee, error) in links_of(reduced) {
        let name = |number: u32| names[number as usize].to_owned();
        let counted = counts.entry((minute, name(caller), name(callee))).or_default();
        counted.0 += sign;
        counted.1 += sign * i64::from(error);
    }
}

/// Adds to what is counted for a part.
async fn write_down(lent: &Lent, part: i64, spans: i64, counts: BTreeMap<Key, Count>) -> Result<(), Error> {
    let client = lent.client();
    let of_part = "SELECT links FROM tombolo_traces.parts WHERE part = $1";
    let known: i64 = client.query_typed_one(of_part, &[(&part, Type::INT8)]).await?.try_get(0)?;
    let (mut minutes, mut callers, mut callees) = (Vec::new(), Vec::new(), Vec::new());
    let (mut calls, mut errors) = (Vec::new(), Vec::new());
    for ((minute, caller, callee), (called, failed)) in counts {
        if (called, failed) != (0, 0) {
            minutes.push(minute);
            callers.push(caller.into_bytes());
            callees.push(callee.into_bytes());
            calls.push(called);
            errors.push(failed);
        }
    }
    let fresh = "unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[])
        AS fresh (minute, caller, callee, calls, errors)";
    let sql = if known < LINKS_MAX {
        format!(
            "WITH written AS (
                INSERT INTO tombolo_traces.links_{part} AS known SELECT * FROM {fresh}
                ON CONFLICT (minute, caller, callee) DO UPDATE
                SET calls = known.calls + excluded.calls, errors = known.errors + excluded.errors
                RETURNING known.xmax = 0 AS is_new
            ) SELECT count(*) FILTER (WHERE is_new) FROM written"
        )
    } else {
        format!(
            "WITH written AS (
                UPDATE tombolo_traces.links_{part} AS known
                SET calls = known.calls + fresh.calls, errors = known.errors + fresh.errors FROM {fresh}
                WHERE (known.minute, known.caller, known.callee) = (fresh.minute, fresh.caller, fresh.callee)
                RETURNING 1
            ) SELECT 0::bigint FROM (SELECT count(*) FROM written) AS done"
        )
    };
    let row = client
        .query_typed_one(
            &sql,
            &[
                (&minutes, Type::INT8_ARRAY),
                (&callers, Type::BYTEA_ARRAY),
                (&callees, Type::BYTEA_ARRAY),
                (&calls, Type::INT8_ARRAY),
                (&errors, Type::INT8_ARRAY),
            ],
        )
        .await?;
    let links: i64 = row.try_get(0)?;
    let note = "UPDATE tombolo_traces.parts SET spans = spans + $2, links = links + $3 WHERE part = $1";
    let numbers = [&part, &spans, &links].map(|number| (number as _, Type::INT8));
    client.query_typed(note, &numbers).await?;
    Ok(())
}

/// What was counted between two minutes, both included.
pub(super) async fn between(database: &Database, minutes: (u64, u64)) -> Result<Vec<Link>, Fault> {
    let (first, last) = (signed(minutes.0), signed(minutes.1));
    let statement = |tables: &Tables| {
        let all = tables.all("links", "minute, caller, callee, calls, errors")?;
        // What corrects the counts of a part that was removed is less than nothing.
        Some(format!(
            "SELECT caller, callee, sum(calls)::bigint, sum(errors)::bigint FROM {all}
            WHERE minute BETWEEN $1 AND $2 GROUP BY caller, callee HAVING sum(calls) > 0
            ORDER BY caller, callee"
        ))
    };
    let rows = database.ask(statement, &[(&first, Type::INT8), (&last, Type::INT8)]).await?;
    database.fine(rows.iter().map(link).collect())
}

fn link(row: &Row) -> Result<Link, Error> {
    let name =
        |column| row.try_get::<_, &[u8]>(column).map(|name| String::from_utf8_lossy(name).into_owned());
    let (calls, errors): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    let errors = errors.clamp(0, calls).cast_unsigned();
    Ok(Link { parent: name(0)?, child: name(1)?, calls: calls.cast_unsigned(), errors })
}
