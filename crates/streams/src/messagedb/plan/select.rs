//! SELECT and INSERT: where rows come from, which columns are answered, and what the rows are sorted by.

use super::binding::{Binding, Place, Seen, Typed};
use super::{Ask, Column, InsertPlan, Key, SelectPlan, Source};
use crate::messagedb::error::{Sql, SqlError};
use crate::messagedb::expr::{Expr, Field};
use crate::messagedb::functions::Run;
use crate::messagedb::relations::{TABLE_COLUMNS, Table};
use crate::messagedb::sql::{self, Insert, Item, Kind, Relation, Select};
use crate::messagedb::types::Type;

/// Columns of one answer; PostgreSQL's bound.
const COLUMNS_MAX: usize = 1_664;

/// An output on its way: its column and its value.
struct Output {
    column: Column,
    expr: Expr,
    /// Where it was written, for `ORDER BY`.
    tree: Option<sql::Expr>,
}

/// Understands a SELECT.
pub(super) fn select(binding: &mut Binding, select: &Select) -> Sql<(Vec<Column>, SelectPlan)> {
    let mut source = match &select.from {
        Some(from) => source_of(binding, from)?,
        None => Source::One,
    };
    if let Some(ask) = set_in_list(binding, select)? {
        source = Source::Messages(ask);
    }
    let early = binding.asks.len();
    binding.place = Place::Elsewhere;
    let filter = select.filter.as_ref().map(|filter| binding.truth(filter, "WHERE")).transpose()?;
    binding.place = Place::List;
    binding.loose = None;
    let mut outputs = items(binding, &select.items)?;
    let columns: Vec<Column> = outputs.iter().map(|output| output.column.clone()).collect();
    let order = keys(binding, select, &mut outputs)?;
    if let (false, Some((name, at))) = (binding.aggregates.is_empty(), &binding.loose) {
        let text = format!(
            "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
        );
        return Err(SqlError::new("42803", text).at(*at));
    }
    binding.place = Place::Elsewhere;
    let mut bound = |tree: &Option<sql::Expr>| -> Sql<Option<Expr>> {
        let Some(tree) = tree else { return Ok(None) };
        let expr = binding.of_type(tree, Type::Int8)?;
        if expr.is_constant() || matches!(expr, Expr::Call(..)) {
            return Ok(Some(expr));
        }
        Err(SqlError::new("42P10", "argument of LIMIT must not contain variables").at(tree.at))
    };
    let (limit, offset) = (bound(&select.limit)?, bound(&select.offset)?);
    let asks = std::mem::take(&mut binding.asks);
    let mut outputs: Vec<Expr> = outputs.into_iter().map(|output| output.expr).collect();
    for expr in &mut outputs {
        renumber(expr, asks.len());
    }
    let aggregates = std::mem::take(&mut binding.aggregates);
    if !aggregates.is_empty() && asks.len() > early {
        return Err(SqlError::not_served("a function that asks the store beside an aggregate"));
    }
    let distinct = select.distinct;
    Ok((
        columns,
        SelectPlan { source, asks, early, filter, aggregates, outputs, distinct, order, limit, offset },
    ))
}

/// What `FROM` names; its columns can be named from here on.
fn source_of(binding: &mut Binding, from: &sql::From) -> Sql<Source> {
    match &from.what {
        Relation::Table(name) => {
            let Some(table) = Table::named(name.schema.as_deref(), &name.name) else {
                return Err(SqlError::new("42P01", format!("relation \"{name}\" does not exist")).at(from.at));
            };
            binding.relation(table, &name.name, from.alias.as_deref());
            Ok(Source::Table(table))
        }
        Relation::Function(call) => {
            let label = from.alias.as_deref().unwrap_or(&call.function.name);
            if crate::messagedb::functions::named(None, &call.function.name)
                .any(|function| matches!(function.run, Run::Asks(what) if what.is_set()))
            {
                let (function, args) = binding.resolve(call, from.at)?;
                if let Run::Asks(what) = function.run {
                    binding.messages(label);
                    return Ok(Source::Messages(Ask { what, args }));
                }
            }
            binding.place = Place::List;
            let typed = binding.call(call, from.at)?;
            binding.label = Some(label.to_owned());
            let name = label.to_owned();
            binding.columns = vec![Seen { name, ty: typed.ty, expr: typed.expr, table: 0, attribute: 0 }];
            Ok(Source::One)
        }
    }
}

