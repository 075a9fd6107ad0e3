//! A message as a line for people, or as the JSON it came as.

use crate::term::{CYAN, DIM, GREEN, harmless, paint};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    stream_name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    position: i64,
    global_position: i64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// The line. What can't be read as a message is shown as it is.
pub(super) fn message(json: &str, as_json: bool) -> String {
    let shown: Shown<'_> = match serde_json::from_str(json) {
        Ok(shown) if !as_json => shown,
        _ => return json.to_owned(),
    };
    format!(
        "{:>8}  {}  {}{}  {}  {}",
        shown.global_position,
        paint(DIM, time(&shown.time)),
        paint(CYAN, harmless(&shown.stream_name)),
        paint(DIM, format_args!("[{}]", shown.position)),
        paint(GREEN, harmless(&shown.kind)),
        shown.data.map_or("", RawValue::get)
    )
}

/// To the millisecond: more is for machines.
fn time(text: &str) -> String {
    match text.split_once('.') {
        Some((seconds, rest)) if rest.len() > 3 && rest.is_char_boundary(3) => {
            format!("{seconds}.{}Z", &rest[..3])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_message_is_one_line_and_gives_a_terminal_no_orders() {
        let json = r#"{"id":"x","stream_name":"a-\u001b[2J","type":"T","position":3,"global_position":9,"data":{"b": 1},"metadata":null,"time":"2025-11-26T12:00:00.123456Z"}"#;
        let shown = anstream::adapter::strip_str(&message(json, false)).to_string();
        assert_eq!(shown, "       9  2025-11-26T12:00:00.123Z  a-\\u{1b}[2J[3]  T  {\"b\": 1}");
        assert_eq!(message(json, true), json);
        assert_eq!(message("what?", false), "what?");
    }
}
