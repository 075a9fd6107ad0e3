//! What goes to a handler and what comes back from it, as JSON: a message, and the messages that a handler answers
//! with. `http` speaks of the same messages, `deliver` sends them.

use super::definition::bounds;
use crate::http::json::{self, GivenAppend, IncomingAppend};
use base::{Fault, Kind};
use serde::Deserialize;
use store::{Append, Json, Message, NewMessage, Uuid};

/// A message as handlers are given it; the names are those of Message DB's columns.
pub(super) fn message_json(message: &Message) -> String {
    messages_text([message].into_iter())
}

/// Several messages, as an array.
pub(super) fn messages_json<'a>(messages: impl Iterator<Item = &'a Message>) -> String {
    format!("[{}]", messages_text(messages))
}

fn messages_text<'a>(messages: impl Iterator<Item = &'a Message>) -> String {
    let mut out = Vec::new();
    for message in messages {
        if !out.is_empty() {
            out.push(b',');
        }
        json::write_message(&mut out, message);
    }
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow)]
    append: Option<Vec<GivenAppend<'a>>>,
}

/// What a handler answered: messages to append, where its body is a JSON object with `append`. Any other body is not
/// looked at.
pub(super) fn answered(body: &[u8]) -> Result<Vec<IncomingAppend>, Fault> {
    let begins_as_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if !begins_as_object || body.len() > bounds::ANSWER_BYTES_MAX {
        return Ok(Vec::new());
    }
    let wrong = |why: String| Fault::new(Kind::Invalid, format!("`append` of the answer is wrong: {why}"));
    match serde_json::from_slice::<Answered<'_>>(body) {
        Ok(answered) => {
            let appends = answered.append.unwrap_or_default().into_iter();
            appends.map(json::append).collect::<Result<_, _>>().map_err(|problem| wrong(problem.to_string()))
        }
        // Text that only looks like it is no request of ours.
        Err(error) if error.is_syntax() || error.is_eof() => Ok(Vec::new()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The appends of what a handler of `message` answered. Ids follow from the consumer, the message and the place in the
/// answer, so that an answer given twice is appended once; ids in it are not used. A message that says nothing of its origin says that it
/// follows from `message`; its trace is left to the span of its append where deliveries are traced.
pub(super) fn appends(
    consumer: &str,
    message: &Message,
    wanted: Vec<IncomingAppend>,
    is_traced: bool,
) -> Vec<Append> {
    let mut index = 0;
    let with_messages = wanted.into_iter().filter(|append| !append.messages.is_empty());
    let append = with_messages.map(|append| {
        let messages = append.messages.into_iter().map(|wanted| {
            let id = output_id(consumer, message.id, index);
            index += 1;
            let metadata = wanted.metadata.unwrap_or_else(|| following(message, is_traced));
            NewMessage { id, kind: wanted.kind, data: wanted.data, metadata: Some(metadata) }
        });
        let messages = messages.collect();
        Append { stream: append.stream, expected_version: append.expected_version, messages }
    });
    append.collect()
}

/// The metadata of a message that follows from another, in Eventide's words: where it came from, and whom it concerns.
pub(super) fn following(message: &Message, is_traced: bool) -> Json {
    let mut metadata = serde_json::json!({
        "causationMessageStreamName": message.stream,
        "causationMessagePosition": message.position,
        "causationMessageGlobalPosition": message.global_position,
    });
    let field = |name: &str| message.metadata.as_ref().and_then(|json| json.field(name));
    let names = ["correlationStreamName", "replyStreamName", "subject", "traceparent"];
    for name in names.into_iter().filter(|name| !(is_traced && *name == "traceparent")) {
        if let Some(value) = field(name) {
            metadata[name] = value.into();
        }
    }
    Json::parse(&metadata.to_string()).expect("names and numbers of a kept message are within the bounds")
}

/// The id of the nth message that a handler of `message` answers with.
pub(super) fn output_id(consumer: &str, message: Uuid, index: usize) -> Uuid {
    derived_id(consumer, message, &index.to_string())
}

/// The id of what follows from a message: the same for the same (UUID version 5, RFC 9562 section 5.5).
pub(super) fn derived_id(consumer: &str, message: Uuid, what: &str) -> Uuid {
    Uuid::new_v5(&message, format!("{consumer}\0{what}").as_bytes())
}

/// A reason that is kept, cut to its limit.
pub(super) fn reason(text: &str) -> String {
    let mut end = text.len().min(bounds::REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn message() -> Message {
        Message {
            id: Uuid::from_u128(7),
            stream: "order-\"1\"".to_owned(),
            kind: "Placed".to_owned(),
            position: 3,
            global_position: 12,
            data: Some(Json::parse("{\"b\":1, \"a\":2.0}").unwrap()),
            metadata: Some(Json::parse(r#"{"correlationStreamName":"cart-1"}"#).unwrap()),
            time: 1_700_000_000_000_000,
        }
    }

    fn check(answer: &str, expected: Expect) {
        let told = answered(answer.as_bytes()).map_or_else(
            |fault| fault.to_string(),
            |wanted| format!("{:#?}", appends("billing", &message(), wanted, false)),
        );
        expected.assert_eq(&told);
    }

    #[test]
    fn a_message_has_the_names_of_message_db() {
        expect![[r#"{"id":"00000000-0000-0000-0000-000000000007","stream_name":"order-\"1\"","type":"Placed","position":3,"global_position":12,"data":{"a": 2.0, "b": 1},"metadata":{"correlationStreamName": "cart-1"},"time":"2023-11-14T22:13:20.000000Z"}"#]]
            .assert_eq(&message_json(&message()));
        let two = messages_json([message(), message()].iter());
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&two).unwrap().len(), 2);
    }

    #[test]
    fn an_answer_with_messages_gets_ids_that_stay() {
        check(
            r#"{"append":[{"stream_name":"invoice-1","expected_version":-1,"messages":[{"type":"Opened","data":{"n":1}}]}]}"#,
            expect![[r#"
                [
                    Append {
                        stream: "invoice-1",
                        expected_version: Some(
                            -1,
                        ),
                        messages: [
                            NewMessage {
                                id: 00b43d24-70b3-5a65-9e1f-975e7fa0d2a1,
                                kind: "Opened",
                                data: Some(
                                    {"n": 1},
                                ),
                                metadata: Some(
                                    {"correlationStreamName": "cart-1", "causationMessagePosition": 3, "causationMessageStreamName": "order-\"1\"", "causationMessageGlobalPosition": 12},
                                ),
                            },
                        ],
                    },
                ]"#]],
        );
        assert_ne!(
            output_id("billing", message().id, 0),
            output_id("billing", message().id, 1),
            "each has its own"
        );
        assert_eq!(output_id("billing", message().id, 0).get_version_num(), 5);
    }

    #[test]
    fn other_answers_append_nothing_and_a_wrong_one_is_told() {
        for text in ["", "ok", "{not json", "{}", "[1]", r#"{"append":[]}"#] {
            check(text, expect!["[]"]);
        }
        check(
            r#"{"append":[{"stream_name":"x-1","messages":[{"type":"T"},{"type":"T","data":"\u0000"}]}]}"#,
            expect![[
                r#"`append` of the answer is wrong: `x-1`: message 2: `data`: a string holds `\u0000` at byte `7`: \u0000 cannot be converted to text"#
            ]],
        );
        check(
            r#"{"append":[{"stream":"x"}]}"#,
            expect![
                "`append` of the answer is wrong: unknown field `stream`, expected one of `stream_name`, `expected_version`, `messages` at line 1 column 20"
            ],
        );
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let long = "é".repeat(bounds::REASON_BYTES_MAX);
        assert_eq!(reason(&long).len(), bounds::REASON_BYTES_MAX);
        assert_eq!(reason(&format!("x{long}")).len(), bounds::REASON_BYTES_MAX - 1);
    }
}
