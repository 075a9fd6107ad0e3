//! Filters that send a copy of the request elsewhere. Nobody waits for the answers to copies, and nobody
//! sees them.

use super::values::{Value, rewrite};
use super::{Built, Example, Filter, FilterSpec, Step, plain};
use crate::args::Args;
use crate::exchange::{Exchange, Mirror};
use crate::path;
use crate::pattern::Rewrite;
use http::header::HeaderValue;
use http::uri::PathAndQuery;
use wire::Origin;

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
];

struct Tee {
    origin: Origin,
    host: HeaderValue,
    rewrite: Option<Rewrite>,
}

fn tee(args: &mut Args<'_>) -> Result<Built, String> {
    let text = args.text("address")?;
    let origin = Origin::parse(text).map_err(|fault| args.refuse("address", &fault.to_string()))?;
    let host = HeaderValue::try_from(origin.host_header())
        .map_err(|_| args.refuse("address", &format!("`{text}` has a host that no header may carry")))?;
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
