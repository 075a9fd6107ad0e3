//! How long to wait before trying again: twice as long each time, up to a cap, and every wait drawn from
//! its whole range, so that those who failed together do not come back together ("full jitter").

use base::Chance;
use std::time::Duration;

/// Waits that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Duration,
    /// No wait is longer.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The longest wait before this attempt; 0 is the first repetition.
    pub fn longest(self, attempt: u32) -> Duration {
        let factor = 1u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.cap)
    }

    /// The wait before this attempt: anything from nothing to [`Self::longest`].
    pub fn wait(self, attempt: u32, chance: &Chance) -> Duration {
        self.longest(attempt).mul_f64(chance.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(1) };
        let longest: Vec<_> = (0..6).map(|attempt| backoff.longest(attempt).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.longest(u32::MAX), backoff.cap);
    }

    #[test]
    fn waits_fill_their_whole_range() {
        let (backoff, chance) = (Backoff::default(), Chance::seeded(1));
        let waits: Vec<_> = (0..1000).map(|_| backoff.wait(3, &chance).as_millis()).collect();
        assert!(waits.iter().all(|wait| *wait < 800));
        assert!(waits.iter().any(|wait| *wait < 40) && waits.iter().any(|wait| *wait > 760));
    }
}
