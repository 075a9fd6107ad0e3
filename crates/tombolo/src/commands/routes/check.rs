//! `tombolo routes check`: all of a start but the starting.

use super::told::Told;
use super::{Build, input};
use crate::term::{GREEN, err, out, paint, plural};
use base::{Fault, Source};
use clap::Args;
use eskip::Errors;
use proxy::predicates::PredicateEnv;
use proxy::{Invalid, Table, lookup};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo routes check`.
#[derive(Args)]
pub(crate) struct Check {
    /// Files of eskip, `-` for standard input; standard input if none is named. Several files are one table,
    /// as for `tombolo gateway`
    files: Vec<PathBuf>,

    /// A service that `service://NAME` may name, given again for each; if none is given, routes may name any
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,

    /// `/a` and `/a/` are one path
    #[arg(long)]
    ignore_trailing_slash: bool,

    /// What is wrong as a JSON array
    #[arg(long)]
    json: bool,

    /// What is wrong in the original's words: of each file the first error of syntax, as its `eskip` command
    /// prints it, or if there is none the reason for each route that is left out
    #[arg(long, conflicts_with = "json")]
    compat_errors: bool,
}

impl Check {
    /// Says what is wrong; fails if anything is.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let mut told = Told::default();
        let sources = input::read_all(&self.files, &mut told);
        let (definitions, failed) = super::parse(&sources);
        let build = Build {
            files: &self.files,
            services: &self.service,
            ignore_trailing_slash: self.ignore_trailing_slash,
        };
        if self.compat_errors {
            told.show("");
            // An id that is used twice is no mistake there: the later route serves.
            let table = build.table(definitions, &mut Told::default())?;
            self.show_compat(&failed, &table);
            let good = failed.is_empty() && told.is_empty() && table.invalid.is_empty();
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        for (_, errors) in failed {
            told.extend(errors.diagnostics());
        }
        let table = build.table(definitions, &mut told)?;
        if self.json {
            super::put_json(&told.reports())?;
        } else if told.is_empty() {
            out(paint(GREEN, good(table.routes.len())));
        } else {
            told.show("");
        }
        Ok(told.exit())
    }

    fn show_compat(&self, failed: &[(Source, Errors)], table: &Table) {
        for (source, errors) in failed {
            let name = if self.files.len() > 1 { format!("{}: ", source.name) } else { String::new() };
            err(format_args!("{name}{}", errors.compat()));
        }
        if failed.is_empty() {
            for invalid in &table.invalid {
                err(format_args!("{}: {}", invalid.route.id, self.compat(invalid)));
            }
        }
    }

    /// Why a route is left out, in the original's words where its predicates are the reason.
    fn compat(&self, invalid: &Invalid) -> String {
        let options = lookup::Options {
            ignore_trailing_slash: self.ignore_trailing_slash,
            ..lookup::Options::default()
        };
        match lookup::compile(&invalid.route, &PredicateEnv::default(), &options) {
            Err(refusal) => refusal.compat(),
            Ok(_) => {
                let message = &invalid.diagnostic.message;
                let of_route = format!("route `{}`: ", invalid.route.id);
                format!("{}: {}", invalid.code, message.strip_prefix(&of_route).unwrap_or(message))
            }
        }
    }
}

fn good(routes: usize) -> String {
    match routes {
        0 => "there are no routes, and nothing is wrong".to_owned(),
        1 => "1 route is good".to_owned(),
        _ => format!("{} are good", plural(routes, "route")),
    }
}
