//! Doctor: what the traffic says about the architecture, the worst first, each finding with traces that show it and what
//! to do about it.

use crate::access::Viewer;
use crate::asked::{Asked, Form};
use crate::pages::View;
use crate::problem::Problem;
use crate::{Console, answer, traces, units};
use maud::{Markup, html};
use serde::Serialize;
use std::time::Duration;
use telemetry::doctor::{Finding, Report, Severity};

/// How far back can be looked, in seconds, and how that is called; the first if nobody says.
const SPANS: [(u64, &str); 4] =
    [(3_600, "1 hour"), (900, "15 minutes"), (21_600, "6 hours"), (86_400, "1 day")];

#[derive(Serialize)]
pub(crate) struct Doctor {
    /// Seconds before now.
    lookback_s: u64,
    /// Whether spans are taken at all.
    is_on: bool,
    traces: u64,
    spans: u64,
    /// Findings that are not told, beside those that are.
    more_findings: usize,
    findings: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    code: &'static str,
    severity: &'static str,
    title: &'static str,
    what: String,
    remedy: String,
    /// Ids of traces.
    evidence: Vec<String>,
}

/// The page.
pub(crate) async fn show(console: Console, asked: Asked) -> Result<Doctor, Problem> {
    let given = asked.number("lookback")?.filter(|given| SPANS.iter().any(|(known, _)| known == given));
    let lookback_s = given.unwrap_or(SPANS[0].0);
    let Some(doctor) = &console.doctor else {
        let nothing = page(lookback_s, false, Report::default());
        return if asked.form == Form::Json { Err(traces::no_spans()) } else { Ok(nothing) };
    };
    Ok(page(lookback_s, true, doctor.look(Duration::from_secs(lookback_s)).await?))
}

fn page(lookback_s: u64, is_on: bool, report: Report) -> Doctor {
    let Report { findings, more, traces, spans, .. } = report;
    Doctor {
        lookback_s,
        is_on,
        traces,
        spans,
        more_findings: more,
        findings: findings.into_iter().map(found).collect(),
    }
}

fn found(finding: Finding) -> Found {
    Found {
        code: finding.code,
        severity: finding.severity.name(),
        title: finding.title,
        what: finding.what,
        remedy: finding.remedy,
        evidence: finding.evidence.iter().map(ToString::to_string).collect(),
    }
}

impl View for Doctor {
    fn title(&self) -> String {
        "Doctor".to_owned()
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { "Doctor" }
            @if !self.is_on {
                div.empty {
                    p { "What the traffic says about the architecture is read from spans, and none are taken. This in \
                         the manifest takes them:" }
                    pre { "traces: {}" }
                }
            } @else {
                form.ask action="/doctor" method="get" {
                    label { "Within"
                        select name="lookback" {
                            @for (seconds, text) in SPANS {
                                option value=(seconds) selected[seconds == self.lookback_s] { (text) }
                            }
                        }
                    }
                    button { "Look" }
                }
                (self.told())
            }
        }
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Doctor {
    fn told(&self) -> Markup {
        html! {
            h2 { (units::count(self.findings.len() as u64, "finding")) }
            p.note {
                "Looked at " (units::count(self.traces, "trace")) " of " (units::count(self.spans, "span"))
                ". Each rule wants a minimum of evidence before it says anything."
                @if self.more_findings > 0 { " " (self.more_findings) " more of the same kinds are left out." }
            }
            @if self.findings.is_empty() {
                p.empty {
                    @if self.traces == 0 {
                        "No traces so far. Send a request through the gateway, or have services report spans."
                    } @else { "Nothing found: no rule has enough evidence against this traffic." }
                }
            }
            ol.found {
                @for finding in &self.findings {
                    li.failed[finding.severity != Severity::Note.name()] {
                        div.head {
                            strong { (finding.title) }
                            span.number { (finding.severity) " " code { (finding.code) } }
                        }
                        p { (finding.what) }
                        p { "Remedy: " (finding.remedy) }
                        @if !finding.evidence.is_empty() {
                            div.foot {
                                "Seen in "
                                @for (place, id) in finding.evidence.iter().enumerate() {
                                    @if place > 0 { ", " }
                                    a href=(format!("/traces/{id}")) { (id) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
