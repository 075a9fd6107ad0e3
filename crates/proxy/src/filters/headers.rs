//! Filters that set, add, drop, change and copy headers of the request or the response. `Host` of a request
//! is special: setting it also sets the Host that the backend sees.

use super::values::{Value, first, regexp, rewrite, value};
use super::{Built, Example, Filter, FilterSpec, On, Step, plain};
use crate::args::Args;
use crate::exchange::Exchange;
use crate::for_good;
use crate::pattern::Rewrite;
use crate::predicates::Regexp;
use http::header::{HOST, HeaderName, HeaderValue};
use wire::Headers;
use wire::Response;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "setRequestHeader",
        args: "name, value",
        docs: "Sets a header of the request, in the place of all values it had. With a placeholder that has no \
               value, nothing is set. `Host` also becomes the Host that the backend sees.",
        example: Example {
            filters: r#"setRequestHeader("X-Shop", "${request.header.x-country}-shop")"#,
            request: "GET /\nx-country: it",
            saw: "GET /\nx-shop: it-shop",
            got: "200",
        },
        build: |args, _| put(args, On::Request, How::Set),
    },
    FilterSpec {
        name: "appendRequestHeader",
        args: "name, value",
        docs: "Adds a value to a header of the request. With a placeholder that has no value, nothing is added. \
               `Host` has one value only, so it is set.",
        example: Example {
            filters: r#"appendRequestHeader("X-Via", "edge")"#,
            request: "GET /\nx-via: cdn",
            saw: "GET /\nx-via: cdn\nx-via: edge",
            got: "200",
        },
        build: |args, _| put(args, On::Request, How::Append),
    },
    FilterSpec {
        name: "dropRequestHeader",
        args: "name",
        docs: "Drops a header of the request, all its values.",
        example: Example {
            filters: r#"dropRequestHeader("User-Agent")"#,
            request: "GET /\nuser-agent: curl",
            saw: "GET /\n! user-agent",
            got: "200",
        },
        build: |args, _| drop_all(args, On::Request),
    },
    FilterSpec {
        name: "dropRequestHeaderRegexp",
        args: "name, expression",
        docs: "Drops those values of a header of the request that match.",
        example: Example {
            filters: r#"dropRequestHeaderRegexp("X-Role", "^admin")"#,
            request: "GET /\nx-role: admin\nx-role: buyer",
            saw: "GET /\nx-role: buyer\n! x-role: admin",
            got: "200",
        },
        build: |args, _| drop_some(args, On::Request),
    },
    FilterSpec {
        name: "dropRequestHeaderValueRegexp",
        args: "name, expression",
        docs: "Another name of `dropRequestHeaderRegexp`: the one that Skipper's reference page gives.",
        example: Example {
            filters: r#"dropRequestHeaderValueRegexp("X-Role", "^admin")"#,
            request: "GET /\nx-role: admin",
            saw: "GET /\n! x-role",
            got: "200",
        },
        build: |args, _| drop_some(args, On::Request),
    },
    FilterSpec {
        name: "modRequestHeader",
        args: "name, expression, replacement",
        docs: "Replaces all matches in the first value of a header of the request; other values go. A header \
               that is not there stays so. `Host` is always there, and what becomes of it is the Host that the \
               backend sees, even if nothing matched.",
        example: Example {
            filters: r#"modRequestHeader("Host", "^shop\\.(\\w+)$", "www.shop.$1")"#,
            request: "GET /\nhost: shop.example",
            saw: "GET /\nhost: www.shop.example",
            got: "200",
        },
        build: |args, _| modify(args, On::Request),
    },
    FilterSpec {
        name: "copyRequestHeader",
        args: "source, target",
        docs: "Sets a header of the request to the first value of another one, if that is there and not empty.",
        example: Example {
            filters: r#"copyRequestHeader("X-User", "X-Account")"#,
            request: "GET /\nx-user: ann",
            saw: "GET /\nx-account: ann",
            got: "200",
        },
        build: |args, _| copy(args, On::Request),
    },
    FilterSpec {
        name: "setResponseHeader",
        args: "name, value",
        docs: "Sets a header of the response, in the place of all values it had. With a placeholder that has no \
               value, nothing is set.",
        example: Example {
            filters: r#"setResponseHeader("Cache-Control", "no-store")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\ncache-control: no-store",
        },
        build: |args, _| put(args, On::Response, How::Set),
    },
    FilterSpec {
        name: "appendResponseHeader",
        args: "name, value",
        docs: "Adds a value to a header of the response. With a placeholder that has no value, nothing is added.",
        example: Example {
            filters: r#"appendResponseHeader("Vary", "X-Country") -> appendResponseHeader("Vary", "Accept")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nvary: Accept\nvary: X-Country",
        },
        build: |args, _| put(args, On::Response, How::Append),
    },
    FilterSpec {
        name: "dropResponseHeader",
        args: "name",
        docs: "Drops a header of the response, all its values.",
        example: Example {
            filters: r#"dropResponseHeader("X-Powered-By") -> setResponseHeader("X-Powered-By", "php")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\n! x-powered-by",
        },
        build: |args, _| drop_all(args, On::Response),
    },
    FilterSpec {
        name: "dropResponseHeaderRegexp",
        args: "name, expression",
        docs: "Drops those values of a header of the response that match.",
        example: Example {
            filters: r#"dropResponseHeaderRegexp("Link", "preload") -> setResponseHeader("Link", "</a.css>; rel=preload")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\n! link",
        },
        build: |args, _| drop_some(args, On::Response),
    },
    FilterSpec {
        name: "dropResponseHeaderValueRegexp",
        args: "name, expression",
        docs: "Another name of `dropResponseHeaderRegexp`: the one that Skipper's reference page gives.",
        example: Example {
            filters: r#"dropResponseHeaderValueRegexp("Link", "preload") -> setResponseHeader("Link", "</a>; rel=next")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nlink: </a>; rel=next",
        },
        build: |args, _| drop_some(args, On::Response),
    },
    FilterSpec {
        name: "modResponseHeader",
        args: "name, expression, replacement",
        docs: "Replaces all matches in the first value of a header of the response; other values go. A header \
               that is not there stays so.",
        example: Example {
            filters: r#"modResponseHeader("Location", "^http:", "https:") -> setResponseHeader("Location", "http://a.example/")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nlocation: https://a.example/",
        },
        build: |args, _| modify(args, On::Response),
    },
    FilterSpec {
        name: "copyResponseHeader",
        args: "source, target",
        docs: "Sets a header of the response to the first value of another one, if that is there and not empty.",
        example: Example {
            filters: r#"copyResponseHeader("Etag", "X-Version") -> setResponseHeader("Etag", "\"7\"")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nx-version: \"7\"",
        },
        build: |args, _| copy(args, On::Response),
    },
    FilterSpec {
        name: "requestHeader",
        args: "name, value",
        docs: "Adds a value to a header of the request, placeholders not filled in. Kept for old routes; use \
               `appendRequestHeader`.",
        example: Example {
            filters: r#"requestHeader("X-Via", "edge")"#,
            request: "GET /",
            saw: "GET /\nx-via: edge",
            got: "200",
        },
        build: |args, _| put(args, On::Request, How::AppendAsIs),
    },
    FilterSpec {
        name: "responseHeader",
        args: "name, value",
        docs: "Adds a value to a header of the response, placeholders not filled in. Kept for old routes; use \
               `appendResponseHeader`.",
        example: Example {
            filters: r#"responseHeader("X-Via", "edge")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nx-via: edge",
        },
        build: |args, _| put(args, On::Response, How::AppendAsIs),
    },
    FilterSpec {
        name: "requestCopyHeader",
        args: "source, target",
        docs: "An older name of `copyRequestHeader`.",
        example: Example {
            filters: r#"requestCopyHeader("X-User", "X-Account")"#,
            request: "GET /\nx-user: ann",
            saw: "GET /\nx-account: ann",
            got: "200",
        },
        build: |args, _| copy(args, On::Request),
    },
    FilterSpec {
        name: "responseCopyHeader",
        args: "source, target",
        docs: "An older name of `copyResponseHeader`.",
        example: Example {
            filters: r#"responseCopyHeader("Etag", "X-Version") -> setResponseHeader("Etag", "\"7\"")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nx-version: \"7\"",
        },
        build: |args, _| copy(args, On::Response),
    },
];

