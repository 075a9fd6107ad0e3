//! What holds for all bytes that come in as spans, whoever sent them. The fuzz target and the ordinary tests of
//! `telemetry` share this.
#![allow(dead_code, reason = "each of those who share this file uses a part of it")]

use telemetry::otlp;
use telemetry::spans::{Linker, Span, merged};
use telemetry::zipkin::{
    decode_json, decode_json_v1, decode_proto, decode_thrift, encode_proto, write_spans,
};

/// In whatever format bytes are read, they are spans or refused, never a reason to panic; spans are the same when
/// they are written and read again, and reports that come twice are one.
pub(crate) fn any_spans(bytes: &[u8]) {
    for decode in [decode_json, decode_proto, decode_json_v1, decode_thrift] {
        if let Ok(spans) = decode(bytes) {
            any_trace(spans);
        }
    }
    for decode in [otlp::decode_json, otlp::decode_proto] {
        if let Ok(decoded) = decode(bytes) {
            any_trace(decoded.spans);
        }
    }
}

/// What holds for spans, however they came in.
pub(crate) fn any_trace(spans: Vec<Span>) {
    let mut text = String::new();
    write_spans(&mut text, &spans);
    let again = decode_json(text.as_bytes()).expect("what was written is read");
    assert_eq!(again, spans, "{text}");
    let again = decode_proto(&encode_proto(&spans)).expect("what was written is read");
    assert_eq!(again, spans);
    let mut linker = Linker::default();
    linker.put_trace(&spans);
    for link in linker.links() {
        assert!(link.errors <= link.calls && !link.parent.is_empty() && !link.child.is_empty(), "{link:?}");
    }
    let mut twice = spans.clone();
    twice.extend(spans.iter().cloned());
    let ids = |spans: Vec<Span>| merged(spans).iter().map(|span| (span.id, span.shared)).collect::<Vec<_>>();
    assert_eq!(ids(twice), ids(spans), "what is reported twice is there once");
}
