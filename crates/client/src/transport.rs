//! The line between what services do with streams and where the streams are: over HTTP, or in this process. A
//! transport has one function for each question; waiting and trying again where a connection broke is its part,
//! what is asked is not.

mod http;
#[cfg(feature = "testing")]
mod in_process;
mod pool;

pub use self::http::Http;
#[cfg(feature = "testing")]
pub use in_process::InProcess;

use crate::{Error, MessageData, NewMessage};
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::time::Duration;

/// What a transport will answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Where streams are.
pub trait Transport: Send + Sync + 'static {
    /// Appends all of it or nothing, and answers when it is durable: one [`Appended`] for each [`Append`]. The same
    /// call with the same `key` appends nothing again and gets the same answer; with other messages it is refused.
    fn append(&self, appends: Vec<Append>, key: String) -> Answer<'_, Vec<Appended>>;

    /// One page of messages. With [`Read::wait`] it answers as soon as there is a message, or when that has passed.
    fn read(&self, read: Read) -> Answer<'_, Page>;

    /// The last message of a stream, or the last of a type.
    fn last<'a>(&'a self, stream: &'a str, kind: Option<&'a str>) -> Answer<'a, Option<MessageData>>;

    /// The position of a stream's last message, -1 for none.
    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64>;

    /// Takes a stream's messages away; a stream that is not there is none.
    fn delete<'a>(&'a self, stream: &'a str) -> Answer<'a, ()>;

    /// Messages that the server's consumer of this name hands out to be handled, at most `limit`. Waits so long for
    /// the first.
    fn take<'a>(&'a self, consumer: &'a str, limit: usize, wait: Duration) -> Answer<'a, Vec<Delivery>>;

    /// Says what became of deliveries; what each came to, in their order.
    fn acknowledge<'a>(&'a self, consumer: &'a str, acks: Vec<Ack>) -> Answer<'a, Vec<Acknowledged>>;

    /// A stream for one answer, for so long. What comes to it later is recorded in `reply:orphans`.
    fn lend_reply_stream(&self, hold: Duration) -> Answer<'_, String>;

    /// Nobody waits for an answer in this stream any more.
    fn give_back_reply_stream<'a>(&'a self, stream: &'a str) -> Answer<'a, ()>;
}

/// Messages for one stream, in this order.
#[derive(Clone, Debug)]
pub struct Append {
    /// The stream's name.
    pub stream: String,
    /// The position of its last message as the caller knows it, -1 for no stream; `None` takes any.
    pub expected_version: Option<i64>,
    /// At least one.
    pub messages: Vec<NewMessage>,
}

impl Append {
    /// One message for a stream.
    pub fn to(stream: impl Into<String>, message: impl Into<NewMessage>) -> Self {
        Self { stream: stream.into(), expected_version: None, messages: vec![message.into()] }
    }

    /// And one more.
    pub fn and(mut self, message: impl Into<NewMessage>) -> Self {
        self.messages.push(message.into());
        self
    }

    /// Only if the stream's last message stands at this position; -1 for no stream.
    pub fn expected_version(mut self, version: i64) -> Self {
        self.expected_version = Some(version);
        self
    }

    pub(crate) fn outgoing(&self) -> Result<OutgoingAppend<'_>, Error> {
        let messages = self.messages.iter().map(NewMessage::outgoing).collect::<Result<_, _>>()?;
        Ok(OutgoingAppend { stream_name: &self.stream, expected_version: self.expected_version, messages })
    }
}

/// Messages for one stream as JSON.
#[derive(Serialize)]
pub(crate) struct OutgoingAppend<'a> {
    stream_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_version: Option<i64>,
    pub(crate) messages: Vec<crate::message::Outgoing<'a>>,
}

/// Where the messages of an [`Append`] now stand, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Appended {
    /// The first message's position in its stream.
    pub first_position: i64,
    /// The last message's position in its stream: the stream's version now.
    pub last_position: i64,
    /// The first message's position in the store.
    pub first_global_position: i64,
    /// The last message's position in the store.
    pub last_global_position: i64,
}

/// Which messages are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one stream, by their position in it.
    Stream(String),
    /// Those of all streams of a category, by their position in the store.
    Category(String),
    /// All of them, by their position in the store.
    All,
}

/// A question for messages. Conditions join by "and".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which messages are looked at.
    pub scope: Scope,
    /// The first position that is looked at.
    pub from: i64,
    /// At most so many at once; [`crate::bounds::PAGE_MESSAGES_MAX`] is the most.
    pub limit: usize,
    /// Only messages of this type.
    pub kind: Option<String>,
    /// Only messages that belong to a flow which began in a stream of this category.
    pub correlation: Option<String>,
    /// Only messages of streams that are this member's share of a group: its number from 0, and the group's size.
    pub member: Option<(u16, u16)>,
    /// How long to wait for a message if there is none; at most [`crate::bounds::WAIT_MAX`].
    pub wait: Duration,
}

impl Read {
    fn new(scope: Scope) -> Self {
        let (kind, correlation, member) = (None, None, None);
        Self { scope, from: 0, limit: 1000, kind, correlation, member, wait: Duration::ZERO }
    }

    /// The messages of a stream from its beginning.
    pub fn stream(stream: impl Into<String>) -> Self {
        Self::new(Scope::Stream(stream.into()))
    }

    /// The messages of a category from its beginning.
    pub fn category(category: impl Into<String>) -> Self {
        Self::new(Scope::Category(category.into()))
    }

    /// All messages from the beginning.
    pub fn all() -> Self {
        Self::new(Scope::All)
    }

    /// Begins at this position.
    pub fn from(mut self, position: i64) -> Self {
        self.from = position;
        self
    }

    /// Takes at most so many at once.
    pub fn limit(mut self, messages: usize) -> Self {
        self.limit = messages;
        self
    }

    /// Takes only messages of this type.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Waits so long for a message if there is none.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// What a [`Read`] found.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Page {
    /// The messages, from old to new.
    pub messages: Vec<MessageData>,
    /// Where the next page begins.
    pub next: i64,
    /// Whether there may be more now.
    pub more: bool,
}

/// A message that the server's consumer hands out to be handled.
#[derive(Clone, Debug, Deserialize)]
pub struct Delivery {
    /// By what it is acknowledged.
    pub token: String,
    /// How often it was handed out, with this time.
    pub attempt: u32,
    /// The span of the delivery, as `traceparent` has it, where the server has spans: for `Client::in_trace` and for
    /// calls that the handler makes.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// The message.
    pub message: MessageData,
}

/// What became of a delivery.
#[derive(Clone, Debug)]
pub struct Ack {
    /// Of which.
    pub token: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a message that was handed out.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is handled; these are appended, once however often it is said.
    Done(Vec<Append>),
    /// It is to be handed out again later, for this reason.
    Retry(String),
    /// It will never be handled, for this reason.
    Dead(String),
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledged {
    /// It counts.
    Acknowledged,
    /// It came too late: the message was or will be handed out again, maybe to another.
    Lost,
    /// What follows from the message could not be appended: it will be handed out again.
    NotAppended,
}
