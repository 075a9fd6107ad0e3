//! Query strings as Go's `url.Values` reads and writes them: a pair that is not well formed is left out,
//! and what is written is sorted by name. Backends behind Skipper see exactly this.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};
use std::borrow::Cow;

/// What `url.QueryEscape` leaves alone: letters, digits and `-_.~`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What no query may hold as it is, in a text that is otherwise taken as written.
const NOT_IN_QUERY: &AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// Names and values, decoded, in the order they came.
pub(super) struct Form(Vec<(Vec<u8>, Vec<u8>)>);

impl Form {
    /// Reads an encoded query.
    pub(super) fn of(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        Self(pairs.filter(|pair| !pair.is_empty()).filter_map(pair).collect())
    }

    /// The first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name.as_bytes())?;
        Some(String::from_utf8_lossy(value))
    }

    /// All names and values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Sets the only value of this name.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.0.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }

    /// Removes all values of this name.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(found, _)| found != name.as_bytes());
    }

    /// The encoded query, sorted by name.
    pub(super) fn encode(mut self) -> String {
        self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut out = String::new();
        for (name, value) in &self.0 {
            if !out.is_empty() {
                out.push('&');
            }
            escape(name, &mut out);
            out.push('=');
            escape(value, &mut out);
        }
        out
    }
}

/// A text taken as a query, with what no query can hold percent-encoded.
pub(super) fn raw_query(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, NOT_IN_QUERY).into()
}

fn pair(pair: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    // Go refuses `;`, which some servers take for a separator.
    if pair.contains(';') {
        return None;
    }
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    Some((unescape(name)?, unescape(value)?))
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let wellformed = |code: &str| code.len() >= 2 && code.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !text.split('%').skip(1).all(wellformed) {
        return None;
    }
    Some(percent_decode_str(&text.replace('+', " ")).collect())
}

fn escape(bytes: &[u8], out: &mut String) {
    for part in percent_encode(bytes, ESCAPED) {
        out.push_str(if part == "%20" { "+" } else { part });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: &str) {
        assert_eq!(Form::of(Some(query)).encode(), expected, "{query}");
    }

    #[test]
    fn a_query_is_written_as_go_writes_it() {
        check("b=2&a=1&b=1", "a=1&b=2&b=1");
        check("a=x+y%20z&b=%C3%A4&c=%ff", "a=x+y+z&b=%C3%A4&c=%FF");
        check("a&=1&&b=", "=1&a=&b=");
        check("a=%zz&b=%4&c;d=1&e=1", "e=1");
        check("a=-_.~!*'()/:@", "a=-_.~%21%2A%27%28%29%2F%3A%40");
        check("", "");
    }

    #[test]
    fn a_name_has_its_first_value_until_one_is_set() {
        let mut form = Form::of(Some("a=1&b=2&a=3"));
        assert_eq!(form.get("a").as_deref(), Some("1"));
        form.set("a", "x&y");
        assert_eq!(form.get("c"), None);
        assert_eq!(form.encode(), "a=x%26y&b=2");
        assert_eq!(raw_query("a=b c#\u{e4}%20"), "a=b%20c%23%C3%A4%20");
    }
}
