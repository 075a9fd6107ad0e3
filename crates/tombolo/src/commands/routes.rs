//! `tombolo routes`: files of eskip, or standard input, checked, formatted, converted, compared and explained.
//! What the sub-commands share is here: parsing, building a table of everything that can be built, and plain
//! output. Reading is in `input`, telling what is wrong in `told`.

mod catalogue;
mod check;
mod diff;
mod explain;
mod fmt;
mod input;
mod json;
mod nearest;
mod told;

use super::later::Later;
use crate::wiring::World;
use base::{Diagnostic, Fault, Kind, Source};
use clap::Subcommand;
use eskip::{Backend, Call, Errors, Route};
use proxy::lookup::Options;
use proxy::{Builder, Definitions, Table};
use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use told::{Lines, Told};

/// Of so many bad routes all mistakes are looked for, of the others the first.
const LOOKED_AT_MAX: usize = 1000;

/// So many mistakes of one route are told.
const REFUSALS_MAX: usize = 20;

/// The sub-commands of `tombolo routes`.
#[derive(Subcommand)]
pub(crate) enum Routes {
    /// Say everything that is wrong with routes: syntax, predicates, filters, backends
    Check(Later<check::Check>),
    /// Rewrite files in the usual form, one step a line, comments kept
    Fmt(Later<fmt::Fmt>),
    /// Convert eskip to the JSON form, or back
    Json(Later<json::Json>),
    /// Show what is different between two files of routes, whatever their form
    Diff(Later<diff::Diff>),
    /// Show which route a request takes, and what refused it on the others
    Explain(Later<Box<explain::Explain>>),
    /// List the filters, or show one
    Filters(Later<catalogue::Filters>),
    /// List the predicates, or show one
    Predicates(Later<catalogue::Predicates>),
}

impl Routes {
    /// Runs the sub-command.
    pub(crate) fn run(self) -> Result<ExitCode, Fault> {
        match self {
            Routes::Check(command) => command.run(),
            Routes::Fmt(command) => command.run(),
            Routes::Json(command) => command.run(),
            Routes::Diff(command) => command.run(),
            Routes::Explain(command) => command.run(),
            Routes::Filters(command) => command.run(),
            Routes::Predicates(command) => command.run(),
        }
    }
}

/// Parses all sources: the routes that are right, and the errors of each source that has some.
fn parse(sources: &[Source]) -> (Definitions, Vec<(Source, Errors)>) {
    let (mut definitions, mut failed) = (Definitions::default(), Vec::new());
    for source in sources {
        let parsed = eskip::parse(source);
        definitions.extend(Definitions::from_source(source, parsed.routes));
        if let Err(errors) = Errors::from_list(parsed.errors) {
            failed.push((source.clone(), errors));
        }
    }
    (definitions, failed)
}

/// How a table is built that serves nobody.
struct Build<'a> {
    /// The files of routes; what filters name lies beside the first of them.
    files: &'a [PathBuf],
    /// What `service://NAME` may name; whatever the routes name, if this is empty.
    services: &'a [String],
    ignore_trailing_slash: bool,
}

impl Build<'_> {
    /// Builds all routes; what can't be built is told, all of it: the table stops at a route's first mistake,
    /// people should not.
    fn table(&self, mut definitions: Definitions, told: &mut Told) -> Result<Table, Fault> {
        let world = World::new(Some(1))?;
        if self.services.is_empty() {
            world.services.declare(named_services(&definitions));
        } else {
            world.services.declare(self.services.iter().map(String::as_str));
        }
        let options = Options { ignore_trailing_slash: self.ignore_trailing_slash, ..Options::default() };
        let folder = self.files.first().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        // `<forward>` needs an address only when it serves.
        let builder = world.builder(
            options,
            folder,
            Some("http://forward.invalid".to_owned()),
            proxy::Handles::default(),
        );
        let duplicates = take_duplicates(&mut definitions);
        let sources: HashMap<&str, &Source> = definitions
            .routes
            .iter()
            .filter_map(|(route, source)| Some((&*route.id, source.as_ref()?)))
            .collect();
        let table = builder.build(&definitions);
        let mut looked_at = 0..LOOKED_AT_MAX;
        for invalid in &table.invalid {
            told.extend([invalid.diagnostic.clone()]);
            if let (Some(source), Some(_)) = (sources.get(&*invalid.route.id), looked_at.next()) {
                let rest = without(&invalid.route, &invalid.diagnostic);
                told.extend(refusals(&builder, rest, source));
            }
        }
        for duplicate in duplicates {
            told.extend([duplicate.diagnostic]);
            if looked_at.next().is_some() {
                told.extend(refusals(&builder, Some(duplicate.route), &duplicate.source));
            }
        }
        Ok(table)
    }
}

