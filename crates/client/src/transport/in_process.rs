//! Streams of a store in this process, for tests: the same answers as the API gives, without a server. What only a
//! server has (consumers of its own) is refused.

use super::{Ack, Acknowledged, Answer, Append, Appended, Delivery, Page, Read, Scope, Transport};
use crate::message::TOMBSTONE;
use crate::{Error, MessageData, NewMessage, names};
use base::{Clock, Fault, Kind, UnixTime};
use serde_json::value::RawValue;
use std::time::Duration;
use store::{AppendError, Json, Member, Store};
use uuid::Uuid;

/// From which ids follow (RFC 9562 section 5.5), drawn once.
const NAMESPACE: Uuid = Uuid::from_u128(0x3a0b_6c1e_95d2_4f87_8e11_70c4_2b9d_e6a5);

/// Streams of a store in this process.
#[derive(Debug)]
pub struct InProcess {
    store: Store,
    clock: Clock,
}

impl InProcess {
    /// Those of this store.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    async fn append(&self, appends: Vec<Append>, key: &str) -> Result<Vec<Appended>, Error> {
        let appends: Vec<store::Append> =
            appends.iter().map(|append| kept(append, key)).collect::<Result<_, _>>()?;
        let again = appends.clone();
        match self.store.append(appends).await {
            Ok(appended) => Ok(appended.into_iter().map(Appended::from).collect()),
            Err(error @ (AppendError::DuplicateId { .. } | AppendError::WrongVersion { .. })) => {
                match self.earlier(&again).await? {
                    Some(appended) => Ok(appended),
                    None => Err(refused(error)),
                }
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// What an earlier call with the same messages appended; `None` where there was none.
    async fn earlier(&self, appends: &[store::Append]) -> Result<Option<Vec<Appended>>, Error> {
        let (mut spans, mut there, mut missing) = (Vec::new(), 0, 0);
        for append in appends {
            let mut span: Option<Appended> = None;
            for message in &append.messages {
                let Some(found) = self.store.by_id(message.id).await? else {
                    missing += 1;
                    continue;
                };
                there += 1;
                let is_same = found.stream == append.stream
                    && found.kind == message.kind
                    && found.data == message.data
                    && found.metadata == message.metadata;
                if !is_same {
                    return Err(reused());
                }
                let (position, global_position) = (found.position, found.global_position);
                let span = span.get_or_insert(Appended {
                    first_position: position,
                    last_position: position,
                    first_global_position: global_position,
                    last_global_position: global_position,
                });
                (span.last_position, span.last_global_position) = (position, global_position);
            }
            spans.extend(span);
        }
        match (there, missing) {
            (0, _) => Ok(None),
            (_, 0) => Ok(Some(spans)),
            _ => Err(reused()),
        }
    }

    async fn read(&self, read: Read) -> Result<Page, Error> {
        let mut wanted = match read.scope {
            Scope::Stream(name) => store::Read::stream(name),
            Scope::Category(name) => store::Read::category(name),
            Scope::All => store::Read::all(),
        };
        wanted = wanted.from(read.from).limit(read.limit);
        wanted.kind = read.kind;
        wanted.correlation = read.correlation;
        wanted.member = match read.member {
            None => None,
            Some((number, size)) => Some(Member::new(number, size).ok_or_else(|| {
                Fault::new(
                    Kind::Invalid,
                    format!("member `{number}` of a group of `{size}`: they count from 0"),
                )
            })?),
        };
        // Watched before the first look, so that nothing falls between look and wait.
        let mut watch = self.store.watch(wanted.scope.clone());
        let end = self.clock.sleep(read.wait);
        tokio::pin!(end);
        loop {
            let page = self.store.read(wanted.clone()).await?;
            if !page.messages.is_empty() || read.wait.is_zero() {
                return Page::try_from(page);
            }
            wanted.from = page.next;
            if page.more {
                continue;
            }
            tokio::select! {
                biased;
                () = &mut end => return Page::try_from(page),
                () = watch.changed() => {}
            }
        }
    }
}

impl Transport for InProcess {
    fn append(&self, appends: Vec<Append>, key: String) -> Answer<'_, Vec<Appended>> {
        Box::pin(async move { self.append(appends, &key).await })
    }

    fn read(&self, read: Read) -> Answer<'_, Page> {
        Box::pin(self.read(read))
    }

