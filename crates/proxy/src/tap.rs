//! Requests for those who watch. What a tap wants is said in predicates, asked of a request as it comes in, as routes
//! ask it; when it has ended, whoever wanted it is given what is known of it.

use crate::account::Account;
use crate::body::{FirstBytes, first_bytes_at_once};
use crate::engine::Gateway;
use crate::exchange::Exchange;
use crate::lookup::{self, Entry, Lookup, Refusal};
use crate::predicates::PredicateEnv;
use crate::question::Question;
use base::Moment;
use eskip::{Call, Route};
use http::Uri;
use telemetry::Record;
use telemetry::tap::{Event, Feed, Half, RequestSeen, Taps, is_failure};
use wire::{Headers, Response};

/// Those who watch requests.
pub type RequestTaps = Taps<WantedRequests>;

/// Which requests somebody wants to see: those that all of these predicates hold for.
pub struct WantedRequests(Lookup<()>);

impl WantedRequests {
    /// Those of an expression. What only decides between routes, such as `Weight`, holds for all.
    pub fn of(predicates: Vec<Call>, env: &PredicateEnv, options: &lookup::Options) -> Result<Self, Refusal> {
        let route = Route { predicates, ..Route::default() };
        let rule = lookup::compile(&route, env, options)?;
        Ok(Self(Lookup::build(vec![Entry { rule, payload: () }], options)))
    }

    fn hold(&self, question: &Question<'_>) -> bool {
        self.0.find(question).is_some()
    }
}

/// A request that somebody watches.
pub(crate) struct Watched {
    feeds: Vec<Feed>,
    uri: Uri,
    host: String,
    request: Seen,
    response: Seen,
}

/// A request or its answer, as far as it was seen.
#[derive(Default)]
struct Seen {
    head: Half,
    body: Option<FirstBytes>,
}

impl Watched {
    /// The request as it comes in, if anybody wants it.
    #[cold]
    pub(crate) fn begin(gateway: &Gateway, exchange: &mut Exchange) -> Option<Box<Self>> {
        let feeds = {
            let question = Question::of(exchange, &gateway.core.chance);
            gateway.plane().settings.taps.that(|wanted| wanted.hold(&question))
        };
        if feeds.is_empty() {
            return None;
        }
        let mut watched = Self {
            feeds,
            uri: exchange.arrival.uri.clone(),
            host: exchange.host().to_owned(),
            request: Seen::default(),
            response: Seen::default(),
        };
        watched.request.head = watched.head(&exchange.headers);
        if watched.shows_bodies() {
            let body = std::mem::take(&mut exchange.body);
            let (body, first) = first_bytes_at_once(body, Half::BODY_BYTES_MAX);
            exchange.body = body;
            watched.request.body = Some(first);
        }
        Some(Box::new(watched))
    }

    /// Its answer, as it goes out.
    #[cold]
    pub(crate) fn answer(&mut self, response: &mut Response) {
        self.response.head = self.head(response.headers());
        if self.shows_bodies() {
            let (body, first) =
                first_bytes_at_once(std::mem::take(response.body_mut()), Half::BODY_BYTES_MAX);
            *response.body_mut() = body;
            self.response.body = Some(first);
        }
    }

    /// It has ended.
    #[cold]
    pub(crate) fn end(self, record: &Record<'_>, callee: Option<&str>, now: Moment) {
        let Self { feeds, uri, host, request, response } = self;
        let uri = uri.path_and_query().map_or(uri.path(), |target| target.as_str());
        for feed in feeds.iter().filter(|feed| !feed.show().only_failures || is_failure(record)) {
            feed.offer(now, || {
                let halves = [&request, &response].map(|seen| seen.half(feed));
                Event::Request(Box::new(RequestSeen::of(record, (uri, &host), callee, halves)))
            });
        }
    }

    fn shows_bodies(&self) -> bool {
        self.feeds.iter().any(|feed| feed.show().bodies)
    }

    fn head(&self, headers: &Headers) -> Half {
        Half::of(headers, self.feeds.iter().any(|feed| feed.show().headers))
    }
}

impl Seen {
    /// What of it a tap shows.
    fn half(&self, feed: &Feed) -> Half {
        let show = feed.show();
        let head = self.head.shown(show.headers);
        match &self.body {
            Some(first) if show.bodies => head.with_body(first.so_far()),
            _ => head,
        }
    }
}

impl Account {
    /// Somebody may want to see the request.
    pub(crate) fn watch(&mut self, gateway: &Gateway, exchange: &mut Exchange) {
        if gateway.plane().settings.taps.are_open() {
            self.watched = Watched::begin(gateway, exchange);
        }
    }
}
