//! `tombolo traces show`: a trace as a waterfall: its spans as a tree, each with a bar that stands where it began and is
//! as long as it lasted. What the trace lacks, and clocks that differ, are told.

use super::{Where, bars, escaped, found, not_understood};
use crate::commands::asking::Ask;
use crate::term::{BOLD, CYAN, DIM, RED, YELLOW, harmless, out, out_if_read, paint, plural, width};
use base::{Fault, Kind};
use clap::Args;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::process::ExitCode;
use telemetry::spans::{Kind as SpanKind, Node, Tree};

/// Columns for each level of the tree that is drawn; what stands deeper is moved no further to the right.
const COLUMNS_OF_A_LEVEL: usize = 8;
/// Cells of a duration.
const DURATION_CELLS: usize = 8;
/// Letters of a name and of a value that are shown.
const NAME_LETTERS_MAX: usize = 120;
const VALUE_LETTERS_MAX: usize = 2_000;

/// Arguments of `tombolo traces show`.
#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    place: Where,

    /// The trace, as `tombolo traces list` names it
    id: String,

    /// With the tags and annotations of each span
    #[arg(long, short)]
    tags: bool,

    /// As Zipkin's JSON, as reported
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) async fn run(&self) -> Result<ExitCode, Fault> {
        let target = format!("/api/v2/trace/{}", escaped(&self.id));
        let text = self.place.client()?.text(Ask::get(&target)).await.map_err(|fault| match fault.kind {
            Kind::NotFound if fault.hint.is_none() => fault.hint("`tombolo traces list` shows the latest"),
            _ => fault,
        })?;
        if self.json {
            let spans: Box<RawValue> = serde_json::from_str(&text).map_err(|error| not_understood(&error))?;
            out(spans.get());
            return Ok(ExitCode::SUCCESS);
        }
        let spans =
            telemetry::zipkin::decode_json(text.as_bytes()).map_err(|fault| not_understood(&fault))?;
        let tree = Tree::of(spans);
        for line in waterfall(&tree, width(), self.tags) {
            if !out_if_read(line) {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The lines of a trace, for a terminal of so many columns.
fn waterfall(tree: &Tree, width: usize, tags: bool) -> Vec<String> {
    let labels = labels(tree, width / COLUMNS_OF_A_LEVEL);
    let letters = |label: &Label| label.branches.chars().count() + label.text.chars().count();
    let longest = labels.iter().map(letters).max().unwrap_or(0);
    let label_cells = longest.min(width / 2);
    let bar_cells = width.saturating_sub(label_cells + DURATION_CELLS + 2).max(8);
    let (began, whole) = (tree.began_us(), tree.duration_us());
    let mut lines = vec![head(tree), String::new()];
    for (node, label) in tree.nodes.iter().zip(&labels) {
        let failed = node.span.is_error();
        let room = label_cells.saturating_sub(label.branches.chars().count());
        let text: String = label.text.chars().take(room).collect();
        let pad = " ".repeat(room - text.chars().count());
        let text = if failed { paint(RED, text) } else { text };
        let bar = match node.began_us() {
            0 => String::new(),
            at => bars::span(at - began, node.ended_us() - began, whole, bar_cells),
        };
        let bar = paint(if failed { RED } else { CYAN }, format_args!("{bar:<bar_cells$}"));
        let duration = match node.span.duration_us {
            0 => paint(DIM, format_args!("{:>DURATION_CELLS$}", "-")),
            us => format!("{:>DURATION_CELLS$}", bars::duration(us)),
        };
        lines.push(format!("{}{text}{pad} {bar} {duration}", paint(DIM, &label.branches)));
        let indent = " ".repeat(label.branches.chars().count() + 2);
        details(&mut lines, node, &indent, began, tags);
    }
    notes(&mut lines, tree);
    lines
}

/// Which trace, when, and how much of it there is.
fn head(tree: &Tree) -> String {
    let mut services: Vec<&str> = tree.nodes.iter().map(|node| node.span.local.service.as_str()).collect();
    services.retain(|name| !name.is_empty());
    services.sort_unstable();
    services.dedup();
    let errors = tree.nodes.iter().filter(|node| node.span.is_error()).count();
    let errors =
        if errors == 0 { String::new() } else { paint(RED, format!(", {}", plural(errors, "error"))) };
    format!(
        "{}  {}  {}  {}, {}{errors}",
        paint(BOLD, tree.root().map_or_else(String::new, |root| root.span.trace.to_string())),
        paint(DIM, found::time(tree.began_us())),
        bars::duration(tree.duration_us()),
        plural(tree.nodes.len(), "span"),
        plural(services.len(), "service"),
    )
}

/// What stands before a bar.
struct Label {
    /// The tree's branches.
    branches: String,
    text: String,
}

fn labels(tree: &Tree, levels: usize) -> Vec<Label> {
    let mut last_child: Vec<Option<usize>> = vec![None; tree.nodes.len()];
    for (at, node) in tree.nodes.iter().enumerate() {
        if let Some(parent) = node.parent {
            last_child[parent] = Some(at);
        }
    }
    let is_last = |at: usize| tree.nodes[at].parent.is_none_or(|parent| last_child[parent] == Some(at));
    let label = |(at, node): (usize, &Node)| {
        let mut branches = Vec::new();
        let (mut below, mut above) = (at, node.parent);
        while let Some(parent) = above.filter(|_| branches.len() < levels) {
            branches.push(match (below == at, is_last(below)) {
                (true, true) => "└ ",
                (true, false) => "├ ",
                (false, true) => "  ",
                (false, false) => "│ ",
            });
            (below, above) = (parent, tree.nodes[parent].parent);
        }
        if above.is_some() {
            branches.push("… ");
        }
        branches.reverse();
        Label { branches: branches.concat(), text: text(node) }
    };
    tree.nodes.iter().enumerate().map(label).collect()
}

/// `web -> cart: get`, `cart: get`; `?` before it if its parent is missing.
fn text(node: &Node) -> String {
    let span = &node.span;
    let or_unknown = |name: &str| if name.is_empty() { "(unnamed)".to_owned() } else { harmless(name) };
    let mut text = String::from(if node.is_orphan { "? " } else { "" });
    text += &or_unknown(&span.local.service);
    if matches!(span.kind, Some(SpanKind::Client | SpanKind::Producer)) && !span.remote.service.is_empty() {
        text = format!("{text} -> {}", harmless(&span.remote.service));
    }
    if !span.name.is_empty() {
        text = format!("{text}: {}", harmless(&span.name));
    }
    text.chars().take(NAME_LETTERS_MAX).collect()
}

/// Why it failed, and if wished its tags and annotations.
fn details(lines: &mut Vec<String>, node: &Node, indent: &str, began: u64, tags: bool) {
    let short = |value: &str| harmless(value).chars().take(VALUE_LETTERS_MAX).collect::<String>();
    let error = node.span.tag("error").filter(|why| !tags && !matches!(*why, "" | "true"));
    lines.extend(error.map(|why| format!("{indent}{} {}", paint(RED, "error:"), short(why))));
    if !tags {
        return;
    }
    for (key, value) in &node.span.tags {
        let style = if key == "error" { RED } else { DIM };
        lines.push(format!("{indent}{} {}", paint(style, format_args!("{}:", short(key))), short(value)));
    }
    for annotation in &node.span.annotations {
        let at = annotation.timestamp_us.saturating_add_signed(node.skew_us.saturating_neg());
        let after = format!("+{}", bars::duration(at.saturating_sub(began)));
        lines.push(format!("{indent}{} {}", paint(CYAN, after), short(&annotation.value)));
    }
}

/// What the trace lacks, and clocks that differ.
fn notes(lines: &mut Vec<String>, tree: &Tree) {
    let mut notes = Vec::new();
    let orphans = tree.nodes.iter().filter(|node| node.is_orphan).count();
    if orphans > 0 {
        notes.push(format!("spans marked `?` name a parent that nobody reported: {orphans}"));
    }
    let timeless = tree.nodes.iter().filter(|node| node.span.timestamp_us == 0).count();
    if timeless > 0 {
        notes.push(format!("spans without a time, shown without a bar: {timeless}"));
    }
    let mut skews: BTreeMap<&str, i64> = BTreeMap::new();
    for node in tree.nodes.iter().filter(|node| node.skew_us != 0) {
        let skew = skews.entry(&node.span.local.service).or_default();
        if node.skew_us.unsigned_abs() > skew.unsigned_abs() {
            *skew = node.skew_us;
        }
    }
    for (service, skew) in skews {
        let by = bars::duration(skew.unsigned_abs());
        let (clock, moved) = if skew > 0 { ("ahead", "earlier") } else { ("behind", "later") };
        let service = harmless(service);
        notes
            .push(format!("the clock of `{service}` is {by} {clock}: its spans are shown that much {moved}"));
    }
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes.into_iter().map(|note| format!("{}: {note}", paint(YELLOW, "note"))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(json: &str, columns: usize, tags: bool, expected: &Expect) {
        let spans = telemetry::zipkin::decode_json(json.as_bytes()).expect("spans");
        let lines = waterfall(&Tree::of(spans), columns, tags);
        let plain: Vec<String> = lines
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string().trim_end().to_owned())
            .collect();
        expected.assert_eq(&(plain.join("\n") + "\n"));
    }

    const SHOP: &str = r#"[
        {"traceId":"a","id":"1","kind":"SERVER","name":"get /","timestamp":1764158400000000,"duration":100000,"localEndpoint":{"serviceName":"web","ipv4":"10.0.0.1"}},
        {"traceId":"a","parentId":"1","id":"2","kind":"CLIENT","name":"get","timestamp":1764158400010000,"duration":50000,"localEndpoint":{"serviceName":"web","ipv4":"10.0.0.1"},"remoteEndpoint":{"serviceName":"cart"}},
        {"traceId":"a","parentId":"2","id":"3","kind":"SERVER","name":"get","timestamp":1764158399520000,"duration":30000,"localEndpoint":{"serviceName":"cart","ipv4":"10.0.0.2"},"tags":{"error":"no \u001b[2Jcart","http.status_code":"500"},"annotations":[{"timestamp":1764158399530000,"value":"miss"}]},
        {"traceId":"a","parentId":"1","id":"4","name":"render","timestamp":1764158400070000,"duration":30000,"localEndpoint":{"serviceName":"web"}},
        {"traceId":"a","parentId":"9","id":"8","kind":"CONSUMER","localEndpoint":{"serviceName":"mail"}}]"#;

    #[test]
    fn a_trace_is_a_waterfall() {
        check(
            SHOP,
            80,
            false,
            &expect![[r#"
            000000000000000a  2025-11-26T12:00:00.000Z  100ms  5 spans, 3 services, 1 error

            web: get /         ████████████████████████████████████████████████████    100ms
            ├ web -> cart: get      ██████████████████████████▏                       50.0ms
            │ └ cart: get                ████████████████                             30.0ms
                  error: no \u{1b}[2Jcart
            └ web: render                                          ████████████████   30.0ms
            ? mail                                                                         -

            note: spans marked `?` name a parent that nobody reported: 1
            note: spans without a time, shown without a bar: 1
            note: the clock of `cart` is 500ms behind: its spans are shown that much later
        "#]],
        );
    }

    #[test]
    fn tags_stand_below_their_span() {
        check(
            SHOP,
            60,
            true,
            &expect![[r#"
            000000000000000a  2025-11-26T12:00:00.000Z  100ms  5 spans, 3 services, 1 error

            web: get /         ████████████████████████████████    100ms
            ├ web -> cart: get    ████████████████▏               50.0ms
            │ └ cart: get            ██████████                   30.0ms
                  error: no \u{1b}[2Jcart
                  http.status_code: 500
                  +30.0ms miss
            └ web: render                            ██████████   30.0ms
            ? mail                                                     -

            note: spans marked `?` name a parent that nobody reported: 1
            note: spans without a time, shown without a bar: 1
            note: the clock of `cart` is 500ms behind: its spans are shown that much later
        "#]],
        );
    }

    #[test]
    fn a_deep_tree_stays_within_the_columns() {
        let span = |at: u64| {
            let parent = if at > 1 { format!("\"parentId\":\"{:x}\",", at - 1) } else { String::new() };
            format!(
                r#"{{"traceId":"a",{parent}"id":"{at:x}","name":"step {at}","timestamp":{},"duration":5}}"#,
                1000 + at
            )
        };
        let spans: Vec<String> = (1..=60).map(span).collect();
        let spans =
            telemetry::zipkin::decode_json(format!("[{}]", spans.join(",")).as_bytes()).expect("spans");
        let lines = waterfall(&Tree::of(spans), 60, false);
        let widest = lines[1..]
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string().chars().count())
            .max();
        assert!(lines.len() == 62 && widest <= Some(60), "{widest:?}");
    }
}
