//! What is known of an architecture without looking at its traffic: which services there are, which calls they declare,
//! and what the carrier of calls does for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The services by name, each with the services that it declares to call.
    pub services: BTreeMap<String, BTreeSet<String>>,
    /// Who appears in traces and only carries what others say to each other, such as the gateway.
    pub carriers: BTreeSet<String>,
    /// What is done for calls, by caller and callee; the caller is [`OUTSIDE`] for what comes in from outside. Of calls
    /// that are not here nothing is known.
    pub edges: BTreeMap<(String, String), Policy>,
    /// Whether each call of these is recorded by whoever carries it, so that one that is not seen was not made.
    pub sees_calls: bool,
}

/// The caller of what comes in from outside.
pub const OUTSIDE: &str = "";

/// What the carrier does for calls from one service to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Policy {
    /// How long one may take as a whole.
    pub timeout: Option<Duration>,
    /// How one that failed is tried again.
    pub retry: Option<Retry>,
    /// Whether a callee that fails is left alone for a while.
    pub breaker: bool,
}

/// How calls that failed are tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// So often at most.
    pub times: u32,
    /// Retries are at most this share of all calls.
    pub budget: f64,
}

impl Retry {
    /// By how much it multiplies the calls when all of them fail.
    pub fn factor(self) -> f64 {
        1.0 + f64::from(self.times).min(self.budget.max(0.0))
    }
}

impl Policy {
    /// What holds for any call of two kinds.
    #[must_use]
    pub fn weakest(self, other: Self) -> Self {
        let longest = |one: Duration, other: Duration| one.max(other);
        let often = |one: Retry, other: Retry| if one.factor() >= other.factor() { one } else { other };
        Self {
            timeout: self.timeout.zip(other.timeout).map(|(one, other)| longest(one, other)),
            retry: self.retry.zip(other.retry).map(|(one, other)| often(one, other)),
            breaker: self.breaker && other.breaker,
        }
    }
}

impl Facts {
    /// Whether a name is one of a carrier.
    pub fn is_carrier(&self, name: &str) -> bool {
        self.carriers.contains(name)
    }

    /// What is done for calls of a caller, or of the outside, if it is known.
    pub fn policy(&self, caller: Option<&str>, callee: &str) -> Option<Policy> {
        let key = (caller.unwrap_or(OUTSIDE).to_owned(), callee.to_owned());
        self.edges.get(&key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_bounds_what_retries_add() {
        let factor = |times, budget| Retry { times, budget }.factor().to_string();
        assert_eq!([factor(3, 0.5), factor(3, 1.0), factor(2, 9.0), factor(0, 1.0)], ["1.5", "2", "3", "1"]);
    }

    #[test]
    fn what_holds_for_two_kinds_of_calls_is_the_weaker_of_each() {
        let second = Duration::from_secs(1);
        let retry = |times| Some(Retry { times, budget: 9.0 });
        let one = Policy { timeout: Some(second), retry: retry(1), breaker: true };
        let other = Policy { timeout: Some(second * 2), retry: retry(3), breaker: false };
        let both = Policy { timeout: Some(second * 2), retry: retry(3), breaker: false };
        assert_eq!(one.weakest(other), both);
        assert_eq!(one.weakest(Policy::default()), Policy::default());
    }
}
