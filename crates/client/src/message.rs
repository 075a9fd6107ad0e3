//! Messages: typed ones of a service ([`Message`]), one on its way into a stream ([`NewMessage`]), one as it was
//! written ([`MessageData`]) and that again with its type ([`Received`]).

use crate::error::invalid;
use crate::{Error, Metadata, time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The type of the message that is left of a deleted stream.
pub(crate) const TOMBSTONE: &str = "$deleted";

/// What a service says in a stream: data that serde knows, and the name of its type. [`messages!`] implements it for
/// types whose name is that of their messages.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tombolo_client::{Message, NewMessage};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Placed {
///     total_cents: u32,
/// }
///
/// impl Message for Placed {
///     const TYPE: &str = "Placed";
/// }
///
/// let message = NewMessage::from(Placed { total_cents: 4200 });
/// assert_eq!(message.kind(), "Placed");
/// assert_eq!(message.data().unwrap(), Some(r#"{"totalCents":4200}"#));
/// ```
pub trait Message: Serialize + DeserializeOwned {
    /// The type's name in streams.
    const TYPE: &'static str;

    /// It as the next message of a flow: see [`Metadata::follow`].
    fn following(&self, previous: &impl AsRef<Metadata>) -> NewMessage {
        NewMessage::of(self).follow(previous)
    }
}

/// Implements [`Message`] for types under their own names.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use tombolo_client::{Message, messages};
///
/// #[derive(Serialize, Deserialize)]
/// struct Placed {}
/// #[derive(Serialize, Deserialize)]
/// struct Paid {}
///
/// messages!(Placed, Paid);
/// assert_eq!(Paid::TYPE, "Paid");
/// ```
#[macro_export]
macro_rules! messages {
    ($($type:ident),+ $(,)?) => {
        $(impl $crate::Message for $type {
            const TYPE: &'static str = stringify!($type);
        })+
    };
}

/// A message to be written.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub(crate) id: Option<Uuid>,
    pub(crate) kind: String,
    /// Its text, or why it can't be told as JSON: said when it is to be written.
    data: Result<Option<Box<RawValue>>, String>,
    /// What is to be known about it.
    pub metadata: Metadata,
}

impl NewMessage {
    /// One that says this.
    pub fn of<M: Message>(message: &M) -> Self {
        Self::untyped(M::TYPE, message)
    }

    /// One of any type, for those who have no Rust type for it.
    pub fn untyped(kind: impl Into<String>, data: &impl Serialize) -> Self {
        let data = serde_json::value::to_raw_value(data).map_err(|error| error.to_string());
        let data = data.map(|data| Some(data).filter(|data| data.get() != "null"));
        Self { id: None, kind: kind.into(), data, metadata: Metadata::default() }
    }

    /// With an id of its own. A second message of the same id is refused.
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// As the next message of a flow: see [`Metadata::follow`].
    pub fn follow(mut self, previous: &impl AsRef<Metadata>) -> Self {
        self.metadata.follow(previous.as_ref());
        self
    }

    /// As the beginning of a flow, or part of one, that is known by this stream.
    pub fn correlate(mut self, stream: impl Into<String>) -> Self {
        self.metadata.correlation_stream_name = Some(stream.into());
        self
    }

    /// With a stream where replies go.
    pub fn reply_to(mut self, stream: impl Into<String>) -> Self {
        self.metadata.reply_stream_name = Some(stream.into());
        self
    }

    /// With the version of its form.
    pub fn schema_version(mut self, version: impl Into<String>) -> Self {
        self.metadata.schema_version = Some(version.into());
        self
    }

    /// The name of its type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it says, as JSON; `None` for nothing. Fails if it can't be told as JSON.
    pub fn data(&self) -> Result<Option<&str>, Error> {
        match &self.data {
            Ok(data) => Ok(data.as_deref().map(RawValue::get)),
            Err(error) => Err(invalid(format!("a `{}` can't be told as JSON: {error}", self.kind))
                .at("the message was not written")),
        }
    }

    /// What it says, if it is of this type.
    pub fn is<M: Message>(&self) -> Result<Option<M>, Error> {
        if self.kind != M::TYPE {
            return Ok(None);
        }
        decode(&self.kind, self.data()?).map(Some)
    }

