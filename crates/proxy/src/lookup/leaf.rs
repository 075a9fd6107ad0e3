//! The routes of one place, in the order in which they are tried. Where they are many, an index by host and
//! method picks the few that can match; the order stays the same.

use super::Tally;
use super::keys::{Keys, NONE, to_u32};
use super::rule::Rule;
use crate::predicates::{HostName, HostNames, Port, split_port};
use crate::question::Question;
use http::Method;
use std::collections::HashMap;
use std::ops::Range;

/// So many routes of one place are tried one by one: an index would cost more than it saves.
const UNINDEXED_MAX: usize = 8;
/// The methods of which the index knows.
const METHODS: usize = 10;

/// The routes of all places.
#[derive(Default)]
pub(super) struct Leaves {
    all: Vec<Leaf>,
    /// Of all leaves, each in the order of its list.
    candidates: Vec<Candidate>,
    buckets: Vec<Bucket>,
    /// From a leaf and a host to a bucket.
    hosts: Keys,
}

struct Leaf {
    /// The best, here once more: most places have one route only.
    best: Candidate,
    /// All routes of the place, best first.
    all: Range<u32>,
    /// The bucket of those that do not list hosts; [`NONE`]: no index, try all.
    hostless: u32,
}

/// Routes of a leaf of one host, or of none, best first.
struct Bucket {
    /// Those that name no method.
    any: Range<u32>,
    /// Those that do, once for each; `None` where `any` holds all.
    by_method: Option<Box<[Range<u32>; METHODS]>>,
}

/// A route in a list.
#[derive(Clone, Copy)]
struct Candidate {
    rule: u32,
    /// Its place in the order of its leaf.
    rank: u32,
    /// What is left to check of the host, if the list is the one of the request's host.
    host: HostLeft,
    /// Nothing else is left to check.
    bare: bool,
}

const NOBODY: Candidate = Candidate { rule: NONE, rank: 0, host: HostLeft::All, bare: false };

#[derive(Clone, Copy, PartialEq)]
enum HostLeft {
    /// All of it.
    All,
    /// Only whether there is a port, and may be.
    Port(Port),
}

