//! A message as one value.

use super::{Field, field_of};
use crate::messagedb::types::Type;
use store::Message;

/// A message as PostgreSQL writes a row in one value: `(id,stream,type,..)`.
pub(super) fn whole(message: &Message) -> String {
    const FIELDS: [(Field, Type); 8] = [
        (Field::Id, Type::Varchar),
        (Field::StreamName, Type::Varchar),
        (Field::Kind, Type::Varchar),
        (Field::Position, Type::Int8),
        (Field::GlobalPosition, Type::Int8),
        (Field::Data, Type::Varchar),
        (Field::Metadata, Type::Varchar),
        (Field::Time, Type::Timestamp),
    ];
    let mut out = String::from("(");
    for (nth, (field, ty)) in FIELDS.into_iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        let value = field_of(message, field, ty);
        let mut text = String::new();
        value.write_text(ty, &mut text);
        let quoted = |c: char| matches!(c, '(' | ')' | ',' | '"' | '\\') || c.is_whitespace();
        if !value.is_null() && (text.is_empty() || text.contains(quoted)) {
            out.push('"');
            out.push_str(&text.replace('\\', "\\\\").replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&text);
        }
    }
    out.push(')');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_as_a_row() {
        let message = Message {
            id: store::Uuid::nil(),
            stream: "a-1".into(),
            kind: String::new(),
            position: 0,
            global_position: 7,
            data: Some(store::Json::parse("{\"a\": 1}").unwrap()),
            metadata: None,
            time: 0,
        };
        assert_eq!(
            whole(&message),
            "(00000000-0000-0000-0000-000000000000,a-1,\"\",0,7,\"{\"\"a\"\": 1}\",,\"1970-01-01 00:00:00\")"
        );
    }
}
