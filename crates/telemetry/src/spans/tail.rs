//! Which spans are kept although their trace is not recorded: what failed, what was slower than nearly all before it,
//! and what has not been recorded for a minute. Told from a few hundred bytes for each route, consumer or other thing.

use super::slow::Slow;
use base::Moment;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Kinds that are remembered, so that at most so many are kept for being rare in [`RARE_SECONDS`].
const KINDS_MAX: usize = 32;
/// What was not recorded for so long is rare.
const RARE_SECONDS: u64 = 60;

/// What the choice is told from. One thread tells; where more do, it may be a little wrong.
#[derive(Debug, Default)]
pub struct Tail {
    slow: Slow,
    /// A kind in the upper half, and the second in which it was recorded last in the lower.
    kinds: [AtomicU64; KINDS_MAX],
}

/// What has ended, as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Whether its trace is recorded.
    pub sampled: bool,
    /// Whether it failed.
    pub failed: bool,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub at: Moment,
    /// What makes it alike to others, in two parts: a method and a status, or the type of a message.
    pub kind: (&'a str, u16),
}

impl Tail {
    /// Why a span is kept: `""` as its trace is recorded, `"error"`, `"slow"` or `"rare"`; `None` if it is not.
    pub fn choose(&self, ended: &Ended<'_>) -> Option<&'static str> {
        let is_slow = self.slow.observe(ended.took);
        let why = match ended {
            Ended { sampled: true, .. } => Some(""),
            Ended { failed: true, .. } => Some("error"),
            _ if is_slow => Some("slow"),
            _ => None,
        };
        let is_rare = self.recorded(ended, why.is_some());
        why.or_else(|| is_rare.then_some("rare"))
    }

    /// Notes what is recorded, and answers whether nothing of its kind was for long.
    fn recorded(&self, ended: &Ended<'_>, is_recorded: bool) -> bool {
        let (kind, second) = (hash(ended.kind), (ended.at.0 / 1_000_000_000) as u32);
        let is_old = |slot: u64| slot == 0 || u64::from(second.wrapping_sub(slot as u32)) >= RARE_SECONDS;
        let mut free = None;
        for slot in &self.kinds {
            let seen = slot.load(Relaxed);
            if (seen >> 32) as u32 == kind {
                let is_rare = is_old(seen);
                if is_rare || is_recorded {
                    slot.store(u64::from(kind) << 32 | u64::from(second), Relaxed);
                }
                return is_rare;
            }
            if free.is_none() && is_old(seen) {
                free = Some(slot);
            }
        }
        // Where too many kinds come none of the others is rare.
        let Some(free) = free else { return false };
        free.store(u64::from(kind) << 32 | u64::from(second), Relaxed);
        true
    }
}

/// FNV-1a; never zero.
fn hash((text, number): (&str, u16)) -> u32 {
    let bytes = text.bytes().chain(number.to_le_bytes());
    bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ended(second: u32, kind: (&str, u16)) -> Ended<'_> {
        let at = Moment(0) + SECOND * second;
        Ended { sampled: false, failed: false, took: Duration::from_millis(1), at, kind }
    }

    #[test]
    fn what_was_not_recorded_for_a_minute_is_rare() {
        let tail = Tail::default();
        let choose = |second, kind| tail.choose(&ended(second, kind));
        assert_eq!([choose(0, ("GET", 200)), choose(1, ("GET", 200))], [Some("rare"), None]);
        assert_eq!([choose(2, ("GET", 404)), choose(2, ("POST", 200))], [Some("rare"); 2]);
        assert_eq!([choose(59, ("GET", 200)), choose(60, ("GET", 200))], [None, Some("rare")]);
        assert_eq!(choose(61, ("GET", 404)), None);
        // What is recorded for another reason is not rare afterwards.
        let sampled = Ended { sampled: true, ..ended(100, ("GET", 200)) };
        assert_eq!(tail.choose(&sampled), Some(""));
        let failed = Ended { failed: true, ..ended(100, ("PUT", 500)) };
        assert_eq!(tail.choose(&failed), Some("error"));
        assert_eq!([choose(121, ("GET", 200)), choose(121, ("PUT", 500))], [None; 2]);
        assert_eq!(choose(160, ("GET", 200)), Some("rare"));
    }

    #[test]
    fn many_kinds_are_not_rare_without_end() {
        let tail = Tail::default();
        let rare = |second| {
            (0..60_000).filter(|number| tail.choose(&ended(second, ("GET", *number))).is_some()).count()
        };
        assert_eq!([rare(5), rare(6), rare(65), rare(66)], [KINDS_MAX, 0, KINDS_MAX, 0]);
    }
}
