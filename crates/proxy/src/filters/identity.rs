//! Headers with a meaning of their own: which Host the backend sees, whom a request comes from, the flow it
//! belongs to, who may read the answer, and values in base64.

use super::headers::set_request_header;
use super::values::first;
use super::{Built, Example, Filter, FilterSpec, On, Step, plain};
use crate::args::Args;
use crate::exchange::Exchange;
use crate::net::{self, Connection, ForwardedFor, ForwardedHeaders};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HOST, HeaderName, HeaderValue, ORIGIN};
use wire::Headers;
use wire::Response;

const FLOW_ID: HeaderName = HeaderName::from_static("x-flow-id");

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "preserveHost",
        args: "\"true\" | \"false\"",
        docs: "Decides whether the backend sees the Host that came in (`\"true\"`) or its own (`\"false\"`). A \
               Host that another filter has set stays.",
        example: Example {
            filters: r#"preserveHost("true")"#,
            request: "GET /\nhost: shop.example",
            saw: "GET /\nhost: shop.example",
            got: "200",
        },
        build: |args, _| match args.text("preserve")? {
            "true" => Ok(plain(PreserveHost(true))),
            "false" => Ok(plain(PreserveHost(false))),
            other => Err(args.refuse("preserve", &format!("`{other}` is neither `true` nor `false`"))),
        },
    },
    FilterSpec {
        name: "rfcHost",
        args: "",
        docs: "Takes the dot of a fully qualified name from the Host of the request, the one that goes out \
               included.",
        example: Example {
            filters: r#"rfcHost() -> preserveHost("true")"#,
            request: "GET /\nhost: shop.example.",
            saw: "GET /\nhost: shop.example",
            got: "200",
        },
        build: |_, _| Ok(plain(RfcHost)),
    },
    FilterSpec {
        name: "xforward",
        args: "",
        docs: "Adds the sender's address to the end of `X-Forwarded-For` and sets `X-Forwarded-Host` to the Host \
               that came in.",
        example: Example {
            filters: "xforward()",
            request: "GET /\nhost: shop.example\nx-forwarded-for: 10.0.0.9",
            saw: "GET /\nx-forwarded-for: 10.0.0.9, 192.0.2.7\nx-forwarded-host: shop.example",
            got: "200",
        },
        build: |_, _| Ok(forward(ForwardedFor::Append)),
    },
    FilterSpec {
        name: "xforwardFirst",
        args: "",
        docs: "Like `xforward`, with the address in front, where some load balancers expect the last hop.",
        example: Example {
            filters: "xforwardFirst()",
            request: "GET /\nhost: shop.example\nx-forwarded-for: 10.0.0.9",
            saw: "GET /\nx-forwarded-for: 192.0.2.7, 10.0.0.9\nx-forwarded-host: shop.example",
            got: "200",
        },
        build: |_, _| Ok(forward(ForwardedFor::Prepend)),
    },
    FilterSpec {
        name: "flowId",
        args: "[\"reuse\"]",
        docs: "Gives the request a new `X-Flow-Id`: 16 characters of letters, digits, `+` and `-`. With \
               `\"reuse\"` an id that came in is kept if it has 8 to 64 of them.",
        example: Example {
            filters: r#"flowId("reuse")"#,
            request: "GET /\nx-flow-id: f81d4fae-7dec",
            saw: "GET /\nx-flow-id: f81d4fae-7dec",
            got: "200",
        },
        build: |args, _| {
            let mode = args.optional(|args| args.text("mode"))?;
            Ok(plain(FlowId { reuse: mode.is_some_and(|mode| mode.eq_ignore_ascii_case("reuse")) }))
        },
    },
    FilterSpec {
        name: "corsOrigin",
        args: "[origin, ...]",
        docs: "Sets `Access-Control-Allow-Origin`: to `*` without arguments, else to the origin of the request if \
               it is one of these. Preflight requests need a route of their own.",
        example: Example {
            filters: r#"corsOrigin("https://shop.example", "https://m.shop.example")"#,
            request: "GET /\norigin: https://shop.example",
            saw: "GET /",
            got: "200\naccess-control-allow-origin: https://shop.example",
        },
        build: |args, _| {
            let mut allowed = Vec::new();
            while args.left() > 0 {
                allowed.push(super::values::Value::read_fixed(args, "origin")?);
            }
            Ok(plain(CorsOrigin(allowed)))
        },
    },
    FilterSpec {
        name: "encodeBase64RequestHeader",
        args: "name[, part]",
        docs: "Encodes the value of a header of the request in base64, or one part of it: parts are parted by \
               spaces and counted from 0. A part that is not there changes nothing.",
        example: Example {
            filters: r#"encodeBase64RequestHeader("Authorization", 1)"#,
            request: "GET /\nauthorization: Basic ann:secret",
            saw: "GET /\nauthorization: Basic YW5uOnNlY3JldA==",
            got: "200",
        },
        build: |args, _| base64(args, On::Request, Code::Encode),
    },
    FilterSpec {
        name: "decodeBase64RequestHeader",
        args: "name[, part]",
        docs: "Decodes the value of a header of the request from base64, or one part of it. What is not base64, \
               or decodes to what no header may carry, stays.",
        example: Example {
            filters: r#"decodeBase64RequestHeader("X-Name")"#,
            request: "GET /\nx-name: YW5u",
            saw: "GET /\nx-name: ann",
            got: "200",
        },
        build: |args, _| base64(args, On::Request, Code::Decode),
    },
    FilterSpec {
        name: "encodeBase64ResponseHeader",
        args: "name[, part]",
        docs: "Like `encodeBase64RequestHeader`, for the response.",
        example: Example {
            filters: r#"encodeBase64ResponseHeader("X-Name") -> setResponseHeader("X-Name", "ann")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nx-name: YW5u",
        },
        build: |args, _| base64(args, On::Response, Code::Encode),
    },
    FilterSpec {
        name: "decodeBase64ResponseHeader",
        args: "name[, part]",
        docs: "Like `decodeBase64RequestHeader`, for the response.",
        example: Example {
            filters: r#"decodeBase64ResponseHeader("X-Name") -> setResponseHeader("X-Name", "YW5u")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nx-name: ann",
        },
        build: |args, _| base64(args, On::Response, Code::Decode),
    },
];

