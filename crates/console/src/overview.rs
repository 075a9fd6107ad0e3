//! The overview: the service map drawn as SVG, and the same as a table for who can't see it or wants the numbers.

use crate::access::Viewer;
use crate::asked::{question, segment};
use crate::layout::{Sizes, Spot, layered};
use crate::map::{self, Edge, EdgeSource, Flow, LEFT_OUT_MIN, Map, Node, NodeKind};
use crate::pages::View;
use crate::problem::Problem;
use crate::{Console, answer, units};
use base::Kind;
use control::State;
use maud::{Markup, html};
use std::fmt::Write as _;
use std::sync::Arc;

const SIZES: Sizes = Sizes { node_width: 172.0, node_height: 58.0, gap_x: 150.0, gap_y: 34.0 };
/// Around the drawing.
const MARGIN: f64 = 12.0;
/// A drawing of this width is still read when it is made as small as a window.
const FITS_MAX: f64 = 1_700.0;
/// How far below its place a line that goes back is drawn.
const BACK_LINE: f64 = 12.0;
/// The same for the words about it.
const BACK_WORDS: f64 = 38.0;
/// Letters of a name that fit into a node.
const NAME_LETTERS: usize = 19;
/// From here on an edge or node is shown as one that fails.
const FAILING: f64 = 0.01;

pub(crate) struct Overview {
    map: Arc<Map>,
}

/// The page.
pub(crate) async fn show(console: Console) -> Result<Overview, Problem> {
    Ok(Overview { map: map::now(&console).await? })
}

impl View for Overview {
    fn title(&self) -> String {
        "Overview".to_owned()
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { "Overview" }
            @if self.map.nodes.is_empty() {
                p.empty {
                    "Nothing runs here and nothing has called yet. Services come from " code { "services:" }
                    " in the manifest; " code { "tombolo init" } " writes a first one."
                }
            }
            @if !self.map.has_traces {
                p.note {
                    "Who calls whom between services is known from spans. With " code { "traces: {}" }
                    " in the manifest they are taken on port 9411 (Zipkin) and 4317/4318 (OpenTelemetry), and each \
                     line gets its rate, errors and durations. Until then the map has what the gateway counts \
                     itself and what the manifest declares."
                }
            }
            (trouble(&self.map))
            section aria-labelledby="map-title" {
                h2 #map-title { "Service map" }
                div.scroll tabindex="0" role="region" aria-label="Service map, drawn" { (drawing(&self.map)) }
                p.legend {
                    span.key.spans { "spans show it" } " " span.key.requests { "the gateway counted it" } " "
                    span.key.declared { "declared, not called lately" }
                }
            }
            section aria-labelledby="calls-title" {
                h2 #calls-title { "Calls" }
                (calls(&self.map))
            }
        }
    }

    fn live(&self, _viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("trouble", trouble(&self.map)), ("map", drawing(&self.map)), ("calls", calls(&self.map))]
    }

    fn json(&self) -> String {
        answer::json_of(&*self.map)
    }
}

