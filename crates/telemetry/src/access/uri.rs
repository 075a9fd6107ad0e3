//! What of a URI may be logged: with its query, without it, or with the values of some keys replaced by
//! their hash, which still tells equal values from different ones (Skipper's `maskAccessLogQuery`).

use std::borrow::Cow;
use std::iter;
use xxhash_rust::xxh64::xxh64;

/// The URI without its query and fragment.
pub(super) fn strip(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or_default()
}

/// The URI with the values of the keys that `is_masked` knows replaced by their xxHash64 in decimal.
pub(super) fn mask(uri: &str, is_masked: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let Some((path, query)) = uri.split_once('?') else {
        return uri.into();
    };
    // Decoded, for `%74oken` names the same key as `token`.
    let masked = |pair: &str| {
        pair.split_once('=').is_some_and(|(key, value)| !value.is_empty() && is_masked(&decode(key)))
    };
    if !query.split('&').any(masked) {
        return uri.into();
    }
    let mut text = path.to_owned();
    for (pair, before) in query.split('&').zip(iter::once('?').chain(iter::repeat('&'))) {
        text.push(before);
        match pair.split_once('=').filter(|_| masked(pair)) {
            None => text.push_str(pair),
            Some((key, value)) => {
                text.push_str(key);
                text.push('=');
                text.push_str(&xxh64(decode(value).as_bytes(), 0).to_string());
            }
        }
    }
    text.into()
}

/// Percent signs and plus signs as a form means them.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match (byte, decoded.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(uri: &str) -> String {
        mask(uri, |key| key == "token" || key == "api key").into_owned()
    }

    #[test]
    fn only_the_values_of_masked_keys_change() {
        let secret = xxh64(b"secret", 0);
        for (uri, expected) in [
            ("/a", "/a".to_owned()),
            ("/a?x=1&y", "/a?x=1&y".to_owned()),
            ("/a?token=secret", format!("/a?token={secret}")),
            (
                "/a?x=1&token=secret&y=2&token=secret#f",
                format!("/a?x=1&token={secret}&y=2&token={}", xxh64(b"secret#f", 0)),
            ),
            ("/a?%74oken=s%65cret", format!("/a?%74oken={secret}")),
            ("/a?api+key=secret", format!("/a?api+key={secret}")),
            ("/a?token=&token", "/a?token=&token".to_owned()),
            ("/a?token=%zz%4", format!("/a?token={}", xxh64(b"%zz%4", 0))),
        ] {
            assert_eq!(masked(uri), expected, "{uri}");
        }
    }

    #[test]
    fn a_query_can_be_left_out() {
        assert_eq!([strip("/a?b=c"), strip("/a#b"), strip("/a"), strip("")], ["/a", "/a", "/a", ""]);
    }
}
