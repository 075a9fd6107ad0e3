//! Text from outside on its way into a line of a log: it can't end the line, close a quote, reorder what a
//! terminal shows or fill the disk.

/// Bytes of one field at most; the rest is left out, which three dots show.
pub(super) const FIELD_BYTES_MAX: usize = 4096;

/// How a field is set off from others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// By spaces.
    Bare,
    /// By double quotes.
    Quoted,
    /// By double quotes, in JSON.
    Json,
}

/// Appends a field's text.
pub(super) fn push(line: &mut Vec<u8>, text: &str, field: Field) {
    let (text, cut) = match text.char_indices().find(|(at, _)| *at >= FIELD_BYTES_MAX) {
        Some((at, _)) if text.len() > FIELD_BYTES_MAX => (&text[..at], true),
        _ => (text, false),
    };
    // Nearly all fields are harmless as they are.
    if text.bytes().all(|byte| is_harmless(byte, field)) {
        line.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|char| push_char(line, char, field));
    }
    if cut {
        line.extend_from_slice(b"...");
    }
}

fn is_harmless(byte: u8, field: Field) -> bool {
    match byte {
        b'"' | b'\\' => field == Field::Bare && byte == b'"',
        b' ' => field != Field::Bare,
        _ => byte.is_ascii_graphic(),
    }
}

fn push_char(line: &mut Vec<u8>, char: char, field: Field) {
    let code = u32::from(char);
    if let Ok(byte) = u8::try_from(char)
        && is_harmless(byte, field)
    {
        line.push(byte);
    } else if char == '\\' || char == '"' {
        line.extend_from_slice(&[b'\\', byte_of(char)]);
    } else if code >= 0xa0 && !is_invisible(char) {
        line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    } else if field == Field::Json || code > 0xff {
        // All invisible characters beyond Latin-1 are below U+10000.
        line.extend_from_slice(format!("\\u{code:04x}").as_bytes());
    } else {
        // As Apache does it.
        line.extend_from_slice(format!("\\x{code:02x}").as_bytes());
    }
}

fn byte_of(char: char) -> u8 {
    u8::try_from(char).unwrap_or(b'?')
}

/// Characters that end lines, or change the direction or the order of others: U+00AD, U+061C, U+200B to
/// U+200F, U+2028 to U+202E, U+2060 to U+206F, U+FEFF.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, field: Field) -> String {
        let mut line = Vec::new();
        push(&mut line, text, field);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn nothing_leaves_its_field() {
        let text = "a \"b\" \\ \r\n\t\u{1b}[2J\u{85}\u{202e}é";
        assert_eq!(show(text, Field::Quoted), r#"a \"b\" \\ \x0d\x0a\x09\x1b[2J\x85\u202eé"#);
        assert_eq!(show(text, Field::Bare), r#"a\x20"b"\x20\\\x20\x0d\x0a\x09\x1b[2J\x85\u202eé"#);
        let json = show(text, Field::Json);
        assert_eq!(serde_json::from_str::<String>(&format!("\"{json}\"")).unwrap(), text);
        assert!(json.chars().all(|c| !c.is_control() && !is_invisible(c)), "{json}");
    }

    #[test]
    fn json_gives_back_any_text() {
        for code in (0..0x3000).chain(0xfe00..=0xffff).chain([0x1_f600]) {
            let text: String = char::from_u32(code).into_iter().collect();
            let json = format!("\"{}\"", show(&text, Field::Json));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text, "U+{code:04X} as {json}");
        }
    }

    #[test]
    fn long_fields_are_cut_between_characters() {
        assert_eq!(show(&"x".repeat(FIELD_BYTES_MAX), Field::Quoted).len(), FIELD_BYTES_MAX);
        let long = show(&"é".repeat(FIELD_BYTES_MAX), Field::Quoted);
        assert_eq!(long.len(), FIELD_BYTES_MAX + 3);
        assert!(long.ends_with("é..."));
    }
}
