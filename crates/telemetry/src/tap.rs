//! Taps: people who watch what is carried as it passes. A plane asks its [`Taps`] whether anybody wants what it carries,
//! which costs one look at a number as long as nobody watches, and hands over what it saw; it waits for nobody. Whoever
//! reads a tap masks and writes what comes, so that it is not the carrier's work.

mod event;
mod written;

pub use event::{Event, Half, Message, RequestSeen, Text, Way, is_failure};

use base::{Clock, Moment, queue};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Taps at a time.
pub const TAPS_MAX: usize = 8;

/// What waits for the reader of a tap; each is bounded itself, to some 30 KiB with headers and bodies.
pub const WAITING_MAX: usize = 128;

/// What a tap shows in a second.
pub const SHOWN_PER_SECOND_MAX: u32 = 200;

/// How long a tap may be full without being read before it ends.
pub const UNREAD_MAX: Duration = Duration::from_secs(10);

/// How often it is told what was not shown.
const MISSED_EVERY: Duration = Duration::from_secs(1);

/// What is shown of what passes, beside the line that says that it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Show {
    /// Fields of heads, metadata of messages.
    pub headers: bool,
    /// Bodies, data of messages.
    pub bodies: bool,
    /// Nothing but what failed.
    pub only_failures: bool,
}

/// The taps of a plane; `W` says what one wants. Clones are the same.
pub struct Taps<W>(Arc<Inner<W>>);

struct Inner<W> {
    /// How many there are; read with everything that is carried, and hardly ever written.
    open: AtomicUsize,
    taps: Mutex<Vec<Arc<(W, Feed)>>>,
}

impl<W> Clone for Taps<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W> Default for Taps<W> {
    fn default() -> Self {
        Self(Arc::new(Inner { open: AtomicUsize::new(0), taps: Mutex::default() }))
    }
}

impl<W> Taps<W> {
    /// Whether anybody watches.
    pub fn are_open(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0
    }

    /// Where those are fed that want what is carried.
    pub fn that(&self, want: impl Fn(&W) -> bool) -> Vec<Feed> {
        // What they want is asked outside of the lock: it may be an expensive question.
        let taps = self.list().clone();
        let wanting = taps.iter().filter(|tap| !tap.1.is_over() && want(&tap.0));
        wanting.map(|tap| tap.1.clone()).collect()
    }

    /// Has a tap fed with what it wants, until what this returns is dropped.
    pub fn open(&self, wanted: W, feed: Feed) -> Opened<W> {
        let tap = Arc::new((wanted, feed));
        let mut taps = self.list();
        taps.push(tap.clone());
        self.0.open.store(taps.len(), Ordering::Relaxed);
        Opened { taps: self.clone(), tap }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<(W, Feed)>>> {
        lock(&self.0.taps)
    }
}

/// A tap that is open at a plane.
pub struct Opened<W> {
    taps: Taps<W>,
    tap: Arc<(W, Feed)>,
}

impl<W> Drop for Opened<W> {
    fn drop(&mut self) {
        let mut taps = self.taps.list();
        taps.retain(|tap| !Arc::ptr_eq(tap, &self.tap));
        self.taps.0.open.store(taps.len(), Ordering::Relaxed);
    }
}

/// The end of a tap that is fed, by all planes. Clones are the same.
#[derive(Clone)]
pub struct Feed(Arc<Fed>);

struct Fed {
    show: Show,
    sender: queue::Sender<Event>,
    pace: Mutex<Pace>,
    missed: AtomicU64,
    is_over: AtomicBool,
}

/// How fast a tap is fed, and since when it is full.
#[derive(Default)]
struct Pace {
    second: u64,
    shown: u32,
    full_since: Option<Moment>,
}

/// A new tap that shows this: the end that is fed, and the one that is read.
pub fn tap(show: Show, clock: Clock) -> (Feed, Reader) {
    let (sender, receiver) = queue::bounded(WAITING_MAX);
    let (pace, missed, is_over) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
    let feed = Feed(Arc::new(Fed { show, sender, pace, missed, is_over }));
    let told = clock.now();
    (feed.clone(), Reader { fed: feed.0, receiver, clock, told })
}

impl Feed {
    /// What it shows.
    pub fn show(&self) -> Show {
        self.0.show
    }

    /// Whether it takes no more, as nobody reads it.
    pub fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    /// Gives it what was carried, if it has room for more; what it has none for is counted. Never waits.
    pub fn offer(&self, now: Moment, event: impl FnOnce() -> Event) {
        let is_taken = self.admits(now) && self.puts(now, event());
        self.miss(u64::from(!is_taken));
    }

    /// Counts what is not shown although it was wanted.
    pub fn miss(&self, count: u64) {
        self.0.missed.fetch_add(count, Ordering::Relaxed);
    }

    fn admits(&self, now: Moment) -> bool {
        let mut pace = lock(&self.0.pace);
        let second = now.since(Moment::default()).as_secs();
        if pace.second != second {
            (pace.second, pace.shown) = (second, 0);
        }
        pace.shown = pace.shown.saturating_add(1);
        pace.shown <= SHOWN_PER_SECOND_MAX
    }

