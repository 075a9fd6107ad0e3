//! Leaky buckets (Skipper's `clusterLeakyBucketRatelimit`): each request pours in, the bucket leaks one unit
//! per `emission`, and what would make it run over is refused. The whole state of a bucket is the moment
//! it will be empty.

use crate::crowd::{Crowd, Member};
use crate::limit::Verdict;
use base::{Chance, Moment};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The shape of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leak {
    /// Units that fit at once.
    pub capacity: u32,
    /// The time in which one unit leaks out.
    pub emission: Duration,
}

impl Leak {
    /// What becomes of a bucket that will be empty at `empty_at` when `units` are poured in now.
    fn pour(self, empty_at: Moment, units: u32, now: Moment) -> Result<Moment, Duration> {
        let full = self.emission.saturating_mul(self.capacity);
        let level = empty_at.since(now) + self.emission.saturating_mul(units);
        match level.checked_sub(full) {
            Some(over) if !over.is_zero() => Err(over),
            _ => Ok(now + level),
        }
    }
}

/// One bucket.
#[derive(Debug)]
pub struct LeakyBucket {
    leak: Leak,
    /// A [`Moment`].
    empty_at: AtomicU64,
}

impl LeakyBucket {
    /// An empty bucket.
    pub fn new(leak: Leak) -> Self {
        Self { leak, empty_at: AtomicU64::new(0) }
    }

    /// Pours in `units`, all or nothing.
    pub fn pour(&self, units: u32, now: Moment) -> Verdict {
        let mut wait = Duration::ZERO;
        let poured = self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| match self
            .leak
            .pour(Moment(empty_at), units, now)
        {
            Ok(moment) => Some(moment.0),
            Err(later) => {
                wait = later;
                None
            }
        });
        if poured.is_ok() { Verdict::Admit } else { Verdict::Later(wait) }
    }
}

/// A bucket for each label, for a bounded number of labels.
#[derive(Debug)]
pub struct ClientBuckets {
    leak: Leak,
    buckets: Crowd<EmptyAt>,
}

#[derive(Debug)]
struct EmptyAt(Moment);

impl Member for EmptyAt {
    fn is_idle(&self, _seen: Moment, now: Moment) -> bool {
        self.0 <= now
    }
}

impl ClientBuckets {
    /// No bucket yet, and never more than `clients_max`.
    pub fn new(leak: Leak, clients_max: usize, chance: &Chance) -> Self {
        Self { leak, buckets: Crowd::new(clients_max, chance) }
    }

    /// Pours `units` into this label's bucket, all or nothing.
    pub fn pour(&self, label: &[u8], units: u32, now: Moment) -> Verdict {
        self.buckets.with(
            label,
            now,
            || EmptyAt(now),
            |bucket| match self.leak.pour(bucket.0, units, now) {
                Ok(empty_at) => {
                    bucket.0 = empty_at;
                    Verdict::Admit
                }
                Err(wait) => Verdict::Later(wait),
            },
        )
    }

    /// Forgets empty buckets.
    pub fn sweep(&self, now: Moment) {
        self.buckets.sweep(now);
    }

    /// How many buckets there are.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEAK: Leak = Leak { capacity: 3, emission: Duration::from_secs(1) };

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    #[test]
    fn what_would_run_over_is_refused_whole() {
        let bucket = LeakyBucket::new(LEAK);
        assert_eq!(bucket.pour(2, at(0)), Verdict::Admit);
        assert_eq!(bucket.pour(2, at(500)), Verdict::Later(Duration::from_millis(500)));
        assert_eq!(bucket.pour(2, at(1000)), Verdict::Admit);
        assert_eq!(bucket.pour(4, at(9000)), Verdict::Later(Duration::from_secs(1)), "it never fits");
    }

    #[test]
    fn each_label_has_its_bucket_until_it_is_empty() {
        let buckets = ClientBuckets::new(LEAK, 10, &Chance::seeded(1));
        let pour = |label: &str, ms| buckets.pour(label.as_bytes(), 1, at(ms)).is_admitted();
        assert_eq!([(); 4].map(|()| pour("ann", 0)), [true, true, true, false]);
        assert!(pour("bob", 0));
        buckets.sweep(at(1000));
        assert_eq!(buckets.buckets(), 1, "bob's has run out");
    }

    proptest! {
        #[test]
        fn a_bucket_gives_out_no_more_than_it_held_and_leaked(steps in prop::collection::vec((0u64..3000, 1u32..3), 1..200)) {
            let bucket = LeakyBucket::new(LEAK);
            let (mut now, mut poured) = (0, Vec::new());
            for (step, units) in steps {
                now += step;
                if bucket.pour(units, at(now)).is_admitted() {
                    poured.push((now, u64::from(units)));
                }
            }
            for (first, (start, _)) in poured.iter().enumerate() {
                let mut sum = 0;
                for (then, units) in &poured[first..] {
                    sum += units;
                    prop_assert!(sum * 1000 <= 3000 + (then - start));
                }
            }
        }
    }
}
