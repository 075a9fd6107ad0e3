//! Zipkin's formats of spans, read and written: JSON and protobuf of version 2. What came in is checked and bounded
//! here; what it means is in `spans`.

mod http;
mod json;
mod proto;
mod write;

pub use http::{Api, Options, reference};
pub use json::{decode_json, decode_json_span};
pub use proto::{decode_proto, encode_proto};
pub use write::{write_links, write_names, write_span, write_spans, write_traces};

/// Spans of one message.
pub const SPANS_MAX: usize = 65_536;

/// More spans in one message than are taken.
pub(crate) fn too_many() -> base::Fault {
    let text = format!("a message has more than {SPANS_MAX} spans");
    base::Fault::new(base::Kind::TooMuch, text).hint("send it in parts")
}
