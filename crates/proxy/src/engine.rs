//! A request's way, from the route table to the backend and back. One task carries it from end to end on
//! the core that accepted it; a reload swaps the table and never touches a request under way.

use crate::account::{self, Account};
use crate::answer::{Cause, Reason, answer};
use crate::backend::{Endpoint, InFlight, LocalEndpoint, Pool};
use crate::exchange::{Arrival, Exchange, Notes, Switch};
use crate::filters::Outcome;
use crate::grpc;
use crate::headers;
use crate::host;
use crate::lookup::Params;
use crate::question::Question;
use crate::table::{LocalRoute, Table, Target};
use crate::{Builder, Settings};
use arc_swap::ArcSwap;
use base::{Chance, Moment};
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue, SERVER,
};
use http::{Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use wire::{Body, Handler, OnUpgrade, Peer, Refused, Request, Response};

/// Names the calling service to the called one. Set on listeners that belong to one caller, removed from
/// everything else that comes in.
pub const CALLER: HeaderName = HeaderName::from_static("tombolo-caller");

/// How often one request may go round (Skipper's `-max-loopbacks` default).
const LOOPBACKS_MAX: usize = 9;

/// Backends that `<dynamic>` routes have named, kept by a core for their connections.
const DYNAMIC_MAX: usize = 1024;

/// What all cores share: the table and everything routes are built with.
pub struct Plane {
    pub(crate) settings: Settings,
    pub(crate) builder: Builder,
    pub(crate) table: ArcSwap<Table>,
    pub(crate) breakers: rules::Breakers,
    pub(crate) access: Option<telemetry::AccessLog>,
    pub(crate) passive: Option<Passive>,
    /// How often requests may come, whatever their route.
    ratelimit: Option<crate::filters::Ratelimit>,
    /// Where requests without a route are counted.
    pub(crate) no_route: Arc<telemetry::RouteMeter>,
    cores: Mutex<Vec<Weak<Core>>>,
}

impl Plane {
    /// A plane without routes.
    pub fn new(settings: Settings, builder: Builder, access: Option<telemetry::AccessLog>) -> Arc<Self> {
        let table = ArcSwap::from_pointee(Table::empty(&builder));
        let breakers =
            rules::Breakers::new(settings.breaker, settings.host_breakers.clone(), &builder.chance);
        let no_route = builder.metrics.route(telemetry::Record::NO_ROUTE);
        let count = |key| builder.metrics.counter(telemetry::metrics::CUSTOM_TOTAL, &[key]);
        let passive = settings.passive_health.map(|settings| Passive {
            settings,
            dropped: count("passive-health-check.endpoints.dropped"),
            passed: count("passive-health-check.requests.passed"),
        });
        let wished = settings.ratelimit.as_ref();
        let ratelimit = wished.and_then(|wished| crate::filters::Ratelimit::new(wished, &builder.chance));
        let cores = Mutex::default();
        let plane = Arc::new(Self {
            settings,
            builder,
            table,
            breakers,
            access,
            passive,
            ratelimit,
            no_route,
            cores,
        });
        crate::gauges::tell(&plane);
        plane
    }

    /// The cores that carry its requests.
    pub(crate) fn cores(&self) -> Vec<Arc<Core>> {
        let cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        cores.iter().filter_map(Weak::upgrade).collect()
    }

    /// The table in force.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// What routes are built with.
    pub fn builder(&self) -> &Builder {
        &self.builder
    }

    /// How requests leave spans, if they do.
    pub fn spans(&self) -> Option<&crate::Spans> {
        self.settings.spans.as_ref()
    }

    /// How connections to backends are opened.
    pub fn dialer(&self) -> &wire::Dialer {
        &self.settings.dialer
    }

    /// Puts a table in force. Requests under way finish on the one they began with.
    pub fn put(&self, table: Table) {
        self.builder
            .metrics
            .set_invalid(table.invalid.iter().map(|invalid| (invalid.route.id.as_str(), invalid.code)));
        self.builder.metrics.set_routes(table.routes.len(), table.built_at);
        // What was in force until now was wanted until now.
        self.builder.lasting.sweep();
        for route in &table.routes {
            if let Target::Upstream(upstream) = &route.target {
                upstream.begin(&self.builder.clock);
            }
        }
        self.table.store(Arc::new(table));
        self.builder.metrics.sweep();
        self.builder.lasting.sweep();
        self.breakers.sweep(self.builder.clock.now());
    }
}

/// Endpoints that fail are passed over: when, and where that is counted.
pub(crate) struct Passive {
    pub(crate) settings: rules::passive::Settings,
    pub(crate) dropped: telemetry::metrics::Counter,
    pub(crate) passed: telemetry::metrics::Counter,
}

/// The request plane as one core sees it. What a request holds on to is counted by its core alone: a count that
/// all cores change with every request would cost them more than the rest of it.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) core: Arc<Core>,
}

