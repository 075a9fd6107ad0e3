//! The one task that keeps the wished state: takes in wishes and happenings, lets the pure parts decide,
//! and publishes how things stand. Everything slow runs in tasks of its own and comes back as an [`Input`].

use crate::builds::{Builds, millis};
use crate::instance::{Context, Instance};
use crate::machine::Event;
use crate::order;
use crate::process::Exit;
use crate::rollout::{self, Step};
use crate::served::{Build, Changed, Served};
use crate::status::{ServiceStatus, Trouble};
use crate::supervisor::{Applied, Ended, Wanted};
use base::{Fault, Kind, Moment, did_you_mean, queue};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long everything may take to stop when nobody is left who could ask for it.
const ABANDONED_DEADLINE: Duration = Duration::from_secs(10);

/// Inputs taken in before the state is settled and published.
const INPUTS_AT_ONCE: usize = 64;

/// Most rounds of settling. Each round either moves something nearer to the wish or is the last, so this is
/// only ever reached by a mistake of ours; the next input goes on from there.
const ROUNDS_MAX: usize = 1000;

/// The longest sleep: nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// What comes to the engine.
pub(crate) enum Input {
    Apply { wanted: Vec<Wanted>, reply: oneshot::Sender<Applied> },
    Order { service: String, order: Order, reply: oneshot::Sender<Result<(), Fault>> },
    Shutdown { deadline: Duration, reply: oneshot::Sender<Ended> },
    Exited { service: String, id: u64, run: u32, exit: Exit },
    Checked { service: String, id: u64, run: u32, answer: Result<(), String> },
    Built { id: u64, trouble: Option<Trouble> },
}

/// What may be asked of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Restart { build: bool },
    Stop,
    Start,
}

/// The engine.
pub(crate) struct Engine {
    context: Context,
    services: BTreeMap<String, Served>,
    /// Names in the order of the manifest; those on their way out are last.
    sequence: Vec<String>,
    order: order::Order,
    builds: Builds,
    ending: Option<Ending>,
    last_id: u64,
    status: watch::Sender<Arc<Vec<ServiceStatus>>>,
    endpoints: watch::Sender<Arc<BTreeMap<String, Vec<SocketAddr>>>>,
}

/// A shutdown under way.
struct Ending {
    since: Moment,
    deadline: Moment,
    replies: Vec<oneshot::Sender<Ended>>,
    killed: Vec<String>,
}

impl Engine {
    /// An engine without services.
    pub(crate) fn new(
        context: Context,
        status: watch::Sender<Arc<Vec<ServiceStatus>>>,
        endpoints: watch::Sender<Arc<BTreeMap<String, Vec<SocketAddr>>>>,
    ) -> Self {
        Self {
            context,
            services: BTreeMap::new(),
            sequence: Vec::new(),
            order: order::Order::default(),
            builds: Builds::default(),
            ending: None,
            last_id: 0,
            status,
            endpoints,
        }
    }

