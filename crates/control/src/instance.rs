//! One instance: its machine decides, and this acts: starts and signals its process, asks its health, tells
//! what happened.

use crate::builds::millis;
use crate::engine::Input;
use crate::feed::Feed;
use crate::group::Group;
use crate::guard::Guardian;
use crate::logs::{Logs, Stream, Tap};
use crate::machine::{self, Action, Machine, Rules, Say};
use crate::ports::{self, Ports};
use crate::probe::Probe;
use crate::process::{self, Exit, Launch, attend};
use crate::rollout::{Phase, Seen};
use crate::spec::Spec;
use crate::status::{Event, InstanceStatus, State, Trouble, What};
use base::{Chance, Clock, Fault, Moment, OnError, Retry, Scope, UnixTime, queue};
use manifest::{Check, Command, Health};
use std::collections::VecDeque;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Last lines kept with the exit of a process.
const LAST_LINES: usize = 10;

/// What all instances and builds share.
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    /// The manifest's folder.
    pub(crate) folder: PathBuf,
    pub(crate) scope: Scope,
    pub(crate) logs: Arc<Logs>,
    pub(crate) events: Arc<Feed<Event>>,
    pub(crate) guardian: Guardian,
    pub(crate) ports: Ports,
    /// Back to the engine.
    pub(crate) inputs: queue::Sender<Input>,
}

/// One instance of a service.
pub(crate) struct Instance {
    pub(crate) id: u64,
    pub(crate) slot: u32,
    pub(crate) generation: u64,
    service: String,
    spec: Arc<Spec>,
    health: Health,
    stop_grace: Duration,
    machine: Machine,
    group: Option<Arc<Group>>,
    pid: Option<u32>,
    port: Option<u16>,
    /// The first line of this run has this number or a higher one.
    mark: u64,
    started_at: Option<UnixTime>,
    unhealthy_because: Option<String>,
    trouble: Option<Trouble>,
    last_lines: Vec<String>,
    killed: bool,
}

impl Context {
    /// Tells whoever listens what happened.
    pub(crate) fn emit(&self, service: &str, instance: Option<u32>, what: What) {
        let event = Event { at: self.clock.unix(), service: service.to_owned(), instance, what };
        // Events are few; their number bounds them well enough.
        self.events.publish(&event, 1);
    }

    /// Runs something once as a task of its own.
    pub(crate) fn run(&self, name: String, future: impl Future<Output = ()> + Send + 'static) {
        let mut future = Some(future);
        self.scope.spawn(name, OnError::Report, move || {
            let future = future.take();
            async move {
                if let Some(future) = future {
                    future.await;
                }
                Ok(())
            }
        });
    }
}

impl Instance {
    /// An instance that waits for what its service depends on.
    pub(crate) fn new(
        id: u64,
        slot: u32,
        generation: u64,
        service: &str,
        spec: Arc<Spec>,
        command: &Command,
        context: &Context,
    ) -> Self {
        Self {
            id,
            slot,
            generation,
            service: service.to_owned(),
            spec,
            health: command.health.clone().unwrap_or_else(|| Health::of(Check::Tcp)),
            stop_grace: command.stop_grace,
            machine: Machine::new(Rules::of(command), context.chance.fork()),
            group: None,
            pid: None,
            port: None,
            mark: 0,
            started_at: None,
            unhealthy_because: None,
            trouble: None,
            last_lines: Vec::new(),
            killed: false,
        }
    }

    /// Takes over what may change while it runs.
    pub(crate) fn follow(&mut self, command: &Command) {
        self.health = command.health.clone().unwrap_or_else(|| Health::of(Check::Tcp));
        self.stop_grace = command.stop_grace;
        self.machine.set_rules(Rules::of(command));
    }

