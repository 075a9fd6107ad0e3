//! Predicates of headers, of the cookies in one, and of the query.

use super::{Built, Predicate, PredicateEnv, PredicateSpec, Regexp, Unfit, check};
use crate::args::Args;
use crate::lookup::clean;
use crate::question::Question;
use http::header::{COOKIE as COOKIE_HEADER, HeaderName};
use std::borrow::Cow;
use std::sync::Arc;
use wire::Headers;

pub(super) static HEADER: PredicateSpec = PredicateSpec {
    name: "Header",
    args: "name, value",
    docs: "Matches if a header of this name has exactly this value. One of several values is enough; the \
           case of the name does not matter.",
    example: r#"Header("X-Tenant", "blue")"#,
    matches: &["GET /\nX-Tenant: blue", "GET /\nx-tenant: red\nx-tenant: blue"],
    refuses: &["GET /\nX-Tenant: Blue", "GET /"],
    weight_extra: 0,
    build: header,
};

pub(super) static HEADER_REGEXP: PredicateSpec = PredicateSpec {
    name: "HeaderRegexp",
    args: "name, regexp",
    docs: "Matches if the expression matches somewhere in a value of this header. One of several values is \
           enough. Two of them for one header count once in the weight of their route.",
    example: r#"HeaderRegexp("Accept", "application/(json|xml)")"#,
    matches: &["GET /\nAccept: text/html, application/xml"],
    refuses: &["GET /\nAccept: text/html", "GET /"],
    weight_extra: 0,
    build: header_regexp,
};

pub(super) static COOKIE: PredicateSpec = PredicateSpec {
    name: "Cookie",
    args: "name, regexp",
    docs: "Matches if there is a cookie of this name and the expression matches somewhere in its value.",
    example: r#"Cookie("alpha", /^enabled$/)"#,
    matches: &["GET /\nCookie: a=b; alpha=enabled"],
    refuses: &["GET /\nCookie: alpha=disabled", "GET /"],
    weight_extra: 0,
    build: cookie,
};

pub(super) static QUERY_PARAM: PredicateSpec = PredicateSpec {
    name: "QueryParam",
    args: "name[, regexp]",
    docs: "Matches if the query has this parameter and, if an expression is given, it matches somewhere in \
           one of the parameter's values.",
    example: r#"QueryParam("debug", "^(1|true)$")"#,
    matches: &["GET /?debug=1", "GET /?debug=no&debug=true"],
    refuses: &["GET /?debug=10", "GET /?debug", "GET /"],
    weight_extra: 0,
    build: query_param,
};

struct Header {
    name: HeaderName,
    value: Box<[u8]>,
}

struct HeaderRegexp {
    name: HeaderName,
    regexp: Arc<Regexp>,
}

struct Cookie {
    name: Box<str>,
    regexp: Arc<Regexp>,
}

struct QueryParam {
    name: Box<str>,
    regexp: Option<Arc<Regexp>>,
}

/// The next argument as the name of a header.
pub(super) fn header_name(args: &mut Args<'_>) -> Result<HeaderName, String> {
    let text = args.text("name of a header")?;
    HeaderName::try_from(text).map_err(|_| format!("{text:?} can't be the name of a header"))
}

fn header(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let (name, value) = (header_name(args)?, args.text("value")?);
    args.end()?;
    Ok(check(Header { name, value: value.as_bytes().into() }))
}

fn header_regexp(args: &mut Args<'_>, env: &PredicateEnv) -> Result<Built, Unfit> {
    let (name, regexp) = (header_name(args)?, env.regexp(args.text("regular expression")?)?);
    args.end()?;
    Ok(check(HeaderRegexp { name, regexp }))
}

fn cookie(args: &mut Args<'_>, env: &PredicateEnv) -> Result<Built, Unfit> {
    let (name, regexp) = (args.text("name of a cookie")?, env.regexp(args.text("regular expression")?)?);
    args.end()?;
    Ok(check(Cookie { name: name.into(), regexp }))
}

