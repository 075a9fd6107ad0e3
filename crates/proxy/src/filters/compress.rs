//! Filters that put responses into a content coding the client accepts, or take them out of theirs. Which
//! coding and whether is decided here; how is in `wire::coding`.

use super::{Built, Example, Filter, FilterSpec, Step, plain};
use crate::answer::{Cause, Reason, answer};
use crate::args::Args;
use crate::body::change_response;
use crate::exchange::Exchange;
use eskip::Arg;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, VARY,
};
use http::{Method, StatusCode};
use wire::Response;
use wire::coding::{Coding, Decoder, Encoder, accepted};

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "compress",
        args: "[level][, \"...\"][, type, ...]",
        docs: "Compresses the response if the client accepts gzip, deflate, br or zstd, the response is in no coding \
               yet, its `Cache-Control` does not say `no-transform`, and its type is one of these: text/plain, \
               text/html, text/css, text/javascript, application/javascript, application/x-javascript, \
               application/json, image/svg+xml, application/octet-stream. Given types take their place, or add to \
               them behind `\"...\"`. The level goes from 0 (none) over 1 (quickest; the default) to 9, for br to 11; \
               -1 is the coding's own default, -2 its quickest. The coding with the highest `q` wins, of several \
               gzip before deflate, br and zstd; `*` counts for nothing. The length is no longer known, so it comes \
               in chunks, and what the backend has sent goes on at once, so events are not held up. `Vary` gets \
               `Accept-Encoding`; the ETag stays as it is, as in Skipper. Not in Skipper: parts of a resource (206) \
               are left alone, and a coding with `q=0` is not used.",
        example: Example {
            filters: r#"compress() -> setResponseHeader("Content-Type", "text/plain")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nhello\n! content-encoding",
        },
        build: |args, _| compress(args),
    },
    FilterSpec {
        name: "decompress",
        args: "",
        docs: "Takes the response out of the codings its `Content-Encoding` names, if they are gzip, deflate, br and \
               zstd, four at most; then `Content-Encoding`, `Content-Length` and `Vary` go. It streams, so a small \
               body that grows huge is never held. A body that is not in its coding breaks off.",
        example: Example { filters: "decompress()", request: "GET /", saw: "GET /", got: "200\nhello" },
        build: |_, _| Ok(plain(Uncompress)),
    },
];

/// Types that are compressed when a route does not say (Skipper's).
const TYPES: &[&str] = &[
    "text/plain",
    "text/html",
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "text/javascript",
    "text/css",
    "image/svg+xml",
    "application/octet-stream",
];

/// Codings of one body that are undone at most.
const CODINGS_MAX: usize = 4;

fn compress(args: &mut Args<'_>) -> Result<Built, String> {
    let mut level = 1;
    if let Some(Arg::Number(_)) = args.all().first() {
        let number = args.number("level")?;
        if number.fract() != 0.0 || !(-2.0..=11.0).contains(&number) {
            return Err(args.refuse("level", &format!("{number} is no whole number from -2 to 11")));
        }
        level = number as i32;
    }
    let given = args.texts("type")?;
    let (known, more): (&[&str], &[&str]) = match given.as_slice() {
        [] => (TYPES, &[]),
        ["...", more @ ..] => (TYPES, more),
        only => (&[], only),
    };
    let types = known.iter().chain(more).map(|text| (*text).to_owned()).collect();
    Ok(plain(Compress { level, types }))
}

struct Compress {
    level: i32,
    types: Vec<String>,
}

impl Compress {
    fn is_wanted(&self, response: &Response) -> bool {
        let headers = response.headers();
        let first = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let kind = first(&CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
        // RFC 9110 section 8.4: identity is no coding; some say it all the same.
        matches!(first(&CONTENT_ENCODING), None | Some("" | "identity"))
            && !headers.get_all(CACHE_CONTROL).any(forbids)
            && self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind.trim()))
            && !matches!(
                response.status(),
                StatusCode::PARTIAL_CONTENT | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            )
    }
}

/// Whether the value of a `Cache-Control` forbids to change the content (RFC 9111 section 5.2.2.6).
fn forbids(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default();
    text.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

impl Filter for Compress {
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        let head = exchange.arrival.method == Method::HEAD;
        if !self.is_wanted(response) || (response.body().is_empty() && !head) {
            return Step::Next;
        }
        let Some(coding) = accepted(&exchange.headers) else { return Step::Next };
        if !head {
            let Ok(encoder) = Encoder::new(coding, self.level) else { return Step::Next };
            change_response(response, encoder);
        }
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        let varies = headers.get_all(VARY).filter_map(|value| value.to_str().ok());
        let mut names = varies.flat_map(|value| value.split(',')).map(str::trim);
        if !names.any(|name| name.eq_ignore_ascii_case("accept-encoding")) {
            headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        Step::Next
    }
}

struct Uncompress;

impl Filter for Uncompress {
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        let lines = response.headers().get_all(CONTENT_ENCODING);
        let names = lines.flat_map(|line| line.to_str().unwrap_or("?").split(','));
        let names = names.map(str::trim).filter(|name| !name.is_empty() && *name != "identity");
        let Some(codings) = names.map(Coding::named).collect::<Option<Vec<_>>>() else { return Step::Next };
        if codings.is_empty() || codings.len() > CODINGS_MAX {
            return Step::Next;
        }
        for header in [CONTENT_ENCODING, VARY, CONTENT_LENGTH] {
            response.headers_mut().remove(header);
        }
        if response.body().is_empty() {
            return Step::Next;
        }
        // The one applied last comes off first.
        for coding in codings.into_iter().rev() {
            match Decoder::new(coding) {
                Ok(decoder) => change_response(response, decoder),
                Err(fault) => {
                    let reason = Reason::of(Cause::INTERNAL).by("decompress").because(fault.to_string());
                    exchange.notes.reason = Some(reason);
                    return Step::Reply(answer(StatusCode::INTERNAL_SERVER_ERROR));
                }
            }
        }
        Step::Next
    }
}
