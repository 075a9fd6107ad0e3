//! Request paths before they are looked up: decoded and cleaned, borrowed when they are clean already; and
//! the second decoding that Skipper gives to path parameters.

use std::borrow::Cow;

/// The path as routes see it: percent-decoded (what is not UTF-8 becomes U+FFFD), reserved characters perhaps
/// not, then cleaned.
pub(crate) fn request_path(raw: &str, keeps_reserved: bool) -> Cow<'_, str> {
    if is_plain(raw.as_bytes()) {
        return Cow::Borrowed(raw);
    }
    let decoded = if keeps_reserved { crate::path::decode_keeping(raw) } else { crate::path::decode(raw) };
    match decoded {
        Cow::Borrowed(raw) => clean(raw),
        Cow::Owned(decoded) => Cow::Owned(clean(&decoded).into_owned()),
    }
}

/// Whether a path surely needs nothing: no `%`, and behind a slash neither a slash nor a dot. One pass, for
/// it is taken by every request.
fn is_plain(path: &[u8]) -> bool {
    let mut behind_slash = false;
    for byte in path {
        if *byte == b'%' || (behind_slash && matches!(byte, b'/' | b'.')) {
            return false;
        }
        behind_slash = *byte == b'/';
    }
    path.first() == Some(&b'/')
}

/// A rooted path without `.`, `..` and double slashes. A trailing slash is kept, and `/.` at the end counts
/// as one; `..` never leaves the root.
pub(crate) fn clean(path: &str) -> Cow<'_, str> {
    if is_clean(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    let mut cleaned = String::with_capacity(path.len() + 1);
    let mut trailing = false;
    for segment in path.split('/') {
        trailing = matches!(segment, "" | ".");
        match segment {
            "" | "." => {}
            ".." => cleaned.truncate(cleaned.rfind('/').unwrap_or(0)),
            _ => {
                cleaned.push('/');
                cleaned.push_str(segment);
            }
        }
    }
    if trailing || cleaned.is_empty() {
        cleaned.push('/');
    }
    Cow::Owned(cleaned)
}

fn is_clean(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    // A slash before `/`, or before `.` or `..` that fill a segment, is what cleaning takes away.
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').all(|(at, _)| {
        let behind = &path[at + 1..];
        !matches!(behind, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
    })
}

/// Decodes a text as Go's `url.QueryUnescape` does: `+` is a space; with a broken escape in it the text
/// stays as it is.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) || !escapes_are_whole(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// Whether each `%` is followed by two hex digits.
pub(crate) fn escapes_are_whole(text: &[u8]) -> bool {
    text.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| text.get(at + 1..at + 3).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_as_go_routers_do() {
        for (path, expected) in [
            ("/", "/"),
            ("/abc", "/abc"),
            ("/a/b/", "/a/b/"),
            ("", "/"),
            ("a/", "/a/"),
            ("//", "/"),
            ("/abc//", "/abc/"),
            ("//abc", "/abc"),
            ("/.", "/"),
            ("/./abc/def", "/abc/def"),
            ("/abc/.", "/abc/"),
            ("..", "/"),
            ("/../../abc", "/abc"),
            ("/abc/def/..", "/abc"),
            ("/abc/def/../", "/abc/"),
            ("/abc/def/../../..", "/"),
            ("abc//./../def", "/def"),
            ("/.well-known/x", "/.well-known/x"),
            ("/..a/b..", "/..a/b.."),
            ("/a%20b/%2e%2e/c", "/c"),
            ("/a%2Fb", "/a/b"),
            ("*", "/*"),
        ] {
            assert_eq!(request_path(path, false), expected, "{path}");
        }
        assert!(matches!(request_path("/a/b/c", true), Cow::Borrowed(_)));
    }

    #[test]
    fn parameters_are_decoded_a_second_time() {
        for (text, expected) in [("a+b", "a b"), ("%41", "A"), ("a%zz+", "a%zz+"), ("50%", "50%"), ("x", "x")]
        {
            assert_eq!(unescape(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(path in "[/.a]{0,12}") {
            let once = clean(&path).into_owned();
            proptest::prop_assert!(is_clean(once.as_bytes()));
            proptest::prop_assert_eq!(clean(&once).into_owned(), once);
        }
    }
}
