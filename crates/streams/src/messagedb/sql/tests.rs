//! Statements of clients become trees, and what is not served says so.

use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn check(sql: &str, expected: Expect) {
    let text = match parse(sql) {
        Ok(statements) => format!("{} statements", statements.len()),
        Err(error) => format!("{} {} at {:?}", error.code, error.message, error.at),
    };
    expected.assert_eq(&text);
}

#[test]
fn what_is_no_sql_is_told_as_postgresql_tells_it() {
    check("SELEC 1", expect![[r#"42601 syntax error at or near "SELEC" at Some(0)"#]]);
    check("select 1 +", expect!["42601 syntax error at end of input at Some(10)"]);
    check(
        "select position >= from messages",
        expect![[r#"42601 syntax error at or near "from" at Some(19)"#]],
    );
    check("select 'abc", expect![[r#"42601 unterminated quoted string at or near "'abc" at Some(7)"#]]);
    check("select \"abc", expect![[r#"42601 unterminated quoted identifier at or near ""abc" at Some(7)"#]]);
    check("select 1 2", expect![[r#"42601 syntax error at or near "2" at Some(9)"#]]);
    check(
        "select 1_000",
        expect![[r#"42601 trailing junk after numeric literal at or near "1_000" at Some(7)"#]],
    );
    check("/* open", expect![[r#"42601 unterminated /* comment at or near "/* open" at Some(0)"#]]);
    check(
        "select f(a => 1, 2)",
        expect!["42601 positional argument cannot follow named argument at Some(17)"],
    );
}

#[test]
fn a_query_holds_any_number_of_statements() {
    check("", expect!["0 statements"]);
    check(" ; -- nothing\n;", expect!["0 statements"]);
    check("select 1; select 2;; select /* three /* deep */ */ 3;", expect!["3 statements"]);
}

#[test]
fn what_clients_send_is_read() {
    for sql in [
        "SELECT write_message($1::varchar,$2::varchar,$3::varchar,$4::jsonb,$5::jsonb,$6::bigint);",
        "SELECT * FROM get_category_messages('c', batch_size => -1, condition => 'a = ''b''');",
        "SELECT DISTINCT substring(stream_name from position('-' in stream_name) + 1) FROM message_store.messages \
         WHERE stream_name LIKE 'a%' AND stream_name NOT LIKE 'b%' ORDER BY 1",
        "SELECT id, \"type\", data::jsonb, time FROM message_store.get_stream_messages($1, $2, $3)",
        "SELECT COUNT(*) AS total FROM messages WHERE category(stream_name) LIKE '%x%'",
        "SELECT COUNT(*) FROM messages WHERE time > (now() AT TIME ZONE 'utc') - interval '1 minute'",
        "select m.* from messages as m where extract(year from m.time) between 2000 and 2100 and id is not null",
        "INSERT INTO messages (stream_name, position, type) VALUES ('a-1', 1, 'T'), ('a-1', 2, DEFAULT) RETURNING *",
        "BEGIN ISOLATION LEVEL READ COMMITTED; SAVEPOINT s; ROLLBACK TO SAVEPOINT s; RELEASE s; END",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; SET TIME ZONE 'UTC'; SET search_path TO a, \"b\"",
        "SET client_encoding TO 'UTF8'; SET NAMES 'UTF8'; SHOW TRANSACTION ISOLATION LEVEL; RESET ALL; DISCARD ALL",
        "LISTEN account; NOTIFY account, 'now'; UNLISTEN *; DEALLOCATE ALL",
        "ALTER DATABASE message_store SET message_store.sql_condition TO on",
        "TRUNCATE message_store.messages RESTART IDENTITY",
        "CREATE OR REPLACE FUNCTION message_store.id(a varchar) RETURNS varchar AS $$ SELECT ';' $$ LANGUAGE sql",
        "select case when true then E'\\n' else 'it''s' end, cast(1 as numeric(10, 2)), $tag$a'b$tag$",
        "select trim(both ' ' from ' a '), data #>> '{a}', - 1 - -1, not not true, 1 is distinct from 2",
    ] {
        let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(!statements.is_empty(), "{sql}");
    }
}

#[test]
fn what_is_sql_but_not_served_is_known_as_such() {
    for sql in [
        "select * from a join b on true",
        "select * from (select 1) x",
        "select a from messages group by a",
        "select 1 union select 2",
        "select array[1]",
    ] {
        assert_eq!(parse(sql).unwrap_err().code, "0A000", "{sql}");
    }
    for sql in ["EXPLAIN SELECT 1", "create table x (a int)", "with x as (select 1) select * from x"] {
        assert!(matches!(parse(sql).unwrap()[..], [Statement::NotServed(_)]), "{sql}");
    }
    assert!(matches!(parse("DELETE FROM messages").unwrap()[..], [Statement::Denied(_)]));
}

#[test]
fn a_condition_stands_in_parentheses_and_cannot_leave_them() {
    for (text, near) in [("", ")"), ("position >=", ")"), ("a) union (select 1", "union")] {
        let error = parse_condition(text).unwrap_err();
        assert_eq!(error.message, format!("syntax error at or near \"{near}\""), "{text}");
    }
    assert!(matches!(parse_condition("true) OR (false").unwrap().kind, Kind::Or(_)));
}

#[test]
fn bounds_hold() {
    let nested = format!("select {}1{}", "(".repeat(DEPTH_MAX), ")".repeat(DEPTH_MAX));
    check(&nested, expect!["54001 stack depth limit exceeded at None"]);
    check(
        &format!("select {}1", "- ".repeat(DEPTH_MAX + 1)),
        expect!["54001 stack depth limit exceeded at None"],
    );
    check(
        &format!("select 1{}", "+1".repeat(DEPTH_MAX)),
        expect!["54001 stack depth limit exceeded at None"],
    );
    check(&format!("select {}true", "not ".repeat(DEPTH_MAX * 100)), expect!["1 statements"]);
    check(&format!("select true{}", " and true".repeat(10_000)), expect!["1 statements"]);
    check(
        &format!("select 1 in (1{})", ",1".repeat(NODES_MAX)),
        expect!["54001 statement too complex at None"],
    );
    check(&" ".repeat(QUERY_BYTES_MAX + 1), expect!["54000 query is too long at None"]);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = parse(&text);
        let _ = parse_condition(&text);
    }

    #[test]
    fn any_words_of_sql_are_read_or_refused(
        words in proptest::collection::vec(prop_oneof![
            Just("select"), Just("from"), Just("messages"), Just("where"), Just("("), Just(")"), Just(","), Just("*"),
            Just("'a'"), Just("1"), Just("$1"), Just("::"), Just("int"), Just("and"), Just("not"), Just("is"),
            Just("null"), Just("in"), Just("like"), Just("case"), Just("when"), Just("then"), Just("end"), Just("->>"),
            Just("-"), Just("order"), Just("by"), Just("limit"), Just("position"), Just("."), Just("=>"), Just("insert"),
            Just("into"), Just("values"), Just("set"), Just("to"), Just("="), Just(";"), Just("interval"), Just("at"),
            Just("time"), Just("zone"), Just("E'\\"), Just("$$"), Just("\""), Just("é"), Just("--"), Just("/*"),
        ], 0..24)
    ) {
        let _ = parse(&words.join(" "));
    }
}
