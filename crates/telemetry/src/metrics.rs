//! Metrics of the request plane, in Prometheus' text format. The data path counts into parts that belong to
//! its worker's thread alone; whoever scrapes adds the parts up.
//!
//! Bounds: [`ROUTES_MAX`] routes, and within each route [`SERIES_MAX`] pairs of status and method,
//! [`HOSTS_MAX`] backend hosts and [`CAUSES_MAX`] causes per worker; [`LABEL_SETS_MAX`] sets of labels for any
//! other metric, [`TIMERS_MAX`] for a histogram. What comes beyond is counted under `_other`. The meter of a route that left the table is
//! shown to one more scrape and then forgotten.

mod chain;
mod families;
mod histogram;
mod owner;
mod process;
mod route;
mod table;
mod text;
mod totals;

pub use families::{Counter, Gauge, LABEL_SETS_MAX, Samples, Sum, TIMERS_MAX, Timer};
pub use histogram::BUCKETS;
pub use route::{CAUSES_MAX, HOSTS_MAX, OTHER, RouteMeter, SERIES_MAX};
pub use table::*;
pub use text::Format;
pub use totals::{Durations, RouteTotals};

use crate::{GATEWAY, Record};
use base::UnixTime;
use families::Families;
use histogram::{Counts, Histogram};
use owner::Writer;
use process::Process;
use route::RouteCounts;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use text::Page;

/// Routes that are counted one by one; the rest share the meter `_other`.
pub const ROUTES_MAX: usize = 20_000;

/// All metrics of a process. Clones are the same metrics.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By number, and one for all other threads.
    workers: Box<[Arc<Worker>]>,
    routes: Mutex<BTreeMap<String, Arc<RouteMeter>>>,
    other: Arc<RouteMeter>,
    families: Families,
    mirrors_dropped: Counter,
}

/// What one worker counts of all routes together, in pairs of cache lines that others do not write.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Worker {
    lookup: Histogram,
    proxy_total: Histogram,
    backend_5xx: Histogram,
    unrouted: AtomicU64,
    /// Requests that have begun, and that have ended: maybe elsewhere than they began.
    begun: AtomicU64,
    ended: AtomicU64,
}

/// The metrics as one worker of the data path sees them. On the worker's thread it counts into parts that are
/// nobody else's; used on another thread it counts into those that are everybody's.
#[derive(Clone, Debug)]
pub struct WorkerMetrics {
    number: usize,
    part: Arc<Worker>,
    shared: Arc<Worker>,
}

type NumberOf = fn(&RouteCounts) -> u64;
type HistogramOf = fn(&Worker) -> &Histogram;

impl Metrics {
    /// Metrics for so many workers (at least one).
    pub fn new(workers: usize) -> Self {
        let workers = workers.max(1);
        let families = Families::default();
        let mirrors_dropped = families.counter(table::MIRRORS_DROPPED, &[]);
        Self(Arc::new(Inner {
            workers: (0..=workers).map(|_| Arc::default()).collect(),
            routes: Mutex::default(),
            other: Arc::new(RouteMeter::new(OTHER, workers)),
            families,
            mirrors_dropped,
        }))
    }

    /// How many workers there are metrics for.
    pub fn workers(&self) -> usize {
        self.0.workers.len() - 1
    }

    /// The metrics for worker number `number`, whose thread says so by [`this_thread_is`]. Numbers beyond the last
    /// have no parts of their own.
    pub fn worker(&self, number: usize) -> WorkerMetrics {
        let shared = &self.0.workers[self.workers()];
        let part = self.0.workers.get(number).unwrap_or(shared);
        WorkerMetrics { number, part: part.clone(), shared: shared.clone() }
    }

    /// The meter of a route, the same for the same id as long as a table or a scrape to come needs it.
    pub fn route(&self, id: &str) -> Arc<RouteMeter> {
        let mut routes = self.routes();
        if let Some(meter) = routes.get(id) {
            return meter.clone();
        }
        if routes.len() >= ROUTES_MAX {
            return self.0.other.clone();
        }
        let meter = Arc::new(RouteMeter::new(id, self.0.workers.len()));
        routes.insert(id.to_owned(), meter.clone());
        meter
    }

    /// Makes room if there is none: where nobody scrapes, the meters of routes that left the table must go
    /// without having been shown. Called when a table has been replaced.
    pub fn sweep(&self) {
        let mut routes = self.routes();
        if routes.len() >= ROUTES_MAX {
            routes.retain(|_, meter| Arc::strong_count(meter) > 1);
        }
    }

