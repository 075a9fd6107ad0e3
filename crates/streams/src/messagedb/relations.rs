//! What `FROM` may name: the table `messages`, Message DB's six views, and the type catalog that some clients
//! read when they connect. Names, types and order of their columns are the original's.

use super::expr::Field;
use super::types::Type;

/// Numbers of tables begin here, as an installation would number them.
const TABLE_OID: u32 = 16_466;

/// Something to read rows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Messages,
    View(&'static View),
    /// `pg_catalog.pg_type`, of the types here.
    Types,
}

/// A view: how messages are counted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    /// What is counted together, which is also the order of the rows.
    pub(crate) by: &'static [By],
}

/// What messages have in common that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Stream,
    Kind,
    Category,
}

/// Message DB's views. Each ends in `message_count` and `percent`.
pub(crate) static VIEWS: [View; 6] = [
    View { name: "stream_summary", by: &[By::Stream] },
    View { name: "type_summary", by: &[By::Kind] },
    View { name: "stream_type_summary", by: &[By::Stream, By::Kind] },
    View { name: "type_stream_summary", by: &[By::Kind, By::Stream] },
    View { name: "category_type_summary", by: &[By::Category, By::Kind] },
    View { name: "type_category_summary", by: &[By::Kind, By::Category] },
];

impl By {
    fn column(self) -> (&'static str, Type) {
        match self {
            Self::Stream => ("stream_name", Type::Text),
            Self::Kind => ("type", Type::Text),
            Self::Category => ("category", Type::Varchar),
        }
    }
}

/// Columns of the table, in its order.
pub(crate) const TABLE_COLUMNS: [(&str, Type, Field); 8] = [
    ("global_position", Type::Int8, Field::GlobalPosition),
    ("position", Type::Int8, Field::Position),
    ("time", Type::Timestamp, Field::Time),
    ("stream_name", Type::Text, Field::StreamName),
    ("type", Type::Text, Field::Kind),
    ("data", Type::Jsonb, Field::Data),
    ("metadata", Type::Jsonb, Field::Metadata),
    ("id", Type::Uuid, Field::Id),
];

/// Columns of the rows of Message DB's functions, in their order.
pub(crate) const FUNCTION_COLUMNS: [(&str, Type, Field); 8] = [
    ("id", Type::Varchar, Field::Id),
    ("stream_name", Type::Varchar, Field::StreamName),
    ("type", Type::Varchar, Field::Kind),
    ("position", Type::Int8, Field::Position),
    ("global_position", Type::Int8, Field::GlobalPosition),
    ("data", Type::Varchar, Field::Data),
    ("metadata", Type::Varchar, Field::Metadata),
    ("time", Type::Timestamp, Field::Time),
];

/// Columns of `pg_type`.
pub(crate) const TYPE_COLUMNS: [(&str, Type); 7] = [
    ("oid", Type::Oid),
    ("typname", Type::Name),
    ("typlen", Type::Int2),
    ("typelem", Type::Oid),
    ("typarray", Type::Oid),
    ("typnamespace", Type::Oid),
    ("typtype", Type::Text),
];

impl Table {
    /// The table of this name and schema.
    pub(crate) fn named(schema: Option<&str>, name: &str) -> Option<Self> {
        match schema {
            None | Some("message_store") if name == "messages" => Some(Self::Messages),
            None | Some("pg_catalog") if name == "pg_type" => Some(Self::Types),
            None | Some("message_store") => VIEWS.iter().find(|view| view.name == name).map(Self::View),
            _ => None,
        }
    }

    /// Its number in the protocol.
    pub(crate) fn oid(self) -> u32 {
        match self {
            Self::Messages => TABLE_OID,
            Self::View(view) => {
                let nth = VIEWS.iter().position(|other| other == view).unwrap_or(0);
                TABLE_OID + 10 + nth as u32
            }
            Self::Types => 1247,
        }
    }

    /// Its columns, and the field that a column of messages shows.
    pub(crate) fn columns(self) -> Vec<(&'static str, Type, Option<Field>)> {
        match self {
            Self::Messages => TABLE_COLUMNS.map(|(name, ty, field)| (name, ty, Some(field))).to_vec(),
            Self::View(view) => {
                let by = view.by.iter().map(|by| by.column());
                let counts = [("message_count", Type::Int8), ("percent", Type::Numeric)];
                by.chain(counts).map(|(name, ty)| (name, ty, None)).collect()
            }
            Self::Types => TYPE_COLUMNS.map(|(name, ty)| (name, ty, None)).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_name_and_schema() {
        assert_eq!(Table::named(None, "messages"), Some(Table::Messages));
        assert_eq!(Table::named(Some("message_store"), "messages"), Some(Table::Messages));
        assert_eq!(Table::named(Some("public"), "messages"), None);
        assert_eq!(Table::named(Some("pg_catalog"), "pg_type"), Some(Table::Types));
        let view = Table::named(None, "category_type_summary").unwrap();
        let names: Vec<&str> = view.columns().iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, ["category", "type", "message_count", "percent"]);
    }
}
