//! Where a value ends that a name stands before: in JSON, in a query, in a line of `name: value`. A value whose end can't be
//! told goes on to the end of the text.

use std::ops::Range;

/// What stands between a name and its value.
#[derive(Clone, Copy)]
pub(super) struct Separator {
    /// Where what follows begins.
    pub(super) end: usize,
    /// `:` and not `=`.
    pub(super) colon: bool,
    /// As in a query, however often.
    pub(super) encoded: bool,
}

/// The `%3D` or `%3A` that stands here, `%253D` and so on as well.
pub(super) fn encoded_separator(text: &str, at: usize) -> Option<Separator> {
    let (byte, end) = encoded(text.as_bytes(), at)?;
    matches!(byte, b':' | b'=').then_some(Separator { end, colon: byte == b':', encoded: true })
}

/// The byte that is percent-encoded here, however often, and where it ends.
fn encoded(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    if bytes.get(at) != Some(&b'%') {
        return None;
    }
    let mut from = at + 1;
    while bytes.get(from..from + 2) == Some(b"25") {
        from += 2;
    }
    let digits = std::str::from_utf8(bytes.get(from..from + 2)?).ok()?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    Some((u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?, from + 2))
}

/// The value behind a separator that begins at `at`; `null` is none.
pub(super) fn value(text: &str, at: usize, separator: Separator) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let is_space =
        |byte: &u8| if separator.colon { byte.is_ascii_whitespace() } else { b" \t".contains(byte) };
    let from = separator.end + bytes[separator.end..].iter().take_while(|byte| is_space(byte)).count();
    let escapes = bytes[from..].iter().take_while(|byte| **byte == b'\\').count();
    match bytes.get(from + escapes)? {
        quote @ (b'"' | b'\'') => {
            let from = from + escapes + 1;
            Some(from..closing(bytes, from, *quote, escapes))
        }
        b'{' | b'[' if escapes == 0 => Some(from..nested(bytes, from, at)),
        // A text of YAML that goes on for lines.
        b'|' | b'>' if separator.colon => Some(from..bytes.len()),
        _ => match literal(bytes, from).filter(|_| separator.colon) {
            Some(end) if &bytes[from..end] == b"null" => None,
            Some(end) => Some(from..end),
            None => Some(from..bare(text, at, from, separator)),
        },
    }
}

/// Where a string is closed that is itself within strings, by so many escapes before its quotes.
fn closing(bytes: &[u8], from: usize, quote: u8, escapes: usize) -> usize {
    let mut before = 0;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'\\' => before += 1,
            byte if *byte == quote => {
                let is_own = before == escapes || (escapes == 0 && before % 2 == 0);
                // With less of them than there have to be, what is around it ends.
                if is_own || before < escapes {
                    return at - before.min(escapes);
                }
                before = 0;
            }
            _ => before = 0,
        }
    }
    bytes.len()
}

/// Where an object or an array ends; the separator before it says whether it stands within a string.
fn nested(bytes: &[u8], from: usize, separator: usize) -> usize {
    let quoted = bytes[..separator].iter().rev().take_while(|byte| b" \"".contains(byte)).count();
    if bytes[..separator - quoted].ends_with(b"\\") {
        // Its own quotes have escapes, and the first without one ends what is around it.
        return closing(bytes, from, b'"', 0);
    }
    let (mut depth, mut is_string, mut is_escaped) = (0usize, false, false);
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_string,
            b'"' => is_string = !is_string,
            b'{' | b'[' if !is_string => depth += 1,
            b'}' | b']' if !is_string => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

/// Where a number or a word of JSON ends, if that is what stands here, followed by what may follow.
fn literal(bytes: &[u8], from: usize) -> Option<usize> {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let end = from + bytes[from..].iter().take_while(is_part).count();
    let word = &bytes[from..end];
    let is_number = word.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-')
        && word.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    let is_word = [&b"true"[..], b"false", b"null"].contains(&word);
    let rest = bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace());
    let is_followed = bytes.get(end).is_none_or(|next| b",}] \r\n\t".contains(next))
        && rest.is_none_or(|next| b",}]".contains(next));
    ((is_number || is_word) && is_followed).then_some(end)
}

/// Where a value without quotes ends: with its line, with the next pair, or with the string or the element that it
/// stands in.
fn bare(text: &str, at: usize, from: usize, separator: Separator) -> usize {
    let bytes = text.as_bytes();
    let line = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let quotes = (line..at).filter(|at| bytes[*at] == b'"' && !is_escaped(bytes, *at)).count();
    let (is_string, is_markup) = (quotes % 2 == 1, text.trim_start().starts_with('<'));
    let ends = |at: usize| match bytes[at] {
        b'\n' | b'\r' => true,
        b'"' => is_string,
        b'<' => is_markup,
        b'&' => !separator.colon || separator.encoded,
        b'%' if separator.encoded => encoded(bytes, at).is_some_and(|(byte, _)| byte == b'&'),
        _ => false,
    };
    let mut end = (from..bytes.len()).find(|at| ends(*at)).unwrap_or(bytes.len());
    // They belong to the quote that follows.
    while is_string && end > from && bytes[end - 1] == b'\\' {
        end -= 1;
    }
    end
}

fn is_escaped(bytes: &[u8], at: usize) -> bool {
    bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Who somebody is in an address (RFC 3986 section 3.2.1), behind the `:` of its scheme; slashes may be escaped as in
/// JSON, or encoded as in a query.
pub(super) fn userinfo(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let slash = |at: usize| match bytes.get(at)? {
        b'/' => Some(at + 1),
        b'\\' if bytes.get(at + 1) == Some(&b'/') => Some(at + 2),
        _ => encoded(bytes, at).filter(|(byte, _)| *byte == b'/').map(|(_, end)| end),
    };
    let from = slash(slash(at)?)?;
    let mut last = None;
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        let (byte, next) = encoded(bytes, at).unwrap_or((*byte, at + 1));
        match byte {
            b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'\\' => break,
            _ if byte.is_ascii_whitespace() => break,
            b'@' => last = Some(at),
            _ => {}
        }
        at = next;
    }
    // Cut off before its end, it may be one.
    let is_cut = at == bytes.len() && last.is_none() && text[from..].contains([':', '%']);
    last.map(|end| from..end).or(is_cut.then_some(from..bytes.len()))
}
