//! Filters that change the path and the query of the request.

use super::form::{Form, raw_query};
use super::headers::set_request_header;
use super::values::{Text, first, rewrite, value};
use super::{Built, Example, Filter, FilterSpec, Step, plain};
use crate::args::Args;
use crate::exchange::Exchange;
use crate::path;
use crate::pattern::Rewrite;
use http::header::{HeaderName, HeaderValue};
use std::borrow::Cow;
use std::fmt::Write as _;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "modPath",
        args: "expression, replacement",
        docs: "Replaces all matches in the path, which is matched decoded. The query stays. `$1` in the \
               replacement stands for a group of the match; write `${1}` where a letter or digit follows.",
        example: Example {
            filters: r#"modPath("^/api/v(\\d)/", "/v$1/")"#,
            request: "GET /api/v2/carts?id=7",
            saw: "GET /v2/carts?id=7",
            got: "200",
        },
        build: |args, _| Ok(plain(ModPath(rewrite(args)?))),
    },
    FilterSpec {
        name: "setPath",
        args: "path",
        docs: "Sets the path. The query stays. A placeholder that has no value is empty.",
        example: Example {
            filters: r#"setPath("/v2${request.path}")"#,
            request: "GET /carts?id=7",
            saw: "GET /v2/carts?id=7",
            got: "200",
        },
        build: |args, _| {
            let text = Text::read(args, "path")?;
            let encoded = text.fixed().map(|path| path::encode(path).into_owned());
            Ok(plain(SetPath { text, encoded }))
        },
    },
    FilterSpec {
        name: "setQuery",
        args: "name[, value]",
        docs: "Sets a parameter of the query, in the place of all values it had; the parameters are then sorted \
               by name. With one argument, sets the whole query. A placeholder that has no value is empty.",
        example: Example {
            filters: r#"setQuery("lang", "it")"#,
            request: "GET /?size=4&lang=de",
            saw: "GET /?lang=it&size=4",
            got: "200",
        },
        build: |args, _| {
            let name = Text::read(args, "name")?;
            Ok(plain(SetQuery { name, value: args.optional(|args| Text::read(args, "value"))? }))
        },
    },
    FilterSpec {
        name: "rfcPath",
        args: "",
        docs: "Has reserved characters that the client sent encoded (`%2F`, `%3A` and others of RFC 2396) stay so \
               for the filters behind, and with `<loopback>` for the choice of the next route: `/a%2Fb` is one \
               segment then. Without it filters see `/a/b`. What no filter changes goes out as it came in \
               either way. `-rfc-patch-path` does it for all routes.",
        example: Example {
            filters: r#"rfcPath() -> modPath("^/api/", "/v2/")"#,
            request: "GET /api/a%2Fb",
            saw: "GET /v2/a%2Fb",
            got: "200",
        },
        build: |_, _| Ok(plain(RfcPath)),
    },
    FilterSpec {
        name: "dropQuery",
        args: "name",
        docs: "Drops a parameter of the query, all its values; the others are then sorted by name. A placeholder \
               that has no value is empty.",
        example: Example {
            filters: r#"dropQuery("debug")"#,
            request: "GET /?b=2&debug=1&a=1",
            saw: "GET /?a=1&b=2",
            got: "200",
        },
        build: |args, _| Ok(plain(DropQuery(Text::read(args, "name")?))),
    },
    FilterSpec {
        name: "stripQuery",
        args: "[\"true\"]",
        docs: "Drops the whole query. With `\"true\"` each parameter becomes a header `X-Query-Param-NAME`.",
        example: Example {
            filters: r#"stripQuery("true")"#,
            request: "GET /a?size=4",
            saw: "GET /a\nx-query-param-size: 4",
            got: "200",
        },
        build: |args, _| {
            let keep = args.optional(|args| args.text("keep as headers"))?;
            Ok(plain(StripQuery { keep: keep.is_some_and(|keep| keep.eq_ignore_ascii_case("true")) }))
        },
    },
    FilterSpec {
        name: "queryToHeader",
        args: "parameter, header[, format]",
        docs: "Sets a header of the request to the first value of a parameter of the query, unless the header is \
               there or the value is empty. In the format, `%s` stands for the value and `%%` for `%`.",
        example: Example {
            filters: r#"queryToHeader("access_token", "Authorization", "Bearer %s")"#,
            request: "GET /?access_token=abc",
            saw: "GET /?access_token=abc\nauthorization: Bearer abc",
            got: "200",
        },
        build: |args, _| query_to_header(args),
    },
    FilterSpec {
        name: "headerToQuery",
        args: "header, parameter",
        docs: "Sets a parameter of the query to the first value of a header of the request; to nothing if there \
               is none. The parameters are then sorted by name.",
        example: Example {
            filters: r#"headerToQuery("X-Country", "country")"#,
            request: "GET /?size=4\nx-country: it",
            saw: "GET /?country=it&size=4",
            got: "200",
        },
        build: |args, _| {
            let header = args.header("header")?;
            Ok(plain(HeaderToQuery { header, parameter: args.text("parameter")?.to_owned() }))
        },
    },
];

struct ModPath(Rewrite);

