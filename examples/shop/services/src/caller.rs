//! What a service reads from the request it serves, to act for the right user and to hand the trace on.

use crate::{Name, Problem};
use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use std::convert::Infallible;

const USER: HeaderName = HeaderName::from_static("x-user");

/// The headers that tie calls together. A service sends them on with each call it makes while it serves
/// this request, and that is all it takes to see the calls as one trace.
const CONTEXT: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-flow-id"),
];

/// The request that a call is made for.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    pub(crate) context: HeaderMap,
}

impl Caller {
    /// The trace that the request belongs to, for messages that are written for it.
    pub fn trace(&self) -> Option<&str> {
        self.context.get("traceparent")?.to_str().ok()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut context = HeaderMap::new();
        for name in CONTEXT {
            if let Some(value) = parts.headers.get(&name) {
                context.insert(name, value.clone());
            }
        }
        Ok(Self { context })
    }
}

/// Who the request is for: the header `X-User` of another service, or the cookie `user` of a browser. The
/// shop takes either at its word; a real one would check a signature here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(pub Name);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let header = parts.headers.get(USER).and_then(|value| value.to_str().ok());
        let name = header.or_else(|| cookie(&parts.headers, "user")).ok_or_else(|| {
            Problem::new(StatusCode::UNAUTHORIZED, "no user")
                .hint("send the cookie `user`, such as `user=ada`")
        })?;
        match Name::try_from(name.to_owned()) {
            Ok(name) => Ok(Self(name)),
            Err(hint) => Err(Problem::new(StatusCode::UNAUTHORIZED, "no such user").hint(hint)),
        }
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    async fn user(headers: &[(&str, &str)]) -> Result<String, String> {
        let request =
            headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        match User::from_request_parts(&mut parts, &()).await {
            Ok(user) => Ok(user.0.to_string()),
            Err(problem) => Err(problem.error),
        }
    }

    #[tokio::test]
    async fn the_header_of_a_service_comes_before_the_cookie_of_a_browser() {
        assert_eq!(user(&[("cookie", "theme=dark; user=ada")]).await, Ok("ada".into()));
        assert_eq!(user(&[("cookie", "user=ada"), ("x-user", "grace")]).await, Ok("grace".into()));
        assert_eq!(user(&[("cookie", "users=ada")]).await, Err("no user".into()));
        assert_eq!(user(&[("x-user", "Ada Lovelace")]).await, Err("no such user".into()));
    }

    #[tokio::test]
    async fn only_the_headers_of_the_trace_are_handed_on() {
        let request = Request::builder().header("x-flow-id", "f1").header("authorization", "secret");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let Ok(caller) = Caller::from_request_parts(&mut parts, &()).await;
        assert_eq!(caller.context.len(), 1);
        assert_eq!(caller.context["x-flow-id"], "f1");
    }
}
