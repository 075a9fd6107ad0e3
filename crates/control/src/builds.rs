//! Builds, one at a time: a machine with two cores is not helped by two compilers. Services that ask for the
//! same build before it has begun share it.

use crate::engine::Input;
use crate::instance::Context;
use crate::logs::{Stream, Tap};
use crate::process::{self, Launch, attend};
use crate::spec::Recipe;
use crate::status::{Trouble, What};
use base::{Clock, Moment};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest build.
const BUILD_TIME_MAX: Duration = Duration::from_hours(1);

/// From SIGTERM to SIGKILL for a build that nobody wants any more.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// Last lines told of a failed build.
const LAST_LINES: usize = 10;

/// The builds that wait, and the one that runs.
#[derive(Default)]
pub(crate) struct Builds {
    waiting: VecDeque<Job>,
    running: Option<Running>,
    last_id: u64,
}

/// The outcome of a build.
pub(crate) struct Outcome {
    pub(crate) id: u64,
    pub(crate) recipe: Arc<Recipe>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) last_lines: Vec<String>,
}

struct Job {
    id: u64,
    recipe: Arc<Recipe>,
    services: Vec<String>,
}

struct Running {
    job: Job,
    mark: u64,
    since: Moment,
    cancel: Option<oneshot::Sender<()>>,
}

impl Builds {
    /// Asks for a build that begins from now on; answers its id.
    pub(crate) fn ask(&mut self, recipe: &Arc<Recipe>, service: &str) -> u64 {
        if let Some(job) = self.waiting.iter_mut().find(|job| job.recipe == *recipe) {
            job.services.push(service.to_owned());
            return job.id;
        }
        self.last_id += 1;
        let services = vec![service.to_owned()];
        self.waiting.push_back(Job { id: self.last_id, recipe: recipe.clone(), services });
        self.last_id
    }

    /// Drops the builds that nobody wants any more, and begins the next if none runs.
    pub(crate) fn go_on(&mut self, context: &Context, wanted: impl Fn(u64) -> bool) {
        self.waiting.retain(|job| wanted(job.id));
        if let Some(running) = &mut self.running {
            if !wanted(running.job.id) {
                // Dropping it tells the build's task.
                running.cancel = None;
            }
            return;
        }
        let Some(job) = self.waiting.pop_front() else { return };
        let (cancel, cancelled) = oneshot::channel();
        let what = What::BuildStarted { command: job.recipe.argv.clone(), services: job.services.clone() };
        context.emit(&job.services[0], None, what);
        let tap = Tap { logs: context.logs.clone(), service: job.services[0].clone(), instance: None };
        let (id, recipe, inputs) = (job.id, job.recipe.clone(), context.inputs.clone());
        let (clock, guardian) = (context.clock.clone(), context.guardian.clone());
        context.run(format!("build {}", job.services[0]), async move {
            let who = format!("the build of service `{}`", tap.service);
            let launch = Launch { who: &who, argv: &recipe.argv, dir: &recipe.dir, env: &recipe.env };
            let trouble = match process::spawn(&launch, &guardian) {
                Ok(spawned) => build(spawned, &tap, cancelled, &clock).await,
                Err(fault) => Some(Trouble::from(&fault)),
            };
            let _ = inputs.put(Input::Built { id, trouble }).await;
        });
        let (mark, since) = (context.logs.mark(), context.clock.now());
        self.running = Some(Running { job, mark, since, cancel: Some(cancel) });
    }

    /// Takes in the end of the build that runs.
    pub(crate) fn ended(&mut self, id: u64, trouble: Option<Trouble>, context: &Context) -> Option<Outcome> {
        let Running { job, mark, since, .. } = self.running.take_if(|running| running.job.id == id)?;
        let last_lines = match trouble {
            Some(_) => context.logs.since(&job.services[0], None, mark, LAST_LINES),
            None => Vec::new(),
        };
        let what = What::BuildFinished {
            ok: trouble.is_none(),
            took_ms: millis(context.clock.now().since(since)),
            services: job.services.clone(),
            trouble: trouble.clone(),
            last_lines: last_lines.clone(),
        };
        context.emit(&job.services[0], None, what);
        Some(Outcome { id, recipe: job.recipe, trouble, last_lines })
    }

    /// Whether nothing is built.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }
}

/// Follows a build to its end, or to the end of everybody's patience.
async fn build(
    spawned: process::Spawned,
    tap: &Tap,
    cancelled: oneshot::Receiver<()>,
    clock: &Clock,
) -> Option<Trouble> {
    let group = spawned.group.clone();
    let attending = attend(spawned, tap, [Stream::Build, Stream::Build], CANCEL_GRACE, clock);
    tokio::pin!(attending);
    let why = tokio::select! {
        exit = &mut attending => {
            let hint = exit.hint(true).map(str::to_owned);
            return (!exit.success()).then(|| Trouble { message: exit.text(), hint });
        }
        _ = cancelled => "was cancelled",
        () = clock.sleep(BUILD_TIME_MAX) => "took longer than 1h and was ended",
    };
    group.terminate();
    tokio::select! {
        _ = &mut attending => {}
        () = clock.sleep(CANCEL_GRACE) => {
            group.kill();
            attending.await;
        }
    }
    Some(Trouble { message: why.to_owned(), hint: None })
}

/// Whole milliseconds, as events tell them.
pub(crate) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