/// What is the matter with spans.
fn trouble(map: &Map) -> Markup {
    let told = map.trouble.as_deref().map(|trouble| {
        Problem::new(Kind::Unavailable, format!("spans are not kept or not shown now: {trouble}"))
            .hint("until they are, the map has what the gateway counts itself; spans that come in wait")
    });
    html! { div #trouble { @if let Some(told) = told { (told.render()) } } }
}

/// Where a node leads to: what is known of the service.
fn address(node: &Node) -> String {
    match node.kind {
        NodeKind::Gateway => "/routes".to_owned(),
        NodeKind::Service => format!("/services/{}", segment(&node.name)),
        NodeKind::Outside | NodeKind::Seen => question("/traces", &[("serviceName", &node.name)]),
    }
}

fn drawing(map: &Map) -> Markup {
    let number = |name: &str| map.nodes.iter().position(|node| node.name == name);
    let ends: Vec<(usize, usize)> =
        map.edges.iter().filter_map(|edge| Some((number(&edge.from)?, number(&edge.to)?))).collect();
    let layout = layered(map.nodes.len(), &ends, SIZES);
    let (width, height) = (layout.width + 2.0 * MARGIN, layout.height + 2.0 * MARGIN);
    let spoken = format!(
        "{}, {} between them; the table below has the same",
        units::count(map.nodes.len() as u64, "service"),
        units::count(map.edges.len() as u64, "kind of call").replace("kind of calls", "kinds of calls"),
    );
    html! {
        div #map {
            svg.map .fits[width <= FITS_MAX] viewBox=(format!("{} {} {width} {height}", -MARGIN, -MARGIN)) width=(width) height=(height)
                role="group" aria-label=(spoken) {
                defs {
                    marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
                        markerUnits="userSpaceOnUse" orient="auto" { path.head d="M0 0 L8 4 L0 8 z" {} }
                }
                @for (edge, line) in map.edges.iter().zip(&layout.lines) { (drawn_line(edge, line)) }
                // Behind all lines, so that none goes through them.
                @for (edge, line) in map.edges.iter().zip(&layout.lines) { (drawn_words(edge, line)) }
                @for (node, spot) in map.nodes.iter().zip(&layout.nodes) { (drawn_node(node, *spot)) }
            }
            @if map.hidden > 0 {
                p.note { "and " (units::count(map.hidden as u64, "service")) " with fewer calls" }
            }
        }
    }
}

/// How much goes along, as one of five widths.
fn width(flow: Option<Flow>) -> usize {
    let rate = flow.map_or(0.0, |flow| flow.rate_per_s);
    [0.1, 1.0, 10.0, 100.0].iter().filter(|bound| rate >= **bound).count()
}

fn failing(flow: Option<Flow>) -> &'static str {
    if flow.is_some_and(|flow| flow.error_share >= FAILING) { " failing" } else { "" }
}

/// A duration of a flow, as exactly as it is known.
pub(crate) fn latency(flow: Flow, ms: Option<f64>) -> String {
    if flow.is_bucketed { units::bucketed(ms) } else { units::ms(ms) }
}

fn class(edge: &Edge) -> String {
    format!("edge {} w{}{}", source_class(edge.source), width(edge.flow), failing(edge.flow))
}

fn drawn_line(edge: &Edge, line: &[Spot]) -> Markup {
    html! { g class=(class(edge)) { path d=(curve(line)) marker-end="url(#arrow)" {} } }
}

fn drawn_words(edge: &Edge, line: &[Spot]) -> Markup {
    html! {
        @if let (Some(flow), Some(spot)) = (edge.flow, middle(line)) {
            g class=(class(edge)) {
                text x=(round(spot.x)) y=(round(spot.y - 5.0)) {
                    (units::rate(flow.rate_per_s))
                    @if flow.error_share > 0.0 { tspan.bad { " " (units::share(flow.error_share)) " err" } }
                }
                text.small x=(round(spot.x)) y=(round(spot.y + 12.0)) {
                    (latency(flow, flow.p50_ms)) " / " (latency(flow, flow.p99_ms))
                }
            }
        }
    }
}

fn drawn_node(node: &Node, spot: Spot) -> Markup {
    let (x, y) = (spot.x - SIZES.node_width / 2.0, spot.y - SIZES.node_height / 2.0);
    let name = shortened(&node.name);
    let (class, said) = match (node.kind, node.state) {
        (NodeKind::Gateway, _) => ("gateway", "gateway".to_owned()),
        (NodeKind::Outside, _) => ("outside", "runs elsewhere".to_owned()),
        (NodeKind::Service, Some(state)) if node.instances > 1 => {
            (state_class(state), format!("{state}, {} instances", node.instances))
        }
        (NodeKind::Service, Some(state)) => (state_class(state), state.to_string()),
        (NodeKind::Service, None) | (NodeKind::Seen, _) => ("seen", "seen in traffic".to_owned()),
    };
    html! {
        a href=(address(node)) {
            g class=(format!("node {class}{}", failing(node.asked))) {
                title { (node.name) }
                rect x=(round(x)) y=(round(y)) width=(SIZES.node_width) height=(SIZES.node_height) rx="8" {}
                circle cx=(round(x + 16.0)) cy=(round(y + 18.0)) r="5" {}
                text x=(round(x + 28.0)) y=(round(y + 23.0)) { (name) }
                text.small x=(round(x + 14.0)) y=(round(y + 44.0)) {
                    @match node.asked {
                        Some(flow) => {
                            (units::rate(flow.rate_per_s))
                            @if flow.error_share > 0.0 { tspan.bad { " " (units::share(flow.error_share)) " err" } }
                            " p99 " (latency(flow, flow.p99_ms))
                        }
                        None => (said),
                    }
                }
            }
        }
    }
}

