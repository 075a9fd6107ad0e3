//! What a request leaves for whoever looks at traces: one span of the request as it came in and one of each try at a
//! backend and of each copy that goes elsewhere, below it. A call that a service declared is told as a call of that
//! service, since nobody else may tell it; any other request is one that the gateway served.

use crate::backend::LocalEndpoint;
use crate::table::{LocalRoute, Target};
use base::{Moment, SpanId, UnixTime};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use telemetry::spans::{COPY_TAG, Draft, Ended, Kind, ROUTE_TAG, Recorder, Sample, Side, TagWriter};
use telemetry::{Propagation, Record, TraceContext};
use wire::{Edge, Ending, Origin};

/// Tries of one request that are remembered; what lies between the first of them and the last is left out.
const TRIES_MAX: usize = 16;

/// Statuses from this one on are failures.
const FAILED_FROM: u16 = 500;

/// How requests leave spans.
#[derive(Clone)]
pub struct Spans {
    /// Where they go.
    pub recorder: Recorder,
    /// Which traces are recorded whole, where neither the caller nor the route says.
    pub sample: Sample,
    /// How backends are told which span is theirs to go on from.
    pub propagation: Propagation,
    /// The service that requests from outside come to.
    pub service: &'static str,
    /// The service that a caller is known as.
    pub caller: fn(&str) -> &str,
}

/// The tries of one request at backends, in their order.
#[derive(Default)]
pub(crate) struct Tries {
    last: Option<Try>,
    /// Most requests have one try, and these ask for no memory.
    before: Vec<Try>,
}

/// One try at a backend.
struct Try {
    route: Arc<LocalRoute>,
    endpoint: Arc<LocalEndpoint>,
    span: SpanId,
    begun: Moment,
    /// None while it is under way.
    ended: Option<Tried>,
}

/// How a try ended.
#[derive(Clone, Copy)]
pub(crate) struct Tried {
    pub(crate) at: Moment,
    /// The answer's status; 0 if there was none.
    pub(crate) status: u16,
    /// Why there was none; empty if there was one.
    pub(crate) cause: &'static str,
}

impl Tries {
    pub(crate) fn begin(
        &mut self,
        route: &Arc<LocalRoute>,
        endpoint: &Arc<LocalEndpoint>,
        span: SpanId,
        begun: Moment,
    ) {
        let this = Try { route: route.clone(), endpoint: endpoint.clone(), span, begun, ended: None };
        if let Some(before) = self.last.replace(this)
            && self.before.len() < TRIES_MAX
        {
            self.before.push(before);
        }
    }

    pub(crate) fn end(&mut self, tried: Tried) {
        if let Some(last) = &mut self.last {
            last.ended = Some(tried);
        }
    }
}

/// A copy of a request or of its answer on its way to somebody else than its backend.
pub(crate) struct Copied {
    /// Its own span, below the request's.
    pub(crate) trace: TraceContext,
    /// The route that has it sent.
    pub(crate) route: Arc<str>,
    pub(crate) edge: Option<Arc<Edge>>,
    pub(crate) begun: Moment,
    pub(crate) begun_unix: UnixTime,
}

/// A request that has ended.
pub(crate) struct Carried<'a> {
    pub(crate) record: &'a Record<'a>,
    pub(crate) route: Option<&'a LocalRoute>,
    pub(crate) edge: Option<&'a Edge>,
    pub(crate) tries: &'a Tries,
    /// How its answer ended; none if there was no answer.
    pub(crate) ending: Option<Ending>,
    /// When it came, by the other clock.
    pub(crate) at: Moment,
    pub(crate) now: Moment,
    pub(crate) worker: usize,
}

impl Spans {
    /// Puts the spans of a request, if its trace is recorded; otherwise only if it failed, was slow or is rare.
    pub(crate) fn put(&self, carried: &Carried<'_>) {
        let record = carried.record;
        let failed = record.status >= FAILED_FROM || record.cut_short;
        let ended = Ended {
            sampled: record.trace.sampled,
            failed,
            took: record.duration,
            at: carried.now,
            kind: (record.method, record.status),
        };
        let kept = match carried.route {
            Some(route) => route.tail().choose(&ended),
            None if ended.sampled => Some(""),
            None => failed.then_some("error"),
        };
        let Some(kept) = kept else { return };
        self.put_request(carried, failed, kept);
        let tries = &carried.tries;
        for (number, one) in tries.before.iter().chain(&tries.last).enumerate() {
            self.put_try(carried, one, number);
        }
    }

    /// Puts the span of a copy that was sent, if its trace is recorded: nobody knows yet how the request ends.
    pub(crate) fn put_copy(
        &self,
        copied: &Copied,
        (method, origin): (&str, &Origin),
        tried: &Tried,
        worker: usize,
    ) {
        if !copied.trace.sampled {
            return;
        }
        let time = (copied.begun_unix, tried.at.since(copied.begun));
        let (name, remote) = ((method, ""), side_of(origin, None));
        let draft = self.draft(copied.edge.as_deref(), copied.trace, Kind::Client, name, time, remote);
        self.recorder.put(worker, &draft, |tags| {
            tags.put("http.request.method", method);
            tags.put("server.address", &origin.host);
            tags.put(ROUTE_TAG, &copied.route);
            tags.put(COPY_TAG, "true");
            put_end(tags, tried, false);
        });
    }

