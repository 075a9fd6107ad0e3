//! The service map: who calls whom, how often, how well and how fast, within the last minutes. What spans show is put
//! together with what the gateway counts itself, each call in one place only: where spans show an edge, they alone.

use crate::history::Owners;
use crate::problem::Problem;
use crate::{About, Console, FRESH, aside, ask_spans, bounds};
use base::{Fault, Moment};
use control::State;
use eskip::Backend;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use telemetry::GATEWAY;
use telemetry::metrics::RouteTotals;
use telemetry::spans::{Call, Link, Query, SpanStore, calls_of};

/// Minutes of spans that are looked at, the one that has begun included.
const MINUTES: u64 = 5;

/// When so large a share of the requests is not recorded, it is told.
pub(crate) const LEFT_OUT_MIN: f64 = 0.01;

/// The map at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Map {
    /// Whether spans are taken.
    pub(crate) has_traces: bool,
    /// Why spans are not shown, or not written.
    pub(crate) trouble: Option<String>,
    /// Seconds of spans that are counted.
    pub(crate) spans_seconds: f64,
    /// The share of the requests from outside whose traces are not recorded, about.
    pub(crate) left_out_share: f64,
    /// Seconds of the gateway's own counts.
    pub(crate) requests_seconds: f64,
    /// The services, the busiest first if there are more than are drawn.
    pub(crate) nodes: Vec<Node>,
    /// The calls between them.
    pub(crate) edges: Vec<Edge>,
    /// Services beyond those that are drawn.
    pub(crate) hidden: usize,
}

/// A service, or the gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) kind: NodeKind,
    /// How it does, if it runs here.
    pub(crate) state: Option<State>,
    /// Its instances, if it runs here.
    pub(crate) instances: usize,
    /// What it was asked, as far as that came through Tombolo.
    pub(crate) asked: Option<Flow>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeKind {
    Gateway,
    /// It runs here.
    Service,
    /// The manifest says that it runs elsewhere.
    Outside,
    /// Spans or routes name it.
    Seen,
}

/// Calls from one service to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) source: EdgeSource,
    /// None where nothing was called.
    pub(crate) flow: Option<Flow>,
}

/// How an edge is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EdgeSource {
    /// Spans show it.
    Spans,
    /// The gateway counted it.
    Requests,
    /// The manifest or a route says that it may be.
    Declared,
}

/// What goes along an edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Flow {
    pub(crate) rate_per_s: f64,
    pub(crate) error_share: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Whether durations were counted in buckets, so that short ones are not told apart.
    pub(crate) is_bucketed: bool,
}

impl Flow {
    /// What was counted within so many seconds; none if nothing was.
    pub(crate) fn of(totals: &RouteTotals, seconds: f64) -> Option<Self> {
        let ms = |share| totals.durations.quantile(share).map(|seconds| seconds * 1e3);
        (totals.requests > 0).then(|| Self {
            rate_per_s: totals.requests as f64 / seconds,
            error_share: totals.errors as f64 / totals.requests as f64,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            is_bucketed: true,
        })
    }
}

/// What the map is made of.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) about: About,
    /// Name, state and instances of what runs here.
    pub(crate) services: Vec<(String, State, usize)>,
    /// What spans show, if they are taken, and of how many seconds.
    pub(crate) spans: Option<(Vec<Link>, f64)>,
    /// Why they are not shown, or not written.
    pub(crate) trouble: Option<String>,
    /// Some of those calls with their durations.
    pub(crate) calls: Vec<Call>,
    /// What came in for each service that a route leads to, and within how many seconds.
    pub(crate) entered: BTreeMap<String, RouteTotals>,
    /// What each service was asked altogether.
    pub(crate) asked: BTreeMap<String, RouteTotals>,
    /// Requests whose traces began here and are not recorded.
    pub(crate) left_out: u64,
    pub(crate) requests_seconds: f64,
}

/// The map that was drawn last.
pub(crate) struct Drawn {
    at: Moment,
    map: Arc<Map>,
}

/// The map as it is now, or was a moment ago.
pub(crate) async fn now(console: &Console) -> Result<Arc<Map>, Problem> {
    // Held while it is made: others who want it now wait for this one.
    let mut drawn = console.0.map.lock().await;
    if let Some(drawn) = &*drawn
        && console.clock.now().since(drawn.at) < FRESH
    {
        return Ok(drawn.map.clone());
    }
    let map = Arc::new(assemble(facts(console).await?));
    *drawn = Some(Drawn { at: console.clock.now(), map: map.clone() });
    Ok(map)
}

