//! Expressions, by the strength of their operators (documentation of PostgreSQL 15, 4.1.6).

use super::lexer::{Lexer, Token};
use super::tree::{Arg, Call, Expr, Kind, Name};
use super::{DEPTH_MAX, NODES_MAX};
use crate::messagedb::error::{Sql, SqlError};
use std::borrow::Cow;

/// Words that begin no expression and name no column (appendix C: reserved).
const RESERVED: &[&str] = &[
    "all",
    "and",
    "as",
    "asc",
    "both",
    "check",
    "collate",
    "constraint",
    "create",
    "default",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "into",
    "intersect",
    "leading",
    "limit",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "primary",
    "references",
    "returning",
    "select",
    "table",
    "then",
    "to",
    "trailing",
    "union",
    "unique",
    "using",
    "when",
    "where",
    "window",
    "with",
];

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

/// Reads a query token by token.
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    pub(super) token: Token,
    pub(super) at: usize,
    end: usize,
    nodes: usize,
    nesting: usize,
}

/// Reads a condition as Message DB does, which puts it in parentheses.
pub(crate) fn parse_condition(text: &str) -> Sql<Expr> {
    let wrapped = format!("({text})");
    let mut parser = Parser::new(&wrapped)?;
    let expr = parser.expr()?;
    match parser.token {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected()),
    }
}

impl<'a> Parser<'a> {
    pub(super) fn new(sql: &'a str) -> Sql<Self> {
        let mut lexer = Lexer::new(sql);
        let (token, at, end) = lexer.next()?;
        Ok(Self { lexer, token, at, end, nodes: 0, nesting: 0 })
    }

    /// Goes on to the next token and answers the one it stood on.
    pub(super) fn take(&mut self) -> Sql<Token> {
        let (token, at, end) = self.lexer.next()?;
        (self.at, self.end) = (at, end);
        Ok(std::mem::replace(&mut self.token, token))
    }

    /// The token behind this one.
    pub(super) fn peek(&self) -> Sql<Token> {
        Ok(self.lexer.clone().next()?.0)
    }

