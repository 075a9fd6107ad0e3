//! Text to tokens. A token is a kind and two byte offsets; nothing is copied until the parser wants a value.
//! The rules are Skipper's to the byte, odd ones included; what a broken token means for a person is told
//! in `explain.rs`.

use base::Span;
use std::borrow::Cow;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Symbol,
    Number,
    /// A string; the byte is its delimiter, `"` or a backtick.
    Text(u8),
    Regexp,
    Any,
    And,
    Arrow,
    Open,
    Close,
    Comma,
    Colon,
    Semicolon,
    Less,
    Greater,
    Shunt,
    Loopback,
    Dynamic,
    Forward,
    /// `//` to the end of the line, without the newline.
    Comment,
    Bad(Bad),
    End,
}

/// Why the text at this place is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// No token begins with this character.
    Character,
    /// A string without its closing delimiter.
    Text(u8),
    /// A regular expression without its closing slash.
    Regexp,
    /// A number that ends with a point.
    Number,
    /// A slash as the last character of the text.
    Slash,
}

impl Bad {
    /// The original's word for it.
    pub(crate) fn compat(self) -> &'static str {
        match self {
            Bad::Character => "unexpected token",
            Bad::Text(_) | Bad::Regexp | Bad::Number => "incomplete token",
            Bad::Slash => "invalid character",
        }
    }
}

/// A kind and the bytes it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    /// The bytes it covers.
    pub(crate) fn span(self) -> Span {
        self.start..self.end
    }

    /// The text it covers.
    pub(crate) fn raw(self, text: &str) -> &str {
        &text[self.start..self.end]
    }

    /// Where the original says that it stopped if this token is the one it could not use.
    pub(crate) fn compat_position(self) -> usize {
        match self.kind {
            Kind::Bad(Bad::Character | Bad::Slash) => self.start,
            _ => self.end,
        }
    }

    /// The value of a string, a regular expression or any other token, its escapes decoded.
    pub(crate) fn value(self, text: &str) -> Cow<'_, str> {
        let raw = self.raw(text);
        match self.kind {
            Kind::Text(delimiter) => decode_text(&raw[1..raw.len() - 1], delimiter),
            Kind::Regexp => decode_regexp(&raw[1..raw.len() - 1]),
            _ => Cow::Borrowed(raw),
        }
    }
}

/// Walks over a text. Copying it is how to look ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    /// Goes on from this offset, which must be the boundary of a character.
    pub(crate) fn jump(&mut self, position: usize) {
        self.position = position;
    }

    /// The next token, comments left out.
    pub(crate) fn next(&mut self) -> Token {
        loop {
            let token = self.next_or_comment();
            if token.kind != Kind::Comment {
                return token;
            }
        }
    }

    /// The next token, comments included.
    pub(crate) fn next_or_comment(&mut self) -> Token {
        let bytes = self.text.as_bytes();
        // The original also skips the lone bytes 0x85 and 0xA0, which cannot begin a character of UTF-8.
        while bytes
            .get(self.position)
            .is_some_and(|b| matches!(b, b' ' | b'\n' | b'\t' | 0x0b | 0x0c | b'\r'))
        {
            self.position += 1;
        }
        let start = self.position;
        let Some(&first) = bytes.get(start) else { return Token { kind: Kind::End, start, end: start } };
        let second = bytes.get(start + 1).copied();
        let (kind, end) = match first {
            b',' => (Kind::Comma, start + 1),
            b')' => (Kind::Close, start + 1),
            b'(' => (Kind::Open, start + 1),
            b':' => (Kind::Colon, start + 1),
            b';' => (Kind::Semicolon, start + 1),
            b'>' => (Kind::Greater, start + 1),
            b'*' => (Kind::Any, start + 1),
            b'&' if second == Some(b'&') => (Kind::And, start + 2),
            b'-' if second == Some(b'>') => (Kind::Arrow, start + 2),
            b'-' if second.is_some_and(|b| b.is_ascii_digit() || b == b'.') => number(bytes, start),
            b'0'..=b'9' | b'.' => number(bytes, start),
            b'"' | b'`' => text(bytes, start, first),
            b'/' if second == Some(b'/') => {
                let length = self.text[start..].find('\n').unwrap_or(self.text.len() - start);
                (Kind::Comment, start + length)
            }
            b'/' if second.is_none() => (Kind::Bad(Bad::Slash), start + 1),
            b'/' => regexp(bytes, start),
            b'<' => keyword(&self.text[start..], start),
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
                let rest = &bytes[start..];
                let length = rest.iter().position(|b| !is_symbol(*b)).unwrap_or(rest.len());
                (Kind::Symbol, start + length)
            }
            _ => {
                let length = self.text[start..].chars().next().map_or(1, char::len_utf8);
                (Kind::Bad(Bad::Character), start + length)
            }
        };
        self.position = end;
        Token { kind, start, end }
    }
}

