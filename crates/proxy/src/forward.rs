//! Sends a request to a backend: chooses an endpoint, asks its breaker, takes a connection, and tries again
//! where that is safe or the route asks for it. Every failure becomes an answer that says why.

use crate::account::{Account, CLIENT_GONE};
use crate::answer::{Cause, Reason};
use crate::backend::{Choice, Chosen, Endpoint, InFlight, LocalEndpoint, Upstream};
use crate::engine::Gateway;
use crate::exchange::{Exchange, RetryPolicy};
use crate::grpc;
use crate::headers;
use crate::spans::Tried;
use crate::table::{LocalRoute, Route, Target};
use crate::upload::{self, AnswerWait, Turn};
use base::{Blame, Fault, Kind, Moment, Retry};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, TE, UPGRADE};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wire::{Body, Connection, Ending, OnUpgrade, Outgoing, Response, Scheme, Speak};

/// Pause before a repetition: short, since somebody waits, and jittered, since others repeat as well.
const PAUSE: rules::Backoff =
    rules::Backoff { first: Duration::from_millis(25), cap: Duration::from_millis(250) };

/// Dead idle connections that one request may meet before it opens its own.
const STALE_MAX: usize = 3;

/// A try that gave no usable response.
pub(crate) struct Failure {
    status: StatusCode,
    pub(crate) cause: Cause,
    fault: Fault,
    /// Whether no byte of the request was sent.
    unsent: bool,
}

