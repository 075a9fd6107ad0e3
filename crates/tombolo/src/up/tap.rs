//! The API's stream of what is carried (`GET /api/v1/tap`): Server-Sent Events, for those who show the token. As long as
//! nobody asks for it, nothing of it is there but two empty lists.

use super::api::problem;
use crate::tapping::{self, Wanted};
use base::Clock;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use proxy::lookup::Options;
use proxy::predicates::PredicateEnv;
use proxy::{RequestTaps, WantedRequests};
use std::sync::Arc;
use std::time::Duration;
use streams::tap::{MessageTaps, WantedMessages};
use telemetry::tap::{self, News, Opened, Reader, Show, TAPS_MAX, UNREAD_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::{Body, Drain, Response};

/// How often a reader that nothing comes for hears that it is not forgotten.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where taps are opened.
#[derive(Clone)]
pub(crate) struct Tapping {
    pub(crate) requests: RequestTaps,
    /// If there are streams.
    pub(crate) messages: Option<MessageTaps>,
    /// As routes are read.
    pub(crate) predicates: PredicateEnv,
    pub(crate) lookup: Options,
    pub(crate) clock: Clock,
    pub(crate) drain: Drain,
    pub(crate) places: Arc<Semaphore>,
}

/// What a call asks for.
#[derive(Default)]
struct Asked {
    expression: String,
    show: Show,
}

impl Tapping {
    /// As many taps as there may be.
    pub(crate) fn places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(TAPS_MAX))
    }

    /// `?match=EXPRESSION&headers=true&bodies=true&errors=true`: what is carried from now on.
    pub(crate) fn answer(&self, query: &str) -> Response {
        let asked = match Asked::read(query) {
            Ok(asked) => asked,
            Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
        };
        let wanted = match tapping::read(&asked.expression, &self.predicates, self.lookup) {
            Ok(wanted) => wanted,
            Err(wrong) => return refused(&wrong),
        };
        if wanted.requests.is_none() && self.messages.is_none() {
            return super::api::no_streams();
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let value = serde_json::json!({
                "error": format!("there are {TAPS_MAX} taps already"),
                "hint": "end one of them",
            });
            return super::api::json(StatusCode::SERVICE_UNAVAILABLE, &value);
        };
        let stream = Stream::open(self, wanted, asked.show, place);
        let pieces = stream::unfold(stream, |mut stream| async move {
            let piece = stream.piece().await?;
            Some((Ok(Frame::data(piece)), stream))
        });
        let mut response = Response::new(Body::stream(StreamBody::new(pieces)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Asked {
    fn read(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_encoding::percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| format!("`{name}` is not UTF-8"))?;
            let flag = match name {
                "match" => {
                    asked.expression = value.into_owned();
                    continue;
                }
                "headers" => &mut asked.show.headers,
                "bodies" => &mut asked.show.bodies,
                "errors" => &mut asked.show.only_failures,
                _ => {
                    return Err(format!(
                        "`{name}` is no parameter of a tap: there are `match`, `headers`, `bodies` and `errors`"
                    ));
                }
            };
            *flag = match &*value {
                "true" | "" => true,
                "false" => false,
                other => return Err(format!("`{name}` is `true` or `false`, not `{other}`")),
            };
        }
        Ok(asked)
    }
}

/// All that is wrong with an expression.
fn refused(wrong: &[base::Diagnostic]) -> Response {
    let place = |wrong: &base::Diagnostic| {
        wrong
            .place
            .as_ref()
            .map(|place| format!(" at character {}", place.source.position(place.span.start).1))
    };
    let told = |wrong: &base::Diagnostic| format!("{}{}", wrong.message, place(wrong).unwrap_or_default());
    let value = serde_json::json!({
        "error": wrong.iter().map(told).collect::<Vec<_>>().join("; "),
        "hint": wrong.iter().find_map(|wrong| wrong.hint.as_deref()),
    });
    super::api::json(StatusCode::BAD_REQUEST, &value)
}

/// A tap that is read.
struct Stream {
    reader: Reader,
    clock: Clock,
    drain: Drain,
    /// What goes first.
    begin: Option<Bytes>,
    is_over: bool,
    _requests: Option<Opened<WantedRequests>>,
    _messages: Option<Opened<WantedMessages>>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    fn open(tapping: &Tapping, wanted: Wanted, show: Show, place: OwnedSemaphorePermit) -> Self {
        let (feed, reader) = tap::tap(show, tapping.clock.clone());
        let requests = wanted.requests.map(|wanted| tapping.requests.open(wanted, feed.clone()));
        let messages =
            tapping.messages.as_ref().zip(wanted.messages).map(|(taps, wanted)| taps.open(wanted, feed));
        let watched = match (&requests, &messages) {
            (Some(_), Some(_)) => "requests and messages",
            (Some(_), None) => "requests",
            _ => "messages",
        };
        Self {
            reader,
            clock: tapping.clock.clone(),
            drain: tapping.drain.clone(),
            // Whoever reads it knows by it that nothing is missed from now on.
            begin: Some(format!(": {watched}\n\n").into()),
            is_over: false,
            _requests: requests,
            _messages: messages,
            _place: place,
        }
    }

    /// The next piece; `None` at the end.
    async fn piece(&mut self) -> Option<Bytes> {
        if let Some(begin) = self.begin.take() {
            return Some(begin);
        }
        if self.is_over {
            return None;
        }
        tokio::select! {
            news = self.reader.next() => Some(self.told(&news)),
            () = self.clock.sleep(KEEP_ALIVE) => Some(Bytes::from_static(b":\n\n")),
            () = self.drain.begun() => None,
        }
    }

    fn told(&mut self, news: &News) -> Bytes {
        let line = match news {
            News::Event(event) => event.json(),
            News::Missed(count) => serde_json::json!({ "kind": "missed", "count": count }).to_string(),
            News::Over => {
                self.is_over = true;
                let reason = format!("it was not read for {}", base::format_duration(UNREAD_MAX));
                serde_json::json!({ "kind": "over", "reason": reason }).to_string()
            }
        };
        format!("data: {line}\n\n").into()
    }
}
