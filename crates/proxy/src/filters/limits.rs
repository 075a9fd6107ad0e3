//! Filters that limit how often a route is used, by all together or by each client, and the refusal they
//! answer with. The arithmetic is in `rules::limit`; this file only asks it.

use super::answers::nothing;
use super::{Built, Example, Filter, FilterEnv, FilterSpec, Step, plain};
use crate::answer::{Cause, Reason, answer};
use crate::args::Args;
use crate::exchange::Exchange;
use crate::net::X_FORWARDED_FOR;
use base::Chance;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use rules::limit::{CLIENTS_MAX, Scope, Settings};
use rules::{ClientLimit, Limit, Rate, Verdict};
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use wire::Response;

const X_RATE_LIMIT: HeaderName = HeaderName::from_static("x-rate-limit");

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "ratelimit",
        args: "max, window[, code]",
        docs: "Lets at most so many requests of the route through in any window of this length (a duration, or a \
               number of seconds); answers others with 429 or the given status. `X-Rate-Limit` tells the limit per \
               hour, `Retry-After` the seconds until the next request would pass. Each gateway counts for \
               itself. In Skipper routes with equal arguments share one count; here each route has its own.",
        example: Example {
            filters: r#"ratelimit(0, "1m", 503)"#,
            request: "GET /",
            saw: "-",
            got: "503\nx-rate-limit: 0\nretry-after: 157680000",
        },
        build: |args, env| {
            let rate = rate(args)?;
            let status =
                args.optional(|args| args.status("status"))?.unwrap_or(StatusCode::TOO_MANY_REQUESTS);
            let limit = env.lasting.get(&state("ratelimit", rate, env), || Limit::new(rate));
            Ok(plain(ForAll { limit, status }))
        },
    },
    FilterSpec {
        name: "clientRatelimit",
        args: "max, window[, headers]",
        docs: "Lets at most so many requests of each client through in any window of this length (a duration, or \
               a number of seconds); answers others with 429. A client is known by its address (the first of \
               `X-Forwarded-For`, else the sender's) or by the values of these headers, parted by commas; \
               `X-Forwarded-For` among them stands for the address. Requests that have none of the headers pass. \
               So many clients are remembered (100,000 by default); beyond that those who came least recently are \
               forgotten. In Skipper `\"X-Forwarded-For\"` alone is the whole header as sent, which any client can \
               vary at will.",
        example: Example {
            filters: r#"clientRatelimit(0, "1h", "Authorization")"#,
            request: "GET /\nauthorization: Bearer abc",
            saw: "-",
            got: "429\nx-rate-limit: 0\nretry-after: 157680000",
        },
        build: |args, env| per_client(args, env, "clientRatelimit"),
    },
    FilterSpec {
        name: "localRatelimit",
        args: "max, window[, headers]",
        docs: "An older name of `clientRatelimit`.",
        example: Example {
            filters: r#"localRatelimit(3, "1h", "Authorization")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, env| per_client(args, env, "localRatelimit"),
    },
    FilterSpec {
        name: "disableRatelimit",
        args: "",
        docs: "Does nothing: the limits of a route are its own, and that of the whole gateway (`-ratelimits`) is \
               asked before the route is known. Read so that routes which have it serve.",
        example: Example { filters: "disableRatelimit()", request: "GET /", saw: "GET /", got: "200" },
        build: |_, _| Ok(nothing()),
    },
    FilterSpec {
        name: "ratelimitFailClosed",
        args: "",
        docs: "Has limits refuse requests when nobody can say how many there were. The limits here are counted in \
               the gateway itself, which always can.",
        example: Example {
            filters: r#"ratelimitFailClosed() -> ratelimit(20, "1m")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |_, _| Ok(nothing()),
    },
    FilterSpec {
        name: "unknownRatelimit",
        args: "",
        docs: "Does nothing: the name that Skipper gives a limit whose kind it does not know. Read so that routes \
               which have it serve.",
        example: Example { filters: "unknownRatelimit()", request: "GET /", saw: "GET /", got: "200" },
        build: |_, _| Ok(nothing()),
    },
];

fn rate(args: &mut Args<'_>) -> Result<Rate, String> {
    let max = args.whole("requests", 0)?;
    let max = u32::try_from(max)
        .map_err(|_| args.refuse("requests", &format!("{max} is more than {}", u32::MAX)))?;
    Ok(Rate { max, per: args.window("window")? })
}

/// The name of a limit's state: it goes on counting after a reload if nothing about it changed.
fn state(name: &str, rate: Rate, env: &FilterEnv) -> String {
    format!("{name} {} {} {}/{}ns", env.route, env.place, rate.max, rate.per.as_nanos())
}

struct ForAll {
    limit: Arc<Limit>,
    status: StatusCode,
}

impl Filter for ForAll {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let verdict = self.limit.ask(exchange.clock.now());
        refuse(exchange, "ratelimit", self.status, self.limit.rate(), verdict)
    }
}

/// The limit of a whole gateway, before any route.
pub(crate) enum Ratelimit {
    All(Limit),
    Client(ClientLimit),
}

