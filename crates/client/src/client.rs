//! The handle that a service holds: writes messages, reads them, asks and replies over streams. Where the streams
//! are is a [`Transport`]'s matter.

use crate::error::invalid;
use crate::transport::{Http, Transport};
use crate::{
    Append, Appended, Error, Message, MessageData, Metadata, NewMessage, Page, Read, Received, bounds,
};
use base::{Clock, Fault, Kind};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use uuid::Uuid;

/// The variable that says where the API is; `tombolo up` sets it for the services it starts.
pub const API_URL: &str = "TOMBOLO_API_URL";

/// Streams of messages, as a service uses them. Cheap to clone.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use tombolo_client::{Client, Read, messages};
///
/// #[derive(Serialize, Deserialize)]
/// struct Placed {
///     total_cents: u32,
/// }
/// messages!(Placed);
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let client = Client::in_memory(); // a service says `Client::from_env()?`
/// client.write("order-17", Placed { total_cents: 4200 }).initial().await?;
///
/// let mut messages = client.read(Read::stream("order-17"));
/// while let Some(message) = messages.next().await? {
///     let placed = message.receive::<Placed>()?;
///     assert_eq!((placed.position(), placed.total_cents), (0, 4200));
/// }
/// # Ok::<(), tombolo_client::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    clock: Clock,
    /// The trace of what is written that is in none.
    trace: Option<Arc<str>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// The streams of the Tombolo whose API is at this address, such as `http://127.0.0.1:4600`. Nothing is asked
    /// yet.
    pub fn connect(url: &str) -> Result<Self, Error> {
        let clock = Clock::system();
        Ok(Self::over(Http::new(url, clock.clone())?, clock))
    }

    /// The streams of the Tombolo that started this service: its API is named by [`API_URL`].
    pub fn from_env() -> Result<Self, Error> {
        let url = std::env::var(API_URL).map_err(|_| {
            Fault::new(Kind::NotFound, format!("`{API_URL}` is not set; it says where the API of streams is"))
                .hint("`tombolo up` sets it for its services when the manifest has `streams:`")
        })?;
        Self::connect(&url)
    }

    /// Streams over any transport.
    pub fn over(transport: impl Transport, clock: Clock) -> Self {
        Self { transport: Arc::new(transport), clock, trace: None }
    }

    /// The same, whose messages are written in this trace unless they follow others: `traceparent` of the request that
    /// they are written for (W3C Trace Context).
    pub fn in_trace(&self, traceparent: Option<&str>) -> Self {
        Self { trace: traceparent.map(Arc::from), ..self.clone() }
    }

    /// Streams in memory, for tests: gone with the last clone.
    #[cfg(feature = "testing")]
    pub fn in_memory() -> Self {
        Self::in_memory_at(Clock::system())
    }

    /// Streams in memory, whose time is this clock's.
    #[cfg(feature = "testing")]
    pub fn in_memory_at(clock: Clock) -> Self {
        Self::in_process(store::Store::new(store::Memory::new(clock.clone())), clock)
    }

    /// Streams of a store in this process.
    #[cfg(feature = "testing")]
    pub fn in_process(store: store::Store, clock: Clock) -> Self {
        Self::over(crate::transport::InProcess::new(store, clock.clone()), clock)
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Writes a message once the answer is awaited; [`Write`] says under which conditions.
    pub fn write(&self, stream: impl Into<String>, message: impl Into<NewMessage>) -> Write {
        self.write_batch(stream, [message.into()])
    }

    /// Writes messages to one stream, all or none.
    pub fn write_batch(
        &self,
        stream: impl Into<String>,
        messages: impl IntoIterator<Item = NewMessage>,
    ) -> Write {
        let messages = messages.into_iter().collect();
        let append = Append { stream: stream.into(), expected_version: None, messages };
        Write { client: self.clone(), append: Ok(append), key: None }
    }

    /// Replies: writes a message to the reply stream of its metadata, which it has from the message that it
    /// follows. The reply itself goes without a reply stream.
    pub fn reply(&self, message: NewMessage) -> Write {
        let mut message = message;
        let append = match message.metadata.reply_stream_name.take() {
            Some(stream) => Ok(Append::to(stream, message)),
            None => Err(invalid(format!("a `{}` has no reply stream", message.kind()))),
        };
        Write { client: self.clone(), append, key: None }
    }

    /// Writes the message unless its stream is there already; whether it did. Who handles something twice writes
    /// first what only the first can write: the reservation pattern.
    pub async fn reserve(
        &self,
        stream: impl Into<String>,
        message: impl Into<NewMessage>,
    ) -> Result<bool, Error> {
        match self.write(stream, message).initial().await {
            Ok(_) => Ok(true),
            Err(Error::WrongVersion { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Appends to several streams, all or nothing: one answer for each. Made again after a broken connection it
    /// appends once.
    pub async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, Error> {
        self.append_keyed(appends, None).await
    }

    /// The same with an idempotency key.
    pub(crate) async fn append_keyed(
        &self,
        mut appends: Vec<Append>,
        key: Option<String>,
    ) -> Result<Vec<Appended>, Error> {
        let key = key.unwrap_or_else(|| {
            let messages = appends.iter_mut().flat_map(|append| &mut append.messages);
            let ids: Vec<Uuid> =
                messages.map(|message| *message.id.get_or_insert_with(Uuid::new_v4)).collect();
            ids.first().map(Uuid::to_string).unwrap_or_default()
        });
        if let Some(trace) = &self.trace {
            for message in appends.iter_mut().flat_map(|append| &mut append.messages) {
                message.metadata.trace.get_or_insert_with(|| trace.to_string());
            }
        }
        if appends.iter().all(|append| append.messages.is_empty()) {
            return Err(invalid("there is nothing to append"));
        }
        let asked = appends.len();
        let appended = self.transport.append(appends, key).await?;
        if appended.len() == asked {
            return Ok(appended);
        }
        let text = format!("`{asked}` appends were asked for, `{}` were answered", appended.len());
        Err(Fault::new(Kind::Unavailable, text).into())
    }

    /// One page of messages. Who asks for more at once, or to wait longer, than [`bounds`] has it gets that much.
    pub async fn page(&self, read: Read) -> Result<Page, Error> {
        let (limit, wait) = (read.limit.min(bounds::PAGE_MESSAGES_MAX), read.wait.min(bounds::WAIT_MAX));
        self.transport.read(Read { limit, wait, ..read }).await
    }

    /// All messages that there are, page after page.
    pub fn read(&self, read: Read) -> Messages {
        Messages { client: self.clone(), read, page: VecDeque::new(), ended: false }
    }

    /// A stream's last message.
    pub async fn last(&self, stream: &str) -> Result<Option<MessageData>, Error> {
        self.transport.last(stream, None).await
    }

    /// A stream's last message of a type.
    pub async fn last_of<M: Message>(&self, stream: &str) -> Result<Option<Received<M>>, Error> {
        self.transport.last(stream, Some(M::TYPE)).await?.map(|message| message.receive()).transpose()
    }

    /// The position of a stream's last message, -1 for none.
    pub async fn version(&self, stream: &str) -> Result<i64, Error> {
        self.transport.version(stream).await
    }

    /// Takes a stream's messages away for good. What tells of it stays in their place, and so does its version.
    pub async fn delete(&self, stream: &str) -> Result<(), Error> {
        self.transport.delete(stream).await
    }

    /// What [`Request`](crate::Request) does without being told more: sends, and waits for the first reply.
    pub fn request(&self, stream: impl Into<String>, message: impl Into<NewMessage>) -> crate::Request {
        crate::Request::new(self.clone(), stream.into(), message.into())
    }
}

/// A message, or several, to be written to one stream. Awaiting it writes them and says where they stand. A call
/// whose connection broke is made again by itself, and writes once.
#[must_use = "nothing is written until it is awaited"]
#[derive(Debug)]
pub struct Write {
    client: Client,
    append: Result<Append, Error>,
    key: Option<String>,
}

impl Write {
    /// Only if the stream's last message stands at this position. -1 stands for a stream that is not there.
    pub fn expected_version(mut self, version: i64) -> Self {
        if let Ok(append) = &mut self.append {
            append.expected_version = Some(version);
        }
        self
    }

    /// Only if the stream is not there.
    pub fn initial(self) -> Self {
        self.expected_version(-1)
    }

    /// With a stream where replies go.
    pub fn reply_to(mut self, stream: &str) -> Self {
        if let Ok(append) = &mut self.append {
            for message in &mut append.messages {
                message.metadata.reply_stream_name = Some(stream.to_owned());
            }
        }
        self
    }

    /// As the next messages of a flow: see [`Metadata::follow`].
    pub fn follow(mut self, previous: &impl AsRef<Metadata>) -> Self {
        if let Ok(append) = &mut self.append {
            for message in &mut append.messages {
                message.metadata.follow(previous.as_ref());
            }
        }
        self
    }

    /// The same call with the same key writes once, also when another process makes it after this one died. A key
    /// belongs to one call: with other messages it is refused.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl IntoFuture for Write {
    type Output = Result<Appended, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let appended = self.client.append_keyed(vec![self.append?], self.key).await?;
            appended.into_iter().next().ok_or_else(|| invalid("there is nothing to append"))
        })
    }
}

/// Messages, page after page.
#[derive(Debug)]
pub struct Messages {
    client: Client,
    read: Read,
    page: VecDeque<MessageData>,
    ended: bool,
}

impl Messages {
    /// The next one; `None` when there is no more for now.
    pub async fn next(&mut self) -> Result<Option<MessageData>, Error> {
        loop {
            if let Some(message) = self.page.pop_front() {
                return Ok(Some(message));
            }
            if self.ended {
                return Ok(None);
            }
            let page = self.client.page(self.read.clone()).await?;
            self.ended = !page.more;
            self.read.from = page.next;
            self.page = page.messages.into();
        }
    }

    /// Those that are left, at most `limit` of them.
    pub async fn take(&mut self, limit: usize) -> Result<Vec<MessageData>, Error> {
        let mut messages = Vec::new();
        while messages.len() < limit
            && let Some(message) = self.next().await?
        {
            messages.push(message);
        }
        Ok(messages)
    }
}
