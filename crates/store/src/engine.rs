//! The line between what a store does and where it keeps things. An engine sequences, keeps and finds
//! messages; bounds on input are checked before it is asked. It has one of these functions for each
//! question, so that an engine over SQL is a statement for each.

use crate::{
    Append, AppendError, Appended, CategoryInfo, Message, Page, Read, Removal, StreamInfo, StreamList, Uuid,
    Wakes,
};
use base::Fault;
use std::pin::Pin;

/// What an engine will answer.
pub type Answer<'a, T, E = Fault> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Keeps messages. Global positions grow from 1 in the order in which messages become visible to who reads all of
/// them, and positions of a stream are gapless from 0. In PostgreSQL global positions have gaps, where a
/// transaction was rolled back; elsewhere they have none.
pub trait Engine: Send + Sync + 'static {
    /// Appends all of it or nothing, and answers when it is durable: one [`Appended`] for each [`Append`].
    /// Each expected version is compared with what the appends before it in the list leave behind.
    fn append(&self, appends: Vec<Append>) -> Answer<'_, Vec<Appended>, AppendError>;

    /// One page of messages.
    fn read(&self, read: Read) -> Answer<'_, Page>;

    /// Takes messages away for good: nobody reads them any more. Answers how many.
    fn remove(&self, removal: Removal) -> Answer<'_, u64>;

    /// The position of a stream's last message, -1 for none.
    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64>;

    /// The message of this id.
    fn by_id(&self, id: Uuid) -> Answer<'_, Option<Message>>;

    /// Streams, in the order of their names' bytes.
    fn streams(&self, list: StreamList) -> Answer<'_, Vec<StreamInfo>>;

    /// Categories behind this name, in the order of their names' bytes, at most `limit`.
    fn categories<'a>(&'a self, after: Option<&'a str>, limit: usize) -> Answer<'a, Vec<CategoryInfo>>;

    /// The global position of the last message, 0 for none.
    fn head(&self) -> Answer<'_, i64>;

    /// Who is told of what was appended.
    fn wakes(&self) -> &Wakes;
}