impl Gateway {
    /// The backend's response, or an answer that says why there is none.
    pub(crate) async fn forward(
        &self,
        route: &Arc<LocalRoute>,
        exchange: &mut Exchange,
        account: &mut Account,
    ) -> Response {
        let deadline = self.deadline(exchange);
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
            let instant = Instant::now();
            let begun = self.plane().builder.clock.at(instant.into_std());
            let endpoint = match self.choose(route, exchange, &tried, begun) {
                Ok(endpoint) => endpoint,
                Err((status, reason)) => return self.refuse(exchange, status, reason),
            };
            let Ok(permit) = self.breaker(exchange, &endpoint, begun) else {
                let reason = Reason::of(Cause::BREAKER_OPEN)
                    .because(format!("breaker of {} is open", endpoint.authority));
                let mut response = self.refuse(exchange, StatusCode::SERVICE_UNAVAILABLE, reason);
                response.headers_mut().insert("x-circuit-open", HeaderValue::from_static("true"));
                return response;
            };
            account.begin_try(route, &endpoint, exchange, begun);
            let by = self.answer_by(exchange, policy.as_deref(), &replay, attempt, deadline);
            let (outcome, ended) =
                self.try_once(exchange, &endpoint, &mut replay, (begun, instant), (by, deadline)).await;
            let took = ended.since(begun);
            account.end_try(match &outcome {
                Ok(response) => Tried { at: ended, status: grpc::status(response).as_u16(), cause: "" },
                Err(failure) => Tried { at: ended, status: 0, cause: failure.cause.0 },
            });
            let failed = match &outcome {
                Ok(response) => Some(grpc::status(response).is_server_error()),
                // The caller's broken body says nothing about the backend, neither good nor bad.
                Err(failure) => (failure.fault.blame != Blame::Caller).then_some(true),
            };
            if let (Some(permit), Some(failed)) = (permit, failed) {
                let _ = if failed { permit.failed(ended) } else { permit.succeeded(ended) };
            }
            if let (Target::Upstream(upstream), Some(failed)) = (&route.target, failed) {
                if upstream.learns_latency() {
                    endpoint.latency.observe(took, failed, ended);
                }
                if let Some(passive) = &self.plane().passive {
                    endpoint.outcomes.record(outcome.is_err(), &passive.settings, ended);
                }
            }
            let again = self.again(route, exchange, policy.as_deref(), &outcome, &replay, attempt);
            if !again || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                account.backend(endpoint, took);
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
            account.backend(endpoint, took);
            account.retries += 1;
            // Another endpoint may be asked at once; the same one gets a moment.
            if policy.is_some() && self.untried(route, &tried) == 0 {
                tokio::time::sleep(PAUSE.wait(attempt, &exchange.chance)).await;
            }
            attempt += 1;
        }
    }

    /// When the backend's whole response must have come: by the route's word or the caller's.
    fn deadline(&self, exchange: &Exchange) -> Option<Instant> {
        let callers =
            exchange.notes.grpc.then(|| grpc::time_left(&exchange.headers, exchange.arrival.at, self.now()));
        let wait = match (exchange.notes.backend_timeout, callers.flatten()) {
            (Some(routes), Some(callers)) => Some(routes.min(callers)),
            (routes, callers) => routes.or(callers),
        };
        wait.map(|wait| Instant::now() + wait)
    }

    /// By when a try must have its answer in any case: within its share of the time if it may be repeated
    /// for being slow.
    fn answer_by(
        &self,
        exchange: &Exchange,
        policy: Option<&RetryPolicy>,
        replay: &Replay,
        attempt: u32,
        deadline: Option<Instant>,
    ) -> Option<Instant> {
        let deadline = deadline?;
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
        let now = Instant::now();
        Some(now + deadline.saturating_duration_since(now) / tries)
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
                let status = grpc::status(response);
                let refused = response.headers().contains_key(RETRY_AFTER)
                    && matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
                policy.when.has_status(status) && (repeatable || refused)
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
        route: &LocalRoute,
        exchange: &Exchange,
        tried: &[usize],
        now: Moment,
    ) -> Result<Arc<LocalEndpoint>, (StatusCode, Reason)> {
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
        let passive = self.plane().passive.as_ref();
        let choice = Choice {
            key: &key,
            factor: exchange.notes.balance_factor,
            tried,
            passive: passive.map(|passive| &passive.settings),
            now,
        };
        let chosen = upstream.choose(&choice, |endpoint| route.endpoint(endpoint, &self.core.pool));
        let Some(Chosen { endpoint, left_out }) = chosen else {
            let details = match upstream.service_name() {
                Some(name) => format!("no instance of service {name} can serve now"),
                None => "no endpoint".to_owned(),
            };
            return Err((StatusCode::SERVICE_UNAVAILABLE, Reason::of(Cause::NO_INSTANCE).because(details)));
        };
        if let Some(passive) = passive.filter(|_| left_out > 0) {
            passive.dropped.add(left_out as u64);
            passive.passed.increment();
        }
        Ok(endpoint)
    }

    fn breaker(
        &self,
        exchange: &Exchange,
        endpoint: &Endpoint,
        now: Moment,
    ) -> Result<Option<rules::Permit>, ()> {
        match self.plane().breakers.get(exchange.notes.breaker, &endpoint.authority, now) {
            None => Ok(None),
            Some(breaker) => breaker.ask(now).map(Some).ok_or(()),
        }
    }

    /// The request's body in the form it is sent in, a small one kept for repetitions.
    async fn prepare_body(
        &self,
        exchange: &mut Exchange,
        policy: Option<&RetryPolicy>,
        deadline: Option<Instant>,
    ) -> Result<Replay, Response> {
        let mut body = std::mem::take(&mut exchange.body);
        if body.is_empty() {
            return Ok(Replay::Kept(Bytes::new()));
        }
        if let Some(wait) = exchange.notes.read_timeout {
            body = body.with_deadline(wait);
        }
        let Some(policy) = policy else { return Ok(Replay::once(body)) };
        let collect = Box::pin(body.collect_up_to(policy.body_bytes));
        let collected = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, collect).await.unwrap_or_else(|_| {
                Err(Fault::new(Kind::Timeout, "the request's body did not come in time"))
            }),
            None => collect.await,
        };
        match collected {
            Ok(Ok(bytes)) => Ok(Replay::Kept(bytes)),
            Ok(Err(body)) => Ok(Replay::once(body)),
            Err(fault) => {
                let (status, cause) = body_failure(fault.kind);
                let reason = Reason::of(cause).because(fault.to_string());
                Err(self.refuse(exchange, status, reason))
            }
        }
    }

    /// One try at one endpoint, and when it ended. A dead idle connection does not count as a try.
    async fn try_once(
        &self,
        exchange: &mut Exchange,
        endpoint: &Arc<LocalEndpoint>,
        replay: &mut Replay,
        (begun, mut instant): (Moment, Instant),
        (by, deadline): (Option<Instant>, Option<Instant>),
    ) -> (Result<Response, Failure>, Moment) {
        let failed = |failure| (Err(failure), self.now());
        let turn = replay.turn();
        let wait = AnswerWait { by, longest: self.plane().settings.response_timeout, turn: turn.as_deref() };
        let in_flight = InFlight::begin(endpoint);
        let may_upgrade = exchange.notes.switch.is_some() && endpoint.origin.scheme != Scheme::H2c;
        let upgrade = may_upgrade.then(|| headers::wanted_upgrade(&exchange.headers)).flatten();
        let mut changes = changes(exchange, upgrade.as_ref());
        let propagation = self.plane().settings.spans.as_ref().map(|spans| spans.propagation);
        let trace = exchange.trace.fields(&exchange.headers, propagation.unwrap_or_default(), &mut changes);
        let trace = trace.list();
        let speak = match &upgrade {
            Some(_) => Speak::Http1,
            None => self.speaks(endpoint, exchange.notes.grpc),
        };
        let mut body = None;
        for stale in 0..=STALE_MAX {
            if stale > 0 {
                instant = Instant::now();
            }
            let soonest = wait.soonest(instant);
            let connected = self.connect(endpoint, speak, begun, soonest, stale < STALE_MAX).await;
            let mut connection = match connected {
                Ok(connection) => connection,
                Err(fault) => {
                    // Nothing was sent: another endpoint may still have a body that can be sent only once.
                    replay.put_back(body);
                    return failed(connect_failure(fault, deadline));
                }
            };
            let sent = body.take().unwrap_or_else(|| replay.take());
            let head = Outgoing {
                method: &exchange.method,
                target: &exchange.uri,
                host: Some(exchange.notes.outgoing_host.as_ref().unwrap_or(&endpoint.host)),
                headers: &exchange.headers,
                ends_here: headers::ends_here,
                changes: &changes,
                made: trace.as_slice(),
            };
            // What was dialled has taken its time, and the answer has its own.
            let soonest = if connection.is_used() { soonest } else { wait.soonest(Instant::now()) };
            let error = match wait.send(&mut connection, &head, sent, soonest).await {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    let switched = switched(exchange, response, upgrade.as_ref(), in_flight);
                    return (switched.map_err(send_failure), self.now());
                }
                Ok(response) => {
                    let ended = self.now();
                    return (Ok(self.returned(response, connection, in_flight, ended, deadline)), ended);
                }
                Err(error) => error,
            };
            // A connection that served before may have been closed by an idle time-out as we sent, or has had
            // all the requests it was to have. That is no failure of the backend: nothing was sent, or
            // repeating does no harm.
            let harmless =
                error.fault.retry == Retry::Safe || (exchange.method.is_idempotent() && replay.is_whole());
            let again = (error.reused || error.refused)
                && harmless
                && stale < STALE_MAX
                && error.fault.kind == Kind::Unavailable;
            if again && (error.body.is_some() || replay.is_whole()) {
                body = error.body;
                continue;
            }
            // Another endpoint may still have what nobody has seen.
            replay.put_back(error.body);
            return failed(send_failure(error.fault));
        }
        failed(send_failure(Fault::new(Kind::Unavailable, "the backend closes every connection")))
    }

    /// A response on its way back: when its body has passed, the connection is free again.
    pub(crate) fn returned(
        &self,
        response: Response,
        connection: Connection,
        in_flight: InFlight,
        now: Moment,
        deadline: Option<Instant>,
    ) -> Response {
        let body = response.body();
        let mut response = if body.is_empty() || body.as_full().is_some() {
            // All of it is there: whoever takes it, and when, is nothing to the backend.
            in_flight.endpoint().keep(connection, now);
            response
        } else {
            let clock = self.plane().builder.clock.clone();
            let tail = Box::new(move |ending, _| {
                if ending == Ending::Complete {
                    in_flight.endpoint().keep(connection, clock.now());
                }
            });
            response.map(|body| body.with_tail(tail))
        };
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            response = response.map(|body| body.with_deadline(left));
        }
        headers::strip_hop_by_hop(response.headers_mut());
        response
    }
}