/// What belongs to one core.
pub(crate) struct Core {
    pub(crate) plane: Arc<Plane>,
    pub(crate) worker: usize,
    /// The name of no route.
    pub(crate) no_route: Arc<str>,
    pub(crate) metrics: telemetry::WorkerMetrics,
    pub(crate) pool: Pool,
    pub(crate) chance: Chance,
    pub(crate) mirrors: Arc<tokio::sync::Semaphore>,
    dynamic: Mutex<HashMap<String, Arc<LocalEndpoint>>>,
}

impl Gateway {
    /// The plane for worker number `worker`.
    pub fn new(plane: &Arc<Plane>, worker: usize) -> Self {
        let core = Core {
            plane: plane.clone(),
            worker,
            no_route: telemetry::Record::NO_ROUTE.into(),
            metrics: plane.builder.metrics.worker(worker),
            pool: Pool::new(worker, plane.settings.idle_connections),
            chance: plane.builder.chance.fork(),
            mirrors: Arc::new(tokio::sync::Semaphore::new(plane.settings.mirrors)),
            dynamic: Mutex::default(),
        };
        let core = Arc::new(core);
        let mut cores = plane.cores.lock().unwrap_or_else(PoisonError::into_inner);
        cores.retain(|core| core.strong_count() > 0);
        cores.push(Arc::downgrade(&core));
        drop(cores);
        Self { core }
    }

