//! Sessions by the simple protocol: transactions and who sees what, locks, conditions, bounds of what is served.

use crate::raw::{Raw, field};
use crate::server::Server;
use expect_test::{Expect, expect};
use std::time::{Duration, Instant};
use store::{Append, NewMessage, Uuid};
use streams::messagedb::Settings;
use testkit::PATIENCE;

fn check(raw: &mut Raw, sql: &str, expected: Expect) {
    expected.assert_eq(&raw.query(sql).brief());
}

/// An id that ends in this number.
fn id(number: u32) -> String {
    format!("'00000000-0000-4000-8000-{number:012}'")
}

fn write(raw: &mut Raw, number: u32, stream: &str) -> String {
    raw.query(&format!("SELECT write_message({}, '{stream}', 'T', '{{\"n\": {number}}}')", id(number)))
        .brief()
}

#[test]
fn what_a_transaction_writes_is_its_own_until_it_commits() {
    let server = Server::start();
    let (mut one, mut other) = (Raw::connect(server.port), Raw::connect(server.port));
    write(&mut one, 1, "a-1");
    one.query("BEGIN");
    assert_eq!(write(&mut one, 2, "a-1"), "1; SELECT 1 T");
    assert_eq!(write(&mut one, 3, "b-1"), "0; SELECT 1 T");
    let all = "SELECT stream_name, position, global_position FROM messages ORDER BY global_position DESC";
    check(&mut one, all, expect!["b-1|0|3; a-1|1|2; a-1|0|1; SELECT 3 T"]);
    check(&mut other, all, expect!["a-1|0|1; SELECT 1 I"]);
    check(&mut one, "SELECT position FROM get_last_stream_message('a-1')", expect!["1; SELECT 1 T"]);
    check(&mut one, "SELECT COUNT(*) FROM get_category_messages('a', 2)", expect!["1; SELECT 1 T"]);
    check(&mut one, "SELECT * FROM stream_summary", expect!["a-1|2|66.67; b-1|1|33.33; SELECT 2 T"]);
    check(&mut one, "ROLLBACK", expect!["ROLLBACK I"]);
    check(&mut one, "SELECT COUNT(*) FROM messages", expect!["1; SELECT 1 I"]);
    // What was rolled back can be written again.
    assert_eq!(write(&mut one, 2, "a-1"), "1; SELECT 1 I");
    check(&mut other, all, expect!["a-1|1|2; a-1|0|1; SELECT 2 I"]);
}

