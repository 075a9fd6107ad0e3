//! Messages as JSON, in and out. Data and metadata go out as the store keeps them; what comes in is told with its
//! place where it is wrong. Names are those of Message DB's columns.

use super::answer::Problem;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write as _;
use store::{Appended, Json, Message, NewMessage, Uuid};

/// A message as an object, at the end of a text.
pub(crate) fn write_message(out: &mut Vec<u8>, message: &Message) {
    let _ = write!(out, "{{\"id\":\"{}\",\"stream_name\":", message.id);
    write_text(out, &message.stream);
    out.extend_from_slice(b",\"type\":");
    write_text(out, &message.kind);
    let _ = write!(
        out,
        ",\"position\":{},\"global_position\":{},\"data\":{},\"metadata\":{},\"time\":\"{}\"}}",
        message.position,
        message.global_position,
        message.data.as_ref().map_or("null", Json::as_str),
        message.metadata.as_ref().map_or("null", Json::as_str),
        time(message.time)
    );
}

/// A string of JSON.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// A time as RFC 3339 has it, to the microsecond.
pub(crate) fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |time| format!("{time:.6}"))
}

/// What an append answers.
pub(crate) fn appended(out: &mut Vec<u8>, stream: &str, appended: &Appended, ids: &[Uuid]) {
    out.extend_from_slice(b"{\"stream_name\":");
    write_text(out, stream);
    let _ = write!(
        out,
        ",\"first_position\":{},\"last_position\":{},\"first_global_position\":{},\"last_global_position\":{},\
         \"time\":\"{}\",\"ids\":[",
        appended.first_position,
        appended.last_position,
        appended.first_global_position,
        appended.last_global_position,
        time(appended.time)
    );
    for (nth, id) in ids.iter().enumerate() {
        let _ = write!(out, "{}\"{id}\"", if nth == 0 { "" } else { "," });
    }
    out.extend_from_slice(b"]}");
}

/// Messages for a stream as [`append_read`] reads them.
pub(crate) fn append_text(append: &store::Append) -> Vec<u8> {
    let mut out = b"{\"stream_name\":".to_vec();
    write_text(&mut out, &append.stream);
    out.extend_from_slice(b",\"messages\":[");
    for (nth, message) in append.messages.iter().enumerate() {
        let _ = write!(out, "{}{{\"id\":\"{}\",\"type\":", if nth == 0 { "" } else { "," }, message.id);
        write_text(&mut out, &message.kind);
        let text = |json: &Option<Json>| json.as_ref().map_or_else(|| "null".to_owned(), Json::to_string);
        let (data, metadata) = (text(&message.data), text(&message.metadata));
        let _ = write!(out, ",\"data\":{data},\"metadata\":{metadata}}}");
    }
    out.extend_from_slice(b"]}");
    out
}

/// Metadata with fields beside its own, which stay: a subject is one of them. What is no object goes.
pub(crate) fn with_more(metadata: Option<&Json>, more: serde_json::Value) -> Option<Json> {
    let given = metadata.and_then(|metadata| serde_json::from_str(metadata.as_str()).ok());
    let merged = match (given, more) {
        (Some(serde_json::Value::Object(mut given)), serde_json::Value::Object(more)) => {
            given.extend(more);
            serde_json::Value::Object(given)
        }
        (_, more) => more,
    };
    Json::parse(&merged.to_string()).ok()
}

/// A message that comes in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// A message of bulk: what was written out may be read in again, so it takes all that goes out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenLine<'a> {
    #[serde(borrow)]
    stream_name: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(rename = "position")]
    _position: Option<i64>,
    #[serde(rename = "global_position")]
    _global_position: Option<i64>,
    #[serde(borrow, rename = "time")]
    _time: Option<Cow<'a, str>>,
}

/// Messages for one stream of several.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenAppend<'a> {
    #[serde(borrow)]
    stream_name: Cow<'a, str>,
    expected_version: Option<i64>,
    #[serde(borrow)]
    messages: Vec<Given<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenAppends<'a> {
    #[serde(borrow)]
    appends: Vec<GivenAppend<'a>>,
}

/// A message whose id may still have to be chosen.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) id: Option<Uuid>,
    pub(crate) kind: String,
    pub(crate) data: Option<Json>,
    pub(crate) metadata: Option<Json>,
}

impl Incoming {
    /// With an id, the given one if there is none.
    pub(crate) fn with(self, id: impl FnOnce() -> Uuid) -> NewMessage {
        let id = self.id.unwrap_or_else(id);
        NewMessage { id, kind: self.kind, data: self.data, metadata: self.metadata }
    }
}

/// Messages for one stream, and the version that it must have.
#[derive(Debug)]
pub(crate) struct IncomingAppend {
    pub(crate) stream: String,
    pub(crate) expected_version: Option<i64>,
    pub(crate) messages: Vec<Incoming>,
}

/// One message, or an array of them.
pub(crate) fn messages(bytes: &[u8]) -> Result<Vec<Incoming>, Problem> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let given: Vec<Given<'_>> = match first {
        None => return Err(Problem::invalid("the body is empty").hint(EXAMPLE)),
        Some(b'[') => serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?,
        Some(_) => vec![serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?],
    };
    list(given)
}

