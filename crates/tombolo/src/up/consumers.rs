//! Consumers of a running `tombolo up`: those that its manifest declares, and the way to the services that handle
//! messages. A consumer comes in by a door of its own, as a service does that calls another, so that limits, breakers
//! and traces are those of any call.

use super::doors::Doors;
use base::{Fault, Kind, Retry};
use http::Method;
use http::header::{HOST, HeaderName, HeaderValue, RETRY_AFTER};
use manifest::{ConsumerStart, Manifest};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use streams::consumers::{Declared, Definition, Deliver, Handler, Push, Pushed, Refused, Start, bounds};
use tokio::time::Instant;
use wire::{Body, Connection, Dialer, Origin, Request, Response, Scheme};

/// Idle connections to one door.
const IDLE_MAX: usize = 32;
/// Who calls for consumers that no manifest declares.
pub(super) const ANY: &str = "consumer:*";
/// How the callers that are consumers begin; no service's name does.
const CALLER: &str = "consumer:";
/// Why the gateway answers itself when a request did not reach its service (RFC 9209 section 2.3, and our own words).
const UNREACHED: [&str; 8] = [
    "destination_unavailable",
    "destination_not_found",
    "connection_refused",
    "connection_timeout",
    "breaker_open",
    "queue_full",
    "queue_timeout",
    "load_shed",
];

/// The name by which a consumer of the manifest calls.
pub(super) fn caller(consumer: &str) -> String {
    format!("{CALLER}{consumer}")
}

/// Whether a caller is a consumer.
pub(super) fn is_one(caller: &str) -> bool {
    caller.starts_with(CALLER)
}

/// The consumers of a manifest.
pub(super) fn declared(manifest: &Manifest) -> Result<Vec<Declared>, Fault> {
    manifest.consumers.iter().map(one).collect()
}

fn one(consumer: &manifest::Consumer) -> Result<Declared, Fault> {
    let start = match &consumer.start {
        ConsumerStart::Beginning => Start::Beginning,
        ConsumerStart::End => Start::End,
        ConsumerStart::Position(position) => Start::Position(*position),
        ConsumerStart::Time(time) => Start::read(&time.as_str().into())?,
    };
    let handler = consumer.handler.as_ref();
    let definition = Definition {
        handler: handler.map(|of| Handler { service: of.service.clone(), path: of.path.clone() }),
        types: consumer.types.clone(),
        correlation: consumer.correlation.clone(),
        start,
        size: consumer.size,
        batch: consumer.batch,
        concurrency: consumer.concurrency,
        timeout: consumer.timeout,
        attempts: consumer.attempts,
        backoff: rules::Backoff { first: consumer.backoff, cap: consumer.backoff_max },
        refused: if consumer.refused_is_dead { Refused::DeadLetter } else { Refused::Retry },
        ..Definition::of(consumer.category.as_str())
    };
    Ok(Declared { name: consumer.name.clone(), definition, member: consumer.member })
}

