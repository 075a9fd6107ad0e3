//! What is wrong with a text, in two voices: a diagnostic for people, and the sentence the original would
//! have printed for programs that look for it.

use base::Diagnostic;
use std::fmt;

/// One thing that is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What, where, and what to do about it.
    pub diagnostic: Diagnostic,
    compat: String,
    stage: Stage,
}

/// The original reads the whole text before it looks at the meaning of any route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Syntax,
    Meaning,
}

impl Error {
    pub(crate) fn new(stage: Stage, diagnostic: Diagnostic, compat: impl Into<String>) -> Self {
        Self { diagnostic, compat: compat.into(), stage }
    }

    /// The sentence the original prints for this error alone.
    pub fn compat(&self) -> &str {
        &self.compat
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.render(false))
    }
}

/// All that is wrong with a text, in the order of the text; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// These errors, or none if there are none.
    pub fn from_list(errors: Vec<Error>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }

    /// Their diagnostics.
    pub fn diagnostics(self) -> Vec<Diagnostic> {
        self.0.into_iter().map(|error| error.diagnostic).collect()
    }

    /// The one sentence the original prints for the text: it stops at its first error, and reads the whole
    /// text before it looks at the meaning of any route.
    pub fn compat(&self) -> &str {
        self.0.iter().min_by_key(|error| error.stage).map_or("", Error::compat)
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
impl std::error::Error for Errors {}
