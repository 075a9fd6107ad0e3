//! Expressions whose names and types are known, and their values. Nothing here waits: what has to be asked of the
//! store was asked before and stands in a slot.

mod like;
mod row_text;

use super::error::{Sql, SqlError};
use super::functions::{Function, Run, concat};
use super::json;
use super::numeric::Numeric;
use super::session::Facts;
use super::time::{self, Interval};
use super::types::Type;
use super::value::{self, Value};
use like::like;
use row_text::whole;
use std::borrow::Cow;
use std::cmp::Ordering;
use store::Message;

/// An expression.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Const(Value<'static>),
    Param(usize),
    /// A field of a message, as this type.
    Field(Field, Type),
    /// A value of a row that is no message.
    Column(usize),
    /// What was asked or counted before.
    Slot(usize),
    /// A message as one value, as its text.
    WholeMessage,
    Cast(Box<Expr>, Type, Type),
    Call(&'static Function, Vec<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `+ - * / %` of two numbers of this type.
    Arithmetic(char, Type, Box<Expr>, Box<Expr>),
    /// A time and a span; true for a time before.
    Shift(Box<Expr>, Box<Expr>, bool),
    /// Days between dates, or a span between times.
    Since(Box<Expr>, Box<Expr>),
    Concat(Box<Expr>, Box<Expr>),
    /// `->` and `->>`; true for the text.
    Get(Box<Expr>, Box<Expr>, bool),
    Contains(Box<Expr>, Box<Expr>),
    HasKey(Box<Expr>, Box<Expr>),
    Like {
        value: Box<Expr>,
        pattern: Box<Expr>,
        any_case: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>),
    Is(Box<Expr>, bool),
    IsDistinct(Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    Case(Vec<(Expr, Expr)>, Box<Expr>),
    Coalesce(Vec<Expr>),
    NullIf(Box<Expr>, Box<Expr>),
    /// The greatest, or the least.
    Extreme(Vec<Expr>, bool),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    StreamName,
    Kind,
    Position,
    GlobalPosition,
    Data,
    Metadata,
    Time,
}

/// A comparison of two values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// The comparison of this operator.
    pub(crate) fn of(operator: &str) -> Option<Self> {
        Some(match operator {
            "=" => Self::Equal,
            "<>" => Self::Unequal,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// What it says when its sides are swapped.
    pub(crate) fn swapped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Unequal => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// What an expression is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row<'a> {
    Nothing,
    Message(&'a Message),
    Values(&'a [Value<'static>]),
}

/// What an expression may know besides its row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) params: &'a [Value<'static>],
    pub(crate) slots: &'a [Value<'static>],
    pub(crate) facts: &'a Facts<'a>,
}

/// A field of a message as a value of this type.
fn field_of(message: &Message, field: Field, ty: Type) -> Value<'_> {
    match field {
        Field::Id if ty == Type::Uuid => Value::Uuid(message.id),
        Field::Id => Value::owned(message.id.to_string()),
        Field::StreamName => Value::text(&message.stream),
        Field::Kind => Value::text(&message.kind),
        Field::Position => Value::Int(message.position),
        Field::GlobalPosition => Value::Int(message.global_position),
        Field::Data => document_of(message.data.as_ref(), ty),
        Field::Metadata => document_of(message.metadata.as_ref(), ty),
        Field::Time => Value::Time(message.time),
    }
}

fn document_of(json: Option<&store::Json>, ty: Type) -> Value<'_> {
    match json {
        None => Value::Null,
        Some(json) if ty == Type::Jsonb => Value::Json(Cow::Borrowed(json.as_str())),
        Some(json) => Value::text(json.as_str()),
    }
}

impl Expr {
    /// Whether a row or a slot has a say in it.
    pub(crate) fn is_constant(&self) -> bool {
        match self {
            Self::Const(_) | Self::Param(_) => true,
            Self::Field(..) | Self::Column(_) | Self::Slot(_) | Self::WholeMessage => false,
            Self::Cast(value, ..) | Self::Not(value) | Self::IsNull(value) | Self::Is(value, _) => {
                value.is_constant()
            }
            Self::Call(_, args)
            | Self::And(args)
            | Self::Or(args)
            | Self::Coalesce(args)
            | Self::Extreme(args, _) => args.iter().all(Self::is_constant),
            Self::Compare(_, left, right)
            | Self::Arithmetic(_, _, left, right)
            | Self::Shift(left, right, _)
            | Self::Since(left, right)
            | Self::Concat(left, right)
            | Self::Get(left, right, _)
            | Self::Contains(left, right)
            | Self::HasKey(left, right)
            | Self::IsDistinct(left, right)
            | Self::NullIf(left, right)
            | Self::Like { value: left, pattern: right, .. } => left.is_constant() && right.is_constant(),
            Self::In(value, list) => value.is_constant() && list.iter().all(Self::is_constant),
            Self::Case(whens, otherwise) => {
                otherwise.is_constant()
                    && whens.iter().all(|(when, then)| when.is_constant() && then.is_constant())
            }
        }
    }

