//! Admission control: the more of a route's requests fail, the more of those that come are refused, so that
//! what is behind it can recover (Skipper's `admissionControl`, figure for figure).

use base::Moment;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Slots of a window at most.
pub const SLOTS_MAX: usize = 100;

/// When how many are refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The length of a slot. Only slots that are over count.
    pub slot: Duration,
    /// So many slots make the window, 1 to [`SLOTS_MAX`].
    pub slots: usize,
    /// With fewer requests per second, none is refused.
    pub rps_min: f64,
    /// As long as this share of the requests succeeds, none is refused; above 0, at most 1.
    pub success_min: f64,
    /// Never more than this share of the requests is refused.
    pub reject_max: f64,
    /// The share is raised to this power: below 1 more is refused.
    pub exponent: f64,
}

/// What is known of one route's requests, shared by all cores.
#[derive(Debug)]
pub struct Admission {
    settings: Settings,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    /// The number of the slot that is being counted, since the clock began.
    number: u64,
    current: Counts,
    /// The slots before, each at its number modulo their count.
    past: Box<[Counts]>,
    /// What they hold together.
    sum: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    total: u64,
    succeeded: u64,
}

impl Admission {
    /// Nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        let past = vec![Counts::default(); settings.slots.clamp(1, SLOTS_MAX)].into();
        let window = Window { number: 0, current: Counts::default(), past, sum: Counts::default() };
        Self { settings, window: Mutex::new(window) }
    }

    /// A request that was let through has ended.
    pub fn record(&self, succeeded: bool, now: Moment) {
        let mut window = self.at(now);
        window.current.total += 1;
        window.current.succeeded += u64::from(succeeded);
    }

    /// The share of the requests that is to be refused now:
    /// `((total - succeeded / success_min) / (total + 1)) ^ exponent`.
    pub fn reject_probability(&self, now: Moment) -> f64 {
        let Settings { slot, rps_min, success_min, reject_max, exponent, .. } = self.settings;
        let window = self.at(now);
        let (total, succeeded) = (window.sum.total as f64, window.sum.succeeded as f64);
        let seconds = slot.as_secs_f64() * window.past.len() as f64;
        let expected = succeeded / success_min;
        if total / seconds < rps_min || total < expected {
            return 0.0;
        }
        ((total - expected) / (total + 1.0)).powf(exponent).min(reject_max).max(0.0)
    }

    fn at(&self, now: Moment) -> MutexGuard<'_, Window> {
        let slot_ns = u64::try_from(self.settings.slot.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.advance(now.0 / slot_ns);
        window
    }
}

impl Window {
    /// Closes slots until this one is being counted. Cores read the clock before they take the lock, so a
    /// number may also be older.
    fn advance(&mut self, number: u64) {
        let slots = self.past.len() as u64;
        let gone = number.saturating_sub(self.number);
        if gone == 0 {
            return;
        }
        let at = |number: u64| usize::try_from(number % slots).expect("below the number of slots");
        self.past[at(self.number)] = std::mem::take(&mut self.current);
        for skipped in 1..gone.min(slots + 1) {
            self.past[at(self.number + skipped)] = Counts::default();
        }
        self.number = number;
        self.sum = self.past.iter().fold(Counts::default(), |sum, counts| Counts {
            total: sum.total + counts.total,
            succeeded: sum.succeeded + counts.succeeded,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: Settings = Settings {
        slot: Duration::from_secs(1),
        slots: 5,
        rps_min: 10.0,
        success_min: 0.95,
        reject_max: 0.9,
        exponent: 0.5,
    };

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    /// The probability after a second with so many requests, so many of which succeeded.
    fn after(settings: Settings, total: u64, succeeded: u64) -> String {
        let admission = Admission::new(settings);
        (0..total).for_each(|number| admission.record(number < succeeded, at(500)));
        format!("{:.3}", admission.reject_probability(at(1000)))
    }

    #[test]
    fn the_more_fail_the_more_are_refused() {
        let share = |succeeded| after(SETTINGS, 100, succeeded);
        assert_eq!([100, 95, 94, 50, 0].map(share), ["0.000", "0.000", "0.102", "0.685", "0.900"]);
        let linear = Settings { exponent: 1.0, reject_max: 1.0, ..SETTINGS };
        assert_eq!([94, 50, 0].map(|succeeded| after(linear, 100, succeeded)), ["0.010", "0.469", "0.990"]);
    }

    #[test]
    fn few_requests_say_nothing() {
        assert_eq!([after(SETTINGS, 49, 0), after(SETTINGS, 50, 0)], ["0.000", "0.900"]);
    }

    #[test]
    fn what_is_being_counted_counts_later_and_what_is_old_no_more() {
        let admission = Admission::new(SETTINGS);
        (0..100).for_each(|_| admission.record(false, at(0)));
        let refuses = |ms| admission.reject_probability(at(ms)) > 0.0;
        assert!(!refuses(999));
        assert!(refuses(1000) && refuses(5999));
        assert!(!refuses(6000));
        assert!(!refuses(0), "an older moment changes nothing");
    }

    proptest! {
        /// The ring of slots against a plain list of what happened when.
        #[test]
        fn the_window_counts_what_lies_within(
            slots in 1usize..7,
            steps in prop::collection::vec((0u64..3000, any::<bool>()), 1..120),
        ) {
            let settings = Settings { slots, rps_min: 0.0, success_min: 1.0, reject_max: 1.0, exponent: 1.0, ..SETTINGS };
            let admission = Admission::new(settings);
            let (mut now, mut happened) = (0, Vec::new());
            for (wait, succeeded) in steps {
                now += wait;
                let first = (now / 1000).saturating_sub(slots as u64);
                let within: Vec<bool> = happened
                    .iter()
                    .filter(|(ms, _)| (first..now / 1000).contains(&(ms / 1000)))
                    .map(|(_, succeeded)| *succeeded)
                    .collect();
                let failed = within.iter().filter(|succeeded| !**succeeded).count();
                let expected = failed as f64 / (within.len() as f64 + 1.0);
                let got = admission.reject_probability(at(now));
                prop_assert!((got - expected).abs() < 1e-9, "{got} and not {expected}");
                admission.record(succeeded, at(now));
                happened.push((now, succeeded));
            }
        }
    }
}
