//! Tells HTTP/2 from HTTP/1.1 by a connection's first bytes: the preface that no HTTP/1.1 request begins with
//! (RFC 9113 section 3.4). What was read is read again by whoever serves the connection.

use super::life::FIRST_REQUEST_WAIT;
use super::{Drain, Limits};
use crate::prefixed::Prefixed;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is clear. `None` when the client closes, says nothing for the idle time, or is
/// still silent a moment after a drain has begun.
pub(super) async fn protocol<S: AsyncRead + Unpin>(
    mut stream: S,
    limits: &Limits,
    mut drain: Drain,
) -> Option<(Prefixed<S>, Protocol)> {
    let mut read = BytesMut::with_capacity(PREFACE.len());
    let known = async {
        loop {
            if !PREFACE.starts_with(&read) {
                return Some(Protocol::Http1);
            }
            if read.len() == PREFACE.len() {
                return Some(Protocol::Http2);
            }
            // Never more than the preface: the rest belongs to whoever serves the connection.
            let left = (PREFACE.len() - read.len()) as u64;
            match (&mut stream).take(left).read_buf(&mut read).await {
                Ok(1..) => {}
                _ => return None,
            }
        }
    };
    let ended = async {
        drain.begun().await;
        tokio::time::sleep(FIRST_REQUEST_WAIT).await;
    };
    let protocol = tokio::select! {
        biased;
        protocol = known => protocol?,
        () = ended => return None,
        () = tokio::time::sleep(limits.idle_timeout) => return None,
    };
    Some((Prefixed::new(Bytes::from(read), stream), protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Drainer;
    use tokio::io::{AsyncWriteExt as _, duplex};

    async fn told(pieces: &[&[u8]]) -> Option<(Protocol, Vec<u8>)> {
        let (ours, mut theirs) = duplex(1024);
        let (_drainer, drain) = Drainer::new();
        let limits = Limits::default();
        let writing = async {
            for piece in pieces {
                theirs.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(theirs);
        };
        let (told, ()) = tokio::join!(protocol(ours, &limits, drain), writing);
        let (mut stream, protocol) = told?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        Some((protocol, all))
    }

    #[tokio::test]
    async fn the_first_bytes_tell_and_are_not_lost() {
        let http1 = |text: &str| Some((Protocol::Http1, text.as_bytes().to_vec()));
        assert_eq!(told(&[b"GET / HTTP/1.1\r\n\r\n"]).await, http1("GET / HTTP/1.1\r\n\r\n"));
        assert_eq!(told(&[b"P", b"RI", b"NT / x"]).await, http1("PRINT / x"));
        assert_eq!(told(&[b"PRI * HTTP/1.1\r\n\r\n"]).await, http1("PRI * HTTP/1.1\r\n\r\n"));
        assert_eq!(told(&[PREFACE, b"rest"]).await, Some((Protocol::Http2, [PREFACE, b"rest"].concat())));
        assert_eq!(told(&[&PREFACE[..20], &PREFACE[20..]]).await, Some((Protocol::Http2, PREFACE.to_vec())));
        assert_eq!(told(&[b"PRI"]).await, None, "who leaves is not waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_not_kept() {
        let begun = tokio::time::Instant::now();
        let (ours, _theirs) = duplex(10);
        let (drainer, drain) = Drainer::new();
        assert!(protocol(ours, &Limits::default(), drain.clone()).await.is_none());
        assert_eq!(begun.elapsed(), Limits::default().idle_timeout);
        drainer.drain();
        let (ours, _theirs) = duplex(10);
        assert!(protocol(ours, &Limits::default(), drain).await.is_none());
        assert_eq!(begun.elapsed(), Limits::default().idle_timeout + FIRST_REQUEST_WAIT);
    }
}
