//! Work for a consumer that the server keeps: it knows the position, shares the messages among all who ask, hands a
//! message out again when nobody answers for it, and keeps those that can't be handled.

use crate::transport::{Ack, Acknowledged, Delivery, Outcome};
use crate::{Client, Error, Handlers, bounds};
use base::{Fault, Kind};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type Failed = Arc<dyn Fn(&Delivery, &Error) + Send + Sync>;
type Unreachable = Arc<dyn Fn(&Error) + Send + Sync>;

/// Handles what a consumer of the server hands out.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// use tombolo_client::{Client, Error, Handlers, PullConsumer, Received, messages};
///
/// #[derive(Serialize, Deserialize)]
/// struct Placed {}
/// messages!(Placed);
///
/// async fn placed(_: (), placed: Received<Placed>) -> Result<(), Error> {
///     println!("{} was placed", placed.entity_id());
///     Ok(())
/// }
///
/// # async fn run() -> Result<(), Error> {
/// let consumer = PullConsumer::new(Client::from_env()?, "mail", Handlers::new(()).on(placed));
/// consumer.run(std::future::pending()).await
/// # }
/// ```
#[must_use = "a consumer does nothing until it runs"]
pub struct PullConsumer<S> {
    client: Client,
    name: String,
    handlers: Handlers<S>,
    limit: usize,
    wait: Duration,
    failed: Failed,
    unreachable: Unreachable,
}

impl<S> fmt::Debug for PullConsumer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullConsumer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: Clone + Send + Sync + 'static> PullConsumer<S> {
    /// Handles what the server's consumer of this name hands out.
    pub fn new(client: Client, name: impl Into<String>, handlers: Handlers<S>) -> Self {
        Self {
            client,
            name: name.into(),
            handlers,
            limit: 10,
            wait: Duration::from_secs(20),
            failed: Arc::new(|_, _| {}),
            unreachable: Arc::new(|_| {}),
        }
    }

    /// Takes at most so many messages at once, up to a hundred; ten if nothing is said. All of them are to be handled
    /// within the consumer's `timeout`.
    pub fn limit(mut self, messages: usize) -> Self {
        self.limit = messages.clamp(1, bounds::TAKE_MESSAGES_MAX);
        self
    }

    /// Is told of messages that could not be handled, or not in time, such as to log them. The server hands them out
    /// again.
    pub fn on_failed(mut self, failed: impl Fn(&Delivery, &Error) + Send + Sync + 'static) -> Self {
        self.failed = Arc::new(failed);
        self
    }

    /// Is told when the server can't be reached; it is asked again.
    pub fn on_unreachable(mut self, unreachable: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.unreachable = Arc::new(unreachable);
        self
    }

    /// Handles messages as they come, until `stop` is over. Those that were taken are handled to their end. Fails if
    /// the server has no such consumer, or refuses.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::pin!(stop);
        let mut attempt = 0;
        loop {
            let took = tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                took = self.take(self.wait) => took,
            };
            let done = match took {
                Ok(deliveries) => self.handle(deliveries).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => attempt = 0,
                Err(error) if error.is_passing() => {
                    (self.unreachable)(&error);
                    attempt += 1;
                    tokio::select! {
                        biased;
                        () = &mut stop => return Ok(()),
                        () = self.client.clock().sleep(super::pause(attempt)) => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn take(&self, wait: Duration) -> Result<Vec<Delivery>, Error> {
        self.client.transport().take(&self.name, self.limit, wait).await
    }

    /// Handles deliveries one after another, and answers for each as soon as it is handled.
    async fn handle(&self, deliveries: Vec<Delivery>) -> Result<(), Error> {
        for delivery in deliveries {
            let outcome = match self.handlers.handle(&delivery.message).await {
                Ok(appends) => Outcome::Done(appends.unwrap_or_default()),
                Err(error) => {
                    (self.failed)(&delivery, &error);
                    Outcome::Retry(error.to_string())
                }
            };
            let ack = Ack { token: delivery.token.clone(), outcome };
            let acked = self.client.transport().acknowledge(&self.name, vec![ack]).await?;
            let (text, rest) = match acked.first() {
                Some(Acknowledged::Lost) => ("it was handled too late, and is handed out again", false),
                Some(Acknowledged::NotAppended) => ("what follows from it could not be appended", true),
                Some(Acknowledged::Acknowledged) | None => continue,
            };
            let fault = Fault::new(Kind::Conflict, text)
                .hint("the consumer's `timeout` is for all that is taken at once");
            (self.failed)(&delivery, &Error::Fault(fault));
            if !rest {
                // Those that were taken with it are as late.
                return Ok(());
            }
        }
        Ok(())
    }
}
