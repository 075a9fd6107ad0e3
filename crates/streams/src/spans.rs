//! What appends and deliveries leave for whoever looks at traces, and how a trace crosses a stream: a message's metadata
//! names the span of its append (`traceparent`), that of its delivery hangs below it, and the handler is told of that
//! one.

use base::{Chance, Clock, Moment, UnixTime};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use store::{Append, AppendError, Json, Message, Uuid, names};
use telemetry::TraceContext;
use telemetry::spans::{Draft, Ended, Kind, Recorder, Sample, Side, TagWriter, Tail};
use wire::Headers;

/// The service that takes messages and brings them to consumers.
pub const SERVICE: &str = "streams";

/// The field of metadata that names a span, in the words of W3C Trace Context.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The field of metadata that goes with it.
pub(crate) const TRACESTATE: &str = "tracestate";
/// Bytes of a `tracestate` that are kept (W3C Trace Context section 3.3.1.5 asks for at least these).
const TRACESTATE_BYTES_MAX: usize = 512;

/// Where appends and deliveries leave their spans.
#[derive(Debug)]
pub struct Spans {
    recorder: Recorder,
    sample: Sample,
    chance: Chance,
    /// Tells which appends are kept.
    appends: Tail,
}

/// Who appends.
pub(crate) enum Appender<'a> {
    /// A call of the API: messages that have no trace get that of the call.
    Call(&'a Headers),
    /// A call whose messages stay as they are.
    Import(&'a Headers),
    /// A client of Message DB, whose metadata is its own.
    Client,
    /// A handler that answered a delivery of this span; its service is empty where messages are asked for.
    Handler(TraceContext, &'a str),
}

/// What a span tells of its messages: of the first one, and how many there are.
struct About {
    stream: String,
    kind: String,
    id: Uuid,
    correlation: Option<String>,
    count: usize,
}

/// An append under way.
pub(crate) struct Appending {
    spans: Arc<Spans>,
    operation: &'static str,
    /// The service that appends, where it is known.
    service: Option<String>,
    trace: TraceContext,
    begun: (Moment, UnixTime),
    about: Option<About>,
}

/// A delivery under way.
pub(crate) struct Delivering {
    spans: Arc<Spans>,
    consumer: Arc<str>,
    attempt: u32,
    trace: TraceContext,
    begun: (Moment, UnixTime),
    about: Option<About>,
}

impl Spans {
    /// Leaves them here: of these traces that begin with a message all, of the others what failed and what was slow.
    pub fn new(recorder: Recorder, sample: Sample, chance: Chance) -> Arc<Self> {
        Arc::new(Self { recorder, sample, chance, appends: Tail::default() })
    }

    /// An append begins. Messages that are to have its trace get it here.
    pub(crate) fn append(
        self: &Arc<Self>,
        clock: &Clock,
        operation: &'static str,
        appender: &Appender<'_>,
        appends: &mut [Append],
    ) -> Appending {
        let metadata =
            appends.iter().flat_map(|append| &append.messages).find_map(|one| one.metadata.as_ref());
        let told = || self.told_by(metadata);
        let mut trace = match appender {
            Appender::Handler(trace, _) => trace.child(&self.chance),
            Appender::Client => told().unwrap_or_else(|| TraceContext::begin(&self.chance)),
            Appender::Call(headers) | Appender::Import(headers) => {
                let given = TraceContext::from_headers(headers, &self.chance);
                if given.parent.is_some() { given } else { told().unwrap_or(given) }
            }
        };
        let begun = clock.both();
        self.recorder.decide_aside(&mut trace, self.sample, begun.0);
        let state = match appender {
            Appender::Call(headers) => headers.get(TRACESTATE).and_then(|value| value.to_str().ok()),
            _ => None,
        };
        if matches!(appender, Appender::Call(_) | Appender::Handler(..)) && trace.parent.is_some() {
            for message in appends.iter_mut().flat_map(|append| &mut append.messages) {
                carry(&trace, state, &mut message.metadata);
            }
        }
        let service = match appender {
            Appender::Handler(_, service) if !service.is_empty() => Some((*service).to_owned()),
            _ => None,
        };
        let count = appends.iter().map(|append| append.messages.len()).sum();
        let first = appends.iter().find_map(|append| Some((&append.stream, append.messages.first()?)));
        let about = first.map(|(stream, message)| About {
            stream: stream.clone(),
            kind: message.kind.clone(),
            id: message.id,
            correlation: correlation(message.metadata.as_ref()),
            count,
        });
        Appending { spans: self.clone(), operation, service, trace, begun, about }
    }

    /// A delivery of these messages begins.
    pub(crate) fn delivery(
        self: &Arc<Self>,
        clock: &Clock,
        consumer: &Arc<str>,
        attempt: u32,
        messages: &[&Message],
    ) -> Delivering {
        let first = messages.first();
        let told = self.told_by(first.and_then(|message| message.metadata.as_ref()));
        let mut trace = told.unwrap_or_else(|| TraceContext::begin(&self.chance));
        let begun = clock.both();
        self.recorder.decide_aside(&mut trace, self.sample, begun.0);
        let about = first.map(|message| About {
            stream: message.stream.clone(),
            kind: message.kind.clone(),
            id: message.id,
            correlation: correlation(message.metadata.as_ref()),
            count: messages.len(),
        });
        Delivering { spans: self.clone(), consumer: consumer.clone(), attempt, trace, begun, about }
    }

    /// A new span below the one that metadata names.
    fn told_by(&self, metadata: Option<&Json>) -> Option<TraceContext> {
        TraceContext::below(&metadata?.field(TRACEPARENT)?, &self.chance)
    }

    fn put(
        &self,
        (kind, service, remote): (Kind, &str, &str),
        operation: &str,
        (trace, begun, took): (TraceContext, UnixTime, Duration),
        about: Option<&About>,
        tags: impl FnOnce(&mut TagWriter<'_>),
    ) {
        let category = about.map_or("", |about| names::category(&about.stream));
        let side = |service| Side { service, ..Side::default() };
        let (local, remote) = (side(service), side(remote));
        let (id, parent, name) = (trace.span, trace.parent, (operation, category));
        let draft = Draft { trace: trace.trace, id, parent, kind, name, begun, took, local, remote };
        self.recorder.put_aside(&draft, |writer| {
            writer.messaging();
            writer.put("messaging.operation.name", operation);
            writer.put_some("messaging.destination.name", Some(category));
            if let Some(about) = about {
                writer.put("tombolo.stream", &about.stream);
                writer.put("tombolo.message.type", &about.kind);
                writer.put(
                    "messaging.message.id",
                    about.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
                );
                writer.put_some("tombolo.correlation", about.correlation.as_deref());
                if about.count > 1 {
                    writer.number("messaging.batch.message_count", about.count as u64);
                }
            }
            tags(writer);
        });
    }
}

impl Appending {
    /// It has ended. What the store could not do has failed; what it refused has not.
    pub(crate) fn end(self, clock: &Clock, ended: Result<(), &AppendError>) {
        let Self { spans, operation, service, trace, begun, about } = self;
        let now = clock.now();
        let took = now.since(begun.0);
        let (error, reason) = match ended {
            Ok(()) => (None, ""),
            Err(AppendError::Failed(fault)) => (Some(fault.to_string()), "store"),
            Err(AppendError::Refused(_)) => (None, "refused"),
            Err(AppendError::DuplicateId { .. }) => (None, "duplicate_id"),
            Err(AppendError::WrongVersion { .. }) => (None, "wrong_version"),
        };
        let choice = of_kind(trace, error.is_some(), (now, took), about.as_ref());
        let Some(kept) = spans.appends.choose(&choice) else { return };
        // Whoever appends gives its message to the broker; where nobody is named the broker itself tells.
        let sides = match &service {
            Some(service) => (Kind::Producer, service.as_str(), SERVICE),
            None => (Kind::Producer, SERVICE, ""),
        };
        spans.put(sides, operation, (trace, begun.1, took), about.as_ref(), |tags| {
            tags.put("messaging.operation.type", "send");
            tags.put_some("tombolo.reason", Some(reason));
            tags.put_some("tombolo.kept", Some(kept));
            tags.put_some("error", error.as_deref());
        });
    }
}

impl Delivering {
    /// Its span.
    pub(crate) fn trace(&self) -> TraceContext {
        self.trace
    }

    /// It has ended; `error` says why it failed, if it did. `tail` tells which deliveries are kept.
    pub(crate) fn end(self, clock: &Clock, tail: &Tail, error: Option<&str>) {
        let Self { spans, consumer, attempt, trace, begun, about } = self;
        let now = clock.now();
        let took = now.since(begun.0);
        let choice = of_kind(trace, error.is_some(), (now, took), about.as_ref());
        let Some(kept) = tail.choose(&choice) else { return };
        let sides = (Kind::Consumer, SERVICE, "");
        spans.put(sides, "deliver", (trace, begun.1, took), about.as_ref(), |tags| {
            tags.put("messaging.operation.type", "process");
            tags.put("messaging.consumer.group.name", &consumer);
            if attempt > 1 {
                tags.number("tombolo.attempt", attempt.into());
            }
            tags.put_some("tombolo.kept", Some(kept));
            tags.put_some("error", error);
        });
    }
}

fn of_kind(
    trace: TraceContext,
    failed: bool,
    (at, took): (Moment, Duration),
    about: Option<&About>,
) -> Ended<'_> {
    let kind = (about.map_or("", |about| about.kind.as_str()), u16::from(failed));
    Ended { sampled: trace.sampled, failed, took, at, kind }
}

fn correlation(metadata: Option<&Json>) -> Option<String> {
    metadata?.field("correlationStreamName").map(std::borrow::Cow::into_owned)
}

/// Has metadata name a span, unless it names one or is no object. All else of it stays as it is, to the letter.
fn carry(trace: &TraceContext, state: Option<&str>, metadata: &mut Option<Json>) {
    let text = metadata.as_ref().map_or("{}", Json::as_str);
    let Some(rest) = text.strip_prefix('{') else { return };
    if metadata.as_ref().is_some_and(|metadata| metadata.field(TRACEPARENT).is_some()) {
        return;
    }
    let mut fields = format!(r#"{{"{TRACEPARENT}":"{}""#, String::from_utf8_lossy(&trace.traceparent()));
    let is_there = metadata.as_ref().is_some_and(|metadata| metadata.field(TRACESTATE).is_some());
    if let Some(state) = state.filter(|state| !is_there && state.len() <= TRACESTATE_BYTES_MAX) {
        // Writing to memory does not fail.
        let _ = write!(fields, r#","{TRACESTATE}":{}"#, serde_json::Value::from(state));
    }
    if rest != "}" {
        fields.push(',');
    }
    // Metadata at the bound of its size stays as it is.
    if let Ok(carrying) = Json::parse(&(fields + rest)) {
        *metadata = Some(carrying);
    }
}

/// Whether metadata is the same but for the trace that an append gave it.
pub(crate) fn is_same_metadata(one: Option<&Json>, other: Option<&Json>) -> bool {
    let carries = |metadata: Option<&Json>| metadata.is_some_and(|json| json.field(TRACEPARENT).is_some());
    let rest = |metadata: Option<&Json>| {
        let mut value: serde_json::Value =
            metadata.map_or(Ok(serde_json::json!({})), |json| serde_json::from_str(json.as_str())).ok()?;
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|name, _| name != TRACEPARENT && name != TRACESTATE);
        }
        Some(value)
    };
    one == other || ((carries(one) || carries(other)) && rest(one) == rest(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn check(metadata: Option<&str>, state: Option<&str>, expected: &Expect) {
        let trace = TraceContext::below(CONTEXT, &Chance::seeded(1)).unwrap();
        let given = metadata.map(|text| Json::parse(text).unwrap());
        let mut carried = given.clone();
        carry(&trace, state, &mut carried);
        assert!(is_same_metadata(given.as_ref(), carried.as_ref()));
        expected.assert_eq(&carried.unwrap().to_string());
    }

    #[test]
    fn metadata_names_the_span_of_its_append() {
        check(
            None,
            None,
            &expect![[r#"{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-910a2dec89025cc1-01"}"#]],
        );
        check(
            Some("{}"),
            Some(r#"a="1""#),
            &expect![[
                r#"{"tracestate": "a=\"1\"", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-910a2dec89025cc1-01"}"#
            ]],
        );
        check(
            Some(r#"{"n":1.10,"b":null}"#),
            None,
            &expect![[
                r#"{"b": null, "n": 1.10, "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-910a2dec89025cc1-01"}"#
            ]],
        );
        check(Some("[1]"), None, &expect!["[1]"]);
        check(Some(r#"{"traceparent":"mine"}"#), Some("a=1"), &expect![[r#"{"traceparent": "mine"}"#]]);
    }

    #[test]
    fn metadata_differs_by_more_than_its_trace() {
        let same = |one: &str, other: &str| {
            is_same_metadata(Some(&Json::parse(one).unwrap()), Some(&Json::parse(other).unwrap()))
        };
        assert!(same(r#"{"a":1,"traceparent":"x"}"#, r#"{"traceparent":"y","tracestate":"z","a":1}"#));
        assert!(!same(r#"{"a":1,"traceparent":"x"}"#, r#"{"a":2,"traceparent":"x"}"#));
        assert!(!same(r#"{"a":1.10}"#, r#"{"a":1.1}"#), "to the letter, where there is none");
        assert!(!is_same_metadata(None, Some(&Json::parse("{}").unwrap())));
    }
}
