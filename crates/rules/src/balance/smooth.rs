//! Smooth weighted round robin (as nginx does it): each endpoint gains its weight in every round, the one
//! that has most is chosen and pays what all gained together.

use super::{Candidates, weight};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(super) struct Smooth(Mutex<Vec<f64>>);

impl Smooth {
    pub(super) fn new(endpoints: usize) -> Self {
        Self(Mutex::new(vec![0.0; endpoints]))
    }

    /// The next of the eligible endpoints that `wanted` names.
    pub(super) fn pick(&self, candidates: &impl Candidates, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gained = 0.0;
        let mut best: Option<usize> = None;
        for endpoint in 0..candidates.count().min(held.len()) {
            if !candidates.is_eligible(endpoint) || !wanted(endpoint) {
                continue;
            }
            let weight = weight(candidates, endpoint);
            gained += weight;
            held[endpoint] += weight;
            if best.is_none_or(|best| held[endpoint] > held[best]) {
                best = Some(endpoint);
            }
        }
        held[best?] -= gained;
        best
    }
}
