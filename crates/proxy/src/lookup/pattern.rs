//! The paths that routes are placed under: fixed segments, `:name` for one segment, `*name` for the rest.

use super::clean;
use crate::for_good::{self, Kept};
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Most segments of a route's path; the search through the path tree goes no deeper.
pub(super) const SEGMENTS_MAX: usize = 256;

/// A path as routes are placed under it. Made by [`Pattern::path`] and [`Pattern::subtree`], which refuse
/// what can be no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Up to the free wildcard, if there is one. A trailing slash is an empty segment behind the others.
    pub(super) segments: Vec<Segment>,
    pub(super) end: End,
    pub(super) captures: Captures,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Fixed(Box<str>),
    /// Any one, but not an empty one.
    One,
}

/// What follows the segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Nothing,
    /// One segment or more.
    Rest,
    /// Anything or nothing.
    Subtree,
}

/// Which segments of a request's path become parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Captures {
    /// Shared by all requests of the route; by their places.
    pub(super) names: Names,
    /// Whether the last name stands for all segments from its place on, with a slash before them.
    pub(super) rest: bool,
}

/// The names of parameters, which each request takes along.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// Kept for good.
    Kept(&'static [Name]),
    Counted(Arc<[Name]>),
}

impl Names {
    /// These names, kept for good as long as there is room for them.
    fn kept(names: Vec<Name>) -> Self {
        static KEPT: LazyLock<Mutex<Kept<[Name]>>> = LazyLock::new(|| Mutex::new(Kept::new(for_good::BYTES)));
        let bytes = names.iter().map(|name| size_of::<Name>() + name.text.len()).sum();
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).keep(&names, bytes);
        kept.map_or_else(|| Names::Counted(names.into()), Names::Kept)
    }
}

impl Default for Names {
    fn default() -> Self {
        Names::Kept(&[])
    }
}

impl Deref for Names {
    type Target = [Name];

    fn deref(&self) -> &[Name] {
        match self {
            Names::Kept(names) => names,
            Names::Counted(names) => names,
        }
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Names {}

/// The name of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) text: Box<str>,
    /// The segment it stands for.
    pub(super) place: usize,
}

impl Pattern {
    /// The place of `Path`.
    pub fn path(path: &str) -> Result<Self, String> {
        Self::read(path, End::Nothing)
    }

    /// The place of `PathSubtree`.
    pub fn subtree(path: &str) -> Result<Self, String> {
        Self::read(path, End::Subtree)
    }

    fn read(path: &str, end: End) -> Result<Self, String> {
        let cleaned = clean::clean(path);
        let parts: Vec<&str> = cleaned[1..].split('/').collect();
        if parts.len() > SEGMENTS_MAX {
            return Err(format!("the path has more than {SEGMENTS_MAX} segments"));
        }
        let mut pattern =
            Pattern { segments: Vec::with_capacity(parts.len()), end, captures: Captures::default() };
        let mut names: Vec<(usize, &str)> = Vec::new();
        let mut rest = (end == End::Subtree).then_some("*");
        for (at, part) in parts.iter().enumerate() {
            if let Some(name) = part.strip_prefix(':') {
                names.push((at, name));
                pattern.segments.push(Segment::One);
            } else if let Some(name) = part.strip_prefix('*') {
                if at + 1 < parts.len() {
                    return Err(format!("the free wildcard `{part}` must be the last segment of the path"));
                }
                rest = Some(if name.is_empty() { "*" } else { name });
                if end == End::Nothing {
                    pattern.end = End::Rest;
                }
            } else if part.contains([':', '*']) {
                return Err(format!(
                    "a wildcard must fill its segment, it can't stand in the middle of `{part}`"
                ));
            } else {
                pattern.segments.push(Segment::Fixed((*part).into()));
            }
        }
        if end == End::Subtree && pattern.ends_in_slash() {
            pattern.segments.pop();
        }
        pattern.captures = captures(&names, rest.map(|name| (pattern.segments.len(), name)));
        Ok(pattern)
    }

    fn ends_in_slash(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Fixed(last)) if last.is_empty())
    }

    /// Takes a trailing slash away, but for the root.
    pub(super) fn without_trailing_slash(mut self) -> Self {
        if self.segments.len() > 1 && self.ends_in_slash() {
            self.segments.pop();
        }
        self
    }
}

/// Of equal names the free wildcard counts, else the first; a wildcard without a name is none.
fn captures(names: &[(usize, &str)], rest: Option<(usize, &str)>) -> Captures {
    let mut kept: Vec<(usize, &str)> = Vec::new();
    for (at, name) in names {
        let taken =
            kept.iter().any(|(_, known)| known == name) || rest.is_some_and(|(_, known)| known == *name);
        if !name.is_empty() && !taken {
            kept.push((*at, name));
        }
    }
    kept.extend(rest);
    let name = |(place, text): &(usize, &str)| Name { text: (*text).into(), place: *place };
    Captures { names: Names::kept(kept.iter().map(name).collect()), rest: rest.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(read: fn(&str) -> Result<Pattern, String>, path: &str, expected: &Expect) {
        let shown = read(path).map_or_else(
            |why| why,
            |pattern| {
                let segment = |segment: &Segment| match segment {
                    Segment::Fixed(text) => format!("/{text}"),
                    Segment::One => "/:".to_owned(),
                };
                let path: String = pattern.segments.iter().map(segment).collect();
                let captures =
                    pattern.captures.names.iter().map(|name| format!("{}@{}", name.text, name.place));
                let captures: Vec<String> = captures.collect();
                format!("{path} {:?} {}", pattern.end, captures.join(" "))
            },
        );
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_path_is_read_segment_by_segment() {
        check(Pattern::path, "/", &expect!["/ Nothing "]);
        check(Pattern::path, "/a/:b/", &expect!["/a/:/ Nothing b@1"]);
        check(Pattern::path, "a//./b", &expect!["/a/b Nothing "]);
        check(Pattern::path, "/a/*rest", &expect!["/a Rest rest@1"]);
        check(Pattern::path, "/a/*", &expect!["/a Rest *@1"]);
        check(Pattern::path, "/**", &expect![" Rest *@0"]);
        check(Pattern::path, "/:/:x/:x/*y", &expect!["/:/:/: Rest x@1 y@3"]);
        check(Pattern::path, "/:x/*x", &expect!["/: Rest x@1"]);
    }

    #[test]
    fn a_subtree_has_no_trailing_slash_and_always_a_rest() {
        check(Pattern::subtree, "/", &expect![" Subtree *@0"]);
        check(Pattern::subtree, "/a/", &expect!["/a Subtree *@1"]);
        check(Pattern::subtree, "/a/*rest", &expect!["/a Subtree rest@1"]);
        check(Pattern::subtree, "/:a/**", &expect!["/: Subtree a@0 *@1"]);
    }

    #[test]
    fn what_can_be_no_place_is_refused() {
        check(
            Pattern::path,
            "/a*",
            &expect!["a wildcard must fill its segment, it can't stand in the middle of `a*`"],
        );
        check(
            Pattern::path,
            "/*a/b",
            &expect!["the free wildcard `*a` must be the last segment of the path"],
        );
        check(
            Pattern::subtree,
            "/*a/",
            &expect!["the free wildcard `*a` must be the last segment of the path"],
        );
        check(Pattern::path, &"/a".repeat(257), &expect!["the path has more than 256 segments"]);
    }
}
