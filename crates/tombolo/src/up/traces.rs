//! The spans of a running `tombolo up`: the store in its directory or in PostgreSQL, Zipkin's API and OTLP on ports of their own and on
//! the API's address.

use super::consumers;
use super::plan::Plan;
use super::screen::Screen;
use crate::term::{self, GREEN, paint};
use crate::wiring::{World, name_listener};
use base::{Clock, Fault, Kind, OnError, Scope};
use std::net::SocketAddr;
use std::time::Duration;
use store::Time;
use telemetry::metrics::{self, Metric};
use telemetry::otlp::{Collector, News};
use telemetry::spans::{Counts, Recorder, Sample, Settings, SpanStore};
use telemetry::{Guard, Propagation, otlp, zipkin};
use wire::{Drainer, Handler, Limits, Request, Response};

/// Bytes of spans that may wait for a collector.
const FORWARD_BYTES_MAX: usize = 16 << 20;
/// Longest wait for a collector to take what waits when everything stops.
const FORWARD_END: Duration = Duration::from_secs(3);
/// Longest wait for what waits to be written when everything stops.
const FLUSH_END: Duration = Duration::from_secs(10);
/// How often it is looked whether spans can be written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Holds what a collector wants to know (OpenTelemetry's specification of exporters).
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// What is open of them.
pub(crate) struct Traces {
    pub(crate) apis: Apis,
    pub(crate) doors: Doors,
    pub(crate) store: SpanStore,
    /// Takes the spans of what is carried.
    recorder: Recorder,
    /// Ends the servers: they outlive the services, which report until they end.
    drainer: Drainer,
    scope: Scope,
    /// What is sent on to a collector, after the last span came in.
    forwarding: Scope,
}

/// Where spans come in, on ports of their own.
#[derive(Clone, Copy, Default)]
pub(crate) struct Doors {
    zipkin: Option<SocketAddr>,
    otlp_http: Option<SocketAddr>,
    otlp_grpc: Option<SocketAddr>,
}

impl Doors {
    /// Those that are open, under the names that people are shown.
    pub(crate) fn named(self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let doors = [("zipkin", self.zipkin), ("otlp", self.otlp_http), ("grpc", self.otlp_grpc)];
        doors.into_iter().filter_map(|(name, door)| Some((name, door?)))
    }

