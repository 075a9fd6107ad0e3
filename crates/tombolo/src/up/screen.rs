//! What people see of `tombolo up`: builds with their time, one table of services and addresses when all is
//! settled, prefixed and coloured log lines, and for what fails its last lines and its cause.

use super::house::Addresses;
use super::overview::overview;
use super::plan::Plan;
use crate::term::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, err, out, paint};
use anstyle::{AnsiColor, Style};
use base::{Diagnostic, Fault};
use control::{Applied, Ended, Event, Line, ServiceStatus, State, Stream, Trouble, What};
use manifest::ServiceSource;
use std::collections::BTreeMap;

/// Colours of services' prefixes, in turn. Red and yellow are for trouble.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
];

/// Prints what happens. Machines get one JSON object a line instead.
pub(crate) struct Screen {
    json: bool,
    quiet: bool,
    width: usize,
    colours: BTreeMap<String, Style>,
    /// Whether the table was shown for what is wanted now.
    settled: bool,
}

impl Screen {
    /// For people, or as JSON lines.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, quiet: false, width: 7, colours: BTreeMap::new(), settled: false }
    }

    /// For nobody.
    pub(crate) fn quiet() -> Self {
        Self { quiet: true, ..Self::new(false) }
    }

    /// All ports are open.
    pub(crate) fn opened(&mut self, plan: &Plan, addresses: Addresses) {
        let names = plan.names();
        self.width = names.iter().map(|name| name.len() + 2).max().unwrap_or(0).max(7);
        for (at, name) in names.iter().enumerate() {
            self.colours.insert((*name).to_owned(), COLOURS[at % COLOURS.len()].on_default());
        }
        if !self.json && !self.quiet {
            let gateway = url(addresses);
            err(format_args!("{} gateway at {}", paint(BOLD, plan.name()), paint(CYAN, gateway)));
        }
    }

    /// Services are about to change.
    pub(crate) fn applied(&mut self, applied: &Applied) {
        if !(applied.started.is_empty() && applied.restarted.is_empty() && applied.stopped.is_empty()) {
            self.settled = false;
        }
    }

    /// A line of a service.
    pub(crate) fn line(&self, line: &Line) {
        if self.quiet {
            return;
        }
        if self.json {
            return self.object(&serde_json::json!({ "log": line }));
        }
        let text = match line.stream {
            Stream::Stderr | Stream::Stdout => line.text.clone(),
            Stream::Build => paint(DIM, &line.text),
        };
        out(format_args!("{} {text}", self.prefix(&line.service, line.instance)));
    }

    /// Lines came faster than they could be printed.
    pub(crate) fn missed(&self, lines: u64) {
        self.note(&format!("{lines} lines not shown here; `tombolo logs` has the last of each service"));
    }

    /// Something of ours to know.
    pub(crate) fn note(&self, text: &str) {
        if self.quiet {
        } else if self.json {
            self.object(&serde_json::json!({ "note": text }));
        } else {
            err(format_args!("{} {text}", self.prefix("tombolo", None)));
        }
    }

    /// An error that stops nothing.
    pub(crate) fn fault(&self, fault: &Fault) {
        if self.json {
            self.object(&serde_json::json!({ "error": fault.to_string(), "hint": fault.hint }));
        } else if !self.quiet {
            crate::term::fault(fault);
        }
    }

    /// What is wrong with what somebody wrote.
    pub(crate) fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        if self.json {
            for diagnostic in diagnostics {
                self.object(&serde_json::json!({ "diagnostic": diagnostic.report() }));
            }
        } else if !self.quiet {
            crate::term::diagnostics(diagnostics);
        }
    }

    /// Something happened to a service.
    pub(crate) fn event(&mut self, event: &Event) {
        if self.quiet {
            return;
        }
        if self.json {
            return self.object(&serde_json::json!({ "event": event }));
        }
        let name = if event.service.is_empty() { "tombolo" } else { &event.service };
        let say = |text: String| err(format_args!("{} {text}", self.prefix(name, event.instance)));
        match &event.what {
            What::BuildStarted { command, .. } => {
                say(paint(DIM, format_args!("building: {}", shell(command))));
            }
            What::BuildFinished { ok: true, took_ms, .. } => {
                say(paint(DIM, format_args!("built in {}", seconds(*took_ms))));
            }
            What::BuildFinished { trouble, last_lines, .. } => {
                self.last_lines(name, event.instance, last_lines);
                say(paint(RED, "the build failed"));
                if let Some(trouble) = trouble {
                    self.trouble(name, event.instance, trouble);
                }
            }
            What::Started { .. } | What::Stopping | What::Exited { asked: true, .. } => {}
            What::Healthy { took_ms, port } => {
                say(format!("{} on port {port} after {}", paint(GREEN, "healthy"), seconds(*took_ms)));
            }
            What::Unhealthy(trouble) | What::Failed(trouble) | What::Trouble(trouble) => {
                self.trouble(name, event.instance, trouble);
            }
            What::Exited { trouble, .. } => self.trouble(name, event.instance, trouble),
            What::Restarting { after_ms, restarts } => {
                say(paint(YELLOW, format_args!("restart {restarts} in {}", seconds(*after_ms))));
            }
            What::CrashLooped { trouble, restarts, last_lines } => {
                self.last_lines(name, event.instance, last_lines);
                say(paint(
                    RED.bold(),
                    format_args!("crash-looping: ended again after {restarts} restarts, left ended"),
                ));
                self.trouble(name, event.instance, trouble);
                say(format!("{}: fix it and run `tombolo restart {name}`", paint(CYAN.bold(), "hint")));
            }
            What::Done { success } => {
                say(if *success {
                    paint(DIM, "done")
                } else {
                    paint(RED, "ended with a failure, left ended")
                });
            }
            What::Stopped { killed: true } => say(paint(YELLOW, "did not end in time and was killed")),
            What::Stopped { killed: false } => say(paint(DIM, "stopped")),
            What::Stuck { pid } => {
                let pid = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
                say(paint(
                    RED,
                    format_args!("its process{pid} does not end even when killed: it is stuck in the kernel"),
                ));
            }
        }
    }

    /// Shows the table once all services have come to rest.
    pub(crate) fn settled(&mut self, services: &[ServiceStatus], plan: &Plan, addresses: Addresses) {
        let moving = |service: &ServiceStatus| {
            service.rolling
                || matches!(
                    service.state,
                    State::Waiting | State::Building | State::Starting | State::Stopping
                )
        };
        let stuck =
            |service: &ServiceStatus| service.state == State::Waiting && !service.waiting_for.is_empty();
        let wanted =
            plan.manifest.services.iter().filter(|s| matches!(s.source, ServiceSource::Run(_))).count();
        // Who waits for a service that has failed for good is at rest as well.
        let failed = services.iter().any(|service| {
            matches!(service.state, State::BuildFailed | State::Failed | State::CrashLooped | State::Stopped)
        });
        let at_rest = services.iter().all(|service| !moving(service) || (failed && stuck(service)));
        if self.settled || self.quiet || services.len() != wanted || !at_rest {
            return;
        }
        self.settled = true;
        if self.json {
            self.object(&serde_json::json!({ "settled": services, "gateway": url(addresses) }));
            return;
        }
        err("");
        err(overview(&serde_json::json!({ "services": services, "outside": plan.outside() })));
        err("");
        err(format_args!("  gateway  {}", paint(CYAN, url(addresses))));
        if let Some(support) = addresses.support {
            err(format_args!("  routes   {}", paint(CYAN, format_args!("http://{support}/routes"))));
            err(format_args!("  metrics  {}", paint(CYAN, format_args!("http://{support}/metrics"))));
        }
        err(paint(
            DIM,
            "  Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal",
        ));
        err("");
    }

    /// Somebody said stop.
    pub(crate) fn stopping(&self, reason: &str) {
        self.note(&format!("{reason}: finishing requests, then stopping services in order (again: at once)"));
    }

    /// Somebody said stop again.
    pub(crate) fn hurrying(&self) {
        self.note("stopping at once");
    }

    /// All is stopped.
    pub(crate) fn stopped(&self, ended: &Ended) {
        let killed = if ended.killed.is_empty() {
            String::new()
        } else {
            format!("; killed, since they did not end in time: {}", ended.killed.join(", "))
        };
        self.note(&format!("all stopped in {}{killed}", seconds(ended.took_ms)));
    }

    fn prefix(&self, name: &str, instance: Option<u32>) -> String {
        let style = self.colours.get(name).copied().unwrap_or(DIM);
        let name = match instance {
            Some(instance) if instance > 1 => format!("{name}.{instance}"),
            _ => name.to_owned(),
        };
        paint(style, format_args!("{name:<width$} |", width = self.width))
    }

    fn trouble(&self, name: &str, instance: Option<u32>, trouble: &Trouble) {
        err(format_args!("{} {}", self.prefix(name, instance), paint(RED, &trouble.message)));
        if let Some(hint) = &trouble.hint {
            err(format_args!("{} {}: {hint}", self.prefix(name, instance), paint(CYAN.bold(), "hint")));
        }
    }

    fn last_lines(&self, name: &str, instance: Option<u32>, lines: &[String]) {
        if !lines.is_empty() {
            err(format_args!("{} its last lines:", self.prefix(name, instance)));
            for line in lines {
                err(format_args!("{}   {}", self.prefix(name, instance), paint(DIM, line)));
            }
        }
    }

    fn object(&self, value: &serde_json::Value) {
        if !self.quiet {
            out(value);
        }
    }
}

/// The gateway as people open it: an address that stands for all is shown as this machine's own.
fn url(addresses: Addresses) -> String {
    let scheme = if addresses.tls { "https" } else { "http" };
    let mut address = addresses.gateway;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("{scheme}://{address}")
}

fn shell(command: &[String]) -> String {
    match command {
        [shell, flag, script] if shell == "/bin/sh" && flag == "-c" => script.clone(),
        words => words.join(" "),
    }
}

fn seconds(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1000.0) }
}
