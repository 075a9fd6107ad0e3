//! Names that the store has seen: services, the names of their spans, whom they call, and values of chosen tags.
//! They are for lists to choose from, so a bound on them costs nothing but entries of those lists.

use crate::spans::Span;
use std::collections::{BTreeMap, BTreeSet};

/// Names of one file, or of one part in a database.
pub(crate) const NAMES_MAX: usize = 50_000;
/// Bytes of a name that is worth a place in a list.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// What a name is one of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum List {
    /// Services; under no name.
    Services = 0,
    /// Names of spans, under a service.
    Spans = 1,
    /// Services that are called, under a service.
    Remotes = 2,
    /// Values, under the key of a tag.
    Values = 3,
}

/// The lists, by their numbers; each of names by what they are listed under.
#[derive(Debug, Default)]
pub(crate) struct Names {
    lists: [BTreeMap<String, BTreeSet<String>>; 4],
    count: usize,
}

impl Names {
    /// Notes the names of a span.
    pub(crate) fn note(&mut self, span: &Span, keys: &[String]) {
        let service = &span.local.service;
        if !service.is_empty() {
            self.put(List::Services as usize, "", service);
            for (list, name) in [(List::Spans, &span.name), (List::Remotes, &span.remote.service)] {
                if !name.is_empty() {
                    self.put(list as usize, service, name);
                }
            }
        }
        for key in keys {
            if let Some(value) = span.tag(key) {
                self.put(List::Values as usize, key, value);
            }
        }
    }

    fn put(&mut self, list: usize, under: &str, name: &str) {
        // Looked for before it is made a text of its own: nearly all are there.
        if self.has(list, under, name) {
            return;
        }
        if self.count < NAMES_MAX && under.len().max(name.len()) <= NAME_BYTES_MAX {
            self.count += 1;
            self.lists[list].entry(under.to_owned()).or_default().insert(name.to_owned());
        }
    }

    fn has(&self, list: usize, under: &str, name: &str) -> bool {
        self.lists[list].get(under).is_some_and(|names| names.contains(name))
    }

    /// Puts a name back that was read from where it had been written. One of no list is passed over.
    pub(crate) fn put_back(&mut self, list: i64, under: &str, name: &str) {
        if let Some(list) = usize::try_from(list).ok().filter(|list| *list < self.lists.len()) {
            self.put(list, under, name);
        }
    }

    /// Takes in all of others.
    pub(crate) fn absorb(&mut self, others: &Self) {
        for (list, under, name) in others.all() {
            self.put_back(list, under, name);
        }
    }

    /// Those that others lack and have room for, in one order whoever asks.
    pub(crate) fn missing_in<'a>(
        &'a self,
        others: &'a Self,
    ) -> impl Iterator<Item = (i64, &'a str, &'a str)> {
        let missing = self.all().filter(|(list, under, name)| !others.has(*list as usize, under, name));
        missing.take(NAMES_MAX - others.count)
    }

    /// Puts the names of a list to others.
    pub(crate) fn read_to(&self, list: List, under: &str, names: &mut BTreeSet<String>) {
        let listed = self.lists[list as usize].get(under);
        names.extend(listed.into_iter().flatten().cloned());
    }

    /// All of them, with the numbers of their lists.
    pub(crate) fn all(&self) -> impl Iterator<Item = (i64, &str, &str)> {
        self.lists.iter().zip(0..).flat_map(|(list, number)| {
            list.iter().flat_map(move |(under, names)| {
                names.iter().map(move |name| (number, under.as_str(), name.as_str()))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_up_to_their_bounds() {
        let mut names = Names::default();
        let name = |length: usize| "n".repeat(length);
        names.put(List::Spans as usize, "web", &name(NAME_BYTES_MAX + 1));
        names.put(List::Spans as usize, &name(NAME_BYTES_MAX + 1), "get");
        assert_eq!(names.all().count(), 0);
        for number in 0..=NAMES_MAX {
            names.put(List::Spans as usize, "web", &number.to_string());
            names.put(List::Spans as usize, "web", "0");
        }
        names.put(List::Services as usize, "", "web");
        assert_eq!(names.all().count(), NAMES_MAX);
    }
}
