//! Bodies below a line: JSON spread over lines, other text as it is, and of all else how much it is.

use super::shown::Body;
use crate::term::{DIM, harmless, paint};
use std::fmt::Write as _;

/// Writes what is shown of a body, each line behind this mark.
pub(super) fn write(text: &mut String, mark: char, body: &Body) {
    let kind = body.kind.as_deref().unwrap_or_default();
    if let Some(shown) = &body.text {
        let spread = spread(shown, kind);
        for line in spread.as_deref().unwrap_or(shown).lines() {
            let _ = write!(text, "\n  {mark} {}", harmless(line));
        }
    }
    let note = match (&body.text, body.cut) {
        (Some(_), false) => return,
        (Some(_), true) => format!("(the beginning of {} bytes)", body.bytes),
        (None, _) => {
            let size = format!("{} bytes, not shown: no text", body.bytes);
            let parts = [kind, body.encoding.as_deref().unwrap_or_default(), &size];
            let known: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            format!("({})", harmless(&known.join(", ")))
        }
    };
    let _ = write!(text, "\n  {mark} {}", paint(DIM, note));
}

/// JSON with a line for each member, as far as it goes; `None` if it is none.
fn spread(text: &str, kind: &str) -> Option<String> {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let is_begun = kind.contains("json") && text.starts_with(['{', '[']);
    if !is_json && !is_begun {
        return None;
    }
    let (mut spread, mut depth) = (String::new(), 0usize);
    let (mut is_string, mut is_escaped) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_string {
            spread.push(c);
            is_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        match c {
            _ if c.is_ascii_whitespace() => {}
            '{' | '[' => {
                spread.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                match chars.next_if(|next| "}]".contains(*next)) {
                    Some(end) => spread.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut spread, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut spread, depth);
                spread.push(c);
            }
            ',' => {
                spread.push(c);
                new_line(&mut spread, depth);
            }
            ':' => spread.push_str(": "),
            _ => {
                is_string = c == '"';
                spread.push(c);
            }
        }
    }
    Some(spread.trim_end().to_owned())
}

fn new_line(spread: &mut String, depth: usize) {
    spread.push('\n');
    spread.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(kind: &str, shown: &str, expected: &Expect) {
        expected.assert_eq(spread(shown, kind).as_deref().unwrap_or("none"));
    }

    #[test]
    fn json_is_spread_over_lines_to_the_letter() {
        check(
            "",
            r#"{"b":1.10,"a":["x\"}, ",{}, [ ]],"c":null}"#,
            &expect![[r#"
            {
              "b": 1.10,
              "a": [
                "x\"}, ",
                {},
                []
              ],
              "c": null
            }"#]],
        );
        check(
            "application/json",
            r#"{"a":{"b":"cut of"#,
            &expect![[r#"
            {
              "a": {
                "b": "cut of"#]],
        );
        check("text/plain", "{not json", &expect!["none"]);
        check("", "7", &expect!["7"]);
    }
}
