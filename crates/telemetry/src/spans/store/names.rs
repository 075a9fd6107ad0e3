//! Names that the store has seen: services, the names of their spans, whom they call, and values of chosen tags.
//! They are for lists to choose from, so a bound on them costs nothing but entries of those lists.

use crate::spans::Span;
use std::collections::{BTreeMap, BTreeSet};

/// Names of one file.
const NAMES_MAX: usize = 50_000;
/// Bytes of a value of a tag that is worth a place in a list.
const VALUE_BYTES_MAX: usize = 256;

/// What a name is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Names by what they are listed under.
#[derive(Debug, Default)]
pub(crate) struct Names {
    lists: BTreeMap<(List, String), BTreeSet<String>>,
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
            if let Some(value) = span.tag(key).filter(|value| value.len() <= VALUE_BYTES_MAX) {
                self.put(List::Values, key, value);
            }
        }
    }

    fn put(&mut self, list: List, under: &str, name: &str) {
        // Looked for before it is made a text of its own: nearly all are there.
        if self.lists.get(&(list, under.to_owned())).is_some_and(|names| names.contains(name)) {
            return;
        }
        if self.count < NAMES_MAX {
            self.count += 1;
            self.lists.entry((list, under.to_owned())).or_default().insert(name.to_owned());
        }
    }

    /// Puts the names of a list to others.
    pub(crate) fn read_to(&self, list: List, under: &str, names: &mut BTreeSet<String>) {
        let listed = self.lists.get(&(list, under.to_owned()));
        names.extend(listed.into_iter().flatten().cloned());
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (List, &str, &str)> {
        self.lists.iter().flat_map(|((list, under), names)| {
            names.iter().map(move |name| (*list, under.as_str(), name.as_str()))
        })
    }
}
