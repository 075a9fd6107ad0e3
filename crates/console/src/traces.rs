//! Traces that are looked for, with all that Zipkin's query has and under the same names, and what was found: one line
//! each, with a bar for how long it took.

use crate::access::Viewer;
use crate::asked::{Asked, Form, segment};
use crate::pages::View;
use crate::problem::Problem;
use crate::waterfall::services;
use crate::{Console, answer, aside, ask_spans, units};
use base::{Fault, Kind};
use maud::{Markup, html};
use serde::Serialize;
use telemetry::spans::{Query, Span, SpanStore, TraceKey, merged, parse_annotations};

/// Traces of a page if nobody says how many, and at most.
const LIMIT: usize = 20;
const LIMIT_MAX: usize = 1_000;
/// How far back is looked if nobody says.
const LOOKBACK_MS: u64 = 3_600_000;
/// Names that a field offers.
const OFFERED_MAX: usize = 1_000;
/// The choices of how far back.
const LOOKBACKS: [(u64, &str); 7] = [
    (300_000, "5 minutes"),
    (900_000, "15 minutes"),
    (3_600_000, "1 hour"),
    (21_600_000, "6 hours"),
    (86_400_000, "1 day"),
    (604_800_000, "7 days"),
    (2_592_000_000, "30 days"),
];

/// The fields of the form, as they were filled.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Filled {
    service_name: String,
    remote_service_name: String,
    span_name: String,
    annotation_query: String,
    min_duration: String,
    max_duration: String,
    end_ts: String,
    lookback: u64,
    limit: usize,
    trace_id: String,
}

#[derive(Serialize)]
pub(crate) struct Traces {
    asked: Filled,
    /// Whether spans are taken at all.
    is_on: bool,
    #[serde(rename = "traces")]
    found: Vec<Found>,
    #[serde(skip)]
    problem: Option<Problem>,
    #[serde(skip)]
    offered: Offered,
}

/// Names for the fields.
#[derive(Default)]
struct Offered {
    services: Vec<String>,
    names: Vec<String>,
    remotes: Vec<String>,
}

/// A trace in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Found {
    id: String,
    service: String,
    name: String,
    start_us: u64,
    duration_us: u64,
    spans: usize,
    errors: usize,
    services: Vec<(String, usize)>,
}

/// What is said where no spans are taken.
pub(crate) fn no_spans() -> Problem {
    Problem::new(Kind::NotFound, "no spans are taken here").hint(
        "with `traces: {}` in the manifest they are, on port 9411 (Zipkin) and 4317/4318 (OpenTelemetry)",
    )
}

/// The page.
pub(crate) async fn show(console: Console, asked: Asked) -> Result<Traces, Problem> {
    let filled = filled(&asked);
    let mut page = Traces {
        is_on: console.spans.is_some(),
        asked: filled.clone().unwrap_or_default(),
        found: Vec::new(),
        problem: None,
        offered: Offered::default(),
    };
    let Some(spans) = &console.spans else {
        return if asked.form == Form::Json { Err(no_spans()) } else { Ok(page) };
    };
    let now_ms = console.clock.unix().micros() / 1_000;
    let found = match filled.and_then(|filled| wanted(&filled, now_ms)) {
        Ok(Wanted::Id(key)) => ask_spans(spans, spans.traces(vec![key])).await,
        Ok(Wanted::Query(query)) => ask_spans(spans, spans.search(query)).await,
        Err(problem) => Err(problem),
    };
    match found {
        Ok(traces) => page.found = aside(move || traces.into_iter().map(one).collect()).await?,
        // The form stays, so that what was wrong can be put right.
        Err(problem) if asked.form == Form::Page => page.problem = Some(problem),
        Err(problem) => return Err(problem),
    }
    if asked.form == Form::Page {
        // A form without its choices is one all the same.
        match ask_spans(spans, offered(spans, &page.asked.service_name)).await {
            Ok(offered) => page.offered = offered,
            Err(problem) => _ = page.problem.get_or_insert(problem),
        }
    }
    Ok(page)
}

async fn offered(spans: &SpanStore, service: &str) -> Result<Offered, Fault> {
    let some = |names: std::collections::BTreeSet<String>| names.into_iter().take(OFFERED_MAX).collect();
    let mut offered = Offered { services: some(spans.services().await?), ..Offered::default() };
    if !service.is_empty() {
        offered.names = some(spans.span_names(service).await?);
        offered.remotes = some(spans.remote_services(service).await?);
    }
    Ok(offered)
}

fn filled(asked: &Asked) -> Result<Filled, Problem> {
    let text = |name: &str| asked.text(name).to_owned();
    Ok(Filled {
        service_name: text("serviceName"),
        remote_service_name: text("remoteServiceName"),
        span_name: text("spanName"),
        annotation_query: text("annotationQuery"),
        min_duration: text("minDuration"),
        max_duration: text("maxDuration"),
        end_ts: text("endTs"),
        lookback: asked.number("lookback")?.unwrap_or(LOOKBACK_MS),
        limit: asked.number::<usize>("limit")?.unwrap_or(LIMIT).min(LIMIT_MAX),
        trace_id: text("traceId"),
    })
}

