//! Entities kept in memory: at most so many, and whichever was not used for longest goes first.

use std::collections::{BTreeMap, HashMap};

/// An entity as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cached<E> {
    pub(super) entity: E,
    /// The position of the last message it is made of, -1 for none.
    pub(super) version: i64,
    /// Whether there was a message since its stream was deleted, or began.
    pub(super) exists: bool,
    /// The version of its last snapshot, -1 for none.
    pub(super) snapshot_version: i64,
}

impl<E: Default> Default for Cached<E> {
    fn default() -> Self {
        Self { entity: E::default(), version: -1, exists: false, snapshot_version: -1 }
    }
}

#[derive(Debug)]
pub(super) struct Cache<E> {
    max: usize,
    /// When each was used last, and itself.
    kept: HashMap<String, (u64, Cached<E>)>,
    used: BTreeMap<u64, String>,
    uses: u64,
}

impl<E: Clone> Cache<E> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, kept: HashMap::new(), used: BTreeMap::new(), uses: 0 }
    }

    pub(super) fn get(&mut self, id: &str) -> Option<Cached<E>> {
        let (used, cached) = self.kept.get_mut(id)?;
        self.uses += 1;
        if let Some(id) = self.used.remove(used) {
            self.used.insert(self.uses, id);
        }
        *used = self.uses;
        Some(cached.clone())
    }

    /// Keeps it, unless a newer one is kept.
    pub(super) fn put(&mut self, id: &str, cached: Cached<E>) {
        if self.max == 0 || self.kept.get(id).is_some_and(|(_, kept)| kept.version > cached.version) {
            return;
        }
        self.remove(id);
        if self.kept.len() == self.max
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.kept.remove(&oldest);
        }
        self.uses += 1;
        self.used.insert(self.uses, id.to_owned());
        self.kept.insert(id.to_owned(), (self.uses, cached));
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some((used, _)) = self.kept.remove(id) {
            self.used.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: i64) -> Cached<i64> {
        Cached { entity: version * 10, version, exists: true, snapshot_version: -1 }
    }

    #[test]
    fn who_was_not_used_for_longest_goes_first() {
        let mut cache = Cache::new(2);
        cache.put("a", at(1));
        cache.put("b", at(1));
        assert!(cache.get("a").is_some());
        cache.put("c", at(1));
        assert_eq!(["a", "b", "c"].map(|id| cache.get(id).is_some()), [true, false, true]);
        assert_eq!((cache.kept.len(), cache.used.len()), (2, 2));
    }

    #[test]
    fn an_older_version_does_not_replace_a_newer_one() {
        let mut cache = Cache::new(2);
        cache.put("a", at(5));
        cache.put("a", at(4));
        assert_eq!(cache.get("a").unwrap().entity, 50);
        cache.put("a", at(6));
        assert_eq!((cache.get("a").unwrap().entity, cache.used.len()), (60, 1));
        cache.remove("a");
        assert_eq!((cache.get("a"), cache.used.len()), (None, 0));
    }

    #[test]
    fn a_cache_of_none_keeps_none() {
        let mut cache = Cache::new(0);
        cache.put("a", at(1));
        assert_eq!(cache.get("a"), None);
    }
}
