//! The manifest as values, every default filled in. Field tables, parsing and the schema stand beside.

use crate::consumers::Consumer;
use crate::texts::TextMap;
use base::Span;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// The whole of `tombolo.yaml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// A name for people; the folder's name if not given.
    pub name: Option<String>,
    /// In the order of the file.
    pub services: Vec<Service>,
    /// Inline eskip and files of it, in the order of the file.
    pub routes: Vec<RoutesEntry>,
    /// The gateway.
    pub gateway: Gateway,
    /// Streams of messages; `None`: there are none.
    pub streams: Option<Streams>,
    /// Spans that services report; `None`: they are not taken.
    pub traces: Option<Traces>,
    /// Who handles messages, in the order of the file.
    pub consumers: Vec<Consumer>,
    /// What is logged, and how.
    pub log: Log,
    /// Bounds on what comes from outside.
    pub limits: Limits,
    /// How places inside inline routes and filters map to the file; asked through [`Manifest::place_of`].
    pub texts: Vec<TextMap>,
}

impl Manifest {
    /// Where bytes of an inline text stand in the manifest, so that a mistake in it is shown there. `text` is
    /// the span that came with it ([`RoutesEntry::Inline`], [`Service::filters_span`]). Where the place can't
    /// be told, it is the text's start.
    pub fn place_of(&self, text: &Span, bytes: Range<usize>) -> Span {
        match self.texts.iter().find(|map| map.span() == text) {
            Some(map) => map.place(bytes),
            None => text.start..text.start,
        }
    }
}

/// Routes of the gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum RoutesEntry {
    /// eskip written in the manifest. `span` is where its text stands there: for a YAML block scalar the
    /// text's first byte, so that places inside can be told.
    Inline {
        /// The eskip text, YAML's indentation removed.
        text: String,
        /// Where it stands in the manifest.
        span: Span,
    },
    /// A file, relative to the manifest's folder.
    File {
        /// As written.
        path: PathBuf,
        /// Where it stands in the manifest.
        span: Span,
    },
}

/// Something with instances: run by us (`run`) or elsewhere (`at`).
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Lower-case letters, digits and dashes, beginning with a letter, at most 63 characters (DNS label).
    pub name: String,
    /// Where the name stands in the manifest.
    pub span: Span,
    /// Run by us or found elsewhere.
    pub source: Source,
    /// Names of the services it may call; each gives it `NAME_URL`.
    pub calls: Vec<String>,
    /// eskip filters applied to every call to this service that another service makes through `calls`,
    /// such as `retry(2) -> backendTimeout("2s")`; empty for none. Checked by whoever builds routes.
    pub filters: String,
    /// Where the text of `filters` stands in the manifest.
    pub filters_span: Span,
}

/// Where a service's instances come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Run by us.
    Run(Box<Command>),
    /// Found at these addresses (`http://host:port`), run by somebody else.
    At(Vec<String>),
}

/// How a service of ours is built, started, watched and stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The program and its arguments. A string in the manifest becomes `["/bin/sh", "-c", STRING]`.
    pub run: Vec<String>,
    /// Built before the first start, the same way; `None` for nothing to build.
    pub build: Option<Vec<String>>,
    /// Working directory, relative to the manifest's folder; that folder if not given.
    pub dir: Option<PathBuf>,
    /// Variables set for the service, over those of `env_file`.
    pub env: BTreeMap<String, String>,
    /// Files of `NAME=value` lines, relative to the manifest's folder, later ones winning.
    pub env_file: Vec<PathBuf>,
    /// The port it listens on; `None`: assigned by us and given as `PORT`. With several replicas only
    /// an assigned port is allowed.
    pub port: Option<u16>,
    /// How we know that it can serve; `None`: it accepts a TCP connection.
    pub health: Option<Health>,
    /// What must be there before it starts.
    pub depends_on: Vec<DependsOn>,
    /// What happens when it ends.
    pub restart: Restart,
    /// How many instances, 1 to 64.
    pub replicas: u32,
    /// How long it may take from SIGTERM to its end before SIGKILL.
    pub stop_grace: Duration,
    /// Files and folders (relative to the manifest's folder) whose change rebuilds and restarts it.
    pub watch: Vec<PathBuf>,
}

