//! Where a parser stands in its query: tokens, names, and the bounds on what is built of them.

use super::lexer::{Lexer, Token};
use super::tree::{Arg, Call, Expr, Kind, Name};
use super::{DEPTH_MAX, NODES_MAX};
use crate::messagedb::error::{Sql, SqlError};

/// Words that begin no expression and name no column (appendix C: reserved).
pub(super) const RESERVED: &[&str] = &[
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

/// Reads a query token by token.
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    pub(super) token: Token,
    pub(super) at: usize,
    end: usize,
    nodes: usize,
    pub(super) nesting: usize,
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

    pub(super) fn is_operator(&self, operator: &str) -> bool {
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

    pub(super) fn node(&mut self, at: usize, kind: Kind, below: usize) -> Sql<Expr> {
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

    pub(super) fn call(&mut self, at: usize, name: &str, args: Vec<Expr>) -> Sql<Expr> {
        let below = args.iter().map(|arg| arg.depth).max().unwrap_or(0);
        let args = args.into_iter().map(|value| Arg { name: None, value }).collect();
        let function = Name { schema: None, name: name.to_owned() };
        self.node(at, Kind::Call(Box::new(Call { function, args, star: false, distinct: false })), below)
    }
}

pub(super) fn too_deep() -> Box<SqlError> {
    SqlError::new("54001", "stack depth limit exceeded")
        .hint(format!("expressions here stand in each other at most {DEPTH_MAX} deep"))
}
