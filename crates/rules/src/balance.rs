//! Which endpoint is next. The algorithms and their names are Skipper's, the hash ring point for point.
//! Which endpoints may be chosen at all (healthy, not tried before, faded in) is for the caller to say.

mod ring;
mod smooth;

pub use ring::{POINTS_PER_ENDPOINT, Ring};

use base::{Chance, did_you_mean};
use smooth::Smooth;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The endpoints of one choice, numbered as in the route. All answers must stay the same during the choice.
pub trait Candidates {
    /// How many endpoints there are, eligible or not.
    fn count(&self) -> usize;

    /// Whether this one may be chosen.
    fn is_eligible(&self, endpoint: usize) -> bool;

    /// How many requests it is working on.
    fn in_flight(&self, endpoint: usize) -> u32;

    /// How much it can take, relative to the others.
    fn weight(&self, _endpoint: usize) -> f64 {
        1.0
    }

    /// What one more request would cost: how slow it is and how much it has to do.
    fn cost(&self, endpoint: usize) -> f64 {
        f64::from(self.in_flight(endpoint))
    }
}

/// What of a request matters to the choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// What `consistentHash` hashes: the client's address, or what `consistentHashKey` set.
    pub key: &'a [u8],
    /// `consistentHashBalanceFactor`: no endpoint gets more than this many times the average load.
    pub balance_factor: Option<f64>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// One after the other, from a random start.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// By the hash of a key, so that equal keys meet the same endpoint.
    ConsistentHash,
    /// Two at random (perhaps the same twice), of which the one with fewer requests in flight.
    PowerOfRandomNChoices,
    /// One after the other, each as often as its weight says, as evenly spread as can be.
    WeightedRoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastRequests,
    /// Two at random, of which the one where the request costs less: by its latency and its requests in
    /// flight. Linkerd's; Skipper does not have it.
    PeakEwma,
}

impl Algorithm {
    /// All of them, with the names they have in a route.
    pub const TABLE: [(&'static str, Algorithm); 7] = [
        ("roundRobin", Algorithm::RoundRobin),
        ("random", Algorithm::Random),
        ("consistentHash", Algorithm::ConsistentHash),
        ("powerOfRandomNChoices", Algorithm::PowerOfRandomNChoices),
        ("weightedRoundRobin", Algorithm::WeightedRoundRobin),
        ("leastRequests", Algorithm::LeastRequests),
        ("peakEwma", Algorithm::PeakEwma),
    ];

    /// Reads a name; nothing written means the default.
    pub fn parse(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Ok(Self::default());
        }
        Self::TABLE.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm).ok_or_else(
            || {
                let hint = did_you_mean(name, Self::TABLE.iter().map(|(known, _)| *known));
                let hint = hint.map(|known| format!(", did you mean `{known}`?")).unwrap_or_default();
                format!("`{name}` is no way to balance load{hint}")
            },
        )
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::TABLE.iter().find(|(_, algorithm)| algorithm == self).map(|(name, _)| *name);
        f.write_str(name.expect("every algorithm is in the table"))
    }
}

/// Chooses among the endpoints of one route. Shared by all cores.
#[derive(Debug)]
pub struct Balancer {
    algorithm: Algorithm,
    way: Way,
}

#[derive(Debug)]
enum Way {
    RoundRobin(AtomicUsize),
    Random,
    ConsistentHash(Ring),
    PowerOfRandomNChoices,
    WeightedRoundRobin(Smooth),
    LeastRequests(Smooth),
    PeakEwma,
}

impl Balancer {
    /// A balancer for these endpoints, as they are written in the route.
    pub fn new(algorithm: Algorithm, endpoints: &[impl AsRef<str>], chance: &Chance) -> Self {
        let way = match algorithm {
            // A random start, so that not every gateway begins with the same endpoint after a reload.
            Algorithm::RoundRobin => Way::RoundRobin(AtomicUsize::new(chance.below(endpoints.len()))),
            Algorithm::Random => Way::Random,
            Algorithm::ConsistentHash => Way::ConsistentHash(Ring::new(endpoints)),
            Algorithm::PowerOfRandomNChoices => Way::PowerOfRandomNChoices,
            Algorithm::WeightedRoundRobin => Way::WeightedRoundRobin(Smooth::new(endpoints.len())),
            Algorithm::LeastRequests => Way::LeastRequests(Smooth::new(endpoints.len())),
            Algorithm::PeakEwma => Way::PeakEwma,
        };
        Self { algorithm, way }
    }