/// How we know that an instance can serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// Between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// So many failures in a row make it unhealthy.
    pub failures: u32,
    /// So long after its start failures do not count.
    pub start_period: Duration,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `GET` of this path answers 200 to 399.
    Http(String),
    /// The port accepts a connection.
    Tcp,
    /// The command ends with 0.
    Command(Vec<String>),
}

/// A service that must be there before another starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependsOn {
    /// Its name.
    pub service: String,
    /// How far it must be.
    pub when: StartWhen,
}

/// How far a dependency must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartWhen {
    /// Its process runs.
    Started,
    /// Its health check passes.
    #[default]
    Healthy,
}

/// What happens when an instance ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// When it begins anew.
    pub when: RestartWhen,
    /// The first pause; it doubles with each restart up to `backoff_max`.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// After so many restarts without having been healthy for `backoff_max` in between, it is left ended
    /// and called crash-looping; 0: never given up.
    pub limit: u32,
}

/// When an ended instance begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartWhen {
    /// Whatever its exit status.
    #[default]
    Always,
    /// Only when it failed.
    OnFailure,
    /// Never.
    Never,
}

/// The gateway's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Where traffic comes in.
    pub address: SocketAddr,
    /// The support listener (routes, metrics); `None` for none.
    pub support: Option<SocketAddr>,
    /// The API that `tombolo status` and its kin ask.
    pub api: SocketAddr,
    /// `/a` and `/a/` are one path.
    pub ignore_trailing_slash: bool,
    /// One bad route refuses the whole new table; otherwise it alone is dropped.
    pub strict: bool,
    /// Threads of the data path; `None`: one for each core.
    pub workers: Option<usize>,
    /// PEM file of the certificate chain; with `tls_key`, HTTPS is served.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key: Option<PathBuf>,
    /// Flags of `tombolo gateway`, in the order of the file.
    pub flags: Vec<Flag>,
}

/// A word of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As written: `-name=value`, `-name`, or the value of the one before.
    pub text: String,
    /// Where it stands in the manifest.
    pub span: Span,
}

/// The address of a PostgreSQL database, which may hold a password: it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(pub String);

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreUrl")
    }
}

/// Where streams of messages are kept, and who serves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// The database that keeps them; `None`: files in `dir`.
    pub store: Option<StoreUrl>,
    /// The data directory.
    pub dir: PathBuf,
    /// Message DB's interface; `None` for none.
    pub messagedb: Option<SocketAddr>,
    /// Whether a `condition` is taken without being asked for.
    pub sql_condition: bool,
    /// What stays of categories, in the order of the file; everything of others.
    pub keep: Vec<Keep>,
    /// Tables of messages to come, in the order of the file.
    pub outboxes: Vec<Outbox>,
}

/// A table of messages to come in the database of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// Up to 100 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The database.
    pub database: StoreUrl,
    /// The table, as SQL writes it.
    pub table: String,
    /// How often it is looked at.
    pub every: Duration,
}

impl Default for Outbox {
    fn default() -> Self {
        let database = StoreUrl(String::new());
        Self { name: String::new(), database, table: "outbox".to_owned(), every: Duration::from_secs(1) }
    }
}

/// What stays of a category of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The category.
    pub category: String,
    /// Messages go when they are older.
    pub age: Option<Duration>,
    /// The oldest go while there are more.
    pub count: Option<u64>,
}

/// Which of the traces that begin here are recorded whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// So many of a million.
    Millionths(u32),
    /// So many a second.
    PerSecond(u32),
}

/// How services are told the span that theirs belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// By `traceparent` and the single `b3`.
    #[default]
    Both,
    /// By `traceparent`.
    W3c,
    /// By the single `b3`.
    B3,
    /// By `X-B3-TraceId` and its kin.
    B3Multi,
}