/// `SELECT get_stream_messages(..)`: each message as one value. Only alone, and without `FROM`.
fn set_in_list(binding: &mut Binding, select: &Select) -> Sql<Option<Ask>> {
    let ([Item::One { value, .. }], None) = (select.items.as_slice(), &select.from) else { return Ok(None) };
    let Kind::Call(call) = &value.kind else { return Ok(None) };
    let mut named = crate::messagedb::functions::named(None, &call.function.name);
    if !named.any(|function| matches!(function.run, Run::Asks(what) if what.is_set())) {
        return Ok(None);
    }
    let (function, args) = binding.resolve(call, value.at)?;
    let Run::Asks(what) = function.run else { return Ok(None) };
    let whole = Seen {
        name: call.function.name.clone(),
        ty: Type::Message,
        expr: Expr::WholeMessage,
        table: 0,
        attribute: 0,
    };
    binding.columns = vec![whole];
    Ok(Some(Ask { what, args }))
}

fn items(binding: &mut Binding, items: &[Item]) -> Sql<Vec<Output>> {
    let mut outputs = Vec::new();
    let whole = binding.columns.iter().any(|seen| matches!(seen.expr, Expr::WholeMessage));
    for item in items {
        match item {
            Item::All(table, at) => {
                if table.is_some() && *table != binding.label {
                    let table = table.as_deref().unwrap_or_default();
                    let text = format!("missing FROM-clause entry for table \"{table}\"");
                    return Err(SqlError::new("42P01", text).at(*at));
                }
                if binding.label.is_none() {
                    return Err(
                        SqlError::new("42601", "SELECT * with no tables specified is not valid").at(*at)
                    );
                }
                for seen in &binding.columns {
                    binding.loose.get_or_insert((seen.name.clone(), *at));
                    outputs.push(Output { column: seen.column(), expr: seen.expr.clone(), tree: None });
                }
            }
            Item::One { name, .. } if whole => outputs.extend(binding.columns.iter().map(|seen| {
                let mut column = seen.column();
                column.name = name.clone().unwrap_or(column.name);
                Output { column, expr: seen.expr.clone(), tree: None }
            })),
            Item::One { value, name } => {
                let typed = binding.expr(value)?;
                let ty = if typed.ty == Type::Unknown { Type::Text } else { typed.ty };
                let plain = match &value.kind {
                    Kind::Column(_, name) => binding.columns.iter().find(|seen| seen.name == *name),
                    _ => None,
                };
                let mut column = plain.map_or_else(|| Column::computed(called(value), ty), Seen::column);
                if let Some(name) = name {
                    column.name.clone_from(name);
                }
                let expr = binding.coerce(typed, ty, value.at)?;
                outputs.push(Output { column, expr, tree: Some(value.clone()) });
            }
        }
    }
    if outputs.len() > COLUMNS_MAX {
        let text = format!("target lists can have at most {COLUMNS_MAX} entries");
        return Err(SqlError::new("54011", text));
    }
    Ok(outputs)
}

impl Seen {
    fn column(&self) -> Column {
        Column { name: self.name.clone(), ty: self.ty, table: self.table, attribute: self.attribute }
    }
}

/// What PostgreSQL calls a column without a name (`FigureColname`).
fn called(tree: &sql::Expr) -> String {
    match figured(tree) {
        Some((name, _)) => name.to_owned(),
        None => "?column?".to_owned(),
    }
}

/// A name and whether it is better than that of a type.
fn figured(tree: &sql::Expr) -> Option<(&str, bool)> {
    match &tree.kind {
        Kind::Column(_, name) => Some((name, true)),
        Kind::Call(call) => Some((&call.function.name, true)),
        Kind::Cast(inner, ty) => {
            let own = Type::of_name(ty).map(|ty| (ty.short_name(), false));
            figured(inner).filter(|(_, good)| *good).or(own)
        }
        Kind::Case { .. } => Some(("case", false)),
        Kind::Bool(_) => Some(("bool", false)),
        _ => None,
    }
}

/// Keys of `ORDER BY`: a number or name of an output, or an expression, which becomes an output that is not sent.
fn keys(binding: &mut Binding, select: &Select, outputs: &mut Vec<Output>) -> Sql<Vec<Key>> {
    let shown = outputs.len();
    let mut keys = Vec::with_capacity(select.order.len());
    for order in &select.order {
        let tree = &order.value;
        let output = match &tree.kind {
            Kind::Number(digits) => {
                let nth = digits.parse::<usize>().ok().filter(|nth| (1..=shown).contains(nth));
                let text = format!("ORDER BY position {digits} is not in select list");
                nth.ok_or_else(|| SqlError::new("42P10", text).at(tree.at))? - 1
            }
            kind => {
                let named =
                    |output: &Output| matches!(kind, Kind::Column(None, name) if output.column.name == *name);
                let said = |output: &Output| output.tree.as_ref().is_some_and(|other| other.kind == *kind);
                let found = outputs[..shown].iter().position(|output| named(output) || said(output));
                match found {
                    Some(nth) => nth,
                    None if select.distinct => {
                        let text = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                        return Err(SqlError::new("42P10", text).at(tree.at));
                    }
                    None => {
                        let Typed { expr, ty } = binding.expr(tree)?;
                        outputs.push(Output { column: Column::computed("", ty), expr, tree: None });
                        outputs.len() - 1
                    }
                }
            }
        };
        keys.push(Key { output, descending: order.descending, nulls_first: order.nulls_first });
    }
    Ok(keys)
}

