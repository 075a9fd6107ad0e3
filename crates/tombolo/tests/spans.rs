//! What is carried, as Zipkin's API shows it: `tombolo up` leaves spans of each request and each call between
//! services, of appends and deliveries, and the map of the services is right whether they report spans of their own or
//! none.

mod support;

use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use support::{Folder, Running, eventually, get, taken, try_get};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A running `tombolo up` with a web service that calls another, and where Zipkin's API is.
struct Shop {
    folder: Folder,
    _running: Running,
    gateway: SocketAddr,
    support: SocketAddr,
    zipkin: String,
}

impl Shop {
    fn up(traces: &str, reports: bool) -> Self {
        // Free again as soon as they are known.
        let [zipkin, support] = [taken().1, taken().1].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let report = if reports { format!(", REPORT: '{zipkin}'") } else { String::new() };
        let folder = Folder::with(&format!(
            r#"gateway: {{ address: '127.0.0.1:0', api: '127.0.0.1:0', support: '{support}' }}
traces: {{ zipkin: '{zipkin}', otlp_http: off, otlp_grpc: off{traces} }}
streams: {{ messagedb: off }}
consumers:
  packing: {{ category: order, handler: cart/pack }}
services:
  web: {{ run: exec APP, env: {{ NAME: web{report} }}, health: /health, calls: [cart], depends_on: [cart] }}
  cart: {{ run: exec APP, env: {{ NAME: cart{report} }}, health: /health }}
routes: |
  pages: PathSubtree("/call") -> "service://web";
  lost: Path("/lost") -> "http://127.0.0.1:1";
"#
        ));
        let mut running = folder.start(&["up"]);
        let gateway = running.address("gateway  http://");
        eventually("the shop answers", || {
            try_get(gateway, "/call/NONE", "").filter(|answer| answer.status == 404)
        });
        Self { folder, _running: running, gateway, support, zipkin: format!("http://{zipkin}") }
    }

    fn ask(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.zipkin);
        let ran = Command::new("curl").args(["-sS", "-m", "20", &url]).output().expect("curl");
        serde_json::from_slice(&ran.stdout).unwrap_or(Value::Null)
    }

    /// A line of each span of a trace once there are so many: who told of what, below which, in the order of the tree.
    fn trace(&self, count: usize) -> Vec<String> {
        let spans = eventually("the spans of the trace", || {
            let spans = self.ask(&format!("/api/v2/trace/{TRACE}"));
            spans.as_array().filter(|spans| spans.len() == count).cloned()
        });
        let mut lines = Vec::new();
        below(&spans, "00f067aa0ba902b7", 0, &mut lines);
        lines
    }

    /// Waits until these are the links of all traces: those of the test, and the one request by which it saw that the
    /// shop is there.
    fn links(&self, expected: &[&str]) {
        eventually(&format!("{expected:?}"), || {
            let links = self.ask("/api/v2/dependencies?endTs=4102444800000&lookback=4102444800000");
            let line = |link: &Value| {
                format!("{} {} {}", link["parent"], link["child"], link["callCount"]).replace('"', "")
            };
            let lines: Vec<_> = links.as_array()?.iter().map(line).collect();
            (lines == expected).then_some(())
        });
    }
}

fn below(spans: &[Value], parent: &str, depth: usize, lines: &mut Vec<String>) {
    for span in spans.iter().filter(|span| span["parentId"] == parent) {
        let name = |side: &str| span[side]["serviceName"].as_str().unwrap_or_default().to_owned();
        lines.push(format!(
            "{}{} {}>{} {}",
            "  ".repeat(depth),
            span["kind"].as_str().unwrap_or_default(),
            name("localEndpoint"),
            name("remoteEndpoint"),
            span["name"].as_str().unwrap_or_default()
        ));
        below(spans, span["id"].as_str().unwrap_or_default(), depth + 1, lines);
    }
}

fn call(gateway: SocketAddr, path: &str) -> u16 {
    let header = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    try_get(gateway, path, &header).expect("an answer").status
}

