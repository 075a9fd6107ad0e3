//! Sends a request to a backend: chooses an endpoint, asks its breaker, takes a connection, and tries again
//! where that is safe or the route asks for it. Every failure becomes an answer that says why.

use crate::account::{Account, CLIENT_GONE};
use crate::answer::{Cause, Reason};
use crate::backend::{Choice, Endpoint, InFlight, Upstream, split};
use crate::engine::Gateway;
use crate::exchange::{Exchange, Mirror, RetryPolicy};
use crate::headers;
use crate::table::{Route, Target};
use base::{Blame, Fault, Kind, Retry};
use bytes::Bytes;
use http::StatusCode;
use http::header::{EXPECT, HOST, HeaderName, HeaderValue, RETRY_AFTER, UPGRADE};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use wire::{Body, Connection, Ending, OnUpgrade, Request, Response};

/// Marks a mirrored request for the predicate `Tee` (Skipper's header).
const TEE_LOOPBACK: HeaderName = HeaderName::from_static("x-tee-loopback-key");

/// Pause before a repetition: short, since somebody waits, and jittered, since others repeat as well.
const PAUSE: rules::Backoff =
    rules::Backoff { first: Duration::from_millis(25), cap: Duration::from_millis(250) };

/// How long an idle connection may take to be ready.
const READY_WAIT: Duration = Duration::from_millis(5);

/// Dead idle connections that one request may meet before it opens its own.
const STALE_MAX: usize = 3;

/// A try that gave no usable response.
struct Failure {
    status: StatusCode,
    cause: Cause,
    fault: Fault,
    /// Whether no byte of the request was sent.
    unsent: bool,
}

impl Gateway {
    /// The backend's response, or an answer that says why there is none.
    pub(crate) async fn forward(
        &self,
        route: &Arc<Route>,
        exchange: &mut Exchange,
        account: &mut Account,
    ) -> Response {
        let deadline = exchange.notes.backend_timeout.map(|wait| tokio::time::Instant::now() + wait);
        let policy = exchange.notes.retry.clone();
        if let Some(policy) = &policy {
            policy.budget.request(self.now());
        }
        let mut replay = match self.prepare_body(exchange, policy.as_deref(), deadline).await {
            Ok(replay) => replay,
            Err(response) => return response,
        };
        let mut tried: Vec<usize> = Vec::new();
        let mut attempt = 0u32;
        loop {
            let endpoint = match self.choose(route, exchange, &tried) {
                Ok(endpoint) => endpoint,
                Err((status, reason)) => return self.refuse(exchange, status, reason),
            };
            let Ok(permit) = self.breaker(exchange, &endpoint) else {
                let reason = Reason::of(Cause::BREAKER_OPEN)
                    .because(format!("breaker of {} is open", endpoint.authority));
                let mut response = self.refuse(exchange, StatusCode::SERVICE_UNAVAILABLE, reason);
                response.headers_mut().insert("x-circuit-open", HeaderValue::from_static("true"));
                return response;
            };
            let begun = self.now();
            account.attempts += 1;
            let answer_by = self.answer_by(exchange, policy.as_deref(), &replay, attempt, deadline);
            let outcome = self.try_once(exchange, &endpoint, &mut replay, answer_by, deadline).await;
            account.backend(&endpoint, self.now().since(begun));
            let failed = match &outcome {
                Ok(response) => Some(response.status().is_server_error()),
                // The caller's broken body says nothing about the backend, neither good nor bad.
                Err(failure) => (failure.fault.blame != Blame::Caller).then_some(true),
            };
            if let (Some(permit), Some(failed)) = (permit, failed) {
                let now = self.now();
                let _ = if failed { permit.failed(now) } else { permit.succeeded(now) };
            }
            let again = self.again(route, exchange, policy.as_deref(), &outcome, &replay, attempt);
            if !again || deadline.is_some_and(|deadline| tokio::time::Instant::now() >= deadline) {
                return match outcome {
                    Ok(response) => response,
                    Err(failure) => {
                        let reason = Reason::of(failure.cause).because(failure.fault.to_string());
                        self.refuse(exchange, failure.status, reason)
                    }
                };
            }
            // Its endpoint is not kept busy while another one is asked.
            drop(outcome);
            tried.push(endpoint.number);
            account.retries += 1;
            // Another endpoint may be asked at once; the same one gets a moment.
            if policy.is_some() && self.untried(route, &tried) == 0 {
                tokio::time::sleep(PAUSE.wait(attempt, &exchange.chance)).await;
            }
            attempt += 1;
        }
    }

