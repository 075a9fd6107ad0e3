//! Work whose instructions are counted, not timed: `bench/instructions` runs it under callgrind, which counts
//! within [`measured`] only.
//!
//! `instructions lookup ROUTES TIMES` looks up routes as an ingress controller makes them;
//! `instructions request FILTERS TIMES` carries requests through a chain of so many filters to an answer.

use base::{Chance, Clock, Source, UnixTime};
use eskip::{Arg, Call, Route};
use http::{Method, StatusCode};
use proxy::lookup::{Entry, Lookup, Options, compile};
use proxy::predicates::PredicateEnv;
use proxy::{Builder, Definitions, Gateway, Lasting, Plane, Question, Services, Settings};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use wire::Headers;
use wire::{Body, Peer};

/// Filters as routes have them, in the order in which a chain takes them.
const FILTERS: [&str; 10] = [
    r#"setRequestHeader("X-Route", "r")"#,
    r#"setRequestHeader("X-Shop", "${request.header.x-country}-shop")"#,
    r#"dropRequestHeader("X-Debug")"#,
    r#"modPath("^/api/(.*)$", "/$1")"#,
    r#"setQuery("source", "gateway")"#,
    r#"flowId("reuse")"#,
    r#"preserveHost("true")"#,
    r#"setResponseHeader("X-Served", "bench")"#,
    r#"appendResponseHeader("Vary", "Cookie")"#,
    r#"dropResponseHeader("X-Powered-By")"#,
];

/// Requests that differ.
const REQUESTS: usize = 1024;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
    match (words.first().map(String::as_str), number(1), number(2)) {
        (Some("lookup"), Some(routes), Some(times)) => lookup(routes, times),
        (Some("request"), Some(filters), Some(times)) if filters <= FILTERS.len() => request(filters, times),
        _ => panic!("lookup ROUTES TIMES, or request FILTERS TIMES with at most {} filters", FILTERS.len()),
    }
}

/// Callgrind counts what happens in here.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn lookup(routes: usize, times: usize) {
    let (env, options) = (PredicateEnv::default(), Options::default());
    let entries = (0..routes).map(|at| {
        let route = Route { id: format!("r{at}"), predicates: predicates(at), ..Route::default() };
        let rule = compile(&route, &env, &options).expect("the routes of a benchmark are right");
        Entry { rule, payload: at }
    });
    let lookup = Lookup::build(entries.collect(), &options);
    let (chance, headers) = (Chance::seeded(1), Headers::new());
    let requests: Vec<(usize, String, &str)> = (0..REQUESTS)
        .map(|_| {
            let at = chance.below(routes);
            (at, format!("shop-{}.example.org:443", at / 4), path(at))
        })
        .collect();
    measured(&mut || {
        for (expected, host, path) in requests.iter().cycle().take(times) {
            let mut question = Question::new(&Method::GET, path, host, &headers, &chance);
            question.now = UnixTime::default();
            let found = lookup.find(black_box(&question)).expect("each request has its route");
            assert_eq!(found.payload, expected);
        }
    });
}

/// Rules of one host each: paths below it, a method, the rest.
fn predicates(at: usize) -> Vec<Call> {
    let host = call("Host", &format!("^(shop-{}[.]example[.]org[.]?(:[0-9]+)?)$", at / 4));
    match at % 4 {
        0 => vec![host, call("PathSubtree", "/")],
        1 => vec![host, call("PathSubtree", "/api")],
        2 => vec![host, call("Path", "/api/orders/:id"), call("Method", "GET")],
        _ => vec![host, call("Path", "/healthz")],
    }
}

fn path(at: usize) -> &'static str {
    ["/index.html", "/api/users/7", "/api/orders/7", "/healthz"][at % 4]
}

fn call(name: &str, argument: &str) -> Call {
    Call::new(name, [Arg::Text(argument.to_owned())])
}

fn request(filters: usize, times: usize) {
    let clock = Clock::system();
    let builder = Builder {
        clock: clock.clone(),
        chance: Chance::seeded(1),
        lasting: Lasting::new(clock),
        services: Arc::new(Services::default()),
        metrics: Arc::new(telemetry::Metrics::new(1)),
        predicates: PredicateEnv::default(),
        lookup: Options::default(),
        folder: std::path::PathBuf::new(),
        forward: None,
        handles: proxy::Handles::default(),
    };
    let chain = [&["r: *"], &FILTERS[..filters], &["status(200)", "<shunt>"]].concat().join(" -> ");
    let source = Source::new("bench.eskip", chain);
    let table = builder.build(&Definitions::from_source(&source, eskip::parse(&source).routes));
    assert!(table.invalid.is_empty(), "the route of a benchmark is right");
    let plane = Plane::new(Settings::default(), builder, None);
    plane.put(table);
    let gateway = Gateway::new(&plane, 0);
    let somebody = SocketAddr::from(([192, 0, 2, 7], 5555));
    let peer = Peer { remote: somebody, local: somebody, tls: false, edge: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    // One future for all of them: that it is moved to its place counts once.
    let ask = async |times: usize| {
        for _ in 0..times {
            let request = http::Request::builder()
                .uri("/api/orders/7?page=2")
                .header("host", "shop.example")
                .header("x-country", "it")
                .header("x-debug", "1")
                .header("user-agent", "bench")
                .body(Body::empty())
                .expect("a request");
            let response = gateway.call(request.into(), &peer).await;
            assert_eq!(response.status(), StatusCode::OK);
        }
    };
    runtime.block_on(ask(100));
    measured(&mut || runtime.block_on(ask(times)));
}
