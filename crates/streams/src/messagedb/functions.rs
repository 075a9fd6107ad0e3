//! The functions that a statement may call, as one table: Message DB's twelve, and those of PostgreSQL that its
//! clients send or that a condition is likely to use. Arguments are of the types said here when they come.

mod times;

use super::error::{Sql, SqlError};
use super::json;
use super::numeric::Numeric;
use super::session::Facts;
use super::time;
use super::types::Type;
use super::value::Value;
use std::borrow::Cow;
use store::{Uuid, names};
use times::{date_trunc, extract, timezone};

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// One of Message DB's own, in the schema `message_store`.
    pub(crate) ours: bool,
    /// Names and types of its arguments; functions of PostgreSQL's take theirs by place.
    pub(crate) args: &'static [(&'static str, Type)],
    /// How many of them have to be given.
    pub(crate) required: usize,
    pub(crate) returns: Type,
    pub(crate) run: Run,
}

/// A function of its arguments only.
type Pure = for<'a> fn(&[Value<'a>]) -> Sql<Value<'a>>;

/// How a function finds its answer.
#[derive(Debug)]
pub(crate) enum Run {
    /// From its arguments; NULL where one of them is.
    Strict(Pure),
    /// From its arguments, NULL among them.
    Pure(Pure),
    /// From its arguments and what the session knows.
    Session(fn(&Facts<'_>, &[Value<'_>]) -> Sql<Value<'static>>),
    /// By asking the store or changing the session, once for each row and before anything else of it.
    Asks(Asks),
}

/// What is asked of the store or the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    WriteMessage,
    StreamVersion,
    AcquireLock,
    GetStream,
    GetCategory,
    GetLast,
    SetConfig,
    Notify,
}

impl Asks {
    /// Whether the answer is rows of messages.
    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::GetStream | Self::GetCategory | Self::GetLast)
    }
}

/// The functions of this name, in a schema or in any.
pub(crate) fn named<'a>(
    schema: Option<&'a str>,
    name: &'a str,
) -> impl Iterator<Item = &'static Function> + 'a {
    FUNCTIONS.iter().filter(move |function| {
        function.name == name
            && match schema {
                None => true,
                Some("message_store") => function.ours,
                Some(_) => !function.ours,
            }
    })
}

const fn ours(
    name: &'static str,
    args: &'static [(&'static str, Type)],
    required: usize,
    returns: Type,
    run: Run,
) -> Function {
    Function { name, ours: true, args, required, returns, run }
}

const fn builtin(
    name: &'static str,
    args: &'static [(&'static str, Type)],
    returns: Type,
    run: Run,
) -> Function {
    Function { name, ours: false, args, required: args.len(), returns, run }
}

const STREAM: (&str, Type) = ("stream_name", Type::Varchar);
const TEXT: (&str, Type) = ("", Type::Text);
const INT: (&str, Type) = ("", Type::Int4);

