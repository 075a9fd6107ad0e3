//! What services in Rust use to speak with Tombolo's streams: messages typed by serde, handlers, consumers that know
//! where they are, entities projected from their streams, requests and replies. Whoever knows Eventide finds its
//! words and its JSON here.
//!
//! Where the streams are is a [`Transport`]: a Tombolo's HTTP API, or a store in the same process for tests (feature
//! `testing`, with the helpers in [`testing`]). What a server does by itself is left to it.

mod client;
mod consumer;
mod entity;
mod error;
mod handlers;
mod message;
mod metadata;
pub mod names;
mod request;
mod retry;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod transport;

pub use base::{Clock, Fault, Kind};
pub use client::{API_URL, Client, Messages, Write};
pub use consumer::{Consumer, Decision, PullConsumer, Pushed, Trouble};
pub use entity::{Entity, EntityStore, Projection, Settings};
pub use error::Error;
pub use handlers::{Appends, Handlers};
pub use message::{Message, MessageData, NewMessage, Received};
pub use metadata::Metadata;
pub use request::Request;
pub use retry::retry;
#[cfg(feature = "testing")]
pub use transport::InProcess;
pub use transport::{
    Ack, Acknowledged, Answer, Append, Appended, Delivery, Http, Outcome, Page, Read, Scope, Transport,
};
pub use uuid::Uuid;

/// The written limits of what is asked for; a server has its own on what it keeps.
pub mod bounds {
    use std::time::Duration;

    /// Messages of one page.
    pub const PAGE_MESSAGES_MAX: usize = 10_000;
    /// Messages of one take of a consumer that the server keeps.
    pub const TAKE_MESSAGES_MAX: usize = 100;
    /// Longest wait of one call; who waits longer asks again.
    pub const WAIT_MAX: Duration = Duration::from_secs(60);
    /// Bytes of an idempotency key.
    pub const KEY_BYTES_MAX: usize = 255;
}

/// The examples of the guide run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/rust-client.md")]
struct Guide;