/// Whether a byte may stand inside a name.
pub(crate) fn is_symbol(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Decodes what stands between the delimiters of a string. A backslash before any other character is kept,
/// as in the original.
fn decode_text(raw: &str, delimiter: u8) -> Cow<'_, str> {
    decode(raw, |escaped| match escaped {
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        '\\' => Some('\\'),
        other if other == char::from(delimiter) => Some(other),
        _ => None,
    })
}

/// Decodes what stands between the slashes of a regular expression: only `\/` and `\\` are the language's.
pub(crate) fn decode_regexp(raw: &str) -> Cow<'_, str> {
    decode(raw, |escaped| matches!(escaped, '/' | '\\').then_some(escaped))
}

fn decode(raw: &str, meaning: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        value.push_str(&rest[..at]);
        let Some(escaped) = rest[at + 1..].chars().next() else { break };
        match meaning(escaped) {
            Some(character) => value.push(character),
            None => value.extend(['\\', escaped]),
        }
        rest = &rest[at + 1 + escaped.len_utf8()..];
    }
    value.push_str(rest);
    Cow::Owned(value)
}

/// The offset of the slash that ends a regular expression whose first slash stands just before `from`.
pub(crate) fn regexp_end(bytes: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut in_class) = (from, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'/' if !in_class => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn regexp(bytes: &[u8], start: usize) -> (Kind, usize) {
    match regexp_end(bytes, start + 1) {
        Some(end) => (Kind::Regexp, end + 1),
        None => (Kind::Bad(Bad::Regexp), bytes.len()),
    }
}

fn text(bytes: &[u8], start: usize, delimiter: u8) -> (Kind, usize) {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        if byte == delimiter {
            return (Kind::Text(delimiter), at + 1);
        }
        at += if byte == b'\\' { 2 } else { 1 };
    }
    (Kind::Bad(Bad::Text(delimiter)), bytes.len())
}

fn number(bytes: &[u8], start: usize) -> (Kind, usize) {
    let mut at = start + usize::from(bytes[start] == b'-');
    let mut point = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'0'..=b'9' => {}
            b'.' if !point => point = true,
            _ => break,
        }
        at += 1;
    }
    (if bytes[at - 1] == b'.' { Kind::Bad(Bad::Number) } else { Kind::Number }, at)
}

fn keyword(rest: &str, start: usize) -> (Kind, usize) {
    const KEYWORDS: [(&str, Kind); 4] = [
        ("<shunt>", Kind::Shunt),
        ("<loopback>", Kind::Loopback),
        ("<dynamic>", Kind::Dynamic),
        ("<forward>", Kind::Forward),
    ];
    let known = KEYWORDS.iter().find(|(word, _)| rest.starts_with(word));
    known.map_or((Kind::Less, start + 1), |(word, kind)| (*kind, start + word.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fmt::Write;

    fn check(text: &str, expected: &Expect) {
        let mut lexer = Lexer::new(text);
        let mut told = String::new();
        loop {
            let token = lexer.next_or_comment();
            if token.kind == Kind::End {
                break;
            }
            writeln!(told, "{:?} {}", token.kind, token.value(text)).unwrap();
        }
        expected.assert_eq(&told);
    }

    #[test]
    fn a_number_has_one_point_and_may_begin_but_not_end_with_it() {
        check(
            "1 -2.5 .5 -.5 1.2.3 7.",
            &expect![[r"
                Number 1
                Number -2.5
                Number .5
                Number -.5
                Number 1.2
                Number .3
                Bad(Number) 7.
            "]],
        );
    }

    #[test]
    fn both_quotes_decode_the_same_escapes_and_keep_strange_ones() {
        check(
            r#""a\tb\"\q\`" `a\tb\"\q\``"#,
            &expect![[r#"
                Text(34) a	b"\q\`
                Text(96) a	b\"\q`
            "#]],
        );
    }

    #[test]
    fn a_slash_inside_a_class_does_not_end_a_regular_expression() {
        check(
            r"/[/]\/\\\d/ /\[/ // /not a regexp/",
            &expect![[r"
                Regexp [/]/\\d
                Regexp \[
                Comment // /not a regexp/
            "]],
        );
    }

    #[test]
    fn keywords_have_no_spaces_inside() {
        check(
            "<shunt><loopback> <dynamic><forward>< shunt >",
            &expect![[r"
                Shunt <shunt>
                Loopback <loopback>
                Dynamic <dynamic>
                Forward <forward>
                Less <
                Symbol shunt
                Greater >
            "]],
        );
    }

    #[test]
    fn what_is_no_token_says_why() {
        check(
            "\u{e4} - & /x",
            &expect![[r"
                Bad(Character) ä
                Bad(Character) -
                Bad(Character) &
                Bad(Regexp) /x
            "]],
        );
        check(
            "/",
            &expect![[r"
            Bad(Slash) /
        "]],
        );
        check(
            "\"ab\\\"",
            &expect![[r#"
            Bad(Text(34)) "ab\"
        "#]],
        );
    }
}
