//! One delivery from end to end: is it done already, the push, what the answer means, the messages it is answered
//! with, the pause before the next attempt, the dead letter. What it answers says when its streams may go on.

use super::body;
use super::definition::{Definition, bounds};
use super::deliver::{Deliver, Push, Verdict, headers, verdict};
use super::pull::Loan;
use super::window::{Delivery, End, Item};
use super::{dead, records};
use crate::http::json::IncomingAppend;
use crate::spans::{Appender, Delivering, Spans};
use crate::tap::{Delivered, MessageTaps};
use base::{Chance, Clock, Fault, Kind, format_duration};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use store::{AppendError, Message, State, Store};
use telemetry::TraceContext;

/// The pause after the store could not do its part.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The usual pause before a message is tried again that would be a dead letter, if there were not too many.
const FULL_PAUSE: Duration = Duration::from_secs(30);

/// The usual pause before a handler that was not reached is tried again.
const UNREACHED_PAUSE: Duration = Duration::from_secs(2);

/// What a delivery needs.
#[derive(Clone)]
pub(super) struct Handling {
    pub(super) store: Store,
    pub(super) state: State,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) deliver: Arc<dyn Deliver>,
    pub(super) spans: Option<Arc<Spans>>,
    pub(super) taps: MessageTaps,
    pub(super) name: Arc<str>,
    pub(super) definition: Arc<Definition>,
    /// Messages at these global positions may have been given to a handler by somebody before us, and what was
    /// answered then says it.
    pub(super) check: Range<i64>,
    pub(super) counts: Arc<super::status::Counts>,
    /// Dead letters that may be made before it is counted how many wait.
    pub(super) room: Arc<AtomicUsize>,
}

impl Handling {
    /// Pushes a delivery to the handler and does what follows.
    pub(super) async fn push(&self, delivery: Delivery) -> End {
        let mut items = Vec::new();
        for item in delivery.items {
            match self.is_done_already(&item).await {
                Ok(true) => self.counts.handled(),
                Ok(false) => items.push(item),
                Err(fault) => {
                    self.counts.trouble(&fault.to_string());
                    return End::Later(STORE_PAUSE);
                }
            }
        }
        let Some(handler) = self.definition.handler.clone().filter(|_| !items.is_empty()) else {
            return End::Done;
        };
        let messages: Vec<&Message> = items.iter().map(|item| &*item.message).collect();
        let attempt = items.first().map_or(0, |item| item.failed) + 1;
        let span =
            self.spans.as_ref().map(|spans| spans.delivery(&self.clock, &self.name, attempt, &messages));
        let trace = span.as_ref().map(Delivering::trace);
        let push = Push {
            consumer: self.name.to_string(),
            handler,
            headers: headers(&self.name, attempt, &messages, trace.as_ref()),
            body: match (messages.as_slice(), self.definition.batch) {
                ([message], 1) => body::message_json(message),
                _ => body::messages_json(messages.iter().copied()),
            },
            timeout: self.definition.timeout,
        };
        let begun = self.clock.both();
        let pushed = tokio::select! {
            pushed = self.deliver.push(push) => pushed,
            () = self.clock.sleep(self.definition.timeout) => {
                let text =
                    format!("the handler did not answer within {}", format_duration(self.definition.timeout));
                Err(Fault::new(Kind::Timeout, text))
            }
        };
        let took = self.clock.now().since(begun.0);
        self.counts.took.observe(took);
        let mut verdict = verdict(pushed, self.definition.refused);
        if let [item] = items.as_slice() {
            verdict = self.appended(item, verdict, trace).await;
        }
        if self.taps.are_open() {
            let (consumer, begun, took) = (&*self.name, begun.1, Some(took));
            let handler = self.definition.handler.as_ref().map(ToString::to_string);
            let delivered = Delivered { consumer, handler, attempt, begun, took, verdict: &verdict };
            delivered.show(&self.taps, &self.clock, items.iter().map(|item| &item.message));
        }
        let failed = span.as_ref().and_then(|_| verdict.failure().map(str::to_owned));
        let end = self.judged(verdict, &items).await;
        if let Some(span) = span {
            span.end(&self.clock, &self.counts.tail, failed.as_deref());
        }
        end
    }

