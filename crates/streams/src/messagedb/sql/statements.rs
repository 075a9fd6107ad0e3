//! Statements, from `SELECT` to what is only recognised.

use super::QUERY_BYTES_MAX;
use super::lexer::Token;
use super::parser::Parser;
use super::tree::{Name, Statement};
use crate::messagedb::error::{Sql, SqlError};

/// Reads the statements of a query, each with where it begins.
pub(crate) fn parse(sql: &str) -> Sql<Vec<Statement>> {
    if sql.len() > QUERY_BYTES_MAX {
        return Err(SqlError::new("54000", "query is too long")
            .hint(format!("a query here has at most {QUERY_BYTES_MAX} bytes")));
    }
    let mut parser = Parser::new(sql)?;
    let mut statements = Vec::new();
    loop {
        while parser.mark(';')? {}
        if parser.token == Token::End {
            return Ok(statements);
        }
        statements.push(parser.statement()?);
        if parser.token != Token::End && !parser.is_mark(';') {
            return Err(parser.unexpected());
        }
    }
}

/// What would change or remove what was written: PostgreSQL's answer to the role `message_store`.
const DENIED: &[(&str, &str)] =
    &[("update", "permission denied for table messages"), ("delete", "permission denied for table messages")];

/// Statements that exist in PostgreSQL and not here, by their first word.
const NOT_SERVED: &[&str] = &[
    "alter",
    "analyze",
    "call",
    "checkpoint",
    "close",
    "cluster",
    "comment",
    "copy",
    "declare",
    "drop",
    "execute",
    "explain",
    "fetch",
    "import",
    "load",
    "lock",
    "merge",
    "move",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "security",
    "table",
    "vacuum",
    "values",
    "with",
];

/// Statements of Message DB's installation (its folder `database`), by their first words and their tag. What they
/// make is there already.
const INSTALL: &[(&[&str], &str)] = &[
    (&["create", "role"], "CREATE ROLE"),
    (&["create", "user"], "CREATE ROLE"),
    (&["create", "schema"], "CREATE SCHEMA"),
    (&["create", "extension"], "CREATE EXTENSION"),
    (&["create", "database"], "CREATE DATABASE"),
    (&["create", "type", "message_store", ".", "message"], "CREATE TYPE"),
    (&["create", "table", "message_store", ".", "messages"], "CREATE TABLE"),
    (&["create", "table", "if", "not", "exists", "message_store", ".", "messages"], "CREATE TABLE"),
    (&["create", "or", "replace", "function", "message_store", "."], "CREATE FUNCTION"),
    (&["create", "or", "replace", "view", "message_store", "."], "CREATE VIEW"),
    (&["create", "unique", "index", "messages_"], "CREATE INDEX"),
    (&["create", "index", "messages_"], "CREATE INDEX"),
    (&["alter", "table", "message_store", ".", "messages", "add", "primary"], "ALTER TABLE"),
    (&["drop", "index", "if", "exists", "messages_"], "DROP INDEX"),
    (&["drop", "index", "if", "exists", "message_store", ".", "messages_"], "DROP INDEX"),
    (&["grant"], "GRANT"),
    (&["revoke"], "REVOKE"),
    (&["do"], "DO"),
];

