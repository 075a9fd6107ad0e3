//! Kept answers by key, in bounded memory, and the fetches under way. One store serves all cores and survives
//! reloads; what is used least goes first.

use super::Entry;
use crate::Lasting;
use base::Moment;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use wire::Headers;

/// An answer takes a sixteenth of the memory at most: 4 MiB of the default 64.
const ENTRY_SHARE: usize = 16;
/// Answers that are kept for one key at most, for different requests.
const VARIANTS_MAX: usize = 16;
/// What a key costs beside its bytes, about.
const OVERHEAD: usize = 256;

/// The name of what can be kept: route, host, target and chosen headers.
pub(crate) type Key = Arc<str>;

/// The store.
pub(crate) struct Store {
    limit: usize,
    kept: Mutex<Kept>,
    counts: Counts,
}

/// What became of requests and entries.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) hits: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) oversized: AtomicU64,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Key, Slot>,
    /// Keys by when they were last used.
    order: BTreeMap<u64, Key>,
    turn: u64,
    /// Of all slots, and of what is being recorded.
    bytes: usize,
    /// Fetches under way, by key and what the answer is expected to vary with.
    fetches: HashMap<String, watch::Receiver<Option<Done>>>,
}

#[derive(Default)]
struct Slot {
    turn: u64,
    bytes: usize,
    /// The one kept last comes last.
    variants: Vec<Arc<Entry>>,
    /// Until then nobody waits for anybody: what comes is not kept anyway.
    passes_until: Moment,
    /// Until then the backend is not asked if there is anything to give: it has just failed.
    fails_until: Moment,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Whoever waited looks again.
    Look,
    /// The answer is not kept: everybody asks for himself.
    NotKept,
}

/// What is known of a key.
pub(crate) struct Found {
    pub(crate) entry: Option<Arc<Entry>>,
    pub(crate) passes: bool,
    pub(crate) fails: bool,
}

/// Whether one fetches or waits for another to.
pub(crate) enum Role {
    Leads(Box<Lead>),
    Follows(watch::Receiver<Option<Done>>),
}

/// A fetch under way. Dropped without a word, those who wait are told to look again.
pub(crate) struct Lead {
    store: Arc<Store>,
    pub(crate) key: Key,
    fetch: String,
    done: watch::Sender<Option<Done>>,
    /// The entry that the answer may confirm, or stand in for.
    pub(crate) known: Option<Arc<Entry>>,
    /// The request's headers as the filter saw them.
    pub(crate) request: Headers,
    /// The conditions among them, kept from the backend.
    pub(crate) conditions: Headers,
    /// When the request went on, on both clocks.
    pub(crate) asked: (Moment, base::UnixTime),
}

