//! The spans of a trace as a tree, in the order in which they are read, each with its place in time. Nothing is made
//! up: a parent that nobody reported is said to be missing, and a span that began before its parent stays where its
//! clock says. Pure; how it looks is in `trace`.

use serde::Serialize;
use std::collections::HashMap;
use telemetry::spans::{Kind, Span, merged};

/// Spans of one page; the rest is in the JSON of Zipkin's API.
pub(crate) const ROWS_MAX: usize = 2_000;

/// A trace as it is read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Waterfall {
    pub(crate) id: String,
    /// Microseconds since 1970; zero if no span says.
    pub(crate) start_us: u64,
    /// Microseconds from the first beginning to the last end.
    pub(crate) duration_us: u64,
    /// The first span with its children, then whatever hangs below nothing that was reported.
    pub(crate) rows: Vec<Row>,
    /// Spans beyond those.
    pub(crate) hidden: usize,
    /// Services and how many spans each reported, in the order in which they appear.
    pub(crate) services: Vec<(String, usize)>,
    pub(crate) errors: usize,
}

/// A span.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// How deep it stands, from 0.
    pub(crate) depth: usize,
    /// The rows right below it.
    pub(crate) children: Vec<usize>,
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: Option<&'static str>,
    pub(crate) remote: String,
    /// Microseconds from the trace's beginning; none if the span does not say when it began.
    pub(crate) offset_us: Option<u64>,
    pub(crate) duration_us: u64,
    pub(crate) is_error: bool,
    /// The parent that it names and that nobody reported.
    pub(crate) missing_parent: Option<String>,
    /// Microseconds that it began before its parent.
    pub(crate) early_us: u64,
    /// Microseconds that a server went on after its client had ended.
    pub(crate) late_us: u64,
    /// Whether its parents go round in a circle.
    pub(crate) is_circular: bool,
    pub(crate) address: String,
    pub(crate) tags: Vec<(String, String)>,
    /// Microseconds from the trace's beginning, and what happened.
    pub(crate) annotations: Vec<(i64, String)>,
}

/// Puts the spans of a trace, as they were reported, in order.
pub(crate) fn waterfall(reported: Vec<Span>) -> Waterfall {
    let spans = merged(reported);
    let began = spans.iter().map(|span| span.timestamp_us).filter(|time| *time != 0);
    let start_us = began.min().unwrap_or(0);
    let end_us = spans.iter().map(|span| span.timestamp_us + span.duration_us).max().unwrap_or(0);
    let above = parents(&spans);
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    for (at, parent) in above.iter().enumerate() {
        if let Some(parent) = parent {
            below[*parent].push(at);
        }
    }
    // What does not say when it began comes last.
    let key = |at: &usize| (spans[*at].timestamp_us == 0, spans[*at].timestamp_us, *at);
    for children in &mut below {
        children.sort_by_key(key);
    }
    let mut tops: Vec<usize> = (0..spans.len()).filter(|at| above[*at].is_none()).collect();
    tops.sort_by_key(|at| (spans[*at].parent != 0, key(at)));
    let mut tree = Tree { spans: &spans, above: &above, below: &below, start_us, rows: Vec::new() };
    let mut seen = vec![false; spans.len()];
    for top in tops {
        tree.put(top, false, &mut seen);
    }
    // Whoever is left belongs to a circle: its first span stands for its top.
    for at in 0..spans.len() {
        if !seen[at] {
            tree.put(at, true, &mut seen);
        }
    }
    let mut rows = tree.rows;
    let hidden = rows.len().saturating_sub(ROWS_MAX);
    rows.truncate(ROWS_MAX);
    let shown = rows.len();
    for row in &mut rows {
        row.children.retain(|child| *child < shown);
    }
    Waterfall {
        id: spans.first().map(|span| span.trace).unwrap_or_default().to_string(),
        start_us,
        duration_us: end_us.saturating_sub(start_us),
        services: services(&spans),
        errors: spans.iter().filter(|span| span.is_error()).count(),
        rows,
        hidden,
    }
}

