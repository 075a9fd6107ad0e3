//! Answers: pages, JSON, redirections. What a browser may do with them is said in one place.

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use maud::Markup;
use serde::Serialize;
use wire::{Body, Response};

/// Only our own files, no script or style within a page, nothing from elsewhere, and no page of others around ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Fields of every answer.
const FIELDS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// An answer of a type.
pub(crate) fn typed(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A page.
pub(crate) fn html(status: StatusCode, page: Markup) -> Response {
    typed(status, "text/html; charset=utf-8", Body::full(page.into_string()))
}

/// JSON.
pub(crate) fn json(status: StatusCode, text: impl Into<Bytes>) -> Response {
    typed(status, "application/json", Body::full(text))
}

/// To another page, asked for with GET (RFC 9110 15.4.4). The path is one of ours.
pub(crate) fn see(path: &str) -> Response {
    let mut response = typed(StatusCode::SEE_OTHER, "text/plain", Body::empty());
    let location = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

/// A value as it stands in a page's twin.
pub(crate) fn json_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}
