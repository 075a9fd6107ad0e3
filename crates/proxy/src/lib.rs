//! The request plane: one immutable route table, predicates that choose a route, filters that act on the
//! request and its response, and backends that answer. [`Gateway`] is the whole of it as a `wire::Handler`.
//!
//! A request's way: look up a route in the table's snapshot, filters forward, backend (pool, balancer,
//! breaker, retry), the filters that ran backward, one record to telemetry.

mod account;
mod answer;
mod args;
mod backend;
mod body;
mod cache;
mod context;
mod engine;
mod exchange;
mod fetch;
mod filter_log;
pub mod filters;
mod for_good;
mod forward;
mod gauges;
mod grpc;
mod headers;
mod host;
mod lasting;
pub mod lookup;
mod mirrors;
pub mod net;
mod path;
mod pattern;
pub mod predicates;
mod question;
mod reach;
mod refresh;
mod secrets;
mod settings;
mod sources;
mod spans;
mod support;
mod table;
mod tap;
mod tending;
mod upload;
mod workers;

pub use answer::{Cause, Reason, answer};
pub use args::Args;
pub use backend::{Endpoint, EndpointWishes, HealthChange, HealthCheck, Service, Services};
pub use context::{CONTEXT_BYTES_MAX, CONTEXT_VALUES_MAX, Context};
pub use engine::{CALLER, Gateway, Plane};
pub use exchange::{
    Arrival, Claims, DynamicTarget, Exchange, LogChoice, Mirror, Notes, RareNotes, RetryPolicy, RetryWhen,
};
pub use filters::{Built, Callers, Example, Filter, FilterEnv, FilterSpec, Handles, Later, Step, Wishes};
pub use lasting::Lasting;
pub use lookup::Refusal;
pub use question::Question;
pub use secrets::Secrets;
pub use settings::Settings;
pub use sources::{Refreshed, RouteSource, RouteSources, Step as RouteStep};
pub use spans::Spans;
pub use support::Support;
pub use table::{Builder, Definitions, Invalid, Route, Table};
pub use tap::{RequestTaps, WantedRequests};
pub use workers::{Served, Workers};
