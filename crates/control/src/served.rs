//! One service as the engine keeps it: its definition, its build, and its instances of every generation.

use crate::builds::{Builds, Outcome};
use crate::instance::{Context, Instance};
use crate::order::Links;
use crate::rollout::Wish;
use crate::spec::{self, Plan, Recipe};
use crate::status::{ServiceStatus, State, Trouble};
use crate::supervisor::Wanted;
use base::Fault;
use manifest::{Command, StartWhen};
use std::sync::Arc;

/// A service.
pub(crate) struct Served {
    wanted: Wanted,
    command: Command,
    /// The last good one; what is wrong with a newer one is in `trouble`.
    plan: Option<Plan>,
    trouble: Option<Trouble>,
    generation: u64,
    pub(crate) build: Build,
    /// What the last successful build was made from.
    made_from: Option<Arc<Recipe>>,
    /// What the build asked for is made from.
    asked_for: Option<Arc<Recipe>>,
    pub(crate) instances: Vec<Instance>,
    /// Names of the services its waiting instances wait for.
    pub(crate) waiting_for: Vec<String>,
    /// No longer in the manifest.
    pub(crate) leaving: bool,
    /// Stopped by hand.
    pub(crate) held: bool,
}

/// How far its build is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// There is nothing to build, or it is built.
    Ready,
    /// To be asked for.
    Needed,
    /// Asked for; the build with this id decides.
    Asked(u64),
    /// It failed, with these last lines.
    Failed(Trouble, Vec<String>),
}

/// What a newer manifest means for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    New,
    Restarts,
    Adjusts,
    Nothing,
    Gone,
}

impl Served {
    /// A service that is not started yet.
    pub(crate) fn new(wanted: Wanted, command: Command, context: &Context) -> Self {
        let (plan, trouble) = match spec::plan(&wanted, &command, &context.folder) {
            Ok(plan) => (Some(plan), None),
            Err(fault) => (None, Some(Trouble::from(&fault))),
        };
        let mut served = Self {
            wanted,
            command,
            plan,
            trouble,
            generation: 1,
            build: Build::Ready,
            made_from: None,
            asked_for: None,
            instances: Vec::new(),
            waiting_for: Vec::new(),
            leaving: false,
            held: false,
        };
        served.tell_trouble(context);
        served.need_build_if_stale();
        served
    }

    /// Takes over a newer definition.
    pub(crate) fn want(&mut self, wanted: Wanted, command: Command, context: &Context) -> Changed {
        let back = std::mem::take(&mut self.leaving);
        let adjusted = self.command != command;
        (self.wanted, self.command) = (wanted, command);
        for one in &mut self.instances {
            one.follow(&self.command);
        }
        match self.replan(context) {
            Ok(true) => Changed::Restarts,
            _ if back => Changed::New,
            _ if adjusted => Changed::Adjusts,
            _ => Changed::Nothing,
        }
    }

    /// New instances for old; those that stand are kept if the new definition can't be read.
    pub(crate) fn restart(&mut self, build: bool, context: &Context) -> Result<(), Fault> {
        self.held = false;
        if !self.replan(context)? {
            self.generation += 1;
        }
        if build && self.recipe().is_some() {
            self.build = Build::Needed;
        } else {
            self.need_build_if_stale();
        }
        Ok(())
    }

    /// Runs again if it was stopped by hand, failed, or has ended.
    pub(crate) fn start(&mut self, context: &Context) -> Result<(), Fault> {
        let resting =
            |one: &Instance| matches!(one.state(), State::Done | State::Failed | State::CrashLooped);
        let failed = self.plan.is_none() || matches!(self.build, Build::Failed(..));
        if failed || self.instances.iter().any(resting) {
            return self.restart(false, context);
        }
        self.held = false;
        Ok(())
    }

    /// Asks for the build it needs, if it needs one.
    pub(crate) fn ask_for_build(&mut self, builds: &mut Builds) {
        if let (Build::Needed, Some(recipe)) = (&self.build, self.recipe().cloned()) {
            self.build = Build::Asked(builds.ask(&recipe, &self.wanted.service.name));
            self.asked_for = Some(recipe);
        }
    }

    /// Takes in the outcome of a build, if it is the one waited for.
    pub(crate) fn built(&mut self, outcome: &Outcome) {
        if self.build != Build::Asked(outcome.id) {
            return;
        }
        match &outcome.trouble {
            None => {
                self.made_from = Some(outcome.recipe.clone());
                self.build = Build::Ready;
            }
            Some(trouble) => {
                self.made_from = None;
                let message = format!("the build failed: {}", trouble.message);
                let trouble = Trouble { message, hint: trouble.hint.clone() };
                self.build = Build::Failed(trouble, outcome.last_lines.clone());
            }
        }
    }

    /// Another instance of the newest generation.
    pub(crate) fn add(&mut self, id: u64, slot: u32, context: &Context) {
        if let Some(plan) = &self.plan {
            let (name, spec) = (&self.wanted.service.name, plan.spec.clone());
            self.instances.push(Instance::new(id, slot, self.generation, name, spec, &self.command, context));
        }
    }

