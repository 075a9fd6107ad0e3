//! For the tests of services: streams in memory that tell afterwards what was written, and messages as if they had
//! been written, to hand to a handler.

use crate::transport::{
    Ack, Acknowledged, Answer, Append, Appended, Delivery, InProcess, Page, Read, Transport,
};
use crate::{Client, Error, Handlers, Message, MessageData, Metadata, NewMessage, Received, names};
use base::{Clock, Fault, Kind};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Memory, Store};

/// A client for tests: what is written through it can be read as usual, and is told by [`Substitute::written`].
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use tombolo_client::testing::Substitute;
/// use tombolo_client::{Client, Error, Handlers, Message, Received, messages};
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// struct Placed {
///     total_cents: u32,
/// }
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// struct Paid {
///     cents: u32,
/// }
/// messages!(Placed, Paid);
///
/// async fn placed(client: Client, placed: Received<Placed>) -> Result<(), Error> {
///     let paid = Paid { cents: placed.total_cents }.following(&placed);
///     client.write(placed.stream_name(), paid).await?;
///     Ok(())
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let substitute = Substitute::new();
/// let handlers = Handlers::new(substitute.client()).on(placed);
///
/// let placed = substitute.handle(&handlers, "order-17", Placed { total_cents: 4200 }).await?;
///
/// let paid = substitute.written().one::<Paid>();
/// assert_eq!((paid.stream.as_str(), &paid.data), ("order-17", &Paid { cents: 4200 }));
/// assert!(paid.metadata.follows(&placed.metadata()?));
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Substitute {
    client: Client,
    /// Writes to it, and is not recorded.
    aside: Client,
    kept: Arc<Kept>,
}

impl Default for Substitute {
    fn default() -> Self {
        Self::new()
    }
}

impl Substitute {
    /// Nothing is written yet.
    pub fn new() -> Self {
        Self::at(Clock::system())
    }

    /// One whose time is this clock's.
    pub fn at(clock: Clock) -> Self {
        let store = Store::new(Memory::new(clock.clone()));
        let kept = Arc::new(Kept::default());
        let recorder = Recorder { inner: InProcess::new(store.clone(), clock.clone()), kept: kept.clone() };
        let client = Client::over(recorder, clock.clone());
        Self { client, aside: Client::in_process(store, clock), kept }
    }

    /// What the service under test is given.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Writes a message as somebody else would: it is there to be read, and not among [`Substitute::written`].
    pub async fn given(&self, stream: &str, message: impl Into<NewMessage>) -> Result<MessageData, Error> {
        let appended = self.aside.write(stream, message).await?;
        let read = Read::stream(stream).from(appended.last_position).limit(1);
        let messages = self.aside.page(read).await?.messages;
        messages.into_iter().next().ok_or_else(|| crate::error::invalid("the message is gone again"))
    }

    /// Writes a message as somebody else would, hands it to handlers, and writes what they answer as a consumer
    /// would. Answers the message. A message that no handler is for is an error: the test is about nothing.
    pub async fn handle<S: Clone + Send + Sync + 'static>(
        &self,
        handlers: &Handlers<S>,
        stream: &str,
        message: impl Into<NewMessage>,
    ) -> Result<MessageData, Error> {
        let message = self.given(stream, message).await?;
        let Some(appends) = handlers.handle(&message).await? else {
            let there = handlers.kinds().join("`, `");
            let text = format!("no handler is for `{}`; there are `{there}`", message.kind);
            return Err(crate::error::invalid(text));
        };
        if !appends.is_empty() {
            self.client.append(appends).await?;
        }
        Ok(message)
    }

    /// What was written so far, in this order.
    pub fn written(&self) -> Written {
        Written(self.kept.with(|written| written.clone()))
    }

    /// Forgets what was written so far; it can still be read.
    pub fn forget(&self) {
        self.kept.with(Vec::clear);
    }

    /// The next so many pages that are asked for are not answered, as if the server were away.
    pub fn fail_reads(&self, times: u32) {
        self.kept.failing_reads.store(times, Ordering::SeqCst);
    }

    /// The next so many appends are not made, as if the server were away.
    pub fn fail_appends(&self, times: u32) {
        self.kept.failing_appends.store(times, Ordering::SeqCst);
    }
}

/// What was written through a [`Substitute`].
#[derive(Clone, Debug)]
pub struct Written(Vec<Append>);

/// A typed message that was written, and how.
#[derive(Clone, Debug)]
pub struct WrittenMessage<M> {
    /// The stream it was written to.
    pub stream: String,
    /// The version that was expected of it.
    pub expected_version: Option<i64>,
    /// What it says.
    pub data: M,
    /// What is to be known about it.
    pub metadata: Metadata,
}

