//! What the traffic says about an architecture: from traces and from what is declared to findings, each with its evidence
//! and what to do about it. All of it is pure but for [`look`], which asks a store of spans.

mod calls;
mod facts;
mod graph;
mod handle;
mod observed;
mod rules;
mod sample;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use facts::{Facts, OUTSIDE, Policy, Retry};
pub use handle::Doctor;
pub use observed::{CALLS_OF_A_TRACE_MAX, EVIDENCE_MAX, KEPT_MAX, Observed};
pub use sample::{LATEST_MAX, OF_A_SERVICE_MAX, SERVICES_MAX, look};
pub use table::{Minimum, RULES, Rule, reference};

use crate::spans::TraceKey;

/// Findings of one rule that are told; the rest is counted.
pub const FINDINGS_MAX: usize = 10;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth to know.
    Note,
    /// It will hurt some day.
    Warning,
    /// It hurts already.
    Error,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Note, Self::Warning, Self::Error];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's code.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What was found, with names and numbers.
    pub what: String,
    /// A few traces that show it; none for what was not seen.
    pub evidence: Vec<TraceKey>,
    /// What to do about it.
    pub remedy: String,
}

/// What came of looking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The worst first, those of a rule together.
    pub findings: Vec<Finding>,
    /// Findings beyond [`FINDINGS_MAX`] of a rule.
    pub more: usize,
    /// Traces that were looked at.
    pub traces: u64,
    /// Their spans.
    pub spans: u64,
    /// What of them found no room: it may hide findings, and makes none.
    pub left_out: u64,
}

/// What a rule says about one case.
pub(crate) struct Case {
    what: String,
    evidence: Vec<TraceKey>,
    remedy: String,
}

/// Asks all rules.
pub fn examine(observed: &Observed) -> Report {
    let (traces, spans) = observed.looked_at();
    let mut report = Report { traces, spans, left_out: observed.left_out, ..Report::default() };
    for rule in RULES {
        let cases = (rule.find)(observed);
        report.more += cases.len().saturating_sub(FINDINGS_MAX);
        report.findings.extend(cases.into_iter().take(FINDINGS_MAX).map(|case| Finding {
            code: rule.code,
            severity: rule.severity,
            title: rule.title,
            what: case.what,
            evidence: case.evidence,
            remedy: case.remedy,
        }));
    }
    // Stable: within a severity in the order of the table.
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report
}
