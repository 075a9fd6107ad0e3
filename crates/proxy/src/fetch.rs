//! Fetches a small document of our own need, such as routes or keys: bounded in time and bytes, on a
//! connection of its own, never redirected.

use base::{Fault, Kind};
use bytes::Bytes;
use http::header::{ACCEPT, ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};
use std::time::Duration;
use tokio::time::Instant;
use wire::{Body, Dialer, Origin, Request};

/// Longest wait for a document.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is fetched.
pub(crate) struct Wanted<'a> {
    pub(crate) url: &'a str,
    /// The types that are understood.
    pub(crate) accept: &'static str,
    /// The tag of what is known already.
    pub(crate) known: Option<&'a HeaderValue>,
    /// Most bytes of it.
    pub(crate) bytes_max: usize,
}

/// What came.
pub(crate) enum Fetched {
    /// It has not changed.
    AsKnown,
    /// This, and its tag.
    Document(Bytes, Option<HeaderValue>),
}

/// Fetches a document. Any status but 200, and 304 for one that is known, is a fault.
pub(crate) async fn fetch(wanted: Wanted<'_>, dialer: &Dialer) -> Result<Fetched, Fault> {
    let late = |_| Err(Fault::new(Kind::Timeout, "no answer within 10s"));
    let by = Instant::now() + TIMEOUT;
    tokio::time::timeout_at(by, ask(wanted, dialer, by)).await.unwrap_or_else(late)
}

async fn ask(wanted: Wanted<'_>, dialer: &Dialer, by: Instant) -> Result<Fetched, Fault> {
    let origin = Origin::parse(wanted.url)?;
    let rest = wanted.url.split_once("://").map_or("", |(_, rest)| rest);
    let target = rest.find('/').map_or("/", |at| &rest[at..]);
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() =
        target.parse().map_err(|_| Fault::new(Kind::Invalid, format!("`{target}` is no path of a URL")))?;
    let host = HeaderValue::try_from(origin.host_header())
        .map_err(|_| Fault::new(Kind::Invalid, "the host has forbidden characters"))?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(ACCEPT, HeaderValue::from_static(wanted.accept));
    if let Some(tag) = wanted.known {
        headers.insert(IF_NONE_MATCH, tag.clone());
    }
    let mut connection = dialer.dial(&origin).await?;
    let response = connection.send(request, by).await.map_err(|error| error.fault)?;
    match response.status() {
        StatusCode::NOT_MODIFIED if wanted.known.is_some() => Ok(Fetched::AsKnown),
        StatusCode::OK => {
            let tag = response.headers().get(ETAG).cloned();
            let bytes = response.into_body().collect(wanted.bytes_max).await?;
            Ok(Fetched::Document(bytes, tag))
        }
        status => Err(Fault::new(Kind::Unavailable, format!("the answer is {status}"))),
    }
}