    /// Its value for a row.
    pub(crate) fn value<'a>(&'a self, row: Row<'a>, known: &Known<'a>) -> Sql<Value<'a>> {
        let of = |expr: &'a Expr| expr.value(row, known);
        Ok(match self {
            Self::Const(value) => borrowed(value),
            Self::Param(nth) => known.params.get(*nth).map_or(Value::Null, borrowed),
            Self::Slot(nth) => known.slots.get(*nth).map_or(Value::Null, borrowed),
            Self::Field(field, ty) => match row {
                Row::Message(message) => field_of(message, *field, *ty),
                _ => Value::Null,
            },
            Self::Column(nth) => match row {
                Row::Values(values) => values.get(*nth).map_or(Value::Null, borrowed),
                _ => Value::Null,
            },
            Self::WholeMessage => match row {
                Row::Message(message) => Value::owned(whole(message)),
                _ => Value::Null,
            },
            Self::Cast(inner, from, to) => value::cast(of(inner)?, *from, *to)?,
            Self::Call(function, args) => call(function, args, row, known)?,
            Self::Compare(comparison, left, right) => match value::compare(&of(left)?, &of(right)?) {
                Some(ordering) => Value::Bool(comparison.holds(ordering)),
                None => Value::Null,
            },
            Self::Arithmetic(operator, ty, left, right) => {
                arithmetic(*operator, *ty, &of(left)?, &of(right)?)?
            }
            Self::Shift(time, span, back) => shift(&of(time)?, &of(span)?, *back)?,
            Self::Since(left, right) => since(&of(left)?, &of(right)?),
            Self::Concat(left, right) => match (of(left)?.as_text(), of(right)?.as_text()) {
                (Some(left), Some(right)) => concat(left, right)?,
                _ => Value::Null,
            },
            Self::Get(json, key, text) => get(of(json)?, &of(key)?, *text),
            Self::Contains(whole, part) => match (of(whole)?.as_text(), of(part)?.as_text()) {
                (Some(whole), Some(part)) => Value::Bool(json::contains(whole, part)?),
                _ => Value::Null,
            },
            Self::HasKey(whole, key) => match (of(whole)?.as_text(), of(key)?.as_text()) {
                (Some(whole), Some(key)) => Value::Bool(json::field(whole, key).is_some()),
                _ => Value::Null,
            },
            Self::Like { value, pattern, any_case } => match (of(value)?.as_text(), of(pattern)?.as_text()) {
                (Some(value), Some(pattern)) if *any_case => {
                    Value::Bool(like(&value.to_lowercase(), &pattern.to_lowercase())?)
                }
                (Some(value), Some(pattern)) => Value::Bool(like(value, pattern)?),
                _ => Value::Null,
            },
            Self::And(parts) => all(parts, false, row, known)?,
            Self::Or(parts) => all(parts, true, row, known)?,
            Self::Not(inner) => match of(inner)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
            Self::IsNull(inner) => Value::Bool(of(inner)?.is_null()),
            Self::Is(inner, wanted) => Value::Bool(of(inner)? == Value::Bool(*wanted)),
            Self::IsDistinct(left, right) => {
                let (left, right) = (of(left)?, of(right)?);
                Value::Bool(match value::compare(&left, &right) {
                    Some(ordering) => ordering.is_ne(),
                    None => left.is_null() != right.is_null(),
                })
            }
            Self::In(inner, list) => is_in(&of(inner)?, list, row, known)?,
            Self::Case(whens, otherwise) => {
                for (when, then) in whens {
                    if of(when)?.is_true() {
                        return of(then);
                    }
                }
                of(otherwise)?
            }
            Self::Coalesce(list) => {
                for expr in list {
                    let value = of(expr)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Value::Null
            }
            Self::NullIf(left, right) => {
                let left = of(left)?;
                if value::compare(&left, &of(right)?) == Some(Ordering::Equal) { Value::Null } else { left }
            }
            Self::Extreme(list, greatest) => {
                let mut best = Value::Null;
                for expr in list {
                    let value = of(expr)?;
                    let better = match value::compare(&value, &best) {
                        Some(ordering) => ordering.is_gt() == *greatest && ordering.is_ne(),
                        None => best.is_null(),
                    };
                    if better {
                        best = value;
                    }
                }
                best
            }
        })
    }
}

/// The same value, its text borrowed.
fn borrowed<'a>(value: &'a Value<'static>) -> Value<'a> {
    match value {
        Value::Text(text) => Value::text(text),
        Value::Json(text) => Value::Json(Cow::Borrowed(&**text)),
        other => other.clone(),
    }
}

