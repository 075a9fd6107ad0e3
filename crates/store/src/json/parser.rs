//! Any JSON text to canonical text, in one pass: values are written as they are read, and only an object
//! whose keys come in another order is written again. Errors are those of PostgreSQL 15's parser.

use super::text::write_string;
use super::{DEPTH_MAX, JSON_BYTES_MAX, JsonError, JsonErrorKind, number};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

/// The canonical form of a JSON text.
pub(super) fn canonical(text: &str) -> Result<String, JsonError> {
    let mut parser = Parser { text, at: 0, out: String::with_capacity(text.len() + text.len() / 8) };
    if text.len() > JSON_BYTES_MAX {
        return Err(parser.error(JsonErrorKind::Size, String::new()));
    }
    let first = parser.token()?;
    parser.value(first, DEPTH_MAX, "Expected JSON value, but found")?;
    let rest = parser.token()?;
    if rest.kind != TokenKind::End {
        return Err(parser.unexpected(&rest, "Expected end of input, but found"));
    }
    Ok(parser.out)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    out: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    /// One of `{}[],:`.
    Sign(u8),
    String,
    Number,
    True,
    False,
    Null,
    End,
}

struct Token {
    kind: TokenKind,
    place: Range<usize>,
    /// The content of a string that has escapes; otherwise the text between its quotes is the content.
    unescaped: Option<String>,
}

/// A member of an object: its key, and where its text stands in what was written.
struct Member<'a> {
    key: Cow<'a, str>,
    place: Range<usize>,
}