/// One message a line.
pub(crate) fn message_lines(bytes: &[u8]) -> Result<Vec<Incoming>, Problem> {
    let mut messages = Vec::new();
    for (nth, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let at = |problem: Problem| problem.at(&format!("line {}", nth + 1));
        let given = serde_json::from_slice(line).map_err(|error| at(unreadable(&error)))?;
        messages.push(taken(given).map_err(at)?);
    }
    Ok(messages)
}

/// Messages for several streams.
pub(crate) fn appends(bytes: &[u8]) -> Result<Vec<IncomingAppend>, Problem> {
    let given: GivenAppends<'_> = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
    given.appends.into_iter().map(append).collect()
}

/// Messages for one stream, with its name.
pub(crate) fn append_read(bytes: &[u8]) -> Result<IncomingAppend, Problem> {
    append(serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?)
}

/// What was given, checked.
pub(crate) fn append(given: GivenAppend<'_>) -> Result<IncomingAppend, Problem> {
    let stream = given.stream_name.into_owned();
    let messages = list(given.messages).map_err(|problem| problem.at(&format!("`{stream}`")))?;
    Ok(IncomingAppend { stream, expected_version: given.expected_version, messages })
}

/// A line of bulk: the stream, and the message.
pub(crate) fn line(bytes: &[u8]) -> Result<(String, Incoming), Problem> {
    let given: GivenLine<'_> = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
    let GivenLine { stream_name, id, kind, data, metadata, .. } = given;
    Ok((stream_name.into_owned(), taken(Given { id, kind, data, metadata })?))
}

fn list(given: Vec<Given<'_>>) -> Result<Vec<Incoming>, Problem> {
    let one = given.len() == 1;
    let at = |nth: usize| {
        move |problem: Problem| {
            if one { problem } else { problem.at(&format!("message {}", nth + 1)) }
        }
    };
    given.into_iter().enumerate().map(|(nth, given)| taken(given).map_err(at(nth))).collect()
}

fn taken(given: Given<'_>) -> Result<Incoming, Problem> {
    let id = match given.id {
        None => None,
        Some(text) => match Uuid::try_parse(&text) {
            Ok(id) => Some(id),
            Err(_) => return Err(Problem::invalid(format!("the id `{}` is no UUID", short(&text)))),
        },
    };
    let json = |name: &str, raw: Option<&RawValue>| match raw {
        None => Ok(None),
        Some(raw) => match Json::parse(raw.get()) {
            Ok(json) => Ok(Some(json)),
            Err(error) => Err(Problem::invalid(format!("`{name}`: {error}"))),
        },
    };
    let (data, metadata) = (json("data", given.data)?, json("metadata", given.metadata)?);
    Ok(Incoming { id, kind: given.kind.into_owned(), data, metadata })
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

const EXAMPLE: &str =
    "a message is an object such as `{\"type\": \"Opened\", \"data\": {\"owner\": \"Ada\"}}`";

fn unreadable(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let problem = Problem::invalid(if error.is_data() {
        text.clone()
    } else {
        format!("the body is not JSON: {text}")
    });
    problem.hint(EXAMPLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let said = match messages(text.as_bytes()) {
            Ok(messages) => format!("{messages:?}"),
            Err(problem) => problem.to_json()["error"].as_str().unwrap().to_owned(),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn a_message_is_read_and_what_is_wrong_is_told_with_its_place() {
        check(
            r#"{"type": "T", "data": {"b": 1, "a": [2]}, "metadata": null}"#,
            expect![[
                r#"[Incoming { id: None, kind: "T", data: Some({"a": [2], "b": 1}), metadata: None }]"#
            ]],
        );
        check("", expect!["the body is empty"]);
        check("[]", expect!["[]"]);
        check("{", expect!["the body is not JSON: EOF while parsing an object at line 1 column 1"]);
        check("{}", expect!["missing field `type` at line 1 column 2"]);
        check(
            r#"{"tpye": "T"}"#,
            expect![
                "unknown field `tpye`, expected one of `id`, `type`, `data`, `metadata` at line 1 column 7"
            ],
        );
        check(r#"{"type": "T", "id": "5"}"#, expect!["the id `5` is no UUID"]);
        check(
            r#"[{"type": "T"}, {"type": "T", "data": "\u0000"}]"#,
            expect![[
                r#"message 2: `data`: a string holds `\u0000` at byte `7`: \u0000 cannot be converted to text"#
            ]],
        );
    }

    #[test]
    fn what_went_out_comes_in_again() {
        let message = Message {
            id: Uuid::from_u128(7),
            stream: "a-\"1\"\n".into(),
            kind: "T".into(),
            position: 3,
            global_position: 9,
            data: Some(Json::parse(r#"{"text": "one\ntwo"}"#).unwrap()),
            metadata: None,
            time: 1_764_158_400_123_456,
        };
        let mut out = Vec::new();
        write_message(&mut out, &message);
        expect![[r#"{"id":"00000000-0000-0000-0000-000000000007","stream_name":"a-\"1\"\n","type":"T","position":3,"global_position":9,"data":{"text": "one\ntwo"},"metadata":null,"time":"2025-11-26T12:00:00.123456Z"}"#]]
            .assert_eq(std::str::from_utf8(&out).unwrap());
        let (stream, incoming) = line(&out).unwrap();
        assert_eq!((stream.as_str(), incoming.id), ("a-\"1\"\n", Some(message.id)));
        assert_eq!((incoming.data, incoming.metadata), (message.data, None));
    }
}
