//! A question and its answer over streams: the question is written with a reply stream that nobody else uses, and
//! the first message there is the answer. Who does not get it in time is told so.

use crate::{Client, Error, Message, MessageData, NewMessage, Read, Received, names};
use base::{Fault, Kind, Retry};
use std::time::Duration;

/// A question that is to be answered over a stream.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use std::time::Duration;
/// use tombolo_client::{Client, Message, Read, messages};
///
/// #[derive(Serialize, Deserialize)]
/// struct Quote {}
/// #[derive(Serialize, Deserialize)]
/// struct Quoted {
///     cents: u32,
/// }
/// messages!(Quote, Quoted);
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let client = Client::in_memory();
/// let asks = client.request("price:command-1", Quote {}).within(Duration::from_secs(5)).reply::<Quoted>();
/// let answers = async {
///     let read = Read::stream("price:command-1").wait(Duration::from_secs(5));
///     let quote = client.page(read).await?.messages.remove(0).receive::<Quote>()?;
///     client.reply(Quoted { cents: 4200 }.following(&quote)).await
/// };
/// let (quoted, _) = tokio::try_join!(asks, answers)?;
/// assert_eq!(quoted.cents, 4200);
/// # Ok::<(), tombolo_client::Error>(()) }).unwrap();
/// ```
#[must_use = "nothing is asked until a reply is waited for"]
#[derive(Debug)]
pub struct Request {
    client: Client,
    stream: String,
    message: NewMessage,
    within: Duration,
}

impl Request {
    pub(crate) fn new(client: Client, stream: String, message: NewMessage) -> Self {
        Self { client, stream, message, within: Duration::from_secs(30) }
    }

    /// How long to wait for the reply; 30 seconds if nothing is said.
    pub fn within(mut self, wait: Duration) -> Self {
        self.within = wait;
        self
    }

    /// Asks, and waits for a reply of this type. Another type is an error that names it.
    pub async fn reply<M: Message>(self) -> Result<Received<M>, Error> {
        self.any_reply().await?.receive()
    }

    /// Asks, and waits for a reply of any type.
    pub async fn any_reply(self) -> Result<MessageData, Error> {
        let Self { client, stream, message, within } = self;
        let began = client.clock().now();
        let kind = message.kind().to_owned();
        let replies = names::reply_stream();
        client.write(stream.as_str(), message).reply_to(&replies).await?;
        loop {
            let left = within.saturating_sub(client.clock().now().since(began));
            let read = Read::stream(replies.as_str()).limit(1).wait(left);
            let late = client.clock().sleep(left);
            let page = tokio::select! {
                biased;
                page = client.page(read) => page?,
                () = late => crate::Page::default(),
            };
            if let Some(reply) = page.messages.into_iter().next() {
                // It has been read: whoever would read it again has died, and nobody else knows the stream. If it
                // can't be deleted now it stays, which harms nobody.
                let _ = client.delete(&replies).await;
                return Ok(reply);
            }
            if client.clock().now().since(began) >= within {
                let text =
                    format!("no reply to `{kind}` in `{stream}` within {}", base::format_duration(within));
                let fault = Fault::new(Kind::Timeout, text).retry(Retry::IfIdempotent);
                return Err(fault.hint(format!("a late reply will stand in `{replies}`")).into());
            }
        }
    }
}