static FUNCTIONS: &[Function] = &[
    ours(
        "write_message",
        &[
            ("id", Type::Varchar),
            STREAM,
            ("type", Type::Varchar),
            ("data", Type::Jsonb),
            ("metadata", Type::Jsonb),
            ("expected_version", Type::Int8),
        ],
        4,
        Type::Int8,
        Run::Asks(Asks::WriteMessage),
    ),
    ours(
        "get_stream_messages",
        &[STREAM, ("position", Type::Int8), ("batch_size", Type::Int8), ("condition", Type::Varchar)],
        1,
        Type::Message,
        Run::Asks(Asks::GetStream),
    ),
    ours(
        "get_category_messages",
        &[
            ("category", Type::Varchar),
            ("position", Type::Int8),
            ("batch_size", Type::Int8),
            ("correlation", Type::Varchar),
            ("consumer_group_member", Type::Int8),
            ("consumer_group_size", Type::Int8),
            ("condition", Type::Varchar),
        ],
        1,
        Type::Message,
        Run::Asks(Asks::GetCategory),
    ),
    ours(
        "get_last_stream_message",
        &[STREAM, ("type", Type::Varchar)],
        1,
        Type::Message,
        Run::Asks(Asks::GetLast),
    ),
    ours("stream_version", &[STREAM], 1, Type::Int8, Run::Asks(Asks::StreamVersion)),
    ours("acquire_lock", &[STREAM], 1, Type::Int8, Run::Asks(Asks::AcquireLock)),
    ours(
        "id",
        &[STREAM],
        1,
        Type::Varchar,
        Run::Strict(|args| Ok(optional(args[0].as_text().and_then(names::id)))),
    ),
    ours(
        "cardinal_id",
        &[STREAM],
        1,
        Type::Varchar,
        Run::Strict(|args| Ok(optional(args[0].as_text().and_then(names::cardinal_id)))),
    ),
    ours(
        "category",
        &[STREAM],
        1,
        Type::Varchar,
        Run::Strict(|args| Ok(optional(args[0].as_text().map(names::category)))),
    ),
    // IF NOT .. of a NULL is no refusal: the original answers true.
    ours(
        "is_category",
        &[("category", Type::Varchar)],
        1,
        Type::Bool,
        Run::Pure(|args| Ok(Value::Bool(args[0].as_text().is_none_or(names::is_category)))),
    ),
    ours(
        "hash_64",
        &[("value", Type::Varchar)],
        1,
        Type::Int8,
        Run::Strict(|args| Ok(Value::Int(names::hash_64(text(args, 0))))),
    ),
    ours("message_store_version", &[], 0, Type::Varchar, Run::Pure(|_| Ok(Value::text("1.3.0")))),
    builtin("set_config", &[TEXT, TEXT, ("", Type::Bool)], Type::Text, Run::Asks(Asks::SetConfig)),
    builtin("pg_notify", &[TEXT, TEXT], Type::Void, Run::Asks(Asks::Notify)),
    builtin(
        "current_setting",
        &[TEXT],
        Type::Text,
        Run::Session(|facts, args| facts.setting(text(args, 0), false)),
    ),
    builtin(
        "current_setting",
        &[TEXT, ("", Type::Bool)],
        Type::Text,
        Run::Session(|facts, args| facts.setting(text(args, 0), args[1].is_true())),
    ),
    builtin("now", &[], Type::Timestamptz, Run::Session(|facts, _| Ok(Value::Time(facts.transaction_start)))),
    builtin(
        "current_timestamp",
        &[],
        Type::Timestamptz,
        Run::Session(|facts, _| Ok(Value::Time(facts.transaction_start))),
    ),
    builtin(
        "transaction_timestamp",
        &[],
        Type::Timestamptz,
        Run::Session(|facts, _| Ok(Value::Time(facts.transaction_start))),
    ),
    builtin(
        "localtimestamp",
        &[],
        Type::Timestamp,
        Run::Session(|facts, _| Ok(Value::Time(facts.transaction_start))),
    ),
    builtin(
        "statement_timestamp",
        &[],
        Type::Timestamptz,
        Run::Session(|facts, _| Ok(Value::Time(facts.statement_start))),
    ),
    builtin("clock_timestamp", &[], Type::Timestamptz, Run::Session(|facts, _| Ok(Value::Time(facts.now())))),
    builtin(
        "current_date",
        &[],
        Type::Date,
        Run::Session(|facts, _| Ok(Value::Date(time::day_of(facts.transaction_start)))),
    ),
    builtin("gen_random_uuid", &[], Type::Uuid, Run::Session(|facts, _| Ok(Value::Uuid(facts.random_id())))),
    builtin("current_user", &[], Type::Name, Run::Session(|facts, _| Ok(Value::owned(facts.user)))),
    builtin("session_user", &[], Type::Name, Run::Session(|facts, _| Ok(Value::owned(facts.user)))),
    builtin("user", &[], Type::Name, Run::Session(|facts, _| Ok(Value::owned(facts.user)))),
    builtin("current_role", &[], Type::Name, Run::Session(|facts, _| Ok(Value::owned(facts.user)))),
    builtin("current_database", &[], Type::Name, Run::Session(|facts, _| Ok(Value::owned(facts.database)))),
    builtin("current_catalog", &[], Type::Name, Run::Session(|facts, _| Ok(Value::owned(facts.database)))),
    builtin("current_schema", &[], Type::Name, Run::Pure(|_| Ok(Value::text("message_store")))),
    builtin("version", &[], Type::Text, Run::Pure(|_| Ok(Value::text(VERSION)))),
    builtin("pg_backend_pid", &[], Type::Int4, Run::Session(|facts, _| Ok(Value::Int(facts.pid.into())))),
    builtin("pg_is_in_recovery", &[], Type::Bool, Run::Pure(|_| Ok(Value::Bool(false)))),
    builtin(
        "uuid",
        &[("", Type::Varchar)],
        Type::Uuid,
        Run::Strict(|args| super::value::of_text(text(args, 0), Type::Uuid)),
    ),
    builtin("length", &[TEXT], Type::Int4, Run::Strict(|args| Ok(count(text(args, 0).chars().count())))),
    builtin("char_length", &[TEXT], Type::Int4, Run::Strict(|args| Ok(count(text(args, 0).chars().count())))),
    builtin("octet_length", &[TEXT], Type::Int4, Run::Strict(|args| Ok(count(text(args, 0).len())))),
    builtin("lower", &[TEXT], Type::Text, Run::Strict(|args| Ok(Value::owned(text(args, 0).to_lowercase())))),
    builtin("upper", &[TEXT], Type::Text, Run::Strict(|args| Ok(Value::owned(text(args, 0).to_uppercase())))),
    builtin(
        "position",
        &[TEXT, TEXT],
        Type::Int4,
        Run::Strict(|args| Ok(place(text(args, 0), text(args, 1)))),
    ),
    builtin("strpos", &[TEXT, TEXT], Type::Int4, Run::Strict(|args| Ok(place(text(args, 0), text(args, 1))))),
    builtin(
        "starts_with",
        &[TEXT, TEXT],
        Type::Bool,
        Run::Strict(|args| Ok(Value::Bool(text(args, 0).starts_with(text(args, 1))))),
    ),
    builtin("substring", &[TEXT, INT], Type::Text, Run::Strict(substring)),
    builtin("substring", &[TEXT, INT, INT], Type::Text, Run::Strict(substring)),
    builtin("substr", &[TEXT, INT], Type::Text, Run::Strict(substring)),
    builtin("substr", &[TEXT, INT, INT], Type::Text, Run::Strict(substring)),
    builtin("split_part", &[TEXT, TEXT, INT], Type::Text, Run::Strict(split_part)),
    builtin("replace", &[TEXT, TEXT, TEXT], Type::Text, Run::Strict(replace)),
    builtin(
        "btrim",
        &[TEXT],
        Type::Text,
        Run::Strict(|args| Ok(Value::owned(text(args, 0).trim_matches(' ')))),
    ),
    builtin(
        "ltrim",
        &[TEXT],
        Type::Text,
        Run::Strict(|args| Ok(Value::owned(text(args, 0).trim_start_matches(' ')))),
    ),
    builtin(
        "rtrim",
        &[TEXT],
        Type::Text,
        Run::Strict(|args| Ok(Value::owned(text(args, 0).trim_end_matches(' ')))),
    ),
    builtin(
        "btrim",
        &[TEXT, TEXT],
        Type::Text,
        Run::Strict(|args| Ok(Value::owned(text(args, 0).trim_matches(|c| text(args, 1).contains(c))))),
    ),
    builtin("abs", &[INT], Type::Int4, Run::Strict(abs)),
    builtin("abs", &[("", Type::Int8)], Type::Int8, Run::Strict(abs)),
    builtin(
        "abs",
        &[("", Type::Numeric)],
        Type::Numeric,
        Run::Strict(|args| Ok(number(&args[0], Numeric::abs))),
    ),
    builtin("mod", &[INT, INT], Type::Int4, Run::Strict(modulo)),
    builtin("mod", &[("", Type::Int8), ("", Type::Int8)], Type::Int8, Run::Strict(modulo)),
    builtin("timezone", &[TEXT, ("", Type::Timestamptz)], Type::Timestamp, Run::Strict(timezone)),
    builtin("timezone", &[TEXT, ("", Type::Timestamp)], Type::Timestamptz, Run::Strict(timezone)),
    builtin("extract", &[TEXT, ("", Type::Timestamptz)], Type::Numeric, Run::Strict(extract)),
    builtin("date_trunc", &[TEXT, ("", Type::Timestamp)], Type::Timestamp, Run::Strict(date_trunc)),
    builtin("date_trunc", &[TEXT, ("", Type::Timestamptz)], Type::Timestamptz, Run::Strict(date_trunc)),
    builtin(
        "jsonb_typeof",
        &[("", Type::Jsonb)],
        Type::Text,
        Run::Strict(|args| Ok(Value::text(json::kind(text(args, 0))))),
    ),
];