    /// The number of the endpoint to use; `None` if none is eligible.
    pub fn pick(&self, candidates: &impl Candidates, ask: Ask<'_>, chance: &Chance) -> Option<usize> {
        match &self.way {
            Way::RoundRobin(next) => {
                let eligible = eligible(candidates);
                // By rank among the eligible: to take the next after an ineligible one would give that
                // neighbour twice its share.
                (eligible > 0)
                    .then(|| next.fetch_add(1, Ordering::Relaxed).wrapping_add(1) % eligible)
                    .and_then(|rank| nth(candidates, rank))
            }
            Way::Random => nth(candidates, chance.below(eligible(candidates))),
            Way::ConsistentHash(ring) => match ask.balance_factor {
                Some(factor) => ring.pick_bounded(ask.key, candidates, factor),
                None => ring.pick(ask.key, candidates),
            },
            Way::PowerOfRandomNChoices => {
                let eligible = eligible(candidates);
                let first = nth(candidates, chance.below(eligible))?;
                let second = nth(candidates, chance.below(eligible))?;
                let better = candidates.in_flight(second) < candidates.in_flight(first);
                Some(if better { second } else { first })
            }
            Way::WeightedRoundRobin(smooth) => smooth.pick(candidates, |_| true),
            Way::LeastRequests(smooth) => {
                let load =
                    |endpoint| f64::from(candidates.in_flight(endpoint)) / weight(candidates, endpoint);
                let indexes = (0..candidates.count()).filter(|endpoint| candidates.is_eligible(*endpoint));
                let least = indexes.map(load).min_by(f64::total_cmp)?;
                smooth.pick(candidates, |endpoint| load(endpoint) <= least)
            }
            Way::PeakEwma => {
                let eligible = eligible(candidates);
                let first = chance.below(eligible);
                // Any but the first, so that the worst of all is never chosen by meeting itself.
                let second =
                    if eligible > 1 { (first + 1 + chance.below(eligible - 1)) % eligible } else { first };
                let (first, second) = (nth(candidates, first)?, nth(candidates, second)?);
                Some(if candidates.cost(second) < candidates.cost(first) { second } else { first })
            }
        }
    }

    /// How it chooses.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn eligible(candidates: &impl Candidates) -> usize {
    (0..candidates.count()).filter(|endpoint| candidates.is_eligible(*endpoint)).count()
}

/// The endpoint of this rank among the eligible.
fn nth(candidates: &impl Candidates, rank: usize) -> Option<usize> {
    (0..candidates.count()).filter(|endpoint| candidates.is_eligible(*endpoint)).nth(rank)
}

