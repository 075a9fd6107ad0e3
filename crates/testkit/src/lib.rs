//! For tests only: data taken from the systems we stand in for, fake applications and raw peers. No other
//! crate may depend on it but as a dev-dependency.

mod backend;
mod conformance;
mod generated;
mod http2;
mod message;
mod postgres;
mod raw;
mod recorder;
mod reply;
#[cfg(feature = "streams")]
mod streams;
mod strict;

pub use backend::{Backend, Deaf, Seen};
pub use conformance::{Differences, conformance};
pub use generated::check_generated;
pub use http2::{After, Call, H2Backend, H2Client, H2Request};
pub use postgres::Postgres;
pub use raw::{Answer, Client};
pub use recorder::Recorder;
pub use reply::Reply;
#[cfg(feature = "streams")]
pub use streams::Streams;
pub use strict::{Conversation, Message, Rest};

use std::time::Duration;

/// Longest wait for anything in a test: far more than a loaded machine needs, so that only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds.
///
/// # Panics
/// When it does not within [`PATIENCE`], saying what was waited for.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
