//! Spans of several nodes over one database, at the door: a trace that two of them carried parts of is found whole by
//! either, and a database that goes away holds up no request, is told, and gets what waited.

mod support;

use nix::sys::signal::Signal;
use std::net::SocketAddr;
use support::{Answer, Folder, Running, eventually, get, post_spans, try_get_of};

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// A node that has these sections in its manifest.
fn up(sections: &str) -> (Folder, Running, SocketAddr) {
    let folder = Folder::with(&format!(
        "gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n{sections}"
    ));
    let mut running = folder.start(&["up"]);
    let zipkin = running.address("  zipkin   http://");
    (folder, running, zipkin)
}

fn span(id: u64, parent: u64, kind: &str, service: &str) -> String {
    format!(
        r#"[{{"traceId":"{TRACE}","id":"{id}","parentId":"{parent}","kind":"{kind}","name":"get","timestamp":{},"duration":5,"localEndpoint":{{"serviceName":"{service}"}}}}]"#,
        now_us() - 5_000_000 + id
    )
}

/// Asks Zipkin's port, which wants to be called as what it is.
fn ask(zipkin: SocketAddr, path: &str) -> Answer {
    try_get_of(zipkin, "localhost", path, "").expect("an answer")
}

fn now_us() -> u64 {
    base::Clock::system().unix().micros()
}

#[test]
fn a_trace_of_two_nodes_is_found_whole_by_either() {
    let postgres = testkit::Postgres::start();
    let url = postgres.url(&postgres.database());
    // Where messages are kept spans are, too.
    let sections = format!(
        "streams: {{store: '{url}', messagedb: off}}\n\
         traces: {{zipkin: '127.0.0.1:0', otlp_http: off, otlp_grpc: off}}\n"
    );
    let (mut nodes, mut folders, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        let (folder, running, zipkin) = up(&sections);
        nodes.push(running);
        folders.push(folder);
        ports.push(zipkin);
    }
    let mut tail = folders[1].start(&["traces", "tail"]);
    post_spans(&format!("http://{}/api/v2/spans", ports[0]), &span(1, 0, "CLIENT", "web"));
    post_spans(&format!("http://{}/api/v2/spans", ports[1]), &span(2, 1, "SERVER", "cart"));
    let links = format!("/api/v2/dependencies?endTs={}&lookback=600000", now_us() / 1_000 + 60_000);
    for (folder, port) in folders.iter().zip(&ports) {
        eventually("both parts are found", || {
            let shown = folder.run(&["traces", "show", TRACE]);
            (shown.contains("web") && shown.contains("cart")).then_some(())
        });
        eventually("the call is counted once", || {
            let answer = ask(*port, &links).body;
            (answer == r#"[{"parent":"web","child":"cart","callCount":1}]"#).then_some(())
        });
        assert_eq!(ask(*port, "/api/v2/services").body, r#"["cart","web"]"#);
        assert!(!folder.path().join(".tombolo/traces").exists(), "nothing lies in files");
        let doctor = folder.run(&["doctor"]);
        assert!(doctor.contains("1 trace"), "{doctor}");
    }
    // Who follows at one node hears of what came in at the other.
    tail.wait_for("web");
    tail.signal(Signal::SIGTERM);
    tail.wait();
    for running in &mut nodes {
        running.signal(Signal::SIGINT);
        assert_eq!(running.wait(), 0);
    }
}

#[test]
fn a_database_of_spans_that_is_away_holds_up_nothing_else() {
    let mut postgres = testkit::Postgres::start();
    let url = postgres.url(&postgres.database()).replace("postgres@", "postgres:s3cret@");
    let sections = format!(
        "traces: {{store: '{url}', zipkin: '127.0.0.1:0', otlp_http: off, otlp_grpc: off}}\n\
         routes: |\n  all: * -> status(204) -> <shunt>;\n"
    );
    postgres.crash();
    // It starts without it, too.
    let (folder, mut running, zipkin) = up(&sections);
    let gateway = running.address("gateway  http://");
    let asked = |service: &str| ask(zipkin, &format!("/api/v2/traces?serviceName={service}&limit=100")).body;
    let count = || asked("gateway").matches("\"SERVER\"").count();
    running.wait_for("warning: spans can't be written, and wait: cannot connect to database `test_");
    for _ in 0..5 {
        assert_eq!(get(gateway, "/").status, 204);
    }
    assert_eq!(ask(zipkin, "/health").status, 503);
    postgres.resume();
    running.wait_for("info: spans are written again");
    eventually("what waited is there", || (count() == 5).then_some(()));
    postgres.crash();
    assert_eq!(get(gateway, "/").status, 204);
    running.wait_for_times("warning: spans can't be written, and wait: ", 2);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    let said = running.said();
    assert!(said.contains("warning: the last spans are lost: ") && !said.contains("s3cret"), "{said}");
    drop(folder);
    postgres.resume();
    // What can't come right by itself is told at once.
    let wrong = Folder::with(&format!("traces: {{store: '{}'}}\n", postgres.url("nobody_made_it")));
    let shown = wrong.run(&["up"]);
    assert!(shown.contains("make the database with `createdb`") && shown.ends_with("exit 1\n"), "{shown}");
}
