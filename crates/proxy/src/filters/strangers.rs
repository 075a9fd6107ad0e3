//! What filters count under names that requests bring and nobody has checked: one by one up to a bound, the rest
//! together, so that whoever makes names up fills no memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

/// Keys that are counted one by one.
pub(super) const KEYS_MAX: usize = 1000;

/// Longest key that is.
pub(super) const KEY_BYTES_MAX: usize = 512;

/// Numbers by key, of all routes together.
pub(super) struct Strangers<T>(Mutex<HashMap<Box<str>, T>>);

impl<T> Default for Strangers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Strangers<T> {
    /// Counts with the numbers of a key, or if that is too long or one too many, with those of `other`.
    pub(super) fn count(
        &self,
        key: &str,
        other: impl FnOnce() -> String,
        make: impl FnOnce(&str) -> T,
        count: impl FnOnce(&T),
    ) {
        let mut by_key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_key.get(key) {
            return count(known);
        }
        let is_one_too_many = by_key.len() >= KEYS_MAX || key.len() > KEY_BYTES_MAX;
        let key = if is_one_too_many { other() } else { key.to_owned() };
        match by_key.entry(key.into()) {
            Entry::Occupied(known) => count(known.get()),
            Entry::Vacant(place) => {
                let made = make(place.key());
                count(place.insert(made));
            }
        }
    }
}
