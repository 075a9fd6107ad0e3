//! The SQL that clients of Message DB send, from text to a tree: lexer, expressions, statements. What is SQL
//! but not served is told apart from what is no SQL, with PostgreSQL's words for both.
//!
//! Types, columns and functions are unknown here; `plan` finds what the names mean.

mod expressions;
mod lexer;
mod operands;
mod parser;
mod queries;
mod statements;
mod tree;

pub(crate) use expressions::parse_condition;
pub(crate) use statements::parse;
pub(crate) use tree::*;

/// Bytes of one query, which may hold several statements: two JSON texts of the largest size and more.
pub(crate) const QUERY_BYTES_MAX: usize = 24 << 20;
/// Nodes of the trees of one query.
pub(crate) const NODES_MAX: usize = 50_000;
/// How deep nodes of a tree may stand in each other.
pub(crate) const DEPTH_MAX: usize = 100;

#[cfg(test)]
mod tests;
