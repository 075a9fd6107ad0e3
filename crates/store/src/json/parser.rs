//! Any JSON text to canonical text, in one pass. What is canonical as it was given goes on in one piece: only where
//! the two differ is anything written, and only an object whose keys come in another order is written again. Errors
//! are those of PostgreSQL 15's parser.

use super::text::write_string;
use super::{DEPTH_MAX, JSON_BYTES_MAX, JsonError, JsonErrorKind, number};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

/// Members that are expected of a text, before it is known how many it has.
const MEMBERS: usize = 8;

/// Whether there is a space before a token.
const SPACE: bool = true;
const NO_SPACE: bool = false;

/// What was read; an error is rare and large, and has a place of its own.
type Parsed<T> = Result<T, Box<JsonError>>;

/// The canonical form of a JSON text.
pub(super) fn canonical(text: &str) -> Result<String, JsonError> {
    let mut parser = Parser { text, at: 0, out: String::new(), taken: 0, members: Vec::new(), content: None };
    parser.whole().map_err(|error| *error)?;
    if parser.taken == 0 {
        return Ok(text.to_owned());
    }
    parser.take(text.len());
    Ok(parser.out)
}

/// The canonical text so far is what was written and, behind it, what was given from `taken` on.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    out: String,
    taken: usize,
    /// Of the objects that are being read, the outer ones first.
    members: Vec<Member<'a>>,
    /// The content of the last string, if it has escapes; otherwise the text between its quotes is the content.
    content: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Comma,
    Colon,
    String,
    Number,
    /// `true`, `false` or `null`.
    Word,
    End,
}

/// A token, which ends where the parser is until it reads the next one.
#[derive(Clone, Copy)]
struct Token {
    kind: TokenKind,
    start: usize,
}

/// A member of an object: its key, and where it stands in the canonical text.
struct Member<'a> {
    key: Cow<'a, str>,
    place: Range<usize>,
}

impl<'a> Parser<'a> {
    /// Writes what was given up to here.
    fn take(&mut self, to: usize) {
        if self.out.capacity() == 0 {
            self.out.reserve(self.text.len() + self.text.len() / 8);
        }
        self.out.push_str(&self.text[self.taken..to]);
        self.taken = to;
    }

    /// Where the canonical text of what was read ends.
    fn written(&self) -> usize {
        self.out.len() + self.at - self.taken
    }

    fn whole(&mut self) -> Parsed<()> {
        if self.text.len() > JSON_BYTES_MAX {
            return self.error(JsonErrorKind::Size, String::new());
        }
        let first = self.token(NO_SPACE)?;
        self.value(first, DEPTH_MAX, "Expected JSON value, but found")?;
        let rest = self.token(NO_SPACE)?;
        if rest.kind != TokenKind::End {
            return self.unexpected(rest, "Expected end of input, but found");
        }
        Ok(())
    }

    fn value(&mut self, token: Token, depth: usize, expected: &str) -> Parsed<()> {
        match token.kind {
            TokenKind::ObjectBegin | TokenKind::ArrayBegin if depth == 0 => {
                return self.error(JsonErrorKind::Depth, String::new());
            }
            TokenKind::ObjectBegin => self.object(depth - 1)?,
            TokenKind::ArrayBegin => self.array(depth - 1)?,
            TokenKind::String => {
                if self.content.is_some() {
                    drop(self.content(token.start));
                }
            }
            TokenKind::Number => {
                let number = &self.text[token.start..self.at];
                if !number::is_canonical(number) {
                    self.take(token.start);
                    self.taken = self.at;
                    number::write(number, &mut self.out).map_err(|kind| {
                        Box::new(JsonError { kind, detail: String::new(), offset: token.start })
                    })?;
                }
            }
            TokenKind::Word => {}
            TokenKind::ObjectEnd
            | TokenKind::ArrayEnd
            | TokenKind::Comma
            | TokenKind::Colon
            | TokenKind::End => return self.unexpected(token, expected),
        }
        // A few bytes of exponent can stand for many digits.
        if self.written() > JSON_BYTES_MAX {
            return self.error(JsonErrorKind::Size, String::new());
        }
        Ok(())
    }