impl Filter for ModPath {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let path = exchange.path();
        // What does not match stays as it was sent, `%2F` included.
        if let Cow::Owned(changed) = self.0.apply(&path)
            && changed != path
        {
            exchange.set_path(&changed);
        }
        Step::Next
    }
}

struct SetPath {
    text: Text,
    /// Encoded when the route is built, if it is the same for all requests.
    encoded: Option<String>,
}

impl Filter for SetPath {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if let Some(encoded) = &self.encoded {
            exchange.uri = path::join(encoded, exchange.uri.query());
        } else {
            let path = self.text.fill(exchange).into_owned();
            exchange.set_path(&path);
        }
        Step::Next
    }
}

struct RfcPath;

impl Filter for RfcPath {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.notes.keeps_reserved = true;
        Step::Next
    }
}

struct SetQuery {
    name: Text,
    value: Option<Text>,
}

impl Filter for SetQuery {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let name = self.name.fill(exchange);
        let query = match &self.value {
            None => raw_query(&name).into_owned(),
            Some(value) => {
                let mut form = Form::of(exchange.query());
                form.set(&name, &value.fill(exchange));
                form.encode()
            }
        };
        exchange.set_query(Some(&query));
        Step::Next
    }
}

struct DropQuery(Text);

impl Filter for DropQuery {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if exchange.query().is_some() {
            let mut form = Form::of(exchange.query());
            form.remove(&self.0.fill(exchange));
            exchange.set_query(Some(&form.encode()));
        }
        Step::Next
    }
}

struct StripQuery {
    keep: bool,
}

impl Filter for StripQuery {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.keep {
            for (name, value) in Form::of(exchange.query()).pairs() {
                let name = HeaderName::try_from(format!("x-query-param-{}", header_part(name)));
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                    exchange.headers.append(name, value);
                }
            }
        }
        if exchange.query().is_some() {
            exchange.set_query(None);
        }
        Step::Next
    }
}

/// The name of a parameter as part of a header's name: what is no letter, digit or `-` becomes its code in
/// Go's `strconv.QuoteToASCII`, and of that what no name may hold is left out.
fn header_part(name: &[u8]) -> String {
    let mut part = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            let _ = match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => write!(part, "{c}"),
                '\x07' => write!(part, "a"),
                '\x08' => write!(part, "b"),
                '\x0c' => write!(part, "f"),
                '\n' => write!(part, "n"),
                '\r' => write!(part, "r"),
                '\t' => write!(part, "t"),
                '\x0b' => write!(part, "v"),
                '\0'..' ' | '\x7f' => write!(part, "x{:02x}", c as u32),
                ' '..='~' => Ok(()),
                '\u{80}'..='\u{ffff}' => write!(part, "u{:04x}", c as u32),
                _ => write!(part, "U{:08x}", c as u32),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(part, "x{byte:02x}");
        }
    }
    part
}

struct QueryToHeader {
    parameter: String,
    header: HeaderName,
    before: String,
    after: String,
}

fn query_to_header(args: &mut Args<'_>) -> Result<Built, String> {
    let parameter = args.text("parameter")?.to_owned();
    let header = args.header("header")?;
    let format = args.optional(|args| args.text("format"))?.unwrap_or("%s");
    let parts: Vec<String> =
        format.replace("%%", "\0").split("%s").map(|part| part.replace('\0', "%%")).collect();
    let [before, after] = parts.as_slice() else {
        return Err(args.refuse("format", &format!("`{format}` must have `%s` once")));
    };
    let whole = |part: &str| {
        let verbless = part.replace("%%", "");
        (!verbless.contains('%') && value(&verbless).is_ok()).then(|| part.replace("%%", "%"))
    };
    let (Some(before), Some(after)) = (whole(before), whole(after)) else {
        let why = format!("`{format}` has a `%` that is neither `%s` nor `%%`, or what no header may carry");
        return Err(args.refuse("format", &why));
    };
    Ok(plain(QueryToHeader { parameter, header, before, after }))
}

impl Filter for QueryToHeader {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if !first(&exchange.headers, &self.header).is_empty() {
            return Step::Next;
        }
        let form = Form::of(exchange.query());
        if let Some(found) = form.get(&self.parameter).filter(|found| !found.is_empty())
            && let Ok(value) = value(&format!("{}{found}{}", self.before, self.after))
        {
            set_request_header(exchange, &self.header, value);
        }
        Step::Next
    }
}

struct HeaderToQuery {
    header: HeaderName,
    parameter: String,
}

impl Filter for HeaderToQuery {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let mut form = Form::of(exchange.query());
        form.set(&self.parameter, &first(&exchange.headers, &self.header));
        exchange.set_query(Some(&form.encode()));
        Step::Next
    }
}

#[cfg(test)]
mod tests {
    use super::header_part;

    #[test]
    fn any_name_becomes_part_of_a_headers_name() {
        for (name, expected) in [
            ("a-B_9".as_bytes(), "a-B9"),
            ("\u{99ac}\u{9e7f}".as_bytes(), "u99acu9e7f"),
            ("\u{1f600} \"\n\x7f".as_bytes(), "U0001f600nx7f"),
            (b"\xff", "xff"),
        ] {
            assert_eq!(header_part(name), expected);
        }
    }
}
