//! What a server of one plain call needs of gRPC: the messages of a body, and an answer with its status behind it.

use crate::incoming::unzip;
use base::{Fault, Kind};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use wire::{Body, Headers, Response};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// Statuses that are given here.
pub(crate) const INVALID_ARGUMENT: u16 = 3;
pub(crate) const PERMISSION_DENIED: u16 = 7;
pub(crate) const RESOURCE_EXHAUSTED: u16 = 8;
pub(crate) const UNIMPLEMENTED: u16 = 12;
pub(crate) const INTERNAL: u16 = 13;
pub(crate) const UNAVAILABLE: u16 = 14;

/// The one message of a call.
pub(crate) fn message(headers: &Headers, body: &Bytes) -> Result<Bytes, Fault> {
    let wrong = |text: &str| Fault::new(Kind::Invalid, text);
    let (&[zipped, a, b, c, d], rest) =
        body.split_first_chunk().ok_or_else(|| wrong("there is no message"))?;
    if rest.len() as u64 != u64::from(u32::from_be_bytes([a, b, c, d])) {
        return Err(wrong("the call is not one message, as long as it says"));
    }
    match zipped {
        0 => Ok(body.slice(5..)),
        1 if headers.get(ENCODING).is_some_and(|encoding| encoding == "gzip") => unzip(rest),
        _ => Err(wrong("messages are taken as they are or in gzip")),
    }
}

/// An answer with one message.
pub(crate) fn answer(message: &[u8]) -> Response {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    headed(Body::full([&[0], &length[..], message].concat()).with_trailers(trailers))
}

/// An answer that says why there is none; all of it is in the head.
pub(crate) fn failure(status: u16, message: &str) -> Response {
    let mut response = headed(Body::empty());
    let headers = response.headers_mut();
    headers.insert(STATUS, HeaderValue::from(status));
    let text: String =
        message.chars().map(|c| if c.is_ascii_graphic() && c != '%' || c == ' ' { c } else { '?' }).collect();
    if let Ok(text) = HeaderValue::try_from(text) {
        headers.insert(MESSAGE, text);
    }
    response
}

/// The answer to a fault.
pub(crate) fn refused(fault: &Fault) -> Response {
    let status = match fault.kind {
        Kind::Invalid => INVALID_ARGUMENT,
        Kind::Refused => PERMISSION_DENIED,
        Kind::TooMuch => RESOURCE_EXHAUSTED,
        Kind::Unavailable | Kind::Timeout | Kind::Io => UNAVAILABLE,
        Kind::NotFound | Kind::Conflict | Kind::Bug => INTERNAL,
    };
    failure(status, &fault.to_string())
}

fn headed(body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