impl<M> WrittenMessage<M> {
    /// Whether it went to the reply stream of this message, and follows it.
    pub fn replies_to<T>(&self, request: &Received<T>) -> bool {
        request.metadata.reply_stream_name.as_deref() == Some(&self.stream)
            && !self.metadata.wants_reply()
            && self.metadata.causation_identifier() == request.metadata.identifier()
    }
}

impl Written {
    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each call: which streams, and how many messages to each.
    pub fn appends(&self) -> &[Append] {
        &self.0
    }

    /// All messages of a type. Panics if one says something else than its type.
    pub fn all<M: Message>(&self) -> Vec<WrittenMessage<M>> {
        let mut all = Vec::new();
        for append in &self.0 {
            for message in &append.messages {
                let data = message.is::<M>().unwrap_or_else(|error| panic!("{error}"));
                all.extend(data.map(|data| WrittenMessage {
                    stream: append.stream.clone(),
                    expected_version: append.expected_version,
                    data,
                    metadata: message.metadata.clone(),
                }));
            }
        }
        all
    }

    /// The only message of a type. Panics if there is none or another, and says what was written.
    pub fn one<M: Message>(&self) -> WrittenMessage<M> {
        let one: Result<[_; 1], _> = self.all().try_into();
        let [one] = one.unwrap_or_else(|all| {
            let found = all.len();
            panic!("`{found}` messages of type `{}` were written, not one; these were:{self}", M::TYPE)
        });
        one
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for append in &self.0 {
            for message in &append.messages {
                let data = message.data().ok().flatten().unwrap_or("nothing").to_owned();
                let _ = write!(text, "\n  {} {} {data}", append.stream, message.kind());
            }
        }
        f.write_str(if text.is_empty() { " none" } else { &text })
    }
}

/// A message as if it had been written, for what is given messages and reads no streams: the nth of its stream.
pub fn received<M: Message>(message: M, stream: &str, position: i64) -> Received<M> {
    let metadata = Metadata {
        stream_name: Some(stream.to_owned()),
        position: Some(position),
        global_position: Some(position + 1),
        ..Metadata::default()
    };
    Received { id: uuid::Uuid::new_v4(), data: message, metadata }
}

/// A stream of a category that no other test uses.
pub fn any_stream(category: &str) -> String {
    names::stream(category, uuid::Uuid::new_v4())
}

/// What was written, and how often what is asked still fails.
#[derive(Debug, Default)]
struct Kept {
    written: Mutex<Vec<Append>>,
    failing_reads: AtomicU32,
    failing_appends: AtomicU32,
}

impl Kept {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<Append>) -> T) -> T {
        act(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fails while it is to.
fn check(failing: &AtomicU32) -> Result<(), Error> {
    match failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(_) => Err(Fault::new(Kind::Unavailable, "the test has this call fail").into()),
        Err(_) => Ok(()),
    }
}

/// Writes down what is appended.
struct Recorder {
    inner: InProcess,
    kept: Arc<Kept>,
}

impl Transport for Recorder {
    fn append(&self, appends: Vec<Append>, key: String) -> Answer<'_, Vec<Appended>> {
        Box::pin(async move {
            check(&self.kept.failing_appends)?;
            let appended = Transport::append(&self.inner, appends.clone(), key).await?;
            self.kept.with(|written| written.extend(appends));
            Ok(appended)
        })
    }

    fn read(&self, read: Read) -> Answer<'_, Page> {
        Box::pin(async move {
            check(&self.kept.failing_reads)?;
            Transport::read(&self.inner, read).await
        })
    }

    fn last<'a>(&'a self, stream: &'a str, kind: Option<&'a str>) -> Answer<'a, Option<MessageData>> {
        self.inner.last(stream, kind)
    }

    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64> {
        self.inner.version(stream)
    }

    fn delete<'a>(&'a self, stream: &'a str) -> Answer<'a, ()> {
        self.inner.delete(stream)
    }

    fn take<'a>(&'a self, consumer: &'a str, limit: usize, wait: Duration) -> Answer<'a, Vec<Delivery>> {
        self.inner.take(consumer, limit, wait)
    }

    fn acknowledge<'a>(&'a self, consumer: &'a str, acks: Vec<Ack>) -> Answer<'a, Vec<Acknowledged>> {
        self.inner.acknowledge(consumer, acks)
    }

    fn lend_reply_stream(&self, hold: Duration) -> Answer<'_, String> {
        self.inner.lend_reply_stream(hold)
    }

    fn give_back_reply_stream<'a>(&'a self, stream: &'a str) -> Answer<'a, ()> {
        self.inner.give_back_reply_stream(stream)
    }
}