    /// As it goes over the wire.
    pub(crate) fn outgoing(&self) -> Result<Outgoing<'_>, Error> {
        self.data()?;
        let data = self.data.as_ref().ok().and_then(Option::as_deref);
        let metadata = Some(&self.metadata).filter(|metadata| !metadata.is_empty());
        Ok(Outgoing { id: self.id, kind: &self.kind, data, metadata })
    }
}

impl<M: Message> From<M> for NewMessage {
    fn from(message: M) -> Self {
        Self::of(&message)
    }
}

/// A new message as JSON.
#[derive(Serialize)]
pub(crate) struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<&'a Metadata>,
}

/// A message as it was written, whatever its type.
#[derive(Clone, Debug, Deserialize)]
pub struct MessageData {
    /// Unique in the whole store.
    pub id: Uuid,
    /// The stream it stands in.
    pub stream_name: String,
    /// The name of its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its position in its stream, from 0.
    pub position: i64,
    /// Its position in the store, from 1.
    pub global_position: i64,
    /// What it says, as JSON.
    pub data: Option<Box<RawValue>>,
    /// What is to be known about it, as JSON.
    pub metadata: Option<Box<RawValue>>,
    /// When it was written.
    #[serde(deserialize_with = "time::deserialize")]
    pub time: base::UnixTime,
}

impl MessageData {
    /// Reads one as the API tells it.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(text).map_err(|error| invalid(format!("this is no message: {error}")))
    }

    /// Whether it is of this type.
    pub fn is<M: Message>(&self) -> bool {
        self.kind == M::TYPE
    }

    /// It with its type. Fails if it is of another type, or says something else than that type does.
    pub fn receive<M: Message>(&self) -> Result<Received<M>, Error> {
        if !self.is::<M>() {
            return Err(invalid(format!("{} is a `{}`, not a `{}`", self.place(), self.kind, M::TYPE)));
        }
        let data = decode(&self.kind, self.data.as_deref().map(RawValue::get))
            .map_err(|error| error.at(self.place()))?;
        Ok(Received { id: self.id, data, metadata: self.metadata()? })
    }

    /// What is to be known about it. Fails if that is not what Eventide and this toolkit store.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        let stored: Option<Metadata> = match &self.metadata {
            None => None,
            Some(raw) => serde_json::from_str(raw.get()).map_err(|error| {
                invalid(format!("{} has metadata of another kind: {error}", self.place()))
            })?,
        };
        Ok(Metadata {
            stream_name: Some(self.stream_name.clone()),
            position: Some(self.position),
            global_position: Some(self.global_position),
            time: Some(self.time),
            ..stored.unwrap_or_default()
        })
    }

    /// Whether it is what is left of a deleted stream.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.kind == TOMBSTONE
    }

    /// Where it stands, for people.
    pub(crate) fn place(&self) -> String {
        format!("message `{}/{}`", self.stream_name, self.position)
    }
}

/// A typed message as it was written. What it says can be reached directly: `placed.total_cents`.
#[derive(Clone, Debug, PartialEq)]
pub struct Received<M> {
    /// Unique in the whole store.
    pub id: Uuid,
    /// What it says.
    pub data: M,
    /// What is to be known about it, with where it stands.
    pub metadata: Metadata,
}

impl<M> Received<M> {
    /// The stream it stands in.
    pub fn stream_name(&self) -> &str {
        self.metadata.stream_name.as_deref().unwrap_or_default()
    }

    /// The id of the entity that its stream is of; empty where the stream has none.
    pub fn entity_id(&self) -> &str {
        crate::names::id(self.stream_name()).unwrap_or_default()
    }

    /// Its position in its stream.
    pub fn position(&self) -> i64 {
        self.metadata.position.unwrap_or(-1)
    }

    /// Its position in the store: a number that grows from message to message, by which a service knows what it
    /// has handled.
    pub fn global_position(&self) -> i64 {
        self.metadata.global_position.unwrap_or(-1)
    }
}

impl<M> std::ops::Deref for Received<M> {
    type Target = M;
    fn deref(&self) -> &M {
        &self.data
    }
}

impl<M> AsRef<Metadata> for Received<M> {
    fn as_ref(&self) -> &Metadata {
        &self.metadata
    }
}

