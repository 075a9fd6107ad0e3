//! Why a route can't serve: what is wrong with it, where, and what to do about it, in our words and in
//! those that Skipper's users know.

use base::{Diagnostic, Source, Span};
use std::fmt;

/// Why a route can't serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A stable, machine-readable name; Skipper's where it has one, such as `unknown_predicate`.
    pub code: &'static str,
    /// One sentence in lower case, values in backticks, no final dot.
    pub message: String,
    /// The bytes of the source it is about.
    pub span: Option<Span>,
    /// What to do about it.
    pub hint: Option<String>,
    compat: Option<String>,
}

impl Refusal {
    /// A refusal that does not say where.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span: None, hint: None, compat: None }
    }

    /// Points at bytes of the source.
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds "did you mean", if a known name is near `word`.
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match base::did_you_mean(word, known) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Sets the sentence that Skipper has for this, without the code.
    pub fn skipper(mut self, sentence: impl Into<String>) -> Self {
        self.compat = Some(sentence.into());
        self
    }

    /// Code and sentence as Skipper writes them, for programs that look for them.
    pub fn compat(&self) -> String {
        format!("{}: {}", self.code, self.compat.as_ref().unwrap_or(&self.message))
    }

    /// The same for people, about a route of this id in this source.
    pub fn diagnostic(&self, id: &str, source: Option<&Source>) -> Diagnostic {
        let message =
            if id.is_empty() { self.message.clone() } else { format!("route `{id}`: {}", self.message) };
        let mut diagnostic = Diagnostic::error(self.code, message);
        if let (Some(source), Some(span)) = (source, &self.span) {
            diagnostic = diagnostic.at(source, span.clone());
        }
        diagnostic.hint.clone_from(&self.hint);
        diagnostic
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
