//! Where messages are found. The log is cut into parts by global position: the newest is a [`Tail`] in memory,
//! each older one a [`Run`] in a file. Both answer the same few questions.

use super::run::Run;
use super::tail::Tail;
use crate::Uuid;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use xxhash_rust::xxh64::xxh64;

/// The tables of an index: names to the messages that belong to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// By the name of the stream.
    Streams,
    /// By the category of the stream.
    Categories,
    /// By the category of `metadata.correlationStreamName`.
    Correlations,
}

/// All tables, in the order of a file.
pub(crate) const TABLES: [Table; 3] = [Table::Streams, Table::Categories, Table::Correlations];

/// Set in the place of a message that was removed. Places themselves are multiples of eight.
pub(crate) const REMOVED: u32 = 1;

/// The messages of one name in one part: what is needed to look at its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) table: Table,
    pub(crate) name: Arc<str>,
    /// How many messages.
    pub(crate) count: usize,
    /// The position of the first, where it is a stream's. The others follow without gap.
    pub(crate) first_position: i64,
    /// Where its entries are, in a run.
    pub(crate) at: u64,
}

/// A name with its list, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) count: usize,
    pub(crate) first_position: i64,
}

/// A range of global positions with its index.
#[derive(Clone)]
pub(crate) enum Part {
    /// In memory, from this global position on; the last one grows.
    Tail(i64, Arc<RwLock<Tail>>),
    /// In a file.
    Run(Arc<Run>),
}

impl Part {
    fn tail(tail: &RwLock<Tail>) -> RwLockReadGuard<'_, Tail> {
        tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first global position.
    pub(crate) fn first(&self) -> i64 {
        match self {
            Self::Tail(first, _) => *first,
            Self::Run(run) => run.first(),
        }
    }

    /// The global position behind the last one.
    pub(crate) fn end(&self) -> i64 {
        match self {
            Self::Tail(_, tail) => Self::tail(tail).end(),
            Self::Run(run) => run.end(),
        }
    }

    /// The offsets in their segments of the messages in a range that lies in this part.
    pub(crate) fn places(&self, first: i64, count: usize, out: &mut Vec<u32>) -> io::Result<()> {
        match self {
            Self::Tail(_, tail) => {
                Self::tail(tail).places(first, count, out);
                Ok(())
            }
            Self::Run(run) => run.places(first, count, out),
        }
    }

    /// The messages of a name.
    pub(crate) fn list(&self, table: Table, name: &str) -> io::Result<Option<List>> {
        match self {
            Self::Tail(_, tail) => Ok(Self::tail(tail).list(table, name)),
            Self::Run(run) => run.list(table, name),
        }
    }

    /// Global positions of a list, ascending: `count` of them from the one numbered `skip`. Fewer at its end.
    pub(crate) fn entries(
        &self,
        list: &List,
        skip: usize,
        count: usize,
        out: &mut Vec<i64>,
    ) -> io::Result<()> {
        match self {
            Self::Tail(_, tail) => {
                Self::tail(tail).entries(list, skip, count, out);
                Ok(())
            }
            Self::Run(run) => run.entries(list, skip, count, out),
        }
    }

    /// How many global positions of a list are less than this one.
    pub(crate) fn entries_before(&self, list: &List, global_position: i64) -> io::Result<usize> {
        if global_position <= self.first() {
            return Ok(0);
        }
        if global_position >= self.end() {
            return Ok(list.count);
        }
        let (mut low, mut high) = (0, list.count);
        let mut entry = Vec::with_capacity(1);
        while low < high {
            let middle = usize::midpoint(low, high);
            entry.clear();
            self.entries(list, middle, 1, &mut entry)?;
            if entry.first().is_some_and(|entry| *entry < global_position) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Global positions of messages that may have this id.
    pub(crate) fn candidates(&self, id: Uuid, out: &mut Vec<i64>) -> io::Result<()> {
        match self {
            Self::Tail(_, tail) => {
                out.extend(Self::tail(tail).of_id(id));
                Ok(())
            }
            Self::Run(run) => run.candidates(id, out),
        }
    }

    /// The first names of a table that begin with `prefix`, come behind `after` and are taken; in the order
    /// of their bytes, at most `limit`.
    pub(crate) fn names(&self, ask: &Names<'_>) -> io::Result<Vec<Named>> {
        match self {
            Self::Tail(_, tail) => Ok(Self::tail(tail).names(ask)),
            Self::Run(run) => run.names(ask),
        }
    }
}

/// A question for names.
pub(crate) struct Names<'a> {
    pub(crate) table: Table,
    pub(crate) prefix: &'a str,
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: usize,
    pub(crate) takes: &'a dyn Fn(&str) -> bool,
}

/// What ids and the names of streams are found by in a run.
pub(crate) fn hash_of_id(id: Uuid) -> u64 {
    xxh64(id.as_bytes(), 1)
}

/// What names are found by in a run.
pub(crate) fn hash_of_name(name: &str) -> u64 {
    xxh64(name.as_bytes(), 2)
}