    /// By when a try must have its answer: within its share of the time if it may be repeated for being slow.
    fn answer_by(
        &self,
        exchange: &Exchange,
        policy: Option<&RetryPolicy>,
        replay: &Replay,
        attempt: u32,
        deadline: Option<tokio::time::Instant>,
    ) -> tokio::time::Instant {
        let now = tokio::time::Instant::now();
        let longest = now + self.plane.settings.response_timeout;
        let Some(deadline) = deadline else { return longest };
        let tries = match policy {
            Some(policy)
                if policy.when.timeout
                    && matches!(replay, Replay::Kept(_))
                    && (policy.when.any_method || exchange.method.is_idempotent()) =>
            {
                policy.retries.saturating_sub(attempt) + 1
            }
            _ => 1,
        };
        longest.min(now + deadline.saturating_duration_since(now) / tries)
    }

    /// Whether a try is worth another: always by Skipper's rule (no connection, a balanced backend, no
    /// body, once), and by the route's own policy within its budget.
    fn again(
        &self,
        route: &Route,
        exchange: &Exchange,
        policy: Option<&RetryPolicy>,
        outcome: &Result<Response, Failure>,
        replay: &Replay,
        attempt: u32,
    ) -> bool {
        if !replay.is_whole() {
            return false;
        }
        let Some(policy) = policy else {
            let balanced = matches!(&route.target, Target::Upstream(upstream) if upstream.balanced);
            let unsent = matches!(outcome, Err(failure) if failure.unsent);
            return attempt == 0 && unsent && balanced && replay.is_empty();
        };
        let repeatable = policy.when.any_method || exchange.method.is_idempotent();
        let wanted = match outcome {
            Ok(response) => {
                // With Retry-After the backend says that it did not begin.
                let refused = response.headers().contains_key(RETRY_AFTER)
                    && matches!(
                        response.status(),
                        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
                    );
                policy.when.has_status(response.status()) && (repeatable || refused)
            }
            Err(failure) if failure.unsent => policy.when.connect,
            Err(failure) => match failure.fault.kind {
                Kind::Timeout => policy.when.timeout && repeatable,
                _ => policy.when.reset && repeatable && failure.fault.blame != Blame::Caller,
            },
        };
        wanted && attempt < policy.retries && policy.budget.ask(self.now())
    }

    fn untried(&self, route: &Route, tried: &[usize]) -> usize {
        match &route.target {
            Target::Upstream(upstream) => upstream.len().saturating_sub(tried.len()),
            _ => 0,
        }
    }

    fn choose(
        &self,
        route: &Route,
        exchange: &Exchange,
        tried: &[usize],
    ) -> Result<Arc<Endpoint>, (StatusCode, Reason)> {
        let upstream: &Upstream = match &route.target {
            Target::Upstream(upstream) => upstream,
            _ => {
                let url = exchange.notes.dynamic.url_for(exchange);
                return self.dynamic(&url).map_err(|fault| {
                    (StatusCode::BAD_GATEWAY, Reason::of(Cause::NOT_FOUND).because(fault.to_string()))
                });
            }
        };
        let key = || exchange.notes.hash_key.clone().unwrap_or_else(|| exchange.client().to_string());
        let choice = Choice { key: &key, factor: exchange.notes.balance_factor, tried };
        upstream.choose(&choice).ok_or_else(|| {
            let details = match upstream.service_name() {
                Some(name) => format!("no instance of service {name} can serve now"),
                None => "no endpoint".to_owned(),
            };
            (StatusCode::SERVICE_UNAVAILABLE, Reason::of(Cause::NO_INSTANCE).because(details))
        })
    }

    fn breaker(&self, exchange: &Exchange, endpoint: &Endpoint) -> Result<Option<rules::Permit>, ()> {
        let now = self.now();
        match self.plane.breakers.get(exchange.notes.breaker, &endpoint.authority, now) {
            None => Ok(None),
            Some(breaker) => breaker.ask(now).map(Some).ok_or(()),
        }
    }

