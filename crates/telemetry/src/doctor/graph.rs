//! Questions about which services depend on which: who waits in a circle, and who reaches whom. The graphs have at most
//! some thousand edges.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Services by who calls whom.
#[derive(Debug, Default)]
pub(super) struct Graph<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> FromIterator<(&'a str, &'a str)> for Graph<'a> {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(edges: T) -> Self {
        let mut graph = Self::default();
        for (caller, callee) in edges {
            graph.0.entry(caller).or_default().insert(callee);
        }
        graph
    }
}

impl<'a> Graph<'a> {
    /// Those who call somebody.
    pub(super) fn callers(&self) -> impl Iterator<Item = &'a str> {
        self.0.keys().copied()
    }

    /// All that a service calls, and what those call, and so on: each with the one that comes before it on a shortest way.
    fn reached_from(&self, from: &'a str) -> BTreeMap<&'a str, &'a str> {
        let mut before = BTreeMap::new();
        let mut next = VecDeque::from([from]);
        while let Some(caller) = next.pop_front() {
            for callee in self.0.get(caller).into_iter().flatten() {
                if !before.contains_key(callee) {
                    before.insert(*callee, caller);
                    next.push_back(callee);
                }
            }
        }
        before
    }

    /// Who depends on a service, directly or by others.
    pub(super) fn dependents(&self, of: &str) -> BTreeSet<&'a str> {
        let mut callers: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
        for (caller, callees) in &self.0 {
            for callee in callees {
                callers.entry(callee).or_default().push(caller);
            }
        }
        let mut found = BTreeSet::new();
        let mut next = vec![of];
        while let Some(callee) = next.pop() {
            for caller in callers.get(callee).into_iter().flatten() {
                if found.insert(*caller) {
                    next.push(caller);
                }
            }
        }
        found.remove(of);
        found
    }

    /// A shortest circle for each group of services that all wait for each other. A circle begins with the first of its
    /// services by name.
    pub(super) fn circles(&self) -> Vec<Vec<&'a str>> {
        let mut circles = Vec::new();
        let mut told = BTreeSet::new();
        for service in self.callers() {
            if told.contains(service) {
                continue;
            }
            let below = self.reached_from(service);
            if !below.contains_key(service) {
                continue;
            }
            let above = self.dependents(service);
            told.extend(below.keys().filter(|one| above.contains(*one)));
            told.insert(service);
            let mut circle = vec![service];
            let mut at = below[service];
            while at != service {
                circle.push(at);
                at = below[at];
            }
            circle[1..].reverse();
            circles.push(circle);
        }
        circles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph<'a>(edges: &[&'a str]) -> Graph<'a> {
        edges.iter().map(|edge| edge.split_once('>').expect("caller>callee")).collect()
    }

    #[test]
    fn each_group_that_waits_for_itself_is_one_shortest_circle() {
        let circles = |edges: &[&str]| {
            graph(edges).circles().iter().map(|circle| circle.join(" ")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(circles(&["a>b", "b>c", "a>c"]), "");
        assert_eq!(circles(&["a>b", "b>a"]), "a b");
        assert_eq!(circles(&["a>b", "b>c", "c>d", "d>a", "c>a", "x>a"]), "a b c");
        assert_eq!(circles(&["c>d", "d>c", "a>b", "b>a", "b>c"]), "a b, c d");
    }

    #[test]
    fn dependents_are_found_by_others_too() {
        let graph = graph(&["a>b", "b>c", "d>c", "c>e", "c>b"]);
        assert_eq!(graph.dependents("c").into_iter().collect::<String>(), "abd");
        assert_eq!(graph.dependents("a").len(), 0);
    }
}
