//! `tombolo traces tail`: prints traces as they complete. The API is asked again and again for those that began lately;
//! what is new and has come to rest among them is told by a small state machine.

use super::{Client, Found, RawValue, Where, Which, ask};
use crate::term::{YELLOW, err, out_if_read, paint};
use base::{Fault, Kind};
use clap::Args;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// How long before now a trace may have begun to be noticed.
const LOOKBACK: Duration = Duration::from_secs(300);
/// Traces of one answer.
const AT_ONCE_MAX: usize = 500;
/// Questions between which a trace must not grow to be complete: one whose first span is there, and any other.
const REST: u32 = 1;
const REST_WITHOUT_ROOT: u32 = 10;
/// How often in a row a `tombolo up` that has gone is asked again.
const AWAY_MAX: u32 = 30;

/// Arguments of `tombolo traces tail`.
#[derive(Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    place: Where,

    #[command(flatten)]
    which: Which,

    /// One JSON array of spans a line, as Zipkin's API has them
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub(super) async fn run(&self) -> Result<ExitCode, Fault> {
        let mut client = self.place.client()?;
        let mut known = Known::default();
        let (mut away, mut told_of_more) = (0, false);
        loop {
            match self.look(&client, &mut known).await {
                Ok(Looked { is_read: false, .. }) => return Ok(ExitCode::SUCCESS),
                Ok(looked) => {
                    away = 0;
                    if looked.is_full && !told_of_more {
                        told_of_more = true;
                        let text = "more traces come than are looked at: narrow it down by --service";
                        err(paint(YELLOW, text));
                    }
                }
                // It restarts, perhaps.
                Err(Fault { kind: Kind::Unavailable, .. }) if known.has_begun && away < AWAY_MAX => {
                    away += 1;
                    // Another process, another port.
                    if let Ok(now) = self.place.client() {
                        client = now;
                    }
                }
                Err(fault) => return Err(fault),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks once, and prints what is complete.
    async fn look(&self, client: &Client, known: &mut Known) -> Result<Looked, Fault> {
        let traces = ask(client, &self.which.target(None, LOOKBACK, AT_ONCE_MAX)).await?;
        let mut found = Vec::with_capacity(traces.len());
        for trace in &traces {
            found.push((Found::read(trace)?, trace));
        }
        let complete = known.complete(found.iter().map(|(found, _)| found));
        // The latest come first, and are printed last.
        for (found, trace) in found.iter().rev().filter(|(found, _)| complete.contains(&found.id)) {
            if !self.print(found, trace) {
                return Ok(Looked { is_read: false, is_full: false });
            }
        }
        Ok(Looked { is_read: true, is_full: traces.len() >= AT_ONCE_MAX })
    }

    fn print(&self, found: &Found, trace: &RawValue) -> bool {
        if self.json { out_if_read(trace.get()) } else { out_if_read(found.line()) }
    }
}

/// What came of a question.
struct Looked {
    /// Whether somebody still reads what is printed.
    is_read: bool,
    /// Whether there may be more than the answer had.
    is_full: bool,
}

/// The traces that were seen before, as far as they are still looked at.
#[derive(Default)]
struct Known {
    traces: HashMap<String, Seen>,
    has_begun: bool,
}

/// A trace that was seen.
struct Seen {
    spans: usize,
    /// In how many questions it did not grow.
    rests: u32,
    is_told: bool,
}

impl Known {
    /// Those that are complete and were not told before. What is there already when it begins is not new.
    fn complete<'a>(&mut self, found: impl Iterator<Item = &'a Found>) -> Vec<String> {
        let mut complete = Vec::new();
        let mut now = HashMap::new();
        for found in found {
            let before = self.traces.remove(&found.id);
            let mut seen = before.unwrap_or(Seen { spans: 0, rests: 0, is_told: false });
            seen.rests = if seen.spans == found.spans { seen.rests.saturating_add(1) } else { 0 };
            seen.spans = found.spans;
            let rest = if found.has_root { REST } else { REST_WITHOUT_ROOT };
            if !self.has_begun && found.has_root {
                seen.is_told = true;
            } else if !seen.is_told && seen.rests >= rest {
                seen.is_told = true;
                complete.push(found.id.clone());
            }
            now.insert(found.id.clone(), seen);
        }
        self.traces = now;
        self.has_begun = true;
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: &str, spans: usize, has_root: bool) -> Found {
        let root = (String::new(), String::new());
        Found { id: id.into(), began_us: 1, duration_us: 1, spans, services: 1, errors: 0, root, has_root }
    }

    #[test]
    fn a_trace_is_told_once_when_it_has_come_to_rest() {
        let mut known = Known::default();
        let mut look = |found: &[Found]| known.complete(found.iter()).join(" ");
        // Whole before we came, and one that goes on.
        assert_eq!(look(&[found("old", 3, true), found("open", 1, false)]), "");
        assert_eq!(look(&[found("new", 1, true), found("open", 2, false), found("old", 3, true)]), "");
        assert_eq!(look(&[found("new", 2, true), found("open", 3, true), found("old", 3, true)]), "");
        assert_eq!(look(&[found("new", 2, true), found("open", 3, true), found("old", 4, true)]), "new open");
        assert_eq!(look(&[found("new", 2, true), found("open", 3, true)]), "");
        for _ in 0..REST_WITHOUT_ROOT {
            assert_eq!(look(&[found("rootless", 2, false)]), "");
        }
        assert_eq!(look(&[found("rootless", 2, false)]), "rootless");
        assert_eq!(known.traces.len(), 1, "what is not looked at any more is forgotten");
    }
}
