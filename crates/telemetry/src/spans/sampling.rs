//! Which of the traces that begin here are recorded whole: a share of them, told by their ids, or as many as a core may
//! record in a second, so that recording costs no more however many requests come.

use super::Recorder;
use crate::TraceContext;
use base::Moment;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Which traces are recorded where neither the caller nor the route says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// This share of them, from 0 to 1.
    Share(f64),
    /// So many a second, of which each core has its part; as many may come at once after a second without any.
    PerSecond(u32),
}

/// What a core may record now. Only its own thread decides by it; where several do, one more may be recorded.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// When all that was recorded is paid for, in nanoseconds of the clock (the generic cell rate algorithm of ATM
    /// Forum's Traffic Management 4.0).
    paid: AtomicU64,
    left_out: AtomicU64,
}

impl Budget {
    /// Decides whether a trace is recorded, if the caller has not.
    fn decide(&self, trace: &mut TraceContext, sample: Sample, parts: u32, now: Moment) {
        if trace.told {
            return;
        }
        match sample {
            Sample::Share(share) => trace.decide(share),
            Sample::PerSecond(rate) => trace.sampled = rate > 0 && self.takes(parts, rate, now),
        }
        if !trace.sampled {
            self.left_out.store(self.left_out.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    fn takes(&self, parts: u32, rate: u32, now: Moment) -> bool {
        const BURST: Duration = Duration::from_secs(1);
        let each = BURST * parts / rate;
        let paid = self.paid.load(Relaxed).max(now.0);
        let takes = Moment(paid).since(now) + each <= BURST.max(each);
        if takes {
            self.paid.store((Moment(paid) + each).0, Relaxed);
        }
        takes
    }

    /// How many traces were not recorded.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }
}

impl Recorder {
    /// Decides whether a trace is recorded that comes to a core, if the caller has not.
    pub fn decide(&self, core: usize, trace: &mut TraceContext, sample: Sample, now: Moment) {
        self.budget(core).decide(trace, sample, self.cores(), now);
    }

    /// Decides whether a trace is recorded that comes to anything beside the cores.
    pub fn decide_aside(&self, trace: &mut TraceContext, sample: Sample, now: Moment) {
        self.budget(usize::MAX).decide(trace, sample, 1, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Chance;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many of so many traces are recorded that come at even distances within one second after `begin`.
    fn recorded(recorder: &Recorder, core: usize, begin: Moment, count: u32, sample: Sample) -> u32 {
        let chance = Chance::seeded(3);
        let mut recorded = 0;
        for number in 0..count {
            let mut trace = TraceContext::begin(&chance);
            recorder.decide(core, &mut trace, sample, begin + SECOND * number / count);
            recorded += u32::from(trace.sampled);
        }
        recorded
    }

    #[test]
    fn all_are_recorded_until_there_are_too_many_and_then_a_bounded_number() {
        let recorder = Recorder::new(2);
        let rate = Sample::PerSecond(1_000);
        let begin = Moment(0) + SECOND * 100;
        assert_eq!(recorded(&recorder, 0, begin, 500, rate), 500);
        // What was left of the second before, and what this one brings.
        let first = recorded(&recorder, 0, begin + SECOND, 40_000, rate);
        assert!((500..=1_000).contains(&first), "{first}");
        assert!((499..=501).contains(&recorded(&recorder, 0, begin + SECOND * 2, 40_000, rate)));
        assert_eq!(recorded(&recorder, 1, begin + SECOND * 2, 400, rate), 400, "a core has its own");
        assert_eq!(recorded(&recorder, 0, begin + SECOND * 9, 500, rate), 500, "in calm all of them again");
        let left_out = recorder.left_out();
        assert!((80_000 - 1_502..=80_000 - 999).contains(&left_out), "{left_out}");
    }

    #[test]
    fn few_a_second_of_many_cores_are_some_all_the_same() {
        let recorder = Recorder::new(64);
        let begin = Moment(0) + SECOND;
        let count = (0..64)
            .map(|second| recorded(&recorder, 0, begin + SECOND * second, 1_000, Sample::PerSecond(1)))
            .sum::<u32>();
        assert_eq!(count, 1, "one in as many seconds as there are cores");
        assert_eq!(recorded(&recorder, 1, begin, 1_000, Sample::PerSecond(0)), 0);
    }

    #[test]
    fn who_has_decided_is_followed() {
        let recorder = Recorder::new(1);
        for sampled in [true, false] {
            let mut trace = TraceContext { told: true, sampled, ..TraceContext::begin(&Chance::seeded(1)) };
            let samples = [Sample::PerSecond(1), Sample::Share(0.0), Sample::Share(1.0)];
            for sample in samples {
                recorder.decide(0, &mut trace, sample, Moment(5));
                recorder.decide_aside(&mut trace, sample, Moment(5));
                assert_eq!(trace.sampled, sampled);
            }
        }
    }
}
