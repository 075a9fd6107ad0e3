//! The handle that everybody holds: it checks bounds, then asks the engine.

use crate::{
    Append, AppendError, Appended, CategoryInfo, Engine, Message, NewMessage, Page, Read, Removal, Scope,
    StreamInfo, StreamList, Uuid, Watch, message,
};
use base::Fault;
use std::sync::Arc;

/// Streams of messages. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<dyn Engine>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// A store over this engine.
    pub fn new(engine: impl Engine) -> Self {
        Self(Arc::new(engine))
    }

    /// A store over an engine that others hold, too.
    pub fn of(engine: Arc<dyn Engine>) -> Self {
        Self(engine)
    }

    /// Appends messages to one or several streams, all or nothing, and answers when they are durable: one
    /// [`Appended`] for each [`Append`]. Each expected version is compared with what the appends before it
    /// in the list leave behind. Who stops waiting for the answer does not take the call back.
    pub async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        message::check(&appends).map_err(AppendError::Refused)?;
        self.0.append(appends).await
    }

    /// One page of messages. To read on, ask again from [`Page::next`] while there is [`Page::more`].
    pub async fn read(&self, read: Read) -> Result<Page, Fault> {
        self.0.read(read).await
    }

    /// Takes messages away for good, and answers how many. Their bytes are gone from an embedded store's files when it
    /// answers, not from backups; PostgreSQL's own files lose them as it vacuums.
    pub async fn remove(&self, removal: Removal) -> Result<u64, Fault> {
        self.0.remove(removal).await
    }

    /// Deletes a stream: appends `tombstone`, which tells consumers and keeps the stream's version, and takes
    /// away all messages before it. Answers how many.
    pub async fn delete_stream(&self, stream: &str, tombstone: NewMessage) -> Result<u64, Fault> {
        let append = Append { stream: stream.to_owned(), expected_version: None, messages: vec![tombstone] };
        let before = self.append(vec![append]).await?.first().map_or(0, |appended| appended.first_position);
        self.remove(Removal::Stream { stream: stream.to_owned(), before }).await
    }

    /// The last message of the stream of exactly this name, or the last of this type.
    pub async fn last(&self, stream: &str, kind: Option<&str>) -> Result<Option<Message>, Fault> {
        let mut read = Read::stream(stream).backward().limit(1);
        read.kind = kind.map(str::to_owned);
        loop {
            let page = self.0.read(read.clone()).await?;
            if !page.messages.is_empty() || !page.more {
                return Ok(page.messages.into_iter().next());
            }
            read.from = page.next;
        }
    }

    /// The position of a stream's last message, -1 for none.
    pub async fn version(&self, stream: &str) -> Result<i64, Fault> {
        self.0.version(stream).await
    }

    /// The message of this id.
    pub async fn by_id(&self, id: Uuid) -> Result<Option<Message>, Fault> {
        self.0.by_id(id).await
    }

    /// Streams, in the order of their names' bytes.
    pub async fn streams(&self, list: StreamList) -> Result<Vec<StreamInfo>, Fault> {
        self.0.streams(list).await
    }

    /// Categories behind this name, in the order of their names' bytes, at most `limit`.
    pub async fn categories(&self, after: Option<&str>, limit: usize) -> Result<Vec<CategoryInfo>, Fault> {
        self.0.categories(after, limit).await
    }

    /// The global position of the last message, 0 for none.
    pub async fn head(&self) -> Result<i64, Fault> {
        self.0.head().await
    }

    /// Tells of new messages in this scope from now on. Watch first, then read, then wait: nothing is
    /// missed.
    pub fn watch(&self, scope: Scope) -> Watch {
        self.0.wakes().watch(scope)
    }
}
