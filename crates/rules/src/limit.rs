//! Limits how often: at most `max` in every window of `per`, wherever the window begins (Skipper's
//! `ratelimit` and `clientRatelimit`, which remember the moments of the last `max` requests). What a
//! client is, and what a refusal looks like, is the business of whoever asks.

mod settings;

pub use settings::{Scope, Settings};

use crate::crowd::{Crowd, Member};
use base::{Chance, Moment};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Clients a limit remembers if nobody says otherwise. With the most that a client can take (256 moments of
/// 8 bytes and its place, about 2.2 KB) that is 220 MB; a client that came ten times takes 0.2 KB.
pub const CLIENTS_MAX: usize = 100_000;

/// What a limit of 0 tells those who ask when to come again: five years, as Skipper does.
pub const NEVER: Duration = Duration::from_hours(5 * 365 * 24);

/// Moments remembered for a whole service, 128 KB. Above that many requests per window, neighbours share a
/// moment, and the limit is strict by up to one part in this many.
const SERVICE_MOMENTS_MAX: u32 = 16_384;
/// Moments remembered for one client.
const CLIENT_MOMENTS_MAX: u32 = 256;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// At most this often; 0 refuses everything.
    pub max: u32,
    /// In any window of this length.
    pub per: Duration,
}

impl Rate {
    /// The rate as a whole number per hour: the value of Skipper's `X-Rate-Limit` header.
    pub fn per_hour(self) -> u64 {
        const HOUR_NS: u128 = 3_600_000_000_000;
        let per_ns = self.per.as_nanos();
        if per_ns == 0 {
            return u64::from(self.max);
        }
        u64::try_from(u128::from(self.max) * HOUR_NS / per_ns).unwrap_or(u64::MAX)
    }
}

/// What a limit says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass, and was counted.
    Admit,
    /// It may not, and was not counted; the same request may pass after this wait.
    Later(Duration),
}

impl Verdict {
    /// Whether the request may pass.
    pub fn is_admitted(self) -> bool {
        self == Verdict::Admit
    }

    /// The wait in whole seconds, rounded up: the value of `Retry-After`. 0 for who may pass.
    pub fn retry_after_s(self) -> u64 {
        match self {
            Verdict::Admit => 0,
            Verdict::Later(wait) => wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
        }
    }
}

/// A limit for all callers together.
#[derive(Debug)]
pub struct Limit {
    rate: Rate,
    window: Mutex<Window>,
}

impl Limit {
    /// A limit that has seen nobody.
    pub fn new(rate: Rate) -> Self {
        Self { rate, window: Mutex::new(Window::new(rate, SERVICE_MOMENTS_MAX)) }
    }

    /// Asks for one request.
    pub fn ask(&self, now: Moment) -> Verdict {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).ask(now)
    }

    /// The rate it was made with.
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

/// A limit for each client, for a bounded number of clients. When there are more, those who came least
/// recently are forgotten, and begin anew when they come again.
#[derive(Debug)]
pub struct ClientLimit {
    rate: Rate,
    clients: Crowd<Window>,
}

impl ClientLimit {
    /// A limit that has seen nobody and remembers at most `clients_max`.
    pub fn new(rate: Rate, clients_max: usize, chance: &Chance) -> Self {
        Self { rate, clients: Crowd::new(clients_max, chance) }
    }

    /// Asks for one request of this client.
    pub fn ask(&self, client: &[u8], now: Moment) -> Verdict {
        // Nothing is worth remembering of those who may never pass.
        if self.rate.max == 0 {
            return Verdict::Later(NEVER);
        }
        self.clients.with(
            client,
            now,
            || Window::new(self.rate, CLIENT_MOMENTS_MAX),
            |window| window.ask(now),
        )
    }

    /// Forgets clients whose last request no longer counts.
    pub fn sweep(&self, now: Moment) {
        self.clients.sweep(now);
    }

    /// How many clients are remembered.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How many clients were forgotten although their requests still counted.
    pub fn evicted(&self) -> u64 {
        self.clients.evicted()
    }

    /// The rate it was made with.
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

/// The moments of the last `max` admissions, in a ring that grows as it is needed. Admissions come in
/// groups of `grain`, and a group is remembered by its last moment: never too late, so never too many.
#[derive(Debug)]
struct Window {
    max: u32,
    grain: u32,
    per: Duration,
    admitted: u64,
    moments: Vec<Moment>,
}

impl Window {
    fn new(rate: Rate, moments_max: u32) -> Self {
        let grain = rate.max.div_ceil(moments_max).max(1);
        Self { max: rate.max, grain, per: rate.per, admitted: 0, moments: Vec::new() }
    }

    fn ask(&mut self, now: Moment) -> Verdict {
        if self.max == 0 {
            return Verdict::Later(NEVER);
        }
        if let Some(before) = self.admitted.checked_sub(u64::from(self.max)) {
            // The admission that must have left the window before this one may enter.
            let left = self.moments[self.place(before)];
            let wait = self.per.saturating_sub(now.since(left));
            if !wait.is_zero() {
                return Verdict::Later(wait);
            }
        }
        let at = self.place(self.admitted);
        match self.moments.get_mut(at) {
            // Another core may have read the clock later and been first; the ring must not go back.
            Some(moment) => *moment = now.max(*moment),
            None => self.moments.push(now),
        }
        self.admitted += 1;
        Verdict::Admit
    }

