//! Reads a category from where it left off, message after message, and hands each to its handler. Where it is it
//! writes into a stream beside the category (`order:position-payments`), as Eventide does, so nothing else is needed
//! to go on after a restart. Each message is handled at least once; what handlers answer is appended once.

mod position;
mod pull;
mod push;

pub use pull::PullConsumer;
pub use push::Pushed;

use crate::error::invalid;
use crate::{Client, Error, Handlers, MessageData, Read, bounds, names};
use base::Kind;
use position::Position;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// From which the keys of appends follow (RFC 9562 section 5.5), drawn once.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d1f_22b8_0c4e_4a96_b3a7_e8f0_9164_7c2d);
/// How often a message is handled again at once because another writer was faster.
const FASTER_MAX: u32 = 10;
/// The pause before the second attempt; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The consumer ends with this error. Started again, it begins with the same message.
    Stop,
    /// The message counts as handled. Where it is not about a message the consumer ends.
    Skip,
    /// After this pause it is tried again.
    Again(Duration),
}

/// An error that a consumer has to do with.
#[derive(Debug)]
pub struct Trouble<'a> {
    /// What went wrong.
    pub error: &'a Error,
    /// The message that was being handled; `None` where reading or writing the position failed.
    pub message: Option<&'a MessageData>,
    /// How often the same thing has failed, with this time.
    pub attempt: u32,
}

impl Trouble<'_> {
    /// What is done if nobody decides otherwise: what passes is waited for, what another writer was faster with is
    /// done again, everything else ends the consumer.
    pub fn usual(&self) -> Decision {
        if self.error.is_passing() {
            return Decision::Again(pause(self.attempt));
        }
        if self.error.is_wrong_version() && self.attempt < FASTER_MAX {
            return Decision::Again(Duration::ZERO);
        }
        Decision::Stop
    }
}

/// [`Trouble::usual`], for troubles of any lifetime.
fn usual(trouble: &Trouble<'_>) -> Decision {
    trouble.usual()
}

/// 100 ms, doubled with each attempt, up to ten seconds.
fn pause(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(PAUSE_MAX)
}

type Decide = Arc<dyn Fn(&Trouble<'_>) -> Decision + Send + Sync>;

/// Handles the messages of a category.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use std::sync::{Arc, Mutex};
/// use tombolo_client::{Client, Consumer, Error, Handlers, Received, messages};
///
/// #[derive(Serialize, Deserialize)]
/// struct Placed {}
/// messages!(Placed);
///
/// async fn placed(seen: Arc<Mutex<Vec<String>>>, placed: Received<Placed>) -> Result<(), Error> {
///     seen.lock().unwrap().push(placed.entity_id().to_owned());
///     Ok(())
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let client = Client::in_memory();
/// client.write("order-17", Placed {}).await?;
/// let seen = Arc::new(Mutex::new(Vec::new()));
/// let consumer = Consumer::new(client, "order", Handlers::new(seen.clone()).on(placed)).identifier("mail");
/// assert_eq!(consumer.catch_up().await?, 1); // a service says `consumer.run(until_it_is_to_stop).await?`
/// assert_eq!(*seen.lock().unwrap(), ["17"]);
/// # Ok::<(), tombolo_client::Error>(()) }).unwrap();
/// ```
#[must_use = "a consumer does nothing until it runs"]
pub struct Consumer<S> {
    client: Client,
    handlers: Handlers<S>,
    read: Read,
    category: String,
    identifier: Option<String>,
    /// `None`: it keeps no position.
    position_update_interval: Option<u32>,
    decide: Decide,
}

impl<S> fmt::Debug for Consumer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("category", &self.category)
            .field("identifier", &self.identifier)
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}

