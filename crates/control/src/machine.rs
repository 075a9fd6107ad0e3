//! One instance's life as a pure state machine: it is given what happened and the time, and returns what
//! to do. Starting processes, checking health and telling people are left to `instance`.

use base::{Chance, Moment};
use manifest::{Check, Command, Health, Restart, RestartWhen};
use std::time::Duration;

/// How soon after its start an instance is asked for the first time whether it can serve; the pauses then
/// grow by a quarter each, up to the interval, so that waiting adds at most a quarter to the start-up.
const POLL_FIRST: Duration = Duration::from_millis(50);

/// The same for a check that is a command of its own: a process each time is not cheap.
const POLL_FIRST_COMMAND: Duration = Duration::from_millis(200);

/// Between taking a healthy instance out of the endpoints and its SIGTERM, so that nobody who has not yet
/// heard of it sends a request into the closing door.
const WITHDRAW_PAUSE: Duration = Duration::from_millis(100);

/// How long SIGKILL may take. A process stuck in the kernel longer than this is given up and named.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// No pause is shorter, whatever the manifest says: no loop without a wait.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// What of the manifest decides an instance's life. May change while it runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(crate) restart: Restart,
    pub(crate) stop_grace: Duration,
    pub(crate) poll_first: Duration,
    pub(crate) interval: Duration,
    pub(crate) failures: u32,
    pub(crate) start_period: Duration,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// For the services it depends on.
    Waiting,
    /// A process was asked for.
    Spawning,
    /// The process runs; no check has passed yet.
    Starting,
    /// The last check passed, or too few failed since.
    Healthy,
    /// The process runs, but so many checks in a row failed.
    Unhealthy,
    /// It ended and begins anew at `until`.
    Backoff { until: Moment },
    /// It ended too often and is left ended.
    CrashLooped,
    /// It could not be started, and trying again makes no sense.
    Failed,
    /// It was asked to end.
    Stopping(Stopping),
    /// It ended because it was asked to.
    Stopped,
    /// It ended by itself and shall not begin anew.
    Done { success: bool },
}

/// How far the stopping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// The process asked for is not there yet; it is stopped as soon as it is.
    Unborn { by: Option<Moment> },
    /// No longer among the endpoints; SIGTERM comes at `term_at`.
    Withdrawn { term_at: Moment, by: Option<Moment> },
    /// SIGTERM was sent; SIGKILL comes at `kill_at`.
    Terminated { kill_at: Moment },
    /// SIGKILL was sent; it is given up at `give_up_at`.
    Killed { give_up_at: Moment },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Everything it depends on is there.
    DependenciesReady,
    /// The process asked for runs.
    Spawned,
    /// There is no process; `again`: it may be different next time.
    SpawnFailed { again: bool },
    /// A check of run `run` has its answer.
    Checked { run: u32, healthy: bool },
    /// The process and all of its group have ended.
    Exited { success: bool },
    /// The moment of [`Machine::due`] may have come.
    Tick,
    /// It shall end; with SIGKILL not later than `by`.
    Stop { by: Option<Moment> },
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a process, and tell `Spawned` or `SpawnFailed`.
    Spawn,
    /// Check the health once, and tell `Checked` with this run.
    Check { run: u32 },
    /// SIGTERM to the process group.
    Terminate,
    /// SIGKILL to the process group.
    Kill,
    /// Tell whoever listens.
    Say(Say),
}

