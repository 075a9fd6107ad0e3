//! Goes through a text once and finds what is to be masked: behind each separator, if the name before it tells of a
//! secret, and wherever something has the shape of one. Where a value ends is said by `values`.

use super::MASK;
use super::values::{self, Separator};
use crate::access::uri::decode;
use std::ops::Range;
use wire::is_secret_name;

/// Bytes of a name that are looked at, from its end.
const NAME_BYTES_MAX: usize = 128;

/// Where a name begins at the latest.
const BEFORE_NAMES: &[char] =
    &['"', '\'', '{', '}', '[', '(', ')', ',', ';', ':', '&', '?', '<', '>', '=', '\n', '\r'];

/// Letters of what stands behind `Bearer` and its like (RFC 9110 section 11.2).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// A text, and how far it is masked.
pub(super) struct Scan<'a> {
    text: &'a str,
    masked: String,
    /// What is before this is in `masked`.
    done: usize,
    /// A member called `name` or so has named a secret: the `value` beside it is one.
    is_named: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, masked: String::new(), done: 0, is_named: false }
    }

    pub(super) fn masked(mut self) -> String {
        let mut at = 0;
        while at < self.text.len() {
            match self.secret_at(at).filter(|secret| !secret.is_empty()) {
                Some(secret) => {
                    self.masked.push_str(&self.text[self.done..secret.start]);
                    self.masked.push_str(self.mask_for(secret.start));
                    (self.done, at) = (secret.end, secret.end);
                }
                None => at += 1,
            }
        }
        self.masked.push_str(&self.text[self.done..]);
        self.masked
    }

    /// What stands in the place of a secret that begins here: where that was a member of JSON and no string, a string, so
    /// that it is JSON still.
    fn mask_for(&self, start: usize) -> &'static str {
        let before = self.text[..start].trim_end().strip_suffix(':').map(str::trim_end);
        let is_member = before.is_some_and(|name| name.ends_with('"') && !name.ends_with("\\\""));
        if is_member { "\"***\"" } else { MASK }
    }

    /// The secret that what stands here tells of. Both ends are ends of characters.
    fn secret_at(&mut self, at: usize) -> Option<Range<usize>> {
        match self.text.as_bytes()[at] {
            b':' => self.behind(at, Separator { end: at + 1, colon: true, encoded: false }),
            b'=' => self.behind(at, Separator { end: at + 1, colon: false, encoded: false }),
            b'%' => self.behind(at, values::encoded_separator(self.text, at)?),
            b'>' => {
                self.is_named = false;
                self.element(at)
            }
            b'}' => {
                self.is_named = false;
                None
            }
            b'-' => self.key(at),
            b'e' if self.begins_word(at) => self.jwt(at),
            b'b' | b'B' if self.begins_word(at) => self.credentials(at),
            _ => None,
        }
    }

    /// The value behind a separator, if its name tells of a secret, or who somebody is in an address.
    fn behind(&mut self, at: usize, separator: Separator) -> Option<Range<usize>> {
        let name = self.name_before(at);
        if is_secret_name(&name) || (self.is_named && is_word(&name, &["value", "val", "content"])) {
            return values::value(self.text, at, separator);
        }
        if is_word(&name, &["name", "key", "field", "header"])
            && let Some(value) = values::value(self.text, at, separator)
            && is_secret_name(&self.text[value])
        {
            self.is_named = true;
        }
        if separator.colon { values::userinfo(self.text, separator.end) } else { None }
    }

    /// The name before a separator, without quotes and escapes.
    fn name_before(&self, at: usize) -> String {
        let before = &self.text[self.done..at];
        let before = before.trim_end_matches(|c: char| c.is_whitespace() || "\\\"']".contains(c));
        let mut from = before.len().saturating_sub(NAME_BYTES_MAX);
        while !before.is_char_boundary(from) {
            from += 1;
        }
        from = before[from..].rfind(BEFORE_NAMES).map_or(from, |at| from + at + 1);
        let mut name = &before[from..];
        if before[..from].ends_with('<') {
            // The name of an element, then that of an attribute.
            name = name.rsplit(char::is_whitespace).next().unwrap_or(name);
        }
        // Twice, for a query in a query.
        decode(&decode(&unescaped(name))).into_owned()
    }

    fn begins_word(&self, at: usize) -> bool {
        let before = self.text[..at].bytes().next_back();
        before.is_none_or(|before| !is_of_token(before) || b"/=".contains(&before))
    }

    /// From here on as long as it may be a token.
    fn token(&self, from: usize) -> Range<usize> {
        let rest = &self.text.as_bytes()[from..];
        from..from + rest.iter().take_while(|byte| is_of_token(**byte)).count()
    }

    /// A JWT (RFC 7519): two objects of JSON in base64, and a signature. The end may be cut off.
    fn jwt(&self, at: usize) -> Option<Range<usize>> {
        let token = self.token(at);
        let text = &self.text[token.clone()];
        let is_whole = text.len() >= 20 && text.contains('.');
        let is_cut = text.len() >= 4 && token.end == self.text.len();
        (text.starts_with("eyJ") && (is_whole || is_cut)).then_some(token)
    }

    /// What stands behind the name of a scheme.
    fn credentials(&self, at: usize) -> Option<Range<usize>> {
        let rest = &self.text.as_bytes()[at..];
        let is = |scheme: &&str| {
            rest.get(..scheme.len()).is_some_and(|text| text.eq_ignore_ascii_case(scheme.as_bytes()))
        };
        let scheme = ["bearer ", "basic "].into_iter().find(is)?;
        let token = self.token(at + scheme.len());
        let is_parameter = self.text.as_bytes().get(token.end) == Some(&b'"');
        (!is_parameter && (token.len() >= 6 || token.end == self.text.len())).then_some(token)
    }

    /// A private key in PEM (RFC 7468).
    fn key(&self, at: usize) -> Option<Range<usize>> {
        let rest = self.text[at..].strip_prefix("-----BEGIN ")?;
        let (label, _) = rest.split_once("-----")?;
        if !label.ends_with("PRIVATE KEY") {
            return None;
        }
        let from = at + "-----BEGIN ".len() + label.len() + "-----".len();
        let end = self.text[from..].find("-----END").map_or(self.text.len(), |end| from + end);
        Some(from..end)
    }

    /// What an element holds whose name tells of a secret; `at` is the end of its tag.
    fn element(&self, at: usize) -> Option<Range<usize>> {
        let before = &self.text[..at];
        let tag = &before[before.rfind('<')? + 1..];
        let name = tag.split(|c: char| c.is_whitespace()).next()?;
        if tag.starts_with(['/', '!', '?']) || tag.ends_with('/') || !is_secret_name(name) {
            return None;
        }
        let end = self.text[at..].find(&format!("</{name}")).map_or(self.text.len(), |end| at + end);
        Some(at + 1..end.max(at + 1))
    }
}

/// Whether a name ends with one of these words.
fn is_word(name: &str, words: &[&str]) -> bool {
    let last = name.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    words.iter().any(|word| last.eq_ignore_ascii_case(word))
}

/// A name without the escapes of JSON.
fn unescaped(name: &str) -> String {
    let mut plain = String::new();
    let mut rest = name;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let behind = rest[at..].trim_start_matches('\\');
        let code = behind.strip_prefix('u').and_then(|hex| u32::from_str_radix(hex.get(..4)?, 16).ok());
        (rest, plain) = match code.and_then(char::from_u32) {
            Some(char) => (&behind[5..], plain + char.encode_utf8(&mut [0; 4])),
            // `\n` and its like end a word.
            None => (behind.strip_prefix(|c: char| c.is_ascii()).unwrap_or(behind), plain + " "),
        };
    }
    plain + rest
}
