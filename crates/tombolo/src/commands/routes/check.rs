//! `tombolo routes check`: all of a start but the starting.

use crate::term::{GREEN, count, err, out, paint};
use base::{Diagnostic, Fault};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo routes check`.
#[derive(Args)]
pub(crate) struct Check {
    /// Files of eskip; standard input if none is named. `service://NAME` may name any service
    files: Vec<PathBuf>,

    /// What is wrong as a JSON array
    #[arg(long)]
    json: bool,

    /// The first error in the original's words, as the `eskip` command prints it
    #[arg(long, conflicts_with = "json")]
    compat_errors: bool,

    /// `/a` and `/a/` are one path
    #[arg(long)]
    ignore_trailing_slash: bool,
}

impl Check {
    /// Says what is wrong; fails if anything is.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let sources = super::read_all(&self.files)?;
        let (definitions, errors) = super::parse(&sources);
        if self.compat_errors {
            for source in &sources {
                if let Err(errors) = eskip::parse(source).into_result() {
                    err(errors.compat());
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        let mut told = super::diagnostics(errors);
        let table = super::build(&definitions, &self.files, self.ignore_trailing_slash)?;
        told.extend(super::invalid(&table).cloned());
        if self.json {
            let reports: Vec<_> = told.iter().map(Diagnostic::report).collect();
            out(serde_json::to_string_pretty(&reports).unwrap_or_default());
        } else {
            crate::term::diagnostics(&told);
            match count(&told) {
                Some(count) => err(count),
                None => {
                    let routes = table.routes.len();
                    out(format_args!(
                        "{} {routes} route{}",
                        paint(GREEN, "good"),
                        if routes == 1 { "" } else { "s" }
                    ));
                }
            }
        }
        Ok(if told.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
