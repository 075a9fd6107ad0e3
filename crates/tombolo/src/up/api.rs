//! The API of a running `tombolo up`, for `tombolo status` and its kin. Every caller shows the token of the run
//! file: what services print may be secret, and a page in a browser must not be able to stop them.

use super::house::Wish;
use super::tap::Tapping;
use base::{Kind, queue};
use bytes::Bytes;
use console::Console;
use control::{Heard, Supervisor};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use store::Embedded;
use telemetry::doctor::Doctor;
use wire::{Body, Handler, Peer, Request, Response};

/// Bytes of what a call brings, of those that are not for streams.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Most lines of one answer.
const TAIL_MAX: usize = 10_000;

/// How far back the doctor looks, if nobody says.
const LOOKBACK: Duration = Duration::from_hours(24);

/// Answers what other commands ask.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) token: Arc<str>,
    pub(crate) supervisor: Supervisor,
    /// What `status` shows beside the services; kept up to date by the house.
    pub(crate) about: Arc<Mutex<serde_json::Value>>,
    /// What only the house can do.
    pub(crate) wishes: queue::Sender<Wish>,
    /// The streams, if there are any.
    pub(crate) streams: Option<streams::http::Api>,
    /// Their data directory, if they are in one.
    pub(crate) embedded: Option<Embedded>,
    /// The spans, if they are taken.
    pub(crate) traces: Option<super::traces::Apis>,
    /// The pages.
    pub(crate) console: Console,
    /// Who says what they tell.
    pub(crate) doctor: Option<Doctor>,
    /// Where people watch what is carried.
    pub(crate) tapping: Tapping,
}

