//! Keeps account of one request from its head to the last byte of its answer, and tells telemetry once,
//! however it ends: answered, cut short, or left by its client.

use crate::answer::{Cause, Reason};
use crate::backend::LocalEndpoint;
use crate::engine::Gateway;
use crate::exchange::{Exchange, LogChoice, RareNotes};
use crate::spans::{Carried, Copied, Tried, Tries};
use crate::table::LocalRoute;
use crate::tap::Watched;
use base::{Moment, UnixTime};
use http::header::{HOST, HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use telemetry::spans::Sample;
use telemetry::{Record, Tags, TraceContext};
use wire::{Body, Ending, Passed, Peer, Refused, Request, Response, Tail, TunnelEnd};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FLOW_ID: HeaderName = HeaderName::from_static("x-flow-id");

/// Who calls, as the request's token says and nobody has checked (Skipper's `unverifiedAuditLog`).
pub(crate) const UNVERIFIED_AUDIT: HeaderName = HeaderName::from_static("x-unverified-audit");

/// Skipper's status for a client that left (nginx's before).
pub(crate) const CLIENT_GONE: u16 = 499;

/// The account of one request. Dropped without [`Account::finish`] it says that the client left.
pub(crate) struct Account {
    pub(crate) at: Moment,
    pub(crate) at_unix: UnixTime,
    pub(crate) trace: TraceContext,
    /// How long routes were looked for.
    pub(crate) lookup: Duration,
    /// The number that segments of traffic share, kept from round to round.
    pub(crate) segment: Option<f64>,
    /// Tries of backends.
    pub(crate) attempts: u32,
    /// Tries beyond the first.
    pub(crate) retries: u32,
    gateway: Gateway,
    /// The route it came to last.
    route: Option<Arc<LocalRoute>>,
    backend: Option<(Arc<LocalEndpoint>, Duration)>,
    /// Only where there are spans.
    tries: Tries,
    method: Method,
    version: Version,
    remote: SocketAddr,
    edge: Option<Arc<wire::Edge>>,
    /// Only where there is a log, or spans.
    for_log: Option<Box<ForLog>>,
    /// Keys of the query whose values no log may show, of all routes the request was on.
    masked_keys: Option<Arc<[String]>>,
    /// What of the request's body has passed; only for requests with one.
    request_bytes: Option<Arc<AtomicU64>>,
    /// The status of the answer, and what else is known of it by the time its body goes.
    answered: Option<(u16, Noted)>,
    /// Only where somebody watches it.
    pub(crate) watched: Option<Box<Watched>>,
    told: bool,
}

/// What of a request's head the record repeats for the log; filters may change it.
struct ForLog {
    uri: Uri,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    forwarded_for: Option<HeaderValue>,
}

impl ForLog {
    fn of(request: &Request) -> Self {
        let uri = request.uri().clone();
        let mut told = Self { uri, host: None, user_agent: None, referer: None, forwarded_for: None };
        for (name, value) in request.headers() {
            let place = if *name == HOST {
                &mut told.host
            } else if *name == USER_AGENT {
                &mut told.user_agent
            } else if *name == REFERER {
                &mut told.referer
            } else if *name == FORWARDED_FOR {
                &mut told.forwarded_for
            } else {
                continue;
            };
            place.get_or_insert_with(|| value.clone());
        }
        if let (None, Some(authority)) = (&told.host, request.uri().authority()) {
            told.host = HeaderValue::try_from(authority.as_str()).ok();
        }
        told
    }
}

/// How it ended.
struct End {
    status: u16,
    bytes: u64,
    cut_short: bool,
    /// How the answer ended, if there was one.
    ending: Option<Ending>,
}

/// What filters and the engine noted of a request that goes into its record.
#[derive(Default)]
struct Noted {
    reason: Option<Reason>,
    flow_id: Option<HeaderValue>,
    audit: Option<HeaderValue>,
    access_log: LogChoice,
    user: Option<Arc<str>>,
    span_name: Option<Arc<str>>,
    tags: Tags,
}

impl Noted {
    /// What is left of an exchange that is over.
    fn of(exchange: &mut Exchange) -> Self {
        let mut noted = Self {
            reason: exchange.notes.reason.take(),
            flow_id: exchange.headers.get(FLOW_ID).cloned(),
            audit: exchange.headers.get(UNVERIFIED_AUDIT).cloned(),
            ..Self::default()
        };
        if let Some(rare) = exchange.notes.rare.take() {
            let RareNotes { access_log, user, span_name, tags, .. } = *rare;
            noted = Self { access_log, user, span_name, tags, ..noted };
        }
        noted
    }
}

impl Account {
    /// Opens the account of a request that just came in.
    pub(crate) fn begin(gateway: &Gateway, request: &Request, peer: &Peer) -> Box<Self> {
        gateway.core.metrics.begin();
        let plane = gateway.plane();
        let (at, at_unix) = plane.builder.clock.both();
        let trace = TraceContext::from_headers(request.headers(), &gateway.core.chance);
        let is_told = plane.access.is_some() || plane.settings.spans.is_some();
        Box::new(Self {
            at,
            at_unix,
            trace,
            lookup: Duration::ZERO,
            segment: None,
            attempts: 0,
            retries: 0,
            gateway: gateway.clone(),
            route: None,
            backend: None,
            tries: Tries::default(),
            method: request.method().clone(),
            version: request.version(),
            remote: peer.remote,
            edge: peer.edge.clone(),
            for_log: is_told.then(|| Box::new(ForLog::of(request))),
            masked_keys: None,
            request_bytes: None,
            answered: None,
            watched: None,
            told: false,
        })
    }

    /// The account of a request of our own, which is told to nobody.
    pub(crate) fn aside(gateway: &Gateway, request: &Request, peer: &Peer) -> Box<Self> {
        let mut account = Self::begin(gateway, request, peer);
        account.told = true;
        account
    }

    /// Counts the bytes of the request's body as they pass.
    pub(crate) fn count_body(&mut self, body: Body) -> Body {
        let counter = Arc::new(AtomicU64::new(0));
        self.request_bytes = Some(counter.clone());
        body.with_counter(counter)
    }

    /// The request is on this route now.
    pub(crate) fn on_route(&mut self, route: &Arc<LocalRoute>) {
        self.decide(Some(route));
        self.route = Some(route.clone());
        if route.masked_keys.is_empty() {
            return;
        }
        self.masked_keys = Some(match self.masked_keys.take() {
            None => route.masked_keys.clone(),
            Some(others) => others.iter().chain(&*route.masked_keys).cloned().collect(),
        });
    }

    /// Decides whether the trace is recorded: once by what holds for all, and until a backend was told as each route
    /// says that says something.
    fn decide(&mut self, route: Option<&LocalRoute>) {
        let plane = self.gateway.plane();
        let Some(spans) = &plane.settings.spans else { return };
        let sample = match route.and_then(|route| route.sample) {
            Some(share) if self.attempts == 0 => Sample::Share(share),
            None if self.route.is_none() => spans.sample,
            _ => return,
        };
        spans.recorder.decide(self.gateway.core.worker, &mut self.trace, sample, self.at);
    }

    /// A try at a backend begins, which `exchange` tells it: where there are spans, it has one of its own.
    pub(crate) fn begin_try(
        &mut self,
        route: &Arc<LocalRoute>,
        endpoint: &Arc<LocalEndpoint>,
        exchange: &mut Exchange,
        begun: Moment,
    ) {
        self.attempts += 1;
        if self.gateway.plane().settings.spans.is_some() {
            exchange.trace = self.trace.child(&exchange.chance);
            self.tries.begin(route, endpoint, exchange.trace.span, begun);
        }
    }

    /// The try that began last has ended.
    pub(crate) fn end_try(&mut self, tried: Tried) {
        if self.gateway.plane().settings.spans.is_some() {
            self.tries.end(tried);
        }
    }

    /// A copy of the request or of its answer is sent elsewhere: where there are spans, it has one of its own.
    pub(crate) fn begin_copy(&self, exchange: &Exchange) -> Option<Copied> {
        let plane = self.gateway.plane();
        plane.settings.spans.as_ref()?;
        let (begun, begun_unix) = plane.builder.clock.both();
        let trace = self.trace.child(&exchange.chance);
        let (route, edge) = (exchange.route.clone(), self.edge.clone());
        Some(Copied { trace, route, edge, begun, begun_unix })
    }

    /// A backend was asked.
    pub(crate) fn backend(&mut self, endpoint: Arc<LocalEndpoint>, took: Duration) {
        self.backend = Some((endpoint, took));
    }

    /// Closes the account when the response has passed.
    pub(crate) fn finish(mut self: Box<Self>, exchange: &mut Exchange, mut response: Response) -> Response {
        if let Some(watched) = &mut self.watched {
            watched.answer(&mut response);
        }
        self.answered = Some((response.status().as_u16(), Noted::of(exchange)));
        response.map(|body| body.with_tail(self))
    }

    /// Keeps the account of a connection that has changed its protocol; it is closed with the tunnel.
    pub(crate) fn tunnel(
        mut self: Box<Self>,
        exchange: &mut Exchange,
        response: &mut Response,
        passed: Passed,
    ) -> TunnelAccount {
        if let Some(watched) = &mut self.watched {
            watched.answer(response);
        }
        // The answer that began it was not ours.
        let noted = Noted { reason: None, ..Noted::of(exchange) };
        TunnelAccount { account: self, passed, noted, ended: None }
    }

    fn tell(&mut self, end: &End, noted: &Noted) {
        self.told = true;
        if self.route.is_none() {
            self.decide(None);
        }
        let plane = &self.gateway.plane();
        let now = self.gateway.now();
        let for_log = self.for_log.as_deref();
        let record = Record {
            route: self.route.as_ref().map_or(Record::NO_ROUTE, |route| &*route.id),
            method: self.method.as_str(),
            uri: for_log
                .map_or("", |log| log.uri.path_and_query().map_or(log.uri.path(), PathAndQuery::as_str)),
            host: text(for_log.and_then(|log| log.host.as_ref())).unwrap_or_default(),
            version: self.version,
            remote: Some(self.remote.ip()),
            forwarded_for: text(for_log.and_then(|log| log.forwarded_for.as_ref())),
            caller: self.edge.as_ref().map(|edge| edge.caller.as_str()),
            user: noted.user.as_deref(),
            status: end.status,
            request_bytes: self.request_bytes.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed)),
            response_bytes: end.bytes,
            duration: now.since(self.at),
            lookup: self.lookup,
            backend: self.backend.as_ref().map(|(endpoint, duration)| telemetry::Backend {
                address: &endpoint.authority,
                duration: *duration,
            }),
            attempts: self.attempts,
            reason: noted.reason.as_ref().map(|reason| telemetry::Reason {
                cause: reason.cause.0,
                filter: (!reason.filter.is_empty()).then_some(reason.filter),
            }),
            cut_short: end.cut_short,
            trace: self.trace,
            user_agent: text(for_log.and_then(|log| log.user_agent.as_ref())),
            referer: text(for_log.and_then(|log| log.referer.as_ref())),
            flow_id: text(noted.flow_id.as_ref()),
            audit: text(noted.audit.as_ref()),
            span_name: noted.span_name.as_deref(),
            tags: &noted.tags,
            masked_keys: self.masked_keys.as_deref().unwrap_or_default(),
            start: self.at_unix,
        };
        let meter = self.route.as_ref().map_or(&plane.no_route, |route| &route.meter);
        meter.observe(&self.gateway.core.metrics, &record);
        if let Some(access) = &plane.access
            && StatusCode::from_u16(end.status)
                .is_ok_and(|status| noted.access_log.wants(status, plane.settings.access_log))
        {
            access.write(self.gateway.core.worker, &record);
        }
        if let Some(spans) = &plane.settings.spans {
            spans.put(&Carried {
                record: &record,
                route: self.route.as_deref(),
                edge: self.edge.as_deref(),
                tries: &self.tries,
                ending: end.ending,
                at: self.at,
                now,
                worker: self.gateway.core.worker,
            });
        }
        if let Some(watched) = self.watched.take() {
            watched.end(&record, self.edge.as_ref().map(|edge| edge.callee.as_str()), now);
        }
    }
}