    /// The request's body in the form it is sent in, a small one kept for repetitions.
    async fn prepare_body(
        &self,
        exchange: &mut Exchange,
        policy: Option<&RetryPolicy>,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<Replay, Response> {
        let mut body = std::mem::take(&mut exchange.body);
        if body.is_empty() {
            return Ok(Replay::Kept(Bytes::new()));
        }
        if let Some(wait) = exchange.notes.read_timeout {
            body = body.with_deadline(wait);
        }
        let Some(policy) = policy else { return Ok(Replay::Once(Some(body))) };
        let collect = body.collect_up_to(policy.body_bytes);
        let collected = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, collect).await.unwrap_or_else(|_| {
                Err(Fault::new(Kind::Timeout, "the request's body did not come in time"))
            }),
            None => collect.await,
        };
        match collected {
            Ok(Ok(bytes)) => Ok(Replay::Kept(bytes)),
            Ok(Err(body)) => Ok(Replay::Once(Some(body))),
            Err(fault) => {
                let (status, cause) = body_failure(fault.kind);
                let reason = Reason::of(cause).because(fault.to_string());
                Err(self.refuse(exchange, status, reason))
            }
        }
    }

    /// One try at one endpoint. A dead idle connection does not count as a try.
    async fn try_once(
        &self,
        exchange: &mut Exchange,
        endpoint: &Arc<Endpoint>,
        replay: &mut Replay,
        answer_by: tokio::time::Instant,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<Response, Failure> {
        let in_flight = InFlight::begin(endpoint);
        let upgrade = exchange.notes.switch.as_ref().and_then(|_| headers::wanted_upgrade(&exchange.headers));
        let mut request = None;
        for stale in 0..=STALE_MAX {
            let mut connection = match self.connect(endpoint, answer_by, stale < STALE_MAX).await {
                Ok(connection) => connection,
                Err(mut failure) => {
                    // Nothing was sent: another endpoint may still have a body that can be sent only once.
                    replay.put_back(request);
                    if deadline.is_some_and(|deadline| tokio::time::Instant::now() >= deadline) {
                        failure.status = StatusCode::GATEWAY_TIMEOUT;
                    }
                    return Err(failure);
                }
            };
            let sent = request
                .take()
                .unwrap_or_else(|| self.outgoing(exchange, endpoint, replay.take(), upgrade.as_ref()));
            let error = match connection.send(sent, answer_by).await {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return switched(exchange, response, upgrade.as_ref(), in_flight).map_err(send_failure);
                }
                Ok(response) => return Ok(self.returned(response, connection, in_flight, deadline)),
                Err(error) => error,
            };
            // A connection that served before may have been closed by an idle time-out as we sent. That is
            // no failure of the backend: nothing was sent, or repeating does no harm.
            let harmless =
                error.fault.retry == Retry::Safe || (exchange.method.is_idempotent() && replay.is_whole());
            if error.reused && harmless && stale < STALE_MAX && error.fault.kind == Kind::Unavailable {
                request = error.request.map(|request| *request);
                if request.is_some() || replay.is_whole() {
                    continue;
                }
            }
            return Err(send_failure(error.fault));
        }
        Err(send_failure(Fault::new(Kind::Unavailable, "the backend closes every connection")))
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        by: tokio::time::Instant,
        idle_ones: bool,
    ) -> Result<Connection, Failure> {
        while idle_ones && let Some(mut connection) = self.core.pool.take(endpoint, self.now()) {
            // Its last response has passed, so it is ready now or after its own bookkeeping; unless that
            // response came early and the request's body is still on its way: then it is of no use to us.
            if connection.is_ready() || tokio::time::timeout(READY_WAIT, connection.ready()).await == Ok(true)
            {
                return Ok(connection);
            }
        }
        let dialled = tokio::time::timeout_at(by, self.plane.settings.dialer.dial(&endpoint.origin)).await;
        let fault = match dialled {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::new(Kind::Timeout, format!("no connection to `{}` in time", endpoint.origin)),
        };
        let cause =
            if fault.kind == Kind::Timeout { Cause::CONNECTION_TIMEOUT } else { Cause::CONNECTION_REFUSED };
        Err(Failure { status: StatusCode::BAD_GATEWAY, cause, fault, unsent: true })
    }

    fn outgoing(
        &self,
        exchange: &Exchange,
        endpoint: &Endpoint,
        body: Body,
        upgrade: Option<&HeaderValue>,
    ) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = exchange.method.clone();
        *request.uri_mut() = exchange.uri.clone();
        let mut headers = exchange.headers.clone();
        headers::strip_hop_by_hop(&mut headers);
        // We have read the body's beginning ourselves by now, or will when the backend wants it.
        headers.remove(EXPECT);
        let host = exchange.notes.outgoing_host.as_ref().unwrap_or(&endpoint.host);
        headers.insert(HOST, host.clone());
        exchange.trace.inject(&mut headers);
        headers::announce_body(request.body(), &mut headers);
        if let Some(protocols) = upgrade {
            headers::announce_upgrade(protocols.clone(), &mut headers);
        }
        *request.headers_mut() = headers;
        request
    }

    /// A response on its way back: when its body has passed, the connection is free again.
    fn returned(
        &self,
        response: Response,
        connection: Connection,
        in_flight: InFlight,
        deadline: Option<tokio::time::Instant>,
    ) -> Response {
        let gateway = self.clone();
        let mut response = response.map(|body| {
            let body = body.with_tail(move |ending, _| {
                if ending == Ending::Complete {
                    gateway.core.pool.keep(in_flight.endpoint(), connection, gateway.now());
                }
            });
            match deadline {
                Some(deadline) => {
                    body.with_deadline(deadline.saturating_duration_since(tokio::time::Instant::now()))
                }
                None => body,
            }
        });
        headers::strip_hop_by_hop(response.headers_mut());
        response
    }

    /// Sends the copies that filters asked for. Nobody waits for them; what does not fit is not sent.
    pub(crate) fn send_mirrors(&self, exchange: &mut Exchange) {
        for mirror in std::mem::take(&mut exchange.notes.mirrors) {
            let Ok(place) = self.core.mirrors.clone().try_acquire_owned() else {
                self.plane.builder.metrics.mirror_dropped();
                continue;
            };
            let (body, copy) = split(std::mem::take(&mut exchange.body));
            exchange.body = body;
            let mut headers = exchange.headers.clone();
            headers::strip_hop_by_hop(&mut headers);
            headers.remove(EXPECT);
            headers::announce_body(&copy, &mut headers);
            let mut request = Request::new(copy);
            *request.method_mut() = exchange.method.clone();
            let gateway = self.clone();
            match mirror {
                Mirror::To { origin, target, host } => {
                    headers.insert(HOST, host);
                    *request.headers_mut() = headers;
                    *request.uri_mut() = target.into();
                    tokio::spawn(async move {
                        let _place = place;
                        gateway.mirror(&origin, request).await;
                    });
                }
                Mirror::Loopback { label } => {
                    headers.insert(TEE_LOOPBACK, label);
                    *request.version_mut() = exchange.arrival.version;
                    *request.headers_mut() = headers;
                    *request.uri_mut() = exchange.uri.clone();
                    let peer = wire::Peer {
                        remote: exchange.arrival.remote,
                        local: exchange.arrival.local,
                        tls: exchange.arrival.tls,
                        edge: exchange.arrival.edge.clone(),
                    };
                    tokio::spawn(async move {
                        let _place = place;
                        // Boxed: this future holds one of its own kind.
                        let call: std::pin::Pin<Box<dyn Future<Output = Response> + Send>> =
                            Box::pin(async move { gateway.call(request, &peer).await });
                        drain(call.await).await;
                    });
                }
            }
        }
    }

    async fn mirror(&self, origin: &wire::Origin, request: Request) {
        let Ok(endpoint) = self.dynamic(&origin.to_string()) else { return };
        let by = tokio::time::Instant::now() + self.plane.settings.response_timeout;
        let in_flight = InFlight::begin(&endpoint);
        let (head, body) = request.into_parts();
        let mut again = (body.is_empty() && head.method.is_idempotent()).then(|| head.clone());
        let mut request = Some(Request::from_parts(head, body));
        // The second time on a new connection: an idle one may have been closed as we sent.
        for idle_ones in [true, false] {
            let Ok(mut connection) = self.connect(&endpoint, by, idle_ones).await else { return };
            let Some(sent) = request.take() else { return };
            match connection.send(sent, by).await {
                Ok(response) => {
                    return drain(self.returned(response, connection, in_flight, Some(by))).await;
                }
                Err(error) if error.reused => {
                    let anew = again.take().map(|head| Request::from_parts(head, Body::empty()));
                    request = error.request.map(|request| *request).or(anew);
                }
                Err(_) => return,
            }
        }
    }
}