impl Api {
    /// Whether the caller shows the token.
    fn is_shown(&self, headers: &wire::Headers) -> bool {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        shown.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| same(token, &self.token))
    }

    async fn answer(&self, request: &wire::RequestHead, body: &[u8]) -> Response {
        let path: Vec<&str> = request.uri.path().trim_matches('/').split('/').collect();
        match (&request.method, path.as_slice()) {
            (&Method::GET, ["api", "v1", "status"]) => self.status(),
            (&Method::GET, ["api", "v1", "logs"]) => self.logs(request.uri.query().unwrap_or_default()),
            (&Method::POST, ["api", "v1", "services", name, verb]) => self.order(name, verb).await,
            (&Method::POST, ["api", "v1", "stop"]) => {
                self.wishes.offer(Wish::Stop);
                json(StatusCode::ACCEPTED, &serde_json::json!({ "stopping": true }))
            }
            (&Method::POST, ["api", "v1", "store", "backup"]) => self.backup(body).await,
            (&Method::GET, ["api", "v1", "doctor"]) => {
                self.doctor(request.uri.query().unwrap_or_default()).await
            }
            (&Method::GET, ["api", "v1", "tap"]) => {
                self.tapping.answer(request.uri.query().unwrap_or_default())
            }
            _ => problem(StatusCode::NOT_FOUND, "no such part of the API"),
        }
    }

    /// `?lookback=24h`: what the traces of that time say about the architecture.
    async fn doctor(&self, query: &str) -> Response {
        let Some(doctor) = &self.doctor else { return no_traces() };
        let lookback = query.split('&').find_map(|pair| pair.strip_prefix("lookback="));
        let lookback = lookback.map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy());
        let lookback = match lookback.map_or(Ok(LOOKBACK), |text| base::parse_duration(&text)) {
            Ok(lookback) => lookback,
            Err(why) => return problem(StatusCode::BAD_REQUEST, &format!("`lookback`: {why}")),
        };
        match doctor.look(lookback).await {
            Ok(report) => json(StatusCode::OK, &super::doctor::report(&report)),
            Err(fault) => problem(StatusCode::SERVICE_UNAVAILABLE, &fault.to_string()),
        }
    }

    /// `{"file": "/where/to"}`: copies the store while it is used.
    async fn backup(&self, body: &[u8]) -> Response {
        let Some(embedded) = self.embedded.clone() else {
            let text = match &self.streams {
                None => "there are no streams here: the manifest has no `streams`",
                Some(_) => "the messages are in PostgreSQL: back up the database, with pg_dump for one",
            };
            return problem(StatusCode::NOT_FOUND, text);
        };
        let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(file) = asked["file"].as_str().map(PathBuf::from).filter(|file| file.is_absolute()) else {
            return problem(StatusCode::BAD_REQUEST, "`file` has to be an absolute path");
        };
        match tokio::task::spawn_blocking(move || embedded.backup(&file)).await {
            Ok(Ok(backup)) => json(
                StatusCode::OK,
                &serde_json::json!({ "messages": backup.messages, "bytes": backup.bytes }),
            ),
            Ok(Err(fault)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &fault.to_string()),
            Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the backup broke off"),
        }
    }

    fn status(&self) -> Response {
        let mut about = self.about.lock().unwrap_or_else(PoisonError::into_inner).clone();
        about["services"] = serde_json::to_value(&*self.supervisor.status()).unwrap_or_default();
        json(StatusCode::OK, &about)
    }

    /// `?service=&tail=&follow=true`: lines as NDJSON.
    fn logs(&self, query: &str) -> Response {
        let parameter = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, v)| v)
        };
        let services: Vec<String> =
            query.split('&').filter_map(|pair| pair.strip_prefix("service=")).map(str::to_owned).collect();
        let known = self.supervisor.status();
        if let Some(stranger) =
            services.iter().find(|name| known.iter().all(|service| service.name != **name))
        {
            return unknown(stranger, known.iter().map(|service| service.name.as_str()));
        }
        let tail = parameter("tail").and_then(|tail| tail.parse().ok()).unwrap_or(100usize).min(TAIL_MAX);
        // Subscribed before the look back, so that no line falls between; the number tells which came twice.
        let lines = self.supervisor.lines();
        let mut before = if services.is_empty() {
            self.supervisor.logs(None, tail)
        } else {
            services.iter().flat_map(|name| self.supervisor.logs(Some(name), tail)).collect()
        };
        before.sort_by_key(|line| line.number);
        before.dedup_by_key(|line| line.number);
        before.drain(..before.len().saturating_sub(tail));
        let seen = before.last().map(|line| line.number);
        let mut text = Vec::new();
        for line in &before {
            write_line(&mut text, &**line);
        }
        let body = if parameter("follow") == Some("true") {
            Body::stream(follow(Bytes::from(text), lines, services, seen))
        } else {
            Body::full(text)
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        response
    }

    async fn order(&self, name: &str, verb: &str) -> Response {
        let known = self.supervisor.status();
        if known.iter().all(|service| service.name != name) {
            return unknown(name, known.iter().map(|service| service.name.as_str()));
        }
        let done = match verb {
            "restart" => self.supervisor.restart(name).await,
            "rebuild" => self.supervisor.restart_with_build(name).await,
            "stop" => self.supervisor.stop(name).await,
            "start" => self.supervisor.start_service(name).await,
            _ => {
                return problem(
                    StatusCode::NOT_FOUND,
                    "a service can be asked to restart, rebuild, stop or start",
                );
            }
        };
        match done {
            Ok(()) => json(StatusCode::ACCEPTED, &serde_json::json!({ "service": name, "asked": verb })),
            Err(fault) if fault.kind == Kind::NotFound => problem(StatusCode::NOT_FOUND, &fault.to_string()),
            Err(fault) => problem(StatusCode::CONFLICT, &fault.to_string()),
        }
    }
}

