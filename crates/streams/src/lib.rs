//! The message plane: streams of messages, served in the protocols that others speak. [`messagedb`] is Message
//! DB's interface, SQL functions over the PostgreSQL wire protocol; [`http`](mod@http) the same streams over HTTP and
//! JSON. [`consumers`] brings messages to who handles them.
//!
//! What keeps the messages is `store`.

#![expect(clippy::cast_possible_wrap, reason = "lengths, counts and positions stay far below 2^63")]

pub mod consumers;
mod counted;
pub mod http;
pub mod messagedb;
pub mod outbox;
pub mod replies;
pub mod retention;
pub mod schedule;
mod spans;
pub mod tap;

pub use counted::Counted;
pub use spans::{SERVICE, Spans};
