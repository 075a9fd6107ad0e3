//! Message DB over the PostgreSQL wire protocol: its twelve functions, the table `messages` and its six views, as
//! Message DB 1.3.0 on PostgreSQL 15 answers them, over any store. Clients of Message DB, and psql, work unchanged.
//!
//! A client's bytes become messages (`wire`), its SQL a tree (`sql`), the tree a plan (`plan`), and the plan's rows
//! are found in the store as they are sent (`cursor`). What is PostgreSQL's but not Message DB's is told to be so
//! (`0A000`).

mod asks;
mod bootstrap;
mod commands;
mod connection;
mod counts;
mod cursor;
mod error;
mod expr;
mod functions;
mod json;
mod locks;
mod notices;
mod numeric;
mod parameters;
mod plan;
mod pushdown;
mod relations;
mod scan;
mod server;
mod session;
mod settings;
mod sql;
mod time;
mod transaction;
mod types;
mod value;
mod wire;

pub use server::{Server, serve};
pub use settings::Settings;
