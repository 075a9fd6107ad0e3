//! What is to be known about a message beside what it says: where it stands, what it was caused by, what it belongs
//! to and where a reply goes. Fields and their JSON names are Eventide's, so that services in Ruby and in Rust
//! follow each other.

use crate::names;
use base::UnixTime;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Names the span that something belongs to: a field of a call, and of what is kept of a message.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The metadata of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The stream it stands in. Known once it was written; never stored.
    #[serde(skip)]
    pub stream_name: Option<String>,
    /// Its position in its stream. Known once it was written; never stored.
    #[serde(skip)]
    pub position: Option<i64>,
    /// Its position in the store. Known once it was written; never stored.
    #[serde(skip)]
    pub global_position: Option<i64>,
    /// When it was written. Known once it was written; never stored.
    #[serde(skip)]
    pub time: Option<UnixTime>,
    /// The trace that it is written in, as `traceparent` has it (W3C Trace Context): told with the append and never
    /// stored. What stands in the message is the span of its append.
    #[serde(skip)]
    pub trace: Option<String>,
    /// The stream of the message that this one follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_message_stream_name: Option<String>,
    /// The position of the message that this one follows, in its stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_message_position: Option<i64>,
    /// The position of the message that this one follows, in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_message_global_position: Option<i64>,
    /// The stream where the flow of messages that this one belongs to began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_stream_name: Option<String>,
    /// Where a reply goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_stream_name: Option<String>,
    /// What travels along with all that follows.
    #[serde(default, deserialize_with = "map", skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
    /// What belongs to this message alone.
    #[serde(default, deserialize_with = "map", skip_serializing_if = "Map::is_empty")]
    pub local_properties: Map<String, Value>,
    /// The version of the message's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
    /// Fields of others, such as `traceparent`, which names the span of its append. They are kept as they are.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// `null` stands for nothing.
fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Option::<Map<String, Value>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Metadata {
    /// Continues where `previous` left off: that is the cause of this, and its correlation, reply stream, trace and
    /// properties are taken over. Local properties are not.
    pub fn follow(&mut self, previous: &Metadata) {
        self.causation_message_stream_name.clone_from(&previous.stream_name);
        self.causation_message_position = previous.position;
        self.causation_message_global_position = previous.global_position;
        self.correlation_stream_name.clone_from(&previous.correlation_stream_name);
        self.reply_stream_name.clone_from(&previous.reply_stream_name);
        let kept = || previous.others.get(TRACEPARENT)?.as_str().map(str::to_owned);
        if let Some(trace) = kept().or_else(|| previous.trace.clone()) {
            self.trace = Some(trace);
        }
        for (name, value) in &previous.properties {
            self.properties.insert(name.clone(), value.clone());
        }
    }

    /// Whether this is the metadata of a message that follows `previous`, which must have been written.
    pub fn follows(&self, previous: &Metadata) -> bool {
        let is_cause = previous.stream_name.is_some()
            && previous.position.is_some()
            && previous.global_position.is_some()
            && self.causation_message_stream_name == previous.stream_name
            && self.causation_message_position == previous.position
            && self.causation_message_global_position == previous.global_position;
        let keeps = |mine: &Option<String>, theirs: &Option<String>| theirs.is_none() || mine == theirs;
        is_cause
            && keeps(&self.correlation_stream_name, &previous.correlation_stream_name)
            && keeps(&self.reply_stream_name, &previous.reply_stream_name)
    }

    /// Where it stands, as `stream/position`; `None` unless it was written.
    pub fn identifier(&self) -> Option<String> {
        Some(format!("{}/{}", self.stream_name.as_ref()?, self.position?))
    }

    /// Where the message stands that it follows, as `stream/position`.
    pub fn causation_identifier(&self) -> Option<String> {
        Some(format!("{}/{}", self.causation_message_stream_name.as_ref()?, self.causation_message_position?))
    }

    /// Whether it belongs to a flow that began in this stream, or in a stream of this category.
    pub fn is_correlated(&self, stream_or_category: &str) -> bool {
        self.correlation_stream_name.as_deref().is_some_and(|began| {
            let began = if names::is_category(stream_or_category) { names::category(began) } else { began };
            began == stream_or_category
        })
    }

    /// Whether somebody waits for a reply.
    pub fn wants_reply(&self) -> bool {
        self.reply_stream_name.is_some()
    }

    /// Whether there is nothing to be stored.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            stream_name: _,
            position: _,
            global_position: _,
            time: _,
            trace: _,
            causation_message_stream_name,
            causation_message_position,
            causation_message_global_position,
            correlation_stream_name,
            reply_stream_name,
            properties,
            local_properties,
            schema_version,
            others,
        } = self;
        causation_message_stream_name.is_none()
            && causation_message_position.is_none()
            && causation_message_global_position.is_none()
            && correlation_stream_name.is_none()
            && reply_stream_name.is_none()
            && properties.is_empty()
            && local_properties.is_empty()
            && schema_version.is_none()
            && others.is_empty()
    }
}

impl AsRef<Metadata> for Metadata {
    fn as_ref(&self) -> &Metadata {
        self
    }
}

#[cfg(test)]
mod tests;
