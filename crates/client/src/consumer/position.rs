//! Where a consumer is: the position in the store of the last message that it handled, as the last message of a
//! stream of its own. Eventide's consumers read and write the same.

use crate::{Client, Error, MessageData};
use serde::{Deserialize, Serialize};

/// A consumer's position, and how much was handled since it was written down.
#[derive(Debug)]
pub(super) struct Position {
    stream: String,
    last: Option<i64>,
    unrecorded: u32,
    /// After how many messages it is written down; `None`: never.
    interval: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Recorded {
    position: i64,
}

crate::messages!(Recorded);

impl Position {
    /// As it was written down last. Whoever deletes the stream has the consumer begin anew.
    pub(super) async fn read(client: &Client, stream: &str, interval: Option<u32>) -> Result<Self, Error> {
        let last = match interval {
            Some(_) => client.last(stream).await?.filter(|last| !last.is_tombstone()),
            None => None,
        };
        let last = last.as_ref().map(position).transpose()?;
        Ok(Self { stream: stream.to_owned(), last, unrecorded: 0, interval })
    }

    /// The first position that was not handled; `None` if nothing was.
    pub(super) fn next(&self) -> Option<i64> {
        self.last.map(|last| last + 1)
    }

    /// The message at this position was handled.
    pub(super) fn handled(&mut self, global_position: i64) {
        self.last = Some(global_position);
        self.unrecorded = self.unrecorded.saturating_add(1);
    }

    /// Whether so much was handled that it is to be written down.
    pub(super) fn is_due(&self) -> bool {
        self.interval.is_some_and(|interval| self.unrecorded >= interval)
    }

    /// Writes it down.
    pub(super) async fn write(&self, client: &Client) -> Result<(), Error> {
        match self.last {
            Some(position) => client.write(self.stream.as_str(), Recorded { position }).await.map(drop),
            None => Ok(()),
        }
    }

    /// It was written down.
    pub(super) fn is_recorded(&mut self) {
        self.unrecorded = 0;
    }

    /// Writes it down unless it is.
    pub(super) async fn record(&mut self, client: &Client) -> Result<(), Error> {
        if self.unrecorded > 0 && self.interval.is_some() {
            self.write(client).await?;
            self.is_recorded();
        }
        Ok(())
    }
}

/// What a message says about a position. Older Eventide consumers call it `Updated`, so its type does not matter.
fn position(message: &MessageData) -> Result<i64, Error> {
    let data = message.data.as_deref().map_or("null", |data| data.get());
    let recorded: Recorded = serde_json::from_str(data)
        .map_err(|error| crate::error::invalid(format!("{} is no position: {error}", message.place())))?;
    Ok(recorded.position)
}
