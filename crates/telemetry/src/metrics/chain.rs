//! A short list that only grows, and to which many threads may add without a lock: for the few keys that
//! one worker meets in one route.

use std::sync::OnceLock;

#[derive(Debug)]
pub(super) struct Chain<K, V> {
    first: Slot<K, V>,
}

type Slot<K, V> = OnceLock<Box<Link<K, V>>>;

#[derive(Debug)]
struct Link<K, V> {
    key: K,
    value: V,
    next: Slot<K, V>,
}

impl<K, V> Default for Chain<K, V> {
    fn default() -> Self {
        Self { first: OnceLock::new() }
    }
}

impl<K, V: Default> Chain<K, V> {
    /// The value of the key that `is` knows, added as `key` if it is new. `None` if there are `max` others
    /// before it.
    pub(super) fn entry(&self, max: usize, is: impl Fn(&K) -> bool, key: impl Fn() -> K) -> Option<&V> {
        let mut slot = &self.first;
        for _ in 0..max {
            // Another thread may fill the slot first: then it is just one more link to pass.
            let link = slot
                .get_or_init(|| Box::new(Link { key: key(), value: V::default(), next: OnceLock::new() }));
            if is(&link.key) {
                return Some(&link.value);
            }
            slot = &link.next;
        }
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let links = std::iter::successors(self.first.get(), |link| link.next.get());
        links.map(|link| (&link.key, &link.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn keys_are_added_once_whoever_comes_first() {
        let chain: Chain<u32, AtomicU32> = Chain::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for i in 0..4000 {
                        let key = i % 40;
                        let value = chain.entry(40, |k| *k == key, || key).expect("there is room for 40");
                        value.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let mut counts: Vec<_> = chain.iter().map(|(k, v)| (*k, v.load(Ordering::Relaxed))).collect();
        counts.sort_unstable();
        assert_eq!(counts, (0..40).map(|key| (key, 400)).collect::<Vec<_>>());
        assert!(chain.entry(40, |k| *k == 40, || 40).is_none(), "the bound holds");
    }
}
