//! Why a call of the toolkit was not done. One case stands apart because services act on it: the stream was not
//! where the caller thought it was. All others are faults.

use base::{Fault, Kind};
use std::fmt;

/// Why a call was not done.
#[derive(Debug)]
pub enum Error {
    /// The stream was not at the expected version, so nothing was written.
    WrongVersion {
        /// The stream's name.
        stream: String,
        /// What the caller expected, -1 for no stream.
        expected: i64,
        /// The position of its last message, -1 for none.
        actual: i64,
    },
    /// Anything else; it knows its kind, whose fault it is and whether to try again.
    Fault(Fault),
}

impl Error {
    /// An error of the service's own, such as that of its database.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Fault(Fault::new(Kind::Invalid, error.into().to_string()))
    }

    /// Whether another writer was faster, so that reading again and deciding again may help.
    pub fn is_wrong_version(&self) -> bool {
        matches!(self, Self::WrongVersion { .. })
    }

    /// Whether the same call may succeed later without anybody changing it: who was asked is not there, has too
    /// much to do or did not answer in time.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::WrongVersion { .. } => false,
            Self::Fault(fault) => matches!(fault.kind, Kind::Unavailable | Kind::Timeout),
        }
    }

    /// As a fault, for those who treat all alike.
    pub fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            wrong @ Self::WrongVersion { .. } => Fault::new(Kind::Conflict, wrong.to_string()),
        }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Fault(fault) => Self::Fault(fault.hint(hint)),
            wrong @ Self::WrongVersion { .. } => wrong,
        }
    }

    /// Puts words before what it says.
    pub(crate) fn at(self, place: impl fmt::Display) -> Self {
        match self {
            Self::Fault(mut fault) => {
                fault.message = format!("{place}: {}", fault.message);
                Self::Fault(fault)
            }
            wrong @ Self::WrongVersion { .. } => wrong,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongVersion { stream, expected, actual } => {
                write!(f, "stream `{stream}` is at version `{actual}`, expected was `{expected}`")
            }
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What was given makes no sense.
pub(crate) fn invalid(text: impl Into<String>) -> Error {
    Error::Fault(Fault::new(Kind::Invalid, text))
}
