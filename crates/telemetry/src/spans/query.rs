//! What is looked for among traces, and whether a trace is such a one. Zipkin's rules: names in lower case, all
//! criteria at once, each met by any span of the named service.

use super::Span;
use base::{Fault, Kind};
use std::collections::BTreeMap;

/// Parts of one annotation query.
const PARTS_MAX: usize = 100;

/// What is looked for. Empty texts and absent bounds ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The service whose spans meet the rest.
    pub service: String,
    /// The other side of one of its spans.
    pub remote: String,
    /// The name of one of its spans.
    pub name: String,
    /// Tags by key; with an empty value also annotations.
    pub annotations: BTreeMap<String, String>,
    /// Microseconds that one of its spans lasted at least.
    pub duration_us_min: Option<u64>,
    /// Microseconds that the same span lasted at most.
    pub duration_us_max: Option<u64>,
    /// Milliseconds since 1970: traces began then at the latest.
    pub end_ms: u64,
    /// Milliseconds before it: traces began then at the earliest.
    pub lookback_ms: u64,
    /// Traces of the answer.
    pub limit: usize,
}

impl Query {
    /// Makes of what was asked what is looked for, or says why it makes no sense.
    pub fn check(mut self) -> Result<Self, Fault> {
        for name in [&mut self.service, &mut self.remote, &mut self.name] {
            *name = name.to_lowercase();
        }
        if self.name == "all" {
            self.name.clear();
        }
        let wrong = if self.end_ms == 0 {
            "endTs <= 0"
        } else if self.lookback_ms == 0 {
            "lookback <= 0"
        } else if self.limit == 0 {
            "limit <= 0"
        } else {
            match (self.duration_us_min, self.duration_us_max) {
                (None, Some(_)) => "maxDuration is only valid with minDuration",
                (Some(0), _) => "minDuration <= 0",
                (Some(min), Some(max)) if max < min => "maxDuration < minDuration",
                _ => return Ok(self),
            }
        };
        Err(Fault::new(Kind::Invalid, wrong))
    }

    /// Microseconds since 1970 between which traces begin.
    pub fn window_us(&self) -> (u64, u64) {
        let start = self.end_ms.saturating_sub(self.lookback_ms);
        (start.saturating_mul(1_000), self.end_ms.saturating_mul(1_000))
    }

    /// Whether the spans of a trace are what is looked for.
    pub fn matches(&self, trace: &[Span]) -> bool {
        let (start, end) = self.window_us();
        let began = began_us(trace);
        // To the millisecond, as what is asked for is.
        if began == 0 || began < start || began / 1_000 > end / 1_000 {
            return false;
        }
        let ours =
            || trace.iter().filter(|span| self.service.is_empty() || span.local.service == self.service);
        let asks_duration = self.duration_us_min.is_some();
        ours().next().is_some()
            && (self.remote.is_empty() || ours().any(|span| span.remote.service == self.remote))
            && (self.name.is_empty() || ours().any(|span| span.name == self.name))
            && (!asks_duration || ours().any(|span| self.lasts(span.duration_us)))
            && self.annotations.iter().all(|(key, value)| ours().any(|span| has(span, key, value)))
    }

    fn lasts(&self, duration_us: u64) -> bool {
        let (min, max) = (self.duration_us_min.unwrap_or(0), self.duration_us_max.unwrap_or(u64::MAX));
        (min..=max).contains(&duration_us)
    }
}

/// When a trace began: its first span, or the earliest there is. Zero if no span says.
pub(crate) fn began_us(trace: &[Span]) -> u64 {
    let root = trace.iter().find(|span| span.parent == 0 && !span.shared && span.timestamp_us != 0);
    match root {
        Some(root) => root.timestamp_us,
        None => trace.iter().map(|span| span.timestamp_us).filter(|time| *time != 0).min().unwrap_or(0),
    }
}

fn has(span: &Span, key: &str, value: &str) -> bool {
    if value.is_empty() {
        return span.tag(key).is_some() || span.annotations.iter().any(|annotation| annotation.value == key);
    }
    span.tag(key) == Some(value)
}

/// Reads an annotation query: `error and http.method=GET`. The last value of a key is meant; a bare word does not
/// take one away.
pub fn parse_annotations(text: &str) -> BTreeMap<String, String> {
    let mut annotations: BTreeMap<String, String> = BTreeMap::new();
    for part in text.split(" and ").take(PARTS_MAX) {
        match part.split_once('=') {
            Some((key, value)) => {
                annotations.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            None if part.trim().is_empty() => {}
            None => {
                annotations.entry(part.trim().to_owned()).or_default();
            }
        }
    }
    annotations
}

/// An annotation query as text.
pub fn write_annotations(annotations: &BTreeMap<String, String>) -> String {
    let part = |(key, value): (&String, &String)| {
        if value.is_empty() { key.clone() } else { format!("{key}={value}") }
    };
    annotations.iter().map(part).collect::<Vec<_>>().join(" and ")
}
