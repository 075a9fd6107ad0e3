//! `tombolo routes filters` and `predicates`: the tables of the code, at hand in the terminal.

use crate::term::{BOLD, CYAN, DIM, out, paint};
use base::{Fault, Kind, did_you_mean};
use clap::Args;
use proxy::filters::{self, FilterSpec};
use proxy::predicates::{self, PredicateSpec};
use std::process::ExitCode;

/// Signatures up to this length stand in the first column of a list; longer ones push their meaning right.
const SIGNATURE_WIDTH: usize = 40;

/// The docs of one entry are folded to lines of this length.
const LINE_WIDTH: usize = 90;

/// Arguments of `tombolo routes filters`.
#[derive(Args)]
pub(crate) struct Filters {
    /// One filter, whole
    name: Option<String>,
}

/// Arguments of `tombolo routes predicates`.
#[derive(Args)]
pub(crate) struct Predicates {
    /// One predicate, whole
    name: Option<String>,
}

impl Filters {
    /// Prints the list, or one entry.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let Some(name) = &self.name else {
            for (at, family) in filters::TABLE.iter().enumerate() {
                let gap = if at == 0 { "" } else { "\n" };
                out(format_args!("{gap}{}", paint(DIM, family.title)));
                for spec in family.filters {
                    line(spec.name, spec.args, spec.docs);
                }
            }
            return Ok(ExitCode::SUCCESS);
        };
        let spec: &FilterSpec =
            filters::find(name).ok_or_else(|| unknown("filter", name, filters::names()))?;
        head(spec.name, spec.args, spec.docs);
        let example = &spec.example;
        fact("example", &format!("* -> {} -> \"http://backend\"", example.filters));
        facts("request", example.request);
        facts("backend", if example.saw == "-" { "(is not asked)" } else { example.saw });
        facts("response", example.got);
        Ok(ExitCode::SUCCESS)
    }
}

impl Predicates {
    /// Prints the list, or one entry.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let Some(name) = &self.name else {
            for spec in predicates::TABLE {
                line(spec.name, spec.args, spec.docs);
            }
            return Ok(ExitCode::SUCCESS);
        };
        let spec: &PredicateSpec =
            predicates::find(name).ok_or_else(|| unknown("predicate", name, predicates::names()))?;
        head(spec.name, spec.args, spec.docs);
        fact("example", &format!("{} -> <shunt>", spec.example));
        for request in spec.matches {
            fact("matches", &request.replace('\n', ", "));
        }
        for request in spec.refuses {
            fact("refuses", &request.replace('\n', ", "));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let fault = Fault::new(Kind::NotFound, format!("there is no {kind} `{name}`"));
    match did_you_mean(name, known) {
        Some(near) => fault.hint(format!("did you mean `{near}`?")),
        None => fault.hint(format!("`tombolo routes {kind}s` lists them")),
    }
}

/// A line of a list: the signature, and the first sentence of what it means.
fn line(name: &str, args: &str, docs: &str) {
    let first = docs.split_inclusive(". ").next().unwrap_or(docs).trim_end();
    let blanks = " ".repeat(SIGNATURE_WIDTH.saturating_sub(name.len() + args.len() + 2));
    out(format_args!("{}({args}){blanks}  {first}", paint(BOLD, name)));
}

fn head(name: &str, args: &str, docs: &str) {
    out(format_args!("{}({args})\n\n{}\n", paint(BOLD, name), folded(docs)));
}

/// A text in lines of at most [`LINE_WIDTH`], or of one longer word.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut width = 0;
    for word in text.split_whitespace() {
        let letters = word.chars().count();
        if width > 0 && width + 1 + letters > LINE_WIDTH {
            folded.push('\n');
            width = 0;
        } else if width > 0 {
            folded.push(' ');
            width += 1;
        }
        folded.push_str(word);
        width += letters;
    }
    folded
}

fn fact(title: &str, text: &str) {
    out(format_args!("{}  {}", paint(DIM, format_args!("{title:8}")), paint(CYAN, text)));
}

/// Lines of a request or a response; one that must not be there begins with `!`.
fn facts(title: &str, lines: &str) {
    for (at, line) in lines.lines().enumerate() {
        let shown =
            line.strip_prefix('!').map_or_else(|| line.to_owned(), |line| format!("(no {})", line.trim()));
        fact(if at == 0 { title } else { "" }, &shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_are_folded_between_words() {
        let text = "word ".repeat(40) + &"x".repeat(120);
        let lines: Vec<usize> = folded(&text).lines().map(str::len).collect();
        assert_eq!(lines, [89, 89, 19, 120]);
        assert_eq!(folded(""), "");
    }
}