    /// The rest of the query behind this token.
    pub(super) fn ahead(&self) -> Lexer<'a> {
        self.lexer.clone()
    }

    pub(super) fn unexpected(&self) -> Box<SqlError> {
        match self.token {
            Token::End => SqlError::new("42601", "syntax error at end of input").at(self.at),
            _ => {
                let near = &self.lexer.sql()[self.at..self.end];
                SqlError::new("42601", format!("syntax error at or near \"{near}\"")).at(self.at)
            }
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(token) if token == word)
    }

    pub(super) fn is_mark(&self, mark: char) -> bool {
        self.token == Token::Mark(mark)
    }

    fn is_operator(&self, operator: &str) -> bool {
        matches!(&self.token, Token::Operator(token) if token == operator)
    }

    /// Whether it stood on this word, and goes on then.
    pub(super) fn word(&mut self, word: &str) -> Sql<bool> {
        let is = self.is_word(word);
        if is {
            self.take()?;
        }
        Ok(is)
    }

    pub(super) fn words(&mut self, words: &[&str]) -> Sql<()> {
        words.iter().try_for_each(|word| if self.word(word)? { Ok(()) } else { Err(self.unexpected()) })
    }

    pub(super) fn mark(&mut self, mark: char) -> Sql<bool> {
        let is = self.is_mark(mark);
        if is {
            self.take()?;
        }
        Ok(is)
    }

    pub(super) fn expect_mark(&mut self, mark: char) -> Sql<()> {
        if self.mark(mark)? { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn operator(&mut self, operator: &str) -> Sql<bool> {
        let is = self.is_operator(operator);
        if is {
            self.take()?;
        }
        Ok(is)
    }

    /// A name: quoted, or a word that is not reserved.
    pub(super) fn name(&mut self) -> Sql<String> {
        match &self.token {
            Token::Quoted(_) => {}
            Token::Word(word) if !RESERVED.contains(&word.as_str()) => {}
            _ => return Err(self.unexpected()),
        }
        match self.take()? {
            Token::Quoted(name) | Token::Word(name) => Ok(name),
            _ => Err(self.unexpected()),
        }
    }

    /// A name after `AS`, where every word goes.
    pub(super) fn label(&mut self) -> Sql<String> {
        match self.token {
            Token::Quoted(_) | Token::Word(_) => match self.take()? {
                Token::Quoted(name) | Token::Word(name) => Ok(name),
                _ => Err(self.unexpected()),
            },
            _ => Err(self.unexpected()),
        }
    }

    /// A name and its schema.
    pub(super) fn qualified(&mut self) -> Sql<Name> {
        let first = self.name()?;
        if self.mark('.')? {
            return Ok(Name { schema: Some(first), name: self.label()? });
        }
        Ok(Name { schema: None, name: first })
    }

    fn node(&mut self, at: usize, kind: Kind, below: usize) -> Sql<Expr> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(SqlError::new("54001", "statement too complex")
                .hint(format!("a query here has at most {NODES_MAX} expressions")));
        }
        if below >= DEPTH_MAX {
            return Err(too_deep());
        }
        Ok(Expr { at, depth: below + 1, kind })
    }

    /// An expression.
    pub(super) fn expr(&mut self) -> Sql<Expr> {
        self.nesting += 1;
        if self.nesting > DEPTH_MAX {
            return Err(too_deep());
        }
        let expr = self.or();
        self.nesting -= 1;
        expr
    }

    fn or(&mut self) -> Sql<Expr> {
        self.chain("or", Kind::Or, Self::and)
    }

    fn and(&mut self) -> Sql<Expr> {
        self.chain("and", Kind::And, Self::not)
    }

    fn chain(
        &mut self,
        word: &str,
        kind: fn(Vec<Expr>) -> Kind,
        next: fn(&mut Self) -> Sql<Expr>,
    ) -> Sql<Expr> {
        let first = next(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let at = first.at;
        let mut parts = vec![first];
        while self.word(word)? {
            parts.push(next(self)?);
        }
        let below = parts.iter().map(|part| part.depth).max().unwrap_or(0);
        self.node(at, kind(parts), below)
    }

    fn not(&mut self) -> Sql<Expr> {
        let at = self.at;
        let mut negations = 0_usize;
        while self.word("not")? {
            negations += 1;
        }
        let mut expr = self.is()?;
        // Two make a truth value of it, and so do four.
        let left = if negations > 2 { 2 - negations % 2 } else { negations };
        for _ in 0..left {
            expr = self.after(at, expr, Kind::Not)?;
        }
        Ok(expr)
    }

    /// `IS ..`, which binds weaker than comparisons.
    fn is(&mut self) -> Sql<Expr> {
        let mut expr = self.comparison()?;
        loop {
            let at = self.at;
            if self.word("isnull")? {
                expr = self.after(at, expr, |value| Kind::IsNull { value, not: false })?;
                continue;
            }
            if self.word("notnull")? {
                expr = self.after(at, expr, |value| Kind::IsNull { value, not: true })?;
                continue;
            }
            if !self.word("is")? {
                return Ok(expr);
            }
            let not = self.word("not")?;
            if self.word("null")? {
                expr = self.after(at, expr, |value| Kind::IsNull { value, not })?;
            } else if self.word("unknown")? {
                expr = self.after(at, expr, |value| Kind::IsNull { value, not })?;
            } else if self.word("true")? {
                expr = self.after(at, expr, |value| Kind::IsBool { value, wanted: true, not })?;
            } else if self.word("false")? {
                expr = self.after(at, expr, |value| Kind::IsBool { value, wanted: false, not })?;
            } else if self.word("distinct")? {
                self.words(&["from"])?;
                let right = self.comparison()?;
                let below = expr.depth.max(right.depth);
                let (left, right) = (Box::new(expr), Box::new(right));
                expr = self.node(at, Kind::IsDistinct { left, right, not }, below)?;
            } else {
                return Err(self.unexpected());
            }
        }
    }

    fn after(&mut self, at: usize, expr: Expr, kind: impl FnOnce(Box<Expr>) -> Kind) -> Sql<Expr> {
        let below = expr.depth;
        self.node(at, kind(Box::new(expr)), below)
    }

    fn comparison(&mut self) -> Sql<Expr> {
        let left = self.membership()?;
        let Token::Operator(operator) = &self.token else { return Ok(left) };
        let Some(operator) = known(operator, &["=", "<>", "<", ">", "<=", ">="]) else { return Ok(left) };
        let at = self.at;
        self.take()?;
        let right = self.membership()?;
        // Comparisons do not chain: the next one is unexpected.
        self.binary(at, operator, left, right)
    }

    fn binary(&mut self, at: usize, operator: Cow<'static, str>, left: Expr, right: Expr) -> Sql<Expr> {
        let below = left.depth.max(right.depth);
        self.node(at, Kind::Between(operator, Box::new(left), Box::new(right)), below)
    }

    /// `BETWEEN`, `IN`, `LIKE` and their opposites.
    fn membership(&mut self) -> Sql<Expr> {
        let value = self.custom()?;
        let at = self.at;
        let not = self.is_word("not");
        if not {
            let next = self.peek()?;
            let begins =
                |words: &[&str]| matches!(&next, Token::Word(word) if words.contains(&word.as_str()));
            if !begins(&["in", "like", "ilike", "between"]) {
                return Ok(value);
            }
            self.take()?;
        }
        if self.word("in")? {
            self.expect_mark('(')?;
            if self.is_word("select") {
                return Err(SqlError::not_served("a query within a query").at(self.at));
            }
            let list = self.list(')')?;
            if list.is_empty() {
                return Err(self.unexpected());
            }
            self.expect_mark(')')?;
            let below = list.iter().map(|expr| expr.depth).max().unwrap_or(0).max(value.depth);
            return self.node(at, Kind::In { value: Box::new(value), list, not }, below);
        }
        let any_case = self.is_word("ilike");
        if any_case || self.is_word("like") {
            self.take()?;
            let pattern = self.custom()?;
            let below = value.depth.max(pattern.depth);
            let (value, pattern) = (Box::new(value), Box::new(pattern));
            return self.node(at, Kind::Like { value, pattern, not, any_case }, below);
        }
        if self.word("between")? {
            let low = self.custom()?;
            self.words(&["and"])?;
            let high = self.custom()?;
            let from = self.binary(at, Cow::Borrowed(">="), value.clone(), low)?;
            let to = self.binary(at, Cow::Borrowed("<="), value, high)?;
            let below = from.depth.max(to.depth);
            let both = self.node(at, Kind::And(vec![from, to]), below)?;
            return if not { self.after(at, both, Kind::Not) } else { Ok(both) };
        }
        Ok(value)
    }

    /// Every other operator: `||`, `->`, `->>`, `@>` and their like.
    fn custom(&mut self) -> Sql<Expr> {
        let mut left = self.sum()?;
        loop {
            let Token::Operator(token) = &self.token else { return Ok(left) };
            if ["=", "<>", "<", ">", "<=", ">=", "=>", "::", ":=", "+", "-", "*", "/", "%"]
                .contains(&token.as_str())
            {
                return Ok(left);
            }
            let operator = known(token, &["||", "->", "->>", "@>", "<@", "?", "#>", "#>>", "~~", "!~~"])
                .unwrap_or_else(|| Cow::Owned(token.clone()));
            let at = self.at;
            self.take()?;
            let right = self.sum()?;
            left = self.binary(at, operator, left, right)?;
        }
    }

    fn sum(&mut self) -> Sql<Expr> {
        self.left_to_right(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Sql<Expr> {
        self.left_to_right(&["*", "/", "%"], Self::zoned)
    }

    fn left_to_right(&mut self, operators: &[&'static str], next: fn(&mut Self) -> Sql<Expr>) -> Sql<Expr> {
        let mut left = next(self)?;
        loop {
            let Token::Operator(token) = &self.token else { return Ok(left) };
            let Some(operator) = known(token, operators) else { return Ok(left) };
            let at = self.at;
            self.take()?;
            let right = next(self)?;
            left = self.binary(at, operator, left, right)?;
        }
    }

    /// `AT TIME ZONE`.
    fn zoned(&mut self) -> Sql<Expr> {
        let mut value = self.signed()?;
        while self.is_word("at") {
            let at = self.at;
            self.take()?;
            self.words(&["time", "zone"])?;
            let zone = self.signed()?;
            value = self.call(at, "timezone", vec![zone, value])?;
        }
        Ok(value)
    }

    fn call(&mut self, at: usize, name: &str, args: Vec<Expr>) -> Sql<Expr> {
        let below = args.iter().map(|arg| arg.depth).max().unwrap_or(0);
        let args = args.into_iter().map(|value| Arg { name: None, value }).collect();
        let function = Name { schema: None, name: name.to_owned() };
        self.node(at, Kind::Call(Box::new(Call { function, args, star: false, distinct: false })), below)
    }

    fn signed(&mut self) -> Sql<Expr> {
        let at = self.at;
        let operator = match &self.token {
            Token::Operator(token) if matches!(token.as_str(), "-" | "+" | "@") => Cow::Owned(token.clone()),
            _ => return self.cast(),
        };
        self.take()?;
        self.nesting += 1;
        if self.nesting > DEPTH_MAX {
            return Err(too_deep());
        }
        let value = self.signed()?;
        self.nesting -= 1;
        // The sign belongs to the number, so that the smallest bigint can be written.
        if let ("-", Kind::Number(digits)) = (&*operator, &value.kind) {
            let digits = format!("-{digits}");
            return self.node(at, Kind::Number(digits), 0);
        }
        let below = value.depth;
        self.node(at, Kind::Before(operator, Box::new(value)), below)
    }

    /// `value::type`.
    fn cast(&mut self) -> Sql<Expr> {
        let mut value = self.primary()?;
        while self.is_operator("::") {
            let at = self.at;
            self.take()?;
            let name = self.type_name()?;
            value = self.after(at, value, |value| Kind::Cast(value, name))?;
        }
        Ok(value)
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
    fn list(&mut self, end: char) -> Sql<Vec<Expr>> {
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

    fn primary(&mut self) -> Sql<Expr> {
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
}

fn too_deep() -> Box<SqlError> {
    SqlError::new("54001", "stack depth limit exceeded")
        .hint(format!("expressions here stand in each other at most {DEPTH_MAX} deep"))
}

fn known(operator: &str, among: &[&'static str]) -> Option<Cow<'static, str>> {
    among.iter().find(|known| **known == operator).map(|known| Cow::Borrowed(*known))
}
