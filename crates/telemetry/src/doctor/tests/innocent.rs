//! Innocent systems: services in layers, with timeouts, breakers and retries, few calls for a request and few failures.
//! Of any of them, and of spans that make no sense, nothing is found.

use super::super::world::{Made, World, call, facts, trace};
use super::{Facts, Policy, sound};
use crate::spans::{Endpoint, Kind, Span, TraceKey};
use proptest::prelude::*;

/// A call within a system of layers: a service of one layer calls those of the next only.
fn layered(layer: usize) -> BoxedStrategy<Made> {
    let service = (0..3usize).prop_map(move |number| format!("s{layer}-{number}"));
    if layer >= 4 {
        return service.prop_map(|service| call(&service, [])).boxed();
    }
    let below = prop::collection::vec(layered(layer + 1), 0..3);
    (service, below, any::<bool>(), 0..3usize)
        .prop_map(|(service, below, at_once, name)| {
            let made = call(&service, below).named(["get", "put", "list"][name]);
            if at_once { made.at_once() } else { made }
        })
        .boxed()
}

/// All calls that the layers may have, done for as well as can be.
fn all_declared(policy: Policy) -> Facts {
    let mut calls = Vec::new();
    for layer in 0..5 {
        for (one, other) in (0..3).flat_map(|one| (0..3).map(move |other| (one, other))) {
            calls.push(format!("s{layer}-{one}>s{}-{other}", layer + 1));
        }
        calls.push(format!(">s0-{}", layer % 3));
    }
    let calls: Vec<(&str, Policy)> = calls.iter().map(|call| (call.as_str(), policy)).collect();
    let mut facts = facts(&calls);
    // A layer knows those of the next; which of them it needs is decided by the request.
    facts.sees_calls = false;
    facts.services.values_mut().for_each(std::collections::BTreeSet::clear);
    for (caller, callee) in facts.edges.keys().filter(|(caller, _)| !caller.is_empty()) {
        facts.services.entry(caller.clone()).or_default().insert(callee.clone());
    }
    facts
}

fn any_span() -> impl Strategy<Value = Span> {
    let kinds = prop::sample::select(vec![
        None,
        Some(Kind::Client),
        Some(Kind::Server),
        Some(Kind::Producer),
        Some(Kind::Consumer),
    ]);
    let names = || prop::sample::select(vec!["", "a", "b", "c", "gateway"]);
    (0..6u64, 1..6u64, kinds, names(), names(), any::<(u16, u16, bool, bool)>()).prop_map(
        |(parent, id, kind, local, remote, (begin, duration, shared, error))| {
            let mut span = Span {
                trace: TraceKey { high: 0, low: 1 },
                parent,
                id,
                kind,
                timestamp_us: u64::from(begin),
                duration_us: u64::from(duration),
                local: Endpoint { service: local.into(), ..Endpoint::default() },
                remote: Endpoint { service: remote.into(), ..Endpoint::default() },
                tags: error.then(|| ("error".to_owned(), String::new())).into_iter().collect(),
                shared,
                ..Span::default()
            };
            span.tidy();
            span
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn of_innocent_systems_nothing_is_found(entries in prop::collection::vec(layered(0), 1..6)) {
        let facts = all_declared(sound());
        let mut world = World::new(facts.clone());
        // What no request needs now was needed at another time.
        facts.edges.keys().for_each(|(caller, callee)| { world.see_link(caller, callee); });
        for entry in &entries {
            world.see(150, entry);
            // A failure now and then, which its caller makes good.
            let mut failing = entry.clone();
            if let Some(below) = failing.below.first_mut() {
                below.fails = true;
            }
            world.see(2, &failing);
        }
        // Three layers below each other with a budget of a fifth each add up to 2.1 times at most.
        prop_assert_eq!(world.codes(), "");
    }

    #[test]
    fn where_nothing_is_declared_nothing_declared_is_missed(entries in prop::collection::vec(layered(0), 1..6)) {
        let mut world = World::new(Facts::default());
        for entry in &entries {
            world.see(150, entry);
        }
        prop_assert_eq!(world.codes(), "");
    }

    #[test]
    fn a_handful_of_traces_is_no_evidence_of_anything(entries in prop::collection::vec(layered(0), 1..6)) {
        let mut world = World::new(all_declared(Policy::default()));
        entries.iter().take(2).for_each(|entry| { world.see(1, entry); });
        prop_assert_eq!(world.codes(), "");
    }

    #[test]
    fn spans_that_make_no_sense_are_no_trouble(spans in prop::collection::vec(any_span(), 0..30), entry in layered(2)) {
        let mut world = World::new(all_declared(sound()));
        let mut more = trace(2, &entry);
        more.reverse();
        world.see_spans(spans).see_spans(more);
        prop_assert_eq!(world.codes(), "");
    }
}