/// How a value comes into a header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Set,
    Append,
    AppendAsIs,
}

fn put(args: &mut Args<'_>, on: On, how: How) -> Result<Built, String> {
    let name = args.header("header")?;
    let value = match how {
        How::AppendAsIs => Value::Fixed(Value::read_fixed(args, "value")?),
        How::Set | How::Append => Value::read(args, "value")?,
    };
    let value = match value {
        Value::Fixed(value) => Value::Fixed(for_good::value(&name, value)),
        template @ Value::Template(_) => template,
    };
    Ok(plain(Put { on, set: how == How::Set, name: for_good::name(name), value }))
}

fn drop_all(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    Ok(plain(DropHeader { on, name: args.header("header")?, values: None }))
}

fn drop_some(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    let name = args.header("header")?;
    Ok(plain(DropHeader { on, name, values: Some(regexp(args, "expression")?) }))
}

fn modify(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    let name = args.header("header")?;
    Ok(plain(Modify { on, name, rewrite: rewrite(args)? }))
}

fn copy(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    let source = args.header("source")?;
    Ok(plain(Copy { on, source, target: args.header("target")? }))
}

struct Put {
    on: On,
    set: bool,
    name: HeaderName,
    value: Value,
}

impl Filter for Put {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request
            && let Some(value) = self.value.fill(exchange, None)
        {
            // A second Host would make the request invalid (RFC 9110 section 7.2).
            if self.set || self.name == HOST {
                set_request_header(exchange, &self.name, value);
            } else {
                exchange.headers.append(&self.name, value);
            }
        }
        Step::Next
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response
            && let Some(value) = self.value.fill(exchange, Some(response))
        {
            let headers = response.headers_mut();
            if self.set {
                headers.insert(&self.name, value);
            } else {
                headers.append(&self.name, value);
            }
        }
        Step::Next
    }
}

