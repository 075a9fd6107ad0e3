//! `tombolo routes filters` and `predicates`: the tables of the code, at hand in the terminal.

use crate::term::{BOLD, CYAN, DIM, out, paint, table};
use base::{Fault, Kind, did_you_mean};
use clap::Args;
use proxy::{filters, predicates};
use std::process::ExitCode;

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

/// What both tables have in common.
struct Entry {
    name: &'static str,
    args: &'static str,
    docs: &'static str,
    example: &'static str,
}

impl Filters {
    /// Prints the list, or one entry.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let entries = filters::specs().map(|spec| Entry {
            name: spec.name,
            args: spec.args,
            docs: spec.docs,
            example: spec.example.filters,
        });
        show("filter", &entries.collect::<Vec<_>>(), self.name.as_deref())
    }
}

impl Predicates {
    /// Prints the list, or one entry.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let entries = predicates::TABLE.iter().map(|spec| Entry {
            name: spec.name,
            args: spec.args,
            docs: spec.docs,
            example: spec.example,
        });
        show("predicate", &entries.collect::<Vec<_>>(), self.name.as_deref())
    }
}

fn show(kind: &str, entries: &[Entry], name: Option<&str>) -> Result<ExitCode, Fault> {
    let Some(name) = name else {
        let rows = entries.iter().map(|entry| {
            let first = entry.docs.split_inclusive(". ").next().unwrap_or(entry.docs).trim_end();
            vec![format!("{}({})", paint(BOLD, entry.name), entry.args), first.to_owned()]
        });
        out(table(&[&kind.to_uppercase(), "MEANING"], rows.collect()));
        return Ok(ExitCode::SUCCESS);
    };
    let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
        let fault = Fault::new(Kind::NotFound, format!("there is no {kind} `{name}`"));
        return Err(match did_you_mean(name, entries.iter().map(|entry| entry.name)) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint(format!("`tombolo routes {kind}s` lists them")),
        });
    };
    out(format_args!("{}({})\n", paint(BOLD, entry.name), entry.args));
    out(entry.docs);
    out(format_args!("\n{} {}", paint(DIM, "example"), paint(CYAN, entry.example)));
    Ok(ExitCode::SUCCESS)
}
