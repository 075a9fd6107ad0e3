//! What goes into a store and what comes out of it, and the bounds of both.

use crate::{Json, Uuid};
use base::{Fault, Kind};
use std::fmt;

/// The written limits of messages. A PostgreSQL engine holds them too, so that an application does not
/// depend on where its messages are kept.
pub mod bounds {
    /// Bytes of the name of a stream or of a type. Message DB's index on streams ends at about 2,700.
    pub const NAME_BYTES_MAX: usize = 2_048;
    /// Bytes of data and metadata of one message, each.
    pub const JSON_BYTES_MAX: usize = 8 << 20;
    /// Messages of one call of append, over all its streams.
    pub const APPEND_MESSAGES_MAX: usize = 10_000;
    /// Bytes of one call of append, over all its streams.
    pub const APPEND_BYTES_MAX: usize = 20 << 20;
    /// Messages of one page of reading.
    pub const PAGE_MESSAGES_MAX: usize = 10_000;
    /// Bytes of one page of reading; one message more may pass it.
    pub const PAGE_BYTES_MAX: usize = 16 << 20;
}

/// A message to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Unique in the whole store.
    pub id: Uuid,
    /// The name of its type, such as `OrderPlaced`.
    pub kind: String,
    /// What it says.
    pub data: Option<Json>,
    /// What is to be known about it, such as `correlationStreamName`.
    pub metadata: Option<Json>,
}

/// Messages to be appended to one stream, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The stream's name.
    pub stream: String,
    /// The position of the stream's last message as the caller knows it, -1 for none; `None` takes any.
    pub expected_version: Option<i64>,
    /// At least one.
    pub messages: Vec<NewMessage>,
}

/// Where the messages of an [`Append`] now stand. Both ranges include their ends. Positions in the stream have no gap;
/// global ones neither, but in PostgreSQL, where others may append at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first message's position in its stream; the first of a stream is 0.
    pub first_position: i64,
    /// The last message's position in its stream: the stream's version now.
    pub last_position: i64,
    /// The first message's position in the store; the first of a store is 1.
    pub first_global_position: i64,
    /// The last message's position in the store.
    pub last_global_position: i64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub time: i64,
}

/// A message as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique in the whole store.
    pub id: Uuid,
    /// The stream's name.
    pub stream: String,
    /// The name of its type.
    pub kind: String,
    /// Its position in its stream, from 0.
    pub position: i64,
    /// Its position in the store, from 1.
    pub global_position: i64,
    /// What it says.
    pub data: Option<Json>,
    /// What is to be known about it.
    pub metadata: Option<Json>,
    /// When it was sequenced, in microseconds since 1970-01-01T00:00:00Z. Never less than the time of a
    /// message before it, even where the machine's clock was set back.
    pub time: i64,
}

/// Why nothing of a call of append was appended.
#[derive(Debug)]
pub enum AppendError {
    /// The stream is not where the caller thought it was.
    WrongVersion {
        /// The stream's name.
        stream: String,
        /// What the caller expected.
        expected: i64,
        /// The position of its last message, -1 for none.
        actual: i64,
    },
    /// A message of this id is there already, or twice in the call.
    DuplicateId {
        /// The id.
        id: Uuid,
    },
    /// Beyond a limit in [`bounds`], or nothing to append.
    Refused(Fault),
    /// The store could not keep it. [`Fault::retry`] says whether it may have been kept nevertheless.
    Failed(Fault),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongVersion { stream, expected, actual } => {
                write!(f, "stream `{stream}` is at version `{actual}`, expected was `{expected}`")
            }
            Self::DuplicateId { id } => write!(f, "a message of id `{id}` is there already"),
            Self::Refused(fault) | Self::Failed(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for AppendError {}

impl From<AppendError> for Fault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Refused(fault) | AppendError::Failed(fault) => fault,
            other => Fault::new(Kind::Conflict, other.to_string()),
        }
    }
}

/// Refuses what is beyond a limit in [`bounds`], as [`crate::Store::append`] does before any engine sees it.
pub fn check(appends: &[Append]) -> Result<(), Fault> {
    let invalid = |text: String| Err(Fault::new(Kind::Invalid, text));
    let (mut messages, mut bytes) = (0, 0);
    for append in appends {
        check_name("stream", &append.stream)?;
        if append.messages.is_empty() {
            return invalid(format!("there is no message to append to `{}`", append.stream));
        }
        messages += append.messages.len();
        for message in &append.messages {
            check_name("type", &message.kind)?;
            let size = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
            bytes += append.stream.len() + message.kind.len() + size(&message.data) + size(&message.metadata);
        }
    }
    if messages == 0 {
        return invalid("there is nothing to append".to_owned());
    }
    let too_much = |what: &str, is: usize, max: usize| {
        Err(Fault::new(Kind::TooMuch, format!("`{is}` {what} in one append, at most `{max}` go"))
            .retry(base::Retry::No)
            .hint("append in several calls, or keep large contents elsewhere and append their address"))
    };
    if messages > bounds::APPEND_MESSAGES_MAX {
        return too_much("messages", messages, bounds::APPEND_MESSAGES_MAX);
    }
    if bytes > bounds::APPEND_BYTES_MAX {
        return too_much("bytes", bytes, bounds::APPEND_BYTES_MAX);
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), Fault> {
    if name.len() > bounds::NAME_BYTES_MAX {
        let text = format!(
            "the name of a {what} has `{}` bytes, at most `{}` go",
            name.len(),
            bounds::NAME_BYTES_MAX
        );
        return Err(Fault::new(Kind::Invalid, text));
    }
    // PostgreSQL's text holds no NUL either.
    if name.contains('\0') {
        return Err(Fault::new(Kind::Invalid, format!("the name of a {what} holds a NUL character")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn append(stream: &str, kind: &str, messages: usize) -> Append {
        let message = NewMessage { id: Uuid::nil(), kind: kind.into(), data: None, metadata: None };
        Append { stream: stream.into(), expected_version: None, messages: vec![message; messages] }
    }

    fn refused(appends: &[Append], expected: Expect) {
        expected.assert_eq(&super::check(appends).unwrap_err().to_string());
    }

    #[test]
    fn an_append_keeps_within_its_bounds() {
        super::check(&[append("a-1", "T", bounds::APPEND_MESSAGES_MAX)]).unwrap();
        super::check(&[append(&"s".repeat(bounds::NAME_BYTES_MAX), "", 1)]).unwrap();
        refused(&[], expect!["there is nothing to append"]);
        refused(
            &[append("a-1", "T", 1), append("b", "T", 0)],
            expect!["there is no message to append to `b`"],
        );
        refused(
            &[append("a-1", "T", 9_999), append("a-1", "T", 2)],
            expect!["`10001` messages in one append, at most `10000` go"],
        );
        refused(
            &[append(&"s".repeat(2_049), "T", 1)],
            expect!["the name of a stream has `2049` bytes, at most `2048` go"],
        );
        refused(&[append("s", "T\0", 1)], expect!["the name of a type holds a NUL character"]);
        let mut large = append("s", "T", 3);
        for message in &mut large.messages {
            message.data = Some(Json::parse(&format!("\"{}\"", "x".repeat(7 << 20))).unwrap());
        }
        refused(&[large], expect!["`22020108` bytes in one append, at most `20971520` go"]);
    }
}
