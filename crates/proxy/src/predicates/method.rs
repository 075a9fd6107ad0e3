//! Predicates of the method.

use super::{Built, Predicate, PredicateEnv, PredicateSpec, Unfit, check, some_texts};
use crate::args::Args;
use crate::question::Question;
use http::Method;

pub(super) static METHOD: PredicateSpec = PredicateSpec {
    name: "Method",
    args: "method",
    docs: "Matches this method, letter for letter. A route has at most one.",
    example: r#"Method("POST")"#,
    matches: &["POST /"],
    refuses: &["GET /", "post /"],
    weight_extra: 0,
    build: method,
};

pub(super) static METHODS: PredicateSpec = PredicateSpec {
    name: "Methods",
    args: "method, ...",
    docs: "Matches any of these methods, in upper or lower case. Known are GET, HEAD, POST, PUT, PATCH, \
           DELETE, CONNECT, OPTIONS and TRACE.",
    example: r#"Methods("GET", "head")"#,
    matches: &["GET /", "HEAD /", "get /"],
    refuses: &["POST /"],
    weight_extra: 0,
    build: methods,
};

/// The methods of RFC 9110 section 9.3, and PATCH (RFC 5789).
pub(crate) const KNOWN: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
];

struct One(Method);

struct AnyOf(Box<[Method]>);

fn method(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let text = args.text("method")?;
    args.end()?;
    let method = Method::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is no method"))?;
    Ok(check(One(method)))
}

fn methods(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let known = |text: &str| {
        let method = KNOWN.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text));
        method.ok_or_else(|| format!("`{text}` is no method that `Methods` knows"))
    };
    let methods = some_texts(args, "method")?.into_iter().map(known).collect::<Result<_, _>>()?;
    Ok(check(AnyOf(methods)))
}

impl Predicate for One {
    fn matches(&self, question: &Question<'_>) -> bool {
        self.0 == question.method
    }

    fn methods(&self) -> Option<&[Method]> {
        Some(std::slice::from_ref(&self.0))
    }
}

impl Predicate for AnyOf {
    fn matches(&self, question: &Question<'_>) -> bool {
        self.0.iter().any(|method| method.as_str().eq_ignore_ascii_case(question.method.as_str()))
    }

    fn methods(&self) -> Option<&[Method]> {
        Some(&self.0)
    }
}
