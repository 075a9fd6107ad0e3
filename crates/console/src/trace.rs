//! One trace as a waterfall: a tree of spans with bars along the time. Collapsing is the browser's own; a link at each
//! span zooms into its time, so that what somebody looks at has an address.

use crate::access::Viewer;
use crate::asked::{Asked, question, segment};
use crate::message::{Said, list};
use crate::pages::View;
use crate::problem::Problem;
use crate::waterfall::{Row, Waterfall, waterfall};
use crate::{Console, answer, aside, causes, traces, units};
use maud::{Markup, html};
use serde::Serialize;
use telemetry::spans::TraceKey;

/// Levels that are drawn as such; spans further down stand on the last.
const LEVELS_MAX: usize = 60;
/// Marks on the line of time.
const MARKS: u32 = 4;
/// Tags that may name a message (OpenTelemetry's semantic conventions for messaging).
const MESSAGE: &str = "messaging.message.id";
const STREAM: &str = "messaging.destination.name";

#[derive(Serialize)]
pub(crate) struct Trace {
    #[serde(flatten)]
    fall: Waterfall,
    /// The row that is zoomed into.
    zoom: Option<usize>,
    has_streams: bool,
    /// Messages whose metadata name this trace.
    messages: Vec<Said>,
}

/// The page.
pub(crate) async fn show(console: Console, asked: Asked) -> Result<Trace, Problem> {
    let Some(spans) = &console.spans else { return Err(traces::no_spans()) };
    let id = asked.name(0);
    let key = TraceKey::parse(id).map_err(|fault| {
        Problem::from(fault).hint("a trace's id is 16 or 32 digits of `0123456789abcdef`")
    })?;
    let Some(found) = spans.traces(vec![key]).await?.into_iter().next() else {
        let hint =
            "it may be too old by now, sampled out, or still on its way: spans are written once a second";
        return Err(Problem::not_found(format!("there is no trace `{id}`")).hint(hint));
    };
    let fall = aside(move || waterfall(found)).await?;
    let zoom = fall.rows.iter().position(|row| row.id == asked.text("zoom"));
    let messages = match &console.streams {
        Some(streams) if fall.start_us > 0 => {
            causes::of_trace(&streams.store, &fall.id, fall.start_us, fall.start_us + fall.duration_us)
                .await?
        }
        _ => Vec::new(),
    };
    Ok(Trace { fall, zoom, has_streams: console.streams.is_some(), messages })
}

/// The time that is drawn, in microseconds from the trace's beginning.
#[derive(Clone, Copy)]
struct Window {
    start: f64,
    length: f64,
}

impl Window {
    /// Where a time is, in percent of the width.
    fn percent(self, offset_us: f64) -> f64 {
        (offset_us - self.start) / self.length * 100.0
    }
}

