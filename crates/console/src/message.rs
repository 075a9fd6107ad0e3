//! A message as it is shown: what it says in lines, and where it leads: to its stream, to what caused it, to the trace
//! that its metadata names.

use crate::asked::segment;
use crate::units;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use store::{Json, Message};

/// Bytes of JSON that are shown of a message; the API has all of it.
const SHOWN_BYTES_MAX: usize = 64 << 10;

/// A message.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Said {
    pub(crate) id: String,
    pub(crate) stream: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) position: i64,
    pub(crate) global_position: i64,
    /// Microseconds since 1970.
    pub(crate) time_us: u64,
    data: Option<Box<RawValue>>,
    metadata: Option<Box<RawValue>>,
    /// The trace that its metadata names.
    pub(crate) trace: Option<String>,
    /// The stream that it belongs to, by its metadata.
    pub(crate) correlation: Option<String>,
    /// The global position of the message that caused it.
    pub(crate) cause: Option<i64>,
}

impl Said {
    pub(crate) fn of(message: &Message) -> Self {
        let raw = |json: &Option<Json>| {
            json.as_ref().and_then(|json| RawValue::from_string(json.as_str().to_owned()).ok())
        };
        Self {
            id: message.id.to_string(),
            stream: message.stream.clone(),
            kind: message.kind.clone(),
            position: message.position,
            global_position: message.global_position,
            time_us: u64::try_from(message.time).unwrap_or(0),
            data: raw(&message.data),
            metadata: raw(&message.metadata),
            trace: trace(message),
            correlation: field(message, "correlationStreamName").map(Cow::into_owned),
            cause: cause(message),
        }
    }

    /// Where it is shown alone.
    pub(crate) fn address(&self) -> String {
        format!("/messages/{}", self.id)
    }

    /// In one line.
    pub(crate) fn line(&self) -> Markup {
        html! {
            a href=(self.address()) { strong { (self.kind) } }
            " in " a href=(stream_address(&self.stream)) { (self.stream) } " at " (self.position)
            " · " (units::time(self.time_us))
            @if let Some(trace) = &self.trace { " · " a href=(format!("/traces/{trace}")) { "trace" } }
        }
    }

    /// What it says.
    pub(crate) fn content(&self) -> Markup {
        html! {
            @for (name, json) in [("Data", &self.data), ("Metadata", &self.metadata)] {
                @if let Some(json) = json {
                    p.note { (name) }
                    pre tabindex="0" { (pretty(json.get())) }
                    @if json.get().len() > SHOWN_BYTES_MAX {
                        p.note {
                            "Only its beginning is shown; "
                            a href=(format!("/api/v1/messages/{}", self.id)) { "the API has all of it" } "."
                        }
                    }
                }
            }
        }
    }
}

fn field<'a>(message: &'a Message, name: &str) -> Option<Cow<'a, str>> {
    message.metadata.as_ref().and_then(|metadata| metadata.field(name))
}

/// The trace that a message's metadata name.
pub(crate) fn trace(message: &Message) -> Option<String> {
    trace_of(&field(message, "traceparent")?)
}

/// The global position of the message that caused one.
pub(crate) fn cause(message: &Message) -> Option<i64> {
    field(message, "causationMessageGlobalPosition")?.parse().ok()
}

/// Where a stream or a category is shown.
pub(crate) fn stream_address(name: &str) -> String {
    format!("/streams/{}", segment(name))
}

/// A list of messages, each to be opened.
pub(crate) fn list(messages: &[Said]) -> Markup {
    html! {
        ol.found {
            @for message in messages {
                li {
                    div.head {
                        span { (message.line()) }
                        span.number { "#" (message.global_position) }
                    }
                    details id=(format!("m{}", message.global_position)) {
                        summary { "What it says" }
                        (message.content())
                    }
                }
            }
        }
    }
}

/// The trace's id in a `traceparent` (W3C Trace Context 3.2.2).
fn trace_of(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_id && id.bytes().any(|byte| byte != b'0')).then(|| id.to_owned())
}

/// JSON with a line for each entry; texts and numbers stay as they are.
fn pretty(json: &str) -> String {
    let mut text = String::new();
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    let mut characters = json.chars().peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(character) = characters.next() {
        if text.len() > SHOWN_BYTES_MAX {
            text.push('…');
            break;
        }
        if in_text {
            in_text = escaped || character != '"';
            escaped = !escaped && character == '\\';
            text.push(character);
            continue;
        }
        match character {
            '"' => {
                in_text = true;
                text.push('"');
            }
            '{' | '[' => {
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                text.push(character);
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(character);
            }
            ',' => {
                text.push(',');
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            other if other.is_ascii_whitespace() => {}
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn json_is_shown_in_lines_and_to_the_digit() {
        let json = r#"{"a": [1.10, 12345678901234567890], "b":{}, "c":"x,\"{y", "d":[{"e":null}]}"#;
        expect![[r#"
            {
              "a": [
                1.10,
                12345678901234567890
              ],
              "b": {},
              "c": "x,\"{y",
              "d": [
                {
                  "e": null
                }
              ]
            }"#]]
        .assert_eq(&pretty(json));
        let long = pretty(&format!("[{}1]", "1,".repeat(SHOWN_BYTES_MAX)));
        assert!(long.len() < SHOWN_BYTES_MAX + 100 && long.ends_with('…'));
    }

    #[test]
    fn a_trace_is_known_by_its_context() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_of(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        for none in ["", "00", "00-xyz-1-01", &format!("00-{}-1-01", "0".repeat(32))] {
            assert_eq!(trace_of(none), None, "{none}");
        }
    }
}