/// Where spans come in, which are recorded, and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Zipkin's API; `None` for none but that on the API's address.
    pub zipkin: Option<SocketAddr>,
    /// OTLP over HTTP; `None` for none but that on the API's address.
    pub otlp_http: Option<SocketAddr>,
    /// OTLP over gRPC; `None` for none.
    pub otlp_grpc: Option<SocketAddr>,
    /// Which of the traces that begin here are recorded whole.
    pub sample: Sample,
    /// How services are told the span that theirs belong to.
    pub propagation: Propagation,
    /// The database that keeps them; `None`: files in `dir`.
    pub store: Option<StoreUrl>,
    /// Where they are kept.
    pub dir: PathBuf,
    /// How long they are kept.
    pub keep_age: Duration,
    /// How many bytes of them are kept.
    pub keep_size: u64,
    /// Whether ids of 64 and of 128 bits that end alike are different traces.
    pub strict_trace_id: bool,
    /// A collector that they are sent on to.
    pub forward: Option<String>,
    /// Tags whose values are offered.
    pub autocomplete: Vec<String>,
    /// Pages of which origins may call; `*` stands for all.
    pub origins: Vec<String>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
    /// Whether each request leaves a line.
    pub access: bool,
    /// Whether the query is left out of the access log.
    pub strip_query: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Aligned and coloured, for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Bounds on what comes from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a request's head (request line and headers).
    pub header_bytes: u64,
    /// Most bytes of a request's body; `None`: no bound.
    pub body_bytes: Option<u64>,
    /// Longest wait for a request's head.
    pub header_timeout: Duration,
    /// Longest wait for the whole request.
    pub read_timeout: Duration,
    /// Longest wait for the client to take the response.
    pub write_timeout: Duration,
    /// How long an idle client connection is kept.
    pub idle_timeout: Duration,
    /// Most open client connections of a worker.
    pub connections: u32,
    /// How long requests under way may take when we stop.
    pub drain_timeout: Duration,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            store: None,
            dir: PathBuf::from(".tombolo/store"),
            messagedb: Some(SocketAddr::from(([127, 0, 0, 1], 5433))),
            sql_condition: false,
            keep: Vec::new(),
            outboxes: Vec::new(),
        }
    }
}

impl Default for Traces {
    fn default() -> Self {
        let usual = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        Self {
            zipkin: usual(9411),
            otlp_http: usual(4318),
            otlp_grpc: usual(4317),
            sample: Sample::PerSecond(1_000),
            propagation: Propagation::Both,
            store: None,
            dir: PathBuf::from(".tombolo/traces"),
            keep_age: Duration::from_secs(7 * 24 * 3_600),
            keep_size: 2 << 30,
            strict_trace_id: true,
            forward: None,
            autocomplete: Vec::new(),
            origins: Vec::new(),
        }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9090)),
            support: Some(SocketAddr::from(([127, 0, 0, 1], 9911))),
            api: SocketAddr::from(([127, 0, 0, 1], 4600)),
            ignore_trailing_slash: false,
            strict: false,
            workers: None,
            tls_cert: None,
            tls_key: None,
            flags: Vec::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, access: true, strip_query: false }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 << 10,
            body_bytes: None,
            header_timeout: Duration::from_mins(1),
            read_timeout: Duration::from_mins(5),
            write_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_mins(1),
            connections: 10_000,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            when: RestartWhen::Always,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            limit: 5,
        }
    }
}

impl Health {
    /// The defaults around a check.
    pub fn of(check: Check) -> Self {
        Self {
            check,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            failures: 3,
            start_period: Duration::from_secs(30),
        }
    }
}

impl Command {
    /// The defaults around a command line.
    pub fn of(run: Vec<String>) -> Self {
        Self {
            run,
            build: None,
            dir: None,
            env: BTreeMap::new(),
            env_file: Vec::new(),
            port: None,
            health: None,
            depends_on: Vec::new(),
            restart: Restart::default(),
            replicas: 1,
            stop_grace: Duration::from_secs(10),
            watch: Vec::new(),
        }
    }
}
