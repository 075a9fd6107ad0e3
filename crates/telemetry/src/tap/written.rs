//! What a tap saw, as the JSON that it is shown as: secrets are masked here and nowhere else, so that nothing gets past.

use super::event::{Event, Half, Message, RequestSeen, Text, Way};
use crate::mask;
use base::UnixTime;
use http::header::HeaderValue;
use jiff::Timestamp;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

#[derive(Serialize)]
struct ShownRequest<'a> {
    kind: &'static str,
    time: String,
    duration_us: u64,
    trace: &'a str,
    route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callee: Option<&'a str>,
    method: &'a str,
    host: String,
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<IpAddr>,
    status: u16,
    request_bytes: u64,
    response_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    cut_short: bool,
    #[serde(skip_serializing_if = "ShownHalf::is_empty")]
    request: ShownHalf,
    #[serde(skip_serializing_if = "ShownHalf::is_empty")]
    response: ShownHalf,
}

#[derive(Serialize)]
struct ShownHalf {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Vec<(String, String)>>,
    #[serde(skip_serializing_if = "is_zero")]
    headers_left_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<ShownBody>,
}

#[derive(Serialize)]
struct ShownBody {
    bytes: u64,
    /// What is text, as far as it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    cut: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
}

#[derive(Serialize)]
struct ShownMessage<'a> {
    kind: &'static str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    stream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    global_position: Option<i64>,
    #[serde(rename = "type")]
    message_type: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<ShownBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<ShownBody>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

impl Event {
    /// One line, its secrets masked.
    pub fn json(&self) -> String {
        let written = match self {
            Event::Request(request) => serde_json::to_string(&ShownRequest::of(request)),
            Event::Message(message) => serde_json::to_string(&ShownMessage::of(message)),
        };
        written.expect("texts and numbers can be written")
    }
}

impl<'a> ShownRequest<'a> {
    fn of(request: &'a RequestSeen) -> Self {
        Self {
            kind: "request",
            time: time(request.begun),
            duration_us: micros(request.took),
            trace: &request.trace,
            route: &request.route,
            caller: request.caller.as_deref(),
            callee: request.callee.as_deref(),
            method: &request.method,
            host: mask::text(&request.host),
            uri: mask::uri(&request.uri, &request.masked_keys),
            remote: request.remote,
            status: request.status,
            request_bytes: request.request_bytes,
            response_bytes: request.response_bytes,
            backend: request.backend.as_deref(),
            attempts: request.attempts,
            reason: request.reason.as_ref().map(|(cause, _)| &**cause),
            filter: request.reason.as_ref().and_then(|(_, filter)| filter.as_deref()),
            cut_short: request.cut_short,
            request: ShownHalf::of(&request.request, request.request_bytes, &request.masked_keys),
            response: ShownHalf::of(&request.response, request.response_bytes, &request.masked_keys),
        }
    }
}

impl ShownHalf {
    fn of(half: &Half, bytes: u64, keys: &[String]) -> Self {
        let headers = half.headers.as_ref().map(|fields| {
            // A page that leads here may have had the same query.
            let value = |value: String| if keys.is_empty() { value } else { mask::uri(&value, keys) };
            let shown = |(name, given): &(_, _)| (name_of(name), value(mask::field(name, given)));
            fields.iter().map(shown).collect()
        });
        let body = half.body.as_deref().and_then(|body| ShownBody::of(half, body, bytes));
        Self { headers, headers_left_out: half.left_out, body }
    }

    fn is_empty(&self) -> bool {
        self.headers.is_none() && self.body.is_none()
    }
}

fn name_of(name: &http::HeaderName) -> String {
    name.as_str().to_owned()
}

impl ShownBody {
    fn of(half: &Half, body: &[u8], bytes: u64) -> Option<Self> {
        // What came and was read by nobody has passed nobody.
        let bytes = bytes.max(body.len() as u64);
        if bytes == 0 {
            return None;
        }
        let told = |value: &Option<HeaderValue>| {
            Some(mask::text(&String::from_utf8_lossy(value.as_ref()?.as_bytes())))
        };
        let (kind, encoding) = (told(&half.kind), told(&half.encoding));
        let text = readable(body).map(|text| mask::body(kind.as_deref().unwrap_or_default(), text));
        let is_cut = text.is_some() && bytes > body.len() as u64;
        Some(Self { bytes, text, cut: is_cut, kind, encoding })
    }

    fn of_text(text: &Text) -> Self {
        Self {
            bytes: text.bytes as u64,
            text: Some(mask::text(&text.text)),
            cut: text.bytes > text.text.len(),
            kind: None,
            encoding: None,
        }
    }
}

/// Bytes that are a text, whose last character may be cut off. What is none is not shown, since nobody can tell what
/// of it is secret.
fn readable(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |c: char| !c.is_control() || c.is_ascii_whitespace();
    text.chars().all(is_text).then_some(text)
}

