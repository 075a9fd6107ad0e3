//! `tombolo guard`: the guardian that `up` starts, so that nothing is left behind even if `up` is killed.

use base::Fault;
use clap::Args;
use std::process::ExitCode;

/// Arguments of `tombolo guard`.
#[derive(Args)]
pub(crate) struct Guard {}

impl Guard {
    /// Waits for the end of its owner, then ends the process groups it was told of.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        control::guard::run()?;
        Ok(ExitCode::SUCCESS)
    }
}
