//! `tombolo up`: the command line of it; the work is in `crate::up`.

use crate::serving::Signals;
use crate::term::{count, err};
use crate::up::{House, Screen, read_manifest};
use base::Fault;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo up`.
#[derive(Args)]
pub(crate) struct Up {
    /// The manifest, or the folder of a tombolo.yaml
    #[arg(default_value = ".")]
    path: PathBuf,

    /// One JSON object a line: events, log lines, diagnostics
    #[arg(long)]
    json: bool,
}

impl Up {
    /// Runs until Ctrl-C, SIGTERM or `tombolo stop`.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let (plan, mut told) = read_manifest(&self.path)?;
        if let Some(plan) = &plan {
            told.extend(plan.missing_files());
        }
        let screen = Screen::new(self.json);
        screen.diagnostics(&told);
        let plan = match plan {
            Some(plan) if !crate::up::has_errors(&told) => plan,
            _ => {
                // What it has to print stands before the last word.
                drop(screen);
                if !self.json {
                    err(format_args!(
                        "{} in the manifest, nothing was started",
                        count(&told).unwrap_or_default()
                    ));
                }
                return Ok(ExitCode::FAILURE);
            }
        };
        control::raise_descriptors();
        let runtime = crate::wiring::runtime()?;
        runtime.block_on(async {
            let signals = Signals::new();
            let house = Box::pin(House::open(plan, screen)).await?;
            Box::pin(house.run(signals)).await
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
