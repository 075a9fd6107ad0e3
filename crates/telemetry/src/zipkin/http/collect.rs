//! Spans that come in: over HTTP in each of the formats, over gRPC in protobuf; and how many.

use super::call::Call;
use super::{Answered, Api, Problem, typed};
use crate::grpc;
use crate::spans::Span;
use crate::zipkin::{decode_json, decode_json_v1, decode_proto, decode_thrift};
use base::{Fault, Kind};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use std::sync::atomic::{AtomicU64, Ordering};
use wire::{Body, RequestHead, Response};

/// What came in by one way.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) messages: AtomicU64,
    pub(super) messages_dropped: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) spans: AtomicU64,
    pub(super) spans_dropped: AtomicU64,
    /// Of the last message.
    pub(super) message_bytes: AtomicU64,
    pub(super) message_spans: AtomicU64,
}

/// Bytes to spans.
type Decode = fn(&[u8]) -> Result<Vec<Span>, Fault>;

/// A format of lists of spans.
struct Format {
    name: &'static str,
    decode: Decode,
    /// Whether a list of it begins so.
    begins: fn(u8) -> bool,
}

const JSON_V2: Format = Format { name: "JSON_V2", decode: decode_json, begins: |first| first == b'[' };
const PROTO3: Format = Format { name: "PROTO3", decode: decode_proto, begins: |first| first == 0x0a };
const JSON_V1: Format = Format { name: "JSON_V1", decode: decode_json_v1, begins: |first| first == b'[' };
const THRIFT: Format = Format { name: "THRIFT", decode: decode_thrift, begins: |first| first == 0x0c };

pub(super) async fn v1(api: Api, head: RequestHead, body: Body) -> Answered {
    let format = if is_type(&head, "application/x-thrift") { &THRIFT } else { &JSON_V1 };
    collect(api, head, body, format, &[&JSON_V1, &PROTO3, &THRIFT]).await
}

pub(super) async fn v2(api: Api, head: RequestHead, body: Body) -> Answered {
    let format = if is_type(&head, "application/x-protobuf") { &PROTO3 } else { &JSON_V2 };
    collect(api, head, body, format, &[&JSON_V2, &PROTO3, &THRIFT]).await
}

fn is_type(head: &RequestHead, wanted: &str) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted))
}

async fn collect(api: Api, head: RequestHead, body: Body, format: &Format, all: &[&Format]) -> Answered {
    let counts = &api.0.over_http;
    counts.messages.fetch_add(1, Ordering::Relaxed);
    let zipped = head
        .headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let collected = async {
        let (bytes, _place) = api.0.room.read(body, zipped).await?;
        let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace() || **byte == 0x0a) else {
            return Ok(());
        };
        let first = if format.name.starts_with("JSON") {
            bytes.trim_ascii_start().first().unwrap_or(first)
        } else {
            first
        };
        if !(format.begins)(*first) {
            let other = all.iter().find(|other| (other.begins)(*first));
            let received = other.map(|other| format!(", but received: {}", other.name)).unwrap_or_default();
            let text = format!("Expected a {} encoded list{received}", format.name);
            return Err(Fault::new(Kind::Invalid, text));
        }
        take(&api, counts, &bytes, format.decode)
    };
    match collected.await {
        Ok(()) => Ok(typed(StatusCode::ACCEPTED, "text/plain; charset=utf-8", "")),
        Err(fault) => {
            counts.messages_dropped.fetch_add(1, Ordering::Relaxed);
            // Its cause is the sender's affair.
            let gunzip = "Cannot gunzip spans";
            Err(if fault.message == gunzip { Problem::invalid(gunzip) } else { fault.into() })
        }
    }
}

/// Takes the spans of a message.
fn take(api: &Api, counts: &Collected, bytes: &[u8], decode: Decode) -> Result<(), Fault> {
    let spans = decode(bytes)?;
    let (length, count) = (bytes.len() as u64, spans.len() as u64);
    counts.bytes.fetch_add(length, Ordering::Relaxed);
    counts.spans.fetch_add(count, Ordering::Relaxed);
    counts.message_bytes.store(length, Ordering::Relaxed);
    counts.message_spans.store(count, Ordering::Relaxed);
    api.0.store.offer(spans).inspect_err(|_| {
        counts.spans_dropped.fetch_add(count, Ordering::Relaxed);
    })
}

/// `zipkin.proto3.SpanService/Report`.
pub(super) async fn over_grpc(api: &Api, head: &RequestHead, body: Body) -> Response {
    if Call::new(head).head.uri.path() != "/zipkin.proto3.SpanService/Report" {
        return grpc::failure(grpc::UNIMPLEMENTED, "only zipkin.proto3.SpanService/Report is served");
    }
    let counts = &api.0.over_grpc;
    counts.messages.fetch_add(1, Ordering::Relaxed);
    let collected = async {
        // What is zipped says so in each message.
        let (bytes, _place) = api.0.room.read(body, false).await?;
        let message = grpc::message(&head.headers, &bytes)?;
        take(api, counts, &message, decode_proto)
    };
    match collected.await {
        Ok(()) => grpc::answer(b""),
        Err(fault) => {
            counts.messages_dropped.fetch_add(1, Ordering::Relaxed);
            grpc::refused(&fault)
        }
    }
}
