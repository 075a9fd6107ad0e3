//! `tombolo routes json`: between eskip and the original's JSON form.

use super::told::Told;
use super::{input, put};
use base::{Diagnostic, Fault, Kind, Source};
use clap::{Args, ValueEnum};
use eskip::{Printer, Route};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo routes json`.
#[derive(Args)]
pub(crate) struct Json {
    /// Files to read, `-` for standard input; standard input if none is named
    files: Vec<PathBuf>,

    /// What to write: with `eskip`, JSON is read
    #[arg(long, value_enum, default_value = "json")]
    to: Form,

    /// JSON with line breaks; eskip has them always
    #[arg(long)]
    pretty: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Eskip,
}

impl Json {
    /// Prints the routes of all files in the other form.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let mut told = Told::default();
        let mut routes = Vec::new();
        for source in input::read_all(&self.files, &mut told) {
            let read = match self.to {
                Form::Json => eskip::parse(&source).into_result(),
                Form::Eskip => eskip::from_json(&source),
            };
            match read {
                Ok(more) => routes.extend(more),
                Err(errors) => {
                    told.extend(errors.diagnostics().into_iter().map(|d| self.mistaken(&source, d)));
                }
            }
        }
        if let Some(failure) = told.refuse() {
            return Ok(failure);
        }
        let text = match self.to {
            Form::Json if self.pretty => serde_json::to_string_pretty(&routes)
                .map_err(|error| Fault::new(Kind::Bug, "routes are not JSON").because(error))?,
            Form::Json => eskip::to_json(&routes),
            Form::Eskip => {
                let text = Printer::pretty().print(&routes);
                told.extend(unwritable(&routes, &text));
                if let Some(failure) = told.refuse() {
                    return Ok(failure);
                }
                text
            }
        };
        put(&format!("{text}\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Adds the remedy for the usual slip: the text is of the other form.
    fn mistaken(&self, source: &Source, diagnostic: Diagnostic) -> Diagnostic {
        let looks_like_json = source.text.trim_start().starts_with(['[', '{']);
        match self.to {
            Form::Json if looks_like_json => diagnostic.hint("this is JSON already; `--to eskip` reads it"),
            Form::Eskip if !looks_like_json => diagnostic.hint("with `--to eskip` JSON is read, not written"),
            _ => diagnostic,
        }
    }
}

/// What of routes from JSON can't be said in eskip, such as an id with a dash. Nothing if the whole text can be
/// read again.
fn unwritable(routes: &[Route], text: &str) -> Vec<Diagnostic> {
    if eskip::parse(&Source::new("<eskip>", text)).errors.is_empty() {
        return Vec::new();
    }
    let tell = |number: usize, route: &Route, why: &str, hint: Option<String>| {
        let id = if route.id.is_empty() { String::new() } else { format!(" `{}`", route.id) };
        let message = format!("route {number}{id} can't be written in eskip: {why}");
        Diagnostic { hint, ..Diagnostic::error("unwritable_route", message) }
    };
    let one = |(at, route): (usize, &Route)| {
        if route.id.is_empty() && routes.len() > 1 {
            let hint = "give it an \"id\": only a lone route may be without".to_owned();
            return Some(tell(at + 1, route, "it has no id", Some(hint)));
        }
        let alone = Printer::default().print(std::slice::from_ref(route));
        let error = eskip::parse(&Source::new("<eskip>", alone)).errors.into_iter().next()?.diagnostic;
        Some(tell(at + 1, route, &error.message, error.hint))
    };
    routes.iter().enumerate().filter_map(one).collect()
}
