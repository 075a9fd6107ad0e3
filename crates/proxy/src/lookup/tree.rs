//! The path tree: finds the places whose path matches a request's, the most special first, and goes on to
//! the less special ones as long as the caller is not content.

use super::Tally;
use super::keys::{Kept, Keys, NONE, to_u32};
use super::pattern::Segment;

/// A node for each beginning of a route's path. Leaves are numbers that mean something to the caller.
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// From a node and a fixed segment to the node behind.
    keys: Keys,
    /// From whole paths without wildcards to their leaves.
    whole: Keys,
}

struct Node {
    /// The node behind any one segment.
    one: u32,
    /// The leaf of paths that end here.
    leaf: u32,
    /// The leaf of paths of which one segment or more is left here.
    rest: u32,
    fixed: Fixed,
}

/// The nodes behind fixed segments.
#[derive(Clone, Copy)]
enum Fixed {
    None,
    /// Most nodes have but one, which needs no hashing.
    One(Kept, u32),
    Many,
}

const NEW: Node = Node { one: NONE, leaf: NONE, rest: NONE, fixed: Fixed::None };
const ROOT: u32 = 0;

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![NEW], keys: Keys::default(), whole: Keys::default() }
    }

    /// The leaf of this path, or a new one which `make` numbers. With `rest`, the path goes on behind its
    /// segments.
    pub(super) fn leaf(&mut self, segments: &[Segment], rest: bool, make: impl FnOnce() -> u32) -> u32 {
        let mut node = ROOT;
        for segment in segments {
            let next = match segment {
                Segment::One => self.nodes[node as usize].one,
                Segment::Fixed(text) => self.fixed(node, text),
            };
            node = if next == NONE { self.grow(node, segment) } else { next };
        }
        let node = &mut self.nodes[node as usize];
        let leaf = if rest { &mut node.rest } else { &mut node.leaf };
        if *leaf != NONE {
            return *leaf;
        }
        let new = make();
        *leaf = new;
        if let Some(path) = whole(segments).filter(|_| !rest) {
            self.whole.insert(ROOT, &path, new);
        }
        new
    }

    fn grow(&mut self, node: u32, segment: &Segment) -> u32 {
        let next = to_u32(self.nodes.len());
        self.nodes.push(NEW);
        match segment {
            Segment::One => self.nodes[node as usize].one = next,
            Segment::Fixed(text) => {
                let kept = self.keys.keep(text);
                self.nodes[node as usize].fixed = match self.nodes[node as usize].fixed {
                    Fixed::None => Fixed::One(kept, next),
                    Fixed::One(first, behind) => {
                        self.keys.insert_kept(node, first, behind);
                        self.keys.insert_kept(node, kept, next);
                        Fixed::Many
                    }
                    Fixed::Many => {
                        self.keys.insert_kept(node, kept, next);
                        Fixed::Many
                    }
                };
            }
        }
        next
    }

    /// The node behind a fixed segment, or [`NONE`].
    fn fixed(&self, node: u32, segment: &str) -> u32 {
        match self.nodes[node as usize].fixed {
            Fixed::None => NONE,
            Fixed::One(only, next) => {
                if self.keys.text(only) == segment {
                    next
                } else {
                    NONE
                }
            }
            Fixed::Many => self.keys.get(node, segment),
        }
    }

    /// Shows `visit` the leaves whose path matches a clean path, in the order of precedence, until it
    /// answers: at each node the fixed segment, then `:name`, then `*name`.
    ///
    /// A node is asked only for the segment at its own depth, so each is visited at most once: going back
    /// costs no more than the nodes that match the path, however long it is.
    pub(super) fn search<T: Tally, R>(
        &self,
        path: &str,
        tally: &mut T,
        visit: &mut impl FnMut(u32, &mut T) -> Option<R>,
    ) -> Option<R> {
        let path = path.strip_prefix('/').unwrap_or(path);
        // A path without wildcards is the most special there is, so it may be asked first, at one blow.
        tally.node();
        let whole = self.whole.get(ROOT, path);
        if whole != NONE
            && let found @ Some(_) = visit(whole, tally)
        {
            return found;
        }
        self.below(ROOT, path, tally, &mut |leaf, tally| {
            if leaf == whole { None } else { visit(leaf, tally) }
        })
    }

    /// No deeper than the longest path of a route, so than `SEGMENTS_MAX`.
    fn below<T: Tally, R>(
        &self,
        mut at: u32,
        mut path: &str,
        tally: &mut T,
        visit: &mut impl FnMut(u32, &mut T) -> Option<R>,
    ) -> Option<R> {
        loop {
            tally.node();
            let node = &self.nodes[at as usize];
            let end = path.bytes().position(|byte| byte == b'/');
            let segment = end.map_or(path, |end| &path[..end]);
            let fixed = self.fixed(at, segment);
            // Only the last segment can be empty; no wildcard stands for it.
            let (one, rest) = if segment.is_empty() { (NONE, NONE) } else { (node.one, node.rest) };
            let Some(end) = end else {
                let ends = [fixed, one].into_iter().filter(|next| *next != NONE);
                let ends = ends.map(|next| self.nodes[next as usize].leaf);
                return ends.chain([rest]).filter(|leaf| *leaf != NONE).find_map(|leaf| visit(leaf, tally));
            };
            let behind = &path[end + 1..];
            // The last possibility needs no way back.
            let last = match (fixed, one, rest) {
                (NONE, NONE, NONE) => return None,
                (NONE, NONE, rest) => return visit(rest, tally),
                (fixed, NONE, NONE) => fixed,
                (NONE, one, NONE) => one,
                (fixed, one, rest) => {
                    let both = [fixed, one].into_iter().filter(|next| *next != NONE);
                    let found = both.into_iter().find_map(|next| self.below(next, behind, tally, visit));
                    return found.or_else(|| if rest == NONE { None } else { visit(rest, tally) });
                }
            };
            (at, path) = (last, behind);
        }
    }
}

/// The path of segments without wildcards, without its leading slash.
fn whole(segments: &[Segment]) -> Option<String> {
    let texts = segments.iter().map(|segment| match segment {
        Segment::Fixed(text) => Some(&**text),
        Segment::One => None,
    });
    texts.collect::<Option<Vec<&str>>>().map(|texts| texts.join("/"))
}
