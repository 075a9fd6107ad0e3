//! Filters that set and drop cookies. Names and values are written as Go's `net/http` writes them.

use super::values::{cookie, value};
use super::{Built, Example, Filter, FilterSpec, On, Step, plain};
use crate::args::Args;
use crate::exchange::Exchange;
use crate::net::split_host_port;
use http::header::{COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use std::fmt::Write as _;
use std::net::IpAddr;
use wire::Headers;
use wire::Response;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "requestCookie",
        args: "name, value",
        docs: "Adds a cookie to the request.",
        example: Example {
            filters: r#"requestCookie("variant", "b")"#,
            request: "GET /\ncookie: session=1",
            saw: "GET /\ncookie: session=1; variant=b",
            got: "200",
        },
        build: |args, _| {
            let (name, value) = pair(args)?;
            Ok(plain(RequestCookie(format!("{name}={value}"))))
        },
    },
    FilterSpec {
        name: "responseCookie",
        args: "name, value[, maxAge[, \"change-only\"]]",
        docs: "Adds a cookie to the response, for all paths, `HttpOnly` and `Secure`, valid for the domain of the \
               Host without its first label, if it has three or more. With an age in seconds it is kept so long \
               (0: deleted), else as long as the browser runs. With `\"change-only\"` it is not set when the \
               request has it with the same value, so that its age is not renewed.",
        example: Example {
            filters: r#"responseCookie("variant", "b", 3600)"#,
            request: "GET /\nhost: www.shop.example",
            saw: "GET /",
            got: "200\nset-cookie: variant=b; Path=/; Domain=shop.example; Max-Age=3600; HttpOnly; Secure",
        },
        build: |args, _| response_cookie(args, "; HttpOnly; Secure"),
    },
    FilterSpec {
        name: "jsCookie",
        args: "name, value[, maxAge[, \"change-only\"]]",
        docs: "Like `responseCookie`, without `HttpOnly`, so that scripts can read it.",
        example: Example {
            filters: r#"jsCookie("variant", "b", 3600, "change-only")"#,
            request: "GET /\nhost: shop.example\ncookie: variant=a",
            saw: "GET /",
            got: "200\nset-cookie: variant=b; Path=/; Domain=shop.example; Max-Age=3600; Secure",
        },
        build: |args, _| response_cookie(args, "; Secure"),
    },
    FilterSpec {
        name: "dropRequestCookie",
        args: "name",
        docs: "Drops all cookies of this name from the request.",
        example: Example {
            filters: r#"dropRequestCookie("session")"#,
            request: "GET /\ncookie: session=1; variant=b",
            saw: "GET /\ncookie: variant=b",
            got: "200",
        },
        build: |args, _| drop_cookie(args, On::Request),
    },
    FilterSpec {
        name: "dropResponseCookie",
        args: "name",
        docs: "Drops all cookies of this name from the response.",
        example: Example {
            filters: r#"dropResponseCookie("variant") -> jsCookie("variant", "b")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\n! set-cookie",
        },
        build: |args, _| drop_cookie(args, On::Response),
    },
];

fn pair(args: &mut Args<'_>) -> Result<(String, String), String> {
    let name = args.text("name")?;
    // RFC 6265 section 4.1.1: a cookie's name is a token, as a header's is.
    if HeaderName::try_from(name).is_err() {
        return Err(args.refuse("name", &format!("`{name}` is no name of a cookie")));
    }
    Ok((name.to_owned(), written(args.text("value")?)))
}

/// A value as it is written: without characters that no value may have, in quotes if others ask for them.
fn written(value: &str) -> String {
    let legal = |c: &char| matches!(c, ' '..='~') && !"\";\\".contains(*c);
    let kept: String = value.chars().filter(legal).collect();
    if kept.contains([' ', ',']) { format!("\"{kept}\"") } else { kept }
}

struct RequestCookie(String);

impl Filter for RequestCookie {
    fn request(&self, exchange: &mut Exchange) -> Step {
        // Lines behind the first one stay.
        if let Some(first) = exchange.headers.get_mut(COOKIE) {
            let joined = [first.as_bytes(), b"; ", self.0.as_bytes()].concat();
            if let Ok(joined) = HeaderValue::from_bytes(&joined) {
                *first = joined;
            }
        } else if let Ok(alone) = value(&self.0) {
            exchange.headers.insert(COOKIE, alone);
        }
        Step::Next
    }
}

