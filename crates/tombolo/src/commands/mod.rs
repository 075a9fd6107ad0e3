//! The commands, one file each. The command line is read here; what a command does is in its file.

mod asking;
mod check;
mod client;
mod completions;
mod console;
mod consumers;
mod doctor;
mod gateway;
mod guard;
mod init;
mod later;
mod messages;
mod routes;
mod store;
mod tap;
mod top;
mod traces;
mod up;

use self::later::Later;
use crate::term;
use base::Fault;
use clap::{Args as _, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// All that lies between services, in one binary.
///
/// Services are islands, the monolith is the mainland; a tombolo is the bar of sand between them.
#[derive(Parser)]
#[command(name = "tombolo", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and run the services of a manifest behind its gateway
    Up(Later<up::Up>),
    /// Run the gateway alone, with Skipper's flags
    Gateway(Later<Box<gateway::GatewayCommand>>),
    /// Check, format, convert, compare and explain eskip routes
    #[command(subcommand)]
    Routes(routes::Routes),
    /// Write, read and follow streams of messages
    #[command(subcommand)]
    Messages(messages::Messages),
    /// Look at consumers of messages, pause them, set them back, and deal with their dead letters
    #[command(subcommand)]
    Consumers(consumers::Consumers),
    /// Find traces, show one as a waterfall, and follow them
    #[command(subcommand)]
    Traces(traces::Traces),
    /// Watch requests and messages as they pass, those that match an expression
    Tap(Later<tap::Tap>),
    /// Say what the traffic tells of the architecture, with evidence and remedy
    Doctor(Later<doctor::Doctor>),
    /// Watch the rate, errors and durations of services and routes
    Top(Later<top::Top>),
    /// Verify, dump, back up and restore the store of messages
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Show the services that `tombolo up` runs
    Status(Later<client::Status>),
    /// Show and follow what the services print
    Logs(Later<client::Logs>),
    /// Print a link that opens the console and signs in
    Console(Later<console::Console>),
    /// Restart services, building them first where the manifest says how
    Restart(Later<client::Restart>),
    /// Stop services, or all of `tombolo up`
    Stop(Later<client::Stop>),
    /// Write a first manifest
    Init(Later<init::Init>),
    /// Check a manifest, its files and its routes without starting anything
    Check(Later<check::Check>),
    /// Print the completion script of a shell
    Completions(Later<completions::Completions>),
    /// End process groups whose owner has gone (started by `up`)
    #[command(hide = true)]
    Guard(Later<guard::Guard>),
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitCode, Fault> {
        match self.command {
            Command::Up(Later(command)) => command.run(),
            Command::Gateway(Later(command)) => command.run(),
            Command::Routes(command) => command.run(),
            Command::Messages(command) => command.run(),
            Command::Consumers(command) => command.run(),
            Command::Traces(command) => command.run(),
            Command::Tap(Later(command)) => command.run(),
            Command::Doctor(Later(command)) => command.run(),
            Command::Top(Later(command)) => command.run(),
            Command::Store(command) => command.run(),
            Command::Status(Later(command)) => command.run(),
            Command::Logs(Later(command)) => command.run(),
            Command::Console(Later(command)) => command.run(),
            Command::Restart(Later(command)) => command.run(),
            Command::Stop(Later(command)) => command.run(),
            Command::Init(Later(command)) => command.run(),
            Command::Check(Later(command)) => command.run(),
            Command::Completions(Later(command)) => command.run(),
            Command::Guard(Later(command)) => command.run(),
        }
    }
}

/// The command line as clap takes it. What is to be told of flags that say nothing is told.
pub(crate) fn arguments(all: Vec<OsString>) -> Result<Vec<OsString>, Fault> {
    let (taken, notes) = crate::flags::skipper::arguments(all, gateway_flags)?;
    for note in notes {
        term::err(format_args!("note: {note}"));
    }
    Ok(taken)
}

/// The flags of `tombolo gateway`.
pub(crate) fn gateway_flags() -> clap::Command {
    gateway::GatewayCommand::augment_args(clap::Command::new("gateway"))
}

/// The command line, for the completion scripts.
pub(crate) fn command_line() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        let mut all = command_line();
        all.build();
        all.debug_assert();
    }
}