/// What `version()` answers; clients read the number at its beginning.
pub(crate) const VERSION: &str = "PostgreSQL 15.0 (Tombolo, Message DB 1.3.0)";

fn optional(text: Option<&str>) -> Value<'static> {
    text.map_or(Value::Null, Value::owned)
}

fn text<'a>(args: &'a [Value<'_>], nth: usize) -> &'a str {
    args[nth].as_text().unwrap_or_default()
}

fn count(length: usize) -> Value<'static> {
    Value::Int(length as i64)
}

fn number(value: &Value<'_>, change: fn(Numeric) -> Numeric) -> Value<'static> {
    match value {
        Value::Numeric(number) => Value::Numeric(change(*number)),
        _ => Value::Null,
    }
}

/// Where a text begins in another, in characters from 1; 0 for nowhere.
fn place(text: &str, part: &str) -> Value<'static> {
    let at = text.find(part).map_or(0, |at| text[..at].chars().count() + 1);
    Value::Int(at as i64)
}

fn substring<'a>(args: &[Value<'a>]) -> Sql<Value<'a>> {
    let from = args[1].as_int().unwrap_or(1);
    let end = match args.get(2).and_then(Value::as_int) {
        Some(length) if length < 0 => {
            return Err(SqlError::new("22011", "negative substring length not allowed"));
        }
        Some(length) => from.saturating_add(length),
        None => i64::MAX,
    };
    let taken = text(args, 0).chars().zip(1..).filter(|(_, at)| (from..end).contains(at));
    Ok(Value::owned(taken.map(|(c, _)| c).collect::<String>()))
}