    /// The content of the string that was just read. One with escapes is written anew.
    fn content(&mut self, start: usize) -> Cow<'a, str> {
        // Without escapes nothing in it needs one.
        let Some(content) = self.content.take() else {
            return Cow::Borrowed(&self.text[start + 1..self.at - 1]);
        };
        self.take(start);
        self.taken = self.at;
        write_string(&content, &mut self.out);
        content.into()
    }

    fn array(&mut self, depth: usize) -> Parsed<()> {
        let mut token = self.token(NO_SPACE)?;
        if token.kind != TokenKind::ArrayEnd {
            loop {
                // The name of the expectation is PostgreSQL's for any element.
                self.value(token, depth, "Expected JSON value, but found")?;
                if !self.is_next(b',') {
                    token = self.token(NO_SPACE)?;
                    match token.kind {
                        TokenKind::Comma => {}
                        TokenKind::ArrayEnd => break,
                        _ => return self.unexpected(token, "Expected \",\" or \"]\", but found"),
                    }
                }
                token = self.token(SPACE)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Parsed<()> {
        let start = self.written();
        if self.members.capacity() == 0 {
            self.members.reserve(MEMBERS);
        }
        let outer = self.members.len();
        let mut in_order = true;
        let mut token = self.token(NO_SPACE)?;
        if token.kind != TokenKind::ObjectEnd {
            let mut expected = "Expected string or \"}\", but found";
            loop {
                if token.kind != TokenKind::String {
                    return self.unexpected(token, expected);
                }
                let begin = self.written() - (self.at - token.start);
                let key = self.content(token.start);
                if !self.is_next(b':') {
                    let colon = self.token(NO_SPACE)?;
                    if colon.kind != TokenKind::Colon {
                        return self.unexpected(colon, "Expected \":\", but found");
                    }
                }
                let value = self.token(SPACE)?;
                self.value(value, depth, "Expected JSON value, but found")?;
                in_order &= self.members[outer..]
                    .last()
                    .is_none_or(|last| key_order(&last.key, &key) == Ordering::Less);
                self.members.push(Member { key, place: begin..self.written() });
                if !self.is_next(b',') {
                    token = self.token(NO_SPACE)?;
                    match token.kind {
                        TokenKind::Comma => {}
                        TokenKind::ObjectEnd => break,
                        _ => return self.unexpected(token, "Expected \",\" or \"}\", but found"),
                    }
                }
                token = self.token(SPACE)?;
                expected = "Expected string, but found";
            }
        }
        if !in_order {
            self.put_in_order(start, outer);
        }
        self.members.truncate(outer);
        Ok(())
    }

    /// Writes the members of an object anew, whose text begins behind `start`: sorted, of a key given twice the last.
    fn put_in_order(&mut self, start: usize, outer: usize) {
        self.take(self.at);
        let members = &mut self.members[outer..];
        // Stable, so that the last of equal keys stays the last.
        members.sort_by(|one, other| key_order(&one.key, &other.key));
        let given = self.out.split_off(start);
        let mut separator = "";
        for (nth, member) in members.iter().enumerate() {
            if members.get(nth + 1).is_some_and(|next| next.key == member.key) {
                continue;
            }
            self.out.push_str(separator);
            self.out.push_str(&given[member.place.start - start..member.place.end - start]);
            separator = ", ";
        }
        self.out.push('}');
    }

    /// Moves behind a sign if that is what stands here, without any space before it.
    fn is_next(&mut self, sign: u8) -> bool {
        let is_next = self.text.as_bytes().get(self.at) == Some(&sign);
        self.at += usize::from(is_next);
        is_next
    }

    /// The next token, with a space before it in the canonical text or without.
    fn token(&mut self, space: bool) -> Parsed<Token> {
        let bytes = self.text.as_bytes();
        let (before, mut start) = (self.at, self.at);
        while matches!(bytes.get(start), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            start += 1;
        }
        self.at = start;
        if start - before != usize::from(space) || (space && bytes[before] != b' ') {
            self.take(before);
            self.out.push_str(if space { " " } else { "" });
            self.taken = start;
        }
        let kind = match bytes.get(start) {
            None => TokenKind::End,
            Some(b'{') => self.sign(TokenKind::ObjectBegin),
            Some(b'}') => self.sign(TokenKind::ObjectEnd),
            Some(b'[') => self.sign(TokenKind::ArrayBegin),
            Some(b']') => self.sign(TokenKind::ArrayEnd),
            Some(b',') => self.sign(TokenKind::Comma),
            Some(b':') => self.sign(TokenKind::Colon),
            Some(b'"') => {
                self.string()?;
                TokenKind::String
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                TokenKind::Number
            }
            Some(_) => {
                self.at += self.word_bytes(start);
                match &self.text[start..self.at] {
                    "true" | "false" | "null" => TokenKind::Word,
                    "" => {
                        self.at += self.text[start..].chars().next().map_or(1, char::len_utf8);
                        return self.invalid_token(start);
                    }
                    _ => return self.invalid_token(start),
                }
            }
        };
        Ok(Token { kind, start })
    }

    fn sign(&mut self, sign: TokenKind) -> TokenKind {
        self.at += 1;
        sign
    }

    /// How many bytes from here on PostgreSQL takes for one word.
    fn word_bytes(&self, from: usize) -> usize {
        let rest = &self.text.as_bytes()[from..];
        rest.iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte >= 0x80)
            .count()
    }

    fn number(&mut self) -> Parsed<()> {
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
        if valid && garbage == 0 { Ok(()) } else { self.invalid_token(start) }
    }

    /// Moves behind a string, and keeps its content where it has escapes.
    fn string(&mut self) -> Parsed<()> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        self.at += 1 + plain_bytes(&bytes[start + 1..]);
        if bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(());
        }
        let (mut content, mut plain) = (String::new(), start + 1);
        loop {
            self.at += plain_bytes(&bytes[self.at..]);
            match bytes.get(self.at) {
                None => return self.invalid_token(start),
                Some(b'"') => {
                    content.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    self.content = Some(content);
                    return Ok(());
                }
                Some(b'\\') => {
                    content.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    let char = self.escape(start)?;
                    content.push(char);
                    plain = self.at;
                }
                Some(control) => {
                    let detail = format!("Character with value 0x{control:02x} must be escaped.");
                    return self.error(JsonErrorKind::Syntax, detail);
                }
            }
        }
    }

    /// The character that an escape stands for; `self.at` is behind the backslash.
    fn escape(&mut self, string: usize) -> Parsed<char> {
        let Some(letter) = self.text[self.at..].chars().next() else {
            return self.invalid_token(string);
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
                return self.error(JsonErrorKind::Syntax, detail);
            }
        })
    }

    fn unicode(&mut self, string: usize) -> Parsed<char> {
        const LONE_LOW: &str = "Unicode low surrogate must follow a high surrogate.";
        let first = self.four_digits(string)?;
        match first {
            0 => self.error(JsonErrorKind::Nul, "\\u0000 cannot be converted to text.".to_owned()),
            0xd800..0xdc00 => {
                if !self.text[self.at..].starts_with("\\u") {
                    return self.error(JsonErrorKind::Syntax, LONE_LOW.to_owned());
                }
                self.at += 2;
                let second = self.four_digits(string)?;
                if (0xd800..0xdc00).contains(&second) {
                    let detail = "Unicode high surrogate must not follow a high surrogate.".to_owned();
                    return self.error(JsonErrorKind::Syntax, detail);
                }
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
                let code = low.map(|low| 0x1_0000 + ((first - 0xd800) << 10) + low);
                let char = code.and_then(char::from_u32);
                char.map_or_else(|| self.error(JsonErrorKind::Syntax, LONE_LOW.to_owned()), Ok)
            }
            code => {
                let char = char::from_u32(code);
                char.map_or_else(|| self.error(JsonErrorKind::Syntax, LONE_LOW.to_owned()), Ok)
            }
        }
    }

    fn four_digits(&mut self, string: usize) -> Parsed<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(char) = self.text[self.at..].chars().next() else {
                return self.invalid_token(string);
            };
            let Some(digit) = char.to_digit(16) else {
                let detail = "\"\\u\" must be followed by four hexadecimal digits.".to_owned();
                return self.error(JsonErrorKind::Syntax, detail);
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn invalid_token<T>(&self, start: usize) -> Parsed<T> {
        let detail = format!("Token \"{}\" is invalid.", &self.text[start..self.at]);
        Err(Box::new(JsonError { kind: JsonErrorKind::Syntax, detail, offset: start }))
    }

    fn unexpected<T>(&self, token: Token, expected: &str) -> Parsed<T> {
        let detail = match token.kind {
            TokenKind::End => "The input string ended unexpectedly.".to_owned(),
            _ => format!("{expected} \"{}\".", &self.text[token.start..self.at]),
        };
        Err(Box::new(JsonError { kind: JsonErrorKind::Syntax, detail, offset: token.start }))
    }

    fn error<T>(&self, kind: JsonErrorKind, detail: String) -> Parsed<T> {
        Err(Box::new(JsonError { kind, detail, offset: self.at }))
    }
}

/// How many bytes stand before the first that ends a string or has a meaning in it. Looks at eight at once.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & TOPS;
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        // Bits of bytes behind the first that is meant may be wrong, and nobody looks at them.
        let found = is(b'"') | is(b'\\') | below(word, 0x20);
        if found != 0 {
            return nth * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
    words.len() * 8 + plain
}

/// `jsonb` orders keys by their length in bytes, then by their bytes.
fn key_order(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}