/// Tells of something that came in and was no request: it has no method and no target.
pub(crate) fn tell_refused(gateway: &Gateway, refused: &Refused, peer: &Peer) {
    let (plane, core) = (gateway.plane(), &gateway.core);
    let record = Record {
        route: Record::NO_ROUTE,
        method: "-",
        uri: "-",
        host: "",
        version: Version::HTTP_11,
        remote: Some(peer.remote.ip()),
        forwarded_for: None,
        caller: peer.edge.as_ref().map(|edge| edge.caller.as_str()),
        user: None,
        status: refused.status.as_u16(),
        request_bytes: 0,
        response_bytes: 0,
        duration: Duration::ZERO,
        lookup: Duration::ZERO,
        backend: None,
        attempts: 0,
        reason: Some(telemetry::Reason { cause: Cause::BAD_REQUEST.0, filter: None }),
        cut_short: false,
        trace: TraceContext::begin(&core.chance),
        user_agent: None,
        referer: None,
        flow_id: None,
        audit: None,
        span_name: None,
        tags: &Tags::default(),
        masked_keys: &[],
        start: plane.builder.clock.unix(),
    };
    plane.no_route.observe(&core.metrics, &record);
    if let Some(access) = &plane.access
        && LogChoice::default().wants(refused.status, plane.settings.access_log)
    {
        access.write(core.worker, &record);
    }
}