impl Leaves {
    /// The leaves of these lists of rules; each list is in source order.
    pub(super) fn build<'a>(lists: &[Vec<u32>], rule: impl Fn(u32) -> &'a Rule) -> Self {
        let mut leaves = Self::default();
        for list in lists {
            let mut ranked = list.clone();
            // Stable: routes of one weight stay in source order.
            ranked.sort_by_key(|at| std::cmp::Reverse(rule(*at).weight));
            leaves.add(&ranked, &rule);
        }
        leaves
    }

    fn add<'a>(&mut self, ranked: &[u32], rule: &impl Fn(u32) -> &'a Rule) {
        let candidates = ranked.iter().enumerate().map(|(rank, at)| Candidate {
            rule: *at,
            rank: to_u32(rank),
            host: HostLeft::All,
            bare: rule(*at).clauses.is_empty(),
        });
        let candidates: Vec<Candidate> = candidates.collect();
        let leaf = to_u32(self.all.len());
        let all = self.push(candidates.iter().copied());
        let best = candidates.first().copied().unwrap_or(NOBODY);
        self.all.push(Leaf { best, all, hostless: NONE });
        if candidates.len() <= UNINDEXED_MAX {
            return;
        }
        let mut hostless = Vec::new();
        // In order of first sight, so that a table is laid out the same way each time.
        let mut by_host: HashMap<&str, usize> = HashMap::new();
        let mut listed: Vec<(&str, Vec<Candidate>)> = Vec::new();
        for candidate in candidates {
            let rule = rule(candidate.rule);
            let Some(names) = rule.clauses.first().and_then(|clause| clause.check.hosts()) else {
                hostless.push(candidate);
                continue;
            };
            for name in names {
                let key = split_port(&name.text).0;
                let at = *by_host.entry(key).or_insert_with(|| {
                    listed.push((key, Vec::new()));
                    listed.len() - 1
                });
                let list = &mut listed[at].1;
                if list.last().is_none_or(|last| last.rank != candidate.rank) {
                    let host = left_of(name, names);
                    let bare = host != HostLeft::All && rule.clauses.len() == 1;
                    list.push(Candidate { host, bare, ..candidate });
                }
            }
        }
        self.all[leaf as usize].hostless = self.bucket(&hostless, rule);
        for (host, list) in listed {
            let bucket = self.bucket(&list, rule);
            self.hosts.insert(leaf, host, bucket);
        }
    }

    fn bucket<'a>(&mut self, list: &[Candidate], rule: &impl Fn(u32) -> &'a Rule) -> u32 {
        let methods = |candidate: &Candidate| {
            rule(candidate.rule).clauses.iter().find_map(|clause| clause.check.methods())
        };
        let split = list.len() > UNINDEXED_MAX;
        let named = |candidate: &Candidate| split && methods(candidate).is_some();
        let any = self.push(list.iter().copied().filter(|candidate| !named(candidate)));
        let by_method = list.iter().any(named).then(|| {
            Box::new(std::array::from_fn(|slot| {
                let here = |candidate: &Candidate| {
                    methods(candidate).is_some_and(|methods| methods.iter().any(|m| method_slot(m) == slot))
                };
                self.push(list.iter().copied().filter(here))
            }))
        });
        self.buckets.push(Bucket { any, by_method });
        to_u32(self.buckets.len() - 1)
    }

    fn push(&mut self, list: impl Iterator<Item = Candidate>) -> Range<u32> {
        let start = to_u32(self.candidates.len());
        self.candidates.extend(list);
        start..to_u32(self.candidates.len())
    }

    fn list(&self, range: &Range<u32>) -> &[Candidate] {
        &self.candidates[range.start as usize..range.end as usize]
    }

    /// The rules of a leaf, best first.
    pub(super) fn ranked(&self, leaf: u32) -> impl Iterator<Item = u32> {
        self.list(&self.all[leaf as usize].all).iter().map(|candidate| candidate.rule)
    }

    /// The best rule of a leaf that matches.
    pub(super) fn first<'a, T: Tally>(
        &self,
        leaf: u32,
        question: &Question<'_>,
        rule: impl Fn(u32) -> &'a Rule,
        tally: &mut T,
    ) -> Option<u32> {
        let at = &self.all[leaf as usize];
        if at.hostless == NONE {
            let mut accepts = |candidate: &&Candidate| {
                tally.rule();
                candidate.bare || holds(&rule(candidate.rule).clauses, question)
            };
            let best = Some(&at.best).filter(|best| best.rule != NONE).filter(&mut accepts);
            let behind = at.all.start.saturating_add(1).min(at.all.end)..at.all.end;
            return best.or_else(|| self.list(&behind).iter().find(accepts)).map(|candidate| candidate.rule);
        }
        let (host, has_port) = split_port(question.host);
        let accepts = |candidate: &Candidate, tally: &mut T| {
            tally.rule();
            match candidate.host {
                HostLeft::All => candidate.bare || holds(&rule(candidate.rule).clauses, question),
                HostLeft::Port(port) => {
                    (port == Port::Optional || (port == Port::Required) == has_port)
                        && (candidate.bare || holds(&rule(candidate.rule).clauses[1..], question))
                }
            }
        };
        let slot = method_slot(question.method);
        let of_host = self.hosts.get(leaf, host);
        let of_host = if of_host == NONE { [&[][..]; 2] } else { self.lists(of_host, slot) };
        let hostless = self.lists(at.hostless, slot);
        let mut lists = [of_host[0], of_host[1], hostless[0], hostless[1]];
        // Four lists in order become one: always the best head is next.
        loop {
            let best = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0].rank)?;
            let candidate = best[0];
            if accepts(&candidate, tally) {
                return Some(candidate.rule);
            }
            *best = &best[1..];
        }
    }

    fn lists(&self, bucket: u32, slot: usize) -> [&[Candidate]; 2] {
        let bucket = &self.buckets[bucket as usize];
        let named = bucket.by_method.as_ref().map_or(&[][..], |by_method| self.list(&by_method[slot]));
        [self.list(&bucket.any), named]
    }
}

fn holds(clauses: &[super::rule::Clause], question: &Question<'_>) -> bool {
    clauses.iter().all(|clause| clause.check.matches(question))
}

/// What the bucket of a name's host leaves to check. A list that has the host twice, or with a port, is
/// checked whole.
fn left_of(name: &HostName, names: &HostNames) -> HostLeft {
    let key = split_port(&name.text).0;
    let alone = names.iter().filter(|other| split_port(&other.text).0 == key).count() == 1;
    if alone && key == &*name.text { HostLeft::Port(name.port) } else { HostLeft::All }
}

/// Where the index lists routes of a method. All methods that HTTP does not define share a place; letter
/// case is ignored because `Methods` ignores it.
fn method_slot(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::CONNECT => 6,
        Method::OPTIONS => 7,
        Method::TRACE => 8,
        _ => {
            let upper = Method::from_bytes(method.as_str().to_ascii_uppercase().as_bytes());
            upper.ok().filter(|upper| upper != method).map_or(9, |upper| method_slot(&upper))
        }
    }
}
