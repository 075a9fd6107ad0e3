//! The world of these tests: a plane built from eskip, served by workers on a free port, and what it told.

use base::{Chance, Clock, ClockHand, Source, UnixTime};
use proxy::lookup::Options;
use proxy::predicates::PredicateEnv;
use proxy::{Builder, Definitions, Lasting, Plane, Served, Services, Settings, Table, Workers};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use telemetry::Metrics;
use telemetry::access::{AccessLog, Format, Options as LogOptions, Target};
use testkit::{Answer, Client, H2Client, PATIENCE, eventually};
use wire::{Drainer, Edge, Http1, Limits, ServerTls};

/// What differs from world to world.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    /// Bounds on clients; who frames HTTP/1.1 is `engine`'s to say.
    pub(crate) limits: Limits,
    /// Who frames HTTP/1.1, on both sides.
    pub(crate) engine: Http1,
    pub(crate) workers: usize,
    pub(crate) services: Vec<&'static str>,
    pub(crate) edge: Option<Edge>,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) forward: Option<String>,
    /// Whether time stands still until the test moves it (not the time of time-outs, which is tokio's).
    pub(crate) by_hand: bool,
    pub(crate) handles: proxy::Handles,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            limits: Limits::default(),
            engine: engine(),
            workers: 1,
            services: Vec::new(),
            edge: None,
            tls: None,
            forward: None,
            by_hand: false,
            handles: proxy::Handles::default(),
        }
    }
}

pub(crate) struct World {
    pub(crate) plane: Arc<Plane>,
    pub(crate) address: SocketAddr,
    pub(crate) hand: ClockHand,
    pub(crate) drainer: Drainer,
    pub(crate) served: Option<Served>,
    logs: Logs,
    _workers: Workers,
}

/// The access log and the audit log, and what they wrote.
struct Logs {
    log: Log,
    access: AccessLog,
    audit_log: Log,
    audit: AccessLog,
}

