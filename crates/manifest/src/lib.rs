//! `tombolo.yaml`: what the user wrote, as values with diagnostics. Pure: it opens no file and starts
//! nothing; whoever calls it gives it texts.
//!
//! The way of a text: `yaml` makes a tree that knows its places, `reader` reads it with the tables of `fields`
//! into a `draft`, `checks` looks across keys and makes the values. Every mistake is said, not the first.

mod checks;
mod consumers;
mod diff;
mod draft;
mod env_file;
mod fields;
#[cfg(test)]
mod generated;
mod kinds;
mod names;
mod order;
mod reader;
mod reference;
mod schema;
mod secrets;
mod streams;
mod texts;
mod values;
mod yaml;

pub use consumers::{Consumer, ConsumerHandler, ConsumerStart};
pub use diff::{Changes, diff};
pub use env_file::env_file;
pub use names::url_variable;
pub use order::start_order;
pub use reference::reference;
pub use schema::{SCHEMA_URL, schema};
pub use texts::TextMap;
pub use values::{
    Check, Command, DependsOn, Flag, Gateway, Health, Keep, Limits, Log, LogFormat, Manifest, Outbox,
    Propagation, Restart, RestartWhen, RoutesEntry, Sample, Service, Source as ServiceSource, StartWhen,
    StoreUrl, Streams, Traces,
};

use base::{Diagnostic, Severity, Source};
use std::collections::HashSet;

/// The manifest that `tombolo init` writes: a route that answers, and the next steps in comments.
pub const FIRST: &str = include_str!("first.yaml");

/// A manifest that shows most of what there is.
pub const EXAMPLE: &str = include_str!("example.yaml");

/// Most diagnostics of a file; of more, the last says how many.
const DIAGNOSTICS_MAX: usize = 100;

/// Reads a manifest. There is none only if there are errors; there may be warnings beside one. Diagnostics
/// come in the order of the file, with the values of variables made unreadable.
pub fn read(source: &Source) -> (Option<Manifest>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let guessed = secrets::hide_guessed(source);
    let tree = yaml::parse(source, &guessed, &mut diagnostics);
    let Some(tree) = tree.filter(|tree| !tree.root.is_null()) else {
        if diagnostics.is_empty() {
            let nothing = Diagnostic::warning(
                "nothing",
                "the manifest is empty: nothing runs here and no route answers",
            )
            .at(source, 0..0)
            .hint("`tombolo init` writes a first one");
            return (Some(Manifest::default()), vec![nothing]);
        }
        return (None, tidy(diagnostics, &guessed));
    };
    let mut reader = reader::Reader::new(source);
    let draft = reader.manifest(&tree.root);
    diagnostics.append(&mut reader.diagnostics);
    let manifest = checks::settle(source, draft, &mut diagnostics);
    let broken = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    let diagnostics = tidy(
        diagnostics,
        &secrets::hide(&secrets::take_over(source, &guessed, &tree.dropped), &reader.secrets),
    );
    ((!broken).then_some(manifest), diagnostics)
}

/// In the order of the file, each once (an anchor's slip is found wherever it is used), pointing into a text
/// that shows no secrets, and not without end.
fn tidy(mut diagnostics: Vec<Diagnostic>, shown: &Source) -> Vec<Diagnostic> {
    let mut seen = HashSet::new();
    diagnostics.retain(|d| seen.insert((d.code, d.place.as_ref().map(|place| place.span.clone()))));
    diagnostics.sort_by_key(|d| d.place.as_ref().map_or(0, |place| place.span.start));
    if diagnostics.len() > DIAGNOSTICS_MAX {
        let more = diagnostics.len() - DIAGNOSTICS_MAX;
        // Errors first, so that none of the kept says that all is well.
        diagnostics.sort_by_key(|d| d.severity);
        diagnostics.truncate(DIAGNOSTICS_MAX);
        diagnostics.push(Diagnostic::error("more", format!("and {more} more like these")));
    }
    for diagnostic in &mut diagnostics {
        if let Some(place) = &mut diagnostic.place {
            place.source = shown.clone();
        }
    }
    diagnostics
}

/// YAML of any meaning as JSON, for parts whose settings are written in it; `None` for an empty text. Bounded as
/// manifests are. The error is the first mistake, in one sentence.
///
/// # Errors
/// If it is no YAML 1.2, or has a key twice.
pub fn yaml_value(text: &str) -> Result<Option<serde_json::Value>, String> {
    let (source, mut diagnostics) = (Source::new("", text), Vec::new());
    let tree = yaml::parse(&source, &source, &mut diagnostics);
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    match diagnostics.into_iter().find(is_error) {
        Some(error) => Err(error.message),
        None => Ok(tree.map(|tree| tree.root.json())),
    }
}

/// A default or example of the tables as JSON; `None` for an empty one.
fn value_of(text: &str) -> Option<serde_json::Value> {
    yaml_value(text).ok().flatten()
}