/// Services and how many spans each reported.
pub(crate) fn services(spans: &[Span]) -> Vec<(String, usize)> {
    let mut services: Vec<(String, usize)> = Vec::new();
    for span in spans {
        let name = span.local.service.as_str();
        match services.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None if name.is_empty() => {}
            None => services.push((name.to_owned(), 1)),
        }
    }
    services
}

/// The span that each belongs to, if that was reported.
fn parents(spans: &[Span]) -> Vec<Option<usize>> {
    let mut of_id: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, span) in spans.iter().enumerate() {
        of_id.entry(span.id).or_default().push(at);
    }
    let empty = Vec::new();
    let parent = |at: usize| {
        let span = &spans[at];
        // The server's side of a shared span belongs to the client's.
        let twins = of_id.get(&span.id).unwrap_or(&empty);
        if span.shared
            && let Some(client) = twins.iter().copied().find(|twin| *twin != at && !spans[*twin].shared)
        {
            return Some(client);
        }
        let above = of_id.get(&span.parent).filter(|_| span.parent != 0).unwrap_or(&empty);
        let others = || above.iter().copied().filter(|other| *other != at);
        // Of a shared parent, the side of the same service is meant.
        let is_ours =
            |other: &usize| spans[*other].shared && spans[*other].local.service == span.local.service;
        others().find(is_ours).or_else(|| others().next())
    };
    (0..spans.len()).map(parent).collect()
}

struct Tree<'a> {
    spans: &'a [Span],
    above: &'a [Option<usize>],
    below: &'a [Vec<usize>],
    start_us: u64,
    rows: Vec<Row>,
}

