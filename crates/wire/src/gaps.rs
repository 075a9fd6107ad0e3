//! What hyper takes and must not be passed on as it reads it: transfer codings that it does not decode, a
//! length beside chunks, a target that names a host and nothing else.

use crate::{Body, Headers, Request, Response};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};

/// The answer to a request that two readers would understand differently. Its connection ends with it.
pub(crate) fn refusal(request: &Request) -> Option<Response> {
    // Only CONNECT names a host and nothing else (RFC 9112 section 3.2.3).
    let uri = request.uri();
    let bare = uri.authority().is_some() && uri.scheme().is_none() && *request.method() != Method::CONNECT;
    let (status, text) = if !is_plain(request.headers()) {
        (StatusCode::NOT_IMPLEMENTED, "Not Implemented\n")
    } else if bare {
        (StatusCode::BAD_REQUEST, "Bad Request\n")
    } else {
        return None;
    };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

/// Why a response is not passed on, if two readers would understand it differently. (Of requests hyper takes
/// the length away itself.)
pub(crate) fn fault(headers: &Headers) -> Option<&'static str> {
    if !is_plain(headers) {
        Some("the body has a transfer coding other than chunked")
    } else if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        Some("the body has a length and is in chunks as well")
    } else {
        None
    }
}

/// Whether there is no transfer coding but `chunked`, once. hyper takes the last of a list for the whole
/// (RFC 9112 section 6.1).
fn is_plain(headers: &Headers) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}
