//! `tombolo routes fmt`: files in the usual form, every comment kept.

use super::input;
use super::told::Told;
use crate::term::{BOLD, DIM, err, out, paint, plural};
use base::{Fault, Kind};
use clap::Args;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
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
        let mut told = Told::default();
        let mut differing = 0;
        for file in input::files_or_stdin(&self.files) {
            let Some(source) = input::read(file, &mut told) else { continue };
            match eskip::format(&source) {
                Err(errors) => told.extend(errors.diagnostics()),
                Ok(text) if self.check => {
                    if *text != *source.text {
                        differing += 1;
                        out(&source.name);
                    }
                }
                Ok(text) if input::is_stdin(file) => super::put(&text)?,
                Ok(text) => {
                    if *text != *source.text {
                        replace(file, &text)?;
                        err(format_args!("{} formatted", paint(BOLD, &source.name)));
                    }
                }
            }
        }
        if differing > 0 {
            let files = plural(differing, "file");
            err(paint(DIM, format_args!("{files} would change; `tombolo routes fmt FILE` rewrites them")));
        }
        Ok(match told.refuse() {
            Some(failure) => failure,
            None if differing > 0 => ExitCode::FAILURE,
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
        let old = std::fs::metadata(&target)?;
        // Nobody else may read it before it has the old file's permissions.
        let mut new = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        // Only root may give files away; whoever else formats a file has a new one of their own.
        let _ = std::os::unix::fs::chown(&beside, Some(old.uid()), Some(old.gid()));
        new.set_permissions(old.permissions())?;
        new.sync_all()?;
        std::fs::rename(&beside, &target)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}
