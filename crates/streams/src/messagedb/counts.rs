//! The views: messages counted by stream, type and category, with their share of all (Message DB's `views`).

use super::error::{Sql, SqlError};
use super::numeric::Numeric;
use super::relations::{By, View};
use super::scan::Scan;
use super::session::Session;
use super::types::Type;
use super::value::Value;
use std::collections::BTreeMap;
use store::{Read, names};

/// Groups of one view.
const GROUPS_MAX: usize = 200_000;

/// The rows of a view, in the order of what they are counted by.
pub(crate) async fn rows(view: &View, session: &Session) -> Sql<Vec<Vec<Value<'static>>>> {
    let mut groups: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    let mut total: i64 = 0;
    let mut scan = Scan::new(Read::all(), &session.transaction.pending, None, None);
    while let Some(message) = scan.next(session, None).await? {
        total += 1;
        let name = |by: &By| match by {
            By::Stream => message.stream.as_str(),
            By::Kind => message.kind.as_str(),
            By::Category => names::category(&message.stream),
        };
        let group: Vec<String> = view.by.iter().map(|by| name(by).to_owned()).collect();
        *groups.entry(group).or_default() += 1;
        if groups.len() > GROUPS_MAX {
            let text = format!("the view \"{}\" has more than {GROUPS_MAX} rows", view.name);
            return Err(SqlError::new("54000", text));
        }
    }
    groups
        .into_iter()
        .map(|(group, count)| {
            let share =
                Numeric::from(count).calculate('*', 100.into())?.calculate('/', total.into())?.round(2)?;
            let names = group.into_iter().map(Value::owned);
            Ok(names.chain([Value::Int(count), Value::Numeric(share)]).collect())
        })
        .collect()
}

/// The rows of `pg_type`, of the types that go over the wire here.
pub(crate) fn types() -> Vec<Vec<Value<'static>>> {
    let row = |(ty, oid, name): (Type, u32, &'static str)| {
        let kind = if ty == Type::Message { "c" } else { "b" };
        vec![
            Value::Int(oid.into()),
            Value::text(name),
            Value::Int(ty.size().into()),
            Value::Int(0),
            Value::Int(0),
            Value::Int(11),
            Value::text(kind),
        ]
    };
    Type::all().map(row).collect()
}