    fn last<'a>(&'a self, stream: &'a str, kind: Option<&'a str>) -> Answer<'a, Option<MessageData>> {
        Box::pin(async move { self.store.last(stream, kind).await?.map(MessageData::try_from).transpose() })
    }

    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64> {
        Box::pin(async move { Ok(self.store.version(stream).await?) })
    }

    fn delete<'a>(&'a self, stream: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            if self.store.version(stream).await? >= 0 {
                let (kind, data, metadata) = (TOMBSTONE.to_owned(), None, None);
                let tombstone = store::NewMessage { id: Uuid::new_v4(), kind, data, metadata };
                self.store.delete_stream(stream, tombstone).await?;
            }
            Ok(())
        })
    }

    fn take<'a>(&'a self, consumer: &'a str, _: usize, _: Duration) -> Answer<'a, Vec<Delivery>> {
        Box::pin(async move { Err(no_consumer(consumer)) })
    }

    fn acknowledge<'a>(&'a self, consumer: &'a str, _: Vec<Ack>) -> Answer<'a, Vec<Acknowledged>> {
        Box::pin(async move { Err(no_consumer(consumer)) })
    }

    fn lend_reply_stream(&self, _: Duration) -> Answer<'_, String> {
        Box::pin(async { Ok(names::reply_stream()) })
    }

    fn give_back_reply_stream<'a>(&'a self, stream: &'a str) -> Answer<'a, ()> {
        self.delete(stream)
    }
}

fn no_consumer(name: &str) -> Error {
    let fault = Fault::new(Kind::NotFound, format!("there is no consumer `{name}`"));
    Error::Fault(fault.hint("a store in this process has no consumers; they are a server's"))
}

fn reused() -> Error {
    Error::Fault(Fault::new(Kind::Conflict, "this idempotency key was used for other messages"))
}

fn refused(error: AppendError) -> Error {
    match error {
        AppendError::WrongVersion { stream, expected, actual } => {
            Error::WrongVersion { stream, expected, actual }
        }
        other => Error::Fault(other.into()),
    }
}

/// An append as a store takes it. Ids that nobody chose follow from the key.
fn kept(append: &Append, key: &str) -> Result<store::Append, Error> {
    let message = |(nth, message): (usize, &NewMessage)| {
        let id = message.id.unwrap_or_else(|| {
            Uuid::new_v5(&NAMESPACE, format!("{key}\0{nth}\0{}", append.stream).as_bytes())
        });
        let outgoing = message.outgoing()?;
        let json = |name: &str, text: &str| {
            Json::parse(text)
                .map_err(|error| Error::Fault(Fault::new(Kind::Invalid, format!("`{name}`: {error}"))))
        };
        let data = outgoing.data.map(|data| json("data", data.get())).transpose()?;
        let metadata = outgoing.metadata.map(serde_json::to_string).transpose().map_err(Error::other)?;
        let metadata = metadata.map(|text| json("metadata", &text)).transpose()?;
        Ok(store::NewMessage { id, kind: message.kind.clone(), data, metadata })
    };
    let messages = append.messages.iter().enumerate().map(message).collect::<Result<_, Error>>()?;
    Ok(store::Append { stream: append.stream.clone(), expected_version: append.expected_version, messages })
}

impl From<store::Appended> for Appended {
    fn from(appended: store::Appended) -> Self {
        Self {
            first_position: appended.first_position,
            last_position: appended.last_position,
            first_global_position: appended.first_global_position,
            last_global_position: appended.last_global_position,
        }
    }
}

impl TryFrom<store::Page> for Page {
    type Error = Error;
    fn try_from(page: store::Page) -> Result<Self, Error> {
        let messages = page.messages.into_iter().map(MessageData::try_from).collect::<Result<_, _>>()?;
        Ok(Self { messages, next: page.next, more: page.more })
    }
}

impl TryFrom<store::Message> for MessageData {
    type Error = Error;
    fn try_from(message: store::Message) -> Result<Self, Error> {
        let raw = |json: Option<Json>| {
            json.map(|json| RawValue::from_string(json.as_str().to_owned())).transpose().map_err(Error::other)
        };
        Ok(Self {
            id: message.id,
            stream_name: message.stream,
            kind: message.kind,
            position: message.position,
            global_position: message.global_position,
            data: raw(message.data)?,
            metadata: raw(message.metadata)?,
            time: UnixTime(Duration::from_micros(u64::try_from(message.time).unwrap_or_default())),
        })
    }
}
