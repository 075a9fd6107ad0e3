//! What there is to be called, one entry each: the router and the reference page follow from it.

use super::call::Call;
use super::{Answered, Api, about, collect, query};
use http::Method;
use std::fmt::Write as _;
use std::pin::Pin;
use wire::Body;

/// The answer to come.
pub(super) type Running = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// One thing to be called.
pub(super) struct Operation {
    pub(super) method: Method,
    /// `{name}` is any one segment.
    pub(super) path: &'static str,
    docs: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    pub(super) run: fn(&Api, Call, Body) -> Running,
}

/// Whether a path fits a pattern.
pub(super) fn is_at(pattern: &str, path: &str) -> bool {
    match pattern.split_once('{') {
        None => pattern == path,
        Some((before, _)) => {
            path.strip_prefix(before).is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        }
    }
}

/// An answer that is there already.
fn now(answered: Answered) -> Running {
    Box::pin(std::future::ready(answered))
}

/// An answer to come, once the parameters make sense.
fn then<T, F>(read: Result<T, super::Problem>, run: impl FnOnce(T) -> F) -> Running
where
    F: Future<Output = Answered> + Send + 'static,
{
    match read {
        Ok(read) => Box::pin(run(read)),
        Err(problem) => now(Err(problem)),
    }
}

const SERVICE: (&str, &str) = ("serviceName", "The service, in any case of letters.");
const END: (&str, &str) =
    ("endTs", "Milliseconds since 1970; traces began then or before. Now, if not given.");
const LOOKBACK: (&str, &str) =
    ("lookback", "Milliseconds before `endTs` in which traces began. One day, if not given.");

/// All of them.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        method: Method::POST,
        path: "/api/v2/spans",
        docs: "Takes a list of spans in JSON, or with `Content-Type: application/x-protobuf` a `ListOfSpans`; gzip if \
               `Content-Encoding` says so. 202 says that they are read and wait to be written, 503 that too many wait.",
        parameters: &[],
        run: |api, call, body| Box::pin(collect::v2(api.clone(), call.head.clone(), body)),
    },
    Operation {
        method: Method::POST,
        path: "/api/v1/spans",
        docs: "The same for spans of version 1: in JSON, or with `Content-Type: application/x-thrift` in thrift's \
               binary protocol. They are taken apart into spans of today.",
        parameters: &[],
        run: |api, call, body| Box::pin(collect::v1(api.clone(), call.head.clone(), body)),
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/services",
        docs: "The names of services that reported.",
        parameters: &[],
        run: |api, _, _| Box::pin(query::services(api.clone())),
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/spans",
        docs: "The names of a service's spans.",
        parameters: &[SERVICE],
        run: |api, call, _| then(call.needed("serviceName"), |name| query::span_names(api.clone(), name)),
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/remoteServices",
        docs: "The other sides of a service's calls.",
        parameters: &[SERVICE],
        run: |api, call, _| {
            then(call.needed("serviceName"), |name| query::remote_services(api.clone(), name))
        },
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/traces",
        docs: "Traces that meet all that is asked, the latest first, their spans as reported. What is asked is met by \
               spans of the named service, each by any of them.",
        parameters: &[
            SERVICE,
            ("remoteServiceName", "The other side of one of its spans."),
            ("spanName", "The name of one of its spans; `all` asks for nothing."),
            (
                "annotationQuery",
                "Parts joined by ` and `: `key=value` asks for a tag, a bare word for an annotation or the key of a \
                 tag.",
            ),
            ("minDuration", "Microseconds that one of its spans lasted at least."),
            ("maxDuration", "Microseconds that the same span lasted at most; only with `minDuration`."),
            END,
            LOOKBACK,
            ("limit", "Traces of the answer; 10, if not given, and at most 10,000."),
        ],
        run: |api, call, _| then(query::query(api, &call), |asked| query::search(api.clone(), asked)),
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/trace/{traceId}",
        docs: "The spans of a trace, as reported; 404 if there are none.",
        parameters: &[],
        run: |api, call, _| then(call.last(), |id| query::trace(api.clone(), id)),
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/traceMany",
        docs: "The spans of several traces; those that are not there are left out.",
        parameters: &[("traceIds", "Ids, joined by commas; at least two.")],
        run: |api, call, _| then(call.needed("traceIds"), |ids| query::traces(api.clone(), ids)),
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/dependencies",
        docs: "Which services call which, how often, and how many calls failed; counted as spans come in, to the \
               minute.",
        parameters: &[END, LOOKBACK],
        run: |api, call, _| {
            let read =
                call.needed("endTs").and_then(|_| Ok((call.number("endTs")?, call.number("lookback")?)));
            then(read, |(end, lookback)| query::dependencies(api.clone(), end.unwrap_or(0), lookback))
        },
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/autocompleteKeys",
        docs: "The tags whose values are listed, as configured.",
        parameters: &[],
        run: |api, _, _| now(query::tag_keys(api)),
    },
    Operation {
        method: Method::GET,
        path: "/api/v2/autocompleteValues",
        docs: "The values of such a tag.",
        parameters: &[("key", "The key of the tag.")],
        run: |api, call, _| then(call.needed("key"), |key| query::tag_values(api.clone(), key)),
    },
    Operation {
        method: Method::GET,
        path: "/health",
        docs: "Whether spans can be written: 200 or 503.",
        parameters: &[],
        run: |api, _, _| now(about::health(api)),
    },
    Operation {
        method: Method::GET,
        path: "/info",
        docs: "The version.",
        parameters: &[],
        run: |_, _, _| now(about::info()),
    },
    Operation {
        method: Method::GET,
        path: "/metrics",
        docs: "What came in, as flat JSON.",
        parameters: &[],
        run: |api, _, _| now(about::metrics(api)),
    },
    Operation {
        method: Method::GET,
        path: "/prometheus",
        docs: "The same for Prometheus.",
        parameters: &[],
        run: |api, _, _| now(about::prometheus(api)),
    },
    Operation {
        method: Method::GET,
        path: "/config.json",
        docs: "What Zipkin's page asks for before anything else.",
        parameters: &[],
        run: |api, _, _| now(about::config(api)),
    },
];

/// The reference page, made of the same table.
pub fn reference() -> String {
    let mut page = String::from(
        "# Zipkin's API\n\nGenerated from the table in the code. Each path is served with `/zipkin` before it as well. \
         Over gRPC the same port takes `zipkin.proto3.SpanService/Report`. A body has at most 16 MiB, unzipped, and \
         65,536 spans. Only names of this machine for itself are answered, and pages of other origins only if those \
         are named.\n\nDifferences from Zipkin, on purpose: dependencies need no job and are there at once; a full \
         queue is told (503) instead of kept silent; pages of all origins may not call unless `*` says so.\n",
    );
    for operation in OPERATIONS {
        _ = write!(page, "\n## {} {}\n\n{}\n", operation.method, operation.path, operation.docs);
        if !operation.parameters.is_empty() {
            page.push_str("\n| parameter | meaning |\n|---|---|\n");
            for (name, docs) in operation.parameters {
                _ = writeln!(page, "| `{name}` | {docs} |");
            }
        }
    }
    page
}