    /// When it next needs a tick.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.machine.due()
    }

    /// Whether it waits for what its service depends on.
    pub(crate) fn is_waiting(&self) -> bool {
        self.machine.state() == machine::State::Waiting
    }

    /// Whether somebody who depends on it may start: it serves or its work is done.
    pub(crate) fn is_ready(&self) -> bool {
        self.machine.is_ready()
    }

    /// Whether its process was started.
    pub(crate) fn is_started(&self) -> bool {
        self.machine.is_started()
    }

    /// Whether it was asked to stop and is still there.
    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.machine.state(), machine::State::Stopping(_))
    }

    /// Whether it was asked to stop and is gone.
    pub(crate) fn is_stopped(&self) -> bool {
        self.machine.state() == machine::State::Stopped
    }

    /// Whether only SIGKILL ended it.
    pub(crate) fn was_killed(&self) -> bool {
        self.killed
    }

    /// How the rollout sees it.
    pub(crate) fn seen(&self) -> Seen {
        let phase = match self.machine.state() {
            machine::State::Stopping(_) | machine::State::Stopped => Phase::Stopping,
            _ if self.is_ready() => Phase::Ready,
            _ => Phase::NotReady,
        };
        Seen { id: self.id, slot: self.slot, generation: self.generation, phase }
    }

    /// Where it serves, while it is healthy.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        let healthy = self.machine.state() == machine::State::Healthy;
        self.port.filter(|_| healthy).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// How it is doing.
    pub(crate) fn status(&self) -> InstanceStatus {
        let state = self.state();
        let failing = matches!(state, State::Backoff | State::CrashLooped | State::Failed);
        InstanceStatus {
            instance: self.slot,
            state,
            pid: self.pid,
            port: self.port,
            health: self.unhealthy_because.clone(),
            restarts: self.machine.restarts(),
            started_at: self.started_at,
            trouble: self.trouble.clone(),
            last_lines: if failing { self.last_lines.clone() } else { Vec::new() },
        }
    }

    /// How far it is, as callers see it.
    pub(crate) fn state(&self) -> State {
        match self.machine.state() {
            machine::State::Waiting => State::Waiting,
            machine::State::Spawning | machine::State::Starting => State::Starting,
            machine::State::Healthy => State::Healthy,
            machine::State::Unhealthy => State::Unhealthy,
            machine::State::Backoff { .. } => State::Backoff,
            machine::State::CrashLooped => State::CrashLooped,
            machine::State::Failed | machine::State::Done { success: false } => State::Failed,
            machine::State::Stopping(_) => State::Stopping,
            machine::State::Stopped => State::Stopped,
            machine::State::Done { success: true } => State::Done,
        }
    }

    /// Tells the machine what happened and does what it says.
    pub(crate) fn tell(&mut self, event: machine::Event, context: &mut Context) {
        let mut events = VecDeque::from([event]);
        // A spawn answers with one event more, and nothing else does.
        while let Some(event) = events.pop_front() {
            for action in self.machine.on(event, context.clock.now()) {
                match action {
                    Action::Spawn => events.push_back(self.spawn(context)),
                    Action::Check { run } => self.check(run, context),
                    Action::Terminate => self.group.iter().for_each(|group| group.terminate()),
                    Action::Kill => self.group.iter().for_each(|group| group.kill()),
                    Action::Say(say) => self.say(say, context),
                }
            }
        }
    }

    /// Takes in the answer of a check.
    pub(crate) fn checked(&mut self, run: u32, answer: Result<(), String>, context: &mut Context) {
        let healthy = answer.is_ok();
        if run == self.machine.run() {
            self.unhealthy_because = answer.err();
        }
        self.tell(machine::Event::Checked { run, healthy }, context);
    }

    /// Takes in the end of the process of this run and its whole group.
    pub(crate) fn exited(&mut self, run: u32, exit: Exit, context: &mut Context) {
        if run != self.machine.run() {
            return;
        }
        let asked = self.is_stopping();
        let shell = self.spec.argv.get(1).is_some_and(|flag| flag == "-c");
        let trouble = Trouble { message: exit.text(), hint: exit.hint(shell).map(str::to_owned) };
        self.last_lines = context.logs.since(&self.service, Some(self.slot), self.mark, LAST_LINES);
        self.trouble = Some(trouble.clone());
        (self.group, self.pid, self.unhealthy_because) = (None, None, None);
        context.emit(&self.service, Some(self.slot), What::Exited { trouble, asked });
        self.tell(machine::Event::Exited { success: exit.success() }, context);
    }

    fn spawn(&mut self, context: &mut Context) -> machine::Event {
        match self.try_spawn(context) {
            Ok(()) => machine::Event::Spawned,
            Err(fault) => {
                let trouble = Trouble::from(&fault);
                self.trouble = Some(trouble.clone());
                self.last_lines.clear();
                context.emit(&self.service, Some(self.slot), What::Failed(trouble));
                machine::Event::SpawnFailed { again: fault.retry == Retry::Safe }
            }
        }
    }

    fn try_spawn(&mut self, context: &mut Context) -> Result<(), Fault> {
        let port = match self.spec.port {
            Some(port) => {
                ports::check_port(&self.service, port)?;
                port
            }
            None => context.ports.pick(&self.service, self.slot, self.id)?,
        };
        let mut env = self.spec.env.clone();
        env.insert("PORT".to_owned(), port.to_string());
        let who = format!("service `{}`", self.service);
        let launch = Launch { who: &who, argv: &self.spec.argv, dir: &self.spec.dir, env: &env };
        self.mark = context.logs.mark();
        let spawned = process::spawn(&launch, &context.guardian)?;
        let pid = spawned.pid;
        (self.group, self.pid, self.port) = (Some(spawned.group.clone()), Some(pid), Some(port));
        self.started_at = Some(context.clock.unix());
        let (service, id, run) = (self.service.clone(), self.id, self.machine.run());
        let tap = Tap { logs: context.logs.clone(), service: service.clone(), instance: Some(self.slot) };
        let (grace, clock, inputs) = (self.stop_grace, context.clock.clone(), context.inputs.clone());
        context.run(format!("process {service}.{}", self.slot), async move {
            let exit = attend(spawned, &tap, [Stream::Stdout, Stream::Stderr], grace, &clock).await;
            let _ = inputs.put(Input::Exited { service, id, run, exit }).await;
        });
        context.emit(&self.service, Some(self.slot), What::Started { pid, port });
        Ok(())
    }

    fn check(&self, run: u32, context: &Context) {
        let port = self.port.unwrap_or_default();
        let mut env = self.spec.env.clone();
        env.insert("PORT".to_owned(), port.to_string());
        let probe = Probe {
            service: self.service.clone(),
            health: self.health.clone(),
            port,
            dir: self.spec.dir.clone(),
            env,
            guardian: context.guardian.clone(),
            clock: context.clock.clone(),
        };
        let (service, id, inputs) = (self.service.clone(), self.id, context.inputs.clone());
        let scope = context.scope.clone();
        context.run(format!("check {service}.{}", self.slot), async move {
            let answer = tokio::select! {
                answer = probe.ask() => answer,
                () = scope.stopping() => return,
            };
            let _ = inputs.put(Input::Checked { service, id, run, answer }).await;
        });
    }

    fn say(&mut self, say: Say, context: &Context) {
        let port = self.port.unwrap_or_default();
        let what = match say {
            Say::Healthy { took } => What::Healthy { took_ms: millis(took), port },
            Say::Unhealthy { ever } => What::Unhealthy(self.why_unhealthy(ever)),
            Say::Restarts { after, restarts } => What::Restarting { after_ms: millis(after), restarts },
            Say::CrashLooped { restarts } => {
                let trouble = self
                    .trouble
                    .clone()
                    .unwrap_or_else(|| Trouble { message: "ended".to_owned(), hint: None });
                What::CrashLooped { trouble, restarts, last_lines: self.last_lines.clone() }
            }
            // Said with its reason when it was tried.
            Say::Failed => return,
            Say::Done { success } => What::Done { success },
            Say::Stopping => What::Stopping,
            Say::Stopped { killed } => {
                self.killed = killed;
                What::Stopped { killed }
            }
            Say::Stuck => {
                self.killed = true;
                What::Stuck { pid: self.pid }
            }
        };
        context.emit(&self.service, Some(self.slot), what);
    }

    fn why_unhealthy(&self, ever: bool) -> Trouble {
        let message = self.unhealthy_because.clone().unwrap_or_else(|| "the check failed".to_owned());
        let silent = message.starts_with("nothing listens") && !ever;
        let port = self.port.unwrap_or_default();
        let hint = silent.then(|| {
            if self.spec.port.is_some() {
                format!("the manifest says that it listens on port {port}: does it?")
            } else {
                format!(
                    "let it listen on 127.0.0.1 and the port in the variable `PORT` (here {port}), or state the \
                     `port` it has; one that listens on nothing needs a `health` check by `command`"
                )
            }
        });
        Trouble { message, hint }
    }
}
