//! Messages read from the store page by page, with those of the session's own transaction behind them or, going
//! backward, before them. A scan sees what was there when it began and nothing newer.

use super::error::Sql;
use super::expr::Expr;
use super::session::Session;
use store::{Direction, Message, Read, Scope, names};

/// Messages of a page while more may be wanted.
const PAGE_MESSAGES: usize = 1_000;

/// A scan.
#[derive(Debug)]
pub(crate) struct Scan {
    /// What is read next; `None` when the store was read to its end.
    read: Option<Read>,
    /// Read already, the next one last.
    page: Vec<Message>,
    /// Of the own transaction, the next one last.
    own: Vec<Message>,
    own_first: bool,
    began: bool,
    /// A condition on what is read, which counts before the limit.
    pub(crate) condition: Option<Expr>,
    /// How many rows may still be taken.
    pub(crate) limit: Option<u64>,
}

impl Scan {
    /// Scans what `read` finds and what of the transaction's messages would be found.
    pub(crate) fn new(read: Read, pending: &[Message], condition: Option<Expr>, limit: Option<u64>) -> Self {
        let mut own: Vec<Message> = pending.iter().filter(|message| takes(&read, message)).cloned().collect();
        let backward = read.direction == Direction::Backward;
        if !backward {
            own.reverse();
        }
        Self { read: Some(read), page: Vec::new(), own, own_first: backward, began: false, condition, limit }
    }

    /// Scans these.
    pub(crate) fn of(mut messages: Vec<Message>) -> Self {
        messages.reverse();
        let (page, own) = (messages, Vec::new());
        Self { read: None, page, own, own_first: false, began: true, condition: None, limit: None }
    }

    /// Scans nothing.
    pub(crate) fn nothing() -> Self {
        Self::of(Vec::new())
    }

    /// The next message. `wanted` is how many will be asked for at most, as far as that is known.
    pub(crate) async fn next(&mut self, session: &Session, wanted: Option<u64>) -> Sql<Option<Message>> {
        if self.limit == Some(0) {
            return Ok(None);
        }
        if self.own_first
            && let Some(message) = self.own.pop()
        {
            return Ok(Some(message));
        }
        loop {
            if let Some(message) = self.page.pop() {
                return Ok(Some(message));
            }
            let Some(mut read) = self.read.take() else { return Ok(self.own.pop()) };
            let most = [wanted, self.limit.filter(|_| self.condition.is_none())];
            let most = most.into_iter().flatten().min().and_then(|most| usize::try_from(most).ok());
            read.limit = most.unwrap_or(PAGE_MESSAGES).clamp(1, PAGE_MESSAGES);
            if self.began && read.until.is_none() && read.direction == Direction::Forward {
                read.until = Some(session.shared.store.head().await?);
            }
            self.began = true;
            let page = session.waits(session.shared.store.read(read.clone())).await??;
            self.page = page.messages;
            self.page.reverse();
            if page.more {
                // A long scan whose pages are at hand gives way to others between them.
                tokio::task::yield_now().await;
                read.from = page.next;
                self.read = Some(read);
            }
        }
    }

    /// A message was taken: the limit counts it.
    pub(crate) fn taken(&mut self) {
        if let Some(limit) = &mut self.limit {
            *limit = limit.saturating_sub(1);
        }
    }
}

/// Whether a message that is not in the store yet is one that a read would find.
fn takes(read: &Read, message: &Message) -> bool {
    let (in_scope, position) = match &read.scope {
        Scope::Stream(stream) => (message.stream == *stream, message.position),
        Scope::Category(category) => (names::category(&message.stream) == category, message.global_position),
        Scope::All => (true, message.global_position),
    };
    let behind = match read.direction {
        Direction::Forward => position >= read.from,
        Direction::Backward => position <= read.from,
    };
    in_scope
        && behind
        && read.kind.as_deref().is_none_or(|kind| message.kind == kind)
        && read.member.is_none_or(|member| member.takes(&message.stream))
        && read.correlation.as_deref().is_none_or(|wanted| {
            let stream = message.metadata.as_ref().and_then(|json| json.field("correlationStreamName"));
            stream.is_some_and(|stream| names::category(&stream) == wanted)
        })
}
