//! Who starts before whom and who stops after whom, decided from names alone. Pure; `engine` acts on it.

use std::collections::BTreeMap;

/// One service and the names it leans on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    pub(crate) name: String,
    /// It does not start before these.
    pub(crate) depends_on: Vec<String>,
    /// It may call these: no reason to wait at the start, but one to keep them until it has stopped.
    pub(crate) calls: Vec<String>,
}

/// The services in the order in which they start; stopping goes the other way round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    names: Vec<String>,
    /// For each service, those placed after it that lean on it.
    leaning: BTreeMap<String, Vec<String>>,
}

impl Order {
    /// Places every service after those it depends on and, where that is possible, after those it calls;
    /// the order of the manifest decides the rest. A circle is cut at its first service of the manifest.
    pub(crate) fn of(links: &[Links]) -> Self {
        let known = |name: &String| links.iter().any(|link| link.name == *name);
        let mut names: Vec<String> = Vec::with_capacity(links.len());
        let mut left: Vec<&Links> = links.iter().collect();
        while !left.is_empty() {
            let placed = |name: &String| names.contains(name) || !known(name);
            let next = left
                .iter()
                .position(|link| link.depends_on.iter().chain(&link.calls).all(placed))
                .or_else(|| left.iter().position(|link| link.depends_on.iter().all(placed)))
                .unwrap_or(0);
            names.push(left.remove(next).name.clone());
        }
        let mut leaning: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for link in links {
            let place = names.iter().position(|name| *name == link.name);
            for on in link.depends_on.iter().chain(&link.calls) {
                let earlier = names.iter().position(|name| name == on);
                if earlier.is_some() && earlier < place {
                    leaning.entry(on.clone()).or_default().push(link.name.clone());
                }
            }
        }
        Self { names, leaning }
    }

    /// Every service, first to start first.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether `name` may be stopped now: nobody who leans on it is about to stop but still there.
    pub(crate) fn may_stop(&self, name: &str, still_stopping: impl Fn(&str) -> bool) -> bool {
        self.leaning.get(name).is_none_or(|leaning| !leaning.iter().any(|other| still_stopping(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    /// Reads `name: dependency dependency > called called` lines; prints the start order, then the waves in
    /// which everything stops when all of it shall.
    #[expect(clippy::needless_pass_by_value, reason = "a call reads as a sentence")]
    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let links: Vec<Links> = text.lines().map(|line| read(line.trim())).collect();
        let order = Order::of(&links);
        let mut told = format!("start {}\n", order.names().join(" "));
        let mut there: Vec<String> = order.names().to_vec();
        while !there.is_empty() {
            let wave: Vec<String> = there
                .iter()
                .filter(|name| order.may_stop(name, |other| there.iter().any(|name| name == other)))
                .cloned()
                .collect();
            assert!(!wave.is_empty(), "stopping never gets stuck");
            let _ = writeln!(told, "stop {}", wave.join(" "));
            there.retain(|name| !wave.contains(name));
        }
        expected.assert_eq(&told);
    }

    fn read(line: &str) -> Links {
        let (name, rest) = line.split_once(':').expect("a name and a colon");
        let (depends_on, calls) = rest.split_once('>').unwrap_or((rest, ""));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Links { name: name.to_owned(), depends_on: words(depends_on), calls: words(calls) }
    }

    #[test]
    fn dependencies_start_first_and_stop_last() {
        check(
            "web: cart catalog
             cart: db
             catalog: db
             db:",
            expect![[r"
                start db cart catalog web
                stop web
                stop cart catalog
                stop db
            "]],
        );
    }

    #[test]
    fn those_called_outlive_their_callers() {
        check(
            "web: > cart
             cart:
             mail:",
            expect![[r"
                start cart web mail
                stop web mail
                stop cart
            "]],
        );
    }

    #[test]
    fn a_dependency_counts_more_than_a_call() {
        check(
            "cart: > web
             web: cart",
            expect![[r"
                start cart web
                stop web
                stop cart
            "]],
        );
    }

    #[test]
    fn circles_and_strangers_do_not_stop_the_show() {
        check(
            "a: c
             b: a elsewhere
             c: b
             d: d",
            expect![[r"
                start a b c d
                stop c d
                stop b
                stop a
            "]],
        );
    }
}
