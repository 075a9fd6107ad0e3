//! Message DB's interface in SQL of our own: what the original answered to statements that its clients send, and a
//! database that the original's scripts made.

use crate::{append, foreign, ids, open, write_message};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use store::{Member, Read, Removal};
use testkit::{Differences, conformance};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

/// Another's connection, and the notices it got.
struct Other {
    client: Client,
    notices: Arc<Mutex<Vec<String>>>,
}

async fn connect(url: &str, options: Option<&str>) -> Other {
    let mut config: tokio_postgres::Config = url.parse().unwrap();
    config.user("message_store");
    if let Some(options) = options {
        config.options(options);
    }
    let (client, mut connection) = config.connect(NoTls).await.unwrap();
    let notices: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = notices.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                noted.lock().unwrap().push(notice.message().to_owned());
            }
        }
    });
    Other { client, notices }
}

/// Whether a text is as expected, where `<time>` and `<uuid>` stand for any.
fn fits(expected: &str, got: &str) -> bool {
    let expected = expected.replace("<uuid>", "<time>");
    let mut parts = expected.split("<time>");
    let Some(mut rest) = parts.next().and_then(|first| got.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        (rest, last) = (&rest[at + part.len()..], Some(part));
    }
    rest.is_empty() || last == Some("")
}

fn cell_fits(expected: &Value, got: Option<&str>) -> bool {
    match (expected.as_str(), got) {
        (Some(expected), Some(got)) => fits(expected, got),
        (None, None) => true,
        _ => false,
    }
}

/// `{g+3}` is the third global position of an empty store.
fn placed(text: &str) -> String {
    text.replace("{g+", "\u{1}").split('\u{1}').enumerate().fold(String::new(), |all, (nth, part)| {
        all + &if nth == 0 { part.to_owned() } else { part.replacen('}', "", 1) }
    })
}

