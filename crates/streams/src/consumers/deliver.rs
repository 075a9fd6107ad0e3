//! The way to a handler, given from outside, and what its answer means. The decision is a pure function; `handling`
//! acts on it.

use super::body;
use super::definition::{Handler, Refused, bounds};
use crate::http::json::IncomingAppend;
use base::{Fault, Retry};
use std::pin::Pin;
use std::time::Duration;
use store::Message;
use telemetry::TraceContext;

/// Brings messages to services. Dropping what it returns breaks the call off.
pub trait Deliver: Send + Sync + 'static {
    /// Whether this node can reach the handler, so that it should take a part of the consumer's work.
    fn serves(&self, handler: &Handler) -> bool;

    /// Posts a message, and answers what the handler did. A fault whose `retry` is `Safe` says that the handler was not
    /// reached, so that the message has not failed. Who calls it looks after the time.
    fn push(&self, push: Push) -> Pin<Box<dyn Future<Output = Result<Pushed, Fault>> + Send + '_>>;
}

/// What is posted.
#[derive(Clone, Debug)]
pub struct Push {
    /// The name of the consumer.
    pub consumer: String,
    /// To whom.
    pub handler: Handler,
    /// Names and values of headers; their values are printable ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// One message in JSON, or an array of them.
    pub body: String,
    /// How long it may take.
    pub timeout: Duration,
}

/// What a handler did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// The HTTP status.
    pub status: u16,
    /// What `Retry-After` says, if it does.
    pub retry_after: Option<Duration>,
    /// The body, at most [`bounds::ANSWER_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// The headers of a push of these messages. `trace` is the span of the delivery, if it has one.
pub(super) fn headers(
    consumer: &str,
    attempt: u32,
    messages: &[&Message],
    trace: Option<&TraceContext>,
) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("tombolo-consumer", consumer.to_owned()),
        ("tombolo-attempt", attempt.to_string()),
    ];
    if let Some(trace) = trace {
        headers.push(("traceparent", String::from_utf8_lossy(&trace.traceparent()).into_owned()));
    }
    // Those of a batch speak for themselves in its body.
    if let [message] = messages {
        headers.push(("tombolo-message-id", message.id.to_string()));
        for (header, field) in [
            ("traceparent", "traceparent"),
            ("tracestate", "tracestate"),
            ("tombolo-correlation", "correlationStreamName"),
        ] {
            let value = message.metadata.as_ref().and_then(|metadata| metadata.field(field));
            // What is no header's value was never meant as one.
            let fits =
                |value: &str| value.len() <= 2_048 && value.bytes().all(|b| (b' '..=b'~').contains(&b));
            let is_told = trace.is_some() && header == "traceparent";
            headers.extend(
                value.filter(|value| fits(value) && !is_told).map(|value| (header, value.into_owned())),
            );
        }
    }
    headers
}

/// What a handler's answer means.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is handled, and these messages are to be appended.
    Done(Vec<IncomingAppend>),
    /// It failed.
    Failed(String),
    /// It is handled, but the store could not keep what follows from it.
    NotKept(String),
    /// The handler asks for it later.
    Later(Duration),
    /// The handler was not reached: not the message's fault.
    Unreached(String),
    /// The handler will never take it.
    Refused(String),
}

impl Verdict {
    /// Why it failed, if it did.
    pub(crate) fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed(why) | Self::NotKept(why) | Self::Unreached(why) | Self::Refused(why) => Some(why),
            Self::Done(_) | Self::Later(_) => None,
        }
    }
}

