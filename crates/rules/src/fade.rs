//! Fade-in: an endpoint that has just appeared gets its share of requests little by little (Skipper's
//! `fadeIn`).

use base::Moment;
use std::time::Duration;

/// How an endpoint fades in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FadeIn {
    /// The time until it gets its whole share.
    pub duration: Duration,
    /// The shape of the curve: 1 is a straight line, more begins more slowly.
    pub exponent: f64,
}

impl FadeIn {
    /// The part of its share that an endpoint known since `since` gets at `now`, from 0 to 1:
    /// `min(age / duration, 1) ^ exponent`.
    pub fn factor(self, since: Moment, now: Moment) -> f64 {
        let age = now.since(since);
        if age >= self.duration {
            return 1.0;
        }
        (age.as_secs_f64() / self.duration.as_secs_f64()).powf(self.exponent).clamp(0.0, 1.0)
    }
}

/// Whether an endpoint with this factor takes part in a choice. `roll` is 64 random bits drawn once for the
/// choice, so that the answer stays the same however often it is asked for during the choice.
pub fn takes_part(factor: f64, roll: u64, endpoint: usize) -> bool {
    if factor >= 1.0 {
        return true;
    }
    // The finalizer of SplitMix64 makes independent bits for each endpoint.
    let mut z = roll ^ (endpoint as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((z >> 11) as f64 / (1u64 << 53) as f64) < factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Chance;

    #[test]
    fn a_new_endpoint_gets_more_as_it_grows_older() {
        let line = FadeIn { duration: Duration::from_secs(100), exponent: 1.0 };
        let curve = FadeIn { exponent: 2.0, ..line };
        let at = |s| Moment::default() + Duration::from_secs(s);
        let factors =
            |fade: FadeIn| [0, 10, 50, 100, 500].map(|s| format!("{:.2}", fade.factor(at(0), at(s))));
        assert_eq!(factors(line), ["0.00", "0.10", "0.50", "1.00", "1.00"]);
        assert_eq!(factors(curve), ["0.00", "0.01", "0.25", "1.00", "1.00"]);
        assert!((FadeIn { duration: Duration::ZERO, exponent: 1.0 }.factor(at(1), at(1)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn it_takes_part_as_often_as_its_factor_says() {
        let chance = Chance::seeded(1);
        for factor in [0.0, 0.1, 0.5, 1.0] {
            let rolls = 10_000;
            let parts = (0..rolls).filter(|i| takes_part(factor, chance.bits(), i % 7)).count();
            assert!((parts as f64 / rolls as f64 - factor).abs() < 0.02, "{factor}: {parts}");
        }
    }
}