impl View for Trace {
    fn title(&self) -> String {
        let first = self.fall.rows.first();
        first.map_or_else(|| "Trace".to_owned(), |row| format!("{} {}", row.service, row.name))
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        let fall = &self.fall;
        html! {
            h1 { (self.title()) }
            p {
                (units::duration(fall.duration_us as f64)) ", "
                (units::count((fall.rows.len() + fall.hidden) as u64, "span")) ", "
                @if fall.errors > 0 { span.bad { (units::count(fall.errors as u64, "error")) } ", " }
                "began " (units::time(fall.start_us))
            }
            p {
                @for (service, spans) in &fall.services {
                    span.tag { a href=(question("/traces", &[("serviceName", service)])) { (service) } " " (spans) } " "
                }
            }
            p.note {
                "Trace " code { (fall.id) } " · "
                a href=(format!("/zipkin/api/v2/trace/{}", fall.id)) { "Zipkin's JSON" }
                @if let Some(zoom) = self.zoom.and_then(|at| fall.rows.get(at)) {
                    " · zoomed into " strong { (zoom.name) } " " a href=(format!("/traces/{}", fall.id)) { "show all" }
                }
            }
            (self.notes())
            div.tree data-tree {
                (axis(self.window()))
                ul { @for row in fall.rows.iter().filter(|row| row.depth == 0) { (self.row(row)) } }
            }
           @if !self.messages.is_empty() {
                section aria-labelledby="messages-title" {
                    h2 #messages-title { "Messages of this trace" }
                    (list(&self.messages))
                }
            }
            @if fall.hidden > 0 {
                p.note { "and " (units::count(fall.hidden as u64, "span")) " more; Zipkin's JSON has all of them" }
            }
        }
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Trace {
    fn window(&self) -> Window {
        let zoom = self.zoom.and_then(|at| self.fall.rows.get(at));
        let (start, length) = match zoom {
            Some(Row { offset_us: Some(start), duration_us, .. }) => (*start, *duration_us),
            _ => (0, self.fall.duration_us),
        };
        Window { start: start as f64, length: (length as f64).max(1.0) }
    }

    /// What of the trace is not as it should be.
    fn notes(&self) -> Markup {
        let rows = &self.fall.rows;
        let missing = rows.iter().filter(|row| row.missing_parent.is_some()).count() as u64;
        let skewed = rows.iter().filter(|row| row.early_us > 0 || row.late_us > 0).count() as u64;
        html! {
            @if missing > 0 {
                p.note {
                    (units::count(missing, "span")) " belong to a parent that nobody reported (yet): each stands at \
                     the left, on its own."
                }
            }
            @if skewed > 0 {
                p.note {
                    (units::count(skewed, "span")) " do not lie within their parent, as the clocks of machines differ: \
                     each is drawn where its own clock says."
                }
            }
        }
    }

    /// A span and those below it.
    fn row(&self, row: &Row) -> Markup {
        let children: Vec<&Row> = row.children.iter().filter_map(|at| self.fall.rows.get(*at)).collect();
        let is_last_level = row.depth >= LEVELS_MAX;
        html! {
            li {
                details.span id=(anchor(row)) open[!children.is_empty()] {
                    (self.summary(row))
                    @if children.is_empty() {
                        (self.facts(row))
                    } @else {
                        details.facts { summary { "details" } (self.facts(row)) }
                        @if !is_last_level { ul { @for child in &children { (self.row(child)) } } }
                    }
                }
            }
            @if is_last_level { @for below in self.all_below(row) { li { (self.flat(below)) } } }
        }
    }

    /// All rows below one that has no level left for them.
    fn all_below(&self, row: &Row) -> Vec<&Row> {
        let at = self.fall.rows.iter().position(|other| std::ptr::eq(other, row)).unwrap_or(0);
        self.fall.rows[at + 1..].iter().take_while(|below| below.depth > row.depth).collect()
    }

    fn flat(&self, row: &Row) -> Markup {
        html! { details.span id=(anchor(row)) { (self.summary(row)) (self.facts(row)) } }
    }

    fn summary(&self, row: &Row) -> Markup {
        let window = self.window();
        html! {
            summary .failed[row.is_error] {
                span.who {
                    strong { @if row.service.is_empty() { "(no service)" } @else { (row.service) } }
                    " " (row.name)
                    @if row.is_error { " " span.tag.bad { "error" } }
                    @if row.missing_parent.is_some() { " " span.tag.busy { "parent missing" } }
                    @if row.early_us > 0 || row.late_us > 0 { " " span.tag.busy { "clock" } }
                    @if row.is_circular { " " span.tag.busy { "circle" } }
                }
                (bar(row, window))
                span.long { @if row.duration_us > 0 { (units::duration(row.duration_us as f64)) } @else { "–" } }
            }
        }
    }

    fn facts(&self, row: &Row) -> Markup {
        html! {
            div.facts {
                p {
                    @if let Some(kind) = row.kind { (kind.to_lowercase()) " " }
                    @if !row.remote.is_empty() { "of a call with " strong { (row.remote) } " " }
                    @match row.offset_us {
                        Some(offset) => { "begins at " (units::duration(offset as f64)) },
                        None => "does not say when it began",
                    }
                    @if !row.address.is_empty() { " on " code { (row.address) } }
                    " · span " code { (row.id) }
                    @if row.offset_us.is_some() && row.duration_us > 0 {
                        " · " a href=(format!("/traces/{}?zoom={}", self.fall.id, row.id)) { "zoom into its time" }
                    }
                }
                @if let Some(parent) = &row.missing_parent {
                    p.note { "Its parent " code { (parent) } " was never reported: sampled out there, lost, or on its way." }
                }
                @if row.early_us > 0 {
                    p.note { "It begins " (units::duration(row.early_us as f64)) " before its parent, by its own clock." }
                }
                @if row.late_us > 0 {
                    p.note { "It ends " (units::duration(row.late_us as f64)) " after the client that called it, by its own clock." }
                }
                @if row.is_circular { p.note { "Its parents lead back to itself." } }
                @if !row.annotations.is_empty() {
                    table { caption { "Annotations" } tbody {
                        @for (offset, value) in &row.annotations {
                            tr { td.number { (signed(*offset)) } td { (value) } }
                        }
                    } }
                }
                @if !row.tags.is_empty() {
                    table { caption { "Tags" } tbody {
                        @for (key, value) in &row.tags {
                            tr { th scope="row" { (key) } td.mono { (self.value(key, value)) } }
                        }
                    } }
                }
            }
        }
    }

    /// The value of a tag; one that names a message or a stream leads there.
    fn value(&self, key: &str, value: &str) -> Markup {
        let link = match key {
            MESSAGE if self.has_streams => Some(format!("/messages/{}", segment(value))),
            STREAM if self.has_streams => Some(format!("/streams/{}", segment(value))),
            _ => None,
        };
        html! { @match link { Some(link) => a href=(link) { (value) }, None => (value) } }
    }
}

/// Where a row is found on its page; both sides of a shared span have the same id.
fn anchor(row: &Row) -> String {
    format!("s{}{}", row.id, if row.kind == Some("SERVER") { "s" } else { "" })
}

fn signed(us: i64) -> String {
    let text = units::duration(us.unsigned_abs() as f64);
    if us < 0 { format!("-{text}") } else { text }
}

/// A bar along the time; what lies outside of the window has none.
fn bar(row: &Row, window: Window) -> Markup {
    let Some(offset) = row.offset_us else { return html! { svg.bar aria-hidden="true" {} } };
    let start = window.percent(offset as f64).clamp(0.0, 100.0);
    let end = window.percent((offset + row.duration_us) as f64).clamp(0.0, 100.0);
    let is_seen =
        window.percent(offset as f64) <= 100.0 && window.percent((offset + row.duration_us) as f64) >= 0.0;
    let marks = row.annotations.iter().map(|(offset, _)| window.percent(*offset as f64));
    html! {
        svg.bar aria-hidden="true" {
            @if is_seen {
                rect.length .failed[row.is_error] x=(percent(start)) width=(percent((end - start).max(0.2))) y="3" height="10" {}
                @for mark in marks.filter(|mark| (0.0..=100.0).contains(mark)) {
                    rect.mark x=(percent(mark)) width="2" y="1" height="14" {}
                }
            }
        }
    }
}

fn percent(percent: f64) -> String {
    format!("{percent:.2}%")
}

fn axis(window: Window) -> Markup {
    html! {
        div.axis aria-hidden="true" {
            svg.bar {
                @for mark in 0..=MARKS {
                    @let share = f64::from(mark) / f64::from(MARKS);
                    text x=(percent(share * 100.0)) y="12"
                        text-anchor=(if mark == 0 { "start" } else if mark == MARKS { "end" } else { "middle" }) {
                        (units::duration(window.start + share * window.length))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waterfall::tests::span;
    use expect_test::expect;
    use telemetry::spans::Annotation;

    fn trace(zoom: Option<usize>) -> Trace {
        let mut failed = span(2, 1, "cart", "<get>", 1_000_500, 250);
        failed.tags = vec![("error".into(), "boom".into()), (MESSAGE.into(), "a b".into())];
        failed.annotations = vec![Annotation { timestamp_us: 1_000_600, value: "retry".into() }];
        let fall = waterfall(vec![span(1, 0, "web", "get /", 1_000_000, 1_000), failed]);
        Trace { fall, zoom, has_streams: true, messages: Vec::new() }
    }

    #[test]
    fn a_span_tells_all_that_was_reported() {
        let trace = trace(None);
        expect![[r#"<li><details class="span" id="s0000000000000002"><summary class="failed"><span class="who"><strong>cart</strong> &lt;get&gt; <span class="tag bad">error</span></span><svg class="bar" aria-hidden="true"><rect class="length failed" x="50.00%" width="25.00%" y="3" height="10"></rect><rect class="mark" x="60.00%" width="2" y="1" height="14"></rect></svg><span class="long">250 µs</span></summary><div class="facts"><p>begins at 500 µs · span <code>0000000000000002</code> · <a href="/traces/0000000000000001?zoom=0000000000000002">zoom into its time</a></p><table><caption>Annotations</caption><tbody><tr><td class="number">600 µs</td><td>retry</td></tr></tbody></table><table><caption>Tags</caption><tbody><tr><th scope="row">error</th><td class="mono">boom</td></tr><tr><th scope="row">messaging.message.id</th><td class="mono"><a href="/messages/a%20b">a b</a></td></tr></tbody></table></div></details></li>"#]].assert_eq(&trace.row(&trace.fall.rows[1]).into_string());
    }

    #[test]
    fn zooming_stretches_the_time_of_a_span() {
        let trace = trace(Some(1));
        let bars: Vec<String> =
            trace.fall.rows.iter().map(|row| bar(row, trace.window()).into_string()).collect();
        expect![[r#"
            <svg class="bar" aria-hidden="true"><rect class="length" x="0.00%" width="100.00%" y="3" height="10"></rect></svg>
            <svg class="bar" aria-hidden="true"><rect class="length failed" x="0.00%" width="100.00%" y="3" height="10"></rect><rect class="mark" x="40.00%" width="2" y="1" height="14"></rect></svg>"#]].assert_eq(&bars.join("\n"));
    }

    #[test]
    fn a_deep_chain_is_drawn_to_its_end() {
        let chain = (1..=500).map(|id| span(id, id - 1, "a", "x", 1_000 + id, 1)).collect();
        let trace = Trace { fall: waterfall(chain), zoom: None, has_streams: false, messages: Vec::new() };
        let text = trace.body(&Viewer::default()).into_string();
        assert_eq!(text.matches("<details class=\"span\"").count(), 500);
        assert!(text.contains("s00000000000001f4"));
    }
}