impl Tail for Account {
    fn ended(mut self: Box<Self>, ending: Ending, bytes: u64) {
        let Some((status, noted)) = self.answered.take() else { return };
        let cut_short = ending != Ending::Complete;
        self.tell(&End { status, bytes, cut_short, ending: Some(ending) }, &noted);
    }
}

/// The account of a connection that has changed its protocol. Told when it is dropped.
pub(crate) struct TunnelAccount {
    account: Box<Account>,
    passed: Passed,
    noted: Noted,
    ended: Option<TunnelEnd>,
}

impl TunnelAccount {
    /// The tunnel has ended by itself, in this way.
    pub(crate) fn end(mut self, ended: TunnelEnd) {
        self.ended = Some(ended);
    }
}

impl Drop for TunnelAccount {
    fn drop(&mut self) {
        self.account.request_bytes = Some(Arc::new(AtomicU64::new(self.passed.forth())));
        let end = End {
            status: StatusCode::SWITCHING_PROTOCOLS.as_u16(),
            bytes: self.passed.back(),
            cut_short: self.ended != Some(TunnelEnd::Closed),
            ending: None,
        };
        self.account.tell(&end, &self.noted);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.told {
            let noted = Noted { reason: Some(Reason::of(Cause::CLIENT_GONE)), ..Noted::default() };
            self.tell(&End { status: CLIENT_GONE, bytes: 0, cut_short: true, ending: None }, &noted);
        }
        self.gateway.core.metrics.end();
    }
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}