#[derive(Debug)]
enum Wanted {
    Id(TraceKey),
    Query(Query),
}

fn wanted(filled: &Filled, now_ms: u64) -> Result<Wanted, Problem> {
    if !filled.trace_id.is_empty() {
        return Ok(Wanted::Id(TraceKey::parse(&filled.trace_id.to_lowercase())?));
    }
    let end_ms = match filled.end_ts.as_str() {
        "" => now_ms,
        text => match (text.parse(), text.parse::<jiff::Timestamp>()) {
            (Ok(ms), _) => ms,
            (_, Ok(time)) => time.as_millisecond().try_into().unwrap_or(0),
            _ => {
                return Err(Problem::invalid(format!("`endTs` is `{text}`, which is no time"))
                    .hint("write it like 2026-12-24T18:00:00Z, or in milliseconds since 1970"));
            }
        },
    };
    let query = Query {
        service: filled.service_name.clone(),
        remote: filled.remote_service_name.clone(),
        name: filled.span_name.clone(),
        annotations: parse_annotations(&filled.annotation_query),
        duration_us_min: duration_us("minDuration", &filled.min_duration)?,
        duration_us_max: duration_us("maxDuration", &filled.max_duration)?,
        end_ms,
        lookback_ms: filled.lookback,
        limit: filled.limit,
    };
    Ok(Wanted::Query(query.check()?))
}

/// Reads `250ms`, or microseconds as Zipkin has them.
fn duration_us(name: &str, text: &str) -> Result<Option<u64>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(us) = text.parse() {
        return Ok(Some(us));
    }
    let read = base::parse_duration(text).map_err(|why| {
        Problem::invalid(format!("`{name}` is `{text}`: {why}"))
            .hint("write it like `250ms` or `1.5s`, or in microseconds")
    })?;
    Ok(Some(u64::try_from(read.as_micros()).unwrap_or(u64::MAX)))
}

/// What a list tells of a trace.
fn one(reported: Vec<Span>) -> Found {
    let spans = merged(reported);
    let times = spans.iter().filter(|span| span.timestamp_us != 0);
    let start_us = times.clone().map(|span| span.timestamp_us).min().unwrap_or(0);
    let end_us = times.clone().map(|span| span.timestamp_us + span.duration_us).max().unwrap_or(0);
    let first = spans.iter().find(|span| span.parent == 0 && !span.shared);
    let first = first.or_else(|| times.min_by_key(|span| span.timestamp_us)).or(spans.first());
    Found {
        id: first.map(|span| span.trace.to_string()).unwrap_or_default(),
        service: first.map(|span| span.local.service.clone()).unwrap_or_default(),
        name: first.map(|span| span.name.clone()).unwrap_or_default(),
        start_us,
        duration_us: end_us - start_us,
        spans: spans.len(),
        errors: spans.iter().filter(|span| span.is_error()).count(),
        services: services(&spans),
    }
}

