//! A supervisor in a folder of its own, and words to say what is wanted and what is awaited.

use base::{Chance, Clock};
use control::{Event, Heard, ServiceStatus, Setup, State, Subscriber, Supervisor, Wanted, What};
use manifest::{Command, DependsOn, Restart, Service, ServiceSource, StartWhen};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

/// The service with many habits.
pub(crate) const APP: &str = env!("CARGO_BIN_EXE_control-test-app");

/// Longest wait for anything: far longer than it should take, for the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// For shutdowns that shall not be cut short.
pub(crate) const AMPLE: Duration = Duration::from_secs(25);

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) supervisor: Supervisor,
    events: Subscriber<Event>,
    seen: Vec<Event>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::start(Setup {
            clock: Clock::system(),
            chance: Chance::seeded(1),
            dir: dir.path().to_owned(),
            guard: Some(vec![APP.to_owned(), "guard".to_owned()]),
        });
        let events = supervisor.events();
        Self { dir, supervisor, events, seen: Vec::new() }
    }

    /// Waits for the next event that fits; what came before it is in `seen`.
    #[track_caller]
    pub(crate) fn until(
        &mut self,
        service: &str,
        fits: impl Fn(&What) -> bool,
    ) -> impl Future<Output = Event> {
        let caller = std::panic::Location::caller();
        async move {
            let waiting = async {
                loop {
                    match self.events.next().await {
                        Some(Heard::Item(event)) => {
                            self.seen.push(event.clone());
                            if event.service == service && fits(&event.what) {
                                return event;
                            }
                        }
                        Some(Heard::Missed(_)) => {}
                        None => std::future::pending().await,
                    }
                }
            };
            let event = tokio::time::timeout(PATIENCE, waiting).await.ok();
            event.unwrap_or_else(|| {
                panic!("{caller}: `{service}` did not do it\n{}\n{}", self.story(), self.lines())
            })
        }
    }

    pub(crate) async fn until_healthy(&mut self, service: &str) -> Event {
        self.until(service, |what| matches!(what, What::Healthy { .. })).await
    }

    /// Waits until the status of a service fits.
    #[track_caller]
    pub(crate) fn until_status(
        &self,
        service: &str,
        fits: impl Fn(&ServiceStatus) -> bool,
    ) -> impl Future<Output = ServiceStatus> {
        let caller = std::panic::Location::caller();
        async move {
            let mut watch = self.supervisor.watch_status();
            let find =
                |all: &[ServiceStatus]| all.iter().find(|one| one.name == service && fits(one)).cloned();
            let waiting = watch.wait_for(|all| find(all).is_some());
            let found = match tokio::time::timeout(PATIENCE, waiting).await {
                Ok(Ok(all)) => find(&all),
                _ => None,
            };
            found.unwrap_or_else(|| {
                panic!("{caller}: `{service}`: {:#?}\n{}", self.supervisor.status(), self.lines())
            })
        }
    }

    pub(crate) async fn until_state(&self, service: &str, state: State) -> ServiceStatus {
        self.until_status(service, |status| status.state == state && !status.rolling).await
    }

    pub(crate) fn endpoints(&self, service: &str) -> Vec<SocketAddr> {
        self.supervisor.endpoints().borrow().get(service).cloned().unwrap_or_default()
    }

    /// What happened so far, a line each, without ids and times.
    pub(crate) fn story(&self) -> String {
        let mut story = String::new();
        for event in &self.seen {
            let text = serde_json::to_string(&event.what).unwrap();
            let _ = writeln!(story, "{}.{:?} {text}", event.service, event.instance);
        }
        story
    }

    pub(crate) fn seen(&self) -> &[Event] {
        &self.seen
    }

    /// The lines of all services.
    pub(crate) fn lines(&self) -> String {
        self.supervisor.logs(None, 100).iter().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "{} | {}", line.service, line.text);
            all
        })
    }

    /// What the services noted, such as `start web`.
    pub(crate) fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Reads what a service wrote to a file once it has.
    pub(crate) async fn read(&self, file: &str) -> String {
        let path = self.dir.path().join(file);
        patiently(file, || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))).await
    }
}

/// Looks again and again until there is something.
#[track_caller]
pub(crate) fn patiently<T>(what: &str, look: impl Fn() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let waiting = async {
            loop {
                if let Some(found) = look() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, waiting).await.ok();
        found.unwrap_or_else(|| panic!("{caller}: {what}"))
    }
}

/// Whether the process runs: it is there and no zombie.
pub(crate) fn runs(pid: i32) -> bool {
    let zombie = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')));
    kill(Pid::from_raw(pid), None).is_ok() && !zombie
}

pub(crate) async fn until_gone(pid: i32) {
    patiently("the process is still there", || (!runs(pid)).then_some(())).await;
}

/// The command line of the service with many habits.
pub(crate) fn serve(habits: &[&str]) -> Command {
    let mut command = Command::of(
        [&[APP, "serve", "journal=journal"], habits].concat().iter().map(|&w| w.to_owned()).collect(),
    );
    command.restart = quick_restart();
    command
}

/// A line for the shell.
pub(crate) fn sh(line: &str) -> Command {
    let mut command = Command::of(["/bin/sh", "-c", line].map(str::to_owned).to_vec());
    command.restart = quick_restart();
    command
}

pub(crate) fn quick_restart() -> Restart {
    Restart { backoff: Duration::from_millis(20), limit: 2, ..Restart::default() }
}

pub(crate) fn wanted(name: &str, mut command: Command) -> Wanted {
    command.env.insert("NAME".to_owned(), name.to_owned());
    let service = Service {
        name: name.to_owned(),
        span: 0..0,
        source: ServiceSource::Run(Box::new(command)),
        calls: Vec::new(),
        filters: String::new(),
        filters_span: 0..0,
    };
    Wanted { service, env: BTreeMap::new(), usual: BTreeMap::new() }
}

pub(crate) fn after(mut command: Command, service: &str, when: StartWhen) -> Command {
    command.depends_on.push(DependsOn { service: service.to_owned(), when });
    command
}

/// The process ids of a service's instances.
pub(crate) fn pids(status: &ServiceStatus) -> Vec<u32> {
    status.replicas.iter().filter_map(|replica| replica.pid).collect()
}
