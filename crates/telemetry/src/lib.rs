//! One record of each thing carried, and what is learnt from it: metrics, the access log, the trace context that
//! joins the records of one request across services, and the spans that services report, kept and asked for.
//!
//! The data path fills a [`Record`] and hands it to a [`metrics::RouteMeter`] and an [`access::AccessLog`].
//! Neither waits for another core, for a scrape or for a disk.

pub mod access;
pub mod doctor;
mod grpc;
mod guard;
mod incoming;
mod json_reader;
pub mod mask;
pub mod metrics;
pub mod otlp;
mod protobuf;
mod record;
pub mod spans;
mod tags;
pub mod tap;
pub mod trace;
pub mod zipkin;

/// The service that requests from outside come to, wherever one is named.
pub const GATEWAY: &str = "gateway";

pub use access::AccessLog;
pub use guard::Guard;
pub use metrics::{Metrics, RouteMeter, WorkerMetrics};
pub use record::{Backend, Reason, Record};
pub use tags::{TAG_BYTES_MAX, TAGS_MAX, Tags};
pub use trace::{Propagation, TRACEPARENT, TraceContext};
