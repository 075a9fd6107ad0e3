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
