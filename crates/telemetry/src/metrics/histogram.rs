//! Durations, counted by how long they were in the buckets that Prometheus clients have by default and
//! Skipper uses.

use super::owner::Writer;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in seconds, each including its bound; above the last is `+Inf`.
pub const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The same in nanoseconds.
const BUCKETS_NS: [u64; 11] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// On cache lines of its own, so that what one worker counts does not slow another.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_ns: AtomicU64,
}

/// What histograms hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// How many in each bucket, those of smaller buckets not included.
    pub(super) buckets: [u64; BUCKETS.len() + 1],
    /// All durations together.
    pub(super) sum_ns: u64,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration, writer: Writer) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Most requests are short, so the search from below is the fast one.
        let bucket = BUCKETS_NS.iter().position(|bound| ns <= *bound).unwrap_or(BUCKETS_NS.len());
        writer.add(&self.buckets[bucket], 1);
        writer.add(&self.sum_ns, ns);
    }
}

impl Counts {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        self.sum_ns = self.sum_ns.wrapping_add(histogram.sum_ns.load(Ordering::Relaxed));
    }

    /// Adds what others hold together.
    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, bucket) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += bucket;
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_includes_its_bound() {
        let histogram = Histogram::default();
        for (bound, bound_ns) in BUCKETS.iter().zip(BUCKETS_NS) {
            assert_eq!(Duration::from_secs_f64(*bound), Duration::from_nanos(bound_ns));
            histogram.observe(Duration::from_nanos(bound_ns), Writer::Only);
            histogram.observe(Duration::from_nanos(bound_ns + 1), Writer::OneOfMany);
        }
        let mut counts = Counts::default();
        counts.add(&histogram);
        assert_eq!(counts.buckets, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert_eq!(counts.count(), 22);
    }
}