/// Reads data as a type. Nothing stands for `null`, and for `{}` where that is what the type wants.
fn decode<M: Message>(kind: &str, data: Option<&str>) -> Result<M, Error> {
    let read = match data {
        Some(text) => serde_json::from_str(text),
        None => serde_json::from_str("null").or_else(|_| serde_json::from_str("{}")),
    };
    read.map_err(|error| invalid(format!("this is not what a `{kind}` says: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::collections::HashMap;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Counted {
        count: u32,
        #[serde(default)]
        note: Option<String>,
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Pinged;
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Empty {}
    #[derive(Serialize, Deserialize, Debug)]
    struct Untellable(HashMap<(u8, u8), u8>);
    messages!(Counted, Pinged, Empty, Untellable);

    fn data(kind: &str, data: &str, metadata: &str) -> MessageData {
        let text = format!(
            r#"{{"id":"00000000-0000-0000-0000-000000000007","stream_name":"a-1","type":"{kind}","position":2,
            "global_position":9,"data":{data},"metadata":{metadata},"time":"2026-11-26T12:00:00.123456Z"}}"#
        );
        MessageData::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_message_is_received_as_it_was_written() {
        let received =
            data("Counted", r#"{"count": 3}"#, r#"{"correlationStreamName": "b-1"}"#).receive::<Counted>();
        let received = received.unwrap();
        assert_eq!((received.count, received.stream_name(), received.entity_id()), (3, "a-1", "1"));
        assert_eq!((received.position(), received.global_position()), (2, 9));
        assert!(received.metadata.is_correlated("b"));
        assert_eq!(received.metadata.time.unwrap().micros(), 1_795_694_400_123_456);
        let next = Pinged.following(&received);
        assert_eq!(next.metadata.causation_identifier().as_deref(), Some("a-1/2"));
    }

    #[test]
    fn a_message_that_says_nothing_has_no_data() {
        assert_eq!(NewMessage::from(Pinged).data().unwrap(), None);
        assert_eq!(NewMessage::from(Empty {}).data().unwrap(), Some("{}"));
        assert_eq!(data("Pinged", "null", "null").receive::<Pinged>().unwrap().data, Pinged);
        assert_eq!(data("Empty", "null", "null").receive::<Empty>().unwrap().data, Empty {});
        assert_eq!(NewMessage::from(Empty {}).is::<Empty>().unwrap(), Some(Empty {}));
        assert_eq!(NewMessage::from(Empty {}).is::<Pinged>().unwrap(), None);
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: Expect) {
        expected.assert_eq(&result.unwrap_err().to_string());
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        refused(
            data("Counted", r#"{"count": "x"}"#, "null").receive::<Counted>(),
            expect![[
                r#"message `a-1/2`: this is not what a `Counted` says: invalid type: string "x", expected u32 at line 1 column 13"#
            ]],
        );
        refused(
            data("Counted", r#"{"count": 1}"#, "[1]").receive::<Counted>(),
            expect![
                "message `a-1/2` has metadata of another kind: invalid type: sequence, expected struct Metadata at line 1 column 0"
            ],
        );
        refused(
            data("Pinged", "null", "null").receive::<Counted>(),
            expect!["message `a-1/2` is a `Pinged`, not a `Counted`"],
        );
        refused(
            MessageData::from_json(b"{}"),
            expect!["this is no message: missing field `id` at line 1 column 2"],
        );
        let untellable = NewMessage::from(Untellable(HashMap::from([((1, 2), 3)])));
        refused(
            untellable.outgoing().map(|_| ()),
            expect![
                "the message was not written: a `Untellable` can't be told as JSON: key must be a string"
            ],
        );
    }

    #[test]
    fn a_new_message_goes_out_with_what_it_has_and_nothing_else() {
        let sent = |message: &NewMessage| serde_json::to_string(&message.outgoing().unwrap()).unwrap();
        assert_eq!(sent(&Pinged.into()), r#"{"type":"Pinged"}"#);
        let full = NewMessage::from(Counted { count: 1, note: None })
            .id(Uuid::from_u128(7))
            .correlate("a-1")
            .reply_to("reply-1")
            .schema_version("2");
        expect![[r#"{"id":"00000000-0000-0000-0000-000000000007","type":"Counted","data":{"count":1,"note":null},"metadata":{"correlationStreamName":"a-1","replyStreamName":"reply-1","schemaVersion":"2"}}"#]]
            .assert_eq(&sent(&full));
    }
}
