//! `tombolo routes json`: between eskip and the original's JSON form.

use crate::term::out;
use base::{Diagnostic, Fault};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo routes json`.
#[derive(Args)]
pub(crate) struct Json {
    /// Files to read; standard input if none is named
    files: Vec<PathBuf>,

    /// What to write: with `eskip`, JSON is read
    #[arg(long, value_enum, default_value = "json")]
    to: Form,

    /// JSON with line breaks
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
        let mut routes = Vec::new();
        let mut told: Vec<Diagnostic> = Vec::new();
        for source in super::read_all(&self.files)? {
            let read = match self.to {
                Form::Json => eskip::parse(&source).into_result(),
                Form::Eskip => eskip::from_json(&source),
            };
            match read {
                Ok(more) => routes.extend(more),
                Err(errors) => told.extend(errors.diagnostics()),
            }
        }
        if let Some(failure) = super::refuse(&told) {
            return Ok(failure);
        }
        out(match self.to {
            Form::Eskip => eskip::Printer::pretty().print(&routes),
            Form::Json if self.pretty => {
                let text = eskip::to_json(&routes);
                let value: Result<serde_json::Value, _> = serde_json::from_str(&text);
                value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or(text)
            }
            Form::Json => eskip::to_json(&routes),
        });
        Ok(ExitCode::SUCCESS)
    }
}