    fn put_request(&self, carried: &Carried<'_>, failed: bool, kept: &str) {
        let record = carried.record;
        let pattern = carried.route.and_then(|route| route.pattern.as_deref()).unwrap_or_default();
        let name = record.span_name.map_or((record.method, pattern), |name| (name, ""));
        let (kind, remote) = match carried.edge {
            Some(edge) => (Kind::Client, Side { service: &edge.callee, ..Side::default() }),
            None => (Kind::Server, Side { ip: record.remote, ..Side::default() }),
        };
        let time = (record.start, record.duration);
        let draft = self.draft(carried.edge, record.trace, kind, name, time, remote);
        self.recorder.put(carried.worker, &draft, |tags| {
            tags.put("http.request.method", record.method);
            tags.number("http.response.status_code", record.status.into());
            tags.put_some("http.route", Some(pattern));
            tags.put_some("server.address", Some(host_alone(record.host)));
            tags.put(ROUTE_TAG, record.route);
            tags.put_some("tombolo.kept", Some(kept));
            tags.put_some("url.path", record.uri.split('?').next());
            if let Some(reason) = record.reason {
                tags.put("tombolo.reason", reason.cause);
                tags.put_some("tombolo.filter", reason.filter);
            }
            if failed {
                put_error(tags, record.reason.map_or("", |reason| reason.cause), record.status);
            }
            for (key, value) in record.tags.iter() {
                tags.put(key, value);
            }
        });
    }

    fn put_try(&self, carried: &Carried<'_>, one: &Try, number: usize) {
        let (record, origin) = (carried.record, &one.endpoint.origin);
        let trace = TraceContext { span: one.span, parent: Some(record.trace.span), ..record.trace };
        let service = match &one.route.target {
            Target::Upstream(upstream) => upstream.service_name(),
            _ => None,
        };
        // The answer of the last one was passed on until the request ended.
        let is_last = carried.tries.last.as_ref().is_some_and(|last| last.span == one.span);
        let ended =
            one.ended.filter(|tried| !is_last || tried.status == 0).map_or(carried.now, |tried| tried.at);
        let begun = UnixTime(record.start.0 + one.begun.since(carried.at));
        let time = (begun, ended.since(one.begun));
        let (name, remote) = ((record.method, ""), side_of(origin, service));
        let draft = self.draft(carried.edge, trace, Kind::Client, name, time, remote);
        self.recorder.put(carried.worker, &draft, |tags| {
            tags.put("http.request.method", record.method);
            if number > 0 {
                tags.number("http.request.resend_count", number as u64);
            }
            tags.put("server.address", &origin.host);
            tags.put(ROUTE_TAG, &one.route.id);
            let Some(tried) = one.ended else {
                // The caller left; that is no failure of the backend.
                return tags.put_some("tombolo.reason", record.reason.map(|reason| reason.cause));
            };
            put_end(tags, &tried, is_last && carried.ending == Some(Ending::Failed));
        });
    }

    fn draft<'a>(
        &'a self,
        edge: Option<&'a Edge>,
        trace: TraceContext,
        kind: Kind,
        name: (&'a str, &'a str),
        (begun, took): (UnixTime, Duration),
        remote: Side<'a>,
    ) -> Draft<'a> {
        let service = edge.map_or(self.service, |edge| (self.caller)(&edge.caller));
        let local = Side { service, ..Side::default() };
        Draft {
            trace: trace.trace,
            id: trace.span,
            parent: trace.parent,
            kind,
            name,
            begun,
            took,
            local,
            remote,
        }
    }
}

/// A backend, by the name of its service if it has one.
fn side_of<'a>(origin: &'a Origin, service: Option<&'a str>) -> Side<'a> {
    Side {
        service: service.unwrap_or(&origin.host),
        ip: origin.host.parse::<IpAddr>().ok(),
        port: origin.port,
    }
}

/// Says how a try ended, whose answer may have broken off.
fn put_end(tags: &mut TagWriter<'_>, tried: &Tried, broke_off: bool) {
    if tried.status != 0 {
        tags.number("http.response.status_code", tried.status.into());
    }
    tags.put_some("tombolo.reason", Some(tried.cause));
    if broke_off || !tried.cause.is_empty() || tried.status >= FAILED_FROM {
        put_error(tags, tried.cause, tried.status);
    }
}

/// Says that something failed: for this cause, or by its status, or before its end.
fn put_error(tags: &mut TagWriter<'_>, cause: &str, status: u16) {
    match (cause, status) {
        ("", FAILED_FROM..) => tags.number("error", status.into()),
        ("", _) => tags.put("error", "cut_short"),
        (cause, _) => tags.put("error", cause),
    }
}

/// A host without its port.
fn host_alone(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((alone, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => alone,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::host_alone;

    #[test]
    fn a_host_goes_without_its_port() {
        let hosts = ["shop.example:80", "shop.example", "[::1]:80", "[::1]", ""];
        assert_eq!(hosts.map(host_alone), ["shop.example", "shop.example", "[::1]", "[::1]", ""]);
    }
}
