//! What of a WHERE clause and an ORDER BY the store does by itself: a stream, a category, an id, where to begin.
//! It only spares work: each row is still asked what the clause says.

use super::expr::{Comparison, Expr, Field, Known, Row};
use super::plan::{Key, SelectPlan};
use super::value::Value;
use store::{Read, Scope, Uuid};

/// How the table is read for a statement.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) read: Read,
    /// Only the message of this id.
    pub(crate) id: Option<Uuid>,
    /// Whether rows come in the order that was asked for.
    pub(crate) sorted: bool,
    /// Whether the clause is certain not to hold for any row.
    pub(crate) nothing: bool,
}

/// Finds how to read the table.
pub(crate) fn access(plan: &SelectPlan, known: &Known<'_>) -> Access {
    let mut facts = Vec::new();
    if let Some(filter) = &plan.filter {
        gather(filter, known, &mut facts);
    }
    let mut access = Access { read: Read::all(), id: None, sorted: plan.order.is_empty(), nothing: false };
    for (what, comparison, value) in &facts {
        match (what, comparison, value) {
            (_, _, Value::Null) => access.nothing = true,
            (What::Field(Field::StreamName), Comparison::Equal, Value::Text(name)) => {
                access.read = Read::stream(&**name);
            }
            (What::Category, Comparison::Equal, Value::Text(name)) if access.read.scope == Scope::All => {
                access.read = Read::category(&**name);
            }
            (What::Field(Field::Kind), Comparison::Equal, Value::Text(kind)) => {
                access.read.kind = Some(kind.to_string());
            }
            (What::Field(Field::Id), Comparison::Equal, Value::Uuid(id)) => access.id = Some(*id),
            _ => {}
        }
    }
    let kind = facts.iter().find_map(|(what, comparison, value)| match (what, comparison, value) {
        (What::Field(Field::Kind), Comparison::Equal, Value::Text(kind)) => Some(kind.to_string()),
        _ => None,
    });
    access.read.kind = kind;
    let by = match access.read.scope {
        Scope::Stream(_) => Field::Position,
        _ => Field::GlobalPosition,
    };
    // A stream's messages are in the order of both their positions.
    let in_order = |field: Field| field == by || (field == Field::GlobalPosition && by == Field::Position);
    if let [Key { output, descending, .. }] = plan.order.as_slice()
        && let Some(Expr::Field(field, _)) = plan.outputs.get(*output).filter(|_| !plan.distinct)
        && in_order(*field)
    {
        access.sorted = true;
        if *descending {
            access.read = access.read.backward();
        }
    }
    let backward = access.read.direction == store::Direction::Backward;
    for (what, comparison, value) in &facts {
        let (What::Field(field), Some(at)) = (what, value.as_int()) else { continue };
        if *field != by {
            continue;
        }
        let from = match (comparison, backward) {
            (Comparison::GreaterOrEqual | Comparison::Equal, false)
            | (Comparison::LessOrEqual | Comparison::Equal, true) => at,
            (Comparison::Greater, false) => at.saturating_add(1),
            (Comparison::Less, true) => at.saturating_sub(1),
            _ => continue,
        };
        access.read.from = if backward { access.read.from.min(from) } else { access.read.from.max(from) };
    }
    access
}

/// What a comparison is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Field(Field),
    /// The category of the stream's name.
    Category,
}

/// Comparisons that have to hold, each with a value that is the same for every row.
fn gather<'a>(expr: &'a Expr, known: &Known<'a>, facts: &mut Vec<(What, Comparison, Value<'a>)>) {
    match expr {
        Expr::And(parts) => parts.iter().for_each(|part| gather(part, known, facts)),
        Expr::Compare(comparison, left, right) => {
            let mut note = |side: &'a Expr, other: &'a Expr, comparison: Comparison| {
                if let (Some(what), true) = (what(side), other.is_constant())
                    && let Ok(value) = other.value(Row::Nothing, known)
                {
                    facts.push((what, comparison, value));
                }
            };
            note(left, right, *comparison);
            note(right, left, comparison.swapped());
        }
        _ => {}
    }
}

fn what(expr: &Expr) -> Option<What> {
    match expr {
        Expr::Field(field, _) => Some(What::Field(*field)),
        Expr::Call(function, args) if function.ours && function.name == "category" => match args.as_slice() {
            [Expr::Field(Field::StreamName, _)] => Some(What::Category),
            _ => None,
        },
        _ => None,
    }
}
