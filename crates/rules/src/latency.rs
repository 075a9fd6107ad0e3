//! How slow an endpoint is: a decaying average of its answers' times that jumps to every peak at once and
//! comes down slowly (the estimate of Linkerd and Finagle, "peak EWMA"). An endpoint that is not asked decays
//! as well, so that it is tried again.

use base::Moment;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The estimate of an endpoint that has not answered yet (Linkerd's default).
pub const FIRST: Duration = Duration::from_millis(30);

/// An estimate loses 63 % of its distance to what is measured in this time (Linkerd's default).
pub const DECAY: Duration = Duration::from_secs(10);

/// What a failure counts as, at least: a fast refusal is no fast answer.
pub const FAILURE: Duration = Duration::from_secs(1);

/// The estimate of one endpoint, shared by all cores.
#[derive(Debug)]
pub struct PeakEwma(Mutex<Estimate>);

#[derive(Clone, Copy, Debug)]
struct Estimate {
    seconds: f64,
    at: Moment,
}

impl Estimate {
    /// What is left of it at `now` if the endpoint were measured at `target` since then.
    fn towards(self, target: f64, now: Moment) -> f64 {
        let share = (-now.since(self.at).as_secs_f64() / DECAY.as_secs_f64()).exp();
        self.seconds * share + target * (1.0 - share)
    }
}

impl PeakEwma {
    /// The estimate of an endpoint that appears at `now`.
    pub fn new(now: Moment) -> Self {
        Self(Mutex::new(Estimate { seconds: FIRST.as_secs_f64(), at: now }))
    }

    /// An answer began after `took`, or a try failed after it.
    pub fn observe(&self, took: Duration, failed: bool, now: Moment) {
        let took = if failed { took.max(FAILURE) } else { took }.as_secs_f64();
        let mut estimate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = if took > estimate.towards(0.0, now) { took } else { estimate.towards(took, now) };
        // Cores read the clock before they take the lock, so an older moment may come second.
        *estimate = Estimate { seconds, at: estimate.at.max(now) };
    }

    /// What one more request would cost: the estimate, once for each of the `pending` requests and once more.
    pub fn cost(&self, pending: u32, now: Moment) -> f64 {
        let estimate = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        estimate.towards(0.0, now) * (f64::from(pending) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    fn ms(cost: f64) -> u64 {
        (cost * 1000.0).round() as u64
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let latency = PeakEwma::new(at(0));
        assert_eq!(ms(latency.cost(0, at(0))), 30);
        latency.observe(Duration::from_millis(500), false, at(10));
        assert_eq!(ms(latency.cost(0, at(10))), 500);
        // One decay later a fast answer pulls it down but for e^-1 of the distance.
        latency.observe(Duration::from_millis(100), false, at(10_010));
        assert_eq!(ms(latency.cost(0, at(10_010))), 100 + 400 * 1000 / 2718);
        assert_eq!(ms(latency.cost(0, at(40_010))), 12, "who is not asked is tried again");
    }

    #[test]
    fn pending_requests_cost_as_much_each() {
        let latency = PeakEwma::new(at(0));
        assert_eq!([0, 1, 9].map(|pending| ms(latency.cost(pending, at(0)))), [30, 60, 300]);
    }

    #[test]
    fn a_fast_failure_is_no_fast_answer() {
        let latency = PeakEwma::new(at(0));
        latency.observe(Duration::from_millis(1), true, at(0));
        assert_eq!(ms(latency.cost(0, at(0))), 1000);
        latency.observe(Duration::from_secs(3), true, at(0));
        assert_eq!(ms(latency.cost(0, at(0))), 3000);
    }

    proptest! {
        #[test]
        fn the_estimate_stays_within_what_was_measured(
            steps in prop::collection::vec((0u64..5000, 1u64..2000), 1..100),
        ) {
            let latency = PeakEwma::new(at(0));
            let (mut now, mut slowest) = (0, 30);
            for (wait, took) in steps {
                now += wait;
                slowest = slowest.max(took);
                latency.observe(Duration::from_millis(took), false, at(now));
                let cost = latency.cost(0, at(now));
                prop_assert!(cost > 0.0 && cost <= slowest as f64 / 1000.0 + 1e-9, "{cost} of {slowest}");
            }
        }
    }
}
