//! What a statement says, as a tree of names and literals.

use std::borrow::Cow;

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Statement {
    Select(Box<Select>),
    Insert(Box<Insert>),
    /// `BEGIN`, or `START TRANSACTION` by its tag.
    Begin {
        tag: &'static str,
    },
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    Release(String),
    /// `SET [LOCAL] name = value`; `None` is DEFAULT.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    /// `SHOW name`, or `all`.
    Show(String),
    /// `RESET name`, or `all`.
    Reset(String),
    /// `DISCARD ALL` and parts of it, by what is discarded.
    Discard(&'static str),
    /// `DEALLOCATE name`, or all.
    Deallocate(Option<String>),
    Listen(String),
    /// `UNLISTEN name`, or all.
    Unlisten(Option<String>),
    Notify {
        channel: String,
        payload: String,
    },
    Truncate,
    /// `ALTER DATABASE name SET parameter = value`, or RESET.
    AlterDatabase {
        name: String,
        value: Option<String>,
    },
    /// A statement of Message DB's own installation, which has nothing to do here, by its tag.
    Install(&'static str),
    /// What would change or remove what was written, by PostgreSQL's answer to the role `message_store`.
    Denied(&'static str),
    /// SQL that is not served, by its first words.
    NotServed(String),
}

/// `SELECT`.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Select {
    pub(crate) distinct: bool,
    pub(crate) items: Vec<Item>,
    pub(crate) from: Option<From>,
    pub(crate) filter: Option<Expr>,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<Expr>,
    pub(crate) offset: Option<Expr>,
}

/// One column of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    /// `*` or `name.*`, and where it stands.
    All(Option<String>, usize),
    /// An expression and what it is called.
    One { value: Expr, name: Option<String> },
}

/// What rows are taken from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct From {
    pub(crate) at: usize,
    pub(crate) what: Relation,
    pub(crate) alias: Option<String>,
}

/// A table, a view or the rows of a function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Relation {
    Table(Name),
    Function(Box<Call>),
}

/// A name with its schema, if one was given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Name {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

/// One key of `ORDER BY`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) value: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// `INSERT INTO`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Insert {
    pub(crate) at: usize,
    pub(crate) table: Name,
    /// Names and where they stand.
    pub(crate) columns: Vec<(String, usize)>,
    /// `None` is DEFAULT.
    pub(crate) rows: Vec<Vec<Option<Expr>>>,
    pub(crate) returning: Vec<Item>,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) function: Name,
    pub(crate) args: Vec<Arg>,
    /// `f(*)`.
    pub(crate) star: bool,
    /// `f(DISTINCT ..)`.
    pub(crate) distinct: bool,
}

/// An argument, by its place or its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arg {
    pub(crate) name: Option<String>,
    pub(crate) value: Expr,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expr {
    /// Where PostgreSQL points at when it is wrong, in bytes.
    pub(crate) at: usize,
    /// How many nodes stand in each other.
    pub(crate) depth: usize,
    pub(crate) kind: Kind,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Param(u16),
    /// A column, with the name of its table or without.
    Column(Option<String>, String),
    Call(Box<Call>),
    /// A value as a type, which is named.
    Cast(Box<Expr>, String),
    /// An operator before its operand: `-`, `+`, `@`.
    Before(Cow<'static, str>, Box<Expr>),
    /// An operator between operands.
    Between(Cow<'static, str>, Box<Expr>, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull {
        value: Box<Expr>,
        not: bool,
    },
    /// `IS [NOT] TRUE` and FALSE.
    IsBool {
        value: Box<Expr>,
        wanted: bool,
        not: bool,
    },
    IsDistinct {
        left: Box<Expr>,
        right: Box<Expr>,
        not: bool,
    },
    In {
        value: Box<Expr>,
        list: Vec<Expr>,
        not: bool,
    },
    Like {
        value: Box<Expr>,
        pattern: Box<Expr>,
        not: bool,
        any_case: bool,
    },
    Case {
        operand: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
}
