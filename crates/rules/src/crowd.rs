//! A bounded map from whoever comes (clients, hosts) to a small state kept for each. It is split into
//! shards so that cores rarely meet, forgets the idle, and when it is full lets go of who came least
//! recently among a few. Who is who is a keyed hash of 128 bits, so a long key costs no memory.

use base::{Chance, Moment};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shards of a crowd that is large enough to be worth it.
const SHARDS: usize = 16;
/// Places looked at when a full shard must let somebody go.
const LOOKED_AT: usize = 16;
/// Places looked at for idle ones whenever somebody new comes: more than one, so that the idle leave faster
/// than newcomers arrive.
const SWEPT: usize = 2;

/// A state that knows when it may be forgotten without anybody noticing.
pub trait Member {
    /// Whether a member last seen at `seen` is as good as new at `now`.
    fn is_idle(&self, seen: Moment, now: Moment) -> bool;
}

/// At most `members_max` states, found by the hash of their keys.
#[derive(Debug)]
pub struct Crowd<S> {
    shards: Box<[Mutex<Shard<S>>]>,
    /// Of each shard.
    members_max: usize,
    /// Unknown to callers, so that nobody can choose keys that meet.
    secret: [u64; 2],
    evicted: AtomicU64,
}

#[derive(Debug)]
struct Shard<S> {
    index: HashMap<Key, usize, BuildHasherDefault<AsItIs>>,
    places: Vec<Option<Place<S>>>,
    free: Vec<usize>,
    hand: usize,
}

#[derive(Debug)]
struct Place<S> {
    key: Key,
    seen: Moment,
    state: S,
}

impl<S: Member> Crowd<S> {
    /// An empty crowd of at most `members_max` (at least one).
    pub fn new(members_max: usize, chance: &Chance) -> Self {
        let shards = if members_max >= 64 * SHARDS { SHARDS } else { 1 };
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::default())).collect(),
            members_max: (members_max / shards).max(1),
            secret: [chance.bits(), chance.bits()],
            evicted: AtomicU64::new(0),
        }
    }

    /// Lets `act` work on the state of this key, which is made by `new` if the key is not known.
    pub fn with<R>(
        &self,
        key: impl Hash,
        now: Moment,
        new: impl FnOnce() -> S,
        act: impl FnOnce(&mut S) -> R,
    ) -> R {
        let key = self.hash(key);
        let mut shard = lock(&self.shards[key.shard(self.shards.len())]);
        let at = if let Some(at) = shard.index.get(&key) {
            *at
        } else {
            let evicted = shard.make_room(self.members_max, now);
            self.evicted.fetch_add(u64::from(evicted), Ordering::Relaxed);
            shard.insert(Place { key, seen: now, state: new() })
        };
        let place = shard.places[at].as_mut().expect("the index names only places that are taken");
        // Cores read the clock before they take the lock, so an older moment may come second.
        place.seen = place.seen.max(now);
        act(&mut place.state)
    }

    /// Looks at every member, one shard at a time.
    pub fn for_each(&self, mut look: impl FnMut(&S)) {
        for shard in &self.shards {
            lock(shard).places.iter().flatten().for_each(|place| look(&place.state));
        }
    }

    /// Forgets all who are idle. Newcomers do it bit by bit; this is for quiet times.
    pub fn sweep(&self, now: Moment) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            for at in 0..shard.places.len() {
                shard.forget_if_idle(at, now);
            }
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).index.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many had to go before they were idle.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn hash(&self, key: impl Hash) -> Key {
        Key(self.secret.map(|secret| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(secret);
            key.hash(&mut hasher);
            hasher.finish()
        }))
    }
}

impl<S> Default for Shard<S> {
    fn default() -> Self {
        Self { index: HashMap::default(), places: Vec::new(), free: Vec::new(), hand: 0 }
    }
}

