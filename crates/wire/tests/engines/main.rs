//! The strict codec beside hyper: both are given the same bytes, in the same pieces, and must see the same
//! messages. What the strict one takes hyper takes with the same meaning; the other way round it may refuse.
#![expect(clippy::unwrap_used, reason = "what is not as set up must fail the test")]

mod client;
mod damage;
mod messages;
mod server;

use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use wire::Http1;

const ENGINES: [Http1; 2] = [Http1::Strict, Http1::Hyper];

/// Runs a conversation in a time of its own, in which no wait takes long.
fn in_still_time<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(conversation)
}

/// How bytes come: the sizes of pieces, again and again, and the room between both ends.
#[derive(Clone, Debug)]
struct Pace {
    pieces: Vec<usize>,
    room: usize,
}

/// Writes bytes piece by piece; whoever reads has dealt with one before the next one comes.
async fn write_slowly(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], pace: &Pace) {
    let mut sizes = pace.pieces.iter().cycle();
    let mut left = bytes;
    while !left.is_empty() {
        let (piece, rest) = left.split_at((*sizes.next().unwrap()).min(left.len()));
        if to.write_all(piece).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        left = rest;
    }
}
