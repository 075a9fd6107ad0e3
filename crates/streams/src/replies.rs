//! Streams for answers, for as long as somebody waits for them: who asks is lent one, renews it while it waits, and
//! gives it back; one that nobody renews goes by itself, with what is in it. What comes later is not lost: it is
//! recorded among the orphans. (As the temporary queues of `amazon-sqs-java-temporary-queues-client`.)

use crate::http::json;
use base::{Clock, Fault, Kind};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use store::state::{Change, ChangeError, Condition, Key, bounds::LIST_MAX};
use store::{Append, AppendError, Message, NewMessage, Read, Removal, State, Store, Uuid};

/// The category of streams for answers.
pub const CATEGORY: &str = "reply";
/// Where answers are recorded that nobody waited for any more.
pub const ORPHANS: &str = "reply:orphans";
/// The longest time that a stream is lent for at once.
pub const HOLD_MAX: Duration = Duration::from_secs(3600);
/// For how long it is looked for late answers.
const GONE_FOR: Duration = Duration::from_secs(24 * 3600);
/// How often it is looked for what has gone.
const LOOK: Duration = Duration::from_secs(10);
/// The space of what is lent.
const SPACE: &str = "$replies";
/// Of several nodes one looks after them.
const LEASE: &str = "$replies";
/// From which ids of orphans follow, drawn once.
const NAMESPACE: Uuid = Uuid::from_u128(0x2a75_90fd_8c14_4b3e_b6d1_0e4c_97a2_63f8);

/// Streams for answers. Cheap to clone.
#[derive(Clone)]
pub struct Replies(Arc<Parts>);

struct Parts {
    store: Store,
    state: State,
    clock: Clock,
    /// This node among others.
    node: String,
}

impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Replies")
    }
}

/// What is kept of a stream that was lent.
#[derive(Serialize, Deserialize)]
struct Lent {
    /// Until when, in microseconds since the epoch.
    until: i64,
    /// Nobody waits any more: what comes now is late.
    gone: bool,
}

impl Replies {
    /// Streams in this store.
    pub fn new(store: Store, state: State, clock: Clock) -> Self {
        Self(Arc::new(Parts { store, state, clock, node: Uuid::new_v4().to_string() }))
    }

    /// Lends a new stream. Answers its name and until when, in microseconds since the epoch.
    pub async fn lend(&self, hold: Duration) -> Result<(String, i64), Fault> {
        let stream = format!("{CATEGORY}-{}", Uuid::new_v4());
        let until = self.after(hold);
        self.0.state.apply(vec![kept(&stream, &Lent { until, gone: false })?]).await?;
        Ok((stream, until))
    }

    /// Lends it for longer. `None` where it is not lent any more.
    pub async fn renew(&self, stream: &str, hold: Duration) -> Result<Option<i64>, Fault> {
        let Some((lent, etag)) = self.find(stream).await? else { return Ok(None) };
        if lent.gone || lent.until <= self.now() {
            return Ok(None);
        }
        let until = self.after(hold);
        let renewed = kept(stream, &Lent { until, gone: false })?.when(Condition::Etag(etag));
        match self.0.state.apply(vec![renewed]).await {
            Ok(_) => Ok(Some(until)),
            // Somebody who was quicker gave it back or renewed it, too: asked again, that is told.
            Err(ChangeError::Conflict { .. }) => Ok(None),
            Err(ChangeError::Failed(fault)) => Err(fault),
        }
    }

    /// Takes it back, with what is in it. Answers whether it was lent.
    pub async fn give_back(&self, stream: &str) -> Result<bool, Fault> {
        let Some((lent, _)) = self.find(stream).await? else { return Ok(false) };
        self.end(stream).await?;
        Ok(!lent.gone)
    }

    /// Looks after streams that nobody renewed, and after late answers, for ever.
    pub async fn run(self) -> Result<(), Fault> {
        loop {
            self.0.clock.sleep(LOOK).await;
            let lease = self.0.state.acquire(LEASE, &self.0.node, LOOK * 6).await?;
            if lease.holder == self.0.node {
                self.look_after().await?;
            }
        }
    }

