//! What somebody wrote is wrong: the message, the place in the file, and a hint. One type and one way to
//! print it for every language Tombolo reads (eskip, the manifest, flags).

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A range of bytes in a source text.
pub type Span = Range<usize>;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It can't be used.
    Error,
    /// It can be used, but is likely not what was meant.
    Warning,
}

/// A named text that diagnostics point into. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What people know it by: a path, `<stdin>`, `--inline-routes`.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
    lines: Lines,
}

/// Where the lines of a text begin, found when the first position is asked for: a large file may have a
/// hundred thousand mistakes. It follows from the text, so any two are alike.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<OnceLock<Box<[usize]>>>);

impl PartialEq for Lines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lines {}

impl Source {
    /// A source of this name and text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into(), lines: Lines::default() }
    }

    /// The line and column of a byte offset, both from 1, columns in characters. An offset past the end
    /// is the end.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let starts = self.lines.0.get_or_init(|| {
            let after =
                self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after).collect()
        });
        let line = starts.partition_point(|start| *start <= offset);
        (line, self.text[starts[line - 1]..offset].chars().count() + 1)
    }
}

/// Where in which source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub source: Source,
    /// The bytes meant.
    pub span: Span,
}

/// One thing that is wrong with what somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable, machine-readable name such as `unknown_filter`.
    pub code: &'static str,
    /// One sentence in lower case, values in backticks, no final dot.
    pub message: String,
    /// Where, if it is about a place in a text.
    pub place: Option<Place>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), place: None, hint: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Points at bytes of a source.
    pub fn at(mut self, source: &Source, span: Span) -> Self {
        self.place = Some(Place { source: source.clone(), span });
        self
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds "did you mean", if a known name is near `word`.
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::did_you_mean(word, known) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// As people read it: message, place, the line with a caret, hint. With terminal colours if wanted.
    pub fn render(&self, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&self.message));
        if let Some(place) = &self.place {
            let text: &str = &place.source.text;
            let start = floor_char(text, place.span.start);
            let end = floor_char(text, place.span.end.max(start));
            // Only its first line is shown, so only that is given to the renderer: files can be long.
            let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
            let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
            let marked = start - line_start..end.min(line_end).max(start) - line_start;
            group = group.element(
                Snippet::source(&text[line_start..line_end])
                    .line_start(place.source.position(start).0)
                    .path(&*place.source.name)
                    .annotation(AnnotationKind::Primary.span(marked)),
            );
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// As machines read it.
    pub fn report(&self) -> Report {
        let position = self.place.as_ref().map(|place| place.source.position(place.span.start));
        Report {
            severity: self.severity,
            code: self.code,
            message: self.message.clone(),
            file: self.place.as_ref().map(|place| place.source.name.to_string()),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            hint: self.hint.clone(),
        }
    }
}

fn floor_char(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// A diagnostic for machines: the shape of `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// The file's name as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// From 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_diagnostic_shows_the_place_and_the_remedy() {
        let source = Source::new(
            "shop.eskip",
            "a: * -> <shunt>;\ncart: Path(\"/\u{e4}\") -> setQurey(\"a\") -> <shunt>",
        );
        let at = source.text.find("setQurey").unwrap();
        let diagnostic = Diagnostic::error("unknown_filter", "route `cart` names filter `setQurey`")
            .at(&source, at..at + 8)
            .suggest("setQurey", ["setQuery", "status"]);
        expect![[r#"
            error: route `cart` names filter `setQurey`
             --> shop.eskip:2:21
              |
            2 | cart: Path("/ä") -> setQurey("a") -> <shunt>
              |                     ^^^^^^^^
              |
              = hint: did you mean `setQuery`?"#]]
        .assert_eq(&diagnostic.render(false));
        let report = diagnostic.report();
        assert_eq!((report.line, report.column), (Some(2), Some(21)));
    }

    #[test]
    fn a_place_past_the_end_or_inside_a_character_is_no_reason_to_panic() {
        let source = Source::new("x", "\u{e4}\u{e4}");
        for span in [0..0, 1..3, 3..99, 99..100] {
            assert!(Diagnostic::error("x", "m").at(&source, span).render(true).contains('m'));
        }
        assert!(Diagnostic::error("x", "m").at(&Source::new("x", ""), 0..0).render(false).contains('m'));
    }
}