impl<S: Clone + Send + Sync + 'static> Consumer<S> {
    /// A consumer of a category. Two of the same category need an identifier each, or they share a position.
    pub fn new(client: Client, category: impl Into<String>, handlers: Handlers<S>) -> Self {
        let category = category.into();
        Self {
            client,
            handlers,
            read: Read::category(category.as_str()).wait(Duration::from_secs(20)),
            category,
            identifier: None,
            position_update_interval: Some(100),
            decide: Arc::new(usual),
        }
    }

    /// The name that tells its position from those of other consumers of the category.
    pub fn identifier(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = Some(identifier.into());
        self
    }

    /// Takes only this member's share of the category's streams: its number from 0, and how many members there are.
    /// Each member needs an identifier of its own.
    pub fn group(mut self, member: u16, size: u16) -> Self {
        self.read.member = Some((member, size));
        self
    }

    /// Takes only messages that belong to a flow which began in a stream of this category.
    pub fn correlation(mut self, category: impl Into<String>) -> Self {
        self.read.correlation = Some(category.into());
        self
    }

    /// Reads at most so many messages at once; a thousand if nothing is said.
    pub fn batch(mut self, messages: usize) -> Self {
        self.read.limit = messages.clamp(1, bounds::PAGE_MESSAGES_MAX);
        self
    }

    /// Writes its position after so many messages, and when it stops; a hundred if nothing is said. As many may be
    /// handled again after a crash.
    pub fn position_update_interval(mut self, messages: u32) -> Self {
        self.position_update_interval = Some(messages.max(1));
        self
    }

    /// Keeps no position: each time it runs it begins with the category's first message, or where
    /// [`Consumer::starting_at`] says. This is how what a service holds in memory only is built again.
    pub fn without_position(mut self) -> Self {
        self.position_update_interval = None;
        self
    }

    /// Begins here if it never ran before, instead of with the category's first message.
    pub fn starting_at(mut self, global_position: i64) -> Self {
        self.read.from = global_position;
        self
    }

    /// Decides what is done about an error; [`Trouble::usual`] if nothing is said. This is also the place to log it.
    pub fn on_error(mut self, decide: impl Fn(&Trouble<'_>) -> Decision + Send + Sync + 'static) -> Self {
        self.decide = Arc::new(decide);
        self
    }

    /// Handles messages as they come, until `stop` is over. A message that is being handled is handled to its end.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let (sender, receiver) = watch::channel(false);
        let asked = async {
            stop.await;
            sender.send_replace(true);
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            done = self.go(Stopping(receiver), false) => done.map(drop),
            never = asked => match never {},
        }
    }

    /// Handles what is there and ends; how many messages it was. For tests, and for work that a timer starts.
    pub async fn catch_up(&self) -> Result<u64, Error> {
        let (_sender, receiver) = watch::channel(false);
        self.go(Stopping(receiver), true).await
    }

    async fn go(&self, stopping: Stopping, ends: bool) -> Result<u64, Error> {
        self.check()?;
        let stream = names::position_stream(&self.category, self.identifier.as_deref());
        let begin = || Position::read(&self.client, &stream, self.position_update_interval);
        let Insisted::Done(mut position) = self.insist(&stopping, None, begin).await? else { return Ok(0) };
        let mut read = self.read.clone();
        read.from = position.next().unwrap_or(read.from);
        if ends {
            read.wait = Duration::ZERO;
        }
        let mut handled = 0;
        while !stopping.is_over() {
            let page = tokio::select! {
                biased;
                () = stopping.over() => break,
                page = self.insist(&stopping, None, || self.client.page(read.clone())) => page?,
            };
            let Insisted::Done(page) = page else { break };
            for message in &page.messages {
                if stopping.is_over() {
                    break;
                }
                match self.insist(&stopping, Some(message), || self.consume(&stream, message)).await {
                    Ok(Insisted::Done(()) | Insisted::Skipped) => position.handled(message.global_position),
                    Ok(Insisted::Stopped) => break,
                    Err(error) => {
                        // What was handled before stays handled; the error is what the caller has to know.
                        let _ = position.record(&self.client).await;
                        return Err(error);
                    }
                }
                handled += 1;
                if position.is_due() {
                    self.record(&stopping, &mut position).await?;
                }
            }
            read.from = page.next;
            if ends && !page.more {
                break;
            }
        }
        position.record(&self.client).await?;
        Ok(handled)
    }

    /// Refuses what would not do what it seems to.
    fn check(&self) -> Result<(), Error> {
        let category = &self.category;
        if !names::is_category(category) {
            let text = format!("`{category}` is a stream, a consumer's is a category");
            return Err(invalid(text).hint(format!("its category is `{}`", names::category(category))));
        }
        match self.read.member {
            Some((member, size)) if member >= size => {
                Err(invalid(format!("member `{member}` of a group of `{size}`: they count from 0")))
            }
            Some(_) if self.identifier.is_none() => Err(invalid("a member of a group needs an identifier")
                .hint("its position is kept under it: give each member one of its own")),
            _ => Ok(()),
        }
    }

    /// Handles one message and appends what its handler answers.
    async fn consume(&self, position_stream: &str, message: &MessageData) -> Result<(), Error> {
        let appends = self.handlers.handle(message).await?.unwrap_or_default();
        if appends.is_empty() {
            return Ok(());
        }
        // It is this consumer's answer to this message, whoever asks again: it is there once.
        let key = Uuid::new_v5(&NAMESPACE, format!("{}\0{position_stream}", message.id).as_bytes());
        match self.client.append_keyed(appends, Some(key.to_string())).await {
            // It is there already from before a crash, though the handler would say it differently now.
            Err(Error::Fault(fault)) if fault.kind == Kind::Conflict => Ok(()),
            other => other.map(drop),
        }
    }

    async fn record(&self, stopping: &Stopping, position: &mut Position) -> Result<(), Error> {
        let at = &*position;
        if let Insisted::Done(()) = self.insist(stopping, None, || at.write(&self.client)).await? {
            position.is_recorded();
        }
        Ok(())
    }

    /// Does it until it is done or decided otherwise.
    async fn insist<T, F>(
        &self,
        stopping: &Stopping,
        message: Option<&MessageData>,
        mut act: impl FnMut() -> F,
    ) -> Result<Insisted<T>, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut attempt = 0;
        loop {
            let error = match act().await {
                Ok(done) => return Ok(Insisted::Done(done)),
                Err(error) => error,
            };
            attempt += 1;
            match (self.decide)(&Trouble { error: &error, message, attempt }) {
                Decision::Skip if message.is_some() => return Ok(Insisted::Skipped),
                Decision::Stop | Decision::Skip => return Err(error),
                Decision::Again(pause) => {
                    tokio::select! {
                        biased;
                        () = stopping.over() => return Ok(Insisted::Stopped),
                        () = self.client.clock().sleep(pause) => {}
                    }
                }
            }
        }
    }
}

/// What came of something that may fail for a while.
enum Insisted<T> {
    Done(T),
    /// It was decided to go on without.
    Skipped,
    /// The consumer is to stop, and it was not done yet.
    Stopped,
}

/// Whether the consumer is to stop.
struct Stopping(watch::Receiver<bool>);

impl Stopping {
    fn is_over(&self) -> bool {
        *self.0.borrow()
    }

    async fn over(&self) {
        if self.0.clone().wait_for(|over| *over).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}
