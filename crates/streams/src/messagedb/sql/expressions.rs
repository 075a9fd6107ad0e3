//! Expressions, by the strength of their operators (documentation of PostgreSQL 15, 4.1.6).

use super::DEPTH_MAX;
use super::lexer::Token;
use super::parser::{Parser, too_deep};
use super::tree::{Expr, Kind};
use crate::messagedb::error::{Sql, SqlError};
use std::borrow::Cow;

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

impl Parser<'_> {
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

    pub(super) fn after(&mut self, at: usize, expr: Expr, kind: impl FnOnce(Box<Expr>) -> Kind) -> Sql<Expr> {
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
    pub(super) fn custom(&mut self) -> Sql<Expr> {
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
            let digits = digits.strip_prefix('-').map_or_else(|| format!("-{digits}"), str::to_owned);
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
}

fn known(operator: &str, among: &[&'static str]) -> Option<Cow<'static, str>> {
    among.iter().find(|known| **known == operator).map(|known| Cow::Borrowed(*known))
}