impl Parser<'_> {
    fn statement(&mut self) -> Sql<Statement> {
        let Token::Word(word) = &self.token else { return Err(self.unexpected()) };
        match word.as_str() {
            "select" => Ok(Statement::Select(Box::new(self.select()?))),
            "insert" => Ok(Statement::Insert(Box::new(self.insert()?))),
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
                self.transaction()
            }
            "set" | "show" | "reset" | "discard" | "deallocate" => self.settings(),
            "listen" | "unlisten" | "notify" => self.notices(),
            "truncate" => {
                self.take()?;
                self.word("table")?;
                let at = self.at;
                let table = self.qualified()?;
                self.skip()?;
                if table.name == "messages" {
                    return Ok(Statement::Truncate);
                }
                Err(SqlError::new("42P01", format!("relation \"{}\" does not exist", table.name)).at(at))
            }
            "alter" if matches!(self.peek()?, Token::Word(what) if what == "database" || what == "role") => {
                self.alter()
            }
            _ => self.recognised(),
        }
    }

    /// Goes on to the statement's end.
    pub(super) fn skip(&mut self) -> Sql<()> {
        while self.token != Token::End && !self.is_mark(';') {
            self.take()?;
        }
        Ok(())
    }

    fn transaction(&mut self) -> Sql<Statement> {
        let Token::Word(word) = self.take()? else { return Err(self.unexpected()) };
        let noise = |parser: &mut Self| -> Sql<()> {
            if !parser.word("work")? {
                parser.word("transaction")?;
            }
            Ok(())
        };
        Ok(match word.as_str() {
            "start" => {
                self.words(&["transaction"])?;
                self.modes()?;
                Statement::Begin { tag: "START TRANSACTION" }
            }
            "begin" => {
                noise(self)?;
                self.modes()?;
                Statement::Begin { tag: "BEGIN" }
            }
            "commit" | "end" => {
                noise(self)?;
                if self.is_word("prepared") {
                    return Err(SqlError::not_served("a prepared transaction").at(self.at));
                }
                self.no_chain()?;
                Statement::Commit
            }
            "rollback" | "abort" => {
                noise(self)?;
                if self.word("to")? {
                    self.word("savepoint")?;
                    return Ok(Statement::RollbackTo(self.name()?));
                }
                if self.is_word("prepared") {
                    return Err(SqlError::not_served("a prepared transaction").at(self.at));
                }
                self.no_chain()?;
                Statement::Rollback
            }
            "savepoint" => Statement::Savepoint(self.name()?),
            _ => {
                self.word("savepoint")?;
                Statement::Release(self.name()?)
            }
        })
    }

    fn no_chain(&mut self) -> Sql<()> {
        if self.word("and")? {
            if self.is_word("chain") {
                return Err(SqlError::not_served("`AND CHAIN`").at(self.at));
            }
            self.words(&["no", "chain"])?;
        }
        Ok(())
    }

    /// Isolation and the like: every transaction here sees what was committed, and its own.
    fn modes(&mut self) -> Sql<()> {
        const WORDS: &[&str] = &[
            "isolation",
            "level",
            "read",
            "write",
            "only",
            "committed",
            "uncommitted",
            "repeatable",
            "serializable",
            "not",
            "deferrable",
        ];
        while WORDS.iter().any(|word| self.is_word(word)) || self.is_mark(',') {
            self.take()?;
        }
        Ok(())
    }

    fn settings(&mut self) -> Sql<Statement> {
        let Token::Word(word) = self.take()? else { return Err(self.unexpected()) };
        Ok(match word.as_str() {
            "set" => return self.set(),
            "show" => Statement::Show(self.parameter()?),
            "reset" => Statement::Reset(self.parameter()?),
            "discard" => {
                let what = [
                    ("all", "DISCARD ALL"),
                    ("plans", "DISCARD PLANS"),
                    ("temp", "DISCARD TEMP"),
                    ("temporary", "DISCARD TEMP"),
                    ("sequences", "DISCARD SEQUENCES"),
                ];
                let Some((_, tag)) = what.iter().find(|(word, _)| self.is_word(word)) else {
                    return Err(self.unexpected());
                };
                self.take()?;
                Statement::Discard(tag)
            }
            _ => {
                self.word("prepare")?;
                Statement::Deallocate(if self.word("all")? { None } else { Some(self.name()?) })
            }
        })
    }

    /// The name of a parameter, `all`, `time zone` or `transaction isolation level`.
    fn parameter(&mut self) -> Sql<String> {
        if self.word("all")? {
            return Ok("all".to_owned());
        }
        if self.word("time")? {
            self.words(&["zone"])?;
            return Ok("timezone".to_owned());
        }
        if self.is_word("transaction") {
            self.take()?;
            self.words(&["isolation", "level"])?;
            return Ok("transaction_isolation".to_owned());
        }
        let name = self.qualified()?;
        Ok(match name.schema {
            Some(schema) => format!("{schema}.{}", name.name),
            None => name.name,
        })
    }

    fn set(&mut self) -> Sql<Statement> {
        let local = self.word("local")?;
        if !local {
            self.word("session")?;
        }
        if self.word("characteristics")? {
            self.skip()?;
            let (name, value) = ("transaction_isolation".to_owned(), None);
            return Ok(Statement::Set { name, value, local: true });
        }
        if self.is_word("transaction") {
            self.take()?;
            self.modes()?;
            let (name, value) = ("transaction_isolation".to_owned(), None);
            return Ok(Statement::Set { name, value, local: true });
        }
        let zone = self.is_word("time");
        let name = if self.word("names")? { "client_encoding".to_owned() } else { self.parameter()? };
        if !zone && name != "client_encoding" || self.is_word("to") {
            if !self.operator("=")? {
                self.words(&["to"])?;
            }
        } else {
            self.operator("=")?;
        }
        if self.word("default")? || (zone && self.word("local")?) {
            return Ok(Statement::Set { name, value: None, local });
        }
        let mut values = Vec::new();
        loop {
            let minus = self.operator("-")?;
            let (Token::Word(value) | Token::Quoted(value) | Token::Text(value) | Token::Number(value)) =
                self.take()?
            else {
                return Err(self.unexpected());
            };
            values.push(if minus { format!("-{value}") } else { value });
            if !self.mark(',')? {
                break;
            }
        }
        if values.len() > 1 && !matches!(name.to_ascii_lowercase().as_str(), "search_path" | "datestyle") {
            return Err(SqlError::new("22023", format!("SET {name} takes only one argument")));
        }
        Ok(Statement::Set { name, value: Some(values.join(", ")), local })
    }

    fn notices(&mut self) -> Sql<Statement> {
        let Token::Word(word) = self.take()? else { return Err(self.unexpected()) };
        Ok(match word.as_str() {
            "listen" => Statement::Listen(self.name()?),
            "unlisten" if self.operator("*")? => Statement::Unlisten(None),
            "unlisten" => Statement::Unlisten(Some(self.name()?)),
            _ => {
                let channel = self.name()?;
                let mut payload = String::new();
                if self.mark(',')? {
                    let Token::Text(text) = self.take()? else { return Err(self.unexpected()) };
                    payload = text;
                }
                Statement::Notify { channel, payload }
            }
        })
    }

    fn alter(&mut self) -> Sql<Statement> {
        self.take()?;
        self.take()?;
        self.name()?;
        if self.word("reset")? {
            return Ok(Statement::AlterDatabase { name: self.parameter()?, value: None });
        }
        if !self.word("set")? {
            self.skip()?;
            return Ok(Statement::NotServed("ALTER DATABASE".to_owned()));
        }
        match self.set()? {
            Statement::Set { name, value, .. } => Ok(Statement::AlterDatabase { name, value }),
            _ => Err(self.unexpected()),
        }
    }

    /// Statements that are known by their first words.
    fn recognised(&mut self) -> Sql<Statement> {
        let unexpected = self.unexpected();
        let mut words = Vec::new();
        while self.token != Token::End && !self.is_mark(';') {
            let word = match self.take()? {
                Token::Word(word) | Token::Quoted(word) => word,
                Token::Mark(mark) => mark.to_string(),
                _ => String::new(),
            };
            if words.len() < 8 {
                words.push(word);
            }
        }
        let begins = |shape: &[&str]| {
            shape.len() <= words.len()
                && shape
                    .iter()
                    .zip(&words)
                    .all(|(want, word)| want == word || (want.ends_with('_') && word.starts_with(want)))
        };
        if let Some((_, tag)) = INSTALL.iter().find(|(shape, _)| begins(shape)) {
            return Ok(Statement::Install(tag));
        }
        if let Some((_, denied)) = DENIED.iter().find(|(word, _)| begins(&[word])) {
            return Ok(Statement::Denied(denied));
        }
        let first = words.first().map_or("", String::as_str);
        if first == "create" || first == "alter" || NOT_SERVED.contains(&first) {
            let shown = words.iter().take(if matches!(first, "create" | "alter") { 2 } else { 1 });
            let shown: Vec<String> = shown.map(|word| word.to_ascii_uppercase()).collect();
            return Ok(Statement::NotServed(shown.join(" ")));
        }
        Err(unexpected)
    }
}

/// A name as an error shows it.
impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