impl Store {
    /// A store of so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default(), counts: Counts::default() }
    }

    /// The store of everything that is built with this state.
    pub(crate) fn of(lasting: &Lasting, limit: usize) -> Arc<Self> {
        lasting.get("cache", || Self::new(limit))
    }

    /// Most bytes of the body of an entry.
    pub(crate) fn entry_bytes_max(&self) -> usize {
        self.limit / ENTRY_SHARE
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many bytes are taken.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// What is known of a key, for a request with these headers.
    pub(crate) fn look(&self, key: &Key, headers: &Headers, now: Moment) -> Found {
        let mut kept = self.lock();
        let kept = &mut *kept;
        let Some(slot) = kept.slots.get_mut(key) else {
            return Found { entry: None, passes: false, fails: false };
        };
        kept.turn += 1;
        if let Some(key) = kept.order.remove(&slot.turn) {
            kept.order.insert(kept.turn, key);
            slot.turn = kept.turn;
        }
        let entry = slot.variants.iter().rev().find(|entry| entry.answers(headers)).cloned();
        Found { entry, passes: slot.passes_until > now, fails: slot.fails_until > now }
    }

    /// Begins a fetch, or joins the one that is under way.
    pub(crate) fn fetch(
        self: &Arc<Self>,
        key: &Key,
        request: &Headers,
        asked: (Moment, base::UnixTime),
    ) -> Role {
        let mut kept = self.lock();
        let fetch = kept.slots.get(key).map_or_else(|| key.to_string(), |slot| slot.fetch(key, request));
        if let Some(under_way) = kept.fetches.get(&fetch) {
            return Role::Follows(under_way.clone());
        }
        let (done, under_way) = watch::channel(None);
        kept.fetches.insert(fetch.clone(), under_way);
        drop(kept);
        Role::Leads(Box::new(Lead {
            store: self.clone(),
            key: key.clone(),
            fetch,
            done,
            known: None,
            request: request.clone(),
            conditions: Headers::new(),
            asked,
        }))
    }

    /// Keeps an entry in the place of the one that answers the same requests. Answers whether it fitted.
    pub(crate) fn keep(&self, key: &Key, entry: Arc<Entry>) -> bool {
        if entry.body.len() > self.entry_bytes_max() {
            self.counts.oversized.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let mut kept = self.lock();
        kept.change(key, |slot| {
            slot.variants.retain(|other| !other.same_requests(&entry));
            if slot.variants.len() >= VARIANTS_MAX {
                slot.variants.remove(0);
            }
            slot.variants.push(entry);
            slot.passes_until = Moment::default();
            slot.fails_until = Moment::default();
        });
        self.make_room(&mut kept, 0);
        kept.slots.contains_key(key)
    }

    /// Forgets what is kept for a key.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Until then answers to this key are expected not to be kept.
    pub(crate) fn pass(&self, key: &Key, until: Moment) {
        let mut kept = self.lock();
        kept.change(key, |slot| slot.passes_until = until);
        self.make_room(&mut kept, 0);
    }

    /// Until then the backend is expected to fail.
    pub(crate) fn fail(&self, key: &Key, until: Moment) {
        let mut kept = self.lock();
        kept.change(key, |slot| slot.fails_until = until);
        self.make_room(&mut kept, 0);
    }

    /// Takes so many bytes for a record, if they can be had.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let mut kept = self.lock();
        let fits = self.make_room(&mut kept, bytes);
        if fits {
            kept.bytes += bytes;
        }
        fits
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&self, bytes: usize) {
        let mut kept = self.lock();
        kept.bytes = kept.bytes.saturating_sub(bytes);
    }

    /// Forgets what was not used for the longest time, until so many bytes more would fit.
    fn make_room(&self, kept: &mut Kept, bytes: usize) -> bool {
        while kept.bytes + bytes > self.limit {
            let Some((_, key)) = kept.order.first_key_value() else { return false };
            let key = key.clone();
            kept.remove(&key);
            self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) {
        if let Some(slot) = self.slots.remove(key) {
            self.order.remove(&slot.turn);
            self.bytes = self.bytes.saturating_sub(slot.bytes);
        }
    }

    /// Changes a slot, made if it is not there, and counts it anew.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Slot)) {
        self.turn += 1;
        let slot = self.slots.entry(key.clone()).or_default();
        self.order.remove(&slot.turn);
        slot.turn = self.turn;
        self.order.insert(self.turn, key.clone());
        change(slot);
        let bytes = OVERHEAD + key.len() * 2 + slot.variants.iter().map(|entry| entry.bytes()).sum::<usize>();
        self.bytes = self.bytes.saturating_sub(slot.bytes) + bytes;
        slot.bytes = bytes;
    }
}

impl Slot {
    /// The name of a fetch: what answers of this key have varied with belongs to it.
    fn fetch(&self, key: &Key, request: &Headers) -> String {
        let mut name = key.to_string();
        if let Some(last) = self.variants.last() {
            for (header, _) in &last.varies {
                name.push('\0');
                name.push_str(header.as_str());
                for value in request.get_all(header) {
                    name.push(':');
                    name.push_str(&String::from_utf8_lossy(value.as_bytes()));
                }
            }
        }
        name
    }
}

impl Entry {
    fn same_requests(&self, other: &Entry) -> bool {
        self.varies == other.varies
    }
}

