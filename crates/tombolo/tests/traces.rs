//! Spans at the door: `tombolo up` takes them on Zipkin's port, on OTLP's and on that of the API; what was taken a
//! second ago outlives a kill.

mod support;

use nix::sys::signal::Signal;
use std::process::Command;
use support::{Folder, Running, eventually, taken};

/// A folder whose manifest asks for traces, and where Zipkin's API and OTLP are.
fn folder() -> (Folder, String, String) {
    let (zipkin, otlp) = (taken(), taken());
    let (zipkin, otlp) = (format!("127.0.0.1:{}", zipkin.1), format!("127.0.0.1:{}", otlp.1));
    let folder = Folder::new();
    folder.write(
        "tombolo.yaml",
        &format!(
            "traces: {{zipkin: '{zipkin}', otlp_http: '{otlp}', otlp_grpc: off}}\n\
             gateway: {{address: '127.0.0.1:0', api: '127.0.0.1:0', support: off}}\n"
        ),
    );
    (folder, format!("http://{zipkin}"), format!("http://{otlp}"))
}

fn up(folder: &Folder) -> Running {
    let mut running = folder.start(&["up"]);
    running.wait_for("  otlp     http://127.0.0.1:");
    running
}

/// What curl prints for these arguments.
fn curl(arguments: &[&str]) -> String {
    let ran = Command::new("curl").args(["-sS", "-m", "20"]).args(arguments).output().expect("curl");
    String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
}

const SPAN: &str = r#"[{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"1","kind":"CLIENT","name":"get","timestamp":1764158400000000,"duration":5,"localEndpoint":{"serviceName":"web"},"remoteEndpoint":{"serviceName":"cart"}}]"#;
const OTLP: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"scopeSpans":[{"spans":[{"traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"0000000000000002","parentSpanId":"0000000000000001","kind":2,"name":"GET","startTimeUnixNano":"1764158400000001000","endTimeUnixNano":"1764158400000003000"}]}]}]}"#;
const LINKS: &str = r#"[{"parent":"web","child":"cart","callCount":1}]"#;

#[test]
fn spans_come_in_by_all_doors_and_outlive_a_kill() {
    let (folder, zipkin, otlp) = folder();
    let mut running = up(&folder);
    let post = |url: &str, body: &str| {
        curl(&["-w", "%{http_code}", "-H", "Content-Type: application/json", "-d", body, url])
    };
    assert_eq!(post(&format!("{zipkin}/api/v2/spans"), SPAN), "202");
    assert_eq!(post(&format!("{otlp}/v1/traces"), OTLP), "{}200");
    let asked = |path: &str| curl(&[&format!("{zipkin}{path}")]);
    let links = "/api/v2/dependencies?endTs=1764158460000&lookback=120000";
    eventually("both spans are linked", || Some(asked(links)).filter(|links| links == LINKS));
    let page = curl(&[
        "-w",
        "%{http_code}",
        "-H",
        "Origin: http://evil.example",
        &format!("{zipkin}/api/v2/services"),
    ]);
    assert_eq!(page, "pages of this origin may not call403");

    // The API's address serves the same, and its own calls want the token as ever.
    let run = std::fs::read_to_string(folder.path().join(".tombolo/run.json")).expect("it runs");
    let run: serde_json::Value = serde_json::from_str(&run).expect("JSON");
    let api = format!("http://{}", run["api"].as_str().expect("an address"));
    assert_eq!(curl(&[&format!("{api}/api/v2/services")]), r#"["cart","web"]"#);
    assert_eq!(post(&format!("{api}/v1/traces"), "{}"), "{}200");
    assert!(curl(&[&format!("{api}/api/v1/status")]).contains("token"), "the token is still needed");

    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait(), -1);
    let mut running = up(&folder);
    assert_eq!(asked(links), LINKS);
    assert!(asked("/health").contains("UP") && asked("/zipkin/config.json").contains("queryLimit"));
    // What waits when a stop comes is written.
    let late = SPAN.replace("\"id\":\"1\"", "\"id\":\"9\"").replace("web", "late");
    assert_eq!(post(&format!("{zipkin}/api/v2/spans"), &late), "202");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    let mut running = up(&folder);
    assert_eq!(asked("/api/v2/services"), r#"["cart","late","web"]"#);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}

#[test]
fn a_port_that_somebody_has_is_told() {
    let (held, port) = taken();
    let folder = Folder::new();
    folder.write("tombolo.yaml", &format!("traces: {{zipkin: '127.0.0.1:{port}'}}\n"));
    let shown = folder.run(&["up"]);
    assert!(shown.contains("Zipkin's API") && shown.ends_with("exit 1\n"), "{shown}");
    drop(held);
}
