//! From a statement to what has to be done for it: names are looked up, types are found and agreed, parameters get
//! theirs from where they stand. What a plan says holds for as long as the server runs.

mod binding;
mod operators;
mod select;

use super::error::Sql;
use super::expr::{Expr, Field};
use super::functions::Asks;
use super::relations::Table;
use super::sql::Statement;
use super::types::Type;

/// A statement, understood.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Types of the parameters.
    pub(crate) params: Vec<Type>,
    /// Columns of the answer; none where it has no rows.
    pub(crate) columns: Vec<Column>,
    pub(crate) action: Action,
}

/// A column of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: Type,
    /// Number of the table and of the column in it, 0 for what is computed.
    pub(crate) table: u32,
    pub(crate) attribute: i16,
}

impl Column {
    /// A column that is computed.
    pub(crate) fn computed(name: impl Into<String>, ty: Type) -> Self {
        Self { name: name.into(), ty, table: 0, attribute: 0 }
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// A query without a statement.
    Empty,
    Select(Box<SelectPlan>),
    Insert(Box<InsertPlan>),
    /// Everything else, as it was written.
    Other(Statement),
}

/// How rows are found and made.
#[derive(Debug)]
pub(crate) struct SelectPlan {
    pub(crate) source: Source,
    /// What is asked for each row; the answers stand in the first slots.
    pub(crate) asks: Vec<Ask>,
    /// How many of these come before the filter: those that `FROM` names.
    pub(crate) early: usize,
    pub(crate) filter: Option<Expr>,
    /// What is counted over all rows; the results stand in the slots behind the asks.
    pub(crate) aggregates: Vec<Aggregate>,
    /// The columns, then what is only sorted by.
    pub(crate) outputs: Vec<Expr>,
    pub(crate) distinct: bool,
    pub(crate) order: Vec<Key>,
    pub(crate) limit: Option<Expr>,
    pub(crate) offset: Option<Expr>,
}

/// Where rows come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// One row of nothing.
    One,
    Table(Table),
    /// Messages of one of Message DB's functions.
    Messages(Ask),
}

/// A question to the store or the session.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) what: Asks,
    pub(crate) args: Vec<Expr>,
}

/// What is counted over all rows.
#[derive(Debug)]
pub(crate) enum Aggregate {
    /// `count(*)`.
    Rows,
    /// `count([DISTINCT] value)`.
    Values { value: Expr, distinct: bool },
    /// `max`, or `min`.
    Extreme { value: Expr, greatest: bool },
}

/// What rows are sorted by.
#[derive(Debug)]
pub(crate) struct Key {
    /// Which of the outputs.
    pub(crate) output: usize,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// Rows to be inserted.
#[derive(Debug)]
pub(crate) struct InsertPlan {
    /// For each row the fields given and their values.
    pub(crate) rows: Vec<Vec<(Field, Expr)>>,
    /// Columns to be answered.
    pub(crate) returning: Vec<Expr>,
}

/// Understands a statement. `declared` are the types of parameters as far as the client says them; `None` is a
/// query of the simple protocol, which has none.
pub(crate) fn plan(statement: Statement, declared: Option<Vec<Type>>) -> Sql<Plan> {
    let mut binding = binding::Binding::new(declared);
    let (columns, action) = match statement {
        Statement::Select(select) => {
            let (columns, plan) = select::select(&mut binding, &select)?;
            (columns, Action::Select(Box::new(plan)))
        }
        Statement::Insert(insert) => {
            let (columns, plan) = select::insert(&mut binding, &insert)?;
            (columns, Action::Insert(Box::new(plan)))
        }
        Statement::Show(name) => {
            let columns = match name.as_str() {
                "all" => {
                    ["name", "setting", "description"].map(|name| Column::computed(name, Type::Text)).into()
                }
                _ => vec![Column::computed(super::parameters::canonical(&name), Type::Text)],
            };
            (columns, Action::Other(Statement::Show(name)))
        }
        other => (Vec::new(), Action::Other(other)),
    };
    Ok(Plan { params: binding.settled(), columns, action })
}

/// Understands a condition of Message DB's: an expression over the table's columns.
pub(crate) fn condition(text: &str) -> Sql<Expr> {
    let tree = super::sql::parse_condition(text).map_err(unplaced)?;
    let mut binding = binding::Binding::new(None);
    binding.relation(Table::Messages, "messages", None);
    binding.truth(&tree, "WHERE").map_err(unplaced)
}

/// A place in a condition is none in the statement that holds it.
fn unplaced(mut error: Box<super::error::SqlError>) -> Box<super::error::SqlError> {
    error.at = None;
    error
}

#[cfg(test)]
mod tests;
