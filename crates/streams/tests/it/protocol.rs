//! The extended protocol and what goes wrong in it: names, portals in parts, pipelines, bytes that are no messages.

use crate::raw::{Raw, field};
use crate::server::Server;
use std::io::{Read, Write};
use streams::messagedb::Settings;

const WRITE: &str = "SELECT write_message($1, $2, $3, $4, $5, $6)";

fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn fill(raw: &mut Raw, count: u32) {
    raw.query("BEGIN");
    for number in 1..=count {
        let id = id(number);
        let answer = raw.extended(WRITE, &[Some(&id), Some("a-1"), Some("T"), Some("{}"), None, None]);
        assert!(answer.error.is_none(), "{}", answer.brief());
    }
    raw.query("COMMIT");
}

#[test]
fn rows_come_in_parts_as_they_are_asked_for() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    fill(&mut raw, 5);
    raw.query("BEGIN");
    raw.parse("s", "SELECT position FROM messages WHERE stream_name = $1");
    raw.bind("p", "s", &[Some("a-1")], false);
    raw.execute("p", 2);
    raw.execute("p", 2);
    raw.execute("p", 0);
    raw.execute("p", 0);
    let answer = raw.sync();
    assert_eq!(answer.kinds, "12DDsDDsDCCZ");
    assert_eq!(answer.brief(), "0; 1; 2; 3; 4; SELECT 1; SELECT 0 T");
    raw.query("COMMIT");
    // Portals do not outlive their transaction.
    raw.execute("p", 0);
    assert_eq!(raw.sync().brief(), "34000 portal \"p\" does not exist I");
}

#[test]
fn many_rows_are_sent_as_they_are_found() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    fill(&mut raw, 3_500);
    let answer = raw.extended("SELECT * FROM get_stream_messages($1, 0, -1)", &[Some("a-1")]);
    assert_eq!(
        (answer.results[0].rows.len(), answer.results[0].tag.as_deref()),
        (3_500, Some("SELECT 3500"))
    );
    let answer = raw.query("SELECT count(*) FROM messages WHERE position % 2 = 0");
    assert_eq!(answer.brief(), "1750; SELECT 1 I");
}

#[test]
fn all_up_to_sync_is_one_transaction() {
    let server = Server::start();
    let (mut raw, mut other) = (Raw::connect(server.port), Raw::connect(server.port));
    raw.parse("w", WRITE);
    for number in 1..=2 {
        raw.bind("", "w", &[Some(&id(number)), Some("a-1"), Some("T"), Some("{}"), None, None], false);
        raw.execute("", 0);
    }
    // The third is a duplicate: none of them is there.
    raw.bind("", "w", &[Some(&id(1)), Some("a-1"), Some("T"), Some("{}"), None, None], false);
    raw.execute("", 0);
    raw.bind("", "w", &[Some(&id(9)), Some("a-1"), Some("T"), Some("{}"), None, None], false);
    let answer = raw.sync();
    assert_eq!(answer.kinds, "12DC2DC2EZ");
    assert_eq!(field(answer.error.as_ref().unwrap(), 'n'), Some("messages_id"));
    assert_eq!(other.query("SELECT COUNT(*) FROM messages").brief(), "0; SELECT 1 I");
    for number in 1..=2 {
        raw.bind("", "w", &[Some(&id(number)), Some("a-1"), Some("T"), Some("{}"), None, None], false);
        raw.execute("", 0);
    }
    assert_eq!(raw.sync().brief(), "0; SELECT 1; 1; SELECT 1 I");
    assert_eq!(other.query("SELECT COUNT(*) FROM messages").brief(), "2; SELECT 1 I");
}

#[test]
fn a_write_whose_portal_is_closed_before_sync_is_one_of_its_own() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    raw.parse("", WRITE);
    raw.bind("", "", &[Some(&id(1)), Some("a-1"), Some("T"), Some("{}"), None, None], false);
    raw.execute("", 0);
    raw.send(b'C', b"P\0");
    let answer = raw.sync();
    assert_eq!((answer.kinds.as_str(), answer.brief().as_str()), ("12DC3Z", "0; SELECT 1 I"));
}

#[test]
fn names_that_are_not_there_or_there_already_are_told() {
    let server = Server::with(Settings { statements_max: 3, ..Settings::default() });
    let mut raw = Raw::connect(server.port);
    raw.bind("", "nope", &[], false);
    assert_eq!(raw.sync().brief(), "26000 prepared statement \"nope\" does not exist I");
    for name in ["a", "b", "c"] {
        raw.parse(name, "SELECT 1");
    }
    raw.parse("a", "SELECT 2");
    assert_eq!(raw.sync().brief(), "42P05 prepared statement \"a\" already exists I");
    raw.parse("d", "SELECT 4");
    assert_eq!(raw.sync().brief(), "53400 a connection has at most 3 prepared statements I");
    raw.bind("", "a", &[Some("x")], false);
    let told = raw.sync().brief();
    assert_eq!(told, "08P01 bind message supplies 1 parameters, but prepared statement \"a\" requires 0 I");
    assert_eq!(raw.query("DEALLOCATE ALL").brief(), "DEALLOCATE ALL I");
    raw.parse("", "SELECT 1; SELECT 2");
    assert_eq!(raw.sync().brief(), "42601 cannot insert multiple commands into a prepared statement I");
    raw.parse("a", "");
    raw.bind("", "a", &[], false);
    raw.describe(b'P', "");
    raw.execute("", 0);
    assert_eq!(raw.sync().kinds, "12nIZ");
}