impl<S: Member> Shard<S> {
    /// Forgets a few idle ones; when there is still no room, the one of a few that came least recently.
    /// Answers whether somebody who was not idle had to go.
    fn make_room(&mut self, members_max: usize, now: Moment) -> bool {
        for _ in 0..SWEPT.min(self.places.len()) {
            let at = self.turn();
            self.forget_if_idle(at, now);
        }
        if self.index.len() < members_max {
            return false;
        }
        let mut oldest: Option<(Moment, usize)> = None;
        for _ in 0..LOOKED_AT.min(self.places.len()) {
            let at = self.turn();
            if self.forget_if_idle(at, now) {
                return false;
            }
            let seen = self.places[at].as_ref().map(|place| place.seen);
            if let Some(seen) = seen
                && oldest.is_none_or(|(least, _)| seen < least)
            {
                oldest = Some((seen, at));
            }
        }
        if let Some((_, at)) = oldest {
            self.forget(at);
        }
        oldest.is_some()
    }

    fn insert(&mut self, place: Place<S>) -> usize {
        let key = place.key;
        let at = if let Some(at) = self.free.pop() {
            self.places[at] = Some(place);
            at
        } else {
            self.places.push(Some(place));
            self.places.len() - 1
        };
        self.index.insert(key, at);
        at
    }

    fn turn(&mut self) -> usize {
        self.hand = (self.hand + 1) % self.places.len();
        self.hand
    }

    fn forget_if_idle(&mut self, at: usize, now: Moment) -> bool {
        let idle = self.places[at].as_ref().is_some_and(|place| place.state.is_idle(place.seen, now));
        if idle {
            self.forget(at);
        }
        idle
    }

    fn forget(&mut self, at: usize) {
        if let Some(place) = self.places[at].take() {
            self.index.remove(&place.key);
            self.free.push(at);
        }
    }
}

fn lock<S>(shard: &Mutex<Shard<S>>) -> MutexGuard<'_, Shard<S>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The keyed hash of whoever comes: two halves, of which one finds the shard and the other the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key([u64; 2]);

impl Key {
    fn shard(self, shards: usize) -> usize {
        usize::try_from(self.0[0] % shards as u64).expect("below the number of shards")
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[1]);
    }
}

/// Takes a key as the hash it is already.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct Visits(u32);

    impl Member for Visits {
        fn is_idle(&self, seen: Moment, now: Moment) -> bool {
            now.since(seen) >= Duration::from_secs(10)
        }
    }

    fn visit(crowd: &Crowd<Visits>, who: &str, second: u64) -> u32 {
        let now = Moment::default() + Duration::from_secs(second);
        crowd.with(
            who,
            now,
            || Visits(0),
            |visits| {
                visits.0 += 1;
                visits.0
            },
        )
    }

    #[test]
    fn each_has_a_state_of_its_own() {
        let crowd = Crowd::new(100, &Chance::seeded(1));
        assert_eq!([visit(&crowd, "ann", 0), visit(&crowd, "bob", 0), visit(&crowd, "ann", 0)], [1, 1, 2]);
        let mut sum = 0;
        crowd.for_each(|visits| sum += visits.0);
        assert_eq!((crowd.len(), sum), (2, 3));
    }

    #[test]
    fn the_idle_leave_as_others_come() {
        let crowd = Crowd::new(1000, &Chance::seeded(1));
        for i in 0..100 {
            visit(&crowd, &format!("early{i}"), 0);
        }
        for i in 0..60 {
            visit(&crowd, &format!("late{i}"), 10);
        }
        assert_eq!(crowd.len(), 60, "two idle ones leave for each that comes");
        assert_eq!(crowd.evicted(), 0);
        crowd.sweep(Moment::default() + Duration::from_secs(20));
        assert!(crowd.is_empty());
    }

    #[test]
    fn a_full_crowd_keeps_its_size_and_its_regulars() {
        let crowd = Crowd::new(16, &Chance::seeded(1));
        for i in 0..15 {
            visit(&crowd, &format!("stranger{i}"), 0);
        }
        visit(&crowd, "regular", 1);
        for i in 15..500 {
            visit(&crowd, &format!("stranger{i}"), 2);
            assert!(visit(&crowd, "regular", 3) > 1, "the regular was let go at stranger {i}");
            assert!(crowd.len() <= 16);
        }
        assert_eq!(crowd.evicted(), 485);
    }

    #[test]
    fn a_large_crowd_stays_within_its_limit_over_all_shards() {
        let crowd = Crowd::new(2000, &Chance::seeded(1));
        for i in 0..10_000 {
            visit(&crowd, &format!("client{i}"), 0);
        }
        assert!((1900..=2000).contains(&crowd.len()), "{}", crowd.len());
    }
}