/// Posts messages to services, through the doors that are open.
#[derive(Default)]
pub(crate) struct Pushing {
    doors: Mutex<BTreeMap<(String, String), SocketAddr>>,
    /// At most [`IDLE_MAX`] for each door.
    idle: Mutex<HashMap<SocketAddr, Vec<Connection>>>,
    dialer: Dialer,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pushing {
    /// Goes through these doors from now on.
    pub(super) fn through(&self, doors: &Doors) {
        let doors: BTreeMap<_, _> = doors
            .list()
            .map(|(caller, callee, address)| ((caller.to_owned(), callee.to_owned()), address))
            .collect();
        lock(&self.idle).retain(|address, _| doors.values().any(|open| open == address));
        *lock(&self.doors) = doors;
    }

    fn door(&self, consumer: &str, service: &str) -> Option<SocketAddr> {
        let doors = lock(&self.doors);
        let of = |caller: String| doors.get(&(caller, service.to_owned())).copied();
        of(caller(consumer)).or_else(|| of(ANY.to_owned()))
    }

    async fn post(&self, push: Push) -> Result<Pushed, Fault> {
        let service = &push.handler.service;
        let Some(door) = self.door(&push.consumer, service) else {
            let text = format!("`{service}` is no service here");
            return Err(Fault::new(Kind::Unavailable, text).retry(Retry::Safe));
        };
        let by = Instant::now() + push.timeout;
        let (response, connection) = self.send(&push, door, by).await?;
        if let Some(cause) = unreached(response.headers()) {
            let text = format!("`{service}` was not reached: {cause}");
            return Err(Fault::new(Kind::Unavailable, text).retry(Retry::Safe));
        }
        let status = response.status().as_u16();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = wait.and_then(|text| retry_after(text, SystemTime::now()));
        // It was reached, whatever became of its answer.
        let body = response.into_body().collect(bounds::ANSWER_BYTES_MAX).await;
        let body = body.map_err(|fault| fault.retry(Retry::IfIdempotent))?.to_vec();
        self.keep(door, connection);
        Ok(Pushed { status, retry_after, body })
    }

    /// Sends it on an idle connection, or on a new one where there is none or it was closed meanwhile.
    async fn send(
        &self,
        push: &Push,
        door: SocketAddr,
        by: Instant,
    ) -> Result<(Response, Connection), Fault> {
        let idle = lock(&self.idle).get_mut(&door).and_then(Vec::pop);
        if let Some(mut connection) = idle
            && connection.is_ready()
        {
            match connection.send(request(push, door)?, by).await {
                Ok(response) => return Ok((response, connection)),
                Err(error) if error.fault.retry == Retry::Safe || error.body.is_some() => {}
                Err(error) => return Err(error.fault),
            }
        }
        let origin = Origin { scheme: Scheme::Http, host: door.ip().to_string(), port: door.port() };
        let mut connection = self.dialer.dial(&origin).await.map_err(|fault| fault.retry(Retry::Safe))?;
        let response = connection.send(request(push, door)?, by).await.map_err(|error| error.fault)?;
        Ok((response, connection))
    }

    fn keep(&self, door: SocketAddr, mut connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let is_open = lock(&self.doors).values().any(|open| *open == door);
        let mut idle = lock(&self.idle);
        let idle = idle.entry(door).or_default();
        if is_open && idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }
}

impl Deliver for Pushing {
    fn serves(&self, handler: &Handler) -> bool {
        lock(&self.doors).keys().any(|(_, service)| *service == handler.service)
    }

    fn push(&self, push: Push) -> Pin<Box<dyn Future<Output = Result<Pushed, Fault>> + Send + '_>> {
        Box::pin(self.post(push))
    }
}

fn request(push: &Push, door: SocketAddr) -> Result<Request, Fault> {
    let wrong = |what: &str| Fault::new(Kind::Invalid, format!("{what} of a push can't be sent"));
    let mut request = Request::new(Body::full(push.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = push.handler.path.parse().map_err(|_| wrong("the path"))?;
    let host = HeaderValue::try_from(door.to_string()).map_err(|_| wrong("the host"))?;
    request.headers_mut().insert(HOST, host);
    for (name, value) in &push.headers {
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| wrong("a header"))?;
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

/// Why a request did not reach its service, if the gateway says so.
fn unreached(headers: &wire::Headers) -> Option<&'static str> {
    let status = headers.get("proxy-status")?.to_str().ok()?;
    let error = status.strip_prefix("tombolo; error=")?.split(';').next()?;
    UNREACHED.into_iter().find(|cause| *cause == error)
}

/// How long `Retry-After` asks to wait (RFC 9110 section 10.2.3).
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = httpdate::parse_http_date(text).ok()?;
    Some(time.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_beyond_its_bound_is_a_failure_of_a_service_that_was_reached() {
        let large = || testkit::Reply::ok("x".repeat(bounds::ANSWER_BYTES_MAX + 1));
        let backend = testkit::Backend::start(move |_| large()).await;
        let pushing = Pushing::default();
        lock(&pushing.doors).insert((ANY.to_owned(), "shop".to_owned()), backend.address());
        let push = Push {
            consumer: "billing".to_owned(),
            handler: Handler::parse("shop/orders").unwrap(),
            headers: Vec::new(),
            body: "{}".to_owned(),
            timeout: Duration::from_secs(20),
        };
        let fault = pushing.post(push).await.unwrap_err();
        assert_eq!((fault.kind, fault.retry), (Kind::TooMuch, Retry::IfIdempotent), "{fault}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sat, 06 Nov 1993 08:49:37 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn only_our_own_answer_says_that_a_service_was_not_reached() {
        let cause = |value: &'static str| {
            let mut headers = wire::Headers::default();
            headers.insert(HeaderName::from_static("proxy-status"), HeaderValue::from_static(value));
            unreached(&headers)
        };
        assert_eq!(cause("tombolo; error=connection_refused; route=\"to_shop\""), Some("connection_refused"));
        assert_eq!(cause("tombolo; error=http_response_timeout"), None, "it may have been handled");
        assert_eq!(cause("other; error=connection_refused"), None);
        assert_eq!(unreached(&wire::Headers::default()), None);
    }
}