#[test]
fn a_connection_has_so_many_portals_and_no_more() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    raw.query("BEGIN");
    raw.parse("s", "SELECT 1");
    for nth in 0..33 {
        raw.bind(&nth.to_string(), "s", &[], false);
    }
    assert_eq!(raw.sync().brief(), "53400 a connection has at most 32 portals E");
}

#[test]
fn a_connection_that_says_nothing_ends() {
    let short = std::time::Duration::from_millis(50);
    let server = Server::with(Settings { startup_wait: short, idle_wait: short, ..Settings::default() });
    let mut silent = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    let mut idle = Raw::connect(server.port);
    let message = idle.receive().unwrap();
    assert_eq!(field(&crate::raw::Reader(&message.body).fields(), 'C'), Some("57P05"));
}

#[test]
fn a_client_that_takes_no_answer_is_let_go() {
    let settings = Settings {
        send_wait: std::time::Duration::from_millis(100),
        connections_max: 1,
        ..Settings::default()
    };
    let server = Server::with(settings);
    let mut deaf = Raw::connect(server.port);
    let large = format!("SELECT '{}'", "x".repeat(4 << 20));
    deaf.ask(&large);
    deaf.ask(&large);
    // Its place is free again.
    let begun = std::time::Instant::now();
    while Raw::begin(server.port, &[("user", "x")]).is_err() {
        assert!(begun.elapsed() < testkit::PATIENCE);
    }
}

#[test]
fn a_failed_transaction_takes_nothing_but_its_end() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    raw.query("BEGIN");
    assert_eq!(raw.extended("SELECT nope()", &[]).brief(), "42883 function nope() does not exist E");
    let aborted = "25P02 current transaction is aborted, commands ignored until end of transaction block E";
    assert_eq!(raw.extended("SELECT 1", &[]).brief(), aborted);
    assert_eq!(raw.query("SELECT 1").brief(), aborted);
    assert_eq!(raw.extended("COMMIT", &[]).brief(), "ROLLBACK I");
}

#[test]
fn an_error_says_where() {
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    for (sql, at) in [
        ("SELECT 'é', x FROM messages", "13"),
        ("SELECT 1 FROM nope", "15"),
        ("SELECT * FROM messages WHERE id = 'x'", "35"),
        ("SELECT 1 +", "11"),
    ] {
        let error = raw.query(sql).error.unwrap();
        assert_eq!(field(&error, 'P'), Some(at), "{sql}");
    }
}

#[test]
fn bytes_that_are_no_messages_end_the_connection_or_the_statement() {
    let server = Server::with(Settings { message_bytes_max: 1_000, ..Settings::default() });
    let mut raw = Raw::connect(server.port);
    raw.send(b'P', b"no end");
    assert_eq!(raw.sync().brief(), "08P01 invalid string in message I");
    raw.send(b'Q', b"SELECT '\xff'\0");
    assert_eq!(raw.answer().brief(), "22021 invalid byte sequence for encoding \"UTF8\": 0xff I");
    raw.send(b'!', b"");
    let message = raw.receive().unwrap();
    assert_eq!(field(&crate::raw::Reader(&message.body).fields(), 'S'), Some("FATAL"));
    assert!(raw.receive().is_none());
    let mut raw = Raw::connect(server.port);
    raw.write(b"Q\x7f\xff\xff\xff");
    let message = raw.receive().unwrap();
    assert_eq!(field(&crate::raw::Reader(&message.body).fields(), 'C'), Some("54000"));
    // No version of this protocol, and no version at all.
    for (bytes, told) in [
        (&b"\0\0\0\x08\0\x02\0\0"[..], "unsupported frontend protocol 2.0"),
        (b"GET / HTTP/1.1\r\n\r\n", "is longer than 10000"),
    ] {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        assert!(String::from_utf8_lossy(&answer).contains(told), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_newer_client_is_told_the_version() {
    let server = Server::start();
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let body = b"\0\x03\0\x02user\0x\0_pq_.thing\0on\0\0";
    socket.write_all(&(body.len() as i32 + 4).to_be_bytes()).unwrap();
    socket.write_all(body).unwrap();
    let mut head = [0; 26];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(&head[..13], b"v\0\0\0\x17\0\0\0\0\0\0\0\x01");
    assert_eq!(&head[13..24], b"_pq_.thing\0");
}
