//! The spans of a trace as the tree that they are, and where clocks of services differ. Nothing is hidden: spans whose
//! parent nobody reported stand beside the root and say so.

use super::merge::{ALIKE_MAX, Piece, merged};
use super::{Endpoint, Kind, Span};

/// Microseconds by which a span may begin before its caller's, where nobody says on which machines they ran.
const SURELY_SKEWED_US: i64 = 1_000;

/// A trace: each of its spans once, parents before their children, siblings as they began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// In the order in which they are shown.
    pub nodes: Vec<Node>,
}

/// A span and its place in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The span, all reports of it put together.
    pub span: Span,
    /// The place of the node that it belongs to; none at the margin.
    pub parent: Option<usize>,
    /// How many nodes it stands below.
    pub depth: usize,
    /// Whether it names a parent that nobody reported.
    pub is_orphan: bool,
    /// Microseconds by which the clock that it was reported with is ahead of the root's, as far as can be told.
    pub skew_us: i64,
}

impl Node {
    /// When it began by the root's clock, in microseconds since 1970; zero if nobody says.
    pub fn began_us(&self) -> u64 {
        match self.span.timestamp_us {
            0 => 0,
            time => time.saturating_add_signed(self.skew_us.saturating_neg()).max(1),
        }
    }

    /// When it ended by the root's clock.
    pub fn ended_us(&self) -> u64 {
        self.began_us().saturating_add(self.span.duration_us)
    }
}

impl Tree {
    /// The tree of all that was reported of a trace.
    pub fn of(spans: Vec<Span>) -> Self {
        let spans = merged(spans);
        let parents: Vec<Option<usize>> = parents(&spans)
            .into_iter()
            .enumerate()
            .map(|(at, parent)| parent.filter(|parent| is_told(&spans[at], &spans[*parent])))
            .collect();
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
        let mut at_margin = Vec::new();
        for (at, parent) in parents.iter().enumerate() {
            match parent {
                Some(parent) => children[*parent].push(at),
                None => at_margin.push(at),
            }
        }
        let mut tree = Self { nodes: Vec::with_capacity(spans.len()) };
        let mut spans: Vec<Option<Span>> = spans.into_iter().map(Some).collect();
        // What has no time comes last.
        let begin = |spans: &[Option<Span>], at: usize| {
            spans[at].as_ref().map_or((0, 0), |span| (span.timestamp_us.wrapping_sub(1), span.id))
        };
        at_margin.sort_by_key(|at| begin(&spans, *at));
        // Parents that go round have no beginning: one of them is shown at the margin.
        let all = 0..spans.len();
        for top in at_margin.into_iter().chain(all) {
            let mut open = vec![(top, None)];
            while let Some((at, parent)) = open.pop() {
                let Some(span) = spans[at].take() else { continue };
                let node = tree.node(span, parent);
                let place = tree.nodes.len();
                tree.nodes.push(node);
                let below = &mut children[at];
                below.sort_by_key(|at| std::cmp::Reverse(begin(&spans, *at)));
                open.extend(below.iter().map(|at| (*at, Some(place))));
            }
        }
        tree
    }

    fn node(&self, span: Span, parent: Option<usize>) -> Node {
        let above = parent.map(|parent| &self.nodes[parent]);
        Node {
            depth: above.map_or(0, |above| above.depth + 1),
            is_orphan: parent.is_none() && span.parent != 0,
            skew_us: above.map_or(0, |above| skew_us(above, &span)),
            parent,
            span,
        }
    }

    /// When the trace began, in microseconds since 1970; zero if no span says.
    pub fn began_us(&self) -> u64 {
        self.nodes.iter().map(Node::began_us).filter(|time| *time != 0).min().unwrap_or(0)
    }

    /// Microseconds from the begin of the trace to its last end.
    pub fn duration_us(&self) -> u64 {
        self.nodes.iter().map(Node::ended_us).max().unwrap_or(0).saturating_sub(self.began_us())
    }

