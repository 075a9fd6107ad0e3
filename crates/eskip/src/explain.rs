//! What a syntax error means to the person who made it. The parser says what it expected; the tokens around
//! the place tell which of the usual slips it was. If it was none, `expected.rs` tells what was expected.

use crate::expected;
use crate::lexer::{Bad, Kind, Token, is_symbol};
use base::{Diagnostic, Source, Span};

/// What would have been right at the place of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// `id:` and a route.
    Definition,
    Predicate,
    AfterPredicateName,
    AfterPredicate,
    /// `&&` or the end, in a text of predicates only.
    PredicatesEnd,
    FilterOrBackend,
    Filter,
    AfterFilterName,
    AfterFilter,
    /// `->` or the end, in a text of filters only.
    FiltersEnd,
    /// An argument or `)`.
    Args,
    /// An argument, after a comma.
    Arg,
    AfterArg,
    SmallerNumber,
    AfterAlgorithm,
    Endpoint,
    AfterEndpoint,
    /// `;` behind a route with an id.
    Semicolon,
    /// The end, behind a route without an id.
    LoneEnd,
    /// An id, for a route that others follow.
    Id,
}

/// The place of an error.
#[derive(Debug)]
pub(crate) struct Problem<'a> {
    pub(crate) source: &'a Source,
    pub(crate) previous: Option<Token>,
    pub(crate) current: Token,
    pub(crate) expected: Expected,
    /// The id of the route, or of the one before; "" if there was none.
    pub(crate) route: &'a str,
    /// Where the route begins.
    pub(crate) begin: Span,
}

/// Where to go on after a string that seems to lack its end: at the end of the line it began on.
pub(crate) fn broken_string(problem: &Problem<'_>) -> Option<usize> {
    let text = &*problem.source.text;
    let string = open_string(problem)?;
    Some(string.start + text[string.start..].find('\n').unwrap_or(text.len() - string.start))
}

/// Where an address without quotes ends, if the error is one.
pub(crate) fn bare_url(problem: &Problem<'_>) -> Option<usize> {
    let text = &*problem.source.text;
    let scheme = [Some(problem.current), problem.previous]
        .into_iter()
        .flatten()
        .find(|token| token.kind == Kind::Symbol && text[token.end..].starts_with("://"))?;
    let rest = &text[scheme.start..];
    Some(scheme.start + rest.find([' ', '\t', '\r', '\n', ';', '>', ',', ')', '"']).unwrap_or(rest.len()))
}

/// The diagnostic for a problem.
pub(crate) fn explain(problem: &Problem<'_>) -> Diagnostic {
    let (code, message, hint, span) = slip(problem).unwrap_or_else(|| expected::told(problem));
    let diagnostic = Diagnostic::error(code, message).at(problem.source, span);
    if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) }
}

