//! The door: a handle that tells the engine what is wished and lets callers see what is. Cheap to clone.

use crate::engine::{self, Engine, Input};
use crate::feed::{Feed, Subscriber};
use crate::guard::Guardian;
use crate::instance::Context;
use crate::logs::{Line, Logs};
use crate::ports::Ports;
use crate::status::{Event, ServiceStatus, Trouble, What};
use base::{Chance, Clock, Fault, Kind, OnError, Scope, queue};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Most things that wait for the engine at once; whoever brings more waits.
const INPUTS_MAX: usize = 1024;

/// How long the supervisor's own tasks may take to end after all processes have.
const TASKS_PATIENCE: Duration = Duration::from_secs(2);

/// How a supervisor is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where time comes from.
    pub clock: Clock,
    /// Where chance comes from.
    pub chance: Chance,
    /// The manifest's folder: relative paths of services begin there.
    pub dir: PathBuf,
    /// The command line of the guardian, a process that executes [`guard::run`](crate::guard::run): it ends
    /// every process of ours should we be killed. `None` for none.
    pub guard: Option<Vec<String>>,
}

/// A service that shall run.
#[derive(Clone, PartialEq)]
pub struct Wanted {
    /// As the manifest says. One that is found elsewhere (`at`) is left alone.
    pub service: manifest::Service,
    /// Variables given to it besides its own, such as `CATALOG_URL`; they win over those.
    pub env: BTreeMap<String, String>,
    /// Variables that hold unless its own say something else, such as `OTEL_SERVICE_NAME`.
    pub usual: BTreeMap<String, String>,
}

/// What [`Supervisor::apply`] set about to do: names of services, in start order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// New ones.
    pub started: Vec<String>,
    /// Changed in a way their processes would notice.
    pub restarted: Vec<String>,
    /// Changed without need of a restart: replicas, health checks, limits of restarts.
    pub adjusted: Vec<String>,
    /// No longer wanted.
    pub stopped: Vec<String>,
    /// Running on as they are.
    pub unchanged: Vec<String>,
}

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// What had to be killed: `web`, or `web.2` where there are several.
    pub killed: Vec<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// Keeps services as they are wished. Clones are the same supervisor; when the last is dropped without
/// [`shutdown`](Self::shutdown), everything is stopped all the same.
#[derive(Clone)]
pub struct Supervisor(Arc<Handle>);

struct Handle {
    inputs: queue::Sender<Input>,
    scope: Scope,
    logs: Arc<Logs>,
    events: Arc<Feed<Event>>,
    status: watch::Receiver<Arc<Vec<ServiceStatus>>>,
    endpoints: watch::Receiver<Arc<BTreeMap<String, Vec<SocketAddr>>>>,
    /// Breaks for the engine when the last handle is dropped.
    _alive: oneshot::Sender<()>,
}

impl Supervisor {
    /// A supervisor that runs nothing yet, on the runtime this is called in.
    pub fn start(setup: Setup) -> Self {
        let Setup { clock, chance, dir, guard } = setup;
        let logs = Arc::new(Logs::new(clock.clone()));
        let events = Arc::new(Feed::new());
        let (listener, told_at) = (events.clone(), clock.clone());
        let scope = Scope::new(clock.clone(), move |end| {
            let message = format!("task `{}` of the supervisor failed: {}", end.task, end.error);
            let what = What::Trouble(Trouble { message, hint: None });
            listener.publish(&Event { at: told_at.unix(), service: String::new(), instance: None, what }, 1);
        });
        let guardian = guard.map_or_else(Guardian::default, |command| Guardian::start(command, &scope));
        let (inputs, receiver) = queue::bounded(INPUTS_MAX);
        let (status_sender, status) = watch::channel(Arc::default());
        let (endpoints_sender, endpoints) = watch::channel(Arc::default());
        let context = Context {
            clock,
            chance,
            folder: dir,
            scope: scope.clone(),
            logs: logs.clone(),
            events: events.clone(),
            guardian,
            ports: Ports::default(),
            inputs: inputs.clone(),
        };
        let (alive, abandoned) = oneshot::channel();
        let mut engine = Some((Engine::new(context, status_sender, endpoints_sender), receiver, abandoned));
        scope.spawn("supervisor", OnError::Report, move || {
            let engine = engine.take();
            async move {
                match engine {
                    Some((engine, inputs, abandoned)) => engine.run(inputs, abandoned).await,
                    None => Ok(()),
                }
            }
        });
        Self(Arc::new(Handle { inputs, scope, logs, events, status, endpoints, _alive: alive }))
    }

