//! The keys of the manifest, section by section: the one table that the reader, the check for unknown keys,
//! the JSON Schema and the reference page follow. A new key is a line here and a field in `values.rs`; those of
//! streams and consumers stand in files of their own, with how their kinds are read.

use crate::consumers::CONSUMER;
use crate::draft::{HealthDraft, ManifestDraft, RoutesDraft, ServiceDraft};
use crate::kinds::{Kind, RESTARTS};
use crate::reader::Reader;
use crate::streams::{KEEP, OUTBOX, STREAMS};
use crate::values::{Gateway, Limits, Log, LogFormat, Propagation, Restart, RestartWhen, Streams, Traces};
use crate::yaml::Node;
use std::time::Duration;

/// A map with known keys.
pub(crate) struct Section<T: 'static> {
    /// Its name in the schema and the reference page.
    pub(crate) name: &'static str,
    /// What it is, in a sentence or two.
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [Field<T>],
}

/// One key: what is told about it, and how its value gets into `T`.
pub(crate) struct Field<T> {
    pub(crate) about: About,
    pub(crate) put: fn(&mut Reader, &Node, &mut T),
}

/// What is told about a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// As it would be written; empty where there is none.
    pub(crate) default: &'static str,
    /// What stands for the default where it can't be written; empty otherwise.
    pub(crate) default_note: &'static str,
    /// A value as it would be written behind the key.
    pub(crate) example: &'static str,
    /// The first sentence stands in editors and tables.
    pub(crate) doc: &'static str,
}

/// A section without the type it fills.
pub(crate) struct SectionAbout {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) fields: Vec<About>,
}

/// All sections, in the order of the reference page.
pub(crate) fn sections() -> Vec<SectionAbout> {
    vec![
        MANIFEST.about(),
        SERVICE.about(),
        HEALTH.about(),
        RESTART.about(),
        ROUTES.about(),
        GATEWAY.about(),
        STREAMS.about(),
        TRACES.about(),
        KEEP.about(),
        OUTBOX.about(),
        CONSUMER.about(),
        LOG.about(),
        LIMITS.about(),
    ]
}

impl<T> Section<T> {
    fn about(&self) -> SectionAbout {
        SectionAbout { name: self.name, doc: self.doc, fields: self.fields.iter().map(|f| f.about).collect() }
    }
}

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

pub(crate) static MANIFEST: Section<ManifestDraft> = Section {
    name: "manifest",
    doc: "The whole file. Keys that begin with `x-` are yours: a place for anchors, and otherwise left alone.",
    fields: &[
        key("name", Kind::Text)
            .default_note("the folder's name")
            .example("shop")
            .doc("What this is called, for people.")
            .put(|r, node, m| m.name = r.text(node)),
        key("services", Kind::Services)
            .example("{web: {run: npm start}}")
            .doc("What runs here or is called from here, by name.")
            .put(Reader::services),
        key("routes", Kind::Routes)
            .example("routes.eskip")
            .doc(
                "The gateway's routes in eskip. A text that holds `->` or several lines is eskip, \
                 any other the name of a file of it; a list may hold both. A route reaches a \
                 service with the backend `\"service://NAME\"`.",
            )
            .put(Reader::routes),
        key("gateway", Kind::Section("gateway"))
            .example("{address: '0.0.0.0:8080'}")
            .doc("Where traffic comes in.")
            .put(|r, node, m| {
                m.gateway.given = r.section(&GATEWAY, node, &mut m.gateway.value);
            }),
        key("streams", Kind::Section("streams"))
            .example("{messagedb: '127.0.0.1:5433'}")
            .doc("Streams of messages are kept and served. Without this key there are none.")
            .put(|r, node, m| {
                let mut streams = Streams::default();
                let given = r.section(&STREAMS, node, &mut streams);
                m.streams = Some((streams, given));
            }),
        key("consumers", Kind::Consumers)
            .example("{billing: {category: order}}")
            .doc(
                "Who handles the messages of streams, by name. A manifest with consumers has streams, as with \
                 `streams: {}`.",
            )
            .put(Reader::consumers),
        key("traces", Kind::Section("traces"))
            .example("{keep_age: 24h}")
            .doc("Spans of services are taken, kept and served. Without this key they are not.")
            .put(|r, node, m| {
                let mut traces = Traces::default();
                let given = r.section(&TRACES, node, &mut traces);
                m.traces = Some((traces, given));
            }),
        key("log", Kind::Section("log")).example("{format: json}").doc("What is logged, and how.").put(
            |r, node, m| {
                r.section(&LOG, node, &mut m.log);
            },
        ),
        key("limits", Kind::Section("limits"))
            .example("{body_bytes: 10MiB}")
            .doc("Bounds on what comes from outside.")
            .put(|r, node, m| {
                r.section(&LIMITS, node, &mut m.limits);
            }),
    ],
};

