//! What routes write into messages and how they name parts of them, kept for as long as the process lives. Otherwise
//! it would have one count of its holders, over which all cores fight with every request.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Bytes of each kind, at most. Reloads that bring others again and again use them up, and what comes then is counted.
pub(crate) const BYTES: usize = 1 << 20;

/// What is kept of one kind; the same is kept once.
pub(crate) struct Kept<T: ?Sized + 'static> {
    known: HashSet<&'static T>,
    left: usize,
}

impl<T: ?Sized + Eq + Hash> Kept<T> {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { known: HashSet::new(), left: bytes }
    }

    /// What equals `wanted`, which takes so many bytes; `None` when there is no room for it.
    pub(crate) fn keep(&mut self, wanted: &T, bytes: usize) -> Option<&'static T>
    where
        for<'a> Box<T>: From<&'a T>,
    {
        if let Some(known) = self.known.get(wanted) {
            return Some(known);
        }
        self.left = self.left.checked_sub(bytes)?;
        let kept: &'static T = Box::leak(wanted.into());
        self.known.insert(kept);
        Some(kept)
    }
}

/// The value that a route writes into this field.
pub(crate) fn value(of: &HeaderName, value: HeaderValue) -> HeaderValue {
    static KEPT: LazyLock<Mutex<Kept<[u8]>>> = LazyLock::new(|| Mutex::new(Kept::new(BYTES)));
    // It stays no longer than its route.
    if wire::is_secret(of) {
        return value;
    }
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).keep(value.as_bytes(), value.len());
    kept.and_then(|kept| HeaderValue::from_maybe_shared(Bytes::from_static(kept)).ok()).unwrap_or(value)
}

/// The name of a field that a route writes.
pub(crate) fn name(name: HeaderName) -> HeaderName {
    static KEPT: LazyLock<Mutex<Kept<str>>> = LazyLock::new(|| Mutex::new(Kept::new(BYTES)));
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).keep(name.as_str(), name.as_str().len());
    kept.map_or(name, HeaderName::from_static)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_kept_once_and_within_the_bound() {
        let mut kept: Kept<str> = Kept::new(10);
        let first = kept.keep("abcdef", 6).unwrap();
        assert!(std::ptr::eq(first, kept.keep("abcdef", 6).unwrap()));
        assert_eq!(kept.keep("abcde", 5), None);
        assert_eq!(kept.keep("abcd", 4), Some("abcd"));
        assert_eq!((kept.keep("a", 1), kept.keep("abcdef", 6)), (None, Some("abcdef")));
    }

    #[test]
    fn what_is_kept_is_what_was_written() {
        for text in ["x-route", "host", "x-a"] {
            assert_eq!(name(HeaderName::from_static(text)), text);
            let written = HeaderValue::from_bytes(b"caf\xe9").unwrap();
            assert_eq!(value(&name(HeaderName::from_static(text)), written.clone()), written);
        }
    }

    #[test]
    fn a_secret_is_not_kept() {
        let is_kept = |field: &str| {
            let written = HeaderValue::from_bytes(b"Bearer x").unwrap();
            let value = value(&HeaderName::try_from(field).unwrap(), written.clone());
            !std::ptr::eq(value.as_bytes(), written.as_bytes())
        };
        assert_eq!(["x-route", "authorization", "x-api-key"].map(is_kept), [true, false, false]);
    }
}
