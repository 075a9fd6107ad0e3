//! Which traces of a store are looked at: the latest, and some more of each service, so that a busy one does not hide the
//! others. The answer says how many.

use super::{Facts, Observed, Report, examine};
use crate::spans::{Query, SpanStore, TraceKey};
use base::{Fault, Kind};
use std::collections::HashSet;
use std::time::Duration;

/// Traces that are looked at, whosoever they are.
pub const LATEST_MAX: usize = 2_000;
/// Traces of each service that are looked at besides.
pub const OF_A_SERVICE_MAX: usize = 50;
/// Services of which more are looked at.
pub const SERVICES_MAX: usize = 100;

/// Looks at traces of a store that began within this time before now.
pub async fn look(store: &SpanStore, facts: Facts, lookback: Duration) -> Result<Report, Fault> {
    let end_ms = store.clock().unix().micros() / 1_000;
    let lookback_ms = u64::try_from(lookback.as_millis()).unwrap_or(u64::MAX).max(1);
    let query = |service: &str, limit| {
        let service = service.to_owned();
        Query { service, end_ms: end_ms.max(1), lookback_ms, limit, ..Query::default() }
    };
    let mut observed = Observed::new(facts);
    // All links that are kept, whenever they came.
    for link in store.dependencies(0, end_ms).await? {
        observed.put_link(&link.parent, &link.child);
    }
    let mut looking = Looking { observed, known: HashSet::new() };
    looking = looking.at(store, query("", LATEST_MAX)).await?;
    for service in store.services().await?.iter().take(SERVICES_MAX) {
        looking = looking.at(store, query(service, OF_A_SERVICE_MAX)).await?;
    }
    Ok(examine(&looking.observed))
}

struct Looking {
    observed: Observed,
    /// The traces that were looked at.
    known: HashSet<TraceKey>,
}

impl Looking {
    /// Looks at the traces that a question finds.
    async fn at(mut self, store: &SpanStore, query: Query) -> Result<Self, Fault> {
        let traces = store.search(query).await?;
        // So many spans keep a thread busy that others wait for.
        let looked = tokio::task::spawn_blocking(move || {
            for trace in traces {
                if trace.first().is_some_and(|span| self.known.insert(span.trace)) {
                    self.observed.put_trace(trace);
                }
            }
            self
        });
        looked.await.map_err(|error| Fault::new(Kind::Bug, "looking at traces failed").because(error))
    }
}
