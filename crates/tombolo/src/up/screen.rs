//! What people see of `tombolo up`: builds with their time, one table of services and addresses when all is
//! settled, prefixed and coloured log lines, and for what fails its last lines and its cause.

use super::house::Addresses;
use super::overview::overview;
use super::plan::Plan;
use super::printer::Printer;
use crate::term::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, fault_text, paint};
use anstyle::{AnsiColor, Style};
use base::{Diagnostic, Fault, UnixTime};
use control::{Applied, Ended, Event, Line, ServiceStatus, State, Stream, Trouble, What};
use manifest::ServiceSource;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Colours of services' prefixes, in turn. Red and yellow are for trouble.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
];

/// Columns for names in front of lines, at least: `tombolo` has seven letters.
const WIDTH_MIN: usize = 7;

/// After so many restarts a service that ends is no longer waited for.
const RESTARTS_AT_REST: u32 = 4;

/// A start that takes longer is worth a word.
const SLOW: Duration = Duration::from_secs(5);

/// Prints what happens. Machines get one JSON object a line instead.
pub(crate) struct Screen {
    json: bool,
    quiet: bool,
    width: usize,
    colours: BTreeMap<String, Style>,
    shown: Shown,
    /// Services of which was said that they take long to start.
    slow: BTreeSet<String>,
    printer: Printer,
}

/// Whether the table was shown for what is wanted now, and how things stood then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    No,
    /// It is shown once more when all is well.
    Trouble,
    Well,
}

