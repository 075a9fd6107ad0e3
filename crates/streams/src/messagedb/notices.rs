//! LISTEN and NOTIFY. A session that listens to a channel hears what others notify there, and once for any number
//! of new messages in the category of the channel's name, so that consumers need not poll.

use super::error::{Sql, SqlError};
use store::{Scope, Store};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

/// Notifications that a slow session may be behind; it misses older ones.
const BEHIND_MAX: usize = 1_024;
/// Channels of one session.
const CHANNELS_MAX: usize = 64;
/// Bytes of a payload; PostgreSQL's bound.
const PAYLOAD_BYTES_MAX: usize = 7_999;

/// What was notified.
#[derive(Clone, Debug)]
pub(crate) struct Notification {
    /// The session it comes from, 0 for the store.
    pub(crate) pid: i32,
    pub(crate) channel: String,
    pub(crate) payload: String,
}

/// What sessions notify each other of.
#[derive(Debug)]
pub(crate) struct Channels(broadcast::Sender<Notification>);

impl Default for Channels {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

impl Channels {
    /// Tells every session that listens.
    pub(crate) fn notify(&self, notification: Notification) {
        // Nobody listens: nobody is told.
        drop(self.0.send(notification));
    }
}

/// What one session listens to.
#[derive(Debug)]
pub(crate) struct Listening {
    channels: Vec<(String, JoinHandle<()>)>,
    heard: mpsc::Receiver<Notification>,
    hears: mpsc::Sender<Notification>,
}

impl Default for Listening {
    fn default() -> Self {
        let (hears, heard) = mpsc::channel(BEHIND_MAX);
        Self { channels: Vec::new(), heard, hears }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop(None);
    }
}

impl Listening {
    /// Listens to a channel from now on.
    pub(crate) fn listen(&mut self, channel: &str, store: &Store, channels: &Channels) -> Sql<()> {
        if self.channels.iter().any(|(name, _)| name == channel) {
            return Ok(());
        }
        if self.channels.len() == CHANNELS_MAX {
            let text = format!("a session listens to at most {CHANNELS_MAX} channels");
            return Err(SqlError::new("54000", text));
        }
        let mut watch = store.watch(Scope::Category(channel.to_owned()));
        let (mut notified, hears, name) = (channels.0.subscribe(), self.hears.clone(), channel.to_owned());
        let task = tokio::spawn(async move {
            loop {
                let notification = tokio::select! {
                    () = watch.changed() => Notification { pid: 0, channel: name.clone(), payload: String::new() },
                    notified = notified.recv() => match notified {
                        Ok(notification) if notification.channel == name => notification,
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                };
                if hears.send(notification).await.is_err() {
                    return;
                }
            }
        });
        self.channels.push((channel.to_owned(), task));
        Ok(())
    }

    /// Listens no more to a channel, or to any.
    pub(crate) fn stop(&mut self, channel: Option<&str>) {
        self.channels.retain(|(name, task)| {
            let stays = channel.is_some_and(|channel| channel != name);
            if !stays {
                task.abort();
            }
            stays
        });
    }

    /// The next notification.
    pub(crate) async fn heard(&mut self) -> Notification {
        match self.heard.recv().await {
            Some(notification) => notification,
            // There is a sender in `self`.
            None => std::future::pending().await,
        }
    }

    /// The next notification, if there is one.
    pub(crate) fn heard_now(&mut self) -> Option<Notification> {
        self.heard.try_recv().ok()
    }
}

/// Refuses what PostgreSQL refuses to notify.
pub(crate) fn check(channel: &str, payload: &str) -> Sql<()> {
    if channel.is_empty() {
        return Err(SqlError::new("22023", "channel name cannot be empty"));
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(SqlError::new("22023", "payload string too long"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{Append, Memory, NewMessage, Uuid};

    async fn append(store: &Store, stream: &str, id: u128) {
        let message = NewMessage { id: Uuid::from_u128(id), kind: "T".into(), data: None, metadata: None };
        let append = Append { stream: stream.into(), expected_version: None, messages: vec![message] };
        store.append(vec![append]).await.unwrap();
    }

    #[tokio::test]
    async fn a_session_hears_of_messages_and_of_what_others_say() {
        let (store, channels) = (Store::new(Memory::new(base::Clock::system())), Channels::default());
        let mut listening = Listening::default();
        listening.listen("account", &store, &channels).unwrap();
        append(&store, "other-1", 1).await;
        append(&store, "account-1", 2).await;
        let heard = listening.heard().await;
        assert_eq!((heard.pid, &*heard.channel, &*heard.payload), (0, "account", ""));
        channels.notify(Notification { pid: 7, channel: "other".into(), payload: "no".into() });
        channels.notify(Notification { pid: 7, channel: "account".into(), payload: "yes".into() });
        let heard = listening.heard().await;
        assert_eq!((heard.pid, &*heard.payload), (7, "yes"));
        listening.stop(None);
        append(&store, "account-1", 3).await;
        tokio::task::yield_now().await;
        assert!(listening.heard_now().is_none());
    }

    #[tokio::test]
    async fn a_session_listens_to_so_many_channels_and_no_more() {
        let (store, channels) = (Store::new(Memory::new(base::Clock::system())), Channels::default());
        let mut listening = Listening::default();
        for nth in 0..CHANNELS_MAX {
            listening.listen(&nth.to_string(), &store, &channels).unwrap();
        }
        listening.listen("0", &store, &channels).unwrap();
        assert_eq!(listening.listen("more", &store, &channels).unwrap_err().code, "54000");
        assert!(check("", "").is_err() && check("a", &"x".repeat(PAYLOAD_BYTES_MAX + 1)).is_err());
    }
}