#[test]
fn services_that_report_nothing_are_on_the_map() {
    let shop = Shop::up("", false);
    assert_eq!(call(shop.gateway, "/call/CART_URL"), 200);
    assert_eq!(
        shop.trace(4),
        [
            "SERVER gateway> get /call/**",
            "  CLIENT gateway>web get",
            "    CLIENT web>cart get",
            "      CLIENT web>cart get",
        ]
    );
    shop.links(&["gateway web 2", "web cart 1"]);
    let metrics = get(shop.support, "/metrics").body;
    assert!(
        metrics.contains("tombolo_spans_dropped_total 0") && !metrics.contains("tombolo_spans_kept_total 0")
    );
}

#[test]
fn what_services_report_hangs_below_what_carries_their_calls() {
    let shop = Shop::up("", true);
    assert_eq!(call(shop.gateway, "/call/CART_URL"), 200);
    assert_eq!(
        shop.trace(7),
        [
            "SERVER gateway> get /call/**",
            "  CLIENT gateway>web get",
            "    SERVER web> own",
            "      CLIENT web> own",
            "        CLIENT web>cart get",
            "          CLIENT web>cart get",
            "            SERVER cart> own",
        ]
    );
    shop.links(&["gateway web 2", "web cart 1"]);
}

#[test]
fn a_trace_goes_through_a_stream_to_its_consumer() {
    let shop = Shop::up("", false);
    let run = std::fs::read_to_string(shop.folder.path().join(".tombolo/run.json")).expect("it runs");
    let run: Value = serde_json::from_str(&run).expect("JSON");
    let url = format!("http://{}/api/v1/streams/order-1/messages", run["api"].as_str().expect("an address"));
    let fields = ["Content-Type: application/json", &format!("b3: {TRACE}-00f067aa0ba902b7-1")];
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-m", "20", &url, "-d", r#"{"type":"Placed"}"#]);
    let ran = fields.iter().fold(&mut curl, |curl, field| curl.args(["-H", field])).output().expect("curl");
    assert!(String::from_utf8_lossy(&ran.stdout).contains("last_position"), "{ran:?}");
    assert_eq!(
        shop.trace(4),
        [
            "PRODUCER streams> append order",
            "  CONSUMER streams> deliver order",
            "    CLIENT streams>cart post",
            "      CLIENT streams>cart post",
        ]
    );
    shop.links(&["gateway web 1", "streams cart 1"]);
    for line in [
        r#"messaging_client_sent_messages_total{error_type="",messaging_destination_name="order"} 1"#,
        r#"messaging_client_consumed_messages_total{messaging_consumer_group_name="packing"} 1"#,
        r#"tombolo_consumer_failed_attempts_total{consumer="packing"} 0"#,
        r#"tombolo_consumer_lag_messages{consumer="packing"} 0"#,
        r#"tombolo_consumer_dead_letters{consumer="packing"} 0"#,
        "tombolo_streams_position ",
        "tombolo_store_bytes ",
        "tombolo_store_groups_total ",
    ] {
        eventually(line, || {
            get(shop.support, "/metrics").body.lines().find(|known| known.starts_with(line)).map(drop)
        });
    }
}

#[test]
fn of_traces_that_are_not_recorded_failures_are_kept() {
    let shop = Shop::up(", sample: 0, propagation: w3c", false);
    assert_eq!(get(shop.gateway, "/call/CART_URL").status, 200);
    assert_eq!(get(shop.gateway, "/lost").status, 502);
    let traces = eventually("the failure", || {
        let traces = shop.ask("/api/v2/traces?limit=100");
        traces.to_string().contains("connection_refused").then_some(traces)
    });
    // What was not seen before is rare, and kept as well.
    let spans = traces.as_array().expect("traces").iter().flat_map(|trace| trace.as_array().expect("spans"));
    let failed: Vec<_> = spans.filter_map(|span| span["tags"]["error"].as_str()).collect();
    assert_eq!(failed, ["connection_refused"; 2]);
    let told = get(shop.gateway, "/call/CART_URL").body.to_lowercase();
    assert!(told.contains("traceparent: ") && !told.contains("b3: "), "{told}");
}