    /// Does what the outcome of a delivery asks for. What follows from a single message is appended already.
    async fn judged(&self, verdict: Verdict, items: &[Item]) -> End {
        match (verdict, items) {
            (verdict, [item]) => self.judged_alone(item, verdict).await,
            (Verdict::Done(appends), _) if appends.is_empty() => {
                for item in items {
                    self.handled(item);
                }
                End::Done
            }
            (Verdict::Later(wait), _) => End::Later(wait),
            (Verdict::Unreached(why), _) => self.unreached(&why),
            // Tried one by one from now on; each is judged then.
            _ => {
                self.counts.failed("a batch failed, its messages are tried one by one");
                End::Failed(self.definition.backoff.wait(0, &self.chance))
            }
        }
    }

    /// Does what the outcome of a single message asks for.
    pub(super) async fn follow(&self, loan: Loan, verdict: Verdict) -> End {
        let Loan { item, span } = loan;
        let verdict = self.appended(&item, verdict, span.as_ref().map(Delivering::trace)).await;
        if self.taps.are_open() {
            let (consumer, attempt) = (&*self.name, item.failed + 1);
            let begun = self.clock.unix();
            let delivered =
                Delivered { consumer, handler: None, attempt, begun, took: None, verdict: &verdict };
            delivered.show(&self.taps, &self.clock, [&item.message]);
        }
        let failed = span.as_ref().and_then(|_| verdict.failure().map(str::to_owned));
        let end = self.judged_alone(&item, verdict).await;
        if let Some(span) = span {
            span.end(&self.clock, &self.counts.tail, failed.as_deref());
        }
        end
    }

    /// Appends what follows from a message that is handled; what came of both. `trace` is the span of its delivery, if it
    /// has one.
    async fn appended(&self, item: &Item, verdict: Verdict, trace: Option<TraceContext>) -> Verdict {
        let Verdict::Done(wanted) = verdict else { return verdict };
        match self.append(item, wanted, trace).await {
            Ok(()) => Verdict::Done(Vec::new()),
            Err(NotAppended::Wrong(why)) => Verdict::Failed(why),
            Err(NotAppended::Failed(fault)) => Verdict::NotKept(fault.to_string()),
        }
    }

    async fn judged_alone(&self, item: &Item, verdict: Verdict) -> End {
        let why = match verdict {
            Verdict::Done(_) => return self.done(item).await,
            Verdict::NotKept(why) => {
                self.counts.failed(&why);
                return End::Later(STORE_PAUSE);
            }
            Verdict::Later(wait) => return End::Later(wait),
            Verdict::Unreached(why) => return self.unreached(&why),
            Verdict::Failed(why) => why,
            Verdict::Refused(why) => return self.bury(item, &why).await,
        };
        self.counts.failed(&why);
        if item.failed + 1 >= self.definition.attempts {
            return self.bury(item, &why).await;
        }
        End::Failed(self.definition.backoff.wait(item.failed, &self.chance))
    }