#[test]
fn a_query_of_several_statements_is_one_transaction() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    let two = format!(
        "SELECT write_message({}, 'a-1', 'T', '{{}}'); SELECT write_message({}, 'a-1', 'T', '{{}}', NULL, 7);",
        id(1),
        id(2)
    );
    check(
        &mut raw,
        &two,
        expect!["0; SELECT 1; P0001 Wrong expected version: 7 (Stream: a-1, Stream Version: 0) I"],
    );
    check(&mut raw, "SELECT stream_version('a-1')", expect!["NULL; SELECT 1 I"]);
    let two = two.replace(", NULL, 7", "");
    check(&mut raw, &two, expect!["0; SELECT 1; 1; SELECT 1 I"]);
    check(
        &mut raw,
        "SELECT stream_version('a-1'); BEGIN; SELECT 1",
        expect!["1; SELECT 1; BEGIN; 1; SELECT 1 T"],
    );
    check(&mut raw, "COMMIT; SELECT 2", expect!["COMMIT; 2; SELECT 1 I"]);
    check(&mut raw, "SELECT 1; SELEC 2", expect![[r#"42601 syntax error at or near "SELEC" I"#]]);
}

#[test]
fn a_transaction_whose_stream_was_written_to_elsewhere_is_to_be_tried_again() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // As another interface of the same store does, which knows nothing of this one's locks.
    let elsewhere = |number: u128, stream: &str| {
        let message =
            NewMessage { id: Uuid::from_u128(number), kind: "T".into(), data: None, metadata: None };
        let append = Append { stream: stream.into(), expected_version: None, messages: vec![message] };
        runtime.block_on(server.store.append(vec![append])).unwrap();
    };
    raw.query("BEGIN");
    write(&mut raw, 1, "a-1");
    elsewhere(7, "a-1");
    check(&mut raw, "COMMIT", expect![[r#"40001 could not serialize access to stream "a-1" I"#]]);
    raw.query("BEGIN");
    assert_eq!(write(&mut raw, 2, "a-1"), "1; SELECT 1 T");
    elsewhere(0x0000_0000_0000_4000_8000_0000_0000_0002, "b-1");
    check(
        &mut raw,
        "COMMIT",
        expect![[r#"23505 duplicate key value violates unique constraint "messages_id" I"#]],
    );
    check(&mut raw, "SELECT stream_version('a-1')", expect!["0; SELECT 1 I"]);
}

#[test]
fn a_transaction_keeps_within_its_bounds() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    raw.query("BEGIN");
    let large = "x".repeat(7 << 20);
    let sql = |number| format!("SELECT write_message({}, 'a-1', 'T', '\"{large}\"')", id(number));
    assert_eq!(raw.query(&sql(1)).brief(), "0; SELECT 1 T");
    assert_eq!(raw.query(&sql(2)).brief(), "1; SELECT 1 T");
    assert_eq!(raw.query(&sql(3)).brief(), "54000 the transaction is too large E");
    raw.query("ROLLBACK");
    let longer = format!("SELECT write_message({}, 'a-1', 'T', '\"{}\"')", id(4), "x".repeat(8 << 20));
    assert_eq!(raw.query(&longer).brief(), "54000 total size of jsonb exceeds the maximum I");
    let name = format!("SELECT write_message({}, 'a-{}', 'T', '{{}}')", id(4), "x".repeat(3_000));
    assert!(raw.query(&name).brief().starts_with("22023 the name of a stream has `3002` bytes"));
}

#[test]
fn a_writer_waits_for_a_transaction_in_its_category() {
    let server = Server::start();
    let (mut one, mut other) = (Raw::connect(server.port), Raw::connect(server.port));
    one.query("BEGIN");
    write(&mut one, 1, "a-1");
    other.query("SET lock_timeout = '50ms'");
    assert_eq!(write(&mut other, 2, "a-2"), "55P03 canceling statement due to lock timeout I");
    assert_eq!(write(&mut other, 2, "b-1"), "0; SELECT 1 I");
    other.query("SET lock_timeout = 0");
    other.ask(&format!("SELECT write_message({}, 'a-1', 'T', '{{}}')", id(3)));
    std::thread::sleep(Duration::from_millis(50));
    one.query("COMMIT");
    assert_eq!(other.answer().brief(), "1; SELECT 1 I");
}

#[test]
fn two_transactions_that_wait_for_each_other_do_not_wait_for_ever() {
    let server = Server::start();
    let (mut one, mut other) = (Raw::connect(server.port), Raw::connect(server.port));
    one.query("BEGIN; SELECT acquire_lock('a-1')");
    other.query("BEGIN; SELECT acquire_lock('b-1')");
    one.ask("SELECT acquire_lock('b-1')");
    std::thread::sleep(Duration::from_millis(100));
    check(&mut other, "SELECT acquire_lock('a-1')", expect!["40P01 deadlock detected E"]);
    other.query("ROLLBACK");
    assert!(one.answer().error.is_none());
}

#[test]
fn of_many_who_expect_the_same_version_one_writes() {
    let server = Server::start();
    let port = server.port;
    let racers = (1..=8).map(|number| {
        std::thread::spawn(move || {
            let sql = format!("SELECT write_message({}, 'a-1', 'T', '{{}}', NULL, -1)", id(number));
            Raw::connect(port).query(&sql).error.is_none()
        })
    });
    let racers: Vec<_> = racers.collect();
    let won = racers.into_iter().filter_map(|racer| racer.join().ok()).filter(|won| *won).count();
    assert_eq!(won, 1);
    check(&mut Raw::connect(port), "SELECT stream_version('a-1')", expect!["0; SELECT 1 I"]);
}

#[test]
fn a_condition_is_taken_when_it_is_on_and_ends_where_it_should() {
    let server = Server::with(Settings { sql_condition: true, ..Settings::default() });
    let mut raw = Raw::connect(server.port);
    for number in 1..=4 {
        write(&mut raw, number, "a-1");
    }
    let mut of = |condition: &str, expected: Expect| {
        let sql = format!("SELECT position FROM get_stream_messages('a-1', 0, 2, $c${condition}$c$)");
        check(&mut raw, &sql, expected);
    };
    of("(data->>'n')::int % 2 = 0", expect!["1; 3; SELECT 2 I"]);
    of("false) OR (true", expect!["0; 1; SELECT 2 I"]);
    of("data @> '{\"n\": 3}' AND messages.time <= now()", expect!["2; SELECT 1 I"]);
    of("type = ", expect![[r#"42601 syntax error at or near ")" I"#]]);
    of("stream_version('a-1') = 3", expect!["0A000 `stream_version` in this place is not served here I"]);
    of("(data->>'n')::int / 0 = 1", expect!["22012 division by zero I"]);
}

#[test]
fn what_is_not_served_says_what_is() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    check(&mut raw, "CREATE TABLE x (a int)", expect!["0A000 `CREATE TABLE` is not served here I"]);
    let answer = raw.query("SELECT type FROM messages GROUP BY type");
    let hint = field(answer.error.as_ref().unwrap(), 'H').unwrap();
    assert!(hint.starts_with("served are Message DB's functions, SELECT from messages"), "{hint}");
    check(
        &mut raw,
        "UPDATE messages SET type = 'x'",
        expect!["42501 permission denied for table messages I"],
    );
    check(&mut raw, "TRUNCATE messages", expect!["42501 permission denied for table messages I"]);
    // Message DB's own installation finds everything there.
    check(
        &mut raw,
        "CREATE SCHEMA IF NOT EXISTS message_store; GRANT USAGE ON SCHEMA message_store TO x",
        expect!["CREATE SCHEMA; GRANT I"],
    );
    check(
        &mut raw,
        "INSERT INTO messages (stream_name, position, type) VALUES ('a-1', 3, 'T')",
        expect![[r#"0A000 position 3 of stream "a-1", whose next is 0, is not served here I"#]],
    );
}

#[test]
fn rows_are_chosen_sorted_and_counted() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    for (number, stream) in [(1, "a-1"), (2, "b-1"), (3, "a-2"), (4, "a-1"), (5, "c")] {
        write(&mut raw, number, stream);
    }
    let mut of = |sql: &str, expected: Expect| check(&mut raw, sql, expected);
    of("SELECT DISTINCT category(stream_name) FROM messages ORDER BY 1", expect!["a; b; c; SELECT 3 I"]);
    of(
        "SELECT DISTINCT category(stream_name) c FROM messages ORDER BY c DESC LIMIT 2 OFFSET 1",
        expect!["b; a; SELECT 2 I"],
    );
    of(
        "SELECT global_position FROM messages WHERE category(stream_name) = 'a' AND global_position > 1",
        expect!["3; 4; SELECT 2 I"],
    );
    of(
        "SELECT global_position FROM messages ORDER BY global_position DESC LIMIT 2",
        expect!["5; 4; SELECT 2 I"],
    );
    of(
        "SELECT global_position FROM messages WHERE stream_name = 'a-1' AND position < 1 ORDER BY position DESC",
        expect!["1; SELECT 1 I"],
    );
    of("SELECT global_position FROM messages ORDER BY data->>'n' DESC, id LIMIT 1", expect!["5; SELECT 1 I"]);
    of(
        "SELECT min(global_position), max(stream_name), count(*), count(metadata), count(DISTINCT type) FROM messages",
        expect!["1|c|5|0|1; SELECT 1 I"],
    );
    of(
        "SELECT global_position FROM messages WHERE id = '00000000-0000-4000-8000-000000000003'",
        expect!["3; SELECT 1 I"],
    );
    of(
        "SELECT stream_name FROM messages WHERE (data->'n')::int BETWEEN 2 AND 3 AND stream_name LIKE '_-_'",
        expect!["b-1; a-2; SELECT 2 I"],
    );
    of(
        "SELECT CASE WHEN position = 0 THEN 'first' ELSE 'later' END FROM get_stream_messages('a-1')",
        expect!["first; later; SELECT 2 I"],
    );
    of("SELECT * FROM messages WHERE stream_name = NULL", expect!["SELECT 0 I"]);
    of("SELECT count(*) FROM messages LIMIT 0", expect!["SELECT 0 I"]);
    of(
        "SELECT (data->>'n')::numeric / 3 FROM messages LIMIT 1",
        expect!["0.33333333333333333333; SELECT 1 I"],
    );
    of(
        "SELECT count(*) FROM messages WHERE time > now() - interval '1 hour' AND time <= now()",
        expect!["5; SELECT 1 I"],
    );
}

#[test]
fn an_error_in_a_row_leaves_nothing_of_the_row() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    for number in 1..=3 {
        write(&mut raw, number, "a-1");
    }
    let sql = "SELECT position, 6 / (2 - (data->>'n')::int) FROM messages";
    let answer = raw.query(sql);
    assert_eq!((answer.kinds.as_str(), answer.brief().as_str()), ("TDEZ", "22012 division by zero I"));
    check(&mut raw, "SELECT 1", expect!["1; SELECT 1 I"]);
}

#[test]
fn what_is_sorted_keeps_within_its_bound() {
    let server = Server::with(Settings { rows_bytes_max: 2_000, ..Settings::default() });
    let mut raw = Raw::connect(server.port);
    for number in 1..=20 {
        write(&mut raw, number, "a-1");
    }
    check(
        &mut raw,
        "SELECT * FROM messages ORDER BY type",
        expect!["53400 the rows to be sorted or told apart take more than 2000 bytes I"],
    );
    check(
        &mut raw,
        "SELECT position FROM messages ORDER BY global_position LIMIT 1",
        expect!["0; SELECT 1 I"],
    );
    check(&mut raw, "SELECT count(DISTINCT id) FROM messages LIMIT 1", expect!["20; SELECT 1 I"]);
}

#[test]
fn a_statement_is_canceled_by_its_client_and_by_its_time() {
    let server = Server::start();
    let (mut one, mut other) = (Raw::connect(server.port), Raw::connect(server.port));
    one.query("BEGIN; SELECT acquire_lock('a-1')");
    other.ask("SELECT acquire_lock('a-1')");
    std::thread::sleep(Duration::from_millis(50));
    cancel(server.port, other.pid, other.secret ^ 1);
    std::thread::sleep(Duration::from_millis(50));
    cancel(server.port, other.pid, other.secret);
    assert_eq!(other.answer().brief(), "57014 canceling statement due to user request I");
    other.query("SET statement_timeout = 50");
    check(
        &mut other,
        "SELECT acquire_lock('a-1')",
        expect!["57014 canceling statement due to statement timeout I"],
    );
}

fn cancel(port: u16, pid: i32, secret: i32) {
    use std::io::Write;
    let mut bytes = 16_i32.to_be_bytes().to_vec();
    bytes.extend(80_877_102_i32.to_be_bytes());
    bytes.extend(pid.to_be_bytes());
    bytes.extend(secret.to_be_bytes());
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(&bytes).unwrap();
}

#[test]
fn a_listener_hears_of_new_messages_and_of_others() {
    let server = Server::start();
    let (mut one, mut other) = (Raw::connect(server.port), Raw::connect(server.port));
    check(&mut one, "LISTEN account", expect!["LISTEN I"]);
    write(&mut other, 1, "account-1");
    let heard = |raw: &mut Raw| {
        let message = raw.receive().unwrap();
        assert_eq!(message.kind, 'A');
        let mut reader = crate::raw::Reader(&message.body);
        (reader.int(), reader.text(), reader.text())
    };
    assert_eq!(heard(&mut one), (0, "account".into(), String::new()));
    other.query("BEGIN; NOTIFY account, 'undone'; ROLLBACK; NOTIFY account, 'now'");
    assert_eq!(heard(&mut one), (other.pid, "account".into(), "now".into()));
    check(&mut one, "UNLISTEN *", expect!["UNLISTEN I"]);
}

#[test]
fn settings_of_a_transaction_go_with_it() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    check(
        &mut raw,
        "BEGIN; SET a.b = 'x'; SET LOCAL lock_timeout = '5s'; SHOW a.b",
        expect!["BEGIN; SET; SET; x; SHOW T"],
    );
    check(&mut raw, "ROLLBACK; SHOW lock_timeout", expect!["ROLLBACK; 0; SHOW I"]);
    check(&mut raw, "SHOW a.b", expect![[r#"42704 unrecognized configuration parameter "a.b" I"#]]);
    check(
        &mut raw,
        "BEGIN; SET a.b = 'x'; SET LOCAL lock_timeout = '5s'; COMMIT; SHOW a.b; SHOW lock_timeout",
        expect!["BEGIN; SET; SET; COMMIT; x; SHOW; 0; SHOW I"],
    );
    check(
        &mut raw,
        "BEGIN; SAVEPOINT s; SET a.b = 'y'; ROLLBACK TO s; SHOW a.b; COMMIT",
        expect!["BEGIN; SAVEPOINT; SET; ROLLBACK; x; SHOW; COMMIT I"],
    );
}

#[test]
fn a_session_keeps_within_its_bounds() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    raw.query("BEGIN");
    raw.query(&"SAVEPOINT s;".repeat(100));
    check(&mut raw, "SAVEPOINT s", expect!["54000 at most 100 savepoints go E"]);
    raw.query("ROLLBACK; BEGIN");
    raw.query(&"NOTIFY a;".repeat(1_000));
    check(&mut raw, "NOTIFY a", expect!["54000 too many notifications in one transaction E"]);
    raw.query("ROLLBACK");
    let columns = format!("SELECT 1{}", ", 1".repeat(1_664));
    check(&mut raw, &columns, expect!["54011 target lists can have at most 1664 entries I"]);
    raw.query("SET message_store.debug_write = on");
    let writes: Vec<String> =
        (1..=120).map(|number| format!("write_message({}, 'a-1', 'T', '{{}}')", id(number))).collect();
    let answer = raw.query(&format!("SELECT {}", writes.join(", ")));
    assert_eq!((answer.notices.len(), answer.error.is_none()), (1_000, true));
    check(&mut raw, "SELECT stream_version('a-1')", expect!["119; SELECT 1 I"]);
}

#[test]
fn a_transaction_that_idles_too_long_ends_and_lets_others_in() {
    let server =
        Server::with(Settings { transaction_idle_wait: Duration::from_millis(100), ..Settings::default() });
    let (mut one, mut other) = (Raw::connect(server.port), Raw::connect(server.port));
    one.query("BEGIN");
    write(&mut one, 1, "a-1");
    assert_eq!(write(&mut other, 2, "a-1"), "0; SELECT 1 I");
    let message = one.receive().unwrap();
    let fields = crate::raw::Reader(&message.body).fields();
    assert_eq!((message.kind, field(&fields, 'C')), ('E', Some("25P03")));
    assert!(one.receive().is_none());
}

#[test]
fn one_connection_too_many_is_told_so() {
    let server = Server::with(Settings { connections_max: 2, ..Settings::default() });
    let (_one, other) = (Raw::connect(server.port), Raw::connect(server.port));
    let user = [("user", "message_store")];
    let Err(error) = Raw::begin(server.port, &user) else { panic!("there is no place") };
    assert_eq!(error, "53300 sorry, too many clients already");
    drop(other);
    let begun = Instant::now();
    while Raw::begin(server.port, &user).is_err() {
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn a_server_that_stops_lets_a_transaction_end() {
    let mut server = Server::start();
    let (mut idle, mut busy) = (Raw::connect(server.port), Raw::connect(server.port));
    busy.query("BEGIN");
    write(&mut busy, 1, "a-1");
    server.ask_to_stop();
    let message = idle.receive().unwrap();
    assert_eq!(field(&crate::raw::Reader(&message.body).fields(), 'C'), Some("57P01"));
    check(&mut busy, "COMMIT", expect!["COMMIT I"]);
    server.stop();
    let version = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(version.block_on(server.store.version("a-1")).unwrap(), 0);
}

#[test]
fn what_a_client_writes_leaves_spans_of_the_trace_that_its_metadata_names() {
    let recorder = telemetry::spans::Recorder::new(1);
    let spans =
        streams::Spans::new(recorder.clone(), telemetry::spans::Sample::Share(1.0), base::Chance::seeded(1));
    let server = Server::with(Settings { spans: Some(spans), ..Settings::default() });
    let mut raw = Raw::connect(server.port);
    let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let metadata = format!(r#"{{"traceparent": "{context}", "correlationStreamName": "cart-1"}}"#);
    raw.query(&format!("SELECT write_message({}, 'order-1', 'T', '{{}}', '{metadata}')", id(1)));
    raw.query("BEGIN");
    write(&mut raw, 2, "bill-1");
    write(&mut raw, 3, "bill-1");
    let first = recorder.take();
    let [span] = &first[..] else { panic!("a transaction is told when it ends: {first:?}") };
    assert_eq!((span.trace.to_string(), span.parent), (context[3..35].to_owned(), 0x00f0_67aa_0ba9_02b7));
    assert_eq!(span.tag("tombolo.correlation"), Some("cart-1"));
    raw.query("COMMIT");
    write(&mut raw, 3, "bill-2");
    let told: Vec<_> = recorder
        .take()
        .iter()
        .map(|span| {
            let tag = |key| span.tag(key).unwrap_or("-").to_owned();
            let parts = ["tombolo.stream", "messaging.batch.message_count", "tombolo.reason"].map(tag);
            format!("{} {} {}", span.name, parts.join(" "), span.parent)
        })
        .collect();
    assert_eq!(told, ["append bill bill-1 2 - 0", "append bill bill-2 - duplicate_id 0"]);
    check(
        &mut raw,
        "SELECT metadata FROM messages WHERE stream_name = 'order-1'",
        expect![[
            r#"{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "correlationStreamName": "cart-1"}; SELECT 1 I"#
        ]],
    );
}