struct ResponseCookie {
    name: String,
    /// As given, to be compared with the request's.
    value: String,
    written: String,
    /// Max-Age and what follows it.
    attributes: String,
    change_only: bool,
}

fn response_cookie(args: &mut Args<'_>, flags: &str) -> Result<Built, String> {
    let (name, written) = pair(args)?;
    let value = args.all()[1].text().unwrap_or_default().to_owned();
    let age = args.optional(|args| args.number("age"))?;
    let change_only = args.optional(|args| args.text("when"))?.is_some_and(|when| when == "change-only");
    let attributes = match age {
        None => flags.to_owned(),
        Some(age) => format!("; Max-Age={}{flags}", age.clamp(0.0, 2_147_483_647.0) as u32),
    };
    Ok(plain(ResponseCookie { name, value, written, attributes, change_only }))
}

impl Filter for ResponseCookie {
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if self.change_only && cookie(&exchange.headers, &self.name) == Some(&self.value) {
            return Step::Next;
        }
        let host = exchange.arrival.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let mut text = format!("{}={}; Path=/", self.name, self.written);
        if let Some(domain) = domain(host) {
            let _ = write!(text, "; Domain={domain}");
        }
        text.push_str(&self.attributes);
        if let Ok(line) = HeaderValue::try_from(text) {
            response.headers_mut().append(SET_COOKIE, line);
        }
        Step::Next
    }
}

/// The domain of a cookie: the host without its port, and without its first label if it has three or more.
/// `None` for what no cookie can be for.
fn domain(host: &str) -> Option<&str> {
    let host = split_host_port(host).map_or(host, |(host, _)| host);
    let domain = if host.matches('.').count() < 2 { host } else { host.split_once('.')?.1 };
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let labels = domain.strip_suffix('.').unwrap_or(domain).split('.');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name =
        domain.len() <= 255 && labels.into_iter().all(label) && domain.contains(|c: char| c.is_alphabetic());
    (is_name || domain.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())).then_some(domain)
}

struct DropCookie {
    on: On,
    name: String,
}

fn drop_cookie(args: &mut Args<'_>, on: On) -> Result<Built, String> {
    Ok(plain(DropCookie { on, name: args.text("name")?.to_owned() }))
}

impl DropCookie {
    fn is_named(&self, pair: &[u8]) -> bool {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii() == self.name.as_bytes()
    }

    /// Keeps of each line what `keep` gives for it, if any line has the cookie.
    fn apply(&self, headers: &mut Headers, header: HeaderName, keep: impl Fn(&[u8]) -> Option<HeaderValue>) {
        let has =
            |line: &HeaderValue| line.as_bytes().split(|byte| *byte == b';').any(|pair| self.is_named(pair));
        if !headers.get_all(&header).any(has) {
            return;
        }
        let kept: Vec<HeaderValue> =
            headers.get_all(&header).filter_map(|line| keep(line.as_bytes())).collect();
        headers.remove(&header);
        for line in kept {
            headers.append(&header, line);
        }
    }
}

impl Filter for DropCookie {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request {
            self.apply(&mut exchange.headers, COOKIE, |line| {
                let pairs = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
                let left: Vec<&[u8]> =
                    pairs.filter(|pair| !pair.is_empty() && !self.is_named(pair)).collect();
                if left.is_empty() { None } else { HeaderValue::from_bytes(&left.join(&b"; "[..])).ok() }
            });
        }
        Step::Next
    }

    fn response(&self, _: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response {
            self.apply(response.headers_mut(), SET_COOKIE, |line| {
                let pair = line.split(|byte| *byte == b';').next().unwrap_or_default();
                if self.is_named(pair) { None } else { HeaderValue::from_bytes(line).ok() }
            });
        }
        Step::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_the_domain_above_the_host() {
        for (host, expected) in [
            ("www.shop.example:80", Some("shop.example")),
            ("shop.example", Some("shop.example")),
            ("a.b.c.d", Some("b.c.d")),
            ("localhost:9090", Some("localhost")),
            ("127.0.0.1", None),
            ("[::1]:80", None),
            ("", None),
            ("a_b.shop.example", Some("shop.example")),
            ("shop_a.example", None),
        ] {
            assert_eq!(domain(host), expected, "{host}");
        }
    }

    #[test]
    fn a_value_loses_what_no_value_may_have() {
        assert_eq!(written("a b;c\"d\\\u{e4}"), "\"a bcd\"");
        assert_eq!(written("abc"), "abc");
    }
}
