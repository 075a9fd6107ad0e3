//! Looks up the route of a request, with Skipper's precedence: the most special path first (a fixed segment
//! before `:name` before `*name`), in one place the heaviest route first, then source order; routes without
//! a path last. What a look-up costs does not grow with the number of routes.

pub(crate) mod clean;
mod explain;
mod keys;
mod leaf;
mod params;
mod pattern;
mod refusal;
mod rule;
#[cfg(test)]
mod tests;
mod tree;

pub use explain::{Explanation, LISTED_MAX, Matched, Refused};
pub use params::Params;
pub use pattern::Pattern;
pub use refusal::Refusal;
pub use rule::{Rule, compile};

use crate::question::Question;
use keys::to_u32;
use leaf::Leaves;
use pattern::{Captures, End};
use std::borrow::Cow;
use tree::Tree;

/// Requests with a longer path match no route.
pub const PATH_BYTES_MAX: usize = 64 << 10;

/// The leaf of all routes without a path.
const ROOT: u32 = 0;

/// How paths are looked up. The same options go to [`compile`] and to [`Lookup::build`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether `/a` and `/a/` are one path, in routes and in requests. Off.
    pub ignore_trailing_slash: bool,
    /// Whether path parameters are decoded a second time, `+` becoming a space, as Skipper does. On.
    pub unescape_twice: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { ignore_trailing_slash: false, unescape_twice: true }
    }
}

/// A route for the table.
pub struct Entry<T> {
    /// When it serves.
    pub rule: Rule,
    /// What is found when it does.
    pub payload: T,
}

/// All routes, ready to be asked. Never changes: a reload builds another.
pub struct Lookup<T> {
    options: Options,
    tree: Tree,
    leaves: Leaves,
    rules: Vec<Rule>,
    /// For each rule what is found; apart from the rules, which most look-ups need not touch.
    served: Vec<Served<T>>,
}

struct Served<T> {
    payload: T,
    captures: Captures,
}

/// The route of a request.
#[derive(Debug)]
pub struct Found<'a, T> {
    /// What the entry held.
    pub payload: &'a T,
    /// What the wildcards of its path stand for.
    pub params: Params,
}

/// What a look-up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Nodes of the path tree it came through.
    pub nodes: usize,
    /// Routes whose predicates it checked.
    pub rules: usize,
}

/// Counts what a look-up does, or does not: the look-up of requests counts nothing.
trait Tally {
    fn node(&mut self);
    fn rule(&mut self);
}

impl Tally for () {
    fn node(&mut self) {}
    fn rule(&mut self) {}
}

impl Tally for Work {
    fn node(&mut self) {
        self.nodes += 1;
    }

    fn rule(&mut self) {
        self.rules += 1;
    }
}

impl<T> Lookup<T> {
    /// A table of these routes, in source order.
    pub fn build(entries: Vec<Entry<T>>, options: &Options) -> Self {
        let served = |Entry { rule, payload }: Entry<T>| {
            let captures = rule.pattern.as_ref().map(|pattern| pattern.captures.clone());
            (rule, Served { payload, captures: captures.unwrap_or_default() })
        };
        let (rules, served): (Vec<Rule>, Vec<_>) = entries.into_iter().map(served).unzip();
        let mut tree = Tree::new();
        let mut lists: Vec<Vec<u32>> = vec![Vec::new()];
        for (at, rule) in (0..).zip(&rules) {
            let Some(pattern) = &rule.pattern else {
                lists[ROOT as usize].push(at);
                continue;
            };
            let mut place = |segments: &[pattern::Segment], rest| {
                let leaf = tree.leaf(segments, rest, || {
                    lists.push(Vec::new());
                    to_u32(lists.len() - 1)
                });
                lists[leaf as usize].push(at);
            };
            if pattern.end == End::Nothing {
                place(&pattern.segments, false);
                continue;
            }
            place(&pattern.segments, true);
            if pattern.end == End::Subtree {
                let slash = pattern::Segment::Fixed("".into());
                let slashed = [&pattern.segments[..], &[slash]].concat();
                // The root is its own trailing slash.
                if !pattern.segments.is_empty() {
                    place(&pattern.segments, false);
                }
                if pattern.segments.is_empty() || !options.ignore_trailing_slash {
                    place(&slashed, false);
                }
            }
        }
        let leaves = Leaves::build(&lists, |at| &rules[at as usize]);
        Self { options: *options, tree, leaves, rules, served }
    }

    /// The route of a request.
    pub fn find(&self, question: &Question<'_>) -> Option<Found<'_, T>> {
        let served = &self.served[self.seek(question, &mut ())? as usize];
        Some(Found { payload: &served.payload, params: self.params(&served.captures, question) })
    }

    /// What [`Lookup::find`] does for a request.
    pub fn work(&self, question: &Question<'_>) -> Work {
        let mut work = Work::default();
        self.seek(question, &mut work);
        work
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The routes, in source order.
    pub fn iter(&self) -> impl Iterator<Item = (&Rule, &T)> {
        self.rules.iter().zip(self.served.iter().map(|served| &served.payload))
    }

    fn seek(&self, question: &Question<'_>, tally: &mut impl Tally) -> Option<u32> {
        if question.raw_path().len() > PATH_BYTES_MAX {
            return None;
        }
        let path = self.path_of(question);
        let in_tree = self.tree.search(path, tally, &mut |leaf, tally| {
            self.leaves.first(leaf, question, |at| self.rule(at), tally)
        });
        in_tree.or_else(|| self.leaves.first(ROOT, question, |at| self.rule(at), tally))
    }

    fn path_of<'q>(&self, question: &'q Question<'_>) -> &'q str {
        let path = question.path();
        match path.strip_suffix('/') {
            Some(trimmed) if self.options.ignore_trailing_slash && !trimmed.is_empty() => trimmed,
            _ => path,
        }
    }

    fn rule(&self, at: u32) -> &Rule {
        &self.rules[at as usize]
    }

    /// What the wildcards of a route's path stand for in a path that it matches.
    fn params(&self, captures: &Captures, question: &Question<'_>) -> Params {
        if captures.names.is_empty() {
            return Params::default();
        }
        let path = self.path_of(question);
        // What was kept encoded on purpose is no value that was encoded twice.
        let twice = self.options.unescape_twice && !question.keeps_reserved;
        let decode = |text| if twice { clean::unescape(text) } else { Cow::Borrowed(text) };
        let mut writer = Params::of(&captures.names, path.len());
        let mut names = captures.names.iter().peekable();
        let (mut left, mut segment) = (Some(&path[1..]), 0);
        while let Some(name) = names.next() {
            // On to the segment that the name stands for; a subtree may end before its free wildcard.
            while segment < name.place {
                left = left.and_then(|left| left.split_once('/')).map(|(_, behind)| behind);
                segment += 1;
            }
            let text = left.unwrap_or_default();
            if captures.rest && names.peek().is_none() {
                writer.push_both("/", &decode(text));
            } else {
                writer.push(&decode(text.split('/').next().unwrap_or(text)));
            }
        }
        writer.finish()
    }
}
