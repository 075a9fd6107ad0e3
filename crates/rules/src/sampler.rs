//! Counts how many of the last so many outcomes were failures, in a ring of bits.

/// Outcomes remembered at most; larger windows are cut to this.
pub(crate) const WINDOW_MAX: usize = 65_536;

/// The last `window` ticks, each set or not.
#[derive(Clone, Debug)]
pub struct Sampler {
    bits: Vec<u64>,
    window: usize,
    next: usize,
    set: usize,
}

impl Sampler {
    /// Remembers `window` ticks, at least 1 and at most 65,536. All are unset at first.
    pub fn new(window: usize) -> Self {
        let window = window.clamp(1, WINDOW_MAX);
        Self { bits: vec![0; window.div_ceil(64)], window, next: 0, set: 0 }
    }

    /// Adds a tick; the oldest falls out.
    pub fn tick(&mut self, set: bool) {
        let (word, bit) = (&mut self.bits[self.next / 64], 1 << (self.next % 64));
        self.set = self.set + usize::from(set) - usize::from(*word & bit != 0);
        if set {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        self.next = (self.next + 1) % self.window;
    }

    /// How many of the remembered ticks are set.
    pub fn set(&self) -> usize {
        self.set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_counts_the_last_ticks(window in 1usize..200, ticks in prop::collection::vec(any::<bool>(), 0..500)) {
            let mut sampler = Sampler::new(window);
            for (now, tick) in ticks.iter().enumerate() {
                sampler.tick(*tick);
                let last = &ticks[(now + 1).saturating_sub(window)..=now];
                prop_assert_eq!(sampler.set(), last.iter().filter(|set| **set).count());
            }
        }
    }

    #[test]
    fn a_window_has_bounds() {
        assert_eq!(Sampler::new(0).window, 1);
        assert_eq!(Sampler::new(usize::MAX).window, WINDOW_MAX);
    }
}