/// A backend's answer 101 on its way to the client, if it changes to a protocol that it was asked for.
fn switched(
    exchange: &mut Exchange,
    mut response: Response,
    asked: Option<&HeaderValue>,
    in_flight: InFlight,
) -> Result<Response, Fault> {
    let protocol = response.headers().get(UPGRADE).cloned();
    let protocol = protocol.filter(|protocol| asked.is_some_and(|asked| headers::is_among(protocol, asked)));
    let on_upgrade = response.extensions_mut().remove::<OnUpgrade>();
    let (Some(protocol), Some(on_upgrade), Some(switch)) = (protocol, on_upgrade, &mut exchange.notes.switch)
    else {
        let fault = Fault::new(Kind::Invalid, "the backend changes to a protocol that nobody asked for");
        return Err(fault.blame(Blame::Neighbour));
    };
    switch.backend = Some((on_upgrade, in_flight));
    headers::strip_hop_by_hop(response.headers_mut());
    headers::announce_upgrade(protocol, response.headers_mut());
    Ok(response)
}

/// Most bytes of an unwanted answer that are read to keep its connection.
const DRAIN_MAX: usize = 1 << 20;

async fn drain(response: Response) {
    let _ = response.into_body().collect(DRAIN_MAX).await;
}

fn send_failure(fault: Fault) -> Failure {
    let (status, cause) = match (fault.blame, fault.kind) {
        (Blame::Caller, kind) => body_failure(kind),
        (_, Kind::Timeout) => (StatusCode::GATEWAY_TIMEOUT, Cause::RESPONSE_TIMEOUT),
        (_, Kind::Invalid) => (StatusCode::SERVICE_UNAVAILABLE, Cause::PROTOCOL_ERROR),
        _ => (StatusCode::SERVICE_UNAVAILABLE, Cause::CONNECTION_TERMINATED),
    };
    Failure { status, cause, fault, unsent: false }
}