    /// The first span: one that has no parent, if there is one.
    pub fn root(&self) -> Option<&Node> {
        let first = |node: &&Node| node.parent.is_none() && !node.is_orphan;
        self.nodes.iter().find(first).or_else(|| self.nodes.first())
    }
}

/// Whether a span says itself that it belongs to the other one.
fn is_told(span: &Span, parent: &Span) -> bool {
    span.parent == parent.id || (span.shared && span.id == parent.id)
}

/// How far the clock of a span is ahead, given the node that it belongs to. Only the two sides of a call on two machines
/// have two clocks: the server's span lies in that of its client, in its middle if nobody knows better.
fn skew_us(parent: &Node, span: &Span) -> i64 {
    let sides = (parent.span.kind, span.kind);
    if sides != (Some(Kind::Client), Some(Kind::Server)) || span.timestamp_us == 0 || parent.began_us() == 0 {
        return parent.skew_us;
    }
    let signed = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let began = signed(parent.began_us());
    let start = signed(span.timestamp_us);
    match is_elsewhere(&parent.span.local, &span.local) {
        Some(true) => {}
        None if start < began - SURELY_SKEWED_US => {}
        _ => return parent.skew_us,
    }
    let (longest, duration) = (signed(parent.span.duration_us), signed(span.duration_us));
    let spare = longest - duration;
    let is_within = start >= began && start.saturating_add(duration) <= began.saturating_add(longest);
    if is_within || (spare < 0 && start >= began) {
        // One that lasts longer than its client waited is no matter of clocks.
        return 0;
    }
    start - (began + spare.max(0) / 2)
}

/// Whether two sides were on different machines, if they say.
fn is_elsewhere(one: &Endpoint, other: &Endpoint) -> Option<bool> {
    if one.ipv4.is_some() && other.ipv4.is_some() {
        return Some(one.ipv4 != other.ipv4);
    }
    (one.ipv6.is_some() && other.ipv6.is_some()).then(|| one.ipv6 != other.ipv6)
}