impl<'a> ShownMessage<'a> {
    fn of(message: &'a Message) -> Self {
        let (kind, consumer, handler, attempt) = match &message.way {
            Way::Append => ("append", None, None, None),
            Way::Delivery { consumer, handler, attempt } => {
                ("delivery", Some(&**consumer), handler.as_deref(), Some(*attempt))
            }
        };
        Self {
            kind,
            time: time(message.begun),
            duration_us: message.took.map(micros),
            trace: message.trace.as_ref().map(|trace| &*trace.text),
            consumer,
            handler,
            attempt,
            outcome: message.outcome,
            reason: message.reason.as_ref().map(|reason| mask::text(&reason.text)),
            stream: &message.stream.text,
            position: message.position,
            global_position: message.global_position,
            message_type: &message.kind.text,
            id: &message.id,
            metadata: message.metadata.as_ref().map(ShownBody::of_text),
            data: message.data.as_ref().map(ShownBody::of_text),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn time(at: UnixTime) -> String {
    let micros = i64::try_from(at.micros()).unwrap_or(i64::MAX);
    format!("{:.6}", Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;
    use crate::record::tests::record;
    use expect_test::{Expect, expect};
    use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, REFERER};
    use wire::Headers;

    fn check(event: &Event, expected: &Expect) {
        expected.assert_eq(&event.json());
    }

    fn fields(fields: &[(http::HeaderName, &'static str)]) -> Headers {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_request_is_shown_with_what_was_asked_for() {
        let plain = RequestSeen::of(&record(), ("/cart/7", "shop"), None, [Half::default(), Half::default()]);
        check(
            &Event::Request(Box::new(plain)),
            &expect![[
                r#"{"kind":"request","time":"2023-11-14T22:13:20.250000Z","duration_us":12345,"trace":"910a2dec89025cc1beeb8da1658eec67","route":"cart","method":"GET","host":"shop","uri":"/cart/7","remote":"10.0.0.9","status":200,"request_bytes":0,"response_bytes":2326,"backend":"10.1.0.1:8080","attempts":1}"#
            ]],
        );
        let keys = ["email".to_owned()];
        let reason = crate::Reason { cause: "breaker_open", filter: Some("x") };
        let record = Record {
            masked_keys: &keys,
            caller: Some("web"),
            reason: Some(reason),
            request_bytes: 9000,
            ..record()
        };
        let head = fields(&[
            (HOST, "shop"),
            (AUTHORIZATION, "Basic abc"),
            (REFERER, "/x?email=ann"),
            (CONTENT_TYPE, "application/json"),
        ]);
        let body = format!(r#"{{"password":"hunter2","a":"{}"#, "ä".repeat(Half::BODY_BYTES_MAX));
        let request = Half::of(&head, true).with_body(body.into_bytes());
        let response = Half::of(&head, false).with_body(vec![8, 1, 0]);
        let event = Event::Request(Box::new(RequestSeen::of(
            &record,
            ("/?email=a&token=b", "shop"),
            Some("cart"),
            [request, response],
        )));
        let text = event.json();
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        let text = text.replace('ä', "");
        expect![[r#"{"kind":"request","time":"2023-11-14T22:13:20.250000Z","duration_us":12345,"trace":"910a2dec89025cc1beeb8da1658eec67","route":"cart","caller":"web","callee":"cart","method":"GET","host":"shop","uri":"/?email=***&token=***","remote":"10.0.0.9","status":200,"request_bytes":9000,"response_bytes":2326,"backend":"10.1.0.1:8080","attempts":1,"reason":"breaker_open","filter":"x","request":{"headers":[["host","shop"],["authorization","***"],["referer","/x?email=***"],["content-type","application/json"]],"body":{"bytes":9000,"text":"{\"password\":\"***\",\"a\":\"","cut":true,"type":"application/json"}},"response":{"body":{"bytes":2326,"type":"application/json"}}}"#]].assert_eq(&text);
    }

    #[test]
    fn a_message_is_shown_with_what_was_asked_for() {
        let message = || Message {
            outcome: "done",
            stream: Text::name("order-7"),
            kind: Text::name("Placed"),
            id: "1".to_owned(),
            position: Some(3),
            global_position: Some(12),
            took: Some(Duration::from_millis(2)),
            ..Message::default()
        };
        check(
            &Event::Message(Box::new(message())),
            &expect![[
                r#"{"kind":"append","time":"1970-01-01T00:00:00.000000Z","duration_us":2000,"outcome":"done","stream":"order-7","position":3,"global_position":12,"type":"Placed","id":"1"}"#
            ]],
        );
        let way =
            Way::Delivery { consumer: "billing".into(), handler: Some("shop/orders".into()), attempt: 2 };
        let delivered = Message {
            way,
            outcome: "failed",
            reason: Some(Text::sentence("the handler answered 500: token=abc")),
            metadata: Some(Text::metadata(r#"{"userId":"7"}"#)),
            data: Some(Text::data(r#"{"secret":1,"b":2}"#)),
            ..message()
        };
        check(
            &Event::Message(Box::new(delivered)),
            &expect![[
                r#"{"kind":"delivery","time":"1970-01-01T00:00:00.000000Z","duration_us":2000,"consumer":"billing","handler":"shop/orders","attempt":2,"outcome":"failed","reason":"the handler answered 500: token=***","stream":"order-7","position":3,"global_position":12,"type":"Placed","id":"1","metadata":{"bytes":14,"text":"{\"userId\":\"7\"}"},"data":{"bytes":18,"text":"{\"secret\":\"***\",\"b\":2}"}}"#
            ]],
        );
    }

    #[test]
    fn heads_and_names_are_bounded() {
        let long: &'static str = Box::leak("x".repeat(5000).into_boxed_str());
        let half =
            Half::of(&fields(&[(HOST, "a"), (REFERER, long), (REFERER, long), (CONTENT_TYPE, "b")]), true);
        assert_eq!((half.headers.unwrap().len(), half.left_out), (3, 1));
        let huge = "ü".repeat(100_000);
        let target = (huge.as_str(), huge.as_str());
        let request = RequestSeen::of(&record(), target, Some(&huge), [Half::default(), Half::default()]);
        assert!(Event::Request(Box::new(request)).json().len() < 4_000);
    }
}
