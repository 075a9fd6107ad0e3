//! Names that the store has seen: services, the names of their spans, whom they call, and values of chosen tags.
//! They are for lists to choose from, so a bound on them costs nothing but entries of those lists.

use crate::spans::Span;
use std::collections::{BTreeMap, BTreeSet};

/// Names of one file.
const NAMES_MAX: usize = 50_000;
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
            self.put(List::Services, "", service);
            for (list, name) in [(List::Spans, &span.name), (List::Remotes, &span.remote.service)] {
                if !name.is_empty() {
                    self.put(list, service, name);
                }
            }
        }
        for key in keys {
            if let Some(value) = span.tag(key) {
                self.put(List::Values, key, value);
            }
        }
    }

    fn put(&mut self, list: List, under: &str, name: &str) {
        // Looked for before it is made a text of its own: nearly all are there.
        let names = &mut self.lists[list as usize];
        if names.get(under).is_some_and(|names| names.contains(name)) {
            return;
        }
        if self.count < NAMES_MAX && under.len().max(name.len()) <= NAME_BYTES_MAX {
            self.count += 1;
            names.entry(under.to_owned()).or_default().insert(name.to_owned());
        }
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
        names.put(List::Spans, "web", &name(NAME_BYTES_MAX + 1));
        names.put(List::Spans, &name(NAME_BYTES_MAX + 1), "get");
        assert_eq!(names.all().count(), 0);
        for number in 0..=NAMES_MAX {
            names.put(List::Spans, "web", &number.to_string());
            names.put(List::Spans, "web", "0");
        }
        names.put(List::Services, "", "web");
        assert_eq!(names.all().count(), NAMES_MAX);
    }
}
