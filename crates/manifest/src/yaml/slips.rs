//! What to say when the text is no YAML: the parser's error, looked at together with the lines around it,
//! becomes the sentence and the hint that a newcomer needs.

use base::{Diagnostic, Source, Span};
use granit_parser::{ErrorKind, ScanError};

/// What was read before the error.
pub(super) struct SoFar {
    /// The scalar read last.
    pub(super) last_scalar: Option<Span>,
    /// Where the innermost `[` or `{` stands that is not closed.
    pub(super) open_flow: Option<usize>,
}

/// One sentence, its place and its remedy.
struct Slip {
    code: &'static str,
    message: String,
    span: Span,
    hint: String,
}

/// Explains a syntax error. Words are quoted from `shown` alone.
pub(super) fn explain(source: &Source, shown: &Source, error: &ScanError, so_far: &SoFar) -> Diagnostic {
    let text: &str = &source.text;
    let at = floor(text, error.marker().byte_offset().unwrap_or(text.len()));
    let slip = tab(text, at, error.kind()).unwrap_or_else(|| slip(source, &shown.text, error, at, so_far));
    let diagnostic = Diagnostic::error(slip.code, slip.message).at(source, slip.span);
    if slip.hint.is_empty() { diagnostic } else { diagnostic.hint(slip.hint) }
}

