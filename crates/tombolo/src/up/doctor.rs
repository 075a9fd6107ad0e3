//! What the doctor is told of a manifest: its services and their calls, and what the filters of routes do for them; and
//! what it finds, as JSON.

use super::plan::Plan;
use eskip::{Arg, Backend, Call, Route};
use manifest::ServiceSource;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use telemetry::doctor::{
    Facts, Finding, LATEST_MAX, OF_A_SERVICE_MAX, OUTSIDE, Policy, Report, Retry, Severity,
};

/// What is tried again at most, as a share of all calls, if the filter `retry` does not say.
const RETRY_BUDGET: f64 = 0.2;

/// What a manifest declares, with the gateway's routes.
pub(crate) fn facts<'a>(plan: &Plan, routes: impl IntoIterator<Item = &'a Route>) -> Facts {
    let mut facts = Facts {
        carriers: [telemetry::GATEWAY, streams::SERVICE].map(str::to_owned).into(),
        sees_calls: plan.manifest.traces.is_some(),
        ..Facts::default()
    };
    let (of_calls, _) = plan.calls();
    let policies: BTreeMap<&str, Policy> = of_calls
        .routes
        .iter()
        .filter_map(|(route, _)| Some((callee(route)?, policy(&route.filters))))
        .collect();
    for service in &plan.manifest.services {
        facts.services.insert(service.name.clone(), service.calls.iter().cloned().collect());
        // Who runs elsewhere has no listener here: its calls go past all filters.
        if matches!(service.source, ServiceSource::At(_)) {
            continue;
        }
        for callee in &service.calls {
            let policy = policies.get(callee.as_str()).copied().unwrap_or_default();
            facts.edges.insert((service.name.clone(), callee.clone()), policy);
        }
    }
    for route in routes {
        let Some(callee) = callee(route) else { continue };
        let policy = policy(&route.filters);
        let edge = facts.edges.entry((OUTSIDE.to_owned(), callee.to_owned()));
        edge.and_modify(|known| *known = known.weakest(policy)).or_insert(policy);
    }
    facts
}

/// The service that a route leads to.
fn callee(route: &Route) -> Option<&str> {
    match &route.backend {
        Backend::Network(address) => address.strip_prefix("service://"),
        _ => None,
    }
}

/// What filters do for a call. Of several of a kind the last one counts, as when they run.
fn policy(filters: &[Call]) -> Policy {
    let mut policy = Policy::default();
    for filter in filters {
        match filter.name.as_str() {
            "backendTimeout" => policy.timeout = duration(filter.args.first()),
            "consecutiveBreaker" | "rateBreaker" => policy.breaker = true,
            "disableBreaker" => policy.breaker = false,
            "retry" => {
                let number = |place: usize| match filter.args.get(place) {
                    Some(Arg::Number(number)) => Some(*number),
                    _ => None,
                };
                let times = number(0).unwrap_or_default().clamp(0.0, f64::from(u32::MAX)) as u32;
                policy.retry = Some(Retry { times, budget: number(2).unwrap_or(RETRY_BUDGET) });
            }
            _ => {}
        }
    }
    policy
}

/// A duration as filters take it; numbers are milliseconds.
fn duration(arg: Option<&Arg>) -> Option<Duration> {
    match arg? {
        Arg::Text(text) => base::parse_duration(text).ok(),
        Arg::Number(ms) => Duration::try_from_secs_f64(ms / 1e3).ok(),
    }
}

/// A report as the API answers it.
pub(crate) fn report(report: &Report) -> Value {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let counts: BTreeMap<&str, usize> =
        Severity::ALL.iter().map(|severity| (severity.name(), count(*severity))).collect();
    json!({
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "counts": counts,
        "more_findings": report.more,
        "looked_at": {
            "traces": report.traces,
            "spans": report.spans,
            "left_out": report.left_out,
            "latest": LATEST_MAX,
            "of_each_service": OF_A_SERVICE_MAX,
        },
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "code": finding.code,
        "severity": finding.severity.name(),
        "title": finding.title,
        "what": finding.what,
        "evidence": finding.evidence.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "remedy": finding.remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Source;

    #[test]
    fn filters_say_what_is_done_for_calls() {
        let of = |filters: &str| policy(&eskip::parse_filters(&Source::new("test", filters)).expect(filters));
        let second = Some(Duration::from_secs(1));
        assert_eq!(of("setPath(\"/\")"), Policy::default());
        assert_eq!(of("backendTimeout(\"9s\") -> backendTimeout(1000)").timeout, second);
        assert_eq!(of("retry(3, \"connect\", 0.5)").retry, Some(Retry { times: 3, budget: 0.5 }));
        assert_eq!(of("retry(2)").retry, Some(Retry { times: 2, budget: RETRY_BUDGET }));
        assert!(of("rateBreaker(3, 10)").breaker && !of("consecutiveBreaker(3) -> disableBreaker()").breaker);
    }

    #[test]
    fn a_manifest_says_who_calls_whom() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = "services:\n  web: {run: ./web, calls: [cart]}\n  \
                        old: {at: 'http://127.0.0.1:1', calls: [cart]}\n  \
                        cart: {at: 'http://127.0.0.1:2', filters: 'backendTimeout(\"1s\")'}\ntraces: {}\n";
        std::fs::write(folder.path().join("tombolo.yaml"), manifest).expect("written");
        let (plan, told) = super::super::read_manifest(folder.path()).expect("read");
        let plan = plan.unwrap_or_else(|| panic!("{told:?}"));
        let routes = "a: Path(\"/a\") -> consecutiveBreaker(3) -> \"service://web\"; b: * -> \"service://web\"; c: * -> <shunt>";
        let routes = eskip::parse(&Source::new("test", routes)).routes;
        let facts = facts(&plan, &routes);
        assert_eq!(facts.services["web"].iter().collect::<Vec<_>>(), ["cart"]);
        assert_eq!(
            facts.policy(Some("web"), "cart").and_then(|policy| policy.timeout),
            Some(Duration::from_secs(1))
        );
        // What `old` calls is declared, and carried by others.
        assert!(facts.services["old"].contains("cart") && facts.policy(Some("old"), "cart").is_none());
        // The weaker of two routes counts.
        assert_eq!(facts.policy(None, "web"), Some(Policy::default()));
        assert!(facts.sees_calls && facts.is_carrier("gateway") && facts.policy(None, "cart").is_none());
    }
}
