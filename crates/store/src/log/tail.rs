//! The index of the newest part, in memory. It is made anew from the segment when the store opens, and lives
//! until a run stands in a file for it.

use super::index::{List, Named, Names, Table};
use crate::{Uuid, names};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the index has to know of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) place: u32,
    pub(crate) position: i64,
    /// `None` for a message that was removed.
    pub(crate) id: Option<Uuid>,
    pub(crate) stream: &'a str,
    /// The category of `metadata.correlationStreamName`.
    pub(crate) correlation: Option<&'a str>,
}

/// An index in memory.
#[derive(Debug)]
pub(crate) struct Tail {
    first: i64,
    /// By global position: the offset in the segment.
    places: Vec<u32>,
    ids: HashMap<Uuid, u32>,
    streams: HashMap<Arc<str>, Messages>,
    categories: BTreeMap<Arc<str>, Messages>,
    correlations: BTreeMap<Arc<str>, Messages>,
}

/// The messages of one name, as their distances from the first of the part.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) first_position: i64,
    pub(crate) entries: Vec<u32>,
}

impl Tail {
    /// The index of no message yet; the next one has this global position.
    pub(crate) fn new(first: i64) -> Self {
        Self {
            first,
            places: Vec::new(),
            ids: HashMap::new(),
            streams: HashMap::new(),
            categories: BTreeMap::new(),
            correlations: BTreeMap::new(),
        }
    }

    /// Takes the next message in.
    pub(crate) fn push(&mut self, entry: Entry<'_>) {
        let nth = self.places.len() as u32;
        self.places.push(entry.place);
        if let Some(id) = entry.id {
            self.ids.insert(id, nth);
        }
        match self.streams.get_mut(entry.stream) {
            Some(messages) => messages.entries.push(nth),
            None => {
                let messages = Messages { first_position: entry.position, entries: vec![nth] };
                self.streams.insert(entry.stream.into(), messages);
            }
        }
        add(&mut self.categories, names::category(entry.stream), nth);
        if let Some(category) = entry.correlation {
            add(&mut self.correlations, category, nth);
        }
    }

    /// The first global position.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// The global position behind the last one.
    pub(crate) fn end(&self) -> i64 {
        self.first + self.places.len() as i64
    }

    /// How many messages it has.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn places(&self, first: i64, count: usize, out: &mut Vec<u32>) {
        let skip = (first - self.first) as usize;
        out.extend(self.places.iter().skip(skip).take(count));
    }

    fn messages(&self, table: Table, name: &str) -> Option<(&Arc<str>, &Messages)> {
        match table {
            Table::Streams => self.streams.get_key_value(name),
            Table::Categories => self.categories.get_key_value(name),
            Table::Correlations => self.correlations.get_key_value(name),
        }
    }

    pub(crate) fn list(&self, table: Table, name: &str) -> Option<List> {
        let (name, messages) = self.messages(table, name)?;
        let (count, first_position) = (messages.entries.len(), messages.first_position);
        Some(List { table, name: name.clone(), count, first_position, at: 0 })
    }

    /// The position of a stream's last message.
    pub(crate) fn version(&self, stream: &str) -> Option<i64> {
        let messages = self.streams.get(stream)?;
        Some(messages.first_position + messages.entries.len() as i64 - 1)
    }

    pub(crate) fn entries(&self, list: &List, skip: usize, count: usize, out: &mut Vec<i64>) {
        let entries =
            self.messages(list.table, &list.name).map_or(&[][..], |(_, messages)| &messages.entries);
        out.extend(entries.iter().skip(skip).take(count).map(|nth| self.first + i64::from(*nth)));
    }

    pub(crate) fn of_id(&self, id: Uuid) -> Option<i64> {
        self.ids.get(&id).map(|nth| self.first + i64::from(*nth))
    }

    pub(crate) fn names(&self, ask: &Names<'_>) -> Vec<Named> {
        let named = |(name, messages): (&Arc<str>, &Messages)| Named {
            name: name.to_string(),
            count: messages.entries.len(),
            first_position: messages.first_position,
        };
        let wanted = |(name, _): &(&Arc<str>, &Messages)| {
            name.starts_with(ask.prefix)
                && ask.after.is_none_or(|after| &***name > after)
                && (ask.takes)(name)
        };
        match ask.table {
            Table::Categories => self.categories.iter().filter(wanted).take(ask.limit).map(named).collect(),
            Table::Correlations => {
                self.correlations.iter().filter(wanted).take(ask.limit).map(named).collect()
            }
            Table::Streams => {
                let mut found: Vec<_> = self.streams.iter().filter(wanted).collect();
                found.sort_unstable_by_key(|(name, _)| *name);
                found.into_iter().take(ask.limit).map(named).collect()
            }
        }
    }

    /// All offsets, by global position.
    pub(crate) fn all_places(&self) -> &[u32] {
        &self.places
    }

    /// All ids, in no order.
    pub(crate) fn all_ids(&self) -> impl Iterator<Item = (Uuid, u32)> {
        self.ids.iter().map(|(id, nth)| (*id, *nth))
    }

    /// All names of a table in the order of their bytes, with their messages.
    pub(crate) fn all_names(&self, table: Table) -> Vec<(&str, &Messages)> {
        let all = |(name, messages)| -> (&str, &Messages) {
            let name: &Arc<str> = name;
            (name, messages)
        };
        match table {
            Table::Streams => {
                let mut found: Vec<_> = self.streams.iter().map(all).collect();
                found.sort_unstable_by_key(|(name, _)| *name);
                found
            }
            Table::Categories => self.categories.iter().map(all).collect(),
            Table::Correlations => self.correlations.iter().map(all).collect(),
        }
    }
}

fn add(table: &mut BTreeMap<Arc<str>, Messages>, name: &str, nth: u32) {
    match table.get_mut(name) {
        Some(messages) => messages.entries.push(nth),
        None => {
            table.insert(name.into(), Messages { first_position: 0, entries: vec![nth] });
        }
    }
}
