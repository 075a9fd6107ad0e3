//! Chance that comes from outside: a seed replays a run. Lock-free, so that every core may draw from the
//! same sequence; whoever needs a sequence of its own forks one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A sequence of random numbers (`SplitMix64`, Steele and others, OOPSLA 2014). Not for secrets.
///
/// Clones draw from the same sequence.
#[derive(Clone, Debug)]
pub struct Chance(Arc<AtomicU64>);

impl Chance {
    /// The sequence of this seed: the same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// A sequence nobody has asked for: from the clock, the process id and the address-space layout.
    pub fn from_entropy() -> Self {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let random = std::hash::BuildHasher::hash_one(
            &std::collections::hash_map::RandomState::new(),
            (nanos, std::process::id()),
        );
        Self::seeded(random)
    }

    /// The next 64 random bits.
    pub fn bits(&self) -> u64 {
        let [bits] = self.draw();
        bits
    }

    /// So many times 64 random bits, which come one behind the other whoever else draws.
    pub fn draw<const COUNT: usize>(&self) -> [u64; COUNT] {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut at = self.0.fetch_add(GAMMA.wrapping_mul(COUNT as u64), Ordering::Relaxed);
        std::array::from_fn(|_| {
            at = at.wrapping_add(GAMMA);
            let mut z = at;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    /// A number in `[0, 1)`.
    pub fn unit(&self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in `[0, bound)`; 0 for a bound of 0.
    pub fn below(&self, bound: usize) -> usize {
        // Lemire's multiplication: the bias is below 2^-32 for any bound we use.
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A sequence of its own, decided by this one.
    pub fn fork(&self) -> Self {
        Self::seeded(self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn a_seed_replays_a_run() {
        let (one, two) = (Chance::seeded(7), Chance::seeded(7));
        let draw = |c: &Chance| (0..50).map(|_| c.below(1000)).collect::<Vec<_>>();
        assert_eq!(draw(&one), draw(&two));
        assert_ne!(draw(&one), draw(&Chance::seeded(8)));
    }

    #[test]
    fn numbers_drawn_together_are_those_drawn_one_by_one() {
        let (together, alone) = (Chance::seeded(7), Chance::seeded(7));
        let one_by_one: [u64; 6] = std::array::from_fn(|_| alone.bits());
        let (first, rest) = (together.draw::<2>(), together.draw::<4>());
        assert_eq!([&first[..], &rest].concat(), one_by_one);
    }

    #[test]
    fn numbers_fill_their_range() {
        let chance = Chance::seeded(1);
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            let x = chance.unit();
            assert!((0.0..1.0).contains(&x));
            seen[chance.below(10)] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
        assert_eq!(chance.below(0), 0);
    }
}