impl Lead {
    /// Tells those who wait how it ended.
    pub(crate) fn done(self, done: Done) {
        self.store.lock().fetches.remove(&self.fetch);
        self.done.send_replace(Some(done));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.done.borrow().is_none() {
            self.store.lock().fetches.remove(&self.fetch);
            self.done.send_replace(Some(Done::Look));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::UnixTime;
    use bytes::Bytes;
    use http::{HeaderName, StatusCode};
    use rules::freshness::Lifetime;
    use std::time::Duration;

    fn entry(body: usize, varies: &[(&'static str, &str)]) -> Arc<Entry> {
        let second = Duration::from_secs(1);
        let of = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), vec![value.parse().unwrap()])
        };
        Arc::new(Entry {
            status: StatusCode::OK,
            headers: Headers::new(),
            body: Bytes::from(vec![b'x'; body]),
            at: Moment::default(),
            initial_age: Duration::ZERO,
            lifetime: Lifetime { fresh: second, while_revalidated: second, if_error: second },
            varies: varies.iter().map(of).collect(),
        })
    }

    fn key(text: &str) -> Key {
        text.into()
    }

    fn has(store: &Store, name: &str) -> bool {
        store.look(&key(name), &Headers::new(), Moment::default()).entry.is_some()
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let store = Store::new(100_000);
        for number in 0..20 {
            assert!(store.keep(&key(&number.to_string()), entry(5000, &[])));
            assert!(has(&store, "0"), "it is used again and again");
            assert!(store.bytes() <= 100_000);
        }
        assert!(!has(&store, "1") && has(&store, "19"));
        assert_eq!(store.counts().evicted.load(Ordering::Relaxed), 3);
        assert!(!store.keep(&key("large"), entry(7000, &[])), "more than a sixteenth");
        assert_eq!(store.counts().oversized.load(Ordering::Relaxed), 1);
        // Marks cost as well, so that many keys can't take all memory.
        for number in 0..10_000 {
            store.pass(&key(&format!("mark {number}")), Moment(u64::MAX));
            assert!(store.bytes() <= 100_000);
        }
        assert!(!has(&store, "19"));
    }

    #[test]
    fn what_is_being_recorded_counts() {
        let store = Store::new(10_000);
        store.keep(&key("a"), entry(500, &[]));
        assert!(store.take(9_000) && !store.take(2_000));
        assert!(!has(&store, "a"), "it had to go");
        store.give_back(9_000);
        assert_eq!(store.bytes(), 0);
    }

    #[test]
    fn a_key_has_different_answers_for_different_requests() {
        let store = Store::new(1 << 20);
        let request =
            |language: &str| Headers::from_iter([("x-lang".parse().unwrap(), language.parse().unwrap())]);
        for language in ["it", "de", "it"] {
            store.keep(&key("a"), entry(10, &[("x-lang", language)]));
        }
        let find = |headers: &Headers| store.look(&key("a"), headers, Moment::default()).entry.is_some();
        assert!(
            find(&request("it")) && find(&request("de")) && !find(&request("fr")) && !find(&Headers::new())
        );
        for number in 0..VARIANTS_MAX {
            store.keep(&key("a"), entry(10, &[("x-lang", &number.to_string())]));
        }
        assert!(!find(&request("it")), "only so many are kept");
        store.forget(&key("a"));
        assert!(store.bytes() == 0 && !find(&request("0")));
    }

    #[test]
    fn one_fetches_and_the_others_are_told() {
        let store = Arc::new(Store::new(1 << 20));
        let headers = Headers::new();
        let fetch = || store.fetch(&key("a"), &headers, (Moment::default(), UnixTime::default()));
        let Role::Leads(lead) = fetch() else { panic!("nobody fetches") };
        let Role::Follows(mut one) = fetch() else { panic!("one fetches") };
        assert!(!one.has_changed().unwrap());
        lead.done(Done::NotKept);
        assert_eq!(*one.borrow_and_update(), Some(Done::NotKept));
        let Role::Leads(lead) = fetch() else { panic!("it is over") };
        let Role::Follows(two) = fetch() else { panic!("one fetches") };
        drop(lead);
        assert_eq!(*two.borrow(), Some(Done::Look), "a fetch that is given up lets others try");
        assert!(store.lock().fetches.is_empty());
    }
}
