//! `tombolo completions`: the completion script of a shell.

use base::Fault;
use clap::Args;
use clap_complete::Shell;
use std::process::ExitCode;

/// Arguments of `tombolo completions`.
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell; for bash: `source <(tombolo completions bash)`
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command_line(), "tombolo", &mut script);
        crate::term::out_raw(&String::from_utf8_lossy(&script));
        Ok(ExitCode::SUCCESS)
    }
}