/// Sets a header of the request; Host is also the one that goes out.
pub(super) fn set_request_header(exchange: &mut Exchange, name: &HeaderName, value: HeaderValue) {
    if *name == HOST {
        exchange.notes.outgoing_host = Some(value.clone());
    }
    exchange.headers.insert(name, value);
}

struct DropHeader {
    on: On,
    name: HeaderName,
    /// Only these values.
    values: Option<Regexp>,
}

impl DropHeader {
    fn apply(&self, headers: &mut Headers) {
        let Some(values) = &self.values else {
            headers.remove(&self.name);
            return;
        };
        headers.retain(|name, value| *name != self.name || !values.matches_bytes(value.as_bytes()));
    }
}

impl Filter for DropHeader {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request {
            self.apply(&mut exchange.headers);
        }
        Step::Next
    }

    fn response(&self, _: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response {
            self.apply(response.headers_mut());
        }
        Step::Next
    }
}

struct Modify {
    on: On,
    name: HeaderName,
    rewrite: Rewrite,
}

impl Modify {
    fn value(&self, headers: &Headers) -> Option<HeaderValue> {
        headers.contains_key(&self.name).then_some(())?;
        value(&self.rewrite.apply(&first(headers, &self.name))).ok()
    }
}

impl Filter for Modify {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request {
            let changed = if self.name == HOST {
                value(&self.rewrite.apply(exchange.host())).ok()
            } else {
                self.value(&exchange.headers)
            };
            if let Some(changed) = changed {
                set_request_header(exchange, &self.name, changed);
            }
        }
        Step::Next
    }

    fn response(&self, _: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response
            && let Some(changed) = self.value(response.headers())
        {
            response.headers_mut().insert(&self.name, changed);
        }
        Step::Next
    }
}

struct Copy {
    on: On,
    source: HeaderName,
    target: HeaderName,
}

impl Copy {
    fn value(&self, headers: &Headers) -> Option<HeaderValue> {
        headers.get(&self.source).filter(|value| !value.is_empty()).cloned()
    }
}

impl Filter for Copy {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request
            && let Some(value) = self.value(&exchange.headers)
        {
            set_request_header(exchange, &self.target, value);
        }
        Step::Next
    }

    fn response(&self, _: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response
            && let Some(value) = self.value(response.headers())
        {
            response.headers_mut().insert(&self.target, value);
        }
        Step::Next
    }
}