pub(crate) static SERVICE: Section<ServiceDraft> = Section {
    name: "service",
    doc: "Something with instances: run by Tombolo (`run`) or by somebody else (`at`), one of the two. Its name \
          is made of lower-case letters, digits and dashes, begins with a letter and has at most 63 characters.",
    fields: &[
        key("run", Kind::Command)
            .example("npm start")
            .doc(
                "What starts it. A text goes to `/bin/sh -c`; a list is the program and its \
                 arguments.",
            )
            .put(|r, node, s| s.run = r.command(node)),
        key("at", Kind::Urls)
            .example("http://10.0.0.5:8080")
            .doc(
                "Where it is found when somebody else runs it. One URL or a list, without a path; \
                 only `calls` and `filters` may stand beside it.",
            )
            .put(|r, node, s| s.at = r.urls(node)),
        key("build", Kind::Command)
            .example("npm install")
            .doc(
                "What is run to its end before the first start, and again when a watched file \
                 changes.",
            )
            .put(|r, node, s| s.command.build = r.command(node)),
        key("dir", Kind::Path)
            .default_note("the manifest's folder")
            .example("services/web")
            .doc("The folder it runs in, relative to the manifest's.")
            .put(|r, node, s| s.command.dir = r.path(node)),
        key("env", Kind::Env)
            .example("{LOG_LEVEL: debug}")
            .doc("Variables set for it. Numbers and booleans are taken as they are written.")
            .put(|r, node, s| s.env = r.env(node)),
        key("env_file", Kind::Paths)
            .example(".env")
            .doc(
                "Files of `NAME=value` lines, relative to the manifest's folder. Later files win, \
                 `env` over all.",
            )
            .put(|r, node, s| s.command.env_file = r.paths(node)),
        key("port", Kind::Port)
            .default_note("assigned")
            .example("3000")
            .doc(
                "The port it listens on. Left out, a free one is assigned and given to it as \
                 `PORT`.",
            )
            .put(|r, node, s| s.port = r.port(node)),
        key("health", Kind::Health)
            .default("tcp")
            .example("/healthz")
            .doc(
                "How to know that it can serve. `/path`: an HTTP GET answers 200 to 399; `tcp`: \
                 its port accepts a connection; or a map.",
            )
            .put(|r, node, s| s.command.health = r.health(node)),
        key("depends_on", Kind::DependsOn)
            .example("[cart]")
            .doc(
                "What must be there before it starts. A list waits until each is healthy; a map \
                 says `started` or `healthy` for each.",
            )
            .put(|r, node, s| s.depends_on = r.depends_on(node)),
        key("restart", Kind::Restart)
            .default("always")
            .example("on-failure")
            .doc("What happens when it ends. `always`, `on-failure`, `never`, or a map.")
            .put(|r, node, s| {
                if let Some(restart) = r.restart(node) {
                    s.command.restart = restart;
                }
            }),
        key("replicas", Kind::Whole(1, 64))
            .default("1")
            .example("3")
            .doc("How many instances of it run. More than one needs an assigned port.")
            .put(|r, node, s| r.put(node, &mut s.command.replicas, Reader::whole)),
        key("stop_grace", Kind::Duration(Duration::ZERO, HOUR))
            .default("10s")
            .example("30s")
            .doc("How long it may take from SIGTERM to its end before it is killed.")
            .put(|r, node, s| {
                r.put(node, &mut s.command.stop_grace, Reader::duration);
            }),
        key("watch", Kind::Paths)
            .example("[src, package.json]")
            .doc("Files and folders whose change builds and restarts it.")
            .put(|r, node, s| s.command.watch = r.paths(node)),
        key("calls", Kind::Names)
            .example("[cart, payment-api]")
            .doc(
                "Services it may call. For each it is given a URL as `NAME_URL`: `payment-api` \
                 becomes `PAYMENT_API_URL`.",
            )
            .put(|r, node, s| s.calls = r.names(node)),
        key("filters", Kind::Filters)
            .example("retry(2) -> backendTimeout(\"2s\")")
            .doc("eskip filters for every call that other services make to it through `calls`.")
            .put(|r, node, s| s.filters = r.inline(node)),
    ],
};

