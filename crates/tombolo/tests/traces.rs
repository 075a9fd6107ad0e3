//! Spans at the door: `tombolo up` takes them on Zipkin's port, on OTLP's and on that of the API; what was taken a
//! second before a kill in the midst of the rush outlives it, and no other is lost.

mod support;

use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Folder, PATIENCE, Running, eventually, taken};

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
    assert_eq!(page, "a page of another origin may not call this API403");

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

/// Traces of a service, fewer than one answer may have.
const OF_A_SERVICE: usize = 5_000;

/// A client that brings traces, one a message, over a connection that stays.
struct Sender(BufReader<TcpStream>);

impl Sender {
    fn to(zipkin: &str) -> Self {
        let stream = TcpStream::connect(zipkin.trim_start_matches("http://")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self(BufReader::new(stream))
    }

    /// Brings the trace of this number; whether it was taken.
    fn send(&mut self, trace: usize, spans: usize) -> std::io::Result<bool> {
        let service = trace / OF_A_SERVICE;
        let span = |id| {
            format!(
                r#"{{"traceId":"{trace:016x}","id":"{id:x}","timestamp":1764158400000000,"localEndpoint":{{"serviceName":"rush-{service}"}}}}"#
            )
        };
        let spans: Vec<String> = (1..=spans).map(span).collect();
        let body = format!("[{}]", spans.join(","));
        // In one piece, as the second of two would wait for the first to be acknowledged.
        let head = "POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut answer)? == 0 {
                return Ok(false);
            }
        }
        assert!(answer.to_ascii_lowercase().contains("content-length: 0\r\n"), "{answer}");
        Ok(answer.starts_with("HTTP/1.1 202 "))
    }
}

/// How many spans there are of each trace, of those up to the last.
fn kept(zipkin: &str, last: usize) -> BTreeMap<usize, usize> {
    let mut kept = BTreeMap::new();
    for service in 0..=last / OF_A_SERVICE {
        let path = "/api/v2/traces?limit=10000&endTs=1764158460000&lookback=120000&serviceName=rush";
        let answer = curl(&[&format!("{zipkin}{path}-{service}")]);
        let traces: Vec<Vec<serde_json::Value>> = serde_json::from_str(&answer).expect(&answer);
        for trace in traces {
            let id = trace[0]["traceId"].as_str().unwrap_or_default();
            let number = usize::from_str_radix(id, 16).expect("hex");
            assert_eq!(kept.insert(number, trace.len()), None, "{id} is there twice");
        }
    }
    kept
}

#[test]
fn a_kill_in_the_midst_of_the_rush_loses_at_most_the_last_second() {
    let (folder, zipkin, _) = folder();
    let second = Duration::from_secs(1);
    let (mut next, mut before) = (1, BTreeMap::new());
    let mut running = up(&folder);
    // Many spans are written when a batch is full, few when the first of them has waited long enough.
    for spans in [10, 1] {
        let mut taken: BTreeMap<usize, Instant> = BTreeMap::new();
        let (mut sender, begun) = (Sender::to(&zipkin), Instant::now());
        // Two thirds of what is taken may be lost, the rest may not.
        while begun.elapsed() < second * 3 / 2 {
            assert!(sender.send(next, spans).expect("it answers"), "trace {next} was refused");
            taken.insert(next, Instant::now());
            next += 1;
        }
        let killed = Instant::now();
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait(), -1);
        running = up(&folder);
        let now = kept(&zipkin, next);
        let lost: Vec<Duration> = taken
            .iter()
            .filter(|(trace, _)| !now.contains_key(trace))
            .map(|(_, when)| killed - *when)
            .collect();
        let oldest = lost.iter().max().copied().unwrap_or_default();
        let told = format!(
            "{spans} spans at once: of {} traces {} are lost, {oldest:?} old",
            taken.len(),
            lost.len()
        );
        assert!(oldest < second && taken.len() > 100, "{told}");
        assert!(before.iter().all(|(trace, spans)| now.get(trace) == Some(spans)), "{told}, and older ones");
        assert_eq!(now.len(), before.len() + taken.len() - lost.len(), "{told}, and some nobody brought");
        let whole = taken.keys().filter_map(|trace| now.get(trace)).all(|there| *there == spans);
        assert!(whole, "{told}, and others in part");
        before = now;
    }
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}

