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
    rows_within(view, session, GROUPS_MAX).await
}

async fn rows_within(view: &View, session: &Session, groups_max: usize) -> Sql<Vec<Vec<Value<'static>>>> {
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
        if groups.len() > groups_max {
            let text = format!("the view \"{}\" has more than {groups_max} rows", view.name);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messagedb::relations::VIEWS;
    use crate::messagedb::session::Shared;
    use crate::messagedb::settings::Settings;
    use std::sync::Arc;
    use store::{Append, Memory, NewMessage, Store, Uuid};

    #[tokio::test]
    async fn a_view_has_so_many_rows_and_no_more() {
        let clock = base::Clock::system();
        let store = Store::new(Memory::new(clock.clone()));
        for (number, stream) in ["b-1", "a-1", "b-1"].into_iter().enumerate() {
            let id = Uuid::from_u128(number as u128);
            let messages = vec![NewMessage { id, kind: "T".into(), data: None, metadata: None }];
            store
                .append(vec![Append { stream: stream.into(), expected_version: None, messages }])
                .await
                .unwrap();
        }
        let shared = Shared {
            store,
            settings: Settings::default(),
            clock,
            chance: base::Chance::seeded(1),
            locks: crate::messagedb::locks::Locks::default(),
            channels: crate::messagedb::notices::Channels::default(),
            sessions: std::sync::Mutex::default(),
        };
        let session = Session::new(Arc::new(shared), 1, "message_store", "message_store");
        let rows = rows_within(&VIEWS[0], &session, 2).await.unwrap();
        assert_eq!(rows[0][0], Value::text("a-1"), "in the order of their names");
        assert_eq!(rows[1][1..], [Value::Int(2), Value::Numeric(Numeric::new(6667, 2))]);
        assert_eq!(rows_within(&VIEWS[0], &session, 1).await.unwrap_err().code, "54000");
    }
}
