//! The questions a store answers, and its answers: pages of messages, lists of streams and categories.

use crate::message::bounds;
use crate::{Member, Message, names};

/// Which messages are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one stream, by their position in it.
    Stream(String),
    /// Those of all streams of a category (the stream of exactly that name included), by global position.
    Category(String),
    /// All of them, by global position.
    All,
}

/// From old to new or the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Positions go up.
    Forward,
    /// Positions go down.
    Backward,
}

/// A question for one page of messages. Conditions join by "and".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which messages are looked at.
    pub scope: Scope,
    /// The first position that is looked at, itself included: of the stream, otherwise the global one.
    pub from: i64,
    /// At most so many messages; [`bounds::PAGE_MESSAGES_MAX`] is the most.
    pub limit: usize,
    /// From old to new or the other way.
    pub direction: Direction,
    /// Only messages whose `metadata.correlationStreamName` is of this category.
    pub correlation: Option<String>,
    /// Only messages of streams that belong to this member of a consumer group.
    pub member: Option<Member>,
    /// Only messages of this type.
    pub kind: Option<String>,
    /// Only messages sequenced at this time or before it, in microseconds since the epoch.
    pub as_at: Option<i64>,
    /// Only messages up to this global position, itself included: what was there when somebody looked.
    pub until: Option<i64>,
}

impl Read {
    fn new(scope: Scope, from: i64) -> Self {
        Self {
            scope,
            from,
            limit: 1000,
            direction: Direction::Forward,
            correlation: None,
            member: None,
            kind: None,
            as_at: None,
            until: None,
        }
    }

    /// The messages of a stream from its beginning; a thousand at most.
    pub fn stream(stream: impl Into<String>) -> Self {
        Self::new(Scope::Stream(stream.into()), 0)
    }

    /// The messages of a category from its beginning; a thousand at most.
    pub fn category(category: impl Into<String>) -> Self {
        Self::new(Scope::Category(category.into()), 1)
    }

    /// All messages from the beginning; a thousand at most.
    pub fn all() -> Self {
        Self::new(Scope::All, 1)
    }

    /// Begins at this position.
    pub fn from(mut self, position: i64) -> Self {
        self.from = position;
        self
    }

    /// Takes at most so many.
    pub fn limit(mut self, messages: usize) -> Self {
        self.limit = messages;
        self
    }

    /// Goes back from the last message; [`Read::from`] after this begins elsewhere.
    pub fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self.from = i64::MAX;
        self
    }

    /// Takes only messages that say they belong to a stream of this category.
    pub fn correlation(mut self, category: impl Into<String>) -> Self {
        self.correlation = Some(category.into());
        self
    }

    /// Takes only what this member of a consumer group is to handle.
    pub fn member(mut self, member: Member) -> Self {
        self.member = Some(member);
        self
    }

    /// Takes only messages of this type.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Takes only what had been sequenced at a time, in microseconds since the epoch.
    pub fn as_at(mut self, time: i64) -> Self {
        self.as_at = Some(time);
        self
    }

    /// Takes only what stands at or before a global position.
    pub fn until(mut self, global_position: i64) -> Self {
        self.until = Some(global_position);
        self
    }

    /// The limit that holds.
    pub(crate) fn messages_max(&self) -> usize {
        self.limit.min(bounds::PAGE_MESSAGES_MAX)
    }

    /// Whether a message fits the conditions that need no index: the member and the type.
    pub(crate) fn takes(&self, stream: &str, kind: &str) -> bool {
        self.kind.as_deref().is_none_or(|wanted| wanted == kind)
            && self.member.is_none_or(|member| member.takes(stream))
    }
}

/// What a [`Read`] found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    /// The messages, in the direction asked for.
    pub messages: Vec<Message>,
    /// Where the next page begins: the same [`Read`] from here skips nothing and repeats nothing. Conditions
    /// are taken into account, so a consumer may move on over messages that were not for it.
    pub next: i64,
    /// Whether the page ended at a limit, so that there may be more now.
    pub more: bool,
}

/// Which messages are to go for good. Their positions stay empty and the positions of others as they are; their
/// ids may be used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Those of a stream.
    Stream {
        /// Its name.
        stream: String,
        /// Before this position.
        before: i64,
    },
    /// The oldest of a category: those that either condition is for.
    Category {
        /// Its name.
        category: String,
        /// Those sequenced before this time, in microseconds since the epoch.
        before: Option<i64>,
        /// Those beyond the newest so many, counting what was removed before.
        keep: Option<u64>,
    },
}

/// A question for streams, in the order of their names' bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StreamList {
    /// Only names that begin so.
    pub prefix: String,
    /// Only streams of this category.
    pub category: Option<String>,
    /// Only names behind this one: the last of the page before.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl StreamList {
    /// Names have to begin so; a category's name is the beginning of its streams' names.
    pub(crate) fn beginning(&self) -> &str {
        match &self.category {
            Some(category) if category.len() > self.prefix.len() => category,
            _ => &self.prefix,
        }
    }

    pub(crate) fn takes(&self, stream: &str) -> bool {
        stream.starts_with(&self.prefix)
            && self.category.as_deref().is_none_or(|category| names::category(stream) == category)
            && self.after.as_deref().is_none_or(|after| stream > after)
    }
}

/// One stream of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub stream: String,
    /// The position of its last message.
    pub version: i64,
}

/// One category of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryInfo {
    /// Its name.
    pub category: String,
    /// How many messages were appended to its streams.
    pub messages: u64,
}