pub(crate) static HEALTH: Section<HealthDraft> = Section {
    name: "health",
    doc: "How to know that a service can serve. One of `http`, `tcp` and `command`; without any of them, `tcp`.",
    fields: &[
        key("http", Kind::HttpPath)
            .example("/healthz")
            .doc("A GET of this path answers 200 to 399.")
            .put(|r, node, h| h.http = r.http_path(node)),
        key("tcp", Kind::Flag)
            .example("true")
            .doc("The port accepts a connection.")
            .put(|r, node, h| h.tcp = r.flag(node)),
        key("command", Kind::Command)
            .example("[pg_isready, -q]")
            .doc("The command ends with status 0.")
            .put(|r, node, h| h.command = r.command(node)),
        key("interval", Kind::Duration(Duration::from_millis(100), HOUR))
            .default("1s")
            .example("5s")
            .doc("The time between two checks.")
            .put(|r, node, h| {
                r.put(node, &mut h.times.interval, Reader::duration);
            }),
        key("timeout", Kind::Duration(MS, HOUR))
            .default("2s")
            .example("500ms")
            .doc("The time for one check.")
            .put(|r, node, h| r.put(node, &mut h.times.timeout, Reader::duration)),
        key("failures", Kind::Whole(1, 1000))
            .default("3")
            .example("5")
            .doc("So many failures in a row make it unhealthy.")
            .put(|r, node, h| r.put(node, &mut h.times.failures, Reader::whole)),
        key("start_period", Kind::Duration(Duration::ZERO, DAY))
            .default("30s")
            .example("2m")
            .doc("For so long after its start failures do not count.")
            .put(|r, node, h| {
                r.put(node, &mut h.times.start_period, Reader::duration);
            }),
    ],
};

pub(crate) static RESTART: Section<Restart> = Section {
    name: "restart",
    doc: "What happens when an instance ends: a pause, then it begins anew.",
    fields: &[
        key("when", Kind::Word(RESTARTS))
            .default("always")
            .example("on-failure")
            .doc(
                "`always`: whatever its exit status; `on-failure`: only if that is not 0; \
                 `never`.",
            )
            .put(|r, node, restart| {
                if let Some(word) = r.word(node) {
                    restart.when = match word {
                        "never" => RestartWhen::Never,
                        "on-failure" => RestartWhen::OnFailure,
                        _ => RestartWhen::Always,
                    };
                }
            }),
        key("backoff", Kind::Duration(MS, HOUR))
            .default("500ms")
            .example("1s")
            .doc("The first pause. It doubles with each restart.")
            .put(|r, node, restart| {
                r.put(node, &mut restart.backoff, Reader::duration);
            }),
        key("backoff_max", Kind::Duration(MS, HOUR))
            .default("30s")
            .example("1m")
            .doc("The longest pause.")
            .put(|r, node, restart| {
                r.put(node, &mut restart.backoff_max, Reader::duration);
            }),
        key("limit", Kind::Whole(0, 1_000_000))
            .default("5")
            .example("10")
            .doc(
                "After so many restarts without a healthy time as long as `backoff_max` in \
                 between, it is left ended and called crash-looping. 0: it is never given up.",
            )
            .put(|r, node, restart| {
                r.put(node, &mut restart.limit, Reader::whole);
            }),
    ],
};

