//! Streams of messages at the door: `tombolo up` keeps them and serves psql; `tombolo store` looks at what is kept,
//! copies it and says what is wrong.

mod support;

use nix::sys::signal::Signal;
use std::process::Command;
use support::{Folder, Running, taken};

/// A folder whose manifest asks for streams, and their port.
fn folder() -> (Folder, u16) {
    let (held, port) = taken();
    drop(held);
    let folder = Folder::new();
    folder.write(
        "tombolo.yaml",
        &format!(
            "streams: {{messagedb: '127.0.0.1:{port}'}}\n\
             gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n"
        ),
    );
    (folder, port)
}

fn up(folder: &Folder) -> Running {
    let mut running = folder.start(&["up"]);
    running.wait_for("streams  postgres://message_store@127.0.0.1:");
    running
}

/// What psql prints of these statements, errors and all.
fn psql(port: u16, statements: &[&str]) -> String {
    let mut command = Command::new("psql");
    command.args(["-h", "127.0.0.1", "-U", "message_store", "-X", "-At", "-p", &port.to_string()]);
    for statement in statements {
        command.args(["-c", statement]);
    }
    let ran = command.output().expect("psql, from Debian's postgresql-client");
    String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
}

const OPENED: &str =
    "SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'Opened', '{\"b\": 1, \"a\": 2}'::jsonb)";
const DEPOSITED: &str =
    "SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'Deposited', '{}'::jsonb, NULL, 0)";

#[test]
fn messages_outlive_a_kill_and_are_looked_at_without_the_server() {
    let (folder, port) = folder();
    let mut running = up(&folder);
    assert_eq!(psql(port, &[OPENED, DEPOSITED]), "0\n1\n");
    let refused = psql(port, &[DEPOSITED]);
    assert!(
        refused.contains("ERROR:  Wrong expected version: 0 (Stream: account-1, Stream Version: 1)"),
        "{refused}"
    );
    let shown = folder.run(&["store", "verify"]);
    assert!(shown.contains("another process holds the store") && shown.contains("hint: "), "{shown}");
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait(), -1);

    let shown = folder.run(&["store", "verify"]);
    assert!(shown.contains("good .tombolo/store: 2 messages in 1 segments"), "{shown}");
    let shown = folder.run(&["store", "dump", "--json"]);
    assert!(
        shown.contains(r#""type":"Opened","data":{"a": 2, "b": 1}"#) && shown.contains("Deposited"),
        "{shown}"
    );
    let shown = folder.run(&["store", "dump", "--from", "2"]);
    assert!(shown.contains("account-1[1]  Deposited  {}") && !shown.contains("Opened"), "{shown}");

    let mut running = up(&folder);
    assert_eq!(psql(port, &["SELECT stream_version('account-1')"]), "1\n");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}

#[test]
fn a_backup_is_restored_elsewhere_and_nowhere_else() {
    let (folder, port) = folder();
    let mut running = up(&folder);
    assert_eq!(psql(port, &[OPENED]), "0\n");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    assert!(folder.run(&["store", "backup", "shop.backup"]).contains("written shop.backup: 1 messages"));
    assert!(folder.run(&["store", "restore", "shop.backup", "copy"]).contains("restored copy"));
    assert!(folder.run(&["store", "verify", "copy"]).contains("good copy: 1 messages"));
    for (line, message) in [
        (&["store", "restore", "shop.backup", "copy"][..], "the data directory `copy` is not empty"),
        (&["store", "verify", "nowhere"], "there is no store `nowhere`\nhint: "),
        (&["store", "backup", "x", "nowhere"], "there is no store `nowhere`\nhint: "),
        (&["store", "dump", "nowhere"], "there is no store `nowhere`\nhint: "),
    ] {
        let shown = folder.run(line);
        assert!(shown.contains(message) && shown.ends_with("exit 1\n"), "{line:?}: {shown}");
    }
}

#[test]
fn a_port_that_somebody_has_is_told() {
    let (held, port) = taken();
    let folder = Folder::new();
    folder.write("tombolo.yaml", &format!("streams: {{messagedb: '127.0.0.1:{port}'}}\n"));
    let shown = folder.run(&["up"]);
    assert!(shown.contains("Message DB's interface") && shown.ends_with("exit 1\n"), "{shown}");
    drop(held);
}

