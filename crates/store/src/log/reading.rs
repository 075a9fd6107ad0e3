//! Answers questions from the index and the segments.

use super::fetch::io_fault;
use super::index::{List, Names, Part, Table, hash_of_id, hash_of_name};
use super::shared::{Map, Shared};
use crate::message::bounds;
use crate::{CategoryInfo, Direction, Message, Page, Read, Scope, StreamInfo, StreamList, Uuid};
use base::Fault;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

/// Where conditions have to be tried on the messages themselves, so many are looked at at once.
const LOOK_AT: usize = 256;
/// Entries of the longer of two lists that are held at once while they are compared.
const COMPARE_AT: usize = 64 << 10;

/// The messages of one part that a question is about.
struct Hits<'a> {
    part: &'a Part,
    source: Source,
    /// What is left of them: numbers of entries, or distances from the part's first message.
    low: usize,
    high: usize,
}

enum Source {
    /// Each message.
    Each,
    /// Those of a list.
    Of(List),
    /// Those of a list that are in another one, too.
    OfBoth(List, List),
}

impl Hits<'_> {
    /// Takes the next of them, at most `count`, as global positions in the direction asked for. Of those in two
    /// lists it may give none though there are more.
    fn take(&mut self, count: usize, direction: Direction) -> io::Result<Vec<i64>> {
        let count = count.min(self.high - self.low);
        let skip = if direction == Direction::Forward { self.low } else { self.high - count };
        match direction {
            Direction::Forward => self.low += count,
            Direction::Backward => self.high -= count,
        }
        let mut taken = Vec::with_capacity(count);
        match &self.source {
            Source::Each => {
                let first = self.part.first() + skip as i64;
                taken.extend(first..first + count as i64);
            }
            Source::Of(list) => self.part.entries(list, skip, count, &mut taken)?,
            Source::OfBoth(list, other) => {
                self.part.entries(list, skip, count, &mut taken)?;
                retain_common(self.part, &mut taken, other)?;
            }
        }
        if direction == Direction::Backward {
            taken.reverse();
        }
        Ok(taken)
    }

    fn is_empty(&self) -> bool {
        self.low >= self.high
    }
}

/// Leaves those positions, which ascend, that are in a list.
fn retain_common(part: &Part, positions: &mut Vec<i64>, list: &List) -> io::Result<()> {
    let (Some(first), Some(last)) = (positions.first().copied(), positions.last().copied()) else {
        return Ok(());
    };
    let (mut from, to) = (part.entries_before(list, first)?, part.entries_before(list, last + 1)?);
    let (mut common, mut chunk) = (Vec::new(), Vec::new());
    let mut candidates = positions.iter().copied().peekable();
    while from < to {
        chunk.clear();
        part.entries(list, from, COMPARE_AT.min(to - from), &mut chunk)?;
        from += chunk.len();
        for entry in &chunk {
            while candidates.next_if(|position| position < entry).is_some() {}
            common.extend(candidates.next_if_eq(entry));
        }
    }
    *positions = common;
    Ok(())
}

impl Shared {
    /// One page of messages.
    pub(crate) fn read(&self, read: &Read) -> Result<Page, Fault> {
        self.ask(|map| self.read_of(map, read))
    }

