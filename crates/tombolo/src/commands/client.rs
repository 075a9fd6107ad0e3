//! `tombolo status`, `logs`, `restart` and `stop`: ask the `tombolo up` that runs a manifest.

use super::asking::{Ask, Client, Lines, block_on};
use crate::term::{BOLD, CYAN, DIM, RED, err, out, out_if_read, paint};
use base::{Fault, Kind};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long `tombolo stop` waits for everything to end.
const STOP_PATIENCE: Duration = Duration::from_secs(120);

/// Which `tombolo up` is meant.
#[derive(Args)]
pub(super) struct Where {
    /// The manifest, or its folder
    #[arg(long, short = 'C', default_value = ".", value_name = "DIR")]
    pub(super) dir: PathBuf,
}

/// Arguments of `tombolo status`.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    place: Where,

    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `tombolo logs`.
#[derive(Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    place: Where,

    /// The services; all if none is named
    services: Vec<String>,

    /// Go on with what they print from now on
    #[arg(long, short)]
    follow: bool,

    /// So many lines of what they printed before
    #[arg(long, short = 'n', default_value = "100")]
    tail: usize,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Arguments of `tombolo restart`.
#[derive(Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    place: Where,

    /// The services
    #[arg(required = true)]
    services: Vec<String>,

    /// Do not build them first
    #[arg(long)]
    no_build: bool,
}

/// Arguments of `tombolo stop`.
#[derive(Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    place: Where,

    /// The services; the whole of `tombolo up` if none is named
    services: Vec<String>,
}

impl Status {
    /// Prints a table.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let about =
            block_on(async { Client::find(&self.place.dir)?.json(Ask::get("/api/v1/status")).await })?;
        if self.json {
            out(serde_json::to_string_pretty(&about).unwrap_or_default());
            return Ok(ExitCode::SUCCESS);
        }
        let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
        out(format_args!(
            "{} gateway at {}  {}",
            paint(BOLD, text("name")),
            paint(CYAN, text("gateway")),
            paint(DIM, format_args!("pid {}", about["pid"]))
        ));
        out("");
        out(crate::up::overview(&about));
        let empty = Vec::new();
        let calls = about["calls"].as_array().unwrap_or(&empty);
        if !calls.is_empty() {
            let rows = calls.iter().map(|call| {
                let text = |key: &str| call[key].as_str().unwrap_or_default();
                let variable = manifest::url_variable(text("callee"));
                vec![format!("{} -> {}", text("caller"), text("callee")), variable, paint(CYAN, text("url"))]
            });
            out("");
            out(indented(&crate::term::table(&["CALL", "VARIABLE", "ADDRESS"], rows.collect())));
        }
        out("");
        let routes = &about["routes"];
        let left_out = match routes["left_out"].as_u64() {
            None | Some(0) => String::new(),
            Some(left_out) => paint(RED, format_args!(", {left_out} left out for errors")),
        };
        out(format_args!("  {} routes serve{left_out}", routes["serving"]));
        Ok(ExitCode::SUCCESS)
    }
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

impl Logs {
    /// Prints lines until there are no more, or for ever with `--follow`.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        block_on(async {
            let client = Client::find(&self.place.dir)?;
            let mut target = format!("/api/v1/logs?tail={}&follow={}", self.tail, self.follow);
            for service in &self.services {
                check_name(service)?;
                target.push_str("&service=");
                target.push_str(service);
            }
            let mut lines = Lines::of(client.send(Ask::get(&target)).await?);
            loop {
                match lines.next().await {
                    // As with `head`: nobody may be left to print for.
                    Ok(Some(line)) if self.print(&line) => {}
                    Ok(_) => return Ok(ExitCode::SUCCESS),
                    // What was followed has ended, which is no error.
                    Err(_) if self.follow && client.has_gone() => return Ok(ExitCode::SUCCESS),
                    Err(fault) => return Err(fault),
                }
            }
        })
    }

    /// Prints a line; whether somebody still reads.
    fn print(&self, line: &str) -> bool {
        if self.json {
            return out_if_read(line);
        }
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { return true };
        if let Some(missed) = value["missed"].as_u64() {
            err(paint(DIM, format_args!("{missed} lines came too fast to be shown")));
            return true;
        }
        let text = value["text"].as_str().unwrap_or_default();
        let name = value["service"].as_str().unwrap_or_default();
        let instance =
            value["instance"].as_u64().filter(|n| *n > 1).map_or_else(String::new, |n| format!(".{n}"));
        out_if_read(format_args!("{} {text}", paint(CYAN, format_args!("{name}{instance} |"))))
    }
}

impl Restart {
    /// Asks for each service.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let verb = if self.no_build { "restart" } else { "rebuild" };
        block_on(async {
            for service in &self.services {
                check_name(service)?;
                let client = Client::find(&self.place.dir)?;
                client.json(Ask::post(&format!("/api/v1/services/{service}/{verb}"))).await?;
                out(format_args!("{} restarts", paint(BOLD, service)));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Stop {
    /// Stops services, or everything; waits until everything has ended.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        block_on(async {
            for service in &self.services {
                check_name(service)?;
                let client = Client::find(&self.place.dir)?;
                client.json(Ask::post(&format!("/api/v1/services/{service}/stop"))).await?;
                out(format_args!("{} stops", paint(BOLD, service)));
            }
            if !self.services.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            let client = Client::find(&self.place.dir)?;
            client.json(Ask::post("/api/v1/stop")).await?;
            let gone = async {
                while client.still_runs() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            if tokio::time::timeout(STOP_PATIENCE, gone).await.is_err() {
                return Err(Fault::new(Kind::Timeout, format!("{} still runs", client.who()))
                    .hint("a service may have a long `stop_grace`; `tombolo status` shows which"));
            }
            out("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// What can't be a service's name must not get into the path of a request.
fn check_name(service: &str) -> Result<(), Fault> {
    if !service.is_empty() && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    let fault = Fault::new(Kind::Invalid, format!("`{service}` can't be the name of a service"));
    Err(if Path::new(service).exists() {
        fault.hint(format!("where the manifest lies is said with `-C {service}`"))
    } else {
        fault.hint("`tombolo status` shows the names")
    })
}
