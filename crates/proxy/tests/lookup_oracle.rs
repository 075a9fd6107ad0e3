//! The look-up against a slow one that is plainly right: it tries all routes, sorted by the rules of
//! precedence as the reference states them.
#![expect(clippy::unwrap_used, reason = "routes made here are right; if not, the test must fail")]

use base::Chance;
use eskip::{Arg, Route};
use http::{HeaderValue, Method};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use proxy::lookup::{Entry, Lookup, Options, compile};
use proxy::predicates::{self, Built, PredicateEnv};
use proxy::{Args, Question};
use wire::Headers;

/// How special a path is for a request, segment by segment: fixed, `:name`, `*name`. Smaller is better.
type Rank = Vec<u8>;

/// Whether a route's path matches a clean path, and how special it is then. A route without a path comes
/// last. Paths here have no leading dots or double slashes to clean.
fn path_rank(route: &Route, path: &str, lenient: bool) -> Option<Rank> {
    let trim = |path: &str| match path.strip_suffix('/') {
        Some(trimmed) if lenient && !trimmed.is_empty() => trimmed.to_owned(),
        _ => path.to_owned(),
    };
    let Some(call) = route.predicates.iter().find(|call| call.name.starts_with("Path")) else {
        return Some(vec![9]);
    };
    let written = call.args[0].text().unwrap();
    let path = trim(path);
    let segments: Vec<&str> = path[1..].split('/').collect();
    if call.name == "Path" {
        return rank(&trim(written)[1..].split('/').collect::<Vec<_>>(), &segments);
    }
    let base = written.trim_end_matches('/');
    let as_path = |path: String| rank(&path[1..].split('/').collect::<Vec<_>>(), &segments);
    let own = if base.is_empty() { None } else { as_path(base.to_owned()) };
    let slashed = if base.is_empty() || !lenient { as_path(format!("{base}/")) } else { None };
    [own, slashed, as_path(format!("{base}/*rest"))].into_iter().flatten().min()
}

fn rank(written: &[&str], segments: &[&str]) -> Option<Rank> {
    match (written, segments) {
        ([], []) => Some(vec![]),
        ([last], [first, ..]) if last.starts_with('*') => (!first.is_empty()).then(|| vec![2]),
        ([one, written @ ..], [segment, segments @ ..]) => {
            let kind = match one.starts_with(':') {
                true if !segment.is_empty() => 1,
                false if one == segment => 0,
                _ => return None,
            };
            let rest = rank(written, segments)?;
            Some([vec![kind], rest].concat())
        }
        _ => None,
    }
}

fn weight(route: &Route) -> i64 {
    let one = |call: &eskip::Call| match (call.name.as_str(), call.args.first()) {
        ("Weight", Some(Arg::Number(weight))) => weight.round() as i64,
        ("Path" | "PathSubtree", _) => 0,
        _ => 1,
    };
    route.predicates.iter().map(one).sum()
}

fn holds(route: &Route, question: &Question<'_>, env: &PredicateEnv) -> bool {
    route.predicates.iter().all(|call| {
        let spec = predicates::find(&call.name).unwrap();
        match (spec.build)(&mut Args::new(&call.args), env).ok().unwrap() {
            Built::Check(check) => check.matches(question),
            _ => true,
        }
    })
}

fn naive(routes: &[Route], question: &Question<'_>, lenient: bool, env: &PredicateEnv) -> Option<String> {
    let matching = routes.iter().enumerate().filter_map(|(at, route)| {
        let rank = path_rank(route, question.path(), lenient)?;
        holds(route, question, env).then(|| ((rank, -weight(route), at), route.id.clone()))
    });
    matching.min_by(|(one, _), (two, _)| one.cmp(two)).map(|(_, id)| id)
}