fn call<'a>(
    function: &'static Function,
    args: &'a [Expr],
    row: Row<'a>,
    known: &Known<'a>,
) -> Sql<Value<'a>> {
    let args: Vec<Value<'a>> = args.iter().map(|arg| arg.value(row, known)).collect::<Sql<_>>()?;
    match &function.run {
        Run::Strict(_) | Run::Session(_) if args.iter().any(Value::is_null) => Ok(Value::Null),
        Run::Strict(run) | Run::Pure(run) => run(&args),
        Run::Session(run) => run(known.facts, &args),
        // The planner gives these a slot.
        Run::Asks(_) => Err(SqlError::not_served(format!("`{}` in this place", function.name))),
    }
}

/// AND where `decisive` is false, OR where it is true: the first such value decides, NULL only if none does.
fn all<'a>(parts: &'a [Expr], decisive: bool, row: Row<'a>, known: &Known<'a>) -> Sql<Value<'a>> {
    let mut unknown = false;
    for part in parts {
        match part.value(row, known)? {
            Value::Bool(value) if value == decisive => return Ok(Value::Bool(decisive)),
            Value::Bool(_) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(!decisive) })
}

fn is_in<'a>(wanted: &Value<'a>, list: &'a [Expr], row: Row<'a>, known: &Known<'a>) -> Sql<Value<'a>> {
    let mut unknown = wanted.is_null();
    for expr in list {
        match value::compare(wanted, &expr.value(row, known)?) {
            Some(Ordering::Equal) => return Ok(Value::Bool(true)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(false) })
}

fn arithmetic<'a>(operator: char, ty: Type, left: &Value<'_>, right: &Value<'_>) -> Sql<Value<'a>> {
    let beyond = || SqlError::new("22003", format!("{} out of range", ty.name()));
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            if *right == 0 && matches!(operator, '/' | '%') {
                return Err(SqlError::new("22012", "division by zero"));
            }
            let answer = match operator {
                '+' => left.checked_add(*right),
                '-' => left.checked_sub(*right),
                '*' => left.checked_mul(*right),
                '/' => left.checked_div(*right),
                _ => Some(left.wrapping_rem(*right)),
            };
            let within = answer.filter(|answer| match ty {
                Type::Int2 => i16::try_from(*answer).is_ok(),
                Type::Int4 => i32::try_from(*answer).is_ok(),
                _ => true,
            });
            within.map(Value::Int).ok_or_else(beyond)
        }
        (Value::Numeric(left), Value::Numeric(right)) => {
            Numeric::calculate(*left, operator, *right).map(Value::Numeric)
        }
        _ => Ok(Value::Null),
    }
}

/// A time and a span later or before; a date and a number of days.
fn shift<'a>(at: &Value<'_>, span: &Value<'_>, back: bool) -> Sql<Value<'a>> {
    let beyond = || SqlError::new("22008", "timestamp out of range");
    match (at, span) {
        (Value::Date(day), Value::Int(days)) => {
            let days = if back { days.checked_neg() } else { Some(*days) };
            let day = days.and_then(|days| i64::from(*day).checked_add(days));
            day.and_then(|day| i32::try_from(day).ok()).map(Value::Date).ok_or_else(beyond)
        }
        (Value::Time(at), Value::Interval(span)) => {
            let span = if back { span.negated() } else { Some(*span) };
            span.and_then(|span| time::add(*at, span)).map(Value::Time).ok_or_else(beyond)
        }
        _ => Ok(Value::Null),
    }
}

fn since<'a>(left: &Value<'_>, right: &Value<'_>) -> Value<'a> {
    match (left, right) {
        (Value::Date(left), Value::Date(right)) => Value::Int(i64::from(*left) - i64::from(*right)),
        (Value::Time(left), Value::Time(right)) => {
            let micros = left.saturating_sub(*right);
            let days = i32::try_from(micros / time::DAY).unwrap_or(i32::MAX);
            Value::Interval(Interval { months: 0, days, micros: micros % time::DAY })
        }
        _ => Value::Null,
    }
}

fn get<'a>(json: Value<'a>, key: &Value<'_>, text: bool) -> Value<'a> {
    let found = |json: &'a str| match key {
        Value::Int(index) => json::element(json, *index),
        _ => json::field(json, key.as_text()?),
    };
    match json {
        Value::Json(Cow::Borrowed(json)) => match found(json) {
            Some(value) if text => json::as_text(value).map_or(Value::Null, Value::Text),
            Some(value) => Value::Json(Cow::Borrowed(value)),
            None => Value::Null,
        },
        Value::Json(Cow::Owned(json)) => get(Value::Json(Cow::Borrowed(&json)), key, text).into_owned(),
        _ => Value::Null,
    }
}