    /// Runs until everything was asked to stop and has. `abandoned` breaks when nobody is left to ask.
    pub(crate) async fn run(
        mut self,
        mut inputs: queue::Receiver<Input>,
        mut abandoned: oneshot::Receiver<()>,
    ) -> Result<(), Fault> {
        loop {
            self.tick();
            self.settle();
            self.publish();
            if self.finish() {
                // The guardian and whoever else runs for us has nothing left to do.
                self.context.scope.ask_to_stop();
                return Ok(());
            }
            let now = self.context.clock.now();
            let wait = self.due().map_or(IDLE, |due| due.since(now));
            tokio::select! {
                input = inputs.take() => {
                    let mut next = input;
                    for _ in 0..INPUTS_AT_ONCE {
                        let Some(input) = next else { break };
                        self.take_in(input);
                        next = inputs.try_take();
                    }
                    if let Some(input) = next {
                        self.take_in(input);
                    }
                }
                () = self.context.clock.sleep(wait) => {}
                _ = &mut abandoned, if self.ending.is_none() => self.begin_ending(ABANDONED_DEADLINE, None),
            }
        }
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Apply { wanted, reply } => {
                let applied = self.apply(wanted);
                let _ = reply.send(applied);
            }
            Input::Order { service, order, reply } => {
                let answer = self.obey(&service, order);
                let _ = reply.send(answer);
            }
            Input::Shutdown { deadline, reply } => self.begin_ending(deadline, Some(reply)),
            Input::Exited { service, id, run, exit } => {
                let context = &mut self.context;
                if let Some(one) = self.services.get_mut(&service).and_then(|served| served.instance(id)) {
                    one.exited(run, exit, context);
                }
            }
            Input::Checked { service, id, run, answer } => {
                let context = &mut self.context;
                if let Some(one) = self.services.get_mut(&service).and_then(|served| served.instance(id)) {
                    one.checked(run, answer, context);
                }
            }
            Input::Built { id, trouble } => {
                if let Some(outcome) = self.builds.ended(id, trouble, &self.context) {
                    self.services.values_mut().for_each(|served| served.built(&outcome));
                }
            }
        }
    }

    fn apply(&mut self, wanted: Vec<Wanted>) -> Applied {
        let mut changes: BTreeMap<String, Changed> = BTreeMap::new();
        let mut sequence = Vec::new();
        for wanted in wanted {
            let manifest::ServiceSource::Run(command) = &wanted.service.source else { continue };
            let command = (**command).clone();
            let name = wanted.service.name.clone();
            let change = if let Some(served) = self.services.get_mut(&name) {
                served.want(wanted, command, &self.context)
            } else {
                self.services.insert(name.clone(), Served::new(wanted, command, &self.context));
                Changed::New
            };
            if changes.insert(name.clone(), change).is_none() {
                sequence.push(name);
            }
        }
        for (name, served) in &mut self.services {
            if !changes.contains_key(name) {
                if !served.leaving {
                    changes.insert(name.clone(), Changed::Gone);
                }
                served.leaving = true;
                sequence.push(name.clone());
            }
        }
        self.sequence = sequence;
        let links: Vec<order::Links> =
            self.sequence.iter().filter_map(|name| Some(self.services.get(name)?.links())).collect();
        self.order = order::Order::of(&links);
        self.context.ports.set_fixed(self.services.values().filter_map(Served::fixed_port).collect());
        let mut applied = Applied::default();
        for name in self.order.names() {
            match changes.get(name) {
                Some(Changed::New) => applied.started.push(name.clone()),
                Some(Changed::Restarts) => applied.restarted.push(name.clone()),
                Some(Changed::Adjusts) => applied.adjusted.push(name.clone()),
                Some(Changed::Nothing) => applied.unchanged.push(name.clone()),
                Some(Changed::Gone) => applied.stopped.push(name.clone()),
                None => {}
            }
        }
        applied
    }

    fn obey(&mut self, name: &str, order: Order) -> Result<(), Fault> {
        let known = self.services.iter().filter(|(_, served)| !served.leaving).map(|(name, _)| name.as_str());
        let nearest = did_you_mean(name, known).map(str::to_owned);
        let Some(served) = self.services.get_mut(name).filter(|served| !served.leaving) else {
            let fault = Fault::new(Kind::NotFound, format!("there is no service `{name}` that is run here"));
            return Err(match nearest {
                Some(nearest) => fault.hint(format!("did you mean `{nearest}`?")),
                None => fault,
            });
        };
        match order {
            Order::Restart { build } => served.restart(build, &self.context),
            Order::Start => served.start(&self.context),
            Order::Stop => {
                served.held = true;
                Ok(())
            }
        }
    }

    fn begin_ending(&mut self, deadline: Duration, reply: Option<oneshot::Sender<Ended>>) {
        let now = self.context.clock.now();
        let deadline = now + deadline;
        let ending = self.ending.get_or_insert_with(|| Ending {
            since: now,
            deadline,
            replies: Vec::new(),
            killed: Vec::new(),
        });
        ending.deadline = ending.deadline.min(deadline);
        ending.replies.extend(reply);
        // Those who are stopping already hear of the deadline; the others will when it is their turn.
        let by = Some(ending.deadline);
        for one in self.services.values_mut().flat_map(|served| &mut served.instances) {
            if one.is_stopping() {
                one.tell(Event::Stop { by }, &mut self.context);
            }
        }
    }

    /// Tells the instances whose moment has come.
    fn tick(&mut self) {
        let now = self.context.clock.now();
        for one in self.services.values_mut().flat_map(|served| &mut served.instances) {
            if one.due().is_some_and(|due| due <= now) {
                one.tell(Event::Tick, &mut self.context);
            }
        }
    }

    fn due(&self) -> Option<Moment> {
        let instances = self.services.values().flat_map(|served| &served.instances);
        let now = self.context.clock.now();
        let deadline = self.ending.as_ref().map(|ending| ending.deadline).filter(|deadline| *deadline > now);
        instances.filter_map(Instance::due).chain(deadline).min()
    }

    /// Moves everything as near to the wish as it can be now.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.ask_for_builds();
            let moved = [self.take_steps(), self.release_waiting(), self.clear_away()];
            if !moved.contains(&true) {
                return;
            }
        }
    }

    fn ask_for_builds(&mut self) {
        let ending = self.ending.is_some();
        for name in self.order.names() {
            if let Some(served) = self.services.get_mut(name).filter(|served| served.is_wished(ending)) {
                served.ask_for_build(&mut self.builds);
            }
        }
        let services = &self.services;
        self.builds.go_on(&self.context, |id| {
            services.values().any(|served| served.is_wished(ending) && served.build == Build::Asked(id))
        });
    }

    fn take_steps(&mut self) -> bool {
        let ending = self.ending.is_some();
        let by = self.ending.as_ref().map(|ending| ending.deadline);
        let forced = by.is_some_and(|by| by <= self.context.clock.now());
        let going: BTreeSet<&String> = self
            .services
            .iter()
            .filter(|(_, served)| !served.is_wished(ending) && !served.instances.is_empty())
            .map(|(name, _)| name)
            .collect();
        let may_go: BTreeSet<String> = going
            .iter()
            .filter(|name| {
                forced || self.order.may_stop(name, |other| going.iter().any(|name| *name == other))
            })
            .map(|name| (*name).clone())
            .collect();
        let mut moved = false;
        for name in self.order.names() {
            let Some(served) = self.services.get_mut(name) else { continue };
            let wish = served.wish(ending);
            if wish.is_none() && !may_go.contains(name) {
                continue;
            }
            let seen: Vec<rollout::Seen> = served.instances.iter().map(Instance::seen).collect();
            for step in rollout::steps(wish, &seen) {
                moved = true;
                match step {
                    Step::Start { slot } => {
                        self.last_id += 1;
                        served.add(self.last_id, slot, &self.context);
                    }
                    Step::Stop { id } => {
                        if let Some(one) = served.instance(id) {
                            one.tell(Event::Stop { by }, &mut self.context);
                        }
                    }
                }
            }
        }
        moved
    }

    /// Starts the instances whose dependencies are there.
    fn release_waiting(&mut self) -> bool {
        let mut moved = false;
        for name in self.order.names() {
            let waiting_for: Vec<String> = match self.services.get(name) {
                Some(served) => served.missing(|other| self.services.get(other)),
                None => continue,
            };
            let Some(served) = self.services.get_mut(name) else { continue };
            if waiting_for.is_empty() {
                for one in served.instances.iter_mut().filter(|one| one.is_waiting()) {
                    one.tell(Event::DependenciesReady, &mut self.context);
                    moved = true;
                }
            }
            served.waiting_for = waiting_for;
        }
        moved
    }

    /// Lets go of what has stopped.
    fn clear_away(&mut self) -> bool {
        let mut moved = false;
        for (name, served) in &mut self.services {
            let several = served.replicas() > 1;
            for one in served.instances.extract_if(.., |one| one.is_stopped()) {
                moved = true;
                self.context.ports.release(one.id);
                if let Some(ending) = self.ending.as_mut().filter(|_| one.was_killed()) {
                    ending.killed.push(if several { format!("{name}.{}", one.slot) } else { name.clone() });
                }
            }
        }
        let context = &mut self.context;
        self.services.retain(|name, served| {
            let gone = served.leaving && served.instances.is_empty();
            if gone {
                moved = true;
                context.logs.forget(name);
                context.ports.forget(name);
            }
            !gone
        });
        moved
    }

    fn publish(&self) {
        let status: Vec<ServiceStatus> = self
            .sequence
            .iter()
            .filter_map(|name| Some(self.services.get(name)?.status(self.ending.is_some())))
            .collect();
        self.status.send_if_modified(|old| {
            let changed = **old != status;
            if changed {
                *old = Arc::new(status);
            }
            changed
        });
        let endpoints: BTreeMap<String, Vec<SocketAddr>> = self
            .services
            .iter()
            .map(|(name, served)| {
                (name.clone(), served.instances.iter().filter_map(Instance::endpoint).collect())
            })
            .collect();
        self.endpoints.send_if_modified(|old| {
            let changed = **old != endpoints;
            if changed {
                *old = Arc::new(endpoints);
            }
            changed
        });
    }

    /// Whether the shutdown is complete; answers those who wait for it.
    fn finish(&mut self) -> bool {
        let empty = self.services.values().all(|served| served.instances.is_empty()) && self.builds.is_idle();
        let Some(mut ending) = self.ending.take_if(|_| empty) else {
            return false;
        };
        let took_ms = millis(self.context.clock.now().since(ending.since));
        for reply in ending.replies.drain(..) {
            let _ = reply.send(Ended { killed: ending.killed.clone(), took_ms });
        }
        true
    }
}
