//! Sends spans on to another collector over OTLP/HTTP, as its specification has it: in protobuf and compressed, again
//! after a pause where the collector is busy or away, and never what it refuses. What waits is bounded; whoever
//! reports spans never waits for the collector.

use super::encode::encode_proto;
use crate::spans::{Follower, Span};
use base::{Chance, Clock, Fault, Kind, Moment, Retry};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Uri};
use std::io::Write as _;
use std::time::Duration;
use tokio::time::Instant;
use wire::{Body, Connection, Dialer, Origin, Request};

/// Spans of one call.
const SPANS_MAX: usize = 2_000;
/// How long is waited for more spans to go with those that are there.
const LINGER: Duration = Duration::from_millis(200);
/// Longest wait for a connection and for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries: at first, and at most.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After so long a call is given up, and its spans are lost.
const GIVE_UP: Duration = Duration::from_secs(300);
/// How often is told of spans that are lost.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const ANSWER_MAX: usize = 64 << 10;
/// The path of a collector whose address has none.
const PATH: &str = "/v1/traces";

/// Where spans are sent on to.
#[derive(Clone)]
pub struct Collector {
    origin: Origin,
    path: Uri,
    host: HeaderValue,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers are secrets.
        write!(f, "Collector({}{})", self.origin, self.path)
    }
}

/// What is to be told of sending on.
#[derive(Debug)]
pub enum News {
    /// The collector can't be reached, or is busy. Told once until it takes spans again.
    Away(Fault),
    /// It takes spans again.
    Back,
    /// It refuses spans, which are lost. Told once until it takes spans again.
    Refused(Fault),
    /// So many spans were refused, waited too long, or did not fit into what may wait. Told once a minute.
    Lost(u64),
}

impl Collector {
    /// The collector at this address; without a path it is `/v1/traces`. `headers` is written as
    /// `OTEL_EXPORTER_OTLP_HEADERS` is: `name=value,name=value`, encoded by percents.
    pub fn new(url: &str, headers: &str) -> Result<Self, Fault> {
        let wrong = |text: String| {
            Fault::new(Kind::Invalid, text)
                .hint("write it as `http://collector:4318`, with a path if it has one")
        };
        let uri: Uri = url.parse().map_err(|_| wrong(format!("`{url}` is no address of a collector")))?;
        let path = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("" | "/") => PATH,
            Some(path) => path,
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            // Not shown: it may hold a password.
            let hint = "`OTEL_EXPORTER_OTLP_HEADERS` holds what the collector wants to know of us";
            return Err(Fault::new(Kind::Invalid, "the address of a collector names a user").hint(hint));
        }
        let origin = Origin::parse(url)?;
        let host = HeaderValue::try_from(origin.host_header());
        Ok(Self {
            path: path.parse().map_err(|_| wrong(format!("`{url}` is no address of a collector")))?,
            host: host.map_err(|_| wrong(format!("the host of `{url}` is no name")))?,
            headers: read_headers(headers)?,
            origin,
        })
    }

    /// Whether it is this address: spans sent there would come back for ever.
    pub fn is_at(&self, address: std::net::SocketAddr) -> bool {
        let host = self.origin.host.as_str();
        let is_here = host == "localhost" || host.parse() == Ok(address.ip());
        is_here && self.origin.port == address.port()
    }

    fn request(&self, body: &[u8]) -> Request {
        let mut request = Request::new(Body::full(body.to_vec()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(USER_AGENT, HeaderValue::from_static("tombolo"));
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        request
    }
}

fn read_headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, Fault> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            // The value is a secret, and what is no name may be one.
            let wrong = || {
                Fault::new(Kind::Invalid, "the headers for the collector can't be read")
                    .hint("`OTEL_EXPORTER_OTLP_HEADERS` is written as `name=value,name=value`")
            };
            let (name, value) = entry.split_once('=').ok_or_else(wrong)?;
            let decode = |text: &str| {
                percent_encoding::percent_decode_str(text.trim())
                    .decode_utf8()
                    .map(std::borrow::Cow::into_owned)
            };
            let (name, value) = (decode(name).map_err(|_| wrong())?, decode(value).map_err(|_| wrong())?);
            let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            Ok((HeaderName::try_from(name.to_ascii_lowercase()).map_err(|_| wrong())?, value))
        })
        .collect()
}

