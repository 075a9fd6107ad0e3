//! The rows of a statement, found as they are sent: what need not be sorted or counted is never held as a whole.

use super::counts;
use super::error::{Sql, SqlError};
use super::expr::{Expr, Known, Row};
use super::functions::Asks;
use super::plan::{Action, Aggregate, Ask, Plan, SelectPlan, Source};
use super::pushdown;
use super::relations::Table;
use super::scan::Scan;
use super::session::Session;
use super::transaction::Block;
use super::value::{self, Value};
use super::wire::backend::{Out, is_binary};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;
use store::Message;

/// Bytes of rows that are gathered before they are sent.
pub(crate) const SEND_BYTES: usize = 64 << 10;

/// The rows of a SELECT.
#[derive(Debug)]
pub(crate) struct Cursor {
    plan: Arc<Plan>,
    params: Arc<[Value<'static>]>,
    slots: Vec<Value<'static>>,
    feed: Feed,
    /// Whether the one write of the statement may go to the store at once.
    direct: bool,
    skip: u64,
    left: Option<u64>,
    /// Rows sent so far.
    pub(crate) sent: u64,
}

/// Where the next row comes from.
#[derive(Debug)]
enum Feed {
    /// One row of nothing.
    One,
    Scan(Box<Scan>),
    /// Rows of a view or the catalog.
    Rows(std::vec::IntoIter<Vec<Value<'static>>>),
    /// Rows as they are to be sent.
    Ready(std::vec::IntoIter<Vec<Value<'static>>>),
    Ended,
}

/// A row on its way.
enum Found {
    Nothing,
    Message(Message),
    Values(Vec<Value<'static>>),
}

impl Found {
    fn row(&self) -> Row<'_> {
        match self {
            Self::Nothing => Row::Nothing,
            Self::Message(message) => Row::Message(message),
            Self::Values(values) => Row::Values(values),
        }
    }
}

/// The plan of a SELECT.
fn select(plan: &Plan) -> Sql<&SelectPlan> {
    match &plan.action {
        Action::Select(select) => Ok(select),
        _ => Err(SqlError::new("XX000", "a cursor of no query")),
    }
}

impl Cursor {
    /// Begins to find rows. `alone` says that the statement is a transaction of its own.
    pub(crate) async fn open(
        session: &mut Session,
        plan: Arc<Plan>,
        params: Arc<[Value<'static>]>,
        alone: bool,
    ) -> Sql<Self> {
        let select = select(&plan)?;
        let writes = |ask: &Ask| matches!(ask.what, Asks::WriteMessage | Asks::AcquireLock);
        let writing = select.asks.iter().filter(|ask| writes(ask)).count();
        let simple = matches!(select.source, Source::One)
            && matches!(select.asks.as_slice(), [Ask { what: Asks::WriteMessage, .. }]);
        let free = session.transaction.block == Block::None;
        let direct = free && alone && simple;
        if free && !direct && writing > 0 {
            session.transaction.block = Block::Implicit;
        }
        let facts = session.facts();
        let known = Known { params: &params, slots: &[], facts: &facts };
        let number = |expr: &Option<Expr>, what: &str, code| -> Sql<Option<u64>> {
            let Some(expr) = expr else { return Ok(None) };
            let value = expr.value(Row::Nothing, &known)?.as_int();
            let Some(value) = value else { return Ok(None) };
            let wrong = || SqlError::new(code, format!("{what} must not be negative"));
            u64::try_from(value).map(Some).map_err(|_| wrong())
        };
        let left = number(&select.limit, "LIMIT", "2201W")?;
        let skip = number(&select.offset, "OFFSET", "2201X")?.unwrap_or(0);
        let (feed, sorted) = feed(session, select, &params).await?;
        let plan_of = plan.clone();
        let select = self::select(&plan_of)?;
        let mut cursor = Self { plan, params, slots: Vec::new(), feed, direct, skip, left, sent: 0 };
        if !select.aggregates.is_empty() || select.distinct || !sorted {
            cursor.gather(session, select).await?;
        }
        Ok(cursor)
    }

    /// Sends rows until there are none, or so many, or enough bytes to be sent. Answers whether that was all.
    pub(crate) async fn fill(
        &mut self,
        session: &mut Session,
        out: &mut Out,
        formats: &[bool],
        mut rows_max: u64,
    ) -> Sql<bool> {
        let plan = self.plan.clone();
        let select = select(&plan)?;
        let shown = plan.columns.len();
        loop {
            if self.left == Some(0) {
                return Ok(true);
            }
            if rows_max == 0 || out.0.len() >= SEND_BYTES {
                return Ok(false);
            }
            if let Feed::Ready(rows) = &mut self.feed {
                let Some(row) = rows.next() else { return Ok(true) };
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                let at = out.row(shown);
                for (nth, (value, column)) in row.iter().zip(&plan.columns).enumerate() {
                    out.value(value, column.ty, is_binary(formats, nth));
                }
                out.end_row(at);
            } else {
                let Some(found) = self.next(session, select).await? else { return Ok(true) };
                let facts = session.facts();
                let known = Known { params: &self.params, slots: &self.slots, facts: &facts };
                out.row_of(&select.outputs, &plan.columns, formats, found.row(), &known)?;
            }
            self.sent += 1;
            rows_max -= 1;
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
        }
    }

    /// The next row that the filter takes and the offset leaves, with what it asks in the slots.
    async fn next(&mut self, session: &mut Session, select: &SelectPlan) -> Sql<Option<Found>> {
        loop {
            let found = match &mut self.feed {
                Feed::One => {
                    self.feed = Feed::Ended;
                    Found::Nothing
                }
                Feed::Scan(scan) => {
                    let plain = select.filter.is_none().then_some(self.left).flatten();
                    let wanted = plain.map(|left| left.saturating_add(self.skip));
                    let Some(message) = scan.next(session, wanted).await? else { return Ok(None) };
                    if let Some(condition) = &scan.condition {
                        let facts = session.facts();
                        let known = Known { params: &[], slots: &[], facts: &facts };
                        if !condition.value(Row::Message(&message), &known)?.is_true() {
                            continue;
                        }
                    }
                    scan.taken();
                    Found::Message(message)
                }
                Feed::Rows(rows) => match rows.next() {
                    Some(row) => Found::Values(row),
                    None => return Ok(None),
                },
                Feed::Ready(_) | Feed::Ended => return Ok(None),
            };
            self.slots.clear();
            self.asked(session, &select.asks[..select.early], &found).await?;
            if let Some(filter) = &select.filter {
                let facts = session.facts();
                let known = Known { params: &self.params, slots: &self.slots, facts: &facts };
                if !filter.value(found.row(), &known)?.is_true() {
                    continue;
                }
            }
            if self.skip > 0 && select.aggregates.is_empty() && !select.distinct {
                self.skip -= 1;
                continue;
            }
            self.asked(session, &select.asks[select.early..], &found).await?;
            return Ok(Some(found));
        }
    }

    /// Asks what a row asks, in order.
    async fn asked(&mut self, session: &mut Session, asks: &[Ask], found: &Found) -> Sql<()> {
        for ask in asks {
            let args = {
                let facts = session.facts();
                let known = Known { params: &self.params, slots: &self.slots, facts: &facts };
                values(&ask.args, found.row(), &known)?
            };
            let answer = session.ask(ask.what, &args, self.direct).await?;
            self.slots.push(answer);
        }
        Ok(())
    }

    /// Finds all rows, counts, tells apart and sorts them.
    async fn gather(&mut self, session: &mut Session, select: &SelectPlan) -> Sql<()> {
        let (skip, left) = (std::mem::take(&mut self.skip), self.left.take());
        let mut rows: Vec<Vec<Value<'static>>> = Vec::new();
        let (mut bytes, bytes_max) = (0, session.shared.settings.rows_bytes_max);
        let mut seen = HashSet::new();
        let mut tallies: Vec<Tally> = select.aggregates.iter().map(|_| Tally::default()).collect();
        while let Some(found) = self.next(session, select).await? {
            let facts = session.facts();
            let known = Known { params: &self.params, slots: &self.slots, facts: &facts };
            if select.aggregates.is_empty() {
                let row = values(&select.outputs, found.row(), &known)?;
                if !select.distinct || seen.insert(key(&row[..self.plan.columns.len()])) {
                    bytes += row.iter().map(Value::bytes).sum::<usize>() + size_of::<Vec<Value<'static>>>();
                    rows.push(row);
                }
            } else {
                for (tally, aggregate) in tallies.iter_mut().zip(&select.aggregates) {
                    bytes += tally.add(aggregate, found.row(), &known)?;
                }
            }
            if bytes > bytes_max {
                let text = format!("the rows to be sorted or told apart take more than {bytes_max} bytes");
                return Err(SqlError::new("53400", text)
                    .hint("ask for fewer columns or rows, or sort by global_position, which costs nothing"));
            }
        }
        if !select.aggregates.is_empty() {
            self.slots.resize(select.asks.len(), Value::Null);
            self.slots.extend(tallies.into_iter().map(Tally::result));
            let facts = session.facts();
            let known = Known { params: &self.params, slots: &self.slots, facts: &facts };
            rows.push(values(&select.outputs, Row::Nothing, &known)?);
        }
        if !select.order.is_empty() {
            rows.sort_by(|left, right| order(select, left, right));
        }
        self.feed = Feed::Ready(rows.into_iter());
        (self.skip, self.left) = (skip, left);
        Ok(())
    }
}

/// Where the rows of a statement come from, and whether they come in the order that was asked for.
async fn feed(session: &mut Session, select: &SelectPlan, params: &[Value<'static>]) -> Sql<(Feed, bool)> {
    match &select.source {
        Source::One => Ok((Feed::One, true)),
        Source::Table(Table::Messages) => {
            let facts = session.facts();
            let access = pushdown::access(select, &Known { params, slots: &[], facts: &facts });
            let scan = match access.id {
                _ if access.nothing => Scan::nothing(),
                Some(id) => {
                    let own = session.transaction.pending.iter().find(|message| message.id == id).cloned();
                    let found = match own {
                        Some(message) => Some(message),
                        None => session.shared.store.by_id(id).await?,
                    };
                    Scan::of(found.into_iter().collect())
                }
                None => Scan::new(access.read, &session.transaction.pending, None, None),
            };
            Ok((Feed::Scan(Box::new(scan)), access.sorted))
        }
        Source::Table(Table::View(view)) => {
            let rows = counts::rows(view, session).await?;
            Ok((Feed::Rows(rows.into_iter()), select.order.is_empty()))
        }
        Source::Table(Table::Types) => Ok((Feed::Rows(counts::types().into_iter()), select.order.is_empty())),
        Source::Messages(ask) => {
            let args = {
                let facts = session.facts();
                values(&ask.args, Row::Nothing, &Known { params, slots: &[], facts: &facts })?
            };
            let scan = session.rows(ask.what, &args).await?;
            Ok((Feed::Scan(Box::new(scan)), select.order.is_empty()))
        }
    }
}

/// Values on their own.
fn values(exprs: &[Expr], row: Row<'_>, known: &Known<'_>) -> Sql<Vec<Value<'static>>> {
    exprs.iter().map(|expr| Ok(expr.value(row, known)?.into_owned())).collect()
}

/// What is the same for rows that are the same.
fn key(row: &[Value<'static>]) -> String {
    let mut key = String::new();
    for value in row {
        let mut text = String::new();
        value.write_text(super::types::Type::Text, &mut text);
        let kind = if value.is_null() { 'n' } else { 'v' };
        key.extend([kind, ':']);
        key.push_str(&text.len().to_string());
        key.push(':');
        key.push_str(&text);
    }
    key
}

fn order(select: &SelectPlan, left: &[Value<'static>], right: &[Value<'static>]) -> Ordering {
    for key in &select.order {
        let (one, other) = (&left[key.output], &right[key.output]);
        let ordering = match (one.is_null(), other.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => {
                if key.nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if key.nulls_first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, false) => {
                let ordering = value::compare(one, other).unwrap_or(Ordering::Equal);
                if key.descending { ordering.reverse() } else { ordering }
            }
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    Ordering::Equal
}

/// What was counted so far.
#[derive(Debug, Default)]
struct Tally {
    count: i64,
    extreme: Option<Value<'static>>,
    seen: HashSet<String>,
    counts: bool,
}

impl Tally {
    /// Counts a row; answers how many bytes that took.
    fn add(&mut self, aggregate: &Aggregate, row: Row<'_>, known: &Known<'_>) -> Sql<usize> {
        match aggregate {
            Aggregate::Rows => self.count += 1,
            Aggregate::Values { value, distinct } => {
                let value = value.value(row, known)?;
                if value.is_null() {
                    return Ok(0);
                }
                if *distinct {
                    let key = key(&[value.into_owned()]);
                    let bytes = key.len() + size_of::<String>();
                    if self.seen.insert(key) {
                        self.count += 1;
                        return Ok(bytes);
                    }
                } else {
                    self.count += 1;
                }
            }
            Aggregate::Extreme { value, greatest } => {
                self.counts = true;
                let value = value.value(row, known)?;
                let better = match &self.extreme {
                    None => !value.is_null(),
                    Some(best) => value::compare(&value, best)
                        .is_some_and(|ordering| if *greatest { ordering.is_gt() } else { ordering.is_lt() }),
                };
                if better {
                    self.extreme = Some(value.into_owned());
                }
            }
        }
        Ok(0)
    }

    fn result(self) -> Value<'static> {
        if self.counts { self.extreme.unwrap_or(Value::Null) } else { Value::Int(self.count) }
    }
}
