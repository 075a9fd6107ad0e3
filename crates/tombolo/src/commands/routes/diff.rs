//! `tombolo routes diff`: what is different for requests, not how it is written.

use super::input;
use super::told::Told;
use crate::term::{BOLD, DIM, GREEN, RED, YELLOW, out, paint};
use base::{Fault, Severity, Source};
use clap::Args;
use eskip::{Call, Route};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

/// Lists of filters are compared step by step if so many pairs are to look at, and as wholes beyond.
const PAIRS_MAX: usize = 1 << 20;

/// The files can't be compared: diff(1) keeps 1 for files that differ.
const TROUBLE: u8 = 2;

/// Arguments of `tombolo routes diff`.
#[derive(Args)]
pub(crate) struct Diff {
    /// The file as it was; `-` for standard input
    old: PathBuf,

    /// The file as it is; `-` for standard input
    new: PathBuf,

    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// A difference, as `--json` has it.
#[derive(Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
enum Change<'a> {
    Added { id: &'a str, new: String },
    Removed { id: &'a str, old: String },
    Changed { id: &'a str, parts: Vec<&'static str>, old: String, new: String },
}

/// A line of a comparison.
#[derive(Debug, PartialEq)]
enum Line {
    Same(String),
    Gone(String),
    New(String),
}

/// Routes by id. Of two routes with one id the later serves.
type Side = BTreeMap<String, Route>;

impl Diff {
    /// Prints the differences; ends with 1 if there are any, as diff does, and with 2 if that can't be told.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let mut told = Told::default();
        let sources = input::read_all(&[self.old.clone(), self.new.clone()], &mut told);
        let sides: Vec<Side> = sources.iter().filter_map(|source| side(source, &mut told)).collect();
        let [old, new] = &sides[..] else {
            told.show("");
            return Ok(ExitCode::from(TROUBLE));
        };
        told.show("");
        let ids: BTreeSet<&str> = old.keys().chain(new.keys()).map(String::as_str).collect();
        let changes = ids.into_iter().filter_map(|id| compare(id, old.get(id), new.get(id)));
        if self.json {
            let changes: Vec<Change<'_>> = changes.collect();
            super::put_json(&changes)?;
            return Ok(exit(changes.is_empty()));
        }
        let mut same = true;
        for change in changes {
            same = false;
            show(&change, old, new);
        }
        Ok(exit(same))
    }
}

fn exit(same: bool) -> ExitCode {
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn side(source: &Source, told: &mut Told) -> Option<Side> {
    match eskip::parse(source).into_result() {
        Ok(routes) => {
            let twice = eskip::check_ids(source, &routes);
            told.extend(twice.into_iter().map(|mut diagnostic| {
                diagnostic.severity = Severity::Warning;
                diagnostic.hint("the later one serves, and is the one compared")
            }));
            Some(routes.into_iter().map(|route| (route.id.clone(), route)).collect())
        }
        Err(errors) => {
            told.extend(errors.diagnostics());
            None
        }
    }
}

fn compare<'a>(id: &'a str, old: Option<&Route>, new: Option<&Route>) -> Option<Change<'a>> {
    match (old, new) {
        (Some(old), Some(new)) if eskip::equal(old, new) => None,
        (Some(old), Some(new)) => {
            let (a, b) = (eskip::canonical(old), eskip::canonical(new));
            let parts = [
                ("predicates", a.predicates == b.predicates),
                ("filters", a.filters == b.filters),
                ("backend", a.backend == b.backend),
            ];
            let parts = parts.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect();
            Some(Change::Changed { id, parts, old: old.to_string(), new: new.to_string() })
        }
        (Some(old), None) => Some(Change::Removed { id, old: old.to_string() }),
        (None, Some(new)) => Some(Change::Added { id, new: new.to_string() }),
        (None, None) => None,
    }
}

