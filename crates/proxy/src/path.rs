//! Paths between their two forms: as sent (percent-encoded) and as meant. Encoding leaves the same bytes
//! alone as Go's `url.URL.EscapedPath`, which Skipper's backends see.

use crate::net;
use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;

/// What a path segment may not hold (RFC 3986 section 3.3; `;` and `,` count as Go counts them).
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'!')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*');

/// The path as meant. Borrowed when nothing is encoded.
pub(crate) fn decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// The path as sent. Borrowed when nothing needs encoding.
pub(crate) fn encode(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, NOT_IN_PATH).into()
}

/// The path as meant, but for reserved characters that were sent encoded: those stay so (`rfcPath`).
pub(crate) fn decode_keeping(path: &str) -> Cow<'_, str> {
    match decode(path) {
        Cow::Borrowed(path) => Cow::Borrowed(path),
        Cow::Owned(decoded) => match net::rfc_path(&decoded, path) {
            Cow::Borrowed(_) => Cow::Owned(decoded),
            Cow::Owned(kept) => Cow::Owned(kept),
        },
    }
}

/// The path as sent, of one that came from [`decode_keeping`]: what is encoded in it is so already.
pub(crate) fn encode_keeping(path: &str) -> Cow<'_, str> {
    let Some(first) = path.find('%') else { return encode(path) };
    let (mut sent, mut rest) = (encode(&path[..first]).into_owned(), &path[first..]);
    while !rest.is_empty() {
        // `rest` begins with `%`.
        let kept = if net::is_reserved_code(rest.as_bytes()) { 3 } else { 0 };
        sent.push_str(&rest[..kept]);
        let end = rest[kept.max(1)..].find('%').map_or(rest.len(), |at| at + kept.max(1));
        sent.push_str(&encode(&rest[kept..end]));
        rest = &rest[end..];
    }
    Cow::Owned(sent)
}

/// A target in origin form. Text that no URI can hold, which an encoded path and a received query never
/// are, is replaced by `/`.
pub(crate) fn join(path: &str, query: Option<&str>) -> Uri {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let target = match query {
        Some(query) => format!("{slash}{path}?{query}"),
        None => format!("{slash}{path}"),
    };
    PathAndQuery::try_from(target).map_or_else(|_| Uri::from_static("/"), Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_both_forms() {
        for path in ["/", "/a b", "/\u{e4}/%", "/a;b,c=d&e+f:g@h$", "/?#"] {
            assert_eq!(decode(&encode(path)), path);
        }
        assert_eq!(encode("/a;b,c=d&e+f:g@h$-_.~"), "/a;b,c=d&e+f:g@h$-_.~");
        assert_eq!(join("a%20b", Some("x=1")), "/a%20b?x=1");
        assert_eq!(decode("/%ff"), "/\u{fffd}");
    }

    #[test]
    fn reserved_characters_can_stay_as_they_were_sent() {
        let check = |sent: &str, kept: &str| {
            assert_eq!(decode_keeping(sent), kept);
            assert_eq!(encode_keeping(kept), sent);
        };
        check("/a%2Fb/c", "/a%2Fb/c");
        check("/%3a%20%2F%25x", "/%3a %2F%x");
        check("/plain", "/plain");
        check("/%20", "/ ");
        assert_eq!(encode_keeping("/%/%2/%2F%2f%"), "/%25/%252/%2F%2f%25");
    }
}
