//! What holds for every text and every route: on texts made up by chance, and on those that fuzzing kept.

#[path = "../../../fuzz/properties.rs"]
mod properties;

use base::Source;
use eskip::{Algorithm, Arg, Backend, Call, Endpoint, Route, host_pattern};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Write;
use std::path::Path;

#[test]
fn texts_that_fuzzing_kept_are_no_reason_to_panic() {
    replay("text", 10, properties::any_text);
    replay("json", 5, properties::any_json);
}

/// Runs a property on each seed of a target, of which there must be some.
fn replay(target: &str, at_least: usize, property: fn(&str)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&folder).expect("the target has a folder of seeds");
    let files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    assert!(files.len() >= at_least, "{} has too few files", folder.display());
    for file in files {
        let bytes = std::fs::read(&file).expect("the seed can be read");
        let held = std::panic::catch_unwind(|| property(&String::from_utf8_lossy(&bytes)));
        assert!(held.is_ok(), "{} does not hold", file.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn routes_come_back_the_same_from_text_and_json(routes in routes()) {
        properties::any_routes(&routes);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        properties::any_text(&text);
    }

    #[test]
    fn any_heap_of_words_is_read_or_refused(words in vec(word(), 0..40)) {
        properties::any_text(&words.concat());
    }

    #[test]
    fn a_text_cut_anywhere_is_read_or_refused(routes in routes(), at in any::<prop::sample::Index>()) {
        let mut text = eskip::Printer::pretty().print(&routes);
        let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        text.truncate(boundaries[at.index(boundaries.len())]);
        properties::any_text(&text);
    }

    #[test]
    fn any_json_is_read_or_refused(words in vec(json_word(), 0..30)) {
        properties::any_json(&words.concat());
    }

    #[test]
    fn formatting_keeps_every_comment(gaps in vec(gap(), LEXEMES.len() + 1)) {
        let mut text = String::new();
        for (index, (kind, lexeme)) in gaps.iter().zip(LEXEMES.iter().chain([&""])).enumerate() {
            match kind {
                0 | 1 => text.push(' '),
                2 => text.push_str(" \n\t"),
                3 => text.push_str("\n\n\n"),
                4 => writeln!(text, " // comment {index}").expect("a string takes any text"),
                _ => write!(text, "\n\n   //comment {index}  \r\n\n// more {index}\n").expect("a string takes any text"),
            }
            text.push_str(lexeme);
        }
        properties::any_text(&text);
        let formatted = eskip::format(&Source::new("t", text.as_str())).expect("the document is right");
        let comments = |text: &str| -> Vec<String> {
            // A comment that comes to stand behind another on its line is still told apart by its slashes.
            text.split("//").skip(1).map(|part| part.lines().next().unwrap_or_default().trim().to_owned()).collect()
        };
        prop_assert_eq!(comments(&formatted), comments(&text), "{}", formatted);
    }
}

/// A document without two slashes but for comments; gaps of all kinds come between its lexemes.
const LEXEMES: [&str; 38] = [
    "a",
    ":",
    "Path",
    "(",
    "\"/a\"",
    ")",
    "&&",
    "P",
    "(",
    ")",
    "->",
    "f",
    "(",
    "1.50",
    ",",
    "`x`",
    ",",
    "/r/",
    ")",
    "->",
    "<shunt>",
    ";",
    ";",
    "b",
    ":",
    "*",
    "->",
    "<",
    "roundRobin",
    ",",
    "\"h:a\"",
    ",",
    "\"h:b\"",
    ">",
    ";",
    "c",
    ":",
    "* -> <loopback>",
];

fn gap() -> impl Strategy<Value = u8> {
    0..6_u8
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "a",
            "b: ",
            "Path",
            "(",
            ")",
            "\"",
            "`",
            "/",
            "//",
            "\\",
            "\n",
            " ",
            ";",
            ":",
            "->",
            "&&",
            "*",
            ",",
            "<",
            ">",
            "<shunt>",
            "<loopback>",
            "1",
            ".",
            "-",
            "[",
            "]",
            "\"/x\"",
            "Path(\"/a\")",
            " -> ",
            "a: * -> <shunt>;",
            "http://h",
            "\"http://h\"",
            "?zone=z",
            "${",
            "}",
            "=>",
            "'",
            "#",
            "/*",
            "*/",
            "\u{e4}",
            "\u{a0}",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,3}",
    ]
}

