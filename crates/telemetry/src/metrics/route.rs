//! What is counted of one route: each worker has a part of its own, made when it first carries a request
//! of the route, so that unused routes stay small and used ones are not fought over.

use super::WorkerMetrics;
use super::chain::Chain;
use super::histogram::{Counts, Histogram};
use super::owner::Writer;
use crate::Record;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Pairs of status and method told apart in one route and worker; the rest is `_other`.
pub const SERIES_MAX: usize = 64;
/// Backend hosts told apart in one route and worker; the rest is `_other`.
pub const HOSTS_MAX: usize = 16;
/// Causes of our own answers told apart in one route and worker; the rest is `_other`.
pub const CAUSES_MAX: usize = 32;
/// The label of what no longer fits.
pub const OTHER: &str = "_other";

/// Methods told apart, as Skipper does; any other is the first.
const METHODS: [&str; 10] =
    ["_unknownmethod_", "OPTIONS", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"];

/// Counts the requests of one route. Made by [`super::Metrics::route`] when a table is built; the same for
/// the same id, so that counts go on after a reload.
#[derive(Debug)]
pub struct RouteMeter {
    id: Box<str>,
    /// The service that it leads to.
    callee: Mutex<Option<Box<str>>>,
    /// By worker, and one for all other threads.
    parts: Box<[OnceLock<Box<Part>>]>,
}

#[derive(Debug, Default)]
struct Part {
    served: Chain<Series, Histogram>,
    /// By the service that called and by status; `None` is all that no longer fit.
    called: Chain<Option<(Box<str>, u16)>, Histogram>,
    backends: Chain<Box<str>, Histogram>,
    causes: Chain<Box<str>, AtomicU64>,
    retries: AtomicU64,
    backend_errors: AtomicU64,
    cut_short: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

/// Status and method; `None` is all that no longer fit.
type Series = Option<(u16, u8)>;

/// What all workers counted of a route.
#[derive(Debug, Default)]
pub(super) struct RouteCounts {
    /// By status and method in words.
    pub(super) served: BTreeMap<(String, &'static str), Counts>,
    /// By the service that called and by status, in words; nothing of a route that no service calls.
    pub(super) called: BTreeMap<(String, String), Counts>,
    /// By host.
    pub(super) backends: BTreeMap<String, Counts>,
    /// By cause.
    pub(super) causes: BTreeMap<String, u64>,
    pub(super) retries: u64,
    pub(super) backend_errors: u64,
    pub(super) cut_short: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

impl RouteMeter {
    pub(super) fn new(id: &str, workers: usize) -> Self {
        Self {
            id: id.into(),
            callee: Mutex::default(),
            parts: (0..=workers).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The id of its route.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Requests of the route go to this service from now on, or to none.
    pub fn leads_to(&self, service: Option<&str>) {
        *self.callee.lock().unwrap_or_else(PoisonError::into_inner) = service.map(Into::into);
    }

    pub(super) fn callee(&self) -> Option<String> {
        self.callee.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(str::to_owned)
    }

    /// Counts a request that has ended, on behalf of the worker that carried it.
    pub fn observe(&self, worker: &WorkerMetrics, record: &Record<'_>) {
        let (part, writer) = match worker.here() {
            Some(index) if index + 1 < self.parts.len() => (index, Writer::Only),
            _ => (self.parts.len() - 1, Writer::OneOfMany),
        };
        let part = self.parts[part].get_or_init(Box::default);
        let series = Some((record.status, method(record.method)));
        let served = part.served.entry(SERIES_MAX, |key| *key == series, || series);
        if let Some(served) = served.or_else(|| part.served.entry(SERIES_MAX + 1, Option::is_none, || None)) {
            served.observe(record.duration, writer);
        }
        if let Some(caller) = record.caller {
            let is = |key: &Option<(Box<str>, u16)>| {
                key.as_ref().is_some_and(|(known, status)| **known == *caller && *status == record.status)
            };
            let called = part.called.entry(SERIES_MAX, is, || Some((caller.into(), record.status)));
            if let Some(called) =
                called.or_else(|| part.called.entry(SERIES_MAX + 1, Option::is_none, || None))
            {
                called.observe(record.duration, writer);
            }
        }
        if let Some(backend) = record.backend
            && let Some(durations) = named(&part.backends, HOSTS_MAX, backend.address)
        {
            durations.observe(backend.duration, writer);
        }
        if let Some(reason) = record.reason {
            if let Some(count) = named(&part.causes, CAUSES_MAX, reason.cause) {
                writer.add(count, 1);
            }
            writer.add(&part.backend_errors, u64::from(record.backend.is_some()));
        }
        writer.add(&part.retries, u64::from(record.attempts.saturating_sub(1)));
        writer.add(&part.cut_short, u64::from(record.cut_short));
        writer.add(&part.request_bytes, record.request_bytes);
        writer.add(&part.response_bytes, record.response_bytes);
        worker.observe(record);
    }

    /// Whether a request of the route has ended.
    pub(super) fn is_used(&self) -> bool {
        self.parts.iter().any(|part| part.get().is_some())
    }

    pub(super) fn counts(&self) -> RouteCounts {
        let mut counts = RouteCounts::default();
        for part in self.parts.iter().filter_map(OnceLock::get) {
            for (series, histogram) in part.served.iter() {
                let key = match series {
                    Some((code, method)) => (code.to_string(), METHODS[usize::from(*method)]),
                    None => (OTHER.to_owned(), OTHER),
                };
                counts.served.entry(key).or_default().add(histogram);
            }
            for (called, histogram) in part.called.iter() {
                let key = match called {
                    Some((caller, code)) => (caller.to_string(), code.to_string()),
                    None => (OTHER.to_owned(), OTHER.to_owned()),
                };
                counts.called.entry(key).or_default().add(histogram);
            }
            for (host, histogram) in part.backends.iter() {
                counts.backends.entry(host.to_string()).or_default().add(histogram);
            }
            for (cause, count) in part.causes.iter() {
                *counts.causes.entry(cause.to_string()).or_default() += count.load(Ordering::Relaxed);
            }
            counts.retries += part.retries.load(Ordering::Relaxed);
            counts.backend_errors += part.backend_errors.load(Ordering::Relaxed);
            counts.cut_short += part.cut_short.load(Ordering::Relaxed);
            counts.request_bytes += part.request_bytes.load(Ordering::Relaxed);
            counts.response_bytes += part.response_bytes.load(Ordering::Relaxed);
        }
        counts
    }
}

/// The value of this name, or of `_other` when there are `max` names already.
fn named<'a, V: Default>(chain: &'a Chain<Box<str>, V>, max: usize, name: &str) -> Option<&'a V> {
    chain
        .entry(max, |known| **known == *name, || name.into())
        .or_else(|| chain.entry(max + 1, |known| **known == *OTHER, || OTHER.into()))
}

fn method(name: &str) -> u8 {
    match name {
        "GET" => 2,
        "POST" => 4,
        "PUT" => 5,
        "DELETE" => 7,
        "HEAD" => 3,
        "PATCH" => 6,
        "OPTIONS" => 1,
        "TRACE" => 8,
        "CONNECT" => 9,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_their_place_in_the_list() {
        for (place, name) in METHODS.iter().enumerate().skip(1) {
            assert_eq!(usize::from(method(name)), place);
        }
        assert_eq!(METHODS[usize::from(method("BREW"))], "_unknownmethod_");
        assert_eq!(METHODS[usize::from(method("get"))], "_unknownmethod_");
    }
}
