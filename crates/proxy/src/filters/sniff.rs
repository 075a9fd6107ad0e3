//! The content type of content by its first bytes, as Go's `http.DetectContentType` tells it (the table of
//! the WHATWG MIME Sniffing standard).

/// Bytes that are looked at.
const LOOKED_AT: usize = 512;

/// HTML begins with one of these in either case, a space or `>` behind it.
const HTML: &[&str] = &[
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// What else begins with exactly these bytes; `?` stands for any byte.
const EXACT: &[(&[u8], &str)] = &[
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xef\xbb\xbf", "text/plain; charset=utf-8"),
    (b"\0\0\x01\0", "image/x-icon"),
    (b"\0\0\x02\0", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\xfe\xff", "text/plain; charset=utf-16be"),
    (b"\xff\xfe", "text/plain; charset=utf-16le"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"RIFF????WEBPVP", "image/webp"),
    (b"FORM????AIFF", "audio/aiff"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\0", "application/ogg"),
    (b"MThd\0\0\0\x06", "audio/midi"),
    (b"RIFF????AVI ", "video/avi"),
    (b"RIFF????WAVE", "audio/wave"),
    (b"\0\x01\0\0", "font/ttf"),
    (b"OTTO", "font/otf"),
    (b"ttcf", "font/collection"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1a\x07\0", "application/x-rar-compressed"),
    (b"Rar!\x1a\x07\x01\0", "application/x-rar-compressed"),
    (b"\0\x61\x73\x6d", "application/wasm"),
];

/// The content type of content that begins like this.
pub(super) fn content_type(content: &[u8]) -> &'static str {
    let bytes = &content[..content.len().min(LOOKED_AT)];
    let space = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ');
    let start = bytes.iter().position(|byte| !space(byte)).unwrap_or(bytes.len());
    let (trimmed, whole) = (&bytes[start..], bytes);
    if HTML.iter().any(|tag| is_html(trimmed, tag.as_bytes())) {
        return "text/html; charset=utf-8";
    }
    if trimmed.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    if let Some((_, kind)) = EXACT.iter().find(|(signature, _)| begins(whole, signature)) {
        return kind;
    }
    let binary = |byte: &u8| matches!(byte, 0x00..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if trimmed.iter().any(binary) { "application/octet-stream" } else { "text/plain; charset=utf-8" }
}

fn is_html(bytes: &[u8], tag: &[u8]) -> bool {
    bytes.len() > tag.len()
        && bytes[..tag.len()].eq_ignore_ascii_case(tag)
        && matches!(bytes[tag.len()], b' ' | b'>')
}

fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.len() >= signature.len()
        && signature.iter().zip(bytes).all(|(wanted, found)| *wanted == b'?' || wanted == found)
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn a_text_is_known_by_its_first_bytes() {
        for (text, expected) in [
            ("", "text/plain; charset=utf-8"),
            ("{\"a\": 1}", "text/plain; charset=utf-8"),
            (" \n<!doctype html><p>", "text/html; charset=utf-8"),
            ("<b>x", "text/html; charset=utf-8"),
            ("<bold>", "text/plain; charset=utf-8"),
            ("<h1", "text/plain; charset=utf-8"),
            ("\n<?xml version=\"1.0\"?>", "text/xml; charset=utf-8"),
            ("%PDF-1.7", "application/pdf"),
            ("RIFF1234WAVE", "audio/wave"),
            ("\u{feff}x", "text/plain; charset=utf-8"),
            ("a\u{1}", "application/octet-stream"),
        ] {
            assert_eq!(content_type(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(content_type(b"\x89PNG\r\n\x1a\n\0"), "image/png");
    }
}