    /// What OpenTelemetry's libraries read: under which name a service reports its spans, and where to. What the
    /// environment says already stays.
    pub(crate) fn variables(self, service: &str) -> impl Iterator<Item = (String, String)> {
        let otlp = self.otlp_http.map(|address| format!("http://{address}"));
        let protocol = otlp.as_ref().map(|_| "http/protobuf".to_owned());
        let name = self.named().next().map(|_| service.to_owned());
        let variables = [
            ("OTEL_SERVICE_NAME", name),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", otlp),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ];
        let is_free = |(name, _): &(&str, _)| std::env::var_os(name).is_none();
        variables.into_iter().filter(is_free).filter_map(|(name, value)| Some((name.to_owned(), value?)))
    }
}

/// What answers calls.
#[derive(Clone)]
pub(crate) struct Apis {
    zipkin: zipkin::Api,
    otlp: otlp::Api,
}

/// Whether a path of the API's address is about spans.
pub(crate) fn has(path: &str) -> bool {
    zipkin::Api::has(path) || otlp::Api::has(path)
}

impl Apis {
    /// Answers a call for a path that this [`has`].
    pub(crate) async fn answer(&self, request: Request) -> Response {
        if otlp::Api::has(request.uri().path()) {
            return self.otlp.answer(request).await;
        }
        self.zipkin.answer(request).await
    }
}

/// How requests leave spans, if the manifest asks for traces. They wait until [`Traces::open`].
pub(crate) fn spans(plan: &Plan, world: &World) -> Option<proxy::Spans> {
    let wished = plan.manifest.traces.as_ref()?;
    Some(proxy::Spans {
        recorder: Recorder::new(world.workers.count()),
        sample: match wished.sample {
            manifest::Sample::Millionths(share) => Sample::Share(f64::from(share) / 1e6),
            manifest::Sample::PerSecond(rate) => Sample::PerSecond(rate),
        },
        propagation: match wished.propagation {
            manifest::Propagation::Both => Propagation::Both,
            manifest::Propagation::W3c => Propagation::W3c,
            manifest::Propagation::B3 => Propagation::B3,
            manifest::Propagation::B3Multi => Propagation::B3Multi,
        },
        service: telemetry::GATEWAY,
        caller: |caller| if consumers::is_one(caller) { streams::SERVICE } else { caller },
    })
}

impl Traces {
    /// Opens the store and the ports that the manifest asks for, if it does, and has all spans kept that the
    /// recorder takes.
    pub(crate) async fn open(
        plan: &Plan,
        world: &World,
        screen: &Screen,
        recorder: Option<Recorder>,
    ) -> Result<Option<Self>, Fault> {
        let (Some(wished), Some(recorder)) = (&plan.manifest.traces, recorder) else { return Ok(None) };
        let settings = Settings {
            keep_age: wished.keep_age,
            keep_bytes: wished.keep_size,
            strict_trace_id: wished.strict_trace_id,
            autocomplete_keys: wished.autocomplete.clone(),
            ..Settings::default()
        };
        let guard = Guard { origins: wished.origins.clone() };
        let clock = world.clock.clone();
        let (store, notes) = match &wished.store {
            Some(url) => SpanStore::open_postgres(&url.0, settings, clock, Time::Server).await?,
            None => SpanStore::open(&plan.folder.join(&wished.dir), settings, clock)?,
        };
        for note in &notes {
            screen.note(note);
        }
        let collector = wished.forward.as_deref().map(collector).transpose()?;
        let apis = Apis {
            zipkin: zipkin::Api::new(
                store.clone(),
                zipkin::Options { guard: guard.clone(), ..zipkin::Options::default() },
            ),
            otlp: otlp::Api::new(store.clone(), guard),
        };
        let (drainer, drain) = Drainer::new();
        let (scope, forwarding) = (super::streams::new_scope(world), super::streams::new_scope(world));
        let usual = manifest::Traces::default();
        let open = Open { screen, scope: &scope, drain };
        let doors = Doors {
            zipkin: open.door("Zipkin's API", wished.zipkin, usual.zipkin, &apis.zipkin)?,
            otlp_http: open.door("OTLP over HTTP", wished.otlp_http, usual.otlp_http, &apis.otlp)?,
            otlp_grpc: open.door("OTLP over gRPC", wished.otlp_grpc, usual.otlp_grpc, &apis.otlp)?,
        };
        if let Some(collector) = collector {
            let own = doors.named().map(|(_, door)| door).chain([plan.manifest.gateway.api]);
            if own.into_iter().any(|door| collector.is_at(door)) {
                return Err(Fault::new(
                    Kind::Invalid,
                    "`forward` of `traces` is where spans come in: they would come back for ever",
                )
                .hint("name another collector, or leave `forward` out"));
            }
            let follower = store.follow(FORWARD_BYTES_MAX);
            let (clock, chance) = (world.clock.clone(), world.chance.clone());
            let sends = otlp::forward(follower, collector, clock, chance, tell);
            forwarding.spawn_once("forward spans", OnError::Report, sends);
        }
        let (trouble, clock) = (store.trouble_later(), world.clock.clone());
        scope.spawn_once("watch spans", OnError::Report, watch(trouble, clock));
        recorder.offer_to(store.clone())?;
        count(world, &recorder, &store);
        Ok(Some(Self { apis, doors, store, recorder, drainer, scope, forwarding }))
    }

