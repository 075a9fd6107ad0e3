//! Calls to another service over HTTP/1.1. No retries and no breaker stand here: whoever carries the call
//! between the services sees to those.

use crate::{Caller, Error, Name, Problem};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The longest wait for a whole answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Another service.
#[derive(Clone, Debug)]
pub struct Peer {
    name: &'static str,
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A call that is being put together.
#[must_use = "a call does nothing until it is sent"]
pub struct Call<'a> {
    peer: &'a Peer,
    method: Method,
    path: &'a str,
    headers: HeaderMap,
    body: Result<Bytes, Problem>,
}

/// What the other service answered, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body.
    pub body: Bytes,
    peer: &'static str,
}

impl Peer {
    /// The service at the address in `NAME_URL`, such as `CART_URL` for `cart`.
    pub fn from_env(name: &'static str) -> Result<Self, Error> {
        let variable = format!("{}_URL", name.to_uppercase());
        let base = std::env::var(&variable)
            .map_err(|_| format!("`{variable}` is not set; it says where the service `{name}` is"))?;
        Self::at(name, &base)
    }

    /// The service at this address, such as `http://127.0.0.1:8080`.
    pub fn at(name: &'static str, base: &str) -> Result<Self, Error> {
        let base = base.trim_end_matches('/');
        if base.parse::<Uri>().ok().is_none_or(|uri| uri.scheme_str() != Some("http")) {
            return Err(
                format!("`{base}` is no address of the service `{name}`; write `http://HOST:PORT`").into()
            );
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Self { name, base: base.to_owned(), client })
    }

    /// A GET of this path, which begins with `/`.
    pub fn get<'a>(&'a self, path: &'a str) -> Call<'a> {
        self.call(Method::GET, path)
    }

    /// A POST to this path.
    pub fn post<'a>(&'a self, path: &'a str) -> Call<'a> {
        self.call(Method::POST, path)
    }

    /// A PUT of this path.
    pub fn put<'a>(&'a self, path: &'a str) -> Call<'a> {
        self.call(Method::PUT, path)
    }

    /// A DELETE of this path.
    pub fn delete<'a>(&'a self, path: &'a str) -> Call<'a> {
        self.call(Method::DELETE, path)
    }

    fn call<'a>(&'a self, method: Method, path: &'a str) -> Call<'a> {
        Call { peer: self, method, path, headers: HeaderMap::new(), body: Ok(Bytes::new()) }
    }
}

impl Call<'_> {
    /// Made while serving this request: its trace goes on.
    pub fn on_behalf_of(mut self, caller: &Caller) -> Self {
        self.headers.extend(caller.context.clone());
        self
    }

    /// Made for this user.
    pub fn user(self, user: &Name) -> Self {
        self.header(HeaderName::from_static("x-user"), user.as_str())
    }

    /// With this header. A value that no header may hold fails the call.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => _ = self.headers.insert(name, value),
            Err(_) => self.body = Err(self.peer.broken(&format!("header `{name}` can't be sent"))),
        }
        self
    }

    /// With this value as JSON.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.body.is_ok() {
            self.body = serde_json::to_vec(value).map(Bytes::from).map_err(|error| self.peer.broken(&error));
        }
        self
    }

    /// Sends it and waits for the whole answer. Fails with 504 if that takes too long and with 502 if there
    /// is none.
    pub async fn send(self) -> Result<Answer, Problem> {
        let Self { peer, method, path, headers, body } = self;
        let mut request = Request::new(Full::new(body?));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", peer.base).parse().map_err(|error| peer.broken(&error))?;
        *request.headers_mut() = headers;
        let exchange = async {
            let (head, body) = peer.client.request(request).await.map_err(|e| peer.broken(&e))?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|e| peer.broken(&e))?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), peer: peer.name })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| {
            let error = format!("`{}` did not answer within {} s", peer.name, TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, error))
        })
    }
}

impl Answer {
    /// The value in a successful answer. Any other is a 502 that names the service.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if !self.status.is_success() {
            return Err(Problem::new(
                StatusCode::BAD_GATEWAY,
                format!("`{}` answered {}", self.peer, self.status),
            ));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let error = format!("`{}` answered something else than agreed: {error}", self.peer);
            Problem::new(StatusCode::BAD_GATEWAY, error)
        })
    }
}

impl Peer {
    fn broken(&self, error: &dyn std::fmt::Display) -> Problem {
        Problem::new(StatusCode::BAD_GATEWAY, format!("`{}` can't be reached: {error}", self.name))
    }
}