fn slip(source: &Source, shown: &str, error: &ScanError, at: usize, so_far: &SoFar) -> Slip {
    let text: &str = &source.text;
    let word = at..at + text[at..].chars().next().map_or(0, char::len_utf8);
    let line = line_of(text, at);
    let new = |code, message: &str, span, hint: &str| Slip {
        code,
        message: message.to_owned(),
        span,
        hint: hint.to_owned(),
    };
    match error.kind() {
        ErrorKind::MappingValueNotAllowed => second_colon(text, shown, at, so_far.last_scalar.as_ref()),
        kind if so_far.open_flow.is_some() && is_about_flow(kind) => {
            let open = so_far.open_flow.unwrap_or(at);
            let (bracket, close) = if text[open..].starts_with('{') { ('{', '}') } else { ('[', ']') };
            Slip {
                code: "unclosed_bracket",
                message: format!("a `,` or the closing `{close}` is missing"),
                span: word,
                hint: format!("the `{bracket}` is on line {}", source.position(open).0),
            }
        }
        ErrorKind::UnclosedFlowCollection { open } => Slip {
            code: "unclosed_bracket",
            message: format!("`{open}` is never closed"),
            span: word,
            hint: format!("add `{}` after the last entry", if *open == '[' { ']' } else { '}' }),
        },
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => Slip {
            code: "unclosed_bracket",
            message: format!("`{open}` is closed by `{close}`"),
            span: word,
            hint: format!("write `{}`", if *open == '[' { ']' } else { '}' }),
        },
        ErrorKind::MisplacedFlowCollectionEnd => new(
            "unopened_bracket",
            "this closing bracket was never opened",
            word,
            "remove it, or put quotes around a text that holds it",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => new(
            "no_colon",
            "this line is neither `key: value` nor a list entry",
            line.clone(),
            &match shown[line.clone()].split_whitespace().next() {
                Some(first) if text[line].starts_with(first) => {
                    format!("write `{}:`, with a space after the colon", first.trim_end_matches(':'))
                }
                _ => "write `key: value`".to_owned(),
            },
        ),
        ErrorKind::ExpectedBlockMappingKey if line.start < at => new(
            "after_bracket",
            "nothing may follow the closing bracket or quote",
            word,
            "put quotes around the whole value",
        ),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::InvalidFlowScalarIndent => new(
            "indentation",
            "this line is indented like none of the lines above",
            line,
            "keys of one map begin in the same column, two spaces deeper than the key they belong to",
        ),
        ErrorKind::ExpectedDocumentStart => new(
            "indentation",
            "this line is indented less than the first one",
            line_of(text, at),
            "the top-level keys all begin in the same column: remove the spaces before the first",
        ),
        ErrorKind::BlockSequenceEntryNotAllowed | ErrorKind::BlockEntryInFlowCollection => new(
            "list_on_key_line",
            "a list can't begin with `- ` here",
            word,
            "put each `- entry` on a line of its own below the key, or write `[one, two]`",
        ),
        ErrorKind::UnexpectedCharacter { character } => Slip {
            code: "needs_quotes",
            message: match character {
                '`' => "a value can't begin with a backquote".to_owned(),
                character => format!("a value can't begin with `{character}`"),
            },
            span: word,
            hint: "put quotes around the value".to_owned(),
        },
        ErrorKind::MissingAnchorOrAliasName => {
            let sign = text[at..].chars().next().unwrap_or('*');
            Slip {
                code: "needs_quotes",
                message: format!("a value can't begin with `{sign}`, which is YAML's sign for an anchor"),
                span: word,
                hint: "put quotes around the value; write routes on the lines below, after `|`".to_owned(),
            }
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => new(
            "unclosed_quote",
            "this quote is never closed",
            word,
            "add the closing quote; inside single quotes write `''` for one, inside double quotes `\\\"`",
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => new(
            "after_quote",
            "nothing may follow the closing quote",
            word,
            "put the whole value inside the quotes; a comment needs a space before its `#`",
        ),
        ErrorKind::UnknownQuotedScalarEscape | ErrorKind::InvalidQuotedScalarHexEscape => {
            // The marker is at the opening quote; the escape is what should be shown.
            let span = bad_escape(text, at).unwrap_or(word);
            let escape = if shown[span.clone()] == text[span.clone()] { &text[span.clone()] } else { "\\" };
            Slip {
                code: "unknown_escape",
                message: format!("`{escape}` is no escape of YAML's double quotes"),
                span,
                hint: format!("write `\\{escape}`, or put single quotes around the value"),
            }
        }
        ErrorKind::RecursionLimitExceeded => {
            new("too_deep", &format!("nested more than {} deep", super::DEPTH_MAX), word, "")
        }
        kind => Slip {
            code: "yaml",
            message: format!("this is no YAML: {kind}"),
            span: word,
            hint: String::new(),
        },
    }
}

fn is_about_flow(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidColonPlacement
            | ErrorKind::ExpectedFlowMappingSeparator
            | ErrorKind::ExpectedFlowSequenceSeparator
            | ErrorKind::UnexpectedEofFlowSequence
            | ErrorKind::UnexpectedEofFlowMapping
            | ErrorKind::UnexpectedEofImplicitFlowMapping
            | ErrorKind::UnexpectedEof
            | ErrorKind::MappingKeyNotAllowed
    )
}

/// A tab in the indentation, whatever the parser makes of it.
fn tab(text: &str, at: usize, kind: &ErrorKind) -> Option<Slip> {
    let mut start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    if matches!(kind, ErrorKind::TabAtBlockScalarStart | ErrorKind::TabInPlainScalar) {
        // The marker is at the `|` or where the scalar begins; the tab is below.
        let mut below = text[at..].match_indices('\n').map(|(newline, _)| at + newline + 1);
        start = below.find(|line| text[*line..].trim_start_matches(' ').starts_with('\t')).unwrap_or(start);
    }
    let indentation = text[start..].len() - text[start..].trim_start_matches([' ', '\t']).len();
    let tab = start + text[start..start + indentation].find('\t')?;
    Some(Slip {
        code: "tab",
        message: "this line is indented with a tab".to_owned(),
        span: tab..start + indentation,
        hint: "YAML indents with spaces only: use two for each level".to_owned(),
    })
}

/// A `: ` where no key can stand. Three slips end here, told apart by where the scalar before it begins.
fn second_colon(text: &str, shown: &str, at: usize, last_scalar: Option<&Span>) -> Slip {
    let line = line_of(text, at);
    let scalar = last_scalar.cloned().unwrap_or(at..at);
    let start = floor(text, scalar.start.min(at));
    let scalar_line = line_of(text, start);
    let key = shown[line.start.min(at)..at].trim();
    if scalar_line.start == line.start {
        let value = shown[start.min(line.end)..line.end].trim();
        return Slip {
            code: "needs_quotes",
            message: "a value that holds `: ` needs quotes".to_owned(),
            span: start..line.end,
            hint: match value {
                eskip if eskip.contains("->") => "write routes on the lines below, after `|`".to_owned(),
                value if value.contains('\'') || value.len() > 60 || !text[start..].starts_with(value) => {
                    "put quotes around the whole value".to_owned()
                }
                value => format!("write `'{value}'`"),
            },
        };
    }
    if scalar_line.start == start && text[start..scalar_line.end].contains(':') {
        // `key:value` is one word in YAML, and the next line went on with it.
        let hint = shown[start..scalar_line.end].replacen(':', ": ", 1);
        return Slip {
            code: "no_space_after_colon",
            message: "a space is missing after the colon".to_owned(),
            span: start..scalar_line.end,
            hint: format!("write `{hint}`"),
        };
    }
    if scalar_line.start == start {
        return Slip {
            code: "no_colon",
            message: "this line is neither `key: value` nor a list entry".to_owned(),
            span: scalar_line.clone(),
            hint: format!("write `{}:`", shown[scalar_line].trim()),
        };
    }
    Slip {
        code: "indentation",
        message: format!("`{key}` is indented deeper than the key above it, which already has a value"),
        span: line.start..at,
        hint: "keys of one map begin in the same column".to_owned(),
    }
}

/// The first escape after `at` that YAML 1.2 does not know, and its place.
fn bad_escape(text: &str, at: usize) -> Option<Span> {
    let mut rest = at;
    while let Some(found) = text[rest..].find('\\') {
        let backslash = rest + found;
        let next = text[backslash + 1..].chars().next()?;
        let digits = match next {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let after = backslash + 1 + next.len_utf8();
        let known = "0abt\tnvfre \"/\\N_LP\n\r".contains(next)
            || (digits > 0
                && text
                    .get(after..after + digits)
                    .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())));
        if !known {
            return Some(backslash..after);
        }
        rest = after;
    }
    None
}

/// The bytes of the line around `at`, without its indentation and trailing blanks.
fn line_of(text: &str, at: usize) -> Span {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let line = &text[start..end];
    let begin = start + line.len() - line.trim_start().len();
    begin..(start + line.trim_end().len()).max(begin)
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
