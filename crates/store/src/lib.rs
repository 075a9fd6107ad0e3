//! Durable streams of messages with Message DB's semantics: append at an expected version, read a stream or
//! a category from a position, be woken when there is more. [`Store`] is the handle; what keeps the messages
//! is an [`Engine`] behind it.
//!
//! Who may call, how a message travels and who consumes it is left to `streams`.

#![expect(clippy::cast_possible_wrap, reason = "positions, lengths and counts stay far below 2^63")]

#[cfg(test)]
mod conformance;
mod embedded;
mod encrypted;
mod engine;
pub mod json;
mod log;
mod memory;
mod message;
pub mod names;
mod postgres;
mod read;
pub mod state;
mod store;
mod wakes;

pub use embedded::{Backup, Embedded, LOG_FOLDER, STATE_FOLDER, restore};
pub use encrypted::{Encrypted, is_erased};
pub use engine::{Answer, Engine};
pub use json::Json;
pub use log::{DumpedRecord, Grouped, Log, LogOptions, Recovered, Report, dump, dump_bytes, hold, verify};
pub use memory::Memory;
pub use message::{Append, AppendError, Appended, Message, NewMessage, bounds, check as check_appends};
pub use names::Member;
pub use postgres::{
    Lent, Link, Links, Migrations, Outbox, OutboxRow, Postgres, PostgresOptions, RowKey, Time,
};
pub use read::{CategoryInfo, Direction, Page, Read, Removal, Scope, StreamInfo, StreamList};
pub use state::State;
pub use store::Store;
pub use uuid::Uuid;
pub use wakes::{Wakes, Watch};
