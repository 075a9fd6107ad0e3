//! Replacing by regular expression as Go's `ReplaceAllString` does it: the expression is the predicates'
//! [`Regexp`], the replacement is read here, once, when a route is built.

use crate::predicates::Regexp;
use regex::{Captures, Replacer};
use std::borrow::Cow;

/// An expression and what its matches become.
#[derive(Clone, Debug)]
pub(crate) struct Rewrite {
    expression: Regexp,
    replacement: Replacement,
}

/// A replacement with `$1`, `${1}`, `$name` and `${name}` for the groups of the match, and `$$` for `$`. A
/// name without braces is as long as it can be: `$1x` is the group `1x`, which nobody has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Replacement(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Number(usize),
    Name(String),
}

impl Rewrite {
    /// Any replacement is one; only the expression can be wrong.
    pub(crate) fn new(expression: Regexp, replacement: &str) -> Self {
        Self { expression, replacement: Replacement::parse(replacement) }
    }

    /// The text with all matches replaced; borrowed when there is none.
    pub(crate) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.expression.replace_all(text, &self.replacement)
    }
}

impl Replacement {
    fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            let behind = &rest[at + 1..];
            if let Some(after) = behind.strip_prefix('$') {
                literal.push('$');
                rest = after;
            } else if let Some((name, after)) = group(behind) {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(piece(name));
                rest = after;
            } else {
                literal.push('$');
                rest = behind;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Self(pieces)
    }
}

/// The group named behind a `$`, and what follows it.
fn group(text: &str) -> Option<(&str, &str)> {
    let (inside, braced) = text.strip_prefix('{').map_or((text, false), |inside| (inside, true));
    let end = inside.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inside.len());
    let (name, after) = inside.split_at(end);
    let after = if braced { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

fn piece(name: &str) -> Piece {
    let number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    match name.parse() {
        Ok(index) if number => Piece::Number(index),
        _ => Piece::Name(name.to_owned()),
    }
}

impl Replacer for &Replacement {
    fn replace_append(&mut self, captures: &Captures<'_>, out: &mut String) {
        for piece in &self.0 {
            let group = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Number(index) => captures.get(*index),
                Piece::Name(name) => captures.name(name),
            };
            out.push_str(group.map_or("", |group| group.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, replacement: &str, text: &str, expected: &str) {
        let rewrite = Rewrite::new(Regexp::new(expression).unwrap(), replacement);
        assert_eq!(rewrite.apply(text), expected, "{expression} {replacement} {text}");
    }

    #[test]
    fn groups_are_named_as_go_names_them() {
        check("a(x*)b", "<$1>", "-ab-axxb-", "-<>-<xx>-");
        check("a(x*)b", "$1W", "-ab-axxb-", "---");
        check("a(x*)b", "${1}W", "-ab-axxb-", "-W-xxW-");
        check("(?P<who>\\w+)!", "$who?", "you!", "you?");
        check("(?P<who>\\w+)!", "${who}s ${nobody}", "you!", "yous ");
        check("a", "$$1 $ ${ ${x y} $", "a", "$1 $ ${ ${x y} $");
        check("(a)", "$01$1$2$99999999999999999999", "a", "a");
    }

    #[test]
    fn an_empty_match_behind_a_match_is_none() {
        check("a*", "x", "baac", "xbxcx");
        check("^.*", "en", "nl", "en");
        check("/$", "", "/a/b/", "/a/b");
    }
}