/// Takes what the access log writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    async fn lines(&self, count: usize) -> Vec<Value> {
        let lines = || self.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count();
        eventually(&format!("{count} lines"), || lines() >= count).await;
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), count, "{text}");
        records
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl World {
    /// These routes, everything else as it is by default.
    pub(crate) async fn new(routes: &str) -> Self {
        Self::with(Setup::default(), routes).await
    }

    pub(crate) async fn with(mut setup: Setup, routes: &str) -> Self {
        setup.limits.http1 = setup.engine;
        setup.settings.dialer.http1 = setup.engine;
        let (still, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1_700_000_000)));
        let clock = if setup.by_hand { still } else { Clock::system() };
        let workers = Workers::start(setup.workers).unwrap();
        let services = Arc::new(Services::default());
        services.declare(setup.services);
        let builder = Builder {
            clock: clock.clone(),
            chance: Chance::seeded(7),
            lasting: Lasting::new(clock),
            services,
            metrics: Arc::new(Metrics::new(setup.workers)),
            predicates: PredicateEnv::default(),
            lookup: Options::default(),
            folder: std::path::PathBuf::new(),
            forward: setup.forward,
            handles: setup.handles,
        };
        let start = |log: &Log| {
            let options = LogOptions { format: Format::Json, ..LogOptions::default() };
            let dropped = builder.metrics.counter(telemetry::metrics::LOG_LINES_DROPPED, &[]);
            let target = Target::Other(Box::new(log.clone()));
            AccessLog::start(options, target, setup.workers, dropped, |fault| panic!("{fault}")).unwrap()
        };
        let (log, audit_log) = (Log::default(), Log::default());
        let (access, audit) = (start(&log), start(&audit_log));
        let mut builder = builder;
        builder.handles.audit = Some(audit.clone());
        let plane = Plane::new(setup.settings, builder, Some(access.clone()));
        let listeners = wire::bind_each(SocketAddr::from(([127, 0, 0, 1], 0)), setup.workers).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (drainer, drain) = Drainer::new();
        let served = workers
            .serve(&plane, listeners, setup.tls.as_ref(), setup.edge, &setup.limits, &drain)
            .await
            .unwrap();
        let logs = Logs { log, access, audit_log, audit };
        let world = Self { plane, address, hand, drainer, served: Some(served), logs, _workers: workers };
        world.put(routes);
        world
    }

    /// The table of these routes, all of which must be valid.
    pub(crate) fn table(&self, routes: &str) -> Table {
        let source = Source::new("test.eskip", routes);
        let parsed = eskip::parse(&source);
        assert!(parsed.errors.is_empty(), "{routes}: {:?}", parsed.errors);
        self.plane.builder().build(&Definitions::from_source(&source, parsed.routes))
    }

    /// Puts these routes in force, all of which must be valid.
    pub(crate) fn put(&self, routes: &str) {
        let table = self.table(routes);
        let invalid: Vec<_> = table.invalid.iter().map(|invalid| invalid.diagnostic.render(false)).collect();
        assert!(invalid.is_empty(), "{invalid:?}");
        self.plane.put(table);
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// A client that speaks HTTP/2.
    pub(crate) async fn h2(&self) -> H2Client {
        H2Client::connect(self.address).await
    }

    /// The answer to a request on a connection of its own. The request is a line `METHOD target`, then
    /// header lines, then, behind an empty line, its body.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        self.client().await.ask(message(request)).await
    }

    /// Says where the instances of a service are.
    pub(crate) fn instances(&self, service: &str, addresses: &[String]) {
        let builder = self.plane.builder();
        builder.services.set(service, addresses, &builder.lasting, &builder.clock).unwrap();
    }

    /// The records of this many requests, once they are there: what the access log says of each.
    pub(crate) async fn records(&self, count: usize) -> Vec<Value> {
        self.logs.log.lines(count).await
    }

    /// What filters for a close look have logged, once it is so many lines, without the time.
    pub(crate) async fn filter_lines(&self, count: usize) -> Vec<String> {
        let text = || String::from_utf8(self.logs.audit_log.0.lock().unwrap().clone()).unwrap();
        eventually(&format!("{count} lines of filters"), || text().lines().count() >= count).await;
        text().lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// What `auditLog` wrote of this many requests, once it is there.
    pub(crate) async fn audits(&self, count: usize) -> Vec<Value> {
        self.logs.audit_log.lines(count).await
    }

    /// The one record there is, in brief: status, and what makes it special.
    pub(crate) async fn record(&self) -> String {
        brief(&self.records(1).await[0])
    }

    /// The number of a line of the metrics; 0 if there is no such line.
    pub(crate) fn count(&self, line: &str) -> f64 {
        let page = self.plane.builder().metrics.expose();
        let value = page.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until nothing is under way any more, by every count there is.
    pub(crate) async fn settled(&self) {
        eventually("nothing under way", || self.count("tombolo_requests_in_flight") < 0.5).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.logs.access.stop(PATIENCE);
        self.logs.audit.stop(PATIENCE);
    }
}

/// Who frames HTTP/1.1: our own codec, or hyper where `TEST_HTTP1=hyper` asks for the same stories with it.
fn engine() -> Http1 {
    match std::env::var("TEST_HTTP1").as_deref() {
        Ok("hyper") => Http1::Hyper,
        Ok(other) => panic!("TEST_HTTP1={other} is no engine"),
        Err(_) => Http1::Strict,
    }
}

/// A record's status, attempts and reason in one line.
pub(crate) fn brief(record: &Value) -> String {
    let mut text = record["status"].to_string();
    if record["attempts"] != 1 {
        text += &format!(" attempts={}", record["attempts"]);
    }
    if let Some(reason) = record["reason"].as_str() {
        text += &format!(" {reason}");
    }
    if record["cut-short"] == true {
        text += " cut short";
    }
    text
}

/// A request as on the wire: with a Host and the length of its body, unless it says so itself.
pub(crate) fn message(request: &str) -> String {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let mut text = format!("{} HTTP/1.1\r\n", lines.next().unwrap());
    for line in lines {
        text += &format!("{}\r\n", line.trim_start());
    }
    let names = text.to_ascii_lowercase();
    if !names.contains("\r\nhost:") {
        text += "Host: shop.example\r\n";
    }
    if !body.is_empty() && !names.contains("\r\ncontent-length:") && !names.contains("\r\ntransfer-encoding:")
    {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    format!("{text}\r\n{body}")
}

/// `Proxy-Status` of an answer, without the name.
pub(crate) fn why(answer: &Answer) -> String {
    answer.header("proxy-status").unwrap_or("-").trim_start_matches("tombolo; ").to_owned()
}
