//! `tombolo routes fmt`: files in the usual form, every comment kept.

use crate::term::{BOLD, err, out_raw, paint};
use base::{Fault, Kind};
use clap::Args;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `tombolo routes fmt`.
#[derive(Args)]
pub(crate) struct Fmt {
    /// Files to rewrite; standard input goes to standard output
    files: Vec<PathBuf>,

    /// Change nothing: name the files that would change, and fail if there are any
    #[arg(long)]
    check: bool,
}

impl Fmt {
    /// Rewrites files. One with errors is left alone and reported; the others are rewritten all the same.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let mut told = Vec::new();
        let mut differing = false;
        let stdin = [PathBuf::from("-")];
        for file in if self.files.is_empty() { &stdin[..] } else { &self.files[..] } {
            let source = super::read(file)?;
            match eskip::format(&source) {
                Err(errors) => told.extend(errors.diagnostics()),
                Ok(text) if self.check => {
                    if *text != *source.text {
                        differing = true;
                        err(format_args!("{} would change", paint(BOLD, &source.name)));
                    }
                }
                Ok(text) if file == Path::new("-") => out_raw(&text),
                Ok(text) => {
                    if *text != *source.text {
                        replace(file, &text)?;
                        err(format_args!("{} formatted", paint(BOLD, &source.name)));
                    }
                }
            }
        }
        Ok(match super::refuse(&told) {
            Some(failure) => failure,
            None if differing => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        })
    }
}

/// Puts a text in the place of a file's, whole or not at all: a new file beside it takes its name. What is
/// behind a link is replaced, not the link.
fn replace(file: &Path, text: &str) -> Result<(), Fault> {
    let failed = |error: std::io::Error| {
        Fault::new(Kind::Io, format!("`{}` can't be rewritten", file.display()))
            .hint("it is as it was; may you write in its folder?")
            .because(error)
    };
    let target = std::fs::canonicalize(file).map_err(failed)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = target.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let write = || {
        let mut new = std::fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
        new.write_all(text.as_bytes())?;
        new.set_permissions(std::fs::metadata(&target)?.permissions())?;
        new.sync_all()?;
        std::fs::rename(&beside, &target)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}