/// What is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// It can serve, `took` after its process was started or last failed.
    Healthy { took: Duration },
    /// It can't serve (any more); `ever`: it could before in this run.
    Unhealthy { ever: bool },
    /// It begins anew `after` this pause, for the `restarts`th time in a row.
    Restarts { after: Duration, restarts: u32 },
    /// It ended once more after `restarts` restarts and is left ended.
    CrashLooped { restarts: u32 },
    /// It can't be started.
    Failed,
    /// It ended by itself and is left ended.
    Done { success: bool },
    /// It is asked to end.
    Stopping,
    /// It has ended; `killed`: only after SIGKILL.
    Stopped { killed: bool },
    /// Not even SIGKILL ended it.
    Stuck,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Machine {
    rules: Rules,
    chance: Chance,
    state: State,
    process: Process,
    /// Counts the processes of this instance, so that an answer about an earlier one is known as such.
    run: u32,
    /// When the process started, or when it was last healthy.
    since: Moment,
    ever_healthy: bool,
    healthy_since: Option<Moment>,
    failures: u32,
    checking: bool,
    check_at: Moment,
    check_pause: Duration,
    /// Restarts since it was last healthy for long.
    in_a_row: u32,
    /// Restarts ever.
    restarts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    None,
    Asked,
    Running,
}

impl Rules {
    /// The rules a command's fields state; its health check's defaults where it has none.
    pub(crate) fn of(command: &Command) -> Self {
        let health = command.health.clone().unwrap_or_else(|| Health::of(Check::Tcp));
        let poll_first = match health.check {
            Check::Command(_) => POLL_FIRST_COMMAND,
            Check::Http(_) | Check::Tcp => POLL_FIRST,
        };
        Self {
            restart: command.restart.clone(),
            stop_grace: command.stop_grace,
            poll_first: poll_first.min(health.interval).max(PAUSE_MIN),
            interval: health.interval.max(PAUSE_MIN),
            failures: health.failures.max(1),
            start_period: health.start_period,
        }
    }

    /// The pause before the restart that follows `restarts` others: doubled each time, up to the longest.
    fn backoff(&self, restarts: u32) -> Duration {
        let doubled = 1u32.checked_shl(restarts).unwrap_or(u32::MAX);
        self.restart.backoff.saturating_mul(doubled).min(self.restart.backoff_max).max(PAUSE_MIN)
    }
}

impl Machine {
    /// An instance that waits for what it depends on.
    pub(crate) fn new(rules: Rules, chance: Chance) -> Self {
        let check_pause = rules.poll_first;
        Self {
            rules,
            chance,
            state: State::Waiting,
            process: Process::None,
            run: 0,
            since: Moment::default(),
            ever_healthy: false,
            healthy_since: None,
            failures: 0,
            checking: false,
            check_at: Moment::default(),
            check_pause,
            in_a_row: 0,
            restarts: 0,
        }
    }

    /// Where it is.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Which of its processes this is, from 1.
    pub(crate) fn run(&self) -> u32 {
        self.run
    }