struct PreserveHost(bool);

impl Filter for PreserveHost {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let came = exchange.arrival.host.clone();
        let going = &mut exchange.notes.outgoing_host;
        // No Host set means the backend's own.
        if self.0 && going.is_none() {
            *going = came;
        } else if !self.0 && *going == came {
            *going = None;
        }
        Step::Next
    }
}

struct RfcHost;

impl Filter for RfcHost {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let patched = |host: &HeaderValue| HeaderValue::try_from(&*net::rfc_host(host.to_str().ok()?)).ok();
        let arrived = exchange.arrival.host.as_ref().and_then(patched);
        if let Some(host) = exchange.headers.get(HOST).and_then(patched) {
            exchange.headers.insert(HOST, host);
        }
        if let Some(host) = exchange.notes.outgoing_host.as_ref().and_then(patched) {
            exchange.notes.outgoing_host = Some(host);
        }
        if arrived.is_some() {
            exchange.arrival.host = arrived;
        }
        Step::Next
    }
}

struct Forward(ForwardedHeaders);

fn forward(forwarded_for: ForwardedFor) -> Built {
    plain(Forward(ForwardedHeaders { forwarded_for, host: true, ..ForwardedHeaders::default() }))
}

impl Filter for Forward {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let Exchange { arrival, method, uri, headers, .. } = exchange;
        let connection = Connection {
            remote: arrival.remote.ip(),
            local: Some(arrival.local),
            tls: arrival.tls,
            host: arrival.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default(),
            method,
            uri: uri.path_and_query().map_or("/", |target| target.as_str()),
        };
        self.0.apply(headers, &connection);
        Step::Next
    }
}

struct FlowId {
    reuse: bool,
}

impl FlowId {
    fn is_valid(id: &[u8]) -> bool {
        (8..=64).contains(&id.len())
            && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-".contains(byte))
    }
}

impl Filter for FlowId {
    fn request(&self, exchange: &mut Exchange) -> Step {
        const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-+";
        if self.reuse && exchange.headers.get(FLOW_ID).is_some_and(|id| Self::is_valid(id.as_bytes())) {
            return Step::Next;
        }
        let bits = (u128::from(exchange.chance.bits()) << 64) | u128::from(exchange.chance.bits());
        let id: [u8; 16] = std::array::from_fn(|at| LETTERS[(bits >> (6 * at)) as usize & 63]);
        if let Ok(id) = HeaderValue::from_bytes(&id) {
            exchange.headers.insert(FLOW_ID, id);
        }
        Step::Next
    }
}

struct CorsOrigin(Vec<HeaderValue>);

impl Filter for CorsOrigin {
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        let allowed = match exchange.headers.get(ORIGIN) {
            _ if self.0.is_empty() => Some(HeaderValue::from_static("*")),
            Some(origin) if !origin.is_empty() => self.0.iter().find(|allowed| *allowed == origin).cloned(),
            _ => None,
        };
        if let Some(allowed) = allowed {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        }
        Step::Next
    }
}

struct Base64 {
    on: On,
    name: HeaderName,
    part: Option<usize>,
    code: Code,
}

fn base64(args: &mut Args<'_>, on: On, code: Code) -> Result<Built, String> {
    let name = args.header("header")?;
    let part =
        args.optional(|args| args.whole("part", 0))?.map(|part| usize::try_from(part).unwrap_or(usize::MAX));
    Ok(plain(Base64 { on, name, part, code }))
}

/// Which way a value is coded.
#[derive(Clone, Copy)]
enum Code {
    Encode,
    Decode,
}

impl Code {
    /// `None` for what is not base64.
    fn apply(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Code::Encode => Some(STANDARD.encode(text).into_bytes()),
            Code::Decode => STANDARD.decode(text).ok(),
        }
    }
}

impl Base64 {
    fn value(&self, headers: &Headers) -> Option<HeaderValue> {
        let old = first(headers, &self.name);
        if old.is_empty() {
            return None;
        }
        let coded = match self.part {
            None => self.code.apply(&old)?,
            Some(part) => {
                let mut parts: Vec<&[u8]> = old.split_whitespace().map(str::as_bytes).collect();
                let coded = self.code.apply(old.split_whitespace().nth(part)?)?;
                *parts.get_mut(part)? = &coded;
                parts.join(&b' ')
            }
        };
        HeaderValue::from_bytes(&coded).ok()
    }
}

impl Filter for Base64 {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request
            && let Some(value) = self.value(&exchange.headers)
        {
            set_request_header(exchange, &self.name, value);
        }
        Step::Next
    }

    fn response(&self, _: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response
            && let Some(value) = self.value(response.headers())
        {
            response.headers_mut().insert(&self.name, value);
        }
        Step::Next
    }
}