pub(crate) static ROUTES: Section<RoutesDraft> = Section {
    name: "routes",
    doc: "An entry of `routes` that says itself what it is: one of `inline` and `file`.",
    fields: &[
        key("inline", Kind::Filters)
            .example("'* -> <shunt>'")
            .doc("eskip, written here.")
            .put(|r, node, routes| routes.inline = r.inline(node)),
        key("file", Kind::Path)
            .example("routes.eskip")
            .doc("A file of eskip, relative to the manifest's folder.")
            .put(|r, node, routes| routes.file = r.path(node).map(|path| (path, node.span.clone()))),
    ],
};

pub(crate) static GATEWAY: Section<Gateway> = Section {
    name: "gateway",
    doc: "Where traffic comes in, and how routes are looked up.",
    fields: &[
        key("address", Kind::Address)
            .default("127.0.0.1:9090")
            .example("0.0.0.0:8080")
            .doc(
                "Where traffic comes in. `0.0.0.0:PORT` or `[::]:PORT` takes it from other \
                 machines too.",
            )
            .put(|r, node, g| r.put(node, &mut g.address, Reader::address)),
        key("support", Kind::LocalOrOff)
            .default("127.0.0.1:9911")
            .example("off")
            .doc("The support listener with routes and metrics. `off`: none.")
            .put(|r, node, g| r.put_address_or_off(node, &mut g.support)),
        key("api", Kind::Local)
            .default("127.0.0.1:4600")
            .example("127.0.0.1:4601")
            .doc("The API that `tombolo status` and the console ask.")
            .put(|r, node, g| r.put(node, &mut g.api, Reader::address)),
        key("ignore_trailing_slash", Kind::Flag)
            .default("false")
            .example("true")
            .doc("`/a` and `/a/` are one path.")
            .put(|r, node, g| {
                r.put(node, &mut g.ignore_trailing_slash, Reader::flag);
            }),
        key("strict", Kind::Flag)
            .default("false")
            .example("true")
            .doc("One bad route refuses the whole new table. Otherwise it alone is left out.")
            .put(|r, node, g| r.put(node, &mut g.strict, Reader::flag)),
        key("workers", Kind::Whole(1, 1024))
            .default_note("one for each core")
            .example("4")
            .doc("Threads that carry traffic.")
            .put(|r, node, g| g.workers = r.whole(node)),
        key("tls_cert", Kind::Path)
            .example("tls/server.pem")
            .doc("PEM file of the certificate chain. With `tls_key`, HTTPS is served.")
            .put(|r, node, g| g.tls_cert = r.path(node)),
        key("tls_key", Kind::Path)
            .example("tls/server.key")
            .doc("PEM file of the private key.")
            .put(|r, node, g| g.tls_key = r.path(node)),
        key("flags", Kind::Texts)
            .default_note("none")
            .example("[-forwarded-headers=X-Forwarded-For, '-passive-health-check=period=1s,min-requests=10,max-drop-probability=0.9']")
            .doc(
                "Flags of `tombolo gateway` for what has no key of its own, Skipper's among them: breakers, passive \
                 health, time-outs of backends, default filters, protocols. A list of `-name=value` and `-name`. What \
                 they say of backends holds for the calls between services, too.",
            )
            .put(|r, node, g| g.flags = r.flags(node)),
    ],
};

