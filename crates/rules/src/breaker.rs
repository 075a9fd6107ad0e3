//! Circuit breakers: a backend that keeps failing is left alone for a while, then tried with a few
//! requests, and trusted again when those succeed. The rules are Skipper's (`consecutiveBreaker`,
//! `rateBreaker`); what counts as a failure is for whoever reports it.

mod registry;
mod settings;

pub use registry::{BREAKERS_MAX, Breakers};
pub use settings::{Settings, Trip};

use crate::Sampler;
use base::Moment;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a breaker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Lets all through.
    Closed,
    /// Lets none through.
    Open,
    /// Lets a few through, to see how they end.
    HalfOpen,
}

/// The breaker of one backend under one set of rules, shared by all cores. As long as all goes well it costs
/// two reads of an atomic (a breaker by rate: one short lock per outcome).
#[derive(Debug)]
pub struct Breaker {
    host: Box<str>,
    settings: Settings,
    trip: Trip,
    timeout: Duration,
    half_open: u32,
    /// The generation while closed, 0 otherwise: whoever reads its own generation here needs no lock.
    closed: AtomicU32,
    /// Failures since the last success.
    row: AtomicU32,
    phase: Mutex<Phase>,
}

/// Every change of state begins a new generation, so that outcomes of an earlier one are told apart.
#[derive(Debug)]
struct Phase {
    generation: u32,
    is: Is,
    /// Of the closed state; made at the first outcome, so that a breaker nobody uses stays small.
    sampler: Option<Sampler>,
}

#[derive(Debug)]
enum Is {
    Closed,
    Open { until: Moment },
    HalfOpen { probes: u32, successes: u32 },
}

/// Leave for one request. Tell it how the request ended; dropped without a word, it counts for nothing and
/// its place as a probe is free again.
#[must_use = "a permit that is dropped at once counts for nothing"]
#[derive(Debug)]
pub struct Permit {
    breaker: Arc<Breaker>,
    generation: u32,
    reported: bool,
}

impl Breaker {
    /// A closed breaker for this host. What the settings leave open is filled with the defaults: 1 m timeout,
    /// 1 probe. `None` if they name no rule or switch the breaker off.
    pub fn new(host: &str, settings: Settings) -> Option<Self> {
        let trip = settings.trip.filter(|trip| *trip != Trip::Disabled)?;
        Some(Self {
            host: host.into(),
            settings,
            trip,
            timeout: settings.timeout.unwrap_or(settings::TIMEOUT),
            half_open: settings.half_open.unwrap_or(settings::HALF_OPEN).max(1),
            closed: AtomicU32::new(1),
            row: AtomicU32::new(0),
            phase: Mutex::new(Phase { generation: 1, is: Is::Closed, sampler: None }),
        })
    }

    /// Asks for one request; `None` means that the backend is to be left alone.
    pub fn ask(self: &Arc<Self>, now: Moment) -> Option<Permit> {
        let closed = self.closed.load(Ordering::Acquire);
        let generation = if closed == 0 { self.ask_slowly(now)? } else { closed };
        Some(Permit { breaker: self.clone(), generation, reported: false })
    }

    fn ask_slowly(&self, now: Moment) -> Option<u32> {
        let mut phase = self.lock();
        match &mut phase.is {
            Is::Closed => Some(phase.generation),
            Is::Open { until } if now < *until => None,
            Is::Open { .. } => {
                self.enter(&mut phase, Is::HalfOpen { probes: 1, successes: 0 });
                Some(phase.generation)
            }
            // As many in all as must succeed, not one after the other: a slow backend is found out sooner.
            Is::HalfOpen { probes, .. } if *probes < self.half_open => {
                *probes += 1;
                Some(phase.generation)
            }
            Is::HalfOpen { .. } => None,
        }
    }

