//! Redirects: the parts of the location that the route leaves out come from the request.

use super::{Built, Example, Filter, FilterSpec, Step, plain};
use crate::answer::{Cause, Reason};
use crate::args::Args;
use crate::exchange::Exchange;
use crate::path;
use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use wire::{Body, Response};

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "redirectTo",
        args: "code[, location]",
        docs: "Answers with a redirect; the backend is not asked. Host, path and query that the location does \
               not give are the request's own. The scheme is `https` unless the location gives another, also \
               for requests that came without TLS.",
        example: Example {
            filters: r#"redirectTo(302, "/new")"#,
            request: "GET /old?a=1\nhost: shop.example",
            saw: "-",
            got: "302\nlocation: https://shop.example/new?a=1",
        },
        build: |args, _| redirect(args, "redirectTo"),
    },
    FilterSpec {
        name: "redirectToLower",
        args: "code[, location]",
        docs: "Like `redirectTo`, with the path in lower case.",
        example: Example {
            filters: "redirectToLower(301)",
            request: "GET /Sale/SHOES\nhost: shop.example",
            saw: "-",
            got: "301\nlocation: https://shop.example/sale/shoes",
        },
        build: |args, _| redirect(args, "redirectToLower"),
    },
    FilterSpec {
        name: "redirect",
        args: "code[, location]",
        docs: "Like `redirectTo`, but the backend is asked first, and the redirect takes the place of its \
               answer. Kept for old routes.",
        example: Example {
            filters: r#"redirect(302, "http://other.example")"#,
            request: "GET /a?b=c",
            saw: "GET /a?b=c",
            got: "302\nlocation: http://other.example/a?b=c",
        },
        build: |args, _| redirect(args, "redirect"),
    },
];

struct Redirect {
    name: &'static str,
    status: StatusCode,
    location: Location,
}

impl Redirect {
    fn answer(&self, exchange: &mut Exchange) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        if let Ok(location) =
            HeaderValue::try_from(self.location.of(exchange, self.name == "redirectToLower"))
        {
            response.headers_mut().insert(LOCATION, location);
        }
        exchange.notes.reason = Some(Reason::of(Cause::FILTER).by(self.name));
        response
    }
}

impl Filter for Redirect {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.name == "redirect" { Step::Next } else { Step::Reply(self.answer(exchange)) }
    }

    fn response(&self, exchange: &mut Exchange, _: &mut Response) -> Step {
        if self.name == "redirect" { Step::Reply(self.answer(exchange)) } else { Step::Next }
    }
}

fn redirect(args: &mut Args<'_>, name: &'static str) -> Result<Built, String> {
    let status = args.status("status")?;
    let text = args.optional(|args| args.text("location"))?.unwrap_or_default();
    let location = Location::parse(text).map_err(|why| args.refuse("location", &why))?;
    Ok(plain(Redirect { name, status, location }))
}

/// A location, any part of which may be left out. Parts are as they go on the wire.
#[derive(Debug, PartialEq, Eq)]
struct Location {
    scheme: String,
    host: String,
    path: String,
    query: String,
    /// With its `#`.
    fragment: String,
}

impl Location {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(bad) = text.chars().find(|c| c.is_control()) {
            return Err(format!("{bad:?} can be in no location"));
        }
        let at = text.find('#').unwrap_or(text.len());
        let (rest, fragment) = text.split_at(at);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, rest)) if !scheme.contains('/') => (scheme, rest),
            _ => ("", rest),
        };
        let wellformed = scheme.is_empty()
            || (scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)));
        // `https:` alone is what Skipper's Kubernetes client writes: all else stays as it is.
        let alone = rest.is_empty() || rest.starts_with('/');
        if !wellformed || (!scheme.is_empty() && !alone) {
            return Err(format!(
                "`{text}` is no location; write `https://host/path`, `//host/path` or `/path`"
            ));
        }
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        // Who a user is, is not passed on (as Skipper does).
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if host.contains([' ', '"', '<', '>', '\\']) {
            return Err(format!("`{host}` is no host"));
        }
        let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_owned(),
            path: format!("{slash}{}", wire_path(path)?),
            query: super::form::raw_query(query).into_owned(),
            fragment: super::form::raw_query(fragment.strip_prefix('#').unwrap_or_default()).into_owned(),
        })
    }

    fn of(&self, exchange: &Exchange, lower: bool) -> String {
        let or =
            |own: &'_ str, others: &'_ str| if own.is_empty() { others.to_owned() } else { own.to_owned() };
        let scheme = or(&self.scheme, "https");
        let host = or(&self.host, exchange.host());
        let mut path = or(&self.path, exchange.raw_path());
        if lower {
            path = path::encode(&path::decode(&path).to_lowercase()).into_owned();
        }
        let query = or(&self.query, exchange.query().unwrap_or_default());
        let mark =
            |sign: &str, part: &str| if part.is_empty() { String::new() } else { format!("{sign}{part}") };
        format!("{scheme}://{host}{path}{}{}", mark("?", &query), mark("#", &self.fragment))
    }
}

/// A path as it goes on the wire: one that is not encoded yet is encoded.
fn wire_path(text: &str) -> Result<String, String> {
    let wellformed = |code: &str| code.len() >= 2 && code.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !text.split('%').skip(1).all(wellformed) {
        return Err(format!("`{text}` has a `%` that does not begin an encoded byte; write `%25`"));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%[]".contains(&byte);
    Ok(if text.bytes().all(legal) { text.to_owned() } else { path::encode(&path::decode(text)).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_taken_apart() {
        let check = |text: &str, expected: [&str; 5]| {
            let Location { scheme, host, path, query, fragment } = Location::parse(text).unwrap();
            assert_eq!([scheme, host, path, query, fragment], expected, "{text}");
        };
        check("", ["", "", "", "", ""]);
        check("HTTP://a.b:80/c d?e=f g#h", ["http", "a.b:80", "/c%20d", "e=f%20g", "h"]);
        check("//user@a/b", ["", "a", "/b", "", ""]);
        check("b/c:d", ["", "", "/b/c:d", "", ""]);
        check("/a%2Fb", ["", "", "/a%2Fb", "", ""]);
        check("app:///x", ["app", "", "/x", "", ""]);
        check("https:", ["https", "", "", "", ""]);
        for bad in ["mailto:a@b", "localhost:80/x", "/a%zz", "/a\nb", "1x://a"] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }
}