impl Tree<'_> {
    /// Adds a span and all below it, without recursion: a chain may be as deep as a trace is long.
    fn put(&mut self, top: usize, is_circular: bool, seen: &mut [bool]) {
        let mut waiting = vec![(top, 0, None::<usize>)];
        while let Some((at, depth, parent_row)) = waiting.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let row = self.rows.len();
            if let Some(parent) = parent_row {
                self.rows[parent].children.push(row);
            }
            let made = Row { depth, is_circular: is_circular && at == top, ..self.row(at) };
            self.rows.push(made);
            waiting.extend(self.below[at].iter().rev().map(|child| (*child, depth + 1, Some(row))));
        }
    }

    fn row(&self, at: usize) -> Row {
        let span = &self.spans[at];
        let offset = |time: u64| time.cast_signed() - self.start_us.cast_signed();
        let (mut early_us, mut late_us) = (0, 0);
        if let Some(parent) = self.above[at].map(|parent| &self.spans[parent])
            && span.timestamp_us != 0
            && parent.timestamp_us != 0
        {
            early_us = parent.timestamp_us.saturating_sub(span.timestamp_us);
            // Whoever works on after it was called may outlast its caller, but for a server that answered.
            if (span.kind, parent.kind) == (Some(Kind::Server), Some(Kind::Client)) && parent.duration_us != 0
            {
                let ends = |span: &Span| span.timestamp_us + span.duration_us;
                late_us = ends(span).saturating_sub(ends(parent));
            }
        }
        let ip =
            span.local.ipv4.map(|ip| ip.to_string()).or_else(|| span.local.ipv6.map(|ip| format!("[{ip}]")));
        let address = match (ip, span.local.port) {
            (Some(ip), 0) => ip,
            (Some(ip), port) => format!("{ip}:{port}"),
            (None, _) => String::new(),
        };
        Row {
            id: format!("{:016x}", span.id),
            service: span.local.service.clone(),
            name: span.name.clone(),
            kind: span.kind.map(Kind::name),
            remote: span.remote.service.clone(),
            offset_us: (span.timestamp_us != 0).then(|| span.timestamp_us - self.start_us),
            duration_us: span.duration_us,
            is_error: span.is_error(),
            missing_parent: (self.above[at].is_none() && span.parent != 0)
                .then(|| format!("{:016x}", span.parent)),
            early_us,
            late_us,
            address,
            tags: span.tags.clone(),
            annotations: span
                .annotations
                .iter()
                .map(|annotation| (offset(annotation.timestamp_us), annotation.value.clone()))
                .collect(),
            ..Row::default()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;
    use telemetry::spans::{Endpoint, TraceKey};

    /// A span of the trace 1.
    pub(crate) fn span(
        id: u64,
        parent: u64,
        service: &str,
        name: &str,
        at_us: u64,
        duration_us: u64,
    ) -> Span {
        Span {
            trace: TraceKey { high: 0, low: 1 },
            id,
            parent,
            name: name.to_owned(),
            timestamp_us: at_us,
            duration_us,
            local: Endpoint { service: service.to_owned(), ..Endpoint::default() },
            ..Span::default()
        }
    }

    fn check(spans: Vec<Span>, expected: Expect) {
        let fall = waterfall(spans);
        let mut text = format!("{} us, {} hidden\n", fall.duration_us, fall.hidden);
        for row in &fall.rows {
            text += &"  ".repeat(row.depth);
            _ = write!(text, "{} {} {:?}+{}", row.service, row.name, row.offset_us, row.duration_us);
            if let Some(missing) = &row.missing_parent {
                _ = write!(text, " missing {missing}");
            }
            for (word, us) in [("early", row.early_us), ("late", row.late_us)] {
                if us > 0 {
                    _ = write!(text, " {word} {us}");
                }
            }
            text += if row.is_circular { " circular\n" } else { "\n" };
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn spans_stand_below_their_parents_by_time() {
        let spans = vec![
            span(3, 1, "web", "second", 1_200, 300),
            span(1, 0, "web", "get /", 1_000, 900),
            span(2, 1, "web", "first", 1_100, 50),
            span(4, 3, "cart", "below", 1_250, 100),
            span(5, 1, "web", "no time", 0, 0),
        ];
        check(
            spans,
            expect![[r#"
            900 us, 0 hidden
            web get / Some(0)+900
              web first Some(100)+50
              web second Some(200)+300
                cart below Some(250)+100
              web no time None+0
        "#]],
        );
    }

    #[test]
    fn the_server_s_side_of_a_shared_span_stands_below_the_client_s() {
        let client = Span { kind: Some(Kind::Client), ..span(2, 1, "web", "get", 1_100, 100) };
        let server = Span { kind: Some(Kind::Server), shared: true, ..span(2, 1, "cart", "get", 1_090, 120) };
        let below = span(3, 2, "cart", "sql", 1_150, 10);
        check(
            vec![below, server, client, span(1, 0, "web", "/", 1_000, 300)],
            expect![[r#"
            300 us, 0 hidden
            web / Some(0)+300
              web get Some(100)+100
                cart get Some(90)+120 early 10 late 10
                  cart sql Some(150)+10
        "#]],
        );
    }

    #[test]
    fn what_is_missing_is_said_and_not_made_up() {
        check(
            vec![span(7, 6, "cart", "orphan", 1_050, 10), span(1, 0, "web", "/", 1_000, 300)],
            expect![[r#"
                300 us, 0 hidden
                web / Some(0)+300
                cart orphan Some(50)+10 missing 0000000000000006
            "#]],
        );
    }

    #[test]
    fn a_circle_and_a_deep_chain_are_shown_whole() {
        check(
            vec![span(1, 2, "a", "one", 1, 1), span(2, 1, "a", "two", 2, 1)],
            expect![[r#"
            2 us, 0 hidden
            a one Some(0)+1 early 1 circular
              a two Some(1)+1
        "#]],
        );
        let chain: Vec<Span> = (1..=3_000).map(|id| span(id, id - 1, "a", "x", id, 1)).collect();
        let fall = waterfall(chain);
        assert_eq!((fall.rows.len(), fall.hidden, fall.rows[1_999].depth), (ROWS_MAX, 1_000, 1_999));
        assert!(fall.rows[1_999].children.is_empty());
        assert_eq!(waterfall(Vec::new()).rows, []);
    }
}
