//! Header values that come from elsewhere than the route: what earlier filters have found out, and values in
//! other character sets.

use super::charsets::{self, Encoder};
use super::headers::set_request_header;
use super::values::{first, value};
use super::{Built, Example, Filter, FilterSpec, On, Step, plain};
use crate::args::Args;
use crate::exchange::Exchange;
use http::header::{HOST, HeaderName, HeaderValue};
use wire::Headers;
use wire::Response;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "setContextRequestHeader",
        args: "header, name",
        docs: "Sets a header of the request to a value that an earlier filter has left under this name; without one \
               nothing is set. `basicAuth` and the filters of tokens leave `auth-user`, those that \
               refuse a token `auth-reject-reason`.",
        example: Example {
            filters: r#"setContextRequestHeader("X-User", "auth-user")"#,
            request: "GET /\nx-user: nobody checked this",
            saw: "GET /\nx-user: nobody checked this",
            got: "200",
        },
        build: |args, _| from_context(args, On::Request, true),
    },
    FilterSpec {
        name: "appendContextRequestHeader",
        args: "header, name",
        docs: "Like `setContextRequestHeader`, but adds to the values that are there.",
        example: Example {
            filters: r#"appendContextRequestHeader("X-User", "auth-user")"#,
            request: "GET /",
            saw: "GET /\n! x-user",
            got: "200",
        },
        build: |args, _| from_context(args, On::Request, false),
    },
    FilterSpec {
        name: "setContextResponseHeader",
        args: "header, name",
        docs: "Like `setContextRequestHeader`, for the response.",
        example: Example {
            filters: r#"setContextResponseHeader("X-User", "auth-user")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\n! x-user",
        },
        build: |args, _| from_context(args, On::Response, true),
    },
    FilterSpec {
        name: "appendContextResponseHeader",
        args: "header, name",
        docs: "Like `setContextResponseHeader`, but adds to the values that are there.",
        example: Example {
            filters: r#"appendContextResponseHeader("X-User", "auth-user")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\n! x-user",
        },
        build: |args, _| from_context(args, On::Response, false),
    },
    FilterSpec {
        name: "encodeRequestHeader",
        args: "header, charset",
        docs: "Puts the first value of a header of the request, which is UTF-8, into a character set of one byte a \
               character, such as `Windows1252`, `ISO8859_15`, `KOI8R` or `CodePage437` (the names of Go's `charmap` \
               package). A value with a character that the set lacks becomes empty. Other values go.",
        example: Example {
            filters: r#"encodeRequestHeader("X-Name", "Windows1252")"#,
            request: "GET /\nx-name: ann",
            saw: "GET /\nx-name: ann",
            got: "200",
        },
        build: |args, _| encode(args, On::Request),
    },
    FilterSpec {
        name: "encodeResponseHeader",
        args: "header, charset",
        docs: "Like `encodeRequestHeader`, for the response.",
        example: Example {
            filters: r#"encodeResponseHeader("X-Name", "Windows1252") -> setResponseHeader("X-Name", "界")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nx-name: ",
        },
        build: |args, _| encode(args, On::Response),
    },
];

fn from_context(args: &mut Args<'_>, on: On, set: bool) -> Result<Built, String> {
    let header = args.header("header")?;
    Ok(plain(FromContext { on, set, header, name: args.text("name")?.to_owned() }))
}

struct FromContext {
    on: On,
    set: bool,
    header: HeaderName,
    name: String,
}

impl FromContext {
    fn value(&self, on: On, exchange: &Exchange) -> Option<HeaderValue> {
        if self.on != on {
            return None;
        }
        value(exchange.notes.fact(&self.name)?).ok()
    }
}

impl Filter for FromContext {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if let Some(value) = self.value(On::Request, exchange) {
            if self.set || self.header == HOST {
                set_request_header(exchange, &self.header, value);
            } else {
                exchange.headers.append(&self.header, value);
            }
        }
        Step::Next
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if let Some(value) = self.value(On::Response, exchange) {
            if self.set {
                response.headers_mut().insert(&self.header, value);
            } else {
                response.headers_mut().append(&self.header, value);
            }
        }
        Step::Next
    }
}

fn encode(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    let header = args.header("header")?;
    let name = args.text("charset")?;
    let encoder = Encoder::named(name).ok_or_else(|| {
        let known: Vec<&str> = charsets::names().collect();
        args.refuse("charset", &format!("`{name}` is not known, use one of {}", known.join(", ")))
    })?;
    Ok(plain(Encode { on, header, encoder }))
}

struct Encode {
    on: On,
    header: HeaderName,
    encoder: Encoder,
}

impl Encode {
    fn apply(&self, headers: &mut Headers) {
        let text = first(headers, &self.header);
        if text.is_empty() {
            return;
        }
        // Some sets have controls where others have letters, and no header may carry these.
        let encoded = self.encoder.encode(&text).and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        headers.insert(&self.header, encoded.unwrap_or_else(|| HeaderValue::from_static("")));
    }
}

impl Filter for Encode {
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
