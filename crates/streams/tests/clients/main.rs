//! Real clients of Message DB against its interface: psql, Message DB's own scripts, psycopg2 with message-db-py, and
//! node `pg` with gearshaft. They are installed by `./check --setup`; a test whose client is missing fails. Run with
//! `cargo test -p tombolo-streams --test clients -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test ends where anything fails")]

#[path = "../it/server.rs"]
mod server;

use server::Server;
use std::path::PathBuf;
use std::process::Command;
use streams::messagedb::Settings;

/// Where `./check` installs clients.
fn clients() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/clients")
}

/// Runs a command of the shell with libpq's variables set; answers whether it went well, and what it said.
fn sh(server: &Server, command: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new("timeout")
        .args(["120", "bash", "-c", command])
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", server.port.to_string())
        .env("PGUSER", "message_store")
        .env("PGDATABASE", "message_store")
        .env("NODE_PATH", clients().join("node/node_modules"))
        .env("PYTHON", clients().join("python/bin/python"))
        .env("SCRIPTS", clients().join("node/node_modules/@eventide/message-db/database"))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

/// What a command says, which has to go well.
fn said(server: &Server, command: &str) -> String {
    let (good, said) = sh(server, command, &[]);
    assert!(good, "{command}\n{said}");
    said
}

#[test]
#[ignore = "needs psql"]
fn psql_shows_what_it_shows_of_postgresql() {
    let server = Server::start();
    let write = "psql -X -c \"SELECT write_message(gen_random_uuid()::varchar, 'account-1'::varchar, 'Opened'::varchar, \
                 '{\\\"a\\\": 1}'::jsonb, NULL, -1)\"";
    assert_eq!(said(&server, write), " write_message \n---------------\n             0\n(1 row)\n\n");
    let (good, told) = sh(&server, write, &[]);
    assert!(!good);
    assert_eq!(
        told,
        "ERROR:  Wrong expected version: -1 (Stream: account-1, Stream Version: 0)\n\
         CONTEXT:  PL/pgSQL function write_message(character varying,character varying,character varying,jsonb,jsonb,\
         bigint) line 17 at RAISE\n"
    );
    let expanded =
        said(&server, "psql -X -x -c \"SELECT type, position, data FROM get_stream_messages('account-1')\"");
    assert_eq!(expanded, "-[ RECORD 1 ]------\ntype     | Opened\nposition | 0\ndata     | {\"a\": 1}\n\n");
    let (_, told) = sh(&server, "psql -X -c \"SELECT * FROM nope\"", &[]);
    assert_eq!(
        told,
        "ERROR:  relation \"nope\" does not exist\nLINE 1: SELECT * FROM nope\n                      ^\n"
    );
    // A file of statements, with a transaction and a variable of psql's own.
    let file = "psql -X -q -A -t <<'SQL'\n\\set name 'account-1'\nBEGIN;\nSELECT acquire_lock(:'name');\n\
                SELECT stream_version(:'name');\nROLLBACK;\nSELECT COUNT(*) FROM messages WHERE stream_name = :'name';\nSQL";
    assert_eq!(said(&server, file), "-2132379389342958165\n0\n1\n");
    let read = "psql -X -A -t -c \"SELECT position FROM get_stream_messages('account-1', condition => 'position = 0')\"";
    let (good, told) = sh(&server, read, &[]);
    let refused = "ERROR:  Retrieval with SQL condition is not activated\nCONTEXT:  PL/pgSQL function \
                   get_stream_messages(character varying,bigint,bigint,character varying) line 34 at RAISE\n";
    assert!(!good && told == refused, "{told}");
    let (_, told) = sh(&server, read, &[("PGOPTIONS", "-c message_store.sql_condition=on")]);
    assert_eq!(told, "0\n");
    let lock = "psql -X -A -t -c \"SELECT acquire_lock('account-1')\"";
    let (_, told) = sh(&server, lock, &[("PGOPTIONS", "-c message_store.debug=on")]);
    let hash = "-2132379389342958165";
    let notices = ["» acquire_lock", "stream_name: account-1", "_category: account"]
        .map(|text| format!("NOTICE:  {text}\n"));
    assert_eq!(told, format!("{hash}\n{}NOTICE:  _category_name_hash: {hash}\n", notices.concat()));
    assert!(said(&server, "psql -X -c '\\conninfo'").contains("as user \"message_store\""));
}

#[test]
#[ignore = "needs psql"]
fn psql_gives_a_password() {
    let server = Server::with(Settings { password: Some("secret".into()), ..Settings::default() });
    let ask = "psql -X -A -t -w -c 'SELECT message_store_version()'";
    assert_eq!(sh(&server, ask, &[("PGPASSWORD", "secret")]), (true, "1.3.0\n".to_owned()));
    let (good, told) = sh(&server, ask, &[("PGPASSWORD", "guess")]);
    assert!(
        !good && told.contains("FATAL:  password authentication failed for user \"message_store\""),
        "{told}"
    );
    // Without encryption, as libpq finds out by itself.
    assert_eq!(
        sh(&server, ask, &[("PGPASSWORD", "secret"), ("PGSSLMODE", "prefer")]),
        (true, "1.3.0\n".to_owned())
    );
    assert!(!sh(&server, ask, &[("PGPASSWORD", "secret"), ("PGSSLMODE", "require")]).0);
}

#[test]
#[ignore = "needs psql and Message DB's scripts"]
fn message_dbs_own_scripts_run() {
    let server = Server::start();
    let told = said(&server, "bash $SCRIPTS/install.sh");
    assert!(told.contains("Done Installing Database\nVersion: 1.3.0"), "{told}");
    let told = said(
        &server,
        "uuidgen() { cat /proc/sys/kernel/random/uuid; }; export -f uuidgen; INSTANCES=3 STREAM_NAME=account-1 bash $SCRIPTS/write-test-message.sh",
    );
    assert!(told.contains("position        | 2\n"), "{told}");
    let told = said(&server, "bash $SCRIPTS/print-messages.sh");
    assert_eq!(told.matches("stream_name     | account-1").count(), 3, "{told}");
    for (script, shows) in [
        ("print-stream-summary.sh", "account-1   |             3 |  100.00"),
        ("print-type-summary.sh", "SomeType |             3 |  100.00"),
        ("print-stream-type-summary.sh", "account-1   | SomeType |             3 |  100.00"),
        ("print-type-stream-summary.sh", "SomeType | account-1   |             3 |  100.00"),
        ("print-category-type-summary.sh", "account  | SomeType |             3 |  100.00"),
        ("print-type-category-summary.sh", "SomeType | account  |             3 |  100.00"),
        ("print-message-store-version.sh", "1.3.0"),
    ] {
        let told = said(&server, &format!("bash $SCRIPTS/{script}"));
        assert!(told.contains(shows), "{script}: {told}");
    }
    let (good, told) = sh(&server, "bash $SCRIPTS/clear-messages.sh", &[]);
    assert!(!good && told.contains("permission denied for table messages"), "{told}");
}

#[test]
#[ignore = "needs psycopg2 and message-db-py"]
fn python_reads_and_writes() {
    let server = Server::start();
    assert_eq!(said(&server, &format!("$PYTHON <<'PY'\n{PYTHON}\nPY")), "python is content\n");
}

const PYTHON: &str = r#"
import os, threading, psycopg2
from message_db.client import MessageDB
port = int(os.environ["PGPORT"])
db = MessageDB(host="127.0.0.1", port=port)
assert [db.write("account-1", "Deposited", {"n": n}) for n in range(3)] == [0, 1, 2]
assert db.write("account-2", "Opened", {"é": [1.5, None]}, {"who": "me"}, expected_version=-1) == 0
try:
    db.write("account-2", "Opened", {}, expected_version=7)
    raise SystemExit("the version is wrong")
except ValueError as error:
    assert "P0001-ERROR:  Wrong expected version: 7 (Stream: account-2, Stream Version: 0)" in str(error), error
assert db.write_batch("account-3", [("A", {"a": 1}), ("B", {"b": 2}, {"m": 1})]) == 1
assert [m["data"] for m in db.read_stream("account-1", position=1)] == [{"n": 1}, {"n": 2}]
assert len(db.read_category("account")) == 6
shared = [db.read_category("account", consumer_group_member=n, consumer_group_size=2) for n in (0, 1)]
assert sum(map(len, shared)) == 6 and all(shared)
last = db.read_last_message("account-2")
assert last["metadata"] == {"who": "me"} and last["data"] == {"é": [1.5, None]}, last
assert db.read_last_message("account-9") is None
assert [m["global_position"] for m in db.read_all_streams(position=2)] == [3, 4, 5, 6] if hasattr(db, "read_all_streams") else True
assert len(db.read("$all")) == 6
# psycopg2 by itself: typed values, a cursor's description, errors by class, notices, notifications.
connection = psycopg2.connect("", port=port)
cursor = connection.cursor()
cursor.execute("SELECT * FROM messages WHERE stream_name = %s ORDER BY position", ("account-1",))
assert [column.name for column in cursor.description][:4] == ["global_position", "position", "time", "stream_name"]
row = cursor.fetchone()
assert row[:2] == (1, 0) and row[5] == {"n": 0} and row[2].tzinfo is None, row
cursor.execute("SELECT * FROM stream_summary WHERE stream_name LIKE 'account-1'")
assert str(cursor.fetchone()[2]) == "50.00"
try:
    cursor.execute("SELECT write_message('nope', 'a-1', 'T', '{}')")
    raise SystemExit("the id is none")
except psycopg2.errors.InvalidTextRepresentation as error:
    assert error.diag.message_primary == 'invalid input syntax for type uuid: "nope"'
try:
    cursor.execute("SELECT 1")
    raise SystemExit("the transaction has failed")
except psycopg2.errors.InFailedSqlTransaction:
    connection.rollback()
same = "SELECT write_message('00000000-0000-4000-8000-000000000001', 'a-1', 'T', '{}')"
cursor.execute(same)
try:
    cursor.execute(same)
    raise SystemExit("the id is there")
except psycopg2.errors.UniqueViolation as error:
    assert error.diag.constraint_name == "messages_id" and error.diag.table_name == "messages"
connection.rollback()
connection.autocommit = True
cursor.execute("SET message_store.debug_write = 'on'")
cursor.execute(same)
told = [notice.split()[-1] for notice in connection.notices if "»" in notice]
assert told == ["acquire_lock", "write_message"], connection.notices
cursor.execute("LISTEN account")
db.write("account-1", "Deposited", {})
while not connection.notifies:
    connection.poll()
assert connection.notifies[0].channel == "account"
# Many at a time: positions have no gap.
def many(number):
    own = MessageDB(host="127.0.0.1", port=port)
    for _ in range(25):
        own.write("busy-1", "T", {})
threads = [threading.Thread(target=many, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert [m["position"] for m in db.read_stream("busy-1")] == list(range(200))
print("python is content")
"#;

#[test]
#[ignore = "needs node, pg and gearshaft"]
fn node_reads_and_writes() {
    let server = Server::start();
    assert_eq!(said(&server, &format!("node <<'JS'\n{NODE}\nJS")), "node is content\n");
}

const NODE: &str = r#"
const assert = require("assert");
const { Client, Pool } = require("pg");
const crypto = require("crypto");
async function gearshaft() {
  const { createMessageStore } = require("gearshaft/message-store/postgres");
  const { createLog } = require("gearshaft/logging");
  const store = createMessageStore({ log: createLog() });
  const message = (n) => ({ id: id(), type: "Deposited", data: { n }, metadata: { who: "me" } });
  assert.equal(await store.write(message(0), "gear-1", -1), 0);
  assert.equal(await store.write([message(1), message(2)], "gear-1", 0), 2);
  await assert.rejects(store.write(message(3), "gear-1", 7), (error) => error.constructor.name === "ExpectedVersionError");
  await assert.rejects(store.write([message(3), message(4)], "gear-1", 0));
  assert.deepEqual((await store.get("gear-1", { position: 1 })).map((message) => message.data.n), [1, 2]);
  assert.equal((await store.getLast("gear-1")).position, 2);
  const read = [];
  for await (const message of store.read("gear", { batchSize: 2 })) read.push(message.position);
  assert.deepEqual(read, [0, 1, 2]);
  const member = { consumerGroupMember: 0, consumerGroupSize: 1 };
  assert.equal((await store.get("gear", { consumerGroup: member, ...member })).length, 3);
  store.close?.();
}
const id = () => crypto.randomUUID();
(async () => {
  const client = new Client();
  await client.connect();
  const write = "SELECT write_message($1::varchar, $2::varchar, $3::varchar, $4::jsonb, $5::jsonb, $6::bigint)";
  let answer = await client.query(write, [id(), "account-1", "Opened", { a: [1, "é"] }, null, -1]);
  assert.deepEqual(answer.rows, [{ write_message: "0" }]);
  assert.equal(answer.command, "SELECT");
  // A named statement, used twice.
  for (const expected of ["1", "2"]) {
    answer = await client.query({ name: "write", text: write, values: [id(), "account-1", "T", {}, { m: 1 }, null] });
    assert.equal(answer.rows[0].write_message, expected);
  }
  answer = await client.query("SELECT * FROM get_stream_messages($1, $2, $3)", ["account-1", 0, 10]);
  assert.deepEqual(answer.rows.map((row) => row.position), ["0", "1", "2"]);
  assert.deepEqual(JSON.parse(answer.rows[0].data), { a: [1, "é"] });
  assert(answer.rows[0].time instanceof Date);
  answer = await client.query("SELECT data, id FROM messages WHERE stream_name = $1 LIMIT 1", ["account-1"]);
  assert.deepEqual(answer.rows[0].data, { a: [1, "é"] });
  await assert.rejects(client.query(write, [id(), "account-1", "T", {}, null, 7]), (error) => {
    assert.equal(error.code, "P0001");
    assert.equal(error.message, "Wrong expected version: 7 (Stream: account-1, Stream Version: 2)");
    return true;
  });
  await client.query("BEGIN");
  await client.query(write, [id(), "account-1", "T", {}, null, null]);
  await client.query("ROLLBACK");
  assert.equal((await client.query("SELECT stream_version('account-1')")).rows[0].stream_version, "2");
  // Results in binary form, several statements in one query, notifications.
  answer = await client.query({ text: "SELECT position, global_position FROM messages", values: [], binary: true });
  assert.equal(answer.rows.length, 3);
  answer = await client.query("SELECT 1 AS one; SELECT 'x' AS two");
  assert.deepEqual(answer.map((one) => one.rows[0]), [{ one: 1 }, { two: "x" }]);
  const heard = new Promise((resolve) => client.once("notification", resolve));
  await client.query("LISTEN account");
  const pool = new Pool({ max: 8 });
  await Promise.all(Array.from({ length: 100 }, () => pool.query(write, [id(), "account-2", "T", {}, null, null])));
  assert.equal((await pool.query("SELECT COUNT(*) FROM get_stream_messages('account-2')")).rows[0].count, "100");
  assert.equal((await heard).channel, "account");
  await pool.end();
  await client.end();
  await gearshaft();
  console.log("node is content");
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"#;