fn query_param(args: &mut Args<'_>, env: &PredicateEnv) -> Result<Built, Unfit> {
    let name = args.text("name of a parameter")?;
    let regexp = args.optional(|args| env.regexp(args.text("regular expression")?))?;
    args.end()?;
    Ok(check(QueryParam { name: name.into(), regexp }))
}

impl Predicate for Header {
    fn matches(&self, question: &Question<'_>) -> bool {
        question.headers.get_all(&self.name).any(|value| value.as_bytes() == &*self.value)
    }
}

impl Predicate for HeaderRegexp {
    fn matches(&self, question: &Question<'_>) -> bool {
        question.headers.get_all(&self.name).any(|value| self.regexp.matches_bytes(value.as_bytes()))
    }
}

impl Predicate for Cookie {
    fn matches(&self, question: &Question<'_>) -> bool {
        find_cookie(question.headers, &self.name).is_some_and(|value| self.regexp.matches(value))
    }
}

impl Predicate for QueryParam {
    fn matches(&self, question: &Question<'_>) -> bool {
        let mut values = query_values(question.query.unwrap_or_default(), &self.name);
        match &self.regexp {
            Some(regexp) => values.any(|value| regexp.matches(&value)),
            None => values.next().is_some(),
        }
    }
}

/// The value of the first cookie of this name, read as Go's `net/http` does: quotes around it go, and a
/// cookie with a byte that no value may hold is passed over.
pub(super) fn find_cookie<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE_HEADER).filter_map(|line| std::str::from_utf8(line.as_bytes()).ok());
    lines.flat_map(|line| line.split(';')).find_map(|cookie| {
        let cookie = cookie.trim();
        let (key, value) = cookie.split_once('=').unwrap_or((cookie, ""));
        if key.trim_end() != name || name.is_empty() {
            return None;
        }
        let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
        let value = if quoted { &value[1..value.len() - 1] } else { value };
        value.bytes().all(|byte| matches!(byte, 0x20..0x7f) && !b"\";\\".contains(&byte)).then_some(value)
    })
}

/// The decoded values of a query's parameter. A pair with `;` or a broken escape in it is passed over, as in
/// Go.
fn query_values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    let whole =
        |pair: &&str| !pair.is_empty() && !pair.contains(';') && clean::escapes_are_whole(pair.as_bytes());
    query.split('&').filter(whole).filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (clean::unescape(key) == name).then(|| clean::unescape(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_not_text_is_compared_and_does_not_panic() {
        let env = PredicateEnv::default();
        let mut headers = Headers::new();
        headers.insert("x-raw", http::HeaderValue::from_bytes(b"a\xff").unwrap());
        let chance = base::Chance::seeded(1);
        let question = Question::new(&http::Method::GET, "/", "", &headers, &chance);
        let matches = |text: &str| {
            HeaderRegexp { name: "x-raw".parse().unwrap(), regexp: env.regexp(text).unwrap() }
                .matches(&question)
        };
        assert!(matches("^a.$"), "a byte that is no text counts as one character, as in Go");
        assert!(matches("^a\u{fffd}$"));
        assert!(!matches("b"));
    }

    #[test]
    fn cookies_are_read_as_go_does() {
        let check = |line: &'static str, expected: Option<&str>| {
            let mut headers = Headers::new();
            headers.append(COOKIE_HEADER, "z=0".parse().unwrap());
            headers.append(COOKIE_HEADER, line.parse().unwrap());
            assert_eq!(find_cookie(&headers, "a"), expected, "{line}");
        };
        check("a=1; a=2", Some("1"));
        check("b=1;a=\"quoted\"", Some("quoted"));
        check("a", Some(""));
        check("a=x\"y; a=2", Some("2"));
        check("ab=1", None);
        check("", None);
    }

    #[test]
    fn a_query_is_read_as_go_does() {
        let check = |query: &str, expected: &[&str]| {
            assert_eq!(query_values(query, "a b").collect::<Vec<_>>(), expected, "{query}");
        };
        check("a+b=1&a%20b=x%2By+z", &["1", "x+y z"]);
        check("a+b=1;c&a+b=%zz&&a+b", &[""]);
        check("", &[]);
    }
}
