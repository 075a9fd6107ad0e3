//! The line between what a store of spans does and where it keeps them: a function for each question, a boxed future
//! for each answer. How spans come in is in `intake`, and the same for all.

use super::names::List;
use crate::spans::{Link, Query, Span, TraceKey};
use base::Fault;
use std::collections::BTreeSet;
use std::pin::Pin;

/// What an engine will answer.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Finds spans where they are kept.
pub(crate) trait Engine: Send + Sync + 'static {
    /// The traces that are looked for, the latest first; their spans as they were reported.
    fn search(&self, query: Query) -> Answer<'_, Vec<Vec<Span>>>;

    /// The spans of each of these traces that is there.
    fn traces(&self, wanted: Vec<TraceKey>) -> Answer<'_, Vec<Vec<Span>>>;

    /// The names of a list under a name.
    fn names(&self, list: List, under: String) -> Answer<'_, BTreeSet<String>>;

    /// Which services call which, in the traces that began from one minute since 1970 to another, both included.
    fn dependencies(&self, minutes: (u64, u64)) -> Answer<'_, Vec<Link>>;
}
