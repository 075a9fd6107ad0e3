//! A trace that was found, as a line of a table: when it began, how long it took, who took part and what failed.

use super::{bars, not_understood};
use crate::term::{BOLD, CYAN, DIM, RED, harmless, paint};
use base::Fault;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use telemetry::spans::Tree;

/// Cells of the longest bar.
const BAR_CELLS: usize = 12;
/// Letters of a name that are shown.
const NAME_LETTERS_MAX: usize = 60;

/// What is told of a trace.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) began_us: u64,
    pub(super) duration_us: u64,
    pub(super) spans: usize,
    pub(super) services: usize,
    pub(super) errors: usize,
    /// Who began it, and what it was.
    pub(super) root: (String, String),
    /// Whether its first span is there: it is reported when it ends, and most others end before.
    pub(super) has_root: bool,
}

/// The heads of the columns.
pub(super) const HEAD: [&str; 6] = ["TRACE", "BEGAN", "DURATION", "SPANS", "SERVICES", "ROOT"];

impl Found {
    /// Of a trace in Zipkin's JSON.
    pub(super) fn read(trace: &RawValue) -> Result<Self, Fault> {
        let spans = telemetry::zipkin::decode_json(trace.get().as_bytes()).map_err(|e| not_understood(&e))?;
        let tree = Tree::of(spans);
        let root = tree.root();
        let name = |name: &str| harmless(name).chars().take(NAME_LETTERS_MAX).collect::<String>();
        let services: BTreeSet<&str> =
            tree.nodes.iter().map(|node| node.span.local.service.as_str()).collect();
        Ok(Self {
            id: root.map_or_else(String::new, |root| root.span.trace.to_string()),
            began_us: tree.began_us(),
            duration_us: tree.duration_us(),
            spans: tree.nodes.len(),
            services: services.into_iter().filter(|name| !name.is_empty()).count(),
            errors: tree.nodes.iter().filter(|node| node.span.is_error()).count(),
            root: root.map_or_else(Default::default, |root| {
                (name(&root.span.local.service), name(&root.span.name))
            }),
            has_root: root.is_some_and(|root| !root.is_orphan),
        })
    }

    /// The cells of its line; its bar is a share of the longest trace's.
    pub(super) fn cells(&self, longest_us: u64) -> Vec<String> {
        let style = if self.errors > 0 { RED } else { CYAN };
        let bar = bars::share(self.duration_us, longest_us, BAR_CELLS);
        let (service, name) = &self.root;
        let errors = match self.errors {
            0 => String::new(),
            1 => paint(RED, "  1 error"),
            many => paint(RED, format_args!("  {many} errors")),
        };
        let missing = if self.has_root { "" } else { "? " };
        vec![
            paint(BOLD, &self.id),
            paint(DIM, time(self.began_us)),
            format!(
                "{} {}",
                paint(style, format_args!("{bar:<BAR_CELLS$}")),
                bars::duration(self.duration_us)
            ),
            self.spans.to_string(),
            self.services.to_string(),
            format!("{}{} {name}{errors}", paint(DIM, missing), paint(CYAN, service)),
        ]
    }

    /// The line alone, where others come later.
    pub(super) fn line(&self) -> String {
        let cells = self.cells(0);
        let (id, time, root) = (&cells[0], &cells[1], &cells[5]);
        let duration = format!("{:>8}", bars::duration(self.duration_us));
        let spans = paint(DIM, format_args!("{:>3} spans", self.spans));
        format!("{time}  {id}  {duration}  {spans}  {root}")
    }
}

/// A time to the millisecond, or that there is none.
pub(super) fn time(us: u64) -> String {
    let known = i64::try_from(us).ok().filter(|us| *us != 0);
    let time = known.and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_and_how_long_and_gives_a_terminal_no_orders() {
        let json = r#"[{"traceId":"a","id":"1","name":"get\u001b[2J","timestamp":1764158400123456,"duration":12345,"localEndpoint":{"serviceName":"web"},"tags":{"error":""}},
            {"traceId":"a","id":"2","parentId":"1","timestamp":1764158400124000,"duration":99,"localEndpoint":{"serviceName":"cart"}}]"#;
        let raw: Box<RawValue> = serde_json::from_str(json).expect("JSON");
        let found = Found::read(&raw).expect("spans");
        let line = anstream::adapter::strip_str(&found.line()).to_string();
        assert_eq!(
            line,
            "2025-11-26T12:00:00.123Z  000000000000000a    12.3ms    2 spans  web get\\u{1b}[2j  1 error"
        );
        let cells = found.cells(24_690).join("|");
        assert_eq!(
            anstream::adapter::strip_str(&cells).to_string(),
            "000000000000000a|2025-11-26T12:00:00.123Z|██████       12.3ms|2|2|web get\\u{1b}[2j  1 error"
        );
        assert_eq!(time(0), "-");
    }
}
