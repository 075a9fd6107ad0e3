//! What operators stand between: literals, columns, calls, and what SQL spells with words of its own.

use super::lexer::Token;
use super::parser::{Parser, RESERVED};
use super::tree::{Arg, Call, Expr, Kind, Name};
use crate::messagedb::error::{Sql, SqlError};

/// Functions without parentheses.
const BARE: &[&str] = &[
    "current_user",
    "session_user",
    "user",
    "current_catalog",
    "current_schema",
    "current_role",
    "current_date",
    "current_timestamp",
    "localtimestamp",
];

/// Names of types of two words and more, by their first.
const LONG_TYPES: &[(&str, &[&str])] = &[
    ("character", &["varying"]),
    ("double", &["precision"]),
    ("timestamp", &["with", "time", "zone"]),
    ("timestamp", &["without", "time", "zone"]),
];

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Sql<Expr> {
        let at = self.at;
        match &self.token {
            Token::Number(_) | Token::Text(_) | Token::Param(_) => {
                let kind = match self.take()? {
                    Token::Number(digits) => Kind::Number(digits),
                    Token::Text(text) => Kind::Text(text),
                    Token::Param(number) => Kind::Param(number),
                    _ => return Err(self.unexpected()),
                };
                self.node(at, kind, 0)
            }
            Token::Mark('(') => {
                self.take()?;
                if self.is_word("select") {
                    return Err(SqlError::not_served("a query within a query").at(at));
                }
                let inner = self.expr()?;
                if self.is_mark(',') {
                    return Err(SqlError::not_served("a row of values").at(at));
                }
                self.expect_mark(')')?;
                Ok(inner)
            }
            Token::Word(word) => {
                let word = word.clone();
                self.word_primary(at, &word)
            }
            Token::Quoted(_) => self.named(at),
            _ => Err(self.unexpected()),
        }
    }

    fn word_primary(&mut self, at: usize, word: &str) -> Sql<Expr> {
        let next = self.peek()?;
        let called = next == Token::Mark('(');
        match word {
            "null" | "true" | "false" => {
                self.take()?;
                let kind = if word == "null" { Kind::Null } else { Kind::Bool(word == "true") };
                self.node(at, kind, 0)
            }
            "case" => self.case(at),
            "exists" | "array" | "row" if called || next == Token::Mark('[') => {
                Err(SqlError::not_served(format!("`{word}`")).at(at))
            }
            "cast" if called => {
                self.take()?;
                self.expect_mark('(')?;
                let value = self.expr()?;
                self.words(&["as"])?;
                let name = self.type_name()?;
                self.expect_mark(')')?;
                self.after(at, value, |value| Kind::Cast(value, name))
            }
            "position" | "substring" | "extract" | "trim" if called => self.spoken(at, word),
            _ if BARE.contains(&word) && !called => {
                self.take()?;
                self.call(at, word, Vec::new())
            }
            // `interval '1 day'`, `timestamp '..'`: a literal of a type.
            _ if matches!(next, Token::Text(_)) && !RESERVED.contains(&word) => {
                self.take()?;
                let literal = self.at;
                let Token::Text(text) = self.take()? else { return Err(self.unexpected()) };
                let value = self.node(literal, Kind::Text(text), 0)?;
                let name = word.to_owned();
                self.after(at, value, |value| Kind::Cast(value, name))
            }
            _ => self.named(at),
        }
    }

    /// A column or a call.
    fn named(&mut self, at: usize) -> Sql<Expr> {
        let name = self.name()?;
        let (schema, name) = if self.is_mark('.') {
            self.take()?;
            (Some(name), self.label()?)
        } else {
            (None, name)
        };
        if self.is_mark('(') {
            let call = self.call_args(Name { schema, name })?;
            let below = call.args.iter().map(|arg| arg.value.depth).max().unwrap_or(0);
            return self.node(at, Kind::Call(Box::new(call)), below);
        }
        if self.mark('.')? {
            // A column with the schema of its table.
            let column = self.label()?;
            if schema.as_deref() == Some("message_store") {
                return self.node(at, Kind::Column(Some(name), column), 0);
            }
            let text = format!("missing FROM-clause entry for table \"{name}\"");
            return Err(SqlError::new("42P01", text).at(at));
        }
        self.node(at, Kind::Column(schema, name), 0)
    }

    /// The arguments of a call, from its parenthesis.
    pub(super) fn call_args(&mut self, function: Name) -> Sql<Call> {
        self.expect_mark('(')?;
        let mut call = Call { function, args: Vec::new(), star: false, distinct: false };
        if self.operator("*")? {
            call.star = true;
        } else if !self.is_mark(')') {
            call.distinct = self.word("distinct")?;
            loop {
                let named = matches!(&self.token, Token::Word(_) | Token::Quoted(_))
                    && matches!(self.peek()?, Token::Operator(next) if next == "=>" || next == ":=");
                let name = if named { Some(self.label()?) } else { None };
                if named {
                    self.take()?;
                } else if call.args.last().is_some_and(|last| last.name.is_some()) {
                    let text = "positional argument cannot follow named argument";
                    return Err(SqlError::new("42601", text).at(self.at));
                }
                let value = self.expr()?;
                call.args.push(Arg { name, value });
                if !self.mark(',')? {
                    break;
                }
            }
        }
        self.expect_mark(')')?;
        if self.is_word("over") || self.is_word("filter") {
            return Err(SqlError::not_served("a window or a filter of an aggregate").at(self.at));
        }
        Ok(call)
    }

    /// Functions that SQL spells with words between their arguments.
    fn spoken(&mut self, at: usize, word: &str) -> Sql<Expr> {
        self.take()?;
        self.expect_mark('(')?;
        let (name, args) = match word {
            "position" => {
                let part = self.custom()?;
                self.words(&["in"])?;
                ("position", vec![self.expr()?, part])
            }
            "extract" => {
                let field = match &self.token {
                    Token::Word(text) | Token::Text(text) => text.to_ascii_lowercase(),
                    _ => return Err(self.unexpected()),
                };
                let field = self.node(self.at, Kind::Text(field), 0)?;
                self.take()?;
                self.words(&["from"])?;
                ("extract", vec![field, self.expr()?])
            }
            "trim" => {
                let side = ["leading", "trailing", "both"].into_iter().find(|side| self.is_word(side));
                if side.is_some() {
                    self.take()?;
                }
                let mut args = if self.is_word("from") { Vec::new() } else { vec![self.expr()?] };
                if self.word("from")? {
                    args.insert(0, self.expr()?);
                } else if self.mark(',')? {
                    args.push(self.expr()?);
                }
                let name = match side {
                    Some("leading") => "ltrim",
                    Some("trailing") => "rtrim",
                    _ => "btrim",
                };
                (name, args)
            }
            _ => {
                let mut args = vec![self.expr()?];
                if self.mark(',')? {
                    args.push(self.expr()?);
                    if self.mark(',')? {
                        args.push(self.expr()?);
                    }
                } else {
                    let from = if self.word("from")? { Some(self.expr()?) } else { None };
                    let length = if self.word("for")? { Some(self.expr()?) } else { None };
                    let first = self.node(at, Kind::Number("1".to_owned()), 0)?;
                    args.push(from.unwrap_or(first));
                    args.extend(length);
                }
                ("substring", args)
            }
        };
        self.expect_mark(')')?;
        self.call(at, name, args)
    }

    fn case(&mut self, at: usize) -> Sql<Expr> {
        self.take()?;
        let operand = if self.is_word("when") { None } else { Some(Box::new(self.expr()?)) };
        let mut whens = Vec::new();
        while self.word("when")? {
            let when = self.expr()?;
            self.words(&["then"])?;
            whens.push((when, self.expr()?));
        }
        if whens.is_empty() {
            return Err(self.unexpected());
        }
        let otherwise = if self.word("else")? { Some(Box::new(self.expr()?)) } else { None };
        self.words(&["end"])?;
        let parts = whens.iter().flat_map(|(when, then)| [when.depth, then.depth]);
        let others = [&operand, &otherwise].into_iter().flatten().map(|expr| expr.depth);
        let below = parts.chain(others).max().unwrap_or(0);
        self.node(at, Kind::Case { operand, whens, otherwise }, below)
    }

    /// The name of a type, in lower case, without its length.
    pub(super) fn type_name(&mut self) -> Sql<String> {
        let first = match self.qualified()? {
            Name { schema: Some(schema), name } if schema == "pg_catalog" => name,
            Name { schema: Some(schema), name } => format!("{schema}.{name}"),
            Name { schema: None, name } => name,
        };
        if self.is_mark('(') {
            self.take()?;
            self.list(')')?;
            self.expect_mark(')')?;
        }
        for (word, rest) in LONG_TYPES {
            if first == *word && self.is_word(rest[0]) {
                self.words(rest)?;
                return Ok(format!("{word} {}", rest.join(" ")));
            }
        }
        if self.is_mark('[') {
            return Err(SqlError::not_served("an array").at(self.at));
        }
        Ok(first)
    }

    /// Expressions up to a mark, which is left.
    pub(super) fn list(&mut self, end: char) -> Sql<Vec<Expr>> {
        let mut list = Vec::new();
        if self.is_mark(end) {
            return Ok(list);
        }
        loop {
            list.push(self.expr()?);
            if !self.mark(',')? {
                return Ok(list);
            }
        }
    }
}