fn literal(value: &Value) -> String {
    value.as_str().map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

#[tokio::test]
async fn statements_are_answered_as_message_db_did() {
    let Some(data) = conformance("messagedb/scenarios.json") else { return };
    let server = testkit::Postgres::shared();
    let mut differences = Differences::default();
    for scenario in data["scenarios"].as_array().unwrap() {
        let url = server.url(&server.database());
        drop(open(&url).await);
        let mut connections: HashMap<String, Other> = HashMap::new();
        for step in scenario["steps"].as_array().unwrap() {
            differences.ran();
            let name = step["connection"].as_str().unwrap_or_default();
            if !connections.contains_key(name) {
                let made = connect(&url, scenario["options"].as_str()).await;
                connections.insert(name.to_owned(), made);
            }
            let mut sql = placed(step["sql"].as_str().unwrap());
            for (nth, value) in step["params"].as_array().into_iter().flatten().enumerate() {
                let value = value.as_str().map_or(Value::Null, |text| placed(text).into());
                sql = sql.replace(&format!("${}", nth + 1), &literal(&value));
            }
            if let Some(why) = differs(&connections[name], &sql, step).await {
                let name = scenario["name"].as_str().unwrap();
                differences.add(format!("{name}: {sql}\n{why}\nexpected {}", step["error"]));
            }
        }
    }
    differences.finish("messagedb/scenarios in SQL", 250);
}

async fn differs(other: &Other, sql: &str, step: &Value) -> Option<String> {
    other.notices.lock().unwrap().clear();
    let answered = other.client.simple_query(sql).await;
    if let Some(notices) = step["notices"].as_array() {
        let got = other.notices.lock().unwrap().clone();
        let expected: Vec<&str> = notices.iter().map(|notice| notice["message"].as_str().unwrap()).collect();
        if got != expected {
            return Some(format!("notices {got:#?}\ninstead of {expected:#?}"));
        }
    }
    let messages = match answered {
        Ok(messages) => messages,
        Err(error) => {
            let got = error.as_db_error().expect("an error of the server");
            let expected = &step["error"];
            let same = |field: &str, got: Option<&str>| cell_fits(&expected[field], got);
            let same = same("sqlstate", Some(got.code().code()))
                && fits(&placed(expected["message"].as_str().unwrap_or("none")), got.message())
                && cell_fits(
                    &expected["detail"].as_str().map_or(Value::Null, |text| placed(text).into()),
                    got.detail(),
                )
                && same("constraint", got.constraint());
            return (!same).then(|| format!("{got:?}"));
        }
    };
    if !step["error"].is_null() {
        return Some("no error".to_owned());
    }
    let expected: Vec<&Value> = step["result"]["rows"].as_array().into_iter().flatten().collect();
    let rows: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .collect();
    let same = rows.len() == expected.len()
        && rows.iter().zip(&expected).all(|(row, expected)| {
            let expected = expected.as_array().unwrap();
            row.len() == expected.len()
                && expected.iter().enumerate().all(|(nth, cell)| {
                    let cell = cell.as_str().map_or(Value::Null, |text| placed(text).into());
                    cell_fits(&cell, row.get(nth))
                })
        });
    let columns = rows
        .first()
        .map(|row| row.columns().iter().map(tokio_postgres::SimpleColumn::name).collect::<Vec<_>>());
    let names = step["result"]["columns"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.map(|column| column["name"].as_str().unwrap()).collect();
    let same = same && columns.is_none_or(|columns| columns == names);
    (!same).then(|| format!("rows {rows:?}\ninstead of {expected:?}"))
}

/// What the original's scripts leave, as far as it matters here: other bodies, and a role that owns nothing.
const ORIGINAL: &str = include_str!("../../src/postgres/schema/messages.sql");
const ORIGINAL_WRITES: &str = "
    CREATE FUNCTION message_store.stream_version(stream_name varchar) RETURNS bigint LANGUAGE sql AS
        'SELECT max(position) FROM message_store.messages WHERE messages.stream_name = $1';
    CREATE FUNCTION message_store.write_message(id varchar, stream_name varchar, type varchar, data jsonb,
        metadata jsonb DEFAULT NULL, expected_version bigint DEFAULT NULL) RETURNS bigint LANGUAGE sql AS
        'SELECT message_store.acquire_lock($2);
         INSERT INTO message_store.messages (id, stream_name, position, type, data)
         VALUES ($1::uuid, $2, coalesce(message_store.stream_version($2), -1) + 1, $3, $4) RETURNING position';
    CREATE OR REPLACE FUNCTION message_store.cardinal_id(stream_name varchar) RETURNS varchar
    LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN split_part(id(stream_name), ''+'', 1); END'";

#[tokio::test]
async fn a_database_that_message_db_made_is_taken_as_it_is() {
    let server = testkit::Postgres::shared();
    let database = server.database();
    let url = server.url(&database);
    let client = foreign(&url).await;
    client.batch_execute(ORIGINAL).await.unwrap();
    client.batch_execute(ORIGINAL_WRITES).await.unwrap();
    for id in 0..5 {
        client.batch_execute(&write_message(id, "a-1")).await.unwrap();
    }
    // Several nodes at once find nothing done.
    let stores = tokio::join!(open(&url), open(&url), open(&url));
    let store = stores.0.store();
    assert_eq!(ids(&store, Read::all()).await, [0, 1, 2, 3, 4]);
    let members = [0, 1].map(|number| Read::category("a").member(Member::new(number, 2).unwrap()));
    assert_eq!(ids(&store, members[0].clone()).await.len() + ids(&store, members[1].clone()).await.len(), 5);
    store.append(vec![append("a-1", [5])]).await.unwrap();
    client.batch_execute(&write_message(6, "a-1")).await.unwrap();
    let all = Removal::Category { category: "a".into(), before: None, keep: Some(1) };
    assert_eq!(stores.1.store().remove(all).await.unwrap(), 6);
    assert_eq!(ids(&stores.2.store(), Read::stream("a-1")).await, [6]);
    let applied =
        server.run(&database, "SELECT string_agg(name, ' ' ORDER BY version) FROM tombolo.migrations");
    assert_eq!(applied, "messages beside privileges");
}

#[tokio::test]
async fn tables_of_a_newer_program_or_of_another_kind_are_refused() {
    let server = testkit::Postgres::shared();
    let database = server.database();
    let url = server.url(&database);
    drop(open(&url).await);
    server.run(&database, "INSERT INTO tombolo.migrations VALUES (99, 'later')");
    let refused = async |url: &str| {
        let opened = store::Postgres::open(url, base::Clock::system(), store::PostgresOptions::default());
        opened.await.unwrap_err().to_string()
    };
    let place = format!("database `{database}` at `127.0.0.1:{}`", server.port());
    assert_eq!(
        refused(&url).await,
        format!("{place} has tables of version `99`, this program knows up to `3`")
    );
    let database = server.database();
    server.run(&database, "CREATE SCHEMA message_store CREATE TABLE messages (id int)");
    let text = refused(&server.url(&database)).await;
    assert!(text.ends_with("has a table `message_store.messages` of other columns"), "{text}");
    let database = server.database();
    drop(open(&server.url(&database)).await);
    server.run(&database, "ALTER SEQUENCE message_store.messages_global_position_seq CACHE 20");
    let text = refused(&server.url(&database)).await;
    assert!(text.contains("has a cache of `20`"), "{text}");
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_it_needs() {
    let server = testkit::Postgres::shared();
    drop(open(&server.url(&server.database())).await);
    let url = server.url(&server.database()).replace("postgres@", "message_store@");
    let opened = store::Postgres::open(&url, base::Clock::system(), store::PostgresOptions::default());
    let fault = opened.await.unwrap_err();
    assert_eq!(fault.kind, base::Kind::Refused);
    assert!(fault.to_string().contains("permission denied for database"), "{fault}");
    assert!(fault.hint.unwrap_or_default().starts_with("open the store once with a role"));
}
