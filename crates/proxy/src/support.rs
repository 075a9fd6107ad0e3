//! The support listener: what the table holds and what was counted, for people and machines (Skipper's
//! `-support-listener`).

use crate::engine::Plane;
use crate::table::Table;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use std::fmt::Write as _;
use std::sync::Arc;
use telemetry::metrics::Format;
use wire::{Body, Handler, Peer, Request, Response};

/// Most routes of one answer when the caller names no limit (Skipper's default).
const ROUTES_LIMIT: usize = 1024;

/// Answers `/routes`, `/metrics` and `/healthz`.
#[derive(Clone)]
pub struct Support {
    planes: Vec<Arc<Plane>>,
}

impl Support {
    /// For these planes: the gateway's first, then those of internal calls.
    pub fn new(planes: Vec<Arc<Plane>>) -> Self {
        Self { planes }
    }

    fn answer(&self, request: &Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response =
                text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/routes" | "/routes/" => self.routes(request),
            "/metrics" => {
                let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
                let format = Format::wanted(accept.unwrap_or_default());
                let metrics = self.planes.first().map(|plane| plane.builder.metrics.expose_as(format));
                text(StatusCode::OK, format.content_type(), metrics.unwrap_or_default())
            }
            "/healthz" => text(StatusCode::OK, "text/plain", "ok\n".to_owned()),
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "here are /routes, /metrics and /healthz\n".to_owned(),
            ),
        }
    }

    /// `GET /routes`: eskip, or JSON when `Accept` asks for it; `?limit=`, `?offset=` and `?invalid=true`.
    fn routes(&self, request: &Request) -> Response {
        let parameter = |name: &str| {
            let query = request.uri().query().unwrap_or_default();
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, v)| v)
        };
        let bound = |name: &str, default: usize| match parameter(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(format!("`{name}` must be a whole number of 0 or more\n")),
        };
        let (offset, limit) = match (bound("offset", 0), bound("limit", ROUTES_LIMIT)) {
            (Ok(offset), Ok(limit)) => (offset, limit),
            (Err(why), _) | (_, Err(why)) => return text(StatusCode::BAD_REQUEST, "text/plain", why),
        };
        let tables: Vec<Arc<Table>> = self.planes.iter().map(|plane| plane.table()).collect();
        let json = request
            .headers()
            .get_all(ACCEPT)
            .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/json")));
        let (count, body) = if parameter("invalid") == Some("true") {
            let invalid: Vec<_> = tables.iter().flat_map(|table| &table.invalid).collect();
            let page = invalid.iter().skip(offset).take(limit);
            let body = if json {
                let list: Vec<_> = page
                    .map(|invalid| {
                        serde_json::json!({
                            "route": one(&invalid.route),
                            "reason": invalid.code,
                            "diagnostic": invalid.diagnostic.report(),
                        })
                    })
                    .collect();
                serde_json::Value::from(list).to_string()
            } else {
                page.fold(String::new(), |mut text, invalid| {
                    for line in invalid.diagnostic.render(false).lines() {
                        let _ = writeln!(text, "// {line}");
                    }
                    let _ = writeln!(
                        text,
                        "{};\n",
                        eskip::Printer::pretty()
                            .print(std::slice::from_ref(&invalid.route))
                            .trim_end_matches(';')
                    );
                    text
                })
            };
            (invalid.len(), body)
        } else {
            let all: Vec<_> = tables.iter().flat_map(|table| &table.routes).collect();
            let page: Vec<eskip::Route> =
                all.iter().skip(offset).take(limit).map(|r| eskip::Route::clone(&r.source)).collect();
            let body =
                if json { eskip::to_json(&page) } else { eskip::Printer::pretty().print(&page) + "\n" };
            (all.len(), body)
        };
        let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
        let mut response = text(StatusCode::OK, kind, body);
        let built = tables.first().map_or(0, |table| table.built_at.seconds());
        response.headers_mut().insert("x-count", HeaderValue::from(count));
        response.headers_mut().insert("x-timestamp", HeaderValue::from(built));
        response
    }
}

impl Handler for Support {
    async fn handle(&self, request: Request, _peer: &Peer) -> Response {
        // To HEAD the server sends the head alone, with the length that GET would have.
        self.answer(&request)
    }
}

/// One route in eskip's JSON form.
fn one(route: &eskip::Route) -> serde_json::Value {
    let list = eskip::to_json(std::slice::from_ref(route));
    let mut list: Vec<serde_json::Value> =
        serde_json::from_str(&list).expect("the printer writes JSON lists");
    list.pop().unwrap_or_default()
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