/// Sends on what comes in, until the store is closed.
pub async fn forward(
    mut follower: Follower,
    collector: Collector,
    clock: Clock,
    chance: Chance,
    told: impl Fn(News) + Send + Sync,
) -> Result<(), Fault> {
    let dialer = Dialer { connect_timeout: PATIENCE, http2: false, ..Dialer::default() };
    let mut sending = Sending { collector, dialer, idle: None, clock, chance, halted: false, told };
    let (mut seen, mut lost, mut told_at) = (0, 0, None::<Moment>);
    while let Some(mut spans) = follower.next().await {
        let until = sending.clock.now() + LINGER;
        while spans.len() < SPANS_MAX {
            let left = until.since(sending.clock.now());
            let more = tokio::select! {
                more = follower.next() => more,
                () = sending.clock.sleep(left) => None,
            };
            match more {
                Some(more) => spans.extend(more),
                None => break,
            }
        }
        let given_up = sending.send(&spans).await;
        let dropped = follower.dropped();
        lost += given_up + dropped - std::mem::replace(&mut seen, dropped);
        let now = sending.clock.now();
        if lost > 0 && told_at.is_none_or(|at| now.since(at) >= TELL_EVERY) {
            (sending.told)(News::Lost(std::mem::take(&mut lost)));
            told_at = Some(now);
        }
    }
    Ok(())
}

struct Sending<T> {
    collector: Collector,
    dialer: Dialer,
    idle: Option<Connection>,
    clock: Clock,
    chance: Chance,
    /// Told, and not taken back yet.
    halted: bool,
    told: T,
}

/// What became of one try.
enum Tried {
    Taken,
    /// To be tried again, not before this has passed.
    Again(Fault, Option<Duration>),
    Refused(Fault),
}

impl<T: Fn(News)> Sending<T> {
    /// Sends spans until they are taken or refused. Answers how many were given up.
    async fn send(&mut self, spans: &[Span]) -> u64 {
        let body = compressed(&encode_proto(spans));
        let begun: Moment = self.clock.now();
        let mut pause = PAUSE;
        loop {
            match self.once(&body).await {
                Tried::Taken => {
                    if std::mem::take(&mut self.halted) {
                        (self.told)(News::Back);
                    }
                    return 0;
                }
                Tried::Refused(fault) => {
                    if !std::mem::replace(&mut self.halted, true) {
                        (self.told)(News::Refused(fault));
                    }
                    return spans.len() as u64;
                }
                Tried::Again(fault, wait) => {
                    if !std::mem::replace(&mut self.halted, true) {
                        (self.told)(News::Away(fault));
                    }
                    if self.clock.now().since(begun) >= GIVE_UP {
                        return spans.len() as u64;
                    }
                    // Many that were turned away together do not come back together.
                    let jitter = pause.mul_f64(0.5 + self.chance.unit() / 2.0);
                    self.clock.sleep(wait.map_or(jitter, |wait| wait.min(PAUSE_MAX).max(jitter))).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn once(&mut self, body: &[u8]) -> Tried {
        let again = |fault: Fault| Tried::Again(fault, None);
        let mut reused = self.idle.take();
        let is_open = reused.as_mut().is_some_and(Connection::is_ready);
        let mut connection = match reused.filter(|_| is_open) {
            Some(connection) => connection,
            None => match self.dialer.dial(&self.collector.origin).await {
                Ok(connection) => connection,
                Err(fault) => return again(fault),
            },
        };
        let by = Instant::now() + PATIENCE;
        let response = match connection.send(self.collector.request(body), by).await {
            Ok(response) => response,
            // It was closed while nobody used it.
            Err(error) if is_open && error.fault.retry == Retry::Safe => {
                return Box::pin(self.once(body)).await;
            }
            Err(error) => return again(error.fault),
        };
        let (status, wait) = (response.status(), response.headers().get(RETRY_AFTER).cloned());
        let said = response.into_body().collect(ANSWER_MAX).await;
        if said.is_ok() && !connection.is_closed() {
            self.idle = Some(connection);
        }
        if status.is_success() {
            return Tried::Taken;
        }
        let fault = Fault::new(
            Kind::Unavailable,
            format!("the collector at `{}` answers `{status}`", self.collector.origin),
        );
        if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
            let seconds = wait.and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
            return Tried::Again(fault, seconds.map(Duration::from_secs));
        }
        let hint = match status.as_u16() {
            401 | 403 => {
                "`OTEL_EXPORTER_OTLP_HEADERS` holds what it wants to know, such as `authorization=Bearer%20TOKEN`"
            }
            404 | 405 => "look at the path: most collectors take spans at `/v1/traces` of port 4318",
            _ => "look at the collector's log",
        };
        Tried::Refused(fault.hint(hint))
    }
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