    /// Whether it was handled, or given up, by somebody whose position was never written.
    pub(super) async fn is_done_already(&self, item: &Item) -> Result<bool, Fault> {
        let message = &item.message;
        if item.again.is_some() || !self.check.contains(&message.global_position) {
            return Ok(false);
        }
        if self.store.by_id(body::output_id(&self.name, message.id, 0)).await?.is_some() {
            return Ok(true);
        }
        match self.store.by_id(dead::id(&self.name, message.id, 0)).await? {
            Some(told) => {
                dead::list_again(&self.state, &self.name, message.global_position, &told).await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn append(
        &self,
        item: &Item,
        wanted: Vec<IncomingAppend>,
        trace: Option<TraceContext>,
    ) -> Result<(), NotAppended> {
        let mut appends = body::appends(&self.name, &item.message, wanted, trace.is_some());
        if appends.is_empty() {
            return Ok(());
        }
        let service = self.definition.handler.as_ref().map_or("", |handler| handler.service.as_str());
        let span = self.spans.as_ref().zip(trace).map(|(spans, trace)| {
            spans.append(&self.clock, "append", &Appender::Handler(trace, service), &mut appends)
        });
        let appended = self.store.append(appends).await;
        if let Some(span) = span {
            span.end(&self.clock, appended.as_ref().map(drop));
        }
        match appended {
            // The ids are ours: an answer before this one was appended.
            Ok(_) | Err(AppendError::DuplicateId { .. }) => Ok(()),
            Err(error @ AppendError::WrongVersion { .. }) => {
                let first = body::output_id(&self.name, item.message.id, 0);
                match self.store.by_id(first).await.map_err(NotAppended::Failed)? {
                    Some(_) => Ok(()),
                    None => Err(NotAppended::Wrong(format!("cannot append what was answered: {error}"))),
                }
            }
            Err(AppendError::Refused(fault)) => Err(NotAppended::Wrong(fault.to_string())),
            Err(AppendError::Failed(fault)) => Err(NotAppended::Failed(fault)),
        }
    }

    fn unreached(&self, why: &str) -> End {
        self.counts.trouble(why);
        // Not all of them at the same time.
        End::Later(UNREACHED_PAUSE.mul_f64(0.5 + self.chance.unit()))
    }

    async fn done(&self, item: &Item) -> End {
        if item.again.is_some()
            && let Err(fault) =
                dead::forget_again(&self.state, &self.name, item.message.global_position).await
        {
            self.counts.failed(&fault.to_string());
            return End::Later(STORE_PAUSE);
        }
        self.handled(item);
        End::Done
    }

    fn handled(&self, item: &Item) {
        self.counts.handled();
        let micros = i64::try_from(self.clock.unix().micros()).unwrap_or(i64::MAX);
        let age = u64::try_from(micros.saturating_sub(item.message.time)).unwrap_or(0);
        self.counts.age.observe(Duration::from_micros(age));
    }

    async fn bury(&self, item: &Item, why: &str) -> End {
        match self.has_room(item).await {
            Ok(true) => {}
            Ok(false) => {
                let most = bounds::DEAD_LETTERS_KEPT_MAX;
                self.counts.trouble(&format!(
                    "`{most}` dead letters wait, so what fails waits with them until some are tried again or discarded: {why}"
                ));
                return End::Later(FULL_PAUSE.mul_f64(0.5 + self.chance.unit()));
            }
            Err(fault) => {
                self.counts.trouble(&fault.to_string());
                return End::Later(STORE_PAUSE);
            }
        }
        let before = item.again.unwrap_or(0);
        let letter = dead::letter(&item.message, why, item.failed + 1, before, self.now());
        match dead::bury(&self.store, &self.state, &self.name, &item.message, &letter).await {
            Ok(()) => {
                self.counts.buried();
                End::Done
            }
            Err(fault) => {
                self.counts.failed(&fault.to_string());
                End::Later(STORE_PAUSE)
            }
        }
    }

    /// Whether one more may wait. What was a dead letter before takes the place that it had, and so does one that is
    /// tried anew by whoever does not know that it is one.
    async fn has_room(&self, item: &Item) -> Result<bool, Fault> {
        let less = |room: usize| room.checked_sub(1);
        if item.again.is_some() || self.room.fetch_update(SeqCst, SeqCst, less).is_ok() {
            return Ok(true);
        }
        let most = bounds::DEAD_LETTERS_KEPT_MAX;
        let waiting = records::count(&self.state, &records::dead_prefix(&self.name), most).await?;
        let room = (most - waiting).min(bounds::DEAD_LETTERS_UNCOUNTED);
        self.room.store(room.saturating_sub(1), SeqCst);
        let own = records::dead_key(&self.name, item.message.global_position);
        Ok(room > 0 || self.state.get(own).await?.is_some())
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.unix().micros()).unwrap_or(i64::MAX)
    }
}

/// Why what a handler answered was not appended.
enum NotAppended {
    /// The handler has to answer otherwise.
    Wrong(String),
    /// The store could not.
    Failed(Fault),
}
