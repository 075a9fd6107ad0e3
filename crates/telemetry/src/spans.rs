//! Spans: what they are, what is looked for in them, and which services call which. Formats on the wire are in
//! `zipkin` and `otlp`.

mod encoded;
mod followers;
mod linker;
mod merge;
mod query;
mod span;
mod store;

pub use followers::Follower;
pub use linker::{Link, LinkSpan, Linker};
pub use merge::merged;
pub use query::{Query, parse_annotations, write_annotations};
pub use span::{Annotation, Endpoint, Kind, Span, TraceKey, parse_id};
pub use store::{Counts, Settings, SpanStore};
