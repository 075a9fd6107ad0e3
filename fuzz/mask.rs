//! What holds for all bodies that are shown: a secret that a name tells of never appears, however the body is written
//! and wherever it is cut off. The fuzz target and the ordinary tests of `telemetry` share this.
#![allow(dead_code, reason = "each of those who share this file uses a part of it")]

use serde_json::{Map, Value};
use telemetry::mask;

/// A part of each secret; nothing else holds it.
const MARK: &str = "Zw0Mark";

const SECRETS: [&str; 6] = ["password", "api_key", "X-Auth-Token", "clientSecret", "pin", "user.sessionId"];
const OTHERS: [&str; 5] = ["name", "value", "n", "key", "über"];
/// What may be around a secret, and in what is none.
const TEXTS: [&str; 8] = ["", "\\", "\"}", "a \"b\" c", "{[", "x\ny: z", "&token", "é<\\\""];

/// What is looked for in a text, and letters of more than a byte.
const MARKS: [&str; 32] = [
    ":",
    "=",
    "%3D",
    "%253A",
    "%",
    "<",
    ">",
    "/",
    "//",
    "\\",
    "\\u00",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&",
    "@",
    " ",
    "\n",
    "\u{a0}",
    "\u{2003}",
    "é",
    "\u{1f980}",
    "password",
    "name",
    "eyJ",
    "Bearer ",
    "-----BEGIN ",
    "PRIVATE KEY-----",
];

/// Decisions, one a byte; 0 when there are no more.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn below(&mut self, most: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % most
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len())]
    }
}

/// Whatever the bytes are as a text, it can be masked; and a secret in what they decide is.
pub(crate) fn any_body(bytes: &[u8]) {
    let marks: String = bytes.iter().map(|byte| MARKS[usize::from(*byte) % MARKS.len()]).collect();
    for text in [&String::from_utf8_lossy(bytes), &*marks] {
        for kind in ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"] {
            mask::body(kind, text);
        }
        mask::uri(text, &[]);
    }
    let mut bytes = Bytes(bytes);
    let (kind, text) = body(&mut bytes);
    check(kind, &text);
    // Cut off anywhere.
    let cut = (bytes.below(256) << 8 | bytes.below(256)) % (text.len() + 1);
    if text.is_char_boundary(cut) {
        check(kind, &text[..cut]);
    }
}

fn check(kind: &str, text: &str) {
    let masked = mask::body(kind, text);
    assert!(!masked.contains(MARK), "{kind}\n{text}\n{masked}");
}

/// A body with secrets, and its type.
fn body(bytes: &mut Bytes<'_>) -> (&'static str, String) {
    let secret = format!("{}{MARK}{}", bytes.of(&TEXTS), bytes.of(&TEXTS));
    let name = bytes.of(&SECRETS);
    let other = bytes.of(&TEXTS);
    let encoded = |text: &str| percent_encoded(text.as_bytes());
    match bytes.below(8) {
        0 | 1 => {
            let whole = json(bytes, 0);
            let (compact, pretty) =
                (whole.to_string(), serde_json::to_string_pretty(&whole).unwrap_or_default());
            for text in [&compact, &pretty] {
                let masked = mask::body("application/json", text);
                let read: Result<Value, _> = serde_json::from_str(&masked);
                assert!(read.is_ok(), "it is JSON still: {text}\n{masked}");
            }
            ("application/json", if bytes.below(2) == 0 { compact } else { pretty })
        }
        2 => ("application/json", quoted(json(bytes, 0), bytes.below(3))),
        3 => {
            let form = format!("a={}&{name}={}&b=1", encoded(other), encoded(&secret));
            ("application/x-www-form-urlencoded", form)
        }
        4 => {
            let address = format!("/x?{name}={}&b={}", encoded(&secret), encoded(other));
            // In a query, in JSON, and in a text.
            let outer = format!("/y?next={}", encoded(&address));
            ("", quoted(Value::from(if bytes.below(2) == 0 { address } else { outer }), bytes.below(2)))
        }
        5 => ("text/plain", format!("n: 1\n{name}: {}\nm: 2", secret.replace(['\n', '\r'], " "))),
        6 => {
            let escaped = secret.replace('&', "&amp;").replace('<', "&lt;");
            ("application/xml", format!("<a><b>1</b><{name} k=\"{name}\">{escaped}</{name}><c/></a>"))
        }
        _ => {
            let part = |name: &str, text: &str| {
                format!("--bound\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
            };
            ("multipart/form-data", part("n", "1") + &part(name, &secret) + &part("m", "2") + "--bound--\r\n")
        }
    }
}

/// Each byte as a query has it.
fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

/// JSON as a string within JSON, so many times.
fn quoted(value: Value, times: usize) -> String {
    let mut value = value;
    for _ in 0..times {
        value = serde_json::json!({ "a": 1, "body": value.to_string(), "z": "é" });
    }
    value.to_string()
}

/// JSON with secrets below names that tell of them.
fn json(bytes: &mut Bytes<'_>, depth: usize) -> Value {
    match bytes.below(if depth > 4 { 3 } else { 6 }) {
        0 => Value::from(bytes.of(&TEXTS)),
        1 => Value::Null,
        2 => Value::from(bytes.below(256)),
        3 => (0..bytes.below(4)).map(|_| json(bytes, depth + 1)).collect(),
        _ => {
            let mut members = Map::new();
            for _ in 0..bytes.below(5) {
                if bytes.below(2) == 0 {
                    members.insert(bytes.of(&OTHERS).to_owned(), json(bytes, depth + 1));
                } else {
                    members.insert(bytes.of(&SECRETS).to_owned(), hidden(bytes));
                }
            }
            Value::Object(members)
        }
    }
}

/// The value of a secret.
fn hidden(bytes: &mut Bytes<'_>) -> Value {
    let text = Value::from(format!("{}{MARK}{}", bytes.of(&TEXTS), bytes.of(&TEXTS)));
    match bytes.below(4) {
        0 => serde_json::json!([1, text, {"a": "]"}]),
        1 => serde_json::json!({"a": {"b\"}": "}"}, "c": text}),
        _ => text,
    }
}
