//! Canonical text taken apart: strings out of their escapes and into them, and one field of an object.

use std::borrow::Cow;

/// Writes a string with the escapes that PostgreSQL writes and no others.
pub(super) fn write_string(content: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in content.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&content[plain..at]);
        plain = at + 1;
        if short.is_empty() {
            out.push_str("\\u00");
            out.push(char::from(b'0' + (byte >> 4)));
            out.push(char::from(b"0123456789abcdef"[usize::from(byte & 0xf)]));
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&content[plain..]);
    out.push('"');
}

/// A field of an object as `->>` gives it. `json` has to be canonical.
pub(super) fn field<'a>(json: &'a str, key: &str) -> Option<Cow<'a, str>> {
    let mut rest = json.strip_prefix('{')?;
    let mut escaped = String::new();
    let is_plain = key.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    let wanted = if is_plain {
        key
    } else {
        write_string(key, &mut escaped);
        &escaped[1..escaped.len() - 1]
    };
    while rest.starts_with('"') {
        let name = string_end(rest)?;
        let value = rest[name..].strip_prefix(": ")?;
        let end = value_end(value)?;
        if rest[1..name - 1] == *wanted {
            return match &value[..end] {
                "null" => None,
                string if string.starts_with('"') => Some(content(&string[1..end - 1])),
                other => Some(other.into()),
            };
        }
        rest = value[end..].strip_prefix(", ").unwrap_or_default();
    }
    None
}

/// Where a string that begins here ends, behind its quote.
fn string_end(text: &str) -> Option<usize> {
    let (bytes, mut at) = (text.as_bytes(), 1);
    loop {
        at += match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => 2,
            _ => 1,
        };
    }
}

/// Where a value that begins here ends.
fn value_end(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    loop {
        match text.as_bytes().get(at)? {
            b'"' => at += string_end(&text[at..])?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' | b':' | b' ' => {
                at += 1;
                continue;
            }
            _ => {
                let rest = &text.as_bytes()[at..];
                at += rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(rest.len());
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The content of a canonical string.
fn content(escaped: &str) -> Cow<'_, str> {
    if !escaped.contains('\\') {
        return escaped.into();
    }
    let mut plain = String::with_capacity(escaped.len());
    let mut rest = escaped.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            plain.push(next);
            continue;
        }
        match rest.next() {
            Some('b') => plain.push('\u{8}'),
            Some('f') => plain.push('\u{c}'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                plain.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
            }
            other => plain.extend(other),
        }
    }
    plain.into()
}