    async fn look_after(&self) -> Result<(), Fault> {
        let mut after: Option<String> = None;
        loop {
            let page = self.0.state.list(SPACE, "", after.as_deref(), LIST_MAX).await?;
            for (key, value) in &page {
                let Ok(lent) = serde_json::from_slice::<Lent>(&value.bytes) else { continue };
                if lent.gone {
                    self.record_late(&key.key).await?;
                } else if lent.until <= self.now() {
                    self.end(&key.key).await?;
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == LIST_MAX => after = Some(last.key.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// From now on what comes is late; what is there goes.
    async fn end(&self, stream: &str) -> Result<(), Fault> {
        let gone = kept(stream, &Lent { until: self.now(), gone: true })?.ttl(GONE_FOR);
        self.0.state.apply(vec![gone]).await?;
        self.empty(stream).await
    }

    async fn empty(&self, stream: &str) -> Result<(), Fault> {
        let version = self.0.store.version(stream).await?;
        if version >= 0 {
            let all = Removal::Stream { stream: stream.to_owned(), before: version + 1 };
            self.0.store.remove(all).await?;
        }
        Ok(())
    }

    /// Copies late answers to the orphans, once each, and takes them away.
    async fn record_late(&self, stream: &str) -> Result<(), Fault> {
        let late = self.0.store.read(Read::stream(stream)).await?.messages;
        for message in &late {
            let orphan = Append {
                stream: ORPHANS.to_owned(),
                expected_version: None,
                messages: vec![orphan(message)],
            };
            match self.0.store.append(vec![orphan]).await {
                Ok(_) | Err(AppendError::DuplicateId { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(last) = late.last() {
            let before = last.position + 1;
            self.0.store.remove(Removal::Stream { stream: stream.to_owned(), before }).await?;
        }
        Ok(())
    }

    async fn find(&self, stream: &str) -> Result<Option<(Lent, i64)>, Fault> {
        let Some(value) = self.0.state.get(Key::new(SPACE, stream)).await? else { return Ok(None) };
        let lent = serde_json::from_slice(&value.bytes)
            .map_err(|error| Fault::new(Kind::Bug, "what is kept of a stream for answers").because(error))?;
        Ok(Some((lent, value.etag)))
    }

    fn now(&self) -> i64 {
        self.0.clock.unix().micros().cast_signed()
    }

    fn after(&self, hold: Duration) -> i64 {
        let hold = i64::try_from(hold.min(HOLD_MAX).as_micros()).unwrap_or(i64::MAX);
        self.now().saturating_add(hold)
    }
}

fn kept(stream: &str, lent: &Lent) -> Result<Change, Fault> {
    let bytes = serde_json::to_vec(lent)
        .map_err(|error| Fault::new(Kind::Bug, "what is kept of a stream for answers").because(error))?;
    Ok(Change::set(Key::new(SPACE, stream), bytes))
}

/// A late answer as it is recorded: with where it was to go.
fn orphan(message: &Message) -> NewMessage {
    let about = serde_json::json!({ "replyStreamName": message.stream, "replyId": message.id.to_string() });
    NewMessage {
        id: Uuid::new_v5(&NAMESPACE, message.id.as_bytes()),
        kind: message.kind.clone(),
        data: message.data.clone(),
        metadata: json::with_more(message.metadata.as_ref(), about),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{ClockHand, UnixTime};
    use store::{Embedded, LogOptions};

    struct World {
        replies: Replies,
        store: Store,
        hand: ClockHand,
        _folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (clock, hand) = Clock::by_hand(UnixTime(Duration::from_secs(1_764_158_400)));
            let (embedded, _) = Embedded::open(folder.path(), clock.clone(), LogOptions::default()).unwrap();
            let store = embedded.store();
            let replies = Replies::new(store.clone(), embedded.state(), clock);
            Self { replies, store, hand, _folder: folder }
        }

        async fn answer(&self, stream: &str, kind: &str) {
            let message = NewMessage { id: Uuid::new_v4(), kind: kind.into(), data: None, metadata: None };
            let append = Append { stream: stream.into(), expected_version: None, messages: vec![message] };
            self.store.append(vec![append]).await.unwrap();
        }

        async fn kinds(&self, stream: &str) -> Vec<String> {
            let page = self.store.read(Read::stream(stream)).await.unwrap();
            page.messages.into_iter().map(|message| message.kind).collect()
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_stream_is_lent_while_it_is_renewed_and_goes_with_what_is_in_it() {
        let world = World::new();
        let (stream, until) = world.replies.lend(MINUTE).await.unwrap();
        assert!(stream.starts_with("reply-"));
        world.answer(&stream, "Answered").await;
        world.hand.advance(MINUTE / 2);
        assert_eq!(world.replies.renew(&stream, MINUTE).await.unwrap(), Some(until + 30_000_000));
        world.hand.advance(MINUTE / 2);
        world.replies.look_after().await.unwrap();
        assert_eq!(world.kinds(&stream).await, ["Answered"]);
        world.hand.advance(MINUTE);
        assert_eq!(world.replies.renew(&stream, MINUTE).await.unwrap(), None);
        world.replies.look_after().await.unwrap();
        assert!(world.kinds(&stream).await.is_empty());
        assert!(!world.replies.give_back(&stream).await.unwrap());
        assert_eq!(world.replies.renew("reply-unknown", MINUTE).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_comes_too_late_is_recorded_once_and_what_was_in_time_is_not() {
        let world = World::new();
        let (stream, _) = world.replies.lend(MINUTE).await.unwrap();
        world.answer(&stream, "InTime").await;
        assert!(world.replies.give_back(&stream).await.unwrap());
        world.answer(&stream, "Late").await;
        world.answer(&stream, "Later").await;
        for _ in 0..2 {
            world.replies.look_after().await.unwrap();
        }
        assert_eq!(world.kinds(ORPHANS).await, ["Late", "Later"]);
        assert!(world.kinds(&stream).await.is_empty());
        let orphan = world.store.last(ORPHANS, None).await.unwrap().unwrap();
        let name = orphan.metadata.unwrap().field("replyStreamName").map(std::borrow::Cow::into_owned);
        assert_eq!(name, Some(stream));
    }
}