fn show(change: &Change<'_>, old: &Side, new: &Side) {
    let name = |id: &str| if id.is_empty() { "(without an id)".to_owned() } else { id.to_owned() };
    match change {
        Change::Added { id, new } => out(paint(GREEN, format_args!("+ {}: {new}", name(id)))),
        Change::Removed { id, old } => out(paint(RED, format_args!("- {}: {old}", name(id)))),
        Change::Changed { id, parts, .. } => {
            let parts = parts.join(", ");
            out(format_args!("{} {}: {parts}", paint(YELLOW, "~"), paint(BOLD, name(id))));
            for line in lines(&eskip::canonical(&old[*id]), &eskip::canonical(&new[*id])) {
                match line {
                    Line::Same(text) => out(paint(DIM, format_args!("    {text}"))),
                    Line::Gone(text) => out(paint(RED, format_args!("  - {text}"))),
                    Line::New(text) => out(paint(GREEN, format_args!("  + {text}"))),
                }
            }
        }
    }
}

/// What differs between two routes in canonical form, part by part.
fn lines(old: &Route, new: &Route) -> Vec<Line> {
    let mut lines = Vec::new();
    if old.predicates != new.predicates {
        // Their order has no meaning, so what is in both is not worth a line.
        let steps = steps(&old.predicates, &new.predicates);
        lines.extend(steps.into_iter().filter(|line| !matches!(line, Line::Same(_))));
    }
    if old.filters != new.filters {
        lines.extend(steps(&old.filters, &new.filters));
    }
    if old.backend != new.backend {
        lines.extend([Line::Gone(old.backend.to_string()), Line::New(new.backend.to_string())]);
    }
    lines
}

/// The shortest way from one list to another: the longest list of calls that both have in the same order
/// stays (dynamic programming over all pairs).
fn steps(old: &[Call], new: &[Call]) -> Vec<Line> {
    let gone = |call: &Call| Line::Gone(call.to_string());
    let added = |call: &Call| Line::New(call.to_string());
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return old.iter().map(gone).chain(new.iter().map(added)).collect();
    }
    // `kept[o][n]`: how many calls the rests from `o` and `n` on have in common.
    let mut kept = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for o in (0..old.len()).rev() {
        for n in (0..new.len()).rev() {
            kept[o][n] =
                if old[o] == new[n] { kept[o + 1][n + 1] + 1 } else { kept[o + 1][n].max(kept[o][n + 1]) };
        }
    }
    let (mut o, mut n) = (0, 0);
    let mut lines = Vec::new();
    while o < old.len() || n < new.len() {
        if o < old.len() && n < new.len() && old[o] == new[n] {
            lines.push(Line::Same(old[o].to_string()));
            (o, n) = (o + 1, n + 1);
        } else if o < old.len() && (n == new.len() || kept[o + 1][n] >= kept[o][n + 1]) {
            lines.push(gone(&old[o]));
            o += 1;
        } else {
            lines.push(added(&new[n]));
            n += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(old: &str, new: &str, expected: Expect) {
        let filters = |text: &str| eskip::parse_filters(&Source::new("t", text)).unwrap();
        let steps = steps(&filters(old), &filters(new)).into_iter().map(|line| match line {
            Line::Same(text) => format!("  {text}\n"),
            Line::Gone(text) => format!("- {text}\n"),
            Line::New(text) => format!("+ {text}\n"),
        });
        expected.assert_eq(&steps.collect::<String>());
    }

    #[test]
    fn what_both_lists_have_stays() {
        check(
            "a() -> b(1) -> c()",
            "a() -> b(2) -> c() -> d()",
            expect![[r"
                  a()
                - b(1)
                + b(2)
                  c()
                + d()
            "]],
        );
    }

    #[test]
    fn a_filter_that_moved_goes_and_comes() {
        check(
            "a() -> b() -> c()",
            "b() -> c() -> a()",
            expect![[r"
                - a()
                  b()
                  c()
                + a()
            "]],
        );
        check("", "a()", expect!["+ a()\n"]);
    }

    #[test]
    fn very_long_lists_are_compared_as_wholes() {
        let call = |at: u32| Call::new("f", [eskip::Arg::Number(f64::from(at))]);
        let long: Vec<Call> = (0..1025).map(call).collect();
        assert_eq!(steps(&long, &long).len(), 2050);
        assert_eq!(steps(&long[1..], &long[1..]).len(), 1024);
    }
}
