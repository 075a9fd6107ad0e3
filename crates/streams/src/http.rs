//! Streams over HTTP and JSON: append, read, wait and follow, lists, bulk in and out. One table says what there is
//! (`table`); the router, the checks of parameters and the `OpenAPI` description follow from it. What consumers do is in
//! [`crate::consumers`]; Message DB's protocol and how bytes become requests are left to others.

mod answer;
pub(crate) mod append;
mod browser;
mod bulk;
mod call;
mod coding;
mod consumers;
mod following;
mod forget;
pub(crate) mod json;
mod lists;
mod openapi;
mod reading;
mod replies;
mod router;
mod scheduled;
mod table;

pub use answer::Problem;
pub use openapi::{openapi, reference};

use crate::consumers::Consumers;
use crate::replies::Replies;
use crate::schedule::Schedule;
use crate::spans::Spans;
use base::{Clock, Kind};
use call::Call;
use http::StatusCode;
use http::header::{ALLOW, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use store::{Encrypted, State, Store};
use table::Operation;
use tokio::sync::Semaphore;
use wire::{Drain, Request, RequestHead, Response};

/// Where the API begins.
pub const PREFIX: &str = "/api/v1";

/// The written limits of the API.
pub mod bounds {
    use std::time::Duration;

    /// Bytes of the body of a call; bulk is without bound, batch by batch.
    pub const BODY_BYTES_MAX: usize = 32 << 20;
    /// Bytes of one line of bulk.
    pub const LINE_BYTES_MAX: usize = 18 << 20;
    /// Bytes from which a body is large.
    pub const LARGE_BODY_BYTES: u64 = 1 << 20;
    /// Calls with a large body at a time; others wait for their turn.
    pub const LARGE_BODIES_MAX: usize = 4;
    /// Bytes of `Idempotency-Key`.
    pub const KEY_BYTES_MAX: usize = 255;
    /// Longest wait of a long poll.
    pub const WAIT_MAX: Duration = Duration::from_secs(60);
    /// Entries of one list.
    pub const LIST_MAX: usize = 1_000;
    /// Followers and long polls at a time.
    pub const FOLLOWERS_MAX: usize = 10_000;
}

/// What the API does its work with.
pub struct Parts {
    /// The messages.
    pub store: Store,
    /// Small state.
    pub state: State,
    /// Where keys of persons are forgotten.
    pub encrypted: Arc<Encrypted>,
    /// The time.
    pub clock: Clock,
    /// Followers end when it begins.
    pub drain: Drain,
    /// How often a follower that nothing comes for hears that it is not forgotten.
    pub keep_alive: Duration,
    /// Where appends leave spans; `None`: they leave none.
    pub spans: Option<Arc<Spans>>,
}

/// Answers calls of the API. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// What calls share beside the parts.
struct Shared {
    parts: Parts,
    schedule: Schedule,
    replies: Replies,
    consumers: Option<Consumers>,
    large: Semaphore,
    followers: Arc<Semaphore>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

impl std::ops::Deref for Api {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

impl Api {
    /// An API over these.
    pub fn new(parts: Parts) -> Self {
        Self::of(parts, None)
    }

    /// The same, with consumers.
    pub fn with_consumers(parts: Parts, consumers: Consumers) -> Self {
        Self::of(parts, Some(consumers))
    }

    fn of(parts: Parts, consumers: Option<Consumers>) -> Self {
        Self(Arc::new(Shared {
            consumers,
            schedule: Schedule::new(parts.store.clone(), parts.state.clone(), parts.clock.clone()),
            replies: Replies::new(parts.store.clone(), parts.state.clone(), parts.clock.clone()),
            parts,
            large: Semaphore::new(bounds::LARGE_BODIES_MAX),
            followers: Arc::new(Semaphore::new(bounds::FOLLOWERS_MAX)),
        }))
    }

    /// Messages to come: what is scheduled by calls is appended while somebody runs it.
    pub fn schedule(&self) -> &Schedule {
        &self.0.schedule
    }

    /// Streams for answers: those that nobody renews go while somebody runs it.
    pub fn replies(&self) -> &Replies {
        &self.0.replies
    }

    /// Whether a path is one of this API's.
    pub fn has(path: &str) -> bool {
        path.strip_prefix(PREFIX).and_then(router::find).is_some()
    }

    /// Answers a call for a path that [`Api::has`]. Who may call is decided here unless the caller has
    /// `shown` who they are: nobody but this machine's own programs, and no page of another origin in a browser.
    pub async fn answer(&self, request: Request, shown: bool) -> Response {
        let (head, body) = request.into_parts();
        let operation = match Self::operation(&head) {
            Err(refused) => return refused,
            Ok(operation) => operation,
        };
        let wished = coding::wished(&head);
        let call = || {
            browser::check(&head, !body.is_empty(), shown)?;
            let body = coding::undone(&head, body)?;
            Ok((Call::new(operation, head)?, body))
        };
        let answered = match call() {
            Err(problem) => Err(problem),
            Ok((call, body)) => (operation.run)(self.clone(), call, body).await,
        };
        coding::done(answered.unwrap_or_else(Problem::into_response), wished)
    }

    /// What is asked for.
    fn operation(head: &RequestHead) -> Result<&'static Operation, Response> {
        let Some(place) = head.uri.path().strip_prefix(PREFIX).and_then(router::find) else {
            let problem = Problem::new(Kind::NotFound, "no such part of the API");
            return Err(problem.hint("`GET /api/v1/openapi.json` lists its parts").into_response());
        };
        if let Some(operation) = place.operation(&head.method) {
            return Ok(operation);
        }
        let (text, allowed) = (format!("`{}` is not what can be done here", head.method), place.methods());
        let mut response = Problem::new(Kind::Invalid, text)
            .hint(format!("it takes {allowed}"))
            .status(StatusCode::METHOD_NOT_ALLOWED)
            .into_response();
        if let Ok(allow) = HeaderValue::try_from(allowed) {
            response.headers_mut().insert(ALLOW, allow);
        }
        Err(response)
    }
}