    /// Drops connections that are dead or idle for too long, again and again; a task of the core.
    pub async fn sweep_connections(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            self.core.pool.sweep(self.now());
        }
    }

    /// Closes all idle connections to backends.
    pub fn close_idle(&self) {
        self.core.pool.clear();
    }

    pub(crate) fn plane(&self) -> &Plane {
        &self.core.plane
    }

    pub(crate) fn now(&self) -> Moment {
        self.plane().builder.clock.now()
    }

    /// An endpoint for a `<dynamic>` backend. Who calls decides how many there are, so only so many are
    /// remembered.
    pub(crate) fn dynamic(&self, url: &str) -> Result<Arc<LocalEndpoint>, base::Fault> {
        let mut known = self.core.dynamic.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get(url) {
            return Ok(endpoint.clone());
        }
        let endpoint = self.core.pool.of(&Arc::new(Endpoint::fleeting(url, self.now())?));
        if known.len() >= DYNAMIC_MAX {
            known.clear();
        }
        known.insert(url.to_owned(), endpoint.clone());
        Ok(endpoint)
    }

    /// Looks up the route of a request and carries it there and back. `depth` counts the rounds of a
    /// request that goes through the table more than once.
    pub(crate) async fn carry(
        &self,
        exchange: &mut Exchange,
        account: &mut Account,
        depth: usize,
    ) -> Response {
        if depth > LOOPBACKS_MAX {
            return self.refuse(exchange, StatusCode::INTERNAL_SERVER_ERROR, Reason::of(Cause::LOOP));
        }
        let Some(route) = self.look_up(exchange, account) else {
            return self.refuse(exchange, self.plane().settings.default_status, Reason::of(Cause::NO_ROUTE));
        };
        exchange.route = route.id.clone();
        exchange.notes.outgoing_host =
            if self.plane().settings.preserve_host { exchange.arrival.host.clone() } else { None };
        account.on_route(&route);
        exchange.trace = account.trace;
        let (mut response, ran) = match route.chain.request(exchange).await {
            Outcome::Reply { response, ran } => {
                self.begin_refresh(&route, exchange, ran);
                (response, ran)
            }
            Outcome::Next { ran } => (self.ask(&route, exchange, account, depth).await, ran),
        };
        // A response filter may send the request round again; the filters before it then see that answer.
        let mut left = ran;
        loop {
            left = route.chain.response(exchange, &mut response, left).await;
            if !std::mem::take(&mut exchange.notes.loop_back) {
                return response;
            }
            response = Box::pin(self.carry(exchange, account, depth + 1)).await;
            exchange.route = route.id.clone();
        }
    }

    fn look_up(&self, exchange: &mut Exchange, account: &mut Account) -> Option<Arc<LocalRoute>> {
        let begun = self.now();
        let table = self.plane().table.load();
        let question = Question::of(exchange, &self.core.chance).with_segment(account.segment);
        let found = table.lookup.find(&question);
        account.lookup += self.now().since(begun);
        account.segment = question.segment_drawn();
        let found = found?;
        let (route, params) = (found.payload.on(self.core.worker), found.params);
        exchange.params.extend(params);
        Some(route)
    }

    pub(crate) async fn ask(
        &self,
        route: &Arc<LocalRoute>,
        exchange: &mut Exchange,
        account: &mut Account,
        depth: usize,
    ) -> Response {
        let mirrored = !exchange.notes.mirrors.is_empty();
        self.send_mirrors(exchange, account);
        match &route.target {
            Target::Shunt => {
                // A mirror sees the body as it passes, and nobody else would let it pass.
                while mirrored && exchange.body.frame().await.is_some_and(|frame| frame.is_ok()) {}
                exchange.notes.reason = Some(Reason::of(Cause::SHUNT));
                answer(StatusCode::NOT_FOUND)
            }
            Target::Loopback => {
                let response = Box::pin(self.carry(exchange, account, depth + 1)).await;
                exchange.route = route.id.clone();
                response
            }
            Target::Dynamic | Target::Upstream(_) => self.forward(route, exchange, account).await,
        }
    }

    /// An answer of ours, and why.
    #[cold]
    pub(crate) fn refuse(&self, exchange: &mut Exchange, status: StatusCode, reason: Reason) -> Response {
        exchange.notes.reason = Some(reason);
        answer(status)
    }

    /// The exchange of a request that just came in.
    fn exchange(&self, request: Request, peer: &Peer, account: &Account) -> Exchange {
        let (mut head, body) = request.into_parts();
        // A body would have to pass before the change, and nobody sends one: such a request is a plain one.
        let switch = head
            .extensions
            .remove::<OnUpgrade>()
            .filter(|_| self.plane().settings.upgrades && body.is_empty())
            .map(|client| Switch { client, backend: None });
        let mut headers = head.headers;
        let grpc = wire::is_grpc(&headers);
        headers::strip_named(&mut headers);
        let named = match (&peer.edge, head.uri.authority()) {
            // On the listener of a declared call the host is the service that is called.
            (Some(edge), _) => HeaderValue::try_from(&edge.callee).ok(),
            // RFC 9112 section 3.2.2: the authority of an absolute target wins over Host.
            (None, Some(authority)) => HeaderValue::try_from(authority.as_str()).ok(),
            (None, None) => None,
        };
        // Two of them stay two, whatever else names the host: `check` refuses them.
        if let Some(named) = named
            && headers.get_all(HOST).nth(1).is_none()
        {
            headers.insert(HOST, named);
        }
        let host = headers.get(HOST).cloned();
        let uri = if head.uri.authority().is_some() {
            head.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from)
        } else {
            head.uri
        };
        headers.remove(CALLER);
        if let Some(edge) = &peer.edge
            && let Ok(caller) = HeaderValue::try_from(&edge.caller)
        {
            headers.insert(CALLER, caller);
        }
        if let Some(forwarded) = &self.plane().settings.forwarded {
            let connection = crate::net::Connection {
                remote: peer.remote.ip(),
                local: Some(peer.local),
                tls: peer.tls,
                host: host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default(),
                method: &head.method,
                uri: uri.path_and_query().map_or("/", |target| target.as_str()),
            };
            forwarded.apply(&mut headers, &connection);
        }
        Exchange {
            arrival: Arrival {
                at: account.at,
                at_unix: account.at_unix,
                method: head.method.clone(),
                uri: uri.clone(),
                version: head.version,
                host,
                remote: peer.remote,
                local: peer.local,
                tls: peer.tls,
                edge: peer.edge.clone(),
            },
            method: head.method,
            uri,
            headers,
            body,
            params: Params::default(),
            route: self.core.no_route.clone(),
            notes: Notes {
                switch,
                grpc,
                keeps_reserved: self.plane().settings.keeps_reserved,
                ..Notes::default()
            },
            trace: account.trace,
            clock: self.plane().builder.clock.clone(),
            chance: self.core.chance.clone(),
        }
    }
}

impl Handler for Gateway {
    fn refused(&self, refused: &Refused, peer: &Peer) {
        account::tell_refused(self, refused, peer);
    }

