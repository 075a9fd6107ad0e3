//! Finds the candidates of a search by one statement for each page of them: rows that have what is looked for, the latest
//! first. What becomes of them is in the search that all engines share.

use super::Database;
use super::parts::Tables;
use super::reading::{Reading, decode};
use super::rows::array;
use crate::spans::store::search::Search;
use crate::spans::store::terms;
use crate::spans::{Query, Span};
use base::Fault;
use std::fmt::Write as _;
use tokio_postgres::types::{ToSql, Type};

/// Candidates of the first page for each trace that is asked for, as some are of one trace; and of any page. Each is so
/// many times as large as the one before it.
const OF_A_TRACE: usize = 3;
const PAGE_MIN: u32 = 32;
const PAGE_MAX: u32 = 1_000;
const PAGE_GROWS: u32 = 4;
/// Traces that are read before it is looked again whether there are enough.
const LOOK_EVERY: usize = 24;
/// What is looked for beside the first thing, in the database. All of it is looked at in the traces.
const BESIDE_MAX: usize = 3;

/// What rows have that is looked for, as conditions in SQL; a trace may meet each with another row. The one that the
/// fewest are likely to meet is the first.
fn conditions(query: &Query) -> Vec<String> {
    let service = (!query.service.is_empty()).then(|| terms::of_service(&query.service));
    let mut wanted = Vec::new();
    for (key, value) in query.annotations.iter().filter(|(_, value)| !value.is_empty()) {
        wanted.push(terms::tag(key, value));
    }
    for (key, _) in query.annotations.iter().filter(|(_, value)| value.is_empty()) {
        wanted.push(terms::word(key));
    }
    if !query.remote.is_empty() {
        wanted.push(terms::remote(&query.remote));
    }
    if !query.name.is_empty() {
        wanted.push(terms::name(&query.name));
    }
    let mut conditions: Vec<String> = wanted
        .into_iter()
        .map(|term| format!("terms @> {}", array(service.into_iter().chain([term]))))
        .collect();
    if let Some(min) = query.duration_us_min {
        let mut condition = format!("longest >= {}", super::signed(min));
        if let Some(max) = query.duration_us_max {
            _ = write!(condition, " AND shortest <= {}", super::signed(max));
        }
        if let Some(service) = service {
            _ = write!(condition, " AND terms @> {}", array([service]));
        }
        conditions.push(condition);
    }
    if conditions.is_empty() {
        conditions.extend(service.map(|service| format!("terms @> {}", array([service]))));
    }
    conditions
}

/// A statement for candidates, given all tables: when they began, and their trace. They are within `$1` and `$2`, behind
/// `$3` and `$4`, and at most `$5`; of those that began behind `$6` only such whose trace began before it.
fn statement(all: &str, conditions: &[String]) -> String {
    let mut sql = format!(
        "SELECT began, trace FROM (SELECT * FROM {all}) AS found
        WHERE began BETWEEN $1 AND $2 AND (began, trace) < ($3, $4) AND (began <= $6
            OR (SELECT true FROM {all} WHERE parts.trace = found.trace AND parts.began <= $6 LIMIT 1))"
    );
    let mut conditions = conditions.iter();
    if let Some(first) = conditions.next() {
        _ = write!(sql, " AND {first}");
    }
    for condition in conditions.take(BESIDE_MAX) {
        _ = write!(sql, " AND trace IN (SELECT trace FROM {all} WHERE {condition})");
    }
    sql + " ORDER BY began DESC, trace DESC LIMIT $5"
}

/// The traces that are looked for, the latest first.
pub(super) async fn search(database: &Database, query: Query) -> Result<Vec<Vec<Span>>, Fault> {
    let conditions = conditions(&query);
    let first_page = u32::try_from(query.limit.saturating_mul(OF_A_TRACE)).unwrap_or(PAGE_MAX);
    let first_page = first_page.clamp(PAGE_MIN, PAGE_MAX);
    // To the millisecond, as what is asked for is.
    let end = super::signed(query.window_us().1.saturating_add(999));
    let mut search = Search::new(query, database.intake.settings.strict_trace_id);
    for (first, last) in search.windows() {
        let (first, last) = (super::signed(first), super::signed(last));
        let (mut behind, mut page_max) = ((i64::MAX, i64::MAX), first_page);
        loop {
            let candidates = |tables: &Tables| {
                let all = tables.all("spans", "began, trace, shortest, longest, terms")?;
                Some(statement(&all, &conditions))
            };
            let numbers = [&first, &last, &behind.0, &behind.1, &i64::from(page_max), &end];
            let numbers = numbers.map(|number| (number as &(dyn ToSql + Sync), Type::INT8));
            let rows = database.ask(candidates, &numbers).await?;
            let page = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
            let page: Vec<(i64, i64)> = database.fine(page.collect())?;
            let is_last = page.len() < page_max as usize;
            (search, behind) = look_at(database, search, &page, behind).await?;
            if is_last || search.is_full_for(behind.0.cast_unsigned()) {
                break;
            }
            page_max = (page_max * PAGE_GROWS).min(PAGE_MAX);
        }
        if search.is_full() {
            break;
        }
    }
    Ok(search.into_traces())
}

/// Looks at the traces of a page while there is room in the answer. Answers also the last candidate.
async fn look_at(
    database: &Database,
    mut search: Search,
    page: &[(i64, i64)],
    mut last: (i64, i64),
) -> Result<(Search, (i64, i64)), Fault> {
    let mut candidates = page.iter().peekable();
    while candidates.peek().is_some() {
        let mut group = Vec::new();
        while group.len() < LOOK_EVERY
            && let Some(candidate) = candidates.next()
        {
            last = *candidate;
            if search.is_full_for(candidate.0.cast_unsigned()) {
                candidates.by_ref().for_each(drop);
            } else if search.is_new(candidate.1.cast_unsigned()) {
                group.push(candidate.1.cast_unsigned());
            }
        }
        let mut reading = Reading::of(group);
        while let Some(read) = reading.next(database).await? {
            let looked = decode(search, move |mut search| {
                for trace in read.traces() {
                    search.look_at(read.spans_of(trace).unwrap_or_else(|| Ok(Vec::new()))?);
                }
                Ok(search)
            });
            search = looked.await?;
        }
    }
    Ok((search, last))
}
