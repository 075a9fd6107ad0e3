//! All that is wrong with the texts of one command: gathered, put in the order of the texts, and shown to people
//! or programs. A text of many megabytes may have a mistake in each line, so lines are counted once.

use crate::term::{CYAN, RED, YELLOW, count, err, paint, plural};
use base::{Diagnostic, Report, Severity, Source};
use std::collections::{HashMap, HashSet};
use std::process::ExitCode;

/// So many mistakes are shown to people; who mends these will ask again. `--json` has all.
const SHOWN_MAX: usize = 100;

/// What is wrong.
#[derive(Default)]
pub(super) struct Told {
    /// With the name of the file, for those that could not be read and so have no place.
    unreadable: Vec<(String, Diagnostic)>,
    diagnostics: Vec<Diagnostic>,
    /// The texts in the order in which they were read, by their address.
    texts: HashMap<*const u8, usize>,
}

impl Told {
    /// Notes that a text was read: what is wrong with it comes behind what is wrong with those before.
    pub(super) fn read(&mut self, source: &Source) {
        let next = self.texts.len();
        self.texts.entry(source.text.as_ptr()).or_insert(next);
    }

    /// Adds that a file can't be read.
    pub(super) fn unreadable(&mut self, name: &str, diagnostic: Diagnostic) {
        self.unreadable.push((name.to_owned(), diagnostic));
    }

    /// Adds what is wrong with what was read.
    pub(super) fn extend(&mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) {
        self.diagnostics.extend(diagnostics);
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.unreadable.is_empty() && self.diagnostics.is_empty()
    }

    /// Whether a file could not be read.
    pub(super) fn is_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Shows people what is wrong, in the order of the texts, and a closing line with `behind` at its end.
    pub(super) fn show(&mut self, behind: &str) {
        if self.is_empty() {
            return;
        }
        self.sort();
        let all: Vec<Diagnostic> = self
            .unreadable
            .iter()
            .map(|(_, diagnostic)| diagnostic)
            .chain(&self.diagnostics)
            .cloned()
            .collect();
        for diagnostic in all.iter().take(SHOWN_MAX) {
            match &diagnostic.place {
                Some(_) => err(diagnostic.render(true)),
                // Without a text there is no line to point at.
                None => show_plain(diagnostic),
            }
            err("");
        }
        let places = self.diagnostics.iter().filter_map(|diagnostic| diagnostic.place.as_ref());
        let mut files: HashSet<&str> = places.map(|place| &*place.source.name).collect();
        files.extend(self.unreadable.iter().map(|(name, _)| name.as_str()));
        let shown = match all.len() {
            0..=SHOWN_MAX => String::new(),
            _ => format!(", the first {SHOWN_MAX} are shown"),
        };
        let files = match files.len() {
            0 => String::new(),
            number => format!(" in {}", plural(number, "file")),
        };
        err(format_args!("{}{files}{shown}{behind}", count(&all).unwrap_or_default()));
    }

    /// Shows what is wrong, if anything is: then nothing else can be done.
    pub(super) fn refuse(&mut self) -> Option<ExitCode> {
        self.show("");
        (!self.is_empty()).then_some(ExitCode::FAILURE)
    }

    /// How a command ends that did nothing but look: with a failure if there is an error.
    pub(super) fn exit(&self) -> ExitCode {
        let errors = self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        if errors || self.is_unreadable() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// What is wrong as programs read it, all of it, in the order of the texts.
    pub(super) fn reports(&mut self) -> Vec<Report> {
        self.sort();
        let named = |(name, diagnostic): &(String, Diagnostic)| Report {
            file: Some(name.clone()),
            ..diagnostic.report()
        };
        let mut reports: Vec<Report> = self.unreadable.iter().map(named).collect();
        let mut texts: HashMap<*const u8, Lines<'_>> = HashMap::new();
        for diagnostic in &self.diagnostics {
            let position = diagnostic.place.as_ref().map(|place| {
                let text = &place.source.text;
                let lines = texts.entry(text.as_ptr()).or_insert_with(|| Lines::of(text));
                lines.position(place.span.start)
            });
            reports.push(Report {
                severity: diagnostic.severity,
                code: diagnostic.code,
                message: diagnostic.message.clone(),
                file: diagnostic.place.as_ref().map(|place| place.source.name.to_string()),
                line: position.map(|(line, _)| line),
                column: position.map(|(_, column)| column),
                hint: diagnostic.hint.clone(),
            });
        }
        reports
    }

    fn sort(&mut self) {
        self.diagnostics.sort_by_key(|diagnostic| {
            let place = diagnostic.place.as_ref();
            place.map(|place| (self.texts.get(&place.source.text.as_ptr()).copied(), place.span.start))
        });
    }
}

fn show_plain(diagnostic: &Diagnostic) {
    let (style, word) = match diagnostic.severity {
        Severity::Error => (RED, "error"),
        Severity::Warning => (YELLOW, "warning"),
    };
    err(format_args!("{}: {}", paint(style.bold(), word), diagnostic.message));
    if let Some(hint) = &diagnostic.hint {
        err(format_args!("{}: {hint}", paint(CYAN.bold(), "hint")));
    }
}

/// Where the lines of a text begin.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// The lines of this text.
    pub(super) fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte, both from 1, columns in characters: what `base::Source::position` answers,
    /// without walking the text from its beginning.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_source() {
        for text in ["", "\n", "a\nb", "\u{e4}\n\n\u{e4}b\n", "no end"] {
            let source = Source::new("t", text);
            for offset in 0..text.len() + 3 {
                assert_eq!(Lines::of(text).position(offset), source.position(offset), "{text:?} {offset}");
            }
        }
    }

    #[test]
    fn what_is_told_follows_the_texts_not_the_checks() {
        let (first, second) = (Source::new("first", "a\nb\nc"), Source::new("second", "d"));
        let at = |source: &Source, at: usize| Diagnostic::error("x", "m").at(source, at..at + 1);
        let mut told = Told::default();
        told.read(&first);
        told.read(&second);
        told.extend([at(&second, 0)]);
        told.extend([at(&first, 4), at(&first, 0)]);
        told.unreadable("third", Diagnostic::error("y", "gone"));
        let places: Vec<String> = told
            .reports()
            .into_iter()
            .map(|report| format!("{} {:?}", report.file.unwrap_or_default(), report.line))
            .collect();
        assert_eq!(places, ["third None", "first Some(1)", "first Some(3)", "second Some(1)"]);
    }
}