    /// Tells clients to go, waits until they have gone, and makes durable what they brought.
    pub(crate) async fn close(self, grace: Duration) {
        self.drainer.drain();
        self.scope.stop(grace).await;
        let recorder = self.recorder;
        // Without it the last spans are lost, and nothing else.
        drop(tokio::task::spawn_blocking(move || recorder.stop(grace)).await);
        self.store.end_following();
        self.forwarding.stop(FORWARD_END).await;
        // A database that is away does not hold up the end.
        drop(tokio::time::timeout(FLUSH_END, self.store.flush()).await);
        if let Some(trouble) = self.store.trouble().filter(|_| self.store.counts().waiting_bytes > 0) {
            term::warning(&format!("the last spans are lost: {trouble}"), None);
        }
    }
}

/// Says when spans can't be written any more, and when they can again.
async fn watch(trouble: impl Fn() -> Option<String>, clock: Clock) -> Result<(), Fault> {
    let mut is_told = false;
    loop {
        match trouble() {
            Some(trouble) if !is_told => {
                is_told = true;
                term::warning(&format!("spans can't be written, and wait: {trouble}"), None);
            }
            None if is_told => {
                is_told = false;
                term::err(format_args!("{}: spans are written again", paint(GREEN, "info")));
            }
            _ => {}
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// Has the metrics say what came of spans.
fn count(world: &World, recorder: &Recorder, store: &SpanStore) {
    let ask = |metric: Metric, number: fn(Counts, &Recorder) -> u64| {
        let (recorder, counts) = (recorder.clone(), store.count_later());
        world.metrics.ask(metric, move |samples| samples.add(&[], number(counts(), &recorder) as f64));
    };
    ask(metrics::TRACES_LEFT_OUT, |_, recorder| recorder.left_out());
    ask(metrics::SPANS_RECORDED, |_, recorder| recorder.recorded());
    ask(metrics::SPANS_KEPT, |counts, _| counts.kept);
    ask(metrics::SPANS_DROPPED, |counts, recorder| counts.dropped + recorder.dropped());
    ask(metrics::SPANS_REMOVED, |counts, _| counts.removed);
    ask(metrics::SPANS_WAITING, |counts, recorder| counts.waiting_bytes + recorder.waiting_bytes() as u64);
}

/// The collector at an address, with what the environment holds for it.
fn collector(url: &str) -> Result<Collector, Fault> {
    Collector::new(url, &std::env::var(HEADERS).unwrap_or_default())
}

/// Says what became of spans that are sent on.
fn tell(news: News) {
    match news {
        News::Away(fault) => {
            term::warning(&format!("spans wait for their collector: {fault}"), fault.hint.as_deref());
        }
        News::Refused(fault) => {
            term::warning(&format!("spans are not sent on: {fault}"), fault.hint.as_deref());
        }
        News::Back => term::err(format_args!("{}: the collector takes spans again", paint(GREEN, "info"))),
        News::Lost(count) => {
            term::warning(&format!("{count} spans were not sent on, and are kept here alone"), None);
        }
    }
}

/// What doors are opened with.
struct Open<'a> {
    screen: &'a Screen,
    scope: &'a Scope,
    drain: wire::Drain,
}

impl Open<'_> {
    /// Serves on an address, if that is wished for. The usual port may be another's; then it is not served.
    fn door(
        &self,
        what: &'static str,
        wished: Option<SocketAddr>,
        usual: Option<SocketAddr>,
        api: &impl Handler,
    ) -> Result<Option<SocketAddr>, Fault> {
        let Some(address) = wished else { return Ok(None) };
        let listener = match wire::bind(address) {
            Ok(listener) => listener,
            Err(fault) if fault.kind == Kind::Conflict && wished == usual => {
                let message = name_listener(fault, address, what).message;
                self.screen.note(&format!("{message}; it is not served"));
                return Ok(None);
            }
            Err(fault) => return Err(name_listener(fault, address, what)),
        };
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let serve = wire::serve(listener, None, None, Limits::default(), api.clone(), self.drain.clone());
        self.scope.spawn_once(what, OnError::Report, serve);
        Ok(Some(address))
    }
}