async fn facts(console: &Console) -> Result<Facts, Problem> {
    let mut facts = Facts { about: console.about(), ..Facts::default() };
    for service in console.supervisor.status().iter() {
        facts.services.push((service.name.clone(), service.state, service.replicas.len()));
    }
    let counted = console.counted();
    let rates = console.history().rates(console.clock.now(), counted);
    facts.left_out = rates.counted.left_out;
    facts.requests_seconds = rates.seconds;
    for (route, owners) in owners(console) {
        let zero = RouteTotals::default();
        let counted = rates.counted.routes.get(&route).unwrap_or(&zero);
        for service in owners.services {
            if owners.is_entry {
                facts.entered.entry(service.clone()).or_default().add(counted);
            }
            facts.asked.entry(service).or_default().add(counted);
        }
    }
    if let Some(spans) = &console.spans {
        let now_ms = console.clock.unix().micros() / 1_000;
        let start_ms = (now_ms / 60_000).saturating_sub(MINUTES - 1) * 60_000;
        match ask_spans(spans, shown(spans, start_ms, now_ms)).await {
            Ok((links, calls)) => {
                facts.spans = Some((links, (now_ms - start_ms) as f64 / 1e3));
                facts.calls = calls;
                facts.trouble = spans.trouble();
            }
            // What the gateway counts itself is shown all the same.
            Err(problem) => facts.trouble = Some(problem.text().to_owned()),
        }
    }
    Ok(facts)
}

/// What spans between two times show: who calls whom, and some of those calls.
async fn shown(spans: &SpanStore, start_ms: u64, now_ms: u64) -> Result<(Vec<Link>, Vec<Call>), Fault> {
    let links = spans.dependencies(start_ms, now_ms).await?;
    let recent = Query {
        end_ms: now_ms.max(1),
        lookback_ms: (now_ms - start_ms).max(1),
        limit: bounds::SAMPLED_TRACES,
        ..Query::default()
    };
    // Of a service's calls, those of the latest traces tell how long they take.
    let traces = spans.search(recent).await?;
    Ok((links, aside(move || traces.into_iter().flat_map(calls_of).collect()).await?))
}

/// Whose requests each route carries.
pub(crate) fn owners(console: &Console) -> HashMap<String, Owners> {
    let mut owners = HashMap::new();
    for (plane, is_entry) in [(&console.gateway, true), (&console.calls, false)] {
        for route in &plane.table().routes {
            let services = services_of(&route.source.backend);
            owners.insert(route.id.to_string(), Owners { services, is_entry });
        }
    }
    owners
}

/// The services that a backend names, or the hosts.
pub(crate) fn services_of(backend: &Backend) -> Vec<String> {
    let name = |address: &str| {
        let host = address.split_once("://").map_or(address, |(_, host)| host);
        host.split(['/', '?']).next().unwrap_or_default().to_owned()
    };
    let mut names: Vec<String> = match backend {
        Backend::Network(address) => vec![name(address)],
        Backend::Balanced { endpoints, .. } => endpoints.iter().map(|one| name(&one.address)).collect(),
        Backend::Shunt | Backend::Loopback | Backend::Dynamic | Backend::Forward => Vec::new(),
    };
    names.sort();
    names.dedup();
    names
}

