//! Zipkin's formats of spans, read and written: JSON and protobuf of version 2, JSON and thrift of version 1. What came
//! in is checked and bounded here; what it means is in `spans`.

mod http;
mod json;
mod proto;
mod thrift;
mod v1;
mod v1_json;
mod write;

pub use http::{Api, Options, reference};
pub use json::{decode_json, decode_json_span};
pub use proto::{decode_proto, encode_proto};
pub use thrift::decode_thrift;
pub use v1_json::decode_json_v1;
pub(crate) use write::write_text;
pub use write::{write_links, write_names, write_span, write_spans, write_traces};

/// Spans of one message.
pub const SPANS_MAX: usize = 65_536;

/// More spans in one message than are taken.
pub(crate) fn too_many() -> base::Fault {
    let text = format!("a message has more than {SPANS_MAX} spans");
    base::Fault::new(base::Kind::TooMuch, text).hint("send it in parts")
}