/// What differs between the fields of a request as its filters left them and those that the backend gets.
fn changes(exchange: &Exchange, upgrade: Option<&HeaderValue>) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let mut changes = Vec::new();
    if headers::wants_trailers(&exchange.headers) {
        changes.push((TE, Some(HeaderValue::from_static("trailers"))));
    }
    if let Some(protocols) = upgrade {
        changes.push((CONNECTION, Some(HeaderValue::from_static("upgrade"))));
        changes.push((UPGRADE, Some(protocols.clone())));
    }
    changes
}

/// A backend's answer 101 on its way to the client, if it changes to a protocol that it was asked for.
#[cold]
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

#[cold]
pub(crate) fn connect_failure(fault: Fault, deadline: Option<Instant>) -> Failure {
    let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let status = if late { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
    let cause =
        if fault.kind == Kind::Timeout { Cause::CONNECTION_TIMEOUT } else { Cause::CONNECTION_REFUSED };
    Failure { status, cause, fault, unsent: true }
}

#[cold]
pub(crate) fn send_failure(fault: Fault) -> Failure {
    let (status, cause) = match (fault.blame, fault.kind) {
        (Blame::Caller, kind) => body_failure(kind),
        (_, Kind::Timeout) => (StatusCode::GATEWAY_TIMEOUT, Cause::RESPONSE_TIMEOUT),
        (_, Kind::Invalid) => (StatusCode::SERVICE_UNAVAILABLE, Cause::PROTOCOL_ERROR),
        _ => (StatusCode::SERVICE_UNAVAILABLE, Cause::CONNECTION_TERMINATED),
    };
    let unsent = fault.retry == Retry::Safe;
    Failure { status, cause, fault, unsent }
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
    /// It can be sent once; `None` when it was. Whose turn it is while it is.
    Once(Option<Body>, Arc<Turn>),
}

impl Replay {
    fn once(body: Body) -> Self {
        let (body, turn) = upload::watched(body);
        Replay::Once(Some(body), turn)
    }

    fn turn(&self) -> Option<Arc<Turn>> {
        match self {
            Replay::Kept(_) => None,
            Replay::Once(_, turn) => Some(turn.clone()),
        }
    }

    fn take(&mut self) -> Body {
        match self {
            Replay::Kept(bytes) => Body::full(bytes.clone()),
            Replay::Once(body, _) => body.take().unwrap_or_default(),
        }
    }

    /// Takes back the body of a request of which nothing was sent.
    fn put_back(&mut self, unsent: Option<Body>) {
        if let (Replay::Once(body, _), Some(unsent)) = (self, unsent) {
            *body = Some(unsent);
        }
    }

    /// Whether another try could send all of it.
    fn is_whole(&self) -> bool {
        matches!(self, Replay::Kept(_) | Replay::Once(Some(_), _))
    }

    fn is_empty(&self) -> bool {
        matches!(self, Replay::Kept(bytes) if bytes.is_empty())
    }
}