    fn read_of(&self, map: &Map, read: &Read) -> Result<Page, Fault> {
        let mut page = Page { next: read.from, ..Page::default() };
        let limit = read.messages_max();
        if limit == 0 {
            return Ok(page);
        }
        let mut bound = self.head().min(read.until.unwrap_or(i64::MAX));
        if let Some(time) = read.as_at {
            bound = bound.min(self.last_at(map, bound, time)?);
        }
        let forward = read.direction == Direction::Forward;
        let filtered = read.kind.is_some() || read.member.is_some() || read.correlation.is_some();
        let of_stream = matches!(read.scope, Scope::Stream(_));
        let mut bytes = 0;
        for part in parts_of(map, read, bound).map_err(io_fault)? {
            let Some(mut hits) = hits(part, read, bound).map_err(io_fault)? else { continue };
            while !hits.is_empty() {
                let wanted = limit - page.messages.len();
                let wanted = if filtered { wanted.max(LOOK_AT) } else { wanted };
                let positions = hits.take(wanted, read.direction).map_err(io_fault)?;
                self.fetch(map, hits.part, &positions, &mut |record| {
                    let at = if of_stream { record.position } else { record.global_position };
                    page.next = if forward { at + 1 } else { at - 1 };
                    if !record.removed && read.takes(record.stream, record.kind) {
                        bytes += record.data.map_or(0, str::len) + record.metadata.map_or(0, str::len);
                        page.messages.push(record.message());
                    }
                    page.more = page.messages.len() >= limit || bytes > bounds::PAGE_BYTES_MAX;
                    if page.more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                if page.more {
                    return Ok(page);
                }
            }
        }
        if !of_stream {
            // What was not for the caller has been looked at, too.
            page.next = if forward { read.from.max(bound + 1) } else { read.from.min(0) };
        }
        Ok(page)
    }

    /// The global position of the last message that was sequenced at a time or before it.
    pub(crate) fn last_at(&self, map: &Map, head: i64, time: i64) -> Result<i64, Fault> {
        // Times never go down.
        let (mut low, mut high) = (0, head);
        while low < high {
            let middle = high - (high - low) / 2;
            let at = self.fetch_one(map, middle, |record| record.time)?;
            if at.is_some_and(|at| at <= time) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// The position of a stream's last message, -1 for none.
    pub(crate) fn version(&self, stream: &str) -> io::Result<i64> {
        for part in self.map().parts_that_may_have(hash_of_name(stream))? {
            if let Some(list) = part.list(Table::Streams, stream)? {
                return Ok(list.first_position + list.count as i64 - 1);
            }
        }
        Ok(-1)
    }

    /// The message of an id.
    pub(crate) fn by_id(&self, id: Uuid) -> Result<Option<Message>, Fault> {
        self.ask(|map| self.by_id_of(map, id))
    }

    fn by_id_of(&self, map: &Map, id: Uuid) -> Result<Option<Message>, Fault> {
        let head = self.head();
        let mut candidates = Vec::new();
        for part in map.parts_that_may_have(hash_of_id(id)).map_err(io_fault)? {
            candidates.clear();
            part.candidates(id, &mut candidates).map_err(io_fault)?;
            for position in candidates.iter().filter(|position| **position <= head) {
                let found = self.fetch_one(map, *position, |record| {
                    (record.id == id && !record.removed).then(|| record.message())
                })?;
                if let Some(message) = found.flatten() {
                    return Ok(Some(message));
                }
            }
        }
        Ok(None)
    }

    /// A global position before which no message has any of these ids, 0 where none is known. Looks where messages
    /// are that can't become more, so that the writer need not.
    pub(crate) fn new_until(&self, ids: impl Iterator<Item = Uuid>) -> i64 {
        let map = self.map();
        let Some(newest) = map.parts.last() else { return 0 };
        let (newest, mut candidates) = (newest.first(), Vec::new());
        for id in ids {
            let looked = map.each_that_may_have(hash_of_id(id), |part| {
                if part.first() < newest { part.candidates(id, &mut candidates) } else { Ok(()) }
            });
            if looked.is_err() || !candidates.is_empty() {
                return 0;
            }
        }
        newest
    }

    /// Whether there is a message of this id.
    pub(crate) fn has_id(&self, id: Uuid) -> Result<bool, Fault> {
        self.ask(|map| self.has_id_of(map, id, 0))
    }

    /// Whether there is a message of this id in these parts, where none before a global position has it. They may be
    /// older ones: where that fails, ask of all.
    pub(crate) fn has_id_of(&self, map: &Map, id: Uuid, new_until: i64) -> Result<bool, Fault> {
        let mut candidates = Vec::new();
        let mut candidates_of = |part: &Part| part.candidates(id, &mut candidates);
        if new_until > 0 {
            let mut left = map.parts.iter().rev().take_while(|part| part.first() >= new_until);
            left.try_for_each(candidates_of)
        } else {
            map.each_that_may_have(hash_of_id(id), &mut candidates_of)
        }
        .map_err(io_fault)?;
        for position in candidates {
            if self.fetch_one(map, position, |record| record.id == id && !record.removed)? == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Streams in the order of their names' bytes.
    pub(crate) fn streams(&self, list: &StreamList) -> io::Result<Vec<StreamInfo>> {
        let mut found = BTreeMap::new();
        let ask = Names {
            table: Table::Streams,
            prefix: list.beginning(),
            after: list.after.as_deref(),
            limit: list.limit,
            takes: &|name| list.takes(name),
        };
        for part in &self.map().parts {
            for named in part.names(&ask)? {
                // Of a stream in several parts the newest comes last.
                found.insert(named.name, named.first_position + named.count as i64 - 1);
            }
            while found.len() > list.limit {
                found.pop_last();
            }
        }
        Ok(found.into_iter().map(|(stream, version)| StreamInfo { stream, version }).collect())
    }

    /// Categories in the order of their names' bytes.
    pub(crate) fn categories(&self, after: Option<&str>, limit: usize) -> io::Result<Vec<CategoryInfo>> {
        let mut found = BTreeMap::new();
        let ask = Names { table: Table::Categories, prefix: "", after, limit, takes: &|_| true };
        for part in &self.map().parts {
            for named in part.names(&ask)? {
                *found.entry(named.name).or_insert(0) += named.count as u64;
            }
            while found.len() > limit {
                found.pop_last();
            }
        }
        Ok(found.into_iter().map(|(category, messages)| CategoryInfo { category, messages }).collect())
    }
}

/// The parts that may have what a question is about, in the direction asked for.
fn parts_of<'a>(map: &'a Map, read: &Read, bound: i64) -> io::Result<Vec<&'a Part>> {
    let of_stream = matches!(read.scope, Scope::Stream(_));
    let all = match &read.scope {
        Scope::Stream(stream) => map.parts_that_may_have(hash_of_name(stream))?,
        Scope::Category(_) | Scope::All => map.parts.iter().rev().collect(),
    };
    let visible = all.into_iter().filter(|part| part.first() <= bound);
    if read.direction == Direction::Backward {
        return Ok(visible.filter(|part| of_stream || part.first() <= read.from).collect());
    }
    let Scope::Stream(stream) = &read.scope else {
        let mut parts: Vec<_> = visible.take_while(|part| part.end() > read.from).collect();
        parts.reverse();
        return Ok(parts);
    };
    let mut parts: Vec<_> = visible.collect();
    if read.from > 0 {
        let oldest = oldest_needed(&parts, stream, read.from)?;
        parts.truncate(oldest.map_or(parts.len(), |nth| nth + 1));
    }
    parts.reverse();
    Ok(parts)
}

/// Which of these parts, the newest first, has the position of a stream that is asked for; `None` where it is behind
/// the beginning. The stream's positions go down from part to part, so that halves are left out at a time: in a
/// long log a look into each part would be most of a read.
fn oldest_needed(parts: &[&Part], stream: &str, from: i64) -> io::Result<Option<usize>> {
    let (mut low, mut high, mut found) = (0, parts.len(), None);
    while low < high {
        let middle = usize::midpoint(low, high);
        // Not every part has messages of it.
        let mut nth = middle;
        let list = loop {
            if nth == high {
                break None;
            }
            match parts[nth].list(Table::Streams, stream)? {
                Some(list) => break Some(list),
                None => nth += 1,
            }
        };
        match list {
            Some(list) if list.first_position > from => low = nth + 1,
            Some(_) => (found, high) = (Some(nth), middle),
            None => high = middle,
        }
    }
    Ok(found)
}

/// What a question is about in one part.
fn hits<'a>(part: &'a Part, read: &Read, bound: i64) -> io::Result<Option<Hits<'a>>> {
    let forward = read.direction == Direction::Forward;
    let Some(source) = source(part, read)? else { return Ok(None) };
    // Of the entries that are visible those on the asked side of `from`.
    let (mut low, mut high) = (0, entries_before(part, &source, bound.saturating_add(1))?);
    let before = |position: i64| match (&read.scope, &source) {
        // The first list is the stream's.
        (Scope::Stream(_), Source::Of(list) | Source::OfBoth(list, _)) => {
            let entries = position.saturating_sub(list.first_position).max(0);
            Ok(usize::try_from(entries).unwrap_or(usize::MAX))
        }
        _ => entries_before(part, &source, position),
    };
    if forward {
        low = before(read.from)?.min(high);
    } else {
        high = before(read.from.saturating_add(1))?.min(high);
    }
    Ok(Some(Hits { part, source, low, high }))
}

/// The messages of a part that a question is about; `None` where there are none.
fn source(part: &Part, read: &Read) -> io::Result<Option<Source>> {
    let correlated = match &read.correlation {
        None => None,
        Some(category) => match part.list(Table::Correlations, category)? {
            None => return Ok(None),
            list => list,
        },
    };
    let scope = match &read.scope {
        Scope::All => return Ok(Some(correlated.map_or(Source::Each, Source::Of))),
        Scope::Stream(stream) => part.list(Table::Streams, stream)?,
        Scope::Category(category) => part.list(Table::Categories, category)?,
    };
    Ok(match (scope, correlated) {
        (None, _) => None,
        (Some(scope), None) => Some(Source::Of(scope)),
        // The shorter one leads, but for streams, whose entries are found by their positions.
        (Some(scope), Some(other))
            if matches!(read.scope, Scope::Category(_)) && other.count < scope.count =>
        {
            Some(Source::OfBoth(other, scope))
        }
        (Some(scope), Some(other)) => Some(Source::OfBoth(scope, other)),
    })
}

/// How many entries of a source are before a global position.
fn entries_before(part: &Part, source: &Source, global_position: i64) -> io::Result<usize> {
    match source {
        Source::Each => Ok((global_position.min(part.end()) - part.first()).max(0) as usize),
        Source::Of(list) | Source::OfBoth(list, _) => part.entries_before(list, global_position),
    }
}
