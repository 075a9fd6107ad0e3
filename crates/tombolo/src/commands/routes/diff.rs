//! `tombolo routes diff`: what is different for requests, not how it is written.

use crate::term::{BOLD, GREEN, RED, YELLOW, out, paint};
use base::Fault;
use clap::Args;
use eskip::{Printer, Route};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo routes diff`.
#[derive(Args)]
pub(crate) struct Diff {
    /// The file as it was
    old: PathBuf,

    /// The file as it is
    new: PathBuf,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
enum Change {
    Added { id: String, new: String },
    Removed { id: String, old: String },
    Changed { id: String, parts: Vec<&'static str>, old: String, new: String },
}

impl Diff {
    /// Prints the differences; fails if there are any, as diff does.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let mut sides = Vec::new();
        let mut told = Vec::new();
        for file in [&self.old, &self.new] {
            match eskip::parse(&super::read(file)?).into_result() {
                // Of two routes with one id the later serves.
                Ok(routes) => {
                    sides.push(routes.into_iter().map(|r| (r.id.clone(), r)).collect::<BTreeMap<_, _>>());
                }
                Err(errors) => told.extend(errors.diagnostics()),
            }
        }
        if super::refuse(&told).is_some() {
            return Ok(ExitCode::from(2));
        }
        let (Some(new), Some(old)) = (sides.pop(), sides.pop()) else { return Ok(ExitCode::from(2)) };
        let changes = compare(&old, &new);
        if self.json {
            out(serde_json::to_string_pretty(&changes).unwrap_or_default());
        } else {
            changes.iter().for_each(show);
        }
        Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn compare(old: &BTreeMap<String, Route>, new: &BTreeMap<String, Route>) -> Vec<Change> {
    let print = |route: &Route| Printer::default().expression(route);
    let mut changes = Vec::new();
    for (id, before) in old {
        match new.get(id) {
            None => changes.push(Change::Removed { id: id.clone(), old: print(before) }),
            Some(after) if !eskip::equal(before, after) => {
                let (a, b) = (eskip::canonical(before), eskip::canonical(after));
                let mut parts = Vec::new();
                for (part, same) in [
                    ("predicates", a.predicates == b.predicates),
                    ("filters", a.filters == b.filters),
                    ("backend", a.backend == b.backend),
                ] {
                    if !same {
                        parts.push(part);
                    }
                }
                changes.push(Change::Changed {
                    id: id.clone(),
                    parts,
                    old: print(before),
                    new: print(after),
                });
            }
            Some(_) => {}
        }
    }
    for (id, after) in new {
        if !old.contains_key(id) {
            changes.push(Change::Added { id: id.clone(), new: print(after) });
        }
    }
    changes
}

fn show(change: &Change) {
    let minus = |id: &str, text: &str| out(paint(RED, format_args!("- {id}: {text}")));
    let plus = |id: &str, text: &str| out(paint(GREEN, format_args!("+ {id}: {text}")));
    match change {
        Change::Added { id, new } => plus(id, new),
        Change::Removed { id, old } => minus(id, old),
        Change::Changed { id, parts, old, new } => {
            out(format_args!(
                "{} {}",
                paint(YELLOW, format_args!("~ {}", paint(BOLD, id))),
                parts.join(", ")
            ));
            minus(id, old);
            plus(id, new);
        }
    }
}