pub(crate) static TRACES: Section<Traces> = Section {
    name: "traces",
    doc: "Where spans come in (the API's address takes them as well), which are recorded of what is carried, and how \
          long they are kept.",
    fields: &[
        key("zipkin", Kind::LocalOrOff)
            .default("127.0.0.1:9411")
            .example("off")
            .doc("Zipkin's API over HTTP and gRPC: spans in, traces and dependencies out. `off`: no port of its own.")
            .put(|r, node, t| r.put_address_or_off(node, &mut t.zipkin)),
        key("otlp_http", Kind::LocalOrOff)
            .default("127.0.0.1:4318")
            .example("off")
            .doc("OTLP over HTTP, in protobuf and JSON; traces alone. `off`: no port of its own.")
            .put(|r, node, t| r.put_address_or_off(node, &mut t.otlp_http)),
        key("otlp_grpc", Kind::LocalOrOff)
            .default("127.0.0.1:4317")
            .example("off")
            .doc("OTLP over gRPC; traces alone. `off`: none.")
            .put(|r, node, t| r.put_address_or_off(node, &mut t.otlp_grpc)),
        key("sample", Kind::Sample)
            .default("1000/s")
            .example("0.05")
            .doc(
                "Which of the traces that begin here are recorded whole: so many a second, of which each worker has its \
                 part, or a share of them; `1` is all. Requests that failed, the slowest hundredth of each route and \
                 what is rare leave their own spans in any case; the filter `tracingSampleRate` sets the share of a \
                 route.",
            )
            .put(|r, node, t| r.put(node, &mut t.sample, Reader::sample)),
        key("propagation", Kind::Word(&["both", "w3c", "b3", "b3multi"]))
            .default("both")
            .example("w3c")
            .doc(
                "How services are told the span that theirs belong to: by `traceparent` and `b3`, by one of these, or \
                 by `X-B3-TraceId` and its kin; always also by those that came in.",
            )
            .put(|r, node, t| {
                if let Some(word) = r.word(node) {
                    t.propagation = match word {
                        "w3c" => Propagation::W3c,
                        "b3" => Propagation::B3,
                        "b3multi" => Propagation::B3Multi,
                        _ => Propagation::Both,
                    };
                }
            }),
        key("store", Kind::StoreUrlOrFiles)
            .default_note("where `streams` are kept")
            .example("postgres://tombolo@db.internal:5432/tombolo")
            .doc(
                "The PostgreSQL database that keeps the spans, which several nodes may share; or `files`, for files in \
                 `dir`. Without this key it is the database of `streams`, if they have one and no `dir` is given here. \
                 Without a password in it the variable `PGPASSWORD` or the password file holds it.",
            )
            .put(|r, node, t| t.store = r.database_or_files(node, "write `files` to keep spans in files of `dir`")),
        key("dir", Kind::Path)
            .default(".tombolo/traces")
            .example("/var/lib/tombolo/traces")
            .doc("The directory that spans are kept in, where that is no database; nothing else may be in it.")
            .put(|r, node, t| r.put(node, &mut t.dir, Reader::path)),
        key("keep_age", Kind::Duration(Duration::from_secs(60), Duration::from_secs(3_650 * 24 * 3_600)))
            .default("168h")
            .example("24h")
            .doc("How long spans are kept.")
            .put(|r, node, t| r.put(node, &mut t.keep_age, Reader::duration)),
        key("keep_size", Kind::Size(64 << 20, 1 << 43))
            .default("2GiB")
            .example("500MiB")
            .doc(
                "How many bytes of spans are kept on the disk, or in the database by all nodes together; the oldest go \
                 first, an eighth or less at a time.",
            )
            .put(|r, node, t| r.put(node, &mut t.keep_size, Reader::size)),
        key("strict_trace_id", Kind::Flag)
            .default("true")
            .example("false")
            .doc(
                "Ids of traces are compared whole. `false`: by their last 64 bits, for services of which some cut ids \
                 off.",
            )
            .put(|r, node, t| r.put(node, &mut t.strict_trace_id, Reader::flag)),
        key("forward", Kind::Url)
            .default_note("nowhere")
            .example("http://collector.internal:4318")
            .doc(
                "A collector that all spans are sent on to, over OTLP/HTTP; without a path at `/v1/traces`. The \
                 variable `OTEL_EXPORTER_OTLP_HEADERS` holds what else it wants to know.",
            )
            .put(|r, node, t| t.forward = r.url(node)),
        key("autocomplete", Kind::Texts)
            .default_note("none")
            .example("[environment, http.method]")
            .doc("Tags whose values Zipkin's API offers to those who type a question.")
            .put(|r, node, t| t.autocomplete = r.texts(node)),
        key("origins", Kind::Texts)
            .default_note("none")
            .example("['http://localhost:3000']")
            .doc("Pages of these origins may report spans and ask for them from a browser; `*` stands for all.")
            .put(|r, node, t| t.origins = r.texts(node)),
    ],
};

