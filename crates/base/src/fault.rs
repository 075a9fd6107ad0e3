//! The one error type for what goes wrong while running: what kind, whose fault, whether to try again,
//! and what to do about it. Libraries return it; the binary prints it; one place turns it into replies.

use std::fmt;

/// What went wrong, in the terms a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was given makes no sense.
    Invalid,
    /// What was asked for is not there.
    NotFound,
    /// It is there, but in another state than the caller thought.
    Conflict,
    /// The caller may not.
    Refused,
    /// A written limit was reached.
    TooMuch,
    /// It took too long.
    Timeout,
    /// A neighbour could not be reached or broke off.
    Unavailable,
    /// A file, disk or socket of this machine failed.
    Io,
    /// Our own mistake.
    Bug,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Who called or wrote the input.
    Caller,
    /// A service, file or machine we depend on.
    Neighbour,
    /// Tombolo itself.
    Us,
}

/// Whether the same call may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It would fail again.
    No,
    /// It did not begin: trying again is safe.
    Safe,
    /// It may have happened: only an idempotent call may be tried again.
    IfIdempotent,
}

/// An error that knows its kind, whose fault it is and whether to retry.
#[derive(Debug)]
pub struct Fault {
    /// What went wrong.
    pub kind: Kind,
    /// Whose fault it is.
    pub blame: Blame,
    /// Whether to try again.
    pub retry: Retry,
    /// One sentence in lower case, values in backticks, no final dot.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// A fault of this kind; blame and retry follow from the kind until said otherwise.
    #[cold]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let (blame, retry) = match kind {
            Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::Refused => (Blame::Caller, Retry::No),
            Kind::TooMuch => (Blame::Caller, Retry::Safe),
            Kind::Timeout | Kind::Unavailable => (Blame::Neighbour, Retry::IfIdempotent),
            Kind::Io => (Blame::Neighbour, Retry::No),
            Kind::Bug => (Blame::Us, Retry::No),
        };
        Self { kind, blame, retry, message: message.into(), hint: None, source: None }
    }

    /// Says whose fault it is.
    pub fn blame(mut self, blame: Blame) -> Self {
        self.blame = blame;
        self
    }

    /// Says whether to try again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what it came from.
    #[cold]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            let mut text = source.to_string();
            let mut next = source.source();
            while let Some(deeper) = next {
                // Many errors print their source themselves: say nothing twice.
                let more = deeper.to_string();
                if !text.contains(&more) {
                    text.push_str(": ");
                    text.push_str(&more);
                }
                next = deeper.source();
            }
            write!(f, ": {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::TimedOut => Kind::Timeout,
            _ => Kind::Io,
        };
        Fault::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_it_came_from_once() {
        let io = std::io::Error::new(std::io::ErrorKind::AddrInUse, "address in use");
        let fault =
            Fault::new(Kind::Io, "cannot listen on `127.0.0.1:9090`").because(io).hint("stop the other one");
        assert_eq!(fault.to_string(), "cannot listen on `127.0.0.1:9090`: address in use");
        assert_eq!(fault.hint.as_deref(), Some("stop the other one"));
        assert_eq!((fault.blame, fault.retry), (Blame::Neighbour, Retry::No));
    }
}