impl Handler for Api {
    async fn handle(&self, request: Request, peer: &Peer) -> Response {
        let shown = self.is_shown(request.headers());
        if streams::http::Api::has(request.uri().path()) {
            return match &self.streams {
                Some(streams) => streams.answer(request, shown).await,
                None => no_streams(),
            };
        }
        if super::traces::has(request.uri().path()) {
            return match &self.traces {
                Some(traces) => traces.answer(request).await,
                None => no_traces(),
            };
        }
        if Console::has(request.uri().path()) {
            return self.console.answer(request, shown, peer).await;
        }
        if !shown {
            return unauthorized();
        }
        let (head, body) = request.into_parts();
        match body.collect(BODY_BYTES_MAX).await {
            Ok(body) => self.answer(&head, &body).await,
            Err(fault) => problem(StatusCode::PAYLOAD_TOO_LARGE, &fault.to_string()),
        }
    }
}

/// Compares without telling by its time how much was right.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn problem(status: StatusCode, message: &str) -> Response {
    json(status, &serde_json::json!({ "error": message }))
}

fn unauthorized() -> Response {
    let value = serde_json::json!({
        "error": "the token of .tombolo/run.json is needed",
        "hint": "calls for streams and consumers need none: GET /api/v1/openapi.json lists them",
    });
    json(StatusCode::UNAUTHORIZED, &value)
}

pub(super) fn no_streams() -> Response {
    let value = serde_json::json!({
        "error": "there are no streams here",
        "hint": "a manifest with `streams:` has them",
    });
    json(StatusCode::NOT_FOUND, &value)
}

fn no_traces() -> Response {
    let value = serde_json::json!({
        "error": "there are no traces here",
        "hint": "a manifest with `traces: {}` takes spans and keeps them",
    });
    json(StatusCode::NOT_FOUND, &value)
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Response {
    let hint = match base::did_you_mean(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the services are {}", known.collect::<Vec<_>>().join(", ")),
    };
    let value =
        serde_json::json!({ "error": format!("`{name}` is no service that runs here"), "hint": hint });
    json(StatusCode::NOT_FOUND, &value)
}

fn write_line(text: &mut Vec<u8>, line: &impl serde::Serialize) {
    if serde_json::to_writer(&mut *text, line).is_ok() {
        text.push(b'\n');
    }
}

type Next = Pin<Box<dyn Future<Output = (control::Subscriber<Arc<control::Line>>, Option<Bytes>)> + Send>>;

/// First what was, then what comes.
fn follow(
    before: Bytes,
    lines: control::Subscriber<Arc<control::Line>>,
    services: Vec<String>,
    seen: Option<u64>,
) -> Follow {
    let services: Arc<[String]> = services.into();
    Follow { first: Some(before), next: Box::pin(wait(lines, services.clone(), seen)), services, seen }
}

async fn wait(
    mut lines: control::Subscriber<Arc<control::Line>>,
    services: Arc<[String]>,
    seen: Option<u64>,
) -> (control::Subscriber<Arc<control::Line>>, Option<Bytes>) {
    loop {
        let mut text = Vec::new();
        match lines.next().await {
            None => return (lines, None),
            Some(Heard::Missed(missed)) => write_line(&mut text, &serde_json::json!({ "missed": missed })),
            Some(Heard::Item(line)) => {
                let wanted = services.is_empty() || services.contains(&line.service);
                if Some(line.number) > seen && wanted {
                    write_line(&mut text, &*line);
                }
            }
        }
        if !text.is_empty() {
            return (lines, Some(text.into()));
        }
    }
}

struct Follow {
    first: Option<Bytes>,
    next: Next,
    services: Arc<[String]>,
    seen: Option<u64>,
}

impl http_body::Body for Follow {
    type Data = Bytes;
    type Error = base::Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, base::Fault>>> {
        if let Some(first) = self.first.take()
            && !first.is_empty()
        {
            return Poll::Ready(Some(Ok(http_body::Frame::data(first))));
        }
        let (lines, text) = std::task::ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(wait(lines, self.services.clone(), self.seen));
        Poll::Ready(text.map(|text| Ok(http_body::Frame::data(text))))
    }
}
