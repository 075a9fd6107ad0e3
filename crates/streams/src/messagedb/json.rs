//! JSON as PostgreSQL's operators see it: fields, elements, containment. All texts here are canonical, as `store`
//! keeps them, so that a look needs no tree.

use super::error::{Sql, SqlError};
use super::numeric::Numeric;
use std::borrow::Cow;
use store::Json;

/// Pairs of elements that one look for containment compares.
const COMPARISONS_MAX: usize = 1_000_000;

/// `jsonb_typeof`.
pub(crate) fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// A field of an object, as JSON.
pub(crate) fn field<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    fields(json).find(|(name, _)| content(name) == key).map(|(_, value)| value)
}

/// An element of an array, from 0, or from the end with a negative number; as JSON.
pub(crate) fn element(json: &str, index: i64) -> Option<&str> {
    if index >= 0 {
        return elements(json).nth(usize::try_from(index).ok()?);
    }
    let all: Vec<&str> = elements(json).collect();
    all.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?).and_then(|at| all.get(at).copied())
}

/// What `->>` makes of a value: a string's content, any other value's text, nothing of null.
pub(crate) fn as_text(json: &str) -> Option<Cow<'_, str>> {
    match json {
        "null" => None,
        string if string.starts_with('"') => Some(content(string)),
        other => Some(other.into()),
    }
}

/// `@>`: whether all that the second says is in the first.
pub(crate) fn contains(whole: &str, part: &str) -> Sql<bool> {
    let mut left = COMPARISONS_MAX;
    // An array holds a scalar as if it stood in an array of its own, at the top only.
    if kind(whole) == "array" && !matches!(kind(part), "array" | "object") {
        return Ok(elements(whole).any(|element| equal(element, part)));
    }
    holds(whole, part, &mut left)
}

