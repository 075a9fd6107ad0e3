//! The types of PostgreSQL that go over the wire here: their numbers, names and which turns into which by
//! itself (`pg_type` and `pg_cast` of PostgreSQL 15).

/// A type of a value, a column or a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Numeric,
    Text,
    Varchar,
    Name,
    Json,
    Jsonb,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    Interval,
    Void,
    /// A row of Message DB's type `message` as one value.
    Message,
    /// A literal or parameter whose type follows from its surroundings.
    Unknown,
}

struct Facts {
    ty: Type,
    oid: u32,
    /// Bytes, -1 for any number.
    size: i16,
    /// What errors call it.
    name: &'static str,
    /// Its name in `pg_type`, then its other names in SQL.
    names: &'static [&'static str],
}

/// Types are numbered by installations from here on.
pub(crate) const MESSAGE_TYPE_OID: u32 = 16_464;

const FACTS: [Facts; 19] = [
    facts(Type::Bool, 16, 1, "boolean", &["bool", "boolean"]),
    facts(Type::Int2, 21, 2, "smallint", &["int2", "smallint"]),
    facts(Type::Int4, 23, 4, "integer", &["int4", "int", "integer"]),
    facts(Type::Int8, 20, 8, "bigint", &["int8", "bigint"]),
    facts(Type::Oid, 26, 4, "oid", &["oid"]),
    facts(Type::Numeric, 1700, -1, "numeric", &["numeric", "decimal"]),
    facts(Type::Text, 25, -1, "text", &["text"]),
    facts(Type::Varchar, 1043, -1, "character varying", &["varchar", "character varying"]),
    facts(Type::Name, 19, 64, "name", &["name"]),
    facts(Type::Json, 114, -1, "json", &["json"]),
    facts(Type::Jsonb, 3802, -1, "jsonb", &["jsonb"]),
    facts(Type::Uuid, 2950, 16, "uuid", &["uuid"]),
    facts(Type::Date, 1082, 4, "date", &["date"]),
    facts(
        Type::Timestamp,
        1114,
        8,
        "timestamp without time zone",
        &["timestamp", "timestamp without time zone"],
    ),
    facts(
        Type::Timestamptz,
        1184,
        8,
        "timestamp with time zone",
        &["timestamptz", "timestamp with time zone"],
    ),
    facts(Type::Interval, 1186, 16, "interval", &["interval"]),
    facts(Type::Void, 2278, 4, "void", &["void"]),
    facts(Type::Message, MESSAGE_TYPE_OID, -1, "message", &["message"]),
    facts(Type::Unknown, 705, -2, "unknown", &["unknown"]),
];

const fn facts(ty: Type, oid: u32, size: i16, name: &'static str, names: &'static [&'static str]) -> Facts {
    Facts { ty, oid, size, name, names }
}

impl Type {
    fn facts(self) -> &'static Facts {
        FACTS.iter().find(|facts| facts.ty == self).expect("each type has its line in the table")
    }

    /// Its number in the protocol.
    pub(crate) fn oid(self) -> u32 {
        self.facts().oid
    }

    /// Bytes of its binary form, -1 where they vary.
    pub(crate) fn size(self) -> i16 {
        self.facts().size
    }

    /// What PostgreSQL's errors call it.
    pub(crate) fn name(self) -> &'static str {
        self.facts().name
    }

    /// Its name in `pg_type`, which names the column of a cast.
    pub(crate) fn short_name(self) -> &'static str {
        self.facts().names[0]
    }

    /// The type of this number. 0 and `unknown` say that it follows from the surroundings.
    pub(crate) fn of_oid(oid: u32) -> Option<Self> {
        if oid == 0 {
            return Some(Self::Unknown);
        }
        FACTS.iter().find(|facts| facts.oid == oid).map(|facts| facts.ty)
    }

    /// The type that SQL names so, in lower case.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let named = |facts: &&Facts| facts.names.contains(&name) && facts.ty != Self::Unknown;
        FACTS.iter().find(named).map(|facts| facts.ty)
    }

    /// All of them with their numbers and names, for clients that load types when they connect.
    pub(crate) fn all() -> impl Iterator<Item = (Self, u32, &'static str)> {
        FACTS.iter().map(|facts| (facts.ty, facts.oid, facts.names[0]))
    }

    /// A whole number.
    pub(crate) fn is_int(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid)
    }

    /// A number.
    pub(crate) fn is_number(self) -> bool {
        self.is_int() || self == Self::Numeric
    }

    /// A text.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Varchar | Self::Name)
    }

    /// A point in time.
    pub(crate) fn is_time(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp | Self::Timestamptz)
    }

    /// How far along its family a type stands: a value turns by itself only into what stands later.
    fn rank(self) -> u8 {
        match self {
            Self::Int4 | Self::Timestamp => 1,
            Self::Int8 | Self::Timestamptz => 2,
            Self::Numeric => 3,
            _ => 0,
        }
    }

    /// Whether a value of this type is taken where another is wanted, without a cast.
    pub(crate) fn becomes(self, wanted: Self) -> bool {
        self == wanted
            || self == Self::Unknown
            || (self.is_text() && wanted.is_text())
            || (self.is_number()
                && wanted.is_number()
                && self != Self::Oid
                && (wanted == Self::Oid && self != Self::Numeric
                    || wanted != Self::Oid && self.rank() <= wanted.rank()))
            || (self.is_time() && wanted.is_time() && self.rank() <= wanted.rank())
    }

    /// The type in which two values are compared or counted together.
    pub(crate) fn common(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Unknown, Self::Unknown) => Some(Self::Text),
            (ty, Self::Unknown) | (Self::Unknown, ty) => Some(if ty.is_text() { Self::Text } else { ty }),
            (left, right) if left == right => Some(if left.is_text() { Self::Text } else { left }),
            (left, right) if left.is_text() && right.is_text() => Some(Self::Text),
            (left, right) if left.becomes(right) => Some(right),
            (left, right) if right.becomes(left) => Some(left),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_number_and_its_names() {
        for facts in &FACTS {
            assert_eq!(Type::of_oid(facts.oid), Some(facts.ty));
            if facts.ty != Type::Unknown {
                assert!(facts.names.iter().all(|name| Type::of_name(name) == Some(facts.ty)));
            }
        }
        assert_eq!(Type::of_oid(0), Some(Type::Unknown));
        assert_eq!(Type::of_name("nope"), None);
    }

    #[test]
    fn only_what_loses_nothing_turns_into_another_type_by_itself() {
        assert!(Type::Int4.becomes(Type::Int8) && Type::Int8.becomes(Type::Numeric));
        assert!(!Type::Int8.becomes(Type::Int4) && !Type::Int4.becomes(Type::Varchar));
        assert!(!Type::Uuid.becomes(Type::Varchar) && Type::Text.becomes(Type::Varchar));
        assert!(Type::Date.becomes(Type::Timestamp) && !Type::Timestamp.becomes(Type::Date));
        assert_eq!(Type::Varchar.common(Type::Unknown), Some(Type::Text));
        assert_eq!(Type::Int4.common(Type::Numeric), Some(Type::Numeric));
        assert_eq!(Type::Uuid.common(Type::Varchar), None);
    }
}
