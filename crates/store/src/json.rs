//! JSON in PostgreSQL's canonical form: what `jsonb` gives back as text. Keys by length, then by bytes; of a
//! key given twice the last; numbers of any size that keep their scale; no escapes but the needed ones.
//! Applications compare and hash what they read, so that this text has to be the same on every engine.

mod number;
mod parser;
mod text;

use crate::message::bounds::JSON_BYTES_MAX;
use std::borrow::Cow;
use std::fmt;

/// How deep arrays and objects may stand in each other. PostgreSQL's bound is its stack (`54001`).
pub const DEPTH_MAX: usize = 512;

/// A JSON value as its canonical text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Json(Box<str>);

impl Json {
    /// Reads any JSON text (RFC 8259), of at most [`JSON_BYTES_MAX`] bytes, and so its canonical text.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        parser::canonical(text).map(|text| Self(text.into_boxed_str()))
    }

    /// What [`Json::as_str`] gave and a store kept.
    pub(crate) fn trusted(text: &str) -> Self {
        Self(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A field of an object as PostgreSQL's `->>` gives it: a string's content, any other value's text; `None`
    /// for null, where there is no such field, and for what is no object.
    pub fn field(&self, key: &str) -> Option<Cow<'_, str>> {
        Self::field_of(&self.0, key)
    }

    /// [`Json::field`] of a canonical text.
    pub(crate) fn field_of<'a>(text: &'a str, key: &str) -> Option<Cow<'a, str>> {
        text::field(text, key)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Json {
    type Err = JsonError;
    fn from_str(text: &str) -> Result<Self, JsonError> {
        Self::parse(text)
    }
}

/// Why a text is not taken as JSON, in the terms of PostgreSQL 15, so that its answer can be given word for
/// word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The kind, which is PostgreSQL's SQLSTATE and message.
    pub kind: JsonErrorKind,
    /// PostgreSQL's DETAIL; empty where it gives none.
    pub detail: String,
    /// Where in the text, in bytes.
    pub offset: usize,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// It is not JSON.
    Syntax,
    /// A string holds `\u0000`, which no text of PostgreSQL can.
    Nul,
    /// A number beyond PostgreSQL's `numeric`: 131,072 digits before the point, 16,383 behind it.
    Number,
    /// Beyond [`DEPTH_MAX`].
    Depth,
    /// Beyond [`JSON_BYTES_MAX`], as it was given or in its canonical form.
    Size,
}

impl JsonErrorKind {
    /// PostgreSQL's SQLSTATE.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Self::Syntax => "22P02",
            Self::Nul => "22P05",
            Self::Number => "22003",
            Self::Depth => "54001",
            Self::Size => "54000",
        }
    }

    /// PostgreSQL's message.
    pub fn message(self) -> &'static str {
        match self {
            Self::Syntax => "invalid input syntax for type json",
            Self::Nul => "unsupported Unicode escape sequence",
            Self::Number => "value overflows numeric format",
            Self::Depth => "stack depth limit exceeded",
            Self::Size => "total size of jsonb exceeds the maximum",
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            JsonErrorKind::Syntax => "this is not JSON",
            JsonErrorKind::Nul => "a string holds `\\u0000`",
            JsonErrorKind::Number => "a number has too many digits",
            JsonErrorKind::Depth => return write!(f, "the JSON is deeper than `{DEPTH_MAX}`"),
            JsonErrorKind::Size => return write!(f, "the JSON has more than `{JSON_BYTES_MAX}` bytes"),
        };
        write!(f, "{what} at byte `{}`", self.offset)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests;
