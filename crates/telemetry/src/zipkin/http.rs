//! Zipkin's HTTP API: spans in, in all formats; services, traces and dependencies out. One table says what there is
//! (`table`); the router and the reference page follow from it. `SpanService/Report` of gRPC is served beside it.

mod about;
mod call;
mod collect;
mod query;
mod table;

pub use table::reference;

use crate::grpc;
use crate::guard::Guard;
use crate::incoming::Room;
use crate::spans::SpanStore;
use base::{Fault, Kind};
use call::Call;
use collect::Collected;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use table::{OPERATIONS, Operation};
use wire::{Body, Handler, Peer, Request, Response};

/// What of the API can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Traces of an answer, if the question does not say.
    pub query_limit: usize,
    /// Milliseconds that a question looks back, if it does not say.
    pub lookback_ms: u64,
    /// Whether names are listed and traces looked for; they can be asked for by id in any case.
    pub search: bool,
    /// Pages of which origins may call.
    pub guard: Guard,
}

impl Default for Options {
    /// Ten traces, one day, search on, no pages.
    fn default() -> Self {
        Self { query_limit: 10, lookback_ms: 86_400_000, search: true, guard: Guard::default() }
    }
}

/// Answers calls of the API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: SpanStore,
    options: Options,
    room: Room,
    over_http: Collected,
    over_grpc: Collected,
    /// How many services there were when they were last asked for.
    services: AtomicUsize,
}

/// Why a call was not done: a status and a text.
struct Problem {
    status: StatusCode,
    text: String,
}

impl Problem {
    fn invalid(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text: text.into() }
    }

    fn into_response(self) -> Response {
        let mut response = typed(self.status, "text/plain; charset=utf-8", self.text);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let status = match fault.kind {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Refused => StatusCode::FORBIDDEN,
            Kind::TooMuch => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unavailable | Kind::Io | Kind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Conflict | Kind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, text: fault.to_string() }
    }
}

type Answered = Result<Response, Problem>;

impl Api {
    /// An API over a store.
    pub fn new(store: SpanStore, options: Options) -> Self {
        Self(Arc::new(Shared {
            store,
            options,
            room: Room::default(),
            over_http: Collected::default(),
            over_grpc: Collected::default(),
            services: AtomicUsize::new(0),
        }))
    }

    /// Whether a path is one of this API's on a port that it shares with others.
    pub fn has(path: &str) -> bool {
        let below = path.strip_prefix("/zipkin").unwrap_or(path);
        below.starts_with("/api/v2/") || matches!(below, "/api/v1/spans")
    }

    /// Answers a call.
    pub async fn answer(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let guard = &self.0.options.guard;
        let speaks_grpc = wire::is_grpc(&head.headers);
        if let Err(why) = guard.check(&head) {
            if speaks_grpc {
                return grpc::failure(grpc::PERMISSION_DENIED, why);
            }
            return Problem { status: StatusCode::FORBIDDEN, text: why.into() }.into_response();
        }
        if speaks_grpc {
            return collect::over_grpc(self, &head, body).await;
        }
        let mut response = self.route(Call::new(&head), body).await.unwrap_or_else(Problem::into_response);
        guard.tell(&head, &mut response);
        response
    }

    async fn route(&self, call: Call<'_>, body: Body) -> Answered {
        if call.head.method == Method::TRACE {
            return Ok(not_allowed("GET, HEAD, POST, OPTIONS"));
        }
        if call.head.method == Method::OPTIONS {
            return Ok(preflight());
        }
        match operation(&call) {
            Ok(operation) => (operation.run)(self, call, body).await,
            Err("") => Err(Problem { status: StatusCode::NOT_FOUND, text: "there is nothing here".into() }),
            Err(allowed) => Ok(not_allowed(allowed)),
        }
    }
}

/// What is asked for, or which method can be.
fn operation(call: &Call) -> Result<&'static Operation, &'static str> {
    let wanted = if call.head.method == Method::HEAD { &Method::GET } else { &call.head.method };
    let mut allowed = "";
    for operation in OPERATIONS.iter().filter(|operation| table::is_at(operation.path, call.path())) {
        if operation.method == *wanted {
            return Ok(operation);
        }
        allowed = operation.method.as_str();
    }
    Err(allowed)
}

impl Handler for Api {
    async fn handle(&self, request: Request, _peer: &Peer) -> Response {
        self.answer(request).await
    }
}

fn not_allowed(allowed: &str) -> Response {
    let mut response =
        typed(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "this method is not served");
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// What a page may send, if it may call at all.
fn preflight() -> Response {
    let mut response = typed(StatusCode::OK, "text/plain; charset=utf-8", "");
    for (name, value) in [
        ("access-control-allow-methods", "GET, HEAD, POST"),
        ("access-control-allow-headers", "content-type, content-encoding, b3, traceparent, tracestate"),
        ("access-control-max-age", "600"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn json(text: String) -> Response {
    typed(StatusCode::OK, "application/json", text)
}
