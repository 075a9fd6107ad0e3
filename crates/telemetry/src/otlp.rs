//! `OpenTelemetry`'s protocol for traces: read in protobuf and JSON, mapped to spans as its conventions for Zipkin say,
//! taken over HTTP and gRPC, and sent on to another collector. Metrics and logs are not taken.

mod encode;
mod forward;
mod http;
mod json;
mod mapping;
mod proto;

pub use encode::encode_proto;
pub use forward::{Collector, News, forward};
pub use http::Api;
pub use json::decode_json;
use mapping::{Exported, Resource, Scope};
pub use proto::decode_proto;

/// What came of the spans of a message.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Those that make sense.
    pub spans: Vec<crate::spans::Span>,
    /// How many do not: their ids are none.
    pub rejected: u64,
}

impl Decoded {
    /// Takes a span as it was exported.
    fn take(&mut self, span: Exported, resource: &Resource, scope: &Scope) -> Result<(), base::Fault> {
        if self.spans.len() >= crate::zipkin::SPANS_MAX {
            return Err(crate::zipkin::too_many());
        }
        match mapping::span(span, resource, scope) {
            Some(span) => self.spans.push(span),
            None => self.rejected += 1,
        }
        Ok(())
    }
}