/// Makes the map of its facts.
pub(crate) fn assemble(facts: Facts) -> Map {
    let mut edges: BTreeMap<(String, String), Edge> = BTreeMap::new();
    let mut put = |from: &str, to: &str, source, flow| {
        let edge = Edge { from: from.to_owned(), to: to.to_owned(), source, flow };
        edges.entry((edge.from.clone(), edge.to.clone())).or_insert(edge);
    };
    let entered: u64 = facts.entered.values().map(|totals| totals.requests).sum();
    let left_out_share = (facts.left_out as f64 / entered.max(1) as f64).min(1.0);
    let counted = facts.entered.iter().map(|(service, totals)| {
        let flow = Flow::of(totals, facts.requests_seconds.max(1.0));
        (service, if flow.is_some() { EdgeSource::Requests } else { EdgeSource::Declared }, flow)
    });
    // Spans of some requests, with all that failed among them, say less of their number than what was counted.
    if left_out_share >= LEFT_OUT_MIN {
        for (service, source, flow) in counted.clone().filter(|(.., flow)| flow.is_some()) {
            put(GATEWAY, service, source, flow);
        }
    }
    let (links, spans_seconds) =
        facts.spans.as_ref().map_or((&[][..], 0.0), |(links, seconds)| (links, *seconds));
    let mut durations: HashMap<(&str, &str), Vec<u64>> = HashMap::new();
    for call in facts.calls.iter().filter(|call| call.duration_us > 0) {
        durations.entry((&call.caller, &call.callee)).or_default().push(call.duration_us);
    }
    for link in links {
        let mut sample = durations.remove(&(&*link.parent, &*link.child)).unwrap_or_default();
        sample.sort_unstable();
        let flow = Flow {
            rate_per_s: link.calls as f64 / spans_seconds.max(1.0),
            error_share: link.errors as f64 / link.calls.max(1) as f64,
            p50_ms: quantile_ms(&sample, 0.5),
            p99_ms: quantile_ms(&sample, 0.99),
            is_bucketed: false,
        };
        put(&link.parent, &link.child, EdgeSource::Spans, Some(flow));
    }
    for (service, source, flow) in counted {
        put(GATEWAY, service, source, flow);
    }
    for (caller, callee) in &facts.about.calls {
        put(caller, callee, EdgeSource::Declared, None);
    }
    let mut edges: Vec<Edge> = edges.into_values().collect();
    let (nodes, hidden) = nodes(&facts, &edges);
    let drawn: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    edges.retain(|edge| drawn.contains(&*edge.from) && drawn.contains(&*edge.to));
    Map {
        has_traces: facts.spans.is_some() || facts.trouble.is_some(),
        trouble: facts.trouble,
        spans_seconds,
        left_out_share,
        requests_seconds: facts.requests_seconds,
        nodes,
        edges,
        hidden,
    }
}

/// All who are named anywhere, the busiest first where there are too many, and how many those are beyond.
fn nodes(facts: &Facts, edges: &[Edge]) -> (Vec<Node>, usize) {
    let mut names: BTreeSet<&str> = facts.services.iter().map(|(name, ..)| name.as_str()).collect();
    names.extend(facts.about.outside.iter().map(String::as_str));
    names.extend(edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]));
    let mut busy: HashMap<&str, f64> = HashMap::new();
    for edge in edges {
        let rate = edge.flow.map_or(0.0, |flow| flow.rate_per_s);
        for end in [&edge.from, &edge.to] {
            *busy.entry(end).or_default() += rate;
        }
    }
    let mut nodes: Vec<Node> = names
        .into_iter()
        .map(|name| {
            let here = facts.services.iter().find(|(known, ..)| known == name);
            let kind = match here {
                _ if name == GATEWAY => NodeKind::Gateway,
                Some(_) => NodeKind::Service,
                None if facts.about.outside.iter().any(|known| known == name) => NodeKind::Outside,
                None => NodeKind::Seen,
            };
            let asked = facts.asked.get(name).and_then(|of| Flow::of(of, facts.requests_seconds.max(1.0)));
            let (state, instances) = here.map_or((None, 0), |(_, state, count)| (Some(*state), *count));
            Node { name: name.to_owned(), kind, state, instances, asked }
        })
        .collect();
    let rate = |node: &Node| busy.get(node.name.as_str()).copied().unwrap_or(0.0);
    if nodes.len() > bounds::NODES_MAX {
        nodes.sort_by(|one, other| rate(other).total_cmp(&rate(one)));
    }
    let hidden = nodes.len().saturating_sub(bounds::NODES_MAX);
    nodes.truncate(bounds::NODES_MAX);
    nodes.sort_by(|one, other| {
        (one.kind != NodeKind::Gateway, &one.name).cmp(&(other.kind != NodeKind::Gateway, &other.name))
    });
    (nodes, hidden)
}