/// A colour for how a service does, by name.
pub(crate) fn state_class(state: State) -> &'static str {
    match state {
        State::Healthy | State::Done => "good",
        State::Waiting | State::Building | State::Starting | State::Stopping | State::Stopped => "busy",
        State::Backoff | State::Unhealthy | State::BuildFailed | State::Failed | State::CrashLooped => "bad",
    }
}

fn source_class(source: EdgeSource) -> &'static str {
    match source {
        EdgeSource::Spans => "spans",
        EdgeSource::Requests => "requests",
        EdgeSource::Declared => "declared",
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_LETTERS {
        return name.to_owned();
    }
    name.chars().take(NAME_LETTERS - 1).chain(['…']).collect()
}

/// To a tenth: a drawing needs no more.
fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Whether a line goes back, to who calls.
fn goes_back(line: &[Spot]) -> bool {
    line.first().zip(line.last()).is_some_and(|(first, last)| first.x > last.x)
}

/// A line through its points, level at each. One that goes back keeps apart from one that comes.
fn curve(line: &[Spot]) -> String {
    let aside = if goes_back(line) { BACK_LINE } else { 0.0 };
    let line: Vec<Spot> = line.iter().map(|spot| Spot { x: spot.x, y: spot.y + aside }).collect();
    let mut path = String::new();
    for pair in line.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let middle = round(f64::midpoint(from.x, to.x));
        if path.is_empty() {
            _ = write!(path, "M{} {}", round(from.x), round(from.y));
        }
        let (y, to_x, to_y) = (round(from.y), round(to.x), round(to.y));
        _ = write!(path, " C{middle} {y} {middle} {to_y} {to_x} {to_y}");
    }
    path
}

/// Where words about a line stand: the middle of its first part, or where it goes level through a column.
fn middle(line: &[Spot]) -> Option<Spot> {
    let part = if line.len() > 2 { &line[1..] } else { line };
    let (from, to) = (part.first()?, part.get(1)?);
    let aside = if goes_back(line) { BACK_WORDS } else { 0.0 };
    Some(Spot { x: f64::midpoint(from.x, to.x), y: f64::midpoint(from.y, to.y) + aside })
}

fn calls(map: &Map) -> Markup {
    html! {
        div #calls {
            @if map.edges.is_empty() {
                p.empty { "No calls are declared, and none were seen in the last minutes." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Calls, as a table" {
                    table {
                        thead { tr {
                            th scope="col" { "From" } th scope="col" { "To" } th.number scope="col" { "Rate" }
                            th.number scope="col" { "Errors" } th.number scope="col" { "p50" }
                            th.number scope="col" { "p99" } th scope="col" { "Known from" }
                        } }
                        tbody { @for edge in &map.edges { (row(map, edge)) } }
                    }
                }
                p.note {
                    @if map.spans_seconds > 0.0 {
                        "Spans: the last " (units::duration(map.spans_seconds * 1e6)) "; durations of the latest \
                         traces among them. "
                    }
                    @if map.has_traces && map.left_out_share >= LEFT_OUT_MIN {
                        "Of the requests some " (units::share(map.left_out_share)) " are not recorded (" code { "sample" }
                        " in the manifest): what spans show between services counts the others and those that failed. "
                    }
                    "Gateway: the last " (units::duration(map.requests_seconds * 1e6)) ", durations between the \
                     bounds of their buckets."
                }
            }
        }
    }
}

