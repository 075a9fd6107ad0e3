//! `tombolo routes`: files of eskip, or standard input, checked, formatted, converted, compared and explained.
//! What the sub-commands share is here: reading, and building a table of everything that can be built.

mod catalogue;
mod check;
mod diff;
mod explain;
mod fmt;
mod json;

use crate::wiring::World;
use base::{Diagnostic, Fault, Kind, Source};
use clap::Subcommand;
use eskip::{Backend, Error};
use proxy::lookup::Options;
use proxy::{Definitions, Table};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The sub-commands of `tombolo routes`.
#[derive(Subcommand)]
pub(crate) enum Routes {
    /// Say everything that is wrong with routes: syntax, predicates, filters, backends
    Check(check::Check),
    /// Rewrite files in the usual form, one step a line, comments kept
    Fmt(fmt::Fmt),
    /// Convert eskip to the JSON form, or back
    Json(json::Json),
    /// Show what is different between two files of routes, whatever their form
    Diff(diff::Diff),
    /// Show which route a request takes, and what refused it on the others
    Explain(explain::Explain),
    /// List the filters, or show one
    Filters(catalogue::Filters),
    /// List the predicates, or show one
    Predicates(catalogue::Predicates),
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

/// Reads files, or standard input if none is named; `-` is standard input too.
fn read_all(files: &[PathBuf]) -> Result<Vec<Source>, Fault> {
    if files.is_empty() {
        return Ok(vec![read(Path::new("-"))?]);
    }
    files.iter().map(|file| read(file)).collect()
}

/// Reads a file; `-` is standard input.
fn read(file: &Path) -> Result<Source, Fault> {
    let limit = eskip::TEXT_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let (name, result) = if file == Path::new("-") {
        ("<stdin>".to_owned(), std::io::stdin().lock().take(limit).read_to_end(&mut bytes))
    } else {
        let read = std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_end(&mut bytes));
        (file.display().to_string(), read)
    };
    result.map_err(|error| {
        Fault::new(Kind::NotFound, format!("`{name}` can't be read"))
            .hint("name files of eskip, or `-` for standard input")
            .because(error)
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        Fault::new(
            Kind::Invalid,
            format!("`{name}` is not UTF-8 at byte {}", error.utf8_error().valid_up_to()),
        )
    })?;
    Ok(Source::new(name, text))
}

/// Parses all sources: the routes of those without errors, and all errors of the others.
fn parse(sources: &[Source]) -> (Definitions, Vec<Error>) {
    let (mut definitions, mut errors) = (Definitions::default(), Vec::new());
    for source in sources {
        let parsed = eskip::parse(source);
        definitions.extend(Definitions::from_source(source, parsed.routes));
        errors.extend(parsed.errors);
    }
    (definitions, errors)
}

/// Builds a table that serves nobody. Every service that a route names counts as known: which there are is
/// for the manifest to say (`tombolo check`). Files that filters name lie beside the first file of routes.
fn build(definitions: &Definitions, files: &[PathBuf], ignore_trailing_slash: bool) -> Result<Table, Fault> {
    let world = World::new(Some(1))?;
    let named = definitions.routes.iter().flat_map(|(route, _)| match &route.backend {
        Backend::Network(address) => vec![address.as_str()],
        Backend::Balanced { endpoints, .. } => endpoints.iter().map(|e| e.address.as_str()).collect(),
        _ => Vec::new(),
    });
    let services: Vec<_> = named.filter_map(|address| address.strip_prefix("service://")).collect();
    world.services.declare(services.iter().map(|name| name.trim_end_matches('/')));
    let options = Options { ignore_trailing_slash, ..Options::default() };
    let folder = files.first().and_then(|file| file.parent()).unwrap_or(Path::new(""));
    // `<forward>` needs an address only when it serves.
    Ok(world.builder(options, folder, Some("http://forward.invalid".to_owned())).build(definitions))
}

/// What is wrong with routes that parsed but can't be built.
fn invalid(table: &Table) -> impl Iterator<Item = &Diagnostic> {
    table.invalid.iter().map(|invalid| &invalid.diagnostic)
}

/// The diagnostics of errors.
fn diagnostics(errors: Vec<Error>) -> Vec<Diagnostic> {
    errors.into_iter().map(|error| error.diagnostic).collect()
}

/// Prints diagnostics and fails, or answers that there are none.
fn refuse(told: &[Diagnostic]) -> Option<ExitCode> {
    if told.is_empty() {
        return None;
    }
    crate::term::diagnostics(told);
    crate::term::err(crate::term::count(told).unwrap_or_default());
    Some(ExitCode::FAILURE)
}
