//! What a client of PostgreSQL is told when something is wrong: the fields of its `ErrorResponse` and
//! `NoticeResponse`, with PostgreSQL's codes and texts (documentation of PostgreSQL 15, 55.8 and appendix A).

use base::{Fault, Kind};
use std::fmt;

/// The answer of whatever may end in an error of PostgreSQL's.
pub(crate) type Sql<T> = Result<T, Box<SqlError>>;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The connection ends.
    Fatal,
    /// The statement fails, and with it the transaction.
    Error,
    /// Something to know.
    Warning,
    /// Something said along the way.
    Notice,
}

impl Severity {
    /// Its word in the protocol.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }
}

/// An error, a warning or a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqlError {
    pub(crate) severity: Severity,
    /// SQLSTATE.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Within what it happened.
    pub(crate) context: Option<String>,
    /// Where in the statement, in bytes from 0.
    pub(crate) at: Option<usize>,
    /// Whether it concerns the table `messages`.
    pub(crate) table: bool,
    pub(crate) column: Option<&'static str>,
    pub(crate) constraint: Option<&'static str>,
}

impl SqlError {
    /// An error of this SQLSTATE.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Box<Self> {
        Self::of(Severity::Error, code, message)
    }

    /// The connection ends for this reason.
    pub(crate) fn fatal(code: &'static str, message: impl Into<String>) -> Box<Self> {
        Self::of(Severity::Fatal, code, message)
    }

    /// Something said along the way.
    pub(crate) fn notice(message: impl Into<String>) -> Box<Self> {
        Self::of(Severity::Notice, "00000", message)
    }

    /// Something to know.
    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Box<Self> {
        Self::of(Severity::Warning, code, message)
    }

    fn of(severity: Severity, code: &'static str, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            severity,
            code,
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            at: None,
            table: false,
            column: None,
            constraint: None,
        })
    }

    /// What PostgreSQL can do and this interface does not, with what it does serve.
    pub(crate) fn not_served(what: impl fmt::Display) -> Box<Self> {
        Self::new("0A000", format!("{what} is not served here")).hint(
            "served are Message DB's functions, SELECT from messages and its views with WHERE, ORDER BY, LIMIT, \
             count, min and max, INSERT INTO messages, transactions, SET, SHOW, LISTEN and NOTIFY",
        )
    }

    pub(crate) fn detail(mut self: Box<Self>, detail: impl Into<String>) -> Box<Self> {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn context(mut self: Box<Self>, context: impl Into<String>) -> Box<Self> {
        self.context = Some(context.into());
        self
    }

    /// Says where, unless something closer did.
    pub(crate) fn at(mut self: Box<Self>, at: usize) -> Box<Self> {
        self.at.get_or_insert(at);
        self
    }

    /// It concerns the table `messages` and this constraint of it.
    pub(crate) fn constraint(mut self: Box<Self>, name: &'static str) -> Box<Self> {
        self.table = true;
        self.constraint = Some(name);
        self
    }

    /// It concerns the table `messages` and this column of it.
    pub(crate) fn column(mut self: Box<Self>, name: &'static str) -> Box<Self> {
        self.table = true;
        self.column = Some(name);
        self
    }
}

/// A fault of the store, in PostgreSQL's classes.
impl From<Fault> for Box<SqlError> {
    fn from(fault: Fault) -> Self {
        let code = match fault.kind {
            Kind::Invalid => "22023",
            Kind::NotFound => "02000",
            Kind::Conflict => "40001",
            Kind::Refused => "42501",
            Kind::TooMuch => "54000",
            Kind::Timeout => "57014",
            Kind::Unavailable => "57P03",
            Kind::Io => "58030",
            Kind::Bug => "XX000",
        };
        let error = SqlError::new(code, fault.to_string());
        match fault.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
