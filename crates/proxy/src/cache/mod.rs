//! What the filter `cache` keeps: answers by key and by what they vary with, in bounded memory that all cores
//! share, and who is fetching which of them. What may be kept and how long is decided in `rules::freshness`.

mod entry;
mod flow;
mod store;

pub(crate) use entry::{Entry, Served, directives, facts, mark, varies};
pub(crate) use flow::{Recorded, record};
pub(crate) use store::{Done, Found, Key, Lead, Role, Store};

/// What a filter `cache` has to do when the answer comes.
pub(crate) struct Visit {
    /// Which filter: a route may have several.
    pub(crate) owner: usize,
    pub(crate) key: Key,
    pub(crate) part: Part,
}

pub(crate) enum Part {
    /// To keep the answer, and tell those who wait for it.
    Fetches(Box<Lead>),
    /// To forget what is kept, since the request changes it.
    Invalidates,
    /// To compare what is kept with the answer to HEAD.
    Checks,
    /// Nothing.
    Passes,
}