    /// A counter of this metric with these values of its labels; the same for the same values.
    ///
    /// # Panics
    /// When the values are not as many as the labels.
    pub fn counter(&self, metric: Metric, labels: &[&str]) -> Counter {
        self.0.families.counter(metric, labels)
    }

    /// A sum of this metric with these values of its labels; the same for the same values. One beyond
    /// [`LABEL_SETS_MAX`] is shown nowhere.
    ///
    /// # Panics
    /// When the values are not as many as the labels.
    pub fn sum(&self, metric: Metric, labels: &[&str]) -> Sum {
        self.0.families.sum(metric, labels)
    }

    /// A gauge of this metric with these values of its labels; the same for the same values.
    ///
    /// # Panics
    /// When the values are not as many as the labels.
    pub fn gauge(&self, metric: Metric, labels: &[&str]) -> Gauge {
        self.0.families.gauge(metric, labels)
    }

    /// A histogram of this metric with these values of its labels; the same for the same values.
    ///
    /// # Panics
    /// When the values are not as many as the labels.
    pub fn timer(&self, metric: Metric, labels: &[&str]) -> Timer {
        self.0.families.timer(metric, labels)
    }

    /// A metric whose numbers are asked for at each scrape, such as the states of all breakers.
    pub fn ask(&self, metric: Metric, ask: impl Fn(&mut Samples) + Send + Sync + 'static) {
        self.0.families.ask(metric, Box::new(ask));
    }

