//! Files of `NAME=value` lines, as `env_file` names them: what a shell and the usual dotenv readers agree on.
//! Nothing is replaced inside values, and no value is ever shown.

use crate::names;
use crate::secrets;
use base::{Diagnostic, Source, Span};
use std::collections::HashMap;

/// Most bytes of a file.
const BYTES_MAX: usize = 1 << 20;

/// Reads `NAME=value` lines, in their order. Empty lines and those that begin with `#` are left out, `export `
/// before a name is too. A value is
/// - bare: up to the line's end or ` #`, blanks around it removed;
/// - in single quotes: as it stands, over several lines if need be;
/// - in double quotes: the same, with the escapes `\n \r \t \\ \" \$`.
///
/// A line that is wrong is said and left out; a name that is given twice is warned of, and the later wins.
pub fn env_file(source: &Source) -> (Vec<(String, String)>, Vec<Diagnostic>) {
    let text: &str = &source.text;
    if text.len() > BYTES_MAX {
        let message = format!("the file has {} bytes, at most {BYTES_MAX} are read", text.len());
        return (Vec::new(), vec![Diagnostic::error("too_large", message)]);
    }
    // A byte order mark is no part of the first name.
    let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut lines = Lines { text, at: start, slips: Vec::new(), secrets: Vec::new() };
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut first: HashMap<String, usize> = HashMap::new();
    while lines.at < text.len() {
        let Some((name, span, value)) = lines.next() else { continue };
        if let Some(at) = first.insert(name.clone(), span.start) {
            let hint = format!("the one on line {} is not used", source.position(at).0);
            let message = format!("`{name}` is given twice");
            lines.slips.push((Diagnostic::warning("doubled_variable", message).hint(hint), span));
        }
        variables.push((name, value));
    }
    let shown = secrets::hide(source, &lines.secrets);
    let diagnostics = lines.slips.into_iter().map(|(slip, span)| slip.at(&shown, span)).collect();
    (variables, diagnostics)
}

struct Lines<'a> {
    text: &'a str,
    at: usize,
    slips: Vec<(Diagnostic, Span)>,
    secrets: Vec<Span>,
}

impl Lines<'_> {
    /// The variable that begins on this line, with its name's place; `None` for a line without one. Moves on
    /// past what it read in any case.
    fn next(&mut self) -> Option<(String, Span, String)> {
        let start = self.at;
        let end = self.line_end(start);
        self.at = (end + 1).min(self.text.len());
        let line = &self.text[start..end];
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return None;
        }
        let begin = start + line.len() - line.trim_start().len();
        let Some(sign) = line.find('=') else {
            // It may be the rest of a value, so nothing of it is shown.
            self.secrets.push(start..end);
            let slip = Diagnostic::error("no_equals_sign", "this line is no `NAME=value`")
                .hint("a value over several lines stands in quotes; a comment begins with `#`");
            self.slips.push((slip, begin..start + line.trim_end().len()));
            return None;
        };
        let value_at = start + sign + 1;
        self.secrets.push(value_at..end);
        let name = line[..sign].trim();
        let name =
            name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(name).trim();
        let name_at = start + line.find(name).unwrap_or(0);
        let span = name_at..name_at + name.len();
        let value = self.value(value_at, end)?;
        if name.is_empty() {
            let slip = Diagnostic::error("bad_variable", "there is no name before the `=`")
                .hint("write `NAME=value`");
            self.slips.push((slip, start + sign..start + sign + 1));
            return None;
        }
        if !names::is_variable(name) {
            let slip = Diagnostic::error("bad_variable", format!("`{name}` can't be a variable's name"))
                .hint(format!("write `{}`: letters, digits and `_`", names::valid_variable(name)));
            self.slips.push((slip, span));
            return None;
        }
        if value.contains('\0') {
            self.slips
                .push((Diagnostic::error("bad_variable", format!("variable `{name}` holds a NUL")), span));
            return None;
        }
        Some((name.to_owned(), span, value))
    }

    fn value(&mut self, at: usize, end: usize) -> Option<String> {
        let text = self.text;
        let rest = &text[at..end];
        let begin = at + rest.len() - rest.trim_start().len();
        let Some(quote @ ('\'' | '"')) = text[begin..end].chars().next() else {
            return Some(bare(rest).to_owned());
        };
        let mut value = String::new();
        let mut characters = text[begin + 1..].char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                _ if character == quote => {
                    let close = begin + 1 + offset;
                    let line_end = self.line_end(close);
                    self.at = (line_end + 1).min(text.len());
                    self.secrets.push(begin..line_end);
                    let after = &text[close + 1..line_end];
                    if !after.trim().is_empty() && !after.trim_start().starts_with('#') {
                        let slip = Diagnostic::error("after_quote", "nothing may follow the closing quote")
                            .hint("put the whole value inside the quotes");
                        let from = close + 1 + after.len() - after.trim_start().len();
                        self.slips.push((slip, from..line_end));
                        return None;
                    }
                    return Some(value);
                }
                '\\' if quote == '"' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some('r') => value.push('\r'),
                    Some('t') => value.push('\t'),
                    Some(escaped @ ('\\' | '"' | '$')) => value.push(escaped),
                    // As a shell does: a backslash before anything else is a backslash.
                    Some(other) => value.extend(['\\', other]),
                    None => {}
                },
                // A file from Windows has the same values.
                '\r' if text[begin + 1 + offset..].starts_with("\r\n") => {}
                _ => value.push(character),
            }
        }
        // Reading goes on behind this line, so that one forgotten quote hides no other mistake.
        let slip = Diagnostic::error("unclosed_quote", "this quote is never closed")
            .hint(format!("add the closing `{quote}`"));
        self.slips.push((slip, begin..begin + 1));
        None
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline)
    }
}

/// A value without quotes: a comment begins with `#` behind a blank, or at once.
fn bare(rest: &str) -> &str {
    let comment = rest
        .char_indices()
        .find(|(at, character)| *character == '#' && (*at == 0 || rest[..*at].ends_with([' ', '\t'])));
    comment.map_or(rest, |(at, _)| &rest[..at]).trim()
}
