//! Messages for those who watch, as they are appended and as they are delivered. What a tap wants is said in eskip's
//! language, in a few predicates of messages, which stand in a table here.

mod predicates;

pub use predicates::{Asked, PREDICATES, PredicateSpec, WantedMessages, find, names, reference};

use crate::consumers::Verdict;
use crate::spans::TRACEPARENT;
use base::{Clock, Moment, UnixTime, format_duration};
use std::sync::Arc;
use std::time::Duration;
use store::{Append, AppendError, Appended, Json, Message, Uuid};
use telemetry::tap::{self, Event, Feed, Taps, Text, Way};

/// Those who watch messages.
pub type MessageTaps = Taps<WantedMessages>;

/// Messages of one append that are kept to be shown; more are shown in no second.
const NOTED_MAX: usize = tap::SHOWN_PER_SECOND_MAX as usize;

/// An append under way that somebody watches.
pub(crate) struct Appending {
    noted: Vec<Noted>,
    begun: (Moment, UnixTime),
}

/// A message of it.
struct Noted {
    feeds: Vec<Feed>,
    /// Of which append it is, and where in that.
    place: (usize, i64),
    message: tap::Message,
}

impl Appending {
    /// The messages that somebody wants to see, if there are any.
    #[cold]
    pub(crate) fn begin(taps: &MessageTaps, clock: &Clock, appends: &[Append]) -> Option<Self> {
        let mut noted = Vec::new();
        for (of, append) in appends.iter().enumerate() {
            for (nth, message) in (0..).zip(&append.messages) {
                let asked = Asked {
                    stream: &append.stream,
                    kind: &message.kind,
                    metadata: message.metadata.as_ref(),
                    consumer: None,
                };
                let feeds = taps.that(|wanted| wanted.hold(&asked));
                if noted.len() >= NOTED_MAX {
                    for feed in feeds {
                        feed.miss(1);
                    }
                } else if !feeds.is_empty() {
                    let told = told(&asked, message.id, message.data.as_ref());
                    noted.push(Noted { feeds, place: (of, nth), message: told });
                }
            }
        }
        (!noted.is_empty()).then(|| Self { noted, begun: clock.both() })
    }

    /// It has ended.
    #[cold]
    pub(crate) fn end(self, clock: &Clock, appended: Result<&[Appended], &AppendError>) {
        let now = clock.now();
        let took = Some(now.since(self.begun.0));
        let (outcome, reason) = match appended {
            Ok(_) => ("done", None),
            Err(error) => (word(error), Some(Text::sentence(&error.to_string()))),
        };
        for Noted { feeds, place: (of, nth), message } in self.noted {
            let at = appended.ok().and_then(|all| all.get(of));
            let message = tap::Message {
                begun: self.begun.1,
                took,
                outcome,
                reason: reason.clone(),
                position: at.map(|at| at.first_position + nth),
                global_position: at.and_then(|at| global(at, nth)),
                ..message
            };
            offer(&feeds, now, appended.is_err(), &message);
        }
    }
}

/// What came of an append that failed, in one word.
pub(crate) fn word(error: &AppendError) -> &'static str {
    match error {
        AppendError::DuplicateId { .. } => "duplicate_id",
        AppendError::WrongVersion { .. } => "wrong_version",
        AppendError::Refused(_) => "refused",
        AppendError::Failed(_) => "failed",
    }
}

/// Where a message of an append stands in the store: others may be between them in PostgreSQL.
fn global(at: &Appended, nth: i64) -> Option<i64> {
    let has_gaps = at.last_global_position - at.first_global_position != at.last_position - at.first_position;
    (nth == 0 || !has_gaps).then_some(at.first_global_position + nth)
}

/// A delivery that has ended.
pub(crate) struct Delivered<'a> {
    pub(crate) consumer: &'a str,
    /// None where messages are asked for.
    pub(crate) handler: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) begun: UnixTime,
    pub(crate) took: Option<Duration>,
    pub(crate) verdict: &'a Verdict,
}

impl Delivered<'_> {
    /// Shows its messages to those who want them.
    #[cold]
    pub(crate) fn show<'m>(
        &self,
        taps: &MessageTaps,
        clock: &Clock,
        messages: impl IntoIterator<Item = &'m Arc<Message>>,
    ) {
        let (outcome, reason) = match self.verdict {
            Verdict::Done(_) => ("done", None),
            Verdict::Failed(why) | Verdict::NotKept(why) => ("failed", Some(Text::sentence(why))),
            Verdict::Unreached(why) => ("unreached", Some(Text::sentence(why))),
            Verdict::Refused(why) => ("refused", Some(Text::sentence(why))),
            Verdict::Later(wait) => {
                let text = format!("the handler asks for it in {}", format_duration(*wait));
                ("later", Some(Text::sentence(&text)))
            }
        };
        let is_failure = self.verdict.failure().is_some();
        for message in messages {
            let asked = Asked {
                stream: &message.stream,
                kind: &message.kind,
                metadata: message.metadata.as_ref(),
                consumer: Some(self.consumer),
            };
            let feeds = taps.that(|wanted| wanted.hold(&asked));
            if feeds.is_empty() {
                continue;
            }
            let told = tap::Message {
                way: Way::Delivery {
                    consumer: self.consumer.to_owned(),
                    handler: self.handler.clone(),
                    attempt: self.attempt,
                },
                begun: self.begun,
                took: self.took,
                outcome,
                reason: reason.clone(),
                position: Some(message.position),
                global_position: Some(message.global_position),
                ..told(&asked, message.id, message.data.as_ref())
            };
            offer(&feeds, clock.now(), is_failure, &told);
        }
    }
}

/// What a message tells of itself.
fn told(asked: &Asked<'_>, id: Uuid, data: Option<&Json>) -> tap::Message {
    let trace = asked.metadata.and_then(|metadata| metadata.field(TRACEPARENT));
    tap::Message {
        stream: Text::name(asked.stream),
        kind: Text::name(asked.kind),
        id: id.to_string(),
        trace: trace.and_then(|trace| Some(Text::name(trace.split('-').nth(1)?))),
        metadata: asked.metadata.map(|metadata| Text::metadata(metadata.as_str())),
        data: data.map(|data| Text::data(data.as_str())),
        ..tap::Message::default()
    }
}

/// Gives each tap what it shows of a message.
fn offer(feeds: &[Feed], now: Moment, is_failure: bool, message: &tap::Message) {
    for feed in feeds {
        let show = feed.show();
        if !show.only_failures || is_failure {
            feed.offer(now, || {
                let mut message = message.clone();
                message.metadata = message.metadata.filter(|_| show.headers);
                message.data = message.data.filter(|_| show.bodies);
                Event::Message(Box::new(message))
            });
        }
    }
}