#[test]
fn spans_are_sent_on_to_another_collector_when_it_is_there() {
    let (collecting, zipkin, otlp) = folder();
    let (folder, own_zipkin, _) = folder();
    let manifest = std::fs::read_to_string(folder.path().join("tombolo.yaml")).expect("it was written");
    folder.write("tombolo.yaml", &manifest.replace("traces: {", &format!("traces: {{forward: '{otlp}', ")));
    let mut running = up(&folder);
    let report = |span: &str| {
        curl(&["-H", "Content-Type: application/json", "-d", span, &format!("{own_zipkin}/api/v2/spans")])
    };
    report(SPAN);
    running.wait_for("warning: spans wait for their collector: ");
    let mut collector = up(&collecting);
    running.wait_for("info: the collector takes spans again");
    let asked = |service: &str| {
        eventually("the span has come", || {
            let traces =
                curl(&[&format!("{zipkin}/api/v2/traces?serviceName={service}&endTs=1764158460000")]);
            traces.contains(&format!("\"serviceName\":\"{service}\"")).then_some(traces)
        })
    };
    let trace = asked("web");
    assert!(
        trace.contains(r#""traceId":"463ac35c9f6413ad48485a3953bb6124""#) && trace.contains("cart"),
        "{trace}"
    );
    // What waits when a stop comes is sent.
    report(&SPAN.replace("\"id\":\"1\"", "\"id\":\"9\"").replace("web", "late"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
    asked("late");
    collector.signal(Signal::SIGINT);
    assert_eq!(collector.wait(), 0);

    // To itself is for ever.
    folder.write(
        "tombolo.yaml",
        &manifest
            .replace("traces: {", "traces: {forward: 'http://localhost:PORT/v1/traces', ")
            .replace("PORT", own_zipkin.rsplit(':').next().unwrap_or_default()),
    );
    let shown = folder.run(&["up"]);
    assert!(
        shown.contains("error: `forward` of `traces` is where spans come in") && shown.ends_with("exit 1\n"),
        "{shown}"
    );
    folder.write("tombolo.yaml", "traces: {forward: 'http://ann:s3cret@collector:4318'}\n");
    let shown = folder.run(&["check"]);
    assert!(
        shown.contains("`forward` of `traces` takes no user or password") && !shown.contains("s3cret"),
        "{shown}"
    );
}

#[test]
fn services_know_where_spans_go_and_pages_that_are_named_may_ask() {
    let (folder, zipkin, otlp) = folder();
    let manifest = std::fs::read_to_string(folder.path().join("tombolo.yaml")).expect("it was written");
    let manifest =
        manifest.replace("traces: {", "traces: {autocomplete: [env], origins: ['http://page.example'], ");
    folder.write(
        "tombolo.yaml",
        &format!(
            "{manifest}services:\n  app: {{run: &run 'echo $OTEL_SERVICE_NAME to $OTEL_EXPORTER_OTLP_ENDPOINT; exec sleep 600'}}\n  \
             own: {{run: *run, env: {{OTEL_SERVICE_NAME: mine}}}}\n"
        ),
    );
    let mut running = folder.start(&["up"]);
    running.wait_for(&format!("| app to {otlp}"));
    running.wait_for(&format!("| mine to {otlp}"));
    let span = SPAN.replace("\"duration\":5", "\"duration\":5,\"tags\":{\"env\":\"prod\"}");
    let sent =
        curl(&["-H", "Content-Type: application/json", "-d", &span, &format!("{zipkin}/api/v2/spans")]);
    assert_eq!(sent, "");
    eventually("values are offered", || {
        let values = curl(&[&format!("{zipkin}/api/v2/autocompleteValues?key=env")]);
        (values == r#"["prod"]"#).then_some(())
    });
    let asked = |origin: &str| {
        curl(&["-i", "-H", &format!("Origin: {origin}"), &format!("{zipkin}/api/v2/services")]).to_lowercase()
    };
    assert!(asked("http://page.example").contains("access-control-allow-origin: http://page.example"));
    assert!(asked("http://evil.example").starts_with("http/1.1 403"));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 0);
}
