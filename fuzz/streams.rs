//! What holds for all bytes that come over a connection of Message DB's interface, whoever sent them. The fuzz target
//! and the ordinary tests of `streams` share this.
#![allow(dead_code, reason = "each of those who share this file uses a part of it")]

use base::{Clock, Scope};
use std::time::Duration;
use store::{Memory, Store};
use streams::messagedb::{Server, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

/// A client that was let in.
const STARTUP: &[u8] = b"\0\0\0\x1c\0\x03\0\0user\0message_store\0\0";

/// Whatever a client sends before and after it is let in, the connection is served to its end, and what the server
/// says is messages and nothing else.
pub(crate) fn any_connection(bytes: &[u8]) {
    let (let_in, rest) = bytes.split_first().map_or((true, bytes), |(first, rest)| (*first != 0, rest));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answer = runtime.block_on(async {
        let settings = Settings { message_bytes_max: 1 << 16, statements_max: 8, ..Settings::default() };
        let server = Server::new(Store::new(Memory::new(Clock::system())), settings, Clock::system());
        let server = server.expect("the settings make sense");
        let stop = Scope::new(Clock::system(), |_| {});
        let (mut client, socket) = duplex(1 << 16);
        let served = tokio::spawn(async move { server.connection(socket, stop).await });
        let (mut answers, mut asks) = tokio::io::split(&mut client);
        let mut answer = Vec::new();
        let asked = async {
            if let_in {
                drop(asks.write_all(STARTUP).await);
            }
            drop(asks.write_all(rest).await);
            drop(asks.shutdown().await);
        };
        let both = async { tokio::join!(asked, answers.read_to_end(&mut answer)) };
        let ((), read) =
            tokio::time::timeout(Duration::from_secs(20), both).await.expect("a connection ends");
        read.expect("a pipe reads");
        served.await.expect("a connection does not panic");
        answer
    });
    let mut left = &answer[..];
    while let Some((&kind, behind)) = left.split_first() {
        // The answer to a request for encryption is one byte.
        if kind == b'N' && behind.first_chunk().is_none_or(|length| i32::from_be_bytes(*length) < 4) {
            left = behind;
            continue;
        }
        let length = behind.first_chunk().map(|length| i32::from_be_bytes(*length));
        let length =
            length.and_then(|length| usize::try_from(length).ok()).expect("a message says its length");
        left = behind.get(length..).expect("a message is as long as it says");
    }
}

/// A message of the protocol.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a body is short").to_be_bytes();
    [&[kind][..], &length, body].concat()
}