    fn puts(&self, now: Moment, event: Event) -> bool {
        let fits = self.0.sender.offer(event);
        let mut pace = lock(&self.0.pace);
        let since = *pace.full_since.get_or_insert(now);
        if fits {
            pace.full_since = None;
        } else if now.since(since) >= UNREAD_MAX {
            self.0.is_over.store(true, Ordering::Relaxed);
        }
        fits
    }
}

/// The end of a tap that is read.
pub struct Reader {
    fed: Arc<Fed>,
    receiver: queue::Receiver<Event>,
    clock: Clock,
    /// When it was last told what was not shown.
    told: Moment,
}

/// What a tap has to say.
#[derive(Debug)]
pub enum News {
    /// Something was carried.
    Event(Event),
    /// So many things were carried and are not shown.
    Missed(u64),
    /// Nobody read it for too long: there is nothing more.
    Over,
}

impl Reader {
    /// The next thing; may be dropped at any time without losing any.
    pub async fn next(&mut self) -> News {
        loop {
            let (now, is_over) = (self.clock.now(), self.fed.is_over.load(Ordering::Relaxed));
            let is_due = now.since(self.told) >= MISSED_EVERY;
            if is_due && let Some(missed) = self.missed() {
                self.told = now;
                return News::Missed(missed);
            }
            if let Some(event) = self.receiver.try_take() {
                return News::Event(event);
            }
            if is_over {
                return self.missed().map_or(News::Over, News::Missed);
            }
            tokio::select! {
                event = self.receiver.take() => return event.map_or(News::Over, News::Event),
                () = self.clock.sleep(MISSED_EVERY) => {}
            }
        }
    }

    fn missed(&self) -> Option<u64> {
        Some(self.fed.missed.swap(0, Ordering::Relaxed)).filter(|missed| *missed > 0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{ClockHand, UnixTime};

    /// A tap at a plane whose carried things are numbers; it wants those up to 9.
    fn world() -> (Taps<u64>, Opened<u64>, Reader, Clock, ClockHand) {
        let (clock, hand) = Clock::by_hand(UnixTime::default());
        let taps = Taps::default();
        let (feed, reader) = tap(Show::default(), clock.clone());
        let opened = taps.open(9, feed);
        (taps, opened, reader, clock, hand)
    }

    fn event() -> Event {
        Event::Message(Box::default())
    }

    fn carry(taps: &Taps<u64>, number: u64, clock: &Clock) {
        for feed in taps.that(|most| number <= *most) {
            feed.offer(clock.now(), event);
        }
    }

    fn told(news: &News) -> String {
        match news {
            News::Event(_) => "event".to_owned(),
            News::Missed(missed) => format!("{missed} missed"),
            News::Over => "over".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_tap_is_fed_what_it_wants_until_it_is_closed() {
        let (taps, opened, mut reader, clock, _) = world();
        assert!(taps.are_open());
        carry(&taps, 10, &clock);
        assert!(reader.receiver.try_take().is_none());
        carry(&taps, 9, &clock);
        assert_eq!(told(&reader.next().await), "event");
        let other = taps.open(3, opened.tap.1.clone());
        drop(opened);
        assert!(taps.are_open() && taps.that(|most| *most == 9).is_empty());
        drop(other);
        assert!(!taps.are_open());
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_told_once_a_second() {
        let (taps, _opened, mut reader, clock, hand) = world();
        for _ in 0..WAITING_MAX + 12 {
            carry(&taps, 1, &clock);
        }
        for _ in 0..WAITING_MAX {
            assert_eq!(told(&reader.next().await), "event");
        }
        let waits = tokio::time::timeout(Duration::from_millis(5), reader.next()).await;
        assert!(waits.is_err(), "not yet");
        hand.advance(MISSED_EVERY);
        assert_eq!(told(&reader.next().await), "12 missed");
    }

    #[tokio::test]
    async fn no_more_is_shown_in_a_second_than_can_be_read() {
        let (taps, _opened, mut reader, clock, hand) = world();
        let mut carry_and_read = async |count: u32| {
            for _ in 0..count {
                carry(&taps, 1, &clock);
                if let Some(event) = reader.receiver.try_take() {
                    drop(event);
                }
            }
            reader.missed().unwrap_or(0)
        };
        assert_eq!(carry_and_read(SHOWN_PER_SECOND_MAX + 7).await, 7);
        hand.advance(Duration::from_secs(1));
        assert_eq!(carry_and_read(SHOWN_PER_SECOND_MAX).await, 0);
    }

    #[tokio::test]
    async fn a_tap_that_is_not_read_ends() {
        let (taps, _opened, mut reader, clock, hand) = world();
        for _ in 0..=WAITING_MAX {
            carry(&taps, 1, &clock);
        }
        hand.advance(UNREAD_MAX);
        assert_eq!(taps.that(|_| true).len(), 1, "nobody has noticed");
        carry(&taps, 1, &clock);
        assert!(taps.that(|_| true).is_empty());
        let mut news = vec![told(&reader.next().await)];
        while news.last().is_some_and(|last| last != "over") {
            news.push(told(&reader.next().await));
        }
        assert_eq!((news.len(), &*news[0]), (WAITING_MAX + 2, "2 missed"));
    }

    #[tokio::test]
    async fn a_tap_that_is_read_in_between_goes_on() {
        let (taps, _opened, mut reader, clock, hand) = world();
        for _ in 0..5 {
            for _ in 0..=WAITING_MAX {
                carry(&taps, 1, &clock);
            }
            hand.advance(UNREAD_MAX / 2);
            while reader.receiver.try_take().is_some() {}
        }
        assert_eq!(taps.that(|_| true).len(), 1);
    }
}