    /// Replaces the routes that are left out of the table, each with its id and the code of the reason.
    pub fn set_invalid<'a>(&self, routes: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let mut samples = Samples::default();
        for (id, reason) in routes {
            samples.add(&[reason, id], 1.0);
        }
        self.0.families.replace(table::ROUTE_INVALID, samples);
    }

    /// How many routes the table has, and since when.
    pub fn set_routes(&self, total: usize, at: UnixTime) {
        self.gauge(table::CUSTOM_GAUGES, &["routes.total"]).set(total as f64);
        self.gauge(table::CUSTOM_GAUGES, &["routes.updated_timestamp"]).set(at.0.as_secs_f64());
    }

    /// A mirrored request found no place.
    pub fn mirror_dropped(&self) {
        self.0.mirrors_dropped.increment();
    }

    /// The page for a scrape, in Prometheus' text format.
    pub fn expose(&self) -> String {
        self.expose_as(Format::Text)
    }

    /// The page for a scrape.
    pub fn expose_as(&self, format: Format) -> String {
        self.page(format, Process::read())
    }

    fn page(&self, format: Format, process: Process) -> String {
        let mut page = Page::new(format);
        self.write_routes(&mut page);
        self.write_workers(&mut page);
        self.0.families.write(&mut page);
        process.write(&mut page);
        page.finish()
    }

    fn write_routes(&self, page: &mut Page) {
        let meters: Vec<_> = {
            let mut routes = self.routes();
            let meters = routes.values().cloned().chain([self.0.other.clone()]).collect();
            // Held by the registry and by the list just made, but by no table.
            routes.retain(|_, meter| Arc::strong_count(meter) > 2);
            meters
        };
        let counts: Vec<(&str, RouteCounts)> =
            meters.iter().map(|meter| (meter.id(), meter.counts())).collect();
        write_edges(
            page,
            meters.iter().map(|meter| meter.callee()).zip(counts.iter().map(|(_, counts)| counts)),
        );
        page.head(table::ROUTE_DURATION);
        for (id, counts) in &counts {
            for ((code, method), served) in &counts.served {
                page.histogram(table::ROUTE_DURATION, &[code, *method, id], served);
            }
        }
        page.head(table::ROUTE_COUNT);
        for (id, counts) in &counts {
            for ((code, method), served) in &counts.served {
                page.count(table::ROUTE_COUNT, &[code, *method, id], served.count());
            }
        }
        page.head(table::BACKEND_DURATION);
        for (id, counts) in &counts {
            for (host, durations) in &counts.backends {
                page.histogram(table::BACKEND_DURATION, &[host, *id], durations);
            }
        }
        page.head(table::ANSWERS);
        for (id, counts) in &counts {
            for (cause, count) in &counts.causes {
                page.count(table::ANSWERS, &[cause, *id], *count);
            }
        }
        let numbers: [(Metric, NumberOf); 5] = [
            (table::BACKEND_ERRORS, |counts| counts.backend_errors),
            (table::STREAMING_ERRORS, |counts| counts.cut_short),
            (table::RETRIES, |counts| counts.retries),
            (table::REQUEST_BYTES, |counts| counts.request_bytes),
            (table::RESPONSE_BYTES, |counts| counts.response_bytes),
        ];
        for (metric, number) in numbers {
            page.head(metric);
            // A row for each route that was used, so that a rate can be taken from the first one on.
            for (id, counts) in counts.iter().filter(|(_, counts)| !counts.served.is_empty()) {
                page.count(metric, &[id], number(counts));
            }
        }
    }

    fn write_workers(&self, page: &mut Page) {
        let histograms: [(Metric, HistogramOf); 3] = [
            (table::LOOKUP, |worker| &worker.lookup),
            (table::PROXY_TOTAL, |worker| &worker.proxy_total),
            (table::BACKEND_5XX, |worker| &worker.backend_5xx),
        ];
        let none: [&str; 0] = [];
        for (metric, histogram) in histograms {
            let mut counts = Counts::default();
            self.0.workers.iter().for_each(|worker| counts.add(histogram(worker)));
            page.head(metric);
            page.histogram(metric, &none, &counts);
        }
        let unrouted = self.0.workers.iter().map(|worker| worker.unrouted.load(Ordering::Relaxed)).sum();
        page.head(table::ROUTE_ERRORS);
        page.count(table::ROUTE_ERRORS, &none, unrouted);
        page.head(table::IN_FLIGHT);
        page.sample(table::IN_FLIGHT, &none, self.in_flight() as f64);
    }

    /// How many requests have begun and not ended.
    pub fn in_flight(&self) -> u64 {
        // Those that ended first: one that ends meanwhile is then counted as one that has not.
        let sum = |count: fn(&Worker) -> &AtomicU64| {
            self.0.workers.iter().map(|worker| count(worker).load(Ordering::Relaxed)).sum::<u64>()
        };
        let ended = sum(|worker| &worker.ended);
        sum(|worker| &worker.begun).saturating_sub(ended)
    }

    fn routes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<RouteMeter>>> {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkerMetrics {
    /// A request begins, and [ends](Self::end) later.
    pub fn begin(&self) {
        let (part, writer) = self.part();
        writer.add(&part.begun, 1);
    }

    /// A request that has begun ends.
    pub fn end(&self) {
        let (part, writer) = self.part();
        writer.add(&part.ended, 1);
    }

    /// The worker's number, on its thread.
    fn here(&self) -> Option<usize> {
        owner::worker().filter(|number| *number == self.number)
    }

    fn part(&self) -> (&Worker, Writer) {
        match self.here() {
            Some(_) if !Arc::ptr_eq(&self.part, &self.shared) => (&self.part, Writer::Only),
            _ => (&self.shared, Writer::OneOfMany),
        }
    }

    fn observe(&self, record: &Record<'_>) {
        let (part, writer) = self.part();
        part.lookup.observe(record.lookup, writer);
        let backend = record.backend.map(|backend| backend.duration).unwrap_or_default();
        part.proxy_total.observe(record.duration.saturating_sub(backend), writer);
        if record.status >= 500 && record.backend.is_some() && record.reason.is_none() {
            part.backend_5xx.observe(backend, writer);
        }
        if record.route == Record::NO_ROUTE {
            writer.add(&part.unrouted, 1);
        }
    }
}

/// Writes who called which service, and how that went: what services call is counted by caller, and what no service
/// called came in from outside.
fn write_edges<'a>(page: &mut Page, routes: impl Iterator<Item = (Option<String>, &'a RouteCounts)>) {
    let mut edges: BTreeMap<[String; 3], Counts> = BTreeMap::new();
    for (callee, counts) in routes {
        let Some(callee) = callee else { continue };
        let mut add = |code: &str, caller: &str, calls: &Counts| {
            let labels = [code, &callee, caller].map(str::to_owned);
            edges.entry(labels).or_default().merge(calls);
        };
        for ((caller, code), calls) in &counts.called {
            add(code, caller, calls);
        }
        if counts.called.is_empty() {
            counts.served.iter().for_each(|((code, _), calls)| add(code, GATEWAY, calls));
        }
    }
    page.head(table::EDGE_DURATION);
    for (labels, calls) in &edges {
        page.histogram(table::EDGE_DURATION, labels, calls);
    }
}

/// This thread is worker number `number` from now on: what it counts as such it counts alone. No other thread of the
/// process may be told the same number, unless it counts into other [`Metrics`].
pub fn this_thread_is(number: usize) {
    owner::this_thread_is(number);
}

#[cfg(test)]
mod tests;