impl<'a> Parser<'a> {
    fn value(&mut self, token: Token, depth: usize, expected: &str) -> Result<(), JsonError> {
        match token.kind {
            TokenKind::Sign(b'{' | b'[') if depth == 0 => {
                return Err(self.error(JsonErrorKind::Depth, String::new()));
            }
            TokenKind::Sign(b'{') => self.object(depth - 1)?,
            TokenKind::Sign(b'[') => self.array(depth - 1)?,
            TokenKind::String => match &token.unescaped {
                Some(content) => write_string(content, &mut self.out),
                // Without escapes nothing in it needs one.
                None => self.out.push_str(&self.text[token.place]),
            },
            TokenKind::Number => {
                let at = token.place.start;
                number::write(&self.text[token.place], &mut self.out).map_err(|kind| JsonError {
                    kind,
                    detail: String::new(),
                    offset: at,
                })?;
            }
            TokenKind::True => self.out.push_str("true"),
            TokenKind::False => self.out.push_str("false"),
            TokenKind::Null => self.out.push_str("null"),
            TokenKind::Sign(_) | TokenKind::End => return Err(self.unexpected(&token, expected)),
        }
        // A few bytes of exponent can stand for many digits.
        if self.out.len() > JSON_BYTES_MAX {
            return Err(self.error(JsonErrorKind::Size, String::new()));
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        self.out.push('[');
        let mut token = self.token()?;
        if token.kind != TokenKind::Sign(b']') {
            loop {
                // The name of the expectation is PostgreSQL's for any element.
                self.value(token, depth, "Expected JSON value, but found")?;
                token = self.token()?;
                match token.kind {
                    TokenKind::Sign(b',') => self.out.push_str(", "),
                    TokenKind::Sign(b']') => break,
                    _ => return Err(self.unexpected(&token, "Expected \",\" or \"]\", but found")),
                }
                token = self.token()?;
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        let start = self.out.len();
        self.out.push('{');
        let mut members: Vec<Member<'a>> = Vec::new();
        let mut in_order = true;
        let mut token = self.token()?;
        if token.kind != TokenKind::Sign(b'}') {
            let mut expected = "Expected string or \"}\", but found";
            loop {
                if token.kind != TokenKind::String {
                    return Err(self.unexpected(&token, expected));
                }
                let begin = self.out.len();
                let key: Cow<'a, str> = match token.unescaped {
                    Some(key) => {
                        write_string(&key, &mut self.out);
                        key.into()
                    }
                    None => {
                        let quoted = &self.text[token.place];
                        self.out.push_str(quoted);
                        quoted[1..quoted.len() - 1].into()
                    }
                };
                let colon = self.token()?;
                if colon.kind != TokenKind::Sign(b':') {
                    return Err(self.unexpected(&colon, "Expected \":\", but found"));
                }
                self.out.push_str(": ");
                let value = self.token()?;
                self.value(value, depth, "Expected JSON value, but found")?;
                in_order &= members.last().is_none_or(|last| key_order(&last.key, &key) == Ordering::Less);
                members.push(Member { key, place: begin..self.out.len() });
                token = self.token()?;
                match token.kind {
                    TokenKind::Sign(b',') => self.out.push_str(", "),
                    TokenKind::Sign(b'}') => break,
                    _ => return Err(self.unexpected(&token, "Expected \",\" or \"}\", but found")),
                }
                token = self.token()?;
                expected = "Expected string, but found";
            }
        }
        if !in_order {
            self.put_in_order(start, members);
        }
        self.out.push('}');
        Ok(())
    }

    /// Writes the members of an object anew: sorted, of a key given twice the last.
    fn put_in_order(&mut self, start: usize, mut members: Vec<Member<'a>>) {
        // Stable, so that the last of equal keys stays the last.
        members.sort_by(|one, other| key_order(&one.key, &other.key));
        let written = self.out.split_off(start);
        self.out.push('{');
        let mut separator = "";
        for (nth, member) in members.iter().enumerate() {
            if members.get(nth + 1).is_some_and(|next| next.key == member.key) {
                continue;
            }
            self.out.push_str(separator);
            self.out.push_str(&written[member.place.start - start..member.place.end - start]);
            separator = ", ";
        }
    }

    fn token(&mut self) -> Result<Token, JsonError> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let start = self.at;
        let mut unescaped = None;
        let kind = match bytes.get(start) {
            None => TokenKind::End,
            Some(&sign @ (b'{' | b'}' | b'[' | b']' | b',' | b':')) => {
                self.at += 1;
                TokenKind::Sign(sign)
            }
            Some(b'"') => {
                unescaped = self.string()?;
                TokenKind::String
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                TokenKind::Number
            }
            Some(_) => {
                self.at += self.word_bytes(start);
                match &self.text[start..self.at] {
                    "true" => TokenKind::True,
                    "false" => TokenKind::False,
                    "null" => TokenKind::Null,
                    "" => {
                        self.at += self.text[start..].chars().next().map_or(1, char::len_utf8);
                        return Err(self.invalid_token(start));
                    }
                    _ => return Err(self.invalid_token(start)),
                }
            }
        };
        Ok(Token { kind, place: start..self.at, unescaped })
    }

    /// How many bytes from here on PostgreSQL takes for one word.
    fn word_bytes(&self, from: usize) -> usize {
        let rest = &self.text.as_bytes()[from..];
        rest.iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte >= 0x80)
            .count()
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = start + usize::from(bytes[start] == b'-');
        let whole = if bytes.get(at) == Some(&b'0') { 1 } else { digits(at) };
        at += whole;
        let mut valid = whole > 0;
        if valid && bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            at += 1 + fraction;
            valid = fraction > 0;
        }
        if valid && matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            let exponent = digits(at);
            at += exponent;
            valid = exponent > 0;
        }
        let garbage = self.word_bytes(at);
        self.at = at + garbage;
        if valid && garbage == 0 { Ok(()) } else { Err(self.invalid_token(start)) }
    }

    /// Moves behind a string. Answers its content where it has escapes.
    fn string(&mut self) -> Result<Option<String>, JsonError> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut content: Option<String> = None;
        let mut plain = start + 1;
        self.at = plain;
        loop {
            match bytes.get(self.at) {
                None => return Err(self.invalid_token(start)),
                Some(b'"') => {
                    let rest = &self.text[plain..self.at];
                    self.at += 1;
                    return Ok(content.map(|content| content + rest));
                }
                Some(b'\\') => {
                    let content = content.get_or_insert_default();
                    content.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    let char = self.escape(start)?;
                    content.push(char);
                    plain = self.at;
                }
                Some(&control @ 0..0x20) => {
                    let detail = format!("Character with value 0x{control:02x} must be escaped.");
                    return Err(self.error(JsonErrorKind::Syntax, detail));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// The character that an escape stands for; `self.at` is behind the backslash.
    fn escape(&mut self, string: usize) -> Result<char, JsonError> {
        let Some(letter) = self.text[self.at..].chars().next() else {
            return Err(self.invalid_token(string));
        };
        self.at += letter.len_utf8();
        Ok(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(string),
            other => {
                let detail = format!("Escape sequence \"\\{other}\" is invalid.");
                return Err(self.error(JsonErrorKind::Syntax, detail));
            }
        })
    }

    fn unicode(&mut self, string: usize) -> Result<char, JsonError> {
        const LONE_LOW: &str = "Unicode low surrogate must follow a high surrogate.";
        let first = self.four_digits(string)?;
        match first {
            0 => Err(self.error(JsonErrorKind::Nul, "\\u0000 cannot be converted to text.".to_owned())),
            0xd800..0xdc00 => {
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(self.error(JsonErrorKind::Syntax, LONE_LOW.to_owned()));
                }
                self.at += 2;
                let second = self.four_digits(string)?;
                if (0xd800..0xdc00).contains(&second) {
                    let detail = "Unicode high surrogate must not follow a high surrogate.".to_owned();
                    return Err(self.error(JsonErrorKind::Syntax, detail));
                }
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
                let code = low.map(|low| 0x1_0000 + ((first - 0xd800) << 10) + low);
                code.and_then(char::from_u32)
                    .ok_or_else(|| self.error(JsonErrorKind::Syntax, LONE_LOW.to_owned()))
            }
            code => {
                char::from_u32(code).ok_or_else(|| self.error(JsonErrorKind::Syntax, LONE_LOW.to_owned()))
            }
        }
    }

    fn four_digits(&mut self, string: usize) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(char) = self.text[self.at..].chars().next() else {
                return Err(self.invalid_token(string));
            };
            let Some(digit) = char.to_digit(16) else {
                let detail = "\"\\u\" must be followed by four hexadecimal digits.".to_owned();
                return Err(self.error(JsonErrorKind::Syntax, detail));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn invalid_token(&self, start: usize) -> JsonError {
        let detail = format!("Token \"{}\" is invalid.", &self.text[start..self.at]);
        JsonError { kind: JsonErrorKind::Syntax, detail, offset: start }
    }

    fn unexpected(&self, token: &Token, expected: &str) -> JsonError {
        let detail = match token.kind {
            TokenKind::End => "The input string ended unexpectedly.".to_owned(),
            _ => format!("{expected} \"{}\".", &self.text[token.place.clone()]),
        };
        JsonError { kind: JsonErrorKind::Syntax, detail, offset: token.place.start }
    }

    fn error(&self, kind: JsonErrorKind, detail: String) -> JsonError {
        JsonError { kind, detail, offset: self.at }
    }
}

/// `jsonb` orders keys by their length in bytes, then by their bytes.
fn key_order(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}
