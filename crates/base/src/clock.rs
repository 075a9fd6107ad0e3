//! Time that comes from outside. The system's clock in the binary, a clock moved by hand in tests: code
//! that is given a [`Clock`] never asks the machine what time it is.

use std::cell::Cell;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on the monotonic clock, in nanoseconds since the clock was made. Never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, wait: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time: the span since 1970-01-01T00:00:00Z. Jumps when the machine's clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub Duration);

impl UnixTime {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// Microseconds since the epoch, as Zipkin counts.
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Where a part gets its time from. Cheap to clone; clones agree.
#[derive(Clone, Debug)]
pub struct Clock(Inner);

#[derive(Clone, Debug)]
enum Inner {
    System,
    Hand(Arc<Hand>),
}

#[derive(Debug)]
struct Hand {
    /// (monotonic, wall) as the test last set them.
    state: Mutex<(Moment, UnixTime)>,
    #[cfg(feature = "tasks")]
    moved: tokio::sync::Notify,
}

/// Moves a clock made by [`Clock::by_hand`].
#[derive(Clone, Debug)]
pub struct ClockHand(Arc<Hand>);

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Inner::System)
    }

    /// A clock that stands still at `start` until its hand moves it.
    pub fn by_hand(start: UnixTime) -> (Self, ClockHand) {
        let hand = Arc::new(Hand {
            state: Mutex::new((Moment::default(), start)),
            #[cfg(feature = "tasks")]
            moved: tokio::sync::Notify::new(),
        });
        (Self(Inner::Hand(hand.clone())), ClockHand(hand))
    }

    /// The monotonic time now.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Inner::System => moment(Instant::now()),
            Inner::Hand(hand) => hand.read().0,
        }
    }

    /// The monotonic time of a look at the machine's clock that somebody else just had; by hand it is the hand's.
    pub fn at(&self, seen: Instant) -> Moment {
        match &self.0 {
            Inner::System => moment(seen),
            Inner::Hand(hand) => hand.read().0,
        }
    }

    /// The wall-clock time now.
    pub fn unix(&self) -> UnixTime {
        match &self.0 {
            Inner::System => UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            Inner::Hand(hand) => hand.read().1,
        }
    }

    /// Both times now, for one look at the machine's clocks: the wall clock is looked at ten times a second and
    /// goes on by the monotonic one in between, so that a step of it is seen within 100 ms.
    pub fn both(&self) -> (Moment, UnixTime) {
        const KEPT: Duration = Duration::from_millis(100);
        thread_local! {
            /// The wall clock at moment 0, as long as that holds.
            static START: Cell<(Duration, Moment)> = const { Cell::new((Duration::ZERO, Moment(0))) };
        }
        let now = self.now();
        if let Inner::Hand(hand) = &self.0 {
            return hand.read();
        }
        let since = now.since(Moment(0));
        let (mut start, until) = START.get();
        if now >= until {
            start = self.unix().0.saturating_sub(since);
            START.set((start, now + KEPT));
        }
        (now, UnixTime(start + since))
    }

    /// Waits until `wait` has passed on this clock.
    #[cfg(feature = "tasks")]
    pub async fn sleep(&self, wait: Duration) {
        match &self.0 {
            Inner::System => tokio::time::sleep(wait).await,
            Inner::Hand(hand) => {
                let due = hand.read().0 + wait;
                loop {
                    // Registered before the look, so that a move in between is not missed.
                    let moved = hand.moved.notified();
                    if hand.read().0 >= due {
                        return;
                    }
                    moved.await;
                }
            }
        }
    }
}

fn moment(at: Instant) -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = at.saturating_duration_since(*START.get_or_init(|| at));
    // 64 bits of nanoseconds last for 584 years.
    Moment(since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into()))
}

impl Hand {
    fn read(&self) -> (Moment, UnixTime) {
        *self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ClockHand {
    /// Moves both clocks forward and wakes whoever's wait is over.
    pub fn advance(&self, by: Duration) {
        {
            let mut state = self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            state.0 = state.0 + by;
            state.1.0 += by;
        }
        #[cfg(feature = "tasks")]
        self.0.moved.notify_waiters();
    }

    /// Sets the wall clock, as an administrator would; the monotonic one does not move.
    pub fn set_unix(&self, to: UnixTime) {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1 = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_of_somebody_else_is_as_good_as_ours() {
        let clock = Clock::system();
        let before = clock.now();
        let seen = Instant::now();
        let at = clock.at(seen);
        assert!(before <= at && at <= clock.now());
        assert_eq!(clock.at(seen + Duration::from_secs(5)).since(at), Duration::from_secs(5));
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        hand.advance(Duration::from_secs(7));
        assert_eq!(clock.at(seen), clock.now());
    }

    #[test]
    fn both_times_are_those_of_the_two_clocks() {
        let clock = Clock::system();
        for _ in 0..1000 {
            let (before, wall) = (clock.now(), clock.unix());
            let (now, unix) = clock.both();
            assert!(now >= before && now <= clock.now());
            let apart = unix.0.abs_diff(wall.0);
            assert!(apart < Duration::from_secs(2), "{apart:?}");
        }
        let start = UnixTime(Duration::from_secs(1_700_000_000));
        let (clock, hand) = Clock::by_hand(start);
        hand.advance(Duration::from_secs(5));
        assert_eq!(clock.both(), (clock.now(), clock.unix()));
    }

    #[test]
    fn a_clock_by_hand_moves_only_by_its_hand() {
        let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1000)));
        let start = clock.now();
        hand.advance(Duration::from_millis(1500));
        assert_eq!(clock.now().since(start), Duration::from_millis(1500));
        assert_eq!(clock.unix().micros(), 1_001_500_000);
        hand.set_unix(UnixTime(Duration::from_secs(5)));
        assert_eq!(clock.now().since(start), Duration::from_millis(1500));
        assert_eq!(start.since(clock.now()), Duration::ZERO);
    }

    #[cfg(feature = "tasks")]
    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come() {
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(2)).await }
        });
        hand.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        // The sleeper counts from when it first ran, so give it the whole wait after that.
        hand.advance(Duration::from_secs(2));
        sleeper.await.unwrap();
    }
}
