//! What was counted of each route, as numbers for whoever plots or compares them; for scrapes there is the page. Two
//! readings make a rate, and the shares of durations between them.

use super::histogram::{BUCKETS, Counts};
use super::{Metrics, RouteMeter};
use std::sync::Arc;

/// What was counted of one route since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTotals {
    /// The route's id.
    pub id: String,
    /// Requests that have ended.
    pub requests: u64,
    /// Those of them whose answer had a status of 500 or above.
    pub errors: u64,
    /// Attempts beyond each request's first.
    pub retries: u64,
    /// How long they took.
    pub durations: Durations,
}

/// Durations, counted by how long they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many in each bucket of [`BUCKETS`], and above the last; those of smaller buckets not included.
    pub buckets: [u64; BUCKETS.len() + 1],
}

impl RouteTotals {
    /// What was counted since an earlier reading of the same route.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            id: self.id.clone(),
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            retries: self.retries.saturating_sub(earlier.retries),
            durations: self.durations.since(&earlier.durations),
        }
    }

    /// Adds what was counted of another route.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.retries += other.retries;
        for (mine, theirs) in self.durations.buckets.iter_mut().zip(other.durations.buckets) {
            *mine += theirs;
        }
    }
}

impl Durations {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Those since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        for (mine, theirs) in buckets.iter_mut().zip(earlier.buckets) {
            *mine = mine.saturating_sub(theirs);
        }
        Self { buckets }
    }

    /// Seconds within which such a share of all was done, between the bounds of its bucket as if they lay evenly
    /// there. What lies above the last bound is told as that; none if there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut below = 0.0;
        let mut lower = 0.0;
        for (count, upper) in self.buckets.iter().zip(BUCKETS) {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (upper - lower) * ((wanted - below) / count));
            }
            below += count;
            lower = upper;
        }
        (self.count() > 0).then_some(lower)
    }
}

impl Metrics {
    /// What was counted of each route that was used, in the order of their ids.
    pub fn totals(&self) -> Vec<RouteTotals> {
        let meters: Vec<Arc<RouteMeter>> =
            self.routes().values().cloned().chain([self.0.other.clone()]).collect();
        meters.iter().filter(|meter| meter.is_used()).map(|meter| totals(meter)).collect()
    }
}

fn totals(meter: &RouteMeter) -> RouteTotals {
    let counts = meter.counts();
    let mut all = Counts::default();
    let mut errors = 0;
    for ((code, _), served) in &counts.served {
        all.merge(served);
        if code.starts_with('5') {
            errors += served.count();
        }
    }
    RouteTotals {
        id: meter.id().to_owned(),
        requests: all.count(),
        errors,
        retries: counts.retries,
        durations: Durations { buckets: all.buckets },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;
    use std::time::Duration;

    #[test]
    fn two_readings_make_a_rate() {
        let metrics = Metrics::new(1);
        let worker = metrics.worker(0);
        let carry = |status, ms| {
            let record =
                crate::Record { status, duration: Duration::from_millis(ms), attempts: 2, ..record() };
            metrics.route("cart").observe(&worker, &record);
        };
        carry(200, 7);
        let _unused = metrics.route("never");
        let before = metrics.totals();
        carry(502, 80);
        carry(404, 80);
        let [now] = &metrics.totals()[..] else { panic!("a route that was never used is left out") };
        let since = now.since(&before[0]);
        assert_eq!(
            (since.id.as_str(), since.requests, since.errors, since.retries, now.requests),
            ("cart", 2, 1, 2, 3)
        );
        assert_eq!(since.durations.quantile(1.0), Some(0.1));
    }

    #[test]
    fn a_share_lies_between_the_bounds_of_its_bucket() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        durations.buckets[1] = 4;
        assert_eq!(durations.quantile(0.5), Some(0.0075));
        durations.buckets[11] = 4;
        assert_eq!((durations.quantile(0.5), durations.quantile(0.99)), (Some(0.01), Some(10.0)));
    }
}