    /// The instance of this id.
    pub(crate) fn instance(&mut self, id: u64) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|one| one.id == id)
    }

    /// Whether it shall run; `ending`: nothing shall.
    pub(crate) fn is_wished(&self, ending: bool) -> bool {
        !ending && !self.leaving && !self.held
    }

    /// What instances it shall have.
    pub(crate) fn wish(&self, ending: bool) -> Option<Wish> {
        self.is_wished(ending).then(|| Wish {
            generation: self.generation,
            replicas: self.command.replicas,
            start_first: self.fixed_port().is_none(),
            startable: self.plan.is_some() && self.build == Build::Ready,
        })
    }

    /// How many instances it shall have when it runs.
    pub(crate) fn replicas(&self) -> u32 {
        self.command.replicas
    }

    /// The port that the manifest states.
    pub(crate) fn fixed_port(&self) -> Option<u16> {
        self.command.port
    }

    /// How it is built.
    pub(crate) fn recipe(&self) -> Option<&Arc<Recipe>> {
        self.plan.as_ref().and_then(|plan| plan.recipe.as_ref())
    }

    /// Whom it leans on.
    pub(crate) fn links(&self) -> Links {
        Links {
            name: self.wanted.service.name.clone(),
            depends_on: self.command.depends_on.iter().map(|on| on.service.clone()).collect(),
            calls: self.wanted.service.calls.clone(),
        }
    }

    /// Names of the services that its waiting instances must wait for still. One that nobody knows is run
    /// elsewhere and taken to be there.
    pub(crate) fn missing<'a>(&self, find: impl Fn(&str) -> Option<&'a Served>) -> Vec<String> {
        if !self.instances.iter().any(Instance::is_waiting) {
            return Vec::new();
        }
        let there = |on: &manifest::DependsOn| {
            find(&on.service).is_none_or(|served| match on.when {
                StartWhen::Started => served.instances.iter().any(Instance::is_started),
                StartWhen::Healthy => served.instances.iter().any(Instance::is_ready),
            })
        };
        self.command.depends_on.iter().filter(|on| !there(on)).map(|on| on.service.clone()).collect()
    }

    /// How it is doing.
    pub(crate) fn status(&self, ending: bool) -> ServiceStatus {
        let mut replicas: Vec<_> = self.instances.iter().map(Instance::status).collect();
        replicas.sort_by_key(|replica| replica.instance);
        let (trouble, last_lines) = match (&self.trouble, &self.build) {
            (None, Build::Failed(trouble, lines)) => (Some(trouble.clone()), lines.clone()),
            (trouble, _) => (trouble.clone(), Vec::new()),
        };
        let current = |one: &Instance| one.generation == self.generation;
        ServiceStatus {
            name: self.wanted.service.name.clone(),
            state: self.state(ending),
            rolling: self.is_wished(ending) && self.instances.iter().any(|one| !current(one)),
            waiting_for: self.waiting_for.clone(),
            replicas,
            trouble,
            last_lines,
        }
    }

    fn state(&self, ending: bool) -> State {
        let instances = self.instances.iter().map(Instance::state);
        if !self.is_wished(ending) {
            return if self.instances.is_empty() { State::Stopped } else { State::Stopping };
        }
        let own = match &self.build {
            _ if self.trouble.is_some() => Some(State::Failed),
            Build::Ready => None,
            Build::Needed | Build::Asked(_) => Some(State::Building),
            Build::Failed(..) => Some(State::BuildFailed),
        };
        // One that goes while others come says nothing about the service.
        let staying = instances.clone().filter(|state| *state != State::Stopping);
        staying.chain(own).max().or(instances.max()).unwrap_or(State::Waiting)
    }

    /// Reads the definition anew; whether processes would notice a difference. If it can't be read, what
    /// stands is kept.
    fn replan(&mut self, context: &Context) -> Result<bool, Fault> {
        match spec::plan(&self.wanted, &self.command, &context.folder) {
            Ok(plan) => {
                self.trouble = None;
                let differs = self.plan.as_ref() != Some(&plan);
                self.plan = Some(plan);
                if differs {
                    self.generation += 1;
                    self.need_build_if_stale();
                }
                Ok(differs)
            }
            Err(fault) => {
                let trouble = Some(Trouble::from(&fault));
                if self.trouble != trouble {
                    self.trouble = trouble;
                    self.tell_trouble(context);
                }
                Err(fault)
            }
        }
    }

    fn need_build_if_stale(&mut self) {
        let recipe = self.recipe();
        let on_its_way = match self.build {
            Build::Needed => true,
            Build::Asked(_) => self.asked_for.as_ref() == recipe,
            Build::Ready | Build::Failed(..) => false,
        };
        if recipe.is_none() || (!on_its_way && self.made_from.as_ref() == recipe) {
            self.build = Build::Ready;
        } else if !on_its_way {
            self.build = Build::Needed;
        }
    }

    fn tell_trouble(&self, context: &Context) {
        if let Some(trouble) = &self.trouble {
            let what = crate::status::What::Failed(trouble.clone());
            context.emit(&self.wanted.service.name, None, what);
        }
    }
}