fn holds(whole: &str, part: &str, left: &mut usize) -> Sql<bool> {
    *left = left.checked_sub(1).ok_or_else(|| {
        SqlError::new("54000", "the JSON is too large to look for what it contains")
            .hint(format!("one `@>` compares at most {COMPARISONS_MAX} values"))
    })?;
    match (kind(whole), kind(part)) {
        ("object", "object") => {
            for (name, wanted) in fields(part) {
                let Some((_, value)) = fields(whole).find(|(other, _)| *other == name) else {
                    return Ok(false);
                };
                if !holds(value, wanted, left)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ("array", "array") => {
            for wanted in elements(part) {
                let mut found = false;
                for element in elements(whole) {
                    if holds(element, wanted, left)? {
                        found = true;
                        break;
                    }
                }
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Ok(equal(whole, part)),
    }
}

/// Whether two documents say the same. Numbers are compared by what they count, so that `1.0` is `1`.
pub(crate) fn same(left: &str, right: &str) -> bool {
    match (kind(left), kind(right)) {
        _ if left == right => true,
        // Names stand in the same order in both.
        ("object", "object") => {
            let (mut one, mut other) = (fields(left), fields(right));
            loop {
                match (one.next(), other.next()) {
                    (None, None) => return true,
                    (Some((name, value)), Some((known, wanted))) if name == known && same(value, wanted) => {}
                    _ => return false,
                }
            }
        }
        ("array", "array") => {
            let (mut one, mut other) = (elements(left), elements(right));
            loop {
                match (one.next(), other.next()) {
                    (None, None) => return true,
                    (Some(value), Some(wanted)) if same(value, wanted) => {}
                    _ => return false,
                }
            }
        }
        _ => equal(left, right),
    }
}

/// Whether two values that are no objects or arrays are the same; numbers by what they count.
fn equal(left: &str, right: &str) -> bool {
    let number = |json: &str| match kind(json) {
        "number" => Numeric::parse(json).and_then(Result::ok),
        _ => None,
    };
    left == right || number(left).zip(number(right)).is_some_and(|(left, right)| left == right)
}

/// The names, with their quotes, and the values of an object.
fn fields(json: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = json.strip_prefix('{').unwrap_or_default();
    std::iter::from_fn(move || {
        let name = rest.starts_with('"').then(|| value_end(rest)).flatten()?;
        let value = rest[name..].strip_prefix(": ")?;
        let end = value_end(value)?;
        let field = (&rest[..name], &value[..end]);
        rest = value[end..].strip_prefix(", ").unwrap_or_default();
        Some(field)
    })
}

/// The elements of an array.
fn elements(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json.strip_prefix('[').filter(|rest| *rest != "]").unwrap_or_default();
    std::iter::from_fn(move || {
        let end = value_end(rest).filter(|end| *end > 0)?;
        let element = &rest[..end];
        rest = rest[end..].strip_prefix(", ").unwrap_or_default();
        Some(element)
    })
}

/// Where a value that begins here ends.
fn value_end(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    loop {
        match *bytes.get(at)? {
            b'"' => {
                at += 1;
                while *bytes.get(at)? != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' if depth > 0 => {
                at += 1;
                continue;
            }
            _ => {
                let stop = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':');
                at += bytes[at..].iter().position(stop).unwrap_or(bytes.len() - at);
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The content of a string.
fn content(string: &str) -> Cow<'_, str> {
    let inner = string.get(1..string.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return inner.into();
    }
    // The store reads its own escapes.
    let object = Json::parse(&format!("{{\"s\": {string}}}"));
    object.ok().and_then(|object| object.field("s").map(Cow::into_owned)).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_elements_are_found() {
        let json = r#"{"a": [1, {"b": "x\"y"}, "]"], "é": null, "n": -2.50}"#;
        assert_eq!(field(json, "n"), Some("-2.50"));
        assert_eq!(field(json, "é"), Some("null"));
        assert_eq!(field(json, "b"), None);
        let array = field(json, "a").unwrap();
        assert_eq!(element(array, 1), Some(r#"{"b": "x\"y"}"#));
        assert_eq!(element(array, -1), Some("\"]\""));
        assert_eq!((element(array, 3), element(array, -4), element("[]", 0)), (None, None, None));
        assert_eq!(as_text(field(element(array, 1).unwrap(), "b").unwrap()).unwrap(), "x\"y");
        assert_eq!(as_text("null"), None);
        assert_eq!((field("7", "a"), element("{}", 0)), (None, None));
    }

    #[test]
    fn containment_is_what_postgresql_says() {
        for (whole, part, expected) in [
            (r#"{"a": 1, "b": {"c": [1, 2]}}"#, r#"{"b": {"c": [2]}}"#, true),
            (r#"{"a": 1}"#, r#"{"a": 1.0}"#, true),
            (r#"{"a": 1}"#, r#"{"a": 2}"#, false),
            ("[1, 2]", "[2, 2, 1]", true),
            ("[1, 2]", "1", true),
            ("[[1]]", "1", false),
            ("1", "[1]", false),
            ("{}", "{}", true),
            (r#"{"a": []}"#, r#"{"a": {}}"#, false),
        ] {
            assert_eq!(contains(whole, part).unwrap(), expected, "{whole} @> {part}");
        }
    }

    #[test]
    fn documents_are_the_same_when_they_say_the_same() {
        assert!(same(r#"{"a": [1.0, {"b": 2}]}"#, r#"{"a": [1, {"b": 2.00}]}"#));
        for (left, right) in [("[1, 1]", "[1]"), (r#"{"a": 1}"#, "{}"), ("1", "\"1\""), ("[1, 2]", "[2, 1]")]
        {
            assert!(!same(left, right) && !same(right, left), "{left} {right}");
        }
    }

    #[test]
    fn a_look_for_containment_ends() {
        let whole = format!("[{}0]", "[1], ".repeat(2_000));
        let part = format!("[{}0]", "[2], ".repeat(2_000));
        assert!(contains(&whole, &part).is_ok());
        let many: Vec<String> = (0..2_000).map(|n| format!("[{n}]")).collect();
        let all = format!("[{}]", many.join(", "));
        let reversed: Vec<&str> = many.iter().rev().map(String::as_str).collect();
        assert_eq!(contains(&all, &format!("[{}]", reversed.join(", "))).unwrap_err().code, "54000");
    }
}
