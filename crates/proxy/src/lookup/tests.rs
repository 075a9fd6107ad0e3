//! Look-ups told as stories, and the limits of what one costs.

use super::*;
use crate::predicates::PredicateEnv;
use base::Chance;
use expect_test::{Expect, expect};
use http::{HeaderValue, Method};
use std::fmt::Write as _;
use wire::Headers;

const STRICT: Options = Options { ignore_trailing_slash: false, unescape_twice: true };
const LENIENT: Options = Options { ignore_trailing_slash: true, unescape_twice: true };

fn table(routes: &str, options: Options) -> Lookup<String> {
    let env = PredicateEnv::default();
    let routes = eskip::parse_text(routes).unwrap_or_else(|errors| panic!("{errors}"));
    let entries = routes.into_iter().map(|route| {
        let rule =
            compile(&route, &env, &options).unwrap_or_else(|refusal| panic!("{}: {refusal}", route.id));
        Entry { rule, payload: route.id }
    });
    Lookup::build(entries.collect(), &options)
}

/// Asks about `METHOD host/path`; the method may be missing.
fn ask<R>(request: &str, answer: impl FnOnce(&Question<'_>) -> R) -> R {
    let (method, rest) = request.split_once(' ').unwrap_or(("GET", request));
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut headers = Headers::new();
    headers.insert("host", HeaderValue::from_str(host).unwrap());
    answer(&Question::new(&method, path, host, &headers, &Chance::seeded(1)))
}

fn answer(lookup: &Lookup<String>, request: &str) -> String {
    ask(request, |question| match lookup.find(question) {
        None => "none".to_owned(),
        Some(found) => found.params.iter().fold(found.payload.clone(), |mut line, (name, value)| {
            let _ = write!(line, " {name}={value}");
            line
        }),
    })
}

fn check(routes: &str, request: &str, expected: &Expect) {
    expected.assert_eq(&answer(&table(routes, STRICT), request));
}

const ORDERS: &str = r#"
    list: Path("/orders") -> <shunt>;
    one: Path("/orders/:id") -> <shunt>;
    new: Path("/orders/new") && Method("POST") -> <shunt>;
    file: Path("/orders/:id/files/*file") -> <shunt>;
    below: PathSubtree("/orders") && Weight(100) && Host(/^admin[.]example$/) -> <shunt>;
    rest: * -> <shunt>;
"#;

#[test]
fn the_most_special_path_wins_and_a_refusal_goes_back() {
    check(ORDERS, "POST /orders/new", &expect!["new"]);
    check(ORDERS, "/orders/new", &expect!["one id=new"]);
    check(ORDERS, "/orders/7", &expect!["one id=7"]);
    check(ORDERS, "/orders/7/files/a/b", &expect!["file id=7 file=/a/b"]);
    check(ORDERS, "admin.example/orders/7", &expect!["one id=7"]);
    check(ORDERS, "admin.example/orders/7/x", &expect!["below *=/7/x"]);
    check(ORDERS, "admin.example/orders", &expect!["below *=/"]);
    check(ORDERS, "/orders/7/x", &expect!["rest"]);
}

#[test]
fn a_catch_all_parameter_keeps_its_leading_slash() {
    check(r#"all: Path("/a/*rest") -> <shunt>;"#, "/a/b/c", &expect!["all rest=/b/c"]);
    check(r#"all: Path("/a/*rest") -> <shunt>;"#, "/a/", &expect!["none"]);
}

#[test]
fn parameters_are_decoded_twice_unless_told_otherwise() {
    let routes = r#"one: Path("/a/:x") -> <shunt>;"#;
    check(routes, "/a/b%2520c+d", &expect!["one x=b c d"]);
    let once = Options { unescape_twice: false, ..STRICT };
    expect!["one x=b%20c+d"].assert_eq(&answer(&table(routes, once), "/a/b%2520c+d"));
}

#[test]
fn equal_routes_are_tried_in_source_order() {
    let routes = r#"z: True() -> <shunt>; a: True() -> <shunt>; m: Weight(1) -> <shunt>;"#;
    check(routes, "/", &expect!["z"]);
}

#[test]
fn trailing_slashes_can_be_ignored() {
    let lookup = table(
        r#"a: Path("/a/") -> <shunt>; s: PathSubtree("/s") -> <shunt>; r: Path("/") -> <shunt>;"#,
        LENIENT,
    );
    for (request, expected) in [("/a", "a"), ("/a/", "a"), ("/s/", "s *=/"), ("/s/x/", "s *=/x"), ("/", "r")]
    {
        assert_eq!(answer(&lookup, request), expected, "{request}");
    }
}

#[test]
fn a_path_without_bound_finds_nothing() {
    let lookup = table("all: * -> <shunt>;", STRICT);
    assert_eq!(answer(&lookup, &format!("/{}", "a".repeat(PATH_BYTES_MAX - 1))), "all");
    assert_eq!(answer(&lookup, &format!("/{}", "a".repeat(PATH_BYTES_MAX))), "none");
}

#[test]
fn a_refusal_names_the_argument_and_what_skipper_says() {
    let refuse = |text: &str| {
        let routes = eskip::parse(&base::Source::new("shop.eskip", text)).routes;
        let source = base::Source::new("shop.eskip", text);
        match compile(&routes[0], &PredicateEnv::default(), &STRICT) {
            Ok(_) => panic!("{text} was not refused"),
            Err(refusal) => format!(
                "{}\n\n{}",
                refusal.diagnostic(&routes[0].id, Some(&source)).render(false),
                refusal.compat()
            ),
        }
    };
    expect![[r#"
        error: route `r`: predicate `PathReg` is not known
         --> shop.eskip:1:4
          |
        1 | r: PathReg("/a") -> <shunt>
          |    ^^^^^^^

        unknown_predicate: predicate "PathReg" not found"#]]
    .assert_eq(&refuse(r#"r: PathReg("/a") -> <shunt>"#));
    expect![[r#"
        error: route `r`: predicate `TrafficSegment`: the segment from 1 to 0 is backwards
         --> shop.eskip:1:22
          |
        1 | r: TrafficSegment(1, 0) -> <shunt>
          |                      ^
          |
          = hint: it is written `TrafficSegment(from, to)`

        invalid_predicate_params: failed to create predicate TrafficSegment(1, 0): invalid predicate parameters: invalid range"#]]
    .assert_eq(&refuse("r: TrafficSegment(1, 0) -> <shunt>"));
    expect![[r#"
        error: route `r`: predicate `PathSubtree`: the free wildcard `*x` must be the last segment of the path
         --> shop.eskip:1:16
          |
        1 | r: PathSubtree("/a/*x/b") -> <shunt>
          |                ^^^^^^^^^
          |
          = hint: it is written `PathSubtree(path)`

        invalid_matcher: the free wildcard `*x` must be the last segment of the path"#]]
    .assert_eq(&refuse(r#"r: PathSubtree("/a/*x/b") -> <shunt>"#));
}

#[test]
fn an_explanation_tells_who_refused_what() {
    let lookup = table(ORDERS, STRICT);
    let explanation = ask("GET /orders/new", |question| lookup.explain(question));
    expect![[r#"
        {
          "path": "/orders/new",
          "routes": 6,
          "winner": {
            "id": "one",
            "weight": 0,
            "place": "Path(\"/orders/:id\")",
            "params": {
              "id": "new"
            }
          },
          "runners_up": [
            {
              "id": "rest",
              "weight": 0
            }
          ],
          "refused": [
            {
              "id": "new",
              "weight": 1,
              "path_matches": true,
              "predicate": "Method(\"POST\")",
              "start": 112,
              "end": 118
            },
            {
              "id": "below",
              "weight": 101,
              "path_matches": true,
              "predicate": "Host(\"^admin[.]example$\")",
              "start": 245,
              "end": 249
            },
            {
              "id": "list",
              "weight": 0,
              "path_matches": false,
              "predicate": "Path(\"/orders\")",
              "start": 11,
              "end": 15
            },
            {
              "id": "file",
              "weight": 0,
              "path_matches": false,
              "predicate": "Path(\"/orders/:id/files/*file\")",
              "start": 149,
              "end": 153
            }
          ],
          "unlisted": 0
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&explanation).unwrap());
}

#[test]
fn an_explanation_of_many_routes_is_short() {
    let routes: String = (0..500).fold(String::new(), |mut text, n| {
        let _ = write!(text, "r{n}: Host(/^h{}$/) -> <shunt>;", n % 2);
        text
    });
    let explanation = ask("h1/", |question| table(&routes, STRICT).explain(question));
    let lists = (explanation.runners_up.len(), explanation.refused.len(), explanation.unlisted);
    assert_eq!((explanation.winner.unwrap().id.as_str(), lists), ("r1", (100, 100, 299)));
}

/// Routes of `n` shops in three shapes; the request that `shop` sends to each.
fn shops(shape: &str, n: usize) -> (Lookup<String>, impl Fn(usize) -> String) {
    let routes = (0..n).fold(String::new(), |mut text, at| {
        let _ = match shape {
            "path" => writeln!(text, "r{at}: Path(\"/shops/{at}/orders/:id\") -> <shunt>;"),
            "host" => writeln!(text, "r{at}: Host(/^(shop-{at}[.]example[.]org[.]?(:[0-9]+)?)$/) -> <shunt>;"),
            _ => writeln!(
                text,
                "r{at}: Host(/^(shop-{at}[.]example[.]org[.]?(:[0-9]+)?)$/) && PathSubtree(\"/\") && Method(\"GET\") -> <shunt>;"
            ),
        };
        text
    });
    let by_path = shape == "path";
    let request = move |at| {
        if by_path { format!("/shops/{at}/orders/7") } else { format!("shop-{at}.example.org:80/a") }
    };
    (table(&routes, STRICT), request)
}

#[test]
fn the_work_of_a_look_up_does_not_grow_with_the_routes() {
    for shape in ["path", "host", "host and subtree"] {
        let work = |n: usize| {
            let (lookup, request) = shops(shape, n);
            let works = [0, n / 2, n - 1].map(|at| {
                assert!(answer(&lookup, &request(at)).starts_with(&format!("r{at}")), "{shape} {at}");
                ask(&request(at), |question| lookup.work(question))
            });
            let unknown = ask(&request(n), |question| lookup.work(question));
            assert!(works.iter().all(|work| *work == works[0]), "{shape}: {works:?}");
            assert_eq!(unknown.rules, 0, "{shape}");
            works[0]
        };
        let few = work(20);
        assert_eq!(few.rules, 1, "{shape}");
        assert_eq!(few, work(20_000), "{shape}");
    }
}

#[test]
fn routes_of_one_place_are_picked_by_their_method() {
    let routes = (0..1000).fold(String::new(), |mut text, at| {
        let method = if at < 900 { "GET" } else { "POST" };
        let _ = write!(text, "r{at}: Method(\"{method}\") && Header(\"X\", \"{at}\") -> <shunt>;");
        text
    }) + r#"purge: Method("PURGE") -> <shunt>; any: Methods("get", "put") && Weight(-5) -> <shunt>;"#;
    let lookup = table(&routes, STRICT);
    let work = |request: &str| ask(request, |question| lookup.work(question)).rules;
    assert_eq!((answer(&lookup, "PURGE /"), work("PURGE /")), ("purge".to_owned(), 1));
    assert_eq!((answer(&lookup, "PUT /"), work("PUT /")), ("any".to_owned(), 1));
    assert_eq!((answer(&lookup, "put /"), work("put /")), ("any".to_owned(), 1));
    assert_eq!((answer(&lookup, "POST /"), work("POST /")), ("none".to_owned(), 100));
}

/// Each segment could be fixed or a wildcard, and no route is content until the last: a search that forgets
/// where it has been would take 2^200 steps.
#[test]
fn going_back_costs_no_more_than_the_routes() {
    let deep = "/a".repeat(200);
    let routes = format!(
        r#"fixed: Path("{deep}/end") -> <shunt>; wild: Path("{}/end") -> <shunt>; rest: Path("{}/*rest") && False() -> <shunt>;"#,
        "/:x".repeat(200),
        "/:x/a".repeat(100),
    );
    let work = ask(&format!("{deep}/other"), |question| table(&routes, STRICT).work(question));
    assert!(work.nodes <= 700, "{work:?}");
    // A table with both at each of 10 depths has 2^10 places that match; each is visited once.
    let both = (0..1 << 10).fold(String::new(), |mut text, bits: u32| {
        let path: String = (0..10).map(|at| if bits >> at & 1 == 1 { "/:x" } else { "/a" }).collect();
        let _ = write!(text, "r{bits}: Path(\"{path}\") && False() -> <shunt>;");
        text
    });
    let work = ask(&"/a".repeat(10), |question| table(&both, STRICT).work(question));
    // One more for the table of whole paths.
    assert_eq!((work.rules, work.nodes), (1 << 10, 1 << 10));
}
