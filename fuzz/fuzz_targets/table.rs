//! Any routes and any path: every route is built or refused with a reason, and looking up never panics.
#![no_main]

use base::{Chance, Source};
use http::Method;
use proxy::lookup::{Entry, Lookup, Options, compile};
use proxy::predicates::PredicateEnv;

libfuzzer_sys::fuzz_target!(|input: (&str, &str, &str)| {
    let (text, path, host) = input;
    let (env, chance, headers) = (PredicateEnv::default(), Chance::seeded(1), wire::Headers::new());
    let source = Source::new("fuzz", text);
    for ignore_trailing_slash in [false, true] {
        let options = Options { ignore_trailing_slash, ..Options::default() };
        let mut entries = Vec::new();
        for route in eskip::parse(&source).routes {
            match compile(&route, &env, &options) {
                Ok(rule) => entries.push(Entry { rule, payload: route.id.clone() }),
                Err(refusal) => assert!(!refusal.diagnostic(&route.id, Some(&source)).render(false).is_empty()),
            }
        }
        let lookup = Lookup::build(entries, &options);
        let question = proxy::Question::new(&Method::GET, path, host, &headers, &chance).with_random(0.5);
        let found = lookup.find(&question).map(|found| found.payload.clone());
        let explained = lookup.explain(&question);
        assert!(serde_json::to_string(&explained).is_ok_and(|text| found.is_none_or(|id| text.contains(&*id) || id.is_empty())));
    }
});
