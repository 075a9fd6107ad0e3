//! `tombolo console`: the link that opens the console of a running `tombolo up` and signs in. Only who may read the
//! run file can make it.

use super::asking::Client;
use crate::term::out;
use base::Fault;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `tombolo console`.
#[derive(Args)]
pub(crate) struct Console {
    /// The manifest, or its folder
    #[arg(long, short = 'C', default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

impl Console {
    /// Prints the link.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        out(Client::find(&self.dir)?.sign_in_link());
        Ok(ExitCode::SUCCESS)
    }
}