/// Which span each belongs to, of merged spans. A trace has one root: those whose parent was never reported belong to it
/// as well.
pub(super) fn parents<P: Piece>(spans: &[P]) -> Vec<Option<usize>> {
    let marks: Vec<_> = spans.iter().map(P::mark).collect();
    let root = marks.iter().position(|mark| mark.parent == 0 && !mark.shared);
    // Spans lie by id: those of one id are neighbours.
    let of_id = |id: u64| {
        let start = marks.partition_point(|mark| mark.id < id);
        let length = marks[start..].iter().take(ALIKE_MAX).take_while(|mark| mark.id == id).count();
        start..start + length
    };
    let parent = |at: usize| {
        let mark = marks[at];
        let other = |found: &usize| *found != at;
        if mark.shared
            && let Some(client) = of_id(mark.id).find(|found| !marks[*found].shared)
        {
            return Some(client);
        }
        let above = if mark.parent == 0 { 0..0 } else { of_id(mark.parent) };
        // Of a shared parent, the side of the same service is meant.
        let is_ours = |found: &usize| marks[*found].shared && spans[*found].is_of_same_service(&spans[at]);
        let found = above.clone().filter(other).find(is_ours);
        found.or_else(|| above.clone().find(other)).or(root.filter(other))
    };
    (0..spans.len()).map(parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::TraceKey;
    use std::fmt::Write as _;

    fn span(id: u64, parent: u64, kind: Option<Kind>, service: &str, at: (u64, u64)) -> Span {
        Span {
            trace: TraceKey { high: 0, low: 1 },
            id,
            parent,
            kind,
            timestamp_us: at.0,
            duration_us: at.1,
            local: Endpoint { service: service.into(), ..Endpoint::default() },
            ..Span::default()
        }
    }

    fn at(mut span: Span, address: [u8; 4]) -> Span {
        span.local.ipv4 = Some(address.into());
        span
    }

    fn shown(spans: Vec<Span>) -> String {
        let tree = Tree::of(spans);
        let mut text = String::new();
        for node in &tree.nodes {
            let orphan = if node.is_orphan { "?" } else { "" };
            let service = &node.span.local.service;
            _ = write!(text, "{:width$}{orphan}{service}{}", "", node.span.id, width = node.depth);
            _ = writeln!(text, " {}+{} {}", node.began_us(), node.span.duration_us, node.skew_us);
        }
        text
    }

    #[test]
    fn parents_stand_before_their_children_and_siblings_as_they_began() {
        let (client, server) = (Some(Kind::Client), Some(Kind::Server));
        let mut shared = span(3, 1, server, "c", (120_000, 10));
        shared.shared = true;
        let spans = vec![
            span(4, 3, None, "c", (120_001, 2)),
            shared,
            span(2, 1, client, "a", (130_000, 20)),
            span(1, 0, server, "a", (100_000, 50_000)),
            span(3, 1, client, "a", (110_000, 30_000)),
        ];
        let told = shown(spans);
        assert_eq!(
            told,
            "a1 100000+50000 0\n a3 110000+30000 0\n  c3 120000+10 0\n   c4 120001+2 0\n a2 130000+20 0\n"
        );
    }

    #[test]
    fn what_has_no_parent_stands_at_the_margin_and_says_so() {
        let spans = vec![
            span(1, 0, None, "a", (100, 50)),
            span(5, 9, None, "b", (110, 5)),
            span(6, 5, None, "b", (111, 2)),
            span(7, 0, None, "c", (90, 5)),
        ];
        assert_eq!(shown(spans), "c7 90+5 0\na1 100+50 0\n?b5 110+5 0\n b6 111+2 0\n");
        // Parents that go round end somewhere.
        let round =
            vec![span(1, 2, None, "a", (5, 1)), span(2, 1, None, "b", (6, 1)), span(3, 3, None, "c", (7, 1))];
        let tree = Tree::of(round);
        assert_eq!(tree.nodes.len(), 3);
        assert_eq!(Tree::of(Vec::new()).root(), None);
        assert_eq!((Tree::of(Vec::new()).began_us(), Tree::of(Vec::new()).duration_us()), (0, 0));
    }

    #[test]
    fn a_clock_that_differs_is_told_and_moves_all_below_it() {
        let call = |address: [u8; 4], start: u64, duration: u64| {
            let server = at(span(2, 1, Some(Kind::Server), "b", (start, duration)), address);
            let local = at(span(3, 2, None, "b", (start + 100, 10)), address);
            let client = at(span(1, 0, Some(Kind::Client), "a", (1_000_000, 10_000)), [10, 0, 0, 1]);
            Tree::of(vec![client, server, local]).nodes.iter().map(|node| node.skew_us).collect::<Vec<_>>()
        };
        let (here, there) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        assert_eq!(call(there, 1_002_000, 6_000), [0, 0, 0], "it lies within");
        assert_eq!(call(there, 901_000, 6_000), [0, -101_000, -101_000], "behind: in the middle then");
        assert_eq!(call(there, 1_005_000, 6_000), [0, 3_000, 3_000], "ahead");
        assert_eq!(call(there, 1_005_000, 60_000), [0, 0, 0], "its client did not wait for it");
        assert_eq!(call(there, 900_000, 60_000), [0, -100_000, -100_000]);
        assert_eq!(call(here, 900_000, 6_000), [0, 0, 0], "one machine, one clock");
    }

    #[test]
    fn without_addresses_only_what_can_t_be_is_skew() {
        let call = |start: u64| {
            let client = span(1, 0, Some(Kind::Client), "a", (1_000_000, 10_000));
            let server = span(2, 1, Some(Kind::Server), "b", (start, 6_000));
            Tree::of(vec![client, server]).nodes[1].skew_us
        };
        assert_eq!((call(999_000), call(998_999), call(1_009_000)), (0, -3_001, 0));
    }
}
