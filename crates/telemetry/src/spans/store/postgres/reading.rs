//! Reads traces whole: some at a time, so that what is in memory is bounded. One that alone is more than that is read up
//! to a bound, the oldest of its spans first.

use super::rows;
use super::{Database, parts::Tables};
use crate::spans::Span;
use crate::spans::store::OF_A_TRACE_MAX;
use base::{Fault, Kind};
use std::collections::{HashMap, HashSet, VecDeque};
use store::Lent;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

/// Traces that are read by one statement.
const AT_ONCE: usize = 128;
/// Bytes, as the database has them, that one statement brings of several traces, and of one alone.
const BYTES_AT_ONCE: i64 = 16 << 20;
const BYTES_OF_ONE: i64 = 64 << 20;
/// Bytes of a trace's spans that are taken out of what the database has.
const RAW_BYTES_OF_ONE: usize = 256 << 20;
/// Bytes, as the database has them, of all traces of an answer.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Rows of a trace that one statement brings of it beside others.
const ROWS_OF_SOME: usize = 2_000;

/// Rows behind the last bytes that go come without what they hold. The rows of a trace come in their order.
const ROWS: &str = "
    SELECT trace, batch, CASE WHEN sum(bytes) OVER (ROWS UNBOUNDED PRECEDING) - bytes < $2 THEN data END
    FROM (
        SELECT wanted.trace, of_trace.batch, of_trace.data, octet_length(of_trace.data) AS bytes
        FROM unnest($1::bigint[]) AS wanted (trace) CROSS JOIN LATERAL (
            SELECT batch, data FROM {all} WHERE parts.trace = wanted.trace ORDER BY batch LIMIT {rows_max}
        ) AS of_trace
    ) AS sized";

/// Traces that are read one group after the other.
pub(super) struct Reading {
    left: VecDeque<i64>,
    /// Those that did not fit beside others.
    alone: Vec<i64>,
    bytes: usize,
}

/// Traces that are read together, and how much of them.
struct Group {
    traces: Vec<i64>,
    rows_max: usize,
    bytes_max: i64,
}

/// The rows of some traces: batch and data of each, in their order, by the last 64 bits of the trace's id.
pub(super) struct Read(HashMap<i64, Vec<(i64, Row)>>);

impl Reading {
    /// Of the traces whose ids end so.
    pub(super) fn of(traces: impl IntoIterator<Item = u64>) -> Self {
        let mut known = HashSet::new();
        let traces = traces.into_iter().filter(|trace| known.insert(*trace)).map(u64::cast_signed);
        Self { left: traces.collect(), alone: Vec::new(), bytes: 0 }
    }

    /// The next group; `None` when all are read.
    pub(super) async fn next(&mut self, database: &Database) -> Result<Option<Read>, Fault> {
        let Some(group) = self.group() else { return Ok(None) };
        let rows = database.ask(|tables| group.statement(tables), &group.parameters()).await?;
        database.fine(self.took(rows, &group)).map(Some)
    }

    /// The same within a transaction.
    pub(super) async fn next_within(&mut self, lent: &Lent, tables: &Tables) -> Result<Option<Read>, Error> {
        let Some(group) = self.group() else { return Ok(None) };
        let Some(sql) = group.statement(tables) else { return Ok(None) };
        let rows = lent.client().query_typed(&sql, &group.parameters()).await?;
        self.took(rows, &group).map(Some)
    }

    /// What is read next.
    fn group(&mut self) -> Option<Group> {
        if let Some(one) = self.alone.pop() {
            return Some(Group { traces: vec![one], rows_max: OF_A_TRACE_MAX, bytes_max: BYTES_OF_ONE });
        }
        let traces: Vec<i64> = self.left.drain(..self.left.len().min(AT_ONCE)).collect();
        let group = Group { traces, rows_max: ROWS_OF_SOME, bytes_max: BYTES_AT_ONCE };
        (!group.traces.is_empty()).then_some(group)
    }

