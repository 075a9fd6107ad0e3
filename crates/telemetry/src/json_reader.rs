//! Reads JSON as it comes, without building a tree of it: the formats of spans take what they know and pass over the
//! rest. Depth is bounded; what is wrong is told with the path to it, in the words of Zipkin's own reader.

use base::{Fault, Kind};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Objects and arrays within each other.
const DEPTH_MAX: usize = 64;

type Read<T> = Result<T, Fault>;

/// Reads one text from its beginning to its end.
pub(crate) struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    path: Vec<Step<'a>>,
}

enum Step<'a> {
    Field(Cow<'a, str>),
    Entry(usize),
}

impl<'a> JsonReader<'a> {
    /// A reader of these bytes. Fails where they are no UTF-8.
    pub(crate) fn new(bytes: &'a [u8]) -> Read<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Fault::new(Kind::Invalid, "the JSON is not UTF-8").because(error))?;
        Ok(Self { text, at: 0, path: Vec::new() })
    }

    /// Reads an array, entry by entry.
    pub(crate) fn array(&mut self, mut entry: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.open(b'[', "an array")?;
        let mut count = 0;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.path.push(Step::Entry(count));
            entry(self)?;
            self.path.pop();
            count += 1;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("Unterminated array")),
            }
        }
    }

    /// Reads an object, field by field.
    pub(crate) fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Read<()>) -> Read<()> {
        self.open(b'{', "an object")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong("Expected a name"));
            }
            let name = self.quoted()?;
            if self.peek() != Some(b':') {
                return Err(self.wrong("Expected ':'"));
            }
            self.at += 1;
            self.path.push(Step::Field(name.clone()));
            field(self, &name)?;
            self.path.pop();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("Unterminated object")),
            }
        }
    }

    /// Passes over `null`, if it stands here.
    pub(crate) fn null(&mut self) -> bool {
        self.peek();
        let is_null = self.rest().starts_with("null");
        if is_null {
            self.at += 4;
        }
        is_null
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Read<Cow<'a, str>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            _ => Err(self.expected("a string")),
        }
    }

    /// Reads a string, as text of its own.
    pub(crate) fn text(&mut self) -> Read<String> {
        self.string().map(Cow::into_owned)
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Read<bool> {
        self.peek();
        for (word, value) in [("true", true), ("false", false)] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.expected("a boolean"))
    }

    /// Reads a whole number, or a string of one.
    pub(crate) fn whole(&mut self) -> Read<i64> {
        let text = match self.peek() {
            Some(b'"') => self.quoted()?,
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(self.number()?),
            _ => return Err(self.expected("a number")),
        };
        if let Ok(whole) = text.parse() {
            return Ok(whole);
        }
        // 1.5e3 is whole, too; 2^63 itself is too much.
        match text.parse::<f64>() {
            Ok(number) if number.fract() == 0.0 && number.abs() < 9_223_372_036_854_775_808.0 => {
                Ok(number as i64)
            }
            _ => Err(self.wrong(&format!("Expected a whole number but was {text}"))),
        }
    }

    /// Reads a number, as it is written.
    pub(crate) fn number(&mut self) -> Read<&'a str> {
        self.peek();
        let length = self
            .rest()
            .bytes()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        let text = &self.rest()[..length];
        if text.parse::<f64>().is_err() || text.starts_with('+') {
            return Err(self.expected("a number"));
        }
        self.at += length;
        Ok(text)
    }

    /// This place, to come back to within the same value.
    pub(crate) fn mark(&self) -> usize {
        self.at
    }

    /// Goes back to a place.
    pub(crate) fn back_to(&mut self, mark: usize) {
        self.at = mark;
    }

    /// Passes over one value.
    pub(crate) fn skip(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'{') => self.object(|reader, _| reader.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b'"') => self.quoted().map(|_| ()),
            Some(b't' | b'f') => self.boolean().map(|_| ()),
            Some(b'n') if self.null() => Ok(()),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            _ => Err(self.wrong("No value")),
        }
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("Expected the end")),
        }
    }

    /// What is wrong here, with the path to it.
    pub(crate) fn wrong(&self, what: &str) -> Fault {
        let mut path = String::from("$");
        for step in &self.path {
            match step {
                Step::Field(name) => {
                    path.push('.');
                    // A name is the sender's: no more of it than helps.
                    path.extend(name.chars().take(100));
                }
                Step::Entry(entry) => _ = write!(path, "[{entry}]"),
            }
        }
        Fault::new(Kind::Invalid, format!("{what} at {path}"))
    }

    /// What is wrong if another value stands here.
    fn expected(&mut self, what: &str) -> Fault {
        let there = match self.peek() {
            Some(b'"') => "STRING",
            Some(b'{') => "BEGIN_OBJECT",
            Some(b'[') => "BEGIN_ARRAY",
            Some(b'-' | b'0'..=b'9') => "NUMBER",
            Some(b'n') if self.rest().starts_with("null") => "NULL",
            Some(b't' | b'f') => "BOOLEAN",
            _ => return self.wrong("No value"),
        };
        self.wrong(&format!("Expected {what} but was {there}"))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn open(&mut self, bracket: u8, what: &str) -> Read<()> {
        if self.peek() != Some(bracket) {
            return Err(self.expected(what));
        }
        if self.path.len() >= DEPTH_MAX {
            return Err(self.wrong("Too deep"));
        }
        self.at += 1;
        Ok(())
    }

    /// A string, from its quotation mark on.
    fn quoted(&mut self) -> Read<Cow<'a, str>> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Cow::Borrowed(&self.text[start..at]));
                }
                Some(b'\\') => break,
                Some(0..0x20) | None => return Err(self.wrong("Unterminated string")),
                Some(_) => at += 1,
            }
        }
        let mut text = self.text[start..at].to_owned();
        loop {
            let plain = at;
            while bytes.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
                at += 1;
            }
            text.push_str(&self.text[plain..at]);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => at = self.escaped(at + 1, &mut text)?,
                _ => return Err(self.wrong("Unterminated string")),
            }
        }
    }

    /// What an escape stands for, from behind its backslash; answers where it ends.
    fn escaped(&self, at: usize, text: &mut String) -> Read<usize> {
        let simple = match self.text.as_bytes().get(at) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let Some(unit) = self.unit(at + 1) else { return Err(self.wrong("Invalid escape")) };
                let low = match unit {
                    0xd800..0xdc00 if self.text.as_bytes().get(at + 5..at + 7) == Some(b"\\u") => {
                        self.unit(at + 7)
                    }
                    _ => None,
                };
                if let Some(low @ 0xdc00..0xe000) = low {
                    let point = 0x1_0000 + ((u32::from(unit) - 0xd800) << 10) + (u32::from(low) - 0xdc00);
                    text.push(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
                    return Ok(at + 11);
                }
                // Half a pair is no character; other readers replace it, too.
                text.push(char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(at + 5);
            }
            _ => return Err(self.wrong("Invalid escape")),
        };
        text.push(simple);
        Ok(at + 1)
    }

    /// Four hex digits.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 4)?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let mut reader = JsonReader::new(text.as_bytes()).unwrap();
        let told = reader
            .skip()
            .and_then(|()| reader.end())
            .map_or_else(|fault| fault.to_string(), |()| "good".into());
        expected.assert_eq(&told);
    }

    #[test]
    fn what_is_wrong_is_told_with_the_path_to_it() {
        check(r#" {"a": [1, -2.5e3, true, null, "\u00e4\ud83d\ude00\n"], "b": {}} "#, expect!["good"]);
        check(r#"{"a": [1, TRUE]}"#, expect!["No value at $.a[1]"]);
        check(r#"{"a": [1, 2}"#, expect!["Unterminated array at $.a"]);
        check(r#"{"a" 1}"#, expect!["Expected ':' at $"]);
        check(r#"{a: 1}"#, expect!["Expected a name at $"]);
        check(r#"{"a": "\x"}"#, expect!["Invalid escape at $.a"]);
        check(r#"{"a": "b"#, expect!["Unterminated string at $.a"]);
        check("[1] 2", expect!["Expected the end at $"]);
        check("[1, -]", expect!["Expected a number but was NUMBER at $[1]"]);
        check("", expect!["No value at $"]);
        let deep = "[".repeat(DEPTH_MAX + 1);
        let told = JsonReader::new(deep.as_bytes()).and_then(|mut reader| reader.skip()).unwrap_err();
        assert_eq!(told.to_string(), format!("Too deep at ${}", "[0]".repeat(DEPTH_MAX)));
    }

    #[test]
    fn whole_numbers_are_read_in_any_clothes() {
        let whole = |text: &str| JsonReader::new(text.as_bytes()).and_then(|mut reader| reader.whole());
        for (text, number) in [("12", 12), ("\"-7\"", -7), ("1.5e3", 1500), ("9223372036854775807", i64::MAX)]
        {
            assert_eq!(whole(text).unwrap(), number, "{text}");
        }
        for text in ["1.5", "9223372036854775808", "\"\"", "true", "\"a\"", "1e400"] {
            assert!(whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn half_a_pair_is_replaced() {
        let text =
            |text: &str| JsonReader::new(text.as_bytes()).and_then(|mut reader| reader.text()).unwrap();
        assert_eq!(
            text(r#""\ud83d\ude00 \ud83d x \ude00 \ud83d\u0041""#),
            "😀 \u{fffd} x \u{fffd} \u{fffd}A"
        );
    }
}