/// The address of the API of a running `tombolo up`.
fn api(folder: &Folder) -> String {
    let text = std::fs::read_to_string(folder.path().join(".tombolo/run.json")).expect("it runs");
    let run: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    format!("http://{}/api/v1", run["api"].as_str().expect("an address"))
}

/// What curl prints for these arguments.
fn curl(arguments: &[&str]) -> String {
    let ran = Command::new("curl").args(["-sS", "-m", "20"]).args(arguments).output().expect("curl");
    String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
}

#[test]
fn messages_are_written_read_and_followed_from_the_command_line() {
    let (folder, port) = folder();
    let mut running = up(&folder);
    let shown = folder.run(&[
        "messages",
        "write",
        "account-1",
        "Opened",
        r#"{"owner": "Ada"}"#,
        "--metadata",
        r#"{"correlationStreamName": "signup-7"}"#,
        "--expected-version",
        "none",
    ]);
    assert_eq!(shown, "written account-1[0] at global position 1\nexit 0\n");
    let mut tail = folder.start(&["messages", "tail", "account", "--from", "1"]);
    tail.wait_for("account-1[0]  Opened  {\"owner\": \"Ada\"}");
    // Another door leads to the same streams.
    assert_eq!(psql(port, &[DEPOSITED]), "1\n");
    tail.wait_for("account-1[1]  Deposited  {}");
    for (line, message) in [
        (&["messages", "read", "account-1", "--backward", "-n", "1"][..], "account-1[1]  Deposited"),
        (&["messages", "read", "account", "--correlation", "signup"], "account-1[0]  Opened"),
        (&["messages", "read", "--from", "2", "--json"], r#""type":"Deposited""#),
        (&["messages", "read", "nobody-1"], "no messages of `nobody-1`"),
        (&["messages", "last", "account-1", "--type", "Opened"], "account-1[0]  Opened"),
        (&["messages", "last", "nobody-1"], "error: stream `nobody-1` has no message"),
        (&["messages", "categories"], "account   2"),
        (&["messages", "streams", "account"], "account-1  1"),
        (&["messages", "write", "account-1", "T", "{a: 1}"], "error: the data `{a: 1}` is not JSON"),
        (
            &["messages", "write", "account-1", "T", "--expected-version", "7"],
            "error: stream `account-1` is at version `1`, expected was `7`",
        ),
        (&["messages", "read", "account", "--member", "0"], "--size"),
    ] {
        let shown = folder.run(line);
        assert!(shown.contains(message), "{line:?}: {shown}");
    }
    for _ in 0..2 {
        let shown = folder.run(&["messages", "write", "account-2", "Opened", "1", "--idempotency-key", "k"]);
        assert!(shown.contains("written account-2[0] at global position 3"), "{shown}");
    }
    tail.wait_for("account-2[0]  Opened  1");
    assert!(
        folder
            .run(&["messages", "write", "account-4", "Never", "--at", "2099-01-01T00:00:00Z"])
            .contains("scheduled")
    );
    let shown = folder.run(&["messages", "scheduled"]);
    assert!(shown.contains("account-4  1"), "{shown}");
    let listed = curl(&[&format!("{}/scheduled", api(&folder))]);
    let id =
        listed.split("\"scheduled\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let shown = folder.run(&["messages", "cancel", id]);
    assert!(shown.contains("cancelled"), "{shown}");
    assert!(folder.run(&["messages", "scheduled"]).contains("nothing is scheduled"));
    assert!(folder.run(&["messages", "write", "account-4", "Soon", "--delay", "0.2"]).contains("scheduled"));
    tail.wait_for("account-4[0]  Soon");
    // Who follows goes on when the server is back, and misses nothing.
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait(), -1);
    let mut running = up(&folder);
    assert!(folder.run(&["messages", "write", "account-3", "Opened"]).contains("written account-3[0]"));
    tail.wait_for("account-3[0]  Opened");
    tail.signal(Signal::SIGTERM);
    tail.wait();
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    let shown = folder.run(&["messages", "read"]);
    assert!(shown.contains("error: no `tombolo up` runs in") && shown.contains("hint: "), "{shown}");
}

#[test]
fn messages_move_from_one_store_to_another_while_both_run() {
    let (from, _) = folder();
    let (to, _) = folder();
    let (mut first, mut second) = (up(&from), up(&to));
    let line = |n: u32| format!("{{\"stream_name\": \"a-{}\", \"type\": \"T\", \"data\": {n}}}", n % 10);
    let lines = (0..900).map(line).collect::<Vec<_>>().join("\n");
    from.write("in.ndjson", &lines);
    assert_eq!(from.run(&["messages", "import", "in.ndjson"]), "imported 900 messages\nexit 0\n");
    let shown = from.run(&["messages", "export", "-o", "out.ndjson"]);
    assert_eq!(shown, "exported 900 messages to out.ndjson\nexit 0\n");
    let file = from.path().join("out.ndjson");
    let file = file.to_str().expect("a path in ASCII");
    assert_eq!(to.run(&["messages", "import", file]), "imported 900 messages\nexit 0\n");
    let again = to.run(&["messages", "import", file]);
    assert!(
        again.contains("error: a message at or before line") && again.contains("is there already"),
        "{again}"
    );
    let again = to.run(&["messages", "import", "--skip-existing", file]);
    assert_eq!(again, "imported 0 messages, 900 were there already\nexit 0\n");
    let content = |folder: &Folder| {
        let lines = folder.run(&["messages", "export", "a-3"]);
        // The time is that of the import.
        lines
            .lines()
            .map(|line| line.split(",\"time\"").next().unwrap_or(line).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(content(&from), content(&to));
    let listed = from.run(&["messages", "streams", "-n", "3", "--json"]);
    assert!(
        listed.lines().count() == 4 && listed.contains("\"a-2\"") && !listed.contains("\"a-3\""),
        "{listed}"
    );
    from.write("bad.ndjson", "{\"stream_name\": \"b-1\", \"type\": \"T\"}\n{\"stream_name\": \"b-1\"}\n");
    let shown = from.run(&["messages", "import", "bad.ndjson"]);
    assert!(shown.contains("error: line 2: missing field `type`"), "{shown}");
    // A backup while messages come.
    assert!(from.run(&["store", "backup", "now.backup"]).contains("written now.backup: 901 messages"));
    assert!(from.run(&["store", "restore", "now.backup", "copy"]).contains("restored copy"));
    assert!(from.run(&["store", "verify", "copy"]).contains("good copy: 901 messages"));
    for running in [&mut first, &mut second] {
        running.signal(Signal::SIGINT);
        assert_eq!(running.wait(), 0);
    }
}

#[test]
fn streams_are_reached_over_http_by_programs_and_not_by_pages_of_others() {
    let (folder, _) = folder();
    let mut running = up(&folder);
    let api = api(&folder);
    let messages = format!("{api}/streams/account-1/messages");
    let json = ["-H", "Content-Type: application/json"];
    let written = curl(&[&json[..], &["-d", r#"{"type": "Opened"}"#, &messages]].concat());
    assert!(written.starts_with(r#"{"stream_name":"account-1","first_position":0,"#), "{written}");
    assert!(curl(&[&messages]).contains(r#""type":"Opened""#));
    let refused = curl(&["-d", r#"{"type": "Opened"}"#, &messages]);
    assert!(refused.contains("the body has to be JSON"), "{refused}");
    let refused = curl(&["-H", "Origin: https://evil.example", &messages]);
    assert!(refused.contains("a page of another origin"), "{refused}");
    let refused = curl(&["-H", "Host: evil.example", &messages]);
    assert!(refused.contains("own names"), "{refused}");
    assert!(curl(&[&format!("{api}/openapi.json")]).contains(r#""openapi":"3.1.0""#));
    // What is not about streams still wants the token.
    assert!(curl(&[&format!("{api}/status")]).contains("the token of"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);

    folder.write("tombolo.yaml", "gateway: {address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}\n");
    let mut running = folder.start(&["up"]);
    running.wait_for("gateway");
    let none = curl(&[&format!("{}/streams", self::api(&folder))]);
    assert!(none.contains("there are no streams here") && none.contains("streams:"), "{none}");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}

#[test]
fn two_nodes_share_the_streams_of_a_database() {
    let postgres = testkit::Postgres::start();
    let url = postgres.url(&postgres.database());
    let manifest = |url: &str| {
        format!(
            "streams: {{store: '{url}', messagedb: off}}\n\
             gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n"
        )
    };
    let nodes = [Folder::with(&manifest(&url)), Folder::with(&manifest(&url))];
    let mut running: Vec<Running> = nodes.iter().map(|folder| folder.start(&["up"])).collect();
    for running in &mut running {
        running.wait_for("gateway");
    }
    let mut tail = nodes[1].start(&["messages", "tail", "account", "--from", "1"]);
    let shown = nodes[0].run(&["messages", "write", "account-1", "Opened", "5"]);
    assert!(shown.contains("written account-1[0]"), "{shown}");
    tail.wait_for("account-1[0]  Opened  5");
    let shown = nodes[1].run(&["messages", "write", "account-1", "Closed", "--expected-version", "none"]);
    assert!(shown.contains("stream `account-1` is at version `0`"), "{shown}");
    let shown = nodes[0].run(&["store", "backup", "x"]);
    assert!(shown.contains("there is no store"), "{shown}");
    tail.signal(Signal::SIGTERM);
    tail.wait();
    for running in &mut running {
        running.signal(Signal::SIGINT);
        assert_eq!(running.wait(), 0);
    }
    // What is wrong with the database is told without its password.
    let nobody = "postgres://tombolo:s3cret@127.0.0.1:1/shop";
    let wrong = Folder::with(&manifest(nobody));
    let shown = wrong.run(&["up"]);
    assert!(shown.contains("`shop` at `127.0.0.1:") && !shown.contains("s3cret"), "{shown}");
    let wrong = Folder::with("streams: {store: 'mysql://tombolo:s3cret@db/shop'}\n");
    let shown = wrong.run(&["check"]);
    assert!(shown.contains("must be an address like `postgres://") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn what_a_service_writes_into_its_outbox_comes_into_the_streams() {
    let server = testkit::Postgres::shared();
    let database = server.database();
    let (folder, _) = folder();
    let url = server.url(&database).replace("postgres@", "postgres:s3cret@");
    folder.write(
        "tombolo.yaml",
        &format!(
            "streams: {{messagedb: off, outboxes: {{billing: {{database: '{url}', every: 50ms}}}}}}\n\
             gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n"
        ),
    );
    let mut running = folder.start(&["up"]);
    running.wait_for("warning: outbox `billing` waits: there is no table `outbox` in database `test_");
    running.wait_for("metadata jsonb, refused text)`");
    let said = running.said();
    let (_, remedy) = said.split_once("hint: `CREATE TABLE").expect("a statement in backticks");
    server.run(&database, &format!("CREATE TABLE{}", remedy.split('`').next().unwrap_or_default()));
    running.wait_for("info: outbox `billing` goes on");
    server.run(
        &database,
        "BEGIN; INSERT INTO outbox (stream_name, type, data) VALUES ('invoice-7', 'Paid', '{\"total\": 40}'),
            ('invoice-7', '', '{}'); COMMIT",
    );
    running.wait_for(
        "warning: the row at position 2 of outbox `billing` can't be appended: it has no `type`\n\
         hint: mend the row and set its column `refused` to null",
    );
    let shown = folder.run(&["messages", "last", "invoice-7"]);
    assert!(shown.contains(r#"Paid  {"total": 40}"#), "{shown}");
    assert!(!running.said().contains("s3cret"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);

    let wrong = url.replace("postgres://", "postgres:/");
    folder.write("tombolo.yaml", &format!("streams: {{outboxes: {{billing: {{database: '{wrong}'}}}}}}"));
    let shown = folder.run(&["up"]);
    assert!(shown.contains("`database` of outbox `billing` must be an address"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}