/// What is answered when the request's own body fails.
fn body_failure(kind: Kind) -> (StatusCode, Cause) {
    match kind {
        Kind::TooMuch => (StatusCode::PAYLOAD_TOO_LARGE, Cause::BAD_REQUEST),
        Kind::Timeout => (StatusCode::REQUEST_TIMEOUT, Cause::BAD_REQUEST),
        // Nobody is left to read the answer; the log shall not count it as a malformed request.
        Kind::Unavailable => {
            (StatusCode::from_u16(CLIENT_GONE).expect("a status has three digits"), Cause::CLIENT_GONE)
        }
        _ => (StatusCode::BAD_REQUEST, Cause::BAD_REQUEST),
    }
}

/// A request's body for one try or for several.
enum Replay {
    /// All of it, to be sent as often as needed.
    Kept(Bytes),
    /// It can be sent once; `None` when it was.
    Once(Option<Body>),
}

impl Replay {
    fn take(&mut self) -> Body {
        match self {
            Replay::Kept(bytes) => Body::full(bytes.clone()),
            Replay::Once(body) => body.take().unwrap_or_default(),
        }
    }

    /// Takes back the body of a request of which nothing was sent.
    fn put_back(&mut self, request: Option<Request>) {
        if let (Replay::Once(body), Some(request)) = (self, request) {
            *body = Some(request.into_body());
        }
    }

    /// Whether another try could send all of it.
    fn is_whole(&self) -> bool {
        matches!(self, Replay::Kept(_) | Replay::Once(Some(_)))
    }

    fn is_empty(&self) -> bool {
        matches!(self, Replay::Kept(bytes) if bytes.is_empty())
    }
}