    /// What it does with requests at this moment.
    pub fn state(&self, now: Moment) -> State {
        match self.lock().is {
            Is::Closed => State::Closed,
            Is::Open { until } if now < until => State::Open,
            Is::Open { .. } | Is::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// How long an open breaker stays so; nothing for any other.
    pub fn open_for(&self, now: Moment) -> Duration {
        match self.lock().is {
            Is::Open { until } => until.since(now),
            Is::Closed | Is::HalfOpen { .. } => Duration::ZERO,
        }
    }

    /// The backend it guards.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The rules it was made with.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    fn report(&self, generation: u32, success: bool, now: Moment) -> Option<State> {
        let by_rate = matches!(self.trip, Trip::Rate { .. });
        if success && !by_rate && self.row.load(Ordering::Relaxed) == 0 {
            // Nothing to take back: either it is closed, or the report is from an earlier generation.
            if self.closed.load(Ordering::Acquire) == generation {
                return None;
            }
        }
        let mut phase = self.lock();
        if phase.generation != generation {
            return None;
        }
        match (&mut phase.is, success) {
            (Is::Closed, _) => {
                let row = if success { 0 } else { self.row.load(Ordering::Relaxed).saturating_add(1) };
                self.row.store(row, Ordering::Relaxed);
                let trips = match self.trip {
                    Trip::Consecutive { failures } => !success && row >= failures,
                    Trip::Rate { failures, window } => {
                        let sampler = phase.sampler.get_or_insert_with(|| Sampler::new(window as usize));
                        sampler.tick(!success);
                        !success && sampler.set() >= failures as usize
                    }
                    Trip::Disabled => false,
                };
                trips.then(|| self.enter(&mut phase, Is::Open { until: now + self.timeout }))
            }
            (Is::HalfOpen { successes, .. }, true) => {
                *successes += 1;
                (*successes >= self.half_open).then(|| self.enter(&mut phase, Is::Closed))
            }
            (Is::HalfOpen { .. }, false) => {
                Some(self.enter(&mut phase, Is::Open { until: now + self.timeout }))
            }
            (Is::Open { .. }, _) => None,
        }
    }

    fn abandon(&self, generation: u32) {
        if self.closed.load(Ordering::Acquire) == generation {
            return;
        }
        let mut phase = self.lock();
        if phase.generation == generation
            && let Is::HalfOpen { probes, .. } = &mut phase.is
        {
            *probes = probes.saturating_sub(1);
        }
    }

    fn enter(&self, phase: &mut Phase, is: Is) -> State {
        // 0 means `not closed`, so a generation is never 0.
        phase.generation = phase.generation.checked_add(1).unwrap_or(1);
        phase.sampler = None;
        let (state, closed) = match is {
            Is::Closed => (State::Closed, phase.generation),
            Is::Open { .. } => (State::Open, 0),
            Is::HalfOpen { .. } => (State::HalfOpen, 0),
        };
        phase.is = is;
        self.row.store(0, Ordering::Relaxed);
        self.closed.store(closed, Ordering::Release);
        state
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The request succeeded. Answers the new state if that changed it.
    pub fn succeeded(mut self, now: Moment) -> Option<State> {
        self.reported = true;
        self.breaker.report(self.generation, true, now)
    }

    /// The request failed. Answers the new state if that changed it.
    pub fn failed(mut self, now: Moment) -> Option<State> {
        self.reported = true;
        self.breaker.report(self.generation, false, now)
    }

    /// The breaker that gave it.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.reported {
            self.breaker.abandon(self.generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn breaker(trip: Trip) -> Arc<Breaker> {
        let settings = Settings {
            trip: Some(trip),
            timeout: Some(Duration::from_secs(10)),
            half_open: Some(2),
            idle_ttl: None,
        };
        Arc::new(Breaker::new("backend", settings).unwrap())
    }

    fn at(s: u64) -> Moment {
        Moment::default() + Duration::from_secs(s)
    }

    /// Plays a story: `f` and `s` are requests that fail and succeed, `x` one that is dropped, `p` one that
    /// never ends, a digit lets that many seconds pass. Answers `-` for what was refused, and the states.
    fn check(trip: Trip, story: &str, expected: &str) {
        let breaker = breaker(trip);
        let (mut now, mut pending, mut told) = (at(0), Vec::new(), String::new());
        for step in story.chars() {
            if let Some(seconds) = step.to_digit(10) {
                now = now + Duration::from_secs(u64::from(seconds));
                continue;
            }
            let Some(permit) = breaker.ask(now) else {
                told.push('-');
                continue;
            };
            let change = match step {
                'f' => permit.failed(now),
                's' => permit.succeeded(now),
                'x' => None,
                'p' => {
                    pending.push(permit);
                    None
                }
                _ => unreachable!("no such step"),
            };
            told.push(match change {
                None => '.',
                Some(State::Open) => 'O',
                Some(State::Closed) => 'C',
                Some(State::HalfOpen) => 'H',
            });
        }
        assert_eq!(told, expected, "{story}");
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let three = Trip::Consecutive { failures: 3 };
        check(three, "fffs", "..O-");
        check(three, "ffsffsfff", "........O");
        check(three, "fxfxfs", "....O-");
    }

    #[test]
    fn failures_among_the_last_requests_open_it() {
        let three = Trip::Rate { failures: 3, window: 5 };
        check(three, "fsfsf", "....O");
        check(three, "fssfssfssf", "..........");
        check(three, "fffs", "..O-");
    }

    #[test]
    fn after_the_timeout_as_many_probes_as_must_succeed_go_through() {
        let one = Trip::Consecutive { failures: 1 };
        check(one, "f9s1ss", "O-.C");
        check(one, "f55pp", "O..");
        check(one, "f55pps", "O..-");
        check(one, "f55sfs", "O.O-");
        check(one, "f55sf55ssfs", "O.O.CO-");
    }

    #[test]
    fn a_probe_that_is_dropped_gives_its_place_back() {
        check(Trip::Consecutive { failures: 1 }, "f55xxxxxxss", "O.......C");
    }

    #[test]
    fn outcomes_of_an_earlier_time_no_longer_count() {
        let breaker = breaker(Trip::Consecutive { failures: 1 });
        let slow: Vec<_> = (0..3).map(|_| breaker.ask(at(0)).unwrap()).collect();
        assert_eq!(breaker.ask(at(0)).unwrap().failed(at(0)), Some(State::Open));
        assert_eq!(breaker.open_for(at(4)), Duration::from_secs(6));
        let probe = breaker.ask(at(10)).unwrap();
        for permit in slow {
            assert_eq!(permit.failed(at(10)), None);
        }
        assert_eq!(breaker.state(at(10)), State::HalfOpen);
        assert_eq!(probe.succeeded(at(10)), None);
        assert_eq!(breaker.ask(at(10)).unwrap().succeeded(at(10)), Some(State::Closed));
    }

    #[test]
    fn no_rule_no_breaker() {
        assert!(Breaker::new("backend", Settings::default()).is_none());
        assert!(
            Breaker::new("backend", Settings { trip: Some(Trip::Disabled), ..Settings::default() }).is_none()
        );
    }

    proptest! {
        /// Whatever happens, once all permits are gone and the timeout is over, probes get through.
        #[test]
        fn it_never_leaks_a_probe(
            steps in prop::collection::vec((0u8..5, 0usize..8, 0u64..12), 1..300),
            by_rate in any::<bool>(),
        ) {
            let trip =
                if by_rate { Trip::Rate { failures: 2, window: 4 } } else { Trip::Consecutive { failures: 2 } };
            let breaker = breaker(trip);
            let (mut now, mut held) = (at(0), Vec::new());
            for (step, which, seconds) in steps {
                match step {
                    0 => now = now + Duration::from_secs(seconds),
                    1 => held.extend(breaker.ask(now)),
                    _ if held.is_empty() => {}
                    2 => drop(held.swap_remove(which % held.len())),
                    3 => drop(held.swap_remove(which % held.len()).succeeded(now)),
                    _ => drop(held.swap_remove(which % held.len()).failed(now)),
                }
                if let Is::HalfOpen { probes, successes } = breaker.lock().is {
                    prop_assert!(probes <= 2 && successes < 2);
                }
            }
            held.clear();
            now = now + Duration::from_secs(10);
            for _ in 0..2 {
                let permit = breaker.ask(now);
                prop_assert!(permit.is_some(), "stuck in {:?}", breaker.lock().is);
                permit.map(|permit| permit.succeeded(now));
            }
            prop_assert_eq!(breaker.state(now), State::Closed);
        }
    }
}
