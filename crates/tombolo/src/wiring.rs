//! Where the parts of Tombolo meet: the clock, chance, metrics and access log that all share, what planes are
//! built from, and the threads that carry requests. `gateway` and `up` both start here.

use crate::term::{GREEN, YELLOW, err, paint};
use base::{Chance, Clock, Fault, Kind, OnError, Scope};
use proxy::lookup::Options;
use proxy::predicates::PredicateEnv;
use proxy::{Builder, Handles, Lasting, Plane, Secrets, Services, Support, Workers};
use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use telemetry::access::{AccessLog, Format, Target};
use telemetry::{Metrics, access, metrics};
use wire::{Drain, Drainer, Limits};

/// What every part is given.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) lasting: Arc<Lasting>,
    pub(crate) services: Arc<Services>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drainer: Drainer,
    pub(crate) drain: Drain,
    pub(crate) workers: Workers,
    /// Everything long-lived beside the workers, by name.
    pub(crate) scope: Scope,
    shutdown: Arc<AtomicBool>,
}

/// Where access log lines go and how they look.
pub(crate) struct Access {
    pub(crate) format: Format,
    pub(crate) strip_query: bool,
    /// A file; standard output if none.
    pub(crate) file: Option<PathBuf>,
}

/// The runtime of everything but requests: control, support, APIs. One thread is enough for these.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new(Kind::Io, "cannot start the runtime").because(error))
}