fn joined(segments: &[&str]) -> String {
    segments.iter().flat_map(|segment| ["/", segment]).collect()
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", ":x", ":y"]);
    let end = prop::sample::select(vec!["", "/", "/*r", "/**"]);
    (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let path = joined(&segments);
        if path.is_empty() && end.is_empty() { "/".to_owned() } else { format!("{path}{end}") }
    })
}

fn predicate() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        r#"Method("GET")"#,
        r#"Methods("post", "PUT")"#,
        r#"Method("PURGE")"#,
        "Host(/^(one[.]example[.]?(:[0-9]+)?)$/)",
        "Host(/^(one|two)[.]example$/)",
        "Host(/^two[.]example:[0-9]+$/)",
        "Host(/example/)",
        r#"HostAny("one.example", "one.example:80")"#,
        r#"HostAny("two.example:80", "two.example")"#,
        r#"HostAny("two.example:80")"#,
        r#"Header("X-A", "1")"#,
        "True()",
        "False()",
        "Weight(2)",
        "Weight(-1)",
    ])
    .prop_map(str::to_owned)
}

fn route() -> impl Strategy<Value = String> {
    let placed = prop_oneof![
        3 => path().prop_map(|path| Some(format!("Path(\"{path}\")"))),
        1 => path().prop_map(|path| Some(format!("PathSubtree(\"{}\")", path.split("/*").next().filter(|p| !p.is_empty()).unwrap_or("/")))),
        3 => Just(None),
    ];
    (placed, prop::collection::vec(predicate(), 0..3)).prop_map(|(placed, mut rest)| {
        // The language allows one `Method`, and one `Header` of a name.
        let mut known: Vec<String> = Vec::new();
        rest.retain(|text| {
            let once = ["Method(", "Header("].into_iter().find(|name| text.starts_with(name));
            let new = once.is_none_or(|name| !known.iter().any(|known| known == name));
            known.extend(once.map(str::to_owned));
            new
        });
        rest.extend(placed);
        if rest.is_empty() { "*".to_owned() } else { rest.join(" && ") }
    })
}

fn request() -> impl Strategy<Value = (&'static str, String, &'static str, bool)> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "post", "PURGE"]);
    let segments = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..5);
    let host = prop::sample::select(vec![
        "one.example",
        "one.example:80",
        "one.example.:9",
        "two.example",
        "two.example:80",
        "example:",
        "",
    ]);
    (method, segments, any::<bool>(), host, any::<bool>()).prop_map(
        |(method, segments, slash, host, header)| {
            let path = joined(&segments);
            let path = if slash || path.is_empty() { format!("{path}/") } else { path };
            (method, path, host, header)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_look_up_finds_what_trying_all_routes_finds(
        texts in prop::collection::vec(route(), 0..40),
        requests in prop::collection::vec(request(), 1..12),
        ignore_trailing_slash in any::<bool>(),
    ) {
        let env = PredicateEnv::default();
        let routes = texts.iter().enumerate().map(|(at, text)| format!("r{at}: {text} -> <shunt>;"));
        let text = routes.collect::<Vec<_>>().join("\n");
        let routes = eskip::parse_text(&text).unwrap();
        let options = Options { ignore_trailing_slash, ..Options::default() };
        let entries = routes.iter().map(|route| {
            Entry { rule: compile(route, &env, &options).unwrap(), payload: route.id.clone() }
        });
        let lookup = Lookup::build(entries.collect(), &options);
        let chance = Chance::seeded(1);
        for (method, path, host, header) in requests {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let mut headers = Headers::new();
            if header {
                headers.insert("x-a", HeaderValue::from_static("1"));
            }
            let question = Question::new(&method, &path, host, &headers, &chance);
            let expected = naive(&routes, &question, ignore_trailing_slash, &env);
            let got = lookup.find(&question).map(|found| found.payload.clone());
            prop_assert_eq!(&got, &expected, "{} {}{} x-a {} in\n{}", method, host, path, header, &text);
            prop_assert_eq!(lookup.explain(&question).winner.map(|winner| winner.id), expected);
        }
    }
}