/// A weight that can be divided by: what is not above 0 counts as very little.
fn weight(candidates: &impl Candidates, endpoint: usize) -> f64 {
    const LEAST: f64 = 1e-6;
    let weight = candidates.weight(endpoint);
    if weight > LEAST { weight.min(1e6) } else { LEAST }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Endpoints as a test sees them: in flight (`None` = not eligible) and weight.
    pub(crate) struct Endpoints(pub(crate) Vec<(Option<u32>, f64)>);

    impl Candidates for Endpoints {
        fn count(&self) -> usize {
            self.0.len()
        }
        fn is_eligible(&self, endpoint: usize) -> bool {
            self.0[endpoint].0.is_some()
        }
        fn in_flight(&self, endpoint: usize) -> u32 {
            self.0[endpoint].0.unwrap_or(0)
        }
        fn weight(&self, endpoint: usize) -> f64 {
            self.0[endpoint].1
        }
    }

    fn picks(algorithm: Algorithm, candidates: &[(Option<u32>, f64)], times: usize) -> Vec<Option<usize>> {
        let chance = Chance::seeded(5);
        let names: Vec<_> = (0..candidates.len()).map(|i| format!("http://10.0.0.{i}")).collect();
        let balancer = Balancer::new(algorithm, &names, &chance);
        let candidates = Endpoints(candidates.to_vec());
        (0..times).map(|_| balancer.pick(&candidates, Ask::default(), &chance)).collect()
    }

    fn shares(algorithm: Algorithm, candidates: &[(Option<u32>, f64)]) -> Vec<usize> {
        let picks = picks(algorithm, candidates, 6000);
        (0..candidates.len()).map(|i| picks.iter().filter(|pick| **pick == Some(i)).count()).collect()
    }

    const IDLE: (Option<u32>, f64) = (Some(0), 1.0);
    const GONE: (Option<u32>, f64) = (None, 1.0);

    #[test]
    fn round_robin_shares_evenly_also_among_those_left() {
        assert_eq!(shares(Algorithm::RoundRobin, &[IDLE, IDLE, IDLE]), [2000, 2000, 2000]);
        assert_eq!(shares(Algorithm::RoundRobin, &[IDLE, GONE, IDLE]), [3000, 0, 3000]);
        let starts: std::collections::HashSet<_> = (0..50)
            .map(|seed| {
                let chance = Chance::seeded(seed);
                let balancer = Balancer::new(Algorithm::RoundRobin, &["a", "b", "c"], &chance);
                balancer.pick(&Endpoints(vec![IDLE; 3]), Ask::default(), &chance)
            })
            .collect();
        assert_eq!(starts.len(), 3, "it starts anywhere");
    }

    #[test]
    fn chance_shares_about_evenly() {
        for algorithm in [Algorithm::Random, Algorithm::PowerOfRandomNChoices, Algorithm::PeakEwma] {
            let shares = shares(algorithm, &[IDLE, GONE, IDLE, IDLE]);
            assert_eq!(shares[1], 0);
            assert!([0, 2, 3].iter().all(|i| (1800..2200).contains(&shares[*i])), "{algorithm}: {shares:?}");
        }
    }

    #[test]
    fn the_less_busy_of_two_is_chosen() {
        let shares = shares(Algorithm::PowerOfRandomNChoices, &[(Some(9), 1.0), (Some(0), 1.0)]);
        // With replacement the busy one is drawn twice in a quarter of all cases.
        assert!((1350..1650).contains(&shares[0]), "{shares:?}");
    }

    #[test]
    fn the_cheaper_of_two_different_ones_is_chosen() {
        let shares = shares(Algorithm::PeakEwma, &[(Some(9), 1.0), (Some(0), 1.0), (Some(5), 1.0)]);
        assert_eq!(shares[0], 0, "the dearest never wins");
        assert!((3800..4200).contains(&shares[1]), "{shares:?}");
    }

    #[test]
    fn weights_are_kept_and_spread() {
        let weighted = [(Some(0), 4.0), (Some(0), 1.0), (Some(0), 1.0)];
        assert_eq!(shares(Algorithm::WeightedRoundRobin, &weighted), [4000, 1000, 1000]);
        let order: Vec<_> =
            picks(Algorithm::WeightedRoundRobin, &weighted, 6).into_iter().flatten().collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0], "the light ones come in between");
    }

    #[test]
    fn the_fewest_requests_for_the_weight_win_and_equals_take_turns() {
        let busy = [(Some(3), 2.0), (Some(1), 1.0), (Some(9), 1.0), (None, 9.0)];
        assert_eq!(shares(Algorithm::LeastRequests, &busy), [0, 6000, 0, 0]);
        assert_eq!(shares(Algorithm::LeastRequests, &[IDLE, IDLE, (Some(1), 1.0)]), [3000, 3000, 0]);
        assert_eq!(shares(Algorithm::LeastRequests, &[(Some(5), 0.0), (Some(5), f64::NAN)]), [3000, 3000]);
    }

    #[test]
    fn nobody_eligible_nobody_chosen() {
        for (name, algorithm) in Algorithm::TABLE {
            assert_eq!(picks(algorithm, &[GONE, GONE], 1), [None], "{name}");
            assert_eq!(picks(algorithm, &[], 1), [None], "{name}");
            assert_eq!(picks(algorithm, &[GONE, IDLE], 3), [Some(1); 3], "{name}");
        }
    }

    #[test]
    fn names_are_those_of_routes() {
        for (name, algorithm) in Algorithm::TABLE {
            assert_eq!(Algorithm::parse(name), Ok(algorithm));
            assert_eq!(algorithm.to_string(), name);
        }
        assert_eq!(Algorithm::parse(""), Ok(Algorithm::RoundRobin));
        assert_eq!(
            Algorithm::parse("roundrobin").unwrap_err(),
            "`roundrobin` is no way to balance load, did you mean `roundRobin`?"
        );
    }
}
