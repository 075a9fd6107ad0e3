//! The calls between services that the spans of one trace show, each with how long it took: what the store counts as
//! links, for whoever wants more of a few traces than how often.

use super::linker::{LinkSpan, each_link};
use super::{Span, merged};
use std::collections::HashMap;

/// A call from one service to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who called.
    pub caller: String,
    /// Who was called.
    pub callee: String,
    /// Microseconds, as the span that shows it says: the callee's where it reports. Zero if it does not say.
    pub duration_us: u64,
    /// Whether it failed.
    pub is_error: bool,
}

/// The calls of a trace, given its spans as they were reported; the links of `SpanStore::dependencies` are the same.
pub fn calls_of(spans: Vec<Span>) -> Vec<Call> {
    let spans = merged(spans);
    let mut names: Vec<&str> = Vec::new();
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut reduced = Vec::with_capacity(spans.len());
    for span in &spans {
        for name in [&*span.local.service, &*span.remote.service] {
            if !name.is_empty() && !numbers.contains_key(name) {
                names.push(name);
                numbers.insert(name, u32::try_from(names.len()).unwrap_or(u32::MAX));
            }
        }
        reduced.push(LinkSpan::of(span, |name| numbers.get(name).copied().unwrap_or(0)));
    }
    let name = |number: u32| names.get(number as usize - 1).map(|&name| name.to_owned()).unwrap_or_default();
    let mut calls = Vec::new();
    each_link(&reduced, |at, caller, callee, is_error| {
        let duration_us = spans[at].duration_us;
        calls.push(Call { caller: name(caller), callee: name(callee), duration_us, is_error });
    });
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::{Endpoint, Kind};

    #[test]
    fn a_call_takes_as_long_as_its_server_says_or_else_its_client() {
        let of = |service: &str| Endpoint { service: service.into(), ..Endpoint::default() };
        let span = |id, parent, kind, local, remote, duration_us| Span {
            trace: crate::spans::TraceKey { high: 0, low: 1 },
            id,
            parent,
            kind: Some(kind),
            duration_us,
            local: of(local),
            remote: of(remote),
            ..Span::default()
        };
        let spans = vec![
            span(1, 0, Kind::Server, "web", "", 100),
            span(2, 1, Kind::Client, "web", "cart", 50),
            Span { shared: true, ..span(2, 1, Kind::Server, "cart", "", 40) },
            Span {
                tags: vec![("error".into(), String::new())],
                ..span(3, 2, Kind::Client, "cart", "mysql", 7)
            },
        ];
        let called: Vec<_> = calls_of(spans)
            .into_iter()
            .map(|call| format!("{} {} {} {}", call.caller, call.callee, call.duration_us, call.is_error))
            .collect();
        assert_eq!(called, ["web cart 40 false", "cart mysql 7 true"]);
    }
}