fn split_part<'a>(args: &[Value<'a>]) -> Sql<Value<'a>> {
    let (text, by, nth) = (text(args, 0), text(args, 1), args[2].as_int().unwrap_or(0));
    let parts: Vec<&str> = if by.is_empty() { vec![text] } else { text.split(by).collect() };
    let index = match nth {
        0 => return Err(SqlError::new("22023", "field position must not be zero")),
        1.. => usize::try_from(nth - 1).ok(),
        _ => usize::try_from(-nth).ok().and_then(|back| parts.len().checked_sub(back)),
    };
    Ok(Value::owned(index.and_then(|index| parts.get(index)).copied().unwrap_or_default()))
}

fn replace<'a>(args: &[Value<'a>]) -> Sql<Value<'a>> {
    let (text, from, to) = (text(args, 0), text(args, 1), text(args, 2));
    if from.is_empty() {
        return Ok(Value::owned(text));
    }
    // The answer may be far longer than the text: bounded as one field of a row is.
    let times = text.matches(from).count();
    if text.len() + times.saturating_mul(to.len()) > store::bounds::JSON_BYTES_MAX {
        return Err(SqlError::new("54000", "the text is too long"));
    }
    Ok(Value::owned(text.replace(from, to)))
}

fn abs<'a>(args: &[Value<'a>]) -> Sql<Value<'a>> {
    let positive = args[0].as_int().and_then(i64::checked_abs);
    positive.map(Value::Int).ok_or_else(|| SqlError::new("22003", "bigint out of range"))
}