/// Everything for which the table refuses a route: what it stops at is taken out and the rest built again,
/// until it is built or nothing can be taken out.
fn refusals(builder: &Builder, mut rest: Option<Arc<Route>>, source: &Source) -> Vec<Diagnostic> {
    let mut told = Vec::new();
    while let Some(route) = rest.take().filter(|_| told.len() < REFUSALS_MAX) {
        let alone = Definitions { routes: vec![(route, Some(source.clone()))] };
        if let Some(invalid) = builder.build(&alone).invalid.pop() {
            rest = without(&invalid.route, &invalid.diagnostic);
            told.push(invalid.diagnostic);
        }
    }
    told
}

/// The route without the predicate or filter that a diagnostic points at; `None` if it points at neither.
fn without(route: &Route, diagnostic: &Diagnostic) -> Option<Arc<Route>> {
    let span = &diagnostic.place.as_ref()?.span;
    let meant = |call: &Call| call.span == *span || call.arg_spans.contains(span);
    let mut rest = route.clone();
    rest.predicates.retain(|call| !meant(call));
    rest.filters.retain(|call| !meant(call));
    let calls = |route: &Route| route.predicates.len() + route.filters.len();
    (calls(&rest) < calls(route)).then_some(Arc::new(rest))
}

fn named_services(definitions: &Definitions) -> impl Iterator<Item = &str> {
    let addresses = definitions.routes.iter().flat_map(|(route, _)| match &route.backend {
        Backend::Network(address) => vec![address.as_str()],
        Backend::Balanced { endpoints, .. } => endpoints.iter().map(|e| e.address.as_str()).collect(),
        _ => Vec::new(),
    });
    addresses.filter_map(|address| address.strip_prefix("service://")).map(|name| name.trim_end_matches('/'))
}

/// A route whose id is used again further on.
struct Duplicate {
    route: Arc<Route>,
    source: Source,
    diagnostic: Diagnostic,
}

/// Takes out routes whose id is used again further on, as the table would, and tells of each with the place
/// of the one that serves. Done here because lines are looked up once for a whole text.
fn take_duplicates(definitions: &mut Definitions) -> Vec<Duplicate> {
    let mut last: HashMap<String, usize> = HashMap::with_capacity(definitions.routes.len());
    for (at, (route, _)) in definitions.routes.iter().enumerate() {
        last.insert(route.id.clone(), at);
    }
    if last.len() == definitions.routes.len() {
        return Vec::new();
    }
    let mut lines: HashMap<*const u8, Lines<'_>> = HashMap::new();
    let mut duplicates = Vec::new();
    for (at, (route, source)) in definitions.routes.iter().enumerate() {
        let (winner, Some(source)) = (last[&route.id], source) else { continue };
        if winner == at {
            continue;
        }
        let (again, there) = &definitions.routes[winner];
        let there = there.as_ref().unwrap_or(source);
        let lines = lines.entry(there.text.as_ptr()).or_insert_with(|| Lines::of(&there.text));
        let (line, column) = lines.position(again.span.start);
        let place = format!("{}:{line}:{column}", there.name);
        let (message, hint) = if route.id.is_empty() {
            (
                format!("a second route without an id stands at {place}"),
                "only a lone route may be without: write `id: ...;`",
            )
        } else {
            (
                format!("route id `{}` is used again at {place}", route.id),
                "the later one serves; give one of them another id",
            )
        };
        let diagnostic = Diagnostic::error("duplicate_route_id", message).at(source, route.span.clone());
        let (route, source) = (route.clone(), source.clone());
        duplicates.push(Duplicate { route, source, diagnostic: diagnostic.hint(hint) });
    }
    drop(lines);
    let mut at = 0..;
    definitions.routes.retain(|(route, _)| at.next().is_some_and(|at| last[&route.id] == at));
    duplicates
}

/// Writes a text to standard output byte for byte. A reader that left is no error; a full disk is one.
fn put(text: &str) -> Result<(), Fault> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Fault::new(Kind::Io, "standard output can't be written").because(error))
        }
        _ => Ok(()),
    }
}

/// Writes a value to standard output as JSON, for people and programs.
fn put_json(value: &impl serde::Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Fault::new(Kind::Bug, "what there is to say is not JSON").because(error))?;
    put(&format!("{text}\n"))
}
