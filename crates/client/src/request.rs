//! A question and its answer over streams: the question is written with a reply stream that nobody else uses, and
//! the first message there is the answer. The stream is lent for this one answer: it goes with it, and a late answer is
//! recorded among the orphans. Who does not get one in time is told so.

use crate::{Client, Error, Message, MessageData, NewMessage, Read, Received, names};
use base::{Fault, Kind, Retry};
use std::time::Duration;

/// How much longer than it is waited the stream is lent.
const MARGIN: Duration = Duration::from_secs(10);

/// The longest time that a stream is lent for.
const HOLD_MAX: Duration = Duration::from_hours(1);

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

    /// How long to wait for the reply, at most an hour; 30 seconds if nothing is said.
    pub fn within(mut self, wait: Duration) -> Self {
        self.within = wait.min(HOLD_MAX);
        self
    }

    /// Asks, and waits for a reply of this type. Another type is an error that names it.
    pub async fn reply<M: Message>(self) -> Result<Received<M>, Error> {
        self.any_reply().await?.receive()
    }

    /// Asks, and waits for a reply of any type.
    pub async fn any_reply(self) -> Result<MessageData, Error> {
        let Self { client, stream, message, within } = self;
        let kind = message.kind().to_owned();
        let replies = client.transport().lend_reply_stream((within + MARGIN).min(HOLD_MAX)).await?;
        client.write(stream.as_str(), message).reply_to(&replies).await?;
        let reply = Self::wait_for(&client, &replies, within).await;
        // Nobody waits for that. If it can't be given back it goes by itself, as it does where we die.
        tokio::spawn(async move { drop(client.transport().give_back_reply_stream(&replies).await) });
        if let Some(reply) = reply? {
            return Ok(reply);
        }
        let text = format!("no reply to `{kind}` in `{stream}` within {}", base::format_duration(within));
        let fault = Fault::new(Kind::Timeout, text).retry(Retry::IfIdempotent);
        Err(fault.hint(format!("a late reply will stand in `{}`", names::ORPHANS)).into())
    }

    /// The first message of the stream; `None` if there is none in time.
    async fn wait_for(
        client: &Client,
        replies: &str,
        within: Duration,
    ) -> Result<Option<MessageData>, Error> {
        let began = client.clock().now();
        loop {
            let left = within.saturating_sub(client.clock().now().since(began));
            let read = Read::stream(replies).limit(1).wait(left);
            let late = client.clock().sleep(left);
            let page = tokio::select! {
                biased;
                page = client.page(read) => page?,
                () = late => crate::Page::default(),
            };
            let reply = page.messages.into_iter().next();
            if reply.is_some() || client.clock().now().since(began) >= within {
                return Ok(reply);
            }
        }
    }
}
