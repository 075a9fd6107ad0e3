//! `tombolo init`: writes a first manifest.

use crate::term::{BOLD, GREEN, out, paint};
use base::{Fault, Kind};
use clap::Args;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo init`.
#[derive(Args)]
pub(crate) struct Init {
    /// The folder; made if it is not there
    #[arg(default_value = ".")]
    folder: PathBuf,
}

impl Init {
    /// Writes `tombolo.yaml`; never over one that is there.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let here = self.folder.as_os_str() == ".";
        let path = if here { PathBuf::from("tombolo.yaml") } else { self.folder.join("tombolo.yaml") };
        std::fs::create_dir_all(&self.folder).map_err(|error| {
            Fault::new(Kind::Io, format!("`{}` can't be made a folder", self.folder.display())).because(error)
        })?;
        let write = || {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(manifest::FIRST.as_bytes())
        };
        write().map_err(|error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Fault::new(Kind::Conflict, format!("`{}` is there already", path.display()))
                    .hint("`tombolo check` says what is wrong with it, if anything is")
            }
            _ => Fault::new(Kind::Io, format!("`{}` can't be written", path.display())).because(error),
        })?;
        let place = if here { String::new() } else { format!(" {}", self.folder.display()) };
        out(format_args!("{} {}", paint(GREEN, "wrote"), path.display()));
        out(format_args!("next: {}", paint(BOLD, format_args!("tombolo up{place}"))));
        Ok(ExitCode::SUCCESS)
    }
}
