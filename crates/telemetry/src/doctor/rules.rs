//! The rules, by what they look at. Each gives all of its cases, those that matter most first; how many are told is
//! decided by who asks.

pub(super) mod availability;
pub(super) mod calls;
pub(super) mod chains;
pub(super) mod cycles;
pub(super) mod policies;
pub(super) mod retries;

use super::Case;
use super::observed::Seen;
use crate::spans::TraceKey;

/// Names in a sentence: `a`, `b` and `c`; of many the first and how many more there are.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        names if names.len() > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
        }
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Services in the order of their calls.
fn arrows<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" -> ")
}

/// What was called, for a sentence.
fn called(name: &str) -> String {
    if name.is_empty() { "a call without a name".to_owned() } else { format!("`{name}`") }
}

/// The cases that weigh most first.
fn sorted<W: Ord>(mut cases: Vec<(W, Case)>) -> Vec<Case> {
    cases.sort_by(|(one, _), (other, _)| other.cmp(one));
    cases.into_iter().map(|(_, case)| case).collect()
}

/// One trace or several.
fn traces(count: u64) -> String {
    if count == 1 { "1 trace".to_owned() } else { format!("{count} traces") }
}

/// The traces that show several things, a few of each.
fn evidence<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Vec<TraceKey> {
    let mut all: Vec<TraceKey> = Vec::new();
    for trace in seen.into_iter().flat_map(|seen| &seen.evidence) {
        if !all.contains(trace) && all.len() < super::EVIDENCE_MAX {
            all.push(*trace);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_make_a_sentence() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(listed(names[..1].iter().copied()), "`a`");
        assert_eq!(listed(names[..3].iter().copied()), "`a`, `b` and `c`");
        assert_eq!(listed(names), "`a`, `b`, `c`, `d`, `e` and 2 more");
        assert_eq!(arrows(["a", "b"]), "`a` -> `b`");
    }
}
