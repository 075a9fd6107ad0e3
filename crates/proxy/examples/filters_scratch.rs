#![allow(missing_docs, clippy::all, clippy::pedantic)]
use base::{Chance, Clock, Source, UnixTime};
use http::{HeaderMap, Method, Version};
use proxy::filters::{Chain, Outcome};
use proxy::*;
use wire::{Body, Response};
fn main() {
    let clock = Clock::system();
    let env = FilterEnv { clock: clock.clone(), chance: Chance::seeded(1), route: "r".into(), place: 0, lasting: Lasting::new(clock.clone()) };
    let make = || {
        let mut headers = HeaderMap::new();
        for (n, v) in [("host", "shop.example"), ("user-agent", "wrk"), ("accept", "*/*"), ("x-user", "ann")] { headers.insert(n, v.parse().unwrap()); }
        Exchange { arrival: Arrival { at: clock.now(), at_unix: UnixTime::default(), method: Method::GET, uri: "/api/v2/carts?id=7".parse().unwrap(), version: Version::HTTP_11, host: Some("shop.example".parse().unwrap()), remote: "192.0.2.7:1".parse().unwrap(), local: "192.0.2.1:1".parse().unwrap(), tls: false, edge: None },
            method: Method::GET, uri: "/api/v2/carts?id=7".parse().unwrap(), headers, body: Body::empty(), params: Default::default(), route: "r".into(), notes: Default::default(), trace: telemetry::TraceContext::begin(&env.chance), clock: clock.clone(), chance: env.chance.clone() }
    };
    let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for filters in ["", "setRequestHeader(\"X-A\", \"b\")", "setRequestHeader(\"X-A\", \"${request.header.x-user}\")", "setPath(\"/v2\")", "modPath(\"^/api/(v\\\\d)/\", \"/$1/\")", "setQuery(\"a\", \"b\")", "ratelimit(1000000000, \"1s\")", "clientRatelimit(1000000000, \"1s\")", "flowId()", "xforward()", "retry(2)",
        "preserveHost(\"true\") -> setRequestHeader(\"X-A\", \"b\") -> ratelimit(1000000000, \"1s\") -> retry(2) -> setResponseHeader(\"X-B\", \"c\")"] {
        let calls = eskip::parse_filters(&Source::new("x", filters)).unwrap();
        let chain = Chain::build(&calls, &env).unwrap_or_else(|e| panic!("{e}"));
        const N: usize = 2000;
        let mut best = f64::MAX;
        for _ in 0..50 {
            let mut all: Vec<(Exchange, Response)> = (0..N).map(|_| (make(), Response::new(Body::empty()))).collect();
            let begun = std::time::Instant::now();
            rt.block_on(async { for (e, r) in &mut all {
                let ran = match chain.request(e).await { Outcome::Next { ran } => ran, Outcome::Reply { ran, .. } => ran };
                chain.response(e, r, ran).await;
            }});
            best = best.min(begun.elapsed().as_nanos() as f64 / N as f64);
        }
        println!("{best:7.0} ns  {filters}");
    }
}