    /// Compares what is wanted with what runs: starts what is new, stops what is no longer wanted, restarts
    /// only what changed. Answers what it sets about to do, and does not wait for it.
    pub async fn apply(&self, wanted: Vec<Wanted>) -> Result<Applied, Fault> {
        self.ask(|reply| Input::Apply { wanted, reply }).await
    }

    /// Replaces all instances of the service by new ones with the same definition, reading its files of
    /// variables again; starts it if it was stopped. Does not wait for it.
    pub async fn restart(&self, service: &str) -> Result<(), Fault> {
        self.order(service, engine::Order::Restart { build: false }).await
    }

    /// Builds the service anew and, if that succeeds, restarts it: what a change of watched files asks for.
    /// If the build fails, the old instances run on.
    pub async fn restart_with_build(&self, service: &str) -> Result<(), Fault> {
        self.order(service, engine::Order::Restart { build: true }).await
    }

    /// Stops the service and leaves it stopped until it is started or restarted by hand.
    pub async fn stop(&self, service: &str) -> Result<(), Fault> {
        self.order(service, engine::Order::Stop).await
    }

    /// Starts a service that was stopped by hand or has ended; one that runs is left alone.
    pub async fn start_service(&self, service: &str) -> Result<(), Fault> {
        self.order(service, engine::Order::Start).await
    }

    /// Stops everything: first those who depend on others, then what they depend on. SIGTERM, and SIGKILL
    /// after each service's `stop_grace` or when `deadline` has passed, whichever comes first. Asked again
    /// with a shorter deadline, that counts.
    pub async fn shutdown(&self, deadline: Duration) -> Ended {
        let ended = self.ask(|reply| Input::Shutdown { deadline, reply }).await.unwrap_or_default();
        self.0.scope.stop(TASKS_PATIENCE).await;
        ended
    }

    /// How every service is doing, in the order of the manifest.
    pub fn status(&self) -> Arc<Vec<ServiceStatus>> {
        self.0.status.borrow().clone()
    }

    /// The same, to be waited on.
    pub fn watch_status(&self) -> watch::Receiver<Arc<Vec<ServiceStatus>>> {
        self.0.status.clone()
    }

    /// The addresses of the healthy instances of every service, by name; a service with none has an empty
    /// list. An instance leaves the list before it is asked to stop.
    pub fn endpoints(&self) -> watch::Receiver<Arc<BTreeMap<String, Vec<SocketAddr>>>> {
        self.0.endpoints.clone()
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> Subscriber<Event> {
        self.0.events.subscribe()
    }

    /// Every line written from now on.
    pub fn lines(&self) -> Subscriber<Arc<Line>> {
        self.0.logs.subscribe()
    }

    /// The last `tail` lines, of one service or of all, oldest first. Of each instance the last 1,000 lines
    /// or 1 MiB are kept.
    pub fn logs(&self, service: Option<&str>, tail: usize) -> Vec<Arc<Line>> {
        self.0.logs.last(service, tail)
    }

    async fn order(&self, service: &str, order: engine::Order) -> Result<(), Fault> {
        let service = service.to_owned();
        self.ask(|reply| Input::Order { service, order, reply }).await?
    }

    async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let gone = || Fault::new(Kind::Unavailable, "the supervisor has been shut down");
        self.0.inputs.put(input(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

impl fmt::Debug for Wanted {
    /// Without the variables: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").field("service", &self.service.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.status().iter().map(|service| (&service.name, service.state))).finish()
    }
}