fn row(map: &Map, edge: &Edge) -> Markup {
    let name = |name: &str| match map.nodes.iter().find(|node| node.name == name) {
        Some(node) => html! { a href=(address(node)) { (name) } },
        None => html! { (name) },
    };
    html! {
        tr {
            td { (name(&edge.from)) }
            td { (name(&edge.to)) }
            @match edge.flow {
                Some(flow) => {
                    td.number { (units::rate(flow.rate_per_s)) }
                    td.number .bad[flow.error_share >= FAILING] { (units::share(flow.error_share)) }
                    td.number { (latency(flow, flow.p50_ms)) }
                    td.number { (latency(flow, flow.p99_ms)) }
                }
                None => { td.number { "–" } td.number { "–" } td.number { "–" } td.number { "–" } }
            }
            td {
                @match edge.source {
                    EdgeSource::Spans => {
                        a href=(question("/traces", &[("serviceName", &edge.to)])) { "spans" }
                    }
                    EdgeSource::Requests => "the gateway",
                    EdgeSource::Declared => "declared",
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::assemble;
    use crate::map::tests::shop;
    use expect_test::expect;

    #[test]
    fn two_that_call_each_other_have_words_that_can_be_read() {
        let there = [Spot { x: 0.0, y: 50.0 }, Spot { x: 100.0, y: 20.0 }];
        let back = [there[1], there[0]];
        let (one, other) = (middle(&there).unwrap(), middle(&back).unwrap());
        // Two lines of words, and a gap.
        assert!(other.y - one.y > 34.0, "{one:?} {other:?}");
        assert_eq!(
            (curve(&there), curve(&back)),
            ("M0 50 C50 50 50 20 100 20".into(), "M100 32 C50 32 50 62 0 62".into())
        );
    }

    #[test]
    fn a_name_is_never_markup() {
        let mut facts = shop();
        facts.services[0].0 = "<script>alert(1)</script>&\"'".to_owned();
        let overview = Overview { map: Arc::new(assemble(facts)) };
        let text = overview.body(&Viewer::default()).into_string();
        assert!(!text.contains("<script") && !text.contains("\"'\""), "{text}");
        assert!(text.contains("&lt;script&gt;"));
    }

    #[test]
    fn an_edge_tells_its_rate_errors_and_durations() {
        let map = assemble(shop());
        let edge = map.edges.iter().find(|edge| edge.from == "web").unwrap();
        let line = [Spot { x: 0.0, y: 0.0 }, Spot { x: 100.0, y: 40.0 }];
        expect![[r#"<g class="edge spans w2 failing"><text x="50" y="15">2.0/s<tspan class="bad"> 5.0% err</tspan></text><text class="small" x="50" y="32">100 ms / 198 ms</text></g>"#]].assert_eq(&drawn_words(edge, &line).into_string());
        expect![[r#"<tr><td><a href="/services/web">web</a></td><td><a href="/services/cart">cart</a></td><td class="number">2.0/s</td><td class="number bad">5.0%</td><td class="number">100 ms</td><td class="number">198 ms</td><td><a href="/traces?serviceName=cart">spans</a></td></tr>"#]].assert_eq(&row(&map, edge).into_string());
    }

    #[test]
    fn a_node_tells_its_state_and_links_to_its_page() {
        let map = assemble(shop());
        let cart = map.nodes.iter().find(|node| node.name == "cart").unwrap();
        expect![[r#"<a href="/services/cart"><g class="node bad"><title>cart</title><rect x="0" y="0" width="172" height="58" rx="8"></rect><circle cx="16" cy="18" r="5"></circle><text x="28" y="23">cart</text><text class="small" x="14" y="44">unhealthy, 2 instances</text></g></a>"#]].assert_eq(&drawn_node(cart, Spot { x: 86.0, y: 29.0 }).into_string());
    }

    #[test]
    fn an_empty_manifest_is_told_how_to_begin() {
        let overview = Overview { map: Arc::new(assemble(map::Facts::default())) };
        let text = overview.body(&Viewer::default()).into_string();
        assert!(text.contains("tombolo init") && text.contains("traces: {}"), "{text}");
    }
}
