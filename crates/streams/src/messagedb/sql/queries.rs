//! SELECT and INSERT.

use super::lexer::Token;
use super::parser::Parser;
use super::tree::{From, Insert, Item, Order, Relation, Select};
use crate::messagedb::error::{Sql, SqlError};

/// Words behind an item of a list that are no name of it.
const ENDS_ITEM: &[&str] = &[
    "from",
    "where",
    "group",
    "having",
    "window",
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "into",
    "as",
    "and",
    "or",
    "not",
    "in",
    "is",
    "like",
    "ilike",
    "between",
    "on",
];

/// Words behind a table that are no name of it.
const ENDS_FROM: &[&str] = &[
    "where",
    "group",
    "having",
    "window",
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "on",
    "using",
    "returning",
    "tablesample",
];

impl Parser<'_> {
    pub(super) fn select(&mut self) -> Sql<Select> {
        self.take()?;
        let mut select = Select::default();
        if self.word("distinct")? {
            if self.is_word("on") {
                return Err(SqlError::not_served("`DISTINCT ON`").at(self.at));
            }
            select.distinct = true;
        } else {
            self.word("all")?;
        }
        let ends = self.is_mark(';') || self.token == Token::End || self.is_word("from");
        select.items = if ends { Vec::new() } else { self.items()? };
        if self.word("from")? {
            select.from = Some(self.from()?);
        }
        if self.word("where")? {
            select.filter = Some(self.expr()?);
        }
        for (word, what) in [
            ("group", "`GROUP BY`"),
            ("having", "`HAVING`"),
            ("window", "`WINDOW`"),
            ("union", "`UNION`"),
            ("intersect", "`INTERSECT`"),
            ("except", "`EXCEPT`"),
            ("into", "`SELECT INTO`"),
        ] {
            if self.is_word(word) {
                return Err(SqlError::not_served(what).at(self.at));
            }
        }
        if self.word("order")? {
            self.words(&["by"])?;
            loop {
                select.order.push(self.order()?);
                if !self.mark(',')? {
                    break;
                }
            }
        }
        self.bounds(&mut select)?;
        if self.word("for")? {
            // FOR SHARE and FOR UPDATE lock rows that nobody can change here.
            self.skip()?;
        }
        Ok(select)
    }

    fn order(&mut self) -> Sql<Order> {
        let value = self.expr()?;
        let descending = self.word("desc")?;
        if !descending {
            self.word("asc")?;
        }
        let mut nulls_first = descending;
        if self.word("nulls")? {
            nulls_first = self.word("first")?;
            if !nulls_first {
                self.words(&["last"])?;
            }
        }
        Ok(Order { value, descending, nulls_first })
    }

    /// `LIMIT` and `OFFSET` in any order, and `FETCH FIRST n ROWS ONLY`.
    fn bounds(&mut self, select: &mut Select) -> Sql<()> {
        loop {
            if self.word("limit")? {
                if !self.word("all")? {
                    select.limit = Some(self.expr()?);
                }
            } else if self.word("offset")? {
                select.offset = Some(self.expr()?);
                if !self.word("rows")? {
                    self.word("row")?;
                }
            } else if self.word("fetch")? {
                if !self.word("first")? {
                    self.words(&["next"])?;
                }
                select.limit = Some(self.expr()?);
                if !self.word("rows")? {
                    self.words(&["row"])?;
                }
                self.words(&["only"])?;
            } else {
                return Ok(());
            }
        }
    }

    fn items(&mut self) -> Sql<Vec<Item>> {
        let mut items = Vec::new();
        loop {
            items.push(self.item()?);
            if !self.mark(',')? {
                return Ok(items);
            }
        }
    }

    fn item(&mut self) -> Sql<Item> {
        let at = self.at;
        if self.operator("*")? {
            return Ok(Item::All(None, at));
        }
        if let Some(table) = self.all_of()? {
            return Ok(Item::All(Some(table), at));
        }
        let value = self.expr()?;
        let name = if self.word("as")? {
            Some(self.label()?)
        } else {
            let follows = match &self.token {
                Token::Quoted(_) => true,
                Token::Word(word) => !ENDS_ITEM.contains(&word.as_str()),
                _ => false,
            };
            if follows { Some(self.label()?) } else { None }
        };
        Ok(Item::One { value, name })
    }

    /// `table.*`, if it stands on one.
    fn all_of(&mut self) -> Sql<Option<String>> {
        if !matches!(self.token, Token::Word(_) | Token::Quoted(_)) || self.peek()? != Token::Mark('.') {
            return Ok(None);
        }
        let mut ahead = self.ahead();
        ahead.next()?;
        let star = matches!(ahead.next()?.0, Token::Operator(operator) if operator == "*");
        if !star {
            return Ok(None);
        }
        let table = self.name()?;
        self.take()?;
        self.take()?;
        Ok(Some(table))
    }

    fn from(&mut self) -> Sql<From> {
        let at = self.at;
        if self.is_mark('(') {
            return Err(SqlError::not_served("a query within a query").at(at));
        }
        self.word("only")?;
        let name = self.qualified()?;
        let what = if self.is_mark('(') {
            Relation::Function(Box::new(self.call_args(name)?))
        } else {
            Relation::Table(name)
        };
        let named = self.word("as")?;
        let follows = match &self.token {
            Token::Quoted(_) => true,
            Token::Word(word) => named || !ENDS_FROM.contains(&word.as_str()),
            _ => false,
        };
        let alias = if follows { Some(self.label()?) } else { None };
        if self.is_mark(',')
            || ["join", "inner", "left", "right", "full", "cross", "natural"]
                .iter()
                .any(|word| self.is_word(word))
        {
            return Err(SqlError::not_served("a join").at(self.at));
        }
        Ok(From { at, what, alias })
    }

    pub(super) fn insert(&mut self) -> Sql<Insert> {
        self.take()?;
        self.words(&["into"])?;
        let at = self.at;
        let table = self.qualified()?;
        let mut columns = Vec::new();
        if self.mark('(')? {
            loop {
                let at = self.at;
                columns.push((self.label()?, at));
                if !self.mark(',')? {
                    break;
                }
            }
            self.expect_mark(')')?;
        }
        if self.is_word("select") || self.is_word("default") || self.is_word("overriding") {
            return Err(SqlError::not_served("`INSERT` of anything but VALUES").at(self.at));
        }
        self.words(&["values"])?;
        let mut rows = Vec::new();
        loop {
            self.expect_mark('(')?;
            let mut row = Vec::new();
            loop {
                row.push(if self.word("default")? { None } else { Some(self.expr()?) });
                if !self.mark(',')? {
                    break;
                }
            }
            self.expect_mark(')')?;
            rows.push(row);
            if !self.mark(',')? {
                break;
            }
        }
        if self.is_word("on") {
            return Err(SqlError::not_served("`ON CONFLICT`").at(self.at));
        }
        let returning = if self.word("returning")? { self.items()? } else { Vec::new() };
        Ok(Insert { at, table, columns, rows, returning })
    }
}
