//! Filters that send a copy of the request, or of the response, elsewhere. Nobody waits for the answers to
//! copies, and nobody sees them.

use super::values::{Value, rewrite};
use super::{Built, Example, Filter, FilterSpec, Step, plain};
use crate::args::Args;
use crate::backend::split;
use crate::exchange::{Exchange, Mirror, ResponseCopy};
use crate::path;
use crate::pattern::Rewrite;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::uri::PathAndQuery;
use wire::{Origin, Response};

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "tee",
        args: "address[, expression, replacement]",
        docs: "Sends a copy of the request, with its body, to another address as well; the path may be changed as \
               by `modPath`. The copy is of the request as it goes to the backend, and is not made when a filter \
               answers. Redirects are not followed (in Skipper `tee` follows them, `teenf` does not). A copy that \
               can't keep up is given up; the request never waits for it.",
        example: Example {
            filters: r#"tee("https://shadow.example", "^/v1/", "/v2/")"#,
            request: "GET /v1/a",
            saw: "GET /v1/a",
            got: "200",
        },
        build: |args, _| tee(args),
    },
    FilterSpec {
        name: "teenf",
        args: "address[, expression, replacement]",
        docs: "The same as `tee`, which follows no redirects here.",
        example: Example {
            filters: r#"teenf("https://shadow.example")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| tee(args),
    },
    FilterSpec {
        name: "Tee",
        args: "address[, expression, replacement]",
        docs: "An older name of `tee`.",
        example: Example {
            filters: r#"Tee("https://shadow.example")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| tee(args),
    },
    FilterSpec {
        name: "teeLoopback",
        args: "label",
        docs: "Sends a copy of the request through the route table again. The predicate `Tee` with the same label \
               chooses its route.",
        example: Example { filters: r#"teeLoopback("test-a")"#, request: "GET /", saw: "GET /", got: "200" },
        build: |args, _| {
            let label = Value::read_fixed(args, "label")?;
            if label.is_empty() {
                return Err(args.refuse("label", "it is empty"));
            }
            Ok(plain(TeeLoopback(label)))
        },
    },
    FilterSpec {
        name: "teeResponse",
        args: "address",
        docs: "Sends a copy of the response's body to another address as well, by POST to its path `/`, with the \
               body's `Content-Type` and `Content-Encoding` (Skipper sends neither). The copy is of the body as it \
               is at this place of the route; a response without a body makes none. A copy that can't keep up is \
               given up; the response never waits for it.",
        example: Example {
            filters: r#"teeResponse("https://archive.example")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nhello",
        },
        build: |args, _| {
            let (origin, host) = address(args)?;
            Ok(plain(TeeResponse { origin, host }))
        },
    },
];

struct Tee {
    origin: Origin,
    host: HeaderValue,
    rewrite: Option<Rewrite>,
}

/// Where a copy goes, and its Host header.
fn address(args: &mut Args<'_>) -> Result<(Origin, HeaderValue), String> {
    let text = args.text("address")?;
    let origin = Origin::parse(text).map_err(|fault| args.refuse("address", &fault.to_string()))?;
    let host = HeaderValue::try_from(origin.host_header())
        .map_err(|_| args.refuse("address", &format!("`{text}` has a host that no header may carry")))?;
    Ok((origin, host))
}

fn tee(args: &mut Args<'_>) -> Result<Built, String> {
    let (origin, host) = address(args)?;
    Ok(plain(Tee { origin, host, rewrite: args.optional(rewrite)? }))
}

impl Filter for Tee {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let changed = self
            .rewrite
            .as_ref()
            .map(|rewrite| path::join(&exchange.encode(&rewrite.apply(&exchange.path())), exchange.query()));
        let target = changed.as_ref().unwrap_or(&exchange.uri).path_and_query();
        let target = target.cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        exchange.notes.mirrors.push(Mirror::To {
            origin: self.origin.clone(),
            target,
            host: self.host.clone(),
        });
        Step::Next
    }
}

struct TeeLoopback(HeaderValue);

impl Filter for TeeLoopback {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.notes.mirrors.push(Mirror::Loopback { label: self.0.clone() });
        Step::Next
    }
}

struct TeeResponse {
    origin: Origin,
    host: HeaderValue,
}

impl Filter for TeeResponse {
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if response.body().is_empty() {
            return Step::Next;
        }
        let described = [CONTENT_TYPE, CONTENT_ENCODING].into_iter();
        let headers =
            described.filter_map(|name| response.headers().get(&name).cloned().map(|value| (name, value)));
        let headers = headers.collect();
        let (body, copy) = split(std::mem::take(response.body_mut()));
        *response.body_mut() = body;
        let (origin, host) = (self.origin.clone(), self.host.clone());
        exchange.notes.response_copies.push(ResponseCopy { origin, host, headers, body: copy });
        Step::Next
    }
}
