//! The commands, one file each. The command line is read here; what a command does is in its file.

mod check;
mod client;
mod completions;
mod gateway;
mod guard;
mod init;
mod routes;
mod up;

use base::Fault;
use clap::{Parser, Subcommand};
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
    Up(up::Up),
    /// Run the gateway alone, with Skipper's flags
    Gateway(Box<gateway::GatewayCommand>),
    /// Check, format, convert, compare and explain eskip routes
    #[command(subcommand)]
    Routes(routes::Routes),
    /// Show the services that `tombolo up` runs
    Status(client::Status),
    /// Show and follow what the services print
    Logs(client::Logs),
    /// Restart services, building them first where the manifest says how
    Restart(client::Restart),
    /// Stop services, or all of `tombolo up`
    Stop(client::Stop),
    /// Write a first manifest
    Init(init::Init),
    /// Check a manifest, its files and its routes without starting anything
    Check(check::Check),
    /// Print the completion script of a shell
    Completions(completions::Completions),
    /// End process groups whose owner has gone (started by `up`)
    #[command(hide = true)]
    Guard(guard::Guard),
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitCode, Fault> {
        match self.command {
            Command::Up(command) => command.run(),
            Command::Gateway(command) => command.run(),
            Command::Routes(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Logs(command) => command.run(),
            Command::Restart(command) => command.run(),
            Command::Stop(command) => command.run(),
            Command::Init(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Guard(command) => command.run(),
        }
    }
}

/// Skipper takes its flags with one dash (`-routes-file`); for `gateway` one dash is as good as two.
pub(crate) fn single_dashes(arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_none_or(|command| command != "gateway") {
        return arguments;
    }
    arguments
        .into_iter()
        .map(|argument| match argument.to_str() {
            // `-h` and `-V` are clap's own; a negative number is a value.
            Some(text)
                if text.len() > 2 && text.starts_with('-') && text.as_bytes()[1].is_ascii_alphabetic() =>
            {
                OsString::from(format!("-{text}"))
            }
            _ => argument,
        })
        .collect()
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
        command_line().debug_assert();
    }

    #[test]
    fn skippers_single_dashes_are_read_by_the_gateway_alone() {
        let read = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            single_dashes(words).into_iter().map(|w| w.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            read("tombolo gateway -address :9090 --strict -h -routes-file=a"),
            "tombolo gateway --address :9090 --strict -h --routes-file=a"
        );
        assert_eq!(read("tombolo routes -address"), "tombolo routes -address");
    }
}
