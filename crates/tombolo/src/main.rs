//! The `tombolo` binary: reads the command line and hands over to one file per command. What the parts of
//! Tombolo have to do with each other is in `wiring`.

mod certificates;
mod commands;
mod flags;
mod serving;
mod tapping;
mod term;
mod up;
mod watching;
mod wiring;

use clap::Parser as _;
use std::process::ExitCode;

/// Memory goes back to the machine after a burst of connections, which the C library's allocator keeps; and the
/// middling pieces that a request takes cost less. `bench/burst` and `bench/proxy` show both.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wire::install_crypto();
    let arguments = match commands::arguments(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(fault) => {
            term::fault(&fault);
            return ExitCode::from(2);
        }
    };
    let cli = match commands::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help to standard output and mistakes to standard error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match cli.run() {
        Ok(code) => code,
        Err(fault) => {
            term::fault(&fault);
            ExitCode::FAILURE
        }
    }
}
