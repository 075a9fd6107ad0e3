//! Filters that write requests and responses to the log, for looking closely at one route. Secrets are masked
//! and everything is bounded.

use super::{Built, Example, Filter, FilterEnv, FilterSpec, Step, plain};
use crate::args::Args;
use crate::body::watch_body;
use crate::exchange::Exchange;
use crate::filter_log::{FilterLog, LINE_BYTES_MAX, flow_id};
use http::Uri;
use http::header::HOST;
use std::fmt::Write as _;
use telemetry::mask;
use wire::{Body, Headers, Response};

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "logHeader",
        args: "[\"request\"][, \"response\"]",
        docs: "Logs the request line and the headers of the request (when nothing is said), or the status and the \
               headers of the response, or both, in one line on the standard error output. Secrets are masked where names tell of \
               them, of headers (`Authorization`, `Cookie`, `X-Api-Key` and their like) and in the query, and where they \
               look like tokens; others may be there as well.",
        example: Example {
            filters: r#"logHeader("request", "response")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, env| {
            let (mut request, mut response) = (args.left() == 0, false);
            while args.left() > 0 {
                match args.text("what")? {
                    "request" => request = true,
                    "response" => response = true,
                    other => return Err(args.refuse("what", &neither(other))),
                }
            }
            Ok(plain(LogHeader { request, response, log: FilterLog::of(&env.handles) }))
        },
    },
    FilterSpec {
        name: "logBody",
        args: "\"request\" | \"response\", bytes",
        docs: "Logs the first bytes of the body, 1 MiB at most, as it streams by: each piece a line with the \
               `X-Flow-Id` of the request. Bodies may hold secrets, and these are not masked.",
        example: Example {
            filters: r#"logBody("response", 1024)"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nhello",
        },
        build: log_body,
    },
];

/// Bytes of one body that are logged at most.
const LOGGED_MAX: u64 = 1 << 20;

fn neither(text: &str) -> String {
    format!("`{text}` is neither `request` nor `response`")
}

fn log_body(args: &mut Args<'_>, env: &FilterEnv) -> Result<Built, String> {
    let response = match args.text("what")? {
        "request" => false,
        "response" => true,
        other => return Err(args.refuse("what", &neither(other))),
    };
    let bytes = args.whole("bytes", 0)?;
    if bytes > LOGGED_MAX {
        return Err(args.refuse("bytes", &format!("{bytes} is more than {LOGGED_MAX}")));
    }
    Ok(plain(LogBody { response, bytes: bytes as usize, log: FilterLog::of(&env.handles) }))
}

struct LogHeader {
    request: bool,
    response: bool,
    log: FilterLog,
}

impl LogHeader {
    fn write(&self, exchange: &Exchange, mut text: String, headers: &Headers) {
        for (name, value) in headers {
            let _ = write!(text, " | {name}: {}", mask::field(name, value));
        }
        self.log.write(&exchange.clock, &exchange.route, "logHeader", &text);
    }
}

fn target(uri: &Uri) -> String {
    mask::uri(&uri.to_string(), &[])
}

impl Filter for LogHeader {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.request {
            let mut text = format!("request {} {}", exchange.method, target(&exchange.uri));
            if !exchange.headers.contains_key(HOST) {
                let _ = write!(text, " | host: {}", exchange.host());
            }
            self.write(exchange, text, &exchange.headers);
        }
        Step::Next
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if self.response {
            let line = format!("{} {}", exchange.arrival.method, target(&exchange.arrival.uri));
            let text = format!("response {} to {line}", response.status().as_u16());
            self.write(exchange, text, response.headers());
        }
        Step::Next
    }
}

struct LogBody {
    response: bool,
    bytes: usize,
    log: FilterLog,
}

impl LogBody {
    fn watch(&self, body: Body, exchange: &Exchange) -> Body {
        if body.is_empty() || self.bytes == 0 {
            return body;
        }
        let way = if self.response { "response" } else { "request" };
        let start = format!("{way} {}: ", flow_id(&exchange.headers).unwrap_or("-"));
        let (route, clock, log) = (exchange.route.clone(), exchange.clock.clone(), self.log.clone());
        let mut left = self.bytes;
        watch_body(body, move |data| {
            let logged = &data[..data.len().min(left)];
            left -= logged.len();
            // Some room of a line is for what stands before, and for bytes that take more when written.
            for piece in logged.chunks(LINE_BYTES_MAX / 4) {
                let text = start.clone() + &String::from_utf8_lossy(piece);
                log.write(&clock, &route, "logBody", &text);
            }
        })
    }
}

impl Filter for LogBody {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if !self.response {
            let body = std::mem::take(&mut exchange.body);
            exchange.body = self.watch(body, exchange);
        }
        Step::Next
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if self.response {
            let body = std::mem::take(response.body_mut());
            *response.body_mut() = self.watch(body, exchange);
        }
        Step::Next
    }
}
