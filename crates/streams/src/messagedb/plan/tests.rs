//! Trees become plans, with the types that PostgreSQL gives them.

use super::*;
use crate::messagedb::sql;
use expect_test::{Expect, expect};

/// Types of parameters and columns, or the error.
fn check(text: &str, expected: Expect) {
    let mut statements = sql::parse(text).unwrap();
    let planned = plan(statements.remove(0), Some(Vec::new())).map_or_else(
        |error| format!("{} {}", error.code, error.message),
        |plan| {
            let params: Vec<&str> = plan.params.iter().map(|ty| ty.short_name()).collect();
            let columns = plan.columns.iter().map(|column| {
                let place =
                    if column.attribute == 0 { String::new() } else { format!(" #{}", column.attribute) };
                format!("{} {}{place}", column.name, column.ty.short_name())
            });
            format!("({}) -> {}", params.join(", "), columns.collect::<Vec<_>>().join(", "))
        },
    );
    expected.assert_eq(&planned);
}

#[test]
fn parameters_get_their_types_from_where_they_stand() {
    check(
        "SELECT write_message($1, $2, $3, $4, $5, $6)",
        expect!["(varchar, varchar, varchar, jsonb, jsonb, int8) -> write_message int8"],
    );
    check("SELECT stream_version($1::text)", expect!["(text) -> stream_version int8"]);
    check(
        "SELECT position FROM messages WHERE stream_name = $1 AND id = $2 LIMIT $3",
        expect!["(text, uuid, int8) -> position int8 #2"],
    );
    check("SELECT 1 WHERE $2 > 7 AND $1", expect!["(bool, int4) -> ?column? int4"]);
    check("SELECT $1, $1 = 'x'", expect!["(text) -> ?column? text, ?column? bool"]);
    check(
        "SELECT data->>$1, data->$2::int FROM messages WHERE data @> $3",
        expect!["(text, int4, jsonb) -> ?column? text, ?column? jsonb"],
    );
    check(
        "INSERT INTO messages (stream_name, position, id) VALUES ($1, $2, $3) RETURNING id",
        expect!["(text, int8, uuid) -> id uuid #8"],
    );
    check(
        "SELECT * FROM get_stream_messages($1, batch_size => $2) WHERE type = $3",
        expect![
            "(varchar, int8, text) -> id varchar, stream_name varchar, type varchar, position int8, global_position int8, data varchar, metadata varchar, time timestamp"
        ],
    );
}

#[test]
fn columns_are_named_as_postgresql_names_them() {
    check(
        "SELECT 1, 'x', NULL, true, now(), 1::bigint, category('a')::text, current_user, COUNT(*), 1 + 1",
        expect![
            "() -> ?column? int4, ?column? text, ?column? text, bool bool, now timestamptz, int8 int8, category text, current_user name, count int8, ?column? int4"
        ],
    );
    check(
        "SELECT m.type t, extract(year from time), position + 1 AS next FROM messages m",
        expect!["() -> t text #5, extract numeric, next int8"],
    );
    check("SELECT * FROM category('a-1')", expect!["() -> category varchar"]);
    check(
        "SELECT * FROM stream_summary",
        expect!["() -> stream_name text #1, message_count int8 #2, percent numeric #3"],
    );
    check("SELECT get_last_stream_message('a-1')", expect!["() -> get_last_stream_message message"]);
    check(
        "SELECT CASE WHEN true THEN 1 ELSE 2.5 END, COALESCE(NULL, 'x')",
        expect!["() -> case numeric, coalesce text"],
    );
}

#[test]
fn what_does_not_fit_is_told_as_postgresql_tells_it() {
    check("SELECT nope('a', 1)", expect!["42883 function nope(unknown, integer) does not exist"]);
    check("SELECT category(1)", expect!["42883 function category(integer) does not exist"]);
    check(
        "SELECT stream_version(x => 'a')",
        expect!["42883 function stream_version(x => unknown) does not exist"],
    );
    check("SELECT nothing.id('a')", expect![[r#"3F000 schema "nothing" does not exist"#]]);
    check("SELECT * FROM nope", expect![[r#"42P01 relation "nope" does not exist"#]]);
    check("SELECT nope FROM messages", expect![[r#"42703 column "nope" does not exist"#]]);
    check("SELECT m.nope FROM messages m", expect!["42703 column m.nope does not exist"]);
    check(
        "SELECT messages.id FROM messages m",
        expect![[r#"42P01 invalid reference to FROM-clause entry for table "messages""#]],
    );
    check(
        "SELECT * FROM messages WHERE id = 'x'",
        expect![[r#"22P02 invalid input syntax for type uuid: "x""#]],
    );
    check(
        "SELECT * FROM messages WHERE id = 'x'::varchar",
        expect!["42883 operator does not exist: uuid = character varying"],
    );
    check("SELECT data->>'x' = 1 FROM messages", expect!["42883 operator does not exist: text = integer"]);
    check("SELECT 1 WHERE 1", expect!["42804 argument of WHERE must be type boolean, not type integer"]);
    check("SELECT true AND 1", expect!["42804 argument of AND must be type boolean, not type integer"]);
    check(
        "SELECT type, count(*) FROM messages",
        expect![[
            r#"42803 column "messages.type" must appear in the GROUP BY clause or be used in an aggregate function"#
        ]],
    );
    check("SELECT * FROM messages ORDER BY 9", expect!["42P10 ORDER BY position 9 is not in select list"]);
    check("SELECT 1::nope", expect![[r#"42704 type "nope" does not exist"#]]);
    check("SELECT now()::int", expect!["42846 cannot cast type timestamp with time zone to integer"]);
    check(
        "INSERT INTO messages (nope) VALUES (1)",
        expect![[r#"42703 column "nope" of relation "messages" does not exist"#]],
    );
    check(
        "SELECT 1 FROM messages WHERE stream_version('a') = 1",
        expect!["0A000 `stream_version` in this place is not served here"],
    );
}

#[test]
fn a_condition_knows_the_columns_of_the_table_and_nothing_else() {
    assert!(condition("messages.time >= current_date - 2 AND (data->>'n')::int % 2 = 1").is_ok());
    for (text, message) in [
        ("no_such = 1", "column \"no_such\" does not exist"),
        ("$1 = 1", "there is no parameter $1"),
        ("position", "argument of WHERE must be type boolean, not type bigint"),
        ("", "syntax error at or near \")\""),
    ] {
        assert_eq!(condition(text).unwrap_err().message, message);
    }
}