impl Ratelimit {
    /// `None` if there is to be no limit.
    pub(crate) fn new(settings: &Settings, chance: &Chance) -> Option<Self> {
        match settings.scope {
            Scope::Service => Some(Ratelimit::All(Limit::new(settings.rate))),
            Scope::Client => Some(Ratelimit::Client(ClientLimit::new(settings.rate, CLIENTS_MAX, chance))),
            Scope::ClusterService | Scope::ClusterClient | Scope::Disabled => None,
        }
    }

    /// The refusal of a request that comes too early.
    pub(crate) fn ask(&self, exchange: &mut Exchange) -> Option<Response> {
        let now = exchange.clock.now();
        let (verdict, rate) = match self {
            Ratelimit::All(limit) => (limit.ask(now), limit.rate()),
            Ratelimit::Client(limit) => (limit.ask(&address(exchange), now), limit.rate()),
        };
        match refuse(exchange, "", StatusCode::TOO_MANY_REQUESTS, rate, verdict) {
            Step::Reply(response) => Some(response),
            _ => None,
        }
    }
}

/// The client's address as a key.
fn address(exchange: &Exchange) -> Vec<u8> {
    match exchange.client() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

struct PerClient {
    name: &'static str,
    limit: Arc<ClientLimit>,
    by: By,
}

/// What tells clients apart.
enum By {
    Address,
    Header(HeaderName),
    /// All of these; `None` stands for the address.
    Many(Vec<Option<HeaderName>>),
}

fn per_client(args: &mut Args<'_>, env: &FilterEnv, name: &'static str) -> Result<Built, String> {
    let rate = rate(args)?;
    let headers = args.optional(|args| args.text("headers"))?;
    let by = By::read(headers).map_err(|why| args.refuse("headers", &why))?;
    let state = format!("{} {}", state(name, rate, env), headers.unwrap_or_default());
    let limit = env.lasting.get(&state, || ClientLimit::new(rate, CLIENTS_MAX, &env.chance));
    Ok(plain(PerClient { name, limit, by }))
}

impl By {
    fn read(headers: Option<&str>) -> Result<Self, String> {
        let Some(headers) = headers else { return Ok(By::Address) };
        let mut parts = Vec::new();
        for name in headers.split(',').map(str::trim) {
            let header = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no header name"))?;
            parts.push((header != X_FORWARDED_FOR).then_some(header));
        }
        Ok(match parts.as_mut_slice() {
            [None] => By::Address,
            [only] => only.take().map_or(By::Address, By::Header),
            _ => By::Many(parts),
        })
    }
}

impl Filter for PerClient {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let now = exchange.clock.now();
        let verdict = match &self.by {
            By::Address => self.limit.ask(&address(exchange), now),
            By::Header(name) => match exchange.headers.get(name).filter(|value| !value.is_empty()) {
                Some(value) => self.limit.ask(value.as_bytes(), now),
                None => Verdict::Admit,
            },
            By::Many(parts) => match key(parts, exchange) {
                Some(key) => self.limit.ask(&key, now),
                None => Verdict::Admit,
            },
        };
        refuse(exchange, self.name, StatusCode::TOO_MANY_REQUESTS, self.limit.rate(), verdict)
    }
}

/// The values of all parts, kept apart so that `ab`, `c` is not `a`, `bc`; `None` if there is none.
fn key(parts: &[Option<HeaderName>], exchange: &Exchange) -> Option<Vec<u8>> {
    let (mut key, mut known) = (Vec::with_capacity(64), false);
    for part in parts {
        let before = key.len();
        match part {
            None => {
                // Writing into a vector does not fail.
                let _ = write!(key, "{}", exchange.client());
            }
            Some(name) => {
                key.extend_from_slice(exchange.headers.get(name).map_or(&[], HeaderValue::as_bytes));
            }
        }
        known |= key.len() > before;
        key.push(0);
    }
    known.then_some(key)
}

/// Lets pass who may, and answers the others.
fn refuse(
    exchange: &mut Exchange,
    name: &'static str,
    status: StatusCode,
    rate: Rate,
    verdict: Verdict,
) -> Step {
    if verdict.is_admitted() {
        return Step::Next;
    }
    exchange.notes.reason = Some(Reason::of(Cause::RATE_LIMITED).by(name));
    let mut response: Response = answer(status);
    response.headers_mut().insert(X_RATE_LIMIT, HeaderValue::from(rate.per_hour()));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(verdict.retry_after_s()));
    Step::Reply(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_address_or_by_headers() {
        let shape = |headers| match By::read(headers) {
            Ok(By::Address) => "address".to_owned(),
            Ok(By::Header(name)) => name.to_string(),
            Ok(By::Many(parts)) => format!("{parts:?}"),
            Err(why) => why,
        };
        assert_eq!(shape(None), "address");
        assert_eq!(shape(Some("x-forwarded-for")), "address");
        assert_eq!(shape(Some("Authorization")), "authorization");
        assert_eq!(shape(Some("X-A, X-Forwarded-For")), "[Some(\"x-a\"), None]");
        assert_eq!(shape(Some("X-A,")), "`` is no header name");
    }
}
