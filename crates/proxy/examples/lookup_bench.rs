//! What a route look-up costs, as one table: by number of routes and by their shape.
//!
//! `cargo run --release -p tombolo-proxy --example lookup_bench`

use base::{Chance, UnixTime};
use eskip::{Arg, Call, Route};
use http::Method;
use proxy::Question;
use proxy::lookup::{Entry, Lookup, Options, compile};
use proxy::predicates::PredicateEnv;
use std::hint::black_box;
use std::time::Instant;
use wire::Headers;

/// Look-ups that are timed, after as many that are not.
const LOOKUPS: usize = 1_000_000;
/// Requests that differ; they come in random order, so that the processor can't guess the next.
const REQUESTS: usize = 4096;

/// Routes of one shape, and the requests that find them.
struct Shape {
    name: &'static str,
    route: fn(usize) -> Vec<Call>,
    /// Host and path.
    request: fn(usize) -> (String, String),
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "path",
        route: |at| vec![call("Path", &[&format!("/api/v1/shop-{at}/orders")])],
        request: |at| ("gateway".to_owned(), format!("/api/v1/shop-{at}/orders")),
    },
    Shape {
        name: "path with parameters",
        route: |at| vec![call("Path", &[&format!("/api/shop-{at}/orders/:id/*rest")])],
        request: |at| ("gateway".to_owned(), format!("/api/shop-{at}/orders/17/items/3")),
    },
    Shape {
        name: "host",
        route: |at| vec![host(at)],
        request: |at| (format!("shop-{at}.example.org"), "/a/b".to_owned()),
    },
    // What an ingress controller makes of four rules of one host each: paths below it, a method, the rest.
    Shape {
        name: "mixed, as from Kubernetes",
        route: |at| match at % 4 {
            0 => vec![host(at / 4), call("PathSubtree", &["/"])],
            1 => vec![host(at / 4), call("PathSubtree", &["/api"])],
            2 => vec![host(at / 4), call("Path", &["/api/orders/:id"]), call("Method", &["GET"])],
            _ => vec![host(at / 4), call("Path", &["/healthz"])],
        },
        request: |at| {
            let path = ["/index.html", "/api/users/7", "/api/orders/7", "/healthz"][at % 4];
            (format!("shop-{}.example.org:443", at / 4), path.to_owned())
        },
    },
];

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn main() {
    println!(
        "{:<27}{:>10}{:>12}{:>14}{:>19}",
        "shape", "routes", "build ms", "ns / look-up", "checks / look-up"
    );
    for shape in &SHAPES {
        for routes in [10, 1_000, 100_000] {
            let (build_ms, nanos, checks) = measure(shape, routes);
            println!("{:<27}{routes:>10}{build_ms:>12.1}{nanos:>14.0}{checks:>19.2}", shape.name);
        }
    }
}

fn measure(shape: &Shape, routes: usize) -> (f64, f64, f64) {
    let (env, options) = (PredicateEnv::default(), Options::default());
    let definitions: Vec<Route> = (0..routes)
        .map(|at| Route { id: format!("r{at}"), predicates: (shape.route)(at), ..Route::default() })
        .collect();
    let begun = Instant::now();
    let entries = definitions.iter().enumerate().map(|(payload, route)| {
        let rule = compile(route, &env, &options).expect("the routes of a benchmark are right");
        Entry { rule, payload }
    });
    let lookup = Lookup::build(entries.collect(), &options);
    let build_ms = begun.elapsed().as_secs_f64() * 1e3;

    let chance = Chance::seeded(1);
    let wanted: Vec<usize> = (0..REQUESTS).map(|_| chance.below(routes)).collect();
    let requests: Vec<(String, String)> = wanted.iter().map(|at| (shape.request)(*at)).collect();
    let headers = Headers::new();
    let question = |at: usize| {
        let (host, path) = &requests[at % REQUESTS];
        let mut question = Question::new(&Method::GET, path, host, &headers, &chance);
        question.now = UnixTime::default();
        question
    };
    let mut checks = 0;
    for (at, expected) in wanted.iter().enumerate() {
        let found = lookup.find(&question(at)).expect("each request has its route");
        assert_eq!(found.payload, expected, "{:?}", requests[at]);
        checks += lookup.work(&question(at)).rules;
    }
    let run = || {
        let begun = Instant::now();
        for at in 0..LOOKUPS {
            black_box(lookup.find(black_box(&question(at))));
        }
        begun.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64
    };
    run();
    (build_ms, run(), checks as f64 / REQUESTS as f64)
}

fn host(at: usize) -> Call {
    call("Host", &[&format!("^(shop-{at}[.]example[.]org[.]?(:[0-9]+)?)$")])
}

fn call(name: &str, args: &[&str]) -> Call {
    Call::new(name, args.iter().map(|arg| Arg::Text((*arg).to_owned())))
}
