//! Spans: what they are, how what is carried leaves one, what is looked for in them, and which services call which.
//! Formats on the wire are in `zipkin` and `otlp`.

mod calls;
mod draft;
mod encoded;
mod followers;
mod linker;
mod merge;
mod query;
mod recorder;
mod sampling;
mod slow;
mod span;
mod store;
mod tail;
mod tree;

pub use calls::{Call, calls_of};
pub use draft::{Draft, Side, TagWriter, VALUE_BYTES_MAX};
pub use followers::Follower;
pub use linker::{Link, LinkSpan, Linker};
pub use merge::merged;
pub use query::{Query, parse_annotations, write_annotations};
pub use recorder::{BUFFER_BYTES_MAX, Recorder};
pub use sampling::Sample;
pub use span::{Annotation, COPY_TAG, Endpoint, Kind, MESSAGING_TAG, ROUTE_TAG, Span, TraceKey, parse_id};
pub use store::{Counts, Settings, SpanStore};
pub use tail::{Ended, Tail};
pub use tree::{Node, Tree};
