//! The message plane: streams of messages, served in the protocols that others speak. [`messagedb`] is Message
//! DB's interface, SQL functions over the PostgreSQL wire protocol.
//!
//! What keeps the messages is `store`; how they come over HTTP and to consumers is still to come here.

#![expect(clippy::cast_possible_wrap, reason = "lengths, counts and positions stay far below 2^63")]

pub mod messagedb;