fn json_word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"id\"",
        "\"backend\"",
        "\"type\"",
        "\"lb\"",
        "\"shunt\"",
        "\"endpoints\"",
        "\"predicates\"",
        "\"filters\"",
        "\"name\"",
        "\"args\"",
        "1",
        "-2.5",
        "1e999",
        "null",
        "true",
        "\"x\"",
        "[{\"filters\":[{\"name\":\"f\",\"args\":[",
        "]}]}]",
    ])
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    prop_oneof![
        route().prop_map(|route| vec![route]),
        vec((name(), route()), 0..5).prop_map(|routes| {
            let named = routes.into_iter().enumerate();
            named.map(|(index, (name, route))| Route { id: format!("{name}{index}"), ..route }).collect()
        }),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    (predicates(), vec(call("f"), 0..4), backend()).prop_map(|(predicates, filters, backend)| Route {
        predicates,
        filters,
        backend,
        ..Route::default()
    })
}

fn predicates() -> impl Strategy<Value = Vec<Call>> {
    let text = || any::<String>().prop_map(Arg::Text);
    let host = any::<String>().prop_map(|host| Arg::Text(host_pattern(&host).into_owned()));
    let one = |name: &'static str| move |arg| Call::new(name, [arg]);
    (
        prop::option::of(text().prop_map(one("Path"))),
        vec(host.prop_map(one("Host")), 0..3),
        vec(pattern().prop_map(one("PathRegexp")), 0..3),
        prop::option::of(text().prop_map(one("Method"))),
        prop::option::of((text(), text()).prop_map(|(name, value)| Call::new("Header", [name, value]))),
        vec((text(), pattern()).prop_map(|(name, value)| Call::new("HeaderRegexp", [name, value])), 0..3),
        vec(call("P"), 0..3),
    )
        .prop_map(|(path, hosts, paths, method, header, headers, others)| {
            let mut all: Vec<Call> = hosts.into_iter().chain(paths).chain(others).collect();
            all.extend(path.into_iter().chain(method).chain(header).chain(headers));
            all
        })
}

/// Patterns of the characters that matter to slashes and brackets.
fn pattern() -> impl Strategy<Value = Arg> {
    prop_oneof!["[\\[\\]/\\\\a*\n\u{8}]{0,6}", any::<String>()].prop_map(Arg::Text)
}

fn call(prefix: &'static str) -> impl Strategy<Value = Call> {
    let number =
        any::<f64>().prop_filter("the language has finite numbers only", |number| number.is_finite());
    let arg = prop_oneof![
        number.prop_map(Arg::Number),
        any::<i32>().prop_map(|number| Arg::Number(number.into())),
        any::<String>().prop_map(Arg::Text),
    ];
    (name(), vec(arg, 0..4)).prop_map(move |(name, args)| Call::new(format!("{prefix}_{name}"), args))
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9_]{0,8}"
}

fn backend() -> impl Strategy<Value = Backend> {
    let zone = prop::option::of(any::<String>().prop_filter("a zone has a name", |zone| !zone.is_empty()));
    let endpoint = ("http://[a-z]{1,5}(:[0-9]{2,4})?(/[a-z]*)?([?]a=b)?", zone)
        .prop_map(|(address, zone)| Endpoint { address, zone });
    let algorithm = prop_oneof![Just(Algorithm::Unset), name().prop_map(Algorithm::Named)];
    prop_oneof![
        any::<String>().prop_map(Backend::Network),
        Just(Backend::Shunt),
        Just(Backend::Loopback),
        Just(Backend::Dynamic),
        Just(Backend::Forward),
        (algorithm, vec(endpoint, 1..4))
            .prop_map(|(algorithm, endpoints)| Backend::Balanced { algorithm, endpoints }),
    ]
}