pub(crate) static LOG: Section<Log> = Section {
    name: "log",
    doc: "What is logged, and how.",
    fields: &[
        key("format", Kind::Word(&["text", "json"]))
            .default("text")
            .example("json")
            .doc("`text` for people, `json` for machines.")
            .put(|r, node, log| {
                if let Some(word) = r.word(node) {
                    log.format = if word == "json" { LogFormat::Json } else { LogFormat::Text };
                }
            }),
        key("access", Kind::Flag)
            .default("true")
            .example("false")
            .doc("Each request leaves a line.")
            .put(|r, node, log| r.put(node, &mut log.access, Reader::flag)),
        key("strip_query", Kind::Flag)
            .default("false")
            .example("true")
            .doc("The query is left out of the access log.")
            .put(|r, node, log| r.put(node, &mut log.strip_query, Reader::flag)),
    ],
};

pub(crate) static LIMITS: Section<Limits> = Section {
    name: "limits",
    doc: "Bounds on what comes from outside.",
    fields: &[
        key("header_bytes", Kind::Size(1 << 10, 16 << 20))
            .default("64KiB")
            .example("32KiB")
            .doc("Most bytes of a request's line and headers.")
            .put(|r, node, l| r.put(node, &mut l.header_bytes, Reader::size)),
        key("body_bytes", Kind::Size(1, 1 << 40))
            .default_note("no bound")
            .example("10MiB")
            .doc("Most bytes of a request's body.")
            .put(|r, node, l| l.body_bytes = r.size(node)),
        key("header_timeout", Kind::Duration(MS, DAY))
            .default("1m")
            .example("10s")
            .doc("The longest wait for a request's headers.")
            .put(|r, node, l| r.put(node, &mut l.header_timeout, Reader::duration)),
        key("read_timeout", Kind::Duration(MS, DAY))
            .default("5m")
            .example("30s")
            .doc("The longest wait for a whole request.")
            .put(|r, node, l| r.put(node, &mut l.read_timeout, Reader::duration)),
        key("write_timeout", Kind::Duration(MS, DAY))
            .default("1m")
            .example("30s")
            .doc("The longest wait for a client to take the response.")
            .put(|r, node, l| r.put(node, &mut l.write_timeout, Reader::duration)),
        key("idle_timeout", Kind::Duration(MS, DAY))
            .default("1m")
            .example("2m")
            .doc("How long an idle client connection is kept.")
            .put(|r, node, l| r.put(node, &mut l.idle_timeout, Reader::duration)),
        key("connections", Kind::Whole(1, 10_000_000))
            .default("10000")
            .example("1000")
            .doc("Most open client connections of a worker.")
            .put(|r, node, l| r.put(node, &mut l.connections, Reader::whole)),
        key("drain_timeout", Kind::Duration(Duration::ZERO, HOUR))
            .default("10s")
            .example("30s")
            .doc("How long requests under way may take when the gateway stops.")
            .put(|r, node, l| {
                r.put(node, &mut l.drain_timeout, Reader::duration);
            }),
    ],
};

pub(crate) const fn key(name: &'static str, kind: Kind) -> About {
    About { name, kind, default: "", default_note: "", example: "", doc: "" }
}

impl About {
    pub(crate) const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    pub(crate) const fn default_note(self, default_note: &'static str) -> Self {
        Self { default_note, ..self }
    }

    pub(crate) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    pub(crate) const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    pub(crate) const fn put<T>(self, put: fn(&mut Reader, &Node, &mut T)) -> Field<T> {
        Field { about: self, put }
    }
}
