//! Which requests of a route are its slowest: those beyond the ninety-ninth percentile of the last few thousand,
//! told from counts of durations in a few hundred bytes. One thread counts; where more do, a count may be lost.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Buckets: eight to each doubling, so that a duration is known to about a twelfth of itself.
const BUCKETS: usize = 28 * 8;
/// Requests before any is slow: of fewer there is no hundredth part.
const SEEN_MIN: u32 = 200;
/// When so many are counted, all counts are halved, so that what was long ago counts less and less.
const SEEN_MAX: u32 = 8_192;
/// The limit is told anew after so many.
const ANEW_EVERY: u32 = 64;

/// The durations of one route.
#[derive(Debug)]
pub(super) struct Slow {
    counts: [AtomicU16; BUCKETS],
    seen: AtomicU32,
    /// Slow is what falls into a bucket beyond this one.
    limit: AtomicU32,
}

impl Default for Slow {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU16::new(0) }; BUCKETS],
            seen: AtomicU32::new(0),
            limit: AtomicU32::new(u32::MAX),
        }
    }
}

impl Slow {
    /// Counts a request, and answers whether it is one of the slowest by what was counted before it.
    pub(super) fn observe(&self, took: Duration) -> bool {
        let bucket = bucket(took);
        let count = &self.counts[bucket];
        count.store(count.load(Relaxed).saturating_add(1), Relaxed);
        let seen = self.seen.load(Relaxed) + 1;
        self.seen.store(seen, Relaxed);
        let is_slow = bucket as u64 > u64::from(self.limit.load(Relaxed));
        if seen.is_multiple_of(ANEW_EVERY) && seen >= SEEN_MIN {
            self.tell_anew();
        }
        is_slow
    }

    #[cold]
    fn tell_anew(&self) {
        let total: u32 = self.counts.iter().map(|count| u32::from(count.load(Relaxed))).sum();
        let (mut beyond, mut limit) = (0, BUCKETS);
        // From the slowest down, as long as all of them are less than a hundredth.
        while limit > 0 {
            beyond += u32::from(self.counts[limit - 1].load(Relaxed));
            if beyond * 100 > total {
                break;
            }
            limit -= 1;
        }
        self.limit.store(limit.saturating_sub(1) as u32, Relaxed);
        if total >= SEEN_MAX {
            for count in &self.counts {
                count.store(count.load(Relaxed) / 2, Relaxed);
            }
            self.seen.store(total / 2, Relaxed);
        }
    }
}

/// The bucket of a duration in microseconds: the position of its highest bit, and the three bits below it.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(8);
    let power = micros.ilog2() as usize;
    let eighth = (micros >> (power - 3)) & 7;
    ((power - 3) * 8 + eighth as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Chance;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn about_a_hundredth_is_slow() {
        let (slow, chance) = (Slow::default(), Chance::seeded(5));
        let mut found = 0;
        for number in 0..20_000 {
            // Most take 1 to 2 ms, and five of a thousand take 20 ms and more.
            let is_long = chance.below(1_000) < 5;
            let took = MS.mul_f64(if is_long { 20.0 } else { 1.0 } + chance.unit());
            let is_slow = slow.observe(took);
            assert!(!is_slow || number >= SEEN_MIN, "too early");
            assert!(is_slow == is_long || number < 1_000 || !is_long, "{number}: {took:?}");
            found += u32::from(is_slow);
        }
        assert!((60..=300).contains(&found), "{found}");
    }

    #[test]
    fn what_is_slow_follows_the_route() {
        let slow = Slow::default();
        for _ in 0..10_000 {
            assert!(!slow.observe(MS), "all alike, none is slow");
        }
        assert!(slow.observe(MS * 10));
        for _ in 0..30_000 {
            slow.observe(MS * 10);
        }
        assert!(!slow.observe(MS * 10), "that is how long it takes now");
        assert!(slow.observe(MS * 20));
    }

    #[test]
    fn buckets_grow_by_an_eighth_and_have_an_end() {
        let at = |micros| bucket(Duration::from_micros(micros));
        assert_eq!((at(0), at(8), at(9), at(15), at(16), at(17), at(18)), (0, 0, 1, 7, 8, 8, 9));
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        for micros in 8..100_000 {
            assert!(at(micros) <= at(micros + 1));
        }
    }
}