/// Slots of aggregates were counted from the end; they stand behind those of the asks.
fn renumber(expr: &mut Expr, asks: usize) {
    let both = |left: &mut Expr, right: &mut Expr| {
        renumber(left, asks);
        renumber(right, asks);
    };
    match expr {
        Expr::Slot(nth) if *nth > usize::MAX / 2 => *nth = asks + (usize::MAX - 1 - *nth),
        Expr::Const(_)
        | Expr::Param(_)
        | Expr::Field(..)
        | Expr::Column(_)
        | Expr::Slot(_)
        | Expr::WholeMessage => {}
        Expr::Cast(inner, ..) | Expr::Not(inner) | Expr::IsNull(inner) | Expr::Is(inner, _) => {
            renumber(inner, asks);
        }
        Expr::Call(_, list)
        | Expr::And(list)
        | Expr::Or(list)
        | Expr::Coalesce(list)
        | Expr::Extreme(list, _) => list.iter_mut().for_each(|expr| renumber(expr, asks)),
        Expr::Compare(_, left, right)
        | Expr::Arithmetic(_, _, left, right)
        | Expr::Shift(left, right, _)
        | Expr::Since(left, right)
        | Expr::Concat(left, right)
        | Expr::Get(left, right, _)
        | Expr::Contains(left, right)
        | Expr::HasKey(left, right)
        | Expr::IsDistinct(left, right)
        | Expr::NullIf(left, right)
        | Expr::Like { value: left, pattern: right, .. } => both(left, right),
        Expr::In(value, list) => {
            renumber(value, asks);
            for expr in list {
                renumber(expr, asks);
            }
        }
        Expr::Case(whens, otherwise) => {
            for (when, then) in whens {
                both(when, then);
            }
            renumber(otherwise, asks);
        }
    }
}

/// Understands an INSERT.
pub(super) fn insert(binding: &mut Binding, insert: &Insert) -> Sql<(Vec<Column>, InsertPlan)> {
    let name = &insert.table;
    match Table::named(name.schema.as_deref(), &name.name) {
        Some(Table::Messages) => {}
        Some(_) => {
            return Err(SqlError::new("42501", format!("permission denied for view {}", name.name)));
        }
        None => {
            return Err(SqlError::new("42P01", format!("relation \"{name}\" does not exist")).at(insert.at));
        }
    }
    let mut fields: Vec<(&str, Type, Field)> = Vec::new();
    for (column, at) in &insert.columns {
        let Some(known) = TABLE_COLUMNS.iter().find(|(name, ..)| name == column) else {
            let text = format!("column \"{column}\" of relation \"messages\" does not exist");
            return Err(SqlError::new("42703", text).at(*at));
        };
        if fields.iter().any(|(name, ..)| name == column) {
            let text = format!("column \"{column}\" specified more than once");
            return Err(SqlError::new("42701", text).at(*at));
        }
        fields.push(*known);
    }
    if insert.columns.is_empty() {
        fields = TABLE_COLUMNS.to_vec();
    }
    let mut rows = Vec::with_capacity(insert.rows.len());
    for given in &insert.rows {
        if given.len() > fields.len() {
            return Err(
                SqlError::new("42601", "INSERT has more expressions than target columns").at(insert.at)
            );
        }
        if given.len() < fields.len() && !insert.columns.is_empty() {
            return Err(
                SqlError::new("42601", "INSERT has more target columns than expressions").at(insert.at)
            );
        }
        let mut row = Vec::with_capacity(given.len());
        for (tree, (name, ty, field)) in given.iter().zip(&fields) {
            let Some(tree) = tree else { continue };
            if matches!(field, Field::GlobalPosition | Field::Time) {
                let text = format!("a value for column \"{name}\", which the store gives,");
                return Err(SqlError::not_served(text).at(tree.at));
            }
            row.push((*field, binding.assigned(tree, name, *ty)?));
        }
        rows.push(row);
    }
    binding.relation(Table::Messages, "messages", None);
    binding.place = Place::Elsewhere;
    let returning = items(binding, &insert.returning)?;
    let columns = returning.iter().map(|output| output.column.clone()).collect();
    let returning = returning.into_iter().map(|output| output.expr).collect();
    Ok((columns, InsertPlan { rows, returning }))
}