/// Milliseconds within which such a share of sorted durations lies.
fn quantile_ms(sorted_us: &[u64], share: f64) -> Option<f64> {
    let at = (sorted_us.len() as f64 * share).ceil() as usize;
    sorted_us.get(at.saturating_sub(1)).map(|us| *us as f64 / 1e3)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    /// Facts of a small shop.
    pub(crate) fn shop() -> Facts {
        let link = |parent: &str, child: &str, calls, errors| Link {
            parent: parent.to_owned(),
            child: child.to_owned(),
            calls,
            errors,
        };
        let call = |duration_us| Call {
            caller: "web".to_owned(),
            callee: "cart".to_owned(),
            duration_us,
            is_error: false,
        };
        let counted = |requests, errors| {
            let mut totals = RouteTotals { requests, errors, ..RouteTotals::default() };
            totals.durations.buckets[3] = requests;
            totals
        };
        Facts {
            about: About {
                name: "shop".to_owned(),
                calls: vec![("web".to_owned(), "cart".to_owned()), ("cart".to_owned(), "stock".to_owned())],
                outside: vec!["stock".to_owned()],
                ..About::default()
            },
            services: vec![("web".to_owned(), State::Healthy, 1), ("cart".to_owned(), State::Unhealthy, 2)],
            spans: Some((vec![link("web", "cart", 480, 24), link("cart", "mysql", 960, 0)], 240.0)),
            calls: (1..=200).map(|nth| call(nth * 1_000)).collect(),
            entered: BTreeMap::from([
                ("web".to_owned(), counted(600, 6)),
                ("stock".to_owned(), counted(0, 0)),
            ]),
            asked: BTreeMap::from([("web".to_owned(), counted(600, 6))]),
            left_out: 0,
            requests_seconds: 60.0,
            trouble: None,
        }
    }

    fn check(facts: Facts, expected: Expect) {
        let map = assemble(facts);
        let mut text = String::new();
        for node in &map.nodes {
            _ = writeln!(text, "{} {:?} {:?} x{}", node.name, node.kind, node.state, node.instances);
        }
        for edge in &map.edges {
            let flow = edge.flow.map_or_else(String::new, |flow| {
                format!(" {}/s {} {:?} {:?}", flow.rate_per_s, flow.error_share, flow.p50_ms, flow.p99_ms)
            });
            _ = writeln!(text, "{} -> {} {:?}{flow}", edge.from, edge.to, edge.source);
        }
        _ = writeln!(text, "hidden {}", map.hidden);
        expected.assert_eq(&text);
    }

    #[test]
    fn each_edge_is_told_by_who_knows_it_best() {
        check(
            shop(),
            expect![[r#"
            gateway Gateway None x0
            cart Service Some(Unhealthy) x2
            mysql Seen None x0
            stock Outside None x0
            web Service Some(Healthy) x1
            cart -> mysql Spans 4/s 0 None None
            cart -> stock Declared
            gateway -> stock Declared
            gateway -> web Requests 10/s 0.01 Some(37.50000000000001) Some(49.75)
            web -> cart Spans 2/s 0.05 Some(100.0) Some(198.0)
            hidden 0
        "#]],
        );
    }

    #[test]
    fn what_is_counted_goes_before_spans_of_some_requests() {
        let link =
            |child: &str| Link { parent: GATEWAY.to_owned(), child: child.to_owned(), calls: 24, errors: 6 };
        let spans = || Some((vec![link("web"), link("stock")], 240.0));
        let flows = |left_out| {
            let map = assemble(Facts { spans: spans(), left_out, ..shop() });
            let edges = map.edges.into_iter().filter(|edge| edge.from == GATEWAY);
            let flows: Vec<_> = edges.map(|edge| (edge.to, edge.flow.unwrap().rate_per_s)).collect();
            (map.left_out_share, flows)
        };
        let expected = |web| vec![("stock".to_owned(), 0.1), ("web".to_owned(), web)];
        assert_eq!(flows(3), (0.005, expected(0.1)));
        assert_eq!(flows(576), (0.96, expected(10.0)));
    }

    #[test]
    fn without_spans_the_gateway_s_own_counts_are_left() {
        let facts = Facts { spans: None, calls: Vec::new(), ..shop() };
        check(
            facts,
            expect![[r#"
            gateway Gateway None x0
            cart Service Some(Unhealthy) x2
            stock Outside None x0
            web Service Some(Healthy) x1
            cart -> stock Declared
            gateway -> stock Declared
            gateway -> web Requests 10/s 0.01 Some(37.50000000000001) Some(49.75)
            web -> cart Declared
            hidden 0
        "#]],
        );
    }

    #[test]
    fn the_busiest_are_drawn_and_the_rest_is_counted() {
        let link =
            |nth: u64| Link { parent: "hub".to_owned(), child: format!("s{nth:03}"), calls: nth, errors: 0 };
        let facts = Facts { spans: Some(((1..=100).map(link).collect(), 60.0)), ..Facts::default() };
        let map = assemble(facts);
        assert_eq!(
            (map.nodes.len(), map.hidden, map.edges.len()),
            (bounds::NODES_MAX, 41, bounds::NODES_MAX - 1)
        );
        assert!(
            map.nodes.iter().any(|node| node.name == "s100")
                && map.nodes.iter().all(|node| node.name != "s001")
        );
    }

    #[test]
    fn a_backend_names_its_services() {
        let of = |text: &str| services_of(&Backend::Network(text.to_owned()));
        assert_eq!(of("service://cart"), ["cart"]);
        assert_eq!(of("https://api.example.com:8443/x"), ["api.example.com:8443"]);
        assert!(services_of(&Backend::Shunt).is_empty());
    }
}
