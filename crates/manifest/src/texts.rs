//! Places inside a text that the manifest holds: YAML takes away indentation, quotes and escapes, so byte 40
//! of an inline route table is not byte 40 of what stands in the file. This maps one to the other.

use crate::yaml::{Node, Style, Value};
use base::Span;
use std::ops::Range;

/// How the bytes of one inline text map to bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextMap {
    span: Span,
    /// From this byte of the text on, the file's bytes run along from that one. Sorted; empty where no exact
    /// map can be made.
    runs: Vec<(usize, usize)>,
}

impl TextMap {
    /// The map of a scalar: its characters, as YAML gives them, found again one after the other in the file.
    pub(crate) fn of(node: &Node, file: &str) -> Self {
        let runs = match &node.value {
            Value::Scalar(scalar) => {
                let raw = file.get(node.span.clone()).unwrap_or_default();
                align(&scalar.text, raw, scalar.style).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let start = node.span.start;
        Self {
            span: node.span.clone(),
            runs: runs.into_iter().map(|(text, raw)| (text, start + raw)).collect(),
        }
    }

    /// Where the text stands in the file.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The bytes of the file that these bytes of the text come from; the start of the text where that can't
    /// be told.
    pub fn place(&self, bytes: Range<usize>) -> Span {
        if self.runs.is_empty() {
            return self.span.start..self.span.start;
        }
        let start = self.byte(bytes.start);
        // The last byte's place plus one, for the byte after it may stand on the next line.
        let end = if bytes.end > bytes.start { self.byte(bytes.end - 1) + 1 } else { start };
        start..end.max(start)
    }

    fn byte(&self, at: usize) -> usize {
        let next = self.runs.partition_point(|(text, _)| *text <= at);
        let (text, file) = self.runs[next.saturating_sub(1)];
        (file + at.saturating_sub(text)).clamp(self.span.start, self.span.end.max(self.span.start))
    }
}

/// Runs of equal distance between a scalar's text and what was written. Folding and blocks only change white
/// space, so every other character is found in order; `None` where one is not.
fn align(text: &str, raw: &str, style: Style) -> Option<Vec<(usize, usize)>> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut at = usize::from(style != Style::Bare);
    for (offset, character) in text.char_indices() {
        if character.is_whitespace() {
            // White space that was folded or taken away has no place of its own: it is where we are.
            note(&mut runs, offset, at);
            if let Some((written, length)) = unit(raw, at, style)
                && written == Some(character)
            {
                at += length;
            }
            continue;
        }
        loop {
            let (written, length) = unit(raw, at, style)?;
            if written == Some(character) {
                note(&mut runs, offset, at);
                at += length;
                break;
            }
            if written.is_some_and(|c| !c.is_whitespace()) {
                return None;
            }
            at += length;
        }
    }
    // A text of nothing, or the place just behind the last character.
    note(&mut runs, text.len(), at.min(raw.len()));
    Some(runs)
}

fn note(runs: &mut Vec<(usize, usize)>, text: usize, raw: usize) {
    let goes_on = runs.last().is_some_and(|(t, r)| text - t + r == raw);
    if !goes_on {
        runs.push((text, raw));
    }
}

/// The character written at `at` and the bytes it takes; no character for an escaped line end.
fn unit(raw: &str, at: usize, style: Style) -> Option<(Option<char>, usize)> {
    let rest = raw.get(at..)?;
    let first = rest.chars().next()?;
    match (style, first) {
        (Style::Single, '\'') => rest.starts_with("''").then_some((Some('\''), 2)),
        (Style::Double, '"') => None,
        (Style::Double, '\\') => escape(rest),
        _ => Some((Some(first), first.len_utf8())),
    }
}

/// YAML 1.2.2 section 5.7.
fn escape(rest: &str) -> Option<(Option<char>, usize)> {
    let name = rest[1..].chars().next()?;
    let hex = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((Some(char::from_u32(code)?), 2 + digits))
    };
    let plain = match name {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        ' ' | '"' | '/' | '\\' => name,
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        '\n' => return Some((None, 2)),
        '\r' => return Some((None, if rest[2..].starts_with('\n') { 3 } else { 2 })),
        'x' => return hex(2),
        'u' => return hex(4),
        'U' => return hex(8),
        _ => return None,
    };
    Some((Some(plain), 1 + name.len_utf8()))
}