impl View for Traces {
    fn title(&self) -> String {
        "Traces".to_owned()
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { "Traces" }
            @if self.is_on {
                (self.form())
                @if let Some(problem) = &self.problem { (problem.render()) } @else { (self.list()) }
            } @else {
                div.empty {
                    p { "No spans are taken here. With these lines in the manifest they are:" }
                    pre { "traces: {}" }
                    p {
                        "Clients of Zipkin then send to port 9411, those of OpenTelemetry to 4317 (gRPC) or 4318 \
                         (HTTP); each request through the gateway can be followed here."
                    }
                }
            }
        }
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Traces {
    fn form(&self) -> Markup {
        let Filled { service_name, remote_service_name, span_name, annotation_query, .. } = &self.asked;
        let has_chosen = |choice: &str| *service_name == choice;
        let is_strange = !service_name.is_empty() && !self.offered.services.contains(service_name);
        html! {
            form.ask action="/traces" method="get" {
                label { "Service"
                    select name="serviceName" {
                        option value="" { "any" }
                        @if is_strange { option value=(service_name) selected { (service_name) } }
                        @for name in &self.offered.services {
                            option value=(name) selected[has_chosen(name)] { (name) }
                        }
                    }
                }
                label { "Span" input name="spanName" value=(span_name) list="names" placeholder="any"; }
                datalist #names { @for name in &self.offered.names { option value=(name) {} } }
                label { "Other side" input name="remoteServiceName" value=(remote_service_name) list="remotes" placeholder="any"; }
                datalist #remotes { @for name in &self.offered.remotes { option value=(name) {} } }
                label.wide { "Tags and annotations"
                    input name="annotationQuery" value=(annotation_query) placeholder="error and http.method=GET";
                }
                label { "At least" input name="minDuration" value=(self.asked.min_duration) size="7" placeholder="100ms"; }
                label { "At most" input name="maxDuration" value=(self.asked.max_duration) size="7" placeholder="2s"; }
                label { "Within"
                    select name="lookback" {
                        @if LOOKBACKS.iter().all(|(ms, _)| *ms != self.asked.lookback) && self.asked.lookback > 0 {
                            option value=(self.asked.lookback) selected { (self.asked.lookback) " ms" }
                        }
                        @for (ms, label) in LOOKBACKS {
                            option value=(ms) selected[ms == self.asked.lookback] { (label) }
                        }
                    }
                }
                label { "Before" input name="endTs" value=(self.asked.end_ts) placeholder="now" size="16"; }
                label { "Traces" input name="limit" value=(self.asked.limit) inputmode="numeric" size="4"; }
                label { "Or by its id" input name="traceId" value=(self.asked.trace_id) size="18" spellcheck="false"; }
                button type="submit" { "Find" }
            }
        }
    }

    fn list(&self) -> Markup {
        let longest = self.found.iter().map(|trace| trace.duration_us).max().unwrap_or(0).max(1);
        html! {
            @if self.found.is_empty() {
                @if self.offered.services.is_empty() {
                    p.empty {
                        "No spans have come in yet. Send some to " code { "http://127.0.0.1:9411/api/v2/spans" }
                        " (Zipkin) or " code { "http://127.0.0.1:4318/v1/traces" } " (OpenTelemetry); the guide "
                        "docs/guides/traces.md has examples for several languages."
                    }
                } @else {
                    p.empty { "No trace is like that. Look further back, or ask for less." }
                }
            } @else {
                h2 { (units::count(self.found.len() as u64, "trace")) ", the latest first" }
                ol.found { @for trace in &self.found { (line(trace, longest)) } }
            }
        }
    }
}

fn line(trace: &Found, longest: u64) -> Markup {
    let share = trace.duration_us as f64 / longest as f64 * 100.0;
    html! {
        li .failed[trace.errors > 0] {
            div.head {
                a href=(format!("/traces/{}", segment(&trace.id))) {
                    strong { @if trace.service.is_empty() { "(no service)" } @else { (trace.service) } }
                    " " @if trace.name.is_empty() { "(no name)" } @else { (trace.name) }
                }
                span.number { (units::duration(trace.duration_us as f64)) }
            }
            svg.bar aria-hidden="true" {
                rect.length .failed[trace.errors > 0] x="0" y="3" height="10" width=(format!("{:.2}%", share.max(0.2))) {}
            }
            div.foot {
                (units::time(trace.start_us)) " · " (units::count(trace.spans as u64, "span"))
                @if trace.errors > 0 { " · " span.tag.bad { (units::count(trace.errors as u64, "error")) } }
                @for (service, spans) in &trace.services { " " span.tag { (service) " " (spans) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waterfall::tests::span;
    use expect_test::expect;

    #[test]
    fn durations_are_read_as_people_and_as_zipkin_write_them() {
        assert_eq!(duration_us("minDuration", "250ms").unwrap(), Some(250_000));
        assert_eq!(duration_us("minDuration", "1500").unwrap(), Some(1_500));
        assert_eq!(duration_us("minDuration", "").unwrap(), None);
        assert!(duration_us("minDuration", "soon").is_err());
    }

    #[test]
    fn a_question_is_that_of_zipkin_s_api() {
        let filled = Filled {
            service_name: "Web".into(),
            annotation_query: "error and a=b".into(),
            min_duration: "1ms".into(),
            end_ts: "1970-01-01T00:01:00Z".into(),
            lookback: 5,
            limit: 3,
            ..Filled::default()
        };
        let Ok(Wanted::Query(query)) = wanted(&filled, 9) else { panic!("it makes sense") };
        assert_eq!(
            (query.service.as_str(), query.end_ms, query.lookback_ms, query.limit),
            ("web", 60_000, 5, 3)
        );
        assert_eq!((query.duration_us_min, query.annotations.len()), (Some(1_000), 2));
        let late = Filled { end_ts: "tomorrow".into(), ..filled.clone() };
        assert!(wanted(&late, 9).is_err());
        let wrong = Filled { min_duration: String::new(), max_duration: "1s".into(), ..filled };
        assert!(wanted(&wrong, 9).is_err());
    }

    #[test]
    fn a_trace_in_a_list_is_told_by_its_first_span() {
        let mut failed = span(2, 1, "cart", "get", 1_500, 3_000);
        failed.tags = vec![("error".into(), String::new())];
        let found = one(vec![failed, span(1, 0, "web", "get /", 1_000, 2_000)]);
        expect![[r#"<li class="failed"><div class="head"><a href="/traces/0000000000000001"><strong>web</strong> get /</a><span class="number">3.50 ms</span></div><svg class="bar" aria-hidden="true"><rect class="length failed" x="0" y="3" height="10" width="50.00%"></rect></svg><div class="foot"><time datetime="1970-01-01T00:00:00.001Z">1970-01-01 00:00:00.001 UTC</time> · 2 spans · <span class="tag bad">1 error</span> <span class="tag">web 1</span> <span class="tag">cart 1</span></div></li>"#]].assert_eq(&line(&found, 7_000).into_string());
    }
}
