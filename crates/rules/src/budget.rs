//! A budget for retries: as long as retries are a small part of all requests they help, beyond that they
//! finish off what is already struggling. The rule and its defaults are those of Linkerd's service
//! profiles: 20 % of the requests of the last ten seconds, and ten per second on top for quiet services.

use base::Moment;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The window is counted in this many slots, so it is 9 to 10 tenths of its length.
const SLOTS: usize = 10;
/// The half of a slot that holds the count.
const LOW: u64 = 0xffff_ffff;

/// How much may be retried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Retries per request, such as 0.2.
    pub ratio: f64,
    /// Retries per second that are always allowed; 0 keeps strictly to the ratio.
    pub per_second_min: f64,
    /// The window over which requests and retries are counted.
    pub window: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { ratio: 0.2, per_second_min: 10.0, window: Duration::from_secs(10) }
    }
}

/// The budget of one route or service, shared by all cores.
#[derive(Debug)]
pub struct RetryBudget {
    budget: Budget,
    slot_ns: u64,
    /// Requests by slot: the number of the slot since the clock began (upper 32 bits) and the count.
    requests: [AtomicU64; SLOTS],
    /// Retries likewise. A lock, because to look and to take must be one step; retries are rare.
    retries: Mutex<[u64; SLOTS]>,
}

impl RetryBudget {
    /// A budget that has seen no request.
    pub fn new(budget: Budget) -> Self {
        let slot_ns = u64::try_from(budget.window.as_nanos() / SLOTS as u128).unwrap_or(u64::MAX).max(1);
        Self { budget, slot_ns, requests: Default::default(), retries: Mutex::default() }
    }

    /// Counts a request that is not a retry.
    pub fn request(&self, now: Moment) {
        let (slot, number) = self.slot(now);
        let count = |held: u64| Some(counted(held, number));
        // The closure always gives a value, so the update can't fail.
        let _ = self.requests[slot].fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }

    /// Asks for one retry, and counts it if the budget allows it.
    pub fn ask(&self, now: Moment) -> bool {
        let (slot, number) = self.slot(now);
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = sum(self.requests.iter().map(|slot| slot.load(Ordering::Relaxed)), number);
        let retried = sum(retries.iter().copied(), number);
        let free = self.budget.per_second_min * self.budget.window.as_secs_f64();
        // A ratio such as 0.2 of 5 must be 1 and not a little less.
        let allowed = requests as f64 * self.budget.ratio + free + 1e-9;
        let fits = (retried + 1) as f64 <= allowed;
        if fits {
            retries[slot] = counted(retries[slot], number);
        }
        fits
    }

    fn slot(&self, now: Moment) -> (usize, u64) {
        let number = (now.0 / self.slot_ns) & LOW;
        (usize::try_from(number % SLOTS as u64).expect("below the number of slots"), number)
    }
}

/// One more in this slot, which begins anew when it held an older number.
fn counted(held: u64, number: u64) -> u64 {
    let count = if held >> 32 == number { held & LOW } else { 0 };
    (number << 32) | (count + 1).min(LOW)
}

/// What the slots of the window that ends with `number` hold together.
fn sum(slots: impl Iterator<Item = u64>, number: u64) -> u64 {
    slots.filter(|held| (number.wrapping_sub(held >> 32) & LOW) < SLOTS as u64).map(|held| held & LOW).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STRICT: Budget = Budget { ratio: 0.2, per_second_min: 0.0, window: Duration::from_secs(10) };

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_tried_again() {
        let budget = RetryBudget::new(STRICT);
        for ms in 0..100 {
            budget.request(at(ms));
        }
        let retries = (0..100).filter(|ms| budget.ask(at(100 + ms))).count();
        assert_eq!(retries, 20);
        assert!(!budget.ask(at(9_999)));
        assert!(!budget.ask(at(10_000)), "the requests no longer count");
    }

    #[test]
    fn a_quiet_service_has_a_minimum() {
        let budget = RetryBudget::new(Budget::default());
        assert_eq!((0..1000).filter(|_| budget.ask(at(0))).count(), 100, "ten seconds of ten");
        assert!(!budget.ask(at(9_000)));
        assert!(budget.ask(at(10_000)));
    }

    #[test]
    fn a_storm_adds_no_more_than_its_share() {
        let budget = RetryBudget::new(Budget::default());
        let (mut requests, mut retries) = (0u32, 0u32);
        for ms in 0..60_000 {
            // A thousand requests a second, every one of which fails and would be tried again three times.
            budget.request(at(ms));
            requests += 1;
            retries += (0..3).map(|_| u32::from(budget.ask(at(ms)))).sum::<u32>();
        }
        let extra = f64::from(retries) / f64::from(requests);
        assert!((0.2..0.22).contains(&extra), "{extra}");
    }

    proptest! {
        #[test]
        fn retries_never_exceed_the_ratio(
            ratio in 0.0f64..1.0,
            steps in prop::collection::vec((0u64..500, any::<bool>()), 1..600),
        ) {
            let budget = RetryBudget::new(Budget { ratio, ..STRICT });
            let (mut now, mut requests, mut retries) = (0, Vec::new(), Vec::new());
            for (step, retry) in steps {
                now += step;
                if !retry {
                    budget.request(at(now));
                    requests.push(now);
                } else if budget.ask(at(now)) {
                    retries.push(now);
                    let begin = (now / 1000).saturating_sub(9) * 1000;
                    let within = |moments: &[u64]| moments.iter().filter(|ms| **ms >= begin).count() as f64;
                    prop_assert!(within(&retries) <= within(&requests) * ratio + 1e-6);
                }
            }
        }
    }
}