impl World {
    /// A world with so many threads for requests; `None`: one for each core.
    pub(crate) fn new(workers: Option<usize>) -> Result<Self, Fault> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = Workers::start(workers.unwrap_or(cores))?;
        let clock = Clock::system();
        let (drainer, drain) = Drainer::new();
        Ok(Self {
            lasting: Lasting::new(clock.clone()),
            scope: Scope::new(clock.clone(), |end| {
                let fault = Fault::new(Kind::Bug, format!("task `{}` failed: {}", end.task, end.error));
                crate::term::fault(&fault);
            }),
            clock,
            chance: Chance::from_entropy(),
            services: Arc::default(),
            metrics: Arc::new(Metrics::new(workers.count())),
            drainer,
            drain,
            workers,
            shutdown: Arc::default(),
        })
    }

    /// What routes are built with. Relative file names in filters begin at `folder`.
    pub(crate) fn builder(
        &self,
        lookup: Options,
        folder: &Path,
        forward: Option<String>,
        handles: Handles,
    ) -> Builder {
        Builder {
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            lasting: self.lasting.clone(),
            services: self.services.clone(),
            metrics: self.metrics.clone(),
            predicates: PredicateEnv::new(self.shutdown.clone()),
            lookup,
            folder: folder.to_owned(),
            forward,
            handles,
        }
    }

    /// Starts the access log.
    pub(crate) fn access_log(&self, options: &Access) -> Result<AccessLog, Fault> {
        let target = match &options.file {
            Some(file) => Target::File(file.clone()),
            None => Target::Stdout,
        };
        let colors = options.file.is_none()
            && std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none();
        let options = access::Options {
            format: options.format,
            strip_query: options.strip_query,
            colors,
            ..Default::default()
        };
        let dropped = self.metrics.counter(metrics::LOG_LINES_DROPPED, &[]);
        AccessLog::start(options, target, self.workers.count(), dropped, |fault| crate::term::fault(&fault))
    }

    /// Starts the log of the filter `auditLog`, on standard error as Skipper's.
    pub(crate) fn audit_log(&self) -> Result<AccessLog, Fault> {
        let dropped = self.metrics.counter(metrics::LOG_LINES_DROPPED, &[]);
        let tell = |fault: Fault| crate::term::fault(&fault);
        AccessLog::start(access::Options::default(), Target::Stderr, 1, dropped, tell)
    }

    /// The gateway's listening sockets: those handed over by systemd (`LISTEN_FDS`, `sd_listen_fds(3)`) or by
    /// whoever starts us the same way, otherwise new ones, one for each worker.
    pub(crate) fn gateway_listeners(&self, address: SocketAddr) -> Result<Vec<TcpListener>, Fault> {
        let mut handed = listenfd::ListenFd::from_env();
        match handed.take_tcp_listener(0) {
            Ok(Some(listener)) => {
                listener.set_nonblocking(true)?;
                Ok(vec![listener])
            }
            Ok(None) => wire::bind_each(address, self.workers.count())
                .map_err(|fault| name_listener(fault, address, "the gateway")),
            Err(error) => {
                Err(Fault::new(Kind::Invalid, "the socket handed over to us is no TCP listener")
                    .because(error))
            }
        }
    }

    /// Serves the support listener on the runtime this is called in.
    pub(crate) fn serve_support(&self, listener: TcpListener, planes: Vec<Arc<Plane>>) -> Result<(), Fault> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let support = Support::new(planes);
        let serve = wire::serve(listener, None, None, Limits::default(), support, self.drain.clone());
        self.scope.spawn_once("support", OnError::Report, serve);
        Ok(())
    }

    /// Has a plane tended on the runtime this is called in: endpoints are probed, what nobody wants is
    /// forgotten. Changes of health are a line on standard error each.
    pub(crate) fn tend(&self, name: &str, plane: &Arc<Plane>) {
        let plane = plane.clone();
        self.scope.spawn(format!("tend {name}"), OnError::Restart, move || {
            let tending = plane.clone().tend(|change| {
                let (style, word) = if change.healthy { (GREEN, "info") } else { (YELLOW, "warning") };
                err(format_args!("{}: {change}", paint(style, word)));
            });
            async move {
                tending.await;
                Ok(())
            }
        });
    }

    /// Has secrets read again and again, beside everything else. What goes wrong is a line each, once.
    pub(crate) fn watch_secrets(&self, secrets: &Arc<Secrets>, every: Duration) {
        if secrets.is_empty() {
            return;
        }
        let (secrets, clock) = (secrets.clone(), self.clock.clone());
        self.scope.spawn("secrets", OnError::Restart, move || {
            let (secrets, clock) = (secrets.clone(), clock.clone());
            async move {
                let mut told = Vec::new();
                loop {
                    clock.sleep(every.max(Duration::from_millis(100))).await;
                    let reading = secrets.clone();
                    let read = tokio::task::spawn_blocking(move || reading.refresh()).await;
                    let faults =
                        read.map_err(|error| Fault::new(Kind::Bug, "reading secrets").because(error))?;
                    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
                    faults
                        .iter()
                        .filter(|fault| !told.contains(&fault.to_string()))
                        .for_each(crate::term::fault);
                    told = texts;
                }
            }
        });
    }

    /// Says that we are going to stop: `Shutdown()` holds from now on.
    pub(crate) fn announce_shutdown(&self) {
        self.shutdown.store(true, Ordering::Relaxed);
    }
}

/// Adds to a fault of listening for what it was wanted, and who has it.
pub(crate) fn name_listener(mut fault: Fault, address: SocketAddr, wanted_for: &str) -> Fault {
    if fault.kind != Kind::Conflict {
        fault.message = format!("{wanted_for}: {}", fault.message);
        return fault;
    }
    let who = control::who_listens(address).map_or_else(String::new, |who| format!(" by {who}"));
    let named = Fault::new(Kind::Conflict, format!("port {} for {wanted_for} is taken{who}", address.port()));
    named.hint(fault.hint.unwrap_or_else(|| "choose another address".to_owned()))
}

/// Reads `host:port`; `:port` is that port on all addresses of this machine, as Skipper reads it.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let full = full.replace("localhost:", "127.0.0.1:");
    full.parse().map_err(|_| format!("`{text}` is no address: write it like `127.0.0.1:9090` or `:9090`"))
}