    /// Sorts what came. What is not all of a trace is put back.
    fn took(&mut self, rows: Vec<Row>, group: &Group) -> Result<Read, Error> {
        let (mut read, mut cut) = (HashMap::<i64, Vec<(i64, Row)>>::new(), HashSet::new());
        for row in rows {
            let (trace, batch) = (row.try_get(0)?, row.try_get(1)?);
            match row.try_get::<_, Option<&[u8]>>(2)? {
                Some(data) => {
                    self.bytes += data.len();
                    read.entry(trace).or_default().push((batch, row));
                }
                None => {
                    cut.insert(trace);
                }
            }
        }
        if group.rows_max < OF_A_TRACE_MAX {
            cut.extend(read.iter().filter(|(_, rows)| rows.len() >= group.rows_max).map(|(trace, _)| *trace));
            for trace in cut {
                let rows = read.remove(&trace).unwrap_or_default();
                self.bytes -= rows.iter().map(|(_, row)| data_of(row).len()).sum::<usize>();
                self.alone.push(trace);
            }
        }
        Ok(Read(read))
    }

    /// Whether what was read goes into one answer.
    pub(super) fn check_answer(&self) -> Result<(), Fault> {
        if self.bytes <= ANSWER_BYTES_MAX {
            return Ok(());
        }
        let text = format!("the traces have more than {ANSWER_BYTES_MAX} bytes");
        Err(Fault::new(Kind::TooMuch, text).hint("ask for fewer of them at once"))
    }
}

impl Group {
    fn statement(&self, tables: &Tables) -> Option<String> {
        let all = tables.all("spans", "trace, batch, data")?;
        Some(ROWS.replace("{all}", &all).replace("{rows_max}", &self.rows_max.to_string()))
    }

    fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 2] {
        [(&self.traces, Type::INT8_ARRAY), (&self.bytes_max, Type::INT8)]
    }
}

fn data_of(row: &Row) -> &[u8] {
    row.try_get(2).unwrap_or_default()
}

impl Read {
    /// The traces that are here, by the last 64 bits of their ids.
    pub(super) fn traces(&self) -> impl Iterator<Item = u64> {
        self.0.keys().map(|trace| trace.cast_unsigned())
    }

    /// The spans of a trace in the order in which they came, each with its batch.
    pub(super) fn with_batches(&self, trace: u64) -> Option<Result<Vec<(i64, Span)>, Fault>> {
        self.0.get(&trace.cast_signed()).map(|rows| in_order(rows))
    }

    /// The spans of a trace in the order in which they came.
    pub(super) fn spans_of(&self, trace: u64) -> Option<Result<Vec<Span>, Fault>> {
        let spans = self.with_batches(trace)?;
        Some(spans.map(|spans| spans.into_iter().map(|(_, span)| span).collect()))
    }
}

fn in_order(rows: &[(i64, Row)]) -> Result<Vec<(i64, Span)>, Fault> {
    let mut spans = Vec::new();
    let mut bytes = 0;
    // One batch after the other: what a batch has of a trace and several services is in several rows.
    for batch in rows.chunk_by(|one, other| one.0 == other.0) {
        let mut placed = Vec::new();
        for (_, row) in batch {
            bytes += rows::read(data_of(row), &mut placed)?;
        }
        placed.sort_by_key(|(place, _)| *place);
        spans.extend(placed.into_iter().map(|(_, span)| (batch[0].0, span)));
        if spans.len() >= OF_A_TRACE_MAX || bytes >= RAW_BYTES_OF_ONE {
            break;
        }
    }
    Ok(spans)
}

/// Makes something of what was read where it holds up nobody who waits for the network.
pub(super) async fn decode<I: Send + 'static, O: Send + 'static>(
    read: I,
    make: impl FnOnce(I) -> Result<O, Fault> + Send + 'static,
) -> Result<O, Fault> {
    let made = tokio::task::spawn_blocking(move || make(read)).await;
    made.unwrap_or_else(|error| Err(Fault::new(Kind::Bug, "reading spans failed").because(error)))
}