    /// How often it began anew.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether somebody may wait for it no longer: it serves, or its work is done.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Healthy | State::Done { success: true })
    }

    /// Whether its process was started; what `depends_on: {when: started}` asks.
    pub(crate) fn is_started(&self) -> bool {
        self.is_ready() || matches!(self.state, State::Starting | State::Unhealthy)
    }

    /// Takes over changed rules without touching the process.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// When it next needs a tick.
    pub(crate) fn due(&self) -> Option<Moment> {
        match self.state {
            State::Starting | State::Healthy | State::Unhealthy => (!self.checking).then_some(self.check_at),
            State::Backoff { until } => Some(until),
            State::Stopping(Stopping::Withdrawn { term_at, .. }) => Some(term_at),
            State::Stopping(Stopping::Terminated { kill_at }) => Some(kill_at),
            State::Stopping(Stopping::Killed { give_up_at }) => Some(give_up_at),
            _ => None,
        }
    }

    /// Takes in what happened at `now` and answers what to do, in this order.
    pub(crate) fn on(&mut self, event: Event, now: Moment) -> Vec<Action> {
        let mut todo = Vec::new();
        match event {
            Event::DependenciesReady if self.state == State::Waiting => self.spawn(&mut todo),
            Event::DependenciesReady => {}
            Event::Spawned => self.spawned(now, &mut todo),
            Event::SpawnFailed { again } => self.spawn_failed(again, now, &mut todo),
            Event::Checked { run, healthy } => self.checked(run, healthy, now, &mut todo),
            Event::Exited { success } => self.exited(success, now, &mut todo),
            Event::Tick => self.tick(now, &mut todo),
            Event::Stop { by } => self.stop(by, now, &mut todo),
        }
        todo
    }

    fn spawn(&mut self, todo: &mut Vec<Action>) {
        self.state = State::Spawning;
        self.process = Process::Asked;
        self.run += 1;
        todo.push(Action::Spawn);
    }

    fn spawned(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if self.process != Process::Asked {
            return;
        }
        self.process = Process::Running;
        if let State::Stopping(Stopping::Unborn { by }) = self.state {
            return self.terminate(by, now, todo);
        }
        self.state = State::Starting;
        self.since = now;
        self.ever_healthy = false;
        self.healthy_since = None;
        self.failures = 0;
        self.checking = false;
        self.check_pause = self.rules.poll_first;
        self.check_at = now + self.check_pause;
    }

    fn spawn_failed(&mut self, again: bool, now: Moment, todo: &mut Vec<Action>) {
        if self.process != Process::Asked {
            return;
        }
        self.process = Process::None;
        if matches!(self.state, State::Stopping(_)) {
            self.state = State::Stopped;
            todo.push(Action::Say(Say::Stopped { killed: false }));
        } else if again && self.rules.restart.when != RestartWhen::Never {
            self.again(now, todo);
        } else {
            self.state = State::Failed;
            todo.push(Action::Say(Say::Failed));
        }
    }

    fn checked(&mut self, run: u32, healthy: bool, now: Moment, todo: &mut Vec<Action>) {
        if run != self.run || !matches!(self.state, State::Starting | State::Healthy | State::Unhealthy) {
            return;
        }
        self.checking = false;
        if healthy {
            self.failures = 0;
            self.ever_healthy = true;
            self.healthy_since.get_or_insert(now);
            self.forgive_if_long_healthy(now);
            if self.state != State::Healthy {
                self.state = State::Healthy;
                todo.push(Action::Say(Say::Healthy { took: now.since(self.since) }));
            }
        } else if self.ever_healthy || now.since(self.since) >= self.rules.start_period {
            // The start period ends with the first success: from then on failures count.
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.rules.failures && self.state != State::Unhealthy {
                self.forgive_if_long_healthy(now);
                self.healthy_since = None;
                self.since = now;
                self.state = State::Unhealthy;
                todo.push(Action::Say(Say::Unhealthy { ever: self.ever_healthy }));
            }
        }
        self.check_at = now + self.next_pause();
    }

    /// The start is polled ever more slowly; after it the interval counts, give or take a tenth so that
    /// many instances do not check in step.
    fn next_pause(&mut self) -> Duration {
        if self.state == State::Starting {
            self.check_pause = self.check_pause.mul_f64(1.25).min(self.rules.interval);
            self.check_pause
        } else {
            self.rules.interval.mul_f64(0.9 + 0.2 * self.chance.unit())
        }
    }

    fn exited(&mut self, success: bool, now: Moment, todo: &mut Vec<Action>) {
        if self.process != Process::Running {
            return;
        }
        self.process = Process::None;
        self.forgive_if_long_healthy(now);
        self.healthy_since = None;
        self.checking = false;
        if let State::Stopping(phase) = self.state {
            self.state = State::Stopped;
            let killed = matches!(phase, Stopping::Killed { .. });
            todo.push(Action::Say(Say::Stopped { killed }));
            return;
        }
        let again = match self.rules.restart.when {
            RestartWhen::Always => true,
            RestartWhen::OnFailure => !success,
            RestartWhen::Never => false,
        };
        if again {
            self.again(now, todo);
        } else {
            self.state = State::Done { success };
            todo.push(Action::Say(Say::Done { success }));
        }
    }

    fn again(&mut self, now: Moment, todo: &mut Vec<Action>) {
        let limit = self.rules.restart.limit;
        if limit > 0 && self.in_a_row >= limit {
            self.state = State::CrashLooped;
            todo.push(Action::Say(Say::CrashLooped { restarts: self.in_a_row }));
            return;
        }
        let after = self.rules.backoff(self.in_a_row);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
        self.state = State::Backoff { until: now + after };
        todo.push(Action::Say(Say::Restarts { after, restarts: self.in_a_row }));
    }

    fn tick(&mut self, now: Moment, todo: &mut Vec<Action>) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        match self.state {
            State::Starting | State::Healthy | State::Unhealthy => {
                self.checking = true;
                todo.push(Action::Check { run: self.run });
            }
            State::Backoff { .. } => self.spawn(todo),
            State::Stopping(Stopping::Withdrawn { by, .. }) => self.terminate(by, now, todo),
            State::Stopping(Stopping::Terminated { .. }) => {
                self.state = State::Stopping(Stopping::Killed { give_up_at: now + KILL_PATIENCE });
                todo.push(Action::Kill);
            }
            State::Stopping(Stopping::Killed { .. }) => {
                self.process = Process::None;
                self.state = State::Stopped;
                todo.push(Action::Say(Say::Stuck));
            }
            _ => {}
        }
    }

    fn stop(&mut self, by: Option<Moment>, now: Moment, todo: &mut Vec<Action>) {
        let sooner = |old: Option<Moment>| match (old, by) {
            (Some(old), Some(by)) => Some(old.min(by)),
            (old, by) => old.or(by),
        };
        match self.state {
            State::Stopped => {}
            // Asked again: only the deadline can move, and only nearer.
            State::Stopping(phase) => {
                self.state = State::Stopping(match phase {
                    Stopping::Unborn { by: old } => Stopping::Unborn { by: sooner(old) },
                    Stopping::Withdrawn { term_at, by: old } => {
                        let by = sooner(old);
                        Stopping::Withdrawn { term_at: by.map_or(term_at, |by| term_at.min(by)), by }
                    }
                    Stopping::Terminated { kill_at } => {
                        Stopping::Terminated { kill_at: by.map_or(kill_at, |by| kill_at.min(by)) }
                    }
                    killed @ Stopping::Killed { .. } => killed,
                });
            }
            _ if self.process == Process::None => {
                self.state = State::Stopped;
                todo.push(Action::Say(Say::Stopped { killed: false }));
            }
            _ if self.process == Process::Asked => {
                self.state = State::Stopping(Stopping::Unborn { by });
                todo.push(Action::Say(Say::Stopping));
            }
            State::Healthy => {
                let term_at = now + WITHDRAW_PAUSE;
                let term_at = by.map_or(term_at, |by| term_at.min(by));
                self.state = State::Stopping(Stopping::Withdrawn { term_at, by });
                todo.push(Action::Say(Say::Stopping));
            }
            _ => {
                todo.push(Action::Say(Say::Stopping));
                self.terminate(by, now, todo);
            }
        }
    }

    fn terminate(&mut self, by: Option<Moment>, now: Moment, todo: &mut Vec<Action>) {
        let kill_at = now + self.rules.stop_grace;
        let kill_at = by.map_or(kill_at, |by| kill_at.min(by));
        self.state = State::Stopping(Stopping::Terminated { kill_at });
        todo.push(Action::Terminate);
    }

    /// Having been healthy for as long as the longest pause, its restarts are forgotten.
    fn forgive_if_long_healthy(&mut self, now: Moment) {
        let long = self.healthy_since.is_some_and(|since| now.since(since) >= self.rules.restart.backoff_max);
        if long {
            self.in_a_row = 0;
        }
    }
}

#[cfg(test)]
mod tests;
