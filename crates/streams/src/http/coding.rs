//! Bodies of calls and answers in a content coding (RFC 9110 section 8.4): what a client sends compressed is read, what
//! it would rather have compressed is sent so. Bounds hold for what comes out, piece by piece.

use super::answer::Problem;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use wire::coding::{Coding, Decoder, Encoder, accepted};
use wire::stage::map_body;
use wire::{Body, RequestHead, Response};

/// Bytes from which an answer is worth it.
const WORTH: u64 = 1_024;
/// How hard it is tried: quickly.
const LEVEL: i32 = 1;

/// The coding that a client would have an answer in.
pub(crate) fn wished(head: &RequestHead) -> Option<Coding> {
    accepted(&head.headers)
}

/// The body of a call out of its coding. One coding is undone, and no other is known.
pub(crate) fn undone(head: &RequestHead, body: Body) -> Result<Body, Problem> {
    let coding = match head.headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?")) {
        None | Some("identity" | "") => return Ok(body),
        Some(coding) => coding,
    };
    let Some(known) = Coding::named(coding) else {
        let names = Coding::ALL.map(Coding::name).join(", ");
        return Err(Problem::invalid(format!("the content coding `{coding}` is not known"))
            .code("content_coding")
            .status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .hint(format!("it takes one of {names}")));
    };
    Ok(map_body(body, Decoder::new(known)?))
}

/// An answer in a coding, if it is worth it.
pub(crate) fn done(mut response: Response, wished: Option<Coding>) -> Response {
    let small = response.body().exact_len().is_some_and(|length| length < WORTH);
    let Some((coding, encoder)) =
        wished.filter(|_| !small).and_then(|coding| Some((coding, Encoder::new(coding, LEVEL).ok()?)))
    else {
        return response;
    };
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response.map(|body| map_body(body, encoder))
}
