//! Words, literals and operators of a query, one after the other (documentation of PostgreSQL 15, 4.1).

use crate::messagedb::error::{Sql, SqlError};

/// A piece of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name or key word without quotes, in lower case.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    /// A number as it stands.
    Number(String),
    /// The content of a string.
    Text(String),
    /// `$n`.
    Param(u16),
    /// `( ) [ ] , ; .`
    Mark(char),
    /// An operator, `::`, `:=` or `=>`.
    Operator(String),
    /// The query ends.
    End,
}

/// Cuts a query into tokens.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    sql: &'a str,
    at: usize,
}

const OPERATOR_BYTES: &[u8] = b"+-*/<>=~!@#%^&|`?";

impl<'a> Lexer<'a> {
    /// From the beginning.
    pub(crate) fn new(sql: &'a str) -> Self {
        Self { sql, at: 0 }
    }

    /// The query.
    pub(crate) fn sql(&self) -> &'a str {
        self.sql
    }

    fn rest(&self) -> &'a [u8] {
        &self.sql.as_bytes()[self.at..]
    }

    fn skip_space(&mut self) -> Sql<()> {
        loop {
            let rest = self.rest();
            match rest {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, ..] => self.at += 1,
                [b'-', b'-', ..] => {
                    self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                [b'/', b'*', ..] => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    /// Comments stand in each other.
    fn skip_comment(&mut self) -> Sql<()> {
        let (begin, mut depth) = (self.at, 0);
        loop {
            match self.rest() {
                [b'/', b'*', ..] => (depth, self.at) = (depth + 1, self.at + 2),
                [b'*', b'/', ..] => (depth, self.at) = (depth - 1, self.at + 2),
                [_, ..] => self.at += 1,
                [] => return Err(self.unterminated("/* comment", begin)),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn unterminated(&self, what: &str, begin: usize) -> Box<SqlError> {
        let near = &self.sql[begin..];
        SqlError::new("42601", format!("unterminated {what} at or near \"{near}\"")).at(begin)
    }

    /// The next token and where it begins and ends.
    pub(crate) fn next(&mut self) -> Sql<(Token, usize, usize)> {
        self.skip_space()?;
        let begin = self.at;
        let token = self.token(begin)?;
        Ok((token, begin, self.at))
    }

    fn token(&mut self, begin: usize) -> Sql<Token> {
        let rest = self.rest();
        Ok(match rest {
            [] => Token::End,
            [b'\'', ..] => Token::Text(self.string(begin, false)?),
            [b'e' | b'E', b'\'', ..] => {
                self.at += 1;
                Token::Text(self.string(begin, true)?)
            }
            [b'"', ..] => self.quoted(begin)?,
            [b'$', digit, ..] if digit.is_ascii_digit() => self.param()?,
            [b'$', ..] => self.dollar_string(begin)?,
            [b'0'..=b'9', ..] => self.number()?,
            [b'.', digit, ..] if digit.is_ascii_digit() => self.number()?,
            [mark @ (b'(' | b')' | b'[' | b']' | b',' | b';' | b'.'), ..] => {
                self.at += 1;
                Token::Mark(char::from(*mark))
            }
            [b':', b':' | b'=', ..] => {
                self.at += 2;
                Token::Operator(self.sql[begin..self.at].to_owned())
            }
            [b':', ..] => {
                self.at += 1;
                Token::Mark(':')
            }
            [byte, ..] if OPERATOR_BYTES.contains(byte) => Token::Operator(self.operator()),
            [byte, ..] if byte.is_ascii_alphabetic() || *byte == b'_' || *byte >= 0x80 => {
                self.at += rest.iter().take_while(|byte| is_in_word(**byte)).count();
                Token::Word(self.sql[begin..self.at].to_ascii_lowercase())
            }
            [_, ..] => {
                let near = char::from(rest[0]);
                let text = format!("syntax error at or near \"{near}\"");
                return Err(SqlError::new("42601", text).at(begin));
            }
        })
    }

    /// A string from its quote; `''` is a quote. Strings with only space and a new line between them are one.
    fn string(&mut self, begin: usize, escapes: bool) -> Sql<String> {
        let mut content = String::new();
        self.at += 1;
        loop {
            let rest = &self.sql[self.at..];
            let stop = |c: char| c == '\'' || (escapes && c == '\\');
            let Some(plain) = rest.find(stop) else {
                return Err(self.unterminated("quoted string", begin));
            };
            content.push_str(&rest[..plain]);
            self.at += plain + 1;
            if rest.as_bytes()[plain] == b'\\' {
                self.escape(&mut content, begin)?;
            } else if self.rest().first() == Some(&b'\'') {
                content.push('\'');
                self.at += 1;
            } else if !self.continues() {
                return Ok(content);
            }
        }
    }

    /// Whether another string follows on a new line; stands in it then.
    fn continues(&mut self) -> bool {
        let rest = self.rest();
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let more = rest[..space].contains(&b'\n') && rest.get(space) == Some(&b'\'');
        if more {
            self.at += space + 1;
        }
        more
    }

    /// What follows a backslash of `E'..'`.
    fn escape(&mut self, content: &mut String, begin: usize) -> Sql<()> {
        let Some(escaped) = self.sql[self.at..].chars().next() else {
            return Err(self.unterminated("quoted string", begin));
        };
        self.at += escaped.len_utf8();
        let digits = match escaped {
            'b' => {
                return {
                    content.push('\u{8}');
                    Ok(())
                };
            }
            'f' => {
                return {
                    content.push('\u{c}');
                    Ok(())
                };
            }
            'n' => {
                return {
                    content.push('\n');
                    Ok(())
                };
            }
            'r' => {
                return {
                    content.push('\r');
                    Ok(())
                };
            }
            't' => {
                return {
                    content.push('\t');
                    Ok(())
                };
            }
            'u' => 4,
            'U' => 8,
            'x' => 2,
            '0'..='7' => return Err(SqlError::not_served("an octal escape in a string").at(self.at)),
            other => {
                return {
                    content.push(other);
                    Ok(())
                };
            }
        };
        let hex = self.sql.get(self.at..self.at + digits);
        let decoded = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        match decoded.filter(|decoded| *decoded != '\0' && (digits > 2 || decoded.is_ascii())) {
            Some(decoded) => content.push(decoded),
            None => return Err(SqlError::new("22025", "invalid Unicode escape").at(self.at)),
        }
        self.at += digits;
        Ok(())
    }

    fn quoted(&mut self, begin: usize) -> Sql<Token> {
        let mut content = String::new();
        self.at += 1;
        loop {
            let rest = &self.sql[self.at..];
            let Some(plain) = rest.find('"') else {
                return Err(self.unterminated("quoted identifier", begin));
            };
            content.push_str(&rest[..plain]);
            self.at += plain + 1;
            if self.rest().first() != Some(&b'"') {
                break;
            }
            content.push('"');
            self.at += 1;
        }
        if content.is_empty() {
            return Err(
                SqlError::new("42601", "zero-length delimited identifier at or near \"\"\"\"").at(begin)
            );
        }
        Ok(Token::Quoted(content))
    }

    fn param(&mut self) -> Sql<Token> {
        let digits: String = self.rest()[1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .map(|byte| char::from(*byte))
            .collect();
        let begin = self.at;
        self.at += 1 + digits.len();
        match digits.parse() {
            Ok(number) => Ok(Token::Param(number)),
            Err(_) => Err(SqlError::new("42P02", format!("there is no parameter ${digits}")).at(begin)),
        }
    }

    /// `$tag$..$tag$`.
    fn dollar_string(&mut self, begin: usize) -> Sql<Token> {
        let rest = &self.sql[begin..];
        let tag = rest[1..].find('$').map(|end| &rest[..end + 2]);
        let word = |tag: &&str| {
            tag[1..tag.len() - 1].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let Some(tag) = tag.filter(word) else {
            return Err(SqlError::new("42601", "syntax error at or near \"$\"").at(begin));
        };
        let content = &rest[tag.len()..];
        let Some(end) = content.find(tag) else {
            return Err(self.unterminated("dollar-quoted string", begin));
        };
        self.at += 2 * tag.len() + end;
        Ok(Token::Text(content[..end].to_owned()))
    }

    fn number(&mut self) -> Sql<Token> {
        let begin = self.at;
        let bytes = self.sql.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut at = digits(begin);
        if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
            at = digits(at + 1);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let end = digits(at + 1 + sign);
            if end > at + 1 + sign {
                at = end;
            }
        }
        self.at = at;
        let junk = self.rest().iter().take_while(|byte| is_in_word(**byte)).count();
        if junk > 0 {
            let near = &self.sql[begin..at + junk];
            let text = format!("trailing junk after numeric literal at or near \"{near}\"");
            return Err(SqlError::new("42601", text).at(begin));
        }
        Ok(Token::Number(self.sql[begin..at].to_owned()))
    }

    /// The longest operator; a `+` or `-` ends none unless it holds a character that no operator of standard SQL
    /// does (4.1.3).
    fn operator(&mut self) -> String {
        let rest = self.rest();
        let mut length = rest.iter().take_while(|byte| OPERATOR_BYTES.contains(byte)).count();
        for at in 1..length {
            if matches!(rest[at..], [b'-', b'-', ..] | [b'/', b'*', ..]) {
                length = at;
                break;
            }
        }
        let own = |byte: &u8| b"~!@#%^&|`?".contains(byte);
        while length > 1 && matches!(rest[length - 1], b'+' | b'-') && !rest[..length].iter().any(own) {
            length -= 1;
        }
        let begin = self.at;
        self.at += length;
        let text = &self.sql[begin..self.at];
        if text == "!=" { "<>".to_owned() } else { text.to_owned() }
    }
}

/// Whether a byte may stand in a name behind its first.
fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}