    /// Where the moment of this admission is. One group more than fit in `max`, because the group that is
    /// being filled and the one that is leaving are both partly in the window.
    fn place(&self, admission: u64) -> usize {
        let groups = u64::from(self.max.div_ceil(self.grain)) + 1;
        usize::try_from(admission / u64::from(self.grain) % groups).expect("fewer than 2^32 groups")
    }
}

impl Member for Window {
    fn is_idle(&self, seen: Moment, now: Moment) -> bool {
        now.since(seen) >= self.per
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    fn check(limit: &Limit, steps: &[(u64, Option<u64>)]) {
        for (step, (ms, wait_ms)) in steps.iter().enumerate() {
            let expected = wait_ms.map_or(Verdict::Admit, |ms| Verdict::Later(Duration::from_millis(ms)));
            assert_eq!(limit.ask(at(*ms)), expected, "step {step} at {ms} ms");
        }
    }

    #[test]
    fn the_window_slides_and_says_how_long_to_wait() {
        let limit = Limit::new(Rate { max: 3, per: SECOND });
        check(
            &limit,
            &[
                (0, None),
                (100, None),
                (900, None),
                (950, Some(50)),
                (999, Some(1)),
                (1000, None),
                (1001, Some(99)),
                (1100, None),
                (1100, Some(800)),
            ],
        );
    }

    #[test]
    fn a_limit_of_none_refuses_everything_and_a_window_of_nothing_admits_it() {
        check(&Limit::new(Rate { max: 0, per: SECOND }), &[(0, Some(5 * 365 * 86_400_000))]);
        check(&Limit::new(Rate { max: 1, per: Duration::ZERO }), &[(0, None), (0, None), (0, None)]);
    }

    #[test]
    fn waits_are_told_in_whole_seconds_and_rates_per_hour() {
        assert_eq!(Verdict::Later(Duration::from_millis(1001)).retry_after_s(), 2);
        assert_eq!(Verdict::Later(SECOND).retry_after_s(), 1);
        assert_eq!(Verdict::Admit.retry_after_s(), 0);
        assert_eq!(Rate { max: 10, per: SECOND }.per_hour(), 36_000);
        assert_eq!(Rate { max: 1, per: Duration::from_hours(2) }.per_hour(), 0);
        assert_eq!(Rate { max: 7, per: Duration::ZERO }.per_hour(), 7);
    }

    #[test]
    fn clients_do_not_spend_each_others_share() {
        let limit = ClientLimit::new(Rate { max: 2, per: SECOND }, 100, &Chance::seeded(1));
        let ask = |client: &str, ms| limit.ask(client.as_bytes(), at(ms)).is_admitted();
        assert_eq!([ask("ann", 0), ask("ann", 1), ask("ann", 2), ask("bob", 2)], [true, true, false, true]);
        assert_eq!(limit.clients(), 2);
        limit.sweep(at(1002));
        assert_eq!(limit.clients(), 0, "all of them would be admitted anyway");
        assert!(ask("ann", 1002));
    }

    #[test]
    fn clients_are_forgotten_when_there_are_too_many() {
        let limit = ClientLimit::new(Rate { max: 1, per: SECOND }, 10, &Chance::seeded(1));
        for i in 0u64..100 {
            assert!(limit.ask(&i.to_le_bytes(), at(i)).is_admitted());
        }
        assert_eq!((limit.clients(), limit.evicted()), (10, 90));
        assert!(!limit.ask(&99u64.to_le_bytes(), at(100)).is_admitted(), "the last one is still known");
    }

    #[test]
    fn a_limit_too_large_to_remember_every_moment_is_still_kept() {
        let max = SERVICE_MOMENTS_MAX * 3 + 5;
        let limit = Limit::new(Rate { max, per: SECOND });
        let admitted = (0..max * 2).filter(|_| limit.ask(at(0)).is_admitted()).count();
        assert_eq!(admitted, max as usize);
        assert!(limit.window.lock().unwrap().moments.len() <= SERVICE_MOMENTS_MAX as usize + 1);
        assert!(limit.ask(at(1000)).is_admitted());
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(
            max in 1u32..40,
            moments_max in 1u32..40,
            steps in prop::collection::vec(0u64..400, 1..400),
        ) {
            let per = SECOND;
            let mut window = Window::new(Rate { max, per }, moments_max);
            let mut now = 0;
            let mut admitted: Vec<u64> = Vec::new();
            for step in steps {
                now += step / 4;
                match window.ask(at(now)) {
                    Verdict::Admit => admitted.push(now),
                    Verdict::Later(wait) => {
                        prop_assert!(wait > Duration::ZERO && wait <= per);
                        // Strict only where moments are shared, and then by less than one group.
                        let held = admitted.iter().filter(|then| now - **then < 1000).count();
                        prop_assert!(held + (window.grain as usize) > max as usize, "refused with {held} of {max}");
                    }
                }
            }
            for (first, then) in admitted.iter().enumerate() {
                let held = admitted[first..].iter().take_while(|t| **t < then + 1000).count();
                prop_assert!(held <= max as usize, "{held} of {max} from {then} ms");
            }
        }

        #[test]
        fn who_waits_as_told_is_admitted(max in 1u32..10, steps in prop::collection::vec(0u64..300, 1..200)) {
            let limit = Limit::new(Rate { max, per: SECOND });
            let mut now = at(0);
            for step in steps {
                now = now + Duration::from_millis(step);
                if let Verdict::Later(wait) = limit.ask(now) {
                    now = now + wait;
                    prop_assert_eq!(limit.ask(now), Verdict::Admit);
                }
            }
        }
    }
}