/// Code, message, hint ("" for none) and place.
pub(crate) type Told = (&'static str, String, String, Span);

/// The string or regular expression before or at the error that began on an earlier line than it ends on,
/// and looks as if it had swallowed more than was meant.
fn open_string(problem: &Problem<'_>) -> Option<Token> {
    let text = &*problem.source.text;
    match problem.current.kind {
        Kind::Bad(Bad::Text(_)) => Some(problem.current),
        _ => problem.previous.filter(|token| {
            let raw = token.raw(text);
            matches!(token.kind, Kind::Text(_) | Kind::Regexp)
                && raw.contains('\n')
                && (token.end == problem.current.start || raw.contains("->"))
        }),
    }
}

/// The usual slips, whatever was expected.
fn slip(problem: &Problem<'_>) -> Option<Told> {
    let text = &*problem.source.text;
    let current = problem.current;
    if let Some(string) = open_string(problem) {
        let line = text[string.start..].lines().next().unwrap_or_default();
        let span = string.start..string.start + line.len().max(1);
        if string.kind == Kind::Regexp {
            return Some(unterminated_regexp(span));
        }
        let quote = char::from(text.as_bytes()[string.start]);
        return Some((
            "unterminated_string",
            "the string that begins here has no end on its line".to_owned(),
            format!("close it with `{quote}`; inside a string, write `{quote}` as `\\{quote}`"),
            span,
        ));
    }
    if let Some(end) = bare_url(problem) {
        let start = if current.kind == Kind::Symbol && text[current.end..].starts_with("://") {
            current.start
        } else {
            problem.previous.map_or(current.start, |token| token.start)
        };
        let url = &text[start..end];
        return Some((
            "unquoted_url",
            format!("the address `{url}` has no quotes"),
            format!("write `\"{url}\"`"),
            start..end,
        ));
    }
    let rest = &text[current.start..];
    let line_end = current.start + rest.find(['\n', '\r']).unwrap_or(rest.len()).max(1);
    if rest.starts_with("/*") && !matches!(problem.expected, Expected::Args | Expected::Arg) {
        return Some((
            "block_comment",
            "there are no block comments".to_owned(),
            "begin each line of the comment with `//`".to_owned(),
            current.start..line_end.min(current.end),
        ));
    }
    let Kind::Bad(bad) = current.kind else { return None };
    let name_before = problem.previous.filter(|t| t.kind == Kind::Symbol && t.end == current.start);
    if let (Some(name), Some(b'-' | b'.')) = (name_before, rest.bytes().next())
        && rest[1..].bytes().next().is_some_and(is_symbol)
    {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c)).unwrap_or(rest.len());
        let whole = &text[name.start..current.start + end];
        return Some((
            "invalid_name",
            format!("the name `{whole}` has a `{}`", &rest[..1]),
            format!("names have letters, digits and `_` only: `{}`", whole.replace(['-', '.'], "_")),
            name.start..current.start + end,
        ));
    }
    let (code, message, hint) = match bad {
        Bad::Text(_) => return None,
        Bad::Regexp | Bad::Slash => return Some(unterminated_regexp(current.start..line_end)),
        Bad::Number => (
            "incomplete_number",
            format!("the number `{}` ends with a point", current.raw(text)),
            "write digits behind the point, or leave the point out",
        ),
        Bad::Character => character(rest),
    };
    Some((code, message, hint.to_owned(), current.span()))
}

fn unterminated_regexp(span: Span) -> Told {
    (
        "unterminated_regexp",
        "the regular expression that begins here has no end on its line".to_owned(),
        "close it with `/`, or write a path in quotes: `\"/cart\"`".to_owned(),
        span,
    )
}

/// A character that begins no token, told with what was likely meant.
fn character(rest: &str) -> (&'static str, String, &'static str) {
    let unexpected = |what: &str| format!("unexpected `{what}`");
    let first = rest.chars().next().unwrap_or_default();
    match first {
        '\'' => ("single_quotes", unexpected("'"), "strings stand in double quotes: `\"text\"`"),
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}' => (
            "typographic_quotes",
            unexpected(&first.to_string()),
            "strings stand in straight quotes: `\"text\"`",
        ),
        '=' if rest.starts_with("=>") => {
            ("unexpected_character", unexpected("=>"), "the arrow is written `->`")
        }
        '=' => {
            ("unexpected_character", unexpected("="), "an id is followed by `:`, and arguments have no names")
        }
        '\u{2192}' => ("unexpected_character", unexpected("\u{2192}"), "the arrow is written `->`"),
        '&' => ("unexpected_character", unexpected("&"), "predicates are joined by `&&`"),
        '|' => (
            "unexpected_character",
            unexpected("|"),
            "there is no `or`: write two routes with the same backend",
        ),
        '!' => (
            "unexpected_character",
            unexpected("!"),
            "there is no `not`: write a more specific route instead",
        ),
        '#' => ("unexpected_character", unexpected("#"), "comments begin with `//`"),
        '-' => ("unexpected_character", unexpected("-"), "the arrow is written `->`"),
        '{' | '}' => ("unexpected_character", unexpected(&first.to_string()), "a route ends with `;`"),
        '[' | ']' => (
            "unexpected_character",
            unexpected(&first.to_string()),
            "there are no lists: write the values as arguments",
        ),
        '\u{feff}' => (
            "byte_order_mark",
            "the text has a byte order mark".to_owned(),
            "save the file as UTF-8 without one",
        ),
        '\u{a0}' | '\u{2003}' | '\u{200b}' | '\u{3000}' => (
            "strange_space",
            format!("the space here is the character `U+{:04X}`", u32::from(first)),
            "replace it by an ordinary space",
        ),
        other if other.is_control() => {
            ("unexpected_character", format!("unexpected character `U+{:04X}`", u32::from(other)), "")
        }
        other => ("unexpected_character", unexpected(&other.to_string()), ""),
    }
}