fn modulo<'a>(args: &[Value<'a>]) -> Sql<Value<'a>> {
    match (args[0].as_int(), args[1].as_int()) {
        (Some(_), Some(0)) => Err(SqlError::new("22012", "division by zero")),
        (Some(left), Some(right)) => Ok(Value::Int(left.wrapping_rem(right))),
        _ => Ok(Value::Null),
    }
}

/// Two texts as one.
pub(crate) fn concat<'a>(left: &str, right: &str) -> Sql<Value<'a>> {
    if left.len() + right.len() > store::bounds::JSON_BYTES_MAX {
        return Err(SqlError::new("54000", "the text is too long"));
    }
    Ok(Value::Text(Cow::Owned([left, right].concat())))
}

/// An id as `gen_random_uuid` draws it: version 4.
pub(crate) fn random_id(bits: (u64, u64)) -> Uuid {
    let raw = u128::from(bits.0) << 64 | u128::from(bits.1);
    Uuid::from_u128(raw & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(name: &str, args: &[Value<'static>], expected: Expect) {
        let function = named(None, name)
            .find(|function| function.args.len() == args.len())
            .unwrap_or_else(|| panic!("no function {name} of {} arguments", args.len()));
        let answer = match &function.run {
            Run::Strict(run) | Run::Pure(run) => run(args),
            _ => panic!("{name} needs more than its arguments"),
        };
        expected.assert_eq(&answer.map_or_else(
            |error| format!("{} {}", error.code, error.message),
            |value| {
                let mut out = String::new();
                value.write_text(function.returns, &mut out);
                out
            },
        ));
    }

    #[test]
    fn names_are_taken_apart() {
        let stream = |name: &'static str| [Value::text(name)];
        check("category", &stream("account:command-17+x"), expect!["account:command"]);
        check("id", &stream("account-17+x"), expect!["17+x"]);
        check("cardinal_id", &stream("account-17+x"), expect!["17"]);
        check("hash_64", &stream("A"), expect!["9206873250291191720"]);
        check("is_category", &[Value::Null], expect!["t"]);
        assert_eq!(FUNCTIONS.iter().filter(|function| function.ours).count(), 12);
    }

    #[test]
    fn texts_are_cut_and_searched_by_characters() {
        let text = Value::text;
        check("substring", &[text("héllo"), Value::Int(2), Value::Int(3)], expect!["éll"]);
        check("substring", &[text("héllo"), Value::Int(-1), Value::Int(3)], expect!["h"]);
        check(
            "substring",
            &[text("a"), Value::Int(1), Value::Int(-1)],
            expect!["22011 negative substring length not allowed"],
        );
        check("position", &[text("é-x"), text("-")], expect!["2"]);
        check("split_part", &[text("a-b-c"), text("-"), Value::Int(-1)], expect!["c"]);
        check("length", &[text("é")], expect!["1"]);
    }

    #[test]
    fn a_text_grows_to_its_bound_and_no_further() {
        let long = "x".repeat(store::bounds::JSON_BYTES_MAX / 2);
        assert!(concat(&long, &long).is_ok());
        assert_eq!(concat(&long, &format!("{long}x")).unwrap_err().code, "54000");
        check(
            "replace",
            &[Value::owned(long), Value::text("x"), Value::text("xyz")],
            expect!["54000 the text is too long"],
        );
    }

    #[test]
    fn parts_of_a_time() {
        let time = Value::Time(1_700_000_000_120_000);
        check("extract", &[Value::text("second"), time.clone()], expect!["20.120000"]);
        check("extract", &[Value::text("year"), time.clone()], expect!["2023"]);
        check("extract", &[Value::text("epoch"), time.clone()], expect!["1700000000.120000"]);
        check("date_trunc", &[Value::text("week"), time.clone()], expect!["2023-11-13 00:00:00"]);
        check("date_trunc", &[Value::text("hour"), time.clone()], expect!["2023-11-14 22:00:00"]);
        check(
            "extract",
            &[Value::text("era"), time],
            expect![[r#"22023 unit "era" not recognized for type timestamp without time zone"#]],
        );
    }

    #[test]
    fn a_random_id_is_of_version_4() {
        let id = random_id((u64::MAX, u64::MAX)).to_string();
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