    async fn handle(&self, mut request: Request, peer: &Peer) -> Response {
        let mut account = Account::begin(self, &request, peer);
        if !request.body().is_empty() {
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = account.count_body(body);
        }
        let mut exchange = self.exchange(request, peer, &account);
        account.watch(self, &mut exchange);
        let mut response = match self.check(&mut exchange) {
            Some(refusal) => refusal,
            None => self.carry(&mut exchange, &mut account, 0).await,
        };
        self.send_response_copies(&mut exchange, &account);
        if let Some(reason) = &exchange.notes.reason {
            let route = if Arc::ptr_eq(&exchange.route, &self.core.no_route) { "" } else { &*exchange.route };
            reason.mark(route, &mut response);
        }
        response.headers_mut().insert_missing(SERVER, HeaderValue::from_static("Tombolo"));
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(Switch { client, backend: Some(backend) }) = exchange.notes.switch.take()
        {
            return self.tunnel(exchange, account, response, client, backend);
        }
        headers::settle_length(&exchange.arrival.method, &mut response);
        if exchange.notes.grpc
            && let Some(reason) = &exchange.notes.reason
        {
            grpc::translate(&mut response, reason);
        }
        *response.version_mut() = http::Version::HTTP_11;
        if let Some(wait) = exchange.notes.write_timeout {
            response = response.map(|body| body.with_deadline(wait));
            response.extensions_mut().insert(wire::WriteWithin(wait));
        }
        account.finish(&mut exchange, response)
    }
}

impl Gateway {
    /// The answer 101, after which the connections of client and backend are one.
    #[cold]
    fn tunnel(
        &self,
        mut exchange: Exchange,
        account: Box<Account>,
        mut response: Response,
        client: OnUpgrade,
        (backend, in_flight): (OnUpgrade, InFlight),
    ) -> Response {
        // Filters may have thought that there is a body.
        *response.body_mut() = Body::empty();
        for name in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE] {
            response.headers_mut().remove(name);
        }
        let passed = wire::Passed::default();
        let account = account.tunnel(&mut exchange, &mut response, passed.clone());
        let idle = self.plane().settings.upgrade_idle_timeout;
        tokio::spawn(async move {
            let _in_flight = in_flight;
            let ends = async { tokio::try_join!(client.upgraded(), backend.upgraded()) };
            if let Ok(Ok((client, backend))) = tokio::time::timeout(idle, ends).await {
                account.end(wire::tunnel(client, backend, idle, &passed).await);
            }
        });
        response
    }

    /// Refuses what no route may see.
    fn check(&self, exchange: &mut Exchange) -> Option<Response> {
        if exchange.method == Method::CONNECT {
            let reason = Reason::of(Cause::DENIED).because("CONNECT is not served");
            return Some(self.refuse(exchange, StatusCode::METHOD_NOT_ALLOWED, reason));
        }
        // RFC 9112 section 3.2 (RFC 9113 section 8.3.1 has an authority in its place): exactly one Host that
        // is one, or two parties may read the request differently.
        let mut hosts = exchange.headers.get_all(HOST);
        let wrong = match (hosts.next(), hosts.next()) {
            (None, _) if exchange.arrival.version >= http::Version::HTTP_11 => {
                Some("the request must have one Host header")
            }
            (_, Some(_)) => Some("the request must have one Host header"),
            (Some(host), None) if !host::is_valid(host.as_bytes()) => {
                Some("the request's Host is no host with or without a port")
            }
            // RFC 9112 section 3.2.4.
            _ if exchange.uri.path() == "*" && exchange.method != Method::OPTIONS => {
                Some("the target * is for OPTIONS alone")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            let reason = Reason::of(Cause::BAD_REQUEST).because(wrong);
            return Some(self.refuse(exchange, StatusCode::BAD_REQUEST, reason));
        }
        if exchange
            .uri
            .path_and_query()
            .is_some_and(|uri| uri.as_str().len() > self.plane().settings.uri_bytes)
        {
            let reason = Reason::of(Cause::BAD_REQUEST).because("path and query are longer than allowed");
            return Some(self.refuse(exchange, StatusCode::URI_TOO_LONG, reason));
        }
        // RFC 9110 section 10.1.1: there is one expectation that we can meet.
        let unmet = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        if exchange.headers.get_all(EXPECT).any(unmet) {
            let reason = Reason::of(Cause::BAD_REQUEST).because("only 100-continue can be expected");
            return Some(self.refuse(exchange, StatusCode::EXPECTATION_FAILED, reason));
        }
        if let Some(refusal) = self.plane().ratelimit.as_ref().and_then(|limit| limit.ask(exchange)) {
            return Some(refusal);
        }
        let limit = self.plane().settings.body_bytes?;
        if http_body::Body::size_hint(&exchange.body).lower() > limit {
            let reason = Reason::of(Cause::BAD_REQUEST).because("the body is larger than allowed");
            return Some(self.refuse(exchange, StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        if exchange.body.exact_len().is_none() {
            let body = std::mem::take(&mut exchange.body);
            exchange.body = body.with_limit(limit);
        }
        None
    }

    /// Asks the plane as a client inside the process would: for tests and for the binary's own handlers.
    pub async fn call(&self, request: Request, peer: &Peer) -> Response {
        self.handle(request, peer).await
    }
}