impl Screen {
    /// For people, or as JSON lines.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            quiet: false,
            width: WIDTH_MIN,
            colours: BTreeMap::new(),
            shown: Shown::No,
            slow: BTreeSet::new(),
            printer: Printer::start(),
        }
    }

    /// For nobody.
    pub(crate) fn quiet() -> Self {
        Self { quiet: true, ..Self::new(false) }
    }

    /// All ports are open.
    pub(crate) fn opened(&mut self, plan: &Plan, addresses: Addresses) {
        self.know(plan);
        if !self.json && !self.quiet {
            let gateway = url(addresses);
            self.printer.err(format_args!(
                "{} gateway at {}",
                paint(BOLD, plan.name()),
                paint(CYAN, gateway)
            ));
        }
    }

    /// These are the services from now on. Who has a colour keeps it.
    pub(crate) fn know(&mut self, plan: &Plan) {
        let names = plan.names();
        self.width = names.iter().map(|name| name.len() + 2).max().unwrap_or(0).max(WIDTH_MIN);
        for name in names {
            let next = COLOURS[self.colours.len() % COLOURS.len()].on_default();
            self.colours.entry(name.to_owned()).or_insert(next);
        }
    }

    /// Services are about to change.
    pub(crate) fn applied(&mut self, applied: &Applied) {
        if !(applied.started.is_empty() && applied.restarted.is_empty() && applied.stopped.is_empty()) {
            self.shown = Shown::No;
            self.slow.clear();
        }
    }

    /// Whether machines read this.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether lines of services may be printed now; if not, [`room`](Self::room) tells when.
    pub(crate) fn has_room(&self) -> bool {
        self.printer.has_room()
    }

    /// Waits until there is room.
    pub(crate) async fn room(&self) {
        self.printer.room().await;
    }

    /// Whether [`starting`](Self::starting) may still have something to say.
    pub(crate) fn is_waiting(&self) -> bool {
        self.shown == Shown::No
    }

    /// Says of services that take long to start what they are waited for.
    pub(crate) fn starting(&mut self, services: &[ServiceStatus], now: UnixTime) {
        for service in services {
            for one in service.replicas.iter().filter(|one| one.state == State::Starting) {
                let (Some(since), Some(health)) = (one.started_at, &one.health) else { continue };
                if now.0.saturating_sub(since.0) < SLOW || !self.slow.insert(service.name.clone()) {
                    continue;
                }
                let text = format!("still starting: {health}");
                if self.json {
                    self.object(&serde_json::json!({ "note": text, "service": service.name }));
                } else if !self.quiet {
                    self.printer.err(format_args!(
                        "{} {}",
                        self.prefix(&service.name, None),
                        paint(YELLOW, text)
                    ));
                }
            }
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
        self.printer.out(format_args!("{} {text}", self.prefix(&line.service, line.instance)));
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
            self.printer.err(format_args!("{} {text}", self.prefix("tombolo", None)));
        }
    }

    /// An error that stops nothing.
    pub(crate) fn fault(&self, fault: &Fault) {
        if self.json {
            self.object(&serde_json::json!({ "error": fault.to_string(), "hint": fault.hint }));
        } else if !self.quiet {
            self.printer.err(fault_text(fault));
        }
    }

    /// What is wrong with what somebody wrote.
    pub(crate) fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        if self.json {
            for diagnostic in diagnostics {
                self.object(&serde_json::json!({ "diagnostic": diagnostic.report() }));
            }
        } else if !self.quiet {
            for diagnostic in diagnostics {
                self.printer.err(format_args!("{}\n", diagnostic.render(true)));
            }
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
        let say =
            |text: String| self.printer.err(format_args!("{} {text}", self.prefix(name, event.instance)));
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
            What::CrashLooped { restarts, last_lines, .. } => {
                self.last_lines(name, event.instance, last_lines);
                say(paint(
                    RED.bold(),
                    format_args!("crash-looping: ended again after {restarts} restarts, left ended"),
                ));
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
        // One that ends again and again is at rest: what it does next, it will do for long.
        let again = |service: &ServiceStatus| {
            service.state == State::Backoff
                && service.replicas.iter().all(|one| one.restarts < RESTARTS_AT_REST)
        };
        let stuck =
            |service: &ServiceStatus| service.state == State::Waiting && !service.waiting_for.is_empty();
        let wanted =
            plan.manifest.services.iter().filter(|s| matches!(s.source, ServiceSource::Run(_))).count();
        // Who waits for a service that has failed for good is at rest as well.
        let failed = services.iter().any(|service| {
            matches!(service.state, State::BuildFailed | State::Failed | State::CrashLooped | State::Stopped)
        });
        let at_rest =
            services.iter().all(|service| !(moving(service) || again(service)) || (failed && stuck(service)));
        let well = services.iter().all(|service| matches!(service.state, State::Healthy | State::Done));
        let news = match self.shown {
            Shown::No => true,
            Shown::Trouble => well,
            Shown::Well => false,
        };
        if self.quiet || services.len() != wanted || !at_rest || !news {
            return;
        }
        self.shown = if well { Shown::Well } else { Shown::Trouble };
        if self.json {
            self.object(&serde_json::json!({ "settled": services, "gateway": url(addresses) }));
            return;
        }
        self.printer.err("");
        self.printer.err(overview(&serde_json::json!({ "services": services, "outside": plan.outside() })));
        self.printer.err("");
        self.printer.err(format_args!("  gateway  {}", paint(CYAN, url(addresses))));
        self.printer
            .err(format_args!("  console  {}", paint(CYAN, format_args!("http://{}", addresses.api))));
        if let Some(support) = addresses.support {
            self.printer
                .err(format_args!("  routes   {}", paint(CYAN, format_args!("http://{support}/routes"))));
            self.printer
                .err(format_args!("  metrics  {}", paint(CYAN, format_args!("http://{support}/metrics"))));
        }
        if let Some(messagedb) = addresses.messagedb {
            self.printer
                .err(format_args!("  streams  {}", paint(CYAN, super::house::messagedb_url(messagedb))));
        }
        for (name, door) in addresses.traces.named() {
            self.printer.err(format_args!("  {name:<7}  {}", paint(CYAN, format_args!("http://{door}"))));
        }
        self.printer.err(paint(
            DIM,
            "  Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal",
        ));
        self.printer.err("");
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
        self.printer.err(format_args!("{} {}", self.prefix(name, instance), paint(RED, &trouble.message)));
        if let Some(hint) = &trouble.hint {
            self.printer.err(format_args!(
                "{} {}: {hint}",
                self.prefix(name, instance),
                paint(CYAN.bold(), "hint")
            ));
        }
    }

    fn last_lines(&self, name: &str, instance: Option<u32>, lines: &[String]) {
        if !lines.is_empty() {
            self.printer.err(format_args!("{} its last lines:", self.prefix(name, instance)));
            for line in lines {
                self.printer.err(format_args!("{}   {}", self.prefix(name, instance), paint(DIM, line)));
            }
        }
    }

    fn object(&self, value: &serde_json::Value) {
        if !self.quiet {
            self.printer.out(value);
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