/// What an answer, or none, means.
pub(super) fn verdict(pushed: Result<Pushed, Fault>, refused: Refused) -> Verdict {
    let pushed = match pushed {
        Ok(pushed) => pushed,
        Err(fault) if fault.retry == Retry::Safe => return Verdict::Unreached(fault.to_string()),
        Err(fault) => return Verdict::Failed(fault.to_string()),
    };
    let told = || {
        let text = String::from_utf8_lossy(&pushed.body);
        body::reason(
            format!("the handler answered {}: {}", pushed.status, text.trim()).trim_end_matches(": "),
        )
    };
    match (pushed.status, pushed.retry_after) {
        (200..300, _) => match body::answered(&pushed.body) {
            Ok(appends) => Verdict::Done(appends),
            Err(fault) => Verdict::Failed(fault.to_string()),
        },
        (429 | 503, Some(wait)) => Verdict::Later(wait.min(bounds::WAIT_MAX)),
        (408 | 425 | 429, _) => Verdict::Failed(told()),
        (400..500, _) if refused == Refused::DeadLetter => Verdict::Refused(told()),
        _ => Verdict::Failed(told()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Kind;
    use expect_test::{Expect, expect};
    use store::{Json, Uuid};

    fn check(status: u16, retry_after: Option<u64>, answer: &str, refused: Refused, expected: Expect) {
        let pushed = Pushed {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            body: answer.as_bytes().to_vec(),
        };
        let told = match verdict(Ok(pushed), refused) {
            Verdict::Done(appends) => format!("done, {} appends", appends.len()),
            Verdict::Failed(reason) => format!("failed: {reason}"),
            Verdict::NotKept(reason) => format!("not kept: {reason}"),
            Verdict::Later(wait) => format!("later: {wait:?}"),
            Verdict::Unreached(reason) => format!("unreached: {reason}"),
            Verdict::Refused(reason) => format!("refused: {reason}"),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        use Refused::{DeadLetter, Retry};
        let appends = r#"{"append":[{"stream_name":"a-1","messages":[{"type":"T"}]}]}"#;
        check(204, None, "", Retry, expect!["done, 0 appends"]);
        check(200, None, appends, Retry, expect!["done, 1 appends"]);
        check(
            200,
            None,
            r#"{"append":1}"#,
            Retry,
            expect![
                "failed: `append` of the answer is wrong: invalid type: integer `1`, expected a sequence at line 1 column 11"
            ],
        );
        check(503, Some(7), "", Retry, expect!["later: 7s"]);
        check(429, Some(1_000_000), "", DeadLetter, expect!["later: 3600s"]);
        check(503, None, "busy\n", Retry, expect!["failed: the handler answered 503: busy"]);
        check(500, Some(7), "", DeadLetter, expect!["failed: the handler answered 500"]);
        check(422, None, "no such order", Retry, expect!["failed: the handler answered 422: no such order"]);
        check(
            422,
            None,
            "no such order",
            DeadLetter,
            expect!["refused: the handler answered 422: no such order"],
        );
        for status in [408, 425, 429] {
            assert!(matches!(
                verdict(Ok(Pushed { status, ..Pushed::default() }), DeadLetter),
                Verdict::Failed(_)
            ));
        }
        let broke_off = || Fault::new(Kind::Unavailable, "it broke off");
        assert!(matches!(verdict(Err(broke_off()), DeadLetter), Verdict::Failed(_)));
        assert!(matches!(
            verdict(Err(broke_off().retry(base::Retry::Safe)), DeadLetter),
            Verdict::Unreached(_)
        ));
    }

    #[test]
    fn headers_name_the_message_and_carry_its_trace() {
        let metadata = r#"{"traceparent":"00-1-2-01","correlationStreamName":"cart-\u000a1"}"#;
        let message = Message {
            id: Uuid::from_u128(7),
            stream: "a-1".to_owned(),
            kind: "T".to_owned(),
            position: 0,
            global_position: 1,
            data: None,
            metadata: Some(Json::parse(metadata).unwrap()),
            time: 0,
        };
        let told = format!("{:?}", headers("billing", 2, &[&message], None));
        expect![[r#"[("content-type", "application/json"), ("tombolo-consumer", "billing"), ("tombolo-attempt", "2"), ("tombolo-message-id", "00000000-0000-0000-0000-000000000007"), ("traceparent", "00-1-2-01")]"#]]
            .assert_eq(&told);
        assert_eq!(headers("billing", 2, &[&message, &message], None).len(), 3);
    }
}
