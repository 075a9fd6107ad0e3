//! The message plane at its own door: Message DB's interface over a socket and the embedded store, against what the
//! original answered and against real clients.

#![expect(clippy::unwrap_used, reason = "a test ends where anything fails")]
#![expect(clippy::cast_possible_wrap, reason = "lengths of messages stay far below 2^31")]

mod conformance;
mod protocol;
mod raw;
mod server;
mod sessions;
mod tokio_client;
